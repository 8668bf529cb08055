//! Peers that tell more prefixes than they may.

use brindle_bgp::rib::{LimitAction, LimitLevel, LimitNews, PATHS_OF_ONE_PEER};
use tracing::{info, warn};

use super::owner::Owner;
use super::peer::Order;

impl Owner {
    /// Says which peers come near to their limits, and ends the sessions of those beyond.
    pub(super) fn enforce_limits(&mut self) {
        for news in self.rib.take_limit_news() {
            let LimitNews { peer, family, level, count, most } = news;
            let Some(entry) = self.peers.get(&peer) else { continue };
            let name = &entry.wanted.rib.name;
            match (level, entry.wanted.rib.limits.action) {
                (LimitLevel::Below, _) => {}
                (LimitLevel::Near, _) => {
                    warn!(peer = %name, %family, count, limit = most,
                        "the peer comes near to the most prefixes that it may tell");
                }
                (LimitLevel::Over, LimitAction::Warn) => {
                    warn!(peer = %name, %family, count, limit = most,
                        "the peer tells more prefixes than it may; all are taken");
                }
                (LimitLevel::Over, LimitAction::Restart(rest)) => {
                    warn!(peer = %name, %family, limit = most, retry_after = ?rest,
                        "the peer tells more prefixes than it may; its session ends");
                    self.over_limit.push((peer, Order::OverLimit(family, most, rest)));
                }
            }
        }
        for (peer, prefix) in self.rib.take_crowds() {
            let Some(entry) = self.peers.get(&peer) else { continue };
            warn!(peer = %entry.wanted.rib.name, %prefix, limit = PATHS_OF_ONE_PEER,
                "the peer tells more paths to one prefix than are taken; those beyond are left out");
        }
        // An order that finds no room is given again: the RIB takes nothing more from the peer,
        // but only the end of the session gives the memory back.
        for (peer, order) in std::mem::take(&mut self.over_limit) {
            let Some(entry) = self.peers.get(&peer) else { continue };
            if entry.session.is_some()
                && let Err(tokio::sync::mpsc::error::TrySendError::Full(order)) =
                    entry.orders.try_send(order)
            {
                info!(peer = %entry.wanted.rib.name, "its task is busy with earlier orders");
                self.over_limit.push((peer, order));
            }
        }
    }
}
