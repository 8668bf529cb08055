//! The peers that the RIB knows, each at a place that paths name it by.

use rustc_hash::FxHashMap;

use super::best::TieBreakers;
use super::limit::Limited;
use super::path::{Path, PeerIx};
use super::settings::{PeerId, RibPeer, RibSession, Stale};
use crate::msg::PathId;
use crate::net::Family;

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) how: RibPeer,
    /// What the decision process compares last; follows from `how` and `session`.
    tie_breakers: TieBreakers,
    /// What the session added, while there is one.
    pub(super) session: Option<RibSession>,
    /// Its End-of-RIB came, by family.
    pub(super) synced: [bool; 2],
    /// Paths learned from it, and how many of them import refused, by family.
    pub(super) received: [usize; 2],
    pub(super) refused: [usize; 2],
    /// Of those received, paths that are stale, by family; and why, or why the latest are.
    pub(super) stale: [usize; 2],
    pub(super) stale_for: [Option<Stale>; 2],
    pub(super) limited: Limited,
    /// It is about to tell a family again, by family.
    pub(super) refreshing: [bool; 2],
}

impl Peer {
    /// Whether the session carries `family`.
    pub(super) fn has_family(&self, family: Family) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.negotiated.families.contains(&family))
    }

    /// Whether graceful restart is agreed on the session.
    pub(super) fn keeps_routes(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.negotiated.restart.is_some())
    }

    /// Treats the peer in another way; how it was treated before.
    pub(super) fn treat(&mut self, how: RibPeer) -> RibPeer {
        self.tie_breakers.address = how.address;
        std::mem::replace(&mut self.how, how)
    }

    /// Begins a session.
    pub(super) fn begin(&mut self, session: RibSession) {
        self.tie_breakers.router_id = session.negotiated.their_open.router_id.get();
        self.session = Some(session);
        self.synced = [false; 2];
        self.limited.begin();
        self.refreshing = [false; 2];
    }
}

/// All peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Option<Peer>>,
    free: Vec<PeerIx>,
    by_id: FxHashMap<PeerId, PeerIx>,
}

impl Peers {
    /// The place of a peer, if it is known.
    pub(super) fn find(&self, id: PeerId) -> Option<PeerIx> {
        self.by_id.get(&id).copied()
    }

    /// Adds a peer.
    pub(super) fn add(&mut self, id: PeerId, how: RibPeer) -> PeerIx {
        let peer = Peer {
            id,
            tie_breakers: TieBreakers { router_id: 0, address: how.address, id },
            how,
            session: None,
            synced: [false; 2],
            received: [0; 2],
            refused: [0; 2],
            stale: [0; 2],
            stale_for: [None; 2],
            limited: Limited::default(),
            refreshing: [false; 2],
        };
        let ix = match self.free.pop() {
            Some(index) => {
                self.slots[index.index()] = Some(peer);
                index
            }
            None => {
                self.slots.push(Some(peer));
                PeerIx::new(self.slots.len() - 1)
            }
        };
        self.by_id.insert(id, ix);
        ix
    }

    /// Forgets a peer from which no path is left.
    pub(super) fn remove(&mut self, ix: PeerIx) {
        if let Some(peer) = self.slots.get_mut(ix.index()).and_then(Option::take) {
            self.by_id.remove(&peer.id);
            self.free.push(ix);
        }
    }

    /// Whether the peer that told a path says which of several to the prefix it is, as far as that
    /// is known: of a session that is over only the identifier is left.
    pub(super) fn says_which(&self, path: &Path, family: Family) -> bool {
        let session = self.get(path.peer).and_then(|peer| peer.session.as_ref());
        let receives = |session: &RibSession| session.negotiated.add_paths.receive[family.index()];
        path.id != PathId::default() || session.is_some_and(receives)
    }

    /// The peer at a place; none for our own routes.
    pub(super) fn get(&self, ix: PeerIx) -> Option<&Peer> {
        self.slots.get(ix.index())?.as_ref()
    }

    /// The peer at a place, to be changed.
    pub(super) fn get_mut(&mut self, ix: PeerIx) -> Option<&mut Peer> {
        self.slots.get_mut(ix.index())?.as_mut()
    }

    /// All peers, each with its place.
    pub(super) fn all(&self) -> impl Iterator<Item = (PeerIx, &Peer)> {
        let slots = self.slots.iter().enumerate().map(|(index, slot)| (PeerIx::new(index), slot));
        slots.filter_map(|(ix, slot)| Some((ix, slot.as_ref()?)))
    }

    /// What the last steps of the decision process compare.
    pub(super) fn tie_breakers(&self, ix: PeerIx) -> &TieBreakers {
        self.get(ix).map_or(&TieBreakers::OURS, |peer| &peer.tie_breakers)
    }
}
