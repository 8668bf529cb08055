//! Octets: what is refused, and what is read.

use proptest::prelude::{any, proptest};

use super::*;

/// State Up, C bit, multiplier 3, sessions 0x01020304 and 0x05060708, 50 ms, 60 ms, echo 7 ms.
const UP: [u8; 24] = [
    0x20, 0xc8, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0xc3, 0x50, 0, 0, 0xea, 0x60, 0, 0, 0x1b, 0x58,
];

#[test]
fn a_packet_is_read_and_written_octet_by_octet() {
    let read = Packet::decode(&UP).unwrap();
    let want = Packet {
        is_independent: true,
        my_discriminator: discriminator(0x0102_0304),
        your_discriminator: NonZeroU32::new(0x0506_0708),
        desired_min_tx: ms(50),
        required_min_rx: ms(60),
        required_min_echo_rx: ms(7),
        ..packet(State::Up)
    };
    assert_eq!(read, want);
    assert_eq!(read.encode(), UP);
    let flags = [("P", 0x20), ("F", 0x10), ("C", 0x08), ("D", 0x02)];
    for (name, bit) in flags {
        let mut octets = UP;
        octets[1] = 0xc0 | bit;
        let read = Packet::decode(&octets).unwrap();
        let set = [read.is_poll, read.is_final, read.is_independent, read.is_demand];
        assert_eq!(set, flags.map(|(other, _)| other == name), "{name}");
        assert_eq!(read.encode(), octets, "{name}");
    }
    let far = Packet { desired_min_tx: Duration::from_secs(1 << 20), ..packet(State::Up) };
    let read = Packet::decode(&far.encode()).unwrap();
    assert_eq!(read.desired_min_tx, Duration::from_micros(u32::MAX.into()), "says what it can");
}

#[test]
fn what_rfc_5880_6_8_6_drops_is_dropped_for_that_reason() {
    let with = |changes: &[(usize, u8)]| {
        let mut octets = UP.to_vec();
        for (at, octet) in changes {
            octets[*at] = *octet;
        }
        octets
    };
    let unbound = |flags: u8| with(&[(1, flags), (8, 0), (9, 0), (10, 0), (11, 0)]);
    let short = |got, needed| Err(Fault::Short { got, needed });
    for (what, octets, want) in [
        ("nothing", vec![], short(0, 24)),
        ("an octet is missing", UP[..23].to_vec(), short(23, 24)),
        ("version 0", with(&[(0, 0)]), Err(Fault::Version(0))),
        ("version 2", with(&[(0, 0x40)]), Err(Fault::Version(2))),
        ("length 23", with(&[(3, 23)]), Err(Fault::Length(23))),
        ("length 0", with(&[(3, 0)]), Err(Fault::Length(0))),
        ("authenticated with length 25", with(&[(1, 0xc4), (3, 25)]), Err(Fault::Length(25))),
        ("length beyond the end", with(&[(3, 25)]), short(24, 25)),
        ("Detect Mult 0", with(&[(2, 0)]), Err(Fault::ZeroMultiplier)),
        ("M bit", with(&[(1, 0xc1)]), Err(Fault::Multipoint)),
        (
            "My Discriminator 0",
            with(&[(4, 0), (5, 0), (6, 0), (7, 0)]),
            Err(Fault::ZeroDiscriminator),
        ),
        ("Your Discriminator 0 in Up", unbound(0xc0), Err(Fault::Unbound(State::Up))),
        ("Your Discriminator 0 in Init", unbound(0x80), Err(Fault::Unbound(State::Init))),
        ("Your Discriminator 0 in Down", unbound(0x40), Ok(State::Down)),
        ("Your Discriminator 0 in AdminDown", unbound(0x00), Ok(State::AdminDown)),
        (
            "A bit, with the authentication that it announces",
            [&with(&[(1, 0xc4), (3, 27)])[..], &[1, 3, 0]].concat(),
            Err(Fault::Authenticated),
        ),
        ("octets behind the length", [&UP[..], &[9; 8]].concat(), Ok(State::Up)),
    ] {
        let got = Packet::decode(&octets).map(|packet| packet.state);
        assert_eq!(got, want, "{what}: {octets:02x?}");
    }
}

proptest! {
    #[test]
    fn no_octets_break_the_decoder_and_what_it_takes_it_writes_again(
        octets in proptest::collection::vec(any::<u8>(), 0..40),
        valid in any::<bool>(),
    ) {
        let mut octets = octets;
        if valid && octets.len() >= 24 {
            (octets[0], octets[3]) = (0x20 | octets[0] & 0x1f, 24);
            octets[1] &= !0x05;
        }
        if let Ok(packet) = Packet::decode(&octets) {
            assert_eq!(packet.encode()[..], octets[..24].iter().enumerate().map(|(at, octet)| {
                if at == 3 { 24 } else { *octet }
            }).collect::<Vec<u8>>()[..]);
        }
    }
}
