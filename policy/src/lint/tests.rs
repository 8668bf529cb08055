use std::collections::BTreeSet;

use proptest::prelude::*;

use super::selectors::contradiction;
use super::{Check, lint};
use crate::model::{Change, Labels};
use crate::selector::{Expr, Subject};
use crate::verdict::tests::random::{KEYS, VALUES, expr};
use crate::verdict::tests::{policy, world};

/// `check field` of everything that is found in policies of `shop`.
fn found(policies: &[(&str, &str)]) -> Vec<String> {
    let texts: Vec<_> = policies.iter().map(|(name, spec)| policy(name, spec)).collect();
    let warnings = lint(&world(&texts.join("---\n")));
    for warning in &warnings {
        assert!(!warning.message.is_empty() && !warning.fix.is_empty(), "{warning:?}");
    }
    warnings.iter().map(|warning| format!("{} {}", warning.check, warning.field)).collect()
}

#[test]
fn each_check_finds_what_it_looks_for_and_nothing_else() {
    let open_dns = "egress: [{to: [{podSelector: {}}]}, {ports: [{port: 53, protocol: UDP}]}]";
    for (spec, want) in [
        // Nothing to say.
        ("{ingress: [{}], egress: [{}]}", &[][..]),
        (
            "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: \
          {app: api}}}], ports: [{port: sql}]}]}",
            &[],
        ),
        // What ingest said.
        (
            "{ingress: [{from: [{}, {podSelector: {}}]}]}",
            &["not-understood spec.ingress[0].from[0]"],
        ),
        ("{policyTypes: [Ingress], ingress: [{}], egress: [{}]}", &["rules-ignored spec.egress"]),
        ("{policyTypes: [Egress], ingress: [{}], egress: [{}]}", &["rules-ignored spec.ingress"]),
        // Selectors.
        (
            "{podSelector: {matchLabels: {app: none}}, ingress: [{}]}",
            &["governs-nothing spec.podSelector"],
        ),
        (
            "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, \
          values: [b, c]}]}, ingress: [{}]}",
            &["contradiction spec.podSelector"],
        ),
        (
            "{ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}",
            &["selects-nothing spec.ingress[0].from[0]"],
        ),
        (
            "{ingress: [{from: [{}, {namespaceSelector: {matchLabels: {team: none}}}]}]}",
            &["not-understood spec.ingress[0].from[0]", "selects-nothing spec.ingress[0].from[1]"],
        ),
        (
            "{ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: x}}}]}]}",
            &[
                "selects-nothing spec.ingress[0].from[0]",
                "unknown-namespace spec.ingress[0].from[0].namespaceSelector",
            ],
        ),
        (
            "{ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists}, \
          {key: a, operator: DoesNotExist}]}}, {podSelector: {}}]}]}",
            &["contradiction spec.ingress[0].from[0]"],
        ),
        (
            "{ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}, \
          {key: a, operator: In, values: [c]}]}}]}]}",
            &["rule-never-matches spec.ingress[0]", "contradiction spec.ingress[0].from[0]"],
        ),
        // Blocks.
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/9]}}]}]}",
            &["rule-never-matches spec.ingress[0]", "empty-block spec.ingress[0].from[0].ipBlock"],
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.9.0.0/16, 10.1.2.0/24]}}, \
          {ipBlock: {cidr: 10.1.0.0/16}}]}]}",
            &["except-without-effect spec.ingress[0].from[0].ipBlock.except[1]"],
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, \
          {ipBlock: {cidr: 10.1.0.0/24}}]}]}",
            &[],
        ),
        // Ports.
        (
            "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}, {port: none}]}]}",
            &["named-port-nobody-has spec.ingress[0].ports[1].port"],
        ),
        (
            "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: sql, protocol: UDP}]}]}",
            &["named-port-nobody-has spec.ingress[0].ports[0].port"],
        ),
        (
            "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: http}]}]}",
            &["named-port-nobody-has spec.ingress[0].ports[0].port"],
        ),
        (
            "{podSelector: {matchLabels: {app: db}}, ingress: [{}], egress: [{ports: [{port: http}]}, \
          {to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: http}]}, \
          {ports: [{port: dns, protocol: UDP}]}]}",
            &["named-port-nobody-has spec.egress[1].ports[0].port"],
        ),
        (
            "{ingress: [{}, {ports: [{port: 0}]}]}",
            &[
                "rule-never-matches spec.ingress[1]",
                "rule-without-effect spec.ingress[1]",
                "not-understood spec.ingress[1].ports[0].port",
            ],
        ),
        // Rules against each other.
        ("{ingress: [{ports: [{port: 80}]}, {}]}", &["rule-without-effect spec.ingress[0]"]),
        ("{ingress: [{}, {}]}", &["rule-without-effect spec.ingress[1]"]),
        (
            "{ingress: [{ports: [{port: 80}]}, {ports: [{port: 81}]}, {ports: [{port: 80}]}]}",
            &["rule-without-effect spec.ingress[2]"],
        ),
        (
            "{ingress: [{from: [{namespaceSelector: {matchLabels: {team: dba}}}, \
          {podSelector: {matchLabels: {app: api}}}]}]}",
            &["separate-selectors spec.ingress[0].from[1]"],
        ),
        (
            "{ingress: [{from: [{namespaceSelector: {matchLabels: {team: dba}}}, {podSelector: {}}]}]}",
            &[],
        ),
        // What is left.
        ("{}", &["deny-without-allow spec.ingress"]),
        ("{policyTypes: [Egress]}", &["deny-without-allow spec.egress"]),
        (
            "{policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}]}",
            &["no-dns spec.egress"],
        ),
        ("{policyTypes: [Egress], egress: [{ports: [{port: 53}]}]}", &["no-dns spec.egress"]),
        (
            "{policyTypes: [Egress], egress: [{ports: [{port: 50, endPort: 60, protocol: UDP}]}]}",
            &[],
        ),
        ("{policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}", &[]),
        ("{policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}", &[]),
        (&format!("{{policyTypes: [Egress], {open_dns}}}"), &[]),
    ] {
        assert_eq!(found(&[("p", spec)]), want, "{spec}");
    }
}

#[test]
fn policies_are_looked_at_together() {
    let deny = ("a", "{policyTypes: [Ingress, Egress]}");
    let all_in = ("b", "{ingress: [{}]}");
    let db_out = (
        "c",
        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: \
                  [{ports: [{port: 443}]}]}",
    );
    let dns = ("d", "{policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}]}]}");
    for (policies, want) in [
        (&[deny, all_in][..], &["deny-without-allow spec.egress"][..]),
        (
            &[deny, all_in, db_out],
            &["deny-without-allow spec.egress", "no-dns spec.egress", "no-dns spec.egress"],
        ),
        (&[deny, all_in, dns, db_out], &[]),
    ] {
        assert_eq!(found(policies), want, "{policies:?}");
    }
}

#[test]
fn pods_on_the_network_of_their_host_are_told_apart_from_none() {
    let mut world = world(&policy(
        "p",
        "{podSelector: {matchLabels: {only: host}}, ingress: [{from: [{podSelector: {matchLabels: \
         {only: host}}}]}]}",
    ));
    let key = crate::PodKey { namespace: "shop".into(), name: "host".into() };
    let mut pod = (**world.pod(&key).unwrap()).clone();
    pod.labels.insert("only".into(), "host".into());
    world.apply(Change::PodApplied(pod.into()));
    let got: Vec<_> = lint(&world).iter().map(|w| format!("{} {}", w.check, w.field)).collect();
    assert_eq!(
        got,
        ["host-network-only spec.ingress[0].from[0]", "host-network-only spec.podSelector"]
    );
    world.apply(Change::NamespaceDeleted("shop".into()));
    let field = "unknown-namespace metadata.namespace";
    assert!(lint(&world).iter().any(|w| format!("{} {}", w.check, w.field) == field));
}

/// What is found among these documents, as `object: check field`.
fn found_in(documents: &[&str]) -> Vec<String> {
    let warnings = lint(&world(&documents.join("\n---\n")));
    let lines = warnings.iter().map(|w| format!("{}: {} {}", w.object, w.check, w.field));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn checks_of_calicos_language_find_what_they_look_for_and_nothing_else() {
    let global = |spec: &str| {
        format!("{{kind: GlobalNetworkPolicy, apiVersion: v, metadata: {{name: g}}, spec: {spec}}}")
    };
    let pods = "namespaceSelector: all()";
    for (spec, want) in [
        (
            format!("{{{pods}, ingress: [{{action: Deny, protocol: UDP}}, {{action: Allow}}]}}"),
            &[][..],
        ),
        (
            format!(
                "{{{pods}, selector: app == 'db', ingress: [{{action: Allow, protocol: TCP, \
                 destination: {{ports: [sql, 80]}}}}]}}"
            ),
            &[],
        ),
        (format!("{{{pods}, ingress: [{{action: Pass, protocol: TCP}}]}}"), &[]),
        // S0.3: nothing is left.
        (
            "{selector: app == 'db', ingress: [{action: Deny, source: {selector: app == 'cart'}}]}"
                .to_owned(),
            &["deny-without-allow spec.ingress"],
        ),
        // C08: host endpoints are in no namespace.
        (
            "{selector: \"projectcalico.org/namespace != 'lab'\", ingress: [{action: Allow}]}"
                .to_owned(),
            &["also-hosts spec"],
        ),
        (
            "{namespaceSelector: \"team != 'dba'\", ingress: [{action: Allow}]}".to_owned(),
            &["also-hosts spec"],
        ),
        (
            "{tier: nowhere, namespaceSelector: all(), ingress: [{action: Allow}]}".to_owned(),
            &["unknown-tier spec.tier"],
        ),
        (
            format!("{{{pods}, ingress: [{{action: Log}}]}}"),
            &["deny-without-allow spec.ingress", "only-logs spec.ingress"],
        ),
        (
            format!("{{{pods}, ingress: [{{action: Allow}}, {{action: Deny, protocol: UDP}}]}}"),
            &["never-reached spec.ingress[1]"],
        ),
        (
            "{selector: app == 'none', ingress: [{action: Allow}]}".to_owned(),
            &["governs-nothing spec.selector"],
        ),
        (
            format!(
                "{{{pods}, ingress: [{{action: Allow, source: {{selector: role == 'none'}}}}]}}"
            ),
            &["selects-nothing spec.ingress[0].source"],
        ),
        (
            format!(
                "{{{pods}, ingress: [{{action: Allow, source: {{services: {{name: x, namespace: \
                 shop}}}}}}]}}"
            ),
            &["service-without-endpoints spec.ingress[0].source.services"],
        ),
        (
            format!("{{{pods}, ingress: [{{action: Allow, destination: {{ports: [none]}}}}]}}"),
            &["named-port-nobody-has spec.ingress[0].destination.ports"],
        ),
    ] {
        let want: Vec<_> =
            want.iter().map(|line| format!("GlobalNetworkPolicy g: {line}")).collect();
        assert_eq!(found_in(&[&global(&spec)]), want, "{spec}");
    }
}

#[test]
fn a_service_without_a_namespace_is_told_c31() {
    let found =
        found_in(&["{kind: GlobalNetworkPolicy, apiVersion: v, metadata: {name: g}, spec: \
        {namespaceSelector: all(), ingress: [{action: Allow}, {action: Allow, source: {services: \
        {name: x}}}]}}"]);
    let is_about = |line: &&String| line.contains("ingress[1].source.services");
    assert!(found.iter().any(|line| is_about(&line)), "{found:?}");
}

#[test]
fn policies_that_no_packet_comes_to_are_told() {
    let global = |name: &str, order: u32, rules: &str| {
        format!(
            "{{kind: GlobalNetworkPolicy, apiVersion: v, metadata: {{name: {name}}}, spec: \
             {{order: {order}, namespaceSelector: all(), ingress: [{rules}]}}}}"
        )
    };
    let all = global("a", 1, "{action: Allow}");
    let some = global("b", 2, "{action: Deny, protocol: UDP}");
    assert_eq!(found_in(&[&all, &some]), ["GlobalNetworkPolicy b: never-reached spec.ingress"]);
    let narrow = global("a", 1, "{action: Allow, protocol: TCP}");
    assert_eq!(found_in(&[&narrow, &some]), Vec::<String>::new());
}

#[test]
fn host_endpoints_that_stand_for_nothing_are_told() {
    let host = |name: &str, spec: &str| {
        format!(
            "{{kind: HostEndpoint, apiVersion: v, metadata: {{name: {name}, labels: {{role: \
                 {name}}}}}, spec: {spec}}}"
        )
    };
    let policy = |rules: &str| {
        format!(
            "{{kind: GlobalNetworkPolicy, apiVersion: v, metadata: {{name: g}}, spec: {{selector: \
             role == 'a', ingress: [{rules}]}}}}"
        )
    };
    let eth0 = "{node: n1, interfaceName: eth0}";
    for (documents, want) in [
        (vec![host("a", eth0)], &[][..]),
        (
            vec![host("a", "{node: n9, interfaceName: eth0}")],
            &["HostEndpoint a: unknown-node spec.node"],
        ),
        (
            vec![host(
                "a",
                "{node: n1, interfaceName: eth0, profiles: [projectcalico-default-allow, x]}",
            )],
            &["HostEndpoint a: unknown-profile spec.profiles[1]"],
        ),
        // C37.
        (
            vec![host("b", eth0), host("a", eth0)],
            &["HostEndpoint b: same-interface spec.interfaceName"],
        ),
        (vec![host("b", "{node: n2, interfaceName: eth0}"), host("a", eth0)], &[]),
        (vec![host("b", "{node: n1, interfaceName: '*'}"), host("a", eth0)], &[]),
        (
            vec![host("a", eth0), policy("{action: Deny, protocol: UDP}")],
            &["GlobalNetworkPolicy g: only-failsafes spec.ingress"],
        ),
        (vec![host("a", eth0), policy("{action: Allow, protocol: UDP}")], &[]),
    ] {
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        assert_eq!(found_in(&documents), want, "{documents:?}");
    }
}

#[test]
fn an_untracked_policy_is_not_applied_to_all_interfaces() {
    let host = |interface: &str| {
        format!(
            "{{kind: HostEndpoint, apiVersion: v, metadata: {{name: a, labels: {{role: a}}}}, \
             spec: {{node: n1, interfaceName: '{interface}'}}}}"
        )
    };
    let policy = |role: &str, stage: &str| {
        format!(
            "{{kind: GlobalNetworkPolicy, apiVersion: v, metadata: {{name: g}}, spec: {{selector: \
             role == '{role}', applyOnForward: true, {stage}: true, \
             ingress: [{{action: Allow, protocol: UDP}}]}}}}"
        )
    };
    let told = "GlobalNetworkPolicy g: untracked-any spec.doNotTrack";
    for (interface, role, stage, want) in [
        ("*", "a", "doNotTrack", true),
        ("eth0", "a", "doNotTrack", false),
        ("*", "b", "doNotTrack", false),
        ("*", "a", "preDNAT", false),
    ] {
        let found = found_in(&[&host(interface), &policy(role, stage)]);
        let is_told = found.iter().any(|one| one == told);
        assert_eq!(is_told, want, "{interface} {role} {stage}: {found:?}");
    }
}

#[test]
fn names_of_checks_are_told_apart() {
    let names: BTreeSet<_> = Check::ALL.iter().map(|check| check.as_str()).collect();
    assert_eq!(names.len(), Check::ALL.len());
}

/// All ways to label something with the keys of random expressions: each absent, with each
/// value that they name, or with another.
fn labellings() -> Vec<Labels> {
    let values: Vec<_> = VALUES.into_iter().map(Some).chain([None, Some("other")]).collect();
    KEYS.iter().fold(vec![Labels::new()], |all, key| {
        let with = |labels: &Labels, value: &Option<&str>| {
            let label = value.map(|value| ((*key).into(), value.into()));
            labels.clone().into_iter().chain(label).collect::<Labels>()
        };
        all.iter().flat_map(|labels| values.iter().map(move |v| with(labels, v))).collect()
    })
}

/// Whether the namespace is what cannot be, which no selector of Kubernetes says.
fn has_namespaces(expr: &Expr) -> bool {
    match expr {
        Expr::InNamespace(_) => true,
        Expr::Not(inner) => has_namespaces(inner),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(has_namespaces),
        Expr::All | Expr::Nothing | Expr::Has(_) | Expr::In(..) | Expr::Text(..) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_selector_contradicts_itself_if_no_labels_fit(expr in expr()) {
        let all = labellings();
        let fits = |namespace: &str| all.iter().any(|own| {
            all.iter().any(|of_namespace| {
                expr.matches(&Subject {
                    namespace: Some(namespace),
                    own,
                    of_namespace: Some(of_namespace),
                    of_account: None,
                })
            })
        });
        let can_match = fits("shop") || fits("lab") || fits("elsewhere");
        if contradiction(&expr).is_some() {
            prop_assert!(!can_match, "{}", expr);
        } else if expr != Expr::Nothing && !has_namespaces(&expr) {
            prop_assert!(can_match, "{}", expr);
        }
    }
}
