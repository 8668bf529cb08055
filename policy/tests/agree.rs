//! The chains that are compiled for the nodes of random worlds do with random packets what
//! the verdict says.

#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/walk.rs"]
mod walk;
#[path = "support/worlds.rs"]
mod worlds;

use brindle_policy::model::{Criterion, Holders, PeerTerm};
use brindle_policy::names::{ChainName, Comment, Fixed};
use brindle_policy::verdict::{Flow, Reason, Verdict, verdict};
use brindle_policy::walk::End;
use brindle_policy::{Direction, Family, World, render};
use proptest::test_runner::TestCaseError;
use rounds::{Seen, until_seen};
use walk::Cluster;
use worlds::{Case, case};

/// Worlds that are tried in a round.
const WORLDS: u32 = 450;
/// Flows that are tried in each.
const FLOWS: usize = 50;

fn note(seen: &mut Seen, what: impl Into<String>) {
    *seen.entry(what.into()).or_default() += 1;
}

/// What the rule that decided says, as it is counted.
fn criteria_of(world: &World, reason: &Reason, direction: Direction) -> Vec<String> {
    let Reason::Rule { policy, index, .. } = reason else { return Vec::new() };
    let policy = world.policy(policy).expect("it decided");
    let rule = &policy.rules(direction).expect("it governs")[*index];
    let mut said = vec![format!("tier {}", policy.tier)];
    for criterion in &rule.criteria {
        let (what, negated) = match criterion {
            Criterion::Peer { any_of, negated, .. } => {
                let is_selected = any_of.iter().any(|one| matches!(one, PeerTerm::Selected(_)));
                (if is_selected { "selected" } else { "peer" }, *negated)
            }
            Criterion::Ports { negated, .. } => {
                let mut holders = criterion.port_names().map(|name| name.holders);
                let is_of_hosts = holders.any(|holders| holders == Holders::Endpoints);
                (if is_of_hosts { "ports of hosts" } else { "ports" }, *negated)
            }
            Criterion::Protocol { negated, .. } => ("protocol", *negated),
            Criterion::Family(_) => ("family", false),
            Criterion::Icmp { .. } => ("message", false),
            Criterion::Service { .. } => ("service", false),
        };
        said.push(format!("by {}{what}", if negated { "not " } else { "" }));
    }
    said
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
            let criteria = criteria_of(&world, &judgement.reason, direction);
            criteria.into_iter().for_each(|what| note(seen, what));
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
    let kinds = [
        ("arrived", 4200),
        ("dropped", 4200),
        ("IPv4", 4200),
        ("IPv6", 4200),
        ("0 nodes", 18),
        ("1 nodes", 4200),
        ("2 nodes", 1800),
        ("protocol 1", 300),
        ("protocol 6", 1800),
        ("protocol 17", 1800),
        ("protocol 58", 300),
        ("protocol 132", 180),
        ("to itself", 180),
        ("attached", 900),
        ("spoofed", 9000),
        ("0 rules decided", 4200),
        ("1 rules decided", 1200),
        ("2 rules decided", 180),
        ("ingress allowed: rule", 360),
        ("ingress denied: rule", 60),
        ("ingress denied: no rule", 360),
        ("ingress allowed: not governed", 360),
        ("ingress allowed: own node", 36),
        ("ingress denied: unknown address", 36),
        ("ingress allowed: profile", 36),
        ("egress allowed: rule", 360),
        ("egress denied: rule", 60),
        ("egress denied: no rule", 360),
        ("egress allowed: not governed", 360),
        ("egress denied: unknown address", 36),
        ("egress allowed: profile", 36),
        ("by selected", 60),
        ("by not selected", 10),
        ("by ports of hosts", 15),
        ("by not ports", 20),
        ("by not ports of hosts", 3),
        ("by not protocol", 15),
        ("by family", 15),
        ("by message", 3),
        ("by service", 5),
        ("tier early", 30),
        ("tier between", 30),
        ("tier last", 20),
    ];
    until_seen(WORLDS, &case(FLOWS), &kinds, |case, seen| agrees(&case, seen));
}
