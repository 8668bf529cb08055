//! Rules: what a policy does with packets of which it says something.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::ServiceName;
use crate::address::{Cidr, Family};
use crate::selector::Expr;

/// Which way a policy looks, from its endpoint. The two are judged independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// Both.
    pub const ALL: [Direction; 2] = [Direction::Ingress, Direction::Egress];
}

impl fmt::Display for Direction {
    /// `ingress` or `egress`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes, after destination translation.
    Destination,
}

/// What a rule does with a packet that it matches (policy-semantics 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// This direction of this endpoint is allowed.
    Allow,
    /// The packet is dropped.
    Deny,
    /// The next tier decides.
    Pass,
    /// Recorded; the next rule decides.
    Log,
}

/// A rule matches if all its criteria hold; one without criteria matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What it does then.
    pub action: Action,
    /// What must hold.
    pub criteria: Vec<Criterion>,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Criterion {
    /// One end's address is one that some term stands for; no term matches nothing.
    Peer {
        /// Which end.
        side: Side,
        /// The terms, of which one must hold.
        any_of: Vec<PeerTerm>,
        /// Turns it round: no term may hold.
        negated: bool,
    },
    /// Protocol and port are those of some term; no term matches nothing.
    Ports {
        /// Whose port.
        side: Side,
        /// The terms, of which one must hold.
        any_of: Vec<PortTerm>,
        /// Turns it round: no term may hold.
        negated: bool,
    },
    /// The number of the IP protocol.
    Protocol {
        /// The number, for instance 1 for ICMP.
        number: u8,
        /// Turns it round.
        negated: bool,
    },
    /// The packet is of this family.
    Family(Family),
    /// An ICMP message of a type (of ICMPv6 in an IPv6 packet). A rule with one has a
    /// [`Criterion::Protocol`] and a [`Criterion::Family`] that say which of the two.
    Icmp {
        /// The type.
        kind: u8,
        /// The code; `None` is any.
        code: Option<u8>,
        /// Turns it round: any other packet.
        negated: bool,
    },
    /// One end is an endpoint of a Service, as its EndpointSlices have it.
    Service {
        /// Which end.
        side: Side,
        /// The Service.
        service: ServiceName,
        /// Whether protocol and port have to be those of the endpoints too.
        with_ports: bool,
    },
}

impl Criterion {
    /// The one expression whose endpoints the selector terms of a peer stand for together;
    /// `None` if there is no such term. The peer set of the rule is that of this expression.
    pub fn peer_expr(&self) -> Option<Arc<Expr>> {
        let Criterion::Peer { any_of, .. } = self else { return None };
        let mut exprs = any_of.iter().filter_map(|term| match term {
            PeerTerm::Endpoints(expr) => Some(expr),
            PeerTerm::Selected(_) | PeerTerm::Block(_) => None,
        });
        let (first, second) = (exprs.next()?, exprs.next());
        Some(match second {
            None => first.clone(),
            Some(second) => {
                let all = [first, second].into_iter().chain(exprs);
                Arc::new(Expr::or(all.map(|expr| Expr::clone(expr))))
            }
        })
    }

    /// The expressions of its [`PeerTerm::Selected`] terms.
    pub fn selected(&self) -> impl Iterator<Item = &Arc<Expr>> {
        let terms: &[PeerTerm] = match self {
            Criterion::Peer { any_of, .. } => any_of,
            _ => &[],
        };
        terms.iter().filter_map(|term| match term {
            PeerTerm::Selected(expr) => Some(expr),
            PeerTerm::Endpoints(_) | PeerTerm::Block(_) => None,
        })
    }

    /// The Service of which it says that one end is an endpoint.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Criterion::Service { service, .. } => Some(service),
            _ => None,
        }
    }

    /// Whether a rule with it exists in a family. A peer that lists blocks of the other family
    /// and nothing else leaves no rule, not even where it is negated (policy-semantics 3.5).
    pub fn is_of(&self, family: Family) -> bool {
        let any_of = match self {
            Criterion::Peer { any_of, .. } => any_of,
            Criterion::Family(of) => return *of == family,
            _ => return true,
        };
        let is_of = |term: &PeerTerm| match term {
            PeerTerm::Endpoints(_) | PeerTerm::Selected(_) => true,
            PeerTerm::Block(block) => block.cidr.family() == family,
        };
        any_of.is_empty() || any_of.iter().any(is_of)
    }

    /// The named ports of its terms.
    pub fn port_names(&self) -> impl Iterator<Item = PortName> {
        let terms: &[PortTerm] = match self {
            Criterion::Ports { any_of, .. } => any_of,
            _ => &[],
        };
        terms.iter().filter_map(|term| match &term.port {
            PortMatch::Named(name, holders) => {
                Some(PortName { name: name.clone(), protocol: term.protocol, holders: *holders })
            }
            PortMatch::Any | PortMatch::Range(..) => None,
        })
    }
}

/// Addresses that a rule's peer stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerTerm {
    /// Those of all pods that match; what Kubernetes means by a selector.
    Endpoints(Arc<Expr>),
    /// Those of all pods, host endpoints and network sets that match; what Calico means by one
    /// (policy-semantics 3.6).
    Selected(Arc<Expr>),
    /// Those of a block, endpoints or not.
    Block(IpBlock),
}

/// `ipBlock`: every address in `cidr` that is in none of `except`. What `except` takes away
/// here, other terms may still give.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    /// The block.
    pub cidr: Cidr,
    /// Blocks inside it that do not count.
    pub except: Vec<Cidr>,
}

impl IpBlock {
    /// Whether it stands for `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(address) && !self.except.iter().any(|except| except.contains(address))
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
    /// SCTP, 132.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// Its number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The protocol with a number, if it has ports.
    pub fn of_number(number: u8) -> Option<Self> {
        Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    /// As Kubernetes writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

/// A protocol and the ports that count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortTerm {
    /// The protocol.
    pub protocol: Protocol,
    /// Its ports.
    pub port: PortMatch,
}

/// Ports that count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// All.
    Any,
    /// From the first to the last, both included; never empty.
    Range(u16, u16),
    /// The port of this name, on the side's endpoint; nothing if it has none.
    Named(Arc<str>, Holders),
}

/// Whose ports a name may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holders {
    /// Those of pods (policy-semantics 2.5).
    Pods,
    /// Those of pods and host endpoints (policy-semantics 3.5).
    Endpoints,
}

/// A name of ports, and their protocol: stands for one port of each endpoint that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// The name.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// Whose.
    pub holders: Holders,
}
