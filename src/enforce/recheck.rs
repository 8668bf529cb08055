//! Which tracked connections the policies would not let begin any more (policy-semantics 7.3).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use brindle_policy::model::{Criterion, Policy};
use brindle_policy::verdict::verdict;
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

    /// Those that `touched` is about.
    pub(super) fn of(world: &World, touched: &Touched) -> Self {
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
        // Nothing follows from `hosts`: connections of pods are judged, and what host endpoints
        // are to them as peers stands in `selected` and `named_ports`, the policies of a tier
        // that changed in `policies`.
        if addresses.blocks.len() > MOST_BLOCKS {
            return Affected::All;
        }
        Affected::Some(addresses)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brindle_policy::model::{EndpointSlice, Namespace, Pod, ServiceName, SliceKey};
    use brindle_policy::{Change, PodKey, Protocol, ingest};

    use super::*;

    fn tuple(source: &str, destination: &str, ports: (u16, u16)) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: 6,
            source_port: Some(ports.0),
            destination_port: Some(ports.1),
            icmp: None,
        }
    }

    /// `web` is closed, `free` is not; both are on `n1`. `far`, on `n2`, is closed too.
    fn world() -> World {
        let mut world = World::default();
        let labels = [("kubernetes.io/metadata.name".into(), "a".into())].into();
        world.apply(Change::NamespaceApplied(Arc::new(Namespace { name: "a".into(), labels })));
        for (name, node, address) in
            [("web", "n1", "10.1.0.1"), ("free", "n1", "10.1.0.2"), ("far", "n2", "10.2.0.1")]
        {
            let app = if name == "free" { "free" } else { "closed" };
            world.apply(Change::PodApplied(Arc::new(Pod {
                key: PodKey { namespace: "a".into(), name: name.into() },
                labels: [("app".into(), app.into())].into(),
                node: Some(node.into()),
                host_network: false,
                finished: false,
                addresses: vec![address.parse().unwrap()],
                ports: BTreeSet::new(),
                created: "".into(),
                service_account: "default".into(),
            })));
        }
        let object = serde_json::json!({
            "metadata": {"name": "closed", "namespace": "a"},
            "spec": {"podSelector": {"matchLabels": {"app": "closed"}}}
        });
        let object = serde_json::from_value(object).unwrap();
        let policy = brindle_policy::ingest::network_policy(&object).unwrap();
        world.apply(Change::PolicyApplied(Arc::new(policy)));
        world
    }

    #[test]
    fn exactly_what_could_not_begin_any_more_is_guilty() {
        let world = world();
        let (service, outside) = ("10.96.0.1", "192.0.2.1");
        let plain = |from: &str, to: &str| {
            Entry::new(tuple(from, to, (4000, 80)), tuple(to, from, (80, 4000)), None)
        };
        let control = tuple(outside, "10.1.0.1", (4001, 21));
        let allowed = tuple("10.1.0.1", outside, (4001, 21));
        for (what, entry, is_guilty) in [
            ("into the closed one", plain(outside, "10.1.0.1"), true),
            ("from the closed one", plain("10.1.0.1", outside), false),
            ("into the free one", plain(outside, "10.1.0.2"), false),
            ("not of this node", plain(outside, "10.2.0.1"), false),
            ("of this node, denied at the other", plain("10.1.0.2", "10.2.0.1"), true),
            (
                "through a Service",
                Entry::new(
                    tuple(outside, service, (4000, 443)),
                    tuple("10.1.0.1", outside, (80, 4000)),
                    None,
                ),
                true,
            ),
            (
                "from behind the node's address",
                Entry::new(
                    tuple("10.1.0.1", outside, (4000, 80)),
                    tuple(outside, "192.0.2.9", (80, 61000)),
                    None,
                ),
                false,
            ),
            (
                "related to one that is allowed",
                Entry::new(
                    tuple(outside, "10.1.0.1", (20, 5000)),
                    tuple("10.1.0.1", outside, (5000, 20)),
                    Some(allowed),
                ),
                false,
            ),
            (
                "related to one that is denied",
                Entry::new(
                    tuple("10.1.0.1", outside, (5001, 5000)),
                    tuple(outside, "10.1.0.1", (5000, 5001)),
                    Some(control),
                ),
                true,
            ),
        ] {
            let masters = [
                Entry::new(control, tuple("10.1.0.1", outside, (21, 4001)), None),
                Entry::new(allowed, tuple(outside, "10.1.0.1", (21, 4001)), None),
            ];
            // In slices of one, the related one told first.
            let entries = [entry.clone()].into_iter().chain(masters).collect();
            let mut trial = Trial::new(entries);
            let guilty = std::iter::repeat_with(|| trial.go_on(&world, "n1", 1));
            let guilty = guilty.take(3).flatten().next().expect("three are judged in three turns");
            assert_eq!(guilty.contains(&entry), is_guilty, "{what}");
            assert_eq!(guilty.len(), 1 + usize::from(is_guilty), "{what}: the control denied");
        }
    }

    #[test]
    fn what_is_affected_follows_from_what_was_touched() {
        let mut world = world();
        drop(world.take_touched());
        let free = PodKey { namespace: "a".into(), name: "free".into() };
        let mut pod = Pod::clone(world.pod(&free).expect("it is there"));
        pod.labels = [("app".into(), "closed".into())].into();
        world.apply(Change::PodApplied(Arc::new(pod)));
        let touched = world.take_touched();
        let mut affected = Affected::of(&world, &touched);
        let there = |from: &str, to: &str| {
            Entry::new(tuple(from, to, (1, 2)), tuple(to, from, (2, 1)), None)
        };
        assert!(affected.concerns(&there("192.0.2.1", "10.1.0.2")));
        assert!(affected.concerns(&there("10.1.0.2", "192.0.2.1")));
        assert!(!affected.concerns(&there("192.0.2.1", "192.0.2.2")));
        let nodes = Touched { nodes: true, ..Touched::default() };
        affected.add(Affected::of(&world, &nodes));
        assert!(affected.concerns(&there("192.0.2.1", "192.0.2.2")));
        affected.add(Affected::none());
        assert_eq!(affected, Affected::All);
        assert!(Affected::of(&world, &Touched::default()).is_empty());
    }

    fn there(from: &str, to: &str) -> Entry {
        Entry::new(tuple(from, to, (1, 2)), tuple(to, from, (2, 1)), None)
    }

    fn calico(world: &mut World, spec: &serde_json::Value) {
        let object =
            serde_json::json!({"metadata": {"name": "out", "namespace": "a"}, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        let policy = ingest::network_policy_v3(&object).unwrap();
        world.apply(Change::PolicyApplied(Arc::new(policy)));
        drop(world.take_touched());
    }

    #[test]
    fn a_network_set_that_changes_affects_connections_with_its_blocks() {
        let mut world = world();
        let rule = serde_json::json!({
            "action": "Allow",
            "destination": {"namespaceSelector": "global()", "selector": "role == 'office'"}
        });
        calico(&mut world, &serde_json::json!({"selector": "app == 'free'", "egress": [rule]}));
        let set = |nets: &[&str]| {
            let object = serde_json::json!({
                "metadata": {"name": "offices", "labels": {"role": "office"}},
                "spec": {"nets": nets}
            });
            let object = serde_json::from_value(object).unwrap();
            let (set, problems) = ingest::global_network_set(&object).unwrap();
            assert_eq!(problems, []);
            Change::NetworkSetApplied(Arc::new(set))
        };
        let many: Vec<String> = (0..=MOST_BLOCKS).map(|i| format!("203.0.{i}.0/24")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        // With the two nets before that went, and the one that came.
        for (nets, near, far) in [
            (&["192.0.2.0/25", "198.51.100.7/32"][..], &["192.0.2.1", "198.51.100.7"][..], true),
            (&["198.51.100.7/32", "192.0.2.128/25"], &["192.0.2.1", "192.0.2.200"], true),
            (&many, &["203.0.7.7", "8.8.8.8"], false),
        ] {
            world.apply(set(nets));
            let touched = world.take_touched();
            let affected = Affected::of(&world, &touched);
            for address in near {
                assert!(affected.concerns(&there("10.1.0.2", address)), "{nets:?}: {address}");
            }
            assert_eq!(!affected.concerns(&there("10.1.0.2", "8.8.8.8")), far, "{nets:?}");
        }
    }

    #[test]
    fn a_service_that_loses_an_endpoint_affects_who_has_a_rule_for_it() {
        let mut world = world();
        let rule = serde_json::json!({
            "action": "Allow",
            "destination": {"services": {"name": "shop", "namespace": "a"}}
        });
        calico(&mut world, &serde_json::json!({"selector": "app == 'free'", "egress": [rule]}));
        let slice = |service: &str, addresses: &[&str]| {
            Change::SliceApplied(Arc::new(EndpointSlice {
                key: SliceKey { namespace: "a".into(), name: service.into() },
                service: Some(ServiceName { namespace: "a".into(), name: service.into() }),
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                ports: [(Protocol::Tcp, 80)].into(),
            }))
        };
        for (service, addresses, is_about_free) in [
            ("shop", &["192.0.2.1", "192.0.2.2"][..], true),
            ("shop", &["192.0.2.2"], true),
            ("other", &["192.0.2.1"], false),
        ] {
            world.apply(slice(service, addresses));
            let touched = world.take_touched();
            let affected = Affected::of(&world, &touched);
            let lost = there("10.1.0.2", "192.0.2.1");
            assert_eq!(affected.concerns(&lost), is_about_free, "{service} {addresses:?}");
            assert!(!affected.concerns(&there("10.1.0.1", "192.0.2.1")), "who names it not");
        }
    }
}
