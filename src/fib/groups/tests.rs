//! Groups as a table uses them, against a kernel that is a few maps and gives buckets to hops by
//! Linux's rule.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use brindle_bgp::msg::NextHop;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{BestChange, Forwarding};
use proptest::prelude::*;

use super::*;
use crate::fib::found::Found;
use crate::fib::mirror::Mirror;
use crate::fib::news::Link;
use crate::fib::plan::{Routes, of_prefix};
use crate::fib::route::{Action, KernelRoute, PROTOCOL, RouteKey, RouteOp, Target};
use crate::fib::table::Table;

const RESILIENCE: Resilience = Resilience { idle: Duration::from_secs(120) };

/// A host with links 2 and 3, to which 10.0.2.0/24 and 10.0.3.0/24 lead.
fn mirror() -> Mirror {
    let mut mirror = Mirror::default();
    for link in [2, 3] {
        plug(&mut mirror, link, true);
        let hop = Hop { gateway: None, link, onlink: false, weight: 0 };
        let key = RouteKey { prefix: format!("10.0.{link}.0/24").parse().unwrap(), metric: 0 };
        let target = Target::Via(vec![hop]);
        mirror.add_route(KernelRoute { key, protocol: 4, tos: 0, target }, false);
    }
    mirror
}

fn plug(mirror: &mut Mirror, link: u32, is_up: bool) {
    let name = format!("eth{link}").into();
    mirror.add_link(Link { index: link, name, is_enabled: true, is_up });
}

/// The routers `10.0.2.1`, `10.0.3.1`, `10.0.2.3`, `10.0.3.3` and so on.
fn router(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2 + number % 2, 1 + number / 2 * 2)
}

fn prefix(number: u8) -> Prefix {
    Prefix::v4(Ipv4Addr::new(10, 244, number, 0), 24).unwrap()
}

fn change(number: u8, routers: &[u8]) -> BestChange {
    let now = match routers {
        [] => Forwarding::None,
        _ => Forwarding::Via(routers.iter().map(|n| NextHop::V4(router(*n))).collect()),
    };
    BestChange { prefix: prefix(number), now }
}

/// What the kernel holds. It panics where it would refuse.
#[derive(Debug, Default)]
struct Kernel {
    routes: Routes,
    objects: BTreeMap<ObjectId, Kind>,
    buckets: BTreeMap<ObjectId, Vec<Option<ObjectId>>>,
    /// How many writes of routes and of objects it was told.
    writes: (usize, usize),
}

impl Kernel {
    fn write(&mut self, op: &RouteOp) {
        self.writes.0 += 1;
        match &op.action {
            Action::Add(target) | Action::Change(target) => {
                let is_there = self.routes.contains_key(&op.key);
                assert_eq!(is_there, matches!(op.action, Action::Change(_)), "{op:?}");
                if let Some(id) = target.group() {
                    assert!(self.buckets.contains_key(&id), "{op:?} before its group");
                }
                self.routes.insert(op.key, target.clone());
            }
            Action::Delete => assert!(self.routes.remove(&op.key).is_some(), "{op:?}"),
        }
    }

    fn write_object(&mut self, op: &ObjectOp) {
        self.writes.1 += 1;
        match &op.action {
            ObjectAction::Add(kind) | ObjectAction::Change(kind) => {
                let is_there = self.objects.contains_key(&op.id);
                assert_eq!(is_there, matches!(op.action, ObjectAction::Change(_)), "{op:?}");
                if let Kind::Group(shape) = kind {
                    let is_hop = |(id, _): &(ObjectId, u8)| {
                        matches!(self.objects.get(id), Some(Kind::Hop(_)))
                    };
                    assert!(!shape.members.is_empty() && shape.members.iter().all(is_hop));
                    let fresh = || vec![None; usize::from(shape.buckets)];
                    share(self.buckets.entry(op.id).or_insert_with(fresh), &shape.members);
                }
                self.objects.insert(op.id, kind.clone());
            }
            ObjectAction::Delete => {
                assert!(self.objects.remove(&op.id).is_some(), "{op:?}");
                self.buckets.remove(&op.id);
                let is_member = self.objects.values().any(|kind| match kind {
                    Kind::Group(shape) => shape.members.iter().any(|(id, _)| *id == op.id),
                    _ => false,
                });
                let is_used = self.routes.values().any(|target| target.group() == Some(op.id));
                assert!(!is_member && !is_used, "{op:?} while it is used");
            }
        }
    }

    /// The routers that the flows of a prefix take, by bucket.
    fn flows(&self, number: u8) -> Vec<Ipv4Addr> {
        let (_, target) = of_prefix(&self.routes, prefix(number)).next().expect("a route");
        let id = target.group().expect("by a group");
        self.buckets[&id]
            .iter()
            .map(|owner| match self.objects[&owner.expect("each has an owner")] {
                Kind::Hop(Hop { gateway: Some(std::net::IpAddr::V4(gateway)), .. }) => gateway,
                ref other => panic!("{other:?}"),
            })
            .collect()
    }

    /// How many hops the group of a prefix has.
    fn members(&self, number: u8) -> usize {
        let (_, target) = of_prefix(&self.routes, prefix(number)).next().expect("a route");
        match &self.objects[&target.group().expect("by a group")] {
            Kind::Group(shape) => shape.members.len(),
            other => panic!("{other:?}"),
        }
    }

    fn as_objects(&self) -> Vec<Object> {
        let object = |(id, kind): (&ObjectId, &Kind)| Object {
            id: *id,
            protocol: PROTOCOL,
            kind: kind.clone(),
        };
        self.objects.iter().map(object).collect()
    }

    fn as_found(&self) -> Found {
        let route = |(key, target): (&RouteKey, &Arc<Target>)| KernelRoute {
            key: *key,
            protocol: PROTOCOL,
            tos: 0,
            target: (**target).clone(),
        };
        self.routes.iter().map(route).collect()
    }

    /// A link goes down, and with it hops, groups that have no other, and their routes.
    fn lose_link(&mut self, link: u32) {
        self.objects.retain(|_, kind| !matches!(kind, Kind::Hop(hop) if hop.link == link));
        let hops: Vec<ObjectId> = self.objects.keys().copied().collect();
        for (id, kind) in &mut self.objects {
            let Kind::Group(shape) = kind else { continue };
            shape.members.retain(|(member, _)| hops.contains(member));
            match shape.members.is_empty() {
                true => _ = self.buckets.remove(id),
                false => share(self.buckets.get_mut(id).expect("its buckets"), &shape.members),
            }
        }
        let Self { objects, buckets, routes, .. } = self;
        objects.retain(|id, kind| !matches!(kind, Kind::Group(_)) || buckets.contains_key(id));
        routes.retain(|_, target| match &**target {
            Target::Group(id) => buckets.contains_key(id),
            target => !target.uses(link),
        });
    }
}

/// Buckets whose owners left go to those that have too few, the last one first; all others are
/// in use and stay.
fn share(buckets: &mut [Option<ObjectId>], members: &[(ObjectId, u8)]) {
    let total: usize = members.iter().map(|(_, weight)| usize::from(*weight) + 1).sum();
    let (mut sum, mut given) = (0, 0);
    let mut shares = Vec::new();
    for (id, weight) in members {
        sum += usize::from(*weight) + 1;
        let end = (buckets.len() * sum + total / 2) / total;
        shares.push((*id, end - given));
        given = end;
    }
    for bucket in buckets.iter_mut() {
        *bucket = bucket.filter(|owner| members.iter().any(|(id, _)| id == owner));
    }
    for (id, share) in shares.into_iter().rev() {
        let has = buckets.iter().filter(|owner| **owner == Some(id)).count();
        let free = buckets.iter_mut().filter(|owner| owner.is_none());
        free.take(share.saturating_sub(has)).for_each(|owner| *owner = Some(id));
    }
}

/// A table that makes groups.
fn table() -> Table {
    let mut table = Table::new(512);
    table.load(Found::default());
    table.set_groups(Some(RESILIENCE));
    table
}

/// Carries out all that is to be written, as the task does.
fn settle(table: &mut Table, mirror: &Mirror, kernel: &mut Kernel) {
    for _ in 0..100 {
        let mut ops = table.plan(3, mirror);
        for op in table.plan_objects() {
            kernel.write_object(&op);
            table.object_written(&op, Ok(()));
        }
        table.drop_unready(&mut ops);
        for op in ops {
            kernel.write(&op);
            table.written(&op, Ok(()));
        }
        if !table.is_dirty() {
            for op in table.plan_removals() {
                kernel.write_object(&op);
                table.object_written(&op, Ok(()));
            }
            return;
        }
    }
    panic!("it never ends: {table:?}");
}

/// Ten routes by four routers.
fn ten_by_four() -> (Table, Mirror, Kernel) {
    let (mut table, mirror, mut kernel) = (table(), mirror(), Kernel::default());
    for number in 0..10 {
        table.change(change(number, &[0, 1, 2, 3]), &mirror);
    }
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(table.group_count(), 1);
    assert_eq!(kernel.writes, (10, 5), "four hops, a group, ten routes");
    (table, mirror, kernel)
}

/// Flows whose router is still one of these have the same as before.
#[track_caller]
fn assert_kept(before: &[Ipv4Addr], after: &[Ipv4Addr], routers: &[u8]) {
    let routers: Vec<Ipv4Addr> = routers.iter().map(|n| router(*n)).collect();
    assert!(after.iter().all(|router| routers.contains(router)));
    for (bucket, (before, after)) in before.iter().zip(after).enumerate() {
        assert!(before == after || !routers.contains(before), "{bucket}: {before} {after}");
    }
}

#[test]
fn where_all_routes_of_a_group_change_it_is_changed_once_and_in_place() {
    let (mut table, mirror, mut kernel) = ten_by_four();
    for routers in [&[0, 1, 3][..], &[0], &[0, 2], &[0, 1, 2, 3]] {
        let (before, writes) = (kernel.flows(0), kernel.writes);
        for number in 0..10 {
            table.change(change(number, routers), &mirror);
        }
        settle(&mut table, &mirror, &mut kernel);
        assert_kept(&before, &kernel.flows(0), routers);
        assert_eq!(kernel.writes.0, writes.0, "{routers:?}: no route is written");
        assert_eq!(table.group_count(), 1);
    }
    for number in 0..10 {
        table.change(change(number, &[]), &mirror);
    }
    settle(&mut table, &mirror, &mut kernel);
    assert!(kernel.objects.is_empty() && kernel.routes.is_empty(), "{kernel:?}");
}

#[test]
fn a_route_that_leaves_the_others_takes_the_buckets_along() {
    let (mut table, mirror, mut kernel) = ten_by_four();
    let before = kernel.flows(0);
    // One after the other, as messages of a peer bring them.
    for number in 0..3 {
        table.change(change(number, &[0, 1, 3]), &mirror);
        settle(&mut table, &mirror, &mut kernel);
        assert_kept(&before, &kernel.flows(number), &[0, 1, 3]);
        assert_eq!(table.group_count(), 2, "those that left together are together");
    }
    assert_eq!(kernel.flows(9), before, "who stayed is not touched");
    table.change(change(0, &[0, 3]), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    assert_kept(&kernel.flows(1), &kernel.flows(0), &[0, 3]);
    table.change(change(0, &[3]), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(table.group_count(), 3, "the last one of its group: it is kept with one hop");
    assert_eq!(kernel.flows(0), vec![router(3); usize::from(BUCKETS)]);
}

#[test]
fn routes_wait_for_each_other_where_a_hop_joins_and_leave_after_a_while() {
    let (mut table, mirror, mut kernel) = ten_by_four();
    for number in 0..10 {
        table.change(change(number, &[0, 1]), &mirror);
    }
    settle(&mut table, &mirror, &mut kernel);
    let (before, writes) = (kernel.flows(0), kernel.writes);
    for number in 0..10 {
        table.change(change(number, &[0, 1, 2]), &mirror);
        settle(&mut table, &mirror, &mut kernel);
        assert_eq!(table.is_waiting(prefix(number)), number < 9, "{number}");
    }
    assert_eq!(kernel.writes, (writes.0, writes.1 + 2), "once; what it had goes");
    assert_kept(&before, &kernel.flows(0), &[0, 1, 2]);
    // Only some get it.
    table.end_waiting();
    settle(&mut table, &mirror, &mut kernel);
    table.change(change(5, &[0, 1, 2, 3]), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    assert!(table.is_waiting(prefix(5)) && table.has_waiting());
    table.end_waiting();
    settle(&mut table, &mirror, &mut kernel);
    assert!(!table.has_waiting());
    // Here all buckets are in use, so that it is a member without any.
    assert_eq!((kernel.members(5), kernel.members(4)), (4, 3));
}

#[test]
fn a_new_start_takes_groups_over_and_removes_what_nobody_uses_after_the_sweep() {
    let (mut table, mirror, mut kernel) = ten_by_four();
    for number in 0..3 {
        table.change(change(number, &[0, 1, 3]), &mirror);
    }
    settle(&mut table, &mirror, &mut kernel);
    let flows = [kernel.flows(0), kernel.flows(9)];
    kernel.objects.insert(77, Kind::Blackhole);
    let mut table = Table::new(512);
    let mut objects = kernel.as_objects();
    // A number of ours that another has is left alone, whatever comes.
    let taken = OUR_IDS.start() + 10;
    objects.push(Object { id: taken, protocol: 11, kind: Kind::Blackhole });
    table.load_objects(objects);
    table.load(kernel.as_found());
    table.set_groups(Some(RESILIENCE));
    kernel.writes = (0, 0);
    for number in 0..10 {
        let routers: &[u8] = if number < 3 { &[0, 1, 3] } else { &[0, 1, 2, 3] };
        table.change(change(number, routers), &mirror);
    }
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(kernel.writes, (0, 1), "but for the stray one, which goes");
    assert_eq!([kernel.flows(0), kernel.flows(9)], flows);
    for number in 0..20 {
        table.change(change(number, &[0, 1 + number % 7, 30 + number]), &mirror);
        settle(&mut table, &mirror, &mut kernel);
    }
    assert!(!kernel.objects.contains_key(&taken), "not ours to make");
}

#[test]
fn after_a_new_start_routes_stay_in_their_group_while_its_hops_come_back() {
    let (_, mirror, mut kernel) = ten_by_four();
    let before = kernel.flows(0);
    let start = |kernel: &Kernel| {
        let mut table = Table::new(512);
        table.load_objects(kernel.as_objects());
        table.load(kernel.as_found());
        table.set_groups(Some(RESILIENCE));
        table.defer();
        table
    };
    let all = |table: &mut Table, routers: &[u8], kernel: &mut Kernel| {
        for number in 0..10 {
            table.change(change(number, routers), &mirror);
            settle(table, &mirror, kernel);
        }
    };
    kernel.writes = (0, 0);
    let mut table = start(&kernel);
    for routers in [&[2][..], &[0, 2], &[0, 2, 3], &[0, 1, 2, 3]] {
        assert_eq!(table.is_returning(prefix(0)), routers.len() > 1, "{routers:?}");
        all(&mut table, routers, &mut kernel);
    }
    assert!(!table.is_returning(prefix(0)));
    table.sweep();
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!((kernel.writes, kernel.flows(0)), ((0, 0), before.clone()));

    // One that does not come back is waited for until the sweep, then it goes from all at once.
    let mut table = start(&kernel);
    for routers in [&[3][..], &[0, 3], &[0, 2, 3]] {
        all(&mut table, routers, &mut kernel);
    }
    assert_eq!(kernel.writes, (0, 0));
    table.sweep();
    settle(&mut table, &mirror, &mut kernel);
    assert_kept(&before, &kernel.flows(0), &[0, 2, 3]);
    assert_eq!((kernel.writes.0, table.group_count()), (0, 1));

    // One that came and left again is not waited for, nor is any other then.
    let (_, _, mut kernel) = ten_by_four();
    let mut table = start(&kernel);
    let before = kernel.flows(0);
    all(&mut table, &[0, 3], &mut kernel);
    assert_eq!(kernel.flows(0), before);
    all(&mut table, &[0, 2], &mut kernel);
    assert!(!table.is_returning(prefix(0)));
    assert_kept(&before, &kernel.flows(0), &[0, 2]);
}

#[test]
fn with_leftovers_in_a_group_nobody_changes_it_for_them() {
    let (_, mirror, mut kernel) = ten_by_four();
    let before = kernel.flows(9);
    let mut table = Table::new(512);
    table.load_objects(kernel.as_objects());
    table.load(kernel.as_found());
    table.set_groups(Some(RESILIENCE));
    table.defer();
    table.change(change(0, &[0, 1]), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(kernel.flows(0), before, "others may come back");
    table.end_deferral();
    settle(&mut table, &mirror, &mut kernel);
    assert_kept(&before, &kernel.flows(0), &[0, 1]);
    assert_eq!(kernel.flows(9), before);
    assert_eq!(table.leftovers().len(), 9 * 4, "each with each of its gateways");
    table.sweep();
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!((kernel.routes.len(), table.group_count()), (1, 1));
}

#[test]
fn switching_groups_on_and_off_changes_routes_in_place_and_leaves_nothing_behind() {
    let (mut table, mirror, mut kernel) = ten_by_four();
    table.change(change(0, &[0]), &mirror);
    settle(&mut table, &mirror, &mut kernel);
    table.set_groups(None);
    settle(&mut table, &mirror, &mut kernel);
    assert!(kernel.objects.is_empty(), "{:?}", kernel.objects);
    assert_eq!(kernel.routes.len(), 10);
    assert!(kernel.routes.values().all(|target| target.group().is_none()));
    table.set_groups(Some(RESILIENCE));
    settle(&mut table, &mirror, &mut kernel);
    let by_group = kernel.routes.values().filter(|target| target.group().is_some());
    assert_eq!(by_group.count(), 9, "one hop needs no group");
}

#[test]
fn what_the_kernel_refuses_makes_ordinary_routes_until_it_is_tried_again() {
    let refused = || Err(Refused { errno: libc::ENOSPC, message: None });
    for at in 0..3 {
        let (mut table, mirror, mut kernel) = (table(), mirror(), Kernel::default());
        table.change(change(0, &[0, 1]), &mirror);
        let mut ops = table.plan(3, &mirror);
        let objects = table.plan_objects();
        assert_eq!(objects.len(), 3, "two hops and their group");
        for (number, op) in objects.iter().enumerate() {
            // A group without one of its hops is refused as well.
            if number == at || number == 2 {
                assert_eq!(table.object_written(op, refused()), Outcome::Refused);
            } else {
                kernel.write_object(op);
                table.object_written(op, Ok(()));
            }
        }
        table.drop_unready(&mut ops);
        assert!(ops.is_empty() && table.has_refused(), "{ops:?}");
        settle(&mut table, &mirror, &mut kernel);
        let target = kernel.routes.values().next().expect("a route nevertheless");
        assert!(matches!(&**target, Target::Via(hops) if hops.len() == 2), "{target:?}");
        assert!(table.retry());
        settle(&mut table, &mirror, &mut kernel);
        assert!(!table.has_refused());
        assert_eq!(kernel.flows(0).len(), usize::from(BUCKETS), "by a group now");
    }
}

#[test]
fn a_number_that_another_took_is_not_tried_twice() {
    let (mut table, mirror, mut kernel) = (table(), mirror(), Kernel::default());
    table.change(change(0, &[0, 1]), &mirror);
    let mut ops = table.plan(3, &mirror);
    let mut taken = Vec::new();
    for op in table.plan_objects() {
        taken.push(op.id);
        let refused = Refused { errno: libc::EEXIST, message: None };
        assert_eq!(table.object_written(&op, Err(refused)), Outcome::Surprised);
    }
    table.drop_unready(&mut ops);
    settle(&mut table, &mirror, &mut kernel);
    table.retry();
    settle(&mut table, &mirror, &mut kernel);
    assert_eq!(kernel.objects.len(), 3);
    assert!(taken.iter().all(|id| !kernel.objects.contains_key(id)), "{taken:?}");
}

#[derive(Clone, Debug)]
enum Happening {
    Wants(Vec<u8>, Vec<u8>),
    Plugs(u32, bool),
    Reads,
    Waits,
    Switches(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    let prefixes = prop::collection::btree_set(0u8..6, 0..6);
    let routers = prop::collection::btree_set(0u8..6, 0..6);
    let list = |set: std::collections::BTreeSet<u8>| set.into_iter().collect::<Vec<u8>>();
    prop_oneof![
        8 => (prefixes, routers)
            .prop_map(move |(prefixes, routers)| Happening::Wants(list(prefixes), list(routers))),
        2 => (2u32..4, any::<bool>()).prop_map(|(link, is_up)| Happening::Plugs(link, is_up)),
        1 => Just(Happening::Reads),
        1 => Just(Happening::Waits),
        1 => any::<bool>().prop_map(Happening::Switches),
    ]
}

proptest! {
    #[test]
    fn after_any_happenings_all_is_as_wanted_and_nothing_is_left_over(
        happenings in prop::collection::vec(happening(), 1..20)
    ) {
        let (mut table, mut mirror, mut kernel) = (table(), mirror(), Kernel::default());
        for happening in happenings {
            match happening {
                Happening::Wants(prefixes, routers) => {
                    for number in prefixes {
                        table.change(change(number, &routers), &mirror);
                    }
                }
                Happening::Plugs(link, is_up) => {
                    plug(&mut mirror, link, is_up);
                    if !is_up {
                        kernel.lose_link(link);
                        table.forget_link(link);
                    }
                    // The kernel tells nobody of the routes, so all is read.
                    table.load_objects(kernel.as_objects());
                    table.load(kernel.as_found());
                    table.refresh(&mirror);
                }
                Happening::Reads => {
                    table.load_objects(kernel.as_objects());
                    table.load(kernel.as_found());
                }
                Happening::Waits => table.end_waiting(),
                Happening::Switches(on) => table.set_groups(on.then_some(RESILIENCE)),
            }
            settle(&mut table, &mirror, &mut kernel);
        }
        table.end_waiting();
        settle(&mut table, &mirror, &mut kernel);
        for number in 0..6 {
            let goal = table.goal(prefix(number)).map(|(_, target)| target);
            let there: Vec<_> = of_prefix(&kernel.routes, prefix(number)).collect();
            prop_assert_eq!(there.len(), usize::from(goal.is_some()));
            if let (Some(goal), [(_, there)]) = (goal, there.as_slice()) {
                prop_assert!(table.is_as_good(there, &goal), "{there:?} {goal:?}");
            }
        }
        let groups = kernel.objects.values().filter(|kind| matches!(kind, Kind::Group(_))).count();
        prop_assert_eq!(groups, table.group_count());
        for number in 0..6 {
            table.change(change(number, &[]), &mirror);
        }
        settle(&mut table, &mirror, &mut kernel);
        prop_assert!(kernel.objects.is_empty(), "{:?}", kernel.objects);
    }

    #[test]
    fn while_hops_only_leave_no_flow_of_another_hop_moves(
        losses in prop::collection::vec((prop::collection::btree_set(0u8..4, 1..4), 0u8..6), 1..12)
    ) {
        let (mut table, mirror, mut kernel) = (table(), mirror(), Kernel::default());
        let mut routers = vec![(0u8..6).collect::<Vec<u8>>(); 4];
        for (number, routers) in (0..).zip(&routers) {
            table.change(change(number, routers), &mirror);
        }
        settle(&mut table, &mirror, &mut kernel);
        for (prefixes, lost) in losses {
            for number in prefixes {
                let mine = &mut routers[usize::from(number)];
                // With two left it would be a route by itself.
                if mine.len() < 3 || !mine.contains(&lost) {
                    continue;
                }
                let before = kernel.flows(number);
                mine.retain(|router| *router != lost);
                table.change(change(number, mine), &mirror);
                settle(&mut table, &mirror, &mut kernel);
                assert_kept(&before, &kernel.flows(number), mine);
            }
        }
    }
}
