use super::{flow, policy, world};
use crate::verdict::explain;

#[test]
fn the_nearest_change_is_the_smallest_that_opens() {
    let to_db = |rules: &str| {
        let spec = format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: {rules}}}");
        policy("p", &spec)
    };
    for (policies, text, want) in [
        (
            to_db("[{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}]}]"),
            "cart -> db tcp/5432",
            Some("cart had label app=api"),
        ),
        (
            to_db("[{from: [{namespaceSelector: {matchLabels: {stage: prod}}}]}]"),
            "cart -> db tcp/1",
            Some("namespace shop had label stage=prod"),
        ),
        (
            to_db("[{from: [{podSelector: {}}], ports: [{port: 80, endPort: 90}]}]"),
            "cart -> db tcp/5432",
            Some("it went to port TCP 90"),
        ),
        (
            to_db("[{from: [{podSelector: {}}], ports: [{port: sql}]}]"),
            "cart -> db udp/1",
            Some("it went to port TCP 5432"),
        ),
        // One step rather than two; a pod rather than a namespace; a label rather than a port.
        (
            to_db(
                "[{from: [{podSelector: {matchLabels: {a: b, c: d}}}]},
                 {from: [{namespaceSelector: {matchLabels: {x: y}}}]}]",
            ),
            "cart -> db tcp/1",
            Some("namespace shop had label x=y"),
        ),
        (
            to_db(
                "[{from: [{podSelector: {}}], ports: [{port: 2}]},
                 {from: [{podSelector: {matchLabels: {a: b}}}]}]",
            ),
            "cart -> db tcp/1",
            Some("cart had label a=b"),
        ),
        (
            to_db(
                "[{from: [{namespaceSelector: {matchLabels: {x: y}}, podSelector: {matchLabels: {app: api}}}]}]",
            ),
            "cart -> db tcp/1",
            Some("cart had label app=api and namespace shop had label x=y"),
        ),
        (
            to_db(
                "[{from: [{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}]}]",
            ),
            "cart -> db tcp/1",
            Some("cart had no label app"),
        ),
        (
            to_db(
                "[{from: [{podSelector: {matchExpressions: [{key: app, operator: Exists},
                  {key: app, operator: NotIn, values: [cart]}]}}]}]",
            ),
            "cart -> db tcp/1",
            Some("cart had label app=other"),
        ),
        (
            to_db(
                "[{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 1}]}]",
            ),
            "cart -> db tcp/1",
            Some("10.1.0.3 were in an ipBlock of NetworkPolicy shop/p rule 0"),
        ),
        (
            to_db("[{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]"),
            "outside -> db tcp/1",
            Some("192.0.2.1 were in an ipBlock of NetworkPolicy shop/p rule 0"),
        ),
        // What opens both directions.
        (
            policy(
                "p",
                "{policyTypes: [Ingress, Egress], egress: [{ports: [{port: 1}]}],
          ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}",
            ),
            "cart -> db tcp/2",
            Some("cart had label app=api and it went to port TCP 1"),
        ),
        // A label that would open the destination but close the source.
        (
            format!(
                "{}---\n{}",
                to_db(
                    "[{from: [{podSelector: {matchLabels: {app: api}}}, {podSelector: {matchLabels: {b: x}}}]}]"
                ),
                policy("q", "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress]}")
            ),
            "cart -> db tcp/2",
            Some("cart had label b=x"),
        ),
        // Without the label, and with most values of it, the source would be closed.
        (
            format!(
                "{}---\n{}",
                to_db(
                    "[{from: [{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [cart]}]}}]}]"
                ),
                policy(
                    "q",
                    "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [api, cart]}]}, policyTypes: [Egress]}"
                )
            ),
            "cart -> db tcp/2",
            Some("cart had label app=api"),
        ),
        // Nothing that is known of would open these.
        (to_db("[]"), "cart -> db tcp/1", None),
        (to_db("[{from: [{}]}]"), "cart -> db tcp/1", None),
        (to_db("[{from: [{podSelector: {}}]}]"), "outside -> db tcp/1", None),
        (to_db("[{from: [{podSelector: {}}]}]"), "probe -> db tcp/1", None),
        (
            to_db(
                "[{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: lab}}}]}]",
            ),
            "cart -> db tcp/1",
            None,
        ),
        (to_db("[{ports: [{port: nobody}]}]"), "cart -> db tcp/1", None),
        (String::new(), "cart -> 10.1.0.77 tcp/1", None),
    ] {
        let explanation = explain(&world(&policies), &flow(text));
        assert!(!explanation.verdict.is_allowed() && explanation.openings.is_empty());
        let got = explanation.nearest.map(|nearest| nearest.to_string());
        let want = want.map(|want| format!("would be allowed if {want}"));
        assert_eq!(got, want, "{text} {policies}");
    }
}

#[test]
fn what_keeps_a_flow_open_is_all_told() {
    let policies = format!(
        "{}---\n{}",
        policy("a", "{ingress: [{ports: [{port: 1}]}, {ports: [{port: 2}]}]}"),
        policy("b", "{ingress: [{}]}"),
    );
    for (text, want) in [
        (
            "cart -> db tcp/1",
            &[
                "egress: no policy selects it",
                "ingress: NetworkPolicy shop/a rule 0",
                "ingress: NetworkPolicy shop/b rule 0",
            ][..],
        ),
        (
            "n2 -> db tcp/1",
            &[
                "egress: no policy is about this address",
                "ingress: comes from the pod's own node n2",
            ],
        ),
    ] {
        let explanation = explain(&world(&policies), &flow(text));
        assert_eq!(explanation.nearest, None);
        let got: Vec<_> = explanation
            .openings
            .iter()
            .map(|opening| format!("{}: {}", opening.direction, opening.reason))
            .collect();
        assert_eq!(got, want, "{text}");
    }
}
