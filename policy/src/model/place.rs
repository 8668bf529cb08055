//! What pods belong to: namespaces, service accounts, nodes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Labels;
use crate::address::Cidr;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.labels`; always has `kubernetes.io/metadata.name` (policy-semantics 2.2).
    pub labels: Labels,
}

/// The label that every namespace has; its value is the name.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Namespace {
    /// What a namespace is taken for that pods are in but nothing else is known of: it has
    /// [`NAMESPACE_NAME_LABEL`] and no other label.
    pub fn assumed(name: Arc<str>) -> Self {
        let labels = Labels::from([(NAMESPACE_NAME_LABEL.into(), name.clone())]);
        Self { name, labels }
    }
}

/// A node, as far as policy needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Its own addresses, all types that `status.addresses` has and that parse.
    pub addresses: BTreeSet<IpAddr>,
    /// The ranges of its pods.
    pub pod_cidrs: BTreeSet<Cidr>,
    /// `metadata.labels`.
    pub labels: Labels,
}

/// Which ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for AccountKey {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Which it is.
    pub key: AccountKey,
    /// `metadata.labels`, and those that every account's pods have: [`ACCOUNT_NAME_LABEL`],
    /// [`ORCHESTRATOR_LABEL`], [`SHORT_ACCOUNT_NAME_LABEL`].
    pub labels: Labels,
}

/// Among the labels of an account its name: `pcsa.projectcalico.org/name` of its pods.
pub const ACCOUNT_NAME_LABEL: &str = "projectcalico.org/name";
/// Among the labels of an account its name, if that is shorter than 63 characters:
/// `projectcalico.org/serviceaccount` of its pods.
pub const SHORT_ACCOUNT_NAME_LABEL: &str = "projectcalico.org/serviceaccount";
/// Among the labels of an account `k8s`: `projectcalico.org/orchestrator` of its pods.
pub const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

impl ServiceAccount {
    /// An account with these labels of its own, and those that every account has.
    pub fn new(key: AccountKey, labels: Labels) -> Self {
        let mut labels = labels;
        labels.insert(ACCOUNT_NAME_LABEL.into(), key.name.clone());
        labels.insert(ORCHESTRATOR_LABEL.into(), "k8s".into());
        if key.name.len() < 63 {
            labels.insert(SHORT_ACCOUNT_NAME_LABEL.into(), key.name.clone());
        } else {
            labels.remove(SHORT_ACCOUNT_NAME_LABEL);
        }
        Self { key, labels }
    }
}
