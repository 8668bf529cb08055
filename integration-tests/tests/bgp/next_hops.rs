//! Next hops of every kind, with real packets: IPv4 over IPv6 (RFC 8950), link-local ones on
//! links without addresses, ones behind routers, and links that go and come.

use std::net::{IpAddr, Ipv6Addr};

use integration_tests::agent::{Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::frr::Frr;
use integration_tests::router::{Kind, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Netns, kernel, skip, until};

pub(super) const OPEN: &str = "importFilters: [], exportFilters: []";
/// Addresses that the two have on `lo`, and tell each other.
pub(super) const OURS: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
pub(super) const THEIRS: [&str; 2] = ["192.0.2.2", "2001:db8:2::1"];
pub(super) const OUR_AS: u32 = 65001;
pub(super) const THEIR_AS: u32 = 65002;

/// Two hosts on one cable that has no IPv4 addresses; `fd09::1` and `fd09::2` if `numbered`.
pub(super) fn pair(numbered: bool) -> (Host, Host) {
    let host = |name: &str, addresses: [&str; 2], number: u16| {
        let netns = Netns::new(name).expect("can_run was asked");
        for address in addresses {
            let length = if address.contains(':') { 128 } else { 32 };
            netns.add_address("lo", &format!("{address}/{length}")).expect("it is new");
        }
        for forwarding in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            netns.sysctl(forwarding, "1").expect("the namespace is ours");
        }
        let v6 = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number);
        Host { netns, v4: addresses[0].parse().expect("an address"), v6 }
    };
    let (us, them) = (host("n1", OURS, 1), host("other", THEIRS, 2));
    us.netns.cable("eth0", &them.netns, "eth0").expect("both are new");
    for host in [&us, &them].into_iter().filter(|_| numbered) {
        host.netns.add_address("eth0", &format!("{}/64", host.v6)).expect("eth0 is new");
    }
    (us, them)
}

pub(super) fn prefixes(addresses: [&str; 2]) -> [String; 2] {
    [format!("{}/32", addresses[0]), format!("{}/128", addresses[1])]
}

/// A configuration that tells `addresses`, with these peers; no key of it needs the link to
/// have addresses.
pub(super) fn config(asn: u32, addresses: [&str; 2], peers: &[&str]) -> Config {
    let told = prefixes(addresses);
    let mut config = Config::new(asn).networks(&[&told[0], &told[1]]);
    config.peers = peers.iter().map(ToString::to_string).collect();
    config.bgp("connectRetryTime: 200ms")
}

/// The link-local address of an interface.
#[track_caller]
fn link_local(host: &Host, interface: &str) -> IpAddr {
    until("a link-local address", SOON, || {
        let text = host.netns.ip(&format!("-6 -o addr show dev {interface} scope link"));
        let text = text.map_err(|error| format!("{error:#}"))?;
        let address = text.split_whitespace().find_map(|word| word.strip_suffix("/64"));
        address.and_then(|address| address.parse().ok()).ok_or(text)
    })
}

/// Waits until packets get from `ours` to `theirs`, which both ends must know the way for.
#[track_caller]
fn passes(host: &Host, ours: &str, theirs: &str) {
    until(&format!("a packet from {ours} to {theirs}"), SOON, || {
        let args = ["-c", "1", "-W", "1", "-I", ours, theirs];
        let routes = || format!("{:?}", kernel::routes(&host.netns, kernel::PROTOCOL));
        host.netns.run("ping", &args).map(drop).map_err(|error| format!("{error:#}\n{}", routes()))
    });
}

/// The kernel's gateways for a prefix by a route of ours.
fn gateways(host: &Host, prefix: &str) -> Option<Vec<String>> {
    let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
    routes.into_iter().find(|route| route.prefix == prefix).map(|route| route.gateways)
}

#[track_caller]
fn goes_by(host: &Host, prefix: &str, wanted: &[IpAddr]) {
    let mut wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    wanted.sort();
    until(&format!("{prefix} goes by {wanted:?}"), SOON, || {
        let mut found = gateways(host, prefix);
        found.iter_mut().for_each(|found| found.sort());
        met(found.as_ref() == Some(&wanted), || format!("{found:?}"))
    });
}

#[track_caller]
fn goes_nowhere(host: &Host, prefix: &str) {
    until(&format!("{prefix} is gone"), SOON, || {
        let found = gateways(host, prefix);
        met(found.is_none(), || format!("{found:?}"))
    });
}

fn can_run(test: &str, kind: Kind) -> bool {
    let test = format!("next_hops::{test} with {kind:?}");
    kind.can_run(&test) && skip::can_run(&test, &["ping"])
}

/// Lines for FRR that make `neighbor` a peer of both families, told what is on `lo`.
fn tell_frr(frr: &Frr, neighbor: &str, first: &[&str]) {
    let [v4, v6] = prefixes(THEIRS).map(|prefix| format!("network {prefix}"));
    let activate = format!("neighbor {neighbor} activate");
    let router = format!("router bgp {THEIR_AS}");
    let connect = format!("neighbor {neighbor} timers connect 1");
    let mut lines = vec!["configure terminal", &*router];
    lines.extend(first);
    lines.extend([&*connect, "address-family ipv4 unicast", &activate, &v4, "exit-address-family"]);
    lines.extend(["address-family ipv6 unicast", &activate, &v6, "exit-address-family"]);
    frr.ctl(&lines).unwrap_or_else(|error| panic!("FRR refused {lines:?}: {error:#}"));
}

fn plan() -> Plan {
    Plan { asn: THEIR_AS, neighbors: vec![], originate: vec![] }
}

/// What BIRD needs to hold both families of `neighbor` and to write them to its kernel.
fn for_bird(host: &Host, ends: &str) -> Bird {
    let [v4, v6] = prefixes(THEIRS);
    // What is on `lo` it has from its `direct` protocol, too, which goes first.
    let channel = |prefix: &str| format!("import all; export where net = {prefix};");
    let kernel = |family: &str| {
        format!("protocol kernel {{ {family} {{ export where source = RTS_BGP; }}; }}\n")
    };
    let text = format!(
        "{}{}protocol static {{ ipv4; route {v4} blackhole; }}\n\
         protocol static {{ ipv6; route {v6} blackhole; }}\n\
         protocol bgp neighbour {{ {ends} connect delay time 1; connect retry time 1; \
         error wait time 1, 1; ipv4 {{ extended next hop on; {} }}; ipv6 {{ {} }}; }}\n",
        kernel("ipv4"),
        kernel("ipv6"),
        channel(&v4),
        channel(&v6),
    );
    Bird::start_with(host, plan(), &text)
}

/// Packets of both families pass, and the kernel has their routes by `gateway`.
#[track_caller]
fn all_pass(us: &Host, gateway: IpAddr) {
    for prefix in prefixes(THEIRS) {
        goes_by(us, &prefix, &[gateway]);
    }
    for (ours, theirs) in OURS.into_iter().zip(THEIRS) {
        passes(us, ours, theirs);
    }
}

#[test]
fn ipv4_goes_over_a_link_that_has_ipv6_alone() {
    let test = "ipv4_goes_over_a_link_that_has_ipv6_alone";
    let peer = |address: Ipv6Addr, asn| {
        format!("{{name: other, peerIP: \"{address}\", asNumber: {asn}, {OPEN}}}")
    };
    for kind in [Kind::Frr, Kind::Bird] {
        if !can_run(test, kind) {
            continue;
        }
        let (us, them) = pair(true);
        let agent = Agent::start(&us, &config(OUR_AS, OURS, &[&peer(them.v6, THEIR_AS)]));
        let (ours, theirs) = (us.v6.to_string(), them.v6);
        let (_frr, _bird) = if kind == Kind::Frr {
            let frr = Frr::start(&them, plan());
            let remote = format!("neighbor {ours} remote-as {OUR_AS}");
            let extended = format!("neighbor {ours} capability extended-nexthop");
            tell_frr(&frr, &ours, &[&remote, &extended]);
            (Some(frr), None)
        } else {
            let ends =
                format!("local {theirs} as {THEIR_AS}; neighbor {ours} as {OUR_AS}; direct;");
            (None, Some(for_bird(&them, &ends)))
        };
        agent.up("other");
        all_pass(&us, theirs.into());
        assert_eq!(agent.learns(&prefixes(THEIRS)[0])["nextHop"], theirs.to_string(), "{kind:?}");
    }
}

pub(super) const BY_INTERFACE: &str = "interface: eth0, asNumber: external";

/// The peer's address and interface, and its AS, as they are shown.
#[track_caller]
fn found(agent: &Agent, address: IpAddr) {
    let peer = until(&format!("the session is with {address}"), SOON, || {
        let peer = agent.peer("other");
        let is_it = peer["address"] == address.to_string() && peer["state"] == "Established";
        met(is_it, || peer.to_string())?;
        Ok(peer)
    });
    assert_eq!((&peer["interface"], &peer["asNumber"]), (&"eth0".into(), &THEIR_AS.into()));
}

/// Makes the cable anew, with other addresses at its ends.
fn replug(us: &Host, them: &Host) {
    us.netns.ip("link del eth0").expect("the cable is there");
    us.netns.cable("eth0", &them.netns, "eth0").expect("the names are free");
}

#[test]
fn a_neighbour_is_found_on_an_interface_without_addresses() {
    let test = "a_neighbour_is_found_on_an_interface_without_addresses";
    if !can_run(test, Kind::Frr) {
        return;
    }
    let (us, them) = pair(false);
    let line = format!("{{name: other, {BY_INTERFACE}, {OPEN}}}");
    let agent = Agent::start(&us, &config(OUR_AS, OURS, &[&line]).bgp("holdTime: 3s"));
    until("it says whom it waits for", SOON, || {
        let peer = agent.peer("other");
        let reason = peer["lastReason"].as_str().unwrap_or_default();
        met(reason.contains("nobody is found on eth0") && peer["asNumber"] == 0, || {
            peer.to_string()
        })
    });
    let frr = Frr::start(&them, plan());
    tell_frr(&frr, "eth0", &["neighbor eth0 interface remote-as external"]);
    found(&agent, link_local(&them, "eth0"));
    all_pass(&us, link_local(&them, "eth0"));
    // The neighbour gets another address while the interface stays.
    let before = link_local(&them, "eth0");
    them.netns.ip("link set eth0 down").expect("it is there");
    them.netns.ip("link set eth0 address 02:00:00:00:00:99").expect("it is a local address");
    them.netns.ip("link set eth0 up").expect("it is there");
    let after = link_local(&them, "eth0");
    assert_ne!(before, after);
    found(&agent, after);
    all_pass(&us, after);
    // The interface goes, and comes again with other addresses on both ends.
    us.netns.ip("link del eth0").expect("the cable is there");
    goes_nowhere(&us, &prefixes(THEIRS)[0]);
    until("it says that the interface is gone", SOON, || {
        let peer = agent.peer("other");
        let reason = peer["lastReason"].as_str().unwrap_or_default();
        met(reason.contains("no interface eth0"), || peer.to_string())
    });
    us.netns.cable("eth0", &them.netns, "eth0").expect("the names are free");
    found(&agent, link_local(&them, "eth0"));
    all_pass(&us, link_local(&them, "eth0"));
}

#[test]
fn a_link_local_peer_is_named_with_its_interface() {
    let test = "a_link_local_peer_is_named_with_its_interface";
    if !can_run(test, Kind::Bird) {
        return;
    }
    let (us, them) = pair(false);
    let (ours, theirs) = (link_local(&us, "eth0"), link_local(&them, "eth0"));
    let ends = |ours: IpAddr| {
        format!(
            "local {theirs} as {THEIR_AS}; neighbor {ours} as {OUR_AS}; interface \"eth0\"; direct;"
        )
    };
    let bird = for_bird(&them, &ends(ours));
    let line = format!("{{name: other, peerIP: \"{theirs}%eth0\", asNumber: {THEIR_AS}, {OPEN}}}");
    let agent = Agent::start(&us, &config(OUR_AS, OURS, &[&line]));
    found(&agent, theirs);
    all_pass(&us, theirs);
    assert!(agent.run(&["peers"]).expect("it answers").contains(&format!("{theirs}%eth0")));
    drop(bird);
}

#[test]
fn two_brindles_find_each_other_and_sign_guard_and_watch_their_session() {
    let test = "two_brindles_find_each_other_and_sign_guard_and_watch_their_session";
    if !skip::can_run(test, &["ip", "ping"]) {
        return;
    }
    let (us, them) = pair(false);
    let key = tempfile::NamedTempFile::new().expect("a file for a key");
    std::fs::write(key.path(), "between neighbours").expect("it is ours");
    let line = format!(
        "{{name: other, {BY_INTERFACE}, {OPEN}, password: {{file: \"{}\"}}, ttlSecurity: 1, \
         bfd: {{transmitInterval: 100ms, receiveInterval: 100ms}}}}",
        key.path().display()
    );
    let start = |host: &Host, asn, addresses| Agent::start(host, &config(asn, addresses, &[&line]));
    let agent = start(&us, OUR_AS, OURS);
    let other = start(&them, THEIR_AS, THEIRS);
    let is_whole = |agent: &Agent| {
        until("BFD is up beside the session", SOON, || {
            let peer = agent.peer("other");
            let is_up = peer["bfd"]["state"] == "up" || peer["bfd"]["state"] == "Up";
            met(is_up && peer["state"] == "Established", || peer.to_string())
        });
    };
    is_whole(&agent);
    is_whole(&other);
    found(&agent, link_local(&them, "eth0"));
    all_pass(&us, link_local(&them, "eth0"));
    replug(&us, &them);
    is_whole(&agent);
    found(&agent, link_local(&them, "eth0"));
    all_pass(&us, link_local(&them, "eth0"));
    // Whoever has the same address on another interface is somebody else.
    us.netns.cable("eth1", &them.netns, "eth1").expect("the names are free");
    for (host, interface) in [(&us, "eth0"), (&us, "eth1"), (&them, "eth0"), (&them, "eth1")] {
        let old = link_local(host, interface);
        let same = if host.v6 == us.v6 { "fe80::1" } else { "fe80::2" };
        host.netns.ip(&format!("addr del {old}/64 dev {interface}")).expect("it is there");
        host.netns.add_address(interface, &format!("{same}/64")).expect("it is new");
    }
    let two = |asn, addresses| {
        config(asn, addresses, &[&line, &line.replace("eth0", "eth1").replace("other", "second")])
    };
    agent.reload(&two(OUR_AS, OURS));
    other.reload(&two(THEIR_AS, THEIRS));
    is_whole(&agent);
    agent.up("second");
    let theirs: IpAddr = "fe80::2".parse().expect("an address");
    goes_by(&us, &prefixes(THEIRS)[0], &[theirs, theirs]);
    goes_by(&us, &prefixes(THEIRS)[1], &[theirs, theirs]);
    us.netns.ip("link set eth0 down").expect("it is there");
    goes_by(&us, &prefixes(THEIRS)[0], &[theirs]);
    passes(&us, OURS[0], THEIRS[0]);
    passes(&us, OURS[1], THEIRS[1]);
}

/// us ═ two cables ═ router ─ them, with routes between all and a better cable on our side.
fn behind_a_router() -> (Host, Host, std::sync::Arc<Netns>) {
    let (us, them) = (Netns::new("n1"), Netns::new("other"));
    let (us, them) = (us.expect("can_run was asked"), them.expect("can_run was asked"));
    let router = Netns::new("router").expect("can_run was asked");
    router.sysctl("net/ipv4/ip_forward", "1").expect("the namespace is ours");
    // Its way back to us leaves the cable that is down as well.
    let by_carrier = "net/ipv4/conf/all/ignore_routes_with_linkdown";
    router.sysctl(by_carrier, "1").expect("the namespace is ours");
    us.cable("eth0", &router, "left0").expect("all are new");
    us.cable("eth1", &router, "left1").expect("all are new");
    them.cable("eth0", &router, "right").expect("all are new");
    for (netns, interface, address) in [
        (&us, "lo", "192.0.2.1/32"),
        (&us, "eth0", "10.1.0.1/24"),
        (&us, "eth1", "10.3.0.1/24"),
        (&router, "left0", "10.1.0.254/24"),
        (&router, "left1", "10.3.0.254/24"),
        (&router, "right", "10.2.0.254/24"),
        (&them, "eth0", "10.2.0.2/24"),
        (&them, "lo", "192.0.2.2/32"),
    ] {
        netns.add_address(interface, address).expect("it is new");
    }
    for (netns, route) in [
        (&router, "192.0.2.1 via 10.1.0.1 metric 10"),
        (&router, "192.0.2.1 via 10.3.0.1 metric 20"),
        (&router, "192.0.2.2 via 10.2.0.2"),
        (&them, "192.0.2.1 via 10.2.0.254"),
        (&us, "10.2.0.0/24 via 10.1.0.254 metric 10"),
        (&us, "10.2.0.0/24 via 10.3.0.254 metric 20"),
    ] {
        netns.ip(&format!("route add {route}")).expect("it is new");
    }
    let host = |netns, v4: &str| Host {
        netns,
        v4: v4.parse().expect("an address"),
        v6: Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1),
    };
    (host(us, "192.0.2.1"), host(them, "192.0.2.2"), router)
}

#[test]
fn routes_of_a_peer_behind_a_router_follow_the_way_to_it() {
    let test = "routes_of_a_peer_behind_a_router_follow_the_way_to_it";
    if !can_run(test, Kind::Bird) {
        return;
    }
    let (us, them, _router) = behind_a_router();
    let text = format!(
        "protocol static {{ ipv4; route 192.0.2.2/32 blackhole; }}\n\
         protocol bgp neighbour {{ local 10.2.0.2 as {THEIR_AS}; neighbor 192.0.2.1 as {OUR_AS}; \
         multihop; connect delay time 1; connect retry time 1; error wait time 1, 1; \
         ipv4 {{ import all; export where net = 192.0.2.2/32; }}; }}\n"
    );
    let _bird = Bird::start_with(&them, plan(), &text);
    let told = |more: &str| {
        let line = format!(
            "{{name: other, peerIP: 10.2.0.2, asNumber: {THEIR_AS}, sourceAddress: 192.0.2.1, \
             ebgpMultihop: 3, {OPEN}{more}}}"
        );
        let mut config = Config::new(OUR_AS).bgp("connectRetryTime: 200ms");
        config.peers.push(line);
        config
    };
    let agent = Agent::start(&us, &told(""));
    let prefix = "192.0.2.2/32";
    let gateway = |text: &str| text.parse::<IpAddr>().expect("an address");
    agent.up("other");
    goes_by(&us, prefix, &[gateway("10.1.0.254")]);
    passes(&us, "192.0.2.1", "192.0.2.2");
    us.netns.ip("link set eth0 down").expect("it is there");
    goes_by(&us, prefix, &[gateway("10.3.0.254")]);
    passes(&us, "192.0.2.1", "192.0.2.2");
    assert_eq!(agent.peer("other")["flaps"], 0, "the session has its own way around");
    us.netns.ip("link set eth1 down").expect("it is there");
    goes_nowhere(&us, prefix);
    us.netns.ip("link set eth0 up").expect("it is there");
    us.netns.ip("route add 10.2.0.0/24 via 10.1.0.254 metric 10").expect("it went with the link");
    goes_by(&us, prefix, &[gateway("10.1.0.254")]);

    // Without any route: by the gateway that is named, for as long as it is.
    us.netns.ip("route del 10.2.0.0/24 via 10.1.0.254").expect("it is there");
    goes_nowhere(&us, prefix);
    let by = told(", reachableBy: 10.1.0.254");
    agent.reload(&by);
    goes_by(&us, "10.2.0.2/32", &[gateway("10.1.0.254")]);
    goes_by(&us, prefix, &[gateway("10.1.0.254")]);
    agent.up("other");
    passes(&us, "192.0.2.1", "192.0.2.2");
    agent.reload(&Config { peers: vec![], ..by });
    goes_nowhere(&us, "10.2.0.2/32");
    goes_nowhere(&us, prefix);
}
