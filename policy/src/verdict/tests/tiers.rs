//! What no NetworkPolicy says but other languages will: tiers, orders, and rules that deny,
//! pass on or only record (policy-semantics 4).

use std::sync::Arc;

use super::{flow, world};
use crate::model::{
    Action, Change, Criterion, HostStage, Policy, PolicyId, PolicyKind, PolicyOrder, PortMatch,
    PortTerm, Protocol, Rule, Side,
};
use crate::selector::Expr;
use crate::verdict::{StageEnd, explain, verdict};

/// A rule for TCP to one port, or for everything.
fn rule(text: &str) -> Rule {
    let (action, port) = text.split_once(' ').unwrap_or((text, ""));
    let action = match action {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        "pass" => Action::Pass,
        "log" => Action::Log,
        other => panic!("{other}"),
    };
    let ports = port.parse().ok().map(|port| {
        let term = PortTerm { protocol: Protocol::Tcp, port: PortMatch::Range(port, port) };
        Criterion::Ports { side: Side::Destination, any_of: vec![term], negated: false }
    });
    Rule { action, criteria: ports.into_iter().collect() }
}

/// A policy for the ingress of all pods of `shop`: its name, tier and order, and its rules.
type Row<'t> = (&'t str, &'t str, Option<f64>, &'t [&'t str]);

fn policy((name, tier, order, rules): &Row<'_>) -> Policy {
    Policy {
        id: PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some("shop".into()),
            name: (*name).into(),
        },
        tier: (*tier).into(),
        order: PolicyOrder::new(*order),
        subject: Arc::new(Expr::InNamespace("shop".into())),
        stage: HostStage::Normal,
        staged: None,
        ingress: Some(rules.iter().map(|text| rule(text)).collect()),
        egress: None,
        problems: Vec::new(),
    }
}

#[test]
fn the_first_rule_that_decides_wins_in_the_order_of_tiers_policies_and_rules() {
    let (admin, default, baseline) = ("kube-admin", "default", "kube-baseline");
    let kubernetes = Some(1000.0);
    for (id, policies, allowed, why) in [
        (
            "A01",
            &[("a", admin, Some(1.0), &["deny"][..]), ("k", default, kubernetes, &["allow"])][..],
            false,
            "NetworkPolicy shop/a rule 0",
        ),
        (
            "A02",
            &[("a", admin, Some(1.0), &["allow"]), ("k", default, kubernetes, &[])],
            true,
            "NetworkPolicy shop/a rule 0",
        ),
        (
            "A03",
            &[("a", admin, Some(1.0), &["pass", "allow"]), ("b", baseline, Some(1.0), &["deny"])],
            false,
            "NetworkPolicy shop/b rule 0",
        ),
        (
            "A04",
            &[("k", default, kubernetes, &["allow"]), ("b", baseline, Some(1.0), &["deny"])],
            true,
            "NetworkPolicy shop/k rule 0",
        ),
        (
            "",
            &[("a", admin, Some(1.0), &["allow 99"]), ("b", baseline, Some(1.0), &["deny 99"])],
            true,
            "no tier decided",
        ),
        (
            "",
            &[("k", default, kubernetes, &["allow 99"]), ("b", baseline, Some(1.0), &["allow"])],
            false,
            "NetworkPolicy shop/k (no rule)",
        ),
        (
            "C09",
            &[("a", default, Some(1.0), &["deny 99"])],
            false,
            "NetworkPolicy shop/a (no rule)",
        ),
        ("C10", &[("a", default, Some(1.0), &["log"])], false, "NetworkPolicy shop/a (no rule)"),
        ("", &[("a", default, Some(1.0), &["log", "allow"])], true, "NetworkPolicy shop/a rule 1"),
        (
            "C11",
            &[
                ("b", default, Some(1.0), &["deny"]),
                ("a", default, Some(1.0), &["allow"]),
                ("0", default, None, &["deny"]),
            ],
            true,
            "NetworkPolicy shop/a rule 0",
        ),
        (
            "C12",
            &[("z", default, Some(10.0), &["deny"]), ("a", default, kubernetes, &["allow"])],
            false,
            "NetworkPolicy shop/z rule 0",
        ),
        (
            "C13",
            &[("z", default, Some(10.0), &["allow"]), ("a", default, kubernetes, &[])],
            true,
            "NetworkPolicy shop/z rule 0",
        ),
        (
            "C14",
            &[("a", default, Some(2000.0), &["allow"]), ("b", default, kubernetes, &["allow 99"])],
            true,
            "NetworkPolicy shop/a rule 0",
        ),
        ("C15", &[("a", default, Some(1.0), &["pass"])], true, "no tier decided"),
        (
            "C16",
            &[("a", admin, Some(1.0), &["allow 99"]), ("k", default, kubernetes, &["allow"])],
            true,
            "NetworkPolicy shop/k rule 0",
        ),
        // A tier that there is not: not evaluated.
        ("", &[("a", "nowhere", Some(1.0), &["deny"])], true, "no policy selects it"),
    ] {
        let mut world = world("");
        for row in policies {
            world.apply(Change::PolicyApplied(policy(row).into()));
        }
        let flow = flow("probe -> db tcp/80");
        let got = verdict(&world, &flow).ingress;
        assert_eq!((got.is_allowed(), got.reason.to_string().as_str()), (allowed, why), "{id}");
        assert_eq!(explain(&world, &flow).verdict.ingress, got, "{id}");
    }
}

#[test]
fn each_tier_says_how_it_ended() {
    use crate::model::TierAction;
    let mut world = world("");
    for row in [
        ("a", "kube-admin", Some(1.0), &["log 80", "pass 80", "deny"][..]),
        ("b", "default", Some(1.0), &["pass"]),
        ("c", "kube-baseline", Some(1.0), &["deny 99"]),
    ] {
        world.apply(Change::PolicyApplied(policy(&row).into()));
    }
    let ends = |text: &str| {
        let trace = explain(&world, &flow(text)).ingress;
        let stages = trace.stages.iter().map(|stage| {
            let rules = stage.policies.iter().map(|policy| policy.rules.len()).sum::<usize>();
            (stage.tier.to_string(), stage.end, rules)
        });
        stages.collect::<Vec<_>>()
    };
    let stage = |tier: &str, end, rules| (tier.to_owned(), end, rules);
    let passed = StageEnd::Passed;
    assert_eq!(
        ends("probe -> db tcp/80"),
        [
            stage("kube-admin", passed, 2),
            stage("default", passed, 1),
            stage("kube-baseline", StageEnd::Default(TierAction::Pass), 1),
        ]
    );
    assert_eq!(ends("probe -> db tcp/1"), [stage("kube-admin", StageEnd::Decided, 3)]);
}
