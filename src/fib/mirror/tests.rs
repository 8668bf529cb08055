//! Tables of next hops and what they resolve to.

use super::*;

fn link(index: u32, name: &str, is_enabled: bool, is_up: bool) -> Link {
    Link { index, name: name.into(), is_enabled, is_up }
}

fn address(link: u32, text: &str) -> Address {
    let (address, length) = text.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    let on_link = Prefix::new(address, length.parse().unwrap()).unwrap();
    Address { link, address, on_link, is_usable: true }
}

/// `prefix metric protocol`, then hops as `gateway%link`, or `-` without a gateway; no hop is
/// an unreachable route.
fn route(prefix: &str, metric: u32, protocol: u8, hops: &[&str]) -> KernelRoute {
    let mut hops: Vec<Hop> = hops
        .iter()
        .map(|text| {
            let (gateway, link) = text.split_once('%').unwrap();
            Hop {
                gateway: (gateway != "-").then(|| gateway.parse().unwrap()),
                link: link.parse().unwrap(),
                onlink: false,
                weight: 0,
            }
        })
        .collect();
    hops.sort();
    let target = if hops.is_empty() { Target::Unreachable } else { Target::Via(hops) };
    let key = RouteKey { prefix: prefix.parse().unwrap(), metric };
    KernelRoute { key, protocol, tos: 0, target }
}

/// Two links up, a third down, a fourth without a carrier.
fn mirror(routes: &[KernelRoute]) -> Mirror {
    let mut mirror = Mirror::default();
    mirror.add_link(link(1, "lo", true, true));
    mirror.add_link(link(2, "eth0", true, true));
    mirror.add_link(link(3, "eth1", true, true));
    mirror.add_link(link(4, "eth2", false, false));
    mirror.add_link(link(5, "eth3", true, false));
    for (link, text) in [
        (2, "10.0.0.1/24"),
        (2, "fd00::1/64"),
        (3, "10.0.1.1/24"),
        (4, "10.0.2.1/24"),
        (5, "10.0.3.1/24"),
    ] {
        mirror.add_address(address(link, text));
    }
    for (prefix, link) in
        [("10.0.0.0/24", 2), ("fd00::/64", 2), ("10.0.1.0/24", 3), ("10.0.3.0/24", 5)]
    {
        mirror.add_route(route(prefix, 0, 2, &[&format!("-%{link}")]), false);
    }
    for route in routes {
        mirror.add_route(route.clone(), false);
    }
    mirror
}

/// A next hop as `gateway%link,... cost`, or the reason why it is not reached.
fn reach(mirror: &Mirror, next_hop: &str) -> String {
    match mirror.reach(next_hop.parse().unwrap()) {
        Ok(Reached { hops, cost }) => {
            let hops: Vec<String> = hops
                .iter()
                .map(|hop| format!("{}%{}", hop.gateway.unwrap(), mirror.link_name(hop.link)))
                .collect();
            format!("{} {cost}", hops.join(","))
        }
        Err(why) => why.to_string(),
    }
}

#[test]
fn a_next_hop_with_its_link_is_reached_by_that_link_alone() {
    let mut mirror = mirror(&[route("192.0.2.1/32", 0, 4, &["10.0.1.9%3"])]);
    mirror.add_address(address(2, "fe80::1/64"));
    mirror.add_address(address(3, "fe80::2/64"));
    let reach = |mirror: &Mirror, link| {
        let gateway = Gateway { address: "fe80::2".parse().unwrap(), link };
        mirror.reach_gateway(gateway).map(|reached| (reached.hops[0].link, reached.cost))
    };
    assert_eq!(reach(&mirror, Some(2)), Ok((2, 0)));
    let own = "fe80::2".parse().unwrap();
    assert_eq!(reach(&mirror, Some(3)), Err(Unreached::Own(own)), "there it is ours");
    assert_eq!(reach(&mirror, Some(4)), Err(Unreached::LinkDown("eth2".into())));
    assert_eq!(reach(&mirror, None), Err(Unreached::Own(own)));
    // A gateway that was given goes before all routes, and moves with what leads to it.
    let [peer, gateway]: [IpAddr; 2] = ["192.0.2.1", "10.0.0.9"].map(|text| text.parse().unwrap());
    mirror.set_reachable_by([(peer, gateway)].into());
    assert_eq!(super::tests::reach(&mirror, "192.0.2.1"), "10.0.0.9%eth0 1");
    mirror.set_reachable_by([(peer, "10.0.3.9".parse().unwrap())].into());
    assert_eq!(super::tests::reach(&mirror, "192.0.2.1"), "link eth3 is down");
    mirror.set_reachable_by(BTreeMap::new());
    assert_eq!(super::tests::reach(&mirror, "192.0.2.1"), "10.0.1.9%eth1 1");
}

#[test]
fn next_hops_are_reached_by_the_longest_match_that_is_not_ours() {
    let static_routes = [
        route("10.9.0.0/16", 20, 4, &["10.0.0.9%2"]),
        route("10.9.1.0/24", 20, 4, &["10.0.1.9%3"]),
        route("10.9.2.0/24", 20, 4, &["10.0.0.9%2", "10.0.1.9%3"]),
        route("10.9.3.0/24", 20, 4, &["10.0.3.9%5", "10.0.1.9%3"]),
        route("10.9.4.0/24", 20, 4, &["10.0.3.9%5"]),
        route("10.9.4.0/24", 30, 4, &["10.0.0.9%2"]),
        route("10.9.5.0/24", 20, 4, &[]),
        route("10.8.0.0/16", 0, 4, &["-%3"]),
        route("fd09::/16", 20, 4, &["fd00::9%2"]),
    ];
    let mirror = mirror(&static_routes);
    for (next_hop, want) in [
        ("10.0.0.2", "10.0.0.2%eth0 0"),
        ("fd00::2", "fd00::2%eth0 0"),
        ("10.0.0.1", "next hop 10.0.0.1 is an address of this host"),
        ("127.0.0.1", "next hop 127.0.0.1 is an address of this host"),
        ("10.9.9.9", "10.0.0.9%eth0 1"),
        ("10.9.1.9", "10.0.1.9%eth1 1"),
        ("10.9.2.9", "10.0.0.9%eth0,10.0.1.9%eth1 1"),
        ("10.9.3.9", "10.0.1.9%eth1 1"),
        ("10.9.4.9", "10.0.0.9%eth0 1"),
        ("10.9.5.9", "next hop 10.9.5.9 is cut off by 10.9.5.0/24 proto static"),
        ("10.8.0.1", "10.8.0.1%eth1 0"),
        ("fd09::1", "fd00::9%eth0 1"),
        ("10.0.2.2", "link eth2 is down"),
        ("10.0.3.2", "link eth3 is down"),
        ("192.0.2.1", "no route leads to next hop 192.0.2.1"),
        ("fd01::1", "no route leads to next hop fd01::1"),
    ] {
        assert_eq!(reach(&mirror, next_hop), want, "{next_hop}");
    }
}

#[test]
fn a_default_route_leads_to_a_next_hop_unless_a_longer_one_is_dead() {
    let mut mirror = mirror(&[route("0.0.0.0/0", 100, 16, &["10.0.0.254%2"])]);
    assert_eq!(reach(&mirror, "192.0.2.1"), "10.0.0.254%eth0 1");
    assert_eq!(reach(&mirror, "10.0.3.2"), "link eth3 is down");
    mirror.add_route(route("0.0.0.0/0", 50, 4, &["10.0.1.254%3"]), false);
    assert_eq!(reach(&mirror, "192.0.2.1"), "10.0.1.254%eth1 1", "the better metric");
    assert!(mirror.remove_route(&route("0.0.0.0/0", 50, 4, &["10.0.1.254%3"])));
    assert!(!mirror.remove_route(&route("0.0.0.0/0", 50, 4, &["10.0.1.254%3"])));
    assert_eq!(reach(&mirror, "192.0.2.1"), "10.0.0.254%eth0 1");
}

#[test]
fn a_link_that_is_switched_off_takes_its_routes_along() {
    let mut mirror = mirror(&[route("10.9.0.0/16", 20, 4, &["10.0.0.9%2"])]);
    assert!(!mirror.add_link(link(2, "eth0", true, true)), "no news");
    assert!(mirror.add_link(link(2, "eth0", false, false)));
    assert_eq!(reach(&mirror, "10.0.0.2"), "link eth0 is down");
    assert_eq!(reach(&mirror, "10.9.0.1"), "no route leads to next hop 10.9.0.1");
    assert!(mirror.add_link(link(2, "eth0", true, true)));
    assert_eq!(
        reach(&mirror, "10.0.0.2"),
        "no route leads to next hop 10.0.0.2",
        "not before the kernel says that the link's own route is back"
    );
    assert!(mirror.remove_link(2));
    assert!(!mirror.is_own([10, 0, 0, 1].into()));
}

#[test]
fn a_link_local_next_hop_is_reached_where_only_one_link_may_have_it() {
    let mut mirror = mirror(&[]);
    assert_eq!(reach(&mirror, "fe80::2"), "no route leads to next hop fe80::2");
    mirror.add_address(address(2, "fe80::1/64"));
    assert_eq!(reach(&mirror, "fe80::2"), "fe80::2%eth0 0");
    mirror.add_address(address(3, "fe80::1/64"));
    assert_eq!(
        reach(&mirror, "fe80::2"),
        "next hop fe80::2 is link-local and its link is not known"
    );
}

#[test]
fn foreign_routes_hold_their_key_and_win_at_a_better_metric() {
    let mirror = mirror(&[
        route("10.244.2.0/24", 512, 4, &["10.0.0.9%2"]),
        route("10.244.3.0/24", 20, 12, &["10.0.0.9%2"]),
        route("10.244.4.0/24", 600, 4, &["10.0.0.9%2"]),
    ]);
    for (prefix, metric, holder, winner) in [
        ("10.244.2.0/24", 512, Some(4), Some(4)),
        ("10.244.2.0/24", OWN_METRIC, None, None), // pods have a route of their own
        ("10.244.3.0/24", 512, None, Some(12)),
        ("10.244.4.0/24", 512, None, None),
        ("10.0.0.0/24", 512, None, None), // the kernel's own, to a link
        ("10.244.5.0/24", 512, None, None),
    ] {
        let key = RouteKey { prefix: prefix.parse().unwrap(), metric };
        let protocol = |route: Option<&KernelRoute>| route.map(|route| route.protocol);
        assert_eq!(
            (protocol(mirror.holder(&key)), protocol(mirror.winner(&key))),
            (holder, winner),
            "{prefix}"
        );
    }
}

#[test]
fn a_foreign_multipath_route_is_followed_hop_by_hop() {
    let (one, two) = (&["fd00::8%2"][..], &["fd00::8%2", "fd00::9%2"][..]);
    let mut mirror = mirror(&[route("fd09::/16", 20, 4, one)]);
    // Grown: told whole, without a flag that it takes the place of the smaller one.
    assert!(mirror.add_route(route("fd09::/16", 20, 4, two), false));
    assert_eq!(reach(&mirror, "fd09::1"), "fd00::8%eth0,fd00::9%eth0 1");
    // Shrunk: told by the hop that goes.
    assert!(mirror.remove_route(&route("fd09::/16", 20, 4, one)));
    assert_eq!(reach(&mirror, "fd09::1"), "fd00::9%eth0 1");
    assert!(mirror.add_route(route("fd09::/16", 20, 4, one), true));
    assert_eq!(reach(&mirror, "fd09::1"), "fd00::8%eth0 1", "replaced");
    assert!(mirror.remove_route(&route("fd09::/16", 20, 4, two)));
    assert_eq!(reach(&mirror, "fd09::1"), "no route leads to next hop fd09::1");
}

#[test]
fn own_addresses_are_told_once_they_can_be_used() {
    let mut mirror = Mirror::default();
    mirror.add_link(link(2, "eth0", true, true));
    let tentative = Address { is_usable: false, ..address(2, "fd00::1/64") };
    assert!(mirror.add_address(tentative));
    assert_eq!(mirror.own_addresses(), vec![]);
    assert!(mirror.add_address(address(2, "fd00::1/64")), "the same address, now usable");
    assert!(!mirror.add_address(address(2, "fd00::1/64")));
    let own = mirror.own_addresses();
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!((&*own[0].interface, own[0].link.to_string().as_str()), ("eth0", "fd00::/64"));
    assert!(own[0].is_up);
    assert!(mirror.add_link(link(2, "eth0", true, false)));
    assert_eq!(mirror.own_addresses(), vec![LocalAddress { is_up: false, ..own[0].clone() }]);
    assert!(mirror.remove_address(&address(2, "fd00::1/64")));
    assert!(!mirror.remove_address(&address(2, "fd00::1/64")));
}
