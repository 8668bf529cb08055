//! Objects as YAML, of every kind that takes part.

use std::sync::Arc;

use brindle_policy::{Change, ingest};
use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// What an object says; `None` for a kind that does not take part.
pub(crate) fn change(value: &Value) -> Option<Change> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let is_calico = text("apiVersion") == "projectcalico.org/v3";
    let policy = match text("kind") {
        "NetworkPolicy" if is_calico => ingest::network_policy_v3(&read(value)),
        "NetworkPolicy" => ingest::network_policy(&read(value)),
        "GlobalNetworkPolicy" => ingest::global_network_policy(&read(value)),
        "StagedNetworkPolicy" => ingest::staged_network_policy(&read(value)),
        "StagedGlobalNetworkPolicy" => ingest::staged_global_network_policy(&read(value)),
        "StagedKubernetesNetworkPolicy" => ingest::staged_kubernetes_network_policy(&read(value)),
        "ClusterNetworkPolicy" => ingest::cluster_network_policy(&read(value)),
        "Namespace" => {
            return Some(Change::NamespaceApplied(named(ingest::namespace(&read(value)))));
        }
        "Pod" => return Some(Change::PodApplied(named(ingest::pod(&read(value))))),
        "Node" => return Some(Change::NodeApplied(named(ingest::node(&read(value))))),
        "ServiceAccount" => {
            let account = named(ingest::service_account(&read(value)));
            return Some(Change::ServiceAccountApplied(account));
        }
        "EndpointSlice" => {
            return Some(Change::SliceApplied(named(ingest::endpoint_slice(&read(value)))));
        }
        "HostEndpoint" => {
            return Some(Change::HostEndpointApplied(named(ingest::host_endpoint(&read(value)))));
        }
        "NetworkSet" => {
            return Some(Change::NetworkSetApplied(named(ingest::network_set(&read(value)))));
        }
        "GlobalNetworkSet" => {
            return Some(Change::NetworkSetApplied(named(ingest::global_network_set(&read(
                value,
            )))));
        }
        "Tier" => return Some(Change::TierApplied(named(ingest::tier(&read(value))))),
        "Profile" => return Some(Change::ProfileApplied(named(ingest::profile(&read(value))))),
        _ => return None,
    };
    Some(Change::PolicyApplied(Arc::new(policy.expect("a name"))))
}

/// What is told of an object, whatever is wrong with it.
fn named<T, P: std::fmt::Debug>(read: Result<(T, Vec<P>), P>) -> Arc<T> {
    Arc::new(read.expect("a name").0)
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_yaml::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value:?}"))
}
