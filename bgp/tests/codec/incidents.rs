//! What has broken BGP speakers before, ours or others, class by class, and which test would
//! see it here. The test below keeps the table true.
//!
//! | class | test |
//! | --- | --- |
//! | Lengths computed in 16 bits | `bgp/tests/codec/incidents.rs` `lengths_of_the_whole_square_are_added_up` |
//! | | `bgp/tests/codec/properties.rs` `an_attribute_of_any_length_is_read_without_panic` |
//! | Index shift while attributes are deleted | `bgp/tests/codec/meaning.rs` `the_order_of_attributes_does_not_count` |
//! | NEXT_HOP of a wrong length | `bgp/tests/codec/rfc7606.rs` `a_next_hop_has_four_octets` |
//! | | `bgp/tests/codec/rfc7606.rs` `a_multiprotocol_next_hop_has_a_length_of_its_family` |
//! | IPv6 extended communities over-read | `bgp/tests/codec/incidents.rs` `ipv6_extended_communities_of_any_length_are_passed_on_unread` |
//! | Optional parameters of an OPEN over-read, of RFC 9072 too | `bgp/tests/codec/incidents.rs` `an_open_cut_off_anywhere_is_refused` |
//! | UPDATE without mandatory attributes | `bgp/tests/codec/rfc7606.rs` `missing_mandatory_attributes_withdraw` |
//! | MP_UNREACH_NLRI and junk, nearly an End-of-RIB | `bgp/tests/codec/incidents.rs` `an_end_of_rib_with_junk_behind_it_is_none` |
//! | | `bgp/tests/codec/rfc7606.rs` `malformed_attributes_without_reachable_prefixes_end_the_session` |
//! | MP_REACH_NLRI malformed | `bgp/tests/codec/incidents.rs` `a_multiprotocol_attribute_cut_off_anywhere_ends_the_session` |
//! | | `bgp/tests/codec/rfc7606.rs` `prefixes_that_cannot_be_told_apart_end_the_session` |
//! | | `integration-tests/tests/bgp/malformed.rs` `what_cannot_be_read_at_all_ends_that_session_with_the_right_code_and_no_other` |
//! | A session reset as a weapon: unknown attributes | `bgp/tests/rib/passing_on.rs` `unknown_attributes_pass_the_rib_octet_by_octet` |
//! | | `bgp/tests/rib/corpus.rs` `odd_updates_of_any_peer_are_passed_on_rightly_or_not_at_all` |
//! | | `bgp/tests/rib/passing_on.rs` `segments_of_confederations_stay_inside_the_as` |
//! | | `integration-tests/tests/bgp/malformed.rs` `unknown_attributes_of_every_code_are_passed_on_and_never_cost_the_session` |
//! | | `integration-tests/tests/bgp/malformed.rs` `malformed_attributes_cost_the_route_or_the_attribute_and_never_the_session` |
//! | A Prefix-SID of 37 zeros | `bgp/tests/codec/incidents.rs` `a_prefix_sid_of_zeros_is_dropped_and_the_route_stays` |
//! | Loops that do not advance: segments, prefixes, attributes of no octets | `bgp/tests/codec/incidents.rs` `messages_of_nothing_repeated_are_read_to_their_end` |
//! | Marker not checked | `bgp/tests/codec/refused.rs` `one_flipped_bit_of_the_marker_is_seen_at_once` |
//! | Storm of connections after a permanent refusal | `bgp/tests/fsm/timers.rs` `waits_grow_whether_tcp_or_the_open_exchange_fails` |
//! | | `src/speaker/tests/incidents.rs` `a_peer_that_refuses_us_for_good_costs_few_attempts_and_fewer_lines` |
//! | Event for a peer that was deleted | `bgp/tests/rib/import.rs` `news_of_a_removed_peer_or_a_session_that_is_over_change_nothing` |
//! | | `src/speaker/tests/incidents.rs` `peers_are_deleted_and_come_back_while_they_tell_us_much` |
//! | Memory for a peer that sends and never reads | `bgp/tests/rib/pace.rs` `a_stuck_peer_costs_prefixes_not_changes` |
//! | | `src/speaker/tests/torture.rs` `a_peer_that_never_reads_costs_others_nothing` |
//! | | `integration-tests/tests/bgp/slow_peer.rs` `a_peer_that_stops_reading_neither_delays_others_nor_costs_memory_for_every_change` |
//! | | `integration-tests/tests/bgp/limits.rs` `a_flood_of_refreshes_from_a_peer_that_does_not_read_costs_neither_memory_nor_the_others` |
//! | A fault of one peer's task ends the daemon | `src/speaker/tests/torture.rs` `a_panic_in_one_peers_task_takes_that_peer_down_and_nothing_else` |
//! | | `src/bmp/station.rs` `a_panic_ends_a_connection_and_nothing_else` |
//! | | `src/speaker/tests/incidents.rs` `a_fault_of_the_task_that_owns_the_rib_is_seen_by_those_who_ask_it` |

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use brindle_bgp::msg::{Message, Treatment, decode};
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use crate::support::{
    EXTERNAL, INTERNAL, attribute, format, formats, hex, mandatory, message, reach, read,
    read_update, unhex, update, write,
};

#[expect(clippy::disallowed_methods, reason = "a test reads its files")]
#[test]
fn every_test_of_the_table_is_there() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = include_str!("incidents.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut count = 0;
    for row in rows.skip(2) {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let [file, test] = quoted[..] else { panic!("a row names a file and a test: {row}") };
        let text = std::fs::read(root.join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        count += 1;
    }
    assert!(count > 20, "{count} rows");
}

/// Lengths near what fits, near what overflows, and all others.
fn any_length() -> impl Strategy<Value = u16> {
    prop_oneof![0..64_u16, 65_400..=u16::MAX, any::<u16>()]
}

proptest! {
    /// A message of 41 octets, as broke others, whatever it says of its fields.
    #[test]
    fn lengths_of_the_whole_square_are_added_up(
        withdrawn in any_length(),
        attributes in any_length(),
        fill in any::<u8>(),
        bits in 0..32_u8,
    ) {
        let rest = [fill; 18];
        let first = usize::from(withdrawn).min(rest.len());
        let body = [&withdrawn.to_be_bytes()[..], &rest[..first], &attributes.to_be_bytes(), &rest[first..]];
        let octets = message(2, &body.concat());
        prop_assert_eq!(octets.len(), 41);
        let got = read(&octets, &format(bits)).err().map(|error| (error.0.code, error.0.subcode));
        if usize::from(withdrawn) + usize::from(attributes) > rest.len() {
            prop_assert_eq!(got, Some((3, 1)), "{}", hex(&octets));
        }
    }
}

/// Attribute 25 (RFC 5701) is none that we know, so nothing in it is looked at.
#[test]
fn ipv6_extended_communities_of_any_length_are_passed_on_unread() {
    for length in 0..=u8::MAX {
        let value = vec![length; length.into()];
        let list = [mandatory(), attribute(0xC0, 25, &value)].concat();
        for bits in [EXTERNAL, INTERNAL] {
            let decoded = read_update(&update(&[], &list, &[8, 10]), &format(bits));
            assert_eq!(decoded.faults, [], "{length} octets");
            let again = hex(&write(&decoded.message, &format(bits)));
            let passed = hex(&attribute(0xE0, 25, &value));
            assert!(again.contains(&passed), "{length} octets: {again}");
        }
    }
}

/// With 300 octets of capabilities, whose length says 255 in both of its meanings.
#[test]
fn an_open_cut_off_anywhere_is_refused() {
    let fixed = unhex("04 fde8 005a 0a000001");
    let big = |octets: usize| [&[67, u8::try_from(octets).unwrap()], &vec![7; octets][..]].concat();
    let capabilities = [big(150), big(146)].concat();
    let extended = [&unhex("ff ff012f 02 012c")[..], &capabilities].concat();
    let plain = [&unhex("ff 02fd")[..], &big(251)].concat();
    for parameters in [extended, plain] {
        let whole = [fixed.clone(), parameters].concat();
        for format in formats() {
            read(&message(1, &whole), &format).unwrap_or_else(|error| panic!("{error}"));
            for length in 0..whole.len() {
                let error = read(&message(1, &whole[..length]), &format).unwrap_err().0;
                let want = if length < 10 { (1, 2) } else { (2, 0) };
                assert_eq!((error.code, error.subcode), want, "{length} octets of the body");
            }
        }
    }
}

#[test]
fn a_multiprotocol_attribute_cut_off_anywhere_ends_the_session() {
    let next_hop = unhex("20010db8 00000000 00000000 00000001");
    let prefixes = unhex("40 fd00000102440001 30 fd0000010245");
    let reach = reach(2, &next_hop, &prefixes);
    let unreach = attribute(0x80, 15, &[&[0, 2, 1], &prefixes[..]].concat());
    // Where it is whole: between two prefixes.
    for (name, whole, borders) in
        [("MP_REACH", reach, [21, 30, 37]), ("MP_UNREACH", unreach, [3, 12, 19])]
    {
        let [flags, code, _, value @ ..] = &whole[..] else { panic!("an attribute") };
        for length in 0..=value.len() {
            let list = [mandatory(), attribute(*flags, *code, &value[..length])].concat();
            let got = read(&update(&[], &list, &[]), &format(EXTERNAL));
            let want = (!borders.contains(&length)).then_some((3, 9));
            let got = got.err().map(|error| (error.0.code, error.0.subcode));
            assert_eq!(got, want, "{name}, {length} octets");
        }
    }
}

#[test]
fn a_prefix_sid_of_zeros_is_dropped_and_the_route_stays() {
    let list = [mandatory(), unhex("c02825"), vec![0; 37]].concat();
    for bits in [EXTERNAL, INTERNAL] {
        let decoded = read_update(&update(&[], &list, &[8, 10]), &format(bits));
        let faults: Vec<_> = decoded.faults.iter().map(|f| (f.code, f.treatment)).collect();
        assert_eq!(faults, [(40, Treatment::DiscardAttribute)]);
        let Message::Update(got) = decoded.message else { panic!("an UPDATE") };
        assert_eq!(got.announced[0].prefixes.len(), 1);
        assert_eq!(got.attributes.unwrap().unknown, []);
    }
}

/// As many as fit of what takes one to three octets. A reader that does not advance would never
/// come back; one that keeps more than it was told would have more than there are octets.
#[test]
fn messages_of_nothing_repeated_are_read_to_their_end() {
    let (done, is_done) = channel();
    let reader = std::thread::spawn(move || {
        const ROOM: usize = 65535 - 23;
        let fill = |unit: &[u8], room: usize| unit.repeat(room / unit.len());
        let list = |head: Vec<u8>, unit: &[u8]| {
            let room = ROOM - head.len() - 2;
            update(&[], &[head, fill(unit, room)].concat(), &[8, 10])
        };
        let long = |code, unit: &[u8]| {
            let value = fill(unit, ROOM - mandatory().len() - 6);
            update(&[], &[mandatory(), attribute(0xD0, code, &value)].concat(), &[8, 10])
        };
        // An OPEN whose parameters have lengths of two octets (RFC 9072).
        let open = |head: &[u8], unit: &[u8]| {
            let parameters = [head, &fill(unit, 4060 - head.len())].concat();
            let length = u16::try_from(parameters.len()).unwrap().to_be_bytes();
            message(1, &[&unhex("04 fde8 005a 0a000001 ff ff")[..], &length, &parameters].concat())
        };
        for (name, octets) in [
            ("default routes withdrawn", update(&fill(&[0], ROOM), &[], &[])),
            ("default routes announced", {
                let list = mandatory();
                update(&[], &list, &fill(&[0], ROOM - list.len()))
            }),
            ("default routes in MP_REACH", long(14, &[0])),
            ("default routes in MP_UNREACH", long(15, &[0])),
            ("segments of nothing", long(2, &[2, 0])),
            ("sets of nothing in AS4_PATH", long(17, &[1, 0])),
            ("communities", long(8, &[0, 0, 0, 0])),
            ("large communities", long(32, &[0; 12])),
            ("clusters", long(10, &[0, 0, 0, 1])),
            ("entries of AIGP", long(26, &[1, 0, 0])),
            ("entries of a Prefix-SID", long(40, &[1, 0, 0])),
            ("unknown attributes of nothing", list(mandatory(), &[0xC0, 99, 0])),
            ("attributes that are not known nor passed on", list(mandatory(), &[0x80, 99, 0])),
            ("ORIGINs of nothing", list(Vec::new(), &[0x40, 1, 0])),
            ("zeros", message(2, &vec![0; ROOM + 4])),
            ("parameters of nothing", open(&[], &[2, 0, 0])),
            ("capabilities of nothing", open(&unhex("02 0fd9"), &[0, 0])),
        ] {
            for format in formats() {
                if let Ok(decoded) = decode(&octets, &format) {
                    let kept = match decoded.message {
                        Message::Update(update) => {
                            let announced = update.announced.iter().map(|some| some.prefixes.len());
                            announced.sum::<usize>() + update.withdrawn.len()
                        }
                        Message::Open(open) => open.capabilities.len(),
                        _ => 0,
                    };
                    assert!(kept + decoded.faults.len() <= octets.len(), "{name}");
                }
            }
        }
        // Nobody is there who does not wait for it.
        let _ = done.send(());
    });
    let came_back = is_done.recv_timeout(Duration::from_secs(120));
    assert!(came_back.is_ok() || reader.is_finished(), "the reader does not come back");
    reader.join().unwrap();
}

#[test]
fn an_end_of_rib_with_junk_behind_it_is_none() {
    let marker = attribute(0x80, 15, &[0, 2, 1]);
    for (name, octets, want) in [
        ("the marker alone", update(&[], &marker, &[]), true),
        ("and a prefix cut off", update(&[], &[&marker[..], &[0x40]].concat(), &[]), false),
        ("and prefixes", update(&[], &marker, &[8, 10]), false),
        ("and withdrawn ones", update(&[8, 10], &marker, &[]), false),
    ] {
        let got = decode(&octets, &format(EXTERNAL)).map(|decoded| decoded.message);
        let is_end = matches!(got, Ok(Message::EndOfRib(_)));
        assert_eq!(is_end, want, "{name}: {got:?}");
    }
}
