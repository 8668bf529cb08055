//! Objects with any texts in every place where somebody may write one; and what must hold of
//! the rules that they become.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings, compile};
use brindle_policy::model::HostSettings;
use brindle_policy::readback::{Installed, read_sets, read_tables};
use brindle_policy::ruleset::Table;
use brindle_policy::verdict::{Flow, explain};
use brindle_policy::{Change, Family, Protocol, Ruleset, World, ingest, render};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What came of objects.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The text of all rules and sets.
    pub(crate) text: String,
    /// Policies that govern something.
    pub(crate) policies: usize,
}

/// Makes objects with `texts`, one after the other and from the start again, and fails unless
/// the text that they become means their ruleset and nothing else.
pub(crate) fn check(texts: &[&str]) -> Outcome {
    let world = world(texts);
    let mut outcome = Outcome { policies: world.policies().count(), ..Outcome::default() };
    for node in ["n1", "n2"] {
        for family in Family::ALL {
            let settings = Settings {
                node: node.into(),
                pod_cidrs: Default::default(),
                masquerade: true,
                deny_log: Some(DenyLog { group: 98, per_second: 10 }),
                hosts: HostSettings::default(),
            };
            let ruleset = compile(&world, &settings, family);
            let text = render::ruleset(&ruleset);
            check_lines(&text.rules, &["*", ":BRN-", "-A BRN-", "-I ", "# BRN-"]);
            check_lines(&text.sets, &["create brn-", "add brn-", "# brn-"]);
            check_meaning(&ruleset, &text.rules, &text.sets);
            outcome.text += &text.rules;
            outcome.text += &text.sets;
        }
    }
    let flow = Flow::to_port(
        "10.1.0.1".parse().expect("an address"),
        "10.2.0.1".parse().expect("an address"),
        Protocol::Tcp,
        80,
    );
    let _ = explain(&world, &flow);
    outcome
}

/// What the fuzz target is given: lines are the texts, and a byte 1 in them is a line end of
/// theirs.
pub(crate) fn check_input(input: &str) {
    let texts: Vec<String> =
        input.lines().take(64).map(|line| line.replace('\u{1}', "\n")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check(&texts);
}

/// Each line is of a kind that we write, and all but those for people are plain ASCII.
fn check_lines(text: &str, starts: &[&str]) {
    for line in text.lines() {
        let is_known = line == "COMMIT" || starts.iter().any(|start| line.starts_with(start));
        assert!(is_known, "{line:?}");
        let plain = |c: char| c.is_ascii_graphic() || c == ' ';
        assert!(line.starts_with('#') || line.chars().all(plain), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// Read as the kernel would read it, the text is the ruleset.
fn check_meaning(ruleset: &Ruleset, rules: &str, sets: &str) {
    let mut installed = Installed::new(ruleset.family);
    for table in Table::ALL {
        read_tables(&mut installed, table, rules);
        for ((of, name), chain) in ruleset.chains.iter().filter(|((of, _), _)| *of == table) {
            let there = &installed.chains[&(*of, name.clone())];
            let there: Vec<_> = there.iter().filter_map(|rule| rule.rule.clone()).collect();
            assert_eq!(there, chain.rules, "{name}");
        }
    }
    assert!(installed.chains.keys().eq(ruleset.chains.keys()), "{installed:?}");
    read_sets(&mut installed, &sets.replace(" -exist", ""));
    let there = installed.sets.iter().map(|(name, set)| (name, set.members.as_ref()));
    let want: BTreeMap<_, _> =
        ruleset.sets.iter().map(|(name, set)| (name, Some(&set.members))).collect();
    assert_eq!(there.collect::<BTreeMap<_, _>>(), want);
}

fn world(texts: &[&str]) -> World {
    let mut texts = texts.iter().cycle();
    let mut text = || Value::from(texts.next().copied().unwrap_or_default());
    let mut world = World::default();
    for number in 1..=2 {
        let node = json!({
            "metadata": {"name": format!("n{number}")},
            "spec": {"podCIDRs": [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64"), text()]},
            "status": {"addresses": [{"type": "InternalIP", "address": text()}]},
        });
        if let Ok((node, _)) = ingest::node(&read(node)) {
            world.apply(Change::NodeApplied(Arc::new(node)));
        }
    }
    let namespaces = [text(), text()];
    for (number, name) in namespaces.iter().enumerate() {
        let namespace = json!({"metadata": {"name": name, "labels": labels(&mut text)}});
        if let Ok((namespace, _)) = ingest::namespace(&read(namespace)) {
            world.apply(Change::NamespaceApplied(Arc::new(namespace)));
        }
        for last in 1..=3 {
            apply_pod(&mut world, &mut text, name, number + 1, last);
        }
        for _ in 0..2 {
            let policy = policy(&mut text, name);
            if let Ok(policy) = ingest::network_policy(&read(policy)) {
                world.apply(Change::PolicyApplied(Arc::new(policy)));
            }
        }
        apply_calico(&mut world, &mut text, name);
    }
    world
}

/// Calico's objects, of which only the policies are always taken.
fn apply_calico(world: &mut World, text: &mut impl FnMut() -> Value, namespace: &Value) {
    let metadata = |text: &mut dyn FnMut() -> Value| json!({"name": text(), "namespace": namespace, "labels": {"app": text()}});
    let set = json!({"metadata": metadata(text), "spec": {"nets": ["198.51.100.0/24", text()]}});
    if let Ok((set, _)) = ingest::network_set(&read(set)) {
        world.apply(Change::NetworkSetApplied(Arc::new(set)));
    }
    let host = json!({
        "metadata": metadata(text),
        "spec": {
            "node": "n1",
            "interfaceName": text(),
            "expectedIPs": ["192.0.2.1", text()],
            "profiles": [text()],
            "ports": [{"name": text(), "protocol": "TCP", "port": 80}],
        },
    });
    if let Ok((host, _)) = ingest::host_endpoint(&read(host)) {
        world.apply(Change::HostEndpointApplied(Arc::new(host)));
    }
    let slice = json!({
        "metadata": {"name": text(), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": text()}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1", text()]}],
        "ports": [{"port": 80, "name": text(), "protocol": "TCP"}],
    });
    if let Ok((slice, _)) = ingest::endpoint_slice(&read(slice)) {
        world.apply(Change::SliceApplied(Arc::new(slice)));
    }
    let rules = calico_rules(text);
    let profile = json!({
        "metadata": metadata(text),
        "spec": {"labelsToApply": labels(text), "ingress": rules, "egress": rules},
    });
    if let Ok((profile, _)) = ingest::profile(&read(profile)) {
        world.apply(Change::ProfileApplied(Arc::new(profile)));
    }
    let tier = json!({"metadata": metadata(text), "spec": {"defaultAction": text()}});
    if let Ok((tier, _)) = ingest::tier(&read(tier)) {
        world.apply(Change::TierApplied(Arc::new(tier)));
    }
    let spec = json!({
        "tier": text(),
        "selector": "all()",
        "types": ["Ingress", "Egress"],
        "ingress": rules,
        "egress": rules,
    });
    let mut policy = json!({"metadata": metadata(text), "spec": spec});
    if let Ok(policy) = ingest::network_policy_v3(&read(policy.clone())) {
        world.apply(Change::PolicyApplied(Arc::new(policy)));
    }
    policy["spec"]["tier"] = json!("default");
    if let Ok(policy) = ingest::global_network_policy(&read(policy)) {
        world.apply(Change::PolicyApplied(Arc::new(policy)));
    }
}

fn calico_rules(text: &mut impl FnMut() -> Value) -> Value {
    let value =
        |text: &mut dyn FnMut() -> Value| text().as_str().unwrap_or_default().replace('"', "'");
    let end = json!({
        "selector": format!("app == \"{}\" || {}", value(text), "has(app)"),
        "notSelector": format!("app contains \"{}\"", value(text)),
        "namespaceSelector": "all()",
        "nets": ["10.0.0.0/8", text()],
        "serviceAccounts": {"names": [text()]},
    });
    json!([
        {"action": "Log", "source": end},
        {"action": "Allow", "protocol": "TCP", "destination": {"ports": [80, text()]}},
        {"action": "Allow", "protocol": text(), "source": {"selector": text()}},
        {"action": "Allow", "source": {"services": {"name": text(), "namespace": text()}}},
        {"action": "Allow", "destination": {"services": {"name": text(), "namespace": text()}}},
        {"action": text(), "destination": end},
        {"action": "Deny", "destination": {"ports": ["http"]}, "source": end},
    ])
}

fn apply_pod(
    world: &mut World,
    text: &mut impl FnMut() -> Value,
    namespace: &Value,
    node: usize,
    last: usize,
) {
    let pod = json!({
        "metadata": {"name": text(), "namespace": namespace, "labels": labels(text)},
        "spec": {
            "nodeName": format!("n{node}"),
            "serviceAccountName": text(),
            "containers": [{
                "name": text(),
                "ports": [
                    {"name": text(), "containerPort": 80, "protocol": text()},
                    {"name": text(), "containerPort": 81},
                ],
            }],
        },
        "status": {
            "phase": "Running",
            "podIPs": [
                {"ip": format!("10.{node}.0.{last}")},
                {"ip": format!("fd00:{node}::{last}")},
                {"ip": text()},
            ],
        },
    });
    if let Ok((pod, _)) = ingest::pod(&read(pod)) {
        world.apply(Change::PodApplied(Arc::new(pod)));
    }
}

fn labels(text: &mut impl FnMut() -> Value) -> Value {
    let mut label = || (text().as_str().unwrap_or_default().to_owned(), text());
    Value::from_iter([label(), label()])
}

fn selector(text: &mut impl FnMut() -> Value) -> Value {
    json!({
        "matchLabels": labels(text),
        "matchExpressions": [
            {"key": text(), "operator": "NotIn", "values": [text(), text()]},
            {"key": text(), "operator": text()},
        ],
    })
}

fn policy(text: &mut impl FnMut() -> Value, namespace: &Value) -> Value {
    let not_in = json!({"matchExpressions": [
        {"key": text(), "operator": "NotIn", "values": [text()]},
    ]});
    let peers = json!([
        {"podSelector": not_in, "namespaceSelector": not_in},
        {"podSelector": selector(text)},
        {"namespaceSelector": selector(text)},
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.8/29", text()]}},
        {"ipBlock": {"cidr": text()}},
    ]);
    let ports = json!([
        {"port": text()},
        {"port": text(), "protocol": "UDP"},
        {"port": 80, "protocol": text()},
        {"port": 53},
    ]);
    json!({
        "metadata": {"name": text(), "namespace": namespace, "annotations": {"note": text()}},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": ports}],
            "egress": [{"to": peers}, {"ports": ports}],
        },
    })
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of this kind, whatever its texts")
}
