//! Which tracked connections the policies would not let begin any more (policy-semantics 7.3).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use brindle_policy::World;
use brindle_policy::verdict::verdict;
use brindle_policy::world::Touched;

use super::conntrack::{Entry, Tuple};

/// The addresses whose connections may be judged otherwise now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Affected {
    /// All.
    All,
    /// These.
    Some(BTreeSet<IpAddr>),
}

impl Affected {
    /// None.
    pub(super) fn none() -> Self {
        Affected::Some(BTreeSet::new())
    }

    /// Those that `touched` is about.
    pub(super) fn of(world: &World, touched: &Touched) -> Self {
        if touched.nodes {
            return Affected::All;
        }
        let mut addresses = BTreeSet::new();
        for pod in touched.endpoints.iter().filter_map(|key| world.pod(key)) {
            addresses.extend(pod.addresses.iter().copied());
        }
        // The endpoints of a policy that is gone are touched themselves.
        for policy in touched.policies.iter().filter_map(|id| world.policy(id)) {
            let members = world.members(&policy.subject);
            addresses.extend(members.flat_map(|pod| pod.addresses.iter().copied()));
        }
        for delta in touched.peers.values() {
            addresses.extend(delta.added.iter().chain(&delta.removed));
        }
        for delta in touched.named_ports.values() {
            addresses.extend(delta.added.iter().chain(&delta.removed).map(|(address, _)| *address));
        }
        Affected::Some(addresses)
    }

    /// These too.
    pub(super) fn add(&mut self, other: Affected) {
        match (self, other) {
            (Affected::All, _) => {}
            (all, Affected::All) => *all = Affected::All,
            (Affected::Some(addresses), Affected::Some(more)) => addresses.extend(more),
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
                entry.addresses().iter().any(|address| addresses.contains(address))
            }
        }
    }
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
    pub(super) fn go_on(&mut self, world: &World, node: &str, count: usize) -> Option<Vec<Entry>> {
        let end = self.next.saturating_add(count).min(self.entries.len());
        for entry in &self.entries[self.next..end] {
            let is_guilty = match entry.master {
                // One whose master is not there was let through with it: it may stay.
                Some(master) => self.masters.get(&master).copied().unwrap_or(false),
                None => is_denied(world, node, entry),
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

/// Whether a connection of an endpoint of this node could not begin any more.
fn is_denied(world: &World, node: &str, entry: &Entry) -> bool {
    let flow = entry.flow();
    let is_local = |address: IpAddr| {
        world.endpoint_at(address).is_some_and(|pod| pod.node.as_deref() == Some(node))
    };
    (is_local(flow.source) || is_local(flow.destination)) && !verdict(world, &flow).is_allowed()
}
