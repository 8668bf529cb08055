//! What is bad in an object never allows more than the good object did.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ingest::network_policy;
use crate::model::{Change, Problem};
use crate::verdict::tests::{flow, world};
use crate::verdict::verdict;

const SOURCES: [&str; 5] = ["api", "cart", "probe", "n1", "outside"];
const PORTS: [&str; 4] = ["tcp/80", "tcp/5432", "udp/53", "icmp"];

fn selector() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({"matchLabels": {"app": "api"}}),
        json!({"matchLabels": {"app": "db"}}),
        json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart"]}]}),
        json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
    ])
}

fn bad_selector() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"matchLabels": {"app": "a b"}}),
        json!({"matchLabels": {"a b": "c", "app": "api"}}),
        json!({"matchExpressions": [{"key": "app", "operator": "In"}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "exists"}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}),
        json!({"matchExpressions": [{"key": "", "operator": "DoesNotExist"}]}),
    ])
}

fn peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        selector().prop_map(|s| json!({"podSelector": s})),
        selector().prop_map(|s| json!({"namespaceSelector": {}, "podSelector": s})),
        Just(json!({"namespaceSelector": {"matchLabels": {"team": "dba"}}})),
        Just(json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.1.0.0/24"]}})),
        Just(json!({"ipBlock": {"cidr": "10.0.0.0/8"}})),
    ]
}

fn bad_peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        bad_selector().prop_map(|s| json!({"podSelector": s})),
        bad_selector().prop_map(|s| json!({"namespaceSelector": s})),
        (selector(), bad_selector())
            .prop_map(|(good, bad)| json!({"namespaceSelector": good, "podSelector": bad})),
        selector().prop_map(|s| json!({"podSelector": s, "ipBlock": {"cidr": "0.0.0.0/0"}})),
        Just(json!({})),
        Just(json!({"ipBlock": {"cidr": "0.0.0.0"}})),
        Just(json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "x"]}})),
        Just(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["0.0.0.0/0"]}})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({"protocol": "UDP"}),
        json!({"port": 80}),
        json!({"port": 1, "endPort": 6000}),
        json!({"port": "sql"}),
    ])
}

fn bad_port() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"protocol": "tcp"}),
        json!({"protocol": "ICMP"}),
        json!({"port": 0}),
        json!({"port": 65_536}),
        json!({"port": "80"}),
        json!({"port": 90, "endPort": 80}),
        json!({"endPort": 80}),
        json!({"port": "sql", "endPort": 6000}),
    ])
}

fn rule() -> impl Strategy<Value = Value> {
    let (peers, ports) = (prop::collection::vec(peer(), 0..3), prop::collection::vec(port(), 0..3));
    (peers, ports).prop_map(|(peers, ports)| json!({"from": peers, "to": peers, "ports": ports}))
}

/// A policy of `shop` that the API server takes.
fn policy() -> impl Strategy<Value = Value> {
    let rules = || prop::collection::vec(rule(), 0..3);
    let types = prop::sample::select(vec![
        json!(null),
        json!(["Ingress"]),
        json!(["Egress"]),
        json!(["Ingress", "Egress"]),
    ]);
    (selector(), rules(), rules(), types).prop_map(|(pods, ingress, egress, types)| {
        json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress},
        })
    })
}

/// One way to spoil a policy.
#[derive(Clone, Debug)]
enum Spoil {
    PodSelector(Value),
    Type,
    /// Puts a bad element over one of the list, or into it where it has none: direction, rule,
    /// list, element.
    Element(&'static str, usize, &'static str, usize, Value),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let element = |list: &'static str, bad: BoxedStrategy<Value>| {
        let direction = prop::sample::select(vec!["ingress", "egress"]);
        (direction, 0..3usize, 0..3usize, bad)
            .prop_map(move |(d, rule, nth, bad)| Spoil::Element(d, rule, list, nth, bad))
    };
    prop_oneof![
        2 => bad_selector().prop_map(Spoil::PodSelector),
        1 => Just(Spoil::Type),
        4 => element("peers", bad_peer().boxed()),
        4 => element("ports", bad_port().boxed()),
    ]
}

/// Carries it out; `None` if the policy has no place for it.
fn spoiled(mut policy: Value, spoil: &Spoil) -> Option<Value> {
    let spec = &mut policy["spec"];
    match spoil {
        Spoil::PodSelector(bad) => spec["podSelector"] = bad.clone(),
        Spoil::Type => *spec["policyTypes"].as_array_mut()?.first_mut()? = json!("Both"),
        Spoil::Element(direction, rule, list, nth, bad) => {
            let lists = if *list == "ports" { &["ports"][..] } else { &["from", "to"] };
            for list in lists {
                let rule = spec[direction].as_array_mut()?.get_mut(*rule)?;
                let elements = rule[list].as_array_mut()?;
                match elements.get_mut(*nth) {
                    Some(element) => *element = bad.clone(),
                    None => elements.push(bad.clone()),
                }
            }
        }
    }
    Some(policy)
}

/// Which flows are allowed under a policy, in a fixed order of flows.
fn allowed(object: &Value) -> (Vec<bool>, Vec<Problem>) {
    let object: NetworkPolicy = serde_json::from_value(object.clone()).unwrap();
    let policy = network_policy(&object).unwrap();
    let problems = policy.problems.clone();
    let mut world = world("");
    world.apply(Change::PolicyApplied(policy.into()));
    let mut flows = Vec::new();
    for other in SOURCES {
        for own in ["db", "api"] {
            for port in PORTS {
                flows.push(format!("{other} -> {own} {port}"));
                flows.push(format!("{own} -> {other} {port}"));
            }
        }
    }
    let allowed = flows.iter().map(|text| verdict(&world, &flow(text)).is_allowed());
    (allowed.collect(), problems)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn spoiling_a_policy_never_allows_more(good in policy(), spoil in spoil()) {
        let Some(bad) = spoiled(good.clone(), &spoil) else { return Ok(()) };
        let ((before, known), (after, told)) = (allowed(&good), allowed(&bad));
        let is_told = told.iter().any(|problem| !known.contains(problem));
        prop_assert!(is_told, "nothing was said of {:?}", spoil);
        for (before, after) in before.into_iter().zip(after) {
            prop_assert!(before || !after, "{}\nallows what did not\n{}", bad, good);
        }
    }
}
