//! Pods, and where they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::accounts::AccountEntry;
use super::expressions::ExprNumber;
use super::slab::{Number, Slab};
use crate::model::{Namespace, Node, Pod};
use crate::selector::Subject;

/// A pod, and the expressions in use that hold for it.
#[derive(Debug)]
pub(super) struct PodEntry {
    pub(super) pod: Arc<Pod>,
    /// It has its addresses by an interface of our network plug-in, which is sure of them.
    pub(super) is_attached: bool,
    /// Sorted; empty if it is no endpoint.
    exprs: Vec<ExprNumber>,
}

/// The number of a pod.
pub(super) type PodNumber = Number<PodEntry>;
/// All pods, endpoints or not.
pub(super) type Pods = Slab<PodEntry>;

impl PodEntry {
    /// A pod for which nothing holds yet.
    pub(super) fn new(pod: Arc<Pod>) -> Self {
        Self { pod, is_attached: false, exprs: Vec::new() }
    }

    /// The expressions that hold for it, sorted.
    pub(super) fn exprs(&self) -> &[ExprNumber] {
        &self.exprs
    }

    /// An expression that did not hold does now.
    pub(super) fn gain(&mut self, expr: ExprNumber) {
        if let Err(place) = self.exprs.binary_search(&expr) {
            // There are many pods, and this rarely changes: no room to spare.
            self.exprs.reserve_exact(1);
            self.exprs.insert(place, expr);
        }
    }

    /// An expression that held no longer does.
    pub(super) fn lose(&mut self, expr: ExprNumber) {
        if let Ok(place) = self.exprs.binary_search(&expr) {
            self.exprs.remove(place);
        }
    }
}

/// A namespace that is known, or that pods or service accounts are in.
#[derive(Debug)]
pub(super) struct NamespaceEntry {
    /// The object; [`Namespace::assumed`] if it is not known.
    pub(super) namespace: Arc<Namespace>,
    pub(super) is_known: bool,
    /// By name.
    pub(super) pods: BTreeMap<Arc<str>, PodNumber>,
    /// Those that are known, or that pods have, by name.
    pub(super) accounts: BTreeMap<Arc<str>, AccountEntry>,
}

impl NamespaceEntry {
    /// One that is not known.
    pub(super) fn assumed(name: Arc<str>) -> Self {
        let namespace = Arc::new(Namespace::assumed(name));
        Self { namespace, is_known: false, pods: BTreeMap::new(), accounts: BTreeMap::new() }
    }

    /// Whether there is nothing to tell of it.
    pub(super) fn is_vain(&self) -> bool {
        !self.is_known && self.pods.is_empty() && self.accounts.is_empty()
    }

    /// What expressions see of a pod in it that the world has; its account only if asked for,
    /// as most expressions do not look at that.
    pub(super) fn subject<'a>(&'a self, pod: &'a Pod, with_account: bool) -> Subject<'a> {
        let account = with_account.then(|| self.accounts.get(&pod.service_account)).flatten();
        Subject {
            namespace: Some(&pod.key.namespace),
            own: &pod.labels,
            of_namespace: Some(&self.namespace.labels),
            of_account: account.map(|entry| &entry.account.labels),
        }
    }
}

/// A node that is known, or that endpoints are on.
#[derive(Debug, Default)]
pub(super) struct NodeEntry {
    pub(super) node: Option<Arc<Node>>,
    pub(super) endpoints: FxHashSet<PodNumber>,
}

/// Addresses as pods have them, none twice.
pub(super) fn distinct(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
