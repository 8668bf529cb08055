//! Peers that tell a family again between marks (RFC 7313): what ends that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use brindle_bgp::msg::{Refresh, RouteRefresh};
use brindle_bgp::net::Family;
use brindle_bgp::rib::PeerId;
use tracing::{debug, warn};

use super::owner::Owner;

/// How long a peer may take from the begin mark to the end mark; then what it has not told again
/// goes (RFC 7313 §4).
const REFRESH_LIMIT: Duration = Duration::from_secs(300);

/// Who has begun, and until when it must have ended.
pub(super) type Refreshing = HashMap<(PeerId, Family), Instant>;

impl Owner {
    /// A ROUTE-REFRESH of an agreed family and kind came in.
    pub(super) fn take_refresh(&mut self, peer: PeerId, refresh: RouteRefresh) {
        let Some(family) = refresh.family.family() else { return };
        match refresh.kind {
            Refresh::Request => self.rib.refresh(peer, family),
            Refresh::Begin => {
                self.rib.refresh_begins(peer, family);
                self.refreshing.insert((peer, family), Instant::now() + REFRESH_LIMIT);
            }
            Refresh::End => self.end_refresh(peer, family),
            Refresh::Unknown(_) => {}
        }
    }

    fn end_refresh(&mut self, peer: PeerId, family: Family) {
        self.refreshing.remove(&(peer, family));
        let gone = self.rib.refresh_ends(peer, family);
        if gone > 0 {
            debug!(?peer, %family, gone, "not told again in a refresh");
            self.dirty = true;
        }
    }

    /// When the next peer has had its time.
    pub(super) fn refresh_deadline(&self) -> Option<Instant> {
        self.refreshing.values().min().copied()
    }

    /// Ends the refreshes of peers that have had their time.
    pub(super) fn end_refreshes(&mut self) {
        let now = Instant::now();
        let is_over =
            |(which, until): (&(PeerId, Family), &Instant)| (*until <= now).then_some(*which);
        for (peer, family) in self.refreshing.iter().filter_map(is_over).collect::<Vec<_>>() {
            if let Some(entry) =
                self.peers.get(&peer).filter(|_| self.rib.is_refreshing(peer, family))
            {
                warn!(peer = %entry.wanted.rib.name, %family,
                    "the peer began to tell its routes again and did not end; what it has not told goes");
            }
            self.end_refresh(peer, family);
        }
    }
}
