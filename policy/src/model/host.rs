//! Hosts: the interfaces of nodes that policies may govern (policy-semantics 5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, NamedPort, Node, Problem, Protocol, Rule};
use crate::address::Cidr;
use crate::names::Device;

/// A `HostEndpoint`: interfaces of a node, as policies see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEndpoint {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.labels`. It has no others: no namespace, no service account; labels of its
    /// profiles count where it has none of that key.
    pub labels: Labels,
    /// `spec.node`.
    pub node: Arc<str>,
    /// `spec.interfaceName`; `None` goes by its addresses.
    pub interface: Option<HostInterface>,
    /// `spec.expectedIPs`: what it stands for as a peer, and how an interface is found if it
    /// names none.
    pub expected: BTreeSet<IpAddr>,
    /// `spec.ports`.
    pub ports: BTreeSet<NamedPort>,
    /// `spec.profiles`, in order.
    pub profiles: Vec<Arc<str>>,
}

/// Which interfaces a host endpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostInterface {
    /// `*`: each that no other host endpoint of the node fits.
    Any,
    /// The one of this name.
    Named(Device),
}

/// The label of host endpoints that nobody wrote, and its value, as Calico has them.
const CREATED_BY: (&str, &str) = ("projectcalico.org/created-by", "projectcalico-kube-controllers");

impl HostEndpoint {
    /// The name of the host endpoint that a node has by itself.
    pub fn automatic_name(node: &str) -> Arc<str> {
        format!("{node}-auto-hep").into()
    }

    /// The host endpoint that a node has by itself (policy-semantics 5.5): all its interfaces,
    /// with its labels, open until a policy selects it.
    pub fn automatic(node: &Node) -> Self {
        let mut labels = node.labels.clone();
        labels.insert(CREATED_BY.0.into(), CREATED_BY.1.into());
        Self {
            name: Self::automatic_name(&node.name),
            labels,
            node: Arc::clone(&node.name),
            interface: Some(HostInterface::Any),
            expected: node.addresses.clone(),
            ports: BTreeSet::new(),
            profiles: vec![DEFAULT_ALLOW_PROFILE.into()],
        }
    }

    /// Whether it fits an interface with these addresses, other than by `*`
    /// (policy-semantics 5.1): by the name alone if it has one, else by address.
    pub fn fits(&self, device: Device, addresses: &BTreeSet<IpAddr>) -> bool {
        match self.interface {
            Some(HostInterface::Named(name)) => name == device,
            Some(HostInterface::Any) => false,
            None => !self.expected.is_disjoint(addresses),
        }
    }

    /// Of the host endpoints of a node the one that counts for an interface: of those that fit
    /// the one of the smallest name, else of those of `*` likewise.
    pub fn of_interface<'e>(
        endpoints: impl IntoIterator<Item = &'e Arc<HostEndpoint>> + Clone,
        device: Device,
        addresses: &BTreeSet<IpAddr>,
    ) -> Option<&'e Arc<HostEndpoint>> {
        let fitting = endpoints.clone().into_iter().filter(|one| one.fits(device, addresses));
        let any = |one: &&'e Arc<HostEndpoint>| one.interface == Some(HostInterface::Any);
        let smallest = |a: &&'e Arc<HostEndpoint>, b: &&'e Arc<HostEndpoint>| a.name.cmp(&b.name);
        fitting.min_by(smallest).or_else(|| endpoints.into_iter().filter(any).min_by(smallest))
    }
}

/// Addresses of the interfaces of one node, pods' interfaces and `lo` left out; what its host
/// endpoints are found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceAddresses {
    /// By interface.
    pub devices: BTreeMap<Device, BTreeSet<IpAddr>>,
}

/// Where a policy judges packets of host endpoints (policy-semantics 5.2). Only the normal and
/// forward stages judge those of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostStage {
    /// `doNotTrack`: all packets, before connection tracking.
    Untracked,
    /// `preDNAT`: packets that come in, before their destination is translated.
    PreDnat,
    /// `applyOnForward`: those that are forwarded, and those of [`HostStage::Normal`] too.
    Forward,
    /// Packets from and to processes of the host itself.
    Normal,
}

impl HostStage {
    /// All of them, in the order in which packets meet them.
    pub const ALL: [HostStage; 4] =
        [HostStage::Untracked, HostStage::PreDnat, HostStage::Forward, HostStage::Normal];
}

impl fmt::Display for HostStage {
    /// `untracked`, `pre-DNAT`, `forward`, `normal`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HostStage::Untracked => "untracked",
            HostStage::PreDnat => "pre-DNAT",
            HostStage::Forward => "forward",
            HostStage::Normal => "normal",
        })
    }
}

/// A `Profile`: what is done with packets about which no policy said anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.labelsToApply`: of who lists it and has no such label.
    pub labels: Labels,
    /// Rules for packets towards who lists it.
    pub ingress: Vec<Rule>,
    /// Rules for packets from who lists it.
    pub egress: Vec<Rule>,
    /// What is wrong with the object.
    pub problems: Vec<Problem>,
}

/// The profile that is always there and allows everything.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";

/// A port that stays open on hosts whatever policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failsafe {
    /// The protocol.
    pub protocol: Protocol,
    /// The port: the host's own for packets that come, the other end's for those that leave.
    pub port: u16,
    /// Only from or to here; `None` is everywhere.
    pub net: Option<Cidr>,
}

/// Ports that stay open on hosts (policy-semantics 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failsafes {
    /// For connections to the host.
    pub inbound: BTreeSet<Failsafe>,
    /// For connections from the host.
    pub outbound: BTreeSet<Failsafe>,
}

/// The port of BGP, without which no node learns routes.
pub const BGP_PORT: u16 = 179;

impl Failsafes {
    /// Those of policy-semantics 5.3 and the kubelet's port, open to all. What else the daemon
    /// listens on, its caller adds.
    pub fn standard() -> Self {
        let tcp = |port| Failsafe { protocol: Protocol::Tcp, port, net: None };
        let udp = |port| Failsafe { protocol: Protocol::Udp, port, net: None };
        let both = [BGP_PORT, 2379, 2380, 5473, 6443, 6666, 6667].map(tcp);
        Self {
            inbound: both.into_iter().chain([tcp(22), udp(68), tcp(10250)]).collect(),
            outbound: both.into_iter().chain([udp(53), udp(67)]).collect(),
        }
    }

    /// Whether BGP is open both ways, to somebody at least.
    pub fn have_bgp(&self) -> bool {
        let is_bgp = |one: &Failsafe| one.protocol == Protocol::Tcp && one.port == BGP_PORT;
        self.inbound.iter().any(is_bgp) && self.outbound.iter().any(is_bgp)
    }
}

/// What becomes of packets from a pod to its own host that the pod's policies allow
/// (policy-semantics 5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ToHost {
    /// They pass.
    #[default]
    Accept,
    /// They are dropped.
    Drop,
    /// The host's own rules decide.
    Return,
}

/// What policy on hosts depends on besides objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// Ports that stay open.
    pub failsafes: Failsafes,
    /// What pods may do to their own host.
    pub to_host: ToHost,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self { failsafes: Failsafes::standard(), to_host: ToHost::default() }
    }
}
