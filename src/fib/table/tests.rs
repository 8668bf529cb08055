//! The table against a kernel that is a map.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::fib::news::Link;
use crate::fib::route::{Hop, PROTOCOL};

/// A host with one link, to which 10.0.0.0/24 and fd00::/64 lead.
fn mirror() -> Mirror {
    let mut mirror = Mirror::default();
    mirror.add_link(Link { index: 2, name: "eth0".into(), is_enabled: true, is_up: true });
    for prefix in ["10.0.0.0/24", "fd00::/64"] {
        mirror.add_route(foreign(prefix, 0), false);
    }
    mirror
}

fn foreign(prefix: &str, metric: u32) -> KernelRoute {
    let hop = Hop { gateway: None, link: 2, onlink: false, weight: 0 };
    let key = RouteKey { prefix: prefix.parse().unwrap(), metric };
    KernelRoute { key, protocol: 4, tos: 0, target: Target::Via(vec![hop]) }
}

fn change(prefix: &str, last: Option<u8>) -> BestChange {
    let now = last.map_or(Forwarding::None, |last| {
        Forwarding::Via(vec![NextHop::V4(Ipv4Addr::new(10, 0, 0, last))])
    });
    BestChange { prefix: prefix.parse().unwrap(), now }
}

/// Carries out all that is to be written on a map, as the kernel would.
fn settle(table: &mut Table, mirror: &Mirror, kernel: &mut Routes) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    loop {
        let ops = table.plan(3, mirror);
        if ops.is_empty() && !table.is_dirty() {
            return outcomes;
        }
        for op in ops {
            let refused = |errno| Err(Refused { errno, message: None });
            let answer = match &op.action {
                Action::Add(_) if kernel.contains_key(&op.key) => refused(libc::EEXIST),
                Action::Change(_) if !kernel.contains_key(&op.key) => refused(libc::ENOENT),
                Action::Add(target) | Action::Change(target) => {
                    kernel.insert(op.key, target.clone());
                    Ok(())
                }
                Action::Delete => match kernel.remove(&op.key) {
                    Some(_) => Ok(()),
                    None => refused(libc::ESRCH),
                },
            };
            outcomes.push(table.written(&op, answer));
        }
    }
}

fn as_kernel_routes(kernel: &Routes) -> Vec<KernelRoute> {
    kernel
        .iter()
        .map(|(key, target)| KernelRoute {
            key: *key,
            protocol: PROTOCOL,
            tos: 0,
            target: (**target).clone(),
        })
        .collect()
}

#[test]
fn leftovers_stay_until_the_sweep_or_until_somebody_decides_on_them() {
    let mirror = mirror();
    let mut kernel = Routes::new();
    let mut before = Table::new(512);
    before.load(Found::default());
    for n in 1..5 {
        before.change(change(&format!("10.244.{n}.0/24"), Some(2)), &mirror);
    }
    settle(&mut before, &mirror, &mut kernel);

    let mut table = Table::new(512);
    assert_eq!(
        table.load(Found::from_iter(as_kernel_routes(&kernel))),
        0,
        "nothing is a surprise at first"
    );
    assert_eq!((table.leftover_count(), table.installed_count()), (4, [0, 0]));
    table.change(change("10.244.1.0/24", Some(2)), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![], "adopted without a write");
    assert_eq!((table.leftover_count(), table.installed_count()), (3, [1, 0]));
    table.change(change("10.244.2.0/24", Some(3)), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Done], "in place");
    table.change(change("10.244.3.0/24", None), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Done], "withdrawn");
    assert_eq!((table.leftover_count(), kernel.len()), (1, 3));
    table.sweep();
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!((table.leftover_count(), kernel.len(), table.installed_count()), (0, 2, [2, 0]));
}

/// A change to several routers.
fn by(prefix: &str, routers: &[u8]) -> BestChange {
    let hops = routers.iter().map(|last| NextHop::V4(Ipv4Addr::new(10, 0, 0, *last)));
    BestChange { prefix: prefix.parse().unwrap(), now: Forwarding::Via(hops.collect()) }
}

/// A kernel where an earlier run has left one route by these routers, and a table that has read
/// it and is not to take the first word for the last.
fn left_by(routers: &[u8], mirror: &Mirror) -> (Table, Routes) {
    let (mut before, mut kernel) = (Table::new(512), Routes::new());
    before.load(Found::default());
    before.change(by("10.244.1.0/24", routers), mirror);
    settle(&mut before, mirror, &mut kernel);
    let mut table = Table::new(512);
    table.load(Found::from_iter(as_kernel_routes(&kernel)));
    table.defer();
    (table, kernel)
}

/// The last octets of the routers by which the kernel's only route leads.
fn routers(kernel: &Routes) -> Vec<u8> {
    let hops = kernel.values().flat_map(|target| match &**target {
        Target::Via(hops) => hops.clone(),
        _ => Vec::new(),
    });
    let last = hops.map(|hop| match hop.gateway {
        Some(IpAddr::V4(gateway)) => gateway.octets()[3],
        _ => 0,
    });
    last.collect()
}

#[test]
fn while_peers_come_back_a_leftover_stays_as_it_was_until_all_of_its_hops_are_wanted() {
    let mirror = mirror();
    let prefix = "10.244.1.0/24".parse().unwrap();
    for (row, left, told, want) in [
        ("one by one", &[2, 3, 4][..], &[&[3][..], &[3, 4], &[2, 3, 4]][..], &[2, 3, 4][..]),
        ("another as well", &[2, 3], &[&[2], &[2, 3], &[2, 3, 4]], &[2, 3, 4]),
        ("one that is worse first", &[2], &[&[4], &[2]], &[2]),
        ("the same of two", &[2, 3], &[&[4], &[3], &[2, 3]], &[2, 3]),
    ] {
        let (mut table, mut kernel) = left_by(left, &mirror);
        for (at, told) in told.iter().enumerate() {
            table.change(by("10.244.1.0/24", told), &mirror);
            let outcomes = settle(&mut table, &mirror, &mut kernel);
            let is_known = told.iter().filter(|one| left.contains(one)).count() == left.len();
            assert_eq!(table.is_returning(prefix), !is_known, "{row}: {told:?}");
            if !is_known {
                assert_eq!((outcomes, routers(&kernel)), (vec![], left.to_vec()), "{row}: {at}");
            }
        }
        assert_eq!(routers(&kernel), want, "{row}");
    }

    // What ends it for one route: somebody has come and gone again, or the kernel lost it.
    let (mut table, mut kernel) = left_by(&[2, 3], &mirror);
    for told in [&[2][..], &[4]] {
        table.change(by("10.244.1.0/24", told), &mirror);
        settle(&mut table, &mirror, &mut kernel);
    }
    assert_eq!(routers(&kernel), [4]);
    let (mut table, mut kernel) = left_by(&[2, 3], &mirror);
    for told in [Some(2), None] {
        table.change(change("10.244.1.0/24", told), &mirror);
        settle(&mut table, &mirror, &mut kernel);
    }
    assert!(kernel.is_empty(), "withdrawn");
    let (mut table, mut kernel) = left_by(&[2, 3], &mirror);
    table.change(change("10.244.1.0/24", Some(2)), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    kernel.clear();
    table.load(Found::default());
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(routers(&kernel), [2]);

    // Who has said all that it knows is not waited for, whether it is among the rest or not.
    let (mut table, mut kernel) = left_by(&[2, 3, 4], &mirror);
    let at = |last: u8| vec![IpAddr::from([10, 0, 0, last])];
    table.change(change("10.244.1.0/24", Some(3)), &mirror);
    for (heard, want) in [(3, &[2, 3, 4][..]), (4, &[2, 3]), (9, &[2, 3]), (2, &[3])] {
        table.hear(at(heard));
        settle(&mut table, &mirror, &mut kernel);
        assert_eq!(routers(&kernel), want, "{heard} was heard");
    }
    assert!(!table.is_returning(prefix));
    let (mut table, mut kernel) = left_by(&[2], &mirror);
    table.hear(at(2));
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![], "others may tell the prefix");
    table.change(change("10.244.1.0/24", Some(4)), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(routers(&kernel), [4], "it is with another now");

    // What ends it for all: everybody was heard, or had time for it.
    for end in [Table::end_deferral as fn(&mut Table), Table::sweep] {
        let (mut table, mut kernel) = left_by(&[2, 3], &mirror);
        table.change(change("10.244.1.0/24", Some(4)), &mirror);
        settle(&mut table, &mirror, &mut kernel);
        assert_eq!(routers(&kernel), [2, 3]);
        end(&mut table);
        settle(&mut table, &mirror, &mut kernel);
        assert_eq!(routers(&kernel), [4]);
        // From then on a word counts at once, also of what nobody spoke of before.
        table.orphan();
        table.change(change("10.244.1.0/24", Some(5)), &mirror);
        settle(&mut table, &mirror, &mut kernel);
        assert_eq!(routers(&kernel), [5]);
    }
    // A new prefix waits for nobody, nor does a route to a peer itself.
    let (mut table, mut kernel) = left_by(&[2], &mirror);
    table.change(change("10.244.7.0/24", Some(3)), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Done]);
    table.change(change("10.244.1.0/24", Some(4)), &mirror);
    table.insist(prefix);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Done]);
    assert_eq!(routers(&kernel), [4, 3]);
}

#[test]
fn what_goes_is_gone_before_anything_comes() {
    let mirror = mirror();
    let mut kernel = Routes::new();
    let mut table = Table::new(512);
    table.load(Found::default());
    table.change(change("10.244.9.0/24", Some(2)), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    // In one batch and in the unlucky order, as of a node that comes back with another range.
    for (prefix, last) in [("10.244.1.0/24", Some(2)), ("10.244.9.0/24", None)] {
        table.change(change(prefix, last), &mirror);
    }
    let ops: Vec<_> = table.plan(9, &mirror).into_iter().map(|op| op.action).collect();
    assert!(matches!(ops[..], [Action::Delete, Action::Add(_)]), "{ops:?}");
    // Wanted again before it was removed: it is only changed, if at all.
    for last in [None, Some(2)] {
        table.change(change("10.244.1.0/24", last), &mirror);
    }
    table.plan_again("10.244.1.0/24".parse().unwrap());
    let ops: Vec<_> = table.plan(9, &mirror).into_iter().map(|op| op.action).collect();
    assert!(matches!(ops[..], [Action::Add(_)]), "{ops:?}");
}

#[test]
fn another_speaker_finds_what_the_first_has_left() {
    let mirror = mirror();
    let mut kernel = Routes::new();
    let mut table = Table::new(512);
    table.load(Found::default());
    for n in 1..4 {
        table.change(change(&format!("10.244.{n}.0/24"), Some(n)), &mirror);
    }
    let own = BestChange { prefix: "10.244.9.0/24".parse().unwrap(), now: Forwarding::Local };
    table.change(own.clone(), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    let before = kernel.clone();
    table.change(change("10.244.3.0/24", Some(2)), &mirror);
    table.orphan();
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![], "nothing is touched");
    assert_eq!(kernel, before);
    assert_eq!((table.leftover_count(), table.wanted_count()), (4, [0, 0]));
    assert_eq!(table.installed_count(), [0, 0]);
    let leftovers: Vec<String> =
        table.leftovers().iter().map(|(prefix, via)| format!("{prefix} {via}")).collect();
    assert_eq!(
        leftovers,
        ["10.244.1.0/24 10.0.0.1", "10.244.2.0/24 10.0.0.2", "10.244.3.0/24 10.0.0.3"]
    );
    table.change(own, &mirror);
    table.change(change("10.244.1.0/24", Some(1)), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![], "taken over as it stands");
    table.sweep();
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!((kernel.len(), table.installed_count()), (2, [2, 0]));
}

#[test]
fn a_route_that_vanishes_is_put_back_and_counted_as_repaired() {
    let mirror = mirror();
    let mut kernel = Routes::new();
    let mut table = Table::new(512);
    table.load(Found::default());
    table.change(change("10.244.1.0/24", Some(2)), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Done]);
    // Told by an event.
    let gone = as_kernel_routes(&kernel).remove(0);
    kernel.clear();
    assert!(!table.vanished(&gone));
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Repaired]);
    // Found by reading.
    kernel.clear();
    assert_eq!(table.load(Found::default()), 1);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Repaired]);
    // Nobody knew: the change is refused, and then it is made anew.
    kernel.clear();
    table.change(change("10.244.1.0/24", Some(3)), &mirror);
    assert_eq!(
        settle(&mut table, &mirror, &mut kernel),
        vec![Outcome::Surprised, Outcome::Repaired]
    );
}

#[test]
fn a_foreign_route_at_our_key_is_never_written_over() {
    let mut mirror = mirror();
    let mut kernel = Routes::new();
    let mut table = Table::new(512);
    table.load(Found::default());
    let theirs = foreign("10.244.1.0/24", 512);
    mirror.add_route(theirs.clone(), false);
    table.change(change("10.244.1.0/24", Some(2)), &mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![]);
    assert_eq!(table.conflict_count(), 1);
    mirror.remove_route(&theirs);
    table.reconsider(theirs.key.prefix);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Done]);
    assert_eq!((table.conflict_count(), kernel.len()), (0, 1));
    // Taken over: no fight.
    kernel.clear();
    mirror.add_route(theirs.clone(), true);
    table.taken(&theirs.key);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![]);
    assert_eq!((table.conflict_count(), table.installed_count()), (1, [0, 0]));
    // Nobody told us of it: the kernel does.
    mirror.remove_route(&theirs);
    kernel.insert(theirs.key, Arc::new(theirs.target.clone()));
    table.reconsider(theirs.key.prefix);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Surprised]);
    assert!(table.has_refused());
}

#[test]
fn what_is_refused_waits_until_it_is_tried_again_or_wanted_otherwise() {
    let mirror = mirror();
    let mut table = Table::new(512);
    table.load(Found::default());
    let refuse = |table: &mut Table| {
        let ops = table.plan(10, &mirror);
        for op in &ops {
            let refused = Refused { errno: libc::ENETUNREACH, message: Some("no way".into()) };
            assert_eq!(refused.to_string(), "Network is unreachable (os error 101): no way");
            assert_eq!(table.written(op, Err(refused)), Outcome::Refused);
        }
        ops.len()
    };
    table.change(change("10.244.1.0/24", Some(2)), &mirror);
    assert_eq!(refuse(&mut table), 1);
    table.reconsider("10.244.1.0/24".parse().unwrap());
    assert_eq!(refuse(&mut table), 0, "not at once");
    assert!(table.retry());
    assert_eq!(refuse(&mut table), 1);
    table.change(change("10.244.1.0/24", Some(3)), &mirror);
    assert_eq!(refuse(&mut table), 1);
    table.change(change("10.244.1.0/24", None), &mirror);
    assert_eq!((refuse(&mut table), table.has_refused()), (0, false));
}

#[test]
fn routes_follow_their_link() {
    let mut mirror = mirror();
    let mut kernel = Routes::new();
    let mut table = Table::new(512);
    table.load(Found::default());
    table.change(change("10.244.1.0/24", Some(2)), &mirror);
    table.change(
        BestChange { prefix: "10.244.9.0/24".parse().unwrap(), now: Forwarding::Local },
        &mirror,
    );
    settle(&mut table, &mirror, &mut kernel);
    assert!(table.uses(2) && !table.uses(3));
    mirror.add_link(Link { index: 2, name: "eth0".into(), is_enabled: false, is_up: false });
    table.refresh(&mirror);
    kernel.retain(|_, target| **target == Target::Unreachable);
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!((table.installed_count(), kernel.len()), ([1, 0], 1));
    mirror.add_link(Link { index: 2, name: "eth0".into(), is_enabled: true, is_up: true });
    mirror.add_route(foreign("10.0.0.0/24", 0), false);
    table.refresh(&mirror);
    assert_eq!(settle(&mut table, &mirror, &mut kernel), vec![Outcome::Repaired]);
    assert_eq!(table.installed_count(), [2, 0]);
}

#[test]
fn ipv6_has_no_metric_zero() {
    let mirror = mirror();
    let mut kernel = Routes::new();
    let mut table = Table::new(0);
    table.load(Found::default());
    for prefix in ["10.244.1.0/24", "fd00:10::/64"] {
        let next_hop = if prefix.contains(':') { "fd00::2" } else { "10.0.0.2" };
        let next_hop: std::net::IpAddr = next_hop.parse().unwrap();
        let now = Forwarding::Via(vec![next_hop.into()]);
        table.change(BestChange { prefix: prefix.parse().unwrap(), now }, &mirror);
    }
    settle(&mut table, &mirror, &mut kernel);
    let metrics: Vec<u32> = kernel.keys().map(|key| key.metric).collect();
    assert_eq!(metrics, [0, 1024]);
}

/// What may happen, in any order.
#[derive(Clone, Debug)]
enum Happening {
    Wants(u8, Option<u8>),
    WantsOwn(u8),
    SomebodyDeletes(u8),
    SomebodyTakes(u8),
    TheyGo(u8),
    LinkFlaps,
    Metric(u32),
    Reread,
    Sweep,
    Orphan,
    Defer,
    Heard(u8),
    Settle,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0u8..6, prop::option::of(2u8..5)).prop_map(|(p, hop)| Happening::Wants(p, hop)),
        1 => (0u8..6).prop_map(Happening::WantsOwn),
        1 => (0u8..6).prop_map(Happening::SomebodyDeletes),
        1 => (0u8..6).prop_map(Happening::SomebodyTakes),
        1 => (0u8..6).prop_map(Happening::TheyGo),
        1 => Just(Happening::LinkFlaps),
        1 => (510u32..513).prop_map(Happening::Metric),
        1 => Just(Happening::Reread),
        1 => Just(Happening::Sweep),
        1 => Just(Happening::Orphan),
        2 => Just(Happening::Defer),
        1 => (2u8..5).prop_map(Happening::Heard),
        3 => Just(Happening::Settle),
    ]
}

proptest! {
    /// Whatever happens, once all is settled the kernel holds what is wanted, but where
    /// another holds the key, and nothing else of ours.
    #[test]
    fn after_any_happenings_the_kernel_holds_what_is_wanted(
        happenings in prop::collection::vec(happening(), 0..40)
    ) {
        let mut mirror = mirror();
        let mut kernel = Routes::new();
        let mut theirs: BTreeMap<RouteKey, KernelRoute> = BTreeMap::new();
        let mut table = Table::new(512);
        table.load(Found::default());
        let name = |p: u8| format!("10.244.{p}.0/24");
        for happening in happenings.into_iter().chain([Happening::Reread, Happening::Sweep]) {
            match happening {
                Happening::Wants(p, hop) => table.change(change(&name(p), hop), &mirror),
                Happening::WantsOwn(p) => {
                    let prefix = name(p).parse().unwrap();
                    table.change(BestChange { prefix, now: Forwarding::Local }, &mirror);
                }
                Happening::SomebodyDeletes(p) => {
                    let prefix = name(p).parse().unwrap();
                    for route in as_kernel_routes(&kernel) {
                        if route.key.prefix == prefix {
                            kernel.remove(&route.key);
                            table.vanished(&route);
                        }
                    }
                }
                Happening::SomebodyTakes(p) => {
                    let route = foreign(&name(p), 512);
                    kernel.remove(&route.key);
                    table.taken(&route.key);
                    mirror.add_route(route.clone(), true);
                    table.reconsider(route.key.prefix);
                    theirs.insert(route.key, route);
                }
                Happening::TheyGo(p) => {
                    let route = foreign(&name(p), 512);
                    theirs.remove(&route.key);
                    mirror.remove_route(&route);
                    table.reconsider(route.key.prefix);
                }
                Happening::LinkFlaps => {
                    kernel.retain(|_, target| !target.uses(2));
                    table.load(Found::from_iter(as_kernel_routes(&kernel)));
                }
                Happening::Metric(metric) => table.set_metric(metric),
                Happening::Reread => {
                    table.load(Found::from_iter(as_kernel_routes(&kernel)));
                }
                Happening::Sweep => table.sweep(),
                Happening::Orphan => table.orphan(),
                Happening::Defer => table.defer(),
                Happening::Heard(n) => table.hear(vec![IpAddr::from([10, 0, 0, n])]),
                Happening::Settle => {
                    settle(&mut table, &mirror, &mut kernel);
                }
            }
        }
        settle(&mut table, &mirror, &mut kernel);
        let mut want = Routes::new();
        for (prefix, _) in table.wanted_after(None) {
            let (metric, target) = table.goal(prefix).unwrap();
            let key = RouteKey { prefix, metric };
            if !theirs.contains_key(&key) {
                want.insert(key, target);
            }
        }
        prop_assert_eq!(&kernel, &want);
        prop_assert_eq!(table.installed_count(), [want.len(), 0]);
        prop_assert_eq!(table.load(Found::from_iter(as_kernel_routes(&kernel))), 0);
    }
}
