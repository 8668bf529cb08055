//! The expressions that policies use, and for whom they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::addresses::Addresses;
use super::anchors;
use super::others::{Nets, OtherNumber, Others};
use super::pods::{PodNumber, Pods};
use super::slab::{Number, Slab};
use super::touched::{Delta, Watch};
use crate::address::Cidr;
use crate::model::{Policy, PolicyId};
use crate::selector::{Expr, Scope, Subject};

/// An expression in use.
#[derive(Debug)]
pub(super) struct ExprEntry {
    pub(super) expr: Arc<Expr>,
    /// The endpoints for which it holds.
    pub(super) members: FxHashSet<PodNumber>,
    /// The host endpoints and network sets for which it holds.
    pub(super) others: FxHashSet<OtherNumber>,
    /// Its use as a peer that is pods only, and the addresses that its members own.
    pub(super) peers: Watch<IpAddr>,
    /// Its use as a peer that is hosts and network sets too, and the blocks of all these.
    pub(super) selected: Watch<Cidr>,
    /// The policies of which it is the subject.
    pub(super) governs: Vec<Arc<Policy>>,
}

impl ExprEntry {
    /// Whether a block is in its set of [`ExprEntry::selected`].
    fn has(&self, block: Cidr, nets: &Nets, addresses: &Addresses) -> bool {
        let is_of_pod = || {
            let is_host = block.length() == block.family().bits();
            let owner = addresses.owner(block.address()).filter(|_| is_host);
            owner.is_some_and(|owner| self.members.contains(&owner))
        };
        nets.is_of_one(block, &self.others) || is_of_pod()
    }
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
    by_account_key: FxHashMap<Arc<str>, Vec<ExprNumber>>,
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

    /// Takes in a new one, that holds for `members` and `others`.
    pub(super) fn insert(
        &mut self,
        expr: Arc<Expr>,
        members: FxHashSet<PodNumber>,
        others: FxHashSet<OtherNumber>,
    ) -> ExprNumber {
        let number = self.entries.insert(ExprEntry {
            expr: expr.clone(),
            members,
            others,
            peers: Watch::default(),
            selected: Watch::default(),
            governs: Vec::new(),
        });
        for anchor in anchors::of_expr(&expr) {
            self.by_anchor.entry(anchor).or_default().push(number);
        }
        for key in expr.keys(Scope::Namespace) {
            self.by_namespace_key.entry(key.clone()).or_default().push(number);
        }
        for key in expr.keys(Scope::ServiceAccount) {
            self.by_account_key.entry(key.clone()).or_default().push(number);
        }
        self.numbers.insert(expr, number);
        self.changed.insert(number);
        number
    }

    /// Another policy uses it as a peer that is pods only.
    pub(super) fn acquire_peer(&mut self, number: ExprNumber) {
        self.entries[number].peers.acquire();
        self.changed.insert(number);
    }

    /// A policy no longer uses it as a peer that is pods only.
    pub(super) fn release_peer(&mut self, number: ExprNumber) {
        self.entries[number].peers.release();
        self.changed.insert(number);
    }

    /// Another policy uses it as a peer that is hosts and network sets too.
    pub(super) fn acquire_selected(&mut self, number: ExprNumber) {
        self.entries[number].selected.acquire();
        self.changed.insert(number);
    }

    /// A policy no longer uses it as a peer that is hosts and network sets too.
    pub(super) fn release_selected(&mut self, number: ExprNumber) {
        self.entries[number].selected.release();
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

    /// Whether some of them look at labels of service accounts.
    pub(super) fn look_at_accounts(&self) -> bool {
        !self.by_account_key.is_empty()
    }

    /// Those that hold for an endpoint or a network set, sorted.
    pub(super) fn holding(&self, subject: &Subject<'_>) -> Vec<ExprNumber> {
        let found = anchors::of_subject(subject).filter_map(|a| self.by_anchor.get(&a));
        let mut numbers: Vec<ExprNumber> = found.flatten().copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| self.entries[*number].expr.matches(subject));
        numbers
    }

    /// Those that look at one of these labels of namespaces.
    pub(super) fn looking_at(&self, keys: &BTreeSet<&Arc<str>>) -> BTreeSet<ExprNumber> {
        let found = keys.iter().filter_map(|key| self.by_namespace_key.get(*key));
        found.flatten().copied().collect()
    }

    /// Those that look at one of these labels of service accounts.
    pub(super) fn looking_at_accounts(&self, keys: &BTreeSet<&Arc<str>>) -> BTreeSet<ExprNumber> {
        let found = keys.iter().filter_map(|key| self.by_account_key.get(*key));
        found.flatten().copied().collect()
    }

    /// It holds for `member` now, which owns these addresses.
    pub(super) fn gain(
        &mut self,
        number: ExprNumber,
        member: PodNumber,
        owned: &[IpAddr],
        nets: &Nets,
    ) {
        self.entries[number].members.insert(member);
        owned.iter().for_each(|address| self.add_address(number, *address, nets));
    }

    /// It no longer holds for `member`, which owns these addresses.
    pub(super) fn lose(
        &mut self,
        number: ExprNumber,
        member: PodNumber,
        owned: &[IpAddr],
        nets: &Nets,
    ) {
        self.entries[number].members.remove(&member);
        owned.iter().for_each(|address| self.remove_address(number, *address, nets));
    }

    /// A member owns an address that it did not own.
    pub(super) fn add_address(&mut self, number: ExprNumber, address: IpAddr, nets: &Nets) {
        self.tell_address(number, address, nets, Watch::add, Watch::add);
    }

    /// A member no longer owns an address.
    pub(super) fn remove_address(&mut self, number: ExprNumber, address: IpAddr, nets: &Nets) {
        self.tell_address(number, address, nets, Watch::remove, Watch::remove);
    }

    fn tell_address(
        &mut self,
        number: ExprNumber,
        address: IpAddr,
        nets: &Nets,
        peer: fn(&mut Watch<IpAddr>, IpAddr) -> bool,
        selected: fn(&mut Watch<Cidr>, Cidr) -> bool,
    ) {
        let entry = &mut self.entries[number];
        let mut is_told = peer(&mut entry.peers, address);
        if entry.selected.is_known() {
            let block = Cidr::host(address);
            // A network set may list the very address.
            let is_there_anyway = nets.is_of_one(block, &entry.others);
            is_told |= !is_there_anyway && selected(&mut entry.selected, block);
        }
        if is_told {
            self.changed.insert(number);
        }
    }

    /// It holds for `other` now, which has these blocks.
    pub(super) fn gain_other(
        &mut self,
        number: ExprNumber,
        other: OtherNumber,
        blocks: &BTreeSet<Cidr>,
        (nets, addresses): (&Nets, &Addresses),
    ) {
        let entry = &mut self.entries[number];
        if entry.selected.is_known() {
            for block in blocks {
                if !entry.has(*block, nets, addresses) {
                    entry.selected.add(*block);
                }
            }
            self.changed.insert(number);
        }
        entry.others.insert(other);
    }

    /// It no longer holds for `other`, which has these blocks.
    pub(super) fn lose_other(
        &mut self,
        number: ExprNumber,
        other: OtherNumber,
        blocks: &BTreeSet<Cidr>,
        (nets, addresses): (&Nets, &Addresses),
    ) {
        let entry = &mut self.entries[number];
        entry.others.remove(&other);
        if entry.selected.is_known() {
            for block in blocks {
                if !entry.has(*block, nets, addresses) {
                    entry.selected.remove(*block);
                }
            }
            self.changed.insert(number);
        }
    }

    /// One of its others is about to have a block, which is not among the nets yet.
    pub(super) fn add_block(
        &mut self,
        number: ExprNumber,
        block: Cidr,
        (nets, addresses): (&Nets, &Addresses),
    ) {
        let entry = &mut self.entries[number];
        if entry.selected.is_known() && !entry.has(block, nets, addresses) {
            entry.selected.add(block);
            self.changed.insert(number);
        }
    }

    /// One of its others no longer has a block, which is not among the nets any more.
    pub(super) fn remove_block(
        &mut self,
        number: ExprNumber,
        block: Cidr,
        (nets, addresses): (&Nets, &Addresses),
    ) {
        let entry = &mut self.entries[number];
        if entry.selected.is_known() && !entry.has(block, nets, addresses) {
            entry.selected.remove(block);
            self.changed.insert(number);
        }
    }

    /// What changed in the peer sets. What is out of use is forgotten.
    pub(super) fn take(&mut self, pods: &mut Pods, others: &mut Others) -> PeerDeltas {
        let mut deltas = PeerDeltas::default();
        for number in std::mem::take(&mut self.changed) {
            let entry = &mut self.entries[number];
            if let Some(delta) = entry.peers.take() {
                deltas.peers.insert(entry.expr.clone(), delta);
            }
            if let Some(delta) = entry.selected.take() {
                deltas.selected.insert(entry.expr.clone(), delta);
            }
            let is_peer = entry.peers.is_used() || entry.selected.is_used();
            if !is_peer && entry.governs.is_empty() {
                self.forget(number, pods, others);
            }
        }
        deltas
    }

    fn forget(&mut self, number: ExprNumber, pods: &mut Pods, others: &mut Others) {
        let entry = &self.entries[number];
        for member in &entry.members {
            pods[*member].lose(number);
        }
        for other in &entry.others {
            others.lose(*other, number);
        }
        for anchor in anchors::of_expr(&entry.expr) {
            unfile(&mut self.by_anchor, &anchor, number);
        }
        for key in entry.expr.keys(Scope::Namespace) {
            unfile(&mut self.by_namespace_key, key, number);
        }
        for key in entry.expr.keys(Scope::ServiceAccount) {
            unfile(&mut self.by_account_key, key, number);
        }
        self.numbers.remove(&entry.expr);
        self.entries.remove(number);
    }
}

/// What came to and went from peer sets.
#[derive(Default)]
pub(super) struct PeerDeltas {
    /// From those that are pods only.
    pub(super) peers: BTreeMap<Arc<Expr>, Delta<IpAddr>>,
    /// From those that are hosts and network sets too.
    pub(super) selected: BTreeMap<Arc<Expr>, Delta<Cidr>>,
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
