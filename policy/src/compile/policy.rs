//! From the rules of a policy to those of a chain.

use super::criteria;
use super::fixed::{drop_rules, log_rule};
use super::sets::Sources;
use super::{Built, Context};
use crate::model::{Action, Direction, Policy, PolicyId, Rule as PolicyRule};
use crate::names::{ChainName, Comment, Fixed};
use crate::ruleset::{Chain, Purpose, Rule, Target};

/// The rules of a policy as they are enforced. If it is quarantined, nothing of it that the
/// kernel could refuse is left: what would allow, allows nothing, and what would deny or leave
/// the tier, denies everything (policy-semantics 6, 7.11).
pub(super) fn enforced(
    context: &Context<'_>,
    policy: &Policy,
    direction: Direction,
) -> Option<Vec<(usize, PolicyRule)>> {
    let rules = policy.rules(direction)?;
    if !context.quarantined.contains(&policy.id) {
        return Some(rules.iter().cloned().enumerate().collect());
    }
    let denies = |rule: &PolicyRule| match rule.action {
        Action::Deny | Action::Pass => true,
        Action::Allow | Action::Log => false,
    };
    let first = rules.iter().position(denies);
    let deny_all = PolicyRule { action: Action::Deny, criteria: Vec::new() };
    Some(first.map(|index| (index, deny_all)).into_iter().collect())
}

/// Whether one of the rules leaves the tier. Such a policy cannot have a chain that several
/// endpoints share, as a chain cannot return by more than one jump.
pub(super) fn has_pass(context: &Context<'_>, policy: &Policy, direction: Direction) -> bool {
    let rules = enforced(context, policy, direction);
    rules.is_some_and(|rules| rules.iter().any(|(_, rule)| rule.action == Action::Pass))
}

/// The chain of a policy for one direction, which returns if no rule decides; `None` if the
/// policy does not govern that direction.
pub(super) fn chain(
    context: &Context<'_>,
    policy: &Policy,
    direction: Direction,
) -> Option<(ChainName, Built)> {
    let name = ChainName::policy(&policy.id, direction);
    let mut sources = Sources::new();
    let rules = rules(context, policy, direction, &name, &mut sources)?;
    let purpose = Purpose::Policy(policy.id.clone(), direction);
    Some((name, Built { chain: Chain { purpose, rules }, sources }))
}

/// The rules of a policy for one direction, to stand in `chain`. One that leaves the tier
/// returns from it. `None` if the policy does not govern that direction.
pub(super) fn rules(
    context: &Context<'_>,
    policy: &Policy,
    direction: Direction,
    chain: &ChainName,
    sources: &mut Sources,
) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    for (index, rule) in enforced(context, policy, direction)? {
        let place = Place { context, id: &policy.id, index, direction, chain };
        rules.extend(place.rules(&rule, sources));
    }
    Some(rules)
}

/// Where a rule stands.
struct Place<'a> {
    context: &'a Context<'a>,
    id: &'a PolicyId,
    index: usize,
    direction: Direction,
    chain: &'a ChainName,
}

impl Place<'_> {
    fn rules(&self, rule: &PolicyRule, sources: &mut Sources) -> Vec<Rule> {
        let deny_log = self.context.settings.deny_log;
        if rule.action == Action::Log && deny_log.is_none() {
            return Vec::new();
        }
        let comment = Some(Comment::policy_rule(self.id, self.index));
        let alternatives = criteria::alternatives(&rule.criteria, self.context.family, sources);
        alternatives
            .into_iter()
            .flat_map(|matches| {
                let target = match rule.action {
                    Action::Allow => allowed(self.direction),
                    Action::Pass => Target::Return,
                    Action::Deny => {
                        return drop_rules(&matches, self.chain, deny_log, comment.as_ref());
                    }
                    Action::Log => {
                        let log = log_rule(&matches, "log", self.chain, deny_log, comment.as_ref());
                        return log.into_iter().collect();
                    }
                };
                vec![Rule { matches, target, comment: comment.clone() }]
            })
            .collect()
    }
}

/// What happens to a packet that its endpoint's policies allow: after egress the other end
/// may still object.
pub(super) fn allowed(direction: Direction) -> Target {
    match direction {
        Direction::Ingress => Target::Accept,
        Direction::Egress => Target::Goto(ChainName::fixed(Fixed::Sent)),
    }
}
