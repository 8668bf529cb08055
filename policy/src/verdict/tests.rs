//! Verdicts and explanations of small worlds.

mod calico;
mod judged;
mod nearest;
pub(crate) mod random;
mod tiers;
mod traced;

use std::net::IpAddr;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_yaml::Value;

use super::Flow;
use crate::ingest;
use crate::model::{Change, Protocol};
use crate::world::World;

/// Two nodes of 10.1.0.0/24 and 10.2.0.0/24 with both families, and some pods of namespaces
/// `shop` (team=web) and `lab` (team=dba).
const BASE: &str = "
{kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.1.0.0/24, 'fd00:1::/64']},
 status: {addresses: [{type: InternalIP, address: 10.0.0.1}, {type: InternalIP, address: 'fd00::1'}]}}
---
{kind: Node, metadata: {name: n2}, spec: {podCIDRs: [10.2.0.0/24, 'fd00:2::/64']},
 status: {addresses: [{type: InternalIP, address: 10.0.0.2}, {type: InternalIP, address: 'fd00::2'}]}}
---
{kind: Namespace, metadata: {name: shop, labels: {team: web}}}
---
{kind: Namespace, metadata: {name: lab, labels: {team: dba}}}
---
{kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api, tier: front}},
 spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]},
 status: {phase: Running, podIPs: [{ip: 10.1.0.2}, {ip: 'fd00:1::2'}]}}
---
{kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: cart}},
 spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 9090}]}]},
 status: {phase: Running, podIPs: [{ip: 10.1.0.3}, {ip: 'fd00:1::3'}]}}
---
{kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}},
 spec: {nodeName: n2, containers: [{name: c, ports: [{name: sql, containerPort: 5432},
   {name: dns, containerPort: 53, protocol: UDP}, {name: dns, containerPort: 54}]}]},
 status: {phase: Running, podIPs: [{ip: 10.2.0.2}, {ip: 'fd00:2::2'}]}}
---
{kind: Pod, metadata: {name: probe, namespace: lab, labels: {app: api}},
 spec: {nodeName: n2, containers: []}, status: {phase: Running, podIP: 10.2.0.3}}
---
{kind: Pod, metadata: {name: host, namespace: shop, labels: {app: api}},
 spec: {nodeName: n1, hostNetwork: true, containers: []},
 status: {phase: Running, podIP: 10.0.0.1}}
---
{kind: Pod, metadata: {name: job, namespace: shop, labels: {app: api}},
 spec: {nodeName: n1, containers: []}, status: {phase: Succeeded, podIP: 10.1.0.9}}
";

/// [`BASE`], then `policies` as YAML documents.
pub(crate) fn world(policies: &str) -> World {
    static PARSED: OnceLock<Vec<Change>> = OnceLock::new();
    let mut world = World::default();
    let base = PARSED.get_or_init(|| changes(BASE)).iter().cloned();
    base.chain(changes(policies)).for_each(|change| world.apply(change));
    world.apply(Change::InSync);
    world
}

fn changes(text: &str) -> Vec<Change> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let values = documents.map(|document| Value::deserialize(document).unwrap());
    values.filter(|value| !value.is_null()).map(change).collect()
}

fn change(value: Value) -> Change {
    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_yaml::from_value(value).unwrap()
    }
    match value["kind"].as_str() {
        Some("Node") => Change::NodeApplied(ingest::node(&read(value)).unwrap().0.into()),
        Some("Namespace") => {
            Change::NamespaceApplied(ingest::namespace(&read(value)).unwrap().0.into())
        }
        Some("Pod") => Change::PodApplied(ingest::pod(&read(value)).unwrap().0.into()),
        Some("ServiceAccount") => {
            Change::ServiceAccountApplied(ingest::service_account(&read(value)).unwrap().0.into())
        }
        Some("EndpointSlice") => {
            Change::SliceApplied(ingest::endpoint_slice(&read(value)).unwrap().0.into())
        }
        Some("HostEndpoint") => {
            Change::HostEndpointApplied(ingest::host_endpoint(&read(value)).unwrap().0.into())
        }
        Some("NetworkSet") => {
            Change::NetworkSetApplied(ingest::network_set(&read(value)).unwrap().0.into())
        }
        Some("GlobalNetworkSet") => {
            Change::NetworkSetApplied(ingest::global_network_set(&read(value)).unwrap().0.into())
        }
        Some("Tier") => Change::TierApplied(ingest::tier(&read(value)).unwrap().0.into()),
        kind => Change::PolicyApplied(
            match kind {
                Some("NetworkPolicy") if value.get("apiVersion").is_some() => {
                    ingest::network_policy_v3(&read(value))
                }
                Some("NetworkPolicy") => ingest::network_policy(&read(value)),
                Some("GlobalNetworkPolicy") => ingest::global_network_policy(&read(value)),
                Some("ClusterNetworkPolicy") => ingest::cluster_network_policy(&read(value)),
                Some("StagedNetworkPolicy") => ingest::staged_network_policy(&read(value)),
                Some("StagedGlobalNetworkPolicy") => {
                    ingest::staged_global_network_policy(&read(value))
                }
                Some("StagedKubernetesNetworkPolicy") => {
                    ingest::staged_kubernetes_network_policy(&read(value))
                }
                other => panic!("{other:?}"),
            }
            .unwrap()
            .into(),
        ),
    }
}

/// A policy of `shop` with this spec.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    format!("{{kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}\n")
}

/// The address of a pod by name, or an address as it is written.
fn address(text: &str) -> IpAddr {
    let address = match text {
        "api" => "10.1.0.2",
        "cart" => "10.1.0.3",
        "db" => "10.2.0.2",
        "probe" => "10.2.0.3",
        "n1" => "10.0.0.1",
        "n2" => "10.0.0.2",
        "outside" => "192.0.2.1",
        written => written,
    };
    address.parse().unwrap()
}

/// `cart -> db tcp/5432`, `api -> db icmp`.
pub(crate) fn flow(text: &str) -> Flow {
    let words: Vec<_> = text.split(' ').collect();
    let [source, "->", destination, port] = &words[..] else { panic!("{text}") };
    let (protocol, port) = port.split_once('/').unwrap_or((port, ""));
    let protocol = match protocol {
        "icmp" => 1,
        "tcp" => Protocol::Tcp.number(),
        "udp" => Protocol::Udp.number(),
        "sctp" => Protocol::Sctp.number(),
        other => panic!("{other}"),
    };
    Flow {
        source: address(source),
        destination: address(destination),
        protocol,
        source_port: None,
        destination_port: (!port.is_empty()).then(|| port.parse().unwrap()),
        icmp: None,
    }
}
