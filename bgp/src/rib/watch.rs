//! Whoever follows the RIB from outside, as a monitoring station does.
//!
//! Nothing is queued for a watcher: it has one bit a prefix and peer for what it has still to
//! look at. It takes what is there when it looks, so that one that is slow costs no more than
//! one that is not, and misses only states that were over before it looked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Rib;
use super::bits::Bits;
use super::path::{Path, PathKey, PeerIx};
use super::settings::PeerId;
use crate::msg::{Attributes, NextHop, Nlri, PathId};
use crate::net::Family;

/// Somebody who follows the RIB; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u32);

/// What a watcher looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// What a peer told in its session.
    Peer(PeerId),
    /// The best path of each prefix.
    Best,
}

/// How many paths with identifiers may have gone from peers before a watcher looks: beyond,
/// it follows the peer anew.
const MOST_LOST: usize = 1 << 16;

/// A path to a prefix that a watcher has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The prefix, and of a peer with ADD-PATH which of the paths to it.
    pub nlri: Nlri,
    /// What is there now; `None` if nothing is.
    pub path: Option<LookedAt>,
}

/// A path that a watcher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedAt {
    /// Where it points; `None` if it is our own.
    pub next_hop: Option<NextHop>,
    /// Its attributes before import filters.
    pub before: Arc<Attributes>,
    /// The same after them; `None` if import refused the path.
    pub after: Option<Arc<Attributes>>,
}

/// What a watcher has still to look at of one peer; by [`Family::index`].
type Marks = [Bits; 2];

#[derive(Debug)]
struct Watch {
    id: WatchId,
    /// By the place of the peer; none of those that are not followed.
    peers: Vec<Option<Marks>>,
    best: Option<Marks>,
    /// Paths with identifiers that have gone, by peer, family and prefix: nothing else says
    /// which they were.
    lost: BTreeSet<(PeerIx, usize, u32, PathId)>,
    /// Peers of which too many have gone to be kept in mind.
    unknown: BTreeSet<PeerIx>,
    /// Something was marked since the last [`Rib::take_marked_watches`].
    is_marked: bool,
    superseded: u64,
}

impl Watch {
    fn followed(&mut self, ix: PeerIx) -> Option<&mut Marks> {
        self.peers.get_mut(ix.index())?.as_mut()
    }

    fn mark(&mut self, is_new: bool) {
        self.superseded += u64::from(!is_new);
        self.is_marked = true;
    }

    fn has(&self, index: usize, id: u32) -> bool {
        self.peers.iter().flatten().chain(&self.best).any(|marks| marks[index].has(id))
    }
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watches {
    list: Vec<Watch>,
    next: u32,
}

impl Watches {
    /// Nobody watches.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A path of a peer has changed; `is_lost` if it is one of several, and gone.
    pub(super) fn path_changed(&mut self, key: PathKey, family: Family, id: u32, is_lost: bool) {
        let ix = key.peer;
        for watch in &mut self.list {
            let Some(marks) = watch.followed(ix) else { continue };
            let is_new = marks[family.index()].set(id);
            watch.mark(is_new);
            if is_lost && !watch.unknown.contains(&ix) {
                watch.lost.insert((ix, family.index(), id, key.id));
                if watch.lost.len() > MOST_LOST {
                    let unknown: BTreeSet<PeerIx> = watch.lost.iter().map(|lost| lost.0).collect();
                    watch.unknown.extend(unknown);
                    watch.lost.clear();
                }
            }
        }
    }

    /// The best path has changed.
    pub(super) fn best_changed(&mut self, family: Family, id: u32) {
        for watch in &mut self.list {
            if let Some(marks) = &mut watch.best {
                let is_new = marks[family.index()].set(id);
                watch.mark(is_new);
            }
        }
    }

    /// The session of a peer is over: nobody follows it any more.
    pub(super) fn part(&mut self, ix: PeerIx) {
        for watch in &mut self.list {
            if let Some(place) = watch.peers.get_mut(ix.index()) {
                *place = None;
                watch.lost.retain(|(peer, ..)| *peer != ix);
                watch.unknown.remove(&ix);
            }
        }
    }

    /// Whether anybody has still to look at this prefix.
    pub(super) fn is_waited_for(&self, family: Family, id: u32) -> bool {
        self.list.iter().any(|watch| watch.has(family.index(), id))
    }

    fn get_mut(&mut self, id: WatchId) -> Option<&mut Watch> {
        self.list.iter_mut().find(|watch| watch.id == id)
    }
}

impl Rib {
    /// Adds a watcher, which follows nothing yet.
    pub fn watch(&mut self) -> WatchId {
        let id = WatchId(self.watches.next);
        self.watches.next += 1;
        self.watches.list.push(Watch {
            id,
            peers: Vec::new(),
            best: None,
            lost: BTreeSet::new(),
            unknown: BTreeSet::new(),
            is_marked: false,
            superseded: 0,
        });
        id
    }

    /// Forgets a watcher.
    pub fn unwatch(&mut self, watch: WatchId) {
        self.watches.list.retain(|known| known.id != watch);
    }

    /// Lets a watcher look at all that there is, and follow it from now on: a peer until its
    /// session is over. Answers how many prefixes were passed to find what there is.
    pub fn follow(&mut self, watch: WatchId, what: Watched) -> usize {
        let mut marks = Marks::default();
        let mut passed = 0;
        let ix = match what {
            Watched::Best => None,
            Watched::Peer(peer) => match self.peers.find(peer) {
                Some(ix) if self.peers.get(ix).is_some_and(|peer| peer.session.is_some()) => {
                    Some(ix)
                }
                _ => return 0,
            },
        };
        for (table, marks) in self.tables.iter().zip(&mut marks) {
            let family = table.family();
            let mut left = match ix.and_then(|ix| self.peers.get(ix)) {
                Some(peer) => peer.received[family.index()],
                None => table.len(),
            };
            for id in 0..table.bound() {
                if left == 0 {
                    break;
                }
                passed += 1;
                let entry = table.entry(id);
                let is_here = match ix {
                    Some(ix) => entry.paths.iter().any(|path| path.peer == ix),
                    None => entry.best().is_some(),
                };
                if is_here {
                    left -= 1;
                    marks.set(id);
                }
            }
        }
        let Some(watch) = self.watches.get_mut(watch) else { return passed };
        watch.is_marked = true;
        match ix {
            None => watch.best = Some(marks),
            Some(ix) => {
                if watch.peers.len() <= ix.index() {
                    watch.peers.resize_with(ix.index() + 1, || None);
                }
                watch.peers[ix.index()] = Some(marks);
                watch.lost.retain(|(peer, ..)| *peer != ix);
                watch.unknown.remove(&ix);
            }
        }
        passed
    }

    /// The next prefixes of a family that a watcher has to look at, at most `limit`; none if
    /// there are none, or it does not follow that.
    pub fn look(
        &mut self,
        watch: WatchId,
        what: Watched,
        family: Family,
        limit: usize,
    ) -> Vec<Look> {
        let ix = match what {
            Watched::Best => None,
            Watched::Peer(peer) => match self.peers.find(peer) {
                Some(ix) => Some(ix),
                None => return Vec::new(),
            },
        };
        let Some(watch) = self.watches.get_mut(watch) else { return Vec::new() };
        let marks = match ix {
            None => watch.best.as_mut(),
            Some(ix) => watch.followed(ix),
        };
        let Some(marks) = marks.map(|marks| &mut marks[family.index()]) else { return Vec::new() };
        let mut ids = Vec::with_capacity(marks.len().min(limit));
        let mut from = 0;
        while ids.len() < limit
            && let Some(id) = marks.next(from)
        {
            marks.clear(id);
            ids.push(id);
            from = id + 1;
        }
        let index = family.index();
        let mut lost = Vec::new();
        if let Some(ix) = ix {
            for id in &ids {
                let all = (ix, index, *id, PathId(0))..=(ix, index, *id, PathId(u32::MAX));
                lost.extend(watch.lost.range(all).copied());
            }
        }
        for one in &lost {
            watch.lost.remove(one);
        }
        let table = &self.tables[index];
        let see = |path: &Path| LookedAt {
            next_hop: self.hops.get(path.hop),
            before: Arc::clone(self.attributes.get(self.attributes.before(path.attributes))),
            after: (!path.is_refused()).then(|| Arc::clone(self.attributes.get(path.attributes))),
        };
        let mut looks = Vec::with_capacity(ids.len());
        for id in ids {
            let (prefix, entry) = (table.prefix(id), table.entry(id));
            let before = looks.len();
            // What is left of an earlier session is not said in this one.
            let is_told = |path: &&Path| ix == Some(path.peer) && path.stale().is_none();
            let paths = match ix {
                None => entry.best().into_iter().collect(),
                Some(_) => entry.paths.iter().filter(is_told).copied().collect::<Vec<_>>(),
            };
            let mut look =
                |path_id, path| looks.push(Look { nlri: Nlri { prefix, path_id }, path });
            let of_prefix = lost.iter().filter(|(_, _, lost, _)| *lost == id);
            for (.., gone) in of_prefix.filter(|(.., gone)| paths.iter().all(|p| p.id != *gone)) {
                look(*gone, None);
            }
            for path in &paths {
                // The best is told alone.
                let path_id = ix.map_or(PathId::default(), |_| path.id);
                look(path_id, Some(see(path)));
            }
            if looks.len() == before {
                looks.push(Look { nlri: prefix.into(), path: None });
            }
        }
        looks
    }

    /// Whether more of a peer has gone than a watcher can be told: it is to follow the peer anew.
    pub fn is_lost_track_of(&self, watch: WatchId, peer: PeerId) -> bool {
        let Some(ix) = self.peers.find(peer) else { return false };
        let watch = self.watches.list.iter().find(|known| known.id == watch);
        watch.is_some_and(|watch| watch.unknown.contains(&ix))
    }

    /// Watchers that have something to look at and were not named since they last had.
    pub fn take_marked_watches(&mut self) -> Vec<WatchId> {
        let take = |watch: &mut Watch| std::mem::take(&mut watch.is_marked).then_some(watch.id);
        self.watches.list.iter_mut().filter_map(take).collect()
    }

    /// A watcher has looked at all that there was: only what comes now is named again.
    pub fn has_looked(&mut self, watch: WatchId) {
        if let Some(watch) = self.watches.get_mut(watch) {
            watch.is_marked = false;
        }
    }

    /// How many changes a watcher did not see, since the next one came before it looked.
    pub fn superseded(&self, watch: WatchId) -> u64 {
        let watch = self.watches.list.iter().find(|known| known.id == watch);
        watch.map_or(0, |watch| watch.superseded)
    }
}
