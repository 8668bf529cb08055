//! What becomes of a flow, and why.

use brindle_policy::model::{Action, TierAction};
use brindle_policy::verdict::{
    self, DirectionTrace, Flow, PolicyTrace, Reason, RuleTrace, StageEnd, StageTrace,
};
use brindle_policy::{Direction, Family, PolicyId};

use super::find::{self, Located};
use super::words::action;
use super::{Known, hosts, kernel};
use crate::control::{Failure, FlowQuestion, view};
use crate::flow::Service;

/// What becomes of a flow, by the policies and by the rules that the kernel of this node holds.
pub(super) fn explain(
    known: &Known<'_>,
    question: &FlowQuestion,
) -> Result<view::Explanation, Failure> {
    let family = question.family.map(|family| match family {
        view::Family::Ipv4 => Family::V4,
        view::Family::Ipv6 => Family::V6,
    });
    let [from, to] = find::both(known.world, &question.source, &question.destination, family)?;
    let flow = flow(&from, &to, question.service);
    let explained = verdict::explain(known.world, &flow);
    let mut view = view::Explanation {
        verdict: view::Outcome::of(explained.verdict.is_allowed()),
        source: from.shown.clone(),
        destination: to.shown.clone(),
        protocol: match question.service {
            Service::Port(protocol, _) => protocol.to_string().to_lowercase(),
            Service::Icmp => "icmp".to_owned(),
        },
        port: question.service.port(),
        route: None,
        egress: judgement(&explained.egress, &from),
        ingress: judgement(&explained.ingress, &to),
        nearest: nearest(&explained),
        staged: explained.staged.as_ref().map(staged),
        notes: explained.notes.clone(),
        disagreements: Vec::new(),
    };
    let crossed = hosts::judge(known, &flow, [&from, &to], &explained, &mut view);
    if let Some(here) = &known.here {
        let crossed = crossed.iter().find(|one| one.node == here.node);
        let asked = kernel::Asked { flow: &flow, ends: [&from, &to], pods: &explained.verdict };
        kernel::compare(known.world, here, &asked, crossed, &mut view);
    }
    Ok(view)
}

/// The flow between two addresses.
pub(super) fn flow(from: &Located<'_>, to: &Located<'_>, service: Service) -> Flow {
    Flow {
        source: from.address,
        destination: to.address,
        protocol: service.protocol(Family::of(from.address)),
        source_port: None,
        destination_port: service.port(),
        icmp: service.icmp(Family::of(from.address)),
    }
}

fn judgement(trace: &DirectionTrace, end: &Located<'_>) -> view::Judgement {
    let judged = &trace.judgement;
    view::Judgement {
        verdict: view::Outcome::of(judged.is_allowed()),
        node: end.endpoint.and_then(|pod| pod.node.as_ref()).map(ToString::to_string),
        reason: trace.summary.clone(),
        tier: trace.deciding_tier().filter(|_| trace.has_tiers()).map(ToString::to_string),
        decided_by: judged.policies().iter().map(PolicyId::to_string).collect(),
        rule: judged.rule(),
        policies: tiers_asked(&trace.stages, trace.has_tiers()),
        host: Vec::new(),
        to_host: None,
        kernel: None,
    }
}

/// Every policy that was asked, with its tier if that is worth saying.
pub(super) fn tiers_asked(tiers: &[StageTrace], has_tiers: bool) -> Vec<view::PolicyAsked> {
    let of_stage = |stage: &StageTrace| {
        let end = stage_end(stage).filter(|_| has_tiers);
        let asked = |policy: &PolicyTrace| view::PolicyAsked {
            policy: policy.id.to_string(),
            tier: has_tiers.then(|| stage.tier.to_string()),
            rules: policy.rules.iter().map(rule_asked).collect(),
            tier_end: None,
        };
        let mut policies: Vec<view::PolicyAsked> = stage.policies.iter().map(asked).collect();
        if let Some(last) = policies.last_mut() {
            last.tier_end = end;
        }
        policies
    };
    tiers.iter().flat_map(of_stage).collect()
}

/// How a tier ended that did not decide.
fn stage_end(stage: &StageTrace) -> Option<String> {
    match stage.end {
        StageEnd::Decided => None,
        StageEnd::Passed => Some(format!("passed on: leaves tier {}", stage.tier)),
        StageEnd::Default(TierAction::Pass) => {
            Some(format!("no rule decides: leaves tier {}", stage.tier))
        }
        StageEnd::Default(TierAction::Deny) => {
            Some(format!("no rule decides: denied at the end of tier {}", stage.tier))
        }
    }
}

fn staged(staged: &verdict::Staged) -> view::Staged {
    let names = |policies: &[PolicyId]| policies.iter().map(PolicyId::to_string).collect();
    let deciding = [Direction::Egress, Direction::Ingress];
    let deciding = deciding.iter().flat_map(|direction| staged.verdict.of(*direction).policies());
    view::Staged {
        verdict: view::Outcome::of(staged.verdict.is_allowed()),
        is_change: staged.is_change(),
        text: staged.to_string(),
        decided_by: deciding.map(PolicyId::to_string).collect(),
        policies: names(&staged.policies),
    }
}

fn rule_asked(rule: &RuleTrace) -> view::RuleAsked {
    let reasons = rule.reasons();
    view::RuleAsked {
        rule: rule.index,
        action: match rule.action {
            Action::Allow => None,
            Action::Deny | Action::Pass | Action::Log => Some(action(rule.action).to_owned()),
        },
        text: rule.description(),
        matched: rule.is_match,
        why_not: (!reasons.is_empty()).then(|| reasons.join("; ")),
    }
}

/// What would turn the verdict round: a change, or the rules that alone keep it open.
fn nearest(explained: &verdict::Explanation) -> Option<String> {
    if let Some(nearest) = &explained.nearest {
        return Some(nearest.to_string());
    }
    let keeping = |direction: Direction| {
        let openings = explained.openings.iter().filter(|opening| opening.direction == direction);
        let reasons: Vec<&Reason> = openings.map(|opening| &opening.reason).collect();
        let are_rules = reasons.iter().all(|reason| matches!(reason, Reason::Rule { .. }));
        (are_rules && !reasons.is_empty()).then(|| {
            let names: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("{} ({direction})", names.join(" and "))
        })
    };
    let keeping = [Direction::Egress, Direction::Ingress].into_iter().filter_map(keeping);
    let keeping: Vec<String> = keeping.collect();
    (!keeping.is_empty()).then(|| format!("would be denied without {}", keeping.join(" or ")))
}
