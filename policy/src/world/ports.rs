//! The named ports that policies use, and who has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::pods::PodNumber;
use super::touched::{Delta, Watch};
use crate::model::{Holders, HostEndpoint, NamedPort, Pod, PortName};

/// Address and number of a port.
type Member = (IpAddr, u16);

/// A named port in use.
#[derive(Debug, Default)]
struct PortEntry {
    /// The pods that have it.
    holders: FxHashSet<PodNumber>,
    /// Address and number of each host endpoint that has it, and how many there are with that;
    /// none if the name stands for ports of pods only.
    of_hosts: FxHashMap<Member, usize>,
    /// Its use by policies, and address and number of each that has it.
    members: Watch<Member>,
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
        hosts: impl Iterator<Item = &'w Arc<HostEndpoint>>,
    ) {
        let entry = self.entries.entry(name.clone()).or_insert_with(|| {
            let holders = endpoints.filter(|(_, pod)| pod.ports.iter().any(|p| is_of(p, name)));
            let holders = holders.map(|(number, _)| number).collect();
            let mut of_hosts = FxHashMap::default();
            if name.holders == Holders::Endpoints {
                let members = hosts.flat_map(|host| of_host(host, name));
                members.for_each(|member| *of_hosts.entry(member).or_default() += 1);
            }
            PortEntry { holders, of_hosts, members: Watch::default() }
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

    /// The pods that have a port of this name; `None` if the name is not in use.
    pub(super) fn holders(&self, name: &PortName) -> Option<impl Iterator<Item = PodNumber>> {
        self.entries.get(name).map(|entry| entry.holders.iter().copied())
    }

    /// An endpoint is `after` from now on, not `before`; `None` is no endpoint.
    pub(super) fn replace(&mut self, number: PodNumber, before: Option<&Pod>, after: Option<&Pod>) {
        if self.entries.is_empty() {
            return;
        }
        for port in before.iter().flat_map(|pod| &pod.ports) {
            for name in names_of(port) {
                if let Some(entry) = self.entries.get_mut(&name) {
                    entry.holders.remove(&number);
                }
            }
        }
        for port in after.iter().flat_map(|pod| &pod.ports) {
            for name in names_of(port) {
                if let Some(entry) = self.entries.get_mut(&name) {
                    entry.holders.insert(number);
                }
            }
        }
    }

    /// `address` no longer belongs to `pod`, as it was.
    pub(super) fn remove_address(&mut self, address: IpAddr, pod: &Pod) {
        self.each(address, pod, Watch::remove);
    }

    /// `address` belongs to `pod` now, as it is.
    pub(super) fn add_address(&mut self, address: IpAddr, pod: &Pod) {
        self.each(address, pod, Watch::add);
    }

    fn each(&mut self, address: IpAddr, pod: &Pod, tell: fn(&mut Watch<Member>, Member) -> bool) {
        if self.entries.is_empty() {
            return;
        }
        for (port, name) in pod.ports.iter().flat_map(|p| names_of(p).map(|name| (p, name))) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            // A host endpoint may have the very address and number.
            let is_there_anyway = entry.of_hosts.contains_key(&(address, port.number));
            if !is_there_anyway && tell(&mut entry.members, (address, port.number)) {
                self.changed.insert(name);
            }
        }
    }

    /// A host endpoint is `after` from now on, not `before`; `owner` gives the pod that owns an
    /// address.
    pub(super) fn replace_host<'w>(
        &mut self,
        before: Option<&HostEndpoint>,
        after: Option<&HostEndpoint>,
        owner: impl Fn(IpAddr) -> Option<&'w Pod>,
    ) {
        if self.entries.is_empty() {
            return;
        }
        let has = |(address, number): Member, name: &PortName| {
            let mut ports = owner(address).into_iter().flat_map(|pod| &pod.ports);
            ports.any(|port| port.number == number && is_of(port, name))
        };
        for name in names_of_host(before) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            for member in before.into_iter().flat_map(|host| of_host(host, &name)) {
                let Some(count) = entry.of_hosts.get_mut(&member) else { continue };
                *count -= 1;
                if *count == 0 {
                    entry.of_hosts.remove(&member);
                    if !has(member, &name) && entry.members.remove(member) {
                        self.changed.insert(name.clone());
                    }
                }
            }
        }
        for name in names_of_host(after) {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            for member in after.into_iter().flat_map(|host| of_host(host, &name)) {
                let count = entry.of_hosts.entry(member).or_default();
                *count += 1;
                if *count == 1 && !has(member, &name) && entry.members.add(member) {
                    self.changed.insert(name.clone());
                }
            }
        }
    }
    /// What changed. What is out of use is forgotten.
    pub(super) fn take(&mut self) -> BTreeMap<PortName, Delta<Member>> {
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

/// Address and number of each port of a host endpoint that goes by a name.
pub(super) fn of_host<'h>(
    host: &'h HostEndpoint,
    name: &'h PortName,
) -> impl Iterator<Item = Member> + 'h {
    let numbers = host.ports.iter().filter(|port| is_of(port, name)).map(|port| port.number);
    numbers.flat_map(|number| host.expected.iter().map(move |address| (*address, number)))
}

/// The names that a port of a pod goes by.
fn names_of(port: &NamedPort) -> [PortName; 2] {
    [Holders::Pods, Holders::Endpoints].map(|holders| name_of(port, holders))
}

/// The names that ports of a host endpoint go by, each once.
fn names_of_host(host: Option<&HostEndpoint>) -> BTreeSet<PortName> {
    let ports = host.into_iter().flat_map(|host| &host.ports);
    ports.map(|port| name_of(port, Holders::Endpoints)).collect()
}

fn name_of(port: &NamedPort, holders: Holders) -> PortName {
    PortName { name: port.name.clone(), protocol: port.protocol, holders }
}
