//! Selectors against the pods and namespaces that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Check, Lint};
use crate::model::{Labels, NAMESPACE_NAME_LABEL};
use crate::selector::{Expr, Key, Scope, Subject, quoted};
use crate::verdict::describe;

impl Lint<'_> {
    /// `podSelector`, and the namespace of the policy.
    pub(super) fn subject(&mut self) {
        let subject = self.policy.subject.clone();
        let namespace = self.policy.id.namespace.clone();
        if let Some(namespace) = namespace
            && self.world.namespace(&namespace).is_none()
        {
            self.warn(
                Check::UnknownNamespace,
                "metadata.namespace",
                format!("there is no namespace {}", quoted(&namespace)),
                "create the namespace, or put the policy where its pods are",
            );
        }
        let field = "spec.podSelector";
        if self.contradicts(&subject, field) {
            return;
        }
        if self.selects_nobody(&subject, field) {
            let whom = describe::endpoints(&subject, None);
            self.warn(
                Check::GovernsNothing,
                field,
                format!("there is no pod that is {whom}: the policy does nothing"),
                "compare the selector with the labels of the pods",
            );
        }
    }

    /// A peer's selectors. Says whether they can never select anybody.
    pub(super) fn selector(&mut self, expr: &Expr, field: &str) -> bool {
        if self.contradicts(expr, field) {
            return true;
        }
        for name in self.unknown_namespaces(expr) {
            self.warn(
                Check::UnknownNamespace,
                format!("{field}.namespaceSelector"),
                format!("there is no namespace {}", quoted(&name)),
                "create the namespace, or correct its name",
            );
        }
        if self.selects_nobody(expr, field) {
            let namespace = self.policy.id.namespace.as_deref();
            let whom = describe::endpoints(expr, namespace);
            let message = if self.selects_a_namespace(expr) {
                format!("there is no pod that is {whom}: this peer matches nothing")
            } else {
                format!("no namespace fits {whom}: this peer matches nothing")
            };
            let fix = "compare the selectors with the labels of pods and namespaces";
            self.warn(Check::SelectsNothing, field, message, fix);
        }
        false
    }

    fn contradicts(&mut self, expr: &Expr, field: &str) -> bool {
        let Some(what) = contradiction(expr) else { return false };
        self.warn(
            Check::Contradiction,
            field,
            format!("{what}: no pod can ever be selected"),
            "take away one of the conditions that exclude each other",
        );
        true
    }

    /// Whether no endpoint is selected. If that is so only because those pods have the network
    /// of their host, warns of it and says no.
    fn selects_nobody(&mut self, expr: &Expr, field: &str) -> bool {
        if self.world.members(expr).next().is_some() {
            return false;
        }
        let world = self.world;
        let mut on_host = world
            .pods()
            .filter(|pod| pod.host_network && !pod.finished && world.matches(expr, pod));
        let Some(first) = on_host.next() else { return true };
        let message = format!(
            "all pods that are selected have the network of their host, {} first: policies do not \
             apply to them and selectors do not stand for them",
            first.key
        );
        let fix = "for peers use ipBlock with the addresses of the nodes";
        self.warn(Check::HostNetworkOnly, field, message, fix);
        false
    }

    /// Names in the selector that no namespace has.
    fn unknown_namespaces(&self, expr: &Expr) -> Vec<Arc<str>> {
        let mut unknown = Vec::new();
        for part in parts(expr) {
            if let Expr::In(key, names) = part
                && is_name_of_namespace(key)
            {
                let known = |name: &&Arc<str>| self.world.namespace(name).is_none();
                unknown.extend(names.iter().filter(known).cloned());
            }
        }
        unknown
    }

    /// Whether what a selector asks of namespaces is so of some namespace.
    fn selects_a_namespace(&self, expr: &Expr) -> bool {
        let is_own = |part: &&Expr| !part.looks_at(Scope::Namespace);
        let (own, asked): (Vec<&Expr>, Vec<&Expr>) = parts(expr).iter().partition(is_own);
        let empty = Labels::new();
        let within = own.iter().find_map(|part| match part {
            Expr::InNamespace(name) => Some(name),
            _ => None,
        });
        within.is_some()
            || self.world.namespaces().any(|namespace| {
                let subject = Subject {
                    namespace: Some(&namespace.name),
                    own: &empty,
                    of_namespace: Some(&namespace.labels),
                    of_account: None,
                };
                asked.iter().all(|part| part.matches(&subject))
            })
    }
}

fn parts(expr: &Expr) -> &[Expr] {
    match expr {
        Expr::And(parts) => parts,
        one => std::slice::from_ref(one),
    }
}

fn is_name_of_namespace(key: &Key) -> bool {
    key.scope == Scope::Namespace && *key.name == *NAMESPACE_NAME_LABEL
}

/// What the parts of a selector ask of one label.
#[derive(Default)]
struct Asked<'e> {
    present: bool,
    absent: bool,
    one_of: Option<BTreeSet<&'e Arc<str>>>,
    none_of: BTreeSet<&'e Arc<str>>,
}

impl Asked<'_> {
    fn is_possible(&self) -> bool {
        let must_be = self.present || self.one_of.is_some();
        let some_left = |values: &BTreeSet<_>| !values.is_subset(&self.none_of);
        !(self.absent && must_be) && self.one_of.as_ref().is_none_or(some_left)
    }
}

/// Which label a selector asks for what excludes itself; `None` if nothing is found.
pub(super) fn contradiction(expr: &Expr) -> Option<String> {
    let mut labels: BTreeMap<&Key, Asked<'_>> = BTreeMap::new();
    for part in parts(expr) {
        match part {
            Expr::Has(key) => labels.entry(key).or_default().present = true,
            Expr::In(key, values) => {
                let asked = labels.entry(key).or_default();
                let values: BTreeSet<_> = values.iter().collect();
                asked.one_of = Some(match &asked.one_of {
                    Some(before) => before.intersection(&values).copied().collect(),
                    None => values,
                });
            }
            Expr::Text(key, ..) => labels.entry(key).or_default().present = true,
            Expr::Not(inner) => match &**inner {
                Expr::Has(key) => labels.entry(key).or_default().absent = true,
                Expr::In(key, values) => labels.entry(key).or_default().none_of.extend(values),
                _ => {}
            },
            Expr::All | Expr::Nothing | Expr::InNamespace(_) | Expr::And(_) | Expr::Or(_) => {}
        }
    }
    let (key, _) = labels.into_iter().find(|(_, asked)| !asked.is_possible())?;
    let name = quoted(&key.name);
    Some(match key.scope {
        Scope::Own => format!("the conditions on label {name} exclude each other"),
        Scope::Namespace => {
            format!("the conditions on label {name} of namespaces exclude each other")
        }
        Scope::ServiceAccount => {
            format!("the conditions on label {name} of service accounts exclude each other")
        }
    })
}
