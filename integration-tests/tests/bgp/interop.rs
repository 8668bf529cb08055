//! brindle with BIRD, FRR and GoBGP: the same questions to each.

use std::net::IpAddr;

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel;
use integration_tests::octets::{
    NEXT_HOP, RawPath, as_path, attribute, mp_reach, nlri, update, usual,
};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, until};

/// One test for each implementation.
macro_rules! with_each {
    ($($question:ident;)*) => {
        $(mod $question {
            use integration_tests::router::Kind;

            #[test]
            fn bird() {
                super::ask(stringify!($question), Kind::Bird, super::$question);
            }

            #[test]
            fn frr() {
                super::ask(stringify!($question), Kind::Frr, super::$question);
            }

            #[test]
            fn gobgp() {
                super::ask(stringify!($question), Kind::Gobgp, super::$question);
            }
        })*
    };
}

with_each! {
    an_external_session_carries_routes_of_both_families_both_ways;
    an_internal_session_carries_routes_of_both_families_both_ways;
    attributes_pass_between_as_es_intact;
    attributes_pass_inside_an_as_intact;
    a_killed_router_takes_its_routes_along_and_brings_them_back;
    the_wrong_as_is_refused_with_its_reason_on_both_sides;
    the_words_of_a_shutdown_arrive_on_the_other_side;
    a_thousand_routes_of_each_family_are_learned_and_installed;
}

fn ask(question: &str, kind: Kind, answer: fn(Kind)) {
    if kind.can_run(&format!("interop::{question} with {kind:?}")) {
        answer(kind);
    }
}

const OUR_V4: &str = "192.0.2.0/24";
const OUR_V6: &str = "2001:db8:1::/48";
const THEIR_V4: &str = "198.51.100.0/24";
const THEIR_V6: &str = "2001:db8:2::/48";

/// brindle and another router on one link.
struct Pair {
    lan: Lan,
    us: Host,
    them: Host,
    our_as: u32,
    their_as: u32,
}

impl Pair {
    fn new(our_as: u32, their_as: u32) -> Self {
        let lan = Lan::new();
        let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
        Self { lan, us, them, our_as, their_as }
    }

    /// What the other router is told: brindle on both families, and `more`.
    fn plan(&self, originate: &[&str], more: &[Neighbor]) -> Plan {
        let brindle = |address: IpAddr| Neighbor::new(address, self.our_as);
        let mut neighbors = vec![brindle(self.us.v4.into()), brindle(self.us.v6.into())];
        neighbors.extend(more.iter().cloned());
        Plan {
            asn: self.their_as,
            neighbors,
            originate: originate.iter().map(ToString::to_string).collect(),
        }
    }

    fn config(&self) -> Config {
        Config::new(self.our_as).peer("other", &self.them, self.their_as, "")
    }
}

/// Waits until the other router has a route to `prefix`.
#[track_caller]
fn sees(router: &dyn Router, from: IpAddr, prefix: &str) -> integration_tests::router::Seen {
    until(&format!("the other router has {prefix}"), SOON, || {
        router.route(prefix).ok_or_else(|| router.session(from).text)
    })
}

#[track_caller]
fn loses(router: &dyn Router, prefix: &str) {
    until(&format!("the other router forgets {prefix}"), SOON, || match router.route(prefix) {
        None => Ok(()),
        Some(seen) => Err(format!("{seen:?}")),
    });
}

/// The kernel's gateways for a prefix by a route of ours.
fn gateways(host: &Host, prefix: &str) -> Option<Vec<String>> {
    let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
    routes.into_iter().find(|route| route.prefix == prefix).map(|route| route.gateways)
}

#[track_caller]
fn installed(host: &Host, prefix: &str, gateway: IpAddr) {
    until(&format!("the kernel has {prefix} via {gateway}"), SOON, || {
        let gateways = gateways(host, prefix);
        met(gateways == Some(vec![gateway.to_string()]), || format!("{gateways:?}"))
    });
}

fn an_external_session_carries_routes_of_both_families_both_ways(kind: Kind) {
    routes_go_both_ways(kind, &Pair::new(65001, 65002));
}

fn an_internal_session_carries_routes_of_both_families_both_ways(kind: Kind) {
    routes_go_both_ways(kind, &Pair::new(65001, 65001));
}

fn routes_go_both_ways(kind: Kind, pair: &Pair) {
    let mut other = kind.start(&pair.them, pair.plan(&[THEIR_V4, THEIR_V6], &[]));
    let agent = Agent::start(&pair.us, &pair.config().networks(&[OUR_V4, OUR_V6]));
    agent.up("other");
    agent.up("other-v6");
    let is_external = pair.our_as != pair.their_as;

    for (prefix, from) in [(OUR_V4, IpAddr::from(pair.us.v4)), (OUR_V6, pair.us.v6.into())] {
        let seen = sees(&*other, from, prefix);
        let path = if is_external { vec![pair.our_as] } else { vec![] };
        assert_eq!((seen.as_path, seen.next_hop), (path, from), "{prefix}");
        if !is_external {
            assert_eq!(seen.local_pref, Some(100), "{prefix}");
        }
    }
    for (prefix, from) in [(THEIR_V4, IpAddr::from(pair.them.v4)), (THEIR_V6, pair.them.v6.into())]
    {
        let path = agent.learns(prefix);
        let as_path = if is_external { pair.their_as.to_string() } else { String::new() };
        assert_eq!(path["attributes"]["asPath"], as_path, "{path}");
        assert_eq!(path["nextHop"], from.to_string(), "{path}");
        installed(&pair.us, prefix, from);
    }

    // A change on either side arrives on the other, and so does its end.
    for (prefix, from) in
        [("203.0.113.0/24", IpAddr::from(pair.them.v4)), ("2001:db8:3::/48", pair.them.v6.into())]
    {
        other.originate(prefix);
        agent.learns(prefix);
        installed(&pair.us, prefix, from);
        other.withdraw(prefix);
        agent.forgets(prefix);
        until("the kernel forgets it", SOON, || {
            let gateways = gateways(&pair.us, prefix);
            met(gateways.is_none(), || format!("{gateways:?}"))
        });
    }
    agent.reload(&pair.config().networks(&[OUR_V6, "192.0.3.0/24"]));
    sees(&*other, pair.us.v4.into(), "192.0.3.0/24");
    loses(&*other, OUR_V4);
    sees(&*other, pair.us.v6.into(), OUR_V6);
    agent.reload(&pair.config());
    loses(&*other, OUR_V6);
}

fn attributes_pass_between_as_es_intact(kind: Kind) {
    attributes_pass(kind, &Pair::new(65001, 65002));
}

fn attributes_pass_inside_an_as_intact(kind: Kind) {
    attributes_pass(kind, &Pair::new(65001, 65001));
}

/// raw peer "left" - brindle - the other router - raw peer "right", and octets written on
/// one end are compared with octets read on the other, in both directions and families.
fn attributes_pass(kind: Kind, pair: &Pair) {
    let (left_as, right_as) = (4_200_000_003, 4_200_000_004);
    let (left, right) = (pair.lan.host("left", 3), pair.lan.host("right", 4));
    let raw = |address: IpAddr| Neighbor::new(address, right_as);
    let more = [raw(right.v4.into()), raw(right.v6.into())];
    let other = kind.start(&pair.them, pair.plan(&[], &more));
    let agent =
        Agent::start(&pair.us, &pair.config().peer("left", &left, left_as, ", passive: true"));
    agent.up("other");
    agent.up("other-v6");
    let is_external = pair.our_as != pair.their_as;

    let between = if is_external { vec![pair.our_as, pair.their_as] } else { vec![pair.our_as] };
    for is_v6 in [false, true] {
        let of = |host: &Host| if is_v6 { IpAddr::from(host.v6) } else { host.v4.into() };
        let left_peer = RawPeer::establish(&left, of(&pair.us), left_as);
        let right_peer = RawPeer::establish(&right, of(&pair.them), right_as);

        // From right to left: brindle is the last that touches it.
        let prefix = if is_v6 { "2001:db8:aa::/48" } else { "203.0.113.0/24" };
        right_peer.send(&everything(right_as, &right, prefix)).expect("an open session");
        let path = left_peer.hears(prefix);
        let hops: Vec<u32> = between.iter().copied().chain([right_as, 65010]).collect();
        assert_passed_on(&path, &hops);
        assert_eq!(path[&200], (0xe0, vec![1, 2, 3, 4, 5, 6, 7, 8]), "Partial is set, as it came");
        assert!(!path.contains_key(&4), "MED does not leave the AS: {path:?}");
        assert!(!path.contains_key(&5), "LOCAL_PREF does not leave the AS: {path:?}");
        let ours = agent.route(prefix).expect("it was passed on");
        let attributes = &ours["attributes"];
        assert_eq!(attributes["communities"], serde_json::json!(["64512:7"]), "{ours}");
        assert_eq!(attributes["largeCommunities"], serde_json::json!(["4200000009:1:2"]), "{ours}");
        assert_eq!(attributes["unknown"][0]["code"], 200, "{ours}");
        if !is_external {
            assert_eq!((&attributes["med"], &attributes["localPref"]), (&50.into(), &100.into()));
            assert_eq!(ours["nextHop"], of(&right).to_string(), "unchanged inside an AS: {ours}");
        }

        // From left to right: brindle is the first.
        let prefix = if is_v6 { "2001:db8:bb::/48" } else { "203.0.114.0/24" };
        left_peer.send(&everything(left_as, &left, prefix)).expect("an open session");
        let path = right_peer.hears(prefix);
        let hops: Vec<u32> = between.iter().rev().copied().chain([left_as, 65010]).collect();
        assert_passed_on(&path, &hops);
        let (flags, value) = &path[&200];
        assert_eq!((flags & 0xc0, value.as_slice()), (0xc0, [1, 2, 3, 4, 5, 6, 7, 8].as_slice()));
        let theirs = other.route(prefix).expect("it was passed on");
        assert_eq!(theirs.communities, ["64512:7"]);
        assert_eq!(theirs.large_communities, ["4200000009:1:2"]);
        if !is_external {
            assert_eq!((theirs.med, theirs.local_pref), (Some(50), Some(100)));
            assert_eq!(theirs.next_hop, of(&left), "unchanged inside an AS");
        }
    }
}

/// An UPDATE with every attribute that can be passed on, and one that cannot.
fn everything(asn: u32, from: &Host, prefix: &str) -> Vec<u8> {
    let mut aggregator = 4_200_000_009_u32.to_be_bytes().to_vec();
    aggregator.extend([192, 0, 2, 9]);
    let large = [4_200_000_009_u32, 1, 2].map(u32::to_be_bytes).concat();
    let mut attributes = [
        attribute(0x40, 1, &[2]),
        as_path(&[asn, 65010]),
        attribute(0x80, 4, &50_u32.to_be_bytes()),
        attribute(0x40, 6, &[]),
        attribute(0xc0, 7, &aggregator),
        attribute(0xc0, 8, &[0xfc, 0x00, 0, 7]),
        attribute(0xc0, 16, &[0, 2, 0xfd, 0xe8, 0, 0, 0, 5]),
        attribute(0xc0, 32, &large),
        attribute(0xc0, 200, &[1, 2, 3, 4, 5, 6, 7, 8]),
        attribute(0x80, 201, &[9]),
    ]
    .concat();
    if prefix.contains(':') {
        attributes.extend(mp_reach(from.v6, &[prefix]));
        return update(&[], &attributes, &[]);
    }
    attributes.extend(attribute(0x40, NEXT_HOP, &from.v4.octets()));
    update(&[], &attributes, &nlri(&[prefix]))
}

#[track_caller]
fn assert_passed_on(path: &RawPath, hops: &[u32]) {
    let value = |code: u8| path.get(&code).map(|(_, value)| value.as_slice()).unwrap_or_default();
    let mut as_path = vec![2, u8::try_from(hops.len()).expect("a few")];
    as_path.extend(hops.iter().flat_map(|hop| hop.to_be_bytes()));
    assert_eq!(value(2), as_path, "AS_PATH of {path:?}");
    assert_eq!(value(1), [2], "ORIGIN of {path:?}");
    assert!(path.contains_key(&6), "ATOMIC_AGGREGATE of {path:?}");
    assert_eq!(value(7), [0xfa, 0x56, 0xea, 0x09, 192, 0, 2, 9], "AGGREGATOR of {path:?}");
    assert_eq!(value(8), [0xfc, 0x00, 0, 7], "COMMUNITIES of {path:?}");
    assert_eq!(value(16), [0, 2, 0xfd, 0xe8, 0, 0, 0, 5], "EXTENDED COMMUNITIES of {path:?}");
    let large = [4_200_000_009_u32, 1, 2].map(u32::to_be_bytes).concat();
    assert_eq!(value(32), large, "LARGE_COMMUNITY of {path:?}");
    assert!(!path.contains_key(&201), "unknown and not transitive: {path:?}");
}

fn a_killed_router_takes_its_routes_along_and_brings_them_back(kind: Kind) {
    let pair = Pair::new(65001, 65002);
    let mut other = kind.start(&pair.them, pair.plan(&[THEIR_V4, THEIR_V6], &[]));
    // With it, they would not.
    let config = pair.config().networks(&[OUR_V4]).bgp("gracefulRestart: {enabled: false}");
    let mut agent = Agent::start(&pair.us, &config);
    for _ in 0..2 {
        installed(&pair.us, THEIR_V4, pair.them.v4.into());
        installed(&pair.us, THEIR_V6, pair.them.v6.into());
        other.kill();
        agent.forgets(THEIR_V4);
        agent.forgets(THEIR_V6);
        until("the kernel forgets them", SOON, || {
            let left = [THEIR_V4, THEIR_V6].map(|prefix| gateways(&pair.us, prefix));
            met(left == [None, None], || format!("{left:?}"))
        });
        let peer = agent.peer("other");
        assert!(peer["lastReason"].as_str().is_some_and(|why| !why.is_empty()), "{peer}");
        other.start();
    }
    installed(&pair.us, THEIR_V4, pair.them.v4.into());
    sees(&*other, pair.us.v4.into(), OUR_V4);

    // And the other way round.
    agent.kill();
    loses(&*other, OUR_V4);
    agent.start_again();
    sees(&*other, pair.us.v4.into(), OUR_V4);
    agent.stop();
    loses(&*other, OUR_V4);
}

fn the_wrong_as_is_refused_with_its_reason_on_both_sides(kind: Kind) {
    // We expect another AS of them than they are in.
    let pair = Pair::new(65001, 65002);
    let other = kind.start(&pair.them, pair.plan(&[], &[]));
    let wrong = Config::new(65001).peer("other", &pair.them, 65009, "");
    let agent = Agent::start(&pair.us, &wrong);
    until("we say that the AS is wrong, and which is which", SOON, || {
        let peer = agent.peer("other");
        let sent = &peer["lastNotificationSent"];
        // In between stands what became of the next attempt, as "connection reset".
        let reason = peer["lastReason"].as_str().unwrap_or_default();
        let is_said = reason.contains("65002") && reason.contains("65009");
        met(is_said && sent["code"] == 2 && sent["subcode"] == 2, || peer.to_string())
    });
    until("they have heard it", SOON, || {
        let text = other.session(pair.us.v4.into()).text.to_lowercase();
        // BIRD and FRR show the reason, GoBGP only that there was a NOTIFICATION.
        let is_told = ["bad peer as", "\"0202\"", "\"received\":{\"notification\""];
        met(is_told.iter().any(|words| text.contains(words)), || text)
    });
    drop((agent, other));

    // They expect another AS of us than we are in.
    let pair = Pair::new(65001, 65002);
    let wrong =
        Plan { asn: 65002, neighbors: vec![Neighbor::new(pair.us.v4, 65009)], originate: vec![] };
    let _other = kind.start(&pair.them, wrong);
    let agent = Agent::start(&pair.us, &pair.config());
    until("we have heard that our AS is wrong", SOON, || {
        let peer = agent.peer("other");
        let received = &peer["lastNotificationReceived"];
        met(received["code"] == 2 && received["subcode"] == 2, || peer.to_string())
    });
}

fn the_words_of_a_shutdown_arrive_on_the_other_side(kind: Kind) {
    let pair = Pair::new(65001, 65002);
    let mut other = kind.start(&pair.them, pair.plan(&[], &[]));
    let agent = Agent::start(&pair.us, &pair.config());
    agent.up("other");
    agent
        .run(&["peers", "disable", "other", "--message", "rack 7 is moved today"])
        .expect("root may");
    until("they have heard our words", SOON, || {
        let text = other.session(pair.us.v4.into()).text;
        met(text.contains("rack 7 is moved today"), || text)
    });
    assert_eq!(agent.peer("other")["state"], "Disabled");
    agent.run(&["peers", "enable", "other"]).expect("root may");
    agent.up("other");

    other.shut(pair.us.v4.into(), "new fans for the spine");
    until("we have heard their words", SOON, || {
        let peer = agent.peer("other");
        let received = &peer["lastNotificationReceived"];
        let words = received["reason"].as_str().unwrap_or_default();
        met(words.contains("new fans for the spine"), || peer.to_string())
    });
    assert_eq!(agent.peer("other")["lastNotificationReceived"]["code"], 6);
}

fn a_thousand_routes_of_each_family_are_learned_and_installed(kind: Kind) {
    let pair = Pair::new(65001, 65002);
    let right = pair.lan.host("right", 4);
    let raw = |address: IpAddr| Neighbor::new(address, 65004);
    let more = [raw(right.v4.into()), raw(right.v6.into())];
    let other = kind.start(&pair.them, pair.plan(&[], &more));
    let agent = Agent::start(&pair.us, &pair.config());
    agent.up("other");
    agent.up("other-v6");

    let v4: Vec<String> = (0..1000).map(|n| format!("100.64.{}.{}/32", n / 250, n % 250)).collect();
    let v6: Vec<String> = (1..=1000).map(|n| format!("2001:db8:{n:x}::/48")).collect();
    let (v4_peer, v6_peer) = (
        RawPeer::establish(&right, pair.them.v4.into(), 65004),
        RawPeer::establish(&right, pair.them.v6.into(), 65004),
    );
    for part in v4.chunks(200) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        v4_peer.send(&update(&[], &usual(&[65004], right.v4), &nlri(&part))).expect("open");
    }
    for part in v6.chunks(200) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        let attributes =
            [attribute(0x40, 1, &[0]), as_path(&[65004]), mp_reach(right.v6, &part)].concat();
        v6_peer.send(&update(&[], &attributes, &[])).expect("open");
    }
    let wanted: Vec<&String> = v4.iter().chain(&v6).collect();
    until("all are installed", SOON, || {
        let routes = kernel::routes(&pair.us.netns, kernel::PROTOCOL);
        let have: std::collections::BTreeSet<&String> =
            routes.iter().map(|route| &route.prefix).collect();
        let missing: Vec<_> = wanted.iter().filter(|prefix| !have.contains(*prefix)).collect();
        met(missing.is_empty(), || {
            let learned = (agent.peer("other"), other.learned(right.v4.into()));
            format!("{} missing, first {:?}; {learned:?}", missing.len(), missing.first())
        })
    });
    let status = agent.ask(&["status"]).expect("it answers");
    let learned: Vec<_> = status["routes"].as_array().into_iter().flatten().collect();
    assert!(learned.iter().all(|family| family["learned"] == 1000), "{status}");

    // All of it goes again with the session of who told it.
    drop(v4_peer);
    drop(v6_peer);
    until("all are gone again", SOON, || {
        let routes = kernel::routes(&pair.us.netns, kernel::PROTOCOL);
        met(routes.is_empty(), || format!("{} left, first {:?}", routes.len(), routes.first()))
    });
}
