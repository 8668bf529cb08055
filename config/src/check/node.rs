//! `node:` what the node is.

use std::net::IpAddr;

use brindle_bgp::net::{Family, Prefix};

use super::prefixes;
use crate::section::{Good, Item};
use crate::value;

/// The section as it was read, with the places that later checks name.
#[derive(Default)]
pub(super) struct NodeRead<'a> {
    pub(super) name: Option<String>,
    pub(super) addresses: Vec<Good<'a, IpAddr>>,
    pub(super) pod_cidrs: Vec<Good<'a, Prefix>>,
}

/// Reads the section and checks it against itself.
pub(super) fn read<'a>(item: &Item<'a>) -> NodeRead<'a> {
    let mut node = NodeRead::default();
    let Some(mut section) = item.section() else { return node };
    node.name = section.get("name").and_then(|item| value::node_name(&item));
    let mut all_addresses_good = true;
    if let Some(item) = section.get("addresses") {
        node.addresses = item.list(value::host_address).unwrap_or_default();
        all_addresses_good = item.len() == node.addresses.len();
    }
    one_a_family(&node.addresses);
    if let Some(item) = section.get("podCIDRs") {
        node.pod_cidrs = prefixes(&item, true);
    }
    section.finish();

    for range in &node.pod_cidrs {
        pod_range(range, &node.addresses, all_addresses_good);
    }
    node
}

fn one_a_family(addresses: &[Good<IpAddr>]) {
    for (index, good) in addresses.iter().enumerate() {
        let family = Family::of(good.value);
        let earlier =
            addresses.iter().take(index).find(|earlier| Family::of(earlier.value) == family);
        if let Some(earlier) = earlier {
            good.item.refuse(format!(
                "{} is a second {family} address; a node has one of a family, here {}",
                good.value, earlier.value
            ));
        }
        if good.value.is_loopback() {
            good.item.warn(format!("{}: no other node can reach a loopback address", good.value));
        }
    }
}

fn pod_range(range: &Good<Prefix>, addresses: &[Good<IpAddr>], all_addresses_good: bool) {
    let family = range.value.family();
    if range.value.length() == 0 {
        range.item.refuse(format!("{} is every address; name the range of this node", range.value));
        return;
    }
    if let Some(own) = addresses.iter().find(|address| range.value.contains(address.value)) {
        range.item.refuse(format!(
            "the node's own address {} lies in {}; pods need a range of their own",
            own.value, range.value
        ));
    }
    // With no addresses given they are detected, and checked then.
    let given = all_addresses_good && !addresses.is_empty();
    if given && !addresses.iter().any(|address| Family::of(address.value) == family) {
        range.item.refuse(format!(
            "no other node could reach {}: node.addresses has no {family} address to be its \
             next hop; add one, or leave node.addresses out to have them detected",
            range.value
        ));
    }
}
