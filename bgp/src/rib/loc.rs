//! The Loc-RIB: every change of a path, and what follows from it.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::Rib;
use super::adj_out::News;
use super::attr_store::AttrId;
use super::best::Judge;
use super::export::Exporter;
use super::path::{Path, PeerIx, Source};
use super::settings::Stale;
use super::view::{BestChange, Forwarding};
use crate::filter::RouteSource;
use crate::msg::NextHop;
use crate::net::Family;

/// Refused prefixes that are noted until somebody takes them: the first few say enough.
const REFUSALS: usize = 256;

/// A change of one prefix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A peer's path, in place of the one that it had.
    Put(Path),
    /// The path of a peer goes.
    Remove(PeerIx),
    /// The session of a peer is over, and its path is kept nevertheless.
    Age(PeerIx, Stale),
    /// The path of a peer is judged by other settings.
    Judge(PeerIx, Judgement),
    /// Nothing but what the decision process looks at has changed.
    Decide,
}

/// What settings say of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement {
    pub(super) refused: bool,
    pub(super) source: Source,
    pub(super) origin: RouteSource,
    /// Its attributes after import.
    pub(super) attributes: AttrId,
}

impl Rib {
    /// Carries out an edit: keeps the books, decides anew, and notes what became of it.
    pub(super) fn edit(&mut self, family: Family, id: u32, edit: Edit) {
        let Self { settings, tables, attributes, hops, peers, out, changed, refusals, .. } = self;
        let table = &mut tables[family.index()];
        let entry = table.entry_mut(id);
        let before: SmallVec<[Path; 2]> = SmallVec::from_slice(entry.selection());
        let (mut gone, mut come) = (None, None);
        let find = |ix: PeerIx| entry.paths.iter().position(|path| path.peer == ix);
        match edit {
            Edit::Put(path) => {
                come = Some(path);
                match find(path.peer) {
                    Some(place) if entry.paths[place] == path => return,
                    Some(place) => gone = Some(std::mem::replace(&mut entry.paths[place], path)),
                    None => entry.paths.push(path),
                }
            }
            Edit::Remove(ix) => {
                let Some(place) = find(ix) else { return };
                gone = Some(entry.paths.remove(place));
            }
            // What is refused is kept only as long as it may be asked for again.
            Edit::Age(ix, _) if find(ix).is_some_and(|place| entry.paths[place].refused) => {
                gone = find(ix).map(|place| entry.paths.remove(place));
            }
            Edit::Judge(ix, Judgement { refused: true, .. })
                if find(ix).is_some_and(|place| entry.paths[place].stale.is_some()) =>
            {
                gone = find(ix).map(|place| entry.paths.remove(place));
            }
            Edit::Age(ix, why) => {
                let Some(place) = find(ix) else { return };
                let path = Path { stale: Some(why), ..entry.paths[place] };
                if path == entry.paths[place] {
                    return;
                }
                gone = Some(std::mem::replace(&mut entry.paths[place], path));
                come = Some(path);
            }
            Edit::Judge(ix, Judgement { refused, source, origin, attributes }) => {
                let Some(place) = find(ix) else { return };
                let path = Path { refused, source, origin, attributes, ..entry.paths[place] };
                if path == entry.paths[place] {
                    return;
                }
                gone = Some(std::mem::replace(&mut entry.paths[place], path));
                come = Some(path);
            }
            Edit::Decide => {}
        }
        if let Some(path) = come {
            attributes.hold(path.attributes);
            hops.hold(path.hop);
            if !path.refused {
                hops.begin_use(path.hop);
            }
            if let Some(peer) = peers.get_mut(path.peer) {
                peer.received[family.index()] += 1;
                peer.refused[family.index()] += usize::from(path.refused);
                peer.stale[family.index()] += usize::from(path.stale.is_some());
                let is_news = path.refused && gone.is_none_or(|path| !path.refused);
                if is_news && peer.how.import.is_ownership() && refusals.len() < REFUSALS {
                    refusals.push((path.peer, table.prefix(id)));
                }
            }
        }
        let entry = table.entry_mut(id);
        let judge = Judge { attributes, hops, peers, together: (&*settings).into() };
        entry.selected = judge.select(&mut entry.paths);
        if entry.selection() != before.as_slice() {
            let points = |paths: &[Path]| -> SmallVec<[_; 2]> {
                let ours = |path: &Path| (path.source == Source::Ours).then_some(path.origin);
                paths.iter().map(|path| (ours(path), path.hop)).collect()
            };
            if !entry.changed && points(entry.selection()) != points(&before) {
                entry.changed = true;
                changed[family.index()].push_back(id);
            }
            let (before, after) = (before.first().copied(), entry.best());
            if before.map(Path::as_told) != after.map(Path::as_told) {
                let (prefix, prefixes) = (table.prefix(id), table.len());
                let news = News { family, id, prefix, before, after, prefixes };
                out.best_changed(&news, &Exporter { settings, attributes, hops, peers });
            }
        }
        table.paths += usize::from(come.is_some());
        table.paths -= usize::from(gone.is_some());
        if table.entry(id).paths.is_empty() {
            table.bury(id);
        }
        if let Some(path) = gone {
            if !path.refused {
                hops.end_use(path.hop);
            }
            hops.release(path.hop);
            attributes.release(path.attributes);
            if let Some(peer) = peers.get_mut(path.peer) {
                peer.received[family.index()] -= 1;
                peer.refused[family.index()] -= usize::from(path.refused);
                peer.stale[family.index()] -= usize::from(path.stale.is_some());
            }
        }
    }

    /// Removes all paths of a peer in a family: one walk over its table, if it has any.
    pub(super) fn forget_paths(&mut self, ix: PeerIx, family: Family) {
        self.walk_paths(ix, family, |_| Some(Edit::Remove(ix)));
        if let Some(peer) = self.peers.get_mut(ix) {
            peer.stale_for[family.index()] = None;
        }
    }

    /// Edits the paths that a peer has in a family: one walk over the table, as far as there
    /// are any.
    pub(super) fn walk_paths(
        &mut self,
        ix: PeerIx,
        family: Family,
        edit: impl Fn(&Path) -> Option<Edit>,
    ) {
        let mut left = self.peers.get(ix).map_or(0, |peer| peer.received[family.index()]);
        for id in 0..self.tables[family.index()].bound() {
            if left == 0 {
                break;
            }
            let paths = &self.tables[family.index()].entry(id).paths;
            let Some(path) = paths.iter().find(|path| path.peer == ix) else { continue };
            left -= 1;
            if let Some(edit) = edit(path) {
                self.edit(family, id, edit);
            }
        }
    }

    /// Decides anew where next hops have moved: one walk over each table for all of them.
    pub(super) fn settle_hops(&mut self) {
        if !self.hops.has_moved() {
            return;
        }
        let moved = self.hops.take_moved();
        for family in Family::ALL {
            for id in 0..self.tables[family.index()].bound() {
                let paths = &self.tables[family.index()].entry(id).paths;
                if paths.iter().any(|path| !path.refused && moved.has(path.hop)) {
                    self.edit(family, id, Edit::Decide);
                }
            }
        }
    }

    /// Forgets prefixes that have no path and that nobody waits for, once in a while.
    pub(super) fn sweep(&mut self) {
        for family in Family::ALL {
            let table = &mut self.tables[family.index()];
            if table.wants_sweep() {
                table.sweep(|id| self.out.is_told(family, id));
            }
        }
    }

    /// The oldest of the changes that nobody has taken yet.
    pub(super) fn collect_changes(&mut self, limit: usize) -> Vec<BestChange> {
        let waiting: usize = self.changed.iter().map(VecDeque::len).sum();
        let mut changes = Vec::with_capacity(waiting.min(limit));
        for (table, changed) in self.tables.iter_mut().zip(&mut self.changed) {
            let count = changed.len().min(limit - changes.len());
            for id in changed.drain(..count) {
                let entry = table.entry_mut(id);
                entry.changed = false;
                let now = match entry.selection() {
                    [] => Forwarding::None,
                    [best, ..] if best.origin == RouteSource::Service => Forwarding::None,
                    [best, ..] if best.source == Source::Ours => Forwarding::Local,
                    used => {
                        let mut hops: Vec<NextHop> =
                            used.iter().filter_map(|path| self.hops.get(path.hop)).collect();
                        hops.sort_unstable();
                        hops.dedup();
                        Forwarding::Via(hops)
                    }
                };
                changes.push(BestChange { prefix: table.prefix(id), now });
            }
            if changed.is_empty() {
                // A full table's worth of room is not kept for the next change.
                *changed = VecDeque::new();
            }
        }
        changes
    }
}
