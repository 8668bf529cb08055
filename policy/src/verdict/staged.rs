//! What would become of a flow if the policies that are staged were enforced
//! (policy-semantics 3.9).

use std::collections::BTreeSet;
use std::fmt;

use super::evaluate::{Packet, Quick, judge, sides};
use super::host::{HostQuestion, ask};
use super::view::View;
use super::{Flow, HostVerdict, Reason, Verdict};
use crate::model::{Direction, HostSettings, Pod, PolicyId};
use crate::world::World;

/// The verdict with staged policies in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// What would be decided. Where a staged policy decides, it is named, not the policy that
    /// it stands in for.
    pub verdict: Verdict,
    /// The staged policies that are about one of the ends, by kind and name; at least one.
    pub policies: Vec<PolicyId>,
    /// Whether the flow is allowed as things are.
    pub is_allowed_now: bool,
}

impl Staged {
    /// Whether enforcing what is staged would turn the verdict round.
    pub fn is_change(&self) -> bool {
        self.verdict.is_allowed() != self.is_allowed_now
    }
}

impl fmt::Display for Staged {
    /// `would be DENIED by StagedGlobalNetworkPolicy x rule 2 (ingress)`, `would still be
    /// ALLOWED: ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.verdict.is_allowed() { "ALLOWED" } else { "DENIED" };
        let still = if self.is_change() { "" } else { "still " };
        let why = self.why();
        let space = if why.is_empty() { "" } else { " " };
        write!(f, "would {still}be {outcome}{space}{why}")
    }
}

impl Staged {
    /// What would decide: `by StagedGlobalNetworkPolicy x rule 2 (ingress)`; may be empty.
    pub fn why(&self) -> String {
        let parts = self.deciding().into_iter().map(|(direction, reason)| {
            let by = match reason {
                Reason::Rule { .. } | Reason::NoRule { .. } => "by",
                Reason::NoEndpoint
                | Reason::UnknownAddress(_)
                | Reason::OwnNode(_)
                | Reason::Tunnel
                | Reason::NotGoverned
                | Reason::Profile => "since",
            };
            format!("{by} {reason} ({direction})")
        });
        parts.collect::<Vec<_>>().join(" and ")
    }

    /// What decides: the direction that denies; else the rules that allow; else the direction
    /// that a staged policy is about.
    fn deciding(&self) -> Vec<(Direction, &Reason)> {
        if let Some((direction, judgement)) = self.verdict.denied_by() {
            return vec![(direction, &judgement.reason)];
        }
        let both = [Direction::Egress, Direction::Ingress];
        let judged = both.map(|direction| (direction, &self.verdict.of(direction).reason));
        let is_rule = |(_, reason): &(Direction, &Reason)| matches!(reason, Reason::Rule { .. });
        let open = |(_, reason): &(Direction, &Reason)| {
            matches!(reason, Reason::NotGoverned | Reason::Profile)
        };
        let rules: Vec<_> = judged.into_iter().filter(is_rule).collect();
        if rules.is_empty() { judged.into_iter().filter(open).collect() } else { rules }
    }
}

/// What would happen to `flow` if what is staged took effect; `None` if no staged policy is
/// about either end, or if what is staged is to change nothing.
pub fn staged(world: &World, flow: &Flow) -> Option<Staged> {
    world.staged().next()?;
    let view = View::with_staged(world);
    let packet = Packet::new(world, flow);
    let mut policies = Vec::new();
    for direction in Direction::ALL {
        let (own, _) = sides(direction);
        if let Some(pod) = packet.end(own).endpoint {
            policies.extend(view.staged_for(pod, direction));
        }
    }
    policies.sort();
    policies.dedup();
    if policies.is_empty() {
        return None;
    }
    let judge = |view: &View<'_>| Verdict {
        egress: judge(view, &packet, Direction::Egress, &mut Quick),
        ingress: judge(view, &packet, Direction::Ingress, &mut Quick),
    };
    let is_allowed_now = judge(&View::of(world)).is_allowed();
    Some(Staged { verdict: judge(&view), policies, is_allowed_now })
}

/// What host endpoints would say with staged policies in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStaged {
    /// What they would say. Where a staged policy decides, it is named.
    pub verdict: HostVerdict,
    /// The staged policies that are about one of them, by kind and name; at least one.
    pub policies: Vec<PolicyId>,
    /// What they say as things are.
    pub now: HostVerdict,
}

/// What host endpoints would say of a packet, `original` before its destination is translated,
/// if what is staged took effect; `None` if no staged policy is about any of them.
pub fn staged_hosts(
    world: &World,
    settings: &HostSettings,
    question: HostQuestion<'_>,
    flow: &Flow,
    original: &Flow,
) -> Option<HostStaged> {
    world.staged().next()?;
    let view = View::with_staged(world);
    let posts = question.posts().into_iter();
    let policies = posts.flat_map(|(host, stage, way)| view.staged_for_host(host, stage, way));
    let policies: BTreeSet<PolicyId> = policies.collect();
    if policies.is_empty() {
        return None;
    }
    let flows = [flow, original];
    Some(HostStaged {
        verdict: ask(&view, settings, question, flows, &mut Quick),
        policies: policies.into_iter().collect(),
        now: ask(&View::of(world), settings, question, flows, &mut Quick),
    })
}

/// The staged policies that are about `pod` in one direction, by kind and name.
pub fn staged_for(world: &World, pod: &Pod, direction: Direction) -> Vec<PolicyId> {
    View::with_staged(world).staged_for(pod, direction)
}
