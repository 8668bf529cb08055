//! Several paths of one prefix (RFC 7911), told and taken, with everybody who can.

use std::net::IpAddr;

use integration_tests::agent::{Agent, Config};
use integration_tests::octets::{nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, kernel, skip, until};
use serde_json::Value;

/// What two neighbours tell brindle, and what they tell the other router.
const OURS: &str = "203.0.113.0/24";
const THEIRS: &str = "198.51.100.0/24";

/// Waits until the kernel of a host has brindle's route to a prefix by these gateways.
#[track_caller]
fn forwards(host: &Host, prefix: &str, by: &[IpAddr]) {
    let mut want: Vec<String> = by.iter().map(ToString::to_string).collect();
    want.sort();
    until(&format!("{prefix} via {want:?} on {}", host.netns.name()), SOON, || {
        let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
        let found = routes.iter().find(|route| route.prefix == prefix);
        let mut have = found.map(|route| route.gateways.clone()).unwrap_or_default();
        have.sort();
        met(have == want, || format!("{routes:?}"))
    });
}

/// The identifiers, sorted, of the paths that an agent took from a peer, or told it, of a prefix.
fn path_ids(agent: &Agent, direction: &str, peer: &str, prefix: &str) -> Vec<u64> {
    let rows = agent.ask(&["routes", direction, peer]).unwrap_or_default();
    let of_prefix = rows["items"].as_array().into_iter().flatten();
    let of_prefix = of_prefix.filter(|row| row["prefix"] == prefix);
    let mut ids: Vec<u64> = of_prefix.filter_map(|row| row["pathID"].as_u64()).collect();
    ids.sort_unstable();
    ids
}

fn both_tell_both_paths(test: &str, kind: Kind) {
    if !kind.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let (a, b) = (lan.host("a", 3), lan.host("b", 4));
    let outside = |host: &Host| Neighbor { passive: true, ..Neighbor::new(host.v4, 65100) };
    let inside = Neighbor { add_paths: true, ..Neighbor::new(us.v4, 65001) };
    let neighbors = vec![inside, outside(&a), outside(&b)];
    let router = kind.start(&them, Plan { asn: 65001, neighbors, originate: vec![] });
    let open = ", passive: true, importFilters: [], exportFilters: []";
    let paths = ", addPaths: {receive: true, send: all}";
    let config = Config::new(65001)
        .line("other", &them.v4.to_string(), 65001, paths)
        .line("a", &a.v4.to_string(), 65100, open)
        .line("b", &b.v4.to_string(), 65100, open);
    let agent = Agent::start(&us, &config);
    let peer = agent.up("other");
    let agreed = &peer["negotiated"]["addPaths"];
    assert_eq!((&agreed["receive"][0], &agreed["send"][0]), (&"ipv4".into(), &"ipv4".into()));
    let tells = |from: &Host, to: &Host, prefix| {
        let raw = RawPeer::establish(from, to.v4.into(), 65100);
        let octets = update(&[], &usual(&[65100], from.v4), &nlri(&[prefix]));
        raw.send(&octets).expect("the session is up");
        raw
    };
    let [ours, theirs] = [(&us, OURS), (&them, THEIRS)]
        .map(|(to, prefix)| [&a, &b].map(|from| tells(from, to, prefix)));

    forwards(&us, THEIRS, &[a.v4.into(), b.v4.into()]);
    let ids = path_ids(&agent, "in", "other", THEIRS);
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    let hears = |want: &[IpAddr]| {
        until(&format!("{OURS} via {want:?}"), SOON, || {
            let have = router.next_hops(OURS);
            met(have == want, || format!("{have:?}; {}", router.session(us.v4.into()).text))
        });
    };
    hears(&[a.v4.into(), b.v4.into()]);
    let told = path_ids(&agent, "out", "other", OURS);
    assert!(told.len() == 2 && told[0] != told[1], "{told:?}");

    // One goes in each direction; the other keeps its identifier.
    let ([our_a, _our_b], [their_a, _their_b]) = (ours, theirs);
    drop((our_a, their_a));
    hears(&[b.v4.into()]);
    forwards(&us, THEIRS, &[b.v4.into()]);
    let left = path_ids(&agent, "out", "other", OURS);
    assert!(left.len() == 1 && told.contains(&left[0]), "{left:?} of {told:?}");
    assert_eq!(agent.peer("other")["flaps"], 0, "one session all the time");
}

#[test]
fn bird_and_brindle_tell_each_other_both_paths() {
    both_tell_both_paths("bird_and_brindle_tell_each_other_both_paths", Kind::Bird);
}

#[test]
fn frr_and_brindle_tell_each_other_both_paths() {
    both_tell_both_paths("frr_and_brindle_tell_each_other_both_paths", Kind::Frr);
}

#[test]
fn gobgp_and_brindle_tell_each_other_both_paths() {
    both_tell_both_paths("gobgp_and_brindle_tell_each_other_both_paths", Kind::Gobgp);
}

#[test]
fn a_reflector_tells_its_client_every_way_and_a_reload_resets_only_what_it_must() {
    let test = "a_reflector_tells_its_client_every_way_and_a_reload_resets_only_what_it_must";
    if !skip::can_run(test, &["ip"]) {
        return;
    }
    const ANYCAST: [&str; 2] = ["203.0.113.0/24", "fd00:99::/64"];
    let lan = Lan::new();
    let (rr, n1, n2) = (lan.host("rr", 1), lan.host("n1", 2), lan.host("n2", 3));
    let n3 = lan.host("n3", 4);
    let reflector = |paths: &str| {
        let clients = [(&n1, ""), (&n2, ""), (&n3, paths)];
        clients.iter().fold(Config::new(64512).networks(&ANYCAST), |config, (host, more)| {
            let more = format!(", reflectorClient: true{more}");
            config.line(host.netns.name(), &host.v4.to_string(), 64512, &more)
        })
    };
    let to_reflector = |more: &str| Config::new(64512).line("rr", &rr.v4.to_string(), 64512, more);
    let [first, _second] =
        [&n1, &n2].map(|host| Agent::start(host, &to_reflector("").networks(&ANYCAST)));
    let reflecting = Agent::start(&rr, &reflector(", addPaths: {send: all}"));
    let client = Agent::start(&n3, &to_reflector(", addPaths: {receive: true}"));
    let forwards_by = |hosts: &[&Host]| {
        forwards(&n3, ANYCAST[0], &hosts.iter().map(|host| host.v4.into()).collect::<Vec<_>>());
        forwards(&n3, ANYCAST[1], &hosts.iter().map(|host| host.v6.into()).collect::<Vec<_>>());
    };
    forwards_by(&[&rr, &n1, &n2]);
    let told = path_ids(&reflecting, "out", "n3", ANYCAST[0]);
    assert_eq!((told.len(), path_ids(&client, "in", "rr", ANYCAST[0])), (3, told.clone()));
    assert_eq!(path_ids(&reflecting, "out", "n1", ANYCAST[0]), [0_u64; 0], "n1 takes one only");
    let shown = reflecting.run(&["peers", "n3"]).expect("the agent answers");
    assert!(shown.contains("several of a prefix: ipv4, ipv6"), "{shown}");

    // How many is for us alone to know: no session ends for it.
    let since = |name: &str| reflecting.peer(name)["since"].clone();
    let before = ["n1", "n3"].map(since);
    reflecting.reload(&reflector(", addPaths: {send: 2}"));
    forwards_by(&[&rr, &n1]);
    assert_eq!(["n1", "n3"].map(since), before);
    // Whether it is several at all is said when a session begins.
    reflecting.reload(&reflector(""));
    forwards_by(&[&rr]);
    assert_eq!(reflecting.peer("n3")["negotiated"]["addPaths"], Value::Null);
    reflecting.reload(&reflector(", addPaths: {send: all}"));
    forwards_by(&[&rr, &n1, &n2]);
    assert_eq!(since("n1"), before[0], "the other session went on");
    first.reload(&to_reflector(""));
    forwards_by(&[&rr, &n2]);
}
