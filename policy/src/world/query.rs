//! What can be asked of the world.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::World;
use super::expressions::ExprNumber;
use super::pods::PodNumber;
use super::ports::{is_of, of_host};
use crate::address::{Cidr, Family};
use crate::model::{
    Change, Direction, Holders, Namespace, Node, Pod, PodKey, Policy, PolicyId, PortName, Tier,
};
use crate::selector::{Expr, Scope, Subject};

impl World {
    /// Everything that it was told, less what is gone: another world that takes these changes
    /// is equal to it. Objects are shared, not copied.
    pub fn objects(&self) -> Vec<Change> {
        let mut all: Vec<Change> = Vec::new();
        all.extend(self.namespaces().cloned().map(Change::NamespaceApplied));
        all.extend(self.nodes().cloned().map(Change::NodeApplied));
        all.extend(self.accounts().cloned().map(Change::ServiceAccountApplied));
        all.extend(self.pods().cloned().map(Change::PodApplied));
        all.extend(self.slices().cloned().map(Change::SliceApplied));
        all.extend(self.network_sets().cloned().map(Change::NetworkSetApplied));
        all.extend(self.profiles().cloned().map(Change::ProfileApplied));
        all.extend(self.host_endpoints().cloned().map(Change::HostEndpointApplied));
        all.push(Change::Devices(Arc::clone(&self.devices)));
        all.extend(self.tiers().iter().cloned().map(Arc::new).map(Change::TierApplied));
        all.extend(self.policies().cloned().map(Change::PolicyApplied));
        all.extend(self.attachments().cloned().map(Change::Attached));
        all.extend(self.is_in_sync().then_some(Change::InSync));
        all
    }

    /// All pods, endpoints or not, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        let numbers = self.namespaces.values().flat_map(|entry| entry.pods.values());
        numbers.map(|number| &self.pods[*number].pod)
    }

    /// The pods of a namespace, endpoints or not, by name.
    pub fn pods_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let numbers = self.namespaces.get(namespace).into_iter().flat_map(|e| e.pods.values());
        numbers.map(|number| &self.pods[*number].pod)
    }

    /// One pod.
    pub fn pod(&self, key: &PodKey) -> Option<&Arc<Pod>> {
        self.pod_number(key).map(|number| &self.pods[number].pod)
    }

    /// All namespaces, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        let known = self.namespaces.values().filter(|entry| entry.is_known);
        known.map(|entry| &entry.namespace)
    }

    /// One namespace.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        let entry = self.namespaces.get(name).filter(|entry| entry.is_known);
        entry.map(|entry| &entry.namespace)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter_map(|entry| entry.node.as_ref())
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)?.node.as_ref()
    }

    /// All policies, by kind and name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values().map(|entry| &entry.policy)
    }

    /// One policy.
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        self.policies.get(id).map(|entry| &entry.policy)
    }

    /// The policies that are only reported, by kind and name.
    pub fn staged(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies().filter(|policy| policy.staged.is_some())
    }

    /// The endpoint that has `address`. Of several that claim it one that has it by its
    /// interface, then the one that was created last, then the one of the greatest name: an
    /// address that is used again belongs to the new pod (policy-semantics K44).
    pub fn endpoint_at(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.addresses.owner(address).map(|number| &self.pods[number].pod)
    }

    /// The addresses of `pod` that are its own, not another's ([`World::endpoint_at`]); none
    /// if it is no endpoint.
    pub fn owned_addresses(&self, pod: &Pod) -> Vec<IpAddr> {
        let owns =
            |address: &IpAddr| self.endpoint_at(*address).is_some_and(|owner| owner.key == pod.key);
        pod.addresses.iter().copied().filter(owns).collect()
    }

    /// Whether `expr` holds for `pod`. A namespace that is not known counts as
    /// [`Namespace::assumed`].
    pub fn matches(&self, expr: &Expr, pod: &Pod) -> bool {
        self.see(pod, expr.looks_at(Scope::ServiceAccount), |subject| expr.matches(subject))
    }

    /// What `look` says of what expressions see of a pod, in the world or not; of its account
    /// only if asked for, as most expressions do not look at that.
    fn see<R>(&self, pod: &Pod, with_account: bool, look: impl FnOnce(&Subject<'_>) -> R) -> R {
        let namespace = self.namespace_named(&pod.key.namespace);
        let account = with_account.then(|| self.account_of(pod));
        look(&Subject {
            namespace: Some(&pod.key.namespace),
            own: &pod.labels,
            of_namespace: Some(&namespace.labels),
            of_account: account.as_ref().map(|account| &account.labels),
        })
    }

    /// The endpoints for which `expr` holds, by name.
    pub fn members(&self, expr: &Expr) -> impl Iterator<Item = &Arc<Pod>> {
        let mut members: Vec<&Arc<Pod>> =
            self.member_numbers(expr).into_iter().map(|number| &self.pods[number].pod).collect();
        members.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        members.into_iter()
    }

    /// The addresses of one family that `expr` stands for: those that its members own.
    pub fn peer_addresses(&self, expr: &Expr, family: Family) -> BTreeSet<IpAddr> {
        let members = self.member_numbers(expr).into_iter();
        members.flat_map(|number| self.owned_of(number, family)).collect()
    }

    /// Address and number of every port of this name and protocol, of pods, and of host
    /// endpoints where the name stands for those too: at the addresses that they expect.
    pub fn port_addresses(&self, name: &PortName, family: Family) -> BTreeSet<(IpAddr, u16)> {
        let holders: Vec<PodNumber> = match self.ports.holders(name) {
            Some(holders) => holders.collect(),
            None => self.member_numbers(&Expr::All),
        };
        let members = holders.into_iter().flat_map(|number| {
            let ports = self.pods[number].pod.ports.iter().filter(|port| is_of(port, name));
            ports.flat_map(move |port| {
                self.owned_of(number, family).map(move |address| (address, port.number))
            })
        });
        let hosts = self.others.hosts().filter(|_| name.holders == Holders::Endpoints);
        let of_hosts = hosts.flat_map(|host| of_host(host, name));
        let of_family = of_hosts.filter(|(address, _)| Family::of(*address) == family);
        members.chain(of_family).collect()
    }

    /// The policies that are enforced on `pod` in one direction: for each tier that has some,
    /// in the order of evaluation. None for what is no endpoint.
    pub fn governing(&self, pod: &Pod, direction: Direction) -> Vec<(&Tier, Vec<&Arc<Policy>>)> {
        if !pod.is_endpoint() {
            return Vec::new();
        }
        let entry = self.pod_number(&pod.key).map(|number| &self.pods[number]);
        // One that is not, or no longer, what is in the world is judged as it is given.
        let exprs = match entry {
            Some(entry) if std::ptr::eq(&*entry.pod, pod) || *entry.pod == *pod => {
                Cow::Borrowed(entry.exprs())
            }
            Some(_) | None => {
                let with_account = self.expressions.look_at_accounts();
                Cow::Owned(self.see(pod, with_account, |subject| self.expressions.holding(subject)))
            }
        };
        self.by_tier(&exprs, |policy| policy.judges_pods() && policy.rules(direction).is_some())
    }

    /// The policies whose subject is one of these expressions, and that take part: for each
    /// tier that has some, in the order of evaluation.
    pub(super) fn by_tier(
        &self,
        exprs: &[ExprNumber],
        takes_part: impl Fn(&&Arc<Policy>) -> bool,
    ) -> Vec<(&Tier, Vec<&Arc<Policy>>)> {
        let policies = exprs.iter().flat_map(|number| &self.expressions.get(*number).governs);
        let mut policies: Vec<&Arc<Policy>> = policies.filter(takes_part).collect();
        policies.sort_by(|a, b| a.compare(b));
        let stages = self.tiers.iter().map(|tier| {
            let of_tier = policies.iter().copied().filter(|policy| policy.tier == tier.name);
            (tier, of_tier.collect::<Vec<_>>())
        });
        stages.filter(|(_, policies)| !policies.is_empty()).collect()
    }

    /// The endpoints on a node, by name.
    pub fn endpoints_on<'w>(&'w self, node: &str) -> impl Iterator<Item = &'w Arc<Pod>> + use<'w> {
        let numbers = self.nodes.get(node).into_iter().flat_map(|entry| &entry.endpoints);
        let mut endpoints: Vec<_> = numbers.map(|number| &self.pods[*number].pod).collect();
        endpoints.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        endpoints.into_iter()
    }

    /// The ranges of all nodes' pods of one family.
    pub fn pod_ranges(&self, family: Family) -> BTreeSet<Cidr> {
        let ranges = self.nodes().flat_map(|node| &node.pod_cidrs);
        ranges.copied().filter(|cidr| cidr.family() == family).collect()
    }

    /// One namespace; as [`Namespace::assumed`] if it is not known.
    pub(super) fn namespace_named(&self, name: &Arc<str>) -> Arc<Namespace> {
        let entry = self.namespaces.get(name);
        entry.map_or_else(|| Arc::new(Namespace::assumed(name.clone())), |e| e.namespace.clone())
    }

    /// From the index if policies use `expr`, otherwise found by trying.
    fn member_numbers(&self, expr: &Expr) -> Vec<PodNumber> {
        match self.expressions.find(expr) {
            Some(entry) => entry.members.iter().copied().collect(),
            None => self.search(expr),
        }
    }

    fn owned_of(&self, number: PodNumber, family: Family) -> impl Iterator<Item = IpAddr> {
        let addresses = self.pods[number].pod.addresses.iter().copied();
        addresses.filter(move |address| {
            Family::of(*address) == family && self.addresses.owner(*address) == Some(number)
        })
    }
}
