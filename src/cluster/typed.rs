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
        Kind::Node => node(&value, &mut doubts),
        Kind::Namespace => typed::<Namespace>(kind, &value, &mut doubts).and_then(|object| {
            let (namespace, problems) = ingest::namespace(&object).map_err(refused)?;
            doubts.extend(problems.into_iter().map(bad_field));
            Ok(Object::Namespace(Arc::new(namespace)))
        }),
        Kind::Pod => typed::<Pod>(kind, &value, &mut doubts).and_then(|object| {
            let (pod, problems) = ingest::pod(&object).map_err(refused)?;
            doubts.extend(problems.into_iter().map(bad_field));
            Ok(Object::Pod(Arc::new(pod)))
        }),
        Kind::NetworkPolicy => policy::read(&value).map_err(refused).map(|policy| {
            doubts.extend(policy.problems.iter().cloned().map(bad_field));
            Object::Policy(Arc::new(policy))
        }),
    };
    Reading { key, object, doubts }
}

/// A node must be right for routing and for policy: half of one would be of no use to anybody.
fn node(value: &Value, doubts: &mut Vec<BadField>) -> Result<Object, Vec<BadField>> {
    let object: Node = typed(Kind::Node, value, doubts)?;
    let routing = node::read(&object)?;
    let (policy, problems) = ingest::node(&object).map_err(refused)?;
    doubts.extend(problems.into_iter().map(bad_field));
    Ok(Object::Node { routing: Arc::new(routing), policy: Arc::new(policy) })
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
pub(super) fn unknown<T: Serialize>(object: &T, value: &Value) -> Vec<String> {
    serde_yaml::to_value(object).map_or_else(|_| Vec::new(), |known| unknown_fields(value, &known))
}

/// The message alone: the place is said by those who know the file.
pub(super) fn without_place(error: &serde_yaml::Error) -> String {
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
    let text =
        |key: &str| metadata.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = || text("name").map(Arc::from);
    let namespace = || text("namespace").map(Arc::from);
    Some(match kind {
        Kind::Node => Key::Node(name()?),
        Kind::Namespace => Key::Namespace(name()?),
        Kind::Pod => Key::Pod(PodKey { namespace: namespace()?, name: name()? }),
        Kind::NetworkPolicy => Key::Policy(PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some(namespace()?),
            name: name()?,
        }),
    })
}
