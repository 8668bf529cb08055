use k8s_openapi::api::networking::v1::NetworkPolicy as Object;

use super::{lines, read};
use crate::ingest::{closed_network_policy, ignored_rules, network_policy};
use crate::model::{
    Action, Criterion, Direction, PeerTerm, Policy, PolicyOrder, PortMatch, Problem, Rule, Side,
};

fn policy(spec: &str) -> Policy {
    let object: Object = read(&format!("{{metadata: {{name: p, namespace: shop}}, spec: {spec}}}"));
    network_policy(&object).unwrap()
}

/// Criteria as text: what one end must be, then the ports.
fn text(rule: &Rule) -> String {
    assert_eq!(rule.action, Action::Allow);
    let criteria = rule.criteria.iter().map(|criterion| match criterion {
        Criterion::Peer { side, any_of, negated: false } => {
            let terms = any_of.iter().map(|term| match term {
                PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => expr.to_string(),
                PeerTerm::Block(block) => {
                    let except: Vec<_> = block.except.iter().map(ToString::to_string).collect();
                    format!("{} except [{}]", block.cidr, except.join(" "))
                }
            });
            format!("{side:?} {:?}", terms.collect::<Vec<_>>())
        }
        Criterion::Ports { side, any_of, .. } => {
            assert_eq!(*side, Side::Destination);
            let terms = any_of.iter().map(|term| match &term.port {
                PortMatch::Any => format!("{} any", term.protocol),
                PortMatch::Range(first, last) => format!("{} {first}-{last}", term.protocol),
                PortMatch::Named(name, _) => format!("{} {name}", term.protocol),
            });
            format!("ports {:?}", terms.collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    });
    criteria.collect::<Vec<_>>().join(" ")
}

fn texts(rules: Option<&[Rule]>) -> Option<Vec<String>> {
    rules.map(|rules| rules.iter().map(text).collect())
}

#[test]
fn directions_are_defaulted_as_by_the_api_server() {
    let (no, empty, open) = (None::<&[&str]>, Some(&[][..]), Some(&[""][..]));
    for (id, spec, ingress, egress) in [
        ("K01", "{podSelector: {}}", empty, no),
        ("", "{}", empty, no),
        ("K02", "{podSelector: {}, egress: [{to: []}]}", empty, open),
        ("K02", "{podSelector: {}, egress: [{}]}", empty, open),
        ("K03", "{podSelector: {}, egress: []}", empty, no),
        ("K03", "{podSelector: {}, policyTypes: [], egress: []}", empty, no),
        ("K04", "{podSelector: {}, policyTypes: [Egress]}", no, empty),
        ("K05", "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", empty, no),
        ("K06", "{podSelector: {}, ingress: [{}]}", open, no),
        ("K07", "{podSelector: {}, ingress: [{from: [], ports: []}]}", open, no),
        ("", "{policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}", open, open),
        ("", "{policyTypes: [Ingress, Egress, Egress], egress: [{}]}", empty, open),
        // What no good type names is closed when a bad one might have named it.
        ("", "{policyTypes: [Ingress, Exgress], ingress: [{}], egress: [{}]}", open, empty),
        ("", "{policyTypes: [egress], ingress: [{}], egress: [{}]}", empty, empty),
    ] {
        let got = policy(spec);
        let want = |rules: Option<&[&str]>| {
            rules.map(|rules| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(texts(got.rules(Direction::Ingress)), want(ingress), "{id} ingress of {spec}");
        assert_eq!(texts(got.rules(Direction::Egress)), want(egress), "{id} egress of {spec}");
        assert_eq!((&*got.tier, got.order), ("default", PolicyOrder::KUBERNETES));
    }
}

#[test]
fn selectors_mean_what_they_say() {
    for (id, selector, want) in [
        ("", "{}", "ns=shop"),
        ("", "{matchLabels: {}, matchExpressions: []}", "ns=shop"),
        ("", "{matchLabels: {a: b, c: ''}}", "ns=shop and a=b and c=\"\""),
        ("K50", "{matchExpressions: [{key: a, operator: Exists}]}", "ns=shop and has a"),
        (
            "K48",
            "{matchExpressions: [{key: a, operator: DoesNotExist, values: []}]}",
            "ns=shop and not (has a)",
        ),
        (
            "",
            "{matchExpressions: [{key: a, operator: In, values: [y, x, y]}]}",
            "ns=shop and a in (x, y)",
        ),
        (
            "K47",
            "{matchExpressions: [{key: x.io/a, operator: NotIn, values: [x]}]}",
            "ns=shop and not (x.io/a=x)",
        ),
    ] {
        let got = policy(&format!("{{podSelector: {selector}}}"));
        assert_eq!(got.subject.to_string(), want, "{id} {selector}");
        assert_eq!(lines(&got.problems), Vec::<String>::new(), "{selector}");
    }
}

#[test]
fn peers_and_ports_mean_what_they_say() {
    for (id, rule, want) in [
        ("K08", "{from: [{podSelector: {}}]}", r#"Source ["ns=shop"]"#),
        ("K09", "{from: [{namespaceSelector: {}}]}", r#"Source ["all"]"#),
        ("K09", "{from: [{namespaceSelector: {}, podSelector: {}}]}", r#"Source ["all"]"#),
        (
            "K10",
            "{from: [{namespaceSelector: {matchLabels: {t: x}}, podSelector: {matchLabels: {a: b}}}]}",
            r#"Source ["a=b and ns.t=x"]"#,
        ),
        (
            "K10",
            "{from: [{namespaceSelector: {matchLabels: {t: x}}}, {podSelector: {matchLabels: {a: b}}}]}",
            r#"Source ["ns.t=x", "ns=shop and a=b"]"#,
        ),
        ("K13", "{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}", r#"Source ["0.0.0.0/0 except []"]"#),
        ("K14", "{from: [{ipBlock: {cidr: '::/0'}}]}", r#"Source ["::/0 except []"]"#),
        (
            "K17",
            "{from: [{ipBlock: {cidr: 10.1.2.3/16, except: [10.1.9.0/24, 10.1.9.9/32]}}]}",
            r#"Source ["10.1.0.0/16 except [10.1.9.0/24 10.1.9.9/32]"]"#,
        ),
        ("K18", "{ports: [{protocol: UDP}]}", r#"ports ["UDP any"]"#),
        ("K19", "{ports: [{}]}", r#"ports ["TCP any"]"#),
        ("K20", "{ports: [{port: 80, endPort: 90}]}", r#"ports ["TCP 80-90"]"#),
        (
            "",
            "{ports: [{port: 80, endPort: 80}, {port: http}]}",
            r#"ports ["TCP 80-80", "TCP http"]"#,
        ),
        ("K26", "{ports: [{protocol: SCTP, port: 65535}]}", r#"ports ["SCTP 65535-65535"]"#),
        (
            "",
            "{from: [{podSelector: {}}], ports: [{port: 1}]}",
            r#"Source ["ns=shop"] ports ["TCP 1-1"]"#,
        ),
    ] {
        let got = policy(&format!("{{ingress: [{rule}]}}"));
        assert_eq!(
            texts(got.rules(Direction::Ingress)),
            Some(vec![want.to_owned()]),
            "{id} {rule}"
        );
        assert_eq!(lines(&got.problems), Vec::<String>::new(), "{rule}");
        let egress = rule.replace("from:", "to:");
        let got = policy(&format!("{{egress: [{egress}]}}"));
        let want = want.replace("Source", "Destination");
        assert_eq!(texts(got.rules(Direction::Egress)), Some(vec![want]), "{id} {egress}");
    }
}

#[test]
fn a_bad_element_matches_nothing_and_leaves_its_neighbours_alone() {
    let nobody = "Source []";
    for (rule, want, problem) in [
        ("{from: [{}]}", nobody, "from[0]: a peer without a field that is known; accepted are "),
        ("{from: [{}, {podSelector: {}}]}", r#"Source ["ns=shop"]"#, "from[0]: a peer without"),
        (
            "{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}",
            nobody,
            "from[0].ipBlock: ipBlock together with a selector; accepted is either; this peer",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0}}]}",
            nobody,
            "from[0].ipBlock.cidr: \"10.0.0.0\" is not a block of addresses; accepted are for \
          instance 10.1.0.0/16 and fd00::/8; this block matches nothing",
        ),
        ("{from: [{ipBlock: {}}]}", nobody, "from[0].ipBlock.cidr: \"\" is not a block"),
        (
            "{from: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}",
            nobody,
            "from[0].ipBlock.cidr: \"::ffff:10.0.0.0/104\" is a block of IPv4 addresses written as",
        ),
        (
            "{from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}",
            r#"Source ["ns=shop"]"#,
            "from[1].ipBlock.except[0]: 10.0.0.0/8 is not a smaller block inside of 10.0.0.0/8; this",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/24]}}]}",
            nobody,
            "from[0].ipBlock.except[1]: 11.0.0.0/24 is not a smaller block inside of 10.0.0.0/8",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/16']}}]}",
            nobody,
            "from[0].ipBlock.except[0]: fd00::/16 is not a smaller block",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}]}",
            nobody,
            "from[0].ipBlock.except[0]: \"x\" is not a block of addresses",
        ),
        (
            "{from: [{podSelector: {matchLabels: {a b: c}}}]}",
            nobody,
            "from[0].podSelector.matchLabels[\"a b\"]: \"a b\" is not the key of a label; accepted",
        ),
        (
            "{from: [{podSelector: {matchLabels: {a: b c, d: e}}}]}",
            nobody,
            "from[0].podSelector.matchLabels[a]: \"b c\" is not the value of a label; accepted are ",
        ),
        (
            "{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}]}",
            nobody,
            "from[0].namespaceSelector.matchExpressions[0].operator: \"in\" is not an \
         operator; accepted are In, NotIn, Exists and DoesNotExist; this peer matches nothing",
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{key: a, operator: NotIn}]}}]}",
            nobody,
            "from[0].podSelector.matchExpressions[0].values: no values; NotIn needs one or more; ",
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}",
            nobody,
            "from[0].podSelector.matchExpressions[0].values: \"b\" and perhaps more; Exists ",
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{key: '', operator: Exists}]}}]}",
            nobody,
            "from[0].podSelector.matchExpressions[0].key: \"\" is not the key of a label",
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: [b, '-']}]}}]}",
            nobody,
            "from[0].podSelector.matchExpressions[0].values[1]: \"-\" is not the value",
        ),
        (
            "{ports: [{protocol: tcp}]}",
            "ports []",
            "ports[0].protocol: \"tcp\" is not a protocol \
         with ports; accepted are TCP, UDP and SCTP; this element of ports matches nothing",
        ),
        ("{ports: [{protocol: ''}]}", "ports []", "ports[0].protocol: \"\" is not a protocol"),
        ("{ports: [{port: 0}]}", "ports []", "ports[0].port: 0 is not a port; accepted are 1 to "),
        ("{ports: [{port: 65536}, {port: 7}]}", r#"ports ["TCP 7-7"]"#, "ports[0].port: 65536 is"),
        ("{ports: [{port: -1}]}", "ports []", "ports[0].port: -1 is not a port"),
        (
            "{ports: [{port: '80'}]}",
            "ports []",
            "ports[0].port: \"80\" is text; accepted is the number without quotes; this element",
        ),
        ("{ports: [{port: Http_}]}", "ports []", "ports[0].port: \"Http_\" is not the name of a "),
        ("{ports: [{endPort: 90}]}", "ports []", "ports[0].endPort: 90 without port; accepted is "),
        ("{ports: [{port: http, endPort: 90}]}", "ports []", "ports[0].endPort: 90 after the name"),
        (
            "{ports: [{port: 90, endPort: 80}]}",
            "ports []",
            "ports[0].endPort: 80 is below port 90; accepted are 90 to 65535; this element of ports",
        ),
        ("{ports: [{port: 90, endPort: 70000}]}", "ports []", "ports[0].endPort: 70000 is not a p"),
    ] {
        let got = policy(&format!("{{ingress: [{{}}, {rule}]}}"));
        let rules = texts(got.rules(Direction::Ingress));
        assert_eq!(rules, Some(vec![String::new(), want.to_owned()]), "{rule}");
        let problems = lines(&got.problems);
        let [line] = &problems[..] else { panic!("{rule}: {problems:#?}") };
        assert!(line.starts_with(&format!("spec.ingress[1].{problem}")), "{rule}: {line}");
    }
}

#[test]
fn every_bad_element_is_told() {
    let got = policy(
        "{podSelector: {matchLabels: {'a b': '-'}}, egress: [{to: [{}, {ipBlock: {cidr: x, \
         except: [y, z]}}], ports: [{protocol: X, port: 0}]}]}",
    );
    let fields: Vec<_> = got.problems.iter().map(|problem| problem.field.as_str()).collect();
    let want = [
        "spec.podSelector.matchLabels[\"a b\"]",
        "spec.podSelector.matchLabels[\"a b\"]",
        "spec.egress[0].to[0]",
        "spec.egress[0].to[1].ipBlock.cidr",
        "spec.egress[0].to[1].ipBlock.except[0]",
        "spec.egress[0].to[1].ipBlock.except[1]",
        "spec.egress[0].ports[0].protocol",
        "spec.egress[0].ports[0].port",
    ];
    assert_eq!(fields, want);
}

#[test]
fn a_bad_pod_selector_closes_the_whole_namespace() {
    let got = policy(
        "{podSelector: {matchExpressions: [{key: a, operator: Is}]}, ingress: [{}], egress: [{}]}",
    );
    assert_eq!(got.subject.to_string(), "ns=shop");
    assert_eq!((got.ingress, got.egress), (Some(vec![]), Some(vec![])));
    assert_eq!(
        lines(&got.problems),
        ["spec.podSelector.matchExpressions[0].operator: \"Is\" is not an operator; accepted \
             are In, NotIn, Exists and DoesNotExist; all pods of the namespace are governed, and \
             nothing is allowed"]
    );
}

#[test]
fn bad_policy_types_and_rules_without_effect_are_told() {
    for (spec, want) in [
        ("{policyTypes: [Ingress, Egress]}", None),
        ("{policyTypes: [Ingress], egress: []}", None),
        (
            "{policyTypes: [both]}",
            Some(
                "spec.policyTypes[0]: \"both\" is not a policy type; accepted are Ingress and Egress; \
               both directions are governed, and one that is not named allows nothing",
            ),
        ),
        (
            "{policyTypes: [Ingress, Ingress, Egress]}",
            Some(
                "spec.policyTypes: 3 types; accepted are at most two; what is named twice counts \
               once",
            ),
        ),
        (
            "{policyTypes: [Ingress], egress: [{}]}",
            Some(
                "spec.egress: rules (1) of a direction that spec.policyTypes does not list; list it \
               there or take them away; they have no effect",
            ),
        ),
        (
            "{policyTypes: [Egress], ingress: [{}, {}]}",
            Some(
                "spec.ingress: rules (2) of a direction that spec.policyTypes does not list; list it \
               there or take them away; they have no effect",
            ),
        ),
    ] {
        let problems = policy(spec).problems;
        for problem in &problems {
            let of_rules = problem.field == "spec.ingress" || problem.field == "spec.egress";
            assert_eq!(ignored_rules(problem).is_some(), of_rules, "{problem:?}");
        }
        let got = lines(&problems);
        assert_eq!(got, want.iter().map(ToString::to_string).collect::<Vec<_>>(), "{spec}");
    }
}

#[test]
fn a_policy_has_a_name_and_perhaps_a_namespace() {
    let named = |metadata: &str| {
        let object: Object = read(&format!("{{metadata: {metadata}}}"));
        network_policy(&object)
    };
    let id = |metadata: &str| named(metadata).map(|policy| policy.id.to_string());
    assert_eq!(id("{name: a}"), Ok("NetworkPolicy default/a".to_owned()));
    assert_eq!(id("{name: a, namespace: ''}"), Ok("NetworkPolicy default/a".to_owned()));
    // A name that the API server would refuse does not open what the policy closes.
    let odd = named("{name: 'A b', namespace: 'X y'}").unwrap();
    let fields: Vec<_> = odd.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["metadata.name", "metadata.namespace"]);
    assert_eq!((odd.subject.to_string(), odd.ingress), ("ns=\"X y\"".to_owned(), Some(vec![])));
    for nameless in ["{}", "{name: ''}"] {
        let problem = named(nameless).unwrap_err();
        assert_eq!(problem.field, "metadata.name");
    }
}

#[test]
fn what_cannot_be_read_at_all_is_closed() {
    let problem = || Problem { field: "spec.ingress".into(), message: "not a list".into() };
    let label = read("{matchLabels: {a: b}}");
    let bad = read("{matchLabels: {a b: c}}");
    let everything = Direction::ALL;
    for (selector, directions, subject, ingress, egress) in [
        (None, &everything[..], "ns=shop", Some(vec![]), Some(vec![])),
        (Some(&label), &[Direction::Egress][..], "ns=shop and a=b", None, Some(vec![])),
        (Some(&bad), &[Direction::Ingress][..], "ns=shop", Some(vec![]), None),
    ] {
        let got = closed_network_policy("shop", "p", selector, directions, problem());
        assert_eq!(got.id.to_string(), "NetworkPolicy shop/p");
        assert_eq!(
            (got.subject.to_string().as_str(), got.ingress, got.egress),
            (subject, ingress, egress)
        );
        assert_eq!(got.problems[0], problem());
    }
}
