//! The links of this host: over which interface a next hop is reached, for filters that ask.

use std::sync::Arc;

use super::Rib;
use super::settings::PeerPolicy;
use crate::filter::Condition;
use crate::msg::NextHop;
use crate::net::Prefix;

/// Prefixes of links, the most specific first, each with its interface.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: Vec<(Prefix, Arc<str>)>,
    /// Another whenever they are others.
    pub(super) version: u64,
}

impl Links {
    /// The interface whose link a next hop is on; `None` if it is on none, or on several, as
    /// link-local addresses are.
    pub(super) fn interface(&self, hop: Option<NextHop>) -> Option<&Arc<str>> {
        let address = hop?.address();
        let mut on = self.all.iter().filter(|(link, _)| link.contains(address));
        let (link, interface) = on.next()?;
        let is_sole = on
            .take_while(|(other, _)| other.length() == link.length())
            .all(|(_, other)| other == interface);
        is_sole.then_some(interface)
    }
}

impl PeerPolicy {
    /// Whether a filter asks for the interface of next hops.
    pub(super) fn asks_for_interface(&self) -> bool {
        let PeerPolicy::Filters(filters) = self else { return false };
        let mut rules = filters.iter().flat_map(|filter| &filter.rules);
        rules.any(|rule| {
            let mut conditions = rule.conditions.iter();
            conditions.any(|condition| matches!(condition, Condition::Interface(_)))
        })
    }
}

impl Rib {
    /// Tells which prefixes are links of this host, and by which interface. Filters that ask for
    /// it are applied anew if these are others than before.
    pub fn set_links(&mut self, mut links: Vec<(Prefix, Arc<str>)>) {
        // Nobody else is on the link of a single address, and there may be thousands of these.
        links.retain(|(link, _)| !link.is_host());
        links.sort_by(|(one, of_one), (other, of_other)| {
            (other.length(), one, of_one).cmp(&(one.length(), other, of_other))
        });
        links.dedup();
        if self.links.all == links {
            return;
        }
        self.links.all = links;
        self.links.version += 1;
        let asks = |peer: &super::peer::Peer| {
            (peer.how.import.asks_for_interface(), peer.how.export.asks_for_interface())
        };
        let all: Vec<_> = self.peers.all().map(|(ix, peer)| (ix, asks(peer))).collect();
        for (ix, (import, _)) in &all {
            if *import {
                self.judge_again(Some(*ix), false);
            }
        }
        if all.iter().any(|(_, (_, export))| *export) {
            self.treat_all();
        }
    }
}
