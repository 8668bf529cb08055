//! Paths of fields in the object that a policy was made of.

use std::collections::BTreeSet;

use crate::model::{Direction, Policy, PolicyKind, Side};

/// How the objects of a kind are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Lists of peers (`from`, `to`) and `ports` in each rule.
    Kubernetes,
    /// `source` and `destination` in each rule.
    Calico,
    /// Lists of peers and `protocols` in each rule.
    Cluster,
}

/// The layout of a kind.
pub(super) fn layout(kind: PolicyKind) -> Layout {
    match kind {
        PolicyKind::NetworkPolicy | PolicyKind::StagedKubernetesNetworkPolicy => Layout::Kubernetes,
        PolicyKind::CalicoNetworkPolicy
        | PolicyKind::GlobalNetworkPolicy
        | PolicyKind::StagedNetworkPolicy
        | PolicyKind::StagedGlobalNetworkPolicy => Layout::Calico,
        PolicyKind::ClusterNetworkPolicy => Layout::Cluster,
    }
}

/// Where a policy says whom it governs.
pub(super) fn subject(kind: PolicyKind) -> &'static str {
    match layout(kind) {
        Layout::Kubernetes => "spec.podSelector",
        Layout::Calico => "spec.selector",
        Layout::Cluster => "spec.subject",
    }
}

/// What to do about rules of a direction that the policy does not list.
pub(super) fn add_type(kind: PolicyKind, direction: Direction) -> String {
    let name = match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    match layout(kind) {
        Layout::Kubernetes => format!("add {name} to spec.policyTypes, or delete the rules"),
        Layout::Calico => format!("add {name} to spec.types, or delete the rules"),
        Layout::Cluster => "delete the rules".to_owned(),
    }
}

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

/// `source` or `destination`.
pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Destination => "destination",
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
