//! Changes of policies.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::World;
use super::expressions::ExprNumber;
use super::pods::PodNumber;
use crate::model::{Criterion, Direction, Policy, PolicyId, PortName, Rule};

/// A policy, and what it uses.
#[derive(Debug)]
pub(super) struct PolicyEntry {
    pub(super) policy: Arc<Policy>,
    pub(super) subject: ExprNumber,
    uses: Uses,
}

/// What rules use.
#[derive(Debug, Default)]
pub(super) struct Uses {
    peers: BTreeSet<ExprNumber>,
    selected: BTreeSet<ExprNumber>,
    ports: BTreeSet<PortName>,
}

/// Whether it matters to the endpoints that are its subject: what is told of their packets
/// depends on the staged policies too.
pub(super) fn concerns_pods(policy: &Policy) -> bool {
    (policy.judges_pods() || policy.staged.is_some()) && policy.governs_some()
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
        if [&before, &after].into_iter().flatten().any(|entry| self.governs_host(entry)) {
            self.touched.hosts = true;
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
        let uses = self.acquire(rules.flatten());
        let subject = self.intern(&policy.subject);
        PolicyEntry { policy, subject, uses }
    }

    fn leave(&mut self, entry: &PolicyEntry) {
        self.release(&entry.uses);
        self.expressions.release_subject(entry.subject, &entry.policy.id);
    }

    /// Registers what rules use.
    pub(super) fn acquire<'r>(&mut self, rules: impl Iterator<Item = &'r Rule>) -> Uses {
        let criteria: Vec<&Criterion> = rules.flat_map(|rule| &rule.criteria).collect();
        let ports: BTreeSet<PortName> =
            criteria.iter().flat_map(|criterion| criterion.port_names()).collect();
        for name in &ports {
            let pods = &self.pods;
            let everyone = self.namespaces.values().flat_map(|entry| entry.pods.values());
            let everyone = everyone.map(|number| (*number, &*pods[*number].pod));
            let everyone = everyone.filter(|(_, pod)| pod.is_endpoint());
            self.ports.acquire(name, everyone, self.others.hosts());
        }
        let exprs: BTreeSet<Arc<_>> = criteria.iter().filter_map(|c| c.peer_expr()).collect();
        let peers: BTreeSet<ExprNumber> = exprs.iter().map(|expr| self.intern(expr)).collect();
        peers.iter().for_each(|peer| self.expressions.acquire_peer(*peer));
        let exprs: BTreeSet<&Arc<_>> = criteria.iter().flat_map(|c| c.selected()).collect();
        let selected: BTreeSet<ExprNumber> = exprs.into_iter().map(|e| self.intern(e)).collect();
        selected.iter().for_each(|peer| self.expressions.acquire_selected(*peer));
        Uses { peers, selected, ports }
    }

    /// Lets go what rules used.
    pub(super) fn release(&mut self, uses: &Uses) {
        uses.ports.iter().for_each(|name| self.ports.release(name));
        uses.peers.iter().for_each(|peer| self.expressions.release_peer(*peer));
        uses.selected.iter().for_each(|peer| self.expressions.release_selected(*peer));
    }

    /// Whether a policy is enforced on some host endpoint.
    fn governs_host(&self, entry: &PolicyEntry) -> bool {
        entry.policy.staged.is_none()
            && entry.policy.governs_some()
            && self.others.has_host(&self.expressions.get(entry.subject).others)
    }

    /// The endpoints for which it matters, to see what governs them, that one policy is
    /// replaced by the other.
    fn governed_otherwise(
        &self,
        before: Option<&PolicyEntry>,
        after: Option<&PolicyEntry>,
    ) -> FxHashSet<PodNumber> {
        let governed = |entry: Option<&PolicyEntry>| {
            let entry = entry.filter(|entry| concerns_pods(&entry.policy));
            entry.map(|entry| &self.expressions.get(entry.subject).members)
        };
        let standing = |entry: Option<&PolicyEntry>| {
            entry.map(|PolicyEntry { policy, .. }| {
                let directions = (policy.ingress.is_some(), policy.egress.is_some());
                (policy.tier.clone(), policy.order, policy.staged, directions)
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
