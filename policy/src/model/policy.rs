//! Policies of every language, and their order.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::{Direction, HostStage, Rule};
use crate::selector::Expr;

/// The language that a policy is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `projectcalico.org/v3` NetworkPolicy.
    CalicoNetworkPolicy,
    /// `projectcalico.org/v3` GlobalNetworkPolicy.
    GlobalNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// `projectcalico.org/v3` StagedKubernetesNetworkPolicy.
    StagedKubernetesNetworkPolicy,
    /// `projectcalico.org/v3` StagedNetworkPolicy.
    StagedNetworkPolicy,
    /// `projectcalico.org/v3` StagedGlobalNetworkPolicy.
    StagedGlobalNetworkPolicy,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [PolicyKind; 7] = [
        PolicyKind::NetworkPolicy,
        PolicyKind::CalicoNetworkPolicy,
        PolicyKind::GlobalNetworkPolicy,
        PolicyKind::ClusterNetworkPolicy,
        PolicyKind::StagedKubernetesNetworkPolicy,
        PolicyKind::StagedNetworkPolicy,
        PolicyKind::StagedGlobalNetworkPolicy,
    ];

    /// A name that no other kind has: that of the API, but for Calico's NetworkPolicy, which
    /// would be taken for Kubernetes'.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::NetworkPolicy => "NetworkPolicy",
            PolicyKind::CalicoNetworkPolicy => "CalicoNetworkPolicy",
            PolicyKind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            PolicyKind::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            PolicyKind::StagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            PolicyKind::StagedNetworkPolicy => "StagedNetworkPolicy",
            PolicyKind::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
        }
    }

    /// For a staged kind, the kind that it would be if it were enforced.
    pub fn enforced(self) -> Option<PolicyKind> {
        match self {
            PolicyKind::StagedKubernetesNetworkPolicy => Some(PolicyKind::NetworkPolicy),
            PolicyKind::StagedNetworkPolicy => Some(PolicyKind::CalicoNetworkPolicy),
            PolicyKind::StagedGlobalNetworkPolicy => Some(PolicyKind::GlobalNetworkPolicy),
            PolicyKind::NetworkPolicy
            | PolicyKind::CalicoNetworkPolicy
            | PolicyKind::GlobalNetworkPolicy
            | PolicyKind::ClusterNetworkPolicy => None,
        }
    }

    /// Whether its objects are in namespaces.
    pub fn is_namespaced(self) -> bool {
        match self {
            PolicyKind::NetworkPolicy
            | PolicyKind::CalicoNetworkPolicy
            | PolicyKind::StagedKubernetesNetworkPolicy
            | PolicyKind::StagedNetworkPolicy => true,
            PolicyKind::GlobalNetworkPolicy
            | PolicyKind::ClusterNetworkPolicy
            | PolicyKind::StagedGlobalNetworkPolicy => false,
        }
    }
}

/// Which policy: kinds may share names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its kind.
    pub kind: PolicyKind,
    /// `metadata.namespace`; `None` for kinds without.
    pub namespace: Option<Arc<str>>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for PolicyId {
    /// `NetworkPolicy shop/db-clients`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

/// A policy of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which it is.
    pub id: PolicyId,
    /// The tier that it takes part in, by name.
    pub tier: Arc<str>,
    /// Where it stands in its tier.
    pub order: PolicyOrder,
    /// The endpoints that it governs: pods, and host endpoints where it holds for those.
    pub subject: Arc<Expr>,
    /// Where it judges packets of host endpoints. One of a stage before
    /// [`HostStage::Forward`] does not judge those of pods.
    pub stage: HostStage,
    /// What is proposed, for a staged kind; such a policy is reported and not enforced.
    /// `None` for the other kinds.
    pub staged: Option<StagedAction>,
    /// Rules for packets towards its endpoints; `None` if it does not govern ingress.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for packets from its endpoints; `None` if it does not govern egress.
    pub egress: Option<Vec<Rule>>,
    /// What is wrong with the object. What could not be understood allows nothing
    /// (policy-semantics 7.11).
    pub problems: Vec<Problem>,
}

impl Policy {
    /// Its rules of one direction; `None` if it does not govern that.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Whether it is enforced on pods: it is not staged, and not of a stage that only host
    /// endpoints have.
    pub fn judges_pods(&self) -> bool {
        self.staged.is_none() && matches!(self.stage, HostStage::Forward | HostStage::Normal)
    }

    /// Whether its rules are asked at a stage of the host endpoints that it governs: those of
    /// [`HostStage::Forward`] in [`HostStage::Normal`] too (policy-semantics 5.2).
    pub fn takes_part(&self, stage: HostStage) -> bool {
        self.stage == stage || (stage, self.stage) == (HostStage::Normal, HostStage::Forward)
    }

    /// Whether it governs its subject in some direction.
    pub fn governs_some(&self) -> bool {
        Direction::ALL.into_iter().any(|direction| self.rules(direction).is_some())
    }

    /// The namespace of the object, if its kind has one.
    pub fn namespace(&self) -> Option<&str> {
        self.id.namespace.as_deref()
    }

    /// Sorts policies of one tier: order, then `name/namespace/kind` (policy-semantics 3.8).
    pub fn compare(&self, other: &Policy) -> Ordering {
        let tie = |p: &Policy| (p.id.name.clone(), p.id.namespace.clone(), p.id.kind.as_str());
        self.order.cmp(&other.order).then_with(|| tie(self).cmp(&tie(other)))
    }
}

/// What is wrong with an object, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path of the field, for instance `spec.ingress[0].ports[1].port`; empty for the whole.
    pub field: String,
    /// The value, what would be accepted, and what follows.
    pub message: String,
}

/// Where a policy stands in its tier; none is last.
#[derive(Clone, Copy, Debug)]
pub struct PolicyOrder(Option<f64>);

impl PolicyOrder {
    /// Kubernetes NetworkPolicies take part with this order (policy-semantics 3.8).
    pub const KUBERNETES: PolicyOrder = PolicyOrder(Some(1000.0));

    /// An order; not a number counts as none, and none comes after all others.
    pub fn new(order: Option<f64>) -> Self {
        Self(order.filter(|order| !order.is_nan()))
    }

    /// The number, if there is one.
    pub fn get(self) -> Option<f64> {
        self.0
    }
}

impl Ord for PolicyOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        // Adding zero makes the two zeros one.
        let key = |order: &Self| order.0.map_or(f64::INFINITY, |order| order + 0.0);
        self.0.is_none().cmp(&other.0.is_none()).then(key(self).total_cmp(&key(other)))
    }
}

impl PartialOrd for PolicyOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PolicyOrder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PolicyOrder {}

/// What a staged policy proposes (policy-semantics 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StagedAction {
    /// The enforced policy of its name shall be what it says.
    Set,
    /// The enforced policy of its name shall go.
    Delete,
    /// Nothing yet: it collects flows.
    Learn,
    /// Nothing.
    Ignore,
}

/// A tier: a stage of the evaluation (policy-semantics 4).
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands among the tiers.
    pub order: PolicyOrder,
    /// What happens to a packet of an endpoint that the tier governs when no rule decided.
    pub default_action: TierAction,
}

/// What the end of a tier does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierAction {
    /// The packet is dropped.
    Deny,
    /// The next tier decides.
    Pass,
}

impl Tier {
    /// The tiers that are always there, in their order (policy-semantics 4).
    pub fn built_in() -> [Tier; 3] {
        let tier = |name: &str, order, default_action| Tier {
            name: name.into(),
            order: PolicyOrder::new(Some(order)),
            default_action,
        };
        [
            tier(ADMIN_TIER, 1_000.0, TierAction::Pass),
            tier(DEFAULT_TIER, 1_000_000.0, TierAction::Deny),
            tier(BASELINE_TIER, 10_000_000.0, TierAction::Pass),
        ]
    }

    /// Sorts tiers: order, then name.
    pub fn compare(&self, other: &Tier) -> Ordering {
        self.order.cmp(&other.order).then_with(|| self.name.cmp(&other.name))
    }
}

/// The tier of ClusterNetworkPolicies that come before NetworkPolicies.
pub const ADMIN_TIER: &str = "kube-admin";
/// The tier of ClusterNetworkPolicies that come after NetworkPolicies.
pub const BASELINE_TIER: &str = "kube-baseline";
/// The tier of Kubernetes NetworkPolicies.
pub const DEFAULT_TIER: &str = "default";
