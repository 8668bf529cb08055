//! The published schema speaks of exactly the keys that are read.

use std::collections::BTreeSet;

use brindle_config::{Config, json_schema};
use serde_json::Value;

/// The keys that the reader names as accepted where an unknown one stands in `text`.
fn accepted(text: &str) -> BTreeSet<String> {
    let errors = Config::from_yaml("f", text).expect_err("an unknown key");
    let problem = errors
        .problems()
        .iter()
        .find_map(|problem| problem.message.split_once("; accepted here: "))
        .unwrap_or_else(|| panic!("{text}: {errors}"));
    problem.1.split(", ").map(str::to_owned).collect()
}

/// The keys of the object that `schema` describes.
fn described(schema: &Value, at: &str) -> BTreeSet<String> {
    let object = schema.pointer(at).unwrap_or_else(|| panic!("{at}"));
    let properties = object["properties"].as_object().unwrap_or_else(|| panic!("{at}: {object}"));
    properties.keys().cloned().collect()
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema = json_schema();
    for (at, text) in [
        ("", "xyzzyxyzzy: 1"),
        ("/$defs/NodeSection", "node: {xyzzyxyzzy: 1}"),
        ("/$defs/BgpSection", "bgp: {xyzzyxyzzy: 1}"),
        ("/$defs/ListenSection", "bgp: {listen: {xyzzyxyzzy: 1}}"),
        ("/$defs/MeshSection", "bgp: {nodeToNodeMesh: {xyzzyxyzzy: 1}}"),
        ("/$defs/ServicesSection", "bgp: {services: {xyzzyxyzzy: 1}}"),
        ("/$defs/PrefixAdvertisementSection", "bgp: {prefixAdvertisements: [{xyzzyxyzzy: 1}]}"),
        ("/$defs/DrainSection", "bgp: {drain: {xyzzyxyzzy: 1}}"),
        ("/$defs/PeerSection", "bgp: {peers: [{xyzzyxyzzy: 1}]}"),
        ("/$defs/MultipathSection", "bgp: {multipath: {xyzzyxyzzy: 1}}"),
        (
            "/$defs/DynamicPeerSection",
            "bgp: {dynamicPeers: [{cidrs: [10.0.0.0/8], asNumber: 1, xyzzyxyzzy: 1}]}",
        ),
        (
            "/$defs/MaxPrefixesSection",
            "bgp: {nodeToNodeMesh: {maxPrefixes: {ipv4: 1, xyzzyxyzzy: 1}}}",
        ),
        ("/$defs/PasswordSection", "bgp: {peers: [{password: {xyzzyxyzzy: 1}}]}"),
        ("/$defs/TcpAoSection", "bgp: {peers: [{tcpAO: {xyzzyxyzzy: 1}}]}"),
        ("/$defs/AoKeySection", "bgp: {peers: [{tcpAO: {keys: [{xyzzyxyzzy: 1}]}}]}"),
        ("/$defs/FilterSection", "bgp: {filters: [{xyzzyxyzzy: 1}]}"),
        ("/$defs/RuleSection", "bgp: {filters: [{name: f, rules: [{xyzzyxyzzy: 1}]}]}"),
        ("/$defs/AsPathSection", "bgp: {filters: [{name: f, rules: [{asPath: {xyzzyxyzzy: 1}}]}]}"),
        (
            "/$defs/CommunitiesSection",
            "bgp: {filters: [{name: f, rules: [{communities: {xyzzyxyzzy: 1}}]}]}",
        ),
        ("/$defs/SetSection", "bgp: {filters: [{name: f, rules: [{set: {xyzzyxyzzy: 1}}]}]}"),
        (
            "/$defs/PrependSection",
            "bgp: {filters: [{name: f, rules: [{set: {prepend: {xyzzyxyzzy: 1}}}]}]}",
        ),
        ("/$defs/RoutesSection", "routes: {xyzzyxyzzy: 1}"),
        ("/$defs/PolicySection", "policy: {xyzzyxyzzy: 1}"),
        ("/$defs/FlowLogSection", "policy: {flowLog: {xyzzyxyzzy: 1}}"),
        ("/$defs/HostEndpointsSection", "policy: {hostEndpoints: {xyzzyxyzzy: 1}}"),
        (
            "/$defs/FailsafeSection",
            "policy: {hostEndpoints: {failsafeInbound: [{port: 179, xyzzyxyzzy: 1}]}}",
        ),
        ("/$defs/CniSection", "cni: {xyzzyxyzzy: 1}"),
        ("/$defs/SourceSection/oneOf/0", "source: {kind: files, xyzzyxyzzy: 1}"),
        ("/$defs/SourceSection/oneOf/1", "source: {kind: kubernetes, xyzzyxyzzy: 1}"),
        ("/$defs/ControlSection", "control: {xyzzyxyzzy: 1}"),
        ("/$defs/TelemetrySection", "telemetry: {xyzzyxyzzy: 1}"),
    ] {
        assert_eq!(described(&schema, at), accepted(text), "{at} and {text}");
    }
}

#[test]
fn every_key_has_a_description_and_refuses_others() {
    let schema = json_schema();
    let mut objects = vec![("the document".to_owned(), &schema)];
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        objects.push((name.clone(), definition));
    }
    for (name, object) in objects {
        assert!(object["description"].is_string(), "{name}");
        let Some(properties) = object.get("properties").and_then(Value::as_object) else {
            continue;
        };
        assert_eq!(object["additionalProperties"], Value::Bool(false), "{name}");
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{name}.{key}");
        }
    }
}

#[test]
fn the_schema_names_the_defaults_that_hold() {
    let schema = json_schema();
    let shown = Config::from_yaml("f", "source: {kind: kubernetes}").expect("right").to_json();
    for (at, shown_at) in [
        ("/$defs/BgpSection/properties/asNumber/default", "/bgp/asNumber"),
        ("/$defs/BgpSection/properties/holdTime/default", "/bgp/holdTime"),
        ("/$defs/ListenSection/properties/port/default", "/bgp/listen/port"),
        ("/$defs/RoutesSection/properties/metric/default", "/routes/metric"),
        ("/$defs/SourceSection/oneOf/1/properties/holdDeletions/default", "/source/holdDeletions"),
        ("/$defs/PolicySection/properties/auditInterval/default", "/policy/auditInterval"),
        ("/$defs/FlowLogSection/properties/group/default", "/policy/flowLog/group"),
        ("/$defs/CniSection/properties/dataDir/default", "/cni/dataDir"),
        ("/$defs/ControlSection/properties/socket/default", "/control/socket"),
        ("/$defs/TelemetrySection/properties/listen/default", "/telemetry/listen"),
    ] {
        let (default, holds) = (schema.pointer(at), shown.pointer(shown_at));
        assert!(default.is_some() && default == holds, "{at}: {default:?} and {holds:?}");
    }
}
