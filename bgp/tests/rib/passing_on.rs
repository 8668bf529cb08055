//! What nobody here understands is passed on as it came, through reader, RIB and writer.

use brindle_bgp::msg::{AsPath, AsSegment, Attributes, Message, SegmentKind, decode};
use brindle_bgp::rib::{PeerId, PeerKind};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use crate::support::{OUR_AS, Scene, asn, one_update, settings, v4};

/// What is understood here, wholly or enough to be refused.
const KNOWN: [u8; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 35, 40];

/// An UPDATE with ORIGIN, AS_PATH of peer 0, NEXT_HOP, the attribute, and 10.1.0.0/16.
fn octets(code: u8, flags: u8, value: &[u8]) -> Bytes {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let attributes = [
        &[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE8, 0x40, 3, 4, 198, 51, 100, 1][..],
        &[flags | 0x10, code],
        &length,
        value,
    ]
    .concat();
    let list = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    let body = [&[0, 0], &list[..], &attributes, &[16, 10, 1]].concat();
    let all = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xFF; 16][..], &all, &[2], &body].concat().into()
}

/// An internal peer may be in a confederation that we know nothing of.
#[test]
fn segments_of_confederations_stay_inside_the_as() {
    let segment = |kind, number| AsSegment { kind, asns: vec![asn(number)] };
    let inside = AsPath(vec![
        segment(SegmentKind::ConfedSequence, 65100),
        segment(SegmentKind::Sequence, 65001),
        segment(SegmentKind::ConfedSet, 65101),
        segment(SegmentKind::Set, 65002),
    ]);
    let outside = AsPath(vec![
        AsSegment { kind: SegmentKind::Sequence, asns: vec![asn(OUR_AS), asn(65001)] },
        segment(SegmentKind::Set, 65002),
    ]);
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::ReflectorClient);
    scene.up(1, PeerKind::External);
    scene.up(2, PeerKind::Internal);
    let attributes = Attributes { as_path: inside.clone(), ..Attributes::default() };
    scene.learn(0, one_update(attributes));
    scene.tell_all();
    for (number, want) in [(1, outside), (2, inside)] {
        assert_eq!(scene.ear(number).told[&v4()].0.as_path, want, "peer {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    /// Every code with a random body, to an external and an internal peer.
    #[test]
    fn unknown_attributes_pass_the_rib_octet_by_octet(
        bodies in vec(vec(any::<u8>(), 0..600), 256),
        is_partial in any::<bool>(),
    ) {
        for code in (0..=255_u8).filter(|code| !KNOWN.contains(code)) {
            let value = &bodies[usize::from(code)];
            let mut scene = Scene::new(settings());
            scene.up(0, PeerKind::External);
            scene.up(1, PeerKind::External);
            scene.up(2, PeerKind::Internal);
            let flags = if is_partial { 0xE0 } else { 0xC0 };
            let decoded = decode(&octets(code, flags, value), &scene.ear(0).format).unwrap();
            prop_assert_eq!(&decoded.faults, &vec![], "{}", code);
            let Message::Update(update) = decoded.message else { panic!("an UPDATE") };
            scene.learn(0, update);
            for peer in [1, 2] {
                let told = scene.rib.advertise(PeerId(peer), 1 << 16).messages.concat();
                let length = u16::try_from(value.len()).unwrap().to_be_bytes();
                // Partial from here on (RFC 4271 §5); the length as short as it can be.
                let passed = match value.len() {
                    0..=255 => [&[0xE0, code, length[1]], &value[..]].concat(),
                    _ => [&[0xF0, code], &length[..], value].concat(),
                };
                let is_there = told.windows(passed.len()).any(|some| some == passed);
                prop_assert!(is_there, "code {code}, {} octets, to {peer}: {told:02x?}", value.len());
            }
        }
    }
}
