//! Resilient groups in a real kernel: which flows move, and whose objects are touched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use brindle::fib::groups::Resilience;
use brindle::fib::{Command, FibSettings, Tuning};

use crate::support::{Namespace, can_run, settings, until_ours, via, wait_for};

/// Flows that are asked for.
const FLOWS: u16 = 120;

fn resilient() -> FibSettings {
    FibSettings { resilience: Some(Resilience { idle: Duration::from_secs(3600) }), ..settings() }
}

/// A namespace where ports count for which way a flow takes.
fn namespace() -> Namespace {
    let namespace = Namespace::new();
    for family in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{family}/fib_multipath_hash_policy");
        namespace.within(|| std::fs::write(&path, "1").expect(&path));
    }
    namespace
}

/// The way of each flow to an address, by its source port.
fn flows(namespace: &Namespace, family: &str, address: &str) -> BTreeMap<u16, String> {
    let mut lines = String::new();
    for port in 0..FLOWS {
        let port = 10_000 + port;
        writeln!(lines, "route get {address} ipproto udp sport {port} dport 53").expect("a string");
    }
    let text = namespace.batch(family, &lines);
    let ways = text.lines().filter_map(|line| {
        line.split_whitespace()
            .skip_while(|word| *word != "via")
            .find(|word| word.contains(['.', ':']))
    });
    let flows: BTreeMap<u16, String> = (0..).zip(ways.map(str::to_owned)).collect();
    assert_eq!(flows.len(), usize::from(FLOWS), "{text}");
    flows
}

/// Flows that go another way now, though their way is among these.
fn moved(before: &BTreeMap<u16, String>, after: &BTreeMap<u16, String>, hops: &[&str]) -> usize {
    assert!(after.values().all(|hop| hops.contains(&hop.as_str())), "{after:?}");
    let stays = |hop: &String| hops.contains(&hop.as_str());
    before.iter().filter(|(port, hop)| stays(hop) && after[port] != **hop).count()
}

/// Next-hop objects that match these words, a line each, spaces trimmed.
fn objects(namespace: &Namespace, words: &str) -> Vec<String> {
    let text = namespace.ip(&format!("nexthop show {words}"));
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Our groups by their numbers of members, ascending.
fn groups(namespace: &Namespace) -> Vec<usize> {
    let ours = objects(namespace, "proto 98");
    let of = |line: &String| {
        let members = line.split_whitespace().skip_while(|word| *word != "group").nth(1)?;
        Some(members.split('/').count())
    };
    let mut sizes: Vec<usize> = ours.iter().filter_map(of).collect();
    sizes.sort_unstable();
    sizes
}

fn until_groups(namespace: &Namespace, want: &[usize]) {
    let now = || groups(namespace);
    let known = || (groups(namespace), namespace.ours("-4"));
    wait_for(&format!("groups of {want:?}"), || (now() == want).then_some(()), known);
}

/// By family: prefixes of a hundred routes, an address of the first and of the second, hops.
struct Case {
    family: &'static str,
    prefix: fn(u8) -> String,
    addresses: [&'static str; 2],
    hops: [&'static str; 4],
}

const CASES: [Case; 3] = [
    Case {
        family: "-4",
        prefix: |n| format!("10.244.{n}.0/24"),
        addresses: ["10.244.0.9", "10.244.1.9"],
        hops: ["10.0.0.2", "10.0.0.3", "10.0.1.2", "10.0.1.3"],
    },
    Case {
        family: "-6",
        prefix: |n| format!("fd00:10:244:{n}::/64"),
        addresses: ["fd00:10:244::9", "fd00:10:244:1::9"],
        hops: ["fd00::2", "fd00::3", "fd00:1::2", "fd00:1::3"],
    },
    // IPv4 over IPv6 next hops (RFC 8950).
    Case {
        family: "-4",
        prefix: |n| format!("10.245.{n}.0/24"),
        addresses: ["10.245.0.9", "10.245.1.9"],
        hops: ["fd00::2", "fd00::3", "fd00:1::2", "fd00:1::3"],
    },
];

#[test]
fn only_flows_of_the_hop_that_leaves_move_and_none_when_it_comes_back() {
    if !can_run() {
        return;
    }
    for Case { family, prefix, addresses: [first, second], hops } in CASES {
        let namespace = namespace();
        let fib = namespace.start_with(resilient(), Tuning::default());
        let all = |hops: &[&str]| {
            fib.send(Command::Change((0..100).map(|n| via(&prefix(n), hops)).collect()));
        };
        all(&hops);
        fib.until("all are installed", |status| status.installed.iter().sum::<usize>() == 100);
        until_groups(&namespace, &[4]);
        let before = flows(&namespace, family, first);
        let ways = hops.map(|hop| before.values().filter(|way| *way == hop).count());
        assert!(ways.iter().all(|count| *count > 5), "{ways:?}");
        assert_eq!(fib.diff(), vec![], "routes by a group are as wanted");

        // For one prefix: it leaves the others, and takes its flows along.
        let three = [hops[0], hops[1], hops[3]];
        fib.want(&prefix(0), &three);
        until_groups(&namespace, &[3, 4]);
        fib.settle();
        let apart = flows(&namespace, family, first);
        assert_eq!(moved(&before, &apart, &three), 0, "{before:?} {apart:?}");
        let others = flows(&namespace, family, second);
        fib.want(&prefix(0), &hops);
        until_groups(&namespace, &[4, 4]);
        assert_eq!(moved(&apart, &flows(&namespace, family, first), &hops), 0);

        // For all: in place.
        let monitor = namespace.monitor();
        all(&three);
        until_groups(&namespace, &[3, 3]);
        let after = flows(&namespace, family, second);
        assert_eq!(moved(&others, &after, &three), 0, "{others:?} {after:?}");
        all(&hops);
        until_groups(&namespace, &[4, 4]);
        assert_eq!(moved(&after, &flows(&namespace, family, second), &hops), 0);
        all(&hops[..1]);
        until_groups(&namespace, &[1, 1]);
        assert!(flows(&namespace, family, second).values().all(|way| way == hops[0]));
        // The kernel counts no packets by bucket where there is one hop: now flows may move.
        all(&hops);
        until_groups(&namespace, &[4, 4]);
        // The kernel tells of each route whose group changes.
        let heard = monitor.heard(&namespace);
        assert!(heard.iter().all(|line| !line.starts_with("Deleted")), "{heard:?}");

        all(&[]);
        until_ours(&namespace, family, &[]);
        wait_for(
            "nothing of ours is left",
            || objects(&namespace, "proto 98").is_empty().then_some(()),
            || objects(&namespace, ""),
        );
    }
}

#[test]
fn a_restart_takes_groups_over_and_others_next_hops_are_left_alone() {
    if !can_run() {
        return;
    }
    let namespace = namespace();
    // One of them has a number of ours.
    let foreign = ["7 via 10.0.0.7 dev eth0", "980000001 via 10.0.0.7 dev eth0", "8 group 7"];
    for words in foreign {
        namespace.ip(&format!("nexthop add id {words} proto static"));
    }
    let others = || objects(&namespace, "proto 4");
    let before = others();
    assert_eq!(before.len(), 3);
    // A group of an earlier run that no route leads by.
    namespace.ip("nexthop add id 980000500 via 10.0.0.9 dev eth0 proto 98");
    namespace.ip("nexthop add id 980000501 group 980000500 type resilient buckets 8 proto 98");
    let changes = || {
        let hops = ["10.0.0.2", "10.0.0.3", "10.0.1.2"];
        (0..10).map(|n| via(&format!("10.244.{n}.0/24"), &hops)).collect()
    };
    let first = namespace.start_with(resilient(), Tuning::default());
    first.send(Command::Change(changes()));
    first.until("all are installed", |status| status.installed == [10, 0]);
    until_groups(&namespace, &[3]);
    first.settle();
    let ours = objects(&namespace, "proto 98");
    assert_eq!(ours.len(), 4, "{ours:?}");
    first.stop();

    let monitor = namespace.monitor();
    let way = flows(&namespace, "-4", "10.244.3.9");
    let second = namespace.start_with(resilient(), Tuning::default());
    assert_eq!(second.status().stale, 10);
    second.send(Command::Change(changes()));
    second.send(Command::Sweep);
    second.until("all are taken over", |status| status.stale == 0 && status.installed == [10, 0]);
    second.settle();
    assert_eq!(monitor.heard(&namespace), Vec::<String>::new());
    assert_eq!(objects(&namespace, "proto 98"), ours);
    assert_eq!(flows(&namespace, "-4", "10.244.3.9"), way);
    assert_eq!(second.status().groups.map(|groups| (groups.refused, groups.used)), Some((None, 1)));

    // Switched off, routes change in place and the objects go; then on again.
    second.send(Command::Configure(settings()));
    wait_for(
        "no object is left",
        || objects(&namespace, "proto 98").is_empty().then_some(()),
        || (objects(&namespace, ""), namespace.ours("-4")),
    );
    assert_eq!(namespace.ours("-4").len(), 10);
    assert!(namespace.ours("-4").iter().all(|route| !route.contains("nhid")));
    second.send(Command::Configure(resilient()));
    until_groups(&namespace, &[3]);
    second.settle();
    let heard = monitor.heard(&namespace);
    assert!(heard.iter().all(|line| !line.starts_with("Deleted")), "{heard:?}");
    assert!(namespace.ours("-4").iter().all(|route| route.contains("nhid")));
    assert_eq!(others(), before);
}

#[test]
fn groups_follow_links_and_come_back_after_somebody_removed_them() {
    if !can_run() {
        return;
    }
    let namespace = namespace();
    let fib = namespace.start_with(resilient(), Tuning::default());
    let hops = ["10.0.0.2", "10.0.0.3", "10.0.1.2", "10.0.1.3"];
    for prefix in ["10.244.2.0/24", "10.244.3.0/24"] {
        fib.want(prefix, &hops);
    }
    until_groups(&namespace, &[4]);
    fib.settle();
    let before = flows(&namespace, "-4", "10.244.2.9");
    // The kernel takes the hops of the link out of the group, and tells nobody.
    namespace.ip("link set eth1 down");
    until_groups(&namespace, &[2]);
    let after = flows(&namespace, "-4", "10.244.2.9");
    assert_eq!(moved(&before, &after, &hops[..2]), 0, "{before:?} {after:?}");
    namespace.ip("link set eth1 up");
    until_groups(&namespace, &[4]);
    assert_eq!(moved(&after, &flows(&namespace, "-4", "10.244.2.9"), &hops), 0);
    // Down and up before anybody could look.
    namespace.batch("-4", "link set eth1 down\nlink set eth1 up\n");
    until_groups(&namespace, &[4]);
    // All of them: the group and its routes go.
    namespace.batch("-4", "link set eth0 down\nlink set eth1 down\n");
    until_ours(&namespace, "-4", &[]);
    namespace.batch("-4", "link set eth0 up\nlink set eth1 up\n");
    until_groups(&namespace, &[4]);
    fib.until("both are installed", |status| status.installed == [2, 0]);

    // What somebody does to them is undone.
    let ids = |kind: &str| -> Vec<String> {
        let ours = objects(&namespace, "proto 98");
        let of_kind = ours.iter().filter(|line| line.contains(kind));
        of_kind.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
    };
    for kind in [" via 10.0.1.3 ", " group "] {
        namespace.ip(&format!("nexthop del id {}", ids(kind)[0]));
        until_groups(&namespace, &[4]);
        let ours = || namespace.ours("-4");
        wait_for("both lead by it", || (ours().len() == 2).then_some(()), ours);
    }
    let (group, hop) = (&ids(" group ")[0], &ids(" via 10.0.0.2 ")[0]);
    namespace.ip(&format!("nexthop replace id {group} group {hop} type resilient proto 98"));
    until_groups(&namespace, &[4]);
    fib.until("all is well", |status| status.installed == [2, 0]);
}
