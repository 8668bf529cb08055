//! ClusterNetworkPolicies.

use super::{lines, read, words};
use crate::api::cluster::ClusterNetworkPolicy;
use crate::ingest::cluster_network_policy;
use crate::model::{Direction, Policy};

fn policy(spec: &str) -> Policy {
    let object = format!("{{metadata: {{name: p}}, spec: {{{spec}}}}}");
    cluster_network_policy(&read(&object)).unwrap()
}

/// Of a policy that is right but for a rule: the rule, and what is wrong with it.
fn rule(direction: Direction, rule: &str) -> (String, Vec<String>) {
    let policy = policy(&format!(
        "tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, {direction}: [{rule}]"
    ));
    let prefix = format!("spec.{direction}[0]");
    let cut = |line: String| line.strip_prefix(&prefix).map_or(line.clone(), str::to_owned);
    let problems = lines(&policy.problems).into_iter().map(cut).collect();
    (words(&policy.rules(direction).expect("it has a rule")[0]), problems)
}

#[test]
fn a_policy_is_of_its_tier_and_priority_and_of_pods_only() {
    const PODS: &str = "has ns.kubernetes.io/metadata.name";
    for (spec, tier, order, subject) in [
        ("tier: Admin, priority: 0, subject: {namespaces: {}}", "kube-admin", 0.0, PODS.to_owned()),
        (
            "tier: Baseline, priority: 1000, subject: {namespaces: {matchLabels: {a: b}}}",
            "kube-baseline",
            1000.0,
            format!("{PODS} and ns.a=b"),
        ),
        (
            "tier: Admin, priority: 7, subject: {pods: {namespaceSelector: {matchLabels: {a: b}},
              podSelector: {matchLabels: {c: d}}}}",
            "kube-admin",
            7.0,
            format!("{PODS} and c=d and ns.a=b"),
        ),
        (
            "tier: Admin, priority: 7, subject: {pods: {podSelector: {}}}",
            "kube-admin",
            7.0,
            PODS.to_owned(),
        ),
    ] {
        let policy = policy(spec);
        assert_eq!(lines(&policy.problems), Vec::<String>::new(), "{spec}");
        assert_eq!((&*policy.tier, policy.order.get()), (tier, Some(order)), "{spec}");
        let mut want: Vec<_> = subject.split(" and ").collect();
        let got = policy.subject.to_string();
        let mut got: Vec<_> = got.split(" and ").collect();
        want.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, want, "{spec}");
        assert_eq!(policy.id.to_string(), "ClusterNetworkPolicy p");
    }
}

#[test]
fn a_direction_without_rules_is_not_governed() {
    let rule = "[{action: Deny, from: [{namespaces: {}}], to: [{namespaces: {}}]}]";
    for (id, spec, governed) in [
        ("", "".to_owned(), [false, false]),
        ("", "ingress: [], egress: []".to_owned(), [false, false]),
        ("A05", format!("ingress: {rule}"), [true, false]),
        ("", format!("egress: {rule}"), [false, true]),
    ] {
        let policy =
            policy(&format!("tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, {spec}"));
        let got = Direction::ALL.map(|direction| policy.rules(direction).is_some());
        assert_eq!(got, governed, "{id} {spec}");
    }
}

#[test]
fn rules_are_what_their_peers_and_protocols_say() {
    for (direction, typed, want) in [
        (
            Direction::Ingress,
            "action: Accept, from: [{namespaces: {}}, {pods: {podSelector: {matchLabels: {a: b}}}}]",
            "Allow from [pods(all) | pods(a=b)]",
        ),
        (
            Direction::Ingress,
            "name: x, action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: \
             {number: 80}}}, {udp: {destinationPort: {range: {start: 1, end: 9}}}}, {sctp: \
             {destinationPort: {number: 65535}}}]",
            "Deny from [pods(all)], to port [TCP/80 | UDP/1-9 | SCTP/65535]",
        ),
        (
            Direction::Ingress,
            "action: Pass, from: [{namespaces: {}}], protocols: [{destinationNamedPort: http}]",
            "Pass from [pods(all)], to port [TCP/http of Pods | UDP/http of Pods | SCTP/http of \
             Pods]",
        ),
        (
            Direction::Egress,
            "action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]",
            "Deny to [0.0.0.0/0 | ::/0]",
        ),
    ] {
        let (got, problems) = rule(direction, &format!("{{{typed}}}"));
        assert_eq!((got.as_str(), problems), (want, Vec::new()), "{typed}");
    }
}

#[test]
fn a_rule_of_which_something_is_not_known_fails_closed() {
    let peer = "to: [{namespaces: {}}]";
    let one = "accepted is one";
    for (id, typed, field, message) in [
        (
            "A06",
            "to: [{namespaces: {}}, {servers: {}}]".to_owned(),
            ".to[1]",
            "a peer without a field that is known; accepted are namespaces, pods and, of egress, \
             networks"
                .to_owned(),
        ),
        (
            "",
            "to: [{namespaces: {}, pods: {podSelector: {}}}]".to_owned(),
            ".to[0]",
            format!("a peer with several fields; {one}"),
        ),
        ("", "to: []".to_owned(), ".to", "no peers; accepted are 1 to 25".to_owned()),
        ("", "name: x".to_owned(), ".to", "no peers; accepted are 1 to 25".to_owned()),
        (
            "",
            "to: [{nodes: {}}]".to_owned(),
            ".to[0].nodes",
            "peers by nodes are not enforced here; accepted are networks with their addresses"
                .to_owned(),
        ),
        (
            "",
            "to: [{domainNames: [a.example]}]".to_owned(),
            ".to[0].domainNames",
            "peers by domain names are not enforced here; accepted are networks".to_owned(),
        ),
        (
            "",
            "to: [{networks: []}]".to_owned(),
            ".to[0].networks",
            "no networks; accepted are 1 to 25".to_owned(),
        ),
        (
            "",
            "to: [{networks: [10.0.0.0/8, 10.0.0.1]}]".to_owned(),
            ".to[0].networks[1]",
            "\"10.0.0.1\" is not a block of addresses; accepted are for instance 10.1.0.0/16 and \
             fd00::/8"
                .to_owned(),
        ),
        (
            "",
            "to: [{namespaces: {matchLabels: {a: b c}}}]".to_owned(),
            ".to[0].namespaces.matchLabels[a]",
            "\"b c\" is not the value of a label; accepted are none or up to 63 letters, digits, \
             \"-\", \"_\" and \".\", with a letter or digit first and last"
                .to_owned(),
        ),
        (
            "",
            format!("{peer}, protocols: []"),
            ".protocols",
            "no protocols; accepted are 1 to 25".to_owned(),
        ),
        (
            "A06",
            format!("{peer}, protocols: [{{icmp: {{}}}}]"),
            ".protocols[0]",
            "a protocol without a field that is known; accepted is one of tcp, udp, sctp and \
             destinationNamedPort"
                .to_owned(),
        ),
        (
            "",
            format!("{peer}, protocols: [{{tcp: {{}}}}]"),
            ".protocols[0].tcp.destinationPort",
            "no port that is known; accepted is one of number and range".to_owned(),
        ),
        (
            "",
            format!("{peer}, protocols: [{{destinationNamedPort: a, sctp: {{}}}}]"),
            ".protocols[0]",
            format!("a protocol with several fields; {one}"),
        ),
        (
            "",
            format!("{peer}, protocols: [{{tcp: {{destinationPort: {{number: 0}}}}}}]"),
            ".protocols[0].tcp.destinationPort.number",
            "0 is not a port; accepted are 1 to 65535".to_owned(),
        ),
        (
            "",
            format!("{peer}, protocols: [{{udp: {{destinationPort: {{range: {{start: 9, end: 9}}}}}}}}]"),
            ".protocols[0].udp.destinationPort.range",
            "not a range of ports; accepted are start and end of 1 to 65535, start below end"
                .to_owned(),
        ),
        (
            "",
            "to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]".to_owned(),
            ".protocols[0].destinationNamedPort",
            "the name of a port beside peers that have no named ports; accepted are namespaces and \
             pods"
                .to_owned(),
        ),
    ] {
        for (action, words, follows) in [
            ("Accept", "Allow from []", "the rule allows nothing"),
            ("Deny", "Deny", "the rule denies everything"),
            ("Pass", "Deny", "the rule denies everything"),
        ] {
            let typed = format!("{{action: {action}, {typed}}}");
            let (got, problems) = rule(Direction::Egress, &typed);
            let problem = format!("{field}: {message}; {follows}");
            assert_eq!((got.as_str(), problems), (words, vec![problem]), "{id} {typed}");
        }
    }
}

#[test]
fn a_rule_whose_action_is_not_known_denies_what_it_matches() {
    let (got, problems) =
        rule(Direction::Egress, "{action: Allow, to: [{networks: [10.0.0.0/8]}]}");
    let problem = ".action: \"Allow\" is not an action; accepted are Accept, Deny and Pass; did you \
                   mean Accept?; the rule denies what it matches";
    assert_eq!((got.as_str(), problems), ("Deny to [10.0.0.0/8]", vec![problem.to_owned()]));
}

#[test]
fn a_policy_whose_place_or_subject_is_not_known_accepts_nothing() {
    let rules = "ingress: [{action: Accept, from: [{namespaces: {}}]}, \
                 {action: Deny, from: [{namespaces: {}}]}, \
                 {action: Pass, from: [{namespaces: {}}]}]";
    let all = "all pods are governed, and nothing is accepted";
    for (spec, problem) in [
        (
            "tier: admin, priority: 1, subject: {namespaces: {}}",
            "spec.tier: \"admin\" is not a tier; accepted are Admin and Baseline; the policy counts \
             in Admin and accepts nothing"
                .to_owned(),
        ),
        (
            "tier: Admin, priority: 1001, subject: {namespaces: {}}",
            "spec.priority: 1001 is not one; accepted are 0 to 1000; the policy comes first and \
             accepts nothing"
                .to_owned(),
        ),
        (
            "tier: Admin, subject: {namespaces: {}}",
            "spec.priority: no priority; accepted are 0 to 1000; the policy comes first and accepts \
             nothing"
                .to_owned(),
        ),
        (
            "tier: Admin, priority: 1",
            format!(
                "spec.subject: no subject that is known; accepted is one of namespaces and pods; \
                 {all}"
            ),
        ),
        (
            "tier: Admin, priority: 1, subject: {namespaces: {}, pods: {}}",
            format!("spec.subject: both namespaces and pods; accepted is one of them; {all}"),
        ),
    ] {
        let policy = policy(&format!("{spec}, {rules}"));
        assert_eq!(lines(&policy.problems), [problem], "{spec}");
        let rules: Vec<_> = policy.ingress.iter().flatten().map(words).collect();
        assert_eq!(rules, ["Allow from []", "Deny from [pods(all)]", "Deny from [pods(all)]"]);
        assert_eq!(policy.subject.to_string(), "has ns.kubernetes.io/metadata.name");
    }
}

#[test]
fn more_elements_than_the_api_takes_count_and_are_told() {
    let peers = vec!["{namespaces: {}}"; 26].join(", ");
    let (_, problems) = rule(Direction::Egress, &format!("{{action: Deny, to: [{peers}]}}"));
    assert_eq!(problems, [".to: 26 peers; accepted are 25; all of them count"]);
    let rules = vec!["{action: Deny, from: [{namespaces: {}}]}"; 26].join(", ");
    let policy = policy(&format!(
        "tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{rules}]"
    ));
    assert_eq!(
        lines(&policy.problems),
        ["spec.ingress: 26 rules; accepted are 25; all of them count"]
    );
    assert_eq!(policy.ingress.map(|rules| rules.len()), Some(26));
}

#[test]
fn every_field_of_the_api_is_known() {
    let typed: serde_yaml::Value = read(
        "
apiVersion: a
kind: b
metadata: {name: a}
status: {conditions: []}
spec:
  tier: Admin
  priority: 1
  subject:
    namespaces: {matchLabels: {a: b}}
    pods: {namespaceSelector: {}, podSelector: {}}
  ingress:
  - name: a
    action: Accept
    from: [{namespaces: {}, pods: {podSelector: {}}}]
    protocols:
    - tcp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}
      udp: {destinationPort: {number: 1}}
      sctp: {destinationPort: {number: 1}}
      destinationNamedPort: a
  egress:
  - name: a
    action: Accept
    to: [{namespaces: {}, pods: {podSelector: {}}, nodes: {}, networks: [a], domainNames: [b]}]
    protocols: []
",
    );
    let known: ClusterNetworkPolicy = serde_yaml::from_value(typed.clone()).unwrap();
    assert_eq!(serde_yaml::to_value(known).unwrap(), typed);
}
