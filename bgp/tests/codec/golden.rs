//! Octets written down by hand, both ways: every message, attribute and capability.

use brindle_bgp::msg::{
    AddPathFamily, Aggregator, AsPath, AsSegment, Attributes, Capability, CeaseReason, Community,
    ExtendedCommunity, GracefulRestart, HoldTime, LargeCommunity, Message, NextHop, Notification,
    Open, Origin, Refresh, RestartFamily, RouteRefresh, SegmentKind, UnknownAttribute,
};
use brindle_bgp::net::{AfiSafi, ClusterId, Family, RouterId};
use bytes::Bytes;

use crate::support::{
    ADD_PATHS, EXTERNAL, INTERNAL, announce, asn, format, hex, message, path, paths, prefixes,
    read, unhex, v4, v6, withdraw, write,
};

/// A name, bits of the format, type and body of the message in hex, and what they mean.
pub(crate) type Golden = (&'static str, u8, u8, &'static str, Message);

/// Vectors that hold both ways.
pub(crate) fn vectors() -> Vec<Golden> {
    let mut all = messages();
    all.extend(opens());
    all.extend(updates());
    all.extend(attributes());
    all
}

fn messages() -> Vec<Golden> {
    let refresh = |afi, safi, kind| {
        Message::RouteRefresh(RouteRefresh { family: AfiSafi { afi, safi }, kind })
    };
    vec![
        ("keepalive", EXTERNAL, 4, "", Message::Keepalive),
        ("refresh of IPv4", EXTERNAL, 5, "0001 00 01", refresh(1, 1, Refresh::Request)),
        ("begin of refresh of IPv6", EXTERNAL, 5, "0002 01 01", refresh(2, 1, Refresh::Begin)),
        ("end of refresh of IPv6", EXTERNAL, 5, "0002 02 01", refresh(2, 1, Refresh::End)),
        ("unknown refresh", EXTERNAL, 5, "4004 47 80", refresh(0x4004, 128, Refresh::Unknown(71))),
        (
            "hold timer expired",
            EXTERNAL,
            3,
            "04 00",
            Message::Notification(Notification::hold_timer_expired()),
        ),
        (
            "shutdown with a text",
            EXTERNAL,
            3,
            "06 02 03 627965",
            Message::Notification(Notification::cease(
                CeaseReason::AdministrativeShutdown,
                Some("bye"),
            )),
        ),
        (
            "bad message length",
            EXTERNAL,
            3,
            "01 02 0013",
            Message::Notification(Notification::bad_length(19)),
        ),
    ]
}

fn opens() -> Vec<Golden> {
    let open = |my_as, hold, capabilities| {
        Message::Open(Open {
            my_as,
            hold_time: HoldTime::from_secs(hold).unwrap(),
            router_id: RouterId::new(0x0A00_0001).unwrap(),
            capabilities,
        })
    };
    let unicast = |family: Family| AfiSafi::from(family);
    let [v4, v6] = Family::ALL.map(unicast);
    vec![
        ("open without capabilities", 0, 1, "04 fde8 005a 0a000001 00", open(65000, 90, vec![])),
        (
            "open with the usual capabilities",
            0,
            1,
            "04 fde8 005a 0a000001 20 021e 01 04 0001 00 01 01 04 0002 00 01 02 00
             40 06 0078 0001 01 80 41 04 0000fde8 46 00",
            open(
                65000,
                90,
                vec![
                    Capability::Multiprotocol(v4),
                    Capability::Multiprotocol(v6),
                    Capability::RouteRefresh,
                    Capability::GracefulRestart(GracefulRestart {
                        restart_secs: 120,
                        families: vec![RestartFamily { family: v4, forwarding: true }],
                        ..GracefulRestart::default()
                    }),
                    Capability::FourOctetAsn(65000),
                    Capability::EnhancedRouteRefresh,
                ],
            ),
        ),
        (
            "open with several paths",
            0,
            1,
            "04 fde8 005a 0a000001 0c 020a 45 08 0001 01 03 0002 01 01",
            open(
                65000,
                90,
                vec![Capability::AddPaths(vec![
                    AddPathFamily::new(v4, true, true),
                    AddPathFamily::new(v6, true, false),
                ])],
            ),
        ),
        (
            "open with every capability",
            0,
            1,
            "04 5ba0 0000 0a000001 39 0237
             01 04 0001 00 01        # multiprotocol IPv4
             01 04 0002 00 01        # multiprotocol IPv6
             02 00                   # route refresh
             05 06 0001 0001 0002    # extended next hop
             06 00                   # extended message
             09 01 03                # role: customer
             40 0a c078 0001 01 80 0002 01 00
             41 04 000f4240          # four-octet AS number
             46 00                   # enhanced route refresh
             49 06 04 6e312e78 00    # host name, unknown here",
            open(
                23456,
                0,
                vec![
                    Capability::Multiprotocol(v4),
                    Capability::Multiprotocol(v6),
                    Capability::RouteRefresh,
                    Capability::ExtendedNextHop(vec![(v4, 2)]),
                    Capability::ExtendedMessage,
                    Capability::Role(3),
                    Capability::GracefulRestart(GracefulRestart {
                        restarting: true,
                        notification: true,
                        restart_secs: 120,
                        families: vec![
                            RestartFamily { family: v4, forwarding: true },
                            RestartFamily { family: v6, forwarding: false },
                        ],
                    }),
                    Capability::FourOctetAsn(1_000_000),
                    Capability::EnhancedRouteRefresh,
                    Capability::Unknown { code: 73, value: Bytes::from_static(b"\x04n1.x\0") },
                ],
            ),
        ),
    ]
}

fn updates() -> Vec<Golden> {
    vec![
        ("end of IPv4", EXTERNAL, 2, "0000 0000", Message::EndOfRib(Family::Ipv4Unicast)),
        (
            "end of IPv6",
            EXTERNAL,
            2,
            "0000 0006 80 0f 03 0002 01",
            Message::EndOfRib(Family::Ipv6Unicast),
        ),
        (
            "IPv4 withdrawn",
            EXTERNAL,
            2,
            "000c 08 0a 18 0a0a0a 20 c0000201 00 0000",
            Message::Update(withdraw(prefixes([
                "10.0.0.0/8",
                "10.10.10.0/24",
                "192.0.2.1/32",
                "0.0.0.0/0",
            ]))),
        ),
        (
            "IPv6 withdrawn",
            EXTERNAL,
            2,
            "0000 0013 90 0f 000f 0002 01 40 fd00001002440001 08 fd 00",
            Message::Update(withdraw(prefixes(["fd00:10:244:1::/64", "fd00::/8", "::/0"]))),
        ),
        (
            "IPv4 announced",
            EXTERNAL,
            2,
            "0000 0014 40 01 01 00 40 02 06 02 01 0000fde9 40 03 04 c0000201
             18 0af401 09 0a80",
            Message::Update(announce(
                v4("192.0.2.1"),
                prefixes(["10.244.1.0/24", "10.128.0.0/9"]),
                path(&[65001]),
            )),
        ),
        (
            "IPv6 announced, multiprotocol first",
            EXTERNAL,
            2,
            "0000 003d
             90 0e 001e 0002 01 10 20010db8000000000000000000000001 00 40 fd00001002440001
             40 01 01 00 40 02 06 02 01 0000fde9
             80 04 04 0000000a c0 08 04 fde90064",
            Message::Update(announce(
                v6("2001:db8::1"),
                prefixes(["fd00:10:244:1::/64"]),
                Attributes {
                    med: Some(10),
                    communities: vec![Community(0xFDE9_0064)],
                    ..path(&[65001])
                },
            )),
        ),
        (
            "IPv6 with a link-local address beside",
            EXTERNAL,
            2,
            "0000 0037
             90 0e 0026 0002 01 20 20010db8000000000000000000000001
                                  fe800000000000000000000000000001 00 00
             40 01 01 00 40 02 06 02 01 0000fde9",
            Message::Update(announce(
                NextHop::V6 {
                    global: "2001:db8::1".parse().unwrap(),
                    link_local: Some("fe80::1".parse().unwrap()),
                },
                prefixes(["::/0"]),
                path(&[65001]),
            )),
        ),
        (
            "several paths to IPv4 announced",
            EXTERNAL | ADD_PATHS,
            2,
            "0000 0014 40 01 01 00 40 02 06 02 01 0000fde9 40 03 04 c0000201
             00000000 18 0af401 00000007 18 0af401 ffffffff 09 0a80",
            Message::Update(announce(
                v4("192.0.2.1"),
                paths([(0, "10.244.1.0/24"), (7, "10.244.1.0/24"), (u32::MAX, "10.128.0.0/9")]),
                path(&[65001]),
            )),
        ),
        (
            "several paths to IPv6 announced",
            EXTERNAL | ADD_PATHS,
            2,
            "0000 0040
             90 0e 002f 0002 01 10 20010db8000000000000000000000001 00
                00000005 40 fd00001002440001 00000006 40 fd00001002440001
             40 01 01 00 40 02 06 02 01 0000fde9",
            Message::Update(announce(
                v6("2001:db8::1"),
                paths([(5, "fd00:10:244:1::/64"), (6, "fd00:10:244:1::/64")]),
                path(&[65001]),
            )),
        ),
        (
            "several paths to IPv4 withdrawn",
            EXTERNAL | ADD_PATHS,
            2,
            "0012 00000001 08 0a 00000002 08 0a 00000000 08 0b 0000",
            Message::Update(withdraw(paths([
                (1, "10.0.0.0/8"),
                (2, "10.0.0.0/8"),
                (0, "11.0.0.0/8"),
            ]))),
        ),
        (
            "a path to IPv6 withdrawn",
            EXTERNAL | ADD_PATHS,
            2,
            "0000 0014 90 0f 0010 0002 01 00000009 40 fd00001002440001",
            Message::Update(withdraw(paths([(9, "fd00:10:244:1::/64")]))),
        ),
        (
            "IPv4 over IPv6",
            EXTERNAL | 8,
            2,
            "0000 002a
             90 0e 0019 0001 01 10 fe800000000000000000000000000001 00 18 0af401
             40 01 01 00 40 02 06 02 01 0000fde9",
            Message::Update(announce(v6("fe80::1"), prefixes(["10.244.1.0/24"]), path(&[65001]))),
        ),
    ]
}

/// One vector for each attribute: the list, in hex, goes around an announcement of
/// 10.0.0.0/8 whose ORIGIN, AS_PATH and NEXT_HOP it includes.
fn attributes() -> Vec<Golden> {
    let update = |attributes| {
        Message::Update(announce(v4("192.0.2.1"), prefixes(["10.0.0.0/8"]), attributes))
    };
    let segment =
        |kind, asns: &[u32]| AsSegment { kind, asns: asns.iter().map(|&n| asn(n)).collect() };
    let aggregator =
        |number| Some(Aggregator { asn: asn(number), address: "192.0.2.9".parse().unwrap() });
    vec![
        (
            "origin EGP, empty path",
            INTERNAL,
            2,
            "0000 000e 40 01 01 01 40 02 00 40 03 04 c0000201 08 0a",
            update(Attributes { origin: Origin::Egp, ..path(&[]) }),
        ),
        (
            "origin incomplete, every kind of segment",
            INTERNAL,
            2,
            "0000 002e 40 01 01 02
             40 02 20 03 01 0000fc00 04 01 0000fc01 02 02 0000fde9 0001117a 01 02 00000001 00000002
             40 03 04 c0000201 08 0a",
            update(Attributes {
                origin: Origin::Incomplete,
                as_path: AsPath(vec![
                    segment(SegmentKind::ConfedSequence, &[64512]),
                    segment(SegmentKind::ConfedSet, &[64513]),
                    segment(SegmentKind::Sequence, &[65001, 70010]),
                    segment(SegmentKind::Set, &[1, 2]),
                ]),
                ..Attributes::default()
            }),
        ),
        (
            "every attribute of an internal peer",
            INTERNAL,
            2,
            "0000 007f 40 01 01 00 40 02 06 02 01 0000fde9 40 03 04 c0000201
             80 04 04 00000064       # MULTI_EXIT_DISC
             40 05 04 000000c8       # LOCAL_PREF
             40 06 00                # ATOMIC_AGGREGATE
             c0 07 08 0001117a c0000209
             c0 08 08 fde90001 ffffff01
             80 09 04 0a000005       # ORIGINATOR_ID
             80 0a 08 0a000007 0a000006
             c0 10 10 0002fde900000064 4000fde900000001
             e0 1a 03 010203         # unknown, passed on as partial
             c0 20 0c 0001117a 00000001 00000002
             c0 23 04 0001117a       # ONLY_TO_CUSTOMER
             e0 80 00
             08 0a",
            update(Attributes {
                med: Some(100),
                local_pref: Some(200),
                atomic_aggregate: true,
                aggregator: aggregator(70010),
                communities: vec![Community(0xFDE9_0001), Community::NO_EXPORT],
                originator_id: Some(RouterId::new(0x0A00_0005).unwrap()),
                cluster_list: vec![ClusterId(0x0A00_0007), ClusterId(0x0A00_0006)],
                extended_communities: vec![
                    ExtendedCommunity([0, 2, 0xFD, 0xE9, 0, 0, 0, 100]),
                    ExtendedCommunity([0x40, 0, 0xFD, 0xE9, 0, 0, 0, 1]),
                ],
                large_communities: vec![LargeCommunity { global: 70010, local1: 1, local2: 2 }],
                only_to_customer: Some(70010),
                unknown: vec![
                    UnknownAttribute {
                        code: 26,
                        partial: true,
                        value: Bytes::from_static(&[1, 2, 3]),
                    },
                    UnknownAttribute { code: 128, partial: true, value: Bytes::new() },
                ],
                ..path(&[65001])
            }),
        ),
        (
            "two octets are enough",
            0,
            2,
            "0000 001d 40 01 01 00 40 02 06 02 02 fde9 0001 40 03 04 c0000201
             c0 07 06 fde9 c0000209 08 0a",
            update(Attributes { aggregator: aggregator(65001), ..path(&[65001, 1]) }),
        ),
        (
            "two octets are not enough",
            0,
            2,
            "0000 0035 40 01 01 00 40 02 06 02 02 fde9 5ba0 40 03 04 c0000201
             c0 07 06 5ba0 c0000209
             c0 11 0a 02 02 0000fde9 0001117a
             c0 12 08 0001117a c0000209
             08 0a",
            update(Attributes { aggregator: aggregator(70010), ..path(&[65001, 70010]) }),
        ),
    ]
}

#[test]
fn golden_octets_are_read_and_written() {
    for (name, bits, kind, body, want) in vectors() {
        let format = format(bits);
        let octets = message(kind, &unhex(body));
        let got = read(&octets, &format).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got.message, want, "{name}");
        assert_eq!(got.faults, [], "{name}");
        assert_eq!(hex(&write(&want, &format)), hex(&octets), "{name}");
    }
}
