//! The sockets to the kernel by themselves: what they hear and what they read.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use brindle::fib::netlink::{Drained, Dump, Monitor, Queries, RECEIVE_BUFFER, Writer};
use brindle::fib::news::News;
use brindle::fib::route::{Action, Hop, KernelRoute, RouteKey, RouteOp, Target};
use brindle_bgp::net::Family;

use crate::support::{Namespace, can_run};

/// Runs something within the namespace and an event loop such as the fib has.
fn run<T: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    namespace.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("an event loop").block_on(work())
    })
}

async fn heard(monitor: &mut Monitor) -> (Drained, Vec<News>) {
    let mut all = Vec::new();
    let drained = monitor.drain(|news| all.push(news)).await.expect("the socket works");
    (drained, all)
}

fn key(prefix: &str) -> RouteKey {
    RouteKey { prefix: prefix.parse().expect("a prefix"), metric: 512 }
}

fn add(prefix: &str) -> RouteOp {
    RouteOp { key: key(prefix), action: Action::Add(Arc::new(Target::Unreachable)) }
}

#[test]
fn what_others_did_is_heard_at_once_and_what_we_did_is_not_heard_at_all() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    run(&namespace, async || {
        let mut writer = Writer::open().expect("a socket");
        let mut monitor = Monitor::open(RECEIVE_BUFFER, &writer).expect("a socket");
        for number in 0..50 {
            let (ours, theirs) =
                (format!("192.0.2.{number}/32"), format!("198.51.100.{number}/32"));
            assert_eq!(writer.write(&[add(&ours)]).expect("an answer"), vec![Ok(())]);
            namespace.ip(&format!("route add unreachable {theirs} proto static metric 512"));
            let target = Target::Unreachable;
            let route = KernelRoute { key: key(&theirs), protocol: 4, tos: 0, target };
            let want = (Drained::All, vec![News::Route(route, false)]);
            assert_eq!(heard(&mut monitor).await, want);
            assert_eq!(heard(&mut monitor).await, (Drained::All, vec![]));
        }
    });
}

#[test]
fn every_event_of_a_crowd_is_heard_in_one_go() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let lines = |verb: &str| {
        let line = |n: u32| format!("route {verb} 10.{}.{}.0/24 dev eth0\n", 16 + n / 256, n % 256);
        (0..1000).map(line).collect::<String>()
    };
    run(&namespace, async || {
        let writer = Writer::open().expect("a socket");
        let mut monitor = Monitor::open(RECEIVE_BUFFER, &writer).expect("a socket");
        namespace.batch("-4", &lines("add"));
        let (drained, all) = heard(&mut monitor).await;
        // What a link that is just up says of itself is not meant.
        let routes = all.iter().filter(|news| matches!(news, News::Route(..)));
        assert_eq!((drained, routes.count()), (Drained::All, 1000));
        // With less room some are lost, and that is noticed.
        let mut monitor = Monitor::open(4096, &writer).expect("a socket");
        namespace.batch("-4", &lines("del"));
        let (drained, all) = heard(&mut monitor).await;
        assert_eq!(drained, Drained::Overrun);
        assert!(!all.is_empty() && all.len() < 1000, "{}", all.len());
    });
}

#[test]
fn a_dump_holds_what_was_asked_for_and_nothing_else() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("route add 192.0.2.0/24 via 10.0.0.2 proto static metric 512");
    namespace.ip("route add 203.0.113.0/24 via 10.0.0.2 table 100");
    namespace.ip("-6 route add 2001:db8::/64 via fd00::2 proto static metric 512");
    let hop = |gateway: &str, link| {
        let gateway = Some(gateway.parse().expect("an address"));
        Target::Via(vec![Hop { gateway, link, onlink: false, weight: 0 }])
    };
    run(&namespace, async || {
        let mut queries = Queries::open().expect("a socket");
        let start = Vec::new;
        let gather = |all: &mut Vec<News>, news| all.push(news);
        let links = queries.dump(Dump::Links, start, gather).await.expect("an answer");
        let eth0 = links.iter().find_map(|news| match news {
            News::Link(link) if &*link.name == "eth0" => Some(link.clone()),
            _ => None,
        });
        let eth0 = eth0.unwrap_or_else(|| panic!("no eth0 in {links:?}"));
        assert!(eth0.is_enabled && eth0.is_up, "{eth0:?}");
        assert_eq!(links.len(), 5, "lo, and two pairs: {links:?}");
        let addresses = queries.dump(Dump::Addresses, start, gather).await.expect("an answer");
        let want = |text: &str| {
            addresses.iter().any(|news| {
            matches!(news, News::Address(address) if address.address.to_string() == text && address.is_usable)
        })
        };
        assert!(want("10.0.0.1") && want("fd00::1") && want("127.0.0.1"), "{addresses:?}");
        for (family, prefix, gateway) in [
            (Family::Ipv4Unicast, "192.0.2.0/24", "10.0.0.2"),
            (Family::Ipv6Unicast, "2001:db8::/64", "fd00::2"),
        ] {
            let all = queries.dump(Dump::Routes(family), start, gather).await.expect("an answer");
            let target = hop(gateway, eth0.index);
            let route = KernelRoute { key: key(prefix), protocol: 4, tos: 0, target };
            assert!(all.contains(&News::Route(route, false)), "{all:?}");
            assert!(!format!("{all:?}").contains("203.0.113"), "another table: {all:?}");
        }
    });
}

#[test]
fn a_dump_during_which_something_changed_is_read_again() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let line = |n: u32| format!("addr add 10.1.{}.{}/32 dev eth0\n", n / 250, 1 + n % 250);
    namespace.batch("-4", &(0..500).map(line).collect::<String>());
    run(&namespace, async || {
        let mut queries = Queries::open().expect("a socket");
        let gather = |all: &mut Vec<News>, news| all.push(news);
        let mut dump = pin!(queries.dump(Dump::Addresses, Vec::new, gather));
        // The question is asked, and of the answer only the first part is made.
        for _ in 0..2 {
            let is_pending = poll_fn(|cx| Poll::Ready(dump.as_mut().poll(cx).is_pending())).await;
            assert!(is_pending, "too few addresses for an answer in parts");
            tokio::task::yield_now().await;
        }
        // The kernel tells of this link first.
        namespace.ip("addr add 127.0.0.9/32 dev lo");
        let all = dump.await.expect("an answer");
        let is_new = |news: &&News| matches!(news, News::Address(known) if known.address.to_string() == "127.0.0.9");
        assert_eq!(all.iter().filter(is_new).count(), 1, "{} addresses", all.len());
        assert!(all.len() > 500, "{} addresses", all.len());
    });
}
