//! What the schemas say.

use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

use super::calico::{
    GlobalNetworkPolicySpec, HostEndpointSpec, NetworkPolicySpec,
    StagedKubernetesNetworkPolicySpec, TierSpec,
};
use super::cluster::ClusterNetworkPolicySpec;

/// What the schema of a `T` has at a path of fields; `[]` are the elements of a list.
fn at<T: JsonSchema>(path: &str) -> Value {
    let root = schema_for!(T).to_value();
    let mut here = &root;
    for step in path.split('.') {
        here = match step {
            "[]" => &here["items"],
            field => &here["properties"][field],
        };
        // A field that may be left out may be null too.
        if let Some(Value::Array(any_of)) = here.get("anyOf")
            && let Some(reference) = any_of.iter().find(|one| one.get("$ref").is_some())
        {
            here = reference;
        }
        while let Some(Value::String(reference)) = here.get("$ref") {
            here = root.pointer(reference.trim_start_matches('#')).expect("a definition");
        }
    }
    here.clone()
}

#[test]
fn schemas_say_what_the_api_refuses() {
    for (got, keyword, want) in [
        (
            at::<NetworkPolicySpec>("ingress.[].action"),
            "enum",
            json!(["Allow", "Deny", "Log", "Pass"]),
        ),
        (at::<NetworkPolicySpec>("ingress.[]"), "required", json!(["action"])),
        (at::<NetworkPolicySpec>("types.[]"), "enum", json!(["Ingress", "Egress"])),
        (at::<NetworkPolicySpec>("selector"), "maxLength", json!(1024)),
        (
            at::<NetworkPolicySpec>("egress.[].destination.ports.[]"),
            "x-kubernetes-int-or-string",
            json!(true),
        ),
        (at::<GlobalNetworkPolicySpec>("ingress.[].icmp.type"), "maximum", json!(254)),
        (at::<TierSpec>("defaultAction"), "enum", json!(["Deny", "Pass"])),
        (at::<HostEndpointSpec>("ports.[].port"), "maximum", json!(65535)),
        (
            at::<StagedKubernetesNetworkPolicySpec>("ingress.[].ports.[].endPort"),
            "format",
            json!("int32"),
        ),
        (at::<ClusterNetworkPolicySpec>("priority"), "maximum", json!(1000)),
        (at::<ClusterNetworkPolicySpec>("subject"), "maxProperties", json!(1)),
        (at::<ClusterNetworkPolicySpec>("egress.[].to"), "maxItems", json!(25)),
        (
            at::<ClusterNetworkPolicySpec>("ingress.[].protocols.[].tcp.destinationPort.number"),
            "minimum",
            json!(1),
        ),
    ] {
        assert_eq!(got[keyword], want, "{keyword} of {got}");
    }
}

#[test]
fn numbers_or_texts_are_either_and_may_be_left_out() {
    let protocol = at::<NetworkPolicySpec>("ingress.[].protocol");
    let text = protocol.to_string();
    for word in ["x-kubernetes-int-or-string", "\"integer\"", "\"string\""] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn every_field_is_described() {
    fn check(path: &str, schema: &Value, missing: &mut Vec<String>) {
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return };
        for (name, field) in fields {
            if field.get("description").is_none_or(|text| text.as_str().is_none_or(str::is_empty)) {
                missing.push(format!("{path}.{name}"));
            }
        }
    }
    let mut missing = Vec::new();
    for root in [
        schema_for!(GlobalNetworkPolicySpec).to_value(),
        schema_for!(HostEndpointSpec).to_value(),
        schema_for!(StagedKubernetesNetworkPolicySpec).to_value(),
        schema_for!(ClusterNetworkPolicySpec).to_value(),
    ] {
        check("", &root, &mut missing);
        for (name, schema) in root["$defs"].as_object().into_iter().flatten() {
            check(name, schema, &mut missing);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
