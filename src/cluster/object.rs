//! Objects of the kinds that a source delivers, and the changes that they come down to.

use std::fmt;
use std::sync::Arc;

use brindle_policy::model;
use brindle_policy::{Change as PolicyChange, PodKey, PolicyId};

use super::kind::Kind;
use super::{Change, Node};

/// Which object: a kind and a name. Sorts in the order in which objects are told: a policy
/// after the pods that it governs, these after their namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Node(Arc<str>),
    Namespace(Arc<str>),
    Pod(PodKey),
    Policy(PolicyId),
}

impl fmt::Display for Key {
    /// `Node/n1`, `Pod/shop/web`: kind, namespace, name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Node(name) => write!(f, "Node/{name}"),
            Key::Namespace(name) => write!(f, "Namespace/{name}"),
            Key::Pod(key) => write!(f, "Pod/{key}"),
            Key::Policy(id) => match &id.namespace {
                Some(namespace) => write!(f, "{}/{namespace}/{}", id.kind.as_str(), id.name),
                None => write!(f, "{}/{}", id.kind.as_str(), id.name),
            },
        }
    }
}

impl Key {
    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Key::Node(_) => Kind::Node,
            Key::Namespace(_) => Kind::Namespace,
            Key::Pod(_) => Kind::Pod,
            Key::Policy(id) => Kind::of_policy(id.kind),
        }
    }

    /// The changes that say that it is gone.
    pub(super) fn deleted(&self) -> Vec<Change> {
        let policy = Change::Policy(match self {
            Key::Node(name) => PolicyChange::NodeDeleted(Arc::clone(name)),
            Key::Namespace(name) => PolicyChange::NamespaceDeleted(Arc::clone(name)),
            Key::Pod(key) => PolicyChange::PodDeleted(key.clone()),
            Key::Policy(id) => PolicyChange::PolicyDeleted(id.clone()),
        });
        match self {
            Key::Node(name) => vec![Change::NodeDeleted(Arc::clone(name)), policy],
            Key::Namespace(_) | Key::Pod(_) | Key::Policy(_) => vec![policy],
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
    Pod(Arc<model::Pod>),
    Policy(Arc<model::Policy>),
}

impl Object {
    /// Which it is.
    pub(super) fn key(&self) -> Key {
        match self {
            Object::Node { routing, .. } => Key::Node(Arc::clone(&routing.name)),
            Object::Namespace(namespace) => Key::Namespace(Arc::clone(&namespace.name)),
            Object::Pod(pod) => Key::Pod(pod.key.clone()),
            Object::Policy(policy) => Key::Policy(policy.id.clone()),
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
            (object, Some(before)) if object == before => Vec::new(),
            (Object::Node { routing, policy }, _) => vec![
                Change::NodeApplied(Arc::clone(routing)),
                Change::Policy(PolicyChange::NodeApplied(Arc::clone(policy))),
            ],
            (Object::Namespace(namespace), _) => {
                vec![Change::Policy(PolicyChange::NamespaceApplied(Arc::clone(namespace)))]
            }
            (Object::Pod(pod), _) => {
                vec![Change::Policy(PolicyChange::PodApplied(Arc::clone(pod)))]
            }
            (Object::Policy(policy), _) => {
                vec![Change::Policy(PolicyChange::PolicyApplied(Arc::clone(policy)))]
            }
        }
    }
}
