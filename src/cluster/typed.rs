//! From the keys and values of one object to what is used of it: typed, defaulted, judged.

use std::sync::Arc;

use brindle_policy::api::{calico, cluster};
use brindle_policy::ingest;
use brindle_policy::model::{self, AccountKey, NetworkSetId, PolicyKind, ServiceName, SliceKey};
use brindle_policy::{PodKey, PolicyId};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::bgp::{self, BgpKey, BgpObject};
use super::distrust;
use super::fields::{culprit, unknown_fields};
use super::kind::{CALICO_STORE, Kind};
use super::node::{self, BadField};
use super::object::{Key, Object};
use super::policy;
use super::services;
use super::stand_in::{self, StandIn};

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// What was made of an object.
pub(super) struct Reading {
    /// Which it is, or would be; `None` if that cannot be told.
    pub(super) key: Option<Key>,
    /// What is used of it, or all that is wrong.
    pub(super) object: Result<Object, Vec<BadField>>,
    /// What counts of one that is wrong while no good version is known.
    pub(super) stand_in: Option<StandIn>,
    /// Fields that do not say what their author may think.
    pub(super) doubts: Vec<BadField>,
}

/// Reads an object of a kind.
pub(super) fn read(kind: Kind, mut object: Mapping) -> Reading {
    if kind.is_namespaced() {
        default_namespace(&mut object);
    }
    take_from_store(&mut object);
    if kind == Kind::EndpointSlice {
        services::lift_beta(&mut object);
    }
    let value = Value::Mapping(object);
    let key = key(kind, &value);
    let mut doubts = Vec::new();
    let object = match kind {
        Kind::Node => typed(kind, &value, &mut doubts).and_then(|o| node(&o, &mut doubts)),
        Kind::Namespace => {
            typed(kind, &value, &mut doubts).and_then(|o| namespace(&o, &mut doubts))
        }
        Kind::ServiceAccount => {
            typed(kind, &value, &mut doubts).and_then(|o| service_account(&o, &mut doubts))
        }
        Kind::Pod => typed(kind, &value, &mut doubts).and_then(|o| pod(&o, &mut doubts)),
        Kind::Service => typed(kind, &value, &mut doubts).and_then(|o| service(&o)),
        Kind::EndpointSlice => {
            typed(kind, &value, &mut doubts).and_then(|o| endpoint_slice(&o, &mut doubts))
        }
        Kind::Tier => typed(kind, &value, &mut doubts).and_then(|o| tier(&o, &mut doubts)),
        Kind::Profile => typed(kind, &value, &mut doubts).and_then(|o| profile(&o, &mut doubts)),
        Kind::GlobalNetworkSet => {
            typed(kind, &value, &mut doubts).and_then(|o| global_network_set(&o, &mut doubts))
        }
        Kind::NetworkSet => {
            typed(kind, &value, &mut doubts).and_then(|o| network_set(&o, &mut doubts))
        }
        Kind::HostEndpoint => {
            typed(kind, &value, &mut doubts).and_then(|o| host_endpoint(&o, &mut doubts))
        }
        Kind::BgpConfiguration => {
            typed(kind, &value, &mut doubts).and_then(|o| bgp_configuration(&o, &mut doubts))
        }
        Kind::BgpFilter => {
            typed(kind, &value, &mut doubts).and_then(|o| bgp_filter(&o, &mut doubts))
        }
        Kind::BgpPeer => typed(kind, &value, &mut doubts).and_then(|o| bgp_peer(&o, &mut doubts)),
        Kind::Secret => secret(&value),
        Kind::NetworkPolicy => policy_of(policy::read(&value), &mut doubts),
        Kind::CalicoNetworkPolicy => policy_of(
            distrusted::<calico::NetworkPolicy>(kind, &key, &value, ingest::network_policy_v3),
            &mut doubts,
        ),
        Kind::GlobalNetworkPolicy => policy_of(
            distrusted::<calico::GlobalNetworkPolicy>(
                kind,
                &key,
                &value,
                ingest::global_network_policy,
            ),
            &mut doubts,
        ),
        Kind::ClusterNetworkPolicy => policy_of(
            distrusted::<cluster::ClusterNetworkPolicy>(
                kind,
                &key,
                &value,
                ingest::cluster_network_policy,
            ),
            &mut doubts,
        ),
        Kind::StagedKubernetesNetworkPolicy => typed(kind, &value, &mut doubts)
            .and_then(|o| policy_of(ingest::staged_kubernetes_network_policy(&o), &mut doubts)),
        Kind::StagedNetworkPolicy => policy_of(
            distrusted::<calico::StagedNetworkPolicy>(
                kind,
                &key,
                &value,
                ingest::staged_network_policy,
            ),
            &mut doubts,
        ),
        Kind::StagedGlobalNetworkPolicy => policy_of(
            distrusted::<calico::StagedGlobalNetworkPolicy>(
                kind,
                &key,
                &value,
                ingest::staged_global_network_policy,
            ),
            &mut doubts,
        ),
    };
    let stand_in = object.is_err().then(|| stand_in::of(kind, &value)).flatten();
    Reading { key, object, stand_in, doubts }
}

/// Reads an object of a kind as the API server writes it, in JSON. A server may be newer than
/// we are: a field that we do not know says nothing, except in a policy, where it may restrict.
pub(super) fn read_json(kind: Kind, text: &str) -> Reading {
    let mut doubts = Vec::new();
    // Most objects are right, and there are many: no tree is made of them.
    let object = match kind {
        Kind::Node => parsed(text).map(|object| node(&object, &mut doubts)),
        Kind::Namespace => parsed(text).map(|object| namespace(&object, &mut doubts)),
        Kind::ServiceAccount => parsed(text).map(|object| service_account(&object, &mut doubts)),
        Kind::Pod => parsed(text).map(|object| pod(&object, &mut doubts)),
        Kind::Service => parsed(text).map(|object| service(&object)),
        Kind::EndpointSlice if text.contains(services::BETA_FIELD) => None,
        Kind::EndpointSlice => parsed(text).map(|object| endpoint_slice(&object, &mut doubts)),
        _ if text.contains(STORED_METADATA) => None,
        Kind::Tier => parsed(text).map(|object| tier(&object, &mut doubts)),
        Kind::Profile => parsed(text).map(|object| profile(&object, &mut doubts)),
        Kind::GlobalNetworkSet => {
            parsed(text).map(|object| global_network_set(&object, &mut doubts))
        }
        Kind::NetworkSet => parsed(text).map(|object| network_set(&object, &mut doubts)),
        Kind::HostEndpoint => parsed(text).map(|object| host_endpoint(&object, &mut doubts)),
        Kind::BgpConfiguration => {
            parsed(text).map(|object| bgp_configuration(&object, &mut doubts))
        }
        Kind::BgpFilter => parsed(text).map(|object| bgp_filter(&object, &mut doubts)),
        Kind::BgpPeer => parsed(text).map(|object| bgp_peer(&object, &mut doubts)),
        Kind::NetworkPolicy
        | Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::Secret => None,
    };
    if let Some(Ok(object)) = object {
        return Reading { key: Some(object.key()), object: Ok(object), stand_in: None, doubts };
    }
    let mut object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Mapping(object)) => object,
        Ok(_) => return Reading::nothing("is not an object".to_owned()),
        Err(error) => return Reading::nothing(format!("not valid JSON: {error}")),
    };
    if kind.is_optional() || kind == Kind::NetworkPolicy {
        // It says nothing about traffic. (Kubernetes 1.24 to 1.27 had one of NetworkPolicies.)
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
        Self { key: None, object: Err(vec![bad]), stand_in: None, doubts: Vec::new() }
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

fn service(object: &Service) -> Result<Object, Vec<BadField>> {
    Ok(Object::Service(Arc::new(services::read_service(object)?)))
}

fn endpoint_slice(
    object: &EndpointSlice,
    doubts: &mut Vec<BadField>,
) -> Result<Object, Vec<BadField>> {
    let routing = services::read_endpoints(object).map(Arc::new);
    let (policy, problems) = ingest::endpoint_slice(object).map_err(refused)?;
    doubts.extend(problems.into_iter().map(bad_field));
    Ok(Object::Slice { routing, policy: Arc::new(policy) })
}

/// A function from an object as it is written to one of [`Object`], which notes what is wrong
/// with it.
macro_rules! taken {
    ($($name:ident: $from:ty => $to:ident;)*) => {$(
        fn $name(object: &$from, doubts: &mut Vec<BadField>) -> Result<Object, Vec<BadField>> {
            let (object, problems) = ingest::$name(object).map_err(refused)?;
            doubts.extend(problems.into_iter().map(bad_field));
            Ok(Object::$to(Arc::new(object)))
        }
    )*};
}

taken! {
    namespace: Namespace => Namespace;
    service_account: ServiceAccount => ServiceAccount;
    pod: Pod => Pod;
    tier: calico::Tier => Tier;
    profile: calico::Profile => Profile;
    global_network_set: calico::GlobalNetworkSet => NetworkSet;
    network_set: calico::NetworkSet => NetworkSet;
    host_endpoint: calico::HostEndpoint => HostEndpoint;
}

/// The same for objects about BGP.
macro_rules! taken_for_bgp {
    ($($name:ident: $from:ty, $read:ident => $to:ident;)*) => {$(
        fn $name(object: &$from, doubts: &mut Vec<BadField>) -> Result<Object, Vec<BadField>> {
            let (object, idle) = bgp::$read(object)?;
            doubts.extend(idle);
            Ok(Object::Bgp(BgpObject::$to(Arc::new(object))))
        }
    )*};
}

taken_for_bgp! {
    bgp_configuration: bgp::api::BgpConfiguration, read_configuration => Configuration;
    bgp_filter: bgp::api::BgpFilter, read_filter => Filter;
    bgp_peer: bgp::api::BgpPeer, read_peer => Peer;
}

/// A Secret. What is wrong with it never shows a value.
fn secret(value: &Value) -> Result<Object, Vec<BadField>> {
    let refused = |field: String| {
        let message = "is not what a Secret has there; data holds base64, stringData holds text";
        vec![BadField { field, message: message.to_owned() }]
    };
    let object = <Secret as serde::Deserialize>::deserialize(value)
        .map_err(|_| refused(culprit::<Secret>(value)))?;
    let (secret, _) = bgp::read_secret(&object)?;
    Ok(Object::Bgp(BgpObject::Secret(Arc::new(secret))))
}

fn distrusted<T: DeserializeOwned + Serialize>(
    kind: Kind,
    key: &Option<Key>,
    value: &Value,
    ingest: fn(&T) -> Result<model::Policy, model::Problem>,
) -> Result<model::Policy, model::Problem> {
    let id = key.as_ref().and_then(|key| match key {
        Key::Policy(id) => Some(id),
        _ => None,
    });
    distrust::read(kind, id, value, ingest)
}

fn policy_of(
    policy: Result<model::Policy, model::Problem>,
    doubts: &mut Vec<BadField>,
) -> Result<Object, Vec<BadField>> {
    let policy = policy.map_err(refused)?;
    doubts.extend(policy.problems.iter().cloned().map(bad_field));
    Ok(Object::Policy(Arc::new(policy)))
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

/// The annotation in which Calico keeps the metadata of what it stores.
const STORED_METADATA: &str = "projectcalico.org/metadata";

/// As much of the metadata as is of use.
#[derive(serde::Deserialize)]
struct StoredMetadata {
    labels: Option<Mapping>,
    annotations: Option<Mapping>,
}

/// Gives an object of Calico's store the labels and annotations that it has to its users: as
/// they are written in an annotation, if there is that. Its names stay as they are.
fn take_from_store(object: &mut Mapping) {
    if object.get("apiVersion").and_then(Value::as_str) != Some(CALICO_STORE) {
        return;
    }
    let Some(Value::Mapping(metadata)) = object.get_mut("metadata") else { return };
    let stored = metadata.get("annotations").and_then(|all| all.get(STORED_METADATA));
    let stored = stored.and_then(Value::as_str).map(serde_json::from_str::<StoredMetadata>);
    // One that is not understood says nothing; whoever writes it may write the labels too.
    let Some(Ok(StoredMetadata { labels, annotations })) = stored else { return };
    for (key, map) in [("labels", labels), ("annotations", annotations)] {
        match map {
            Some(map) => drop(metadata.insert(key.into(), Value::Mapping(map))),
            None => drop(metadata.remove(key)),
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
    let policy = |kind: PolicyKind| {
        let namespace = if kind.is_namespaced() { Some(part(namespace)?) } else { None };
        Some(Key::Policy(PolicyId { kind, namespace, name: Arc::clone(&name) }))
    };
    match kind {
        Kind::NetworkPolicy => policy(PolicyKind::NetworkPolicy),
        Kind::CalicoNetworkPolicy => policy(PolicyKind::CalicoNetworkPolicy),
        Kind::GlobalNetworkPolicy => policy(PolicyKind::GlobalNetworkPolicy),
        Kind::ClusterNetworkPolicy => policy(PolicyKind::ClusterNetworkPolicy),
        Kind::StagedKubernetesNetworkPolicy => policy(PolicyKind::StagedKubernetesNetworkPolicy),
        Kind::StagedNetworkPolicy => policy(PolicyKind::StagedNetworkPolicy),
        Kind::StagedGlobalNetworkPolicy => policy(PolicyKind::StagedGlobalNetworkPolicy),
        Kind::Node => Some(Key::Node(name)),
        Kind::Namespace => Some(Key::Namespace(name)),
        Kind::ServiceAccount => {
            Some(Key::ServiceAccount(AccountKey { namespace: part(namespace)?, name }))
        }
        Kind::Pod => Some(Key::Pod(PodKey { namespace: part(namespace)?, name })),
        Kind::Service => Some(Key::Service(ServiceName { namespace: part(namespace)?, name })),
        Kind::EndpointSlice => Some(Key::Slice(SliceKey { namespace: part(namespace)?, name })),
        Kind::Tier => Some(Key::Tier(name)),
        Kind::Profile => Some(Key::Profile(name)),
        Kind::GlobalNetworkSet => Some(Key::NetworkSet(NetworkSetId { namespace: None, name })),
        Kind::NetworkSet => {
            Some(Key::NetworkSet(NetworkSetId { namespace: Some(part(namespace)?), name }))
        }
        Kind::HostEndpoint => Some(Key::HostEndpoint(name)),
        Kind::BgpConfiguration => Some(Key::Bgp(BgpKey::Configuration(name))),
        Kind::BgpFilter => Some(Key::Bgp(BgpKey::Filter(name))),
        Kind::BgpPeer => Some(Key::Bgp(BgpKey::Peer(name))),
        Kind::Secret => Some(Key::Bgp(BgpKey::Secret(part(namespace)?, name))),
    }
}
