//! The endpoints for which an expression holds that was not in use so far.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;

use super::World;
use super::expressions::ExprNumber;
use super::others::OtherNumber;
use super::pods::{NamespaceEntry, PodNumber};
use super::slab::Number;
use crate::model::Pod;
use crate::selector::{Expr, Scope};

/// Endpoints by their own labels. A label is told by its hash: two that meet there only mean
/// that endpoints are tried in vain.
#[derive(Debug, Default)]
pub(super) struct ByLabel(BTreeSet<(u32, PodNumber)>);

impl ByLabel {
    /// An endpoint is `after` from now on, not `before`; `None` is no endpoint.
    pub(super) fn replace(&mut self, number: PodNumber, before: Option<&Pod>, after: Option<&Pod>) {
        if before.map(|pod| &pod.labels) == after.map(|pod| &pod.labels) {
            return;
        }
        let labels = |pod: Option<&Pod>| -> Vec<u32> {
            let labels = pod.into_iter().flat_map(|pod| &pod.labels);
            labels.map(|(key, value)| hash(key, value)).collect()
        };
        for label in labels(before) {
            self.0.remove(&(label, number));
        }
        self.0.extend(labels(after).into_iter().map(|label| (label, number)));
    }

    fn with(&self, label: u32) -> impl Iterator<Item = PodNumber> {
        let from = self.0.range((label, Number::FIRST)..);
        from.take_while(move |(other, _)| *other == label).map(|(_, number)| *number)
    }
}

fn hash(key: &str, value: &str) -> u32 {
    let mut hasher = FxHasher::default();
    (key, value).hash(&mut hasher);
    // Its lower bits are the better ones.
    hasher.finish() as u32
}

/// Labels of endpoints of which whoever `expr` holds for has at least one; `None` if that
/// cannot be said.
fn own_labels(expr: &Expr) -> Option<Vec<u32>> {
    match expr {
        Expr::Nothing => Some(Vec::new()),
        Expr::All | Expr::InNamespace(_) | Expr::Has(_) | Expr::Text(..) | Expr::Not(_) => None,
        Expr::In(key, values) => match key.scope {
            Scope::Own => Some(values.iter().map(|value| hash(&key.name, value)).collect()),
            Scope::Namespace | Scope::ServiceAccount => None,
        },
        Expr::And(parts) => parts.iter().filter_map(own_labels).min_by_key(Vec::len),
        Expr::Or(parts) => {
            let parts: Option<Vec<Vec<u32>>> = parts.iter().map(own_labels).collect();
            parts.map(|parts| parts.concat())
        }
    }
}

impl World {
    /// The number of `expr`; finds for whom it holds if it is new.
    pub(super) fn intern(&mut self, expr: &Arc<Expr>) -> ExprNumber {
        if let Some(number) = self.expressions.number(expr) {
            return number;
        }
        let members = self.search(expr);
        let others: Vec<OtherNumber> = self.others.search(expr).collect();
        let number = self.expressions.insert(
            expr.clone(),
            members.iter().copied().collect(),
            others.iter().copied().collect(),
        );
        for member in members {
            self.pods[member].gain(number);
        }
        for other in others {
            self.others.gain(other, number);
        }
        number
    }

    /// The endpoints for which `expr` holds, each once.
    pub(super) fn search(&self, expr: &Expr) -> Vec<PodNumber> {
        match expr {
            // Each part may be best looked for in its own way.
            Expr::Or(parts) => {
                let found: BTreeSet<_> = parts.iter().flat_map(|part| self.search(part)).collect();
                found.into_iter().collect()
            }
            Expr::All
            | Expr::Nothing
            | Expr::InNamespace(_)
            | Expr::Has(_)
            | Expr::In(..)
            | Expr::Text(..)
            | Expr::Not(_)
            | Expr::And(_) => self.search_part(expr),
        }
    }

    /// Tries the endpoints of the namespaces where `expr` may hold, or those with the labels
    /// that it asks for if they are fewer.
    fn search_part(&self, expr: &Expr) -> Vec<PodNumber> {
        let within: Vec<&NamespaceEntry> = match expr.namespaces() {
            Some(names) => names.into_iter().filter_map(|name| self.namespaces.get(name)).collect(),
            None => self.namespaces.values().collect(),
        };
        let holds_in =
            |entry: &NamespaceEntry| expr.holds_in(&entry.namespace.name, &entry.namespace.labels);
        let within = within.into_iter().map(|entry| (entry, holds_in(entry)));
        let within: Vec<_> = within.filter(|(_, everyone)| *everyone != Some(false)).collect();
        let looks_at_account = expr.looks_at(Scope::ServiceAccount);
        let count = within.iter().map(|(entry, _)| entry.pods.len()).sum();
        if let Some(labelled) = self.labelled(expr, count) {
            let is_member = |number: &PodNumber| {
                let pod = &self.pods[*number].pod;
                let entry = &self.namespaces[&pod.key.namespace];
                expr.matches(&entry.subject(pod, looks_at_account))
            };
            return labelled.into_iter().filter(is_member).collect();
        }
        let members = within.into_iter().flat_map(|(entry, everyone)| {
            entry.pods.values().copied().filter(move |number| {
                let pod = &self.pods[*number].pod;
                let holds = || expr.matches(&entry.subject(pod, looks_at_account));
                pod.is_endpoint() && (everyone == Some(true) || holds())
            })
        });
        members.collect()
    }

    /// The endpoints that have a label that `expr` asks for, each once; `None` if it asks for
    /// none, or if they are not fewer than `limit`.
    fn labelled(&self, expr: &Expr, limit: usize) -> Option<Vec<PodNumber>> {
        let labels = own_labels(expr)?.into_iter();
        let found = labels.flat_map(|label| self.by_label.with(label));
        let mut found: Vec<PodNumber> = found.take(limit).collect();
        if found.len() == limit {
            return None;
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}
