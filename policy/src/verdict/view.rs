//! The world as it is, or as it would be with some labels changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::Cidr;
use crate::model::{
    Criterion, Direction, IpBlock, Labels, PeerTerm, Pod, PodKey, Policy, PolicyId, Rule, Tier,
};
use crate::selector::{Expr, Subject};
use crate::world::World;

/// A world, and what replaces some of it: what-if questions need no second world.
pub(super) struct View<'w> {
    pub(super) world: &'w World,
    pub(super) pods: BTreeMap<PodKey, Labels>,
    pub(super) namespaces: BTreeMap<Arc<str>, Labels>,
    /// Addresses that a rule's peers stand for besides, by policy, direction and position.
    pub(super) blocks: BTreeMap<(PolicyId, Direction, usize), IpAddr>,
}

impl<'w> View<'w> {
    /// The world as it is.
    pub(super) fn of(world: &'w World) -> Self {
        Self { world, pods: BTreeMap::new(), namespaces: BTreeMap::new(), blocks: BTreeMap::new() }
    }

    /// The rule at a place, as it would be.
    pub(super) fn rule<'r>(
        &self,
        policy: &PolicyId,
        direction: Direction,
        index: usize,
        rule: &'r Rule,
    ) -> Cow<'r, Rule> {
        if self.blocks.is_empty() {
            return Cow::Borrowed(rule);
        }
        let Some(address) = self.blocks.get(&(policy.clone(), direction, index)) else {
            return Cow::Borrowed(rule);
        };
        let mut rule = rule.clone();
        for criterion in &mut rule.criteria {
            if let Criterion::Peer { any_of, negated: false, .. } = criterion {
                let cidr = Cidr::host(*address);
                any_of.push(PeerTerm::Block(IpBlock { cidr, except: Vec::new() }));
            }
        }
        Cow::Owned(rule)
    }

    fn is_changed(&self, pod: &Pod) -> bool {
        self.pods.contains_key(&pod.key) || self.namespaces.contains_key(&pod.key.namespace)
    }

    /// What selectors see of `pod`.
    pub(super) fn subject<'a>(&'a self, pod: &'a Pod) -> Subject<'a> {
        let own = self.pods.get(&pod.key).unwrap_or(&pod.labels);
        let replaced = self.namespaces.get(&pod.key.namespace);
        let stored = || self.world.namespace(&pod.key.namespace).map(|found| &found.labels);
        Subject {
            namespace: Some(&pod.key.namespace),
            own,
            of_namespace: replaced.or_else(stored),
            of_account: None,
        }
    }

    /// Whether `expr` holds for `pod`.
    pub(super) fn matches(&self, expr: &Expr, pod: &Pod) -> bool {
        if self.is_changed(pod) {
            expr.matches(&self.subject(pod))
        } else {
            self.world.matches(expr, pod)
        }
    }

    /// The policies that govern `pod`, as [`World::governing`] has them.
    pub(super) fn governing(
        &self,
        pod: &Pod,
        direction: Direction,
    ) -> Vec<(&'w Tier, Vec<&'w Arc<Policy>>)> {
        if !self.is_changed(pod) {
            return self.world.governing(pod, direction);
        }
        let mut stages = Vec::new();
        if !pod.is_endpoint() {
            return stages;
        }
        for tier in self.world.tiers() {
            let governs = |policy: &&Arc<Policy>| {
                policy.tier == tier.name
                    && policy.rules(direction).is_some()
                    && self.matches(&policy.subject, pod)
            };
            let mut policies: Vec<_> = self.world.policies().filter(governs).collect();
            policies.sort_by(|a, b| a.compare(b));
            if !policies.is_empty() {
                stages.push((tier, policies));
            }
        }
        stages
    }
}
