//! Nodes, as far as policy needs them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node as Object;

use super::address::{address, block};
use super::labels::labels;
use super::{Problems, name};
use crate::address::Cidr;
use crate::model::{Node, Problem};

/// What policy needs of `object`, and what is wrong with it. Addresses that are names
/// (`Hostname`, `InternalDNS`, `ExternalDNS`) do not count unless they are written as
/// addresses. Fails only if it has no name.
pub fn node(object: &Object) -> Result<(Node, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("Node", &object.metadata, &mut problems)?;

    let labels = labels(object.metadata.labels.as_ref(), &mut problems);
    let typed = object.status.as_ref().and_then(|status| status.addresses.as_deref());
    let mut addresses = BTreeSet::new();
    for (index, typed) in typed.unwrap_or_default().iter().enumerate() {
        match address(&typed.address) {
            Ok(address) => drop(addresses.insert(address)),
            Err(message) if matches!(typed.type_.as_str(), "InternalIP" | "ExternalIP") => problems
                .add(
                    format!("status.addresses[{index}].address"),
                    format!("{message}; the node is known without it"),
                ),
            Err(_) => {}
        }
    }

    let spec = object.spec.as_ref();
    let list = spec.and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    let single = spec.and_then(|spec| spec.pod_cidr.as_deref()).filter(|text| !text.is_empty());
    let mut pod_cidrs: BTreeSet<Cidr> = BTreeSet::new();
    let mut read = |field: String, text: &str| match block(text) {
        Ok(cidr) => drop(pod_cidrs.insert(cidr)),
        Err(message) => {
            problems.add(field, format!("{message}; the node is known without it"));
        }
    };
    for (index, text) in list.iter().enumerate() {
        read(format!("spec.podCIDRs[{index}]"), text);
    }
    if let Some(single) = single.filter(|_| list.is_empty()) {
        read("spec.podCIDR".to_owned(), single);
    }
    Ok((Node { name, addresses, pod_cidrs, labels }, problems.0))
}
