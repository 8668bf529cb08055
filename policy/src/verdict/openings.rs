//! What keeps a flow open.

use super::evaluate::{Packet, rule_matches, sides};
use super::view::View;
use super::{Reason, Verdict};
use crate::model::{Action, Direction};

/// Something that keeps a flow open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// In which direction.
    pub direction: Direction,
    /// What it is: never a reason to deny.
    pub reason: Reason,
}

/// What keeps a packet open that is allowed: where a rule allowed it, all rules of the same
/// tier that do.
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
        let stage = stages.iter().find(|(_, policies)| policies.iter().any(|p| p.id == *decider));
        for policy in stage.into_iter().flat_map(|(_, policies)| policies) {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                if rule.action == Action::Allow && rule_matches(view, packet, rule) {
                    add(Reason::Rule { policy: policy.id.clone(), direction, index });
                }
            }
        }
    }
    found
}
