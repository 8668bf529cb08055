//! The agent is killed, started again, told something else: traffic does not notice.

use std::net::IpAddr;
use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel::{self, Monitor, Route};
use integration_tests::octets::{nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Host, Lan, skip, until};

fn prefixes(routes: &[Route]) -> Vec<&str> {
    routes.iter().map(|route| route.prefix.as_str()).collect()
}

fn ours(host: &Host) -> Vec<Route> {
    kernel::routes(&host.netns, kernel::PROTOCOL)
}

#[track_caller]
fn has(host: &Host, wanted: &[&str]) -> Vec<Route> {
    until(&format!("the kernel has exactly {wanted:?}"), SOON, || {
        let routes = ours(host);
        met(prefixes(&routes) == wanted, || format!("{:?}", prefixes(&routes)))?;
        Ok(routes)
    })
}

/// Waits until the agent has nothing left over from an earlier run.
#[track_caller]
fn swept(agent: &Agent) {
    until("leftovers are dealt with", SOON, || {
        let status = agent.ask(&["status"]).unwrap_or_default();
        met(status["kernel"]["ready"] == true && status["kernel"]["stale"] == 0, || {
            status.to_string()
        })
    });
}

#[test]
fn a_killed_agent_leaves_its_routes_and_a_new_one_takes_them_over_untouched() {
    let test = "a_killed_agent_leaves_its_routes_and_a_new_one_takes_them_over_untouched";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("bird", 2));
    let bird = |address: IpAddr| Neighbor::new(address, 65001);
    let plan = Plan {
        asn: 65002,
        neighbors: vec![bird(us.v4.into()), bird(us.v6.into())],
        originate: vec![
            "198.51.100.0/24".into(),
            "203.0.113.0/24".into(),
            "2001:db8:2::/48".into(),
        ],
    };
    let mut other = Kind::Bird.start(&them, plan);
    let config = Config::new(65001)
        .networks(&["192.0.2.0/24"])
        .peer("bird", &them, 65002, "")
        .rest("routes: {startupHold: 5s}");
    let mut agent = Agent::start(&us, &config);
    for prefix in ["198.51.100.0/24", "203.0.113.0/24", "2001:db8:2::/48"] {
        agent.learns(prefix);
    }
    until("all are installed", SOON, || {
        let have = ours(&us);
        met(have.iter().filter(|route| route.kind == "unicast").count() == 3, || {
            format!("{have:?}")
        })
    });
    swept(&agent);
    let before = ours(&us);

    let monitor = Monitor::start(&us.netns);
    for _ in 0..2 {
        agent.kill();
        throughout("routes stay without the agent", Duration::from_secs(1), || {
            let now = ours(&us);
            met(now == before, || format!("{now:?}"))
        });
        agent.start_again();
        agent.up("bird");
        agent.up("bird-v6");
        agent.learns("198.51.100.0/24");
        agent.learns("2001:db8:2::/48");
        swept(&agent);
        assert_eq!(ours(&us), before, "after a restart");
        assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new(), "after a restart");
    }

    // What is not wanted any more goes, once that is known, and nothing else.
    agent.kill();
    other.withdraw("203.0.113.0/24");
    agent.start_again();
    until("the leftover is removed", SOON, || {
        let now = ours(&us);
        met(now.iter().all(|route| route.prefix != "203.0.113.0/24"), || format!("{now:?}"))
    });
    swept(&agent);
    let changes = monitor.changes(kernel::PROTOCOL);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("Deleted 203.0.113.0/24"), "{changes:?}");
}

#[test]
fn a_reload_touches_the_peer_that_it_is_about_and_no_other() {
    if !skip::can_run("a_reload_touches_the_peer_that_it_is_about_and_no_other", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, a, b, c) = (lan.host("n1", 1), lan.host("a", 2), lan.host("b", 3), lan.host("c", 4));
    let open = ", passive: true, importFilters: [], exportFilters: []";
    let base =
        || Config::new(65001).networks(&["192.0.2.0/24"]).line("b", &b.v4.to_string(), 65003, open);
    let agent = Agent::start(&us, &base().line("a", &a.v4.to_string(), 65002, open));
    let b_peer = RawPeer::establish(&b, us.v4.into(), 65003);
    let a_peer = RawPeer::establish(&a, us.v4.into(), 65002);
    let announce = |peer: &RawPeer, host: &Host, asn, prefix: &str| {
        peer.send(&update(&[], &usual(&[asn], host.v4), &nlri(&[prefix])))
            .expect("an open session");
        agent.learns(prefix);
    };
    announce(&a_peer, &a, 65002, "198.51.100.0/24");
    announce(&b_peer, &b, 65003, "203.0.113.0/24");
    let b_before = agent.up("b");
    let heard = b_peer.messages().len();

    // Another AS: that session cannot go on.
    agent.reload(&base().line("a", &a.v4.to_string(), 65012, open));
    until("a's session ends", SOON, || met(a_peer.is_closed(), || agent.peer("a").to_string()));
    agent.forgets("198.51.100.0/24");
    let a_peer = RawPeer::establish(&a, us.v4.into(), 65012);
    announce(&a_peer, &a, 65012, "198.51.100.0/24");

    // One more peer, and then one less.
    let three =
        base().line("a", &a.v4.to_string(), 65012, open).line("c", &c.v4.to_string(), 65004, open);
    agent.reload(&three);
    let c_peer = RawPeer::establish(&c, us.v4.into(), 65004);
    agent.up("c");
    agent.reload(&base().line("a", &a.v4.to_string(), 65012, open));
    until("c's session ends", SOON, || met(c_peer.is_closed(), || agent.peer("c").to_string()));
    assert_eq!(c_peer.notification().map(|(code, ..)| code), Some(6), "with a Cease");
    assert!(!a_peer.is_closed(), "a was not what this was about");

    // Filters: what was learned is judged anew without a new session.
    let filtered = base().line(
        "a",
        &a.v4.to_string(),
        65012,
        ", passive: true, importFilters: [none], exportFilters: []",
    );
    agent.reload_text(&filtered_yaml(&filtered, &us, &agent));
    agent.forgets("198.51.100.0/24");
    assert!(!a_peer.is_closed(), "a filter needs no new session");

    let b_after = agent.up("b");
    for field in ["since", "flaps"] {
        assert_eq!(b_before[field], b_after[field], "{field} of the peer that nothing was about");
    }
    assert_eq!(b_before["messages"]["sent"]["open"], b_after["messages"]["sent"]["open"]);
    assert!(b_peer.messages().len() >= heard && !b_peer.is_closed());
    assert!(agent.route("203.0.113.0/24").is_some());
}

/// The same with a filter that refuses everything.
fn filtered_yaml(config: &Config, us: &Host, agent: &Agent) -> String {
    let yaml = config.yaml(us, &agent.socket());
    yaml.replace("  peers:\n", "  filters: [{name: none, rules: [{action: reject}]}]\n  peers:\n")
}

#[test]
fn a_bad_file_leaves_the_running_configuration_and_is_reported() {
    if !skip::can_run("a_bad_file_leaves_the_running_configuration_and_is_reported", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, a) = (lan.host("n1", 1), lan.host("a", 2));
    let config =
        Config::new(65001).networks(&["192.0.2.0/24"]).peer("a", &a, 65002, ", passive: true");
    let agent = Agent::start(&us, &config);
    let peer = RawPeer::establish(&a, us.v4.into(), 65002);
    peer.hears("192.0.2.0/24");
    let before = agent.up("a");
    let good = config.yaml(&us, &agent.socket());
    for (what, text, complaint) in [
        ("not YAML", "bgp: [".to_owned(), "brindle.yaml:"),
        ("an unknown key", good.replace("asNumber: 65001", "asNumbre: 65001"), "asNumber"),
        ("a bad address", good.replace("10.9.0.2\"", "10.9.0.300\""), "10.9.0.300"),
    ] {
        agent.reload_text(&text);
        until(&format!("{what} is reported"), SOON, || {
            let status = agent.ask(&["status"]).unwrap_or_default();
            let config = &status["config"];
            let said = config["errors"].to_string();
            met(config["stale"] == true && said.contains(complaint), || status.to_string())
        });
        assert!(!peer.is_closed(), "after {what}");
        assert_eq!(agent.up("a")["since"], before["since"], "after {what}");
        agent.reload(&config);
        until("a good file is taken again", SOON, || {
            let status = agent.ask(&["status"]).unwrap_or_default();
            met(status["config"]["stale"] == false, || status.to_string())
        });
    }
    assert!(peer.routes().contains_key("192.0.2.0/24"));
    assert!(!peer.is_closed());
}

#[test]
fn only_known_prefixes_of_ours_are_in_the_kernel_after_a_clean_start() {
    if !skip::can_run("only_known_prefixes_of_ours_are_in_the_kernel_after_a_clean_start", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, a) = (lan.host("n1", 1), lan.host("a", 2));
    // Left by an earlier run that knew a peer that is no more; and one that is not ours.
    us.netns.ip("route add 198.51.100.0/24 via 10.9.0.2 proto 98 metric 512").expect("ip works");
    us.netns.ip("route add 203.0.113.0/24 via 10.9.0.2 proto 4 metric 512").expect("ip works");
    let config = Config::new(65001)
        .peer("a", &a, 65002, ", passive: true")
        .rest("routes: {startupHold: 3s}");
    let agent = Agent::start(&us, &config);
    has(&us, &[]);
    swept(&agent);
    let foreign = kernel::routes(&us.netns, "4");
    assert_eq!(prefixes(&foreign), ["203.0.113.0/24"]);
}

#[test]
fn who_the_node_is_and_where_it_listens_change_by_a_reload() {
    if !skip::can_run("who_the_node_is_and_where_it_listens_change_by_a_reload", &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, them) = (lan.host("n1", 1), lan.host("n2", 2));
    let open = ", importFilters: [], exportFilters: []";
    // It is they who connect: from us, it would be from the first address in any case.
    let other = |address: &str, port: u16, asn: u32| {
        let more = format!("{open}, port: {port}");
        Config::new(64512).networks(&["198.51.100.0/24"]).line("n1", address, asn, &more)
    };
    let (v4, another) = (us.v4.to_string(), "10.9.0.101");
    us.netns.add_address("eth0", &format!("{another}/24")).expect("a free address");
    let theirs = Agent::start(&them, &other(&v4, 179, 64512));
    let text = |asn: u32| {
        let config = Config::new(asn).line(
            "n2",
            &them.v4.to_string(),
            64512,
            &format!("{open}, passive: true"),
        );
        config.rest("routes: {startupHold: 60s}")
    };
    let agent = Agent::start(&us, &text(64512));
    let yaml = |asn: u32| text(asn).yaml(&us, &agent.socket());
    agent.learns("198.51.100.0/24");
    has(&us, &["198.51.100.0/24"]);
    swept(&agent);
    let monitor = Monitor::start(&us.netns);

    let router_id = |yaml: &str, id: &str| yaml.replace(&format!("routerID: {v4}"), id);
    let steps = [
        ("the AS number", 64600, &v4[..], yaml(64600)),
        ("the router id", 64600, &v4, router_id(&yaml(64600), "routerID: 10.9.9.9")),
        ("the port", 64600, &v4, yaml(64600).replace("port: 179", "port: 1179")),
        ("the address", 64600, another, yaml(64600).replace(&v4, another)),
        ("everything back", 64512, &v4, yaml(64512)),
    ];
    for (what, asn, address, yaml) in steps {
        let before = agent.up("n2")["since"].clone();
        let port = if yaml.contains("port: 1179") { 1179 } else { 179 };
        agent.reload_text(&yaml);
        until(&format!("{what} counts"), SOON, || {
            let status = agent.ask(&["status"]).unwrap_or_default();
            let bgp = &status["bgp"];
            let router_id = yaml.lines().find_map(|line| line.trim().strip_prefix("routerID: "));
            let is_so = bgp["asNumber"] == asn
                && bgp["routerID"].as_str() == router_id
                && bgp["listen"][0] == format!("{address}:{port}")
                && status["addresses"][0]["address"] == address;
            met(is_so, || status.to_string())
        });
        // Only now: had they ended the session, our routes would have gone with it.
        theirs.reload(&other(address, port, asn));
        until(&format!("{what}: the session is up again, and all is learned"), SOON, || {
            let (ours, theirs) = (agent.peer("n2"), theirs.peer("n1"));
            let is_up = ours["state"] == "Established" && ours["since"] != before;
            met(is_up && theirs["asNumber"] == asn, || format!("{ours} {theirs}"))
        });
        agent.learns("198.51.100.0/24");
        swept(&agent);
    }
    has(&us, &["198.51.100.0/24"]);
    assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new());

    // What says nobody any more who we are is refused, and the session stands.
    let since = agent.up("n2")["since"].clone();
    agent.reload(&Config { by_node: true, ..text(64512) });
    until("it is refused", SOON, || {
        let status = agent.ask(&["status"]).unwrap_or_default();
        met(status["config"]["errors"].to_string().contains("no address to speak BGP from"), || {
            status.to_string()
        })
    });
    assert_eq!(agent.up("n2")["since"], since);
}
