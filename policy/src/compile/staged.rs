//! Staged policies: not enforced, but what they would decide is told of packets that are
//! judged now, so that somebody who listens can judge them both ways (policy-semantics 3.9).

use super::Context;
use super::fixed::log_rule;
use crate::model::{Direction, HostEndpoint, HostStage, Pod, Policy, PolicyId, StagedAction};
use crate::names::{ChainName, Comment};
use crate::ruleset::Rule;

/// The rule that tells of a packet to or from an endpoint that is judged otherwise, or might
/// be, once a staged policy is enforced. It goes before the rules that decide. `None` if no
/// staged policy concerns the endpoint, or nobody listens.
pub(super) fn told(
    context: &Context<'_>,
    pod: &Pod,
    direction: Direction,
    chain: &ChainName,
) -> Option<Rule> {
    is_told(context, pod, direction).then(|| tells(context, chain)).flatten()
}

/// Likewise for a host endpoint at a stage.
pub(super) fn told_by_host(
    context: &Context<'_>,
    host: &HostEndpoint,
    stage: HostStage,
    direction: Direction,
    chain: &ChainName,
) -> Option<Rule> {
    let governs = |policy: &Policy| {
        policy.takes_part(stage)
            && policy.rules(direction).is_some()
            && context.world.matches_host(&policy.subject, host)
    };
    let is_told = context.settings.deny_log.is_some()
        && context.world.staged().any(|staged| matters(context, staged, governs, governs));
    is_told.then(|| tells(context, chain)).flatten()
}

fn tells(context: &Context<'_>, chain: &ChainName) -> Option<Rule> {
    let comment = Comment::new(&["staged"]);
    log_rule(&[], "staged", chain, context.settings.deny_log, Some(&comment))
}

/// Whether packets of an endpoint are told of for the sake of staged policies.
pub(super) fn is_told(context: &Context<'_>, pod: &Pod, direction: Direction) -> bool {
    context.settings.deny_log.is_some()
        && context.world.staged().any(|staged| concerns(context, staged, pod, direction))
}

fn concerns(context: &Context<'_>, staged: &Policy, pod: &Pod, direction: Direction) -> bool {
    let governs = |policy: &Policy| {
        policy.rules(direction).is_some() && context.world.matches(&policy.subject, pod)
    };
    matters(context, staged, governs, |former| former.judges_pods() && governs(former))
}

/// Whether it matters to an endpoint that a staged policy is enforced: then that policy governs
/// it, or one that governs it now goes or is another.
fn matters(
    context: &Context<'_>,
    staged: &Policy,
    would_govern: impl Fn(&Policy) -> bool,
    governs: impl Fn(&Policy) -> bool,
) -> bool {
    let goes = || {
        let kind = staged.id.kind.enforced()?;
        let enforced = context.world.policy(&PolicyId { kind, ..staged.id.clone() })?;
        Some(governs(enforced))
    };
    match staged.staged {
        Some(StagedAction::Set) => would_govern(staged) || goes().unwrap_or(false),
        Some(StagedAction::Delete) => goes().unwrap_or(false),
        Some(StagedAction::Learn | StagedAction::Ignore) | None => false,
    }
}
