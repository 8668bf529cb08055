//! When the fib has to read the kernel's routes anew, try again, or look after itself.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// How long events are gathered before everything is read anew: a link that goes down
/// brings many.
const GATHER: Duration = Duration::from_millis(50);
/// Reading anew takes at most one part in so many of our time, however many events come.
const SHARE: u32 = 10;
/// Nor is it put off for longer than this: what was removed is back within two seconds.
const LATEST: Duration = Duration::from_secs(1);
/// The first and the longest wait before refused routes are tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a route waits for the others of its group before it leaves them for a hop that
/// joined: peers that come back take a while to announce all that they have.
const WAIT: Duration = Duration::from_secs(2);

/// What is due when.
#[derive(Debug)]
pub struct Schedule {
    audit: Duration,
    audit_at: Instant,
    resync_at: Option<Instant>,
    /// Not before this, so that a storm of events does not keep us reading.
    resync_not_before: Instant,
    retry_at: Option<Instant>,
    retry_wait: Duration,
    failed_wait: Duration,
    forwarding_at: Instant,
    waiting_until: Option<Instant>,
}

impl Schedule {
    /// Everything is due at once; later, all is read anew every `audit` to one and a half
    /// times as long.
    pub fn new(now: Instant, audit: Duration) -> Self {
        Self {
            audit,
            audit_at: now,
            resync_at: Some(now),
            resync_not_before: now,
            retry_at: None,
            retry_wait: RETRY.0,
            failed_wait: RETRY.0,
            forwarding_at: now,
            waiting_until: None,
        }
    }

    /// When something is due next.
    pub fn next(&self) -> Instant {
        let first = self.audit_at.min(self.forwarding_at);
        [self.resync_at, self.retry_at, self.waiting_until]
            .into_iter()
            .flatten()
            .fold(first, Instant::min)
    }

    /// Everything is to be read anew, together with what else happens meanwhile; whether that
    /// is news.
    pub fn resync_soon(&mut self, now: Instant) -> bool {
        let is_news = self.resync_at.is_none();
        let at = (now + GATHER).max(self.resync_not_before);
        self.resync_at = Some(self.resync_at.map_or(at, |earlier| earlier.min(at)));
        is_news
    }

    /// Whether everything is to be read anew now.
    pub fn is_resync_due(&self, now: Instant) -> bool {
        self.resync_at.is_some_and(|at| at <= now) || self.audit_at <= now
    }

    /// Everything was read.
    pub fn resync_done(&mut self, started: Instant, now: Instant) {
        self.resync_at = None;
        self.failed_wait = RETRY.0;
        self.resync_not_before = now + ((now - started) * SHARE).min(LATEST);
        self.audit_at = now + self.audit + jitter(self.audit / 2);
    }

    /// It could not be read; again after a while that doubles each time.
    pub fn resync_failed(&mut self, now: Instant) {
        self.resync_at = Some(now + self.failed_wait);
        self.audit_at = now + self.audit;
        self.failed_wait = (self.failed_wait * 2).min(RETRY.1);
    }

    /// The kernel refused something; again after a while that doubles each time.
    pub fn retry_later(&mut self, now: Instant) {
        if self.retry_at.is_none() {
            self.retry_at = Some(now + self.retry_wait);
            self.retry_wait = (self.retry_wait * 2).min(RETRY.1);
        }
    }

    /// Something changed that may have been the reason of a refusal.
    pub fn retry_soon(&mut self, now: Instant) {
        let at = now + RETRY.0 / 2;
        self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether refused routes are to be tried again now; if so, only once.
    pub fn is_retry_due(&mut self, now: Instant) -> bool {
        let is_due = self.retry_at.is_some_and(|at| at <= now);
        if is_due {
            self.retry_at = None;
        }
        is_due
    }

    /// Nothing is refused any more.
    pub fn retry_is_over(&mut self) {
        self.retry_at = None;
        self.retry_wait = RETRY.0;
    }

    /// Routes wait for the others of their groups, or none does.
    pub fn set_waiting(&mut self, any: bool, now: Instant) {
        self.waiting_until = any.then(|| self.waiting_until.unwrap_or(now + WAIT));
    }

    /// Whether routes have waited for the others of their groups for long enough; if so, only
    /// once.
    pub fn is_waiting_over(&mut self, now: Instant) -> bool {
        let is_over = self.waiting_until.is_some_and(|until| until <= now);
        if is_over {
            self.waiting_until = None;
        }
        is_over
    }

    /// Whether forwarding is to be looked at now.
    pub fn is_forwarding_due(&self, now: Instant) -> bool {
        self.forwarding_at <= now
    }

    /// Forwarding is to be looked at then.
    pub fn check_forwarding_at(&mut self, at: Instant) {
        self.forwarding_at = at;
    }
}

/// Anything below `most`, so that nodes that started together do not stay together.
fn jitter(most: Duration) -> Duration {
    let milliseconds = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(RandomState::new().hash_one(0) % milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_storm_of_events_neither_keeps_us_reading_nor_puts_it_off_for_long() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 60 * SECOND);
        assert!(schedule.is_resync_due(start), "everything is read at the start");
        // It took half a second to read: the next time is a second away, not five.
        schedule.resync_done(start, start + SECOND / 2);
        for tick in 1..100 {
            schedule.resync_soon(start + SECOND / 2 + SECOND * tick / 1000);
        }
        assert!(!schedule.is_resync_due(start + SECOND * 3 / 2 - SECOND / 100));
        assert!(schedule.is_resync_due(start + SECOND * 3 / 2));
        // It was read at once: a few events more are gathered.
        schedule.resync_done(start, start);
        schedule.resync_soon(start);
        assert!(!schedule.is_resync_due(start));
        assert!(schedule.is_resync_due(start + GATHER));
    }

    #[tokio::test]
    async fn refused_routes_are_tried_again_after_waits_that_double_up_to_a_minute() {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(now, 60 * SECOND);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            schedule.retry_later(now);
            schedule.retry_later(now + SECOND / 2);
            assert!(!schedule.is_retry_due(now + SECOND * wait - SECOND / 100), "{wait}");
            now += SECOND * wait;
            assert!(schedule.is_retry_due(now), "{wait}");
            assert!(!schedule.is_retry_due(now), "only once after {wait}");
        }
        schedule.retry_later(now);
        schedule.retry_soon(now);
        assert!(schedule.is_retry_due(now + SECOND / 2), "a link event hastens it");
        schedule.retry_is_over();
        schedule.retry_later(now);
        assert!(schedule.is_retry_due(now + SECOND), "waits start anew");
    }

    #[tokio::test]
    async fn routes_wait_for_others_of_their_group_from_the_first_on_and_not_for_ever() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 60 * SECOND);
        schedule.resync_done(start, start);
        schedule.check_forwarding_at(start + 60 * SECOND);
        schedule.set_waiting(true, start);
        schedule.set_waiting(true, start + SECOND);
        assert_eq!(schedule.next(), start + WAIT);
        assert!(!schedule.is_waiting_over(start + SECOND));
        assert!(schedule.is_waiting_over(start + WAIT));
        assert!(!schedule.is_waiting_over(start + WAIT), "only once");
        schedule.set_waiting(true, start);
        schedule.set_waiting(false, start);
        assert!(!schedule.is_waiting_over(start + WAIT), "nobody waits any more");
    }

    #[tokio::test]
    async fn audits_come_with_jitter_and_failures_are_not_repeated_at_once() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 60 * SECOND);
        schedule.resync_done(start, start);
        assert!(!schedule.is_resync_due(start + 59 * SECOND));
        assert!(schedule.is_resync_due(start + 90 * SECOND));
        schedule.resync_failed(start);
        assert!(!schedule.is_resync_due(start + SECOND / 2));
        assert!(schedule.is_resync_due(start + SECOND));
        schedule.resync_failed(start);
        assert!(!schedule.is_resync_due(start + SECOND));
        assert!(schedule.is_resync_due(start + 2 * SECOND));
    }
}
