//! From the keys and values of one object to what is used of it: typed, defaulted, judged.

use std::sync::Arc;

use brindle_policy::ingest;
use brindle_policy::model::{self, PolicyKind};
use brindle_policy::{PodKey, PolicyId};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::fields::{culprit, unknown_fields};
use super::kind::Kind;
use super::node::{self, BadField};
use super::object::{Key, Object};
use super::policy;

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// What was made of an object.
pub(super) struct Reading {
    /// Which it is, or would be; `None` if that cannot be told.
    pub(super) key: Option<Key>,
    /// What is used of it, or all that is wrong.
    pub(super) object: Result<Object, Vec<BadField>>,
    /// Fields that do not say what their author may think.
    pub(super) doubts: Vec<BadField>,
}

/// Reads an object of a kind.
pub(super) fn read(kind: Kind, mut object: Mapping) -> Reading {
    if matches!(kind, Kind::Pod | Kind::NetworkPolicy) {
        default_namespace(&mut object);
    }
    let value = Value::Mapping(object);
    let key = key(kind, &value);
    let mut doubts = Vec::new();
    let object = match kind {
        Kind::Node => typed(kind, &value, &mut doubts).and_then(|o| node(&o, &mut doubts)),
        Kind::Namespace => {
            typed(kind, &value, &mut doubts).and_then(|o| namespace(&o, &mut doubts))
        }
        Kind::Pod => typed(kind, &value, &mut doubts).and_then(|o| pod(&o, &mut doubts)),
        Kind::NetworkPolicy => policy::read(&value).map_err(refused).map(|policy| {
            doubts.extend(policy.problems.iter().cloned().map(bad_field));
            Object::Policy(Arc::new(policy))
        }),
        other => unreachable!("{other:?} is not delivered"),
    };
    Reading { key, object, doubts }
}

/// Reads an object of a kind as the API server writes it, in JSON. A server may be newer than
/// we are: a field that we do not know says nothing, except in a policy, where it may restrict.
pub(super) fn read_json(kind: Kind, text: &str) -> Reading {
    let mut doubts = Vec::new();
    // Most objects are right, and there are many: no tree is made of them.
    let object = match kind {
        Kind::Node => parsed(text).map(|object| node(&object, &mut doubts)),
        Kind::Namespace => parsed(text).map(|object| namespace(&object, &mut doubts)),
        Kind::Pod => parsed(text).map(|object| pod(&object, &mut doubts)),
        _ => None,
    };
    if let Some(Ok(object)) = object {
        return Reading { key: Some(object.key()), object: Ok(object), doubts };
    }
    let mut object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Mapping(object)) => object,
        Ok(_) => return Reading::nothing("is not an object".to_owned()),
        Err(error) => return Reading::nothing(format!("not valid JSON: {error}")),
    };
    if kind == Kind::NetworkPolicy {
        // Kubernetes 1.24 to 1.27 had one, which says nothing about traffic.
        object.remove("status");
    }
    let reading = read(kind, object);
    match reading.object {
        // What is unknown is not why it is refused.
        Err(_) => Reading { doubts: Vec::new(), ..reading },
        Ok(_) => reading,
    }
}

impl Reading {
    /// Of something of which not even a name can be told.
    fn nothing(message: String) -> Self {
        let bad = BadField { field: String::new(), message };
        Self { key: None, object: Err(vec![bad]), doubts: Vec::new() }
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// A node must be right for routing and for policy: half of one would be of no use to anybody.
fn node(object: &Node, doubts: &mut Vec<BadField>) -> Result<Object, Vec<BadField>> {
    let routing = node::read(object)?;
    let (policy, problems) = ingest::node(object).map_err(refused)?;
    doubts.extend(problems.into_iter().map(bad_field));
    Ok(Object::Node { routing: Arc::new(routing), policy: Arc::new(policy) })
}

fn namespace(object: &Namespace, doubts: &mut Vec<BadField>) -> Result<Object, Vec<BadField>> {
    let (namespace, problems) = ingest::namespace(object).map_err(refused)?;
    doubts.extend(problems.into_iter().map(bad_field));
    Ok(Object::Namespace(Arc::new(namespace)))
}

fn pod(object: &Pod, doubts: &mut Vec<BadField>) -> Result<Object, Vec<BadField>> {
    let (pod, problems) = ingest::pod(object).map_err(refused)?;
    doubts.extend(problems.into_iter().map(bad_field));
    Ok(Object::Pod(Arc::new(pod)))
}

/// The object as a `T`; fields that a `T` does not have are noted.
fn typed<T: DeserializeOwned + Serialize>(
    kind: Kind,
    value: &Value,
    doubts: &mut Vec<BadField>,
) -> Result<T, Vec<BadField>> {
    let object = T::deserialize(value).map_err(|error| {
        vec![BadField { field: culprit::<T>(value), message: without_place(&error) }]
    })?;
    doubts.extend(unknown(&object, value).into_iter().map(|field| BadField {
        field,
        message: format!("a {} has no such field; it says nothing", kind.name()),
    }));
    Ok(object)
}

/// The fields in `value` that `object`, which was read from it, does not have.
pub(crate) fn unknown<T: Serialize>(object: &T, value: &Value) -> Vec<String> {
    serde_yaml::to_value(object).map_or_else(|_| Vec::new(), |known| unknown_fields(value, &known))
}

/// The message alone: the place is said by those who know the file.
pub(crate) fn without_place(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match (error.location(), text.find(" at line ")) {
        (Some(_), Some(end)) => text.get(..end).unwrap_or(&text).to_owned(),
        _ => text,
    }
}

fn refused(problem: model::Problem) -> Vec<BadField> {
    vec![bad_field(problem)]
}

fn bad_field(problem: model::Problem) -> BadField {
    BadField { field: problem.field, message: problem.message }
}

/// Puts in the namespace that `kubectl` would.
fn default_namespace(object: &mut Mapping) {
    if let Some(Value::Mapping(metadata)) = object.get_mut("metadata") {
        let namespace = metadata.entry("namespace".into()).or_insert(Value::Null);
        if namespace.is_null() || namespace.as_str() == Some("") {
            *namespace = DEFAULT_NAMESPACE.into();
        }
    }
}

fn key(kind: Kind, object: &Value) -> Option<Key> {
    let metadata = object.get("metadata")?;
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    key_of(kind, text("namespace"), text("name"))
}

/// The key of an object of this name; `None` if it lacks a part.
pub(super) fn key_of(kind: Kind, namespace: Option<&str>, name: Option<&str>) -> Option<Key> {
    let part = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Arc::<str>::from);
    let name = part(name)?;
    Some(match kind {
        Kind::Node => Key::Node(name),
        Kind::Namespace => Key::Namespace(name),
        Kind::Pod => Key::Pod(PodKey { namespace: part(namespace)?, name }),
        Kind::NetworkPolicy => Key::Policy(PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some(part(namespace)?),
            name,
        }),
        other => unreachable!("{other:?} is not delivered"),
    })
}
