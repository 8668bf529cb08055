//! Pods and namespaces that come, change and go; packets before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brindle_policy::compile::{Compiler, Settings};
use brindle_policy::model::{HostSettings, Pod, PolicyKind};
use brindle_policy::ruleset::SetOp;
use brindle_policy::{Change, Family, PodKey, PolicyId};

use crate::ground::{Ground, changes, new_pod, policy};

/// Allows `app=api` of `shop` and all pods of team dba to the pods with `app=db`.
const TO_DB: &str = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [
    {podSelector: {matchLabels: {app: api}}}, {namespaceSelector: {matchLabels: {team: dba}}}]}]}";

fn key(namespace: &str, name: &str) -> PodKey {
    PodKey { namespace: namespace.into(), name: name.into() }
}

fn id(name: &str) -> PolicyId {
    PolicyId { kind: PolicyKind::NetworkPolicy, namespace: Some("shop".into()), name: name.into() }
}

/// What all nodes would program.
fn programmed(ground: &Ground) -> Vec<brindle_policy::Ruleset> {
    let nodes = ["n1", "n2"].into_iter();
    nodes
        .flat_map(|node| Family::ALL.map(|family| compiler(ground, node, family).ruleset().clone()))
        .collect()
}

fn compiler(ground: &Ground, node: &str, family: Family) -> Compiler {
    let settings = Settings {
        node: node.into(),
        pod_cidrs: BTreeSet::new(),
        masquerade: true,
        deny_log: None,
        hosts: HostSettings::default(),
    };
    Compiler::new(&ground.world, settings, family)
}

#[test]
fn k38_no_packet_of_a_new_pod_passes_before_its_policies_are_known_to_hold() {
    let mut ground = Ground::with(&policy(
        "p",
        "{podSelector: {matchLabels: {app: job}}, policyTypes: [Ingress, Egress],
          egress: [{ports: [{port: 53, protocol: UDP}]}]}",
    ));
    let both = ["new -> outside tcp/80", "outside -> new tcp/80", "api -> new tcp/80"];
    ground.check_all(&[], &both);
    ground.check_all(&[], &["new -> outside udp/53"]);
    // Init containers run while the pod is pending.
    ground.apply(&new_pod("job", "{app: job}", "Pending", ""));
    ground.check_all(&["new -> outside udp/53"], &both);
}

#[test]
fn k39_a_new_client_is_let_in_by_the_rule_that_waits_for_it() {
    let mut ground = Ground::with_policy(TO_DB);
    ground.check_all(&[], &["new -> db tcp/5432"]);
    ground.apply(&new_pod("client", "{app: api}", "Running", ""));
    ground.check_all(&["new -> db tcp/5432", "new6 -> db6 tcp/5432"], &[]);
}

#[test]
fn k40_a_pod_that_is_relabelled_changes_sides() {
    let mut ground = Ground::with_policy(TO_DB);
    ground.apply(&new_pod("client", "{app: cart}", "Running", ""));
    ground.check_all(&["outside -> new tcp/1"], &["new -> db tcp/1"]);
    ground.apply(&new_pod("client", "{app: api}", "Running", ""));
    ground.check_all(&["new -> db tcp/1", "outside -> new tcp/1"], &[]);
    ground.apply(&new_pod("client", "{app: db}", "Running", ""));
    ground.check_all(&["api -> new tcp/1"], &["new -> db tcp/1", "outside -> new tcp/1"]);
}

#[test]
fn k41_a_namespace_that_is_relabelled_takes_its_pods_along() {
    let mut ground = Ground::with_policy(TO_DB);
    ground.check_all(&["probe -> db tcp/1"], &[]);
    ground.apply("{kind: Namespace, metadata: {name: lab, labels: {team: ops}}}");
    ground.check_all(&[], &["probe -> db tcp/1", "probe6 -> db6 tcp/1"]);
    ground.apply("{kind: Namespace, metadata: {name: lab, labels: {team: dba}}}");
    ground.check_all(&["probe -> db tcp/1"], &[]);
}

#[test]
fn k42_a_policy_that_is_deleted_leaves_nothing() {
    let mut ground = Ground::with("");
    let before = programmed(&ground);
    ground.apply(&policy("p", TO_DB));
    assert_ne!(programmed(&ground), before);
    ground.check_all(&[], &["cart -> db tcp/1"]);
    ground.tell(Change::PolicyDeleted(id("p")));
    ground.check_all(&["cart -> db tcp/1"], &[]);
    assert_eq!(programmed(&ground), before);
}

#[test]
fn k43_a_namespace_that_is_deleted_leaves_nothing() {
    let mut ground = Ground::with("");
    let before = programmed(&ground);
    ground.apply("{kind: Namespace, metadata: {name: gone, labels: {team: dba}}}");
    ground.apply(&policy("p", TO_DB));
    let pod = new_pod("client", "{app: x}", "Running", "").replace("shop", "gone");
    ground.apply(&pod);
    ground.check_all(&["new -> db tcp/1"], &["cart -> db tcp/1"]);
    ground.tell(Change::PodDeleted(key("gone", "client")));
    ground.tell(Change::NamespaceDeleted("gone".into()));
    ground.check_all(&["probe -> db tcp/1"], &["new -> db tcp/1"]);
    ground.tell(Change::PolicyDeleted(id("p")));
    assert_eq!(programmed(&ground), before);
}

#[test]
fn k44_an_address_that_is_given_on_leaves_its_past_behind() {
    let of_job = policy("job", "{podSelector: {matchLabels: {job: 'yes'}}}");
    let mut ground = Ground::with(&(policy("p", TO_DB) + &of_job));
    let old = |phase: &str| {
        new_pod(
            "job",
            "{app: api, job: 'yes'}",
            phase,
            ", creationTimestamp: '2026-01-01T00:00:00Z'",
        )
    };
    ground.apply(&old("Running"));
    ground.check_all(&["new -> db tcp/1"], &["cart -> new tcp/1"]);
    ground.apply(&old("Succeeded"));
    ground.check_all(&[], &["new -> db tcp/1", "new -> outside tcp/1", "cart -> new tcp/1"]);
    let heir =
        new_pod("heir", "{app: x}", "Running", ", creationTimestamp: '2026-01-02T00:00:00Z'");
    ground.apply(&heir);
    ground.check_all(&["cart -> new tcp/1", "new -> outside tcp/1"], &["new -> db tcp/1"]);
    // Even if word of the end comes late.
    ground.apply(&old("Running"));
    ground.check_all(&["cart -> new tcp/1"], &["new -> db tcp/1"]);
}

#[test]
fn k45_a_pod_that_ends_is_governed_until_its_network_is_gone() {
    let mut ground = Ground::with_policy(TO_DB);
    let ending = ", deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30";
    ground.apply(&new_pod("db-1", "{app: db}", "Running", ending));
    ground.check_all(&["api -> new tcp/1"], &["cart -> new tcp/1"]);
    ground.tell(Change::PodDeleted(key("shop", "db-1")));
    ground.check_all(&[], &["api -> new tcp/1", "cart -> new tcp/1", "new -> outside tcp/1"]);
}

#[test]
fn k46_a_pod_that_comes_again_under_its_name_has_its_new_address_alone() {
    let mut ground = Ground::with_policy(TO_DB);
    ground.apply(&new_pod("api-0", "{app: api}", "Running", ""));
    ground.check_all(&["new -> db tcp/1"], &["10.1.0.78 -> db tcp/1"]);
    let moved = new_pod("api-0", "{app: api}", "Running", "").replace(".77", ".78");
    ground.apply(&moved.replace("::77", "::78"));
    ground.check_all(
        &["10.1.0.78 -> db tcp/1", "fd00:1::78 -> db6 tcp/1"],
        &["new -> db tcp/1", "new6 -> db6 tcp/1"],
    );
}

#[test]
fn k53_one_pod_among_ten_thousand_peers_changes_one_member() {
    let mut ground = Ground::with("");
    let rule = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: dba}},
                 podSelector: {matchLabels: {app: api}}}], ports: [{port: PORT}]}]}";
    for number in 1..=1_000 {
        let spec = rule.replace("PORT", &number.to_string());
        ground.apply(&policy(&format!("p{number}"), &spec));
    }
    let like = changes(&new_pod("peer", "{app: api}", "Running", "").replace("shop", "lab"));
    let [Change::PodApplied(like)] = &like[..] else { panic!("one pod") };
    let peer = |number: u16, labels| Pod {
        key: key("lab", &format!("peer{number}")),
        labels,
        node: Some("n3".into()),
        addresses: vec![[10, 3, (number >> 8) as u8, number as u8].into()],
        ..(**like).clone()
    };
    for number in 0..10_000 {
        ground.tell(Change::PodApplied(Arc::new(peer(number, like.labels.clone()))));
    }
    let mut compiler = compiler(&ground, "n1", Family::V4);
    ground.world.take_touched();
    ground.tell(Change::PodApplied(Arc::new(peer(4_711, Default::default()))));
    let touched = ground.world.take_touched();
    let plan = compiler.update(&ground.world, &touched);
    assert!(plan.chains.values().all(BTreeMap::is_empty), "{plan:?}");
    let [SetOp::Change { remove, add, .. }] = &plan.sets[..] else { panic!("{:?}", plan.sets) };
    assert_eq!((remove.len(), add.len()), (1, 0));
}

#[test]
fn k55_what_starts_while_nobody_looks_stays_closed() {
    let mut ground = Ground::with("");
    ground.check_all(
        &["n1 -> new tcp/1"],
        &[
            "new -> outside tcp/1",
            "new -> api tcp/1",
            "new -> n1 tcp/1",
            "api -> new tcp/1",
            "db -> new tcp/1",
            "outside6 -> new6 tcp/1",
        ],
    );
    ground.apply(&new_pod("client", "{}", "Running", ""));
    ground.check_all(&["new -> outside tcp/1", "api -> new tcp/1", "new -> n1 tcp/1"], &[]);
}
