//! What the kernel holds that is not ours: links, addresses, others' routes; and by what
//! hops they lead to a next hop.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix};
use rustc_hash::FxHashMap;

use super::news::{Address, Link};
use super::route::{Hop, KernelRoute, OWN_METRIC, RouteKey, Target, protocol_name};
use super::{Gateway, LocalAddress};

/// The most hops of one route that are used.
pub const MAX_HOPS: usize = 128;

/// A copy of links, addresses and others' routes, kept current from the kernel's events.
#[derive(Debug, Default)]
pub struct Mirror {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<Address>,
    foreign: FxHashMap<Prefix, Vec<KernelRoute>>,
    /// How many prefixes of each length `foreign` holds, by family: which lookups can hit.
    lengths: [BTreeMap<u8, usize>; 2],
    /// Addresses that are reached by a gateway of their own, and by which.
    reachable_by: BTreeMap<IpAddr, IpAddr>,
}

/// How a next hop is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The hops, ascending, at least one.
    pub hops: Vec<Hop>,
    /// Zero if it is on a link of ours, one if a foreign route leads to it.
    pub cost: u32,
}

/// Why a next hop cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It is an address of this host.
    Own(IpAddr),
    /// The link that leads to it is down.
    LinkDown(Arc<str>),
    /// No route leads to it.
    NoRoute(IpAddr),
    /// The best route to it drops packets: its prefix, and the protocol that holds it.
    Dropped(IpAddr, Prefix, u8),
    /// A link-local address, and more than one link that it may be on.
    Ambiguous(IpAddr),
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(address) => write!(f, "next hop {address} is an address of this host"),
            Self::LinkDown(name) => write!(f, "link {name} is down"),
            Self::NoRoute(address) => write!(f, "no route leads to next hop {address}"),
            Self::Dropped(address, prefix, protocol) => {
                let protocol = protocol_name(*protocol);
                write!(f, "next hop {address} is cut off by {prefix} proto {protocol}")
            }
            Self::Ambiguous(address) => {
                write!(f, "next hop {address} is link-local and its link is not known")
            }
        }
    }
}

impl Mirror {
    /// Notes a link; whether anything but a counter changed. A link that is switched off
    /// takes its IPv4 routes along, and the kernel tells nobody.
    pub fn add_link(&mut self, link: Link) -> bool {
        if !link.is_enabled {
            self.remove_routes_over(link.index);
        }
        self.links.insert(link.index, link.clone()) != Some(link)
    }

    /// Forgets a link with its addresses and routes; whether it was known.
    pub fn remove_link(&mut self, index: u32) -> bool {
        self.addresses.retain(|address| address.link != index);
        self.remove_routes_over(index);
        self.links.remove(&index).is_some()
    }

    fn remove_routes_over(&mut self, link: u32) {
        let gone: Vec<KernelRoute> = self
            .foreign
            .values()
            .flatten()
            .filter(|route| route.target.is_all_over(link))
            .cloned()
            .collect();
        for route in gone {
            self.remove_route(&route);
        }
    }

    /// Whether a route that is not ours leaves by this link.
    pub fn uses(&self, link: u32) -> bool {
        self.foreign.values().flatten().any(|route| route.target.uses(link))
    }

    /// Notes an address; whether it is news.
    pub fn add_address(&mut self, address: Address) -> bool {
        if self.addresses.contains(&address) {
            return false;
        }
        self.remove_address(&address);
        self.addresses.insert(address)
    }

    /// Forgets an address; whether it was known.
    pub fn remove_address(&mut self, gone: &Address) -> bool {
        let before = self.addresses.len();
        self.addresses.retain(|known| {
            (known.link, known.address, known.on_link) != (gone.link, gone.address, gone.on_link)
        });
        self.addresses.len() < before
    }

    /// Notes a route that is not ours, in the place of those with its key if `replaces`;
    /// whether it is news.
    pub fn add_route(&mut self, route: KernelRoute, replaces: bool) -> bool {
        let prefix = route.key.prefix;
        let routes = self.foreign.entry(prefix).or_insert_with(|| {
            *self.lengths[prefix.family().index()].entry(prefix.length()).or_default() += 1;
            Vec::new()
        });
        if routes.contains(&route) {
            return false;
        }
        // An IPv6 multipath route that grows is told whole each time, without the flag.
        let grows = prefix.family() == Family::Ipv6Unicast;
        routes.retain(|known| {
            let same_key = known.key == route.key && known.tos == route.tos;
            !(same_key && (replaces || grows && has_all_hops(&route, known)))
        });
        routes.push(route);
        routes.sort_by_key(|route| route.key.metric);
        true
    }

    /// Forgets a route that is not ours; whether it was known. An IPv6 multipath route may
    /// go hop by hop.
    pub fn remove_route(&mut self, gone: &KernelRoute) -> bool {
        let Some(routes) = self.foreign.get_mut(&gone.key.prefix) else { return false };
        let is_of_key = |known: &KernelRoute| {
            (known.key, known.tos, known.protocol) == (gone.key, gone.tos, gone.protocol)
        };
        if let Some(at) = routes.iter().position(|known| known == gone) {
            routes.remove(at);
        } else if let Some(known) = routes.iter_mut().find(|known| is_of_key(known)) {
            let (Target::Via(hops), Target::Via(less)) = (&mut known.target, &gone.target) else {
                return false;
            };
            hops.retain(|hop| !less.contains(hop));
            if hops.is_empty() {
                routes.retain(|known| !is_of_key(known));
            }
        } else {
            return false;
        }
        if routes.is_empty() {
            self.drop_prefix(gone.key.prefix);
        }
        true
    }

    /// Forgets whoever held a key that we hold now.
    pub fn displace(&mut self, key: &RouteKey) -> bool {
        let Some(routes) = self.foreign.get_mut(&key.prefix) else { return false };
        let before = routes.len();
        routes.retain(|known| known.key != *key || known.tos != 0);
        let displaced = routes.len() < before;
        if routes.is_empty() {
            self.drop_prefix(key.prefix);
        }
        displaced
    }

    fn drop_prefix(&mut self, prefix: Prefix) {
        self.foreign.remove(&prefix);
        let lengths = &mut self.lengths[prefix.family().index()];
        if let Some(count) = lengths.get_mut(&prefix.length()) {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&prefix.length());
            }
        }
    }

    /// The route of another that holds exactly this key, so that ours cannot be there.
    pub fn holder(&self, key: &RouteKey) -> Option<&KernelRoute> {
        self.foreign.get(&key.prefix)?.iter().find(|route| route.key == *key && route.tos == 0)
    }

    /// The route of another that packets for the prefix take in place of ours: of the same
    /// or a better metric. Where that is as it should be, it does not count: the kernel's own
    /// routes to its links go first, and any route before the unreachable one of our own prefix.
    pub fn winner(&self, key: &RouteKey) -> Option<&KernelRoute> {
        const KERNEL: u8 = 2;
        let is_better = |route: &&KernelRoute| {
            route.key.metric < key.metric && route.tos == 0 && route.protocol != KERNEL
        };
        match self.holder(key) {
            Some(holder) => Some(holder),
            None if key.metric == OWN_METRIC => None,
            None => self.foreign.get(&key.prefix)?.iter().find(is_better),
        }
    }

    /// The prefixes that others hold routes for.
    pub fn foreign_prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.foreign.keys().copied()
    }

    /// Has these addresses reached by a gateway each, and no others.
    pub fn set_reachable_by(&mut self, gateways: BTreeMap<IpAddr, IpAddr>) {
        self.reachable_by = gateways;
    }

    /// The addresses that are reached by a gateway of their own, and by which.
    pub fn reachable_by(&self) -> &BTreeMap<IpAddr, IpAddr> {
        &self.reachable_by
    }

    /// How a next hop is reached: on its link if it has one, or as [`Mirror::reach`] says.
    ///
    /// # Errors
    /// The reason why it is not reached.
    pub fn reach_gateway(&self, gateway: Gateway) -> Result<Reached, Unreached> {
        let Gateway { address, link: Some(link) } = gateway else {
            return self.reach(gateway.address);
        };
        if self.addresses.iter().any(|own| own.link == link && own.address == address) {
            return Err(Unreached::Own(address));
        }
        if !self.is_up(link) {
            return Err(Unreached::LinkDown(self.link_name(link)));
        }
        let hop = Hop { gateway: Some(address), link, onlink: false, weight: 0 };
        Ok(Reached { hops: vec![hop], cost: 0 })
    }

    /// How `address` is reached: by the gateway that it was given, or else by the longest match
    /// among routes that are not ours, and among those by the best metric that has a link which
    /// is up.
    ///
    /// # Errors
    /// The reason why it is not reached.
    pub fn reach(&self, address: IpAddr) -> Result<Reached, Unreached> {
        match self.reachable_by.get(&address) {
            // A gateway that is reached by another would make no route that the kernel takes.
            Some(gateway) => {
                self.reach_by_others(*gateway).map(|reached| Reached { cost: 1, ..reached })
            }
            None => self.reach_by_others(address),
        }
    }

    fn reach_by_others(&self, address: IpAddr) -> Result<Reached, Unreached> {
        if self.is_own(address) {
            return Err(Unreached::Own(address));
        }
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            return self.reach_link_local(address);
        }
        let family = Family::of(address);
        for &length in self.lengths[family.index()].keys().rev() {
            let Some(routes) =
                Prefix::new(address, length).ok().and_then(|prefix| self.foreign.get(&prefix))
            else {
                continue;
            };
            return self.reach_by(address, routes);
        }
        // The kernel drops the route to a link that goes down; the address often stays.
        let link = self.addresses.iter().find(|own| own.on_link.contains(address));
        match link.and_then(|own| self.links.get(&own.link)) {
            Some(link) if !link.is_up => Err(Unreached::LinkDown(link.name.clone())),
            _ => Err(Unreached::NoRoute(address)),
        }
    }

    fn reach_by(&self, address: IpAddr, routes: &[KernelRoute]) -> Result<Reached, Unreached> {
        let mut why = Unreached::NoRoute(address);
        for route in routes.iter().filter(|route| route.tos == 0) {
            let Target::Via(hops) = &route.target else {
                return Err(Unreached::Dropped(address, route.key.prefix, route.protocol));
            };
            let mut ways: Vec<Hop> = hops
                .iter()
                .filter(|hop| self.is_up(hop.link))
                .map(|hop| Hop { gateway: hop.gateway.or(Some(address)), weight: 0, ..*hop })
                .collect();
            ways.sort_unstable();
            ways.dedup();
            ways.truncate(MAX_HOPS);
            if !ways.is_empty() {
                let cost = u32::from(hops.iter().all(|hop| hop.gateway.is_some()));
                return Ok(Reached { hops: ways, cost });
            }
            if let Some(link) = hops.first().and_then(|hop| self.links.get(&hop.link)) {
                why = Unreached::LinkDown(link.name.clone());
            }
        }
        Err(why)
    }

    /// A link-local next hop comes without its link, so it is used only where there is no
    /// doubt: exactly one link, loopback aside, has a link-local address.
    fn reach_link_local(&self, address: IpAddr) -> Result<Reached, Unreached> {
        let links: BTreeSet<u32> = self
            .addresses
            .iter()
            .filter(|own| {
                matches!(own.address, IpAddr::V6(v6) if v6.is_unicast_link_local())
                    && self.is_up(own.link)
            })
            .map(|own| own.link)
            .collect();
        match (links.first(), links.len()) {
            (Some(&link), 1) => {
                let hop = Hop { gateway: Some(address), link, onlink: false, weight: 0 };
                Ok(Reached { hops: vec![hop], cost: 0 })
            }
            (None, _) => Err(Unreached::NoRoute(address)),
            _ => Err(Unreached::Ambiguous(address)),
        }
    }

    fn is_up(&self, link: u32) -> bool {
        self.links.get(&link).is_some_and(|link| link.is_up)
    }

    /// Whether `address` is one of this host's.
    pub fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.iter().any(|own| own.address == address)
    }

    /// The name of a link, or its number if it is gone.
    pub fn link_name(&self, index: u32) -> Arc<str> {
        match self.links.get(&index) {
            Some(link) => link.name.clone(),
            None => Arc::from(format!("link {index}")),
        }
    }

    /// The links over which a router told us IPv6 routes (RFC 4861).
    pub fn links_with_router_advertisements(&self) -> Vec<Arc<str>> {
        const RA: u8 = 9;
        let mut links = BTreeSet::new();
        for route in self.foreign.values().flatten().filter(|route| route.protocol == RA) {
            if let Target::Via(hops) = &route.target {
                links.extend(hops.iter().map(|hop| hop.link));
            }
        }
        links.into_iter().map(|link| self.link_name(link)).collect()
    }

    /// The addresses of this host that can be used, in order.
    pub fn own_addresses(&self) -> Vec<LocalAddress> {
        self.addresses
            .iter()
            .filter(|own| own.is_usable)
            .map(|own| LocalAddress {
                interface: self.link_name(own.link),
                index: own.link,
                address: own.address,
                link: own.on_link,
                is_up: self.is_up(own.link),
            })
            .collect()
    }
}

fn has_all_hops(route: &KernelRoute, other: &KernelRoute) -> bool {
    match (&route.target, &other.target) {
        (Target::Via(hops), Target::Via(others)) => others.iter().all(|hop| hops.contains(hop)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
