//! Which pod has which address, and addresses that pass from one to another.
//!
//! Connection tracking knows addresses, not pods: what the former owner was allowed would go
//! on for the next (policy-semantics 7.8). So an address that passes on is taken from both
//! first. Once it is closed in the kernel, its entries are removed, and only then is it given
//! to the next.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use brindle_policy::model::Pod;
use brindle_policy::names::ChainName;
use brindle_policy::{Change, Direction, PodKey, World};

/// Addresses without an owner that are remembered before their entries are removed in any
/// case.
const VACANT_KEPT: usize = 16_384;

/// Who has had which address.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    /// The last owner of each address, by the chain that judges what it gets. Nothing is kept
    /// back before this is known ([`Tenants::settle`]).
    last: Option<HashMap<IpAddr, ChainName>>,
    /// Addresses among those that nobody owns now.
    vacant: BTreeSet<IpAddr>,
    /// Pods as they were told, of which the world knows less for now.
    held: HashMap<PodKey, Held>,
    /// Addresses that are to be closed in the kernel.
    closing: BTreeSet<IpAddr>,
    /// Addresses that are: their entries may be removed.
    closed: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Held {
    pod: Arc<Pod>,
    arrived: Instant,
}

impl Tenants {
    /// Applies a change to the world, less the addresses that pass to another pod by it.
    /// Whether all of it was applied.
    pub(super) fn apply(&mut self, world: &mut World, change: Change, arrived: Instant) -> bool {
        let key = match &change {
            Change::PodApplied(pod) => &pod.key,
            Change::PodDeleted(key) => key,
            Change::NamespaceApplied(_)
            | Change::NamespaceDeleted(_)
            | Change::NodeApplied(_)
            | Change::NodeDeleted(_)
            | Change::PolicyApplied(_)
            | Change::PolicyDeleted(_)
            | Change::InSync => {
                world.apply(change);
                return true;
            }
        };
        let mut addresses = BTreeSet::new();
        let before = world.pod(key).into_iter().chain(self.held.get(key).map(|held| &held.pod));
        before.for_each(|pod| addresses.extend(pod.addresses.iter().copied()));
        self.held.remove(key);
        let key = key.clone();
        if let Change::PodApplied(pod) = &change {
            addresses.extend(pod.addresses.iter().copied());
        }
        world.apply(change);
        for address in addresses {
            self.look_at(world, address, arrived);
        }
        !self.held.contains_key(&key)
    }

    /// The world is complete: from now on it is known who passes an address to whom.
    /// `installed` tells the chains that the kernel has for addresses from an earlier run.
    pub(super) fn settle(&mut self, world: &mut World, installed: HashMap<IpAddr, ChainName>) {
        let now = Instant::now();
        let told = world.pods().flat_map(|pod| pod.addresses.iter().copied());
        let addresses: BTreeSet<IpAddr> = told.chain(installed.keys().copied()).collect();
        self.last = Some(installed);
        for address in addresses {
            self.look_at(world, address, now);
        }
    }

    fn look_at(&mut self, world: &mut World, address: IpAddr, arrived: Instant) {
        let Some(last) = &mut self.last else { return };
        let Some(owner) = world.endpoint_at(address) else {
            if last.contains_key(&address) {
                self.vacant.insert(address);
            }
            return;
        };
        let chain = ChainName::endpoint(&owner.key, Direction::Ingress);
        let known = last.entry(address).or_insert_with(|| chain.clone());
        if *known == chain && !self.closing.contains(&address) && !self.closed.contains(&address) {
            self.vacant.remove(&address);
            return;
        }
        self.closing.insert(address);
        while let Some(owner) = world.endpoint_at(address).cloned() {
            let mut less = Pod::clone(&owner);
            less.addresses.retain(|other| *other != address);
            self.held
                .entry(owner.key.clone())
                .or_insert_with(|| Held { pod: Arc::clone(&owner), arrived });
            world.apply(Change::PodApplied(Arc::new(less)));
        }
    }

    /// The pods that are kept back, by name.
    pub(super) fn held(&self) -> impl Iterator<Item = &PodKey> {
        self.held.keys()
    }

    /// What is to be written now closes the addresses that pass on.
    pub(super) fn closing(&self) -> BTreeSet<IpAddr> {
        self.closing.clone()
    }

    /// It was written: these are closed in the kernel.
    pub(super) fn close(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.closing.retain(|address| !addresses.contains(address));
        self.closed.extend(addresses);
    }

    /// The addresses whose entries are to be removed now; empty if none are.
    pub(super) fn to_flush(&self) -> BTreeSet<IpAddr> {
        let mut addresses = self.closed.clone();
        if self.vacant.len() > VACANT_KEPT {
            addresses.extend(&self.vacant);
        }
        addresses
    }

    /// The entries of these addresses are removed: those that passed on are given to their new
    /// owners in `world`. When the changes came that did not fully count until now.
    pub(super) fn flushed(
        &mut self,
        world: &mut World,
        addresses: &BTreeSet<IpAddr>,
    ) -> Vec<Instant> {
        let last = self.last.get_or_insert_default();
        for address in addresses {
            last.remove(address);
            self.vacant.remove(address);
            self.closed.remove(address);
        }
        // All of them before any is looked at: of two that claim one address, one has it.
        let held = std::mem::take(&mut self.held);
        for held in held.values() {
            world.apply(Change::PodApplied(Arc::clone(&held.pod)));
        }
        for held in held.values() {
            for address in held.pod.addresses.iter().copied() {
                self.look_at(world, address, held.arrived);
            }
        }
        let is_free = |(key, _): &(&PodKey, &Held)| !self.held.contains_key(*key);
        held.iter().filter(is_free).map(|(_, held)| held.arrived).collect()
    }
}
