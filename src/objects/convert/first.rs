//! Calico's first API, `v1`: `policy`, `hostEndpoint` and `profile`.

use serde_json::{Map, Value, json};

use super::Wrong;
use crate::cluster::kind::Kind;

/// Converts one.
pub(super) fn convert(value: &Value, kind: &str) -> Result<Value, Wrong> {
    let none = Value::Object(Map::new());
    let spec = value.get("spec").unwrap_or(&none);
    let (kind, spec) = match &*kind.to_ascii_lowercase() {
        "policy" => (Kind::GlobalNetworkPolicy, policy(spec)?),
        "hostendpoint" => (Kind::HostEndpoint, host_endpoint(spec, &value["metadata"])?),
        "profile" => (Kind::Profile, profile(spec, &value["metadata"])?),
        "ippool" | "bgppeer" | "node" => {
            let message =
                format!("{kind:?}: it says nothing about policy; see: brindle import calico");
            return Err(("kind".to_owned(), message));
        }
        _ => {
            let message = format!(
                "{kind:?} has no equivalent; accepted are policy, hostEndpoint and profile"
            );
            return Err(("kind".to_owned(), message));
        }
    };
    let fields = value["metadata"].as_object().cloned().unwrap_or_default();
    let mut metadata = Map::new();
    for (field, value) in fields {
        match (&*field, kind) {
            // Names were of any case.
            ("name", _) => {
                let name = value.as_str().unwrap_or_default().to_ascii_lowercase();
                metadata.insert(field, name.replace('_', "-").into());
            }
            ("annotations", _) | ("labels", Kind::HostEndpoint) => {
                metadata.insert(field, value);
            }
            // Found their way into the spec.
            ("node", Kind::HostEndpoint) | ("labels", Kind::Profile) => {}
            ("tags", _) => return Err(tag("metadata.tags")),
            _ => {
                let message = "has no equivalent; leave it out".to_owned();
                return Err((format!("metadata.{field}"), message));
            }
        }
    }
    Ok(super::object(kind, metadata, spec))
}

fn tag(field: &str) -> Wrong {
    let message = "tags have no equivalent; give the profile's endpoints a label in their place, \
                   and select it";
    (field.to_owned(), message.to_owned())
}

fn policy(spec: &Value) -> Result<Map<String, Value>, Wrong> {
    let mut converted = Map::new();
    for (field, value) in fields(spec, "spec")? {
        let at = format!("spec.{field}");
        let value = match &**field {
            "order" | "selector" | "applyOnForward" | "doNotTrack" | "preDNAT" => value.clone(),
            "ingress" | "egress" => rules(value, &at)?,
            "types" => {
                let types = list(value, &at)?.iter().enumerate().map(|(index, one)| {
                    capitalised(one, &format!("{at}[{index}]"), &["Ingress", "Egress"])
                });
                Value::Array(types.collect::<Result<_, _>>()?)
            }
            _ => return Err(unknown(at)),
        };
        converted.insert(field.clone(), value);
    }
    // They went without saying what they are for.
    let is_set = |field: &str| spec[field] == Value::Bool(true);
    if is_set("doNotTrack") || is_set("preDNAT") {
        converted.insert("applyOnForward".to_owned(), true.into());
    }
    Ok(converted)
}

fn host_endpoint(spec: &Value, metadata: &Value) -> Result<Map<String, Value>, Wrong> {
    let mut converted = Map::new();
    match metadata.get("node") {
        Some(node) => drop(converted.insert("node".to_owned(), node.clone())),
        None => {
            let message = "is missing; a host endpoint is of a node".to_owned();
            return Err(("metadata.node".to_owned(), message));
        }
    }
    for (field, value) in fields(spec, "spec")? {
        let at = format!("spec.{field}");
        let value = match &**field {
            "interfaceName" | "expectedIPs" | "profiles" => value.clone(),
            "ports" => {
                let ports = list(value, &at)?.iter().enumerate().map(|(index, port)| {
                    let mut port = port.clone();
                    let at = format!("{at}[{index}].protocol");
                    port["protocol"] = protocol(&port["protocol"], &at)?;
                    Ok(port)
                });
                Value::Array(ports.collect::<Result<_, Wrong>>()?)
            }
            _ => return Err(unknown(at)),
        };
        converted.insert(field.clone(), value);
    }
    Ok(converted)
}

fn profile(spec: &Value, metadata: &Value) -> Result<Map<String, Value>, Wrong> {
    let mut converted = Map::new();
    if let Some(labels) = metadata.get("labels") {
        converted.insert("labelsToApply".to_owned(), labels.clone());
    }
    for (field, value) in fields(spec, "spec")? {
        let at = format!("spec.{field}");
        let value = match &**field {
            "ingress" | "egress" => rules(value, &at)?,
            "tags" => return Err(tag(&at)),
            _ => return Err(unknown(at)),
        };
        converted.insert(field.clone(), value);
    }
    Ok(converted)
}

fn rules(rules: &Value, at: &str) -> Result<Value, Wrong> {
    let rules = list(rules, at)?.iter().enumerate();
    let rules = rules.map(|(index, one)| rule(one, &format!("{at}[{index}]")));
    Ok(Value::Array(rules.collect::<Result<_, _>>()?))
}

fn rule(rule: &Value, at: &str) -> Result<Value, Wrong> {
    let mut converted = Map::new();
    for (field, value) in fields(rule, at)? {
        let at = format!("{at}.{field}");
        let value = match &**field {
            // An older word for it.
            "action" if value == "next-tier" => json!("Pass"),
            "action" => capitalised(value, &at, &["Allow", "Deny", "Log", "Pass"])?,
            "protocol" | "notProtocol" => protocol(value, &at)?,
            "ipVersion" | "icmp" | "notICMP" => value.clone(),
            "source" | "destination" => entity(value, &at)?,
            _ => return Err(unknown(at)),
        };
        converted.insert(field.clone(), value);
    }
    Ok(Value::Object(converted))
}

fn entity(entity: &Value, at: &str) -> Result<Value, Wrong> {
    let mut converted: Map<String, Value> = Map::new();
    for (field, value) in fields(entity, at)? {
        let at = format!("{at}.{field}");
        // One block had a field of its own.
        let (field, value) = match &**field {
            "net" => ("nets", json!([value])),
            "notNet" => ("notNets", json!([value])),
            "nets" | "notNets" | "selector" | "notSelector" | "ports" | "notPorts" => {
                (&**field, value.clone())
            }
            "tag" | "notTag" => return Err(tag(&at)),
            _ => return Err(unknown(at)),
        };
        if converted.insert(field.to_owned(), value).is_some() {
            return Err((at, format!("goes not together with {field}; put both there")));
        }
    }
    Ok(Value::Object(converted))
}

/// A protocol: they were written small.
fn protocol(value: &Value, at: &str) -> Result<Value, Wrong> {
    if value.is_number() {
        return Ok(value.clone());
    }
    capitalised(value, at, &["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"])
}

/// The one of these words that it is, in whatever case.
fn capitalised(value: &Value, at: &str, words: &[&str]) -> Result<Value, Wrong> {
    let found = value.as_str().and_then(|text| {
        words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| json!(word))
    });
    found.ok_or_else(|| (at.to_owned(), format!("{value}; accepted are {}", words.join(", "))))
}

fn unknown(at: String) -> Wrong {
    (at, "has no equivalent, or is mistyped".to_owned())
}

fn fields<'v>(value: &'v Value, at: &str) -> Result<&'v Map<String, Value>, Wrong> {
    value.as_object().ok_or_else(|| (at.to_owned(), "accepted are keys with values".to_owned()))
}

fn list<'v>(value: &'v Value, at: &str) -> Result<&'v Vec<Value>, Wrong> {
    value.as_array().ok_or_else(|| (at.to_owned(), "accepted is a list".to_owned()))
}
