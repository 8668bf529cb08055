//! The agent is started again in every way, and its peers keep its routes: not one packet is
//! lost, and no kernel sees a route go.

use std::net::IpAddr;

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel::{self, Monitor};
use integration_tests::octets::{self, KEEPALIVE, attribute, message, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::stream::Stream;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, http, skip, until};

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
