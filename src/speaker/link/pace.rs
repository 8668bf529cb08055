//! When a link is spoken on: no I/O.

use std::net::Ipv6Addr;
use std::time::Duration;

use tokio::time::Instant;

/// How often we say that we are there: as often as FRR does for such sessions.
const EVERY: Duration = Duration::from_secs(10);
/// The longest wait between two questions while nobody answers; the first waits are shorter.
const ASK_EVERY: Duration = Duration::from_secs(5);
const FIRST_ASK: Duration = Duration::from_millis(500);
/// The least time between two of our advertisements, however often we are asked.
const CALM: Duration = Duration::from_millis(250);

/// What is due when on one link.
#[derive(Debug)]
pub(super) struct Pace {
    /// Who was heard last.
    known: Option<Ipv6Addr>,
    advertise_at: Instant,
    advertised: Option<Instant>,
    /// The next question, while there is something to ask.
    ask_at: Option<Instant>,
    wait: Duration,
}

impl Pace {
    /// Both are due at once.
    pub(super) fn new(now: Instant) -> Self {
        let (known, advertised) = (None, None);
        Self { known, advertise_at: now, advertised, ask_at: Some(now), wait: FIRST_ASK }
    }

    /// When something is due.
    pub(super) fn next(&self) -> Instant {
        self.ask_at.map_or(self.advertise_at, |at| at.min(self.advertise_at))
    }

    /// Whether to advertise ourselves now; if so, only once.
    pub(super) fn is_advertisement_due(&mut self, now: Instant) -> bool {
        let is_due = self.advertise_at <= now;
        if is_due {
            (self.advertise_at, self.advertised) = (now + EVERY, Some(now));
        }
        is_due
    }

    /// Whether to ask who is there now; if so, only once.
    pub(super) fn is_question_due(&mut self, now: Instant) -> bool {
        let is_due = self.ask_at.is_some_and(|at| at <= now);
        if is_due {
            (self.ask_at, self.wait) = (Some(now + self.wait), (self.wait * 2).min(ASK_EVERY));
        }
        is_due
    }

    /// What is owed to somebody waits a little, so that a flood of questions has one answer.
    fn advertise_soon(&mut self, now: Instant) {
        let soon = self.advertised.map_or(now, |last| (last + CALM).max(now));
        self.advertise_at = self.advertise_at.min(soon);
    }

    /// Somebody asked.
    pub(super) fn solicited(&mut self, now: Instant) {
        self.advertise_soon(now);
    }

    /// Somebody advertised itself.
    pub(super) fn heard(&mut self, neighbour: Ipv6Addr, now: Instant) {
        // One that is new may not have heard us yet, and one that had to be found anew may have
        // forgotten us meanwhile: it asks nobody, as FRR does not.
        if self.known != Some(neighbour) || self.ask_at.is_some() {
            self.advertise_soon(now);
        }
        self.known = Some(neighbour);
        (self.ask_at, self.wait) = (None, FIRST_ASK);
    }

    /// The neighbour is to be found anew; it is to find us as well.
    pub(super) fn ask(&mut self, now: Instant) {
        (self.ask_at, self.wait) = (Some(now), FIRST_ASK);
        self.advertise_soon(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    /// What is done until then: seconds since the start, and whether it is a question.
    fn until(pace: &mut Pace, start: Instant, end: f64) -> Vec<(f64, bool)> {
        let mut done = Vec::new();
        while pace.next() <= start + SECOND.mul_f64(end) {
            let now = pace.next();
            let at = (now - start).as_secs_f64();
            done.extend(pace.is_advertisement_due(now).then_some((at, false)));
            done.extend(pace.is_question_due(now).then_some((at, true)));
        }
        done
    }

    #[tokio::test]
    async fn it_asks_until_somebody_answers_and_advertises_all_the_time() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let asked = [0.0, 0.5, 1.5, 3.5, 7.5, 12.5].map(|at| (at, true));
        let mut want = [&asked[..], &[(0.0, false), (10.0, false)]].concat();
        want.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(until(&mut pace, start, 13.0), want);
        pace.heard(NEIGHBOUR, start + 14 * SECOND);
        assert_eq!(until(&mut pace, start, 30.0), [(14.0, false), (24.0, false)]);
        // It goes on being heard, and is nothing new.
        pace.heard(NEIGHBOUR, start + 31 * SECOND);
        assert_eq!(until(&mut pace, start, 33.9), []);
    }

    #[tokio::test]
    async fn who_is_found_anew_hears_of_us_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.heard(NEIGHBOUR, start);
        until(&mut pace, start, 1.0);
        // The session ends while the cable is pulled, so that this is lost.
        pace.ask(start + 2 * SECOND);
        assert_eq!(
            until(&mut pace, start, 4.0),
            [(2.0, false), (2.0, true), (2.5, true), (3.5, true)]
        );
        pace.heard(NEIGHBOUR, start + SECOND * 9 / 2);
        assert_eq!(until(&mut pace, start, 14.0), [(4.5, false)]);
        // A flood of questions has one answer.
        for more in 0..100 {
            pace.solicited(start + 14 * SECOND + SECOND / 1000 * more);
        }
        assert_eq!(until(&mut pace, start, 14.1), [(14.0, false)]);
        pace.solicited(start + SECOND * 141 / 10);
        assert_eq!(until(&mut pace, start, 15.0), [(14.25, false)]);
    }
}
