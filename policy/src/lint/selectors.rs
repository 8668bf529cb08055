//! Selectors against the pods and namespaces that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::place::{self, Layout};
use super::{Check, Lint};
use crate::address::Family;
use crate::model::{Labels, NAMESPACE_NAME_LABEL, PeerTerm, Policy, PolicyKind};
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
        let field = place::subject(self.policy.id.kind);
        if self.contradicts(&subject, field) {
            return;
        }
        let governs_hosts =
            self.world.host_endpoints().any(|host| self.world.matches_host(&subject, host));
        if !governs_hosts && self.selects_nobody(&subject, field) {
            let whom = describe::subject(self.policy, None);
            let message = if may_be_host(self.policy) {
                format!("nothing that there is fits {whom}: the policy does nothing")
            } else {
                format!("there is no pod that is {whom}: the policy does nothing")
            };
            let fix = "compare the selector with the labels of the pods";
            self.warn(Check::GovernsNothing, field, message, fix);
        }
        self.also_hosts(&subject);
    }

    /// A condition on namespaces that what is in none meets too (policy-semantics 3.3, C08).
    fn also_hosts(&mut self, subject: &Expr) {
        let asks = parts(subject).iter().any(|part| {
            let of_namespace = part.looks_at(Scope::Namespace) || part.names_namespace();
            of_namespace && !says_in_none(part)
        });
        if !may_be_host(self.policy) || !asks || subject.needs(Scope::Namespace) {
            return;
        }
        let hosts = self.world.host_endpoints();
        let mut governed = hosts.filter(|host| self.world.matches_host(subject, host));
        let those = match governed.next() {
            Some(first) => format!(", {} first of {}", first.name, 1 + governed.count()),
            None => String::new(),
        };
        self.warn(
            Check::AlsoHosts,
            "spec",
            format!(
                "what it says of namespaces holds for host endpoints too, which are in none{those}"
            ),
            "to mean pods alone, add has(projectcalico.org/namespace) to the selector",
        );
    }

    /// A selector of Calico's language, which stands for hosts and network sets too. Says
    /// whether it can never select anybody.
    pub(super) fn selected(&mut self, expr: &Expr, field: &str) -> bool {
        if self.contradicts(expr, field) {
            return true;
        }
        self.namespaces_exist(expr, field);
        let selects = |family: &Family| !self.world.selected(expr, *family).is_empty();
        if !Family::ALL.iter().any(selects) && self.selects_nobody(expr, field) {
            let namespace = self.policy.id.namespace.as_deref();
            let whom = describe::peer(&PeerTerm::Selected(Arc::new(expr.clone())), namespace);
            let message = format!("nothing that there is fits {whom}: this peer matches nothing");
            let fix = "compare the selectors with the labels of pods, hosts and network sets";
            self.warn(Check::SelectsNothing, field, message, fix);
        }
        false
    }

    fn namespaces_exist(&mut self, expr: &Expr, field: &str) {
        for name in self.unknown_namespaces(expr) {
            self.warn(
                Check::UnknownNamespace,
                format!("{field}.namespaceSelector"),
                format!("there is no namespace {}", quoted(&name)),
                "create the namespace, or correct its name",
            );
        }
    }

    /// A peer's selectors. Says whether they can never select anybody.
    pub(super) fn selector(&mut self, expr: &Expr, field: &str) -> bool {
        if self.contradicts(expr, field) {
            return true;
        }
        self.namespaces_exist(expr, field);
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
        let fix = match place::layout(self.policy.id.kind) {
            Layout::Kubernetes => "for peers use ipBlock with the addresses of the nodes",
            Layout::Calico => "for peers use nets with the addresses of the nodes",
            Layout::Cluster => "for peers use networks with the addresses of the nodes",
        };
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
            // The policy's own is another check's.
            if let Expr::InNamespace(name) = part
                && self.policy.id.namespace.as_ref() != Some(name)
                && self.world.namespace(name).is_none()
            {
                unknown.push(name.clone());
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

/// Whether a policy may govern host endpoints.
pub(super) fn may_be_host(policy: &Policy) -> bool {
    match policy.id.kind {
        PolicyKind::GlobalNetworkPolicy | PolicyKind::StagedGlobalNetworkPolicy => true,
        PolicyKind::NetworkPolicy
        | PolicyKind::CalicoNetworkPolicy
        | PolicyKind::ClusterNetworkPolicy
        | PolicyKind::StagedKubernetesNetworkPolicy
        | PolicyKind::StagedNetworkPolicy => false,
    }
}

/// Whether it says that something is in no namespace, as `global()` does.
fn says_in_none(expr: &Expr) -> bool {
    matches!(expr, Expr::Not(inner)
        if matches!(&**inner, Expr::Has(key) if is_name_of_namespace(key)))
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
