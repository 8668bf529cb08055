//! `bgp.services:` which addresses of Services are announced, and what goes with prefixes.

use std::collections::BTreeSet;

use brindle_bgp::filter::AnyCommunity;
use brindle_bgp::net::Prefix;

use super::node::NodeRead;
use super::{prefixes, values};
use crate::meaning::{LoopPrevention, PrefixAdvertisement, ServiceAddresses, ServiceSettings};
use crate::section::{Item, Section};

/// Reads the section and checks it against the node and what is originated besides.
pub(super) fn read(item: &Item, node: &NodeRead, networks: &[Prefix]) -> ServiceSettings {
    let mut settings = ServiceSettings::default();
    let Some(mut section) = item.section() else { return settings };
    let blocks = |section: &mut Section, kind: ServiceAddresses| {
        let item = section.get(kind.word());
        item.map(|item| read_blocks(&item, node, networks)).unwrap_or_default()
    };
    settings.cluster_ips = blocks(&mut section, ServiceAddresses::Cluster);
    settings.external_ips = blocks(&mut section, ServiceAddresses::External);
    settings.load_balancer_ips = blocks(&mut section, ServiceAddresses::LoadBalancer);
    let classes = section.get("loadBalancerClasses");
    settings.load_balancer_classes = classes.and_then(|item| classes_of(&item, &settings));
    if let Some(item) = section.get("hostRoutes") {
        settings.host_routes = host_routes(&item, &settings);
    }
    let words = [
        ("drop", LoopPrevention::Drop),
        ("reject", LoopPrevention::Reject),
        ("disabled", LoopPrevention::Disabled),
    ];
    let loop_prevention = section.get("loopPrevention").and_then(|item| item.word(&words));
    settings.loop_prevention = loop_prevention.unwrap_or_default();
    section.finish();
    settings
}

/// Why no Service can have addresses in a block, or the block is no right one; nothing if it may.
pub fn no_service_block(prefix: &Prefix) -> Option<String> {
    match prefix.length() {
        0 => Some(format!("{prefix} is every address; name the blocks of Services")),
        _ => super::bgp::no_unicast(prefix),
    }
}

fn read_blocks(item: &Item, node: &NodeRead, networks: &[Prefix]) -> Vec<Prefix> {
    let blocks = prefixes(item, false);
    for block in &blocks {
        let prefix = block.value;
        if let Some(why) = no_service_block(&prefix) {
            block.item.refuse(why);
        } else if let Some(range) = node.pod_cidrs.iter().find(|r| r.value.overlaps(&prefix)) {
            block.item.refuse(format!(
                "{prefix} overlaps with {} at {}, where pods are",
                range.value, range.item.node.place
            ));
        } else if let Some(own) = node.addresses.iter().find(|own| prefix.contains(own.value)) {
            block.item.refuse(format!(
                "{prefix} holds {}, the node's address at {}",
                own.value, own.item.node.place
            ));
        } else if networks.contains(&prefix) {
            block.item.refuse(format!("{prefix} is originated already, from bgp.networks"));
        }
    }
    values(&blocks)
}

fn classes_of(item: &Item, settings: &ServiceSettings) -> Option<BTreeSet<String>> {
    let classes = item.list(class)?;
    if item.len() == 0 {
        item.refuse("is empty; accepted are classes, \"\" for Services without one");
    } else if settings.load_balancer_ips.is_empty() {
        item.warn("loadBalancerIPs has no blocks in which addresses would be announced");
    }
    Some(classes.into_iter().map(|class| class.value).collect())
}

/// A class as Kubernetes accepts it: a label's key.
fn class(item: &Item) -> Option<String> {
    let text = item.text()?;
    let (prefix, name) = text.split_once('/').map_or((None, text), |(p, n)| (Some(p), n));
    let is_edge = |octet: Option<u8>| octet.is_some_and(|octet| octet.is_ascii_alphanumeric());
    let is_inner = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let name_is_good = (1..=63).contains(&name.len())
        && is_edge(name.bytes().next())
        && is_edge(name.bytes().next_back())
        && name.bytes().all(is_inner);
    let is_good = text.is_empty() || (name_is_good && prefix.is_none_or(crate::is_dns_subdomain));
    if !is_good {
        item.refuse(format!(
            "{text:?} is no class; accepted are such as example.com/internal, and \"\" for \
             Services without one"
        ));
    }
    is_good.then(|| text.to_owned())
}

fn host_routes(item: &Item, settings: &ServiceSettings) -> BTreeSet<ServiceAddresses> {
    let words = ServiceAddresses::ALL.map(|kind| (kind.word(), kind));
    let goods = item.list(|item| item.word(&words)).unwrap_or_default();
    for good in goods.iter().filter(|good| settings.blocks(good.value).is_empty()) {
        let word = good.value.word();
        good.item.warn(format!("{word} has no blocks in which addresses would be announced"));
    }
    goods.into_iter().map(|good| good.value).collect()
}

/// Reads `bgp.prefixAdvertisements`.
pub(super) fn advertisements(item: &Item) -> Vec<PrefixAdvertisement> {
    values(&item.list(advertisement).unwrap_or_default())
}

fn advertisement(item: &Item) -> Option<PrefixAdvertisement> {
    let mut section = item.section()?;
    let cidr = section.need("cidr", "10.96.0.0/12").and_then(|item| item.parse::<Prefix>());
    let communities = section.need("communities", "[\"65001:1\"]");
    let communities = communities.and_then(|item| {
        let goods = item.list(Item::parse::<AnyCommunity>)?;
        if item.len() == 0 {
            item.refuse("is empty; accepted are communities such as \"65001:1\"");
        }
        Some(values(&goods))
    });
    section.finish();
    Some(PrefixAdvertisement { cidr: cidr?, communities: communities? })
}
