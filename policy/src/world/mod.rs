//! Everything that policies are about, kept up to date one change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{Cidr, Family};
use crate::model::{
    Change, DEFAULT_TIER, Direction, Namespace, Node, Pod, PodKey, Policy, PolicyId, PolicyOrder,
    Protocol, Tier, TierAction,
};
use crate::selector::{Expr, Subject};

/// All objects, and what follows from them.
#[derive(Debug)]
pub struct World {
    namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    pods: BTreeMap<PodKey, Arc<Pod>>,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    tiers: Vec<Tier>,
    in_sync: bool,
    touched: Touched,
}

/// What changed since it was last taken: all that a compiler has to look at again. May name
/// more than what changed, never less.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Pods that came, went, moved, changed address, or are governed by other policies now.
    pub endpoints: BTreeSet<PodKey>,
    /// Policies that came, went, changed their rules, or govern other endpoints now.
    pub policies: BTreeSet<PolicyId>,
    /// Members that came to and went from peer sets that policies use.
    pub peers: BTreeMap<Arc<Expr>, Delta<IpAddr>>,
    /// Likewise of named ports.
    pub named_ports: BTreeMap<PortName, Delta<(IpAddr, u16)>>,
    /// Some node's ranges or addresses changed.
    pub nodes: bool,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Touched::default()
    }
}

/// What came to and went from a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta<T> {
    /// New members.
    pub added: BTreeSet<T>,
    /// Former members.
    pub removed: BTreeSet<T>,
}

impl<T> Default for Delta<T> {
    fn default() -> Self {
        Self { added: BTreeSet::new(), removed: BTreeSet::new() }
    }
}

/// A name of ports, and their protocol: stands for one port of each endpoint that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// The name.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
}

impl Default for World {
    fn default() -> Self {
        let tier = |name: &str, order, default_action| Tier {
            name: name.into(),
            order: PolicyOrder::new(Some(order)),
            default_action,
        };
        Self {
            namespaces: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            policies: BTreeMap::new(),
            // policy-semantics 4: the tiers that are always there, in their order.
            tiers: vec![
                tier("kube-admin", 1_000.0, TierAction::Pass),
                tier(DEFAULT_TIER, 1_000_000.0, TierAction::Deny),
                tier("kube-baseline", 10_000_000.0, TierAction::Pass),
            ],
            in_sync: false,
            touched: Touched::default(),
        }
    }
}

impl World {
    /// Takes a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::NamespaceApplied(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            Change::NamespaceDeleted(name) => drop(self.namespaces.remove(&name)),
            Change::PodApplied(pod) => drop(self.pods.insert(pod.key.clone(), pod)),
            Change::PodDeleted(key) => drop(self.pods.remove(&key)),
            Change::NodeApplied(node) => drop(self.nodes.insert(node.name.clone(), node)),
            Change::NodeDeleted(name) => drop(self.nodes.remove(&name)),
            Change::PolicyApplied(policy) => {
                self.policies.insert(policy.id.clone(), policy);
            }
            Change::PolicyDeleted(id) => drop(self.policies.remove(&id)),
            Change::InSync => self.in_sync = true,
        }
    }

    /// What changed since this was last asked.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Whether everything that there was at the start has been told.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// All pods, endpoints or not, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// One pod.
    pub fn pod(&self, key: &PodKey) -> Option<&Arc<Pod>> {
        self.pods.get(key)
    }

    /// All namespaces, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values()
    }

    /// One namespace.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// All policies, by kind and name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// One policy.
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        self.policies.get(id)
    }

    /// All tiers, in the order of evaluation.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The endpoint that has `address`. Of several that claim it the one that was created
    /// last, then the one of the greatest name: an address that is used again belongs to the
    /// new pod (policy-semantics K44).
    pub fn endpoint_at(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.pods
            .values()
            .filter(|pod| pod.is_endpoint() && pod.addresses.contains(&address))
            .max_by(|a, b| (&a.created, &a.key).cmp(&(&b.created, &b.key)))
    }

    /// The addresses of `pod` that are its own, not another's ([`World::endpoint_at`]); none
    /// if it is no endpoint.
    pub fn owned_addresses(&self, pod: &Pod) -> Vec<IpAddr> {
        let owns =
            |address: &IpAddr| self.endpoint_at(*address).is_some_and(|owner| owner.key == pod.key);
        pod.addresses.iter().copied().filter(owns).collect()
    }

    /// Whether `expr` holds for `pod`.
    pub fn matches(&self, expr: &Expr, pod: &Pod) -> bool {
        expr.matches(&Subject {
            namespace: &pod.key.namespace,
            own: &pod.labels,
            of_namespace: self.namespaces.get(&pod.key.namespace).map(|n| &n.labels),
        })
    }

    /// The endpoints for which `expr` holds, by name.
    pub fn members(&self, expr: &Expr) -> impl Iterator<Item = &Arc<Pod>> {
        let expr = expr.clone();
        self.pods.values().filter(move |pod| pod.is_endpoint() && self.matches(&expr, pod))
    }

    /// The addresses of one family that `expr` stands for: those that its members own.
    pub fn peer_addresses(&self, expr: &Expr, family: Family) -> BTreeSet<IpAddr> {
        let owned = self.members(expr).flat_map(|pod| self.owned_addresses(pod));
        owned.filter(|address| Family::of(*address) == family).collect()
    }

    /// Address and number of every endpoint's port of this name and protocol.
    pub fn port_addresses(&self, port: &PortName, family: Family) -> BTreeSet<(IpAddr, u16)> {
        let mut found = BTreeSet::new();
        for pod in self.pods.values().filter(|pod| pod.is_endpoint()) {
            let named =
                |p: &&crate::model::NamedPort| p.name == port.name && p.protocol == port.protocol;
            for address in self.owned_addresses(pod) {
                if Family::of(address) == family {
                    found.extend(pod.ports.iter().filter(named).map(|p| (address, p.number)));
                }
            }
        }
        found
    }

    /// The policies that govern `pod` in one direction: for each tier that has some, in the
    /// order of evaluation. None for what is no endpoint.
    pub fn governing(&self, pod: &Pod, direction: Direction) -> Vec<(&Tier, Vec<&Arc<Policy>>)> {
        let mut stages = Vec::new();
        if !pod.is_endpoint() {
            return stages;
        }
        for tier in &self.tiers {
            let governs = |policy: &&Arc<Policy>| {
                policy.tier == tier.name
                    && policy.rules(direction).is_some()
                    && self.matches(&policy.subject, pod)
            };
            let mut policies: Vec<_> = self.policies.values().filter(governs).collect();
            policies.sort_by(|a, b| a.compare(b));
            if !policies.is_empty() {
                stages.push((tier, policies));
            }
        }
        stages
    }

    /// The endpoints on a node, by name.
    pub fn endpoints_on<'w>(&'w self, node: &'w str) -> impl Iterator<Item = &'w Arc<Pod>> {
        self.pods.values().filter(move |pod| pod.is_endpoint() && pod.node.as_deref() == Some(node))
    }

    /// The ranges of all nodes' pods of one family.
    pub fn pod_ranges(&self, family: Family) -> BTreeSet<Cidr> {
        let ranges = self.nodes.values().flat_map(|node| &node.pod_cidrs);
        ranges.copied().filter(|cidr| cidr.family() == family).collect()
    }
}
