//! What the speaker was told of next hops and own addresses, and what it is still to be told.

use std::collections::{BTreeMap, BTreeSet};

use super::mirror::Mirror;
use super::{Event, Gateway, LocalAddress};

/// Watched next hops. Holds the newest state only, so that it never grows, however late the
/// speaker takes it.
#[derive(Debug, Default)]
pub struct Watch {
    /// What was last told of each; `None` if nothing yet.
    told: BTreeMap<Gateway, Option<Option<u32>>>,
    untold: BTreeSet<Gateway>,
    told_addresses: Option<Vec<LocalAddress>>,
    has_new_addresses: bool,
}

impl Watch {
    /// Watches a next hop from now on. It is told of once in any case.
    pub fn add(&mut self, next_hop: Gateway, mirror: &Mirror) {
        self.told.insert(next_hop, None);
        self.look(next_hop, mirror);
    }

    /// Watches a next hop no more.
    pub fn remove(&mut self, next_hop: Gateway) {
        self.told.remove(&next_hop);
        self.untold.remove(&next_hop);
    }

    /// Compares everything with what was told.
    pub fn look_at_all(&mut self, mirror: &Mirror) {
        let all: Vec<Gateway> = self.told.keys().copied().collect();
        for next_hop in all {
            self.look(next_hop, mirror);
        }
        self.has_new_addresses = self.told_addresses.as_ref() != Some(&mirror.own_addresses());
    }

    fn look(&mut self, next_hop: Gateway, mirror: &Mirror) {
        if self.told.get(&next_hop) == Some(&Some(cost(next_hop, mirror))) {
            self.untold.remove(&next_hop);
        } else {
            self.untold.insert(next_hop);
        }
    }

    /// Whether there is something to tell.
    pub fn has_news(&self) -> bool {
        self.has_new_addresses || !self.untold.is_empty()
    }

    /// What to tell next, addresses first; it counts as told.
    pub fn tell(&mut self, mirror: &Mirror) -> Option<Event> {
        if std::mem::take(&mut self.has_new_addresses) {
            let addresses = mirror.own_addresses();
            self.told_addresses = Some(addresses.clone());
            return Some(Event::OwnAddresses(addresses));
        }
        let mut costs = Vec::with_capacity(self.untold.len());
        for next_hop in std::mem::take(&mut self.untold) {
            let cost = cost(next_hop, mirror);
            self.told.insert(next_hop, Some(cost));
            costs.push((next_hop, cost));
        }
        (!costs.is_empty()).then_some(Event::NextHops(costs))
    }
}

fn cost(next_hop: Gateway, mirror: &Mirror) -> Option<u32> {
    mirror.reach_gateway(next_hop).ok().map(|reached| reached.cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::news::Link;
    use crate::fib::route::{Hop, KernelRoute, RouteKey, Target};

    /// A link that is up or has no carrier, with 10.0.0.0/24 on it.
    fn host(is_up: bool) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.add_link(Link { index: 2, name: "eth0".into(), is_enabled: true, is_up });
        let key = RouteKey { prefix: "10.0.0.0/24".parse().unwrap(), metric: 0 };
        let hop = Hop { gateway: None, link: 2, onlink: false, weight: 0 };
        let target = Target::Via(vec![hop]);
        mirror.add_route(KernelRoute { key, protocol: 2, tos: 0, target }, false);
        mirror
    }

    fn told(watch: &mut Watch, mirror: &Mirror) -> Vec<Event> {
        let mut events = Vec::new();
        while watch.has_news() {
            events.extend(watch.tell(mirror));
        }
        events
    }

    #[test]
    fn each_next_hop_is_told_once_and_then_its_newest_state_if_that_is_another() {
        let (up, down) = (host(true), host(false));
        let gateway = |octets: [u8; 4]| Gateway::from(std::net::IpAddr::from(octets));
        let [near, far] = [gateway([10, 0, 0, 2]), gateway([192, 0, 2, 1])];
        let mut watch = Watch::default();
        watch.look_at_all(&up);
        assert_eq!(told(&mut watch, &up), vec![Event::OwnAddresses(vec![])]);
        watch.add(near, &up);
        watch.add(far, &up);
        assert_eq!(
            told(&mut watch, &up),
            vec![Event::NextHops(vec![(near, Some(0)), (far, None)])],
            "unreachable is told as well"
        );
        watch.look_at_all(&down);
        watch.look_at_all(&up);
        assert!(!watch.has_news(), "down and up again before anybody listened");
        watch.look_at_all(&down);
        assert_eq!(told(&mut watch, &down), vec![Event::NextHops(vec![(near, None)])]);
        watch.look_at_all(&up);
        watch.remove(near);
        assert!(!watch.has_news(), "nobody cares any more");
        watch.add(near, &up);
        assert_eq!(told(&mut watch, &up), vec![Event::NextHops(vec![(near, Some(0))])]);
    }
}
