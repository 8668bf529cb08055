//! ClusterNetworkPolicies: A01 to A07.

use brindle_policy::model::Problem;

use crate::ground::{Ground, policy};

/// A ClusterNetworkPolicy about the pods of `shop`.
fn cluster(name: &str, tier: &str, rules: &str) -> String {
    format!(
        "---\n{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, \
         metadata: {{name: {name}}}, spec: {{tier: {tier}, priority: 10, \
         subject: {{namespaces: {{matchLabels: {{team: web}}}}}}, {rules}}}}}\n"
    )
}

/// All ingress from pods of `lab`, with what is done with it.
fn from_lab(action: &str) -> String {
    let peer = "{namespaces: {matchLabels: {team: dba}}}";
    format!("ingress: [{{action: {action}, from: [{peer}]}}]")
}

/// Allows everything to the pods of `shop`.
const OPEN: &str = "{podSelector: {}, ingress: [{}]}";
/// Allows nothing to them.
const CLOSED: &str = "{podSelector: {}}";

#[test]
fn a01_an_admin_deny_comes_before_what_a_network_policy_allows() {
    Ground::with(&(cluster("p", "Admin", &from_lab("Deny")) + &policy("open", OPEN)))
        .check_all(&["api -> db tcp/1", "outside -> db tcp/1"], &["probe -> db tcp/1"]);
}

#[test]
fn a02_an_admin_accept_comes_before_what_a_network_policy_denies() {
    Ground::with(&(cluster("p", "Admin", &from_lab("Accept")) + &policy("closed", CLOSED)))
        .check_all(&["probe -> db tcp/1", "probe -> db icmp"], &["api -> db tcp/1"]);
}

#[test]
fn a03_what_admins_pass_and_no_network_policy_governs_the_baseline_decides() {
    let both =
        cluster("p", "Admin", &from_lab("Pass")) + &cluster("q", "Baseline", &from_lab("Deny"));
    Ground::with(&both).check_all(&["api -> db tcp/1"], &["probe -> db tcp/1"]);
    // Passed, it meets the network policies first.
    Ground::with(&(both + &policy("open", OPEN))).check_all(&["probe -> db tcp/1"], &[]);
}

#[test]
fn a04_the_baseline_does_not_see_pods_that_a_network_policy_governs() {
    let deny = cluster("p", "Baseline", &from_lab("Deny"));
    let spec = "{podSelector: {matchLabels: {app: db}}, ingress: [{}]}";
    Ground::with(&(deny + &policy("open", spec)))
        .check_all(&["probe -> db tcp/1"], &["probe -> api tcp/1"]);
}

#[test]
fn a05_a_direction_without_rules_is_not_governed() {
    Ground::with(&cluster("p", "Admin", &from_lab("Deny")))
        .check_all(&["db -> probe tcp/1", "api -> db tcp/1"], &["probe -> db tcp/1"]);
    // Nor does being a subject deny anything.
    Ground::with(&cluster("p", "Admin", "ingress: []")).check_all(&["probe -> db tcp/1"], &[]);
}

#[test]
fn a06_a_peer_that_is_not_known_denies_or_matches_nothing() {
    let unknown = |action: &str| {
        let rules = format!("egress: [{{action: {action}, to: [{{domainNames: [example.org]}}]}}]");
        Ground::with(&cluster("p", "Admin", &rules))
    };
    for action in ["Deny", "Pass"] {
        let ground = unknown(action);
        ground.check_all(&["probe -> db tcp/1"], &["db -> probe tcp/1", "api -> outside tcp/1"]);
        let policies = ground.world.policies().flat_map(|policy| &policy.problems);
        let fields: Vec<_> = policies.map(|Problem { field, .. }| &field[..]).collect();
        assert!(fields.iter().any(|field| field.starts_with("spec.egress[0].to[0]")), "{fields:?}");
    }
    let mut ground = unknown("Accept");
    ground.apply(&policy("closed", "{podSelector: {}, policyTypes: [Egress]}"));
    ground.check_all(&[], &["db -> probe tcp/1", "api -> outside tcp/1"]);
}

#[test]
fn a07_networks_hold_pods_too() {
    let rules = "egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]";
    Ground::with(&cluster("p", "Admin", rules)).check_all(
        &["db6 -> api6 tcp/1", "probe -> outside tcp/1"],
        &["db -> api tcp/1", "db -> outside tcp/1", "db -> api icmp", "db -> n1 tcp/1"],
    );
}

#[test]
fn ports_of_a_rule_have_numbers_ranges_or_names() {
    let rules = "ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [
        {tcp: {destinationPort: {number: 80}}},
        {udp: {destinationPort: {range: {start: 10, end: 20}}}},
        {destinationNamedPort: sql}]}]";
    Ground::with(&cluster("p", "Admin", rules)).check_all(
        &["api -> db tcp/81", "api -> db udp/21", "outside -> db tcp/80", "api -> cart tcp/5432"],
        &["api -> db tcp/80", "probe -> db udp/20", "api -> db tcp/5432"],
    );
}
