//! What Calico's language and ClusterNetworkPolicies decide, and how it is told.

use super::{flow, policy, world};
use crate::model::{NetworkSetId, PolicyId, PolicyKind};
use crate::verdict::{explain, staged, verdict};

/// Objects beside [`super::BASE`]: accounts, sets, a host endpoint, endpoints of a Service.
pub(super) const OBJECTS: &str = "
{kind: ServiceAccount, metadata: {name: default, namespace: shop, labels: {trust: full}}}
---
{kind: GlobalNetworkSet, metadata: {name: offices, labels: {role: office}},
 spec: {nets: [192.0.2.0/24, 'fd00:9::/64']}}
---
{kind: NetworkSet, metadata: {name: partner, namespace: shop, labels: {role: partner}},
 spec: {nets: [198.51.100.0/24]}}
---
{kind: HostEndpoint, metadata: {name: gateway, labels: {role: gateway}},
 spec: {node: n1, interfaceName: eth0, expectedIPs: [203.0.113.9],
  ports: [{name: sql, port: 5433, protocol: TCP}]}}
---
{kind: EndpointSlice, metadata: {name: db-1, namespace: shop,
 labels: {kubernetes.io/service-name: db}}, addressType: IPv4,
 endpoints: [{addresses: [10.2.0.2]}], ports: [{port: 5432, protocol: TCP}]}
";

/// A policy of another kind, as a document.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("{{kind: {kind}, apiVersion: v, metadata: {{name: {name}}}, spec: {spec}}}\n")
}

/// A Calico NetworkPolicy of `shop`.
fn calico(name: &str, spec: &str) -> String {
    format!(
        "{{kind: NetworkPolicy, apiVersion: v, metadata: {{name: {name}, namespace: shop}}, \
         spec: {spec}}}\n"
    )
}

fn documents(texts: &[String]) -> String {
    [OBJECTS.to_owned()].iter().chain(texts).cloned().collect::<Vec<_>>().join("---\n")
}

/// Which of the ends may reach `db` at this port by rules of a policy's ingress.
fn sources(policy: &str, port: &str) -> Vec<&'static str> {
    let world = world(&documents(&[policy.to_owned()]));
    let all = ["api", "cart", "probe", "n1", "outside", "198.51.100.7", "203.0.113.9"];
    let reaches = |source: &&str| {
        let flow = flow(&format!("{source} -> db {port}"));
        let got = verdict(&world, &flow);
        let explained = explain(&world, &flow);
        assert_eq!(explained.verdict, got, "{source}");
        for trace in [&explained.egress, &explained.ingress] {
            for rule in trace.stages.iter().flat_map(|s| &s.policies).flat_map(|p| &p.rules) {
                assert_eq!(rule.is_match, rule.reasons().is_empty(), "{source}: {rule:?}");
            }
        }
        got.is_allowed()
    };
    all.into_iter().filter(reaches).collect()
}

#[test]
fn peers_of_calicos_language_are_pods_hosts_and_network_sets() {
    let all = ["api", "cart", "probe", "n1", "outside", "198.51.100.7", "203.0.113.9"];
    for (id, in_namespace, source, want) in [
        ("C18", true, "selector: all()", &["api", "cart", "198.51.100.7"][..]),
        ("C18", true, "selector: role == 'office'", &[]),
        ("C19", true, "namespaceSelector: global()", &["outside", "203.0.113.9"]),
        ("C19", true, "{selector: role == 'office', namespaceSelector: global()}", &["outside"]),
        ("C20", false, "selector: '!has(app)'", &["outside", "198.51.100.7", "203.0.113.9"]),
        ("C20", false, "notSelector: has(app)", &["n1", "outside", "198.51.100.7", "203.0.113.9"]),
        ("C20", false, "selector: '!has(role)'", &["api", "cart", "probe"]),
        ("C20", false, "notSelector: has(role)", &["api", "cart", "probe", "n1"]),
        ("C21", false, "serviceAccounts: {names: [default]}", &["api", "cart", "probe"]),
        (
            "C21",
            false,
            "serviceAccounts: {names: [default], selector: trust == 'full'}",
            &["api", "cart"],
        ),
        ("C21", false, "serviceAccounts: {names: [other], selector: trust == 'full'}", &[]),
        (
            "C22",
            false,
            "{nets: [10.1.0.2/32, 10.2.0.0/16], selector: app == 'api'}",
            &["api", "probe"],
        ),
        ("C22", false, "{nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}", &["probe", "n1"]),
        ("", false, "notNets: [10.0.0.0/8]", &["outside", "198.51.100.7", "203.0.113.9"]),
        ("", false, "namespaceSelector: team == 'dba'", &["probe"]),
        ("C07", false, "namespaceSelector: all()", &["api", "cart", "probe", "198.51.100.7"]),
        ("", false, "{}", &all),
    ] {
        let source =
            if source.starts_with('{') { source.to_owned() } else { format!("{{{source}}}") };
        let rules = format!("types: [Ingress], ingress: [{{action: Allow, source: {source}}}]");
        let text = match in_namespace {
            true => calico("p", &format!("{{selector: app == 'db', {rules}}}")),
            false => {
                object("GlobalNetworkPolicy", "p", &format!("{{selector: app == 'db', {rules}}}"))
            }
        };
        assert_eq!(sources(&text, "tcp/5432"), want, "{id} {source}");
    }
}

#[test]
fn rules_of_calicos_language_look_at_ports_protocols_messages_and_services() {
    let (yes, no) = (true, false);
    for (id, direction, rule, rows) in [
        (
            "C23",
            "ingress",
            "protocol: TCP, destination: {ports: [80, sql]}",
            &[("tcp/80", yes), ("tcp/5432", yes), ("tcp/81", no), ("udp/80", no)][..],
        ),
        (
            "C24",
            "ingress",
            "destination: {ports: [dns]}",
            &[("tcp/54", yes), ("udp/53", yes), ("tcp/53", no)],
        ),
        (
            "C25",
            "ingress",
            "protocol: TCP, destination: {ports: ['80:90']}",
            &[("tcp/80", yes), ("tcp/90", yes), ("tcp/91", no)],
        ),
        (
            "",
            "ingress",
            "protocol: TCP, destination: {notPorts: [80]}",
            &[("tcp/80", no), ("tcp/81", yes), ("udp/81", no)],
        ),
        ("C26", "ingress", "protocol: 132", &[("sctp/1", yes), ("tcp/1", no)]),
        ("", "ingress", "notProtocol: TCP", &[("tcp/1", no), ("udp/1", yes), ("icmp", yes)]),
        (
            "C27",
            "ingress",
            "protocol: ICMP, icmp: {type: 8}",
            &[("icmp/8", yes), ("icmp/0", no), ("icmp", no), ("tcp/8", no)],
        ),
        ("C27", "ingress", "protocol: ICMP, icmp: {type: 8, code: 1}", &[("icmp/8", no)]),
        ("", "ingress", "protocol: ICMP, notICMP: {type: 8}", &[("icmp/8", no), ("icmp/0", yes)]),
        ("", "ingress", "ipVersion: 6", &[("tcp/1", no)]),
        ("", "ingress", "ipVersion: 4", &[("tcp/1", yes)]),
        (
            "C30",
            "egress",
            "destination: {services: {name: db, namespace: shop}}",
            &[("tcp/5432", yes), ("tcp/80", no), ("udp/5432", no)],
        ),
        ("C31", "egress", "destination: {services: {name: db}}", &[("tcp/5432", no)]),
        ("", "ingress", "source: {services: {name: db, namespace: shop}}", &[("tcp/1", no)]),
        ("C43", "ingress", "http: {methods: [GET]}", &[("tcp/80", no)]),
    ] {
        let (selector, types) = match direction {
            "ingress" => ("app == 'db'", "Ingress"),
            _ => ("app == 'cart'", "Egress"),
        };
        let spec = format!(
            "{{selector: {selector}, types: [{types}], {direction}: [{{action: Allow, {rule}}}]}}"
        );
        let world = world(&documents(&[object("GlobalNetworkPolicy", "p", &spec)]));
        for (port, allowed) in rows {
            let (port, icmp) = match port.strip_prefix("icmp/") {
                Some(kind) => ("icmp", Some((kind.parse().unwrap(), 0))),
                None => (*port, None),
            };
            let flow = crate::verdict::Flow { icmp, ..flow(&format!("cart -> db {port}")) };
            let explained = explain(&world, &flow);
            assert_eq!(explained.verdict, verdict(&world, &flow));
            assert_eq!(explained.verdict.is_allowed(), *allowed, "{id} {rule} {port}");
            for trace in [&explained.egress, &explained.ingress] {
                for rule in trace.stages.iter().flat_map(|s| &s.policies).flat_map(|p| &p.rules) {
                    assert_eq!(rule.is_match, rule.reasons().is_empty(), "{id} {rule:?}");
                }
            }
        }
    }
}

#[test]
fn policies_of_all_kinds_decide_in_one_order() {
    let cluster = |name: &str, tier: &str, rules: &str| {
        let spec =
            format!("{{tier: {tier}, priority: 10, subject: {{namespaces: {{}}}}, {rules}}}");
        object("ClusterNetworkPolicy", name, &spec)
    };
    let from_all =
        |action: &str| format!("ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]");
    let kubernetes = |spec: &str| policy("k", spec);
    let global = |name: &str, spec: &str| object("GlobalNetworkPolicy", name, spec);
    let deny = "ingress: [{action: Deny}]";
    let allow = "ingress: [{action: Allow}]";
    let unknown_tier = "{tier: nowhere, ingress: [{action: Deny}]}";
    let late = object("Tier", "late", "{order: 2000000, defaultAction: Deny}");
    for (id, objects, allowed, why) in [
        (
            "A01",
            vec![cluster("a", "Admin", &from_all("Deny")), kubernetes("{ingress: [{}]}")],
            false,
            "ClusterNetworkPolicy a rule 0",
        ),
        (
            "A02",
            vec![cluster("a", "Admin", &from_all("Accept")), kubernetes("{}")],
            true,
            "ClusterNetworkPolicy a rule 0",
        ),
        (
            "A03",
            vec![
                cluster("a", "Admin", &from_all("Pass")),
                cluster("b", "Baseline", &from_all("Deny")),
            ],
            false,
            "ClusterNetworkPolicy b rule 0",
        ),
        (
            "A04",
            vec![cluster("b", "Baseline", &from_all("Deny")), kubernetes("{ingress: [{}]}")],
            true,
            "NetworkPolicy shop/k rule 0",
        ),
        (
            "A05",
            vec![cluster("a", "Admin", "egress: [{action: Deny, to: [{namespaces: {}}]}]")],
            true,
            "no policy selects it",
        ),
        ("C06", vec![global("g", &format!("{{{deny}}}"))], false, "GlobalNetworkPolicy g rule 0"),
        (
            "C09",
            vec![global("g", "{ingress: [{action: Deny, source: {nets: [192.0.2.0/24]}}]}")],
            false,
            "GlobalNetworkPolicy g (no rule)",
        ),
        (
            "C10",
            vec![global("g", "{ingress: [{action: Log}]}")],
            false,
            "GlobalNetworkPolicy g (no rule)",
        ),
        (
            "C12",
            vec![global("g", &format!("{{order: 10, {deny}}}")), kubernetes("{ingress: [{}]}")],
            false,
            "GlobalNetworkPolicy g rule 0",
        ),
        (
            "C13",
            vec![global("g", &format!("{{order: 10, {allow}}}")), kubernetes("{}")],
            true,
            "GlobalNetworkPolicy g rule 0",
        ),
        (
            "C14",
            vec![global("g", &format!("{{order: 2000, {allow}}}")), kubernetes("{}")],
            true,
            "GlobalNetworkPolicy g rule 0",
        ),
        ("C15", vec![global("g", "{ingress: [{action: Pass}]}")], true, "no tier decided"),
        (
            "C16",
            vec![
                object("Tier", "early", "{order: 10, defaultAction: Pass}"),
                global(
                    "g",
                    "{tier: early, ingress: [{action: Deny, source: {nets: [192.0.2.0/24]}}]}",
                ),
                kubernetes("{ingress: [{}]}"),
            ],
            true,
            "NetworkPolicy shop/k rule 0",
        ),
        (
            "C17",
            vec![late, global("g", "{tier: late, types: [Egress]}")],
            true,
            "no policy selects it",
        ),
        ("C40", vec![global("g", unknown_tier)], true, "no policy selects it"),
        (
            "C41",
            vec![
                calico(
                    "k",
                    "{order: 10, ingress: [{action: Allow, source: {nets: [192.0.2.0/24]}}]}",
                ),
                kubernetes("{ingress: [{}]}"),
            ],
            true,
            "NetworkPolicy shop/k rule 0",
        ),
        (
            "C41",
            vec![calico("k", &format!("{{order: 10, {deny}}}")), kubernetes("{ingress: [{}]}")],
            false,
            "CalicoNetworkPolicy shop/k rule 0",
        ),
    ] {
        let world = world(&documents(&objects));
        let flow = flow("probe -> db tcp/80");
        let got = verdict(&world, &flow).ingress;
        assert_eq!((got.is_allowed(), got.reason.to_string().as_str()), (allowed, why), "{id}");
        assert_eq!(explain(&world, &flow).verdict.ingress, got, "{id}");
    }
}

#[test]
fn a_denied_network_is_denied_between_pods_too_a07() {
    let spec = "{tier: Admin, priority: 1, subject: {namespaces: {}}, \
                egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]}";
    let world = world(&object("ClusterNetworkPolicy", "a", spec));
    for to in ["db", "outside"] {
        assert!(!verdict(&world, &flow(&format!("cart -> {to} tcp/1"))).egress.is_allowed());
    }
}

#[test]
fn staged_policies_change_nothing_and_say_what_they_would_c39() {
    let global = |name: &str, spec: &str| object("StagedGlobalNetworkPolicy", name, spec);
    let kubernetes = |action: &str, spec: &str| {
        format!(
            "{{kind: StagedKubernetesNetworkPolicy, apiVersion: v, \
             metadata: {{name: k, namespace: shop}}, spec: {{stagedAction: {action}, {spec}}}}}\n"
        )
    };
    let open = policy("k", "{ingress: [{}]}");
    let shut = policy("k", "{}");
    for (objects, allowed, text) in [
        (
            vec![global("x", "{stagedAction: Set, ingress: [{action: Log}, {action: Deny}]}")],
            true,
            Some("would be DENIED by StagedGlobalNetworkPolicy x rule 1 (ingress)"),
        ),
        (
            vec![global("x", "{stagedAction: Set, selector: app == 'db', types: [Ingress]}")],
            true,
            Some("would be DENIED by StagedGlobalNetworkPolicy x (no rule) (ingress)"),
        ),
        (
            vec![global("x", "{ingress: [{action: Deny, protocol: UDP}]}"), shut.clone()],
            false,
            Some(
                "would still be DENIED by NetworkPolicy shop/k, StagedGlobalNetworkPolicy x (no \
                 rule) (ingress)",
            ),
        ),
        (
            vec![global("x", "{order: 1, ingress: [{action: Allow}]}"), shut.clone()],
            false,
            Some("would be ALLOWED by StagedGlobalNetworkPolicy x rule 0 (ingress)"),
        ),
        // It stands in for the policy of its name.
        (
            vec![kubernetes("Set", "podSelector: {}, ingress: [{}]"), shut.clone()],
            false,
            Some("would be ALLOWED by StagedKubernetesNetworkPolicy shop/k rule 0 (ingress)"),
        ),
        (
            vec![kubernetes("Delete", "podSelector: {}"), shut.clone()],
            false,
            Some(
                "would be ALLOWED since no policy selects it (egress) and since no policy selects \
                 it (ingress)",
            ),
        ),
        (
            vec![kubernetes("Delete", "podSelector: {}"), open.clone()],
            true,
            Some(
                "would still be ALLOWED since no policy selects it (egress) and since no policy \
                 selects it (ingress)",
            ),
        ),
        // What changes nothing, and what is about others.
        (vec![kubernetes("Ignore", "podSelector: {}"), shut], false, None),
        (vec![kubernetes("Learn", "podSelector: {}"), open], true, None),
        (vec![global("x", "{selector: app == 'none', ingress: [{action: Deny}]}")], true, None),
        (vec![global("x", "{selector: app == 'db', egress: [{action: Deny}]}")], true, None),
    ] {
        let world = world(&documents(&objects));
        let flow = flow("probe -> db tcp/80");
        let now = verdict(&world, &flow);
        assert_eq!(now.is_allowed(), allowed, "{objects:?}");
        let got = staged(&world, &flow);
        assert_eq!(got.as_ref().map(ToString::to_string).as_deref(), text, "{objects:?}");
        assert_eq!(explain(&world, &flow).staged, got);
        if let Some(got) = got {
            assert_eq!(got.is_change(), got.verdict.is_allowed() != allowed);
            assert_eq!(got.policies.len(), 1);
        }
    }
}

#[test]
fn rules_are_told_in_words_with_why_they_did_not_match() {
    let spec = "{selector: app == 'db', types: [Ingress], ingress: [
      {action: Log, source: {selector: role == 'office'}},
      {action: Deny, source: {selector: \"role in {'partner', 'gateway'}\"}},
      {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [job]}},
       destination: {ports: [5432]}},
      {action: Allow, protocol: ICMP, icmp: {type: 8}, source: {notSelector: has(role)}},
      {action: Allow, source: {selector: app == 'x', namespaceSelector: team == 'dba'}},
      {action: Allow, source: {namespaceSelector: global()}, protocol: UDP},
      {action: Allow, notProtocol: UDP, source: {selector: a == 'b' || has(c)}},
      {action: Pass, protocol: TCP, destination: {notPorts: [80]}}]}";
    let world = world(&documents(&[object("GlobalNetworkPolicy", "g", spec)]));
    let explained = explain(&world, &flow("outside -> db tcp/80"));
    let policy = &explained.ingress.stages[0].policies[0];
    assert_eq!(policy.subject, "pods and hosts with app=db");
    let lines = policy.rules.iter().map(|rule| {
        let why = if rule.is_match { "yes".to_owned() } else { rule.reasons().join("; ") };
        format!("{}: {why}", rule.description())
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "from pods, hosts or network sets with role=office, any port: yes",
            "from pods, hosts or network sets with role in (gateway, partner), any port: \
             GlobalNetworkSet offices has role=office",
            "from all pods in all namespaces of service account job, port TCP 5432: \
             GlobalNetworkSet offices is in no namespace and has no service account; the port is 80",
            "not from pods, hosts or network sets with has role, ICMP type 8: \
             the protocol is TCP; 192.0.2.1 (GlobalNetworkSet offices) is one of them",
            "from pods or network sets with app=x in namespaces team=dba, any port: GlobalNetworkSet \
             offices has no app label, GlobalNetworkSet offices is in no namespace and has no \
             service account",
            "from all hosts and network sets, any UDP port: the protocol is TCP",
            "from pods, hosts or network sets with has c or a=b, not UDP: GlobalNetworkSet offices \
             has no c label, GlobalNetworkSet offices has no a label",
            "from anyone, any TCP port and not port TCP 80: port 80 is one of them",
        ]
    );
    assert_eq!(
        explained.ingress.summary,
        "selected by GlobalNetworkPolicy g; no rule decided -> denied at the end of tier default"
    );
    let id = NetworkSetId { namespace: None, name: "offices".into() };
    assert_eq!(explained.source.sets, [id]);
    assert_eq!(explained.source.to_string(), "192.0.2.1 (GlobalNetworkSet offices)");
    let gateway = explain(&world, &flow("203.0.113.9 -> db tcp/80")).source;
    assert_eq!(gateway.to_string(), "203.0.113.9 (HostEndpoint gateway)");
}

#[test]
fn the_nearest_change_of_calicos_rules_is_one_of_labels_or_nets() {
    for (spec, from, want) in [
        (
            "{ingress: [{action: Allow, source: {selector: app == 'x'}}]}",
            "cart",
            Some("cart had label app=x"),
        ),
        (
            "{ingress: [{action: Deny, source: {selector: app == 'cart'}}, {action: Allow}]}",
            "cart",
            Some("cart had no label app"),
        ),
        (
            "{ingress: [{action: Allow, source: {notSelector: app == 'cart'}}]}",
            "cart",
            Some("cart had no label app"),
        ),
        (
            "{ingress: [{action: Allow, source: {nets: [192.0.3.0/24]}}]}",
            "outside",
            Some("192.0.2.1 were in the nets of GlobalNetworkPolicy g rule 0"),
        ),
        ("{ingress: [{action: Allow, source: {selector: app == 'x'}}]}", "outside", None),
        ("{ingress: [{action: Allow, source: {serviceAccounts: {names: [job]}}}]}", "cart", None),
        ("{ingress: [{action: Allow, source: {namespaceSelector: global()}}]}", "cart", None),
        (
            "{ingress: [{action: Allow, source: {services: {name: db, namespace: shop}}}]}",
            "cart",
            None,
        ),
        ("{ingress: [{action: Allow, protocol: ICMP}]}", "cart", None),
    ] {
        let world = world(&documents(&[object("GlobalNetworkPolicy", "g", spec)]));
        let explained = explain(&world, &flow(&format!("{from} -> db tcp/5432")));
        assert!(!explained.verdict.ingress.is_allowed(), "{spec}");
        let want = want.map(|want| format!("would be allowed if {want}"));
        assert_eq!(explained.nearest.map(|nearest| nearest.to_string()), want, "{spec}");
    }
}

#[test]
fn what_passes_on_leaves_open_what_later_tiers_leave() {
    let pass = "{order: 1, ingress: [{action: Allow, protocol: TCP}, {action: Pass}]}";
    let world = world(&documents(&[object("GlobalNetworkPolicy", "g", pass)]));
    let explained = explain(&world, &flow("probe -> db tcp/5432"));
    let openings = explained.openings.iter().map(|opening| opening.reason.to_string());
    assert_eq!(
        openings.collect::<Vec<_>>(),
        ["no policy selects it", "GlobalNetworkPolicy g rule 0", "no tier decided"]
    );
    let id = PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: None, name: "g".into() };
    assert_eq!(explained.verdict.ingress.policies(), [id]);
}
