//! `projectcalico.org/v3` objects about BGP, as they are written.
//!
//! They hold every field that the API has, also those that mean nothing here, so that a field
//! that is left is one that its author mistyped; what is wrong with a value is said by those who
//! read it. The schemas say what an API server shall refuse.
//!
//! Source: the API's reference of its resource definitions.

use std::borrow::Cow;

use brindle_policy::api::Object;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A `BGPPeer`: whom some of the nodes have a session with.
pub type BgpPeer = Object<BgpPeerSpec>;
/// A `BGPConfiguration`: what holds for all nodes (`default`) or for one (`node.<name>`).
pub type BgpConfiguration = Object<BgpConfigurationSpec>;
/// A `BGPFilter`: rules that BGPPeers name.
pub type BgpFilter = Object<BgpFilterSpec>;

/// A number or a text: AS numbers may be written as 64512, "64512" and "1.10".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NumberOrText {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl JsonSchema for NumberOrText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NumberOrText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// Sessions of some nodes with a router, or with other nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpPeerSpec {
    /// The one node that has the session. Left out, with nodeSelector: all nodes have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The nodes that have the session, by their labels. Goes without node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub node_selector: Option<String>,
    /// The peer's address, with a port if it is not 179: 192.0.2.1, 192.0.2.1:1179, or
    /// 2001:db8::1, which stands in brackets before a port.
    #[serde(rename = "peerIP", skip_serializing_if = "Option::is_none")]
    pub peer_ip: Option<String>,
    /// The peer's autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<NumberOrText>,
    /// Our autonomous system on these sessions, where it is not that of the node.
    #[serde(rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    pub local_as_number: Option<NumberOrText>,
    /// The nodes that are the peers, by their labels, in place of peerIP and asNumber.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub peer_selector: Option<String>,
    /// Whether the nodes that peerSelector selects have the sessions by this object too: Auto,
    /// if left out; Manual leaves that to another object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Auto", "Manual"]))]
    pub reverse_peering: Option<String>,
    /// Pods that are the peers, by their labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub local_workload_selector: Option<String>,
    /// Tells the peer next hops as they are. nextHopMode says it better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_original_next_hop: Option<bool>,
    /// Which next hops the peer is told: Auto (by the standard), Self or Keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Auto", "Self", "Keep"]))]
    pub next_hop_mode: Option<String>,
    /// The key that signs the sessions (TCP MD5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<BgpPassword>,
    /// UseNodeIP, if left out: the session is from the node's address. None: from whichever
    /// the kernel chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["UseNodeIP", "None"]))]
    pub source_address: Option<String>,
    /// How long the peer shall keep our routes while we start again, for instance 120s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restart_time: Option<String>,
    /// How long the peer may be silent, a third of which is the time between keepalives, for
    /// instance 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// How many times our AS may stand in an AS path that is accepted.
    #[serde(rename = "numAllowedLocalASNumbers", skip_serializing_if = "Option::is_none")]
    pub num_allowed_local_as_numbers: Option<i64>,
    /// The most hops to the peer; packets from farther away are dropped (GTSM). 1 is a
    /// neighbour on the link.
    #[serde(rename = "ttlSecurity", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub ttl_security: Option<i64>,
    /// The gateway by which a peer that is not on the link is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable_by: Option<String>,
    /// Names of BGPFilters, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<String>>,
}

/// Where the key of sessions is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpPassword {
    /// A Secret in the namespace of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// A value of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The key within its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub key: Option<String>,
    /// Whether there may be no such Secret or key: the sessions are not signed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// What holds for the speakers of all nodes, or of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpConfigurationSpec {
    /// How much Calico writes into its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_severity_screen: Option<String>,
    /// Whether each node has a session with each other. Only in default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_to_node_mesh_enabled: Option<bool>,
    /// The autonomous system of nodes that do not name another; 64512 if left out. Only in
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<NumberOrText>,
    /// The port that peers are listened for on; 179 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub listen_port: Option<i64>,
    /// Names for communities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<Community>>,
    /// Communities of prefixes that are advertised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_advertisements: Option<Vec<PrefixAdvertisement>>,
    /// Blocks of cluster IPs of Services to advertise.
    #[serde(rename = "serviceClusterIPs", skip_serializing_if = "Option::is_none")]
    pub service_cluster_ips: Option<Vec<ServiceBlock>>,
    /// Blocks of external IPs of Services to advertise.
    #[serde(rename = "serviceExternalIPs", skip_serializing_if = "Option::is_none")]
    pub service_external_ips: Option<Vec<ServiceBlock>>,
    /// Blocks of load balancer IPs of Services to advertise.
    #[serde(rename = "serviceLoadBalancerIPs", skip_serializing_if = "Option::is_none")]
    pub service_load_balancer_ips: Option<Vec<ServiceBlock>>,
    /// Whether blocks of load balancer IPs are advertised as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Enabled", "Disabled"]))]
    pub service_load_balancer_aggregation: Option<String>,
    /// The key that signs the sessions of the mesh (TCP MD5). Only in default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh_password: Option<BgpPassword>,
    /// How long peers of the mesh shall keep our routes while we start again. Only in default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh_max_restart_time: Option<String>,
    /// NodeIP: peers are listened for on the node's addresses. None: on every address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "NodeIP"]))]
    pub bind_mode: Option<String>,
    /// Interfaces of which Calico's speaker knows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_interfaces: Option<Vec<String>>,
    /// Our IPv4 address on sessions with pods.
    #[serde(rename = "localWorkloadPeeringIPV4", skip_serializing_if = "Option::is_none")]
    pub local_workload_peering_ip_v4: Option<String>,
    /// Our IPv6 address on sessions with pods.
    #[serde(rename = "localWorkloadPeeringIPV6", skip_serializing_if = "Option::is_none")]
    pub local_workload_peering_ip_v6: Option<String>,
    /// Which part of Calico writes routes of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"]))]
    pub program_cluster_routes: Option<String>,
    /// The priority of IPv4 routes that nobody gave another, as filters compare it; 1024 if left
    /// out. Only in default.
    #[serde(rename = "ipv4NormalRoutePriority", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2147483646))]
    pub ipv4_normal_route_priority: Option<i64>,
    /// The same of IPv6 routes.
    #[serde(rename = "ipv6NormalRoutePriority", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2147483646))]
    pub ipv6_normal_route_priority: Option<i64>,
}

/// A name for a community.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Community {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The community: 65000:100, or 65000:100:200 for a large one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Communities of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrefixAdvertisement {
    /// Prefixes in this block have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Names of communities, or communities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<String>>,
}

/// A block of addresses of Services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBlock {
    /// The block, for instance 10.96.0.0/12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
}

/// Rules for routes, by family and direction. The first that matches decides; what none
/// matches is left to the next filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpFilterSpec {
    /// For IPv4 routes that a peer tells us.
    #[serde(rename = "importV4", skip_serializing_if = "Option::is_none")]
    pub import_v4: Option<Vec<BgpFilterRule>>,
    /// For IPv4 routes that we tell a peer.
    #[serde(rename = "exportV4", skip_serializing_if = "Option::is_none")]
    pub export_v4: Option<Vec<BgpFilterRule>>,
    /// For IPv6 routes that a peer tells us.
    #[serde(rename = "importV6", skip_serializing_if = "Option::is_none")]
    pub import_v6: Option<Vec<BgpFilterRule>>,
    /// For IPv6 routes that we tell a peer.
    #[serde(rename = "exportV6", skip_serializing_if = "Option::is_none")]
    pub export_v6: Option<Vec<BgpFilterRule>>,
}

/// A rule: what it matches, all of which must hold, and what becomes of that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpFilterRule {
    /// Compared with the route's prefix as matchOperator says, which must be there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Equal, NotEqual, In (inside of cidr, or equal) or NotIn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Equal", "NotEqual", "In", "NotIn"]))]
    pub match_operator: Option<String>,
    /// Lengths that the prefix may have; goes with cidr only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<PrefixLength>,
    /// RemotePeers: only routes that a peer told us.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["RemotePeers"]))]
    pub source: Option<String>,
    /// Only routes that leave by this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Only for peers outside of our AS (eBGP), or inside (iBGP).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["eBGP", "iBGP"]))]
    pub peer_type: Option<String>,
    /// Only routes with this community.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<CommunityMatch>,
    /// Only routes whose AS path begins with these.
    #[serde(rename = "asPathPrefix", skip_serializing_if = "Option::is_none")]
    pub as_path_prefix: Option<Vec<NumberOrText>>,
    /// Only routes of this priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Accept or Reject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, extend("enum" = ["Accept", "Reject"]))]
    pub action: Option<String>,
    /// What is changed of an accepted route, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub operations: Option<Vec<Operation>>,
}

/// A range of lengths of prefixes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrefixLength {
    /// The shortest; that of cidr if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub min: Option<i64>,
    /// The longest; that of a host if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub max: Option<i64>,
}

/// Communities that a route must have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommunityMatch {
    /// One: 65000:100, or 65000:100:200 for a large one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 1))]
    pub values: Option<Vec<String>>,
}

/// One change of a route; one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Gives it a community more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_community: Option<AddCommunity>,
    /// Puts AS numbers before its AS path.
    #[serde(rename = "prependASPath", skip_serializing_if = "Option::is_none")]
    pub prepend_as_path: Option<PrependAsPath>,
    /// Gives it this priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_priority: Option<SetPriority>,
}

/// A community to be added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AddCommunity {
    /// 65000:100, or 65000:100:200 for a large one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub value: Option<String>,
}

/// AS numbers to be prepended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PrependAsPath {
    /// In the order in which they stand in the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 10))]
    pub prefix: Option<Vec<NumberOrText>>,
}

/// A priority to be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetPriority {
    /// The metric of the route in the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub value: Option<i64>,
}
