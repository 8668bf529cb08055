//! Changes of policies.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::World;
use super::expressions::ExprNumber;
use super::pods::PodNumber;
use crate::model::{Criterion, Direction, Policy, PolicyId, PortName};

/// A policy, and what it uses.
#[derive(Debug)]
pub(super) struct PolicyEntry {
    pub(super) policy: Arc<Policy>,
    pub(super) subject: ExprNumber,
    peers: BTreeSet<ExprNumber>,
    ports: BTreeSet<PortName>,
}

impl World {
    /// A policy is `after` from now on.
    pub(super) fn replace_policy(&mut self, id: &PolicyId, after: Option<Arc<Policy>>) {
        if self.policies.get(id).map(|entry| &entry.policy) == after.as_ref() {
            return;
        }
        self.touched.policies.insert(id.clone());
        let after = after.map(|policy| self.enter(policy));
        let before = self.policies.remove(id);
        for member in self.governed_otherwise(before.as_ref(), after.as_ref()) {
            self.touched.endpoints.insert(self.pods[member].pod.key.clone());
        }
        if let Some(before) = before {
            self.leave(&before);
        }
        if let Some(after) = after {
            // Only now: while both were there, the id named the one before.
            self.expressions.acquire_subject(after.subject, after.policy.clone());
            self.policies.insert(id.clone(), after);
        }
    }

    /// Registers what a policy uses, before what it used formerly is let go.
    fn enter(&mut self, policy: Arc<Policy>) -> PolicyEntry {
        let rules = Direction::ALL.into_iter().filter_map(|direction| policy.rules(direction));
        let criteria: Vec<&Criterion> = rules.flatten().flat_map(|rule| &rule.criteria).collect();
        let ports: BTreeSet<PortName> =
            criteria.iter().flat_map(|criterion| criterion.port_names()).collect();
        for name in &ports {
            let pods = &self.pods;
            let everyone = self.namespaces.values().flat_map(|entry| entry.pods.values());
            let everyone = everyone.map(|number| (*number, &*pods[*number].pod));
            self.ports.acquire(name, everyone.filter(|(_, pod)| pod.is_endpoint()));
        }
        let exprs: BTreeSet<Arc<_>> = criteria.iter().filter_map(|c| c.peer_expr()).collect();
        let subject = self.intern(&policy.subject);
        let peers: BTreeSet<ExprNumber> = exprs.iter().map(|expr| self.intern(expr)).collect();
        peers.iter().for_each(|peer| self.expressions.acquire_peer(*peer));
        PolicyEntry { policy, subject, peers, ports }
    }

    fn leave(&mut self, entry: &PolicyEntry) {
        entry.ports.iter().for_each(|name| self.ports.release(name));
        entry.peers.iter().for_each(|peer| self.expressions.release_peer(*peer));
        self.expressions.release_subject(entry.subject, &entry.policy.id);
    }

    /// The endpoints for which it matters, to see what governs them, that one policy is
    /// replaced by the other.
    fn governed_otherwise(
        &self,
        before: Option<&PolicyEntry>,
        after: Option<&PolicyEntry>,
    ) -> FxHashSet<PodNumber> {
        let governed = |entry: Option<&PolicyEntry>| {
            let entry = entry.filter(|entry| entry.policy.governs_some());
            entry.map(|entry| &self.expressions.get(entry.subject).members)
        };
        let standing = |entry: Option<&PolicyEntry>| {
            entry.map(|PolicyEntry { policy, .. }| {
                let directions = (policy.ingress.is_some(), policy.egress.is_some());
                (policy.tier.clone(), policy.order, directions)
            })
        };
        let nobody = FxHashSet::default();
        let was = governed(before).unwrap_or(&nobody);
        let is = governed(after).unwrap_or(&nobody);
        if standing(before) != standing(after) {
            was.union(is).copied().collect()
        } else if std::ptr::eq(was, is) {
            nobody
        } else {
            was.symmetric_difference(is).copied().collect()
        }
    }
}
