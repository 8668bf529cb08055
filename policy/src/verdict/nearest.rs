//! What would turn a verdict round.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::evaluate::Packet;
use super::view::View;
use super::{Reason, Verdict};
use crate::model::{Direction, PodKey, PolicyId, Protocol};

/// The smallest change found that would allow a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// All of these together.
    pub steps: Vec<Step>,
    /// The rules that would match then: policy, direction, and position from 0. Egress first.
    pub rules: Vec<(PolicyId, Direction, usize)>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A label of a pod.
    PodLabel {
        /// The pod.
        pod: PodKey,
        /// The key.
        key: Arc<str>,
        /// The value that it should have; `None` if the label should go.
        value: Option<Arc<str>>,
    },
    /// A label of a namespace, which changes what all its pods may do.
    NamespaceLabel {
        /// The namespace.
        namespace: Arc<str>,
        /// The key.
        key: Arc<str>,
        /// The value that it should have; `None` if the label should go.
        value: Option<Arc<str>>,
    },
    /// Another port to go to.
    Port {
        /// The protocol.
        protocol: Protocol,
        /// The port.
        number: u16,
    },
    /// An address added to an `ipBlock` of a rule (or taken out of its `except`).
    Block {
        /// The policy.
        policy: PolicyId,
        /// The direction of the rule.
        direction: Direction,
        /// Its position, from 0.
        index: usize,
        /// The address.
        address: IpAddr,
    },
}

impl fmt::Display for Nearest {
    /// `would be allowed if cart-7d9 had label app=api`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(ToString::to_string).collect();
        write!(f, "would be allowed if {}", steps.join(" and "))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |f: &mut fmt::Formatter<'_>, key: &str, value: &Option<Arc<str>>| match value {
            Some(value) => write!(f, "had label {key}={value}"),
            None => write!(f, "had no label {key}"),
        };
        match self {
            Step::PodLabel { pod, key, value } => {
                write!(f, "{} ", pod.name)?;
                label(f, key, value)
            }
            Step::NamespaceLabel { namespace, key, value } => {
                write!(f, "namespace {namespace} ")?;
                label(f, key, value)
            }
            Step::Port { protocol, number } => write!(f, "it went to port {protocol} {number}"),
            Step::Block { policy, index, address, .. } => {
                write!(f, "{address} were in an ipBlock of {policy} rule {index}")
            }
        }
    }
}

/// Something that keeps a flow open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// In which direction.
    pub direction: Direction,
    /// What it is: never a reason to deny.
    pub reason: Reason,
}

/// The smallest change that would allow a packet that is denied.
pub(super) fn nearest(_: &View<'_>, _: &Packet<'_>, _: &Verdict) -> Option<Nearest> {
    None
}

/// What keeps a packet open that is allowed.
pub(super) fn openings(_: &View<'_>, _: &Packet<'_>, verdict: &Verdict) -> Vec<Opening> {
    let directions = [Direction::Egress, Direction::Ingress];
    directions
        .map(|direction| Opening { direction, reason: verdict.of(direction).reason.clone() })
        .into()
}
