//! The fib against a real kernel: what is installed, adopted, left alone and removed.

use brindle::fib::{Command, FibSettings, ForwardingState, HashBy, HashState, Tuning};

use crate::support::{Namespace, can_run, gateway, settings, until_ours, via, wait_for};

/// The metric of unreachable routes as `ip route` shows it.
const OWN: &str = "metric 4294967294";

#[test]
fn routes_of_both_families_are_installed_changed_and_removed() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    for (family, prefix, one, other, dev) in [
        ("-4", "10.244.2.0/24", "10.0.0.2", "10.0.1.3", "dev eth1"),
        ("-6", "fd00:10:244:2::/64", "fd00::2", "fd00:1::3", "dev eth1"),
    ] {
        let tail = if family == "-6" { " pref medium" } else { "" };
        fib.want(prefix, &[one]);
        until_ours(&namespace, family, &[&format!("{prefix} via {one} dev eth0 metric 512{tail}")]);
        fib.want(prefix, &[other]);
        until_ours(&namespace, family, &[&format!("{prefix} via {other} {dev} metric 512{tail}")]);
        fib.want(prefix, &[]);
        until_ours(&namespace, family, &[]);
    }
    let status = fib.status();
    assert_eq!(
        (status.wanted, status.installed, status.repairs),
        ([0, 0], [0, 0], 0),
        "{status:?}"
    );
}

#[test]
fn several_next_hops_become_one_multipath_route_that_follows_its_members() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    for (family, prefix, hops) in [
        ("-4", "10.244.2.0/24", ["10.0.0.2", "10.0.0.3", "10.0.1.2"]),
        ("-6", "fd00:10:244:2::/64", ["fd00::2", "fd00::3", "fd00:1::2"]),
    ] {
        for members in [&hops[..1], &hops[..2], &hops[..], &hops[1..], &hops[2..], &hops[..2]] {
            fib.want(prefix, members);
            let ours = || namespace.ours(family);
            wait_for(
                &format!("{prefix} by {members:?}"),
                || {
                    let routes = ours();
                    let all = routes.concat();
                    let is_so = routes.len() == 1
                        && hops.iter().all(|hop| {
                            all.contains(&format!("via {hop} dev")) == members.contains(hop)
                        });
                    is_so.then_some(())
                },
                ours,
            );
        }
    }
}

#[test]
fn an_own_prefix_is_unreachable_at_a_bad_metric_unless_it_is_one_address() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    for prefix in ["10.244.1.0/24", "fd00:10:244:1::/64", "192.0.2.1/32", "2001:db8::1/128"] {
        fib.want_own(prefix);
    }
    until_ours(&namespace, "-4", &[&format!("unreachable 10.244.1.0/24 {OWN}")]);
    until_ours(
        &namespace,
        "-6",
        &[&format!("unreachable fd00:10:244:1::/64 dev lo {OWN} pref medium")],
    );
    // A prefix that another node takes over changes its metric with its kind.
    fib.want("10.244.1.0/24", &["10.0.0.2"]);
    until_ours(&namespace, "-4", &["10.244.1.0/24 via 10.0.0.2 dev eth0 metric 512"]);
    assert_eq!(fib.status().wanted, [1, 1], "{:?}", fib.status());
}

#[test]
fn a_restart_with_unchanged_state_writes_nothing_and_only_a_sweep_removes_leftovers() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let first = namespace.start();
    let changes = || {
        vec![
            via("10.244.2.0/24", &["10.0.0.2"]),
            via("10.244.3.0/24", &["10.0.0.3", "10.0.1.3"]),
            via("fd00:10:244:2::/64", &["fd00::2"]),
            via("fd00:10:244:3::/64", &["fd00::3", "fd00:1::3"]),
        ]
    };
    first.send(Command::Change(changes()));
    first.want_own("10.244.1.0/24");
    first.want_own("fd00:10:244:1::/64");
    first.want("10.244.9.0/24", &["10.0.0.9"]);
    first.until("all is installed", |status| status.installed == [4, 3]);
    first.stop();
    let before = (namespace.ours("-4"), namespace.ours("-6"));
    assert_eq!((before.0.len(), before.1.len()), (4, 3), "everything stays: {before:?}");

    let monitor = namespace.monitor();
    let second = namespace.start();
    assert_eq!(second.status().stale, 7, "{:?}", second.status());
    second.send(Command::Change(changes()));
    second.want_own("10.244.1.0/24");
    second.want_own("fd00:10:244:1::/64");
    second.until("the leftovers are adopted but one", |status| {
        status.installed == [3, 3] && status.stale == 1
    });
    second.problem("10.244.9.0/24", "leftover");
    assert_eq!(monitor.heard(&namespace), Vec::<String>::new(), "nothing may be written");
    assert_eq!((namespace.ours("-4"), namespace.ours("-6")), before);

    second.send(Command::Sweep);
    second.until("the leftover is gone", |status| status.stale == 0);
    wait_for("one less", || (namespace.ours("-4").len() == 3).then_some(()), || ());
    let heard = monitor.heard(&namespace);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("Deleted 10.244.9.0/24"), "{heard:?}");
    second.settle();
    assert_eq!(second.diff(), vec![]);
}

#[test]
fn an_adopted_route_that_differs_is_changed_in_place() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let first = namespace.start();
    first.want("10.244.2.0/24", &["10.0.0.2"]);
    first.want("fd00:10:244:2::/64", &["fd00::2"]);
    first.until("installed", |status| status.installed == [1, 1]);
    first.stop();
    let monitor = namespace.monitor();
    let second = namespace.start();
    second.want("10.244.2.0/24", &["10.0.0.3"]);
    second.want("fd00:10:244:2::/64", &["fd00::3"]);
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.3 dev eth0 metric 512"]);
    until_ours(
        &namespace,
        "-6",
        &["fd00:10:244:2::/64 via fd00::3 dev eth0 metric 512 pref medium"],
    );
    let heard = monitor.heard(&namespace);
    assert!(!heard.iter().any(|line| line.contains("Deleted")), "{heard:?}");
    assert_eq!(heard.len(), 2, "{heard:?}");
}

#[test]
fn a_foreign_route_at_our_key_is_left_alone_and_ours_follows_when_it_goes() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    let rows = [
        ("-4", "10.244.2.0/24", "10.0.0.9", "10.0.0.2", ""),
        ("-6", "fd00:10:244:2::/64", "fd00::9", "fd00::2", " pref medium"),
    ];
    for (family, prefix, foreign, next_hop, tail) in rows {
        namespace.ip(&format!("{family} route add {prefix} via {foreign} proto static metric 512"));
        let before = namespace.routes(family, "proto static");
        fib.want(prefix, &[next_hop]);
        let problem = fib.problem(prefix, "foreign");
        assert_eq!(problem, format!("foreign: {foreign} proto static holds it; left alone"));
        assert_eq!(namespace.ours(family), Vec::<String>::new());
        assert_eq!(namespace.routes(family, "proto static"), before);
        assert_eq!(fib.status().conflicts, 1, "{:?}", fib.status());
        namespace.ip(&format!("{family} route del {prefix} via {foreign} proto static metric 512"));
        let ours = format!("{prefix} via {next_hop} dev eth0 metric 512{tail}");
        until_ours(&namespace, family, &[&ours]);
        fib.until("no conflict is left", |status| status.conflicts == 0);

        // Taken over by somebody who does not look: not fought for.
        namespace
            .ip(&format!("{family} route replace {prefix} via {foreign} proto static metric 512"));
        fib.until("a conflict", |status| status.conflicts == 1);
        assert_eq!(namespace.routes(family, "proto static"), before);
        assert_eq!(namespace.ours(family), Vec::<String>::new());
        namespace.ip(&format!("{family} route del {prefix} via {foreign} proto static metric 512"));
        until_ours(&namespace, family, &[&ours]);
        fib.want(prefix, &[]);
        until_ours(&namespace, family, &[]);
    }
}

#[test]
fn a_foreign_route_beside_ours_at_one_key_is_left_alone_and_so_is_ours() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    let ours = "10.244.2.0/24 via 10.0.0.2 dev eth0 metric 512";
    until_ours(&namespace, "-4", &[ours]);
    namespace.ip("route append 10.244.2.0/24 via 10.0.0.9 proto static metric 512");
    fib.until("a conflict", |status| status.conflicts == 1);
    // A change of ours waits, since the kernel might change theirs.
    fib.want("10.244.2.0/24", &["10.0.0.3"]);
    fib.problem("10.244.2.0/24", "foreign");
    let theirs = namespace.routes("-4", "proto static");
    assert_eq!(theirs, ["10.244.2.0/24 via 10.0.0.9 dev eth0 metric 512"]);
    until_ours(&namespace, "-4", &[ours]);
    // No longer wanted, ours goes and theirs stays.
    fib.want("10.244.2.0/24", &[]);
    until_ours(&namespace, "-4", &[]);
    assert_eq!(namespace.routes("-4", "proto static"), theirs);
}

#[test]
fn a_foreign_route_at_a_better_metric_is_reported_beside_ours() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    namespace.ip("route add 10.244.2.0/24 via 10.0.0.9 proto static metric 20");
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    let problem = fib.problem("10.244.2.0/24", "foreign");
    assert_eq!(
        problem,
        "foreign: 10.0.0.9 proto static holds it at the better metric 20; left alone"
    );
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.2 dev eth0 metric 512"]);
    // A link's own prefix learned over BGP is nothing to report.
    fib.want("10.0.1.0/24", &["10.0.0.2"]);
    fib.until("two are installed", |status| status.installed == [2, 0]);
    assert_eq!(fib.status().conflicts, 1, "{:?}", fib.status());
}

#[test]
fn watched_next_hops_are_told_once_and_again_when_they_change() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("route add 10.9.0.0/16 via 10.0.0.9 proto static");
    let mut fib = namespace.start();
    let watched = ["10.0.0.2", "10.9.1.1", "10.0.0.1", "192.0.2.1", "fd00::2", "fe80::1"];
    let watched = watched.map(gateway).to_vec();
    fib.send(Command::Watch(watched, vec![]));
    for (next_hop, cost) in [
        ("10.0.0.2", Some(0)),
        ("10.9.1.1", Some(1)),
        ("10.0.0.1", None),
        ("192.0.2.1", None),
        ("fd00::2", Some(0)),
        ("fe80::1", None),
    ] {
        fib.until_cost(next_hop, cost);
    }
    let own: Vec<String> = fib.addresses.iter().map(|own| own.address.to_string()).collect();
    for address in ["10.0.0.1", "10.0.1.1", "fd00::1"] {
        assert!(own.iter().any(|known| known == address), "{address} among {own:?}");
    }
    namespace.ip("route add default via 10.0.1.9");
    fib.until_cost("192.0.2.1", Some(1));
    fib.want("10.244.2.0/24", &["192.0.2.1"]);
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.1.9 dev eth1 metric 512"]);
    // The route to the next hop moves, and ours with it.
    namespace.ip("route replace default via 10.0.0.8");
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.8 dev eth0 metric 512"]);
    namespace.ip("route del default");
    fib.until_cost("192.0.2.1", None);
    until_ours(&namespace, "-4", &[]);
    let problem = fib.problem("10.244.2.0/24", "missing");
    assert!(problem.starts_with("missing: no route leads to next hop 192.0.2.1"), "{problem}");
    // Our own routes never lead to a next hop.
    fib.want("192.0.2.0/24", &["10.0.0.2"]);
    fib.until("installed", |status| status.installed == [1, 0]);
    assert_eq!(fib.costs.get(&gateway("192.0.2.1")), Some(&None));
    namespace.ip("addr add 10.0.7.1/24 dev eth0");
    while !fib.addresses.iter().any(|own| own.address.to_string() == "10.0.7.1") {
        fib.hear("the new address");
    }
}

#[test]
fn a_gateway_that_is_forced_on_its_link_stays_so_in_our_routes() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("route add default via 169.254.1.1 dev eth0 onlink");
    namespace.ip("-6 route add default via fd99::1 dev eth0 onlink");
    let fib = namespace.start();
    fib.want("10.244.2.0/24", &["192.0.2.1"]);
    fib.want("fd00:10:244:2::/64", &["2001:db8::1"]);
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 169.254.1.1 dev eth0 metric 512 onlink"]);
    until_ours(
        &namespace,
        "-6",
        &["fd00:10:244:2::/64 via fd99::1 dev eth0 metric 512 onlink pref medium"],
    );
    // What is read back is what was written: nothing is changed at the next start.
    fib.stop();
    let monitor = namespace.monitor();
    let fib = namespace.start();
    fib.want("10.244.2.0/24", &["192.0.2.1"]);
    fib.want("fd00:10:244:2::/64", &["2001:db8::1"]);
    fib.until("adopted", |status| status.installed == [1, 1]);
    fib.settle();
    assert_eq!(fib.diff(), vec![]);
    assert_eq!(monitor.heard(&namespace), Vec::<String>::new());
}

#[test]
fn an_ipv4_prefix_is_installed_by_an_ipv6_next_hop() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    fib.want("10.244.2.0/24", &["fd00::2"]);
    until_ours(&namespace, "-4", &["10.244.2.0/24 via inet6 fd00::2 dev eth0 metric 512"]);
    fib.want("10.244.2.0/24", &["fd00::2", "fd00:1::2"]);
    wait_for(
        "both next hops",
        || namespace.ours("-4").concat().contains("via inet6 fd00:1::2 dev eth1").then_some(()),
        || namespace.ours("-4"),
    );
    fib.settle();
    assert_eq!(fib.diff(), vec![]);
}

#[test]
fn forwarding_is_switched_on_for_the_families_that_are_routed() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
    assert_eq!(namespace.sysctl("ipv4/ip_forward"), "0");
    let fib =
        namespace.start_with(FibSettings { forwarding: true, ..settings() }, Tuning::default());
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    fib.until("IPv4 forwards", |s| s.forwarding[0] == ForwardingState::SwitchedOn);
    assert_eq!(namespace.sysctl("ipv4/ip_forward"), "1");
    assert_eq!(namespace.sysctl("ipv6/conf/all/forwarding"), "0");
    assert_eq!(fib.status().forwarding[1], ForwardingState::Off);
    fib.want_own("fd00:10:244:1::/64");
    fib.until("IPv6 forwards", |s| s.forwarding[1] == ForwardingState::SwitchedOn);
    assert_eq!(namespace.sysctl("ipv6/conf/all/forwarding"), "1");
    // Switched off underneath, it is switched on again.
    namespace.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
    wait_for("on again", || (namespace.sysctl("ipv4/ip_forward") == "1").then_some(()), || ());
}

#[test]
fn forwarding_that_cannot_be_switched_on_is_reported_and_routes_are_installed() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let forwarding = FibSettings { forwarding: true, ..settings() };
    let fib = namespace.start_within(forwarding, Tuning::default(), || {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        make_settings_read_only();
    });
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.2 dev eth0 metric 512"]);
    fib.until("it is reported", |status| status.last_error.is_some());
    let status = fib.status();
    let error = status.last_error.unwrap();
    assert!(error.contains("/proc/sys/net/ipv4/ip_forward: Read-only file system"), "{error}");
    assert_eq!(status.forwarding[0], ForwardingState::Off);
}

#[test]
fn packets_are_spread_as_asked_and_never_otherwise() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let keys = ["ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy"];
    let write = |key: &str, value: &str| {
        let path = format!("/proc/sys/net/{key}");
        namespace.within(|| std::fs::write(&path, value).unwrap());
    };
    write(keys[0], "2");
    let fib = namespace.start();
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.2 dev eth0 metric 512"]);
    assert_eq!(fib.status().hash, [HashState::default(); 2]);
    assert_eq!(keys.map(|key| namespace.sysctl(key)), ["2", "0"], "nobody asked");
    let asked = |hash| Command::Configure(FibSettings { hash, ..settings() });
    fib.send(asked(Some(HashBy::L4)));
    let as_asked = [2, 0].map(|before| HashState { now: Some(1), before: Some(before) });
    fib.until("both are as asked", |status| status.hash == as_asked);
    assert_eq!(keys.map(|key| namespace.sysctl(key)), ["1", "1"]);
    // Changed underneath, it is put back, and what was there before us stays known.
    write(keys[1], "2");
    wait_for("as asked again", || (namespace.sysctl(keys[1]) == "1").then_some(()), || ());
    assert_eq!(fib.status().hash, as_asked);
    fib.send(asked(None));
    fib.until("it is left alone", |status| status.hash == [HashState::default(); 2]);
    assert_eq!(keys.map(|key| namespace.sysctl(key)), ["1", "1"]);
}

/// As a container without privileges sees it. Only this thread and those that it starts do.
fn make_settings_read_only() {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("/proc/sys"), "/proc/sys", nothing, MsFlags::MS_BIND, nothing).unwrap();
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(nothing, "/proc/sys", nothing, again, nothing).unwrap();
}

#[test]
fn nothing_is_written_when_installing_is_switched_off() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let monitor = namespace.monitor();
    let mut fib =
        namespace.start_with(FibSettings { install: false, ..settings() }, Tuning::default());
    fib.send(Command::Watch(vec![gateway("10.0.0.2")], vec![]));
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    fib.until_cost("10.0.0.2", Some(0));
    fib.problem("10.244.2.0/24", "switched off");
    assert_eq!(monitor.heard(&namespace), Vec::<String>::new());
    fib.send(Command::Configure(settings()));
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.2 dev eth0 metric 512"]);
    // Another metric: the new route stands before the old one goes.
    monitor.heard(&namespace);
    fib.send(Command::Configure(FibSettings { metric: 600, ..settings() }));
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.0.0.2 dev eth0 metric 600"]);
    let heard = monitor.heard(&namespace);
    assert!(heard[0].contains("metric 600") && heard[1].starts_with("Deleted"), "{heard:?}");
}
