//! Which directions a policy governs, and how policies add up.

use crate::ground::{Ground, policy};
use brindle_policy::walk::State;

#[test]
fn k01_an_empty_pod_selector_alone_closes_ingress_and_leaves_egress_open() {
    Ground::with_policy("{podSelector: {}}").check_all(
        &["api -> probe tcp/80", "api -> outside udp/53", "db6 -> probe6 tcp/80"],
        &[
            "cart -> api tcp/80",
            "probe -> db tcp/80",
            "outside -> api icmp",
            "probe6 -> db6 tcp/80",
        ],
    );
}

#[test]
fn k02_a_rule_with_an_empty_list_makes_egress_governed_and_open() {
    Ground::with_policy("{podSelector: {}, egress: [{to: []}]}").check_all(
        &["api -> probe tcp/80", "api -> outside icmp", "api6 -> outside6 udp/53"],
        &["probe -> api tcp/80", "cart -> api tcp/80"],
    );
}

#[test]
fn k03_an_empty_list_of_egress_rules_does_not_govern_egress() {
    Ground::with_policy("{podSelector: {}, egress: []}")
        .check_all(&["api -> outside tcp/80", "db -> probe tcp/80"], &["probe -> api tcp/80"]);
}

#[test]
fn k04_egress_without_rules_is_closed_and_ingress_stays_open() {
    Ground::with_policy("{podSelector: {}, policyTypes: [Egress]}").check_all(
        &["probe -> api tcp/80", "outside -> db icmp", "n2 -> api tcp/80"],
        &["api -> probe tcp/80", "api -> cart tcp/80", "api -> outside udp/53", "db6 -> n16 tcp/1"],
    );
}

#[test]
fn k05_rules_of_a_direction_that_is_not_listed_are_ignored() {
    let egress = "egress: [{to: [{podSelector: {matchLabels: {app: nobody}}}]}]";
    Ground::with_policy(&format!("{{podSelector: {{}}, policyTypes: [Ingress], {egress}}}"))
        .check_all(&["api -> probe tcp/80", "api -> outside tcp/80"], &["probe -> api tcp/80"]);
}

#[test]
fn k06_a_rule_that_says_nothing_allows_everything() {
    Ground::with_policy("{podSelector: {}, ingress: [{}]}").check_all(
        &["probe -> api tcp/80", "outside -> api gre", "n2 -> api icmp", "outside6 -> db6 udp/1"],
        &[],
    );
}

#[test]
fn k07_an_empty_list_of_peers_stands_for_everyone() {
    Ground::with_policy("{podSelector: {}, ingress: [{from: []}]}").check_all(
        &["probe -> api tcp/80", "outside -> api gre", "n2 -> api icmp", "outside6 -> db6 udp/1"],
        &[],
    );
}

#[test]
fn k29_two_policies_on_one_pod_add_up() {
    let rule = |app: &str| {
        format!(
            "{{podSelector: {{matchLabels: {{app: db}}}},
              ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {app}}}}}}}]}}]}}"
        )
    };
    let both = policy("a", &rule("api")) + &policy("b", &rule("cart"));
    Ground::with(&both).check_all(
        &["api -> db tcp/1", "cart -> db tcp/1"],
        &["probe -> db tcp/1", "outside -> db tcp/1"],
    );
    Ground::with(&policy("a", &rule("api"))).check_all(&["api -> db tcp/1"], &["cart -> db tcp/1"]);
}

#[test]
fn k30_directions_of_one_pod_are_governed_by_different_policies() {
    let db = "podSelector: {matchLabels: {app: db}}";
    let api = "podSelector: {matchLabels: {app: api}}";
    let both = policy("a", &format!("{{{db}, ingress: [{{from: [{{{api}}}]}}]}}"))
        + &policy(
            "b",
            &format!("{{{db}, policyTypes: [Egress], egress: [{{ports: [{{port: 80}}]}}]}}"),
        );
    Ground::with(&both).check_all(
        &["api -> db tcp/1", "db -> cart tcp/80", "db -> outside tcp/80"],
        &["cart -> db tcp/80", "db -> cart tcp/81", "db -> api tcp/1"],
    );
}

#[test]
fn k31_processes_of_the_own_node_reach_an_isolated_pod() {
    Ground::with_policy("{podSelector: {}}").check_all(
        &["n1 -> api tcp/8080", "n1 -> api udp/53", "n16 -> api6 tcp/8080", "n2 -> db icmp"],
        &["n2 -> api tcp/8080"],
    );
}

#[test]
fn k32_other_nodes_do_not_reach_an_isolated_pod_but_by_a_block() {
    Ground::with_policy("{podSelector: {}}")
        .check_all(&[], &["n2 -> api tcp/80", "n26 -> api6 tcp/80", "n1 -> db udp/53"]);
    Ground::with_policy(
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.168.0.2/32}}]}]}",
    )
    .check_all(
        &["n2 -> api tcp/80", "host -> api tcp/80"],
        &["n26 -> api6 tcp/80", "n1 -> db udp/53"],
    );
}

#[test]
fn k33_an_isolated_pod_does_not_reach_its_own_node_unless_it_may() {
    Ground::with_policy("{podSelector: {}, policyTypes: [Egress]}")
        .check_all(&[], &["api -> n1 tcp/80", "api6 -> n16 tcp/80", "api -> n2 tcp/80"]);
    Ground::with_policy(
        "{podSelector: {}, policyTypes: [Egress],
          egress: [{to: [{ipBlock: {cidr: 192.168.0.0/24}}], ports: [{port: 10250}]}]}",
    )
    .check_all(
        &["api -> n1 tcp/10250", "api -> n2 tcp/10250"],
        &["api -> n1 tcp/80", "api6 -> n16 tcp/10250"],
    );
}

#[test]
fn k34_what_ingress_allows_the_own_egress_may_still_deny() {
    let open = policy("open", "{podSelector: {}, ingress: [{}]}");
    Ground::with(&open).check_all(&["api -> db tcp/5432"], &[]);
    let closed =
        policy("closed", "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress]}");
    Ground::with(&(open + &closed)).check_all(&["cart -> db tcp/5432"], &["api -> db tcp/5432"]);
}

#[test]
fn k35_replies_pass_though_their_direction_is_closed() {
    let ground = Ground::with(
        &(policy("in", "{podSelector: {matchLabels: {app: api}}}")
            + &policy("out", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}")),
    );
    for reply in ["db -> api tcp/40000", "outside -> api tcp/40000", "db6 -> n16 tcp/40000"] {
        ground.check(&[(reply, false)]);
        assert!(ground.passes(reply, State::Established), "{reply}");
        assert!(!ground.passes(reply, State::Invalid), "{reply}");
    }
}

#[test]
fn k37_a_pod_that_a_service_leads_back_to_itself_is_its_own_peer() {
    Ground::with_policy("{podSelector: {}}")
        .check_all(&[], &["api -> api tcp/80", "api6 -> api6 tcp/80"]);
    Ground::with_policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}")
        .check_all(&["api -> api tcp/80", "api6 -> api6 tcp/80"], &["probe -> api tcp/80"]);
    Ground::with_policy("{podSelector: {}, policyTypes: [Egress]}")
        .check_all(&[], &["api -> api tcp/80"]);
}

#[test]
fn k54_what_cannot_be_understood_is_closed_and_leaves_others_alone() {
    let broken = "{podSelector: {matchLabels: {app: db}},
        ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Resembles}]}}]},
                  {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 99999}]}]}";
    let ground = Ground::with(
        &(policy("broken", broken)
            + &policy(
                "whole",
                "{podSelector: {matchLabels: {app: cart}},
                  ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}",
            )),
    );
    ground.check_all(
        &["api -> cart tcp/80"],
        &["api -> db tcp/80", "cart -> db tcp/80", "db -> cart tcp/80"],
    );
    let problems = ground.world.policies().map(|policy| policy.problems.len());
    let problems: Vec<_> = problems.collect();
    assert!(problems[0] >= 2 && problems[1] == 0, "{problems:?}");
}
