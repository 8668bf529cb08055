//! The agent is started again in every way, and its peers keep its routes: not one packet is
//! lost, and no kernel sees a route go.

use std::net::IpAddr;
use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::kernel::{self, Monitor, Route};
use integration_tests::octets::{self, KEEPALIVE, attribute, message, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::stream::Stream;
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Host, Lan, http, skip, until};
use nix::sys::signal::Signal;

const OURS: &str = "192.0.2.0/24";
const THEIRS: &str = "198.51.100.0/24";
/// An address in each.
const OUR_POD: &str = "192.0.2.1";
const THEIR_POD: &str = "198.51.100.1";
/// Datagrams that a test sends at the very least.
const LEAST: u64 = 500;

/// The peer of the agent that is started again.
enum Other {
    Router(Box<dyn Router>, Kind),
    Brindle(Agent),
}

impl Other {
    fn start(kind: Option<Kind>, us: &Host, them: &Host) -> Self {
        let Some(kind) = kind else {
            let config = Config::new(65002).networks(&[THEIRS]).peer("n1", us, 65001, "");
            return Other::Brindle(Agent::start(them, &config));
        };
        let neighbor = |address: IpAddr| Neighbor { keeps: true, ..Neighbor::new(address, 65001) };
        let plan = Plan {
            asn: 65002,
            neighbors: vec![neighbor(us.v4.into()), neighbor(us.v6.into())],
            originate: vec![THEIRS.into()],
        };
        Other::Router(kind.start(them, plan), kind)
    }

    /// The protocol number that its routes have in the kernel, if it has any there.
    fn protocol(&self) -> Option<&'static str> {
        match self {
            Other::Router(_, Kind::Bird) => Some("12"),
            Other::Router(_, Kind::Frr) => Some("186"),
            Other::Router(_, Kind::Gobgp) => None,
            Other::Brindle(_) => Some(kernel::PROTOCOL),
        }
    }

    /// Whether it has our route; if not, what it says.
    fn has_ours(&self, us: &Host) -> Result<(), String> {
        match self {
            Other::Router(router, _) => {
                met(router.route(OURS).is_some(), || router.session(us.v4.into()).text)
            }
            Other::Brindle(agent) => {
                met(agent.route(OURS).is_some(), || agent.peer("n1").to_string())
            }
        }
    }
}

fn starts_again_without_loss(test: &str, kind: Option<Kind>) {
    let test = format!("graceful_restart::{test}");
    let can_run = kind.map_or_else(|| skip::can_run(&test, &[]), |kind| kind.can_run(&test));
    if !can_run {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    us.netns.add_address("lo", &format!("{OUR_POD}/32")).expect("a free address");
    them.netns.add_address("lo", &format!("{THEIR_POD}/32")).expect("a free address");
    let other = Other::start(kind, &us, &them);
    let config = Config::new(65001).networks(&[OURS]).peer("other", &them, 65002, "");
    let mut agent = Agent::start(&us, &config);
    is_whole(&agent, &other, &us);

    let monitors = [(&us, Some(kernel::PROTOCOL)), (&them, other.protocol())];
    let monitors =
        monitors.map(|(host, protocol)| protocol.map(|it| (Monitor::start(&host.netns), it)));
    let mut streams = vec![Stream::start(&us.netns, &them.netns, THEIR_POD.parse().unwrap())];
    if other.protocol().is_some() {
        streams.push(Stream::start(&them.netns, &us.netns, OUR_POD.parse().unwrap()));
    }
    type Way = (&'static str, fn(&mut Agent), fn(&mut Agent));
    let ways: [Way; 3] = [
        ("killed", Agent::kill, Agent::start_again),
        ("upgraded", Agent::stop, Agent::start_upgraded),
        ("stopped", Agent::stop, Agent::start_again),
    ];
    // These take several seconds to have a session again, and the third way is the second one
    // as far as they can tell.
    let is_slow = matches!(kind, Some(Kind::Frr | Kind::Gobgp));
    for (way, end, begin) in ways.into_iter().take(if is_slow { 2 } else { 3 }) {
        end(&mut agent);
        is_kept(&other, &us).unwrap_or_else(|seen| panic!("{way}: {seen}"));
        begin(&mut agent);
        is_whole(&agent, &other, &us);
    }
    let lost: Vec<String> = streams.into_iter().flat_map(|stream| stream.lost(LEAST)).collect();
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    for (monitor, protocol) in monitors.into_iter().flatten() {
        let changes = monitor.changes(protocol);
        let gone = changes.iter().filter(|line| line.starts_with("Deleted")).collect::<Vec<_>>();
        assert_eq!(gone, Vec::<&String>::new(), "protocol {protocol}");
    }
}

/// Waits until both sides have everything, and nothing is left over of an earlier run.
#[track_caller]
fn is_whole(agent: &Agent, other: &Other, us: &Host) {
    agent.up("other");
    agent.up("other-v6");
    agent.learns(THEIRS);
    until("the other side has ours", SOON, || other.has_ours(us));
    until("leftovers are dealt with", SOON, || {
        let status = agent.ask(&["status"]).unwrap_or_default();
        let installed = kernel::routes(&us.netns, kernel::PROTOCOL);
        let is_there = installed.iter().any(|route| route.prefix == THEIRS);
        met(is_there && status["kernel"]["ready"] == true && status["kernel"]["stale"] == 0, || {
            status.to_string()
        })
    });
    if let Other::Brindle(other) = other {
        until("nothing is stale any more", SOON, || {
            let peer = other.peer("n1");
            let families = peer["families"].as_array().cloned().unwrap_or_default();
            let is_fresh = families.iter().all(|family| family["stale"].is_null());
            met(peer["state"] == "Established" && is_fresh, || peer.to_string())
        });
    }
}

/// Whether the other side noticed, and keeps what it was told.
fn is_kept(other: &Other, us: &Host) -> Result<(), String> {
    if let Other::Brindle(other) = other {
        let peer = until("it sees that we restart", SOON, || {
            let peer = other.peer("n1");
            met(peer["state"] == "Restarting", || peer.to_string()).map(|()| peer)
        });
        let said = peer["lastReason"].as_str().unwrap_or_default();
        met(said.contains("keeping 1 stale route "), || peer.to_string())?;
    } else if let Other::Router(router, _) = other {
        until("it sees that we are gone", SOON, || {
            met(!router.session(us.v4.into()).up, || "the session is up".into())
        });
    }
    other.has_ours(us)
}

#[test]
fn bird_keeps_our_routes() {
    starts_again_without_loss("bird_keeps_our_routes", Some(Kind::Bird));
}

#[test]
fn frr_keeps_our_routes() {
    starts_again_without_loss("frr_keeps_our_routes", Some(Kind::Frr));
}

#[test]
fn gobgp_keeps_our_routes() {
    starts_again_without_loss("gobgp_keeps_our_routes", Some(Kind::Gobgp));
}

#[test]
fn another_brindle_keeps_our_routes() {
    starts_again_without_loss("another_brindle_keeps_our_routes", None);
}

#[test]
fn an_agent_is_not_ready_before_its_restart_is_over() {
    if !skip::can_run("an_agent_is_not_ready_before_its_restart_is_over", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let open = ", passive: true, importFilters: [], exportFilters: []";
    let config = Config::new(65001).line("other", &them.v4.to_string(), 65002, open);
    let tell = |peer: &RawPeer| {
        peer.send(&update(&[], &usual(&[65002], them.v4), &nlri(&[THEIRS]))).expect("a session");
    };
    // End-of-RIB of both families (RFC 4724 §2).
    let end = |peer: &RawPeer| {
        let of_ipv6 = update(&[], &attribute(0x80, 15, &[0, 2, 1]), &[]);
        peer.send(&[update(&[], &[], &[]), of_ipv6].concat()).expect("a session");
    };
    // One that keeps our routes is waited for until then, and any other for ten seconds.
    let establish = || {
        let (length, parameters, capabilities) = (17, 19 + 9, 19 + 11);
        let mut open = octets::open(65002, them.v4, 90);
        for place in [length, parameters, capabilities] {
            open[place] += 4;
        }
        open.extend([64, 2, 0, 120]);
        open.extend(message(KEEPALIVE, &[]));
        let peer = until("a connection", SOON, || {
            RawPeer::dial(&them, us.v4.into()).map_err(|error| error.to_string())
        });
        peer.send(&open).expect("an open connection");
        peer
    };
    let ready = |wanted: u16, why: &str| {
        until(&format!("/readyz is {wanted} {why}"), SOON, || {
            let (status, body) = http::get(&us.netns, "/readyz?verbose")?;
            met(status == wanted && body.contains(why), || format!("{status}: {body}"))
        });
    };
    let mut agent = Agent::start(&us, &config);
    let peer = establish();
    tell(&peer);
    end(&peer);
    ready(200, "");
    until("the route is installed", SOON, || {
        let routes = kernel::routes(&us.netns, kernel::PROTOCOL);
        met(routes.iter().any(|route| route.prefix == THEIRS), || format!("{routes:?}"))
    });
    agent.kill();
    agent.start_again();
    ready(503, "0 of 1 established");
    let peer = establish();
    tell(&peer);
    ready(503, "graceful restart: peers have not told yet");
    agent.learns(THEIRS);
    ready(503, "graceful restart: peers have not told yet");
    end(&peer);
    ready(200, "");
}

/// Three that tell the same prefixes come back in another order than packets would like: the first
/// is one of three ways for most prefixes, and the last choice for one.
#[test]
fn packets_keep_their_ways_while_peers_come_back_one_after_the_other() {
    let test = "packets_keep_their_ways_while_peers_come_back_one_after_the_other";
    if !Kind::Bird.can_run(test) {
        return;
    }
    const LATE: &str = "203.0.113.0/24";
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let hosts = [2, 3, 4].map(|number| lan.host(&format!("bird{number}"), number));
    let mut birds = hosts.each_ref().map(|host| {
        let neighbors = vec![Neighbor::new(us.v4, 65001), Neighbor::new(us.v6, 65001)];
        let originate = [THEIRS, LATE, "2001:db8:2::/48"].map(String::from).into();
        Bird::start(host, Plan { asn: 65002, neighbors, originate })
    });
    let [first, second, third] = &hosts;
    let late = ", importFilters: [late], exportFilters: []";
    let config = |hold: &str| {
        Config::new(65001)
            .bgp(
                "filters: [{name: late, rules: [{action: accept, cidr: 203.0.113.0/24, \
                 set: {localPref: 50}}, {action: accept}]}]",
            )
            .peer("bird2", first, 65002, "")
            .peer("bird3", second, 65002, "")
            .line("bird4", &third.v4.to_string(), 65002, late)
            .line("bird4-v6", &third.v6.to_string(), 65002, late)
            .rest(&format!("routes: {{startupHold: {hold}}}"))
    };
    let ours = || kernel::routes(&us.netns, kernel::PROTOCOL);
    let has = |by_all: usize, late: usize| {
        until(&format!("all by {by_all}, and the late one by {late}"), SOON, || {
            let routes = ours();
            let is_right = |route: &Route| {
                route.gateways.len() == if route.prefix == LATE { late } else { by_all }
            };
            met(routes.len() == 3 && routes.iter().all(is_right), || format!("{routes:?}"))
        });
    };
    let mut agent = Agent::start(&us, &config("60s"));
    has(3, 2);
    swept(&agent);
    let (before, monitor) = (ours(), Monitor::start(&us.netns));

    agent.kill();
    for bird in &birds[..2] {
        bird.process().signal(Signal::SIGSTOP);
    }
    agent.start_again();
    agent.up("bird4");
    agent.up("bird4-v6");
    assert_eq!(agent.learns(LATE)["from"], "bird4");
    assert_eq!(agent.learns("2001:db8:2::/48")["from"], "bird4-v6");
    throughout("routes stay as they were", Duration::from_millis(500), || {
        met(ours() == before, || format!("{:?}", ours()))
    });
    let diff = agent.ask(&["routes", "diff"]).unwrap_or_default().to_string();
    assert!(diff.contains("peers that come back have not told yet all they know"), "{diff}");
    for bird in &birds[..2] {
        bird.process().signal(Signal::SIGCONT);
    }
    for peer in ["bird2", "bird2-v6", "bird3", "bird3-v6"] {
        agent.up(peer);
    }
    swept(&agent);
    until("nothing differs", SOON, || {
        let diff = agent.ask(&["routes", "diff"]).unwrap_or_default();
        met(diff["items"].as_array().is_some_and(Vec::is_empty), || diff.to_string())
    });
    assert_eq!(ours(), before);
    assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new());

    // One that does not come back is not waited for without end.
    agent.kill();
    birds[1].kill();
    agent.start_again_with(&config("2s"));
    has(2, 1);
}

/// Peers that nobody knows before they connect are waited for, too.
#[test]
fn routes_of_dynamic_peers_stay_while_these_come_back() {
    if !skip::can_run("routes_of_dynamic_peers_stay_while_these_come_back", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("other", 2));
    let config = Config::new(65001).networks(&[OURS]).bgp(
        "dynamicPeers: [{name: rack, cidrs: [10.9.0.0/24], asNumber: 65002, importFilters: [], \
         exportFilters: []}]",
    );
    let mut agent = Agent::start(&us, &config);
    let open = ", importFilters: [], exportFilters: []";
    let theirs = ["2001:db8:2::/48", THEIRS];
    let config = Config::new(65002).networks(&theirs).line("n1", &us.v4.to_string(), 65001, open);
    let mut other = Agent::start(&them, &config.bgp("connectRetryTime: 500ms"));
    let name = format!("rack-{}", them.v4);
    let is_whole = || {
        until("each has what the other tells", SOON, || {
            let installed = |host: &Host, wanted: &[&str]| {
                let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
                let is_there = |prefix: &&str| {
                    routes.iter().any(|route| route.prefix == **prefix && route.kind == "unicast")
                };
                met(wanted.iter().all(is_there), || format!("{routes:?}"))
            };
            installed(&us, &theirs)?;
            installed(&them, &[OURS])
        });
    };
    agent.up(&name);
    is_whole();
    swept(&agent);
    let monitors = [&us, &them].map(|host| Monitor::start(&host.netns));
    // It does not come back before the agent has long been there.
    agent.kill();
    other.process().signal(Signal::SIGSTOP);
    agent.start_again();
    until("the agent waits for nobody whom it knows", SOON, || {
        let status = agent.ask(&["status"]).unwrap_or_default();
        met(status["kernel"]["ready"] == true, || status.to_string())
    });
    throughout("its routes stay", Duration::from_secs(1), || {
        met(monitors[0].changes(kernel::PROTOCOL).is_empty(), || "they do not".to_owned())
    });
    other.process().signal(Signal::SIGCONT);
    agent.up(&name);
    for prefix in theirs {
        agent.learns(prefix);
    }
    is_whole();
    for monitor in &monitors {
        assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new());
    }
}

/// Waits until the agent has nothing left over from an earlier run.
#[track_caller]
fn swept(agent: &Agent) {
    until("leftovers are dealt with", SOON, || {
        let status = agent.ask(&["status"]).unwrap_or_default();
        let kernel = &status["kernel"];
        met(kernel["ready"] == true && kernel["stale"] == 0, || status.to_string())
    });
}
