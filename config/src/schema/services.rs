//! `bgp.services:` which addresses of Services are announced, and what goes with prefixes.

use schemars::JsonSchema;
use serde::Serialize;

use super::Cidr;

/// Which addresses of the source's Services are announced. Left out, none are.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ServicesSection {
    /// Blocks of cluster IPs.
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: Vec<Cidr>,
    /// Blocks that external IPs of Services may be in.
    #[serde(rename = "externalIPs")]
    pub(crate) external_ips: Vec<Cidr>,
    /// Blocks that load balancers' IPs may be in.
    #[serde(rename = "loadBalancerIPs")]
    pub(crate) load_balancer_ips: Vec<Cidr>,
    /// The classes of load balancers whose IPs are announced, "" for Services without one; left
    /// out, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load_balancer_classes: Option<Vec<String>>,
    /// Of these each address is announced by itself, as long as something is ready behind it,
    /// and the block is not.
    pub(crate) host_routes: Vec<ServiceAddressesWord>,
    /// What becomes of packets from outside to what is announced and nobody answers to.
    pub(crate) loop_prevention: LoopPreventionWord,
}

/// What becomes of packets that would go back to the router which sent them.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LoopPreventionWord {
    /// They are dropped.
    Drop,
    /// They are dropped, and the sender is told that nobody is there.
    #[default]
    Reject,
    /// They go where the host's routes lead.
    Disabled,
}

/// A kind of addresses of Services.
#[derive(Serialize, JsonSchema)]
pub(crate) enum ServiceAddressesWord {
    /// Those of the cluster.
    #[serde(rename = "clusterIPs")]
    Cluster,
    /// Those that are written in the Service.
    #[serde(rename = "externalIPs")]
    External,
    /// Those that a load balancer has given.
    #[serde(rename = "loadBalancerIPs")]
    LoadBalancer,
}

/// Communities of prefixes that we originate.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PrefixAdvertisementSection {
    /// They go with this prefix and those inside it.
    pub(crate) cidr: Cidr,
    /// Communities of any kind: 65001:1, 65001:1:2, rt:65001:1, no-export.
    pub(crate) communities: Vec<String>,
}
