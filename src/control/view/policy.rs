//! Policies: what they say, whom they govern, what their rules have met, what is wrong with them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which way a policy looks, from the endpoint that it governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// Towards it.
    Ingress,
    /// From it.
    Egress,
}

impl From<brindle_policy::Direction> for Direction {
    fn from(direction: brindle_policy::Direction) -> Self {
        match direction {
            brindle_policy::Direction::Ingress => Direction::Ingress,
            brindle_policy::Direction::Egress => Direction::Egress,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its kind, as the API writes it: `NetworkPolicy`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its namespace, if its kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The tier that it takes part in.
    pub tier: String,
    /// Where it stands in its tier; absent is last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// Whether it takes effect.
    pub state: PolicyState,
    /// The endpoints that it governs, in words: `app=db`.
    pub subject: String,
    /// The directions that it governs.
    pub directions: Vec<Direction>,
    /// How many endpoints it governs.
    pub governs: usize,
    /// Its rules, ingress first.
    pub rules: Vec<PolicyRule>,
    /// What of the object could not be understood; that part allows nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<FieldProblem>,
    /// Why this node could not install it whole, if so; it allows nothing meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// The endpoints that it governs, host endpoints as `HostEndpoint n1-eth0`; only where one
    /// policy was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
}

/// Whether a policy takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyState {
    /// It governs something.
    Active,
    /// It governs nothing that there is.
    Unused,
    /// Part of it was not understood; the rest is in force.
    Partial,
    /// It could not be understood, or could not be installed, and allows nothing.
    Invalid,
    /// It is only reported, not enforced.
    Staged,
    /// Its tier does not exist, so that it is not enforced.
    UnknownTier,
}

impl fmt::Display for PolicyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PolicyState::Active => "active",
            PolicyState::Unused => "unused",
            PolicyState::Partial => "partial",
            PolicyState::Invalid => "invalid",
            PolicyState::Staged => "staged",
            PolicyState::UnknownTier => "unknown tier",
        })
    }
}

impl Policy {
    /// `shop/db-clients`, or the name alone.
    pub fn full_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// The direction that it is for.
    pub direction: Direction,
    /// Its place among the rules of that direction, from zero: `spec.ingress[0]`.
    pub rule: usize,
    /// What it does: `allow`, `deny`, `pass`, `log`.
    pub action: String,
    /// What it matches, in words: `from app=api, port TCP 5432`.
    pub text: String,
}

/// What is wrong with an object, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldProblem {
    /// The path of the field; empty for the whole object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// The value, what would be accepted, and what follows.
    pub message: String,
}

/// A pod, and the policies that govern it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPolicies {
    /// `namespace/name`.
    pub pod: String,
    /// The node that it runs on, if it is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The addresses that are its own.
    pub addresses: Vec<IpAddr>,
    /// Why no policy governs it, if none ever can: it has the node's network, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_endpoint: Option<String>,
    /// The policies that govern what it receives, in the order in which they are asked; none
    /// allows everything.
    pub ingress: Vec<Policy>,
    /// Likewise what it sends.
    pub egress: Vec<Policy>,
    /// Policies that would change what governs it if they were enforced:
    /// `StagedNetworkPolicy shop/db-clients`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staged: Vec<String>,
}

/// A local pod, or a host endpoint of this node, that policies apply to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// `namespace/name`; of a host endpoint `HostEndpoint name`.
    pub pod: String,
    /// The addresses that are its own.
    pub addresses: Vec<IpAddr>,
    /// The interface that our network plug-in made for it, else the one that the kernel
    /// reaches it through, if it has a route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Whether its chains are in the kernel.
    pub state: EndpointState,
    /// How many policies govern what it receives.
    pub ingress_policies: usize,
    /// How many govern what it sends.
    pub egress_policies: usize,
    /// The chain that judges what it receives.
    pub ingress_chain: String,
    /// The chain that judges what it sends.
    pub egress_chain: String,
    /// What is wrong, or what it waits for; never absent unless it is programmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether the kernel judges an endpoint's packets as its policies want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// It does.
    Programmed,
    /// Its chains are not there yet; all its packets are dropped.
    Pending,
    /// Likewise, and writing them fails.
    Failed,
    /// Of a host endpoint: it judges nothing, as another one counts or no interface is its.
    Unused,
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndpointState::Programmed => "programmed",
            EndpointState::Pending => "pending",
            EndpointState::Failed => "failed",
            EndpointState::Unused => "unused",
        })
    }
}

/// What a policy's rule has met on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleHits {
    /// The policy: `NetworkPolicy shop/db-clients`.
    pub policy: String,
    /// The direction.
    pub direction: Direction,
    /// The rule's place among those of that direction, from zero.
    pub rule: usize,
    /// What it matches.
    pub text: String,
    /// New connections' packets that it matched since its chain was last written.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// How many rules of the kernel it became, over both families; none if it can match
    /// nothing here.
    pub kernel_rules: usize,
}

impl RuleHits {
    /// Whether nothing ever matched it.
    pub fn is_unused(&self) -> bool {
        self.packets == 0
    }
}

/// Something that looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is about: `NetworkPolicy shop/db-clients`, or the file.
    pub object: String,
    /// How bad it is.
    pub level: Level,
    /// Which check, as a word that stays the same: `selects-nothing`, `not-understood`.
    pub check: String,
    /// The path of the field; empty for the whole object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What it is, and what follows.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Part of the object was not understood and allows nothing.
    Error,
    /// It says something that is hardly meant.
    Warning,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Warning => "warning",
        })
    }
}
