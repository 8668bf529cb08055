//! What is bad in a policy whose rules may deny never allows more than the good one did.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::words;
use crate::ingest::{closed_policy, cluster_network_policy, distrust_rule, global_network_policy};
use crate::model::{
    Action, Change, Direction, HostStage, Policy, PolicyId, PolicyKind, Problem, Rule, StagedAction,
};
use crate::verdict::tests::{flow, world};
use crate::verdict::verdict;

fn problem() -> Problem {
    Problem { field: "spec".to_owned(), message: "bad".to_owned() }
}

#[test]
fn what_stands_in_for_a_policy_denies_all_that_it_may_govern() {
    for (kind, namespace, subject, staged) in [
        (PolicyKind::CalicoNetworkPolicy, Some("shop"), "ns=shop", None),
        (PolicyKind::GlobalNetworkPolicy, None, "all", None),
        (PolicyKind::ClusterNetworkPolicy, None, "has ns.kubernetes.io/metadata.name", None),
        (PolicyKind::StagedNetworkPolicy, Some("shop"), "ns=shop", Some(StagedAction::Set)),
    ] {
        let id = PolicyId { kind, namespace: namespace.map(Into::into), name: "p".into() };
        let policy = closed_policy(id.clone(), &[Direction::Egress], Some("security"), problem());
        assert_eq!((&policy.id, policy.subject.to_string().as_str()), (&id, subject));
        assert_eq!(
            (&*policy.tier, policy.staged, policy.stage),
            ("security", staged, HostStage::Normal)
        );
        let egress: Vec<_> = policy.egress.iter().flatten().map(words).collect();
        assert_eq!((policy.ingress, egress), (None, vec!["Deny".to_owned()]));
        let elsewhere = closed_policy(id, &Direction::ALL, None, problem());
        assert_eq!((&*elsewhere.tier, elsewhere.problems), ("default", vec![problem()]));
    }
}

#[test]
fn a_rule_that_is_not_trusted_allows_nothing() {
    for (action, want) in [
        (Action::Allow, "Allow from []"),
        (Action::Log, "Log from []"),
        (Action::Deny, "Deny"),
        (Action::Pass, "Deny"),
    ] {
        let mut rule = Rule { action, criteria: Vec::new() };
        distrust_rule(&mut rule);
        assert_eq!(words(&rule), want);
    }
}

const OTHERS: [&str; 5] = ["api", "cart", "probe", "n1", "outside"];
const PORTS: [&str; 4] = ["tcp/80", "tcp/5432", "udp/53", "icmp"];

/// Which flows are allowed under a policy beside one that allows everything, in a fixed order
/// of flows.
fn allowed(policy: Policy) -> Vec<bool> {
    let open = json!({
        "metadata": {"name": "open"},
        "spec": {"order": 100, "ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]},
    });
    let open = global_network_policy(&serde_json::from_value(open).unwrap()).unwrap();
    let mut world = world("");
    for policy in [open, policy] {
        world.apply(Change::PolicyApplied(policy.into()));
    }
    let mut allowed = Vec::new();
    for other in OTHERS {
        for own in ["db", "api"] {
            for port in PORTS {
                for text in [format!("{other} -> {own} {port}"), format!("{own} -> {other} {port}")]
                {
                    allowed.push(verdict(&world, &flow(&text)).is_allowed());
                }
            }
        }
    }
    allowed
}

fn calico(object: &Value) -> Policy {
    global_network_policy(&serde_json::from_value(object.clone()).unwrap()).unwrap()
}

fn cluster(object: &Value) -> Policy {
    cluster_network_policy(&serde_json::from_value(object.clone()).unwrap()).unwrap()
}

fn select(values: Vec<Value>) -> impl Strategy<Value = Value> {
    prop::sample::select(values)
}

/// The fields of one end that are set.
fn end() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"nets": ["10.1.0.0/16"]}),
        json!({"nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/24"]}),
        json!({"selector": "app == 'api'"}),
        json!({"notSelector": "has(tier)"}),
        json!({"namespaceSelector": "team == 'dba'"}),
        json!({"serviceAccounts": {"names": ["default"]}}),
    ])
}

fn calico_rule() -> impl Strategy<Value = Value> {
    let action = prop::sample::select(vec!["Allow", "Deny", "Pass", "Log"]);
    let protocol = select(vec![
        json!({}),
        json!({"protocol": "TCP"}),
        json!({"protocol": "UDP"}),
        json!({"protocol": "ICMP"}),
        json!({"notProtocol": "TCP"}),
        json!({"protocol": "TCP", "destination": {"ports": [80, "5000:6000"]}}),
        json!({"protocol": "TCP", "destination": {"notPorts": [80]}}),
    ]);
    (action, protocol, end()).prop_map(|(action, mut rule, source)| {
        rule["action"] = json!(action);
        rule["source"] = source;
        rule
    })
}

fn calico_policy() -> impl Strategy<Value = Value> {
    let selector = select(vec![json!(null), json!("app == 'db'"), json!("has(app)")]);
    let rules = || prop::collection::vec(calico_rule(), 0..4);
    let types = select(vec![json!(null), json!(["Ingress"]), json!(["Ingress", "Egress"])]);
    (selector, rules(), rules(), types).prop_map(|(selector, ingress, egress, types)| {
        json!({
            "metadata": {"name": "p"},
            "spec": {"order": 1, "selector": selector, "ingress": ingress, "egress": egress,
                "types": types},
        })
    })
}

/// A field of a rule, and something bad for it.
fn bad_field() -> impl Strategy<Value = (&'static str, Value)> {
    prop::sample::select(vec![
        ("protocol", json!("tcp")),
        ("notProtocol", json!(300)),
        ("ipVersion", json!(5)),
        ("icmp", json!({"code": 1})),
        ("source", json!({"selector": "app = 'api'"})),
        ("source", json!({"notSelector": "("})),
        ("source", json!({"nets": ["10.0.0.0/33"]})),
        ("source", json!({"notNets": ["0.0.0.0/0"]})),
        ("source", json!({"namespaceSelector": "!"})),
        ("destination", json!({"services": {}})),
        ("destination", json!({"ports": [0]})),
        ("destination", json!({"notPorts": ["9:1"]})),
        ("http", json!({"methods": ["GET"]})),
    ])
}

/// One way to spoil a policy.
#[derive(Clone, Debug)]
enum Spoil {
    /// A field of the spec.
    Spec(&'static str, Value),
    /// A field of a rule: direction, rule, field.
    Rule(&'static str, usize, &'static str, Value),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let direction = prop::sample::select(vec!["ingress", "egress"]);
    let spec = prop::sample::select(vec![
        ("selector", json!("app = 'db'")),
        ("serviceAccountSelector", json!("(")),
        ("namespaceSelector", json!("global()")),
    ]);
    prop_oneof![
        1 => spec.prop_map(|(field, bad)| Spoil::Spec(field, bad)),
        4 => (direction, 0..4usize, bad_field())
            .prop_map(|(direction, rule, (field, bad))| Spoil::Rule(direction, rule, field, bad)),
    ]
}

/// Carries it out; `None` if the policy has no place for it.
fn spoiled(mut policy: Value, spoil: &Spoil) -> Option<Value> {
    let spec = &mut policy["spec"];
    match spoil {
        Spoil::Spec(field, bad) => spec[field] = bad.clone(),
        Spoil::Rule(direction, rule, field, bad) => {
            let rule = spec[direction].as_array_mut()?.get_mut(*rule)?;
            rule[*field] = bad.clone();
        }
    }
    Some(policy)
}

fn cluster_rule() -> impl Strategy<Value = Value> {
    let action = prop::sample::select(vec!["Accept", "Deny", "Pass"]);
    let peer = select(vec![
        json!({"namespaces": {}}),
        json!({"namespaces": {"matchLabels": {"team": "dba"}}}),
        json!({"pods": {"podSelector": {"matchLabels": {"app": "api"}}}}),
    ]);
    let protocols = select(vec![
        json!(null),
        json!([{"tcp": {"destinationPort": {"number": 80}}}]),
        json!([{"udp": {"destinationPort": {"range": {"start": 1, "end": 99}}}}]),
    ]);
    (action, prop::collection::vec(peer, 1..3), protocols).prop_map(|(action, peers, protocols)| {
        json!({"action": action, "from": peers, "to": peers, "protocols": protocols})
    })
}

fn cluster_policy() -> impl Strategy<Value = Value> {
    let rules = || prop::collection::vec(cluster_rule(), 1..4);
    let tier = prop::sample::select(vec!["Admin", "Baseline"]);
    (tier, rules(), rules()).prop_map(|(tier, ingress, egress)| {
        json!({
            "metadata": {"name": "p"},
            "spec": {"tier": tier, "priority": 7, "ingress": ingress, "egress": egress,
                "subject": {"pods": {"podSelector": {"matchLabels": {"app": "db"}}}}},
        })
    })
}

/// Fields of a rule, and something bad for them.
fn bad_cluster_fields() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"from": [], "to": []}),
        json!({"from": [{"new": {}}], "to": [{"new": {}}]}),
        json!({"protocols": []}),
        json!({"protocols": [{"icmp": {}}]}),
        json!({"protocols": [{"tcp": {}}]}),
        json!({"action": "Allow"}),
    ])
}

#[track_caller]
fn allows_no_more(good: Policy, bad: Policy, what: &str) {
    assert!(bad.problems.len() > good.problems.len(), "nothing was said of {what}");
    for (before, after) in allowed(good).into_iter().zip(allowed(bad)) {
        assert!(before || !after, "{what} allows more");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn spoiling_a_policy_of_calico_never_allows_more(good in calico_policy(), spoil in spoil()) {
        let Some(bad) = spoiled(good.clone(), &spoil) else { return Ok(()) };
        allows_no_more(calico(&good), calico(&bad), &format!("{spoil:?} in {good}"));
    }

    #[test]
    fn spoiling_a_cluster_network_policy_never_allows_more(
        good in cluster_policy(),
        direction in prop::sample::select(vec!["ingress", "egress"]),
        rule in 0..3usize,
        fields in bad_cluster_fields(),
    ) {
        let mut bad = good.clone();
        let Some(rule) = bad["spec"][direction].as_array_mut().and_then(|r| r.get_mut(rule)) else {
            return Ok(());
        };
        for (field, value) in fields.as_object().unwrap() {
            rule[field] = value.clone();
        }
        allows_no_more(cluster(&good), cluster(&bad), &format!("{fields} in {good}"));
    }
}
