//! `bgp.services:` which addresses of Services are announced, and what goes with prefixes.

use super::cidr;
use crate::meaning::{LoopPrevention, PrefixAdvertisement, ServiceAddresses, ServiceSettings};
use crate::schema::{
    LoopPreventionWord, PrefixAdvertisementSection, ServiceAddressesWord, ServicesSection,
};

/// The section that says it.
pub(super) fn section(services: &ServiceSettings) -> ServicesSection {
    let word = |kind: &ServiceAddresses| match kind {
        ServiceAddresses::Cluster => ServiceAddressesWord::Cluster,
        ServiceAddresses::External => ServiceAddressesWord::External,
        ServiceAddresses::LoadBalancer => ServiceAddressesWord::LoadBalancer,
    };
    ServicesSection {
        cluster_ips: services.cluster_ips.iter().map(cidr).collect(),
        external_ips: services.external_ips.iter().map(cidr).collect(),
        load_balancer_ips: services.load_balancer_ips.iter().map(cidr).collect(),
        load_balancer_classes: services
            .load_balancer_classes
            .as_ref()
            .map(|classes| classes.iter().cloned().collect()),
        host_routes: services.host_routes.iter().map(word).collect(),
        loop_prevention: match services.loop_prevention {
            LoopPrevention::Drop => LoopPreventionWord::Drop,
            LoopPrevention::Reject => LoopPreventionWord::Reject,
            LoopPrevention::Disabled => LoopPreventionWord::Disabled,
        },
    }
}

/// The same for one of `bgp.prefixAdvertisements`.
pub(super) fn advertisement(one: &PrefixAdvertisement) -> PrefixAdvertisementSection {
    PrefixAdvertisementSection {
        cidr: cidr(&one.cidr),
        communities: one.communities.iter().map(ToString::to_string).collect(),
    }
}
