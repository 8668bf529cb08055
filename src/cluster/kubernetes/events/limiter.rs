//! What is told of what is reported, and when: what is said again is counted in the Event that
//! there is, and whatever happens, there are few writes and little is kept.
//!
//! ```text
//!  report ─► its series ─(new, or counted up)─► due ─(a token is left)─► written
//! ```
//!
//! Time comes in; nothing here waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::cluster::report::Report;

/// Writes that may follow each other at once.
pub const BURST: u32 = 25;
/// Time until one more may follow.
pub const REFILL: Duration = Duration::from_secs(5);
/// Series that are kept: a bound of memory.
const MOST_SERIES: usize = 256;
/// A series is counted up at most this often.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// What was not said for so long begins a new Event when it is said again; as Kubernetes' own
/// components have it.
const SERIES_ENDS: Duration = Duration::from_secs(6 * 60);

/// What was said, how often, and how much of it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Series {
    /// The Event that tells it, `NAMESPACE/NAME`; `None` before there is one.
    event: Option<String>,
    count: u32,
    first: SystemTime,
    last: SystemTime,
    last_at: Instant,
    /// In what order it became due; `None` if all is told.
    due: Option<u64>,
    /// Not to be written before.
    not_before: Instant,
}

/// A write that is to be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// What is said.
    pub(super) report: Report,
    /// The Event to count up; `None` to make one.
    pub(super) event: Option<String>,
    /// How often it was said.
    pub(super) count: u32,
    /// For the first time.
    pub(super) first: SystemTime,
    /// For the last time.
    pub(super) last: SystemTime,
}

/// What came of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This Event tells it, `NAMESPACE/NAME`.
    Written(String),
    /// The Event that was to be counted up is not there any more.
    Gone,
    /// It could not be told. It is not tried again, but told if it is said again.
    Failed,
}

/// Decides. One for a node.
#[derive(Debug)]
pub(super) struct Limiter {
    series: BTreeMap<Report, Series>,
    tokens: u32,
    /// When the tokens were counted; not asked for while all are there.
    filled: Instant,
    next_due: u64,
    dropped: u64,
}

impl Limiter {
    /// One with all its tokens.
    pub(super) fn new(now: Instant) -> Self {
        Self { series: BTreeMap::new(), tokens: BURST, filled: now, next_due: 0, dropped: 0 }
    }

    /// Something is said.
    pub(super) fn say(&mut self, report: Report, now: Instant, clock: SystemTime) {
        self.forget_old(now);
        if let Some(series) = self.series.get_mut(&report) {
            series.count = series.count.saturating_add(1);
            (series.last, series.last_at) = (clock, now);
            series.due.get_or_insert(self.next_due);
            self.next_due += 1;
            return;
        }
        if self.series.len() >= MOST_SERIES && !self.make_room() {
            self.dropped += 1;
            return;
        }
        let series = Series {
            event: None,
            count: 1,
            first: clock,
            last: clock,
            last_at: now,
            due: Some(self.next_due),
            not_before: now,
        };
        self.next_due += 1;
        self.series.insert(report, series);
    }

    /// The next write, which is taken to be made; `None` if none may be made now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Write> {
        self.fill(now);
        if self.tokens == 0 {
            return None;
        }
        let ready = self.series.iter_mut().filter(|(_, series)| series.not_before <= now);
        let due = ready.filter_map(|(report, series)| Some((series.due?, report, series)));
        let (_, report, series) = due.min_by_key(|(order, ..)| *order)?;
        self.tokens -= 1;
        series.due = None;
        series.not_before = now + COUNT_EVERY;
        Some(Write {
            report: report.clone(),
            event: series.event.clone(),
            count: series.count,
            first: series.first,
            last: series.last,
        })
    }

    /// A write was tried.
    pub(super) fn settle(&mut self, report: &Report, outcome: Outcome) {
        let Some(series) = self.series.get_mut(report) else { return };
        match outcome {
            Outcome::Written(event) => series.event = Some(event),
            Outcome::Gone => series.event = None,
            // Without an Event nothing would remember it; and what is said again begins anew.
            Outcome::Failed if series.event.is_none() && series.due.is_none() => {
                self.series.remove(report);
            }
            Outcome::Failed => {}
        }
    }

    /// When [`Limiter::next`] is to be asked again; `None` while nothing is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.series.values().filter(|series| series.due.is_some());
        let earliest = due.map(|series| series.not_before).min()?;
        Some(if self.tokens > 0 { earliest } else { earliest.max(self.filled + REFILL) })
    }

    /// Reports that were lost as there was no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn fill(&mut self, now: Instant) {
        while self.tokens < BURST && now.saturating_duration_since(self.filled) >= REFILL {
            self.filled += REFILL;
            self.tokens += 1;
        }
        if self.tokens == BURST {
            self.filled = now;
        }
    }

    fn forget_old(&mut self, now: Instant) {
        self.series.retain(|_, series| {
            series.due.is_some() || now.saturating_duration_since(series.last_at) < SERIES_ENDS
        });
    }

    /// Drops the series that was told and not said again for the longest time.
    fn make_room(&mut self) -> bool {
        let told = self.series.iter().filter(|(_, series)| series.due.is_none());
        let oldest =
            told.min_by_key(|(_, series)| series.last_at).map(|(report, _)| report.clone());
        oldest.is_some_and(|report| self.series.remove(&report).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::report::{Reason, Subject};

    struct Bench {
        limiter: Limiter,
        start: Instant,
    }

    fn report(number: usize) -> Report {
        let subject = Subject::Node("n1".into());
        Report { subject, reason: Reason::PeerDown, message: format!("message {number}") }
    }

    impl Bench {
        fn new() -> Self {
            let start = Instant::now();
            Self { limiter: Limiter::new(start), start }
        }

        fn say(&mut self, number: usize, seconds: u64) {
            let after = Duration::from_secs(seconds);
            let clock = SystemTime::UNIX_EPOCH + after;
            self.limiter.say(report(number), self.start + after, clock);
        }

        /// What is written at that time: the message, whether an Event is counted up, the count.
        fn written(&mut self, seconds: u64) -> Vec<(String, bool, u32)> {
            let now = self.start + Duration::from_secs(seconds);
            let mut all = Vec::new();
            while let Some(write) = self.limiter.next(now) {
                self.limiter.settle(&write.report, Outcome::Written("event".into()));
                all.push((write.report.message, write.event.is_some(), write.count));
            }
            all
        }

        fn deadline(&self) -> Option<u64> {
            let after = self.limiter.deadline()?.saturating_duration_since(self.start);
            Some(after.as_secs())
        }
    }

    #[test]
    fn what_is_said_again_is_counted_and_now_and_then_told() {
        let mut bench = Bench::new();
        let said = |count, is_series| vec![("message 1".to_owned(), is_series, count)];
        assert_eq!(bench.deadline(), None);
        bench.say(1, 0);
        assert_eq!(bench.deadline(), Some(0));
        assert_eq!(bench.written(0), said(1, false));
        assert_eq!((bench.written(0), bench.deadline()), (vec![], None));
        (0..500).for_each(|_| bench.say(1, 1));
        assert_eq!((bench.written(1), bench.deadline()), (vec![], Some(30)));
        assert_eq!(bench.written(30), said(501, true));
        bench.say(1, 389);
        assert_eq!(bench.written(389), said(1, false), "the series had ended");
    }

    #[test]
    fn a_flood_is_a_burst_and_then_one_every_five_seconds() {
        let mut bench = Bench::new();
        (0..1000).for_each(|number| bench.say(number, 0));
        assert_eq!(bench.limiter.dropped(), 1000 - 256);
        assert_eq!(bench.limiter.series.len(), MOST_SERIES);
        let first = bench.written(0);
        assert_eq!(first.len(), 25);
        assert_eq!(first[0].0, "message 0", "in the order in which they were said");
        for (seconds, count) in [(0, 0), (4, 0), (5, 1), (14, 1), (15, 1), (120, 21), (100_000, 25)]
        {
            assert_eq!(bench.written(seconds).len(), count, "after {seconds} s");
        }
    }

    #[test]
    fn tokens_do_not_gather_beyond_the_burst() {
        let mut bench = Bench::new();
        for after in [0, 1_000_000] {
            (0..100).for_each(|number| bench.say(number, after));
            assert_eq!(bench.written(after).len(), 25);
            assert_eq!(bench.deadline(), Some(after + 5));
        }
    }

    #[test]
    fn what_failed_is_told_only_if_it_is_said_again() {
        let mut bench = Bench::new();
        let now = bench.start;
        bench.say(1, 0);
        let write = bench.limiter.next(now).expect("it is due");
        bench.limiter.settle(&write.report, Outcome::Failed);
        assert_eq!((bench.deadline(), bench.limiter.series.len()), (None, 0));
        bench.say(1, 1);
        assert_eq!(bench.written(1).len(), 1);
        // It was counted up, but the server has forgotten the Event by then.
        bench.say(1, 2);
        let write = bench.limiter.next(now + COUNT_EVERY * 2).expect("it is due");
        assert_eq!((write.event.as_deref(), write.count), (Some("event"), 2));
        bench.limiter.settle(&write.report, Outcome::Gone);
        bench.say(1, 70);
        assert_eq!(bench.written(100), [("message 1".to_owned(), false, 3)]);
    }

    #[test]
    fn room_is_made_by_what_is_told() {
        let mut bench = Bench::new();
        (0..25).for_each(|number| bench.say(number, 0));
        assert_eq!(bench.written(0).len(), 25);
        (100..500).for_each(|number| bench.say(number, 1));
        assert_eq!(bench.limiter.series.len(), MOST_SERIES);
        assert!(bench.limiter.series.values().all(|series| series.event.is_none()));
        assert_eq!(bench.limiter.dropped(), 400 - 256);
    }
}
