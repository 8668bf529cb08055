//! What a BGPConfiguration says of Services, and which communities go with prefixes.

use std::collections::BTreeMap;

use brindle_bgp::filter::AnyCommunity;
use brindle_bgp::net::Prefix;
use brindle_config::{Bgp, PrefixAdvertisement, ServiceAddresses, ServiceSettings};

use super::BgpObjects;
use super::api::{BgpConfigurationSpec, ServiceBlock};
use super::configuration::DEFAULT;
use super::read::Judged;

impl BgpObjects {
    /// Puts what BGPConfigurations say of Services, and of communities, where brindle.yaml says
    /// nothing.
    pub(super) fn advertise(&self, bgp: &mut Bgp, node: &str) {
        let all = self.configurations.get(DEFAULT);
        if let Some(said) = all.map(|all| &all.services) {
            let ours = &mut bgp.services;
            for (ours, said) in [
                (&mut ours.cluster_ips, &said.cluster_ips),
                (&mut ours.external_ips, &said.external_ips),
                (&mut ours.load_balancer_ips, &said.load_balancer_ips),
            ] {
                if ours.is_empty() {
                    ours.clone_from(said);
                }
            }
            if ours.host_routes.is_empty() {
                ours.host_routes.clone_from(&said.host_routes);
            }
        }
        let of = |name: &str| self.configurations.get(name).map(|one| &one.prefix_advertisements);
        let said = of(&format!("node.{node}")).filter(|said| !said.is_empty()).or(of(DEFAULT));
        if let Some(said) = said.filter(|_| bgp.prefix_advertisements.is_empty()) {
            bgp.prefix_advertisements.clone_from(said);
        }
    }
}

/// The field of a BGPConfiguration with the blocks of a kind of addresses.
pub(in crate::cluster) fn service_field(kind: ServiceAddresses) -> &'static str {
    match kind {
        ServiceAddresses::Cluster => "serviceClusterIPs",
        ServiceAddresses::External => "serviceExternalIPs",
        ServiceAddresses::LoadBalancer => "serviceLoadBalancerIPs",
    }
}

/// Reads what the spec says of Services. That of one node counts for nobody.
pub(super) fn services(
    name: &str,
    spec: &BgpConfigurationSpec,
    judged: &mut Judged,
) -> ServiceSettings {
    let mut blocks = |kind: ServiceAddresses, list: &Option<Vec<ServiceBlock>>| {
        let field = service_field(kind);
        let list = list.as_deref().unwrap_or_default();
        if name != DEFAULT && !list.is_empty() {
            let message = format!("only counts in BGPConfiguration {DEFAULT}");
            judged.idle(format!("spec.{field}"), message);
            return Vec::new();
        }
        let read = |(index, block): (usize, &ServiceBlock)| {
            let field = format!("spec.{field}[{index}].cidr");
            let block = cidr(&field, block.cidr.as_deref(), judged)?;
            if let Some(why) = brindle_config::no_service_block(&block) {
                judged.refuse(field, why);
            }
            Some(block)
        };
        list.iter().enumerate().filter_map(read).collect()
    };
    let mut settings = ServiceSettings {
        cluster_ips: blocks(ServiceAddresses::Cluster, &spec.service_cluster_ips),
        external_ips: blocks(ServiceAddresses::External, &spec.service_external_ips),
        load_balancer_ips: blocks(ServiceAddresses::LoadBalancer, &spec.service_load_balancer_ips),
        ..ServiceSettings::default()
    };
    let aggregation = judged.word(
        "spec.serviceLoadBalancerAggregation",
        spec.service_load_balancer_aggregation.as_deref(),
        &[("Enabled", true), ("Disabled", false)],
    );
    if aggregation == Some(false) && name == DEFAULT {
        settings.host_routes.insert(ServiceAddresses::LoadBalancer);
    }
    settings
}

fn cidr(field: &str, text: Option<&str>, judged: &mut Judged) -> Option<Prefix> {
    match text.unwrap_or_default().parse() {
        Ok(prefix) => Some(prefix),
        Err(error) => {
            judged.refuse(field, format!("{error}"));
            None
        }
    }
}

/// Reads the communities of prefixes; an entry may name one by what `communities` calls it.
pub(super) fn prefix_advertisements(
    spec: &BgpConfigurationSpec,
    judged: &mut Judged,
) -> Vec<PrefixAdvertisement> {
    let mut named: BTreeMap<&str, AnyCommunity> = BTreeMap::new();
    for (index, one) in spec.communities.iter().flatten().enumerate() {
        let at = format!("spec.communities[{index}]");
        let name = one.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            judged.refuse(format!("{at}.name"), "is missing; accepted is any name");
        }
        match one.value.as_deref().unwrap_or_default().parse() {
            Ok(value) => drop(named.insert(name, value)),
            Err(error) => judged.refuse(format!("{at}.value"), format!("{error}")),
        }
    }
    let mut advertisements = Vec::new();
    for (index, one) in spec.prefix_advertisements.iter().flatten().enumerate() {
        let at = format!("spec.prefixAdvertisements[{index}]");
        let cidr = cidr(&format!("{at}.cidr"), one.cidr.as_deref(), judged);
        let mut communities = Vec::new();
        for (index, text) in one.communities.iter().flatten().enumerate() {
            match named.get(&**text).copied().map_or_else(|| text.parse(), Ok) {
                Ok(community) => communities.push(community),
                Err(_) => judged.refuse(
                    format!("{at}.communities[{index}]"),
                    format!(
                        "{text:?} is neither a community such as 65000:100 nor a name of \
                         spec.communities"
                    ),
                ),
            }
        }
        advertisements.extend(cidr.map(|cidr| PrefixAdvertisement { cidr, communities }));
    }
    advertisements
}
