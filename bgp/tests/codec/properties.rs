//! What must hold for every message and for every octets.

use brindle_bgp::msg::{Message, Update, decode, frame};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

use crate::again::{check, check_input, read_all};
use crate::generate::{any_format, any_message, any_prefix, any_update};
use crate::golden::vectors;
use crate::support::{format, formats, hex, message, read, split, unhex, write};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read((format, message) in any_format().prop_flat_map(|format| {
        let message = any_message(&format);
        (proptest::strategy::Just(format), message)
    })) {
        let octets = write(&message, &format);
        prop_assert_eq!(read_all(&octets, &format), message, "{}", hex(&octets));
    }

    #[test]
    fn any_octets_are_read_without_panic(
        bits in 0..32_u8,
        kind in 0..7_u8,
        body in vec(any::<u8>(), 0..200),
    ) {
        check_input(&[&[bits, kind], &body[..]].concat());
    }

    #[test]
    fn an_attribute_of_any_length_is_read_without_panic(
        flags in any::<u8>(),
        code in 0..45_u8,
        length in any::<u16>(),
        octets in vec(any::<u8>(), 0..100),
        bits in 0..32_u8,
    ) {
        let attribute = if flags & 0x10 == 0 {
            vec![flags, code, length.to_be_bytes()[1]]
        } else {
            [&[flags, code], &length.to_be_bytes()[..]].concat()
        };
        let list = [attribute, octets].concat();
        let body = [&[0, 0][..], &u16::try_from(list.len()).unwrap().to_be_bytes(), &list].concat();
        let _ = read(&message(2, &body), &format(bits));
    }

    #[test]
    fn what_damaged_messages_say_can_be_said_again(
        which in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        bits in 0..32_u8,
    ) {
        let vectors = vectors();
        let (_, _, kind, body, _) = which.get(&vectors);
        let mut body = unhex(body);
        for (position, octet) in damage {
            if !body.is_empty() {
                let position = position.index(body.len());
                body[position] ^= octet;
            }
        }
        check(bits, *kind, &body);
    }

    #[test]
    fn a_message_never_exceeds_the_limit((format, update) in any_format().prop_flat_map(|format| {
        let update = any_update(&format);
        (proptest::strategy::Just(format), update)
    })) {
        for octets in split(&write(&Message::Update(update), &format), &format) {
            prop_assert!(octets.len() <= format.max_message());
        }
    }

    #[test]
    fn host_bits_do_not_count(prefix in any_prefix(brindle_bgp::net::Family::Ipv4Unicast)) {
        let mut octets = write(&Message::Update(Update {
            withdrawn: vec![prefix.into()],
            ..Update::default()
        }), &format(0));
        if !prefix.length().is_multiple_of(8) {
            let last = octets.len() - 3;
            octets[last] |= 0xFF >> (prefix.length() % 8);
        }
        let Message::Update(update) = read(&octets, &format(0)).unwrap().message else {
            panic!("an UPDATE");
        };
        prop_assert_eq!(update.withdrawn, vec![prefix.into()]);
    }
}

#[test]
fn every_truncation_is_refused_without_panic() {
    for (name, _, kind, body, _) in vectors() {
        let body = unhex(body);
        for format in formats() {
            for length in 0..body.len() {
                let octets = message(kind, &body[..length]);
                match (kind, read(&octets, &format)) {
                    // Data of a NOTIFICATION may have any length.
                    (3, got) if length >= 2 => assert!(got.is_ok(), "{name}, {length} octets"),
                    // Prefixes may end anywhere between two of them.
                    (2, Ok(_)) => {}
                    (2, Err(error)) => assert_eq!(error.0.code, if length < 4 { 1 } else { 3 }),
                    (_, got) => {
                        let error = got.expect_err(name).0;
                        let want = match (kind, length) {
                            (1, 10..) => (2, 0),
                            (5, 3) if matches!(body[2], 1 | 2) => (7, 1),
                            _ => (1, 2),
                        };
                        assert_eq!((error.code, error.subcode), want, "{name}, {length} octets");
                    }
                }
            }
            let octets = message(kind, &body);
            for length in 0..octets.len() {
                let got = decode(&octets.slice(..length), &format);
                assert!(got.is_err(), "{name}, {length} octets of the message");
                let framed = frame(&octets[..length], &format);
                let want = if length < 19 { None } else { Some(octets.len()) };
                assert_eq!(framed.unwrap(), want, "{name}, {length} octets of the message");
            }
        }
    }
}

#[test]
fn unknown_values_share_memory_with_the_message() {
    let list = [crate::support::mandatory(), vec![0xC0, 99, 3, 1, 2, 3]].concat();
    let octets: Bytes = crate::support::update(&[], &list, &[8, 10]);
    let Message::Update(update) = decode(&octets, &format(1)).unwrap().message else {
        panic!("an UPDATE");
    };
    let unknown = &update.attributes.unwrap().unknown[0];
    let range = octets.as_ptr_range();
    assert!(range.contains(&unknown.value.as_ptr()), "{unknown:?}");
}
