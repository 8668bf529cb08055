//! What keeps a flow open.

use std::sync::Arc;

use super::evaluate::{Packet, rule_matches, sides};
use super::view::View;
use super::{Reason, Verdict};
use crate::model::{Action, Direction, Policy, Tier, TierAction};

/// Something that keeps a flow open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// In which direction.
    pub direction: Direction,
    /// What it is: never a reason to deny.
    pub reason: Reason,
}

/// What keeps a packet open that is allowed: where a rule allowed it, all rules that would if
/// those before them were not there.
pub(super) fn openings(view: &View<'_>, packet: &Packet<'_>, verdict: &Verdict) -> Vec<Opening> {
    let mut found = Vec::new();
    for direction in [Direction::Egress, Direction::Ingress] {
        let mut add = |reason| found.push(Opening { direction, reason });
        let reason = &verdict.of(direction).reason;
        let (own, _) = sides(direction);
        let (Reason::Rule { policy: decider, .. }, Some(pod)) = (reason, packet.end(own).endpoint)
        else {
            add(reason.clone());
            continue;
        };
        let stages = view.governing(pod, direction);
        let decider = |policies: &[&Arc<Policy>]| policies.iter().any(|p| p.id == *decider);
        let earlier = stages.iter().take_while(|(_, policies)| !decider(policies)).count();
        if kept_open(view, packet, direction, &stages[earlier..], &mut add) {
            add(Reason::Profile);
        }
    }
    found
}

/// Adds the rules that allow the packet until something denies it; what rules pass on is
/// followed. Says whether nothing does, so that it is open without any of them too.
fn kept_open(
    view: &View<'_>,
    packet: &Packet<'_>,
    direction: Direction,
    stages: &[(&Tier, Vec<&Arc<Policy>>)],
    add: &mut impl FnMut(Reason),
) -> bool {
    'stages: for (tier, policies) in stages {
        for policy in policies {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                if rule.action == Action::Log || !rule_matches(view, packet, rule) {
                    continue;
                }
                match rule.action {
                    Action::Allow => {
                        add(Reason::Rule { policy: policy.id.clone(), direction, index });
                    }
                    Action::Deny => return false,
                    Action::Pass => continue 'stages,
                    Action::Log => {}
                }
            }
        }
        match tier.default_action {
            TierAction::Deny => return false,
            TierAction::Pass => {}
        }
    }
    true
}
