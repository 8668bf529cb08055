//! Policies and their rules in words.

use brindle_policy::model::{Action, Policy};
use brindle_policy::verdict::rule_in_words;
use brindle_policy::{Direction, PolicyId};

use crate::control::view::PolicyRule;

/// The rules of a policy, ingress first.
pub(super) fn rules(policy: &Policy) -> Vec<PolicyRule> {
    Direction::ALL.into_iter().flat_map(|direction| rules_of(policy, direction)).collect()
}

/// Those of one direction.
pub(super) fn rules_of(policy: &Policy, direction: Direction) -> impl Iterator<Item = PolicyRule> {
    let rules = policy.rules(direction).unwrap_or_default().iter().enumerate();
    rules.map(move |(index, rule)| PolicyRule {
        direction: direction.into(),
        rule: index,
        action: action(rule.action).to_owned(),
        text: rule_in_words(rule, direction, policy.namespace()),
    })
}

/// `allow`, `deny`, `pass`, `log`.
pub(super) fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
        Action::Log => "log",
    }
}

/// `namespace/name` of a policy, or the name alone.
pub(super) fn policy_name(id: &PolicyId) -> String {
    match &id.namespace {
        Some(namespace) => format!("{namespace}/{}", id.name),
        None => id.name.to_string(),
    }
}
