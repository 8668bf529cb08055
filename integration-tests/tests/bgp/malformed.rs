//! A peer that sends nonsense: RFC 7606 says what becomes of it; others notice nothing.

use std::collections::BTreeMap;

use integration_tests::agent::{Agent, Config};
use integration_tests::octets::{
    KEEPALIVE, NEXT_HOP, as_path, attribute, message, mp_reach, nlri, open, update, usual,
};
use integration_tests::rawpeer::RawPeer;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, skip, until};

const PREFIX: &str = "198.51.100.0/24";

/// What must become of a route that stood before, when the message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The message counts, without the attribute.
    Kept,
    /// The route is withdrawn (treat-as-withdraw).
    Withdrawn,
}

/// Attributes of an announcement of [`PREFIX`], and its fate.
fn attributes(from: &Host) -> Vec<(&'static str, Vec<u8>, Fate)> {
    use Fate::{Kept, Withdrawn};
    let origin = attribute(0x40, 1, &[0]);
    let path = as_path(&[65002]);
    let next_hop = attribute(0x40, NEXT_HOP, &from.v4.octets());
    let good = usual(&[65002], from.v4);
    let with = |extra: Vec<u8>| [good.clone(), extra].concat();
    vec![
        ("nothing wrong", good.clone(), Kept),
        ("no ORIGIN", [path.clone(), next_hop.clone()].concat(), Withdrawn),
        ("no AS_PATH", [origin.clone(), next_hop.clone()].concat(), Withdrawn),
        ("no NEXT_HOP", [origin.clone(), path.clone()].concat(), Withdrawn),
        (
            "ORIGIN of two octets",
            [attribute(0x40, 1, &[0, 0]), path.clone(), next_hop.clone()].concat(),
            Withdrawn,
        ),
        (
            "ORIGIN 9",
            [attribute(0x40, 1, &[9]), path.clone(), next_hop.clone()].concat(),
            Withdrawn,
        ),
        (
            "ORIGIN flagged optional",
            [attribute(0xc0, 1, &[0]), path.clone(), next_hop.clone()].concat(),
            Withdrawn,
        ),
        ("ORIGIN twice", with(origin.clone()), Kept),
        (
            "an AS_PATH segment longer than the attribute",
            [origin.clone(), attribute(0x40, 2, &[2, 9, 0, 0, 0xfd, 0xea]), next_hop.clone()]
                .concat(),
            Withdrawn,
        ),
        (
            "an AS_PATH segment of no numbers",
            [origin.clone(), attribute(0x40, 2, &[2, 0]), next_hop.clone()].concat(),
            Withdrawn,
        ),
        (
            "an AS_PATH segment of unknown kind",
            [origin.clone(), attribute(0x40, 2, &[7, 1, 0, 0, 0xfd, 0xea]), next_hop.clone()]
                .concat(),
            Withdrawn,
        ),
        ("AS 0 in AS_PATH", [origin.clone(), as_path(&[65002, 0]), next_hop].concat(), Withdrawn),
        (
            "NEXT_HOP of three octets",
            [origin, path, attribute(0x40, NEXT_HOP, &[10, 9, 0])].concat(),
            Withdrawn,
        ),
        ("MED of three octets", with(attribute(0x80, 4, &[0, 0, 1])), Withdrawn),
        ("ATOMIC_AGGREGATE with a value", with(attribute(0x40, 6, &[1])), Kept),
        ("AGGREGATOR of seven octets", with(attribute(0xc0, 7, &[0; 7])), Kept),
        ("COMMUNITIES of five octets", with(attribute(0xc0, 8, &[0; 5])), Withdrawn),
        ("COMMUNITIES of none", with(attribute(0xc0, 8, &[])), Withdrawn),
        ("EXTENDED COMMUNITIES of seven", with(attribute(0xc0, 16, &[0; 7])), Withdrawn),
        ("LARGE_COMMUNITY of eleven octets", with(attribute(0xc0, 32, &[0; 11])), Withdrawn),
        ("a bad LOCAL_PREF from outside", with(attribute(0x40, 5, &[1])), Kept),
        ("a bad ORIGINATOR_ID from outside", with(attribute(0x80, 9, &[1])), Kept),
        ("a bad CLUSTER_LIST from outside", with(attribute(0x80, 10, &[1])), Kept),
        (
            "a Prefix-SID of zeros, as was seen in the wild",
            with(attribute(0xc0, 40, &[0; 37])),
            Kept,
        ),
        ("an attribute that ends after the list", with(vec![0xc0, 8, 200, 1, 2]), Withdrawn),
        ("an attribute cut after its flags", with(vec![0xc0]), Withdrawn),
    ]
}

#[test]
fn malformed_attributes_cost_the_route_or_the_attribute_and_never_the_session() {
    let test = "malformed_attributes_cost_the_route_or_the_attribute_and_never_the_session";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, odd, calm) = (lan.host("n1", 1), lan.host("odd", 2), lan.host("calm", 3));
    let config = Config::new(65001).peer("odd", &odd, 65002, ", passive: true").peer(
        "calm",
        &calm,
        65003,
        ", passive: true",
    );
    let agent = Agent::start(&us, &config);
    let odd_peer = RawPeer::establish(&odd, us.v4.into(), 65002);
    let calm_peer = RawPeer::establish(&calm, us.v4.into(), 65003);
    let good = update(&[], &usual(&[65002], odd.v4), &nlri(&[PREFIX]));

    for (number, (what, attributes, fate)) in attributes(&odd).into_iter().enumerate() {
        // A route that is good, then the message, then a mark that comes through after it.
        let mark = format!("100.64.{number}.0/24");
        let mark_update = update(&[], &usual(&[65002], odd.v4), &nlri(&[&mark]));
        odd_peer.send(&good).unwrap_or_else(|error| panic!("before {what}: {error}"));
        calm_peer.hears(PREFIX);
        odd_peer.send(&update(&[], &attributes, &nlri(&[PREFIX]))).expect("still open");
        odd_peer.send(&mark_update).unwrap_or_else(|error| panic!("after {what}: {error}"));
        until(&format!("the session goes on after {what}"), SOON, || {
            let notification = odd_peer.notification();
            assert_eq!(notification, None, "after {what}");
            met(calm_peer.routes().contains_key(&mark), || agent.peer("odd").to_string())
        });
        match fate {
            Fate::Kept => assert!(agent.route(PREFIX).is_some(), "kept after {what}"),
            Fate::Withdrawn => {
                assert_eq!(agent.route(PREFIX), None, "withdrawn after {what}");
                calm_peer.loses(PREFIX);
            }
        }
    }
    for name in ["odd", "calm"] {
        let peer = agent.up(name);
        assert_eq!(peer["flaps"], 0, "{peer}");
    }
}

#[test]
fn unknown_attributes_of_every_code_are_passed_on_and_never_cost_the_session() {
    let test = "unknown_attributes_of_every_code_are_passed_on_and_never_cost_the_session";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, odd, calm) = (lan.host("n1", 1), lan.host("odd", 2), lan.host("calm", 3));
    let config = Config::new(65001).peer("odd", &odd, 65002, ", passive: true").peer(
        "calm",
        &calm,
        65003,
        ", passive: true",
    );
    let agent = Agent::start(&us, &config);
    let odd_peer = RawPeer::establish(&odd, us.v4.into(), 65002);
    let calm_peer = RawPeer::establish(&calm, us.v4.into(), 65003);

    // What brindle understands, a Prefix-SID (40) as far as to drop a malformed one.
    // Malformed MP_REACH_NLRI and MP_UNREACH_NLRI (14, 15) rightly end the session.
    let known = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 35, 40];
    let mut sent = BTreeMap::new();
    for code in (0..=255_u8).filter(|code| ![14, 15].contains(code)) {
        let length = usize::from(code) * 7 % 300;
        let value: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8 ^ code).collect();
        let prefix = format!("100.64.{code}.0/24");
        let attributes = [usual(&[65002], odd.v4), attribute(0xc0, code, &value)].concat();
        odd_peer.send(&update(&[], &attributes, &nlri(&[&prefix]))).expect("still open");
        sent.insert(code, (prefix, value));
    }
    odd_peer.send(&update(&[], &usual(&[65002], odd.v4), &nlri(&[PREFIX]))).expect("still open");
    calm_peer.hears(PREFIX);
    for (code, (prefix, value)) in sent.iter().filter(|(code, _)| !known.contains(code)) {
        // Paths with other attributes may be told in any order.
        let path = calm_peer.hears(prefix);
        assert_eq!(path.get(code), Some(&(0xe0, value.clone())), "code {code}");
    }
    for name in ["odd", "calm"] {
        assert_eq!(agent.up(name)["flaps"], 0, "{name}");
    }
}

#[test]
fn what_cannot_be_read_at_all_ends_that_session_with_the_right_code_and_no_other() {
    let test = "what_cannot_be_read_at_all_ends_that_session_with_the_right_code_and_no_other";
    if !skip::can_run(test, &[]) {
        return;
    }
    let keepalive = message(KEEPALIVE, &[]);
    let with = |at: usize, octet: u8| {
        let mut octets = keepalive.clone();
        octets[at] = octet;
        octets
    };
    let lan = Lan::new();
    let (us, calm) = (lan.host("n1", 1), lan.host("calm", 3));
    let usual = usual(&[65002], [10, 9, 0, 20].into());
    let reach = mp_reach("fd09::14".parse().expect("an address"), &["2001:db8::/48"]);
    let mut long_next_hop = reach.clone();
    long_next_hop[6] = 9;
    let attributes_too_long = message(2, &[0, 0, 0, 9, 0x40, 1, 1, 0]);
    let withdrawn_too_long = message(2, &[0, 9, 0, 0]);
    let rows: Vec<(&str, Vec<u8>, u8, &[u8])> = vec![
        ("a marker with one bit off", with(7, 0xfe), 1, &[1]),
        ("a length of 18", with(17, 18), 1, &[2]),
        ("a KEEPALIVE of 20 octets", message(KEEPALIVE, &[0]), 1, &[2]),
        ("an unknown type", with(18, 9), 1, &[3]),
        ("attributes longer than the message", attributes_too_long, 3, &[1]),
        ("withdrawn prefixes longer than the message", withdrawn_too_long, 3, &[1]),
        ("an IPv4 prefix of 33 bits", update(&[], &usual, &[33, 1, 2, 3, 4, 5]), 3, &[10]),
        ("a prefix that is cut off", update(&[], &usual, &[24, 1, 2]), 3, &[10]),
        (
            "MP_REACH_NLRI twice",
            update(&[], &[usual.clone(), reach.clone(), reach].concat(), &[]),
            3,
            &[1],
        ),
        (
            "an IPv6 next hop of nine octets",
            update(&[], &[usual.clone(), long_next_hop].concat(), &[]),
            3,
            &[0, 1, 5, 8, 9],
        ),
        ("a second OPEN", open(65002, [10, 9, 0, 2].into(), 90), 5, &[0, 3]),
    ];
    let hosts: Vec<Host> = (20..).zip(&rows).map(|(n, _)| lan.host(&format!("h{n}"), n)).collect();
    let mut config = Config::new(65001).peer("calm", &calm, 65003, ", passive: true");
    for host in &hosts {
        config = config.peer(host.netns.name(), host, 65002, ", passive: true");
    }
    let agent = Agent::start(&us, &config);
    let calm_peer = RawPeer::establish(&calm, us.v4.into(), 65003);

    for (host, (what, octets, code, subcodes)) in hosts.iter().zip(rows) {
        let peer = RawPeer::establish(host, us.v4.into(), 65002);
        peer.send(&octets).expect("the session is new");
        until(&format!("the session ends after {what}"), SOON, || {
            met(peer.is_closed(), || agent.peer(host.netns.name()).to_string())
        });
        let (got, subcode, _) = peer.notification().unwrap_or_else(|| panic!("no reason: {what}"));
        assert_eq!(got, code, "code for {what}");
        assert!(subcodes.contains(&subcode), "subcode {subcode} for {what}, want {subcodes:?}");
        let shown = agent.peer(host.netns.name());
        assert_eq!(shown["lastNotificationSent"]["code"], code, "{what}: {shown}");
        assert!(!calm_peer.is_closed(), "the other session after {what}");
    }
    assert_eq!(agent.up("calm")["flaps"], 0);
}
