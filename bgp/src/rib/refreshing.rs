//! A peer tells a family again between marks (RFC 7313 §4): what it does not tell again goes.
//!
//! Unlike paths whose session is over, those that wait to be told again are as good as ever.

use super::bits::Bits;
use super::loc::Edit;
use super::path::PeerIx;
use super::{PeerId, Rib};
use crate::net::Family;

impl Rib {
    /// The peer begins to tell a family again. If it had begun before, that counts no more.
    pub fn refresh_begins(&mut self, from: PeerId, family: Family) {
        let Some(ix) = self.peers.find(from) else { return };
        let Some(peer) = self.peers.get(ix).filter(|peer| peer.has_family(family)) else { return };
        let mut left = Bits::default();
        let table = &self.tables[family.index()];
        if peer.received[family.index()] > 0 {
            for id in 0..table.bound() {
                if table.entry(id).paths.iter().any(|path| path.peer == ix) {
                    left.set(id);
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(ix) {
            peer.refreshing[family.index()] = Some(left);
        }
    }

    /// The peer has told a family again, or has had its time: what it has not told again goes.
    /// Answers how many prefixes that were; an end without a beginning means nothing.
    pub fn refresh_ends(&mut self, from: PeerId, family: Family) -> usize {
        let Some(ix) = self.peers.find(from) else { return 0 };
        let Some(peer) = self.peers.get_mut(ix) else { return 0 };
        let Some(mut left) = peer.refreshing[family.index()].take() else { return 0 };
        let mut gone = 0;
        let mut next = 0;
        while let Some(id) = left.next(next) {
            next = id + 1;
            let paths = &self.tables[family.index()].entry(id).paths;
            if paths.iter().any(|path| path.peer == ix) {
                self.edit(family, id, Edit::Remove(ix));
                gone += 1;
            }
        }
        gone
    }

    /// Whether the peer is about to tell a family again.
    pub fn is_refreshing(&self, peer: PeerId, family: Family) -> bool {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix));
        peer.is_some_and(|peer| peer.refreshing[family.index()].is_some())
    }

    /// Notes that the peer said something of a prefix, given by its number.
    pub(super) fn note_told_again(&mut self, ix: PeerIx, family: Family, id: u32) {
        let peer = self.peers.get_mut(ix);
        if let Some(left) = peer.and_then(|peer| peer.refreshing[family.index()].as_mut()) {
            left.clear(id);
        }
    }
}
