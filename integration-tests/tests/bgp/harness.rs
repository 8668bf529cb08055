//! The harness itself: others' routers talk to each other and to a raw peer, so that a
//! failing test of brindle can be trusted to be about brindle.

use std::net::IpAddr;

use integration_tests::octets::{attribute, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Lan, kernel, until};

#[test]
fn two_others_exchange_routes_of_both_families_and_survive_a_restart() {
    let test = "two_others_exchange_routes_of_both_families_and_survive_a_restart";
    for (one, two) in [(Kind::Bird, Kind::Gobgp), (Kind::Gobgp, Kind::Frr), (Kind::Frr, Kind::Bird)]
    {
        if !one.can_run(test) || !two.can_run(test) {
            continue;
        }
        let lan = Lan::new();
        let (a, b) = (lan.host("a", 1), lan.host("b", 2));
        let towards = |address: IpAddr, asn| Neighbor::new(address, asn);
        let mut left = one.start(
            &a,
            Plan {
                asn: 65001,
                neighbors: vec![towards(b.v4.into(), 65002), towards(b.v6.into(), 65002)],
                originate: vec!["192.0.2.0/24".into(), "2001:db8:1::/48".into()],
            },
        );
        let mut right = two.start(
            &b,
            Plan {
                asn: 65002,
                neighbors: vec![towards(a.v4.into(), 65001), towards(a.v6.into(), 65001)],
                originate: vec![],
            },
        );
        let sees = |router: &dyn integration_tests::router::Router, prefix: &str| {
            let what = format!("{one:?} to {two:?}: {prefix}");
            until(&what, SOON, || {
                let state = router.session(a.v4.into()).text;
                router.route(prefix).ok_or(state)
            })
        };
        let v4 = sees(&*right, "192.0.2.0/24");
        assert_eq!((v4.as_path, v4.next_hop), (vec![65001], a.v4.into()), "{one:?} to {two:?}");
        let v6 = sees(&*right, "2001:db8:1::/48");
        assert_eq!((v6.as_path, v6.next_hop), (vec![65001], a.v6.into()), "{one:?} to {two:?}");
        assert_eq!(right.learned(a.v4.into()), 1, "{one:?} to {two:?}");
        left.originate("198.51.100.0/24");
        sees(&*right, "198.51.100.0/24");
        left.withdraw("192.0.2.0/24");
        until("a withdrawal", SOON, || {
            met(right.route("192.0.2.0/24").is_none(), || "still there".into())
        });
        left.kill();
        until("the session is down", SOON, || {
            let session = right.session(a.v4.into());
            met(!session.up, || session.text)
        });
        left.start();
        sees(&*right, "198.51.100.0/24");
        left.shut(b.v4.into(), "moving to another rack");
        until("the words arrive", SOON, || {
            let session = right.session(a.v4.into());
            met(session.text.contains("moving to another rack"), || session.text)
        });
        right.kill();
    }
}

#[test]
fn a_raw_peer_reads_back_what_it_wrote_through_each_of_the_others() {
    let test = "a_raw_peer_reads_back_what_it_wrote_through_each_of_the_others";
    for kind in Kind::ALL {
        if !kind.can_run(test) {
            continue;
        }
        let lan = Lan::new();
        let (middle, source, sink) = (lan.host("m", 1), lan.host("source", 2), lan.host("sink", 3));
        let router = kind.start(
            &middle,
            Plan {
                asn: 65001,
                neighbors: vec![
                    Neighbor::new(source.v4, 4_200_000_002),
                    Neighbor::new(sink.v4, 65003),
                ],
                originate: vec![],
            },
        );
        let writer = RawPeer::establish(&source, middle.v4.into(), 4_200_000_002);
        let reader = RawPeer::establish(&sink, middle.v4.into(), 65003);
        let community = attribute(0xc0, 8, &[0xfc, 0x00, 0, 7]);
        let attributes = [usual(&[4_200_000_002, 65010], source.v4), community].concat();
        writer.send(&update(&[], &attributes, &nlri(&["203.0.113.0/24"]))).expect("a session");
        let path = reader.hears("203.0.113.0/24");
        let want = [
            [2, 3].as_slice(),
            &65001u32.to_be_bytes(),
            &4_200_000_002u32.to_be_bytes(),
            &65010u32.to_be_bytes(),
        ]
        .concat();
        assert_eq!(path[&2].1, want, "AS_PATH through {kind:?}");
        assert_eq!(path[&8], (0xc0, vec![0xfc, 0x00, 0, 7]), "communities through {kind:?}");
        let seen = router.route("203.0.113.0/24").expect("it was passed on");
        assert_eq!(seen.communities, ["64512:7"], "{kind:?}");
        assert_eq!(seen.as_path, [4_200_000_002, 65010], "{kind:?}");
        writer.send(&update(&nlri(&["203.0.113.0/24"]), &[], &[])).expect("a session");
        reader.loses("203.0.113.0/24");
    }
}

#[test]
fn kernel_routes_are_listed_and_their_changes_seen() {
    let test = "kernel_routes_are_listed_and_their_changes_seen";
    if !integration_tests::skip::can_run(test, &["ip"]) {
        return;
    }
    let lan = Lan::new();
    let host = lan.host("h", 1);
    let monitor = kernel::Monitor::start(&host.netns);
    let ip = |words: &str| host.netns.ip(words).expect("ip works");
    ip("route add 192.0.2.0/24 via 10.9.0.2 proto 98 metric 512");
    ip("route add unreachable 2001:db8::/48 proto 98 metric 9000");
    ip("route add 198.51.100.7/32 via 10.9.0.2 proto 98");
    ip("route add 203.0.113.0/24 proto 98 nexthop via 10.9.0.2 nexthop via 10.9.0.3");
    ip("route add 203.0.112.0/24 via 10.9.0.2 proto 4");
    let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
    let shown: Vec<String> = routes
        .iter()
        .map(|r| format!("{} {} {} {}", r.prefix, r.kind, r.gateways.join(","), r.metric))
        .collect();
    let want = [
        "192.0.2.0/24 unicast 10.9.0.2 512",
        "198.51.100.7/32 unicast 10.9.0.2 0",
        "2001:db8::/48 unreachable  9000",
        "203.0.113.0/24 unicast 10.9.0.2,10.9.0.3 0",
    ];
    assert_eq!(shown, want);
    assert_eq!(monitor.changes("98").len(), 4);
    ip("route del 192.0.2.0/24 proto 98 metric 512");
    let changes = monitor.changes("98");
    assert!(changes[4].starts_with("Deleted 192.0.2.0/24"), "{changes:?}");
}
