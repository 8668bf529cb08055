//! What a checked configuration means: the values that the rest of brindle reads.

mod auth;
mod bgp;
mod bmp;
mod drain;
mod services;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use brindle_bgp::net::Prefix;

pub use auth::{AoAlgorithm, AoKey, Auth, KeyFile};
pub use bgp::{AddPaths, Bgp, DynamicPeers, ExpectedAs, GracefulRestart, Peer, PeerAs, Retain};
pub use bmp::{BmpPolicy, BmpStation};
pub use drain::{DrainSettings, TaintMatch};
pub use services::{LoopPrevention, PrefixAdvertisement, ServiceAddresses, ServiceSettings};

/// A whole configuration; exists only checked. Two that are equal mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// The BGP speaker.
    pub bgp: Bgp,
    /// What goes into the kernel.
    pub routes: Routes,
    /// Network policies.
    pub policy: Policy,
    /// Pods' interfaces.
    pub cni: Cni,
    /// Where the cluster's state comes from; `None` if there is no cluster.
    pub source: Option<Source>,
    /// The control socket.
    pub control: Control,
    /// Health and metrics.
    pub telemetry: Telemetry,
}

impl Config {
    /// Whether what pods send outside the pod ranges gets the node's address:
    /// `policy.masquerade`, by default only where this agent routes as well.
    pub fn masquerade(&self) -> bool {
        self.policy.masquerade.unwrap_or(self.bgp.enabled)
    }
}

/// `node:` what the node is, as far as it is not detected or told by the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `node.name`; `None` takes the host name.
    pub name: Option<String>,
    /// `node.addresses`, at most one a family; empty takes the source's or detects.
    pub addresses: Vec<IpAddr>,
    /// `node.podCIDRs`; empty takes the source's.
    pub pod_cidrs: Vec<Prefix>,
}

/// `routes:` what goes into the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// `routes.install`, true by default: learned routes go into the kernel. Off for a pure
    /// route reflector.
    pub install: bool,
    /// `routes.metric` of learned routes, 512 by default.
    pub metric: u32,
    /// `routes.forwarding`, true by default: switch on forwarding for the families routed.
    pub forwarding: bool,
    /// `routes.hashPolicy`: by what packets are spread over several hops; `None`, the default,
    /// leaves the kernel's setting alone.
    pub hash_policy: Option<HashPolicy>,
    /// `routes.multipath`, plain by default: how routes with several hops are written.
    pub multipath: Multipath,
    /// `routes.resilientIdle`: for how long a flow must have been silent to be moved to a hop
    /// that joined, 2 min by default.
    pub resilient_idle: Duration,
    /// `routes.startupHold`: longest wait for sources and peers before leftover routes of
    /// an earlier run are removed, 60 s by default.
    pub startup_hold: Duration,
}

/// `routes.multipath`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multipath {
    /// `plain`: each route lists its hops. When one leaves, any flow may move.
    Plain,
    /// `resilient`: by groups of hops in which only flows of the hop that leaves move.
    Resilient,
}

/// `routes.hashPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashPolicy {
    /// `l3`: by their addresses.
    L3,
    /// `l4`: by their addresses, protocol and ports.
    L4,
    /// `inner`: by their addresses, or those of the packets that they carry.
    Inner,
}

/// `policy:` network policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `policy.enabled`, false by default.
    pub enabled: bool,
    /// `policy.backend`.
    pub backend: Backend,
    /// `policy.establishedFlows`.
    pub established: EstablishedFlows,
    /// `policy.masquerade`; `None` takes that of [`Config::masquerade`].
    pub masquerade: Option<bool>,
    /// `policy.flowLog`.
    pub flow_log: FlowLog,
    /// `policy.auditInterval`: how often the kernel is compared with what is wanted without an
    /// event, 30 s by default.
    pub audit_interval: Duration,
    /// `policy.hostEndpoints`.
    pub hosts: HostEndpoints,
}

/// `policy.hostEndpoints`: policies on nodes themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEndpoints {
    /// `auto`, false by default: each node has a host endpoint that lists all its interfaces.
    pub auto: bool,
    /// `defaultEndpointToHostAction`.
    pub to_host: ToHost,
    /// `failsafeInbound`: ports of nodes that no policy closes. `None`, if it is left out,
    /// stands for the usual ones; an empty list for none.
    pub failsafe_inbound: Option<Vec<Failsafe>>,
    /// `failsafeOutbound`: ports of others that no policy keeps nodes from, likewise.
    pub failsafe_outbound: Option<Vec<Failsafe>>,
    /// `withoutBGP`, false by default: policies may close the BGP port.
    pub without_bgp: bool,
}

/// `policy.hostEndpoints.defaultEndpointToHostAction`: what becomes of packets from a pod to
/// its own node that the pod's policies allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToHost {
    /// `Accept`, the default: they pass.
    #[default]
    Accept,
    /// `Drop`: they are dropped.
    Drop,
    /// `Return`: the node's own rules decide.
    Return,
}

/// An element of `policy.hostEndpoints.failsafeInbound` and `failsafeOutbound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failsafe {
    /// `protocol`.
    pub protocol: FailsafeProtocol,
    /// `port`: the node's own for packets that come, the other end's for those that leave.
    pub port: u16,
    /// `net`: only from or to here; `None` is everywhere.
    pub net: Option<Prefix>,
}

/// The protocol of a [`Failsafe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailsafeProtocol {
    /// `TCP`.
    Tcp,
    /// `UDP`.
    Udp,
    /// `SCTP`.
    Sctp,
}

/// `policy.backend`: which iptables is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `auto`, the default: the one that the host uses already, nft if none.
    Auto,
    /// `nft`: iptables-nft.
    Nft,
    /// `legacy`: iptables-legacy.
    Legacy,
}

/// `policy.establishedFlows`: what becomes of connections that a changed policy would not let
/// begin any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstablishedFlows {
    /// `keep`, the default: they live on.
    Keep,
    /// `recheck`: they are cut.
    Recheck,
}

/// `policy.flowLog`: how the kernel tells of denied packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// `enabled`, true by default.
    pub enabled: bool,
    /// `group`: the NFLOG group, 98 by default.
    pub group: u16,
    /// `perSecond`: most packets told a second for each endpoint and direction, 10 by default.
    pub per_second: u16,
}

/// `cni:` our network plug-in, which connects this node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    /// `cni.enabled`, false by default: the container runtime is told to have pods connected by
    /// our plug-in.
    pub enabled: bool,
    /// `cni.configDir`: where the runtime looks for that, `/etc/cni/net.d` by default.
    pub config_dir: PathBuf,
    /// `cni.dataDir`: where the plug-in keeps what it made, `/var/lib/brindle/cni` by default.
    pub data_dir: PathBuf,
    /// `cni.mtu` of pods' interfaces, in octets; `None` takes that of the node's uplink.
    pub mtu: Option<u32>,
    /// `cni.chain`: the plug-ins that come after ours, portmap and bandwidth by default.
    pub chain: Vec<ChainedPlugin>,
}

/// `cni.chain`: a plug-in of others that works on the interfaces that ours made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainedPlugin {
    /// `portmap`: pods' `hostPort`.
    Portmap,
    /// `bandwidth`: pods' limits of bandwidth.
    Bandwidth,
}

/// `source:` where nodes, namespaces, pods and policies come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `kind: files`: a folder of manifests.
    Files {
        /// `path`.
        path: PathBuf,
    },
    /// `kind: kubernetes`: the API server of a cluster.
    Kubernetes {
        /// `kubeconfig`; `None` takes `KUBECONFIG`, the pod's service account or
        /// `~/.kube/config`, the first that there is.
        kubeconfig: Option<PathBuf>,
        /// `context` of the kubeconfig; `None` takes its `current-context`.
        context: Option<String>,
        /// `holdDeletions`: how long the deletion of more than half of the nodes or policies
        /// that a new listing seems to find is held back, 60 s by default; zero never.
        hold_deletions: Duration,
    },
}

/// `control:` the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// `control.socket`, `/run/brindle/brindle.sock` by default.
    pub socket: PathBuf,
}

/// `telemetry:` health and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// `telemetry.listen`: where health and metrics are answered, 127.0.0.1:9798 by default;
    /// empty answers nowhere.
    pub listen: Vec<SocketAddr>,
}
