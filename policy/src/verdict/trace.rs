//! What an explanation holds.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Flow, Judgement, Nearest, Opening, Reason, Staged, Verdict};
use crate::model::{
    Action, DEFAULT_TIER, Direction, NetworkSetId, PodKey, PolicyId, Problem, TierAction,
};

/// A verdict, and everything that was looked at to get it.
///
/// `verdict` is always what [`verdict`](super::verdict()) says of the same flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What was asked.
    pub flow: Flow,
    /// Whose the source address is.
    pub source: Party,
    /// Whose the destination address is.
    pub destination: Party,
    /// The answer.
    pub verdict: Verdict,
    /// How the answer for the source came about.
    pub egress: DirectionTrace,
    /// How the answer for the destination came about.
    pub ingress: DirectionTrace,
    /// The smallest change that would allow the flow, if it is denied and there is one.
    pub nearest: Option<Nearest>,
    /// What keeps the flow open, if it is allowed: all of it has to go for the flow to be
    /// denied in that direction. Egress first. Empty if it is denied.
    pub openings: Vec<Opening>,
    /// What would be decided if staged policies were enforced; `None` if none is about it.
    pub staged: Option<Staged>,
    /// What else is good to know, as sentences.
    pub notes: Vec<String>,
}

impl Explanation {
    /// How the answer for one direction came about.
    pub fn of(&self, direction: Direction) -> &DirectionTrace {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub kind: PartyKind,
    /// Pods that have this address too without being its endpoint: they have the network of
    /// their host, have finished, or another pod was given the address after them. By name.
    pub others: Vec<PodKey>,
    /// Host endpoints that stand for it (`expectedIPs`), by name.
    pub hosts: Vec<Arc<str>>,
    /// Network sets that it is in, by name; those of everything (`0.0.0.0/0`) left out.
    pub sets: Vec<NetworkSetId>,
}

impl Party {
    /// The objects that give the address a name: `HostEndpoint n1-eth0`, `GlobalNetworkSet
    /// offices`.
    pub fn objects(&self) -> impl Iterator<Item = String> + '_ {
        let hosts = self.hosts.iter().map(|name| format!("HostEndpoint {name}"));
        hosts.chain(self.sets.iter().map(ToString::to_string))
    }
}

/// What has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartyKind {
    /// A pod that policies apply to.
    Endpoint {
        /// Its name.
        pod: PodKey,
        /// Where it runs; `None` if that is not known.
        node: Option<Arc<str>>,
    },
    /// A node itself, or a pod with its network.
    Node {
        /// Its name.
        node: Arc<str>,
    },
    /// Nobody known, in the pod ranges of a node.
    Unknown {
        /// The node.
        node: Arc<str>,
    },
    /// Nobody of the cluster, as far as is known.
    Outside,
}

impl fmt::Display for Party {
    /// `shop/db-0`, `node n1`, or the address; `192.0.2.7 (GlobalNetworkSet offices)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PartyKind::Endpoint { pod, .. } => return write!(f, "{pod}"),
            PartyKind::Node { node } => write!(f, "node {node}")?,
            PartyKind::Unknown { .. } | PartyKind::Outside => write!(f, "{}", self.address)?,
        }
        match self.objects().next() {
            Some(first) => write!(f, " ({first})"),
            None => Ok(()),
        }
    }
}

/// One direction of an explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionTrace {
    /// Which.
    pub direction: Direction,
    /// The answer.
    pub judgement: Judgement,
    /// The answer as a sentence: `no policy selects shop/db-0 for ingress`.
    pub summary: String,
    /// The tiers that were looked at: those with policies that govern the endpoint, up to the
    /// one that decided. Empty if no policy was looked at.
    pub stages: Vec<StageTrace>,
}

impl DirectionTrace {
    /// Whether it is worth saying which tier is which: some other than `default` was looked at.
    pub fn has_tiers(&self) -> bool {
        self.stages.iter().any(|stage| *stage.tier != *DEFAULT_TIER)
    }

    /// The tier that decided; `None` if none did.
    pub fn deciding_tier(&self) -> Option<&Arc<str>> {
        match &self.judgement.reason {
            Reason::Rule { .. } | Reason::NoRule { .. } => {
                self.stages.last().map(|stage| &stage.tier)
            }
            Reason::NoEndpoint
            | Reason::UnknownAddress(_)
            | Reason::OwnNode(_)
            | Reason::Tunnel
            | Reason::NotGoverned
            | Reason::Profile => None,
        }
    }
}

/// A tier that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTrace {
    /// Its name.
    pub tier: Arc<str>,
    /// Its policies that govern the endpoint, up to the one that decided.
    pub policies: Vec<PolicyTrace>,
    /// How it ended.
    pub end: StageEnd,
}

/// How a tier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageEnd {
    /// A rule allowed or denied.
    Decided,
    /// A rule passed on to the next tier.
    Passed,
    /// No rule decided, and the tier's default was taken.
    Default(TierAction),
}

/// A policy that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyTrace {
    /// Which.
    pub id: PolicyId,
    /// Whom it governs, in words: `app=db in namespace shop`.
    pub subject: String,
    /// Its rules of the direction, up to the one that decided.
    pub rules: Vec<RuleTrace>,
    /// What is wrong with the object, as far as that might matter here.
    pub problems: Vec<Problem>,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTrace {
    /// Where it stands in its list (`spec.ingress`, `spec.egress`), from 0.
    pub index: usize,
    /// What it does with what it matches.
    pub action: Action,
    /// Whom it is about, in words: `from app=api in namespaces team=dba`.
    pub peer: String,
    /// Which ports it is about, in words: `port TCP 5432`, `any port`.
    pub ports: String,
    /// Whether it matched, which is whether all criteria hold.
    pub is_match: bool,
    /// Its criteria; none if it matches everything.
    pub criteria: Vec<CriterionTrace>,
}

impl RuleTrace {
    /// The rule in words: `from app=api in namespaces team=dba, port TCP 5432`.
    pub fn description(&self) -> String {
        format!("{}, {}", self.peer, self.ports)
    }

    /// Why it did not match: a reason for each term of each criterion that does not hold, none
    /// twice. Empty if it matched.
    pub fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<&str> = Vec::new();
        let failed = self.criteria.iter().filter(|criterion| !criterion.holds);
        for reason in failed.flat_map(CriterionTrace::reasons) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }
}

/// A criterion of a rule that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct CriterionTrace {
    /// In words: `from app=api`, `port TCP 80 or port TCP named http`.
    pub description: String,
    /// Whether it holds.
    pub holds: bool,
    /// What it needs one of.
    pub terms: Vec<TermTrace>,
    /// Why it does not hold where no single term is to blame; `None` if one is, or if it holds.
    pub reason: Option<String>,
}

impl CriterionTrace {
    /// Why it does not hold.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        let of_terms = self.terms.iter().filter_map(|term| term.reason.as_deref());
        self.reason.as_deref().into_iter().chain(of_terms).filter(|_| !self.holds)
    }
}

/// A term of a criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct TermTrace {
    /// In words: `app=api in namespaces team=dba`, `port TCP 80`.
    pub description: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why not: `cart-7d9 has app=cart`; `None` if it holds.
    pub reason: Option<String>,
}
