//! `bgp.services:` which addresses of Services are announced, and what goes with prefixes.

use std::collections::BTreeSet;

use brindle_bgp::filter::AnyCommunity;
use brindle_bgp::net::Prefix;

/// `bgp.services:` which addresses of Services are announced; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// `clusterIPs`: the blocks of which cluster IPs are announced.
    pub cluster_ips: Vec<Prefix>,
    /// `externalIPs`: the same of `spec.externalIPs`.
    pub external_ips: Vec<Prefix>,
    /// `loadBalancerIPs`: the same of what load balancers have given.
    pub load_balancer_ips: Vec<Prefix>,
    /// `loadBalancerClasses`: the classes whose load balancers' IPs are announced, an empty one
    /// for Services without a class; `None`, the default, announces all.
    pub load_balancer_classes: Option<BTreeSet<String>>,
    /// `hostRoutes`: of these each address is announced by itself and no block.
    pub host_routes: BTreeSet<ServiceAddresses>,
    /// `loopPrevention`: what becomes of packets to what is announced and nobody answers to.
    pub loop_prevention: LoopPrevention,
}

/// `bgp.services.loopPrevention`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoopPrevention {
    /// `drop`: they are dropped.
    Drop,
    /// `reject`: their sender is told besides, as Service proxies do it where nothing is ready:
    /// nobody shall have to wait for that.
    #[default]
    Reject,
    /// `disabled`: the host's routes decide.
    Disabled,
}

impl ServiceSettings {
    /// The blocks of one kind of addresses.
    pub fn blocks(&self, kind: ServiceAddresses) -> &[Prefix] {
        match kind {
            ServiceAddresses::Cluster => &self.cluster_ips,
            ServiceAddresses::External => &self.external_ips,
            ServiceAddresses::LoadBalancer => &self.load_balancer_ips,
        }
    }

    /// All blocks.
    pub fn all_blocks(&self) -> impl Iterator<Item = &Prefix> {
        ServiceAddresses::ALL.into_iter().flat_map(|kind| self.blocks(kind))
    }
}

/// Kinds of addresses that a Service may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceAddresses {
    /// `spec.clusterIPs`.
    Cluster,
    /// `spec.externalIPs`.
    External,
    /// `status.loadBalancer.ingress`.
    LoadBalancer,
}

impl ServiceAddresses {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::External, Self::LoadBalancer];

    /// As the configuration has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cluster => "clusterIPs",
            Self::External => "externalIPs",
            Self::LoadBalancer => "loadBalancerIPs",
        }
    }
}

/// One of `bgp.prefixAdvertisements`: what goes with prefixes that we originate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixAdvertisement {
    /// `cidr`: it is about this prefix and those inside it.
    pub cidr: Prefix,
    /// `communities`.
    pub communities: Vec<AnyCommunity>,
}
