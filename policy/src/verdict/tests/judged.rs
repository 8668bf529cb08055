use super::{flow, policy, world};
use crate::verdict::{explain, verdict};

/// Says of every flow what is decided, and that the explanation says the same.
fn check(policies: &str, rows: &[(&str, bool, &str)]) {
    let world = world(policies);
    for (text, allowed, why) in rows {
        let flow = flow(text);
        let verdict = verdict(&world, &flow);
        assert_eq!(verdict.is_allowed(), *allowed, "{text}: {verdict:?}\n{policies}");
        let (egress, ingress) = (&verdict.egress.reason, &verdict.ingress.reason);
        assert_eq!(format!("{egress}; {ingress}"), *why, "{text}");
        let explanation = explain(&world, &flow);
        assert_eq!(explanation.verdict, verdict, "{text}");
        assert_eq!(explanation.egress.judgement, verdict.egress, "{text}");
        assert_eq!(explanation.ingress.judgement, verdict.ingress, "{text}");
    }
}

const FREE: &str = "no policy selects it";
const NONE: &str = "no policy is about this address";

#[test]
fn without_policies_only_unknown_addresses_are_closed() {
    let unknown = "in the pod range of node n1, but no pod is known to have it";
    check(
        "",
        &[
            ("cart -> db tcp/5432", true, &format!("{FREE}; {FREE}")),
            ("outside -> db icmp", true, &format!("{NONE}; {FREE}")),
            ("db -> outside udp/53", true, &format!("{FREE}; {NONE}")),
            ("n1 -> n2 tcp/22", true, &format!("{NONE}; {NONE}")),
            ("10.1.0.77 -> db tcp/5432", false, &format!("{unknown}; {FREE}")),
            ("db -> 10.1.0.77 tcp/80", false, &format!("{FREE}; {unknown}")),
            ("10.1.0.77 -> n1 tcp/80", false, &format!("{unknown}; {NONE}")),
            // A finished pod's address is nobody's.
            ("db -> 10.1.0.9 tcp/80", false, &format!("{FREE}; {unknown}")),
            ("n2 -> 10.1.0.77 tcp/80", false, &format!("{NONE}; {unknown}")),
            ("n1 -> 10.1.0.77 tcp/80", true, &format!("{NONE}; comes from the pod's own node n1")),
        ],
    );
}

#[test]
fn isolation_is_by_direction_and_spares_the_own_node() {
    let denied = "NetworkPolicy shop/p (no rule)";
    check(
        &policy("p", "{podSelector: {}}"),
        &[
            ("cart -> db tcp/1", false, &format!("{FREE}; {denied}")),
            ("db -> probe tcp/1", true, &format!("{FREE}; {FREE}")),
            ("outside -> db tcp/1", false, &format!("{NONE}; {denied}")),
            ("n2 -> db tcp/1", true, &format!("{NONE}; comes from the pod's own node n2")),
            ("n1 -> db tcp/1", false, &format!("{NONE}; {denied}")),
            ("db -> n2 tcp/1", true, &format!("{FREE}; {NONE}")),
            // A packet that a Service turned round (K37).
            ("db -> db tcp/1", false, &format!("{FREE}; {denied}")),
        ],
    );
    check(
        &policy("p", "{policyTypes: [Egress]}"),
        &[
            ("cart -> probe tcp/1", false, &format!("{denied}; {FREE}")),
            ("probe -> cart tcp/1", true, &format!("{FREE}; {FREE}")),
            ("cart -> n1 tcp/1", false, &format!("{denied}; {NONE}")),
            ("cart -> n2 tcp/1", false, &format!("{denied}; {NONE}")),
        ],
    );
}

#[test]
fn protocols_without_ports_and_ports_that_are_not_known_match_rules_without_numbers() {
    let yes = "NetworkPolicy shop/p rule 0";
    let no = "NetworkPolicy shop/p (no rule)";
    for (ports, rows) in [
        ("[]", &[("icmp", yes), ("tcp", yes), ("tcp/80", yes), ("sctp/80", yes)][..]),
        ("[{}]", &[("icmp", no), ("tcp", yes), ("tcp/80", yes), ("udp/80", no), ("udp", no)]),
        ("[{port: 80}]", &[("icmp", no), ("tcp", no), ("tcp/80", yes), ("udp/80", no)]),
        (
            "[{port: 80, endPort: 82}]",
            &[("tcp/79", no), ("tcp/80", yes), ("tcp/82", yes), ("tcp/83", no)],
        ),
        ("[{port: sql}]", &[("tcp", no), ("tcp/5432", yes), ("udp/5432", no), ("tcp/80", no)]),
        ("[{port: dns}]", &[("tcp/54", yes), ("tcp/53", no), ("udp/53", no)]),
        ("[{port: dns, protocol: UDP}]", &[("tcp/54", no), ("udp/53", yes)]),
        ("[{port: nobody}]", &[("tcp/80", no), ("tcp", no)]),
        ("[{port: 80, protocol: SCTP}]", &[("sctp/80", yes), ("tcp/80", no)]),
        ("[{port: 0}]", &[("tcp", no), ("icmp", no), ("tcp/80", no)]),
    ] {
        let policies = policy("p", &format!("{{ingress: [{{ports: {ports}}}]}}"));
        for (port, want) in rows {
            let row = format!("probe -> db {port}");
            check(&policies, &[(&row, *want == yes, &format!("{FREE}; {want}"))]);
        }
    }
}

#[test]
fn a_named_port_of_an_egress_rule_is_that_of_each_destination() {
    let policies = policy("p", "{policyTypes: [Egress], egress: [{ports: [{port: http}]}]}");
    let (yes, no) = ("NetworkPolicy shop/p rule 0", "NetworkPolicy shop/p (no rule)");
    check(
        &policies,
        &[
            ("db -> api tcp/8080", true, &format!("{yes}; {FREE}")),
            ("db -> api tcp/9090", false, &format!("{no}; {FREE}")),
            ("db -> cart tcp/9090", true, &format!("{yes}; {FREE}")),
            ("db -> probe tcp/8080", false, &format!("{no}; {FREE}")),
            ("db -> outside tcp/8080", false, &format!("{no}; {NONE}")),
        ],
    );
}

#[test]
fn peers_are_whom_their_terms_stand_for() {
    let rows = |peers: &str, allowed: &[&str]| {
        let policies = policy(
            "p",
            &format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: {peers}}}]}}"),
        );
        let (yes, no) = ("NetworkPolicy shop/p rule 0", "NetworkPolicy shop/p (no rule)");
        for source in ["api", "cart", "probe", "n1", "outside", "fd00:1::2"] {
            let destination = if source.contains(':') { "fd00:2::2" } else { "db" };
            let is_allowed = allowed.contains(&source);
            let egress = if matches!(source, "n1" | "outside") { NONE } else { FREE };
            let why = format!("{egress}; {}", if is_allowed { yes } else { no });
            check(&policies, &[(&format!("{source} -> {destination} tcp/1"), is_allowed, &why)]);
        }
    };
    rows("[]", &["api", "cart", "probe", "n1", "outside", "fd00:1::2"]);
    rows("[{podSelector: {}}]", &["api", "cart", "fd00:1::2"]);
    rows("[{namespaceSelector: {}}]", &["api", "cart", "probe", "fd00:1::2"]);
    rows("[{podSelector: {matchLabels: {app: api}}}]", &["api", "fd00:1::2"]);
    rows(
        "[{podSelector: {matchLabels: {app: api}}, namespaceSelector: {matchLabels: {team: dba}}}]",
        &["probe"],
    );
    rows(
        "[{podSelector: {matchLabels: {app: api}}}, {namespaceSelector: {matchLabels: {team: dba}}}]",
        &["api", "probe", "fd00:1::2"],
    );
    rows("[{ipBlock: {cidr: 0.0.0.0/0}}]", &["api", "cart", "probe", "n1", "outside"]);
    rows("[{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]", &["outside"]);
    rows(
        "[{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}, {ipBlock: {cidr: 10.2.0.0/16}}]",
        &["outside", "probe"],
    );
    rows("[{ipBlock: {cidr: '::/0'}}]", &["fd00:1::2"]);
    rows(
        "[{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [dba]}]}}]",
        &["api", "cart", "fd00:1::2"],
    );
    rows("[{}]", &[]);
}
