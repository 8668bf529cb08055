//! BFD with FRR's bfdd and BIRD's: over one hop and over a router, silence, AdminDown, and
//! the other side started anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::agent::{Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::frr::Frr;
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Host, Lan, Netns, kernel, skip, until};
use serde_json::Value;

pub(super) const ASN: u32 = 65001;

/// Long enough not to be what ends a session here.
const HOLD: Duration = Duration::from_secs(90);

/// What both sides are told.
pub(super) const BFD: &str = "transmitInterval: 100ms, receiveInterval: 100ms, multiplier: 3";

pub(super) fn can_run(test: &str, kind: Kind) -> bool {
    let test = format!("bfd::{test} with {kind:?}");
    let has_bfdd = || kind != Kind::Frr || skip::unless(&test, skip::what_is_missing(&["bfdd"]));
    kind.can_run(&test) && has_bfdd()
}

/// The other router, of either kind, with BFD on its sessions with `us`.
pub(super) enum Other {
    Bird(Box<Bird>),
    Frr(Box<Frr>),
}

impl Other {
    pub(super) fn start(kind: Kind, them: &Host, us: &Host, multihop: bool) -> Self {
        let plan = |neighbors| Plan { asn: ASN, neighbors, originate: vec![] };
        let ours: [IpAddr; 2] = [us.v4.into(), us.v6.into()];
        if kind == Kind::Bird {
            let hops = if multihop { "multihop" } else { "direct" };
            let times = "{ interval 100 ms; multiplier 3; }";
            let mut more =
                format!("protocol bfd {{ interface \"*\" {times}; multihop {times}; }}\n");
            for ours in ours {
                let name = ours.to_string().replace(['.', ':'], "_");
                let theirs = them.address_like(ours);
                let family = if ours.is_ipv4() { "ipv4" } else { "ipv6" };
                more += &format!(
                    "protocol bgp bgp_{name} {{ local {theirs} as {ASN}; neighbor {ours} as {ASN}; \
                     {hops}; bfd on; connect delay time 1; connect retry time 2; \
                     error wait time 1, 5; {family} {{ import all; }}; }}\n"
                );
            }
            return Other::Bird(Box::new(Bird::start_with(them, plan(vec![]), &more)));
        }
        let neighbors = ours.map(|address| Neighbor::new(address, ASN)).to_vec();
        let mut frr = Frr::start(them, plan(neighbors));
        frr.start_bfdd();
        let other = Other::Frr(Box::new(frr));
        other.ask_for_bfd(us);
        other
    }

    /// Tells FRR of BFD, which knows nothing of it after a start.
    fn ask_for_bfd(&self, us: &Host) {
        let Other::Frr(frr) = self else { return };
        // What bgpd asks of bfdd goes by way of zebra, and is lost before both are there.
        until("zebra knows bgpd and bfdd", SOON, || {
            let clients = frr.ctl(&["show zebra client summary"]).map_err(|e| format!("{e:#}"))?;
            met(["bgp", "bfd"].iter().all(|name| clients.contains(name)), || clients)
        });
        let fast = ["transmit-interval 100", "receive-interval 100", "detect-multiplier 3"];
        frr.ctl(&[&["configure terminal", "bfd", "profile fast"][..], &fast].concat())
            .expect("FRR has BFD");
        for ours in [IpAddr::from(us.v4), us.v6.into()] {
            let (on, which) =
                (format!("neighbor {ours} bfd"), format!("neighbor {ours} bfd profile fast"));
            let router = format!("router bgp {ASN}");
            frr.ctl(&["configure terminal", &router, &on, &which]).expect("FRR has the neighbor");
        }
    }

    pub(super) fn router(&mut self) -> &mut dyn Router {
        match self {
            Other::Bird(bird) => &mut **bird,
            Other::Frr(frr) => &mut **frr,
        }
    }

    /// All that it says of BFD, for messages.
    pub(super) fn text(&self) -> String {
        match self {
            Other::Bird(bird) => bird.ctl("show bfd sessions").unwrap_or_default(),
            Other::Frr(frr) => frr.ctl(&["show bfd peers"]).unwrap_or_default(),
        }
    }
}

/// Waits until the BFD session with the peer is in `state`, and returns it.
#[track_caller]
fn bfd(agent: &Agent, other: &Other, peer: &str, state: &str) -> Value {
    until(&format!("BFD with {peer} is {state}"), SOON, || {
        let seen = agent.peer(peer)["bfd"].clone();
        met(seen["state"] == state, || format!("{seen}\n{}", other.text()))?;
        Ok(seen)
    })
}

/// Cuts the way to the peers and waits for their sessions to end because of that.
fn cut(agent: &Agent, cut: impl FnOnce()) {
    let begin = Instant::now();
    cut();
    for peer in ["other", "other-v6"] {
        let seen = until("BFD ends the session", HOLD / 3, || {
            let seen = agent.peer(peer);
            met(seen["state"] != "Established", || seen.to_string())?;
            Ok(seen)
        });
        println!("{peer}: down {:?} after the cut, as a client sees it", begin.elapsed());
        let why = seen["bfd"]["lastFailure"].to_string();
        assert!(why.contains("no packets from"), "{why}");
        assert_eq!(seen["bfd"]["diagnostic"], "Control Detection Time Expired", "{seen}");
        assert_eq!(seen["flaps"], 1, "{seen}");
    }
}

pub(super) fn up(agent: &Agent, other: &Other) {
    for peer in ["other", "other-v6"] {
        agent.up(peer);
        bfd(agent, other, peer, "Up");
        until("the other side is Up as well", SOON, || {
            let seen = agent.peer(peer)["bfd"].clone();
            met(seen["remote"]["state"] == "Up", || seen.to_string())
        });
    }
}

fn one_hop(kind: Kind) {
    if !can_run("one_hop", kind) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let mut other = Other::start(kind, &them, &us, false);
    let config = |more: &str| {
        let more = format!(", holdTime: 90s, bfd: {{{BFD}{more}}}");
        Config::new(ASN).peer("other", &them, ASN, &more)
    };
    let agent = Agent::start(&us, &config(""));
    up(&agent, &other);
    until("both sides know each other's intervals", SOON, || {
        let seen = agent.peer("other")["bfd"].clone();
        met(seen["detectionTimeMilliseconds"] == 300.0, || seen.to_string())
    });

    // Other intervals change no state.
    let before = ["other", "other-v6"].map(|peer| bfd(&agent, &other, peer, "Up"));
    let slower = BFD.replace("100ms", "150ms");
    let more = format!(", holdTime: 90s, bfd: {{{slower}}}");
    agent.reload(&Config::new(ASN).peer("other", &them, ASN, &more));
    until("the new intervals are in force", SOON, || {
        let seen = agent.peer("other")["bfd"].clone();
        let has_both = seen["transmitIntervalMilliseconds"] == 150.0
            && seen["detectionTimeMilliseconds"] == 450.0;
        met(has_both, || seen.to_string())
    });
    for (peer, before) in ["other", "other-v6"].into_iter().zip(before) {
        let after = agent.peer(peer);
        assert_eq!(
            (&after["bfd"]["since"], &after["bfd"]["discriminator"], &after["flaps"]),
            (&before["since"], &before["discriminator"], &Value::from(0)),
            "{after}"
        );
    }

    // An operator of the peer switches BFD off, which says nothing about the path.
    if let Other::Frr(frr) = &other {
        let profile = |word| ["configure terminal", "bfd", "profile fast", word];
        frr.ctl(&profile("shutdown")).expect("FRR has the profile");
        let seen = bfd(&agent, &other, "other", "Down");
        assert_eq!(seen["remote"]["state"], "AdminDown", "{seen}");
        bfd(&agent, &other, "other-v6", "Down");
        throughout("the session goes on", Duration::from_millis(500), || {
            let peer = agent.peer("other");
            met(peer["state"] == "Established", || peer.to_string())
        });
        frr.ctl(&profile("no shutdown")).expect("FRR has the profile");
        up(&agent, &other);
    }

    cut(&agent, || lan.plug(2, false));
    lan.plug(2, true);
    up(&agent, &other);

    // The peer's daemon dies and comes back.
    other.router().kill();
    if let Other::Frr(frr) = &mut other {
        frr.kill_bfdd();
    }
    bfd(&agent, &other, "other", "Down");
    if let Other::Frr(frr) = &mut other {
        frr.start_bfdd();
    }
    other.router().start();
    other.ask_for_bfd(&us);
    up(&agent, &other);

    // Without BFD on our side BGP comes up all the same. That these peers end their session
    // first when they are told so is their affair (RFC 5882 §3.2 would have them not).
    let sent = || agent.peer("other")["messages"]["sent"]["notification"].clone();
    let before = sent();
    agent.reload(&Config::new(ASN).peer("other", &them, ASN, ", holdTime: 90s"));
    until("the BFD session is gone and BGP is there", SOON, || {
        let peer = agent.peer("other");
        met(peer["bfd"].is_null() && peer["state"] == "Established", || peer.to_string())
    });
    assert_eq!(sent(), before, "we did not end it");
}

#[test]
fn one_hop_with_bird() {
    one_hop(Kind::Bird);
}

#[test]
fn one_hop_with_frr() {
    one_hop(Kind::Frr);
}

#[test]
fn a_peer_that_nobody_configured_has_bfd_as_its_group_has() {
    if !skip::can_run("a_peer_that_nobody_configured_has_bfd_as_its_group_has", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let group = format!(
        "dynamicPeers: [{{name: rack, cidrs: [10.9.0.0/24], asNumber: {ASN}, holdTime: 90s, \
         bfd: {{{BFD}}}}}]"
    );
    let agent = Agent::start(&us, &Config::new(ASN).bgp(&group));
    let more = format!(", holdTime: 90s, bfd: {{{BFD}}}");
    let config = Config::new(ASN).line("n1", &us.v4.to_string(), ASN, &more);
    let _other = Agent::start(&them, &config.bgp("connectRetryTime: 200ms"));
    let is_up = || {
        until("the session and BFD beside it are up", SOON, || {
            let peer = agent.peer("rack-10.9.0.2");
            let bfd = &peer["bfd"];
            let both = bfd["state"] == "Up" && bfd["remote"]["state"] == "Up";
            met(peer["state"] == "Established" && both, || peer.to_string())
        });
    };
    is_up();
    lan.plug(2, false);
    until("BFD ends the session", HOLD / 3, || {
        let peer = agent.peer("rack-10.9.0.2");
        let why = peer["bfd"]["lastFailure"].to_string();
        let is_it = peer["state"] != "Established" && why.contains("no packets from");
        met(is_it, || peer.to_string())
    });
    lan.plug(2, true);
    is_up();
}

/// Two hosts with a router between: 10.8.N.2 and fd08:N::2 behind 10.8.N.1 and fd08:N::1.
struct Routed {
    router: Arc<Netns>,
    hosts: [Host; 2],
}

impl Routed {
    fn new() -> Self {
        let router = Netns::new("router").expect("can_run was asked");
        router.sysctl("net/ipv4/ip_forward", "1").expect("it is ours");
        router.sysctl("net/ipv6/conf/all/forwarding", "1").expect("it is ours");
        let hosts = [1u8, 2].map(|number| {
            let netns = Netns::new(&format!("n{number}")).expect("can_run was asked");
            let port = format!("p{number}");
            netns.cable("eth0", &router, &port).expect("both are new");
            let v4 = Ipv4Addr::new(10, 8, number, 2);
            let v6 = Ipv6Addr::new(0xfd08, number.into(), 0, 0, 0, 0, 0, 2);
            for (to, address) in [
                ((&netns, "eth0"), format!("{v4}/24")),
                ((&netns, "eth0"), format!("{v6}/64")),
                ((&router, &*port), format!("10.8.{number}.1/24")),
                ((&router, &*port), format!("fd08:{number}::1/64")),
            ] {
                to.0.add_address(to.1, &address).expect("it is new");
            }
            netns.ip(&format!("route add default via 10.8.{number}.1")).expect("it is there");
            netns.ip(&format!("route add default via fd08:{number}::1")).expect("it is there");
            Host { netns, v4, v6 }
        });
        Self { router, hosts }
    }
}

fn behind_a_router(kind: Kind) {
    if !can_run("behind_a_router", kind) {
        return;
    }
    let routed = Routed::new();
    let [us, them] = &routed.hosts;
    let other = Other::start(kind, them, us, true);
    let more = format!(", holdTime: 90s, bfd: {{{BFD}, multihop: true}}");
    let agent = Agent::start(us, &Config::new(ASN).peer("other", them, ASN, &more));
    up(&agent, &other);
    cut(&agent, || drop(routed.router.ip("link set p2 down").expect("it is there")));
    routed.router.ip("link set p2 up").expect("it is there");
    until("the address of the link is back", SOON, || {
        // Taken away with the link.
        let text = routed.router.ip("-6 address show dev p2").map_err(|e| format!("{e:#}"))?;
        if !text.contains("fd08:2::1/64") {
            let _ = routed.router.add_address("p2", "fd08:2::1/64");
        }
        met(text.contains("fd08:2::1/64"), || text)
    });
    them.netns.ip("route replace default via fd08:2::1").expect("it is there");
    up(&agent, &other);

    // Packets that come from further away than a peer is are none of its: one router has taken
    // one of the TTL.
    let more = format!(", holdTime: 90s, bfd: {{{BFD}, multihop: true, minimumTTL: 255}}");
    agent.reload(&Config::new(ASN).peer("other", them, ASN, &more));
    bfd(&agent, &other, "other", "Down");
}

#[test]
fn behind_a_router_with_bird() {
    behind_a_router(Kind::Bird);
}

#[test]
fn behind_a_router_with_frr() {
    behind_a_router(Kind::Frr);
}

#[test]
fn a_failure_that_cannot_be_a_restart_takes_the_routes_along() {
    if !skip::can_run("a_failure_that_cannot_be_a_restart_takes_the_routes_along", &[]) {
        return;
    }
    const PREFIX: &str = "198.51.100.0/24";
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let config = |to: &Host| {
        let more = format!(", holdTime: 90s, bfd: {{{BFD}, gracefulRestart: false}}");
        Config::new(ASN).line("other", &to.v4.to_string(), ASN, &more)
    };
    let config = |to: &Host| config(to).bgp("connectRetryTime: 200ms");
    let agent = Agent::start(&us, &config(&them));
    let mut other = Agent::start(&them, &config(&us).networks(&[PREFIX]));
    let is_whole = || {
        until("the session, BFD beside it, and the route", SOON, || {
            let peer = agent.peer("other");
            let bfd = &peer["bfd"];
            let is_up = peer["state"] == "Established" && bfd["remote"]["state"] == "Up";
            let routes = kernel::routes(&us.netns, kernel::PROTOCOL);
            let is_there = routes.iter().any(|route| route.prefix == PREFIX);
            met(is_up && is_there, || format!("{peer} {routes:?}"))?;
            Ok(peer["negotiated"]["gracefulRestartReceived"]["restartTimeSeconds"].clone())
        })
    };
    let is_gone = || {
        until("the route goes long before a restart would be over", SOON, || {
            let routes = kernel::routes(&us.netns, kernel::PROTOCOL);
            met(routes.is_empty(), || format!("{routes:?} {}", agent.peer("other")))
        });
    };
    assert_eq!(is_whole(), 120, "a restart is agreed");
    lan.plug(2, false);
    is_gone();
    lan.plug(2, true);
    is_whole();
    // The end of TCP says that it may come back, and then its silence that it does not.
    other.kill();
    is_gone();
    let peer = agent.peer("other");
    assert_eq!(peer["bfd"]["failures"], 2, "{peer}");
}
