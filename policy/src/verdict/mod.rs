//! What happens to the first packet of a connection, and why (policy-semantics 4).
//!
//! [`verdict`] is the quick answer, made for matrices of thousands of pods; [`explain`] is the
//! same evaluation watched: every policy and rule that was looked at, why each did not match,
//! and the nearest change that would turn the answer round. Both judge a packet as a node's
//! kernel sees it: after destination translation, with replies of accepted connections,
//! related ICMP errors and IPv6 neighbour discovery not judged at all (policy-semantics 2.7, 7).
//!
//! Beyond the rules of policies:
//!
//! - From a pod's own node everything is allowed, to it ordinary egress rules hold.
//! - Pods with the network of their host, nodes, finished pods and addresses from outside have
//!   no policy: the direction of that end is allowed.
//! - An address in a node's pod ranges that no endpoint is known to have, and that is not the
//!   node's own, is closed there in both directions, except for packets from that node.
//! - IP in IP and VXLAN packets that pods make are denied before any policy: a node that took
//!   them for another node's would let go what is inside (policy-semantics 5.4).
//! - A pod that reaches its own address directly does so without leaving its network, and
//!   always can (K36). A [`Flow`] from a pod to itself is the other case: a packet that went
//!   out and was turned round by a Service; both directions are judged (K37).
//! - Protocols without ports, such as ICMP, match only rules without ports.
//! - A port that is not known matches only where all ports of the protocol do.

pub(crate) mod describe;
mod evaluate;
mod explain;
mod explain_hosts;
mod host;
mod host_verdict;
mod judgement;
mod nearest;
mod openings;
mod reasons;
mod satisfy;
mod staged;
mod trace;
mod view;

use std::fmt;
use std::net::IpAddr;

pub use explain::explain;
pub use explain_hosts::{HostExplanation, explain_hosts};
pub use host::{HostQuestion, Passage, Way, host_verdict, hosts_verdict};
pub use host_verdict::{HostReason, HostStep, HostVerdict};
pub use judgement::{Judgement, Outcome, Reason};
pub use nearest::{Nearest, Step};
pub use openings::Opening;
pub use staged::{HostStaged, Staged, staged, staged_for, staged_hosts};
pub use trace::{
    CriterionTrace, DirectionTrace, Explanation, Party, PartyKind, PolicyTrace, RuleTrace,
    StageEnd, StageTrace, TermTrace,
};

use crate::model::{Direction, Policy, Protocol, Rule};
use crate::world::World;
use evaluate::{Packet, Quick, judge};
use view::View;

/// The first packet of a connection, as a node's kernel sees it after destination translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes; of the same family.
    pub destination: IpAddr,
    /// The number of the IP protocol, for instance 6 for TCP and 1 for ICMP.
    pub protocol: u8,
    /// `None` if the protocol has none, or if it is not known.
    pub source_port: Option<u16>,
    /// Likewise.
    pub destination_port: Option<u16>,
    /// Type and code of a message of ICMP or ICMPv6; `None` for other protocols, or if it is
    /// not known.
    pub icmp: Option<(u8, u8)>,
}

impl Flow {
    /// A connection to a port, from a port that is not known.
    pub fn to_port(
        source: IpAddr,
        destination: IpAddr,
        protocol: Protocol,
        destination_port: u16,
    ) -> Self {
        Self {
            source,
            destination,
            protocol: protocol.number(),
            source_port: None,
            destination_port: Some(destination_port),
            icmp: None,
        }
    }
}

impl fmt::Display for Flow {
    /// `10.1.0.7 -> 10.1.1.8 TCP/80`, `... protocol 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} ", self.source, self.destination)?;
        f.write_str(&describe::protocol(self.protocol))?;
        match self.destination_port {
            Some(port) => write!(f, "/{port}"),
            None => Ok(()),
        }
    }
}

/// What happens to a flow. Each direction is judged, whatever the other says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the policies of the source say.
    pub egress: Judgement,
    /// What the policies of the destination say.
    pub ingress: Judgement,
}

impl Verdict {
    /// Whether the packet arrives.
    pub fn is_allowed(&self) -> bool {
        self.egress.is_allowed() && self.ingress.is_allowed()
    }

    /// What was said of one direction.
    pub fn of(&self, direction: Direction) -> &Judgement {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// What decided: the first direction that denies, egress before ingress as the packet
    /// meets them; `None` if both allow.
    pub fn denied_by(&self) -> Option<(Direction, &Judgement)> {
        let directions = [Direction::Egress, Direction::Ingress];
        directions
            .map(|direction| (direction, self.of(direction)))
            .into_iter()
            .find(|(_, judgement)| !judgement.is_allowed())
    }
}

/// What happens to `flow`.
pub fn verdict(world: &World, flow: &Flow) -> Verdict {
    let view = View::of(world);
    let packet = Packet::new(world, flow);
    Verdict {
        egress: judge(&view, &packet, Direction::Egress, &mut Quick),
        ingress: judge(&view, &packet, Direction::Ingress, &mut Quick),
    }
}

/// A rule in words, as explanations have it: `from app=api, port TCP 5432`. `namespace` is its
/// policy's, which goes without saying.
pub fn rule_in_words(rule: &Rule, direction: Direction, namespace: Option<&str>) -> String {
    let text = describe::rule(rule, direction, namespace);
    format!("{}, {}", text.peer, text.ports)
}

/// Whom a policy governs, in words: `app=db`, `pods and hosts with role=db`; its namespace
/// goes without saying.
pub fn subject_in_words(policy: &Policy) -> String {
    describe::subject(policy, policy.namespace())
}

#[cfg(test)]
pub(crate) mod tests;
