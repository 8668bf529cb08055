//! NetworkSets and GlobalNetworkSets (policy-semantics 3.9).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::list;
use crate::api::calico::{GlobalNetworkSet, NetworkSet as Namespaced};
use crate::ingest::address::net;
use crate::ingest::labels::labels;
use crate::ingest::{Problems, name};
use crate::model::{NetworkSet, NetworkSetId, Problem};

/// What `object` means, and what is wrong with it: a bad net stands for nothing. Fails only if
/// it has no name.
pub fn network_set(object: &Namespaced) -> Result<(NetworkSet, Vec<Problem>), Problem> {
    let nets = object.spec.as_ref().map_or(&[][..], |spec| list(&spec.nets));
    read("NetworkSet", true, &object.metadata, nets)
}

/// As [`network_set`].
pub fn global_network_set(
    object: &GlobalNetworkSet,
) -> Result<(NetworkSet, Vec<Problem>), Problem> {
    let nets = object.spec.as_ref().map_or(&[][..], |spec| list(&spec.nets));
    read("GlobalNetworkSet", false, &object.metadata, nets)
}

fn read(
    kind: &str,
    is_namespaced: bool,
    metadata: &ObjectMeta,
    typed: &[String],
) -> Result<(NetworkSet, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name(kind, metadata, &mut problems)?;
    let namespace = is_namespaced.then(|| name::namespace(metadata, &mut problems));
    let labels = labels(metadata.labels.as_ref(), &mut problems);
    let mut nets = BTreeSet::new();
    for (index, typed) in typed.iter().enumerate() {
        match net(typed) {
            Ok(net) => drop(nets.insert(net)),
            Err(message) => {
                problems.add(
                    format!("spec.nets[{index}]"),
                    format!("{message}; it stands for nothing"),
                );
            }
        }
    }
    Ok((NetworkSet { id: NetworkSetId { namespace, name }, labels, nets }, problems.0))
}
