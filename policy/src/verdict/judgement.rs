//! What was decided about one direction of a flow, and by what.

use std::fmt;
use std::sync::Arc;

use crate::model::{Direction, PolicyId};

/// What was decided about one direction, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What was decided.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
}

/// Whether a packet may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It passes.
    Allowed,
    /// It is dropped.
    Denied,
}

/// What decided. Each says with which outcomes it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Allowed: the address is no endpoint's, so no policy is about it.
    NoEndpoint,
    /// Denied: the address is in the pod ranges of this node, but no endpoint is known to have
    /// it.
    UnknownAddress(Arc<str>),
    /// Allowed: the packet comes from the node where its destination is, this one.
    OwnNode(Arc<str>),
    /// Denied: a pod makes what only nodes may send to each other, IP in IP or VXLAN.
    Tunnel,
    /// Allowed: no policy governs the endpoint in this direction.
    NotGoverned,
    /// Either: a rule matched.
    Rule {
        /// Its policy.
        policy: PolicyId,
        /// Its direction, which says in which list it stands.
        direction: Direction,
        /// Where it stands there, from 0.
        index: usize,
    },
    /// Denied: these policies govern the endpoint, none of their rules matched, and their tier
    /// ends so.
    NoRule {
        /// The tier.
        tier: Arc<str>,
        /// Its policies that govern the endpoint in this direction, in order; at least one.
        policies: Vec<PolicyId>,
    },
    /// Allowed: policies govern the endpoint, but their tiers all left it to what comes after
    /// them, the profile of the namespace.
    Profile,
}

impl Judgement {
    pub(super) fn allowed(reason: Reason) -> Self {
        Self { outcome: Outcome::Allowed, reason }
    }

    pub(super) fn denied(reason: Reason) -> Self {
        Self { outcome: Outcome::Denied, reason }
    }

    /// Whether the packet passes.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }

    /// The policies that decided: the one whose rule matched, or all that govern the endpoint
    /// where none matched.
    pub fn policies(&self) -> &[PolicyId] {
        match &self.reason {
            Reason::Rule { policy, .. } => std::slice::from_ref(policy),
            Reason::NoRule { policies, .. } => policies,
            Reason::NoEndpoint
            | Reason::UnknownAddress(_)
            | Reason::OwnNode(_)
            | Reason::Tunnel
            | Reason::NotGoverned
            | Reason::Profile => &[],
        }
    }

    /// Where the rule that matched stands in its policy's list of this direction, from 0.
    pub fn rule(&self) -> Option<usize> {
        match self.reason {
            Reason::Rule { index, .. } => Some(index),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    /// `allowed` or `denied`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
        })
    }
}

impl fmt::Display for Reason {
    /// Half a sentence, for instance `NetworkPolicy shop/db rule 0` or `no policy selects it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoEndpoint => f.write_str("no policy is about this address"),
            Reason::UnknownAddress(node) => {
                write!(f, "in the pod range of node {node}, but no pod is known to have it")
            }
            Reason::OwnNode(node) => write!(f, "comes from the pod's own node {node}"),
            Reason::Tunnel => f.write_str("IP in IP or VXLAN made by a pod"),
            Reason::NotGoverned => f.write_str("no policy selects it"),
            Reason::Rule { policy, index, .. } => write!(f, "{policy} rule {index}"),
            Reason::NoRule { policies, .. } => {
                let names: Vec<_> = policies.iter().map(ToString::to_string).collect();
                write!(f, "{} (no rule)", names.join(", "))
            }
            Reason::Profile => f.write_str("no tier decided"),
        }
    }
}
