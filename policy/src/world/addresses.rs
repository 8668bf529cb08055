//! Which endpoint has an address.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::pods::{PodNumber, Pods};

/// Who claims which address. Nearly every address has one claimant only.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    owners: FxHashMap<IpAddr, PodNumber>,
    /// Those who claim an address that another owns; never empty.
    others: FxHashMap<IpAddr, Vec<PodNumber>>,
}

impl Addresses {
    /// Whom the address belongs to.
    pub(super) fn owner(&self, address: IpAddr) -> Option<PodNumber> {
        self.owners.get(&address).copied()
    }

    /// Settles again whom an address belongs to, after `number` has become, ceased to be, or
    /// changed as a claimant: one that has it by its interface, then the one that was created
    /// last, then the one of the greatest name.
    pub(super) fn settle(&mut self, address: IpAddr, number: PodNumber, claims: bool, pods: &Pods) {
        let mut claimants = self.others.remove(&address).unwrap_or_default();
        claimants.extend(self.owners.remove(&address));
        claimants.retain(|claimant| *claimant != number);
        if claims {
            claimants.push(number);
        }
        let rank = |index: &usize| {
            let entry = &pods[claimants[*index]];
            (entry.is_attached, &entry.pod.created, &entry.pod.key)
        };
        let Some(owner) = (0..claimants.len()).max_by_key(rank) else { return };
        self.owners.insert(address, claimants.swap_remove(owner));
        if !claimants.is_empty() {
            self.others.insert(address, claimants);
        }
    }
}
