//! The named ports that policies use, and who has them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::pods::PodNumber;
use super::touched::{Delta, Watch};
use crate::model::{Holders, NamedPort, Pod, PortName};

/// A named port in use.
#[derive(Debug, Default)]
struct PortEntry {
    /// The endpoints that have it.
    holders: FxHashSet<PodNumber>,
    /// Its use by policies, and address and number of each that has it.
    members: Watch<(IpAddr, u16)>,
}

/// All named ports in use. One that goes out of use is kept until changes are taken.
#[derive(Debug, Default)]
pub(super) struct Ports {
    entries: FxHashMap<PortName, PortEntry>,
    /// Those whose use or members changed since changes were last taken.
    changed: FxHashSet<PortName>,
}

impl Ports {
    /// Another policy uses a name; `endpoints` are looked through if it is new.
    pub(super) fn acquire<'w>(
        &mut self,
        name: &PortName,
        endpoints: impl Iterator<Item = (PodNumber, &'w Pod)>,
    ) {
        let entry = self.entries.entry(name.clone()).or_insert_with(|| {
            let holders = endpoints.filter(|(_, pod)| pod.ports.iter().any(|p| is_of(p, name)));
            let holders = holders.map(|(number, _)| number).collect();
            PortEntry { holders, members: Watch::default() }
        });
        entry.members.acquire();
        self.changed.insert(name.clone());
    }

    /// A policy no longer uses a name.
    pub(super) fn release(&mut self, name: &PortName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.members.release();
            self.changed.insert(name.clone());
        }
    }

    /// The endpoints that have a port of this name; `None` if the name is not in use.
    pub(super) fn holders(&self, name: &PortName) -> Option<impl Iterator<Item = PodNumber>> {
        self.entries.get(name).map(|entry| entry.holders.iter().copied())
    }

    /// An endpoint is `after` from now on, not `before`; `None` is no endpoint.
    pub(super) fn replace(&mut self, number: PodNumber, before: Option<&Pod>, after: Option<&Pod>) {
        if self.entries.is_empty() {
            return;
        }
        for port in before.iter().flat_map(|pod| &pod.ports) {
            if let Some(entry) = self.entries.get_mut(&name_of(port)) {
                entry.holders.remove(&number);
            }
        }
        for port in after.iter().flat_map(|pod| &pod.ports) {
            if let Some(entry) = self.entries.get_mut(&name_of(port)) {
                entry.holders.insert(number);
            }
        }
    }

    /// `address` no longer belongs to `pod`, as it was.
    pub(super) fn remove_address(&mut self, address: IpAddr, pod: &Pod) {
        self.each(pod, |members, number| members.remove((address, number)));
    }

    /// `address` belongs to `pod` now, as it is.
    pub(super) fn add_address(&mut self, address: IpAddr, pod: &Pod) {
        self.each(pod, |members, number| members.add((address, number)));
    }

    fn each(&mut self, pod: &Pod, tell: impl Fn(&mut Watch<(IpAddr, u16)>, u16) -> bool) {
        if self.entries.is_empty() {
            return;
        }
        for port in &pod.ports {
            let name = name_of(port);
            let entry = self.entries.get_mut(&name);
            if entry.is_some_and(|entry| tell(&mut entry.members, port.number)) {
                self.changed.insert(name);
            }
        }
    }

    /// What changed. What is out of use is forgotten.
    pub(super) fn take(&mut self) -> BTreeMap<PortName, Delta<(IpAddr, u16)>> {
        let mut deltas = BTreeMap::new();
        for name in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            let delta = entry.members.take();
            if !entry.members.is_used() {
                self.entries.remove(&name);
            }
            deltas.extend(delta.map(|delta| (name, delta)));
        }
        deltas
    }
}

/// Whether a port goes by a name.
pub(super) fn is_of(port: &NamedPort, name: &PortName) -> bool {
    port.protocol == name.protocol && port.name == name.name
}

fn name_of(port: &NamedPort) -> PortName {
    PortName { name: port.name.clone(), protocol: port.protocol, holders: Holders::Pods }
}
