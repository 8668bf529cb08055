//! The fib against a kernel that loses routes: whatever happens, they are back within two
//! seconds.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use brindle::fib::{Command, Tuning};

use crate::support::{Fib, Namespace, can_run, gateway, settings, until_ours, via, wait_for};

/// What operators are promised.
const PROMISED: Duration = Duration::from_secs(2);

const V4: &str = "10.244.2.0/24 via 10.0.0.2 dev eth0 metric 512";
const V6: &str = "fd00:10:244:2::/64 via fd00::2 dev eth0 metric 512 pref medium";

/// A fib with one route of each family over `eth0`.
fn with_two_routes(namespace: &Namespace) -> Fib {
    let mut fib = namespace.start();
    fib.send(Command::Watch(["10.0.0.2", "fd00::2"].map(gateway).to_vec(), vec![]));
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    fib.want("fd00:10:244:2::/64", &["fd00::2"]);
    until_ours(namespace, "-4", &[V4]);
    until_ours(namespace, "-6", &[V6]);
    fib.until("both are counted", |status| status.installed == [1, 1]);
    fib.until_cost("10.0.0.2", Some(0));
    fib.until_cost("fd00::2", Some(0));
    fib
}

#[test]
fn a_route_that_somebody_deletes_is_put_back() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = with_two_routes(&namespace);
    for (family, prefix, route) in [("-4", "10.244.2.0/24", V4), ("-6", "fd00:10:244:2::/64", V6)] {
        let repairs = fib.status().repairs;
        namespace.ip(&format!("{family} route del {prefix}"));
        let took = until_ours(&namespace, family, &[route]);
        assert!(took < PROMISED, "{prefix} took {took:?}");
        fib.until("the repair is counted", |status| status.repairs == repairs + 1);
    }
    // Changed behind our back: put right as well.
    namespace.ip("route replace 10.244.2.0/24 via 10.0.0.77 proto 98 metric 512");
    until_ours(&namespace, "-4", &[V4]);
}

#[test]
fn a_flush_of_all_our_routes_is_repaired() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    let changes =
        (0..400).map(|n| via(&format!("10.244.{}.{}/32", n / 200, n % 200), &["10.0.0.2"]));
    fib.send(Command::Change(changes.collect()));
    fib.until("all are installed", |status| status.installed[0] == 400);
    let started = Instant::now();
    namespace.ip("-4 route flush proto 98");
    let count = || namespace.ours("-4").len();
    wait_for("all are back", || (count() == 400).then_some(()), count);
    assert!(started.elapsed() < PROMISED, "{:?}", started.elapsed());
    fib.until("all are counted", |status| status.repairs >= 400);
}

#[test]
fn routes_are_back_after_a_link_was_down() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let mut fib = with_two_routes(&namespace);
    namespace.ip("link set eth0 down");
    fib.until_cost("10.0.0.2", None);
    fib.until_cost("fd00::2", None);
    let problem = fib.problem("10.244.2.0/24", "missing");
    assert!(problem.starts_with("missing: link eth0 is down"), "{problem}");
    until_ours(&namespace, "-4", &[]);
    until_ours(&namespace, "-6", &[]);
    fib.until("none is counted", |status| status.installed == [0, 0]);
    namespace.ip("link set eth0 up");
    // The kernel drops global IPv6 addresses with the link.
    namespace.ip("addr replace fd00::1/64 dev eth0 nodad");
    let took = until_ours(&namespace, "-4", &[V4]) + until_ours(&namespace, "-6", &[V6]);
    assert!(took < PROMISED, "took {took:?}");
    fib.until_cost("10.0.0.2", Some(0));
    fib.until_cost("fd00::2", Some(0));

    // Down and up before anybody could look: IPv4 routes are gone without a message.
    for _ in 0..5 {
        namespace.batch("-4", "link set eth0 down\nlink set eth0 up\n");
        namespace.ip("addr replace fd00::1/64 dev eth0 nodad");
        let took = until_ours(&namespace, "-4", &[V4]) + until_ours(&namespace, "-6", &[V6]);
        assert!(took < PROMISED, "took {took:?}");
    }
    // The other end goes: no carrier, no next hop.
    namespace.ip("link set peer0 down");
    until_ours(&namespace, "-4", &[]);
    fib.until_cost("10.0.0.2", None);
    namespace.ip("link set peer0 up");
    let took = until_ours(&namespace, "-4", &[V4]);
    assert!(took < PROMISED, "took {took:?}");
}

#[test]
fn routes_are_withdrawn_when_the_link_is_deleted() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let mut fib = with_two_routes(&namespace);
    namespace.ip("link del eth0");
    let started = Instant::now();
    fib.until_cost("10.0.0.2", None);
    fib.until_cost("fd00::2", None);
    assert!(started.elapsed() < PROMISED, "{:?}", started.elapsed());
    until_ours(&namespace, "-4", &[]);
    until_ours(&namespace, "-6", &[]);
}

#[test]
fn routes_are_back_after_an_address_was_removed_and_added() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let mut fib = with_two_routes(&namespace);
    for _ in 0..3 {
        namespace.ip("addr del 10.0.0.1/24 dev eth0");
        namespace.ip("addr del fd00::1/64 dev eth0");
        fib.until_cost("10.0.0.2", None);
        fib.until_cost("fd00::2", None);
        until_ours(&namespace, "-4", &[]);
        until_ours(&namespace, "-6", &[]);
        namespace.ip("addr add 10.0.0.1/24 dev eth0");
        namespace.ip("addr add fd00::1/64 dev eth0 nodad");
        let took = until_ours(&namespace, "-4", &[V4]) + until_ours(&namespace, "-6", &[V6]);
        assert!(took < PROMISED, "took {took:?}");
    }
    // At once, so that only the kernel's silence is left.
    namespace.batch("-4", "addr del 10.0.0.1/24 dev eth0\naddr add 10.0.0.1/24 dev eth0\n");
    let took = until_ours(&namespace, "-4", &[V4]);
    assert!(took < PROMISED, "took {took:?}");
}

#[test]
fn a_multipath_route_loses_the_member_whose_link_is_down_and_gets_it_back() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    fib.want("10.244.2.0/24", &["10.0.0.2", "10.0.1.2"]);
    fib.want("fd00:10:244:2::/64", &["fd00::2", "fd00:1::2"]);
    let both = |family: &str| {
        let routes = namespace.ours(family).concat();
        routes.contains("dev eth0") && routes.contains("dev eth1") && !routes.contains("dead")
    };
    for family in ["-4", "-6"] {
        wait_for("both members", || both(family).then_some(()), || namespace.ours(family));
    }
    namespace.ip("link set eth1 down");
    until_ours(&namespace, "-4", &[V4]);
    until_ours(&namespace, "-6", &[V6]);
    let problem = fib.problem("10.244.2.0/24", "in part");
    assert!(problem.starts_with("in part: link eth1 is down"), "{problem}");
    namespace.ip("link set eth1 up");
    namespace.ip("addr replace fd00:1::1/64 dev eth1 nodad");
    let started = Instant::now();
    for family in ["-4", "-6"] {
        wait_for("both members", || both(family).then_some(()), || namespace.ours(family));
    }
    assert!(started.elapsed() < PROMISED, "took {:?}", started.elapsed());
    fib.settle();
    assert_eq!(fib.diff(), vec![]);
}

#[test]
fn lost_events_are_noticed_and_made_up_for() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let tuning = Tuning { event_buffer: 1, audit: Duration::from_secs(3600) };
    let fib = namespace.start_with(settings(), tuning);
    let prefix = |n: usize| format!("10.244.{}.{}/32", n / 200, n % 200);
    let changes = (0..400).map(|n| via(&prefix(n), &["10.0.0.2"]));
    fib.send(Command::Change(changes.collect()));
    fib.until("all are installed", |status| status.installed[0] == 400);
    fib.settle();
    assert_eq!(fib.status().overruns, 0, "our own writes are no events");
    let mut lines = String::new();
    for n in 0..400 {
        writeln!(lines, "route del {} proto 98", prefix(n)).unwrap();
    }
    let count = || namespace.ours("-4").len();
    let remove_by_lines = || _ = namespace.batch("-4", &lines);
    // Many in one system call: nobody can listen in between.
    let remove_at_once = || drop(namespace.ip("-4 route flush proto 98"));
    for remove in [&remove_by_lines as &dyn Fn(), &remove_at_once] {
        let started = Instant::now();
        remove();
        wait_for("all are back", || (count() == 400).then_some(()), count);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        fib.settle();
        assert_eq!(fib.diff(), vec![]);
    }
    assert!(fib.status().overruns > 0, "{:?}", fib.status());
}

#[test]
fn an_audit_finds_what_no_event_told() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    // So small that hardly an event arrives, and none of 400 in a row.
    let tuning = Tuning { event_buffer: 1, audit: Duration::from_millis(500) };
    let fib = namespace.start_with(settings(), tuning);
    fib.want("10.244.2.0/24", &["10.0.0.2"]);
    until_ours(&namespace, "-4", &[V4]);
    namespace.ip("-4 route flush proto 98");
    until_ours(&namespace, "-4", &[V4]);
}

#[test]
fn reading_while_others_change_the_table_takes_nothing_of_ours_for_lost() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let tuning = Tuning { audit: Duration::from_millis(1), ..Tuning::default() };
    let fib = namespace.start_with(settings(), tuning);
    let changes =
        (0..2000).map(|n| via(&format!("10.244.{}.{}/32", n / 200, n % 200), &["10.0.0.2"]));
    fib.send(Command::Change(changes.collect()));
    fib.until("all are installed", |status| status.installed[0] == 2000);
    let mut lines = String::new();
    for n in 0..2000 {
        let prefix = format!("10.243.{}.{}/32", n / 200, n % 200);
        writeln!(lines, "route add {prefix} via 10.0.0.9 proto static").unwrap();
        writeln!(lines, "route del {prefix} via 10.0.0.9 proto static").unwrap();
    }
    namespace.batch("-4", &lines);
    fib.settle();
    let status = fib.status();
    assert_eq!((status.repairs, status.installed[0]), (0, 2000), "{status:?}");
    assert_eq!(status.last_error, None);
    assert_eq!(namespace.ours("-4").len(), 2000);
}

#[test]
fn what_the_kernel_refuses_is_reported_and_not_tried_all_the_time() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let fib = namespace.start();
    // The kernel takes no route of global scope for a way to a gateway.
    namespace.ip("route add 10.7.0.0/16 dev eth0 scope global");
    let monitor = namespace.monitor();
    fib.want("10.244.2.0/24", &["10.7.0.2"]);
    let problem = fib.problem("10.244.2.0/24", "refuses");
    assert!(problem.contains("Nexthop has invalid gateway"), "{problem}");
    let error = fib.status().last_error.expect("it is reported");
    assert!(error.starts_with("installing 10.244.2.0/24: "), "{error}");
    // The reason goes away; it is tried again after a while, without a link event.
    namespace.ip("route replace 10.7.0.0/16 dev eth0 scope link");
    until_ours(&namespace, "-4", &["10.244.2.0/24 via 10.7.0.2 dev eth0 metric 512"]);
    fib.until("installed", |status| status.installed == [1, 0]);
    assert_eq!(fib.diff(), vec![]);
    let heard = monitor.heard(&namespace);
    assert_eq!(heard.len(), 2, "the route of the link, then ours: {heard:?}");
}
