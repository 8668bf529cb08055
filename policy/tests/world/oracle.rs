//! The world worked out anew from the objects alone, by looking at everything each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    Criterion, DEFAULT_TIER, Labels, Namespace, Node, PeerTerm, Pod, Policy, PolicyOrder,
    PortMatch, PortName,
};
use brindle_policy::selector::{Expr, Subject};
use brindle_policy::{Attachment, Change, Direction, Family, Interface, PodKey, PolicyId, World};

/// The objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Objects {
    pub(crate) namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    /// As they were told.
    told: BTreeMap<PodKey, Arc<Pod>>,
    pub(crate) attachments: BTreeMap<Interface, Arc<Attachment>>,
    /// With the addresses of their interfaces.
    pub(crate) pods: BTreeMap<PodKey, Arc<Pod>>,
    pub(crate) nodes: BTreeMap<Arc<str>, Arc<Node>>,
    pub(crate) policies: BTreeMap<PolicyId, Arc<Policy>>,
}

impl Objects {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::NamespaceApplied(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            Change::NamespaceDeleted(name) => drop(self.namespaces.remove(&name)),
            Change::PodApplied(pod) => drop(self.told.insert(pod.key.clone(), pod)),
            Change::PodDeleted(key) => drop(self.told.remove(&key)),
            Change::Attached(one) => drop(self.attachments.insert(one.interface, one)),
            Change::Detached(interface) => drop(self.attachments.remove(&interface)),
            Change::NodeApplied(node) => drop(self.nodes.insert(node.name.clone(), node)),
            Change::NodeDeleted(name) => drop(self.nodes.remove(&name)),
            Change::PolicyApplied(policy) => drop(self.policies.insert(policy.id.clone(), policy)),
            Change::PolicyDeleted(id) => drop(self.policies.remove(&id)),
            Change::InSync => {}
            other => panic!("{other:?} is not told of here"),
        }
        let equipped = |(key, pod): (&PodKey, &Arc<Pod>)| {
            let mut pod = Pod::clone(pod);
            let own: BTreeSet<IpAddr> = self.of_interfaces(&pod).flatten().collect();
            let told: BTreeSet<IpAddr> = pod.addresses.iter().copied().collect();
            if self.of_interfaces(&pod).next().is_some() && own != told {
                pod.addresses = self.of_interfaces(&pod).flatten().collect();
            }
            (key.clone(), Arc::new(pod))
        };
        self.pods = self.told.iter().map(equipped).collect();
    }

    /// The addresses of each interface of a pod.
    fn of_interfaces(&self, pod: &Pod) -> impl Iterator<Item = Vec<IpAddr>> {
        let is_its = |one: &&Arc<Attachment>| {
            one.pod.as_ref() == Some(&pod.key)
                && pod.node.as_ref() == Some(&one.node)
                && !pod.host_network
        };
        let its: Vec<_> = self.attachments.values().filter(is_its).collect();
        its.into_iter().map(|one| one.addresses.clone()).collect::<Vec<_>>().into_iter()
    }

    /// The changes that make a world of these objects.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let namespaces = self.namespaces.values().cloned().map(Change::NamespaceApplied);
        let pods = self.told.values().cloned().map(Change::PodApplied);
        let attachments = self.attachments.values().cloned().map(Change::Attached);
        let nodes = self.nodes.values().cloned().map(Change::NodeApplied);
        let policies = self.policies.values().cloned().map(Change::PolicyApplied);
        namespaces.chain(pods).chain(nodes).chain(policies).chain(attachments).collect()
    }

    pub(crate) fn owner(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        let claims = |pod: &&Arc<Pod>| pod.is_endpoint() && pod.addresses.contains(&address);
        let rank = |pod: &&Arc<Pod>| {
            let is_attached = self.of_interfaces(pod).next().is_some();
            (is_attached, pod.created.clone(), pod.key.clone())
        };
        self.pods.values().filter(claims).max_by_key(rank)
    }

    pub(crate) fn owned(&self, pod: &Pod) -> Vec<IpAddr> {
        let owns = |address: &IpAddr| self.owner(*address).is_some_and(|o| o.key == pod.key);
        pod.addresses.iter().copied().filter(owns).collect()
    }

    pub(crate) fn matches(&self, expr: &Expr, pod: &Pod) -> bool {
        let name = &pod.key.namespace;
        let assumed = Labels::from([("kubernetes.io/metadata.name".into(), name.clone())]);
        let known = self.namespaces.get(name).map(|namespace| &namespace.labels);
        expr.matches(&Subject {
            namespace: Some(name),
            own: &pod.labels,
            of_namespace: Some(known.unwrap_or(&assumed)),
            of_account: None,
        })
    }

    pub(crate) fn members(&self, expr: &Expr) -> Vec<&Arc<Pod>> {
        let is_member = |pod: &&Arc<Pod>| pod.is_endpoint() && self.matches(expr, pod);
        self.pods.values().filter(is_member).collect()
    }

    pub(crate) fn peers(&self, expr: &Expr) -> BTreeSet<IpAddr> {
        self.members(expr).into_iter().flat_map(|pod| self.owned(pod)).collect()
    }

    pub(crate) fn ports(&self, name: &PortName) -> BTreeSet<(IpAddr, u16)> {
        let mut found = BTreeSet::new();
        for pod in self.pods.values().filter(|pod| pod.is_endpoint()) {
            for port in &pod.ports {
                if port.name == name.name && port.protocol == name.protocol {
                    found.extend(self.owned(pod).into_iter().map(|address| (address, port.number)));
                }
            }
        }
        found
    }

    /// The policies that govern `pod`, in order, of whatever tier.
    pub(crate) fn governing(&self, pod: &Pod, direction: Direction) -> Vec<&Arc<Policy>> {
        let governs = |policy: &&Arc<Policy>| {
            pod.is_endpoint()
                && policy.rules(direction).is_some()
                && self.matches(&policy.subject, pod)
        };
        let mut policies: Vec<_> = self.policies.values().filter(governs).collect();
        policies.sort_by(|a, b| a.compare(b));
        policies
    }

    fn criteria(&self) -> impl Iterator<Item = &Criterion> {
        let rules = self.policies.values().flat_map(|policy| [&policy.ingress, &policy.egress]);
        rules.flatten().flatten().flat_map(|rule| &rule.criteria)
    }

    /// The expressions of which some policy uses the peer set.
    pub(crate) fn peer_exprs(&self) -> BTreeSet<Expr> {
        let exprs = self.criteria().filter_map(|criterion| match criterion {
            Criterion::Peer { any_of, .. } => {
                let exprs = any_of.iter().filter_map(|term| match term {
                    PeerTerm::Endpoints(expr) => Some(Expr::clone(expr)),
                    PeerTerm::Selected(_) | PeerTerm::Block(_) => None,
                });
                let exprs: Vec<Expr> = exprs.collect();
                (!exprs.is_empty()).then(|| Expr::or(exprs))
            }
            Criterion::Ports { .. }
            | Criterion::Family(_)
            | Criterion::Icmp { .. }
            | Criterion::Service { .. }
            | Criterion::Protocol { .. } => None,
        });
        exprs.collect()
    }

    /// The named ports that some policy uses.
    pub(crate) fn port_names(&self) -> BTreeSet<PortName> {
        let terms = self.criteria().flat_map(|criterion| match criterion {
            Criterion::Ports { any_of, .. } => any_of.as_slice(),
            _ => &[],
        });
        let names = terms.filter_map(|term| match &term.port {
            PortMatch::Named(name, holders) => {
                Some(PortName { name: name.clone(), protocol: term.protocol, holders: *holders })
            }
            PortMatch::Any | PortMatch::Range(..) => None,
        });
        names.collect()
    }
}

/// What a compiler can see of an endpoint, apart from the content of sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndpointFacts {
    node: Option<Arc<str>>,
    addresses: Vec<IpAddr>,
    owned: Vec<IpAddr>,
    governing: Vec<(Direction, Arc<str>, PolicyOrder, PolicyId)>,
}

/// All that [`brindle_policy::world::Touched`] tells changes of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) endpoints: BTreeMap<PodKey, EndpointFacts>,
    pub(crate) policies: BTreeMap<PolicyId, (Arc<Policy>, Vec<PodKey>)>,
    pub(crate) peers: BTreeMap<Expr, BTreeSet<IpAddr>>,
    pub(crate) ports: BTreeMap<PortName, BTreeSet<(IpAddr, u16)>>,
    pub(crate) nodes: BTreeMap<Arc<str>, Arc<Node>>,
    pub(crate) attachments: BTreeMap<Interface, Arc<Attachment>>,
}

impl Facts {
    pub(crate) fn of(objects: &Objects) -> Self {
        let endpoint = |pod: &&Arc<Pod>| {
            let governing = Direction::ALL.into_iter().flat_map(|direction| {
                let policies = objects.governing(pod, direction).into_iter();
                policies.map(move |p| (direction, p.tier.clone(), p.order, p.id.clone()))
            });
            EndpointFacts {
                node: pod.node.clone(),
                addresses: pod.addresses.clone(),
                owned: objects.owned(pod),
                governing: governing.collect(),
            }
        };
        let governed = |policy: &Arc<Policy>| {
            let governs = policy.ingress.is_some() || policy.egress.is_some();
            let members = if governs { objects.members(&policy.subject) } else { Vec::new() };
            (policy.clone(), members.into_iter().map(|pod| pod.key.clone()).collect())
        };
        let endpoints = objects.pods.values().filter(|pod| pod.is_endpoint());
        let policies = objects.policies.values();
        let exprs = objects.peer_exprs().into_iter();
        let names = objects.port_names().into_iter();
        Self {
            endpoints: endpoints.map(|pod| (pod.key.clone(), endpoint(&pod))).collect(),
            policies: policies.map(|policy| (policy.id.clone(), governed(policy))).collect(),
            peers: exprs.map(|expr| (expr.clone(), objects.peers(&expr))).collect(),
            ports: names.map(|name| (name.clone(), objects.ports(&name))).collect(),
            nodes: objects.nodes.clone(),
            attachments: objects.attachments.clone(),
        }
    }
}

/// Fails unless `world` answers everything as these objects say; `exprs` and `names` are asked
/// for on top of what policies use.
pub(crate) fn assert_agrees(world: &World, objects: &Objects, exprs: &[Expr], names: &[PortName]) {
    assert!(world.pods().eq(objects.pods.values()), "pods");
    assert!(world.namespaces().eq(objects.namespaces.values()), "namespaces");
    assert!(world.nodes().eq(objects.nodes.values()), "nodes");
    assert!(world.policies().eq(objects.policies.values()), "policies");
    assert!(world.attachments().eq(objects.attachments.values()), "attachments");
    for attachment in objects.attachments.values() {
        for address in attachment.addresses.iter().copied() {
            let owner = objects.owner(address);
            let is_its = owner.is_some_and(|pod| {
                Some(&pod.key) == attachment.pod.as_ref()
                    && pod.node.as_ref() == Some(&attachment.node)
            });
            assert_eq!(world.is_attached(attachment.interface, address), is_its, "{attachment:?}");
        }
    }
    for (name, namespace) in &objects.namespaces {
        assert_eq!(world.namespace(name), Some(namespace));
    }
    for family in Family::ALL {
        let ranges = objects.nodes.values().flat_map(|node| node.pod_cidrs.clone());
        let ranges: BTreeSet<_> = ranges.filter(|cidr| cidr.family() == family).collect();
        assert_eq!(world.pod_ranges(family), ranges);
    }
    let claimed = objects.pods.values().flat_map(|pod| pod.addresses.iter().copied());
    for address in claimed {
        assert_eq!(world.endpoint_at(address), objects.owner(address), "owner of {address}");
    }
    for (key, pod) in &objects.pods {
        assert_eq!(world.pod(key), Some(pod));
        assert_eq!(world.owned_addresses(pod), objects.owned(pod), "owned by {key}");
        // Also one that is not what is in the world: it is judged as it is given.
        let mut given = Pod::clone(pod);
        given.labels.insert("app".into(), "y".into());
        let both = [&**pod, &given].into_iter();
        for (pod, direction) in both.flat_map(|pod| Direction::ALL.map(|d| (pod, d))) {
            let mut want = objects.governing(pod, direction);
            want.retain(|policy| &*policy.tier == DEFAULT_TIER);
            let stages = world.governing(pod, direction);
            assert!(stages.len() <= 1, "only one tier has policies");
            let have: Vec<_> = stages.into_iter().flat_map(|(_, policies)| policies).collect();
            assert_eq!(have, want, "{direction} of {key}");
        }
    }
    for name in ["a", "b", "c", "d"] {
        let want = objects.pods.values().filter(|pod| &*pod.key.namespace == name);
        assert!(world.pods_in(name).eq(want), "pods in {name}");
    }
    for node in ["left", "right", "none"] {
        let is_there = |pod: &&Arc<Pod>| pod.is_endpoint() && pod.node.as_deref() == Some(node);
        let want = objects.pods.values().filter(is_there);
        assert!(world.endpoints_on(node).eq(want), "endpoints on {node}");
    }
    let used = objects.peer_exprs().into_iter();
    let subjects = objects.policies.values().map(|policy| Expr::clone(&policy.subject));
    for expr in used.chain(subjects).chain(exprs.iter().cloned()) {
        assert!(world.members(&expr).eq(objects.members(&expr)), "members of {expr}");
        assert!(
            objects.pods.values().all(|p| world.matches(&expr, p) == objects.matches(&expr, p))
        );
        for family in Family::ALL {
            let mut want = objects.peers(&expr);
            want.retain(|address| Family::of(*address) == family);
            assert_eq!(world.peer_addresses(&expr, family), want, "{family} peers of {expr}");
        }
    }
    for name in objects.port_names().iter().chain(names) {
        for family in Family::ALL {
            let mut want = objects.ports(name);
            want.retain(|(address, _)| Family::of(*address) == family);
            assert_eq!(world.port_addresses(name, family), want, "{family} ports of {name:?}");
        }
    }
}
