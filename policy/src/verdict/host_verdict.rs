//! What host endpoints said of a packet, and why.

use std::fmt;
use std::sync::Arc;

use super::{Judgement, Outcome};
use crate::model::{Direction, Failsafe, HostStage, PolicyId, ToHost};

/// What a node does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVerdict {
    /// What host endpoints say, in the order in which they are asked.
    pub steps: Vec<HostStep>,
    /// What the policies of the pods say that are on this node; asked last.
    pub pods: Vec<(Direction, Judgement)>,
    /// What becomes of a packet of a local pod to its host that its policies allow.
    pub to_host: Option<ToHost>,
}

/// What one host endpoint says in one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStep {
    /// Its name.
    pub endpoint: Arc<str>,
    /// The stage.
    pub stage: HostStage,
    /// Which way the packet goes, as the host sees it.
    pub direction: Direction,
    /// What is decided; `None` if later stages decide.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: HostReason,
}

/// Why a host endpoint said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostReason {
    /// Allowed, or left to later stages: a port that stays open.
    Failsafe(Failsafe),
    /// Either: a rule of a policy matched.
    Rule {
        /// The policy.
        policy: PolicyId,
        /// The position of the rule, from 0.
        index: usize,
    },
    /// Denied: these policies govern it, none of their rules matched, and their tier ends so.
    NoRule {
        /// The tier.
        tier: Arc<str>,
        /// Its policies that govern the host endpoint, in order.
        policies: Vec<PolicyId>,
    },
    /// Allowed in the forward stage, else left to later ones: no tier decided.
    Undecided,
    /// Either: a rule of a profile matched.
    Profile {
        /// The profile.
        profile: Arc<str>,
        /// The position of the rule, from 0.
        index: usize,
    },
    /// Denied: the profile of this name, which is to decide, is not known.
    UnknownProfile(Arc<str>),
    /// Denied: no policy and no profile decided.
    Nothing,
}

impl HostVerdict {
    /// Whether the packet passes.
    pub fn is_allowed(&self) -> bool {
        self.steps.iter().all(|step| step.outcome != Some(Outcome::Denied))
            && self.pods.iter().all(|(_, judgement)| judgement.is_allowed())
            && self.to_host != Some(ToHost::Drop)
    }

    /// What a stage said; `None` if no host endpoint judged there.
    pub fn of(&self, stage: HostStage, direction: Direction) -> Option<&HostStep> {
        self.steps.iter().find(|step| (step.stage, step.direction) == (stage, direction))
    }
}

impl fmt::Display for HostStep {
    /// `host endpoint n1-eth0, ingress, pre-DNAT: denied: GlobalNetworkPolicy ports rule 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, stage, direction, outcome, reason } = self;
        write!(f, "host endpoint {endpoint}, {direction}, {stage}: ")?;
        match outcome {
            Some(outcome) => write!(f, "{outcome}: {reason}"),
            None => write!(f, "goes on: {reason}"),
        }
    }
}

impl fmt::Display for HostReason {
    /// Half a sentence, as a rule's reason has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostReason::Failsafe(Failsafe { protocol, port, net }) => {
                write!(f, "failsafe port {protocol} {port}")?;
                net.map_or(Ok(()), |net| write!(f, " of {net}"))
            }
            HostReason::Rule { policy, index } => write!(f, "{policy} rule {index}"),
            HostReason::NoRule { policies, .. } => {
                let names: Vec<_> = policies.iter().map(ToString::to_string).collect();
                write!(f, "{} (no rule)", names.join(", "))
            }
            HostReason::Undecided => f.write_str("no tier decided"),
            HostReason::Profile { profile, index } => write!(f, "profile {profile} rule {index}"),
            HostReason::UnknownProfile(name) => write!(f, "profile {name} is not known"),
            HostReason::Nothing => f.write_str("no policy and no profile decided"),
        }
    }
}
