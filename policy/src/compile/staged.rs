//! Staged policies: not enforced, but what they would decide is told of packets that are
//! judged now, so that somebody who listens can judge them both ways (policy-semantics 3.9).

use super::Context;
use super::fixed::log_rule;
use crate::model::{Direction, Pod, Policy, PolicyId, StagedAction};
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
    let is_told = is_told(context, pod, direction);
    let comment = Comment::new(&["staged"]);
    let deny_log = context.settings.deny_log;
    is_told.then(|| log_rule(&[], "staged", chain, deny_log, Some(&comment))).flatten()
}

/// Whether packets of an endpoint are told of for the sake of staged policies.
pub(super) fn is_told(context: &Context<'_>, pod: &Pod, direction: Direction) -> bool {
    context.settings.deny_log.is_some()
        && context.world.staged().any(|staged| concerns(context, staged, pod, direction))
}

/// Whether it matters to an endpoint that a staged policy is enforced: then that policy
/// governs it, or one that governs it now goes or is another.
fn concerns(context: &Context<'_>, staged: &Policy, pod: &Pod, direction: Direction) -> bool {
    let world = context.world;
    let governs =
        |policy: &Policy| policy.rules(direction).is_some() && world.matches(&policy.subject, pod);
    let goes = || {
        let kind = staged.id.kind.enforced()?;
        let enforced = world.policy(&PolicyId { kind, ..staged.id.clone() })?;
        Some(enforced.judges_pods() && governs(enforced))
    };
    match staged.staged {
        Some(StagedAction::Set) => governs(staged) || goes().unwrap_or(false),
        Some(StagedAction::Delete) => goes().unwrap_or(false),
        Some(StagedAction::Learn | StagedAction::Ignore) | None => false,
    }
}
