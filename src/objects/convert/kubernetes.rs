//! Kubernetes' NetworkPolicy as a NetworkPolicy of Calico that means the same
//! (policy-semantics §2, §3.8).

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::Wrong;
use crate::cluster::kind::Kind;

/// Where policies of Kubernetes stand among those of Calico.
const ORDER: u64 = 1000;
/// What every pod has, and nothing else that Calico's selectors mean.
const IS_POD: &str = "projectcalico.org/orchestrator == 'k8s'";

/// Converts one.
pub(super) fn convert(value: &Value) -> Result<Value, Wrong> {
    let policy = NetworkPolicy::deserialize(value)
        .map_err(|error| (String::new(), format!("is no NetworkPolicy: {error}")))?;
    let meant = brindle_policy::ingest::network_policy(&policy);
    if let Some(problem) = meant.map_or_else(Some, |policy| policy.problems.into_iter().next()) {
        return Err((problem.field, problem.message));
    }
    let spec = policy.spec.unwrap_or_default();
    let types = types(&spec);
    let mut converted = Map::new();
    converted.insert("tier".to_owned(), json!("default"));
    converted.insert("order".to_owned(), json!(ORDER));
    let pods = spec.pod_selector.unwrap_or_default();
    converted.insert("selector".to_owned(), pod_selector(Some(&pods)).into());
    let mut rules = |name: &str, rules: Vec<Value>| {
        if types.contains(&name) && !rules.is_empty() {
            converted.insert(name.to_ascii_lowercase(), rules.into());
        }
    };
    let ingress = spec.ingress.unwrap_or_default().into_iter();
    rules(
        "Ingress",
        ingress.flat_map(|rule| self::rules(rule.from, rule.ports, "source")).collect(),
    );
    let egress = spec.egress.unwrap_or_default().into_iter();
    rules(
        "Egress",
        egress.flat_map(|rule| self::rules(rule.to, rule.ports, "destination")).collect(),
    );
    converted.insert("types".to_owned(), json!(types));

    let mut metadata = Map::new();
    for field in ["name", "namespace", "labels"] {
        if let Some(kept) = value["metadata"].get(field).filter(|kept| !kept.is_null()) {
            metadata.insert(field.to_owned(), kept.clone());
        }
    }
    Ok(super::object(Kind::CalicoNetworkPolicy, metadata, converted))
}

/// The directions that it governs, as the API server fills them in.
fn types(spec: &NetworkPolicySpec) -> Vec<&'static str> {
    let given = spec.policy_types.clone().unwrap_or_default();
    let has_egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let is_meant = |name: &&str| match given.is_empty() {
        true => *name == "Ingress" || has_egress,
        false => given.iter().any(|given| given == name),
    };
    ["Ingress", "Egress"].into_iter().filter(is_meant).collect()
}

/// A rule for each peer and each protocol: within one, Calico joins what differs with "and".
fn rules(
    peers: Option<Vec<NetworkPolicyPeer>>,
    ports: Option<Vec<NetworkPolicyPort>>,
    side: &str,
) -> Vec<Value> {
    let peers = peers.unwrap_or_default();
    let peers: Vec<Map<String, Value>> = match &peers[..] {
        [] => vec![Map::new()],
        peers => peers.iter().map(peer).collect(),
    };
    let ports = by_protocol(&ports.unwrap_or_default());
    let mut rules = Vec::new();
    for peer in peers {
        for (protocol, ports) in &ports {
            let mut rule = Map::from_iter([("action".to_owned(), json!("Allow"))]);
            if let Some(protocol) = protocol {
                rule.insert("protocol".to_owned(), json!(protocol));
            }
            let mut destination = Map::new();
            match side {
                "destination" => destination.clone_from(&peer),
                _ if !peer.is_empty() => drop(rule.insert(side.to_owned(), json!(peer))),
                _ => {}
            }
            if !ports.is_empty() {
                destination.insert("ports".to_owned(), json!(ports));
            }
            if !destination.is_empty() {
                rule.insert("destination".to_owned(), json!(destination));
            }
            rules.push(Value::Object(rule));
        }
    }
    rules
}

/// The ports of each protocol, none for all of them; no protocol at all if none is asked for.
fn by_protocol(ports: &[NetworkPolicyPort]) -> Vec<(Option<String>, Vec<Value>)> {
    if ports.is_empty() {
        return vec![(None, Vec::new())];
    }
    let mut found: Vec<(Option<String>, Vec<Value>)> = Vec::new();
    let mut whole: Vec<String> = Vec::new();
    for port in ports {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let value = match (&port.port, port.end_port) {
            (None, _) => {
                whole.push(protocol.clone());
                None
            }
            (Some(IntOrString::Int(first)), Some(last)) => Some(json!(format!("{first}:{last}"))),
            (Some(IntOrString::Int(number)), None) => Some(json!(number)),
            (Some(IntOrString::String(name)), _) => Some(json!(name)),
        };
        match found.iter_mut().find(|(known, _)| known.as_ref() == Some(&protocol)) {
            Some((_, values)) => values.extend(value),
            None => found.push((Some(protocol), value.into_iter().collect())),
        }
    }
    for (protocol, values) in &mut found {
        // One of its elements is every port.
        if protocol.as_ref().is_some_and(|protocol| whole.contains(protocol)) {
            values.clear();
        }
    }
    found
}

fn peer(peer: &NetworkPolicyPeer) -> Map<String, Value> {
    let mut entity = Map::new();
    if let Some(block) = &peer.ip_block {
        entity.insert("nets".to_owned(), json!([block.cidr]));
        if let Some(except) = block.except.as_ref().filter(|except| !except.is_empty()) {
            entity.insert("notNets".to_owned(), json!(except));
        }
        return entity;
    }
    entity.insert("selector".to_owned(), pod_selector(peer.pod_selector.as_ref()).into());
    if let Some(namespaces) = &peer.namespace_selector {
        let selector = selector(namespaces);
        let selector = if selector.is_empty() { "all()".to_owned() } else { selector };
        entity.insert("namespaceSelector".to_owned(), selector.into());
    }
    entity
}

/// The pods that a selector means: no host endpoint, no network set.
fn pod_selector(pods: Option<&LabelSelector>) -> String {
    match pods.map(selector) {
        None => IS_POD.to_owned(),
        Some(selector) if selector.is_empty() => IS_POD.to_owned(),
        Some(selector) => format!("{IS_POD} && {selector}"),
    }
}

fn selector(selector: &LabelSelector) -> String {
    let mut parts = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        parts.push(format!("{key} == '{value}'"));
    }
    for one in selector.match_expressions.iter().flatten() {
        let values: Vec<String> =
            one.values.iter().flatten().map(|value| format!("'{value}'")).collect();
        let (key, values) = (&one.key, values.join(", "));
        parts.push(match &*one.operator {
            "In" => format!("{key} in {{ {values} }}"),
            "NotIn" => format!("{key} not in {{ {values} }}"),
            "DoesNotExist" => format!("!has({key})"),
            // What is neither was refused.
            _ => format!("has({key})"),
        });
    }
    parts.join(" && ")
}
