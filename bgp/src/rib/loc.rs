//! The Loc-RIB: every change of a path, and what follows from it.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Rib;
use super::adj_out::{News, PathNews};
use super::attr_store::AttrId;
use super::best::Judge;
use super::export::Exporter;
use super::history::{Cause, History, UsedPath};
use super::path::{Path, PathKey, PeerIx, Source};
use super::settings::Stale;
use super::table::Table;
use super::view::{BestChange, Forwarding};
use crate::filter::RouteSource;
use crate::msg::NextHop;
use crate::net::Family;

/// Refused prefixes that are noted until somebody takes them: the first few say enough.
const REFUSALS: usize = 256;

/// A change of one prefix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A path, in place of the one with its key.
    Put(Path),
    /// A path goes.
    Remove(PathKey),
    /// The session that told a path is over, and it is kept nevertheless.
    Age(PathKey, Stale),
    /// A path is judged by other settings.
    Judge(PathKey, Judgement),
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
        let Self {
            settings, tables, attributes, hops, links, peers, out, changed, refusals, ..
        } = self;
        let (watches, history) = (&mut self.watches, &mut self.history);
        let table = &mut tables[family.index()];
        let entry = table.entry_mut(id);
        let before: SmallVec<[Path; 2]> = SmallVec::from_slice(entry.selection());
        let (mut gone, mut come) = (None, None);
        let find = |key: PathKey| entry.paths.iter().position(|path| path.key() == key);
        match edit {
            Edit::Put(path) => {
                come = Some(path);
                match find(path.key()) {
                    Some(place) if entry.paths[place].awaited(path.is_awaited()) == path => {
                        entry.paths[place] = path;
                        return;
                    }
                    Some(place) => gone = Some(std::mem::replace(&mut entry.paths[place], path)),
                    None => entry.paths.push(path),
                }
            }
            Edit::Remove(key) => {
                let Some(place) = find(key) else { return };
                gone = Some(entry.paths.remove(place));
            }
            // What is refused is kept only as long as it may be asked for again.
            Edit::Age(key, _) if find(key).is_some_and(|at| entry.paths[at].is_refused()) => {
                gone = find(key).map(|place| entry.paths.remove(place));
            }
            Edit::Judge(key, Judgement { refused: true, .. })
                if find(key).is_some_and(|at| entry.paths[at].stale().is_some()) =>
            {
                gone = find(key).map(|place| entry.paths.remove(place));
            }
            Edit::Age(key, why) => {
                let Some(place) = find(key) else { return };
                let path = entry.paths[place].kept_for(Some(why));
                if path == entry.paths[place] {
                    return;
                }
                gone = Some(std::mem::replace(&mut entry.paths[place], path));
                come = Some(path);
            }
            Edit::Judge(key, Judgement { refused, source, origin, attributes }) => {
                let Some(place) = find(key) else { return };
                let path = entry.paths[place].from(source, origin).refused(refused);
                let path = path.with(attributes);
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
            if !path.is_refused() {
                hops.begin_use(path.hop);
            }
            if let Some(peer) = peers.get_mut(path.peer) {
                peer.received[family.index()] += 1;
                peer.refused[family.index()] += usize::from(path.is_refused());
                peer.stale[family.index()] += usize::from(path.stale().is_some());
                let is_news = path.is_refused() && gone.is_none_or(|path| !path.is_refused());
                if is_news && peer.how.import.is_ownership() && refusals.len() < REFUSALS {
                    refusals.push((path.peer, table.prefix(id)));
                }
            }
        }
        if let Some(path) = come.or(gone)
            && !watches.is_empty()
        {
            let session = peers.get(path.peer).and_then(|peer| peer.session.as_ref());
            let has_ids =
                session.is_some_and(|session| session.negotiated.add_paths.receive[family.index()]);
            watches.path_changed(path.key(), family, id, has_ids && come.is_none());
        }
        let entry = table.entry_mut(id);
        let judge = Judge { attributes, hops, peers, together: (&*settings).into() };
        entry.selected = judge.select(&mut entry.paths);
        if entry.selection() != before.as_slice() {
            if !entry.changed && !points_alike(entry.selection(), &before) {
                entry.changed = true;
                changed[family.index()].push_back(id);
            }
            let selected_before = before;
            let (before, after) = (selected_before.first().copied(), entry.best());
            if before.map(Path::as_told) != after.map(Path::as_told) {
                let (prefix, prefixes) = (table.prefix(id), table.len());
                let news = News { family, id, prefix, before, after, prefixes };
                out.best_changed(&news, &Exporter { settings, attributes, hops, links, peers });
                watches.best_changed(family, id);
            }
            if let Some(history) = history {
                let by = Exporter { settings, attributes, hops, links, peers };
                record(history, &by, table, id, &selected_before, &edit);
            }
        }
        if let Some(depth) = table.offer_depth() {
            let ranked = judge.rank(&table.entry(id).paths, depth);
            let changes = table.offer(id, &ranked);
            if !changes.is_empty() {
                let (prefix, numbers) = (table.prefix(id), table.numbers(true) as usize);
                let news = PathNews { family, prefix, changes: &changes, numbers };
                out.paths_changed(&news, &Exporter { settings, attributes, hops, links, peers });
            }
        }
        table.paths += usize::from(come.is_some());
        table.paths -= usize::from(gone.is_some());
        if table.entry(id).paths.is_empty() {
            table.bury(id);
        }
        if let Some(path) = gone {
            if !path.is_refused() {
                hops.end_use(path.hop);
            }
            hops.release(path.hop);
            attributes.release(path.attributes);
            if let Some(peer) = peers.get_mut(path.peer) {
                peer.received[family.index()] -= 1;
                peer.refused[family.index()] -= usize::from(path.is_refused());
                peer.stale[family.index()] -= usize::from(path.stale().is_some());
            }
        }
    }

    /// Removes all paths of a peer in a family: one walk over its table, if it has any.
    pub(super) fn forget_paths(&mut self, ix: PeerIx, family: Family) {
        self.walk_paths(ix, family, |path| Some(Edit::Remove(path.key())));
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
            let of_peer: SmallVec<[Path; 2]> =
                paths.iter().filter(|path| path.peer == ix).copied().collect();
            left -= of_peer.len();
            for edit in of_peer.iter().filter_map(&edit) {
                self.edit(family, id, edit);
            }
        }
    }

    /// Gives the paths of a family numbers, for peers that are told up to `most` of a prefix,
    /// unless they have them.
    pub(super) fn offer_paths(&mut self, family: Family, most: u32) {
        if !self.tables[family.index()].begin_offers(most) {
            return;
        }
        for id in 0..self.tables[family.index()].bound() {
            if !self.tables[family.index()].entry(id).paths.is_empty() {
                self.edit(family, id, Edit::Decide);
            }
        }
    }

    /// Takes the numbers away from paths if no peer is told several of a prefix any more.
    pub(super) fn end_offers(&mut self) {
        for family in Family::ALL {
            if !self.out.has_paths(family) {
                self.tables[family.index()].end_offers();
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
                if paths.iter().any(|path| !path.is_refused() && moved.has(path.hop)) {
                    self.edit(family, id, Edit::Decide);
                }
            }
        }
    }

    /// Forgets prefixes that have no path and that nobody waits for, once in a while.
    pub(super) fn sweep(&mut self) {
        for family in Family::ALL {
            let table = &mut self.tables[family.index()];
            table.sweep_offers(|number| self.out.is_told(family, true, number));
            if table.wants_sweep() {
                let (out, watches) = (&self.out, &self.watches);
                table.sweep(|id| {
                    out.is_told(family, false, id) || watches.is_waited_for(family, id)
                });
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
                    [best, ..] if best.origin() == RouteSource::Service => Forwarding::None,
                    [best, ..] if best.source() == Source::Ours => Forwarding::Local,
                    used => {
                        let mut hops: Vec<NextHop> = Vec::with_capacity(used.len());
                        hops.extend(used.iter().filter_map(|path| self.hops.get(path.hop)));
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

/// Whether packets go to the same places by both selections.
fn points_alike(one: &[Path], other: &[Path]) -> bool {
    let point = |path: &Path| {
        let is_service = path.origin() == RouteSource::Service;
        (path.source() == Source::Ours, is_service, path.hop)
    };
    // Most prefixes have one way or none, before and after.
    match (one, other) {
        ([], []) => return true,
        ([], _) | (_, []) => return false,
        ([one], [other]) => return point(one) == point(other),
        _ => {}
    }
    let points = |paths: &[Path]| {
        let mut points: SmallVec<[_; 4]> = paths.iter().map(point).collect();
        points.sort_unstable();
        points.dedup();
        points
    };
    points(one) == points(other)
}

/// Records that other paths of a prefix are in use.
fn record(
    history: &mut History,
    with: &Exporter<'_>,
    table: &Table,
    id: u32,
    before: &[Path],
    edit: &Edit,
) {
    let name = |ix: PeerIx| with.peers.get(ix).map(|peer| Arc::clone(&peer.how.name));
    let used = |paths: &[Path]| {
        let used = paths.iter().map(|path| UsedPath {
            from: name(path.peer),
            path_id: with.peers.says_which(path, table.family()).then_some(path.id),
            next_hop: with.hops.get(path.hop),
            attributes: Arc::clone(with.attributes.get(path.attributes)),
            is_stale: path.stale().is_some(),
        });
        used.collect()
    };
    let cause = match *edit {
        Edit::Put(path) => Cause::Announced(name(path.peer)),
        Edit::Remove(key) => Cause::Withdrawn(name(key.peer)),
        Edit::Age(key, _) => Cause::Kept(name(key.peer)),
        Edit::Judge(key, _) => Cause::Judged(name(key.peer)),
        Edit::Decide => Cause::NextHop,
    };
    history.push(table.prefix(id), used(before), used(table.entry(id).selection()), cause);
}
