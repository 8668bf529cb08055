//! Calico's policies and the objects around them.

use super::{lines, read, words};
use crate::api::calico;
use crate::ingest::{
    endpoint_slice, global_network_policy, global_network_set, host_endpoint, ignored_rules,
    network_policy_v3, network_set, profile, service_account, staged_global_network_policy,
    staged_kubernetes_network_policy, staged_network_policy, tier,
};
use crate::model::{Direction, HostStage, Policy, PolicyKind, StagedAction, TierAction};

fn namespaced(spec: &str) -> Policy {
    let object = format!("{{metadata: {{name: p, namespace: shop}}, spec: {{{spec}}}}}");
    network_policy_v3(&read(&object)).unwrap()
}

fn global(spec: &str) -> Policy {
    let object = format!("{{metadata: {{name: p}}, spec: {{{spec}}}}}");
    global_network_policy(&read(&object)).unwrap()
}

/// The directions that a policy governs, with its rules.
fn outline(policy: &Policy) -> String {
    let of = |direction| {
        policy.rules(direction).map(|rules| {
            let rules: Vec<_> = rules.iter().map(words).collect();
            format!("{direction} [{}]", rules.join("; "))
        })
    };
    Direction::ALL.into_iter().filter_map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn types_that_are_left_out_follow_from_the_rules() {
    const RULE: &str = "[{action: Allow}]";
    const BOTH: &str = "both directions are governed, and one that is not named allows nothing";
    for (id, spec, want, problems) in [
        ("C05", format!("ingress: {RULE}"), "ingress [Allow]", vec![]),
        ("C05", format!("egress: {RULE}"), "egress [Allow]", vec![]),
        (
            "C05",
            format!("ingress: {RULE}, egress: {RULE}"),
            "ingress [Allow] egress [Allow]",
            vec![],
        ),
        ("C05", String::new(), "ingress []", vec![]),
        ("C05", "types: [], ingress: [], egress: []".to_owned(), "ingress []", vec![]),
        ("", "types: [Egress]".to_owned(), "egress []", vec![]),
        ("", "types: [Egress, Ingress]".to_owned(), "ingress [] egress []", vec![]),
        (
            "",
            format!("types: [Ingress], egress: {RULE}"),
            "ingress []",
            vec![
                "spec.egress: rules (1) of a direction that spec.types does not list; list it \
                 there or take them away; they have no effect"
                    .to_owned(),
            ],
        ),
        (
            "",
            "types: [Ingress, Ingress]".to_owned(),
            "ingress []",
            vec!["spec.types[1]: Ingress a second time; it counts once".to_owned()],
        ),
        (
            "",
            "types: [ingress, Egress], \
             ingress: [{action: Allow}, {action: Deny, protocol: UDP}, {action: Pass}], \
             egress: [{action: Allow}]"
                .to_owned(),
            "ingress [Allow from []; Deny protocol 17; Deny] egress [Allow]",
            vec![format!(
                "spec.types[0]: \"ingress\" is not a type; accepted are Ingress and Egress; {BOTH}"
            )],
        ),
    ] {
        let policy = namespaced(&spec);
        assert_eq!(
            (outline(&policy).as_str(), lines(&policy.problems)),
            (want, problems),
            "{id} {spec}"
        );
    }
}

#[test]
fn a_policy_governs_what_its_selectors_mean_together() {
    for (id, policy, want) in [
        ("", namespaced(""), "ns=shop"),
        ("", namespaced("selector: app == 'a'"), "ns=shop and app=a"),
        (
            "",
            namespaced("selector: has(x), serviceAccountSelector: role == 'b'"),
            "ns=shop and has x and sa.role=b",
        ),
        ("C06", global(""), "all"),
        ("C06", global("selector: ''"), "all"),
        ("C07", global("namespaceSelector: all()"), "has ns.kubernetes.io/metadata.name"),
        ("C08", global("selector: projectcalico.org/namespace != 'a'"), "not (ns=a)"),
        ("", global("namespaceSelector: env != 'p'"), "not (ns.env=p)"),
        ("", global("serviceAccountSelector: all()"), "has sa.projectcalico.org/name"),
        (
            "",
            global(
                "selector: a == 'b', namespaceSelector: \"projectcalico.org/name in {'c', 'd'}\"",
            ),
            "a=b and (ns=c or ns=d)",
        ),
    ] {
        assert_eq!(policy.subject.to_string(), want, "{id}");
        assert_eq!(lines(&policy.problems), Vec::<String>::new(), "{id} {want}");
        assert_eq!(
            (&*policy.tier, policy.order.get(), policy.stage),
            ("default", None, HostStage::Normal)
        );
    }
}

#[test]
fn with_a_bad_selector_a_policy_governs_what_the_rest_means_and_allows_nothing() {
    let rules = "ingress: [{action: Allow}, {action: Deny, protocol: TCP}, {action: Pass}, \
                 {action: Log}]";
    let found = "column 2: found the end; accepted is the name of a label, \"has(\", \"all()\", \
                 \"!\" or \"(\"";
    let whole = "everything that the rest selects is governed, and nothing is allowed";
    for (policy, subject, problem) in [
        (
            namespaced(&format!("selector: '(', serviceAccountSelector: has(x), {rules}")),
            "ns=shop and has sa.x",
            format!(
                "spec.selector: {found}; all pods of the namespace that the rest selects are \
                 governed, and nothing is allowed"
            ),
        ),
        (
            global(&format!("selector: '(', namespaceSelector: has(x), {rules}")),
            "has ns.x",
            format!("spec.selector: {found}; {whole}"),
        ),
        (
            global(&format!("selector: has(x), namespaceSelector: '(', {rules}")),
            "has x",
            format!("spec.namespaceSelector: {found}; {whole}"),
        ),
        (
            global(&format!("namespaceSelector: global(), {rules}")),
            "all",
            format!(
                "spec.namespaceSelector: column 1: found \"global()\"; accepted is it alone as the \
                 namespaceSelector of a rule; {whole}"
            ),
        ),
    ] {
        assert_eq!(policy.subject.to_string(), subject);
        assert_eq!(lines(&policy.problems), [problem]);
        assert_eq!(outline(&policy), "ingress [Allow from []; Deny protocol 6; Deny; Log]");
    }
}

#[test]
fn where_a_policy_judges_packets_of_hosts_follows_from_three_fields() {
    const NOTHING: &str = "the policy allows nothing";
    let forward = |field: &str| {
        format!(
            "spec.applyOnForward: {field} without applyOnForward; accepted is applyOnForward: \
             true; {NOTHING}"
        )
    };
    for (spec, stage, problems) in [
        ("applyOnForward: false", HostStage::Normal, vec![]),
        ("applyOnForward: true", HostStage::Forward, vec![]),
        ("applyOnForward: true, preDNAT: true", HostStage::PreDnat, vec![]),
        ("applyOnForward: true, doNotTrack: true", HostStage::Untracked, vec![]),
        ("doNotTrack: true", HostStage::Untracked, vec![forward("doNotTrack")]),
        ("preDNAT: true", HostStage::PreDnat, vec![forward("preDNAT")]),
        (
            "applyOnForward: true, preDNAT: true, doNotTrack: true",
            HostStage::Untracked,
            vec![format!(
                "spec.preDNAT: preDNAT and doNotTrack together; accepted is either; {NOTHING}"
            )],
        ),
    ] {
        let policy = global(&format!("{spec}, ingress: [{{action: Allow}}]"));
        let want = if problems.is_empty() { "ingress [Allow]" } else { "ingress [Allow from []]" };
        assert_eq!(
            (policy.stage, outline(&policy).as_str(), lines(&policy.problems)),
            (stage, want, problems),
            "{spec}"
        );
    }
    let policy = global(
        "applyOnForward: true, preDNAT: true, ingress: [{action: Deny}], egress: [{action: Deny}]",
    );
    assert_eq!(outline(&policy), "ingress [Deny]");
    assert_eq!(policy.problems.len(), 1);
    assert_eq!(ignored_rules(&policy.problems[0]), Some(Direction::Egress));
}

#[test]
fn tier_and_order_are_as_written() {
    let policy = namespaced("tier: security, order: 10.5");
    assert_eq!((&*policy.tier, policy.order.get()), ("security", Some(10.5)));
    let policy = namespaced("tier: '', order: -3");
    assert_eq!((&*policy.tier, policy.order.get()), ("default", Some(-3.0)));
    let policy = namespaced("order: .nan");
    assert_eq!(policy.order.get(), None);
    let told = "spec.order: not a number; accepted are numbers; the policy is the last of its tier";
    assert_eq!(lines(&policy.problems), [told]);
}

#[test]
fn staged_policies_are_as_those_that_they_propose() {
    let spec = "tier: t, order: 1, selector: has(x), egress: [{action: Deny}]";
    for (typed, want, told) in [
        ("", StagedAction::Set, false),
        ("Set", StagedAction::Set, false),
        ("Delete", StagedAction::Delete, false),
        ("Learn", StagedAction::Learn, false),
        ("Ignore", StagedAction::Ignore, false),
        ("delete", StagedAction::Set, true),
    ] {
        let spec = format!("stagedAction: '{typed}', {spec}");
        let object = format!("{{metadata: {{name: p, namespace: shop}}, spec: {{{spec}}}}}");
        let local = staged_network_policy(&read(&object)).unwrap();
        let global = staged_global_network_policy(&read(&object)).unwrap();
        assert_eq!(local.id.to_string(), "StagedNetworkPolicy shop/p");
        assert_eq!(global.id.to_string(), "StagedGlobalNetworkPolicy p");
        for (policy, subject) in [(local, "ns=shop and has x"), (global, "has x")] {
            assert_eq!((policy.staged, policy.problems.len()), (Some(want), usize::from(told)));
            assert_eq!((&*policy.tier, policy.order.get()), ("t", Some(1.0)));
            assert_eq!(
                (outline(&policy).as_str(), policy.subject.to_string().as_str()),
                ("egress [Deny]", subject)
            );
        }
    }
    let policy = staged_kubernetes_network_policy(&read(
        "{metadata: {name: p, namespace: shop}, spec: {stagedAction: Delete,
          podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress],
          ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}}",
    ))
    .unwrap();
    assert_eq!(policy.id.kind, PolicyKind::StagedKubernetesNetworkPolicy);
    assert_eq!((policy.staged, policy.order.get()), (Some(StagedAction::Delete), Some(1000.0)));
    assert_eq!(policy.subject.to_string(), "ns=shop and app=a");
    assert_eq!(outline(&policy), "ingress [Allow from [pods(ns=shop)], to port [TCP/80]]");
}

#[test]
fn a_policy_without_a_name_is_refused_and_any_other_name_is_kept() {
    let object = read("{metadata: {namespace: shop}, spec: {}}");
    let problem = network_policy_v3(&object).unwrap_err();
    assert_eq!(
        lines(&[problem]),
        ["metadata.name: a NetworkPolicy must have a name; this one is ignored"]
    );
    let object = read("{metadata: {name: default.deny-pod2}, spec: {}}");
    let policy = network_policy_v3(&object).unwrap();
    assert_eq!(policy.id.to_string(), "CalicoNetworkPolicy default/default.deny-pod2");
    assert_eq!(lines(&policy.problems), Vec::<String>::new());
}

#[test]
fn a_host_endpoint_is_what_its_fields_say() {
    let (host, problems) = host_endpoint(&read(
        "{metadata: {name: n1-eth0, labels: {role: edge}}, spec: {node: n1, interfaceName: eth0,
          expectedIPs: [10.0.0.1, 'fd00::1', 10.0.0.x], profiles: [open, b],
          ports: [{name: http, protocol: TCP, port: 80}, {name: DNS, protocol: 17, port: 53},
            {name: x, protocol: ICMP, port: 1}, {name: '9', protocol: TCP, port: 0}, {}]}}",
    ))
    .unwrap();
    assert_eq!((&*host.name, &*host.node, &*host.labels["role"]), ("n1-eth0", "n1", "edge"));
    assert_eq!(format!("{:?}", host.interface), "Some(Named(eth0))");
    let expected: Vec<_> = host.expected.iter().map(ToString::to_string).collect();
    assert_eq!(expected, ["10.0.0.1", "fd00::1"]);
    let ports: Vec<_> = host
        .ports
        .iter()
        .map(|port| format!("{} {}/{}", port.name, port.protocol, port.number))
        .collect();
    assert_eq!(ports, ["DNS UDP/53", "http TCP/80"]);
    assert_eq!(host.profiles, ["open".into(), "b".into()]);
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.expectedIPs[2]",
            "spec.ports[2].protocol",
            "spec.ports[3].name",
            "spec.ports[3].port",
            "spec.ports[4].name",
            "spec.ports[4].protocol",
            "spec.ports[4].port",
        ]
    );
    let any = read("{metadata: {name: a}, spec: {node: n1, interfaceName: '*'}}");
    assert_eq!(format!("{:?}", host_endpoint(&any).unwrap().0.interface), "Some(Any)");
    let by_address = read("{metadata: {name: a}, spec: {node: n1, expectedIPs: [10.0.0.1]}}");
    assert_eq!(host_endpoint(&by_address).unwrap().0.interface, None);
}

#[test]
fn a_host_endpoint_that_says_no_interface_is_refused() {
    let ignored = "the host endpoint is ignored";
    for (spec, want) in [
        (
            "interfaceName: eth0",
            format!("spec.node: no node; accepted is the name of one; {ignored}"),
        ),
        (
            "node: n1",
            format!(
                "spec.expectedIPs: neither interfaceName nor an address of the interface in \
                 expectedIPs; accepted is one of the two; {ignored}"
            ),
        ),
        (
            "node: n1, interfaceName: a b",
            format!(
                "spec.interfaceName: \"a b\" is not the name of an interface; accepted are up to 15 \
                 letters, digits, \".\", \"_\", \"@\" and \"-\", for instance eth0, or *; {ignored}"
            ),
        ),
    ] {
        let object = read(&format!("{{metadata: {{name: a}}, spec: {{{spec}}}}}"));
        assert_eq!(lines(&[host_endpoint(&object).unwrap_err()]), [want], "{spec}");
    }
}

#[test]
fn network_sets_are_their_blocks_and_addresses() {
    let spec = "spec: {nets: [10.1.2.3/16, 192.0.2.7, 'fd00::/8', 0.0.0.0/0, x]}";
    let text = format!("{{metadata: {{name: s, namespace: shop, labels: {{a: b}}}}, {spec}}}");
    let (local, problems) = network_set(&read(&text)).unwrap();
    let (global, _) = global_network_set(&read(&text)).unwrap();
    assert_eq!(local.id.to_string(), "NetworkSet shop/s");
    assert_eq!(global.id.to_string(), "GlobalNetworkSet s");
    for set in [local, global] {
        let nets: Vec<_> = set.nets.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["0.0.0.0/0", "10.1.0.0/16", "192.0.2.7/32", "fd00::/8"]);
        assert_eq!(&*set.labels["a"], "b");
    }
    let told = "spec.nets[4]: \"x\" is not a block of addresses or an address; accepted are for \
                instance 10.1.0.0/16, 10.1.0.7 and fd00::/8; it stands for nothing";
    assert_eq!(lines(&problems), [told]);
    let (set, _) = network_set(&read("{metadata: {name: s}}")).unwrap();
    assert_eq!((set.id.to_string().as_str(), set.nets.len()), ("NetworkSet default/s", 0));
}

#[test]
fn tiers_have_an_order_and_an_end() {
    for (spec, order, action, told) in [
        ("", None, TierAction::Deny, vec![]),
        ("order: 100, defaultAction: Pass", Some(100.0), TierAction::Pass, vec![]),
        ("defaultAction: Deny", None, TierAction::Deny, vec![]),
        (
            "defaultAction: Allow",
            None,
            TierAction::Deny,
            vec![
                "spec.defaultAction: \"Allow\" is no action of a tier; accepted are Deny and Pass; \
                 it counts as Deny",
            ],
        ),
    ] {
        let object = read(&format!("{{metadata: {{name: t}}, spec: {{{spec}}}}}"));
        let (tier, problems) = tier(&object).unwrap();
        assert_eq!((tier.order.get(), tier.default_action), (order, action), "{spec}");
        assert_eq!(lines(&problems), told);
    }
}

#[test]
fn profiles_have_labels_and_rules() {
    let object = read(
        "{metadata: {name: open}, spec: {labelsToApply: {a: b}, ingress: [{action: Allow}],
          egress: [{action: Pass, source: {selector: '('}}]}}",
    );
    let (profile, problems) = profile(&object).unwrap();
    assert_eq!((&*profile.name, &*profile.labels["a"]), ("open", "b"));
    let rules = |rules: &[_]| rules.iter().map(words).collect::<Vec<_>>();
    assert_eq!(
        (rules(&profile.ingress), rules(&profile.egress)),
        (vec!["Allow".to_owned()], vec!["Deny".to_owned()])
    );
    assert_eq!((problems.len(), &problems), (1, &profile.problems));
}

#[test]
fn service_accounts_have_their_labels_and_those_that_all_have() {
    let object = read("{metadata: {name: web, namespace: shop, labels: {role: x}}}");
    let (account, problems) = service_account(&object).unwrap();
    assert_eq!((account.key.to_string().as_str(), problems.len()), ("shop/web", 0));
    assert_eq!(&*account.labels["role"], "x");
    assert_eq!(&*account.labels["projectcalico.org/name"], "web");
}

#[test]
fn slices_have_addresses_and_ports_of_a_service() {
    let (slice, problems) = endpoint_slice(&read(
        "{metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}},
          addressType: IPv4, endpoints: [{addresses: [10.1.0.2, x]},
            {addresses: [10.1.0.3], conditions: {ready: false}}],
          ports: [{port: 5432}, {port: 53, protocol: UDP}, {name: all}, {port: 1, protocol: x}]}",
    ))
    .unwrap();
    assert_eq!(slice.service.map(|service| service.to_string()).as_deref(), Some("shop/db"));
    let addresses: Vec<_> = slice.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.2", "10.1.0.3"]);
    let ports: Vec<_> =
        slice.ports.iter().map(|(protocol, port)| format!("{protocol}/{port}")).collect();
    assert_eq!(ports, ["TCP/5432", "UDP/53"], "C30");
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["endpoints[0].addresses[1]", "ports[2].port", "ports[3].protocol"]);
    let names =
        read("{metadata: {name: s}, addressType: FQDN, endpoints: [{addresses: [db.example]}]}");
    let (slice, problems) = endpoint_slice(&names).unwrap();
    assert_eq!((slice.service, slice.addresses.len(), problems.len()), (None, 0, 0));
}

#[test]
fn every_field_of_the_api_is_known() {
    const RULE: &str = "
      action: Allow
      ipVersion: 4
      protocol: TCP
      icmp: {type: 1, code: 2}
      notProtocol: 17
      notICMP: {type: 1, code: 2}
      source: &end
        nets: [10.0.0.0/8]
        selector: has(a)
        namespaceSelector: has(a)
        services: {name: a, namespace: b}
        ports: [1, '2:3', a]
        notNets: [10.1.0.0/16]
        notSelector: has(a)
        notPorts: [1, '2:3', a]
        serviceAccounts: {names: [a], selector: has(a)}
      destination: *end
      http: {methods: [GET], paths: [{exact: a}, {prefix: b}]}
      metadata: {annotations: {a: b}}";
    let policy = "tier: a\n  order: 1.5\n  selector: has(a)\n  types: [Ingress, Egress]\n  \
                  serviceAccountSelector: has(a)\n  performanceHints: [AssumeNeededOnEveryNode]";
    let global = "namespaceSelector: has(a)\n  doNotTrack: true\n  preDNAT: true\n  \
                  applyOnForward: true";
    let rules = format!("ingress:\n    - {}\n  egress: []", RULE.trim_start());
    let staged = "stagedAction: Set";
    let check = |name: &str, spec: String, known: fn(&serde_yaml::Value) -> serde_yaml::Value| {
        let text = format!(
            "apiVersion: a\nkind: b\nmetadata: {{name: a}}\nstatus: {{any: 1}}\nspec:\n  {spec}\n"
        );
        let typed: serde_yaml::Value = read(&text);
        assert_eq!(known(&typed), typed, "{name}");
    };
    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(
        typed: &serde_yaml::Value,
    ) -> serde_yaml::Value {
        serde_yaml::to_value(T::deserialize(typed).unwrap()).unwrap()
    }
    check("NetworkPolicy", format!("{policy}\n  {rules}"), again::<calico::NetworkPolicy>);
    check(
        "GlobalNetworkPolicy",
        format!("{policy}\n  {global}\n  {rules}"),
        again::<calico::GlobalNetworkPolicy>,
    );
    check(
        "StagedNetworkPolicy",
        format!("{staged}\n  {policy}\n  {rules}"),
        again::<calico::StagedNetworkPolicy>,
    );
    check(
        "StagedGlobalNetworkPolicy",
        format!("{staged}\n  {policy}\n  {global}\n  {rules}"),
        again::<calico::StagedGlobalNetworkPolicy>,
    );
    check(
        "StagedKubernetesNetworkPolicy",
        format!(
            "{staged}\n  podSelector: {{}}\n  policyTypes: [Ingress]\n  \
             ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: http}}]}}]\n  egress: []"
        ),
        again::<calico::StagedKubernetesNetworkPolicy>,
    );
    check(
        "HostEndpoint",
        "{node: a, interfaceName: b, expectedIPs: [c], profiles: [d], \
         ports: [{name: a, protocol: TCP, port: 1}]}"
            .to_owned(),
        again::<calico::HostEndpoint>,
    );
    check("NetworkSet", "nets: [a]".to_owned(), again::<calico::NetworkSet>);
    check("GlobalNetworkSet", "nets: [a]".to_owned(), again::<calico::GlobalNetworkSet>);
    check("Tier", "{order: 1.5, defaultAction: Deny}".to_owned(), again::<calico::Tier>);
    check("Profile", format!("labelsToApply: {{a: b}}\n  {rules}"), again::<calico::Profile>);
}
