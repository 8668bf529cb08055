//! Calico's policies: C01 to C31, C39 to C43 (C42 is in `cost.rs`, host endpoints' are with
//! their chains).

use std::collections::BTreeSet;

use brindle_policy::compile::{DenyLog, Settings, compile};
use brindle_policy::model::{HostSettings, HostStage, PolicyKind, Problem};
use brindle_policy::verdict::{Reason, verdict};
use brindle_policy::{Direction, Family, PolicyId, render};

use crate::ground::{Ground, flow, new_pod, policy};

/// An object of Calico's API.
fn calico(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    let place = if namespace.is_empty() { "" } else { ", namespace: " };
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: {kind}, \
         metadata: {{name: {name}{place}{namespace}}}, spec: {spec}}}\n"
    )
}

/// A NetworkPolicy of Calico, of `shop`.
fn local(name: &str, spec: &str) -> String {
    calico("NetworkPolicy", name, "shop", spec)
}

/// A GlobalNetworkPolicy.
fn global(name: &str, spec: &str) -> String {
    calico("GlobalNetworkPolicy", name, "", spec)
}

/// A tier.
fn tier(name: &str, order: u32, default_action: &str) -> String {
    let spec = format!("{{order: {order}, defaultAction: {default_action}}}");
    calico("Tier", name, "", &spec)
}

/// A labelled object of Calico's API with `metadata` as it is written here.
fn labelled(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {metadata}, \
         spec: {spec}}}\n"
    )
}

/// The cluster, with ingress of `db` as `rules` of a global policy say.
fn to_db(rules: &str) -> Ground {
    Ground::with(&global("p", &format!("{{selector: app == \"db\", ingress: {rules}}}")))
}

/// The cluster, with egress of `api` as `rules` of a global policy say.
fn from_api(rules: &str) -> Ground {
    let spec = format!("{{selector: app == \"api\", types: [Egress], egress: {rules}}}");
    Ground::with(&global("p", &spec))
}

/// What is wrong with the policies of a cluster.
fn problems(ground: &Ground) -> Vec<Problem> {
    ground.world.policies().flat_map(|policy| policy.problems.clone()).collect()
}

/// Asserts that there is one problem, of a field that ends so, and that it says `words`.
fn assert_problem(ground: &Ground, field: &str, words: &[&str]) {
    let [Problem { field: is, message }] = &problems(ground)[..] else {
        panic!("one problem, not {:#?}", problems(ground))
    };
    assert!(is.ends_with(field), "{is}: {message}");
    for word in words {
        assert!(message.contains(word), "{is}: {message} without {word:?}");
    }
}

/// Asserts for selectors of sources whether `api` (tier=front), `cart` (no tier) and `new`
/// (tier is empty) fit.
fn check_sources(rows: &[(&str, [bool; 3])]) {
    for (selector, [api, cart, new]) in rows {
        let mut ground = to_db(&format!("[{{action: Allow, source: {{selector: '{selector}'}}}}]"));
        ground.apply(&new_pod("new", "{app: new, tier: ''}", "Running", ""));
        println!("{selector}");
        ground.check(&[
            ("api -> db tcp/1", *api),
            ("cart -> db tcp/1", *cart),
            ("new -> db tcp/1", *new),
        ]);
    }
}

#[test]
fn c01_each_operator_with_a_label_that_is_there_absent_and_empty() {
    check_sources(&[
        ("tier == \"front\"", [true, false, false]),
        ("tier == \"\"", [false, false, true]),
        ("tier != \"front\"", [false, true, true]),
        ("tier != \"\"", [true, true, false]),
        ("tier in {\"front\", \"x\"}", [true, false, false]),
        ("tier in {\"\"}", [false, false, true]),
        ("tier in {}", [false, false, false]),
        ("tier not in {\"front\"}", [false, true, true]),
        ("tier not in {}", [true, true, true]),
        ("tier contains \"ron\"", [true, false, false]),
        ("tier contains \"\"", [true, false, true]),
        ("tier contains \"RON\"", [false, false, false]),
        ("tier starts with \"fr\"", [true, false, false]),
        ("tier starts with \"ront\"", [false, false, false]),
        ("tier ends with \"nt\"", [true, false, false]),
        ("tier ends with \"fron\"", [false, false, false]),
        ("has(tier)", [true, false, true]),
        ("!has(tier)", [false, true, false]),
        ("all()", [true, true, true]),
    ]);
}

#[test]
fn c02_not_binds_before_and_and_that_before_or() {
    check_sources(&[
        ("!!has(tier)", [true, false, true]),
        ("!(app == \"cart\" || app == \"x\") && tier in {\"front\"}", [true, false, false]),
        ("app == \"api\" || app == \"cart\" && has(tier)", [true, false, false]),
        ("(app == \"api\" || app == \"cart\") && !has(tier)", [false, true, false]),
        ("! app == \"api\" && has(tier)", [false, false, true]),
    ]);
}

#[test]
fn c03_text_that_is_no_selector_is_refused_with_the_place_and_allows_nothing() {
    for (selector, column) in [
        ("app == \\\"a\\\"\\n&& has(b)", "column 11"),
        ("app = \\\"a\\\"", "column 5"),
        ("app == \\\"a", "column 8"),
        ("app in {\\\"a\\\"", "column 12"),
        ("app in \\\"a\\\"", "column 8"),
    ] {
        let rules = format!("[{{action: Allow, source: {{selector: \"{selector}\"}}}}]");
        let ground = to_db(&rules);
        assert_problem(&ground, "ingress[0].source.selector", &[column]);
        ground.check_all(&["api -> cart tcp/1"], &["api -> db tcp/1", "cart -> db tcp/1"]);
    }
}

#[test]
fn c04_operators_of_two_words_may_be_written_as_one() {
    check_sources(&[
        ("tier startswith \"fr\"", [true, false, false]),
        ("tier endswith \"nt\"", [true, false, false]),
        ("app notin {\"cart\"}", [true, false, true]),
        ("app not in {\"cart\"}", [true, false, true]),
    ]);
}

#[test]
fn c05_types_follow_from_the_rules_that_are_there() {
    let rule = "[{action: Allow, source: {nets: [203.0.113.7/32]}}]";
    for (rules, ingress_open, egress_open) in [
        (format!("ingress: {rule}"), false, true),
        (format!("egress: {rule}"), true, false),
        (format!("ingress: {rule}, egress: {rule}"), false, false),
        ("order: 1".to_owned(), false, true),
        ("ingress: [], egress: []".to_owned(), false, true),
    ] {
        let spec = format!("{{selector: app == \"cart\", {rules}}}");
        for policy in [local("p", &spec), global("p", &spec)] {
            println!("{policy}");
            Ground::with(&policy)
                .check(&[("api -> cart tcp/1", ingress_open), ("cart -> api tcp/1", egress_open)]);
        }
    }
}

/// A host endpoint of node `n1`.
const HOST: &str = "---
{apiVersion: projectcalico.org/v3, kind: HostEndpoint,
 metadata: {name: n1-eth0, labels: {role: host}},
 spec: {node: n1, interfaceName: eth0, expectedIPs: [192.168.0.1]}}
";

/// Whether a policy of the cluster governs [`HOST`] in its normal stage.
fn governs_host(ground: &Ground) -> bool {
    let mut hosts = ground.world.host_endpoints();
    let host = hosts.next().expect("it was told");
    !ground.world.governing_host(host, HostStage::Normal, Direction::Ingress).is_empty()
}

#[test]
fn c06_a_global_policy_without_selector_governs_pods_and_hosts() {
    let ground = Ground::with(&(global("p", "{types: [Ingress]}") + HOST));
    assert!(governs_host(&ground));
    ground.check_all(&[], &["api -> cart tcp/1", "outside -> probe tcp/1"]);
}

#[test]
fn c07_all_namespaces_are_those_of_pods() {
    let spec = "{types: [Ingress], namespaceSelector: all()}";
    let ground = Ground::with(&(global("p", spec) + HOST));
    assert!(!governs_host(&ground));
    ground.check_all(&[], &["api -> cart tcp/1", "outside -> probe tcp/1"]);
}

#[test]
fn c08_other_namespaces_than_one_are_hosts_too() {
    let spec = "{types: [Ingress], selector: 'projectcalico.org/namespace != \"lab\"'}";
    let ground = Ground::with(&(global("p", spec) + HOST));
    assert!(governs_host(&ground));
    ground.check_all(&["api -> probe tcp/1"], &["api -> cart tcp/1", "probe -> db tcp/1"]);
    // Another way to say it, that also holds for what has no namespace.
    let spec = "{types: [Ingress], namespaceSelector: 'projectcalico.org/name != \"lab\"'}";
    let ground = Ground::with(&(global("p", spec) + HOST));
    assert!(governs_host(&ground));
    ground.check_all(&["api -> probe tcp/1"], &["api -> cart tcp/1", "probe -> db tcp/1"]);
}

#[test]
fn c09_a_policy_with_only_deny_rules_denies_all_else_too() {
    to_db("[{action: Deny, source: {nets: [203.0.113.0/24]}}]")
        .check_all(&["db -> api tcp/1"], &["outside -> db tcp/1", "api -> db tcp/1"]);
}

/// The rules of `db`'s node, with somebody who wants to know of packets.
fn told(ground: &Ground) -> String {
    let settings = Settings {
        node: "n2".into(),
        pod_cidrs: BTreeSet::new(),
        masquerade: false,
        deny_log: Some(DenyLog { group: 98, per_second: 10 }),
        hosts: HostSettings::default(),
    };
    render::ruleset(&compile(&ground.world, &settings, Family::V4)).rules
}

#[test]
fn c10_a_policy_with_only_log_rules_denies_and_logs() {
    let ground = to_db("[{action: Log, source: {nets: [203.0.113.0/24]}}]");
    ground.check_all(&[], &["outside -> db tcp/1", "api -> db tcp/1"]);
    let told = told(&ground);
    let is_log = |line: &&str| {
        line.contains("-s 203.0.113.0/24")
            && line.contains("brindle:rule/0/GlobalNetworkPolicy/p")
            && line.contains("-j NFLOG --nflog-prefix \"brindle:log/PI/")
    };
    assert_eq!(told.lines().filter(is_log).count(), 1, "{told}");
}

/// The policy that decides on a flow at its destination.
fn decides(ground: &Ground, text: &str) -> String {
    match verdict(&ground.world, &flow(text)).ingress.reason {
        Reason::Rule { policy, .. } => policy.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn c11_of_equal_orders_the_name_decides_and_no_order_comes_last() {
    let rule = |order: &str, action: &str| {
        format!("{{{order}selector: app == \"db\", ingress: [{{action: {action}}}]}}")
    };
    let (deny, allow) = (rule("order: 1, ", "Deny"), rule("order: 1, ", "Allow"));
    let mut ground = Ground::with(&(global("b", &deny) + &global("a-last", &rule("", "Deny"))));
    assert_eq!(decides(&ground, "api -> db tcp/1"), "GlobalNetworkPolicy b");
    ground.apply(&global("a", &allow));
    assert_eq!(decides(&ground, "api -> db tcp/1"), "GlobalNetworkPolicy a");
    ground.check_all(&["api -> db tcp/1"], &[]);
    let ground = Ground::with(&(global("a", &rule("", "Deny")) + &global("b", &allow)));
    ground.check_all(&["api -> db tcp/1"], &[]);
}

/// Allows `api` to `db`, and nobody else.
const KUBERNETES: &str = "{podSelector: {matchLabels: {app: db}},
    ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}";

#[test]
fn c12_a_deny_before_the_policies_of_kubernetes_decides() {
    let deny = "{order: 10, selector: app == \"db\", ingress: [{action: Deny}]}";
    Ground::with(&(local("p", deny) + &policy("k", KUBERNETES)))
        .check_all(&[], &["api -> db tcp/1", "cart -> db tcp/1"]);
}

#[test]
fn c13_an_allow_before_the_policies_of_kubernetes_decides() {
    let allow = "{order: 10, selector: app == \"db\", ingress: [{action: Allow}]}";
    let closed = policy("k", "{podSelector: {}}");
    Ground::with(&(local("p", allow) + &closed))
        .check_all(&["api -> db tcp/1", "outside -> db tcp/1"], &["api -> cart tcp/1"]);
}

#[test]
fn c14_an_allow_behind_the_policies_of_kubernetes_adds_to_them() {
    let allow = "{order: 2000, selector: app == \"db\",
        ingress: [{action: Allow, source: {selector: app == \"cart\"}}]}";
    Ground::with(&(local("p", allow) + &policy("k", KUBERNETES)))
        .check_all(&["api -> db tcp/1", "cart -> db tcp/1"], &["probe -> db tcp/1"]);
}

#[test]
fn c15_who_passes_the_last_tier_that_governs_is_allowed() {
    let spec = "{tier: early, selector: app == \"db\",
        ingress: [{action: Pass, source: {selector: app == \"api\"}}]}";
    Ground::with(&(tier("early", 10, "Deny") + &global("early.p", spec)))
        .check_all(&["api -> db tcp/1"], &["cart -> db tcp/1"]);
}

#[test]
fn c16_a_tier_that_passes_leaves_it_to_the_next() {
    let spec = "{tier: early, selector: app == \"db\",
        ingress: [{action: Allow, source: {selector: app == \"cart\"}}]}";
    let objects = tier("early", 10, "Pass") + &global("early.p", spec);
    Ground::with(&objects).check_all(&["cart -> db tcp/1", "probe -> db tcp/1"], &[]);
    Ground::with(&(objects + &policy("k", KUBERNETES)))
        .check_all(&["cart -> db tcp/1", "api -> db tcp/1"], &["probe -> db tcp/1"]);
}

#[test]
fn c17_the_end_of_a_tier_is_that_of_the_direction_it_governs() {
    let spec = "{tier: early, selector: app == \"cart\", types: [Ingress]}";
    Ground::with(&(tier("early", 10, "Deny") + &global("early.p", spec)))
        .check_all(&["cart -> api tcp/1"], &["api -> cart tcp/1"]);
}

/// Network sets with the label net=yes: of `shop`, of `lab`, of no namespace; and a host.
fn sets() -> String {
    let set = |kind: &str, namespace: &str, nets: &str| {
        let metadata = format!("{{name: set, labels: {{net: 'yes'}}{namespace}}}");
        labelled(kind, &metadata, &format!("{{nets: [{nets}]}}"))
    };
    set("NetworkSet", ", namespace: shop", "203.0.113.0/24")
        + &set("NetworkSet", ", namespace: lab", "203.0.114.0/24")
        + &set("GlobalNetworkSet", "", "203.0.115.0/24")
        + &labelled(
            "HostEndpoint",
            "{name: far, labels: {net: 'yes'}}",
            "{node: far, interfaceName: eth0, expectedIPs: [198.51.100.7],
              profiles: [projectcalico-default-allow]}",
        )
}

#[test]
fn c18_a_selector_of_a_namespace_means_who_is_in_there_network_sets_too() {
    let spec = "{selector: app == \"db\",
        ingress: [{action: Allow, source: {selector: 'app == \"api\" || has(net)'}}]}";
    Ground::with(&(local("p", spec) + &sets())).check_all(
        &["api -> db tcp/1", "203.0.113.7 -> db tcp/1"],
        &[
            "probe -> db tcp/1",
            "cart -> db tcp/1",
            "203.0.114.7 -> db tcp/1",
            "203.0.115.7 -> db tcp/1",
            "elsewhere -> db tcp/1",
        ],
    );
}

#[test]
fn c19_global_is_what_is_in_no_namespace() {
    let spec = "{selector: app == \"db\",
        ingress: [{action: Allow, source: {namespaceSelector: global()}}]}";
    let others = ["api -> db tcp/1", "203.0.113.7 -> db tcp/1", "203.0.114.7 -> db tcp/1"];
    Ground::with(&(local("p", spec) + &sets()))
        .check_all(&["203.0.115.7 -> db tcp/1", "elsewhere -> db tcp/1"], &others);
    let spec = "{selector: app == \"db\",
        ingress: [{action: Allow, source: {selector: has(net), namespaceSelector: all()}}]}";
    Ground::with(&(local("p", spec) + &sets())).check_all(
        &["203.0.113.7 -> db tcp/1", "203.0.114.7 -> db tcp/1"],
        &["203.0.115.7 -> db tcp/1", "elsewhere -> db tcp/1", "api -> db tcp/1"],
    );
}

#[test]
fn c20_a_negation_in_a_selector_asks_for_somebody_known() {
    to_db("[{action: Allow, source: {selector: '!has(tier)'}}]")
        .check_all(&["cart -> db tcp/1"], &["outside -> db tcp/1", "api -> db tcp/1"]);
    to_db("[{action: Allow, source: {notSelector: has(tier)}}]").check_all(
        &["cart -> db tcp/1", "probe -> db tcp/1", "outside -> db tcp/1", "n1 -> db tcp/1"],
        &["api -> db tcp/1"],
    );
    // In a policy of a namespace it is still whoever is in there.
    let spec = "{selector: app == \"db\",
        ingress: [{action: Allow, source: {notSelector: has(tier)}}]}";
    Ground::with(&local("p", spec)).check_all(
        &["cart -> db tcp/1"],
        &["probe -> db tcp/1", "outside -> db tcp/1", "api -> db tcp/1"],
    );
}

/// A pod of `shop` at the address `new`, with this service account.
fn pod_of_account(account: &str) -> String {
    format!(
        "---\n{{kind: Pod, metadata: {{name: new, namespace: shop, labels: {{app: new}}}}, \
         spec: {{nodeName: n1, serviceAccountName: {account}, containers: []}}, \
         status: {{phase: Running, podIPs: [{{ip: 10.1.0.77}}]}}}}\n"
    )
}

#[test]
fn c21_names_and_selector_of_service_accounts_hold_together() {
    for (accounts, robot, other, unknown) in [
        ("{names: [robot]}", true, false, false),
        ("{names: [robot, ghost]}", true, false, true),
        ("{selector: team == \"x\"}", true, true, false),
        ("{names: [robot, ghost], selector: team == \"x\"}", true, false, false),
        ("{names: [robot], selector: team == \"y\"}", false, false, false),
        ("{names: [robot], selector: '!has(team)'}", false, false, false),
    ] {
        let mut ground =
            to_db(&format!("[{{action: Allow, source: {{serviceAccounts: {accounts}}}}}]"));
        for name in ["robot", "other"] {
            ground.apply(&format!(
                "---\n{{kind: ServiceAccount, \
                 metadata: {{name: {name}, namespace: shop, labels: {{team: x}}}}}}\n"
            ));
        }
        for (account, want) in [("robot", robot), ("other", other), ("ghost", unknown)] {
            println!("{accounts} {account}");
            ground.apply(&pod_of_account(account));
            ground.check(&[("new -> db tcp/1", want), ("outside -> db tcp/1", false)]);
        }
    }
}

#[test]
fn c22_nets_and_selector_of_one_side_hold_together() {
    to_db("[{action: Allow, source: {nets: [10.1.0.2/31], selector: has(app)}}]").check_all(
        &["api -> db tcp/1", "cart -> db tcp/1"],
        &["probe -> db tcp/1", "outside -> db tcp/1", "api6 -> db6 tcp/1"],
    );
    to_db("[{action: Allow, source: {nets: [10.1.0.0/24], notNets: [10.1.0.3/32]}}]")
        .check_all(&["api -> db tcp/1"], &["cart -> db tcp/1", "probe -> db tcp/1"]);
}

#[test]
fn c23_numbers_and_names_of_ports_are_alternatives() {
    to_db("[{action: Allow, protocol: TCP, destination: {ports: [80, '90:92', sql]}}]").check_all(
        &["api -> db tcp/80", "api -> db tcp/91", "api -> db tcp/5432", "api6 -> db6 tcp/5432"],
        &["api -> db tcp/93", "api -> db udp/80", "api -> db tcp/53"],
    );
    to_db("[{action: Allow, protocol: TCP, destination: {notPorts: [80, '90:92', sql]}}]")
        .check_all(
            &["api -> db tcp/93", "api -> db tcp/0", "api -> db tcp/65535"],
            &["api -> db tcp/80", "api -> db tcp/91", "api -> db tcp/5432", "api -> db udp/93"],
        );
}

#[test]
fn c24_without_a_protocol_ports_may_have_names_only() {
    to_db("[{action: Allow, destination: {ports: [dns]}}]").check_all(
        &["api -> db udp/53", "api -> db tcp/54"],
        &["api -> db tcp/53", "api -> db udp/54", "api -> db icmp"],
    );
    let ground = to_db("[{action: Allow, destination: {ports: [80]}}]");
    assert_problem(&ground, "ingress[0].destination.ports[0]", &["number", "protocol"]);
    ground.check_all(&[], &["api -> db tcp/80"]);
    to_db("[{action: Allow, destination: {notPorts: [dns]}}]").check_all(
        &["api -> db tcp/53", "api -> db icmp", "api -> db gre"],
        &["api -> db udp/53", "api -> db tcp/54"],
    );
}

#[test]
fn c25_ports_are_refused_at_their_edges_and_taken_in_any_number() {
    for port in ["'10:5'", "0", "65536", "'1:65536'", "''"] {
        let rule =
            format!("[{{action: Allow, protocol: TCP, destination: {{ports: [{port}, 80]}}}}]");
        let ground = to_db(&rule);
        println!("{port}");
        assert_problem(&ground, "ingress[0].destination.ports[0]", &[]);
        ground.check_all(&["api -> db tcp/80"], &["api -> db tcp/7", "api -> db tcp/0"]);
    }
    for count in [16, 50] {
        let ports: Vec<String> = (1..=count).map(|n| (n * 10).to_string()).collect();
        let ports = ports.join(", ");
        let of = |field| {
            to_db(&format!(
                "[{{action: Allow, protocol: UDP, destination: {{{field}: [{ports}]}}}}]"
            ))
        };
        let last = format!("api -> db udp/{}", count * 10);
        let behind = format!("api -> db udp/{}", count * 10 + 1);
        of("ports").check_all(&["api -> db udp/10", &last], &["api -> db udp/11", &behind]);
        of("notPorts").check_all(&["api -> db udp/11", &behind], &["api -> db udp/10", &last]);
    }
}

#[test]
fn c26_protocols_have_names_in_this_case_only_and_numbers() {
    for protocol in ["132", "SCTP"] {
        to_db(&format!("[{{action: Allow, protocol: {protocol}}}]"))
            .check_all(&["api -> db sctp/1", "api6 -> db6 sctp/1"], &["api -> db tcp/1"]);
    }
    let ground = to_db("[{action: Allow, protocol: sctp}]");
    assert_problem(&ground, "ingress[0].protocol", &["sctp", "SCTP"]);
    ground.check_all(&[], &["api -> db sctp/1"]);
    to_db("[{action: Allow, notProtocol: TCP}]")
        .check_all(&["api -> db udp/1", "api -> db icmp", "api -> db gre"], &["api -> db tcp/1"]);
    to_db("[{action: Allow, protocol: 47}]")
        .check_all(&["api -> db gre"], &["api -> db tcp/1", "api -> db icmp"]);
}

#[test]
fn c27_messages_have_a_type_and_perhaps_a_code() {
    to_db("[{action: Allow, protocol: ICMP, icmp: {type: 3}}]").check_all(
        &["api -> db icmp/3.4", "api -> db icmp/3.0"],
        &["api -> db icmp/8", "api -> db tcp/3", "api6 -> db6 icmp/3"],
    );
    to_db("[{action: Allow, protocol: ICMP, icmp: {type: 3, code: 4}}]")
        .check_all(&["api -> db icmp/3.4"], &["api -> db icmp/3.0"]);
    to_db("[{action: Allow, protocol: ICMP, icmp: {type: 3}, notICMP: {type: 3, code: 4}}]")
        .check_all(&["api -> db icmp/3.1"], &["api -> db icmp/3.4", "api -> db icmp/8"]);
    to_db("[{action: Allow, protocol: ICMPv6, notICMP: {type: 128}}]").check_all(
        &["api6 -> db6 icmp/129"],
        &["api6 -> db6 icmp/128", "api -> db icmp/129", "api6 -> db6 tcp/1"],
    );
    to_db("[{action: Allow, protocol: ICMP}]")
        .check_all(&["api -> db icmp/8"], &["api6 -> db6 icmp", "api -> db udp/8"]);
    let ground = to_db("[{action: Allow, protocol: ICMP, icmp: {code: 4}}]");
    assert_problem(&ground, "ingress[0].icmp.code", &["type"]);
    ground.check_all(&[], &["api -> db icmp/3.4"]);
}

#[test]
fn c28_all_addresses_cannot_be_excluded() {
    for (net, source) in [("0.0.0.0/0", "outside"), ("'::/0'", "outside6")] {
        let ground = to_db(&format!("[{{action: Allow, source: {{notNets: [{net}]}}}}]"));
        assert_problem(&ground, "ingress[0].source.notNets[0]", &[net.trim_matches('\'')]);
        ground.check_all(&[], &[&format!("{source} -> db tcp/1").replace("6 -> db", "6 -> db6")]);
    }
}

#[test]
fn c29_nets_of_both_families_are_told_and_compared_with_their_own() {
    let ground = to_db("[{action: Allow, source: {nets: [10.1.0.2/32, 'fd00:1::3/128']}}]");
    assert_problem(&ground, "ingress[0]", &["IPv4", "IPv6"]);
    ground.check_all(
        &["api -> db tcp/1", "cart6 -> db6 tcp/1"],
        &["cart -> db tcp/1", "api6 -> db6 tcp/1"],
    );
    // In a family that a list says nothing of, there is no such rule.
    to_db("[{action: Allow, source: {notNets: [10.1.0.2/32]}}]")
        .check_all(&["cart -> db tcp/1"], &["api -> db tcp/1", "cart6 -> db6 tcp/1"]);
}

/// Endpoints of the Service `shop/sql`, whose own port is another one.
const SLICE: &str = "---
{kind: EndpointSlice, addressType: IPv4,
 metadata: {name: sql-1, namespace: shop, labels: {kubernetes.io/service-name: sql}},
 ports: [{name: sql, port: 5432, protocol: TCP}],
 endpoints: [{addresses: [10.2.0.2]}]}
";

#[test]
fn c30_a_service_is_the_addresses_and_ports_that_its_slices_have() {
    let rule = "[{action: Allow, destination: {services: {name: sql, namespace: shop}}}]";
    let mut ground = from_api(rule);
    ground.check_all(&[], &["api -> db tcp/5432"]);
    ground.apply(SLICE);
    ground.check_all(
        &["api -> db tcp/5432"],
        &["api -> db tcp/80", "api -> db udp/5432", "api -> cart tcp/5432", "api -> db icmp"],
    );
    // As a source, the ports say nothing.
    let mut ground = Ground::with(&local(
        "p",
        "{selector: app == \"cart\", ingress: [{action: Allow, source: {services: {name: sql}}}]}",
    ));
    ground.apply(SLICE);
    ground.check_all(
        &["db -> cart tcp/1", "db -> cart icmp"],
        &["api -> cart tcp/1", "probe -> cart tcp/5432"],
    );
}

#[test]
fn c31_in_a_global_policy_a_service_needs_its_namespace() {
    let mut ground = from_api("[{action: Allow, destination: {services: {name: sql}}}]");
    ground.apply(SLICE);
    assert_problem(&ground, "egress[0].destination.services.namespace", &[]);
    ground.check_all(&[], &["api -> db tcp/5432"]);
}

#[test]
fn c39_a_staged_policy_changes_nothing_but_is_told_of() {
    let spec = "{selector: app == \"db\", types: [Ingress]}";
    let told_rule = "brindle:staged -j NFLOG --nflog-prefix \"brindle:staged/I/";
    let plain = Ground::with("");
    assert!(!told(&plain).contains("staged"));
    for kind in ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy"] {
        let namespace = if kind.contains("Global") { "" } else { "shop" };
        let ground = Ground::with(&calico(kind, "p", namespace, spec));
        ground.check_all(&["outside -> db tcp/1", "api -> db tcp/1", "db -> api tcp/1"], &[]);
        let told = told(&ground).replace("brindle:staged\" -j", "brindle:staged -j");
        let rules = told.lines().filter(|line| line.contains("staged"));
        let rules: Vec<_> = rules.collect();
        assert!(matches!(rules[..], [rule] if rule.contains(told_rule)), "{rules:#?}");
        // Who does not listen to packets pays nothing.
        assert_eq!(quiet(&ground), quiet(&plain));
    }
    // That an enforced one shall go concerns whom it governs.
    let enforced = Ground::with(&(local("p", spec) + &policy("k", "{podSelector: {}}")));
    let mut ground = Ground::with(&(local("p", spec) + &policy("k", "{podSelector: {}}")));
    let delete = "{stagedAction: Delete}";
    ground.apply(&calico("StagedNetworkPolicy", "p", "shop", delete));
    ground.check_all(&[], &["outside -> db tcp/1", "api -> db tcp/1"]);
    let lines = |ground: &Ground| told(ground).lines().filter(|l| l.contains("staged")).count();
    assert_eq!((lines(&enforced), lines(&ground)), (0, 1));
    ground.apply(&calico("StagedNetworkPolicy", "p", "shop", "{stagedAction: Ignore}"));
    assert_eq!(lines(&ground), 0);
}

/// The rules of `db`'s node where nobody wants to know of packets.
fn quiet(ground: &Ground) -> String {
    let settings = Settings {
        node: "n2".into(),
        pod_cidrs: BTreeSet::new(),
        masquerade: false,
        deny_log: None,
        hosts: HostSettings::default(),
    };
    render::ruleset(&compile(&ground.world, &settings, Family::V4)).rules
}

#[test]
fn c40_a_policy_of_an_unknown_tier_waits_for_it() {
    let spec = "{tier: late, selector: app == \"db\", types: [Ingress]}";
    let mut ground = Ground::with(&global("late.p", spec));
    ground.check_all(&["api -> db tcp/1"], &[]);
    ground.apply(&tier("late", 20_000_000, "Deny"));
    ground.check_all(&["db -> api tcp/1"], &["api -> db tcp/1"]);
}

#[test]
fn c41_policies_of_one_name_and_different_apis_are_two() {
    let allow = "{selector: app == \"db\",
        ingress: [{action: Allow, source: {selector: app == \"cart\"}}]}";
    let ground = Ground::with(&(local("p", allow) + &policy("p", KUBERNETES)));
    let id = |kind| PolicyId { kind, namespace: Some("shop".into()), name: "p".into() };
    for kind in [PolicyKind::NetworkPolicy, PolicyKind::CalicoNetworkPolicy] {
        assert!(ground.world.policy(&id(kind)).is_some(), "{kind:?}");
    }
    ground.check_all(&["cart -> db tcp/1", "api -> db tcp/1"], &["probe -> db tcp/1"]);
}

#[test]
fn c43_an_allow_rule_about_http_matches_nothing() {
    let ground = to_db("[{action: Allow, protocol: TCP, http: {methods: [GET]}}]");
    assert_problem(&ground, "ingress[0].http", &["HTTP"]);
    ground.check_all(&[], &["api -> db tcp/80", "cart -> db tcp/1"]);
    let ground = to_db("[{action: Deny, protocol: TCP, http: {methods: [GET]}}, {action: Allow}]");
    assert_problem(&ground, "ingress[0].http", &["HTTP"]);
    ground.check_all(&["api -> db udp/80"], &["api -> db tcp/80"]);
}
