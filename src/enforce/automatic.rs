//! Host endpoints that nodes have by themselves (policy-semantics 5.5): one for each Node, where
//! the configuration wants them. An object of such a name takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brindle_policy::Change;
use brindle_policy::model::{HostEndpoint, Node};

/// The nodes, and the names of host endpoints that somebody wrote.
#[derive(Debug, Default)]
pub(super) struct Automatic {
    is_on: bool,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    written: BTreeSet<Arc<str>>,
}

impl Automatic {
    /// Switches them on or off; what changes by it.
    pub(super) fn switch(&mut self, is_on: bool) -> Vec<Change> {
        if std::mem::replace(&mut self.is_on, is_on) == is_on {
            return Vec::new();
        }
        let nodes = self.nodes.values().map(|node| HostEndpoint::automatic(node));
        let ours = nodes.filter(|host| !self.written.contains(&host.name));
        ours.map(|host| match is_on {
            true => Change::HostEndpointApplied(Arc::new(host)),
            false => Change::HostEndpointDeleted(host.name),
        })
        .collect()
    }

    /// A change, with those that follow from it.
    pub(super) fn follow(&mut self, change: Change) -> Vec<Change> {
        match &change {
            Change::NodeApplied(node) => {
                let before = self.nodes.insert(Arc::clone(&node.name), Arc::clone(node));
                let host = HostEndpoint::automatic(node);
                let is_same = before.is_some_and(|node| HostEndpoint::automatic(&node) == host);
                if !is_same && self.makes(&host.name) {
                    return vec![change, Change::HostEndpointApplied(Arc::new(host))];
                }
            }
            Change::NodeDeleted(name) => {
                let name = HostEndpoint::automatic_name(name);
                let is_ours = self.makes(&name);
                if let Change::NodeDeleted(node) = &change {
                    self.nodes.remove(node);
                }
                if is_ours {
                    return vec![change, Change::HostEndpointDeleted(name)];
                }
            }
            Change::HostEndpointApplied(host) => _ = self.written.insert(Arc::clone(&host.name)),
            Change::HostEndpointDeleted(name) => {
                self.written.remove(name);
                if self.is_on
                    && let Some(node) = self.nodes.values().find(|n| is_of(n, name))
                {
                    let host = HostEndpoint::automatic(node);
                    return vec![Change::HostEndpointApplied(Arc::new(host))];
                }
            }
            Change::NamespaceApplied(_)
            | Change::NamespaceDeleted(_)
            | Change::PodApplied(_)
            | Change::PodDeleted(_)
            | Change::PolicyApplied(_)
            | Change::PolicyDeleted(_)
            | Change::Attached(_)
            | Change::Detached(_)
            | Change::TierApplied(_)
            | Change::TierDeleted(_)
            | Change::NetworkSetApplied(_)
            | Change::NetworkSetDeleted(_)
            | Change::ProfileApplied(_)
            | Change::ProfileDeleted(_)
            | Change::ServiceAccountApplied(_)
            | Change::ServiceAccountDeleted(_)
            | Change::SliceApplied(_)
            | Change::SliceDeleted(_)
            | Change::Devices(_)
            | Change::InSync => {}
        }
        vec![change]
    }

    fn makes(&self, name: &str) -> bool {
        self.is_on && !self.written.contains(name)
    }
}

fn is_of(node: &Node, name: &Arc<str>) -> bool {
    HostEndpoint::automatic_name(&node.name) == *name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str) -> Arc<Node> {
        Arc::new(Node {
            name: name.into(),
            addresses: [address.parse().unwrap()].into(),
            pod_cidrs: BTreeSet::new(),
            labels: [("zone".into(), "a".into())].into(),
        })
    }

    /// What is told of host endpoints: the name, and the address that it stands for.
    fn told(changes: &[Change]) -> Vec<String> {
        let tell = |change: &Change| match change {
            Change::HostEndpointApplied(host) => {
                Some(format!("{} {:?} {}", host.name, host.expected, host.labels.len()))
            }
            Change::HostEndpointDeleted(name) => Some(format!("no {name}")),
            _ => None,
        };
        changes.iter().filter_map(tell).collect()
    }

    #[test]
    fn each_node_has_one_unless_somebody_wrote_one_of_its_name() {
        let mut automatic = Automatic::default();
        let nothing = Vec::<String>::new();
        assert_eq!(told(&automatic.follow(Change::NodeApplied(node("n1", "10.0.0.1")))), nothing);
        assert_eq!(told(&automatic.switch(true)), ["n1-auto-hep {10.0.0.1} 2"]);
        assert_eq!(automatic.switch(true), []);
        let second = node("n2", "10.0.0.2");
        let changes = automatic.follow(Change::NodeApplied(second.clone()));
        assert_eq!(told(&changes), ["n2-auto-hep {10.0.0.2} 2"]);
        assert!(matches!(changes[0], Change::NodeApplied(_)), "the node first");
        let again = automatic.follow(Change::NodeApplied(second));
        assert_eq!(told(&again), nothing, "nothing changed");
        let moved = automatic.follow(Change::NodeApplied(node("n2", "10.0.0.3")));
        assert_eq!(told(&moved), ["n2-auto-hep {10.0.0.3} 2"]);

        let mut written = HostEndpoint::automatic(&node("n2", "10.9.9.9"));
        written.labels.clear();
        let change = Change::HostEndpointApplied(Arc::new(written));
        assert_eq!(told(&automatic.follow(change)), ["n2-auto-hep {10.9.9.9} 0"]);
        let moved = automatic.follow(Change::NodeApplied(node("n2", "10.0.0.4")));
        assert_eq!(told(&moved), nothing, "what somebody wrote counts");
        let gone = automatic.follow(Change::HostEndpointDeleted("n2-auto-hep".into()));
        assert_eq!(told(&gone), ["n2-auto-hep {10.0.0.4} 2"]);
        let gone = automatic.follow(Change::NodeDeleted("n2".into()));
        assert_eq!(told(&gone), ["no n2-auto-hep"]);
        let other = automatic.follow(Change::HostEndpointDeleted("eth".into()));
        assert_eq!(told(&other), ["no eth"]);
        assert_eq!(told(&automatic.switch(false)), ["no n1-auto-hep"]);
    }
}
