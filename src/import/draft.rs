//! The part of a configuration that an import can tell; what it leaves out has its default.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// `brindle.yaml`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) bgp: Bgp,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) policy: Policy,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) cni: Cni,
    pub(super) source: Source,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bgp {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) as_number: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) listen: Listen,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) node_to_node_mesh: Mesh,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold_time: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) graceful_restart: GracefulRestart,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<Peer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) filters: Vec<Filter>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) services: Services,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) prefix_advertisements: Vec<PrefixAdvertisement>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Services {
    #[serde(rename = "clusterIPs", skip_serializing_if = "Vec::is_empty")]
    pub(super) cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs", skip_serializing_if = "Vec::is_empty")]
    pub(super) external_ips: Vec<String>,
    #[serde(rename = "loadBalancerIPs", skip_serializing_if = "Vec::is_empty")]
    pub(super) load_balancer_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) host_routes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loop_prevention: Option<&'static str>,
}

impl Services {
    /// Whether anything is announced.
    pub(super) fn has_blocks(&self) -> bool {
        ![&self.cluster_ips, &self.external_ips, &self.load_balancer_ips]
            .into_iter()
            .all(Vec::is_empty)
    }
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct PrefixAdvertisement {
    pub(super) cidr: String,
    pub(super) communities: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Listen {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GracefulRestart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restart_time: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Mesh {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peer {
    pub(super) name: String,
    #[serde(rename = "peerIP")]
    pub(super) peer_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    pub(super) as_number: u32,
    #[serde(rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    pub(super) local_as_number: Option<u32>,
    #[serde(rename = "numAllowedLocalASNumbers", skip_serializing_if = "Option::is_none")]
    pub(super) num_allowed_local_as_numbers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl_security: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ebgp_multihop: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reachable_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_restart_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) import_filters: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) export_filters: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_hop_mode: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) match_operator: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix_lengths: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) sources: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_type: Option<String>,
    /// What else it asks for and changes, by the keys of our rules.
    #[serde(flatten)]
    pub(super) more: BTreeMap<&'static str, Value>,
}

impl Rule {
    /// A rule for all prefixes.
    pub(super) fn all(action: &'static str) -> Self {
        Self { action, ..Self::default() }
    }
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) masquerade: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) host_endpoints: HostEndpoints,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostEndpoints {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auto: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_endpoint_to_host_action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failsafe_inbound: Option<Vec<Failsafe>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failsafe_outbound: Option<Vec<Failsafe>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Failsafe {
    pub(super) protocol: String,
    pub(super) port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) net: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Cni {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Source {
    kind: &'static str,
}

impl Default for Source {
    fn default() -> Self {
        Self { kind: "kubernetes" }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
