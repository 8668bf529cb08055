//! What a peer may ask of us: so many prefixes, so many sessions, so much memory; and who may
//! become a peer at all.

use std::io::Write;

use integration_tests::agent::{Agent, Config};
use integration_tests::octets::{message, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, kernel, load, skip, until};

use crate::slow_peer::resident;

fn says(agent: &Agent, peer: &str, what: &str) {
    until(&format!("{peer} is shown as {what:?}"), SOON, || {
        let shown = agent.peer(peer);
        let reason = shown["lastReason"].as_str().unwrap_or_default();
        met(reason.contains(what), || shown.to_string())
    });
}

fn announce(host: &Host, asn: u32, prefix: &str) -> Vec<u8> {
    update(&[], &usual(&[asn], host.v4), &nlri(&[prefix]))
}

#[test]
fn a_peer_that_tells_too_much_is_warned_of_ended_and_let_in_again() {
    let test = "a_peer_that_tells_too_much_is_warned_of_ended_and_let_in_again";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, greedy) = (lan.host("n1", 1), lan.host("greedy", 2));
    let config = |most: u32, retry: &str| {
        let limit = format!(", passive: true, maxPrefixes: {{ipv4: {most}, retryAfter: {retry}}}");
        Config::new(65001).peer("greedy", &greedy, 65002, &limit)
    };
    let mut agent = Agent::start(&us, &config(1000, "10m"));
    let peer = RawPeer::establish(&greedy, us.v4.into(), 65002);
    peer.send(&load::table(750, 65002, greedy.v4)).expect("an open session");
    says(&agent, "greedy", "750 of at most 1000 ipv4 prefixes");
    let before = resident(agent.process().pid());
    // It may be closed before all is written.
    let _ = peer.send(&load::table(300_000, 65002, greedy.v4));
    until("the session is ended for its limit", SOON, || {
        met(peer.notification() == Some((6, 1, vec![0, 1, 1, 0, 0, 0x03, 0xe8])), || {
            format!("{:?}", peer.notification())
        })
    });
    says(&agent, "greedy", "more: it told more prefixes than allowed; last: we sent Cease");
    until("all that it told is gone", SOON, || {
        let routes = kernel::routes(&us.netns, kernel::PROTOCOL);
        let count = routes.iter().filter(|route| route.kind == "unicast").count();
        met(count == 0, || format!("{count} routes"))
    });
    let after = resident(agent.process().pid());
    assert!(after < before + 16_000_000, "{} kB, then {} kB", before / 1024, after / 1024);
    let early = RawPeer::dial(&greedy, us.v4.into()).expect("it listens");
    until("it is turned away", SOON, || met(early.is_closed(), String::new));
    assert_eq!(early.notification().map(|(code, subcode, _)| (code, subcode)), Some((6, 5)));
    says(&agent, "greedy", "told more prefixes than allowed");

    // An operator need not wait, and a changed limit does not end the session.
    agent.run(&["peers", "reset", "greedy"]).expect("it is a peer");
    let peer = RawPeer::establish(&greedy, us.v4.into(), 65002);
    agent.up("greedy");
    agent.reload(&config(1001, "1s"));
    peer.send(&announce(&greedy, 65002, "203.0.113.0/24")).expect("an open session");
    agent.learns("203.0.113.0/24");
    until("the file is read", SOON, || {
        let shown = agent.peer("greedy");
        met(shown["families"][0]["limit"] == 1001, || shown.to_string())
    });
    assert!(!peer.is_closed());
    let _ = peer.send(&load::table(2000, 65002, greedy.v4));
    until("it is ended again", SOON, || met(peer.is_closed(), String::new));
    let _back = RawPeer::establish(&greedy, us.v4.into(), 65002);
    assert_eq!(agent.up("greedy")["flaps"], 2, "ended twice, and once never begun");
}

#[test]
fn a_peer_that_comes_and_goes_is_left_alone_for_a_while_and_others_do_not_notice() {
    let test = "a_peer_that_comes_and_goes_is_left_alone_for_a_while_and_others_do_not_notice";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, flappy, calm) = (lan.host("n1", 1), lan.host("flappy", 2), lan.host("calm", 3));
    let config = Config::new(65001).peer("flappy", &flappy, 65002, ", passive: true").peer(
        "calm",
        &calm,
        65003,
        ", passive: true",
    );
    let agent = Agent::start(&us, &config);
    let _calm = RawPeer::establish(&calm, us.v4.into(), 65003);
    agent.up("calm");
    for _ in 0..4 {
        let peer = RawPeer::dial(&flappy, us.v4.into()).expect("it listens");
        peer.greet(65002, flappy.v4).expect("four times it is let in at once");
        agent.up("flappy");
        drop(peer);
        until("the session is over", SOON, || {
            let shown = agent.peer("flappy");
            met(shown["state"] != "Established", || shown.to_string())
        });
    }
    let peer = RawPeer::dial(&flappy, us.v4.into()).expect("it listens");
    until("it is turned away", SOON, || met(peer.is_closed(), String::new));
    assert_eq!(peer.notification().map(|(code, subcode, _)| (code, subcode)), Some((6, 5)));
    says(&agent, "flappy", "session ended 4 times in");
    let _back = RawPeer::establish(&flappy, us.v4.into(), 65002);
    assert_eq!((&agent.up("flappy")["flaps"], &agent.up("calm")["flaps"]), (&4.into(), &0.into()));
}

#[test]
fn a_flood_of_refreshes_from_a_peer_that_does_not_read_costs_neither_memory_nor_the_others() {
    let test =
        "a_flood_of_refreshes_from_a_peer_that_does_not_read_costs_neither_memory_nor_the_others";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let (sender, deaf, reader) = (lan.host("sender", 2), lan.host("deaf", 3), lan.host("ok", 4));
    let config = Config::new(65001)
        .peer("sender", &sender, 65002, ", passive: true")
        .peer("deaf", &deaf, 65003, ", passive: true")
        .peer("reader", &reader, 65004, ", passive: true")
        .rest("routes: {install: false}");
    let mut agent = Agent::start(&us, &config);
    let to = us.v4.into();
    let mut deaf_stream = load::establish(&deaf.netns, deaf.v4, to, 65003).expect("a session");
    let heard =
        load::count(load::establish(&reader.netns, reader.v4, to, 65004).expect("likewise"));
    let mut stream = load::establish(&sender.netns, sender.v4, to, 65002).expect("likewise");
    const COUNT: usize = 20_000;
    stream.write_all(&load::table(COUNT, 65002, sender.v4)).expect("an open session");
    until("the peer that reads has all", SOON, || {
        met(heard.announced() >= COUNT, || format!("{} of {COUNT}", heard.announced()))
    });
    let before = resident(agent.process().pid());
    let refresh = |afi| message(5, &[0, afi, 0, 1]);
    let flood = [refresh(1), refresh(2)].concat().repeat(100_000);
    deaf_stream.write_all(&flood).expect("it is read, whatever is said");
    stream.write_all(&load::withdrawal(COUNT)).expect("an open session");
    until("the change arrives at the peer that reads", SOON, || {
        met(heard.withdrawn() >= COUNT, || format!("{} withdrawn", heard.withdrawn()))
    });
    let after = resident(agent.process().pid());
    assert!(after < before + 24_000_000, "{} kB, then {} kB", before / 1024, after / 1024);
    for name in ["sender", "reader", "deaf"] {
        assert_eq!(agent.up(name)["flaps"], 0, "{name}");
    }
}

#[test]
fn whoever_connects_from_a_prefix_becomes_a_peer_as_long_as_there_is_room() {
    let test = "whoever_connects_from_a_prefix_becomes_a_peer_as_long_as_there_is_room";
    if !skip::can_run(test, &[]) || !Kind::Bird.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let [one, two, three, near] = [("one", 2), ("two", 3), ("three", 4), ("near", 9)]
        .map(|(name, number)| lan.host(name, number));
    let groups = |limit: usize| {
        format!(
            "dynamicPeers: [{{name: rack, cidrs: [10.9.0.0/24], asNumber: 65100-65200, limit: {limit}, \
             importFilters: [], exportFilters: []}}, {{name: near, cidrs: [{}/32], asNumber: external, \
             importFilters: []}}]",
            near.v4
        )
    };
    let config = |line: &str| Config::new(65001).networks(&["192.0.2.0/24"]).bgp(line);
    let agent = Agent::start(&us, &config(&groups(2)));
    let shown = |peer: &RawPeer| peer.notification().map(|(code, subcode, _)| (code, subcode));
    let refused = |host: &Host, asn: u32| {
        let peer = RawPeer::dial(host, us.v4.into()).expect("it listens");
        let _ = peer.greet(asn, host.v4);
        until("it is turned away", SOON, || met(peer.is_closed(), String::new));
        shown(&peer)
    };
    let first = RawPeer::establish(&one, us.v4.into(), 65100);
    let rack = agent.up("rack-10.9.0.2");
    assert_eq!((&rack["type"], &rack["asNumber"]), (&"dynamic".into(), &65100.into()));
    first.send(&announce(&one, 65100, "203.0.113.0/24")).expect("an open session");
    agent.learns("203.0.113.0/24");
    first.hears("192.0.2.0/24");

    assert_eq!(refused(&two, 65300), Some((2, 2)), "not one of the ASes");
    assert_eq!(agent.peer("rack-10.9.0.3"), serde_json::Value::Null, "and no peer");
    let second = RawPeer::establish(&two, us.v4.into(), 65150);
    agent.up("rack-10.9.0.3");
    assert_eq!(refused(&three, 65101), Some((6, 5)), "there is room for two");
    if let Ok(stranger) = RawPeer::dial(&three, us.v6.into()) {
        until("it is outside", SOON, || met(stranger.is_closed(), String::new));
        assert_eq!(stranger.messages(), []);
    }
    // Who comes back may be in another of the ASes.
    drop(second);
    until("its session is over", SOON, || {
        let peer = agent.peer("rack-10.9.0.3");
        met(peer["state"] != "Established", || peer.to_string())
    });
    let second = RawPeer::establish(&two, us.v4.into(), 65199);
    until("it is up in another AS", SOON, || {
        let peer = agent.peer("rack-10.9.0.3");
        met(peer["state"] == "Established" && peer["asNumber"] == 65199, || peer.to_string())
    });
    // The most specific prefix counts. Nothing is told without exportFilters (RFC 8212).
    let mut bird = Kind::Bird.start(
        &near,
        Plan {
            asn: 65300,
            neighbors: vec![Neighbor::new(us.v4, 65001)],
            originate: vec!["198.51.100.0/24".into()],
        },
    );
    agent.up("near-10.9.0.9");
    agent.learns("198.51.100.0/24");
    assert_eq!(bird.route("192.0.2.0/24").map(|route| route.as_path), None);

    // A larger limit touches nobody, and one that goes takes its peers with it.
    agent.reload(&config(&groups(3)));
    let third = RawPeer::establish(&three, us.v4.into(), 65101);
    agent.up("rack-10.9.0.4");
    assert!(!first.is_closed() && !second.is_closed());
    agent.reload(&config("dynamicPeers: []"));
    for peer in [&first, &second, &third] {
        until("it is no peer any more", SOON, || met(peer.is_closed(), String::new));
        assert_eq!(shown(peer), Some((6, 3)));
    }
    agent.forgets("198.51.100.0/24");
    let all = agent.ask(&["peers"]).unwrap_or_default();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(0), "{all}");
    bird.kill();
}

#[test]
fn routes_of_two_neighbours_are_used_together_where_their_ases_may_differ() {
    let test = "routes_of_two_neighbours_are_used_together_where_their_ases_may_differ";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, one, two) = (lan.host("n1", 1), lan.host("one", 2), lan.host("two", 3));
    let config = |line: &str| {
        Config::new(65001)
            .peer("one", &one, 65002, ", passive: true")
            .peer("two", &two, 65003, ", passive: true")
            .bgp(line)
    };
    let agent = Agent::start(&us, &config("multipath: {asPathRelax: true}"));
    let peers = [(&one, 65002), (&two, 65003)].map(|(host, asn)| {
        let peer = RawPeer::establish(host, us.v4.into(), asn);
        peer.send(&announce(host, asn, "203.0.113.0/24")).expect("an open session");
        peer
    });
    let gateways = |want: usize| {
        until(&format!("{want} gateways"), SOON, || {
            let routes = kernel::routes(&us.netns, kernel::PROTOCOL);
            let route = routes.iter().find(|route| route.prefix == "203.0.113.0/24");
            met(route.is_some_and(|route| route.gateways.len() == want), || format!("{routes:?}"))
        });
    };
    gateways(2);
    drop(peers);
    agent.forgets("203.0.113.0/24");
}
