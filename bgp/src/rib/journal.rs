//! Which prefixes of a family changed for a group of peers, and the encodings of stretches of
//! that list.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::export::Told;

/// Prefixes in one encoded chunk: large enough to fill messages, small enough that a slow
/// peer is not handed much more than it asked for.
pub(super) const CHUNK_PREFIXES: usize = 2048;

/// Octets of encodings that a journal keeps for members that lag.
const CACHE_OCTETS: usize = 8 << 20;

/// Prefix numbers in the order of their changes. Each has a sequence number, and only the
/// last entry of a prefix is live: see [`Lane`].
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<(u32, u32)>,
    /// By the sequence number that they begin at.
    chunks: BTreeMap<u32, Arc<Chunk>>,
    octets: usize,
}

/// Encoded messages and the prefixes in them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The sequence number behind it.
    pub(super) end: u32,
    /// All prefixes, section by section.
    pub(super) prefixes: Vec<u32>,
    /// What shares attributes, next hop and source.
    pub(super) sections: Vec<Section>,
}

/// Messages about prefixes that share everything.
#[derive(Debug)]
pub(super) struct Section {
    /// What is told; none for withdrawals.
    pub(super) told: Option<Told>,
    /// Its part of the chunk's prefixes.
    pub(super) prefixes: std::ops::Range<usize>,
    pub(super) messages: Vec<Bytes>,
}

impl Chunk {
    fn octets(&self) -> usize {
        /// A section, its list of messages and what an allocation costs; where few prefixes
        /// share attributes that is most of it.
        const SECTION: usize = 256;
        let messages = self.sections.iter().flat_map(|section| &section.messages);
        messages.map(Bytes::len).sum::<usize>()
            + 4 * self.prefixes.len()
            + SECTION * self.sections.len()
    }
}

impl Journal {
    /// Where an entry with this sequence number stands, or would stand.
    fn position(&self, sequence: u32) -> usize {
        self.entries.partition_point(|&(at, _)| at < sequence)
    }

    /// Entries from this sequence number on.
    pub(super) fn from(&self, sequence: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.entries.range(self.position(sequence)..).copied()
    }

    /// Whether entries stand at or behind this sequence number.
    pub(super) fn has_from(&self, sequence: u32) -> bool {
        self.entries.back().is_some_and(|&(last, _)| last >= sequence)
    }

    /// The encoding that begins here, if it is still good.
    pub(super) fn cached(&self, start: u32) -> Option<Arc<Chunk>> {
        self.chunks.get(&start).map(Arc::clone)
    }

    /// Where an encoding that begins here must end, so that no two overlap.
    fn limit(&self, start: u32) -> Option<u32> {
        self.chunks.range(start.saturating_add(1)..).next().map(|(&next, _)| next)
    }

    /// Keeps an encoding for the members that come after. One that overlaps with one that is
    /// kept is not: members in the middle of a stretch fall in step at its end.
    pub(super) fn keep(&mut self, start: u32, chunk: &Arc<Chunk>) {
        let before = self.chunks.range(..=start).next_back();
        if before.is_some_and(|(_, before)| before.end > start) {
            return;
        }
        self.octets += chunk.octets();
        if self.octets > CACHE_OCTETS {
            self.chunks.clear();
            self.octets = chunk.octets();
        }
        self.chunks.insert(start, Arc::clone(chunk));
    }

    /// Drops the encoding that the entry with this sequence number is part of.
    fn spoil(&mut self, sequence: u32) {
        if let Some((&start, chunk)) = self.chunks.range(..=sequence).next_back()
            && sequence < chunk.end
        {
            self.octets = self.octets.saturating_sub(chunk.octets());
            self.chunks.remove(&start);
        }
    }

    /// Drops what every member has passed.
    pub(super) fn trim(&mut self, lowest: u32) {
        while self.entries.front().is_some_and(|&(at, _)| at < lowest) {
            self.entries.pop_front();
        }
        while let Some((&start, chunk)) = self.chunks.first_key_value()
            && chunk.end <= lowest
        {
            self.octets = self.octets.saturating_sub(chunk.octets());
            self.chunks.remove(&start);
        }
        if self.entries.is_empty() && self.entries.capacity() > 1 << 16 {
            self.entries = VecDeque::new();
        }
    }

    /// Number of entries, live or not.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What changed for a group in one family: withdrawals and announcements apart, so that
/// withdrawals can go first. Both are numbered in one sequence; `last` has the number of the
/// latest entry of each prefix, which makes all its older entries dead. So a prefix is told
/// once to whoever comes by, in its latest state, however often it changed.
#[derive(Debug)]
pub(super) struct Lane {
    next: u32,
    last: Vec<u32>,
    /// Live entries: prefixes that members must not be told, and may have been.
    pub(super) withdraws: Journal,
    /// Live entries: prefixes to be told.
    pub(super) announces: Journal,
    /// No member has taken announcements from here on.
    lead: u32,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            next: 1,
            last: Vec::new(),
            withdraws: Journal::default(),
            announces: Journal::default(),
            lead: 1,
        }
    }
}

impl Lane {
    /// The sequence number that the next change gets: where a new member begins.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Whether this entry is the latest of its prefix.
    pub(super) fn is_live(&self, sequence: u32, id: u32) -> bool {
        self.last.get(id as usize) == Some(&sequence)
    }

    /// The live entries of one of the journals that make up an encoding from `start` on, and
    /// the sequence number that it ends before: always behind `start` if there are entries.
    pub(super) fn stretch(&self, journal: &Journal, start: u32) -> (u32, Vec<u32>) {
        let limit = journal.limit(start);
        let (mut end, mut ids) = (start, Vec::new());
        for (at, id) in journal.from(start) {
            if ids.len() == CHUNK_PREFIXES {
                return (end, ids);
            }
            if limit.is_some_and(|limit| at >= limit) {
                break;
            }
            end = at + 1;
            if self.is_live(at, id) {
                ids.push(id);
            }
        }
        (limit.unwrap_or(end), ids)
    }

    /// Whether a live entry of this prefix stands at or behind a sequence number.
    pub(super) fn is_pending(&self, cursor: u32, id: u32) -> bool {
        self.last.get(id as usize).is_some_and(|&at| at >= cursor)
    }

    /// What is told of this prefix is no longer what encodings say.
    pub(super) fn spoil(&mut self, id: u32) {
        if let Some(&at) = self.last.get(id as usize)
            && at > 0
        {
            self.withdraws.spoil(at);
            self.announces.spoil(at);
        }
    }

    fn note(&mut self, id: u32) -> u32 {
        self.spoil(id);
        let sequence = self.next;
        self.next += 1;
        let index = id as usize;
        if index >= self.last.len() {
            self.last.resize(index + 1, 0);
        }
        self.last[index] = sequence;
        sequence
    }

    /// The prefix must not be told any more.
    pub(super) fn withdraw(&mut self, id: u32) {
        let sequence = self.note(id);
        self.withdraws.entries.push_back((sequence, id));
    }

    /// The prefix is to be told, anew if it `was_told` of before this change.
    pub(super) fn announce(&mut self, id: u32, was_told: bool) {
        if was_told && self.is_pending(self.lead, id) {
            // Nobody has passed its entry: all will see the latest state there.
            self.spoil(id);
            return;
        }
        let sequence = self.note(id);
        self.announces.entries.push_back((sequence, id));
    }

    /// A member has taken announcements up to here.
    pub(super) fn lead_to(&mut self, cursor: u32) {
        self.lead = self.lead.max(cursor);
    }

    /// Whether the journals are so long that lagging members had better note single prefixes.
    pub(super) fn is_full(&self, prefixes: usize) -> bool {
        self.withdraws.len() + self.announces.len() > (1 << 16) + prefixes
            || self.next > u32::MAX - 16
    }

    /// Empties the journals, after every member has noted what it still lacks. Members then
    /// begin at [`Lane::next`].
    pub(super) fn restart(&mut self) {
        self.withdraws.clear();
        self.announces.clear();
        if self.next > u32::MAX / 2 {
            self.next = 1;
            self.last.fill(0);
            self.lead = 1;
        }
        self.lead = self.next;
    }

    /// Entries and octets that are held for members.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.withdraws.len() + self.announces.len(), self.withdraws.octets + self.announces.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(lane: &Lane, journal: &Journal) -> Vec<u32> {
        journal.from(0).filter(|&(at, id)| lane.is_live(at, id)).map(|(_, id)| id).collect()
    }

    #[test]
    fn only_the_latest_change_of_a_prefix_counts() {
        let mut lane = Lane::default();
        lane.announce(1, false);
        lane.announce(2, false);
        lane.withdraw(1);
        assert_eq!(
            (live(&lane, &lane.withdraws), live(&lane, &lane.announces)),
            (vec![1], vec![2])
        );
        lane.announce(1, false);
        assert_eq!(
            (live(&lane, &lane.withdraws), live(&lane, &lane.announces)),
            (vec![], vec![2, 1])
        );
    }

    #[test]
    fn a_change_before_anybody_looked_takes_no_second_entry() {
        let mut lane = Lane::default();
        lane.announce(1, false);
        for _ in 0..1000 {
            lane.announce(1, true);
        }
        assert_eq!(lane.announces.len(), 1);
        lane.lead_to(lane.next());
        lane.announce(1, true);
        assert_eq!(lane.announces.len(), 2, "somebody has passed the first one");
    }

    #[test]
    fn numbers_begin_anew_before_they_run_out() {
        let mut lane = Lane { next: u32::MAX - 20, lead: u32::MAX - 20, ..Lane::default() };
        let mut count = 0;
        while !lane.is_full(0) {
            lane.announce(count, false);
            count += 1;
        }
        assert!(count > 0);
        lane.restart();
        assert_eq!((lane.next(), lane.announces.len()), (1, 0));
        assert!(!lane.is_pending(lane.next(), 0), "what came before is not taken for news");
        lane.announce(0, true);
        assert_eq!(live(&lane, &lane.announces), [0]);
    }

    #[test]
    fn a_stretch_ends_where_a_kept_one_begins_and_always_moves_on() {
        let mut lane = Lane::default();
        for id in 0..4 {
            lane.withdraw(id);
            lane.announce(10 + id, false);
        }
        // Announcements have the numbers 2, 4, 6, 8.
        assert_eq!(lane.stretch(&lane.announces, 1), (9, vec![10, 11, 12, 13]));
        lane.announces.keep(4, &Arc::new(Chunk { end: 7, ..Chunk::default() }));
        assert_eq!(lane.stretch(&lane.announces, 1), (4, vec![10]));
        assert_eq!(lane.stretch(&lane.announces, 3), (4, vec![]));
        assert_eq!(lane.stretch(&lane.announces, 7), (9, vec![13]));
        assert_eq!(lane.stretch(&lane.withdraws, 1), (8, vec![0, 1, 2, 3]));
    }

    #[test]
    fn a_change_spoils_the_encoding_that_it_contradicts_and_no_other() {
        let mut lane = Lane::default();
        for id in 0..4 {
            lane.announce(id, false);
        }
        let chunk = |end| Arc::new(Chunk { end, ..Chunk::default() });
        lane.announces.keep(1, &chunk(3));
        lane.announces.keep(3, &chunk(5));
        lane.withdraw(1);
        assert!(lane.announces.cached(1).is_none());
        assert!(lane.announces.cached(3).is_some());
    }
}
