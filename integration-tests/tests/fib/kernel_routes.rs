//! What somebody or something does to the kernel's routes is put right, and what is not
//! brindle's is left alone.

use std::time::{Duration, Instant};

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel::{self, Route};
use integration_tests::octets::{as_path, attribute, mp_reach, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, skip, until};

const V4: &str = "198.51.100.0/24";
const V6: &str = "2001:db8:2::/48";

/// An agent with a raw peer that announced a route of each family.
struct Setting {
    // Held: the link goes with it.
    lan: Lan,
    us: Host,
    them: Host,
    agent: Agent,
    peer: RawPeer,
}

impl Setting {
    fn new(config: Config) -> Self {
        let lan = Lan::new();
        let (us, them) = (lan.host("n1", 1), lan.host("peer", 2));
        let agent = Agent::start(&us, &config.peer("peer", &them, 65002, ", passive: true"));
        let peer = RawPeer::establish(&them, us.v4.into(), 65002);
        announce(&peer, &them, 65002);
        let setting = Self { lan, us, them, agent, peer };
        setting.right(SOON);
        setting
    }

    /// Waits until both routes are as they should be.
    #[track_caller]
    fn right(&self, limit: Duration) {
        until("both routes are in the kernel", limit, || self.is_right());
    }

    fn is_right(&self) -> Result<(), String> {
        let routes = ours(&self.us);
        let has = |prefix: &str, gateway: String| {
            routes.iter().any(|r| r.prefix == prefix && r.gateways == [gateway.clone()])
        };
        let both = has(V4, self.them.v4.to_string()) && has(V6, self.them.v6.to_string());
        met(both, || format!("{routes:?}"))
    }
}

fn announce(peer: &RawPeer, from: &Host, asn: u32) {
    let v6 = [attribute(0x40, 1, &[0]), as_path(&[asn]), mp_reach(from.v6, &[V6])].concat();
    peer.send(&update(&[], &usual(&[asn], from.v4), &nlri(&[V4]))).expect("an open session");
    peer.send(&update(&[], &v6, &[])).expect("an open session");
}

fn ours(host: &Host) -> Vec<Route> {
    kernel::routes(&host.netns, kernel::PROTOCOL)
}

/// Long enough on a busy machine for what takes two seconds at most on an idle one.
const REPAIR: Duration = Duration::from_secs(10);

#[test]
fn a_route_that_is_deleted_or_changed_comes_back() {
    if !skip::can_run("a_route_that_is_deleted_or_changed_comes_back", &[]) {
        return;
    }
    let setting = Setting::new(Config::new(65001));
    for sabotage in [
        format!("route del {V4} proto 98"),
        format!("-6 route del {V6} proto 98"),
        "route flush proto 98".to_owned(),
        "-6 route flush proto 98".to_owned(),
        format!("route change {V4} via 10.9.0.77 proto 98 metric 512"),
    ] {
        setting.us.netns.ip(&sabotage).unwrap_or_else(|error| panic!("{sabotage}: {error:#}"));
        let begin = Instant::now();
        setting.right(REPAIR);
        println!("{sabotage}: repaired after {:?}", begin.elapsed());
    }
    until("repairs are counted", SOON, || {
        let status = setting.agent.ask(&["status"]).unwrap_or_default();
        let repairs = status["kernel"]["repairs"].as_u64();
        met(repairs >= Some(5), || status.to_string())
    });
    assert!(!setting.peer.is_closed());
}

#[test]
fn routes_come_back_after_a_link_flap_and_after_an_address_was_gone() {
    if !skip::can_run("routes_come_back_after_a_link_flap_and_after_an_address_was_gone", &[]) {
        return;
    }
    let mut setting = Setting::new(Config::new(65001));
    let netns = setting.us.netns.clone();
    let ip = |words: &str| netns.ip(words).expect("ip works");

    // The interface itself: the kernel drops all routes over it, IPv4 without a word.
    ip("link set eth0 down");
    until("the kernel dropped the IPv4 route", SOON, || {
        met(ours(&setting.us).iter().all(|route| route.prefix != V4), || "still there".into())
    });
    ip("link set eth0 up");
    // It lost its IPv6 address with that.
    ip("address replace fd09::1/64 dev eth0 nodad");
    setting.right(REPAIR);

    // The other end of the cable.
    setting.lan.plug(1, false);
    setting.lan.plug(1, true);
    setting.right(REPAIR);

    // The address that the next hop is on-link by. A session on an address that is lost
    // starts anew, if the loss was seen before the address was back: the peer dials again.
    ip("address del 10.9.0.1/24 dev eth0");
    ip("address add 10.9.0.1/24 dev eth0");
    until("both routes are in the kernel after an address was gone", REPAIR, || {
        if setting.peer.is_closed() {
            setting.peer = RawPeer::establish(&setting.them, setting.us.v4.into(), 65002);
            announce(&setting.peer, &setting.them, 65002);
        }
        setting.is_right()
    });
}

#[test]
fn a_route_of_another_is_left_alone_and_reported() {
    if !skip::can_run("a_route_of_another_is_left_alone_and_reported", &[]) {
        return;
    }
    let setting = Setting::new(Config::new(65001));
    let taken = "203.0.113.0/24";
    setting
        .us
        .netns
        .ip(&format!("route add {taken} via 10.9.0.77 proto 4 metric 512"))
        .expect("ip works");
    setting
        .peer
        .send(&update(&[], &usual(&[65002], setting.them.v4), &nlri(&[taken])))
        .expect("an open session");
    setting.agent.learns(taken);
    until("the conflict is reported", SOON, || {
        let diff = setting.agent.ask(&["routes", "kernel"]).unwrap_or_default();
        let items = diff["items"].as_array().cloned().unwrap_or_default();
        let one = items.iter().find(|route| route["prefix"] == taken).cloned().unwrap_or_default();
        met(one["problem"].as_str().is_some_and(|why| !why.is_empty()), || diff.to_string())
    });
    let foreign = kernel::routes(&setting.us.netns, "4");
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!(foreign[0].gateways, ["10.9.0.77"], "left as it was");
    assert!(ours(&setting.us).iter().all(|route| route.prefix != taken));
    // Where the other gives way, ours comes.
    setting.us.netns.ip(&format!("route del {taken} proto 4")).expect("ip works");
    until("ours is there now", REPAIR, || {
        let routes = ours(&setting.us);
        met(routes.iter().any(|route| route.prefix == taken), || format!("{routes:?}"))
    });
}

#[test]
fn two_equal_paths_are_one_route_with_two_gateways() {
    if !skip::can_run("two_equal_paths_are_one_route_with_two_gateways", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, a, b) = (lan.host("n1", 1), lan.host("a", 2), lan.host("b", 3));
    let config = Config::new(65001).peer("a", &a, 65002, ", passive: true").peer(
        "b",
        &b,
        65002,
        ", passive: true",
    );
    let _agent = Agent::start(&us, &config);
    let first = RawPeer::establish(&a, us.v4.into(), 65002);
    let second = RawPeer::establish(&b, us.v4.into(), 65002);
    announce(&first, &a, 65002);
    announce(&second, &b, 65002);
    let gateways = |prefix: &str| {
        ours(&us).into_iter().find(|route| route.prefix == prefix).map(|route| route.gateways)
    };
    let are = |v4: &[&str], v6: &[&str]| {
        until(&format!("gateways {v4:?} and {v6:?}"), SOON, || {
            let sorted = |prefix| {
                let mut list = gateways(prefix).unwrap_or_default();
                list.sort();
                list
            };
            let seen = (sorted(V4), sorted(V6));
            met(seen.0 == v4 && seen.1 == v6, || format!("{seen:?}; {:?}", ours(&us)))
        });
    };
    are(&["10.9.0.2", "10.9.0.3"], &["fd09::2", "fd09::3"]);
    drop(first);
    are(&["10.9.0.3"], &["fd09::3"]);
    let first = RawPeer::establish(&a, us.v4.into(), 65002);
    announce(&first, &a, 65002);
    are(&["10.9.0.2", "10.9.0.3"], &["fd09::2", "fd09::3"]);
}
