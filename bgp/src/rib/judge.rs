//! Import filters applied: to what comes, and again to what came when they change.
//!
//! What a path came with is never lost: where filters changed its attributes, the set that it
//! has knows the one that it was made of. A changed filter is applied to that, with no need to
//! ask the peer for anything.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Rib;
use super::adj_in::{admit, change, refuse_path, route};
use super::attr_store::AttrId;
use super::loc::{Edit, Judgement};
use super::path::{Path, PeerIx, Source};
use super::settings::{PeerPolicy, RibPeer};
use super::view::Refusal;
use crate::filter::{Matched, Session};
use crate::msg::{NextHop, Nlri};
use crate::net::{Family, Prefix};

/// Sets that filters have made lately, so that what shares attributes and rules is worked out
/// once. Holds each of them until it is emptied.
#[derive(Debug, Default)]
pub(super) struct Workshop(FxHashMap<(PeerIx, AttrId, Matched), AttrId>);

impl Rib {
    /// What filters know of the session with a peer.
    pub(super) fn session_of(&self, how: &RibPeer) -> Session {
        Session { peer_type: how.kind.peer_type(), asn: how.own_asn(self.settings.asn) }
    }

    /// Which rules of a peer's import change a path that came with these attributes, or why it
    /// is refused.
    pub(super) fn judge(
        &self,
        how: &RibPeer,
        prefix: &Prefix,
        came: AttrId,
        next_hop: NextHop,
    ) -> Result<Matched, Refusal> {
        let attributes = self.attributes.get(came);
        if let Some(refusal) = refuse_path(&self.settings, &self.own, how, attributes, next_hop) {
            return Err(refusal);
        }
        let over = self.links.interface(Some(next_hop));
        let next_hop = (Some(next_hop), over.map(|name| &**name));
        let session = self.session_of(how);
        admit(&how.import, &route(prefix, attributes, next_hop, how.source, session))
    }

    /// What `matched` rules of a peer's import make of the attributes that came; held by
    /// `shop`, or by whoever holds `came` if nothing is changed.
    pub(super) fn make(
        &mut self,
        shop: &mut Workshop,
        ix: PeerIx,
        policy: &PeerPolicy,
        came: AttrId,
        matched: Matched,
    ) -> AttrId {
        if matched.is_empty() {
            return came;
        }
        if let Some(&made) = shop.0.get(&(ix, came, matched.clone())) {
            return made;
        }
        let before = (**self.attributes.get(came)).clone();
        let ours = self
            .peers
            .get(ix)
            .map_or(self.settings.asn, |peer| peer.how.own_asn(self.settings.asn));
        let after = change(policy, &matched, before, ours);
        // `came` may lose its last path while the workshop still knows it.
        self.attributes.hold(came);
        let made = self.attributes.derive(came, after);
        shop.0.insert((ix, came, matched), made);
        made
    }

    /// Lets go of what a workshop holds.
    pub(super) fn empty(&mut self, shop: Workshop) {
        for ((_, came, _), made) in shop.0 {
            self.attributes.release(made);
            self.attributes.release(came);
        }
    }

    /// Judges the paths of one peer, or of all, by the settings as they are now; decides
    /// them anew even without a change if what ties are broken by `has_moved`. What goes, goes
    /// before anything comes: a range that passes from one to another is never with both.
    pub(super) fn judge_again(&mut self, only: Option<PeerIx>, has_moved: bool) {
        let mut later: Vec<(Family, u32, Edit)> = Vec::new();
        let mut shop = Workshop::default();
        for family in Family::ALL {
            for id in 0..self.tables[family.index()].bound() {
                let table = &self.tables[family.index()];
                let paths: SmallVec<[Path; 4]> = table
                    .entry(id)
                    .paths
                    .iter()
                    .filter(|path| {
                        path.peer != PeerIx::OURS && only.is_none_or(|ix| path.peer == ix)
                    })
                    .copied()
                    .collect();
                if paths.is_empty() {
                    continue;
                }
                let prefix = table.prefix(id);
                for path in paths {
                    let Some(judgement) = self.judgement(&mut shop, &prefix, &path) else {
                        continue;
                    };
                    let edit = Edit::Judge(path.key(), judgement);
                    if judgement.refused && !path.is_refused() {
                        self.note_rejection(path.peer, &Nlri { prefix, path_id: path.key().id });
                    }
                    if path.is_refused() && !judgement.refused {
                        later.push((family, id, edit));
                    } else {
                        self.edit(family, id, edit);
                    }
                }
                if has_moved {
                    self.edit(family, id, Edit::Decide);
                }
            }
        }
        for (family, id, edit) in later {
            self.edit(family, id, edit);
        }
        self.empty(shop);
    }

    fn judgement(
        &mut self,
        shop: &mut Workshop,
        prefix: &Prefix,
        path: &Path,
    ) -> Option<Judgement> {
        let how = &self.peers.get(path.peer)?.how;
        let (source, origin) = (Source::from(how.kind), how.source);
        let came = self.attributes.before(path.attributes);
        let next_hop = self.hops.get(path.hop)?;
        let judged = self.judge(how, prefix, came, next_hop);
        let refused = judged.is_err();
        let matched = judged.unwrap_or_default();
        let attributes = if matched.is_empty() {
            came
        } else {
            let policy = how.import.clone();
            self.make(shop, path.peer, &policy, came, matched)
        };
        Some(Judgement { refused, source, origin, attributes })
    }
}
