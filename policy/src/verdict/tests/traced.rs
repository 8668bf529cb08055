use super::{flow, policy, world};
use crate::verdict::{Explanation, PartyKind, explain};

fn lines(explanation: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    for trace in [&explanation.egress, &explanation.ingress] {
        lines.push(format!("{}: {}", trace.direction, trace.summary));
        for policy in trace.stages.iter().flat_map(|stage| &stage.policies) {
            lines.push(format!("{} of {}", policy.id, policy.subject));
            for rule in &policy.rules {
                let why = match rule.is_match {
                    true => "yes".to_owned(),
                    false => format!("no: {}", rule.reasons().join("; ")),
                };
                lines.push(format!("rule {} {} -> {why}", rule.index, rule.description()));
            }
        }
    }
    lines
}

#[test]
fn every_rule_says_why_it_did_not_match() {
    let world = world(&policy(
        "db-clients",
        "{podSelector: {matchLabels: {app: db}}, ingress: [
          {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}]},
          {from: [{namespaceSelector: {matchLabels: {stage: prod}}}]},
          {from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}],
           ports: [{port: 80, endPort: 90}, {port: dns}, {port: x, protocol: UDP}]},
          {from: [{}]},
          {from: [{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [cart]},
            {key: zone, operator: Exists}]}, namespaceSelector: {matchLabels: {team: dba}}}]},
          {from: [{ipBlock: {cidr: 'fd00::/8'}}], ports: [{protocol: SCTP}]}]}",
    ));
    let got = lines(&explain(&world, &flow("cart -> db tcp/5432")));
    let want = [
        "egress: no policy selects shop/cart for egress",
        "ingress: selected by NetworkPolicy shop/db-clients; no rule matched -> isolated, denied",
        "NetworkPolicy shop/db-clients of app=db in namespace shop",
        "rule 0 from app=api, port TCP 5432 -> no: cart has app=cart",
        "rule 1 from all pods in namespaces stage=prod, any port -> no: namespace shop has no stage label",
        "rule 2 from all pods in namespace shop or 10.0.0.0/8 except 10.1.0.0/16, ports TCP 80-90 or \
         port TCP named dns or port UDP named x -> no: the port is 5432; dns of shop/db is 54; the \
         protocol is TCP",
        "rule 3 from nobody, since no peer can be understood, any port -> no: none of its peers can \
         be understood",
        "rule 4 from has zone, app!=cart in namespaces team=dba, any port -> no: cart has no zone \
         label, namespace shop has team=web, cart has app=cart",
        "rule 5 from fd00::/8, any SCTP port -> no: 10.1.0.3 is an IPv4 address; the protocol is TCP",
    ];
    assert_eq!(got, want);
}

#[test]
fn what_is_looked_at_ends_with_what_decides() {
    let world = world(&format!(
        "{}---\n{}",
        policy("a", "{ingress: [{from: [{ipBlock: {cidr: 10.9.0.0/16}}]}]}"),
        policy("b", "{ingress: [{ports: [{port: 1}]}, {}, {}]}"),
    ));
    let got = lines(&explain(&world, &flow("outside -> db icmp")));
    let want = [
        "egress: 192.0.2.1 is no pod's address: no policy is about it",
        "ingress: NetworkPolicy shop/b rule 1 matches: allowed",
        "NetworkPolicy shop/a of all pods in namespace shop",
        "rule 0 from 10.9.0.0/16, any port -> no: 192.0.2.1 is not in 10.9.0.0/16",
        "NetworkPolicy shop/b of all pods in namespace shop",
        "rule 0 from anyone, port TCP 1 -> no: ICMP has no ports",
        "rule 1 from anyone, any port -> yes",
    ];
    assert_eq!(got, want);
}

#[test]
fn addresses_are_told_apart_and_their_former_owners_named() {
    let world = world(
        "{kind: Pod, metadata: {name: a, namespace: shop}, spec: {nodeName: n1, containers: []},
          status: {podIP: 10.1.0.2}}",
    );
    let kind =
        |address: &str| explain(&world, &flow(&format!("{address} -> db tcp/1"))).source.kind;
    assert!(matches!(kind("cart"), PartyKind::Endpoint { .. }));
    assert_eq!(kind("n1"), PartyKind::Node { node: "n1".into() });
    assert_eq!(kind("10.1.0.77"), PartyKind::Unknown { node: "n1".into() });
    assert_eq!(kind("outside"), PartyKind::Outside);
    for (text, note) in [
        (
            "10.1.0.9 -> db tcp/1",
            "shop/job had 10.1.0.9 and has finished: policies do not see it there",
        ),
        (
            "n1 -> db tcp/1",
            "shop/host has the network of its host at 10.0.0.1: policies do not apply to it and \
             selectors do not stand for it",
        ),
        (
            "api -> db tcp/1",
            "shop/a claims 10.1.0.2 too, which counts as that of shop/api: policies do not see \
             shop/a there",
        ),
        (
            "db -> db tcp/1",
            "shop/db reaches its own address directly whatever policies say; this is about a \
             packet that a Service turned round",
        ),
    ] {
        assert_eq!(explain(&world, &flow(text)).notes, [note], "{text}");
    }
}
