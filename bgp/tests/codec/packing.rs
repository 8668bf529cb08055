//! Prefixes into messages: as few as possible, none too long, nothing lost.

use brindle_bgp::msg::{
    Announcement, Attributes, Message, NextHop, Nlri, PathId, UnknownAttribute, Update, WireFormat,
    encode_attributes, pack_announce, pack_withdraw,
};
use brindle_bgp::net::{ClusterId, Family, Prefix, RouterId};
use bytes::Bytes;

use crate::support::{ADD_PATHS, format, formats, hex, join, path, prefixes, read, v4, v6};

/// So many prefixes of a family, /32 or /64.
fn many(family: Family, count: u32) -> Vec<Nlri> {
    let prefix = |number: u32| match family {
        Family::Ipv4Unicast => Prefix::v4((0x0A00_0000 + number).into(), 32).unwrap(),
        Family::Ipv6Unicast => {
            Prefix::v6((0x2001 << 112 | u128::from(number) << 64).into(), 64).unwrap()
        }
    };
    (0..count).map(|number| prefix(number).into()).collect()
}

fn announce(
    prefixes: &[Nlri],
    next_hop: &NextHop,
    attributes: &Attributes,
    family: Family,
    format: &WireFormat,
) -> Vec<Bytes> {
    let mut out = Vec::new();
    let attributes = encode_attributes(attributes, format);
    pack_announce(prefixes.iter().copied(), next_hop, &attributes, family, format, &mut out);
    out
}

/// What messages say together.
fn said(messages: &[Bytes], format: &WireFormat) -> Update {
    join(messages.iter().map(|octets| {
        assert!(octets.len() <= format.max_message(), "{} octets", octets.len());
        match read(octets, format).unwrap().message {
            Message::Update(update) => update,
            other => panic!("{other:?}"),
        }
    }))
}

#[test]
fn messages_are_as_few_as_possible() {
    // Around the prefixes stand 43 octets with a NEXT_HOP and 61 with an MP_REACH_NLRI; 23 and
    // 30 where they are withdrawn. A /32 takes 5, a /64 takes 9.
    for (family, count, announcing, withdrawing) in [
        (Family::Ipv4Unicast, 0, 0, 0),
        (Family::Ipv4Unicast, 1, 1, 1),
        (Family::Ipv4Unicast, (4096 - 43) / 5, 1, 1),
        (Family::Ipv4Unicast, (4096 - 43) / 5 + 1, 2, 1),
        (Family::Ipv4Unicast, (4096 - 23) / 5, 2, 1),
        (Family::Ipv4Unicast, (4096 - 23) / 5 + 1, 2, 2),
        (Family::Ipv6Unicast, (4096 - 61) / 9, 1, 1),
        (Family::Ipv6Unicast, (4096 - 61) / 9 + 1, 2, 1),
        (Family::Ipv6Unicast, (4096 - 30) / 9, 2, 1),
        (Family::Ipv6Unicast, (4096 - 30) / 9 + 1, 2, 2),
        (Family::Ipv6Unicast, 100_000, 224, 222),
    ] {
        let format = format(1);
        let row = format!("{count} of {family}");
        let next_hop = match family {
            Family::Ipv4Unicast => v4("192.0.2.1"),
            Family::Ipv6Unicast => v6("2001:db8::1"),
        };
        let all = many(family, count);
        let messages = announce(&all, &next_hop, &path(&[65001]), family, &format);
        assert_eq!(messages.len(), announcing, "{row} announced");
        let got = said(&messages, &format);
        let announced: Vec<Nlri> = got.announced.into_iter().flat_map(|a| a.prefixes).collect();
        assert_eq!(announced, all, "{row}");
        let mut messages = Vec::new();
        pack_withdraw(all.iter().copied(), family, &format, &mut messages);
        assert_eq!(messages.len(), withdrawing, "{row} withdrawn");
        assert_eq!(said(&messages, &format).withdrawn, all, "{row}");
    }
}

#[test]
fn path_identifiers_take_room_and_are_all_there() {
    let format = format(1 | ADD_PATHS);
    for (family, each, next_hop) in
        [(Family::Ipv4Unicast, 9, v4("192.0.2.1")), (Family::Ipv6Unicast, 13, v6("2001:db8::1"))]
    {
        // Two paths to each of so many prefixes.
        let both = |nlri| [7, u32::MAX].map(|id| Nlri { path_id: PathId(id), ..nlri });
        let all: Vec<Nlri> = many(family, 1000).into_iter().flat_map(both).collect();
        let messages = announce(&all, &next_hop, &path(&[65001]), family, &format);
        assert_eq!(messages.len(), (2000 * each + 61_usize).div_ceil(4096), "{family}");
        let got = said(&messages, &format);
        let announced: Vec<Nlri> = got.announced.into_iter().flat_map(|a| a.prefixes).collect();
        assert_eq!(announced, all);
        let mut messages = Vec::new();
        pack_withdraw(all.iter().copied(), family, &format, &mut messages);
        assert_eq!(said(&messages, &format).withdrawn, all);
    }
}

#[test]
fn extended_messages_hold_sixteen_times_as_much() {
    let all = many(Family::Ipv4Unicast, 13_000);
    for (bits, want) in [(1, 17), (5, 1)] {
        let format = format(bits);
        let attributes = path(&[65001]);
        let messages = announce(&all, &v4("192.0.2.1"), &attributes, Family::Ipv4Unicast, &format);
        assert_eq!(messages.len(), want, "format {bits}");
    }
}

/// Attributes that need so many octets and a few.
fn long(octets: usize) -> Attributes {
    let value = Bytes::from(vec![7; octets]);
    let unknown = vec![UnknownAttribute { code: 99, partial: true, value }];
    Attributes { unknown, ..path(&[65001]) }
}

#[test]
fn prefixes_that_cannot_be_told_are_withdrawn() {
    let all = prefixes(["10.0.0.0/8", "10.1.0.0/32"]);
    let v4_next_hop = v4("192.0.2.1");
    for (name, bits, next_hop, attributes, is_told) in [
        ("short attributes", 1, v4_next_hop, long(10), true),
        ("attributes that just fit", 1, v4_next_hop, long(4096 - 48 - 4), true),
        ("attributes that just do not fit", 1, v4_next_hop, long(4096 - 48 - 3), false),
        ("the same, extended", 5, v4_next_hop, long(4096 - 48 - 3), true),
        ("attributes over all", 5, v4_next_hop, long(65535), false),
        ("attributes over any length", 5, v4_next_hop, long(70_000), false),
        ("IPv6 next hop, agreed", 9, v6("fe80::1"), long(10), true),
        ("IPv6 next hop, not agreed", 1, v6("fe80::1"), long(10), false),
    ] {
        let format = format(bits);
        let messages = announce(&all, &next_hop, &attributes, Family::Ipv4Unicast, &format);
        let got = said(&messages, &format);
        let want = if is_told {
            let announced = vec![Announcement { next_hop, prefixes: all.clone() }];
            Update { withdrawn: Vec::new(), announced, attributes: Some(attributes) }
        } else {
            Update { withdrawn: all.clone(), ..Update::default() }
        };
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn prefixes_of_another_family_are_left_out() {
    let both = prefixes(["10.0.0.0/8", "fd00::/8", "10.0.0.0/9"]);
    let format = format(1);
    let mut messages = Vec::new();
    pack_withdraw(both.iter().copied(), Family::Ipv4Unicast, &format, &mut messages);
    assert_eq!(said(&messages, &format).withdrawn, prefixes(["10.0.0.0/8", "10.0.0.0/9"]));
}

/// The type codes of an UPDATE's attributes, in their order.
fn codes(octets: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([octets[21], octets[22]]));
    let mut list = &octets[23..23 + length];
    let mut codes = Vec::new();
    while let [flags, code, rest @ ..] = list {
        codes.push(*code);
        let (width, length) = match flags & 0x10 {
            0 => (1, usize::from(rest[0])),
            _ => (2, usize::from(u16::from_be_bytes([rest[0], rest[1]]))),
        };
        list = &rest[width + length..];
    }
    codes
}

/// Attributes of every kind, with unknown ones before, between and behind.
fn full() -> Attributes {
    let unknown = [0, 11, 30, 99, 255].map(|code| UnknownAttribute {
        code,
        partial: true,
        value: Bytes::from_static(&[1]),
    });
    Attributes {
        med: Some(1),
        local_pref: Some(100),
        atomic_aggregate: true,
        aggregator: Some(brindle_bgp::msg::Aggregator {
            asn: crate::support::asn(70_000),
            address: [10, 0, 0, 1].into(),
        }),
        communities: vec![brindle_bgp::msg::Community::NO_EXPORT],
        originator_id: Some(RouterId::new(1).unwrap()),
        cluster_list: vec![ClusterId(1)],
        extended_communities: vec![brindle_bgp::msg::ExtendedCommunity([0; 8])],
        large_communities: vec![brindle_bgp::msg::LargeCommunity {
            global: 1,
            local1: 2,
            local2: 3,
        }],
        unknown: unknown.to_vec(),
        ..path(&[70_000])
    }
}

#[test]
fn attributes_stand_in_ascending_order_and_multiprotocol_first() {
    let internal = [4, 5, 6, 7, 8, 9, 10, 11, 16, 30, 32, 99, 255];
    let external = [4, 6, 7, 8, 11, 16, 30, 32, 99, 255];
    for format in formats() {
        let rest: &[u8] = if format.internal { &internal } else { &external };
        let mut rest = rest.to_vec();
        if !format.four_octet_asns {
            rest.extend([17, 18]);
            rest.sort_unstable();
        }
        for (next_hop, family, first) in [
            (v4("192.0.2.1"), Family::Ipv4Unicast, &[0, 1, 2, 3][..]),
            (v6("2001:db8::1"), Family::Ipv6Unicast, &[14, 0, 1, 2]),
        ] {
            let prefix = many(family, 1);
            let messages = announce(&prefix, &next_hop, &full(), family, &format);
            let want = [first, &rest].concat();
            assert_eq!(codes(&messages[0]), want, "{family}, {format:?}");
        }
    }
}

#[test]
fn external_peers_are_not_told_what_is_internal() {
    for format in formats() {
        let prefix = many(Family::Ipv4Unicast, 1);
        let messages = announce(&prefix, &v4("192.0.2.1"), &full(), Family::Ipv4Unicast, &format);
        let got = said(&messages, &format).attributes.unwrap();
        let want = if format.internal {
            full()
        } else {
            let cluster_list = Vec::new();
            Attributes { local_pref: None, originator_id: None, cluster_list, ..full() }
        };
        assert_eq!(got, want, "{format:?}: {}", hex(&messages[0]));
    }
}
