//! The chains that are compiled for the nodes of random worlds do with random packets what
//! the verdict says.

#[path = "support/walk.rs"]
mod walk;
#[path = "support/worlds.rs"]
mod worlds;

use std::cell::RefCell;
use std::collections::BTreeMap;

use brindle_policy::names::{ChainName, Comment, Fixed};
use brindle_policy::verdict::{Flow, Reason, Verdict, verdict};
use brindle_policy::walk::End;
use brindle_policy::{Direction, Family, render};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use walk::Cluster;
use worlds::{Case, case};

/// Worlds that are tried.
const WORLDS: u32 = 2_000;
/// Flows that are tried in each.
const FLOWS: usize = 50;

/// What kinds of cases came up, and how often.
type Seen = BTreeMap<String, u32>;

fn note(seen: &mut Seen, what: impl Into<String>) {
    *seen.entry(what.into()).or_default() += 1;
}

/// How the reason of a judgement is counted.
fn kind(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoEndpoint => "no endpoint",
        Reason::UnknownAddress(_) => "unknown address",
        Reason::OwnNode(_) => "own node",
        Reason::Tunnel => "tunnel",
        Reason::NotGoverned => "not governed",
        Reason::Rule { .. } => "rule",
        Reason::NoRule { .. } => "no rule",
        Reason::Profile => "profile",
    }
}

fn agrees(case: &Case, seen: &mut Seen) -> Result<(), TestCaseError> {
    let world = case.world();
    let cluster = Cluster::new(&world);
    for flow in &case.flows {
        let (verdict, journey) = (verdict(&world, flow), cluster.send(flow));
        if verdict.is_allowed() != journey.arrived {
            let said = format!("{flow}: {verdict:#?}\nbut {journey:#?}\n");
            let nodes = journey.stages.iter().map(|(node, ..)| node);
            let texts = nodes.map(|node| cluster.ruleset(node, Family::of(flow.source)));
            let texts: String = texts.map(render::ruleset).map(|t| t.rules + &t.sets).collect();
            return Err(TestCaseError::fail(said + &texts));
        }
        let (want, is) = (deciding(&verdict), cluster.deciding(&journey, flow));
        if want != is {
            let said = format!("{flow}: {want:?} by the verdict, {is:?} by the chains");
            return Err(TestCaseError::fail(said));
        }
        for walked in cluster.spoof(flow) {
            let last = walked.trail.last().map(|step| step.chain.clone());
            if (&walked.end, last) != (&End::Drop, Some(ChainName::fixed(Fixed::Spoofed))) {
                return Err(TestCaseError::fail(format!("{flow} is not spoofed: {walked:#?}")));
            }
            note(seen, "spoofed");
        }
        if world.attachments().any(|one| world.is_attached(one.interface, flow.source)) {
            note(seen, "attached");
        }
        note(seen, format!("{} rules decided", want.len()));
        note(seen, Family::of(flow.source).to_string());
        note(seen, format!("protocol {}", flow.protocol));
        note(seen, format!("{} nodes", journey.stages.len()));
        for direction in Direction::ALL {
            let judgement = verdict.of(direction);
            note(seen, format!("{direction} {}: {}", judgement.outcome, kind(&judgement.reason)));
        }
        note(seen, if journey.arrived { "arrived" } else { "dropped" });
        if is_hairpin(flow) {
            note(seen, "to itself");
        }
    }
    Ok(())
}

/// The rules that decided, as their comments in the kernel say: of egress, then, if that
/// allows, of ingress.
fn deciding(verdict: &Verdict) -> Vec<Comment> {
    let mut comments = Vec::new();
    for judgement in [&verdict.egress, &verdict.ingress] {
        if let Reason::Rule { policy, index, .. } = &judgement.reason {
            comments.push(Comment::policy_rule(policy, *index));
        }
        if !judgement.is_allowed() {
            break;
        }
    }
    comments
}

fn is_hairpin(flow: &Flow) -> bool {
    flow.source == flow.destination
}

#[test]
fn compiled_chains_do_what_the_verdict_says() {
    let seen = RefCell::new(Seen::new());
    let mut runner = TestRunner::new(Config { cases: WORLDS, ..Config::default() });
    let result = runner.run(&case(FLOWS), |case| agrees(&case, &mut seen.borrow_mut()));
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner();
    // Had one kind of case hardly come up, agreement on it would say nothing.
    for (what, least) in [
        ("arrived", 20_000),
        ("dropped", 20_000),
        ("IPv4", 20_000),
        ("IPv6", 20_000),
        ("0 nodes", 100),
        ("1 nodes", 20_000),
        ("2 nodes", 10_000),
        ("protocol 1", 1_000),
        ("protocol 6", 10_000),
        ("protocol 17", 10_000),
        ("protocol 132", 1_000),
        ("to itself", 1_000),
        ("attached", 5_000),
        ("spoofed", 50_000),
        ("0 rules decided", 20_000),
        ("1 rules decided", 6_000),
        ("2 rules decided", 1_000),
        ("ingress allowed: rule", 2_000),
        ("ingress denied: rule", 100),
        ("ingress denied: no rule", 2_000),
        ("ingress allowed: not governed", 2_000),
        ("ingress allowed: own node", 200),
        ("ingress denied: unknown address", 200),
        ("ingress allowed: profile", 100),
        ("egress allowed: rule", 2_000),
        ("egress denied: rule", 100),
        ("egress denied: no rule", 2_000),
        ("egress allowed: not governed", 2_000),
        ("egress denied: unknown address", 200),
        ("egress allowed: profile", 100),
    ] {
        let often = seen.get(what).copied().unwrap_or_default();
        assert!(often >= least, "{what} came up {often} times: {seen:#?}");
    }
}
