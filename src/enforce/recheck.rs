//! Which tracked connections the policies would not let begin any more (policy-semantics 7.3).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    Criterion, HostEndpoint, HostInterface, HostSettings, HostStage, Policy,
};
use brindle_policy::verdict::{Flow, HostQuestion, hosts_verdict, verdict};
use brindle_policy::world::Touched;
use brindle_policy::{Cidr, Direction, World};

use super::conntrack::{Entry, Tuple};

/// Of more blocks than these no entry is compared with each: all are judged.
const MOST_BLOCKS: usize = 64;

/// The addresses whose connections may be judged otherwise now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Affected {
    /// All.
    All,
    /// These.
    Some(Addresses),
}

/// Addresses, one by one and by blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    single: BTreeSet<IpAddr>,
    /// Of more than one address; few, as network sets are what has them.
    blocks: BTreeSet<Cidr>,
}

impl From<BTreeSet<IpAddr>> for Addresses {
    fn from(single: BTreeSet<IpAddr>) -> Self {
        Self { single, blocks: BTreeSet::new() }
    }
}

impl Addresses {
    fn add(&mut self, block: Cidr) {
        if block.length() == block.family().bits() {
            self.single.insert(block.address());
        } else {
            self.blocks.insert(block);
        }
    }

    fn add_all(&mut self, more: Addresses) {
        self.single.extend(more.single);
        self.blocks.extend(more.blocks);
    }

    fn is_empty(&self) -> bool {
        self.single.is_empty() && self.blocks.is_empty()
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.single.contains(&address) || self.blocks.iter().any(|block| block.contains(address))
    }
}

impl Affected {
    /// None.
    pub(super) fn none() -> Self {
        Affected::Some(Addresses::default())
    }

    /// Those of a node itself, if it has host endpoints: without one nothing of it is denied.
    /// All, where these judge what the node forwards as well.
    pub(super) fn of_host(world: &World, node: &str) -> Self {
        if world.host_endpoints_on(node).next().is_none() {
            return Affected::none();
        }
        if judges_forwarded(world, node) {
            return Affected::All;
        }
        let of_devices = world.devices().devices.values().flatten();
        let of_node = world.node(node).into_iter().flat_map(|node| &node.addresses);
        let single: BTreeSet<IpAddr> = of_devices.chain(of_node).copied().collect();
        Affected::Some(single.into())
    }

    /// Those that `touched` is about, on a node.
    pub(super) fn of(world: &World, node: &str, touched: &Touched) -> Self {
        if touched.nodes {
            return Affected::All;
        }
        let mut addresses = Addresses::default();
        for pod in touched.endpoints.iter().filter_map(|key| world.pod(key)) {
            addresses.single.extend(pod.addresses.iter().copied());
        }
        // The endpoints of a policy that is gone are touched themselves. Of a Service only the
        // name is told, not which endpoints it lost: whoever names it is judged again.
        let names_one = |policy: &Policy| uses(policy, touched);
        for policy in world.policies() {
            if touched.policies.contains(&policy.id) || names_one(policy) {
                let members = world.members(&policy.subject);
                addresses.single.extend(members.flat_map(|pod| pod.addresses.iter().copied()));
            }
        }
        for delta in touched.peers.values() {
            addresses.single.extend(delta.added.iter().chain(&delta.removed));
        }
        for delta in touched.selected.values() {
            delta.added.iter().chain(&delta.removed).for_each(|block| addresses.add(*block));
        }
        for delta in touched.named_ports.values() {
            let ports = delta.added.iter().chain(&delta.removed);
            addresses.single.extend(ports.map(|(address, _)| *address));
        }
        if addresses.blocks.len() > MOST_BLOCKS {
            return Affected::All;
        }
        let mut affected = Affected::Some(addresses);
        // What host endpoints are as peers stands in `selected` and `named_ports`; their policies
        // that came, went or changed, and those of a tier that did, in `hosts`.
        let governs_one = |policy: &Policy| {
            world.host_endpoints_on(node).any(|host| world.matches_host(&policy.subject, host))
        };
        if touched.hosts || world.policies().any(|one| names_one(one) && governs_one(one)) {
            affected.add(Affected::of_host(world, node));
        }
        affected
    }

    /// These too.
    pub(super) fn add(&mut self, other: Affected) {
        match (self, other) {
            (Affected::All, _) => {}
            (all, Affected::All) => *all = Affected::All,
            (Affected::Some(addresses), Affected::Some(more)) => addresses.add_all(more),
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Affected::Some(addresses) if addresses.is_empty())
    }

    /// Whether `entry` is about one of them.
    pub(super) fn concerns(&self, entry: &Entry) -> bool {
        match self {
            Affected::All => true,
            Affected::Some(addresses) => {
                entry.addresses().iter().any(|address| addresses.contains(*address))
            }
        }
    }
}

/// Whether a rule of a policy names a Service whose endpoints changed.
fn uses(policy: &Policy, touched: &Touched) -> bool {
    let rules = Direction::ALL.into_iter().filter_map(|direction| policy.rules(direction));
    let mut criteria = rules.flatten().flat_map(|rule| &rule.criteria);
    let is_named = |one: &Criterion| matches!(one, Criterion::Service { service, .. } if touched.services.contains(service));
    !touched.services.is_empty() && criteria.any(is_named)
}

/// What entries are judged by.
#[derive(Clone, Copy)]
pub(super) struct Law<'a> {
    /// The policies, and whom they govern.
    pub world: &'a World,
    /// The node whose connections they are.
    pub node: &'a str,
    /// What else decides about those of the node itself.
    pub hosts: &'a HostSettings,
}

/// Entries that are being judged, some at a time.
#[derive(Debug)]
pub(super) struct Trial {
    entries: Vec<Entry>,
    next: usize,
    /// The outcome for what other entries belong to.
    masters: HashMap<Tuple, bool>,
    guilty: Vec<Entry>,
}

impl Trial {
    /// Of these entries.
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        // Those that belong to another are judged as that is, after it.
        entries.sort_by_key(|entry| entry.master.is_some());
        let masters = entries.iter().filter_map(|entry| entry.master);
        let masters = masters.map(|master| (master, false)).collect();
        Self { entries, next: 0, masters, guilty: Vec::new() }
    }

    /// Judges up to `count` more; those that are to be cut once all are judged.
    pub(super) fn go_on(&mut self, law: Law<'_>, count: usize) -> Option<Vec<Entry>> {
        let end = self.next.saturating_add(count).min(self.entries.len());
        for entry in &self.entries[self.next..end] {
            let is_guilty = match entry.master {
                // One whose master is not there was let through with it: it may stay.
                Some(master) => self.masters.get(&master).copied().unwrap_or(false),
                None => law.denies(entry),
            };
            if let Some(outcome) = self.masters.get_mut(&entry.original) {
                *outcome = is_guilty;
            }
            if is_guilty {
                self.guilty.push(entry.clone());
            }
        }
        self.next = end;
        (end == self.entries.len()).then(|| std::mem::take(&mut self.guilty))
    }
}

impl<'a> Law<'a> {
    /// Whether a connection of an endpoint of this node, of the node itself, or that the node
    /// forwards, could not begin any more.
    fn denies(self, entry: &Entry) -> bool {
        let flow = entry.flow();
        let ends = [flow.source, flow.destination];
        let is_pod = ends.map(|address| self.is_pod(address));
        if is_pod != [false, false] && !verdict(self.world, &flow).is_allowed() {
            return true;
        }
        let [from, to] = ends.map(|address| self.is_own(address));
        if !from && !to {
            return self.forward_denies(entry, &flow);
        }
        // What stays on the node is not for its host endpoints.
        let direction = match [from || is_pod[0], to || is_pod[1]] {
            [true, false] if from => Direction::Egress,
            [false, true] if to => Direction::Ingress,
            _ => return false,
        };
        self.host_denies(entry, &flow, direction)
    }

    /// Whether an address is that of a pod of the node.
    fn is_pod(self, address: IpAddr) -> bool {
        let pod = self.world.endpoint_at(address);
        pod.is_some_and(|pod| pod.node.as_deref() == Some(self.node))
    }

    /// Whether an address is one of the node itself.
    fn is_own(self, address: IpAddr) -> bool {
        let mut of_devices = self.world.devices().devices.values();
        of_devices.any(|held| held.contains(&address))
            || self.world.node(self.node).is_some_and(|node| node.addresses.contains(&address))
    }

    /// Whether no interface that a connection may have come in or left by would let it begin.
    fn host_denies(self, entry: &Entry, flow: &Flow, direction: Direction) -> bool {
        let address = match direction {
            Direction::Ingress => flow.destination,
            Direction::Egress => flow.source,
        };
        let original = entry.untranslated();
        let devices = &self.world.devices().devices;
        let has_it = |held: &BTreeSet<IpAddr>| held.contains(&address);
        // One of `lo` is reached by any of them.
        let is_of_device = devices.values().any(has_it);
        let mut candidates = devices
            .iter()
            .filter(|(_, held)| !is_of_device || has_it(held))
            .map(|(device, held)| {
                let all = self.world.host_endpoints_on(self.node);
                HostEndpoint::of_interface(all, *device, held)
            })
            .peekable();
        candidates.peek().is_some()
            && candidates.all(|endpoint| {
                endpoint.is_some_and(|endpoint| {
                    let question = HostQuestion::End(endpoint, direction);
                    !hosts_verdict(self.world, self.hosts, question, flow, &original).is_allowed()
                })
            })
    }

    /// Whether no interfaces that a forwarded connection may have come in and left by would let
    /// it begin.
    fn forward_denies(self, entry: &Entry, flow: &Flow) -> bool {
        if !judges_forwarded(self.world, self.node) {
            return false;
        }
        let original = entry.untranslated();
        let [from, to] = [flow.source, flow.destination].map(|address| self.crossed(address));
        let is_of_pod = self.is_pod(flow.source);
        from.iter().all(|from| {
            to.iter().all(|to| {
                let question = HostQuestion::Crossing { from: *from, to: *to, is_of_pod };
                !hosts_verdict(self.world, self.hosts, question, flow, &original).is_allowed()
            })
        })
    }

    /// The host endpoints, or none, of the interfaces that an address that is not the node's own
    /// may be behind; at least one.
    fn crossed(self, address: IpAddr) -> Vec<Option<&'a Arc<HostEndpoint>>> {
        let (world, none) = (self.world, BTreeSet::new());
        let counting = |device, held| {
            HostEndpoint::of_interface(world.host_endpoints_on(self.node), device, held)
        };
        let of_pod = world.endpoint_at(address).filter(|_| self.is_pod(address));
        let mut found: Vec<_> = match of_pod {
            Some(pod) => {
                let attached = world.attachments_of(pod);
                let attached = attached.filter(|one| one.addresses.contains(&address));
                let devices = attached.filter_map(|one| one.interface.as_str().parse().ok());
                devices.map(|device| counting(device, &none)).collect()
            }
            None => {
                let devices = world.devices().devices.iter();
                devices.map(|(device, held)| counting(*device, held)).collect()
            }
        };
        if found.is_empty() {
            // An interface that is not known: only those of all are for it.
            let all = world.host_endpoints_on(self.node);
            let any = all.filter(|one| one.interface == Some(HostInterface::Any));
            found.push(any.min_by(|a, b| a.name.cmp(&b.name)));
        }
        found.sort_by_key(|one| one.map(|one| &one.name));
        found.dedup_by_key(|one| one.map(|one| &one.name));
        found
    }
}

/// Whether host endpoints of a node judge what it forwards.
fn judges_forwarded(world: &World, node: &str) -> bool {
    let judges = |policy: &Policy| match policy.stage {
        HostStage::PreDnat | HostStage::Forward => true,
        // Such packets are not tracked.
        HostStage::Untracked | HostStage::Normal => false,
    };
    world.policies().filter(|policy| policy.governs_some() && judges(policy)).any(|policy| {
        world.host_endpoints_on(node).any(|host| world.matches_host(&policy.subject, host))
    })
}

#[cfg(test)]
mod tests;
