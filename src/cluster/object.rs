//! Objects of the kinds that a source delivers, and the changes that they come down to.

use std::fmt;
use std::sync::Arc;

use brindle_policy::model;
use brindle_policy::model::{AccountKey, NetworkSetId, ServiceName, SliceKey};
use brindle_policy::{Change as PolicyChange, PodKey, PolicyId};

use super::bgp::{BgpKey, BgpObject};
use super::kind::Kind;
use super::services::{Endpoints, Service};
use super::{Change, Node};

/// Which object: a kind and a name. Sorts in the order in which objects are told: a policy
/// after its tier and whom it governs or means, pods after their namespace and account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Node(Arc<str>),
    Namespace(Arc<str>),
    ServiceAccount(AccountKey),
    Pod(PodKey),
    Service(ServiceName),
    Slice(SliceKey),
    Tier(Arc<str>),
    Profile(Arc<str>),
    NetworkSet(NetworkSetId),
    HostEndpoint(Arc<str>),
    Policy(PolicyId),
    Bgp(BgpKey),
}

impl fmt::Display for Key {
    /// `Node/n1`, `Pod/shop/web`: kind, namespace, name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Node(name) => write!(f, "Node/{name}"),
            Key::Namespace(name) => write!(f, "Namespace/{name}"),
            Key::ServiceAccount(key) => write!(f, "ServiceAccount/{key}"),
            Key::Pod(key) => write!(f, "Pod/{key}"),
            Key::Service(name) => write!(f, "Service/{name}"),
            Key::Slice(key) => write!(f, "EndpointSlice/{}/{}", key.namespace, key.name),
            Key::Tier(name) => write!(f, "Tier/{name}"),
            Key::Profile(name) => write!(f, "Profile/{name}"),
            Key::NetworkSet(NetworkSetId { namespace: Some(namespace), name }) => {
                write!(f, "NetworkSet/{namespace}/{name}")
            }
            Key::NetworkSet(NetworkSetId { namespace: None, name }) => {
                write!(f, "GlobalNetworkSet/{name}")
            }
            Key::HostEndpoint(name) => write!(f, "HostEndpoint/{name}"),
            Key::Policy(id) => match &id.namespace {
                Some(namespace) => write!(f, "{}/{namespace}/{}", id.kind.as_str(), id.name),
                None => write!(f, "{}/{}", id.kind.as_str(), id.name),
            },
            Key::Bgp(key) => write!(f, "{key}"),
        }
    }
}

impl Key {
    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Key::Node(_) => Kind::Node,
            Key::Namespace(_) => Kind::Namespace,
            Key::ServiceAccount(_) => Kind::ServiceAccount,
            Key::Pod(_) => Kind::Pod,
            Key::Service(_) => Kind::Service,
            Key::Slice(_) => Kind::EndpointSlice,
            Key::Tier(_) => Kind::Tier,
            Key::Profile(_) => Kind::Profile,
            Key::NetworkSet(NetworkSetId { namespace: None, .. }) => Kind::GlobalNetworkSet,
            Key::NetworkSet(NetworkSetId { namespace: Some(_), .. }) => Kind::NetworkSet,
            Key::HostEndpoint(_) => Kind::HostEndpoint,
            Key::Policy(id) => Kind::of_policy(id.kind),
            Key::Bgp(key) => key.kind(),
        }
    }

    /// The changes that say that it is gone.
    pub(super) fn deleted(&self) -> Vec<Change> {
        let policy = Change::Policy(match self {
            Key::Bgp(key) => return vec![Change::BgpDeleted(key.clone())],
            Key::Service(name) => return vec![Change::ServiceDeleted(name.clone())],
            Key::Node(name) => PolicyChange::NodeDeleted(Arc::clone(name)),
            Key::Namespace(name) => PolicyChange::NamespaceDeleted(Arc::clone(name)),
            Key::ServiceAccount(key) => PolicyChange::ServiceAccountDeleted(key.clone()),
            Key::Pod(key) => PolicyChange::PodDeleted(key.clone()),
            Key::Slice(key) => PolicyChange::SliceDeleted(key.clone()),
            Key::Tier(name) => PolicyChange::TierDeleted(Arc::clone(name)),
            Key::Profile(name) => PolicyChange::ProfileDeleted(Arc::clone(name)),
            Key::NetworkSet(id) => PolicyChange::NetworkSetDeleted(id.clone()),
            Key::HostEndpoint(name) => PolicyChange::HostEndpointDeleted(Arc::clone(name)),
            Key::Policy(id) => PolicyChange::PolicyDeleted(id.clone()),
        });
        match self {
            Key::Node(name) => vec![Change::NodeDeleted(Arc::clone(name)), policy],
            Key::Slice(key) => vec![Change::EndpointsChanged(key.clone(), None), policy],
            Key::Namespace(_)
            | Key::ServiceAccount(_)
            | Key::Pod(_)
            | Key::Service(_)
            | Key::Tier(_)
            | Key::Profile(_)
            | Key::NetworkSet(_)
            | Key::HostEndpoint(_)
            | Key::Policy(_)
            | Key::Bgp(_) => vec![policy],
        }
    }
}

/// An object, as far as it is used.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    /// A node: routing and policy each need a part of it.
    Node {
        routing: Arc<Node>,
        policy: Arc<model::Node>,
    },
    Namespace(Arc<model::Namespace>),
    ServiceAccount(Arc<model::ServiceAccount>),
    Pod(Arc<model::Pod>),
    Service(Arc<Service>),
    /// A slice of endpoints: policy needs their addresses, routing where they are.
    Slice {
        routing: Option<Arc<Endpoints>>,
        policy: Arc<model::EndpointSlice>,
    },
    Tier(Arc<model::Tier>),
    Profile(Arc<model::Profile>),
    NetworkSet(Arc<model::NetworkSet>),
    HostEndpoint(Arc<model::HostEndpoint>),
    Policy(Arc<model::Policy>),
    Bgp(BgpObject),
}

impl Object {
    /// Which it is.
    pub(super) fn key(&self) -> Key {
        match self {
            Object::Node { routing, .. } => Key::Node(Arc::clone(&routing.name)),
            Object::Namespace(namespace) => Key::Namespace(Arc::clone(&namespace.name)),
            Object::ServiceAccount(account) => Key::ServiceAccount(account.key.clone()),
            Object::Pod(pod) => Key::Pod(pod.key.clone()),
            Object::Service(service) => Key::Service(service.name.clone()),
            Object::Slice { policy, .. } => Key::Slice(policy.key.clone()),
            Object::Tier(tier) => Key::Tier(Arc::clone(&tier.name)),
            Object::Profile(profile) => Key::Profile(Arc::clone(&profile.name)),
            Object::NetworkSet(set) => Key::NetworkSet(set.id.clone()),
            Object::HostEndpoint(host) => Key::HostEndpoint(Arc::clone(&host.name)),
            Object::Policy(policy) => Key::Policy(policy.id.clone()),
            Object::Bgp(object) => Key::Bgp(object.key()),
        }
    }

    /// The changes that turn `before`, an object of the same key, into this one.
    pub(super) fn applied(&self, before: Option<&Object>) -> Vec<Change> {
        match (self, before) {
            (Object::Node { routing, policy }, Some(Object::Node { routing: r, policy: p })) => {
                let routing_change = Change::NodeApplied(Arc::clone(routing));
                let policy_change = Change::Policy(PolicyChange::NodeApplied(Arc::clone(policy)));
                let changes = [(routing_change, routing != r), (policy_change, policy != p)];
                changes
                    .into_iter()
                    .filter_map(|(change, differs)| differs.then_some(change))
                    .collect()
            }
            (
                Object::Slice { routing, policy },
                Some(Object::Slice { routing: before, policy: policy_before }),
            ) => {
                let key = policy.key.clone();
                let routing_change = Change::EndpointsChanged(key, routing.clone());
                let policy_change = Change::Policy(PolicyChange::SliceApplied(Arc::clone(policy)));
                let changes =
                    [(routing_change, routing != before), (policy_change, policy != policy_before)];
                let differing = changes.into_iter().filter(|(_, differs)| *differs);
                differing.map(|(change, _)| change).collect()
            }
            (object, Some(before)) if object == before => Vec::new(),
            (object, _) => object.told(),
        }
    }

    /// The changes that say all of it.
    fn told(&self) -> Vec<Change> {
        let policy = match self {
            Object::Node { routing, policy } => {
                return vec![
                    Change::NodeApplied(Arc::clone(routing)),
                    Change::Policy(PolicyChange::NodeApplied(Arc::clone(policy))),
                ];
            }
            Object::Bgp(object) => return vec![Change::BgpApplied(object.clone())],
            Object::Service(service) => return vec![Change::ServiceApplied(Arc::clone(service))],
            Object::Slice { routing, policy } => {
                let routing = routing.iter().map(|endpoints| {
                    Change::EndpointsChanged(policy.key.clone(), Some(Arc::clone(endpoints)))
                });
                let policy = PolicyChange::SliceApplied(Arc::clone(policy));
                return routing.chain([Change::Policy(policy)]).collect();
            }
            Object::Namespace(namespace) => PolicyChange::NamespaceApplied(Arc::clone(namespace)),
            Object::ServiceAccount(account) => {
                PolicyChange::ServiceAccountApplied(Arc::clone(account))
            }
            Object::Pod(pod) => PolicyChange::PodApplied(Arc::clone(pod)),
            Object::Tier(tier) => PolicyChange::TierApplied(Arc::clone(tier)),
            Object::Profile(profile) => PolicyChange::ProfileApplied(Arc::clone(profile)),
            Object::NetworkSet(set) => PolicyChange::NetworkSetApplied(Arc::clone(set)),
            Object::HostEndpoint(host) => PolicyChange::HostEndpointApplied(Arc::clone(host)),
            Object::Policy(policy) => PolicyChange::PolicyApplied(Arc::clone(policy)),
        };
        vec![Change::Policy(policy)]
    }
}
