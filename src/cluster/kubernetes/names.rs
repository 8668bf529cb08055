//! Texts that many pods share, kept once: most labels of a pod are those of its siblings. So
//! are namespaces of service accounts and of services' endpoints, of which there are as many.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use brindle_policy::model::{
    AccountKey, EndpointSlice, Labels, NamedPort, Pod, PodKey, ServiceAccount, ServiceName,
    SliceKey,
};

use crate::cluster::object::Object;
use crate::cluster::services::Endpoints;

/// The texts in use, and some that were.
#[derive(Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
    /// How many there may be before those that nobody uses any more are looked for.
    limit: usize,
}

impl Names {
    /// Fewer are not worth looking through.
    const FEW: usize = 1024;

    /// The object with its texts shared, if it is of a kind that there are many of.
    pub(super) fn share(&mut self, object: Object) -> Object {
        let shared = match object {
            Object::Pod(pod) => self.pod(pod),
            Object::ServiceAccount(account) => self.account(account),
            Object::Slice { routing, policy } => self.slice(routing, policy),
            Object::Node { .. }
            | Object::Namespace(_)
            | Object::Service(_)
            | Object::Tier(_)
            | Object::Profile(_)
            | Object::NetworkSet(_)
            | Object::HostEndpoint(_)
            | Object::Policy(_)
            | Object::Bgp(_) => return object,
        };
        self.forget();
        shared
    }

    fn account(&mut self, account: Arc<ServiceAccount>) -> Object {
        let ServiceAccount { key, labels } = Arc::unwrap_or_clone(account);
        // Pods name it, and it itself in its labels.
        let key = AccountKey { namespace: self.one(key.namespace), name: self.one(key.name) };
        Object::ServiceAccount(Arc::new(ServiceAccount { key, labels: self.labels(labels) }))
    }

    fn slice(&mut self, routing: Option<Arc<Endpoints>>, policy: Arc<EndpointSlice>) -> Object {
        let EndpointSlice { key, service, addresses, ports } = Arc::unwrap_or_clone(policy);
        let key = SliceKey { namespace: self.one(key.namespace), name: key.name };
        let service = service.map(|service| ServiceName {
            namespace: self.one(service.namespace),
            name: self.one(service.name),
        });
        let routing = routing.map(|endpoints| {
            let Endpoints { family, is_ready, nodes, .. } = Arc::unwrap_or_clone(endpoints);
            let nodes = nodes.into_iter().map(|node| self.one(node)).collect();
            let (key, service) = (key.clone(), service.clone());
            service.map(|service| Arc::new(Endpoints { key, service, family, is_ready, nodes }))
        });
        let policy = Arc::new(EndpointSlice { key, service, addresses, ports });
        Object::Slice { routing: routing.flatten(), policy }
    }

    fn pod(&mut self, pod: Arc<Pod>) -> Object {
        let Pod {
            key,
            labels,
            node,
            host_network,
            finished,
            addresses,
            ports,
            created,
            service_account,
        } = Arc::unwrap_or_clone(pod);
        let mut addresses = addresses;
        addresses.shrink_to_fit();
        let pod = Pod {
            key: PodKey { namespace: self.one(key.namespace), name: key.name },
            labels: self.labels(labels),
            node: node.map(|node| self.one(node)),
            host_network,
            finished,
            addresses,
            ports: self.ports(ports),
            // Pods of one deployment are made within seconds.
            created: self.one(created),
            service_account: self.one(service_account),
        };
        Object::Pod(Arc::new(pod))
    }

    fn labels(&mut self, labels: Labels) -> Labels {
        labels.into_iter().map(|(key, value)| (self.one(key), self.one(value))).collect()
    }

    fn ports(&mut self, ports: BTreeSet<NamedPort>) -> BTreeSet<NamedPort> {
        let share = |port: NamedPort| NamedPort { name: self.one(port.name), ..port };
        ports.into_iter().map(share).collect()
    }

    fn one(&mut self, text: Arc<str>) -> Arc<str> {
        if let Some(known) = self.known.get(&text) {
            return Arc::clone(known);
        }
        self.known.insert(Arc::clone(&text));
        text
    }

    /// Lets go of texts that nobody else holds, now and then: each is looked at about as often
    /// as it was taken in.
    fn forget(&mut self) {
        if self.known.len() > self.limit {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.limit = (self.known.len() * 2).max(Self::FEW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, label: &str) -> Object {
        Object::Pod(Arc::new(Pod {
            key: PodKey { namespace: "shop".into(), name: name.into() },
            labels: Labels::from([("app".into(), label.into())]),
            node: Some("n1".into()),
            host_network: false,
            finished: false,
            addresses: vec!["10.0.0.1".parse().expect("an address")],
            ports: BTreeSet::new(),
            created: "2026-01-01T00:00:00Z".into(),
            service_account: "default".into(),
        }))
    }

    #[test]
    fn texts_of_siblings_are_one_and_are_let_go_with_the_last() {
        let mut names = Names::default();
        let (a, b) = (names.share(pod("a", "web")), names.share(pod("b", "web")));
        assert_eq!(a, pod("a", "web"), "nothing is changed");
        let (Object::Pod(a), Object::Pod(b)) = (&a, &b) else { panic!("pods") };
        for (a, b) in [
            (&a.key.namespace, &b.key.namespace),
            (&a.labels["app"], &b.labels["app"]),
            (&a.service_account, &b.service_account),
        ] {
            assert!(Arc::ptr_eq(a, b), "{a}");
        }
        for number in 0..10 * Names::FEW {
            names.share(pod("c", &format!("only-{number}")));
        }
        assert!(names.known.len() <= 2 * Names::FEW, "{}", names.known.len());
        assert!(names.known.contains("web"));
    }
}
