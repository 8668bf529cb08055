//! The world worked out anew from the objects alone, by looking at everything each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    AccountKey, Action, Criterion, DEFAULT_ALLOW_PROFILE, DeviceAddresses, EndpointSlice, Holders,
    HostEndpoint, HostStage, Labels, NAMESPACE_NAME_LABEL, Namespace, NetworkSet, NetworkSetId,
    Node, PeerTerm, Pod, Policy, PolicyOrder, PortMatch, PortName, Profile, Rule, ServiceAccount,
    ServiceName, SliceKey, StagedAction, Tier,
};
use brindle_policy::selector::{Expr, Subject};
use brindle_policy::world::ServiceEndpoints;
use brindle_policy::{
    Attachment, Change, Cidr, Direction, Family, Interface, PodKey, PolicyId, World,
};

/// Policies in the order of evaluation.
type ByTier = Vec<(Tier, Vec<Arc<Policy>>)>;

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
    accounts: BTreeMap<AccountKey, Arc<ServiceAccount>>,
    hosts: BTreeMap<Arc<str>, Arc<HostEndpoint>>,
    sets: BTreeMap<NetworkSetId, Arc<NetworkSet>>,
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    /// As they were told.
    tiers: BTreeMap<Arc<str>, Arc<Tier>>,
    slices: BTreeMap<SliceKey, Arc<EndpointSlice>>,
    devices: Arc<DeviceAddresses>,
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
            Change::TierApplied(tier) => drop(self.tiers.insert(tier.name.clone(), tier)),
            Change::TierDeleted(name) => drop(self.tiers.remove(&name)),
            Change::HostEndpointApplied(host) => {
                self.hosts.insert(host.name.clone(), host);
            }
            Change::HostEndpointDeleted(name) => drop(self.hosts.remove(&name)),
            Change::NetworkSetApplied(set) => drop(self.sets.insert(set.id.clone(), set)),
            Change::NetworkSetDeleted(id) => drop(self.sets.remove(&id)),
            Change::ProfileApplied(profile) => {
                if &*profile.name != DEFAULT_ALLOW_PROFILE {
                    self.profiles.insert(profile.name.clone(), profile);
                }
            }
            Change::ProfileDeleted(name) => drop(self.profiles.remove(&name)),
            Change::ServiceAccountApplied(account) => {
                self.accounts.insert(account.key.clone(), account);
            }
            Change::ServiceAccountDeleted(key) => drop(self.accounts.remove(&key)),
            Change::SliceApplied(slice) => drop(self.slices.insert(slice.key.clone(), slice)),
            Change::SliceDeleted(key) => drop(self.slices.remove(&key)),
            Change::Devices(devices) => self.devices = devices,
            Change::InSync => {}
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
        let accounts = self.accounts.values().cloned().map(Change::ServiceAccountApplied);
        let hosts = self.hosts.values().cloned().map(Change::HostEndpointApplied);
        let sets = self.sets.values().cloned().map(Change::NetworkSetApplied);
        let profiles = self.profiles.values().cloned().map(Change::ProfileApplied);
        let tiers = self.tiers.values().cloned().map(Change::TierApplied);
        let slices = self.slices.values().cloned().map(Change::SliceApplied);
        let devices = [Change::Devices(self.devices.clone())];
        let of_pods = namespaces.chain(pods).chain(nodes).chain(policies).chain(attachments);
        let others = accounts.chain(hosts).chain(sets).chain(profiles).chain(tiers).chain(slices);
        of_pods.chain(others).chain(devices).collect()
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

    fn namespace_labels(&self, name: &Arc<str>) -> Labels {
        let assumed = Labels::from([(NAMESPACE_NAME_LABEL.into(), name.clone())]);
        self.namespaces.get(name).map_or(assumed, |namespace| namespace.labels.clone())
    }

    fn account_of(&self, pod: &Pod) -> Arc<ServiceAccount> {
        let (namespace, name) = (pod.key.namespace.clone(), pod.service_account.clone());
        let key = AccountKey { namespace, name };
        let known = self.accounts.get(&key).cloned();
        known.unwrap_or_else(|| ServiceAccount::new(key, Labels::new()).into())
    }

    pub(crate) fn matches(&self, expr: &Expr, pod: &Pod) -> bool {
        expr.matches(&Subject {
            namespace: Some(&pod.key.namespace),
            own: &pod.labels,
            of_namespace: Some(&self.namespace_labels(&pod.key.namespace)),
            of_account: Some(&self.account_of(pod).labels),
        })
    }

    fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        let open = || vec![Rule { action: Action::Allow, criteria: Vec::new() }];
        let default_allow = || Profile {
            name: DEFAULT_ALLOW_PROFILE.into(),
            labels: Labels::new(),
            ingress: open(),
            egress: open(),
            problems: Vec::new(),
        };
        match name {
            DEFAULT_ALLOW_PROFILE => Some(default_allow().into()),
            name => self.profiles.get(name).cloned(),
        }
    }

    fn matches_host(&self, expr: &Expr, host: &HostEndpoint) -> bool {
        let mut labels = host.labels.clone();
        for profile in host.profiles.iter().filter_map(|name| self.profile(name)) {
            for (key, value) in &profile.labels {
                labels.entry(key.clone()).or_insert(value.clone());
            }
        }
        matches_other(expr, None, &labels, Labels::new())
    }

    fn matches_set(&self, expr: &Expr, set: &NetworkSet) -> bool {
        let namespace = set.id.namespace.as_ref();
        let inherited = namespace.map(|name| self.namespace_labels(name)).unwrap_or_default();
        matches_other(expr, namespace, &set.labels, inherited)
    }

    /// The blocks that a peer of Calico's language stands for.
    fn selected(&self, expr: &Expr) -> BTreeSet<Cidr> {
        let mut blocks: BTreeSet<Cidr> = self.peers(expr).into_iter().map(Cidr::host).collect();
        for host in self.hosts.values().filter(|host| self.matches_host(expr, host)) {
            blocks.extend(host.expected.iter().copied().map(Cidr::host));
        }
        for set in self.sets.values().filter(|set| self.matches_set(expr, set)) {
            for block in &set.nets {
                match block.halves().filter(|_| block.length() == 0) {
                    Some(halves) => blocks.extend(halves),
                    None => drop(blocks.insert(*block)),
                }
            }
        }
        blocks
    }

    /// Those in force, sorted.
    fn tiers(&self) -> Vec<Tier> {
        let mut tiers: BTreeMap<Arc<str>, Tier> =
            self.tiers.iter().map(|(name, tier)| (name.clone(), Tier::clone(tier))).collect();
        for mut built_in in Tier::built_in() {
            if let Some(told) = self.tiers.get(&built_in.name) {
                built_in.default_action = told.default_action;
            }
            tiers.insert(built_in.name.clone(), built_in);
        }
        let mut tiers: Vec<Tier> = tiers.into_values().collect();
        tiers.sort_by(Tier::compare);
        tiers
    }

    fn tier(&self, policy: &Policy) -> Option<Tier> {
        self.tiers().into_iter().find(|tier| tier.name == policy.tier)
    }

    /// As the world has them: by tier, without those of tiers that are not known.
    fn by_tier(&self, policies: &[&Arc<Policy>]) -> ByTier {
        let stages = self.tiers().into_iter().map(|tier| {
            let of_tier = policies.iter().filter(|policy| policy.tier == tier.name);
            let of_tier = of_tier.map(|policy| Arc::clone(policy)).collect::<Vec<_>>();
            (tier, of_tier)
        });
        stages.filter(|(_, policies)| !policies.is_empty()).collect()
    }

    /// The policies that govern `host`, in order, of whatever tier.
    fn governing_host(
        &self,
        host: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Vec<&Arc<Policy>> {
        let governs = |policy: &&Arc<Policy>| {
            let is_of_stage = policy.stage == stage
                || (stage == HostStage::Normal && policy.stage == HostStage::Forward);
            is_of_stage
                && policy.staged.is_none()
                && policy.rules(direction).is_some()
                && self.matches_host(&policy.subject, host)
        };
        let mut policies: Vec<_> = self.policies.values().filter(governs).collect();
        policies.sort_by(|a, b| a.compare(b));
        policies
    }

    fn service_endpoints(&self, name: &ServiceName) -> ServiceEndpoints {
        let mut endpoints = ServiceEndpoints::default();
        for slice in self.slices.values().filter(|slice| slice.service.as_ref() == Some(name)) {
            for address in &slice.addresses {
                endpoints.addresses.insert(*address);
                for (protocol, number) in &slice.ports {
                    endpoints.ports.insert((*address, *protocol, *number));
                }
            }
        }
        endpoints
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
        for host in self.hosts.values().filter(|_| name.holders == Holders::Endpoints) {
            for port in &host.ports {
                if port.name == name.name && port.protocol == name.protocol {
                    found.extend(host.expected.iter().map(|address| (*address, port.number)));
                }
            }
        }
        found
    }

    /// The policies that govern `pod`, in order, of whatever tier.
    pub(crate) fn governing(&self, pod: &Pod, direction: Direction) -> Vec<&Arc<Policy>> {
        let governs = |policy: &&Arc<Policy>| {
            pod.is_endpoint()
                && policy.staged.is_none()
                && matches!(policy.stage, HostStage::Normal | HostStage::Forward)
                && policy.rules(direction).is_some()
                && self.matches(&policy.subject, pod)
        };
        let mut policies: Vec<_> = self.policies.values().filter(governs).collect();
        policies.sort_by(|a, b| a.compare(b));
        policies
    }

    fn criteria(&self) -> impl Iterator<Item = &Criterion> {
        let rules = self.policies.values().flat_map(|policy| [&policy.ingress, &policy.egress]);
        let of_profiles = self.profiles.values().flat_map(|one| [&one.ingress, &one.egress]);
        rules.flatten().chain(of_profiles).flatten().flat_map(|rule| &rule.criteria)
    }

    /// The expressions of which some policy uses the set of all that they hold for.
    pub(crate) fn selected_exprs(&self) -> BTreeSet<Expr> {
        let terms = self.criteria().flat_map(|criterion| match criterion {
            Criterion::Peer { any_of, .. } => any_of.as_slice(),
            _ => &[],
        });
        let exprs = terms.filter_map(|term| match term {
            PeerTerm::Selected(expr) => Some(Expr::clone(expr)),
            PeerTerm::Endpoints(_) | PeerTerm::Block(_) => None,
        });
        exprs.collect()
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

/// Whether `expr` holds for a host endpoint or a network set with these labels.
fn matches_other(
    expr: &Expr,
    namespace: Option<&Arc<str>>,
    own: &Labels,
    mut of_namespace: Labels,
) -> bool {
    let mut of_account = Labels::new();
    for (key, value) in own {
        match key.split_once('.') {
            Some(("pcns", NAMESPACE_NAME_LABEL)) => {}
            Some(("pcns", name)) => drop(of_namespace.insert(name.into(), value.clone())),
            Some(("pcsa", name)) => drop(of_account.insert(name.into(), value.clone())),
            _ => {}
        }
    }
    expr.matches(&Subject {
        namespace: namespace.map(|name| &**name),
        own,
        of_namespace: Some(&of_namespace),
        of_account: Some(&of_account),
    })
}

/// A policy, its tier, and the endpoints that it concerns.
type PolicyFacts = (Arc<Policy>, Option<Tier>, Vec<PodKey>);

/// A policy that concerns an endpoint.
#[derive(Clone, Debug, PartialEq)]
struct Governing {
    id: PolicyId,
    directions: [bool; 2],
    tier: (Arc<str>, Option<Tier>),
    order: PolicyOrder,
    staged: Option<StagedAction>,
}

/// What a compiler can see of an endpoint, apart from the content of sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndpointFacts {
    node: Option<Arc<str>>,
    addresses: Vec<IpAddr>,
    owned: Vec<IpAddr>,
    governing: Vec<Governing>,
}

/// What a compiler can see of hosts, apart from the content of sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostFacts {
    hosts: BTreeMap<Arc<str>, Arc<HostEndpoint>>,
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    devices: Arc<DeviceAddresses>,
    tiers: Vec<Tier>,
    governing: Vec<Arc<Policy>>,
}

/// All that [`brindle_policy::world::Touched`] tells changes of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) endpoints: BTreeMap<PodKey, EndpointFacts>,
    pub(crate) policies: BTreeMap<PolicyId, PolicyFacts>,
    pub(crate) peers: BTreeMap<Expr, BTreeSet<IpAddr>>,
    pub(crate) selected: BTreeMap<Expr, BTreeSet<Cidr>>,
    pub(crate) ports: BTreeMap<PortName, BTreeSet<(IpAddr, u16)>>,
    pub(crate) nodes: BTreeMap<Arc<str>, Arc<Node>>,
    pub(crate) attachments: BTreeMap<Interface, Arc<Attachment>>,
    pub(crate) slices: BTreeMap<SliceKey, Arc<EndpointSlice>>,
    pub(crate) hosts: HostFacts,
}

impl Facts {
    pub(crate) fn of(objects: &Objects) -> Self {
        let endpoint = |pod: &&Arc<Pod>| {
            let governing = objects
                .policies
                .values()
                .filter(|policy| concerns_pods(policy) && objects.matches(&policy.subject, pod));
            let governing = governing.map(|policy| Governing {
                id: policy.id.clone(),
                directions: [policy.ingress.is_some(), policy.egress.is_some()],
                tier: (policy.tier.clone(), objects.tier(policy)),
                order: policy.order,
                staged: policy.staged,
            });
            EndpointFacts {
                node: pod.node.clone(),
                addresses: pod.addresses.clone(),
                owned: objects.owned(pod),
                governing: governing.collect(),
            }
        };
        let governed = |policy: &Arc<Policy>| {
            let members =
                if concerns_pods(policy) { objects.members(&policy.subject) } else { Vec::new() };
            (
                policy.clone(),
                objects.tier(policy),
                members.into_iter().map(|pod| pod.key.clone()).collect(),
            )
        };
        let endpoints = objects.pods.values().filter(|pod| pod.is_endpoint());
        let policies = objects.policies.values();
        let governs_host = |policy: &&Arc<Policy>| {
            let is_of_host = |host: &Arc<HostEndpoint>| objects.matches_host(&policy.subject, host);
            policy.staged.is_none()
                && policy.governs_some()
                && objects.hosts.values().any(is_of_host)
        };
        let hosts = HostFacts {
            hosts: objects.hosts.clone(),
            profiles: objects.profiles.clone(),
            devices: objects.devices.clone(),
            tiers: objects.tiers(),
            governing: policies.clone().filter(governs_host).cloned().collect(),
        };
        let exprs = objects.peer_exprs().into_iter();
        let selected = objects.selected_exprs().into_iter();
        let names = objects.port_names().into_iter();
        Self {
            endpoints: endpoints.map(|pod| (pod.key.clone(), endpoint(&pod))).collect(),
            policies: policies.map(|policy| (policy.id.clone(), governed(policy))).collect(),
            peers: exprs.map(|expr| (expr.clone(), objects.peers(&expr))).collect(),
            selected: selected.map(|expr| (expr.clone(), objects.selected(&expr))).collect(),
            ports: names.map(|name| (name.clone(), objects.ports(&name))).collect(),
            nodes: objects.nodes.clone(),
            attachments: objects.attachments.clone(),
            slices: objects.slices.clone(),
            hosts,
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
            let want = objects.by_tier(&objects.governing(pod, direction));
            assert_eq!(owned(world.governing(pod, direction)), want, "{direction} of {key}");
        }
        assert_eq!(world.account_of(pod), objects.account_of(pod), "account of {key}");
    }
    assert_knows_others(world, objects);
    for name in ["a", "b", "c", "d"] {
        let want = objects.pods.values().filter(|pod| &*pod.key.namespace == name);
        assert!(world.pods_in(name).eq(want), "pods in {name}");
    }
    for node in ["left", "right", "none"] {
        let is_there = |pod: &&Arc<Pod>| pod.is_endpoint() && pod.node.as_deref() == Some(node);
        let want = objects.pods.values().filter(is_there);
        assert!(world.endpoints_on(node).eq(want), "endpoints on {node}");
    }
    let used = objects.peer_exprs().into_iter().chain(objects.selected_exprs());
    let subjects = objects.policies.values().map(|policy| Expr::clone(&policy.subject));
    for expr in used.chain(subjects).chain(exprs.iter().cloned()) {
        assert!(world.members(&expr).eq(objects.members(&expr)), "members of {expr}");
        assert!(
            objects.pods.values().all(|p| world.matches(&expr, p) == objects.matches(&expr, p))
        );
        assert_selects(world, objects, &expr);
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

fn concerns_pods(policy: &Policy) -> bool {
    let is_of_hosts = matches!(policy.stage, HostStage::Untracked | HostStage::PreDnat);
    policy.governs_some() && (!is_of_hosts || policy.staged.is_some())
}

/// Policies by tier, to be compared.
fn owned(stages: Vec<(&Tier, Vec<&Arc<Policy>>)>) -> ByTier {
    let owned = |(tier, policies): (&Tier, Vec<&Arc<Policy>>)| {
        (tier.clone(), policies.into_iter().cloned().collect())
    };
    stages.into_iter().map(owned).collect()
}

/// Fails unless `world` knows what is no pod as these objects say.
fn assert_knows_others(world: &World, objects: &Objects) {
    assert_eq!(world.tiers(), objects.tiers());
    for tier in objects.tiers() {
        assert_eq!(world.tier(&tier.name), Some(&tier));
    }
    assert_eq!(world.tier("none"), None);
    let staged = objects.policies.values().filter(|policy| policy.staged.is_some());
    assert!(world.staged().eq(staged), "staged policies");
    assert_eq!(world.devices(), &*objects.devices);
    for name in ["p", "q", "none", DEFAULT_ALLOW_PROFILE] {
        assert_eq!(world.profile(name), objects.profile(name).as_ref(), "profile {name}");
    }
    for name in ["s", "t"].map(Arc::from) {
        let name = ServiceName { namespace: "a".into(), name };
        assert_eq!(world.service_endpoints(&name), objects.service_endpoints(&name), "{name}");
    }
    assert!(world.network_sets().eq(objects.sets.values()), "network sets");
    assert!(world.host_endpoints().eq(objects.hosts.values()), "host endpoints");
    for node in ["left", "right", "none"] {
        let want = objects.hosts.values().filter(|host| &*host.node == node);
        assert!(world.host_endpoints_on(node).eq(want), "host endpoints on {node}");
    }
    for host in objects.hosts.values() {
        // Also one that is not what is in the world: it is judged as it is given.
        let mut given = HostEndpoint::clone(host);
        given.labels.insert("app".into(), "y".into());
        for host in [host, &given] {
            for (stage, direction) in
                HostStage::ALL.iter().flat_map(|stage| Direction::ALL.map(|d| (*stage, d)))
            {
                let want = objects.by_tier(&objects.governing_host(host, stage, direction));
                let have = owned(world.governing_host(host, stage, direction));
                assert_eq!(have, want, "{stage} {direction} of {host:?}");
            }
        }
    }
}

/// Fails unless `expr` stands for the blocks that it stands for by these objects.
fn assert_selects(world: &World, objects: &Objects, expr: &Expr) {
    for host in objects.hosts.values() {
        let want = objects.matches_host(expr, host);
        assert_eq!(world.matches_host(expr, host), want, "{expr} of {host:?}");
    }
    for set in objects.sets.values() {
        let want = objects.matches_set(expr, set);
        assert_eq!(world.matches_set(expr, set), want, "{expr} of {set:?}");
    }
    let want = objects.selected(expr);
    for family in Family::ALL {
        let want = want.iter().copied().filter(|block| block.family() == family).collect();
        assert_eq!(world.selected(expr, family), want, "{family} of {expr}");
    }
    for address in ["10.0.0.1", "10.9.9.9", "192.0.2.1", "fd00::2", "2001:db8::1"] {
        let address: IpAddr = address.parse().expect("an address");
        let is_in = want.iter().any(|block| block.contains(address));
        assert_eq!(world.selects(expr, address), is_in, "{expr} for {address}");
    }
}
