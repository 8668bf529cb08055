//! Paths of fields in the object that a policy was made of.

use std::collections::BTreeSet;

use crate::model::{Direction, Policy};

/// `spec.ingress`.
pub(super) fn rules(direction: Direction) -> String {
    format!("spec.{direction}")
}

/// `spec.ingress[2]`.
pub(super) fn rule(direction: Direction, index: usize) -> String {
    format!("{}[{index}]", rules(direction))
}

/// The list of a rule's peers: `from` or `to`.
pub(super) fn peers(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// `spec.ingress[2].from[1]`: where the object has the `nth` term of a rule's criterion.
/// Elements that could not be understood are no terms, so that those after them stand further
/// back in the object.
pub(super) fn element(policy: &Policy, rule: &str, list: &str, nth: usize) -> String {
    let path = format!("{rule}.{list}[");
    let bad: BTreeSet<usize> = policy
        .problems
        .iter()
        .filter_map(|problem| problem.field.strip_prefix(&path)?.split(']').next()?.parse().ok())
        .collect();
    let index = (0..).filter(|index| !bad.contains(index)).nth(nth).unwrap_or(nth);
    format!("{path}{index}]")
}
