use super::super::read::{self, Text};
use super::*;

/// What becomes of the object: YAML, or what is wrong.
fn converted(text: &str) -> Value {
    let text = Text { name: "f".to_owned(), text: text.to_owned() };
    let mut documents = read::documents(&text).expect("YAML");
    let (place, value) = documents.remove(0);
    convert(&place, &value).unwrap_or_else(|mistake| mistake.to_string().into())
}

fn yaml(text: &str) -> Value {
    let value: serde_yaml::Value = serde_yaml::from_str(text).expect("YAML");
    serde_json::to_value(&value).expect("JSON")
}

#[test]
fn policies_of_kubernetes_become_policies_that_mean_the_same() {
    let got = converted(
        r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop, labels: {a: b}, uid: u}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - podSelector: {matchExpressions: [{key: role, operator: In, values: [x, y]}]}
    - namespaceSelector: {}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports: [{port: 80, endPort: 90}, {port: web}, {protocol: UDP}, {protocol: UDP, port: 53}]
  egress:
  - {}
"#,
    );
    let rules = |entity: &str| {
        format!(
            "
  - {{action: Allow, protocol: TCP, source: {entity}, destination: {{ports: ['80:90', web]}}}}
  - {{action: Allow, protocol: UDP, source: {entity}}}"
        )
    };
    let want = format!(
        "
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: db, namespace: shop, labels: {{a: b}}}}
spec:
  tier: default
  order: 1000
  selector: projectcalico.org/orchestrator == 'k8s' && app == 'db'
  types: [Ingress, Egress]
  ingress:{}{}{}
  egress:
  - action: Allow
",
        rules("{selector: \"projectcalico.org/orchestrator == 'k8s' && role in { 'x', 'y' }\"}"),
        rules(
            "{selector: \"projectcalico.org/orchestrator == 'k8s'\", namespaceSelector: 'all()'}"
        ),
        rules("{nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}"),
    );
    assert_eq!(got, yaml(&want), "{got:#}");
    for (spec, want) in [
        ("{podSelector: {}}", json!(["Ingress"])),
        ("{podSelector: {}, egress: []}", json!(["Ingress"])),
        ("{podSelector: {}, egress: [{}]}", json!(["Ingress", "Egress"])),
        ("{podSelector: {}, policyTypes: [Egress]}", json!(["Egress"])),
    ] {
        let text = format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: a, \
             namespace: b}}, spec: {spec}}}"
        );
        assert_eq!(converted(&text)["spec"]["types"], want, "{spec}");
    }
}

#[test]
fn objects_as_calico_stores_them_get_their_names_and_labels_back() {
    for (stored, want) in [
        (
            "{name: default.a, uid: u, annotations: {projectcalico.org/metadata: \
             '{\"labels\":{\"x\":\"y\"},\"uid\":\"v\"}'}}",
            json!({"name": "a", "labels": {"x": "y"}}),
        ),
        ("{name: a, labels: {x: y}}", json!({"name": "a", "labels": {"x": "y"}})),
        ("{name: default.a}", json!({"name": "a"})),
    ] {
        let text = format!(
            "{{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {stored}, \
             spec: {{order: 1}}}}"
        );
        let got = converted(&text);
        assert_eq!(got["metadata"], want, "{stored}");
        assert_eq!(got["apiVersion"], CALICO);
        assert_eq!(got["spec"], json!({"order": 1}));
    }
    let tier = "{apiVersion: crd.projectcalico.org/v1, kind: Tier, metadata: {name: default.x}}";
    assert_eq!(converted(tier)["metadata"]["name"], "default.x");
}

#[test]
fn objects_of_the_first_api_are_written_anew() {
    let policy = converted(
        "
apiVersion: v1
kind: policy
metadata: {name: Allow_TCP}
spec:
  selector: role == 'database'
  preDNAT: true
  types: [ingress]
  ingress:
  - action: allow
    protocol: tcp
    source: {net: 10.0.0.0/8, selector: role == 'frontend'}
    destination: {ports: [6379]}
  - action: next-tier
",
    );
    let want = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: allow-tcp}
spec:
  selector: role == 'database'
  preDNAT: true
  applyOnForward: true
  types: [Ingress]
  ingress:
  - action: Allow
    protocol: TCP
    source: {nets: [10.0.0.0/8], selector: role == 'frontend'}
    destination: {ports: [6379]}
  - action: Pass
";
    assert_eq!(policy, yaml(want), "{policy:#}");
    let host = converted(
        "{apiVersion: v1, kind: hostEndpoint, metadata: {name: eth0, node: n1, labels: {a: b}}, \
         spec: {interfaceName: eth0, expectedIPs: [192.0.2.1], ports: [{name: x, port: 1, \
         protocol: udp}]}}",
    );
    let want = "{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: eth0, \
                labels: {a: b}}, spec: {node: n1, interfaceName: eth0, expectedIPs: [192.0.2.1], \
                ports: [{name: x, port: 1, protocol: UDP}]}}";
    assert_eq!(host, yaml(want), "{host:#}");
    let profile = converted(
        "{apiVersion: v1, kind: profile, metadata: {name: p, labels: {a: b}}, spec: {egress: \
         [{action: allow}]}}",
    );
    let want = "{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: p}, spec: \
                {labelsToApply: {a: b}, egress: [{action: Allow}]}}";
    assert_eq!(profile, yaml(want), "{profile:#}");
}

#[test]
fn what_has_no_equivalent_is_refused_with_the_reason() {
    for (object, want) in [
        (
            "{apiVersion: v1, kind: policy, metadata: {name: a}, spec: {ingress: [{action: allow, \
             source: {tag: x}}]}}",
            "f:1: policy(a): spec.ingress[0].source.tag: tags have no equivalent; give the \
             profile's endpoints a label in their place, and select it",
        ),
        (
            "{apiVersion: v1, kind: policy, metadata: {name: a}, spec: {ingress: [{action: maybe}]}}",
            "f:1: policy(a): spec.ingress[0].action: \"maybe\"; accepted are Allow, Deny, Log, Pass",
        ),
        (
            "{apiVersion: v1, kind: ipPool, metadata: {cidr: 10.0.0.0/8}}",
            "f:1: kind: \"ipPool\": it says nothing about policy; see: brindle import calico",
        ),
        (
            "{apiVersion: v1, kind: hostEndpoint, metadata: {name: a}}",
            "f:1: hostEndpoint(a): metadata.node: is missing; a host endpoint is of a node",
        ),
        (
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}",
            "f:1: Deployment(a): apiVersion: apps/v1: a Deployment has no equivalent in \
             projectcalico.org/v3; accepted are crd.projectcalico.org/v1, v1 (of Calico) and \
             networking.k8s.io/v1 NetworkPolicy",
        ),
        (
            "{apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: {name: a}}",
            "f:1: IPPool(a): kind: \"IPPool\": it says nothing about policy; see: brindle import \
             calico",
        ),
    ] {
        assert_eq!(converted(object), want, "{object}");
    }
    let bad = converted(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: \
         b}, spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: x}}]}]}}",
    );
    let bad = bad.as_str().expect("a refusal");
    assert!(bad.starts_with("f:1: NetworkPolicy(a): spec.ingress[0].from[0].ipBlock"), "{bad}");
}
