//! Routes of peers without session: which are kept, and when that ends.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{PeerId, Stale};

use super::owner::Owner;
use super::view::PeerEntry;

/// How long a peer whose session is up again may take to tell what it told before: one that
/// says End-of-RIB (RFC 4724 §2) ends that itself.
const STALE_LIMIT: Duration = Duration::from_secs(60);

/// Why what the peer told is kept, by family, if its session ends now.
fn reasons(entry: &PeerEntry) -> [Option<Stale>; 2] {
    [(entry.wanted.retain && !entry.disabled).then_some(Stale::Owned); 2]
}

impl Owner {
    /// The session of a peer that is still wanted has ended.
    pub(super) fn session_lost(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let keep = reasons(entry);
        entry.session = None;
        self.stale_until.remove(&peer);
        self.rib.session_lost(peer, keep);
        self.dirty = true;
    }

    /// A session is up: from now on there is an end to waiting for what is still kept.
    pub(super) fn limit_stale(&mut self, peer: PeerId) {
        if Family::ALL.iter().any(|family| self.rib.stale(peer, *family).is_some()) {
            self.stale_until.insert(peer, Instant::now() + STALE_LIMIT);
        }
    }

    /// When the next peer has had its time.
    pub(super) fn stale_deadline(&self) -> Option<Instant> {
        self.stale_until.values().min().copied()
    }

    /// Ends the waiting for peers that have had their time.
    pub(super) fn end_stale(&mut self) {
        let now = Instant::now();
        let over = |(peer, until): (&PeerId, &Instant)| (*until <= now).then_some(*peer);
        for peer in self.stale_until.iter().filter_map(over).collect::<Vec<_>>() {
            self.drop_stale(peer);
        }
    }

    /// Keeps nothing any more that a peer told in an earlier session.
    pub(super) fn drop_stale(&mut self, peer: PeerId) {
        self.stale_until.remove(&peer);
        for family in Family::ALL {
            self.rib.drop_stale(peer, family);
        }
        self.dirty = true;
    }

    /// Takes over what an earlier run of ours has left in the kernel.
    pub(super) fn adopt(&mut self, routes: Vec<(Prefix, IpAddr)>) {
        let waiting = |entry: &PeerEntry| {
            entry.wanted.mesh && entry.session.is_none() && reasons(entry) != [None; 2]
        };
        let peers = self.peers.iter().filter(|(_, entry)| waiting(entry)).map(|(id, _)| *id);
        let mut peers: Vec<PeerId> = peers.collect();
        peers.sort_unstable();
        for (prefix, next_hop) in routes {
            for peer in &peers {
                if self.rib.adopt(*peer, prefix, next_hop.into(), Stale::Owned) {
                    break;
                }
            }
        }
        self.dirty = true;
    }
}
