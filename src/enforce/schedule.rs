//! When things are tried again.

use std::time::{Duration, Instant};

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest: who held the lock may let it go any time.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How often programs and modules are looked for that are missing.
const DETECT_EVERY: Duration = Duration::from_secs(60);

/// When what is to be done.
#[derive(Debug)]
pub(super) struct Schedule {
    /// When the kernel is read without a reason; `None` while it is not known at all.
    audit: Option<Instant>,
    /// What failed is not tried again before.
    retry: Option<Instant>,
    pause: Duration,
    /// Programs are not looked for before.
    detect: Instant,
}

impl Schedule {
    /// Everything is to be done now.
    pub(super) fn new(now: Instant) -> Self {
        Self { audit: None, retry: None, pause: FIRST_PAUSE, detect: now }
    }

    /// Whether what failed may be tried again.
    pub(super) fn may_retry(&self, now: Instant) -> bool {
        self.retry.is_none_or(|at| at <= now)
    }

    /// Writing failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.retry = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Writing succeeded.
    pub(super) fn succeeded(&mut self) {
        self.retry = None;
        self.pause = FIRST_PAUSE;
    }

    /// Whether the kernel is to be read without a reason.
    pub(super) fn is_audit_due(&self, now: Instant) -> bool {
        self.audit.is_some_and(|at| at <= now)
    }

    /// The kernel was read; next time after `interval`.
    pub(super) fn audited(&mut self, now: Instant, interval: Duration) {
        self.audit = Some(now + interval);
    }

    /// Whether programs are to be looked for.
    pub(super) fn may_detect(&self, now: Instant) -> bool {
        self.detect <= now
    }

    /// They are missing.
    pub(super) fn is_missing(&mut self, now: Instant) {
        self.detect = now + DETECT_EVERY;
    }

    /// The next time after `now` that there may be something to do.
    pub(super) fn next(&self, now: Instant, others: [Option<Instant>; 2]) -> Instant {
        let own = [self.audit, self.retry, Some(self.detect)];
        let next = own.into_iter().chain(others).flatten().filter(|at| *at > now).min();
        next.unwrap_or(now + DETECT_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_anew_after_a_success() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(schedule.may_retry(now));
            schedule.failed(now);
            assert!(!schedule.may_retry(now));
            let next = schedule.next(now, [None; 2]);
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 4000, 4000]);
        schedule.succeeded();
        schedule.failed(now);
        assert_eq!(schedule.next(now, [None; 2]), now + FIRST_PAUSE);
    }

    #[test]
    fn the_nearest_of_what_is_to_come_is_next() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert!(schedule.may_detect(now) && !schedule.is_audit_due(now));
        schedule.is_missing(now);
        assert_eq!(schedule.next(now, [None; 2]), now + DETECT_EVERY);
        schedule.audited(now, Duration::from_secs(30));
        assert_eq!(schedule.next(now, [None; 2]), now + Duration::from_secs(30));
        assert_eq!(schedule.next(now, [None, Some(now + FIRST_PAUSE)]), now + FIRST_PAUSE);
        assert!(schedule.is_audit_due(now + Duration::from_secs(30)));
    }
}
