//! The keys of a configuration file as types: what editors are told to accept and what
//! `config show` writes.
//!
//! Reading does not go through these types, because a derived reader stops at the first
//! mistake; the tests hold the two lists of keys together.

mod auth;
mod bgp;
mod bmp;
mod drain;
mod filter;
mod services;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::check::HOLD_DELETIONS;
use crate::meaning::Config;
use crate::value::Shown;

pub(crate) use auth::{Algorithm, AoKeySection, PasswordSection, TcpAoSection};
pub(crate) use bgp::{
    AddPathsSection, BfdSection, BgpSection, DynamicPeerSection, GracefulRestartSection, LimitWord,
    ListenSection, MaxPrefixesSection, MeshSection, MultipathSection, NextHop, PeerAddress,
    PeerAsNumber, PeerSection, Retain, Role, SendWord,
};
pub(crate) use bmp::{BmpPolicyWord, BmpSection};
pub(crate) use drain::DrainSection;
pub(crate) use filter::{
    Action, AsPathSection, CommunitiesSection, FamilyWord, FilterSection, HopWord, Hops, Operator,
    Otherwise, PeerTypeWord, PrependSection, RuleSection, SetSection, SourceWord,
};
pub(crate) use services::{
    LoopPreventionWord, PrefixAdvertisementSection, ServiceAddressesWord, ServicesSection,
};

/// A JSON Schema (draft 2020-12) of the configuration file, with a description and the
/// default of each key.
pub fn json_schema() -> Value {
    schemars::schema_for!(Document).to_value()
}

/// The configuration of a brindle agent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(title = "brindle.yaml")]
pub(crate) struct Document {
    /// What this node is, as far as it is not detected or told by the source.
    pub(crate) node: NodeSection,
    /// The BGP speaker.
    pub(crate) bgp: BgpSection,
    /// What goes into the kernel.
    pub(crate) routes: RoutesSection,
    /// Network policies.
    pub(crate) policy: PolicySection,
    /// Pods' interfaces.
    pub(crate) cni: CniSection,
    /// Where the cluster's nodes, namespaces, pods and policies come from. Left out if there is
    /// no cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<SourceSection>,
    /// The control socket.
    pub(crate) control: ControlSection,
    /// Health and metrics.
    pub(crate) telemetry: TelemetrySection,
}

impl Default for Document {
    fn default() -> Self {
        Self::from(&Config::default())
    }
}

/// What this node is.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct NodeSection {
    /// Name of the node, a DNS subdomain. Default: the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The node's addresses, at most one IPv4 and one IPv6. Default: those of the source's
    /// Node, else detected.
    pub(crate) addresses: Vec<Address>,
    /// The ranges that the node's pods have their addresses from. Default: those of the
    /// source's Node.
    #[serde(rename = "podCIDRs")]
    pub(crate) pod_cidrs: Vec<Cidr>,
}

/// What goes into the kernel.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RoutesSection {
    /// Whether learned routes go into the kernel; off for a pure route reflector.
    pub(crate) install: bool,
    /// Metric of learned routes.
    #[schemars(range(min = 1))]
    pub(crate) metric: u32,
    /// Whether forwarding is switched on for the families that are routed.
    pub(crate) forwarding: bool,
    /// By what packets are spread over several hops of one route: their addresses, their
    /// addresses and ports, or addresses of the packets that they carry. It is set for the
    /// whole host and kept so. Default: the host's setting is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hash_policy: Option<HashPolicy>,
    /// How routes with several hops are written: `plain`, where any flow may move to another
    /// hop when one leaves, or `resilient`, where only those of the hop that leaves do (Linux
    /// 5.13).
    pub(crate) multipath: Multipath,
    /// With `multipath: resilient`, for how long a flow must have been silent to be moved to
    /// a hop that joined; at most 1h.
    pub(crate) resilient_idle: Time,
    /// Longest wait for sources and peers after a start before leftover routes of an earlier
    /// run are removed; at most 1h.
    pub(crate) startup_hold: Time,
}

impl Default for RoutesSection {
    fn default() -> Self {
        Document::default().routes
    }
}

/// How routes with several hops are written.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Multipath {
    Plain,
    Resilient,
}

/// By what packets are spread.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HashPolicy {
    L3,
    L4,
    Inner,
}

/// Network policies: which are enforced, and how.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PolicySection {
    /// Whether the source's NetworkPolicies are enforced for this node's pods.
    pub(crate) enabled: bool,
    /// Which iptables is used.
    pub(crate) backend: Backend,
    /// What becomes of connections that a changed policy would not let begin any more.
    pub(crate) established_flows: EstablishedFlows,
    /// Whether what pods send outside the pod ranges of all nodes gets the node's address.
    /// Default: as bgp.enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) masquerade: Option<bool>,
    /// How denied packets are told to whoever asks for flows.
    pub(crate) flow_log: FlowLogSection,
    /// How often the kernel is compared with what is wanted even if nothing seems to have
    /// changed: 1s to 1h.
    pub(crate) audit_interval: Time,
    /// Policies on nodes themselves.
    pub(crate) host_endpoints: HostEndpointsSection,
}

impl Default for PolicySection {
    fn default() -> Self {
        Document::default().policy
    }
}

/// Which iptables is used.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Backend {
    /// The one that the host uses already, nft if none.
    Auto,
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

/// What becomes of connections that a changed policy would not let begin any more.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum EstablishedFlows {
    /// They live on.
    Keep,
    /// They are cut.
    Recheck,
}

/// How denied packets are told.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct FlowLogSection {
    /// Whether they are told at all.
    pub(crate) enabled: bool,
    /// The NFLOG group; no other program may listen to it.
    pub(crate) group: u16,
    /// Most packets told a second for each endpoint and direction.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) per_second: u16,
}

impl Default for FlowLogSection {
    fn default() -> Self {
        Document::default().policy.flow_log
    }
}

/// Policies on nodes themselves.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HostEndpointsSection {
    /// Whether each node has a host endpoint <node>-auto-hep for all its interfaces, with the
    /// node's labels. It is open until a policy selects it.
    pub(crate) auto: bool,
    /// What becomes of packets from a pod to its own node that the pod's policies allow.
    pub(crate) default_endpoint_to_host_action: ToHost,
    /// Ports of nodes that no policy on them closes; an empty list is none. Default: TCP 22,
    /// 179, 2379, 2380, 5473, 6443, 6666, 6667, 10250, UDP 68, and those that the agent
    /// listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failsafe_inbound: Option<Vec<FailsafeEntry>>,
    /// Ports of others that no policy keeps nodes from; an empty list is none. Default: TCP
    /// 179, 2379, 2380, 5473, 6443, 6666, 6667, UDP 53, 67, and those that BGP peers listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failsafe_outbound: Option<Vec<FailsafeEntry>>,
    /// Whether the lists may lack the port of BGP, so that policies can end its sessions.
    #[serde(rename = "withoutBGP")]
    pub(crate) without_bgp: bool,
}

impl Default for HostEndpointsSection {
    fn default() -> Self {
        Document::default().policy.host_endpoints
    }
}

/// What becomes of packets from a pod to its own node that the pod's policies allow.
#[derive(Serialize, JsonSchema)]
pub(crate) enum ToHost {
    /// They pass.
    Accept,
    /// They are dropped.
    Drop,
    /// The node's own rules decide.
    Return,
}

/// A port that policies on nodes leave open.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum FailsafeEntry {
    /// In full.
    Full(FailsafeSection),
    /// In short: tcp:22, udp:10.0.0.0/8:68, tcp:[fd00::/8]:22, or 22 for TCP.
    #[allow(dead_code)] // accepted from users, never written by us
    Short(#[schemars(regex(pattern = "^([A-Za-z]+:(.+:)?)?[0-9]{1,5}$"))] String),
    /// A port of TCP.
    #[allow(dead_code)] // likewise
    Port(#[schemars(range(min = 1))] u16),
}

/// A port that policies on nodes leave open.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FailsafeSection {
    /// Its protocol.
    #[serde(default = "tcp")]
    pub(crate) protocol: FailsafeProtocol,
    /// Its number.
    #[schemars(range(min = 1))]
    pub(crate) port: u16,
    /// Only from or to here. Default: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) net: Option<Cidr>,
}

/// The protocol of such a port.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum FailsafeProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Where nodes, namespaces, pods and policies come from.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum SourceSection {
    /// A folder of Kubernetes manifests, watched for changes.
    Files {
        /// The folder.
        path: String,
    },
    /// The API server of a Kubernetes cluster.
    #[serde(rename_all = "camelCase")]
    Kubernetes {
        /// A kubeconfig file. Default: KUBECONFIG, the pod's service account or
        /// ~/.kube/config, the first that there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kubeconfig: Option<String>,
        /// The context of the kubeconfig. Default: its current-context.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
        /// How long deletions are held back when a new listing seems to find more than half of
        /// the nodes or policies gone; 0s never, at most 1h.
        #[serde(default = "hold_deletions")]
        hold_deletions: Time,
    },
}

/// Our network plug-in, which connects this node's pods.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CniSection {
    /// Whether the container runtime is told to have pods connected by our plug-in: the agent
    /// writes 10-brindle.conflist once it is ready, and never removes it.
    pub(crate) enabled: bool,
    /// Where the container runtime looks for that file.
    pub(crate) config_dir: String,
    /// Where the plug-in keeps what it made, and the agent reads it.
    pub(crate) data_dir: String,
    /// The MTU of pods' interfaces, in octets. Default: that of the node's uplink.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 576, max = 65535))]
    pub(crate) mtu: Option<u32>,
    /// The plug-ins that come after ours. Their programs have to be where the runtime looks for
    /// them.
    pub(crate) chain: Vec<Chained>,
}

impl Default for CniSection {
    fn default() -> Self {
        Document::default().cni
    }
}

/// A plug-in of others that works on the interfaces that ours made.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Chained {
    /// Pods' hostPort.
    Portmap,
    /// Pods' limits of bandwidth.
    Bandwidth,
}

/// The control socket.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ControlSection {
    /// Path of the UNIX socket that the commands talk to.
    #[schemars(length(max = 107))]
    pub(crate) socket: String,
}

impl Default for ControlSection {
    fn default() -> Self {
        Document::default().control
    }
}

/// Health and metrics over HTTP: /livez, /readyz, /healthz, /metrics.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct TelemetrySection {
    /// Addresses with ports; empty answers nowhere.
    pub(crate) listen: Vec<SocketAddress>,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Document::default().telemetry
    }
}

/// An address with a TCP port: 127.0.0.1:9798, [::1]:9798.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$"))]
pub(crate) struct SocketAddress(pub(crate) String);

/// An IPv4 or IPv6 address.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [{"format": "ipv4"}, {"format": "ipv6"}]))]
pub(crate) struct Address(pub(crate) String);

/// A prefix without host bits, for instance 10.244.0.0/16.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^[0-9a-fA-F.:]+/[0-9]{1,3}$"))]
pub(crate) struct Cidr(pub(crate) String);

/// A length of time: 90s, 1m30s, 500ms.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^(0|([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"))]
pub(crate) struct Time(pub(crate) String);

/// Prefix lengths: 24, or a range such as 16-32.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Lengths {
    /// One length.
    One(#[schemars(range(max = 128))] u8),
    /// From one to another.
    Range(#[schemars(regex(pattern = "^[0-9]{1,3}(-[0-9]{1,3})?$"))] String),
}

/// An AS number, 1 to 4294967295; 1.10 is 65546 (RFC 5396).
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum AsNumber {
    /// In decimal.
    Number(#[schemars(range(min = 1))] u32),
    /// With a dot, or behind the letters AS.
    #[allow(dead_code)] // accepted from users, never written by us
    Text(#[schemars(regex(pattern = "^(AS|as)?[0-9]+(\\.[0-9]+)?$"))] String),
}

fn tcp() -> FailsafeProtocol {
    FailsafeProtocol::Tcp
}

fn hold_deletions() -> Time {
    Time(Shown(HOLD_DELETIONS).to_string())
}
