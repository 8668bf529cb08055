//! Which sessions end too often, and how long such a peer rests (RFC 4271 §8.1.1
//! DampPeerOscillations).

use std::time::{Duration, Instant};

/// Ends in a row that cost nothing: a restart of the peer, and a second and third one.
const FREE: u32 = 3;
/// A session that lasted this long, or as long a time since the last end, breaks the row.
const CALM: Duration = Duration::from_secs(5 * 60);
/// The first rest; doubled with each further end.
const FIRST: Duration = Duration::from_secs(2);
/// The longest rest.
const LONGEST: Duration = Duration::from_secs(120);
/// The part of the time for which a restarting peer's routes are kept that it rests at most: the
/// other parts are for it to come back in. Without that its rest would outlast them, and a node
/// that is started again and again would lose packets that it goes on forwarding.
pub(super) const PART_OF_AWAITED: u32 = 4;

/// Ends of Established sessions in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Damping {
    ends: u32,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Damping {
    /// A session that was Established for `lasted` has ended. How long the peer rests now;
    /// none if it may come back at once.
    pub(super) fn ended(&mut self, lasted: Duration, now: Instant) -> Option<Duration> {
        let is_calm = self.last.is_none_or(|last| now.duration_since(last) >= CALM + LONGEST);
        if lasted >= CALM || is_calm {
            (self.ends, self.first) = (0, Some(now));
        }
        self.ends = self.ends.saturating_add(1);
        self.last = Some(now);
        let beyond = self.ends.checked_sub(FREE + 1)?;
        // 2^6 times the first rest is more than the longest.
        Some((FIRST * (1 << beyond.min(6))).min(LONGEST))
    }

    /// Forgets what was.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// `session ended 7 times in 5 minutes`.
    pub(super) fn describe(&self) -> String {
        let span = match (self.first, self.last) {
            (Some(first), Some(last)) => last.duration_since(first).as_secs(),
            _ => 0,
        };
        let span = match (span.div_ceil(60), span) {
            (_, 0..=1) => "a second".to_owned(),
            (_, 2..=119) => format!("{span} seconds"),
            (minutes, _) => format!("{minutes} minutes"),
        };
        format!("session ended {} times in {span}", self.ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn who_ends_again_and_again_rests_longer_and_longer() {
        for (what, lasts, want) in [
            ("every two seconds", 2, [0, 0, 0, 2, 4, 8, 16, 32, 64, 120, 120, 120]),
            ("every four minutes", 240, [0, 0, 0, 2, 4, 8, 16, 32, 64, 120, 120, 120]),
            ("every five minutes", 300, [0; 12]),
        ] {
            let (mut damping, mut now) = (Damping::default(), epoch());
            let mut rests = Vec::new();
            for _ in 0..want.len() {
                now += SECOND * lasts;
                let rest = damping.ended(SECOND * lasts, now).unwrap_or_default();
                now += rest;
                rests.push(rest.as_secs());
            }
            assert_eq!(rests, want, "{what}");
        }
    }

    #[test]
    fn a_long_time_without_a_session_is_no_reason_to_rest() {
        let (mut damping, now) = (Damping::default(), epoch());
        for end in 1..=5 {
            damping.ended(SECOND, now + SECOND * end);
        }
        assert_eq!(damping.describe(), "session ended 5 times in 4 seconds");
        assert_eq!(damping.ended(SECOND, now + SECOND * 400), Some(SECOND * 8));
        assert_eq!(damping.describe(), "session ended 6 times in 7 minutes");
        assert_eq!(damping.ended(SECOND, now + SECOND * 900), None);
        damping.reset();
        assert_eq!(damping.ended(SECOND, now + SECOND * 901), None);
        assert_eq!(damping.describe(), "session ended 1 times in a second");
    }
}
