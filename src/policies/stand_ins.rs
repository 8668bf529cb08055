//! Addresses for pods that only exist on paper: manifests as people write them have no status,
//! and yet it can be told who may reach whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use brindle_policy::model::{Criterion, Labels, Node, PeerTerm, Pod};
use brindle_policy::{Change, Direction, World};

/// The first address of made-up pods. The whole block is reserved (RFC 1112 §4): no cluster has
/// it, and no block in a policy is about it, unless it is about everything.
const FIRST_POD: u32 = 0xf000_0001;
/// The same for made-up nodes.
const FIRST_NODE: u32 = 0xf100_0001;

/// Gives every pod that is to run and has no address one of its own, and every node that pods
/// name and nobody describes one as well. Answers how many pods that were.
pub fn settle(world: &mut World) -> usize {
    let runs = |pod: &&Arc<Pod>| pod.addresses.is_empty() && !pod.finished && !pod.host_network;
    let pods: Vec<Arc<Pod>> = world.pods().filter(runs).cloned().collect();
    for (pod, number) in pods.iter().zip(FIRST_POD..) {
        let addresses = vec![IpAddr::from(Ipv4Addr::from(number))];
        world.apply(Change::PodApplied(Arc::new(Pod { addresses, ..(**pod).clone() })));
    }
    let named: BTreeSet<Arc<str>> = world.pods().filter_map(|pod| pod.node.clone()).collect();
    let unknown: Vec<Arc<str>> =
        named.into_iter().filter(|name| world.node(name).is_none()).collect();
    for (name, number) in unknown.into_iter().zip(FIRST_NODE..) {
        let addresses = [IpAddr::from(Ipv4Addr::from(number))].into();
        let node = Node { name, addresses, pod_cidrs: BTreeSet::new(), labels: Labels::new() };
        world.apply(Change::NodeApplied(Arc::new(node)));
    }
    pods.len()
}

/// The policies of `world` that name blocks of addresses, which made-up addresses are in none
/// of.
pub fn policies_with_blocks(world: &World) -> Vec<String> {
    let has_block = |criterion: &Criterion| match criterion {
        Criterion::Peer { any_of, .. } => {
            any_of.iter().any(|term| matches!(term, PeerTerm::Block(_)))
        }
        Criterion::Ports { .. }
        | Criterion::Family(_)
        | Criterion::Icmp { .. }
        | Criterion::Service { .. }
        | Criterion::Protocol { .. } => false,
    };
    let mut found = BTreeMap::new();
    for policy in world.policies() {
        let rules = Direction::ALL.iter().filter_map(|direction| policy.rules(*direction));
        if rules.flatten().any(|rule| rule.criteria.iter().any(has_block)) {
            found.insert(policy.id.clone(), policy.id.to_string());
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use brindle_policy::ingest;
    use k8s_openapi::api::core::v1 as core;

    use super::*;

    fn pod(yaml: &str) -> Change {
        let object: core::Pod = serde_yaml::from_str(yaml).unwrap();
        Change::PodApplied(Arc::new(ingest::pod(&object).unwrap().0))
    }

    #[test]
    fn only_pods_that_run_and_have_no_address_get_one() {
        let mut world = World::default();
        for yaml in [
            "{metadata: {name: plain}, spec: {nodeName: n1, containers: []}}",
            "{metadata: {name: other}, spec: {containers: []}}",
            "{metadata: {name: placed}, spec: {containers: []}, status: {podIP: 10.1.0.1}}",
            "{metadata: {name: host}, spec: {hostNetwork: true, containers: []}}",
            "{metadata: {name: done}, spec: {containers: []}, status: {phase: Succeeded}}",
        ] {
            world.apply(pod(yaml));
        }
        assert_eq!(settle(&mut world), 2);
        let addresses: Vec<String> =
            world.pods().map(|pod| format!("{} {:?}", pod.key.name, pod.addresses)).collect();
        assert_eq!(
            addresses,
            ["done []", "host []", "other [240.0.0.1]", "placed [10.1.0.1]", "plain [240.0.0.2]"]
        );
        let node = world.node("n1").expect("a pod names it");
        assert!(node.addresses.contains(&"241.0.0.1".parse().unwrap()));
        assert_eq!(settle(&mut world), 0, "once is enough");
    }
}
