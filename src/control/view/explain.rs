//! What becomes of a flow, and why.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Time;
use super::policy::Direction;

/// What becomes of the first packet of a connection, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What becomes of it.
    pub verdict: Outcome,
    /// Where it comes from.
    pub source: FlowEnd,
    /// Where it goes.
    pub destination: FlowEnd,
    /// `tcp`, `udp`, `sctp`, `icmp`.
    pub protocol: String,
    /// The destination port; absent where there is none, or where it was not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The way from here to the destination, as this node's routing has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteTaken>,
    /// What the source's policies say.
    pub egress: Judgement,
    /// What the destination's policies say.
    pub ingress: Judgement,
    /// The nearest change that would turn the verdict round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// What staged policies would change, if there are some for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// What else is good to know, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where the kernel would do something else than the policies say, which must not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disagreements: Vec<String>,
}

/// What would become of a flow if the policies that are staged were enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Staged {
    /// What would become of it.
    pub verdict: Outcome,
    /// Whether that is another verdict than now.
    pub is_change: bool,
    /// In a sentence: `would be DENIED by StagedGlobalNetworkPolicy x rule 2 (ingress)`.
    pub text: String,
    /// The policies that would decide in either direction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by: Vec<String>,
    /// The staged policies that are about one of the ends.
    pub policies: Vec<String>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It passes.
    Allowed,
    /// It is dropped.
    Denied,
}

impl Outcome {
    /// Whether it passes, as an outcome.
    pub fn of(is_allowed: bool) -> Self {
        if is_allowed { Outcome::Allowed } else { Outcome::Denied }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
        })
    }
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowEnd {
    /// The pod (`shop/cart-7d9`) or node (`node/n2`) that has the address, else the host endpoint
    /// (`HostEndpoint gw-eth0`) or network set (`GlobalNetworkSet offices`) that has it first;
    /// absent if nobody known has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address.
    pub address: IpAddr,
    /// The node that it is on, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// The route that a packet takes from this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteTaken {
    /// This node.
    pub node: String,
    /// `10.244.3.0/24 via 10.0.0.3 dev eth0, learned from n3`.
    pub text: String,
    /// Whether there is one.
    pub found: bool,
}

/// What the policies of one end say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// What becomes of it here.
    pub verdict: Outcome,
    /// The node where it is judged, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// The tier that decided, where others than `default` were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The policies that decided: the one whose rule matched, or all that govern the endpoint
    /// where none did. `NetworkPolicy shop/db-clients`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by: Vec<String>,
    /// The rule that decided, from zero; absent if none matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Every policy that was asked, in order.
    pub policies: Vec<PolicyAsked>,
    /// What host endpoints said, stage by stage: of the node that is this end, or of that of the
    /// pod that is, where they judge what it forwards. Those are asked before the pod's policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host: Vec<HostAsked>,
    /// `policy.hostEndpoints.defaultEndpointToHostAction`, if that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_host: Option<String>,
    /// What the kernel of this node would do, if the endpoint is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelVerdict>,
}

/// What a host endpoint said in one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAsked {
    /// Its name.
    pub endpoint: String,
    /// `untracked`, `pre-DNAT`, `forward`, `normal`.
    pub stage: String,
    /// Which way the packet passes the interface.
    pub direction: Direction,
    /// What becomes of it; absent if later stages decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Outcome>,
    /// Why: `failsafe port TCP 22`, `no policy and no profile decided`.
    pub reason: String,
    /// The tier that decided, if policies did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The policy whose rule matched, or all that govern it where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by: Vec<String>,
    /// The rule of the policy or the profile that decided, from zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// The profile that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether it is a port that stays open whatever policies say.
    #[serde(default)]
    pub is_failsafe: bool,
    /// Every policy that was asked at this stage, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyAsked>,
}

/// A policy that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAsked {
    /// `NetworkPolicy shop/db-clients`.
    pub policy: String,
    /// Its tier, where others than `default` were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The rules that were looked at, in order.
    pub rules: Vec<RuleAsked>,
    /// How its tier ended, where this is the last of it that was asked and the next tier was
    /// asked then: `no rule decides: leaves tier kube-admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_end: Option<String>,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleAsked {
    /// Its place among the policy's rules of that direction, from zero.
    pub rule: usize,
    /// What it does with what it matches: `deny`, `pass`, `log`; absent if it allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What it matches.
    pub text: String,
    /// Whether it matched.
    pub matched: bool,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What the kernel of this node would do, by the rules that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelVerdict {
    /// What becomes of the packet; absent if its way could not be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Outcome>,
    /// The chain whose rule decided, or that the way was lost in.
    pub chain: String,
    /// The place of the rule in it, from one as `iptables -L --line-numbers` counts; absent if
    /// no rule decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// What it does, or why the way was lost.
    pub target: String,
    /// Packets that it matched since its chain was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Their octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Why a flow is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FlowOutcome {
    /// It was denied.
    #[default]
    Denied,
    /// A rule with the action Log matched it.
    Logged,
    /// It was denied, and staged policies would allow it.
    WouldAllow,
    /// It was allowed, and staged policies would deny it.
    WouldDeny,
}

impl fmt::Display for FlowOutcome {
    /// `denied`, `logged`, `WOULD ALLOW`, `WOULD DENY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlowOutcome::Denied => "denied",
            FlowOutcome::Logged => "logged",
            FlowOutcome::WouldAllow => "WOULD ALLOW",
            FlowOutcome::WouldDeny => "WOULD DENY",
        })
    }
}

/// A flow that this node denied, or tells of for another reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeniedFlow {
    /// Which it is; each later one has a greater number.
    pub sequence: u64,
    /// Why it is told.
    #[serde(default)]
    pub outcome: FlowOutcome,
    /// When that last was.
    pub at: Time,
    /// Which side's policies decided.
    pub direction: Direction,
    /// Where it came from.
    pub source: FlowEnd,
    /// From which port, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Where it went.
    pub destination: FlowEnd,
    /// To which port, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// `tcp`, `udp`, `sctp`, `icmp` with type and code, or a number.
    pub protocol: String,
    /// The host endpoint that judged it; absent if it was a pod's policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_endpoint: Option<String>,
    /// The policy that decided: `NetworkPolicy shop/db-clients`; absent if it was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The rule of it, from zero; absent if none matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Why, in a sentence.
    pub reason: String,
    /// How many packets of it were told.
    pub count: u64,
}
