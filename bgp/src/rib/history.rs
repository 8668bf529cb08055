//! What became of the paths in use, step by step, for those who read along.
//!
//! It is written only while somebody reads, and only the latest is kept: a reader that is slow
//! or gone costs nothing, and is told that it has missed something.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Rib;
use crate::msg::{Attributes, NextHop, PathId};
use crate::net::Prefix;

/// A change of the paths in use of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// When, as [`Rib::note_time`] had it.
    pub at: SystemTime,
    /// The prefix.
    pub prefix: Prefix,
    /// What was used before, the best first; empty if nothing was.
    pub before: Vec<UsedPath>,
    /// What is used now.
    pub after: Vec<UsedPath>,
    /// What happened.
    pub cause: Cause,
}

/// A path in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedPath {
    /// The peer's name; `None` if it is our own.
    pub from: Option<Arc<str>>,
    /// Which of the peer's paths to the prefix it is, where that is told (RFC 7911).
    pub path_id: Option<PathId>,
    /// Where it points; `None` if it is our own.
    pub next_hop: Option<NextHop>,
    /// Its attributes after import.
    pub attributes: Arc<Attributes>,
    /// The session that told it is over.
    pub is_stale: bool,
}

/// What made the paths in use of a prefix change. The name is that of a peer, none for
/// ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A path was announced.
    Announced(Option<Arc<str>>),
    /// A path went: it was withdrawn, or its session ended.
    Withdrawn(Option<Arc<str>>),
    /// The session that told a path is over, and it is kept.
    Kept(Option<Arc<str>>),
    /// Paths of a peer are judged by other settings.
    Judged(Option<Arc<str>>),
    /// A next hop is nearer or farther, or came or went.
    NextHop,
}

/// How far somebody has read: in which history, and up to which of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The history, as [`Rib::record`] called it.
    pub history: u64,
    /// How many of its changes are behind the reader.
    pub count: u64,
}

/// Why a reader does not know all that has happened since it read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// So many changes are not kept any more.
    Missed(u64),
    /// Nothing was written for a while, or somebody else wrote: this is another history.
    OtherHistory,
}

/// What somebody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// In their order; none behind a gap, since the reader is to look at the whole table again.
    pub changes: Vec<RouteChange>,
    /// What it has missed.
    pub gap: Option<Gap>,
    /// Where to go on.
    pub next: Place,
}

/// The latest changes, in a ring.
#[derive(Debug)]
pub(super) struct History {
    name: u64,
    changes: VecDeque<RouteChange>,
    limit: usize,
    /// How many there were so far, those that are not kept any more as well.
    count: u64,
    /// How many of the latest have no time yet.
    untimed: usize,
    /// Until when somebody is taken to be reading.
    until: Instant,
}

impl History {
    pub(super) fn push(
        &mut self,
        prefix: Prefix,
        before: Vec<UsedPath>,
        after: Vec<UsedPath>,
        cause: Cause,
    ) {
        // What nobody can see is no change.
        if before == after {
            return;
        }
        while self.changes.len() >= self.limit {
            self.changes.pop_front();
        }
        self.count += 1;
        let at = SystemTime::UNIX_EPOCH;
        self.changes.push_back(RouteChange { at, prefix, before, after, cause });
        self.untimed += 1;
    }

    fn end(&self) -> Place {
        Place { history: self.name, count: self.count }
    }
}

impl Rib {
    /// Writes down what becomes of paths in use until that instant, the last `limit` changes (at
    /// least one). What is written already goes on, else this is the history `name`, which no
    /// other may have had.
    pub fn record(&mut self, name: u64, limit: usize, until: Instant) {
        let history = self.history.get_or_insert_with(|| History {
            name,
            changes: VecDeque::new(),
            limit: limit.max(1),
            count: 0,
            untimed: 0,
            until,
        });
        history.until = history.until.max(until);
    }

    /// What was written since the last call happened at `time`. Once nobody reads any more, all
    /// is forgotten, and no more is written.
    pub fn note_time(&mut self, time: SystemTime, now: Instant) {
        if let Some(History { changes, untimed, until, .. }) = &mut self.history {
            for change in changes.iter_mut().rev().take(std::mem::take(untimed)) {
                change.at = time;
            }
            if *until < now {
                self.history = None;
            }
        }
    }

    /// Where whoever has read all there is goes on; `None` while nothing is written.
    pub fn end_of_history(&self) -> Option<Place> {
        self.history.as_ref().map(History::end)
    }

    /// The next changes from a place on, with about `limit` paths; none without a place, but
    /// where to begin. `None` while nothing is written.
    pub fn read_history(&self, from: Option<Place>, limit: usize) -> Option<Changes> {
        let history = self.history.as_ref()?;
        let end = history.end();
        let nothing = |gap| Changes { changes: Vec::new(), gap, next: end };
        let Some(from) = from else { return Some(nothing(None)) };
        if from.history != end.history || from.count > end.count {
            return Some(nothing(Some(Gap::OtherHistory)));
        }
        let kept = history.changes.len() as u64;
        let first = end.count - kept;
        if from.count < first {
            return Some(nothing(Some(Gap::Missed(end.count - from.count))));
        }
        let skip = usize::try_from(from.count - first).unwrap_or(usize::MAX);
        let mut paths = 0;
        let fits = |change: &&RouteChange| {
            let is_first = paths == 0;
            paths += change.before.len() + change.after.len();
            is_first || paths <= limit
        };
        let changes: Vec<RouteChange> =
            history.changes.iter().skip(skip).take_while(fits).cloned().collect();
        let next = Place { count: from.count + changes.len() as u64, ..end };
        Some(Changes { changes, gap: None, next })
    }
}
