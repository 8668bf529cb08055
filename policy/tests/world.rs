//! The world, kept up to date by changes, against the same objects looked at from scratch; and
//! that what it says has changed is what has changed.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "world/oracle.rs"]
mod oracle;
#[path = "world/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::world::{Delta, Touched};
use brindle_policy::{Change, World};
use cluster::{Size, here, namespace_label, own};
use oracle::{Facts, Objects, assert_agrees};
use proptest::collection::vec;
use proptest::prelude::*;

/// The names of what differs.
fn differing<K: Ord + Clone, V: PartialEq>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> BTreeSet<K> {
    let names = a.keys().chain(b.keys());
    names.filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// Fails unless the deltas lead from the sets that were to those that are, by single steps
/// none of which is in vain. Sets in use on one side only have none.
fn assert_leads<K: Ord + Debug, T: Ord + Clone + Debug>(
    was: &BTreeMap<K, BTreeSet<T>>,
    is: &BTreeMap<K, BTreeSet<T>>,
    deltas: &BTreeMap<&K, &Delta<T>>,
) {
    let both = is.iter().filter_map(|(name, is)| Some((name, was.get(name)?, is)));
    for (name, was, is) in both.clone() {
        let added: BTreeSet<T> = is.difference(was).cloned().collect();
        let removed: BTreeSet<T> = was.difference(is).cloned().collect();
        let want = Delta { added, removed };
        match deltas.get(name) {
            Some(delta) => assert_eq!(**delta, want, "delta of {name:?}"),
            None => assert!(want.is_empty(), "no delta of {name:?}, but {want:?}"),
        }
    }
    let both: BTreeSet<&K> = both.map(|(name, ..)| name).collect();
    assert!(deltas.keys().all(|name| both.contains(name)), "{deltas:?}");
    assert!(deltas.values().all(|delta| !delta.is_empty()), "{deltas:?}");
}

/// Fails unless `touched` names all that differs; nothing else if `exactly`.
fn assert_tells(was: &Facts, is: &Facts, touched: &Touched, exactly: bool) {
    let peers = touched.peers.iter().map(|(expr, delta)| (&**expr, delta)).collect();
    assert_leads(&was.peers, &is.peers, &peers);
    let selected = touched.selected.iter().map(|(expr, delta)| (&**expr, delta)).collect();
    assert_leads(&was.selected, &is.selected, &selected);
    assert_leads(&was.ports, &is.ports, &touched.named_ports.iter().collect());
    let endpoints = differing(&was.endpoints, &is.endpoints);
    let policies = differing(&was.policies, &is.policies);
    let slices = differing(&was.slices, &is.slices);
    let both = slices.iter().flat_map(|key| [was.slices.get(key), is.slices.get(key)]);
    let services = both.flatten().filter_map(|slice| slice.service.clone()).collect();
    if exactly {
        assert_eq!(touched.endpoints, endpoints);
        assert_eq!(touched.policies, policies);
        assert_eq!(touched.nodes, was.nodes != is.nodes);
        assert_eq!(touched.hosts, was.hosts != is.hosts, "{:?} and {:?}", was.hosts, is.hosts);
        assert_eq!(touched.services, services);
        assert_eq!(touched.attachments, differing(&was.attachments, &is.attachments));
    } else {
        assert!(touched.endpoints.is_superset(&endpoints), "{endpoints:?} in {touched:?}");
        assert!(touched.policies.is_superset(&policies), "{policies:?} in {touched:?}");
        assert!(touched.nodes || was.nodes == is.nodes);
        assert!(touched.hosts || was.hosts == is.hosts);
        assert!(touched.services.is_superset(&services), "{services:?} in {touched:?}");
        let attachments = differing(&was.attachments, &is.attachments);
        assert!(touched.attachments.is_superset(&attachments), "{attachments:?} in {touched:?}");
    }
}

#[test]
fn members_are_found_whichever_way_is_shorter() {
    const NAME: &str = "app.kubernetes.io/name";
    let world = Size { pods: 500, policies: 0 }.world();
    let key = |name: &str| Key { scope: Scope::Own, name: name.into() };
    let apps = (0..7).map(|number| format!("app{number}").into()).collect();
    let home = "space-1".into();
    for expr in [
        Expr::All,
        Expr::Has(key(NAME)),
        own(NAME, "app3"),
        own(NAME, "nobody"),
        here(&home, own(NAME, "app3")),
        here(&home, Expr::not(own(NAME, "app3"))),
        Expr::and([own("layer", "front"), own(NAME, "app3")]),
        Expr::and([namespace_label("team", "team1"), own(NAME, "app3")]),
        Expr::or([own(NAME, "app3"), here(&home, own("layer", "data"))]),
        Expr::or([own(NAME, "app3"), Expr::InNamespace(home.clone())]),
        // Most endpoints have one of the labels, and many have both.
        Expr::or([Expr::is_in(key(NAME), apps), own("layer", "front")]),
    ] {
        let want = world.pods().filter(|pod| pod.is_endpoint() && world.matches(&expr, pod));
        assert!(world.members(&expr).eq(want), "{expr}");
    }
}

/// The changes that make what is there after `changes`.
fn left_over(changes: Vec<Change>) -> Vec<Change> {
    let mut objects = Objects::default();
    changes.into_iter().for_each(|change| objects.apply(change));
    objects.changes()
}

proptest! {
    // All is asked after every change, so a case is worth many.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_every_change_the_world_answers_as_one_made_from_scratch(
        changes in vec(random::change(), 1..25),
        exprs in vec(random::expr(), 3),
        names in vec(random::port_name(), 1),
    ) {
        let (mut world, mut objects) = (World::default(), Objects::default());
        for change in changes {
            objects.apply(change.clone());
            world.apply(change);
            assert_agrees(&world, &objects, &exprs, &names);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn one_change_touches_exactly_what_differs(changes in vec(random::change(), 1..60)) {
        let (mut world, mut objects) = (World::default(), Objects::default());
        let mut was = Facts::of(&objects);
        for change in changes {
            // An interface that passes from one pod to another changes both, one after the
            // other: who has its address in between is touched as well.
            let passes_on = match &change {
                Change::Attached(one) => objects
                    .attachments
                    .get(&one.interface)
                    .is_some_and(|before| before.pod != one.pod),
                _ => false,
            };
            objects.apply(change.clone());
            let is = Facts::of(&objects);
            world.apply(change.clone());
            assert_tells(&was, &is, &world.take_touched(), !passes_on);
            world.apply(change);
            prop_assert!(world.take_touched().is_empty(), "the same again");
            was = is;
        }
    }

    #[test]
    fn many_changes_touch_all_that_differs_in_the_end(
        batches in vec(vec(random::change(), 0..12), 1..8),
        exprs in vec(random::expr(), 2),
    ) {
        let (mut world, mut objects) = (World::default(), Objects::default());
        let mut was = Facts::of(&objects);
        for batch in batches {
            for change in batch {
                objects.apply(change.clone());
                world.apply(change);
            }
            let is = Facts::of(&objects);
            assert_tells(&was, &is, &world.take_touched(), false);
            assert_agrees(&world, &objects, &exprs, &[]);
            was = is;
        }
    }

    #[test]
    fn the_order_in_which_objects_came_does_not_show(
        shuffled in vec(random::change(), 1..60).prop_map(left_over).prop_shuffle(),
        exprs in vec(random::expr(), 3),
    ) {
        let (mut world, mut objects) = (World::default(), Objects::default());
        for change in shuffled {
            objects.apply(change.clone());
            world.apply(change);
        }
        assert_agrees(&world, &objects, &exprs, &[]);
    }
}
