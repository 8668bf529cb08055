//! Paths that outlive the session that told them.
//!
//! Per peer and family, with a reason. A stale path is used only where no live session has
//! one, only while its next hop is on-link, and never if it is refused. What ends it: the
//! peer's next session (told again, withdrawn, or not there at End-of-RIB), a changed import
//! policy, the removal of the peer, [`Rib::drop_stale`].

use super::Rib;
use super::adj_in::{import, is_sane, refuse_prefix};
use super::loc::Edit;
use super::path::{Path, PeerIx, Source};
use super::peer::Peer;
use super::settings::{PeerId, PeerKind, Stale};
use crate::msg::{AsPath, Attributes, NextHop};
use crate::net::{Family, Prefix};

impl Rib {
    /// The peer's session is over: by [`Family::index`], what was learned from it goes, or is
    /// kept for a reason. Kept paths are stale: used only where no live session has one, only
    /// while their next hop is on-link, and gone as soon as the import policy refuses them.
    pub fn session_lost(&mut self, peer: PeerId, keep: [Option<Stale>; 2]) {
        let Some(ix) = self.peers.find(peer) else { return };
        self.out.part(ix);
        for family in Family::ALL {
            match keep[family.index()] {
                None => self.forget_paths(ix, family),
                Some(_) => self.age_paths(ix, family),
            }
        }
        if let Some(known) = self.peers.get_mut(ix) {
            known.session = None;
            known.synced = [false; 2];
            known.refreshing = Default::default();
            known.stale_for = keep;
        }
    }

    /// Keeps nothing any more of a peer's earlier session in a family.
    pub fn drop_stale(&mut self, peer: PeerId, family: Family) {
        if let Some(ix) = self.peers.find(peer) {
            self.forget_stale(ix, family);
        }
    }

    /// Takes a prefix over that a peer must have told an earlier run of ours: as if its session
    /// had ended just now and the path been kept. Answers whether it was, which takes a peer
    /// without session that may tell the prefix.
    pub fn adopt(&mut self, from: PeerId, prefix: Prefix, next_hop: NextHop, why: Stale) -> bool {
        let Some(ix) = self.peers.find(from) else { return false };
        let Some(peer) = self.peers.get_mut(ix) else { return false };
        let is_bad = !is_sane(next_hop.address()) || self.own.contains(&next_hop.address());
        let is_refused = refuse_prefix(&peer.how.import, &prefix, Some(next_hop)).is_some();
        if peer.session.is_some() || is_bad || is_refused {
            return false;
        }
        let family = prefix.family();
        peer.stale_for[family.index()] = Some(why);
        let (how, source) = (peer.how.clone(), Source::from(peer.how.kind));
        let as_path = match how.kind {
            PeerKind::External => AsPath::sequence([how.asn]),
            PeerKind::Internal | PeerKind::ReflectorClient => AsPath::default(),
        };
        let Some(id) = self.tables[family.index()].obtain(&prefix) else { return false };
        let is_known = |path: &Path| path.peer == ix;
        if self.tables[family.index()].entry(id).paths.iter().any(is_known) {
            return false;
        }
        let attributes =
            self.attributes.intern(import(&how, Attributes { as_path, ..Attributes::default() }));
        let hop = self.hops.intern(next_hop);
        let path = Path { peer: ix, attributes, hop, source, refused: false, stale: true };
        self.edit(family, id, Edit::Put(path));
        self.hops.release(hop);
        self.attributes.release(attributes);
        true
    }

    /// Why paths of a peer are kept although their session is over; none if none are.
    pub fn stale(&self, peer: PeerId, family: Family) -> Option<Stale> {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix))?;
        peer.stale_for[family.index()].filter(|_| peer.stale[family.index()] > 0)
    }

    /// Marks all paths of a peer in a family as stale, refused ones aside, which go.
    pub(super) fn age_paths(&mut self, ix: PeerIx, family: Family) {
        let is_left = |peer: &Peer| peer.received[family.index()] > peer.stale[family.index()];
        self.walk_paths(ix, family, Edit::Age(ix), is_left);
    }

    /// Removes what is still stale of a peer in a family.
    pub(super) fn forget_stale(&mut self, ix: PeerIx, family: Family) {
        for id in 0..self.tables[family.index()].bound() {
            if self.peers.get(ix).is_none_or(|peer| peer.stale[family.index()] == 0) {
                break;
            }
            let paths = &self.tables[family.index()].entry(id).paths;
            if paths.iter().any(|path| path.peer == ix && path.stale) {
                self.edit(family, id, Edit::Remove(ix));
            }
        }
        if let Some(peer) = self.peers.get_mut(ix) {
            peer.stale_for[family.index()] = None;
        }
    }
}
