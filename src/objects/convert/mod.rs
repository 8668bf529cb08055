//! From Calico's older APIs, and Kubernetes' NetworkPolicy, to `projectcalico.org/v3`.
//!
//! What has no equivalent is refused with the reason: half a policy would be another policy.

mod first;
mod kubernetes;

use serde_json::{Map, Value, json};

use super::found::{Mistake, Place};
use super::read::STORED;
use super::words::KINDS;
use crate::cluster::kind::{CALICO, Kind};

/// Where Calico keeps the metadata that people wrote, in the objects that it stores.
const KEPT_METADATA: &str = "projectcalico.org/metadata";
/// What Calico puts before the names of policies that it stores, in the tier `default`.
pub(super) const TIER_PREFIX: &str = "default.";

/// What is wrong with an object: field and message.
pub(super) type Wrong = (String, String);

/// The object in `projectcalico.org/v3`; one that is that already, as it is.
///
/// # Errors
/// It has no equivalent; why.
pub fn convert(place: &Place, value: &Value) -> Result<Value, Box<Mistake>> {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let (api, kind) = (text("apiVersion"), text("kind"));
    let converted = match api {
        CALICO => Ok(value.clone()),
        STORED => stored(value, kind),
        "v1" => first::convert(value, kind),
        "networking.k8s.io/v1" | "extensions/v1beta1" if kind == "NetworkPolicy" => {
            kubernetes::convert(value)
        }
        "" => Err(("apiVersion".to_owned(), "is missing".to_owned())),
        other => Err((
            "apiVersion".to_owned(),
            format!(
                "{other}: a {kind} has no equivalent in {CALICO}; accepted are {STORED}, v1 (of \
                 Calico) and networking.k8s.io/v1 NetworkPolicy"
            ),
        )),
    };
    converted.map_err(|(field, message)| {
        let name = value["metadata"]["name"].as_str();
        let object = name.map(|name| format!("{kind}({name})"));
        Box::new(Mistake { object, ..Mistake::at(place, &field, message) })
    })
}

/// An object as Calico stores it: the same but for its metadata.
fn stored(value: &Value, kind: &str) -> Result<Value, Wrong> {
    let known = KINDS.into_iter().find(|k| k.api_version() == CALICO && k.name() == kind);
    let Some(known) = known else {
        let message = format!("{kind:?}: it says nothing about policy; see: brindle import calico");
        return Err(("kind".to_owned(), message));
    };
    let mut value = value.clone();
    value["apiVersion"] = CALICO.into();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        super::store::of_its_own(metadata);
    }
    restore(known, &mut value)?;
    Ok(value)
}

/// Whether Calico stores objects of a kind under names that begin with their tier's.
pub(super) fn has_tier_in_name(kind: Kind) -> bool {
    match kind {
        Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy => true,
        Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Tier
        | Kind::Profile
        | Kind::NetworkSet
        | Kind::GlobalNetworkSet
        | Kind::HostEndpoint
        | Kind::NetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::BgpConfiguration
        | Kind::BgpFilter
        | Kind::BgpPeer
        | Kind::Secret => false,
    }
}

/// Gives an object that Calico stored the name and the labels back that people gave it.
pub(super) fn restore(kind: Kind, value: &mut Value) -> Result<(), Wrong> {
    let is_default = matches!(value["spec"]["tier"].as_str(), None | Some("default" | ""));
    let Some(Value::Object(metadata)) = value.get_mut("metadata") else { return Ok(()) };
    let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    let kept = annotations.and_then(|annotations| annotations.remove(KEPT_METADATA));
    if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
        metadata.remove("annotations");
    }
    if let Some(kept) = kept.as_ref().and_then(Value::as_str) {
        let kept: Value = serde_json::from_str(kept).map_err(|error| {
            (format!("metadata.annotations.{KEPT_METADATA}"), format!("is not JSON: {error}"))
        })?;
        for field in ["name", "labels", "annotations"] {
            match kept.get(field) {
                Some(kept) => drop(metadata.insert(field.to_owned(), kept.clone())),
                None if field == "name" => {}
                None => drop(metadata.remove(field)),
            }
        }
    }
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_prefixed = has_tier_in_name(kind) && is_default;
    if let Some(name) = name.strip_prefix(TIER_PREFIX).filter(|_| is_prefixed) {
        let name = name.to_owned();
        metadata.insert("name".to_owned(), name.into());
    }
    Ok(())
}

/// An object of `projectcalico.org/v3`.
fn object(kind: Kind, metadata: Map<String, Value>, spec: Map<String, Value>) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": Value::Object(metadata),
        "spec": Value::Object(spec),
    })
}

#[cfg(test)]
mod tests;
