//! Paths that outlive the session that told them.
//!
//! Per peer and family, with a reason ([`Stale`]), which says whether such a path counts less
//! than a live one. It is never used if it is refused. What ends it: the peer's next session
//! (told again, withdrawn, not there at End-of-RIB, or the peer did not go on forwarding), the
//! next loss before that, a changed import policy, the removal of the peer,
//! [`Rib::drop_stale`].

use smallvec::SmallVec;

use super::Rib;
use super::adj_in::import;
use super::judge::Workshop;
use super::loc::Edit;
use super::path::{Path, PathKey, PeerIx, Source};
use super::settings::{PeerId, PeerKind, Stale};
use crate::fsm::Negotiated;
use crate::msg::{AsPath, Attributes, Community, NextHop, PathId};
use crate::net::{Family, Prefix};

impl Rib {
    /// The peer's session is over: by [`Family::index`], what was learned from it goes, or is
    /// kept for a reason until it is told again; what import refused goes. What was kept before
    /// for another reason than that its owner stands goes, too: it had its time
    /// (RFC 4724 §4.2), unless its owner stands now.
    pub fn session_lost(&mut self, peer: PeerId, keep: [Option<Stale>; 2]) {
        let Some(ix) = self.peers.find(peer) else { return };
        self.out.part(ix);
        self.end_offers();
        for family in Family::ALL {
            match keep[family.index()] {
                None => self.forget_paths(ix, family),
                Some(why) => self.walk_paths(ix, family, |path| match (path.stale(), why) {
                    (None, _) | (Some(_), Stale::Owned) => Some(Edit::Age(path.key(), why)),
                    (Some(Stale::Owned), _) => None,
                    (Some(_), _) => Some(Edit::Remove(path.key())),
                }),
            }
        }
        self.watches.part(ix);
        if let Some(known) = self.peers.get_mut(ix) {
            known.session = None;
            known.synced = [false; 2];
            known.refreshing = Default::default();
            known.stale_for = keep;
        }
    }

    /// Keeps what is still kept of a peer's earlier session in a family for this reason from
    /// now on. For [`Stale::LongLived`] it is marked for others to see, and what must not be
    /// kept for so long goes (RFC 9494 §4.2).
    pub fn keep_stale(&mut self, peer: PeerId, family: Family, why: Stale) {
        let Some(ix) = self.peers.find(peer) else { return };
        if why == Stale::LongLived {
            self.keep_long(ix, family);
        } else {
            self.walk_paths(ix, family, |path| path.stale().map(|_| Edit::Age(path.key(), why)));
        }
        if let Some(peer) = self.peers.get_mut(ix) {
            peer.stale_for[family.index()] = Some(why);
        }
    }

    fn keep_long(&mut self, ix: PeerIx, family: Family) {
        for id in 0..self.tables[family.index()].bound() {
            let paths = &self.tables[family.index()].entry(id).paths;
            let kept = paths.iter().filter(|path| path.peer == ix && path.stale().is_some());
            for path in kept.copied().collect::<SmallVec<[Path; 2]>>() {
                self.keep_path_long(family, id, path);
            }
        }
    }

    fn keep_path_long(&mut self, family: Family, id: u32, path: Path) {
        if self.attributes.get(path.attributes).communities.contains(&Community::NO_LLGR) {
            self.edit(family, id, Edit::Remove(path.key()));
            return;
        }
        // What came bears the mark, too, or filters that change would forget it.
        let before = self.attributes.before(path.attributes);
        let came = self.attributes.intern(long_lived(self.attributes.get(before)));
        let now = long_lived(self.attributes.get(path.attributes));
        let attributes = self.attributes.derive(came, now);
        let kept = path.with(attributes).kept_for(Some(Stale::LongLived));
        self.edit(family, id, Edit::Put(kept));
        self.attributes.release(attributes);
        self.attributes.release(came);
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
        let Some(peer) = self.peers.get(ix) else { return false };
        if peer.session.is_some() {
            return false;
        }
        let family = prefix.family();
        let how = peer.how.clone();
        let as_path = match how.kind {
            PeerKind::External => AsPath::sequence([how.asn]),
            PeerKind::Internal | PeerKind::ReflectorClient => AsPath::default(),
        };
        let attributes = Attributes { as_path, ..Attributes::default() };
        let came = self.attributes.intern(import(&how, attributes));
        let Ok(matched) = self.judge(&how, &prefix, came, next_hop) else {
            self.attributes.release(came);
            return false;
        };
        if let Some(peer) = self.peers.get_mut(ix) {
            peer.stale_for[family.index()] = Some(why);
        }
        let table = &mut self.tables[family.index()];
        let place = table.obtain(&prefix);
        let is_new = |id: &u32| !table.entry(*id).paths.iter().any(|path| path.peer == ix);
        let place = place.filter(is_new);
        if let Some(id) = place {
            let mut shop = Workshop::default();
            let attributes = self.make(&mut shop, ix, &how.import, came, matched);
            let hop = self.hops.intern(next_hop);
            let (source, origin) = (Source::from(how.kind), how.source);
            let key = PathKey { peer: ix, id: PathId::default() };
            let path = Path::new(key, (attributes, hop), source, origin).kept_for(Some(why));
            self.edit(family, id, Edit::Put(path));
            self.hops.release(hop);
            self.empty(shop);
        }
        self.attributes.release(came);
        place.is_some()
    }

    /// Why paths of a peer are kept although their session is over; none if none are.
    pub fn stale(&self, peer: PeerId, family: Family) -> Option<Stale> {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix))?;
        peer.stale_for[family.index()].filter(|_| peer.stale[family.index()] > 0)
    }

    /// A session begins: removes what was kept for a restart, if the peer does not say that it
    /// went on forwarding (RFC 4724 §4.2, RFC 9494 §4.2). What its owner keeps stays.
    pub(super) fn forget_lost(&mut self, ix: PeerIx, family: Family, agreed: &Negotiated) {
        let restart = agreed.restart.as_ref();
        let forwards = restart.is_some_and(|it| it.families[family.index()] == Some(true));
        let long = restart.and_then(|it| it.long_lived[family.index()]);
        let forwards_long = long.is_some_and(|(forwards, _)| forwards);
        self.walk_paths(ix, family, |path| {
            let is_lost = match path.stale()? {
                Stale::Restarting => !forwards,
                Stale::LongLived => !forwards_long,
                Stale::Owned => false,
            };
            is_lost.then_some(Edit::Remove(path.key()))
        });
        if let Some(peer) = self.peers.get_mut(ix)
            && !forwards
            && !forwards_long
        {
            peer.stale_for[family.index()] = Some(Stale::Owned);
        }
    }

    /// Removes what is still stale of a peer in a family.
    pub(super) fn forget_stale(&mut self, ix: PeerIx, family: Family) {
        self.walk_paths(ix, family, |path| path.stale().map(|_| Edit::Remove(path.key())));
        if let Some(peer) = self.peers.get_mut(ix) {
            peer.stale_for[family.index()] = None;
        }
    }
}

/// The same, marked as told by somebody who has been away for long (RFC 9494 §4.2).
fn long_lived(attributes: &Attributes) -> Attributes {
    let mut marked = attributes.clone();
    if let Err(place) = marked.communities.binary_search(&Community::LLGR_STALE) {
        marked.communities.insert(place, Community::LLGR_STALE);
    }
    marked
}
