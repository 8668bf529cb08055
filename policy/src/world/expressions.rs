//! The expressions that policies use, and for whom they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::anchors;
use super::pods::{PodNumber, Pods, holds};
use super::slab::{Number, Slab};
use super::touched::{Delta, Watch};
use crate::model::{Labels, Pod, Policy, PolicyId};
use crate::selector::{Expr, Scope};

/// An expression in use.
#[derive(Debug)]
pub(super) struct ExprEntry {
    pub(super) expr: Arc<Expr>,
    /// The endpoints for which it holds.
    pub(super) members: FxHashSet<PodNumber>,
    /// Its use as a peer, and the addresses that its members own.
    pub(super) peers: Watch<IpAddr>,
    /// The policies of which it is the subject.
    pub(super) governs: Vec<Arc<Policy>>,
}

/// The number of an expression.
pub(super) type ExprNumber = Number<ExprEntry>;

/// All expressions in use. One that goes out of use is kept until changes are taken: it may
/// come back until then.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    entries: Slab<ExprEntry>,
    numbers: FxHashMap<Arc<Expr>, ExprNumber>,
    by_anchor: FxHashMap<u64, Vec<ExprNumber>>,
    by_namespace_key: FxHashMap<Arc<str>, Vec<ExprNumber>>,
    /// Those whose use or addresses changed since changes were last taken.
    changed: FxHashSet<ExprNumber>,
}

impl Expressions {
    /// One of them.
    pub(super) fn get(&self, number: ExprNumber) -> &ExprEntry {
        &self.entries[number]
    }

    /// One of them, by what it says.
    pub(super) fn find(&self, expr: &Expr) -> Option<&ExprEntry> {
        self.number(expr).map(|number| &self.entries[number])
    }

    /// The number of one of them.
    pub(super) fn number(&self, expr: &Expr) -> Option<ExprNumber> {
        self.numbers.get(expr).copied()
    }

    /// Takes in a new one, that holds for `members`.
    pub(super) fn insert(&mut self, expr: Arc<Expr>, members: FxHashSet<PodNumber>) -> ExprNumber {
        let number = self.entries.insert(ExprEntry {
            expr: expr.clone(),
            members,
            peers: Watch::default(),
            governs: Vec::new(),
        });
        for anchor in anchors::of_expr(&expr) {
            self.by_anchor.entry(anchor).or_default().push(number);
        }
        for key in expr.keys(Scope::Namespace) {
            self.by_namespace_key.entry(key.clone()).or_default().push(number);
        }
        self.numbers.insert(expr, number);
        self.changed.insert(number);
        number
    }

    /// Another policy uses it as a peer.
    pub(super) fn acquire_peer(&mut self, number: ExprNumber) {
        self.entries[number].peers.acquire();
        self.changed.insert(number);
    }

    /// A policy no longer uses it as a peer.
    pub(super) fn release_peer(&mut self, number: ExprNumber) {
        self.entries[number].peers.release();
        self.changed.insert(number);
    }

    /// It is the subject of `policy`.
    pub(super) fn acquire_subject(&mut self, number: ExprNumber, policy: Arc<Policy>) {
        self.entries[number].governs.push(policy);
    }

    /// It is no longer the subject of a policy.
    pub(super) fn release_subject(&mut self, number: ExprNumber, id: &PolicyId) {
        self.entries[number].governs.retain(|policy| policy.id != *id);
        self.changed.insert(number);
    }

    /// Those that hold for an endpoint, sorted.
    pub(super) fn holding(&self, pod: &Pod, of_namespace: &Labels) -> Vec<ExprNumber> {
        let found = anchors::of_pod(pod, of_namespace).filter_map(|a| self.by_anchor.get(&a));
        let mut numbers: Vec<ExprNumber> = found.flatten().copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| holds(&self.entries[*number].expr, pod, of_namespace));
        numbers
    }

    /// Those that look at one of these labels of namespaces.
    pub(super) fn looking_at(&self, keys: &BTreeSet<&Arc<str>>) -> BTreeSet<ExprNumber> {
        let found = keys.iter().filter_map(|key| self.by_namespace_key.get(*key));
        found.flatten().copied().collect()
    }

    /// It holds for `member` now, which owns these addresses.
    pub(super) fn gain(&mut self, number: ExprNumber, member: PodNumber, owned: &[IpAddr]) {
        self.entries[number].members.insert(member);
        owned.iter().for_each(|address| self.add_address(number, *address));
    }

    /// It no longer holds for `member`, which owns these addresses.
    pub(super) fn lose(&mut self, number: ExprNumber, member: PodNumber, owned: &[IpAddr]) {
        self.entries[number].members.remove(&member);
        owned.iter().for_each(|address| self.remove_address(number, *address));
    }

    /// A member owns an address that it did not own.
    pub(super) fn add_address(&mut self, number: ExprNumber, address: IpAddr) {
        if self.entries[number].peers.add(address) {
            self.changed.insert(number);
        }
    }

    /// A member no longer owns an address.
    pub(super) fn remove_address(&mut self, number: ExprNumber, address: IpAddr) {
        if self.entries[number].peers.remove(address) {
            self.changed.insert(number);
        }
    }

    /// What changed in the peer sets. What is out of use is forgotten.
    pub(super) fn take(&mut self, pods: &mut Pods) -> BTreeMap<Arc<Expr>, Delta<IpAddr>> {
        let mut deltas = BTreeMap::new();
        for number in std::mem::take(&mut self.changed) {
            let entry = &mut self.entries[number];
            if let Some(delta) = entry.peers.take() {
                deltas.insert(entry.expr.clone(), delta);
            }
            if !entry.peers.is_used() && entry.governs.is_empty() {
                self.forget(number, pods);
            }
        }
        deltas
    }

    fn forget(&mut self, number: ExprNumber, pods: &mut Pods) {
        let entry = &self.entries[number];
        for member in &entry.members {
            pods[*member].lose(number);
        }
        for anchor in anchors::of_expr(&entry.expr) {
            unfile(&mut self.by_anchor, &anchor, number);
        }
        for key in entry.expr.keys(Scope::Namespace) {
            unfile(&mut self.by_namespace_key, key, number);
        }
        self.numbers.remove(&entry.expr);
        self.entries.remove(number);
    }
}

fn unfile<K: Eq + std::hash::Hash>(
    index: &mut FxHashMap<K, Vec<ExprNumber>>,
    key: &K,
    number: ExprNumber,
) {
    let Some(numbers) = index.get_mut(key) else { return };
    numbers.retain(|other| *other != number);
    if numbers.is_empty() {
        index.remove(key);
    }
}
