//! What policies are about: pods, namespaces, nodes; and what every policy language comes
//! down to: tiers of ordered policies of ordered rules.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{Cidr, Family};
use crate::names::Interface;
use crate::selector::Expr;

/// Labels of an object, by key.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// The name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for PodKey {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod, as far as policy needs it. Whether it is an endpoint: [`Pod::is_endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.nodeName`; `None` before it is scheduled.
    pub node: Option<Arc<str>>,
    /// `spec.hostNetwork`: it has the node's addresses, is governed by no policy and stands
    /// for no peer (policy-semantics 2.4, 2.7).
    pub host_network: bool,
    /// `status.phase` is Succeeded or Failed: its network is gone.
    pub finished: bool,
    /// `status.podIPs`, or `status.podIP` where that is all there is; at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Named ports of all its containers, init containers included; none twice.
    pub ports: BTreeSet<NamedPort>,
    /// `metadata.creationTimestamp` as the API writes it (sorts by time); empty if unknown.
    pub created: Arc<str>,
    /// `spec.serviceAccountName`, `default` if it names none.
    pub service_account: Arc<str>,
}

impl Pod {
    /// Whether policies apply to it and selectors stand for it: it has a network of its own,
    /// with an address, and has not finished.
    pub fn is_endpoint(&self) -> bool {
        !self.host_network && !self.finished && !self.addresses.is_empty()
    }

    /// Its address of one family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

/// A container port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// `name`.
    pub name: Arc<str>,
    /// `protocol`, TCP if it says none.
    pub protocol: Protocol,
    /// `containerPort`.
    pub number: u16,
}

/// A pod's interface on a node, as our network plug-in made it. The kubelet tells the API
/// server of a pod's addresses only after the pod is connected; this tells before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The node that it is on.
    pub node: Arc<str>,
    /// The node's end of its cable.
    pub interface: Interface,
    /// The pod. `None` is a container that Kubernetes does not know: nobody can write a policy
    /// for it, so it stays closed where policies are enforced.
    pub pod: Option<PodKey>,
    /// Its addresses, none twice; no other may send from the interface.
    pub addresses: Vec<IpAddr>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.labels`; always has `kubernetes.io/metadata.name` (policy-semantics 2.2).
    pub labels: Labels,
}

/// The label that every namespace has; its value is the name.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Namespace {
    /// What a namespace is taken for that pods are in but nothing else is known of: it has
    /// [`NAMESPACE_NAME_LABEL`] and no other label.
    pub fn assumed(name: Arc<str>) -> Self {
        let labels = Labels::from([(NAMESPACE_NAME_LABEL.into(), name.clone())]);
        Self { name, labels }
    }
}

/// A node, as far as policy needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Its own addresses, all types that `status.addresses` has and that parse.
    pub addresses: BTreeSet<IpAddr>,
    /// The ranges of its pods.
    pub pod_cidrs: BTreeSet<Cidr>,
}

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

/// The language that a policy is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
}

impl PolicyKind {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::NetworkPolicy => "NetworkPolicy",
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
    /// The endpoints that it governs.
    pub subject: Arc<Expr>,
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

/// The tier of Kubernetes NetworkPolicies.
pub const DEFAULT_TIER: &str = "default";

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
    },
    /// The number of the IP protocol.
    Protocol {
        /// The number, for instance 1 for ICMP.
        number: u8,
        /// Turns it round.
        negated: bool,
    },
}

impl Criterion {
    /// The one expression whose endpoints the selector terms of a peer stand for together;
    /// `None` if there is no such term. The peer set of the rule is that of this expression.
    pub fn peer_expr(&self) -> Option<Arc<Expr>> {
        let Criterion::Peer { any_of, .. } = self else { return None };
        let mut exprs = any_of.iter().filter_map(|term| match term {
            PeerTerm::Endpoints(expr) => Some(expr),
            PeerTerm::Block(_) => None,
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

    /// Whether a rule with it exists in a family. A peer that lists blocks of the other family
    /// and nothing else leaves no rule, not even where it is negated (policy-semantics 3.5).
    pub fn is_of(&self, family: Family) -> bool {
        let Criterion::Peer { any_of, .. } = self else { return true };
        let is_of = |term: &PeerTerm| match term {
            PeerTerm::Endpoints(_) => true,
            PeerTerm::Block(block) => block.cidr.family() == family,
        };
        any_of.is_empty() || any_of.iter().any(is_of)
    }

    /// The named ports of its terms.
    pub fn port_names(&self) -> impl Iterator<Item = PortName> {
        let terms: &[PortTerm] = match self {
            Criterion::Ports { any_of, .. } => any_of,
            Criterion::Peer { .. } | Criterion::Protocol { .. } => &[],
        };
        terms.iter().filter_map(|term| match &term.port {
            PortMatch::Named(name) => {
                Some(PortName { name: name.clone(), protocol: term.protocol })
            }
            PortMatch::Any | PortMatch::Range(..) => None,
        })
    }
}

/// Addresses that a rule's peer stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerTerm {
    /// Those of all endpoints that match.
    Endpoints(Arc<Expr>),
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
    Named(Arc<str>),
}

/// A name of ports, and their protocol: stands for one port of each endpoint that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// The name.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
}

/// A change of the cluster's state; an object that is applied replaces what had its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A namespace is there.
    NamespaceApplied(Arc<Namespace>),
    /// A namespace is gone. Its pods and policies are told on their own.
    NamespaceDeleted(Arc<str>),
    /// A pod is there.
    PodApplied(Arc<Pod>),
    /// A pod is gone.
    PodDeleted(PodKey),
    /// A node is there.
    NodeApplied(Arc<Node>),
    /// A node is gone.
    NodeDeleted(Arc<str>),
    /// A policy is there.
    PolicyApplied(Arc<Policy>),
    /// A policy is gone.
    PolicyDeleted(PolicyId),
    /// A pod's interface is there. As long as it is, the pod of that name on the same node has
    /// its addresses, whatever [`Pod::addresses`] says; several add up.
    Attached(Arc<Attachment>),
    /// A pod's interface is gone.
    Detached(Interface),
    /// Everything that there was at the start has been told.
    InSync,
}
