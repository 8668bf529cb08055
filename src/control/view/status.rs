//! The node as a whole, and its configuration.

use std::net::{IpAddr, SocketAddr};

use brindle_bgp::net::Prefix;
use serde::{Deserialize, Serialize};

use super::{BmpStation, Drain, Family, SourceStatus, Time, as_texts};

/// How the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The node's name.
    pub node: String,
    /// Whether there is no problem that somebody must look at.
    pub healthy: bool,
    /// What is wrong, the worst first; not empty if unhealthy.
    pub problems: Vec<Problem>,
    /// When the agent started.
    pub started: Time,
    /// Since then.
    pub uptime_seconds: u64,
    /// The addresses that the node uses.
    pub addresses: Vec<NodeAddress>,
    /// The node's own pod CIDRs.
    #[serde(rename = "podCIDRs", with = "as_texts")]
    pub pod_cidrs: Vec<Prefix>,
    /// Where the configuration came from.
    pub config: ConfigStatus,
    /// Where the cluster's state comes from; absent without a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// The speaker; absent without one (`bgp.enabled: false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp: Option<BgpStatus>,
    /// Whether the node is drained; absent while it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Counts of routes, one entry a family that is routed.
    pub routes: Vec<FamilyRoutes>,
    /// By what packets are spread over several hops, one entry a family; empty unless
    /// `routes.hashPolicy` asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hash_policy: Vec<FamilyHash>,
    /// Resilient groups of hops; absent unless `routes.multipath` asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilient: Option<Resilient>,
    /// Whether the kernel forwards, one entry a family that is routed.
    pub forwarding: Vec<FamilyForwarding>,
    /// The way to the kernel's routes; absent without BGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelStatus>,
    /// Health and metrics over HTTP.
    #[serde(default)]
    pub telemetry: TelemetryStatus,
    /// The policy half; absent if it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
}

/// Where health and metrics are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryStatus {
    /// The addresses that answer.
    pub listen: Vec<SocketAddr>,
    /// Addresses of the configuration that do not, each with the reason. That makes the node
    /// no less healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What it is about: `config`, `source`, `node`, `bgp`, `routes`, `forwarding`, `kernel`,
    /// `policy`, `cni`.
    pub area: String,
    /// What is wrong, with the name of what it concerns.
    pub what: String,
    /// What to do, or the command that shows more.
    pub next: String,
}

/// An address of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAddress {
    /// The address.
    pub address: IpAddr,
    /// Why this one: "node.addresses", "detected on eth0: source of the default route".
    pub reason: String,
}

/// What is known of the configuration's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// The files, in the order they were merged.
    pub files: Vec<String>,
    /// When the configuration in force was loaded.
    pub loaded: Time,
    /// Since then.
    pub loaded_seconds: u64,
    /// Whether newer files were refused, so that an older configuration is in force.
    pub stale: bool,
    /// Why they were refused, one `file:line:column  path: message` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// The speaker in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpStatus {
    /// Our AS number.
    pub as_number: u32,
    /// Why this one: "bgp.asNumber", or the annotation of the Node object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_number_reason: Option<String>,
    /// Our cluster if we reflect routes between the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_reflector: Option<String>,
    /// Our BGP Identifier.
    #[serde(rename = "routerID")]
    pub router_id: String,
    /// Where we listen.
    pub listen: Vec<SocketAddr>,
    /// Peers in all.
    pub peers: usize,
    /// Peers that are Established.
    pub established: usize,
    /// Names of the peers that are neither Established nor disabled.
    pub down: Vec<String>,
    /// Names of the peers that an operator disabled.
    pub disabled: Vec<String>,
    /// Stations that are told of sessions and routes (`bgp.bmp`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bmp: Vec<BmpStation>,
}

/// Routes of a family in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyRoutes {
    /// Which family.
    pub family: Family,
    /// Paths that peers advertised and that were accepted.
    pub learned: usize,
    /// Prefixes of our own.
    pub originated: usize,
    /// Routes that the kernel shall hold.
    pub wanted: usize,
    /// Routes of ours that it holds.
    pub installed: usize,
    /// Paths refused by filter, ownership, loops and the like.
    pub refused: usize,
}

/// By what packets of a family are spread over several hops: `l3`, `l4`, `inner`, or the kernel's
/// number for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyHash {
    /// Which family.
    pub family: Family,
    /// By what.
    pub by: String,
    /// By what before we changed it; absent if we did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// Resilient groups of hops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resilient {
    /// How many groups routes lead by.
    pub groups: usize,
    /// Why the kernel has none, if that is so: then routes are ordinary multipath routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Whether the kernel forwards packets of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyForwarding {
    /// Which family.
    pub family: Family,
    /// Whether.
    pub state: Forwarding,
}

/// Whether the kernel forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Forwarding {
    /// Not looked at.
    Unknown,
    /// It does not.
    Off,
    /// It did before us.
    On,
    /// We switched it on.
    SwitchedOn,
}

/// The way to the kernel's routing table in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelStatus {
    /// Whether the start-up dump is read.
    pub ready: bool,
    /// Whether routes are written at all (`routes.install`).
    pub install: bool,
    /// Routes that are not as wanted: what `brindle routes diff` lists.
    pub drifted: usize,
    /// Leftovers of an earlier run that wait for sources and peers.
    pub stale: usize,
    /// Prefixes that another protocol holds and that we leave alone.
    pub conflicts: usize,
    /// Routes put back after somebody or something removed them.
    pub repairs: u64,
    /// Times that the kernel's events overran us.
    pub overruns: u64,
    /// Prefixes announced for Services that are guarded against packets which would go to and
    /// fro (`bgp.services.loopPrevention`).
    #[serde(default)]
    pub guarded: usize,
    /// The last thing that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// The policy half in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `iptables-nft` or `iptables-legacy`; absent before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Whether everything that the sources told is in the kernel.
    pub ready: bool,
    /// Pods of this node that policies apply to.
    pub endpoints: usize,
    /// Those whose chains are in the kernel.
    pub programmed: usize,
    /// Names of those that wait for theirs; they are closed.
    pub pending: Vec<String>,
    /// The time that 99 of 100 changes took at most until the kernel had them; absent before
    /// the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply_p99_seconds: Option<f64>,
    /// What others changed and was put right again.
    pub repairs: u64,
    /// When that last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_repair: Option<Time>,
    /// Since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_repair_seconds: Option<u64>,
    /// What was found then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_repair_reason: Option<String>,
    /// What is missing, if nothing can be programmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// Why writing fails, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_seconds: Option<u64>,
    /// Policies that could not be installed whole: `NetworkPolicy shop/db-clients`.
    pub broken: Vec<String>,
    /// Host endpoints of this node.
    #[serde(default)]
    pub host_endpoints: usize,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Where it came from.
    pub status: ConfigStatus,
    /// All of it, defaults included, as YAML; secrets by file reference only.
    pub yaml: String,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reload {
    /// In a word.
    pub result: ReloadResult,
    /// The files that were read.
    pub files: Vec<String>,
    /// What changed, a sentence each: "peer tor-b added", "filter cluster-only changed: re-applied to tor-a".
    pub changes: Vec<String>,
    /// What takes effect only when the agent starts again, by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
    /// Why it was refused, one `file:line:column  path: message` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReloadResult {
    /// The new configuration is in force.
    Applied,
    /// The new one means the same as the old one.
    Unchanged,
    /// The new one is wrong; the old one stays in force.
    Refused,
}

/// Something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The peer's name.
    pub peer: String,
    /// What was done to it, a sentence.
    pub message: String,
}
