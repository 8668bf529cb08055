//! Which addresses the endpoints of this node have, and which of its ranges other nodes'
//! endpoints have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::dispatch::Owners;
use crate::address::{Cidr, Family};
use crate::model::{Pod, PodKey};
use crate::names::Interface;
use crate::world::World;

/// The addresses of one family that matter to a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Those of its endpoints.
    pub(super) local: Owners,
    /// Those of other endpoints that lie in its ranges.
    pub(super) elsewhere: Owners,
    /// Both, by pod.
    of_pod: BTreeMap<PodKey, BTreeSet<IpAddr>>,
}

/// Addresses whose owner changed, with the owner that they have now.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Those that are or were a local endpoint's.
    pub(super) local: BTreeMap<IpAddr, Option<PodKey>>,
    /// Those in this node's ranges that are or were another endpoint's.
    pub(super) elsewhere: BTreeMap<IpAddr, Option<PodKey>>,
}

impl Places {
    /// Whether a pod is an endpoint of this node.
    pub(super) fn is_local(&self, key: &PodKey) -> bool {
        let mut addresses = self.of_pod.get(key).into_iter().flatten();
        addresses.any(|address| self.local.get(address) == Some(key))
    }

    /// The addresses of local endpoints with the interfaces that our network plug-in put them
    /// behind.
    pub(super) fn attached(
        &self,
        world: &World,
        node: &str,
        family: Family,
    ) -> BTreeSet<(IpAddr, Interface)> {
        let here = world.attachments().filter(|attachment| &*attachment.node == node);
        let pairs = here.flat_map(|attachment| {
            let own = attachment.addresses.iter().copied().filter(|address| {
                let owner = self.local.get(address);
                Family::of(*address) == family
                    && owner.is_some()
                    && owner == attachment.pod.as_ref()
            });
            own.map(|address| (address, attachment.interface))
        });
        pairs.collect()
    }

    /// Looks again at every address that one of `pods` has or had.
    pub(super) fn moves<'a>(
        &self,
        world: &World,
        node: &str,
        ranges: &BTreeSet<Cidr>,
        family: Family,
        pods: impl IntoIterator<Item = &'a PodKey>,
    ) -> Moves {
        let mut addresses = BTreeSet::new();
        for key in pods {
            addresses.extend(self.of_pod.get(key).into_iter().flatten());
            let now = world.pod(key).into_iter().flat_map(|pod| &pod.addresses);
            addresses.extend(now.copied().filter(|address| Family::of(*address) == family));
        }
        let mut moves = Moves::default();
        for address in addresses {
            let owner = world.endpoint_at(address);
            let is_local = |pod: &Pod| pod.node.as_deref() == Some(node);
            let in_ranges = || ranges.iter().any(|range| range.contains(address));
            let key = owner.map(|pod| pod.key.clone());
            let (local, elsewhere) = match owner {
                Some(pod) if is_local(pod) => (key, None),
                Some(_) if in_ranges() => (None, key),
                Some(_) | None => (None, None),
            };
            if self.local.get(&address) != local.as_ref() {
                moves.local.insert(address, local);
            }
            if self.elsewhere.get(&address) != elsewhere.as_ref() {
                moves.elsewhere.insert(address, elsewhere);
            }
        }
        moves
    }

    /// Notes the new owners. Gives the pods that are or were owners.
    pub(super) fn settle(&mut self, moves: &Moves) -> BTreeSet<PodKey> {
        let mut pods = BTreeSet::new();
        let Self { local, elsewhere, of_pod } = self;
        // Who loses addresses first: one may change from one map to the other.
        for (owners, moved) in [(&mut *local, &moves.local), (&mut *elsewhere, &moves.elsewhere)] {
            for address in moved.keys() {
                let Some(before) = owners.remove(address) else { continue };
                if let Some(addresses) = of_pod.get_mut(&before) {
                    addresses.remove(address);
                    if addresses.is_empty() {
                        of_pod.remove(&before);
                    }
                }
                pods.insert(before);
            }
        }
        for (owners, moved) in [(local, &moves.local), (elsewhere, &moves.elsewhere)] {
            for (address, owner) in moved {
                let Some(owner) = owner else { continue };
                owners.insert(*address, owner.clone());
                of_pod.entry(owner.clone()).or_default().insert(*address);
                pods.insert(owner.clone());
            }
        }
        pods
    }
}
