//! The difference between the routes that are wanted and those that are there, as writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_bgp::net::Prefix;

use super::route::{Action, RouteKey, RouteOp, Target};

/// Routes by key. Targets are shared: there are few, and a million prefixes.
pub type Routes = BTreeMap<RouteKey, Arc<Target>>;

/// What to write so that the kernel holds exactly `want` for `prefix`; nothing if it does.
///
/// `have` lists only routes that carry our mark. A route with another metric is removed
/// after the new one stands, so that the prefix is never without one. `keep` says which
/// unwanted routes stay nevertheless.
pub fn plan_prefix(
    prefix: Prefix,
    want: Option<(u32, &Arc<Target>)>,
    have: &Routes,
    keep: impl Fn(&RouteKey) -> bool,
    ops: &mut Vec<RouteOp>,
) {
    if let Some((metric, target)) = want {
        let key = RouteKey { prefix, metric };
        match have.get(&key) {
            None => ops.push(RouteOp { key, action: Action::Add(target.clone()) }),
            Some(there) if there != target => {
                ops.push(RouteOp { key, action: Action::Change(target.clone()) });
            }
            Some(_) => {}
        }
    }
    let wanted = want.map(|(metric, _)| metric);
    for key in of_prefix(have, prefix).map(|(key, _)| key) {
        if Some(key.metric) != wanted && !keep(key) {
            ops.push(RouteOp { key: *key, action: Action::Delete });
        }
    }
}

/// The routes of one prefix, lowest metric first.
pub fn of_prefix(
    routes: &Routes,
    prefix: Prefix,
) -> impl Iterator<Item = (&RouteKey, &Arc<Target>)> {
    routes.range(RouteKey { prefix, metric: 0 }..=RouteKey { prefix, metric: u32::MAX })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::fib::route::Hop;

    fn target(number: u8) -> Arc<Target> {
        Arc::new(match number {
            0 => Target::Unreachable,
            1 => Target::Other(6),
            n => Target::Via(vec![Hop {
                gateway: Some(Ipv4Addr::new(10, 0, 0, n).into()),
                link: 1,
                onlink: false,
                weight: 0,
            }]),
        })
    }

    fn prefix(number: u8) -> Prefix {
        if number.is_multiple_of(2) {
            Prefix::v4(Ipv4Addr::new(10, number, 0, 0), 16).unwrap()
        } else {
            format!("fd00:{number}::/32").parse().unwrap()
        }
    }

    /// At most one wanted route a prefix, as the speaker wants them.
    fn want() -> impl Strategy<Value = BTreeMap<Prefix, (u32, Arc<Target>)>> {
        prop::collection::btree_map(0u8..12, (0u8..4, 0u8..5), 0..12).prop_map(|map| {
            map.into_iter().map(|(p, (m, t))| (prefix(p), (u32::from(m), target(t)))).collect()
        })
    }

    /// Any number of routes a prefix, as a former run may have left them.
    fn have() -> impl Strategy<Value = Routes> {
        prop::collection::btree_map((0u8..12, 0u8..4), 0u8..5, 0..24).prop_map(|map| {
            map.into_iter()
                .map(|((p, m), t)| (RouteKey { prefix: prefix(p), metric: m.into() }, target(t)))
                .collect()
        })
    }

    fn plan(
        want: &BTreeMap<Prefix, (u32, Arc<Target>)>,
        have: &Routes,
        keep: impl Fn(&RouteKey) -> bool,
    ) -> Vec<RouteOp> {
        let prefixes: BTreeSet<Prefix> =
            want.keys().copied().chain(have.keys().map(|key| key.prefix)).collect();
        let mut ops = Vec::new();
        for prefix in prefixes {
            let want = want.get(&prefix).map(|(metric, target)| (*metric, target));
            plan_prefix(prefix, want, have, &keep, &mut ops);
        }
        ops
    }

    /// What the kernel would do; panics where it would refuse.
    fn carry_out(ops: Vec<RouteOp>, have: &mut Routes) {
        for RouteOp { key, action } in ops {
            match action {
                Action::Add(target) => assert_eq!(have.insert(key, target), None, "{key:?}"),
                Action::Change(target) => {
                    assert!(have.insert(key, target).is_some(), "{key:?}");
                }
                Action::Delete => assert!(have.remove(&key).is_some(), "{key:?}"),
            }
        }
    }

    fn as_routes(want: &BTreeMap<Prefix, (u32, Arc<Target>)>) -> Routes {
        want.iter()
            .map(|(&prefix, (metric, target))| {
                (RouteKey { prefix, metric: *metric }, target.clone())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn nothing_is_to_be_done_where_all_is_as_wanted(want in want()) {
            prop_assert_eq!(plan(&want, &as_routes(&want), |_| false), vec![]);
        }

        #[test]
        fn carrying_out_a_plan_makes_have_equal_want(want in want(), mut have in have()) {
            carry_out(plan(&want, &have, |_| false), &mut have);
            prop_assert_eq!(have, as_routes(&want));
        }

        #[test]
        fn what_is_kept_is_never_removed(want in want(), have in have()) {
            let ops = plan(&want, &have, |key| key.metric == 2);
            for op in ops {
                prop_assert!(op.action != Action::Delete || op.key.metric != 2, "{op:?}");
            }
        }

        #[test]
        fn a_wanted_prefix_has_a_route_after_every_single_write(want in want(), have in have()) {
            let mut now = have.clone();
            for op in plan(&want, &have, |_| false) {
                let prefix = op.key.prefix;
                carry_out(vec![op], &mut now);
                prop_assert!(
                    !want.contains_key(&prefix) || of_prefix(&now, prefix).next().is_some(),
                    "{prefix}"
                );
            }
        }
    }
}
