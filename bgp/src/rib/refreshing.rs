//! A peer tells a family again between marks (RFC 7313 §4): what it does not tell again goes.
//!
//! Unlike paths whose session is over, those that wait to be told again are as good as ever.

use smallvec::SmallVec;

use super::loc::Edit;
use super::path::{Path, PathKey};
use super::{PeerId, Rib};
use crate::net::Family;

impl Rib {
    /// The peer begins to tell a family again. If it had begun before, that counts no more. Where
    /// graceful restart is agreed it means nothing before End-of-RIB: the peer may have restarted,
    /// and not tell yet all that is kept of it (RFC 7313 §4).
    pub fn refresh_begins(&mut self, from: PeerId, family: Family) {
        let Some(ix) = self.peers.find(from) else { return };
        let Some(peer) = self.peers.get_mut(ix).filter(|peer| peer.has_family(family)) else {
            return;
        };
        if peer.keeps_routes() && !peer.synced[family.index()] {
            return;
        }
        peer.refreshing[family.index()] = true;
        if peer.received[family.index()] == 0 {
            return;
        }
        let table = &mut self.tables[family.index()];
        for id in 0..table.bound() {
            for path in table.entry_mut(id).paths.iter_mut().filter(|path| path.peer == ix) {
                *path = path.awaited(true);
            }
        }
    }

    /// The peer has told a family again, or has had its time: what it has not told again goes.
    /// Answers how many paths that were; an end without a beginning means nothing.
    pub fn refresh_ends(&mut self, from: PeerId, family: Family) -> usize {
        let Some(ix) = self.peers.find(from) else { return 0 };
        let Some(peer) = self.peers.get_mut(ix) else { return 0 };
        if !std::mem::take(&mut peer.refreshing[family.index()]) {
            return 0;
        }
        let mut gone = 0;
        for id in 0..self.tables[family.index()].bound() {
            let paths = &self.tables[family.index()].entry(id).paths;
            let awaited = paths.iter().filter(|path| path.peer == ix && path.is_awaited());
            let awaited: SmallVec<[PathKey; 4]> = awaited.map(Path::key).collect();
            gone += awaited.len();
            for key in awaited {
                self.edit(family, id, Edit::Remove(key));
            }
        }
        gone
    }

    /// Whether the peer is about to tell a family again.
    pub fn is_refreshing(&self, peer: PeerId, family: Family) -> bool {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix));
        peer.is_some_and(|peer| peer.refreshing[family.index()])
    }
}
