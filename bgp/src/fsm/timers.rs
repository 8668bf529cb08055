//! Lengths of the timers, jitter and back-off.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::PeerSettings;

/// Longest wait for an OPEN (RFC 4271 §8.2.2, Connect, suggests 4 minutes).
pub(super) const OPEN_HOLD: Duration = Duration::from_secs(240);
/// Longest attempt at dialling before the next one begins.
pub(super) const DIAL_LIMIT: Duration = Duration::from_secs(15);
/// How long the answer to an OPEN is held back for the OPEN on another wire that would win.
pub(super) const COLLISION_GRACE: Duration = Duration::from_secs(1);
/// A wire that is older and not Established is not kept for the sake of its direction.
pub(super) const COLLISION_FRESH: Duration = Duration::from_secs(3);
/// Longest time that the peer's connections are refused after an OPEN was refused.
pub(super) const IDLE_HOLD: Duration = Duration::from_secs(3);
/// A session that lasted this long forgets the failures before it.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(60);
/// KEEPALIVEs are never more frequent (RFC 4271 §4.4).
pub(super) const KEEPALIVE_GAP: Duration = Duration::from_secs(1);
/// Least send hold time that is taken unasked (RFC 9687 §3).
const SEND_HOLD: Duration = Duration::from_secs(8 * 60);

/// Bounds on what settings may ask for: no storm, and no instant beyond what a clock can say.
const SHORTEST: Duration = Duration::from_millis(100);
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The send hold time on a session with this hold time (RFC 9687 §3).
pub(super) fn send_hold(settings: &PeerSettings, hold: Duration) -> Duration {
    settings.send_hold.unwrap_or(SEND_HOLD.max(hold * 2)).clamp(hold, LONGEST.max(hold))
}

/// Numbers that differ between peers and never between two runs with one seed: SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 75 to 100 % of `whole`, at most a day (RFC 4271 §10).
    pub(super) fn jitter(&mut self, whole: Duration) -> Duration {
        self.share(whole, 750..=1000)
    }

    /// So many thousandths of `whole`, at most a day.
    pub(crate) fn share(&mut self, whole: Duration, permille: RangeInclusive<u32>) -> Duration {
        let span = u64::from(permille.end() - permille.start()) + 1;
        let more = u32::try_from(self.next() % span).expect("less than the span, which is a u32");
        whole.min(LONGEST) * (permille.start() + more) / 1000
    }
}

/// How long to wait before dialling again: doubled with each failure in a row.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(settings: &PeerSettings) -> Self {
        let first = settings.connect_retry.clamp(SHORTEST, LONGEST);
        let longest = settings.connect_retry_max.clamp(first, LONGEST);
        Self { first, longest, failures: 0 }
    }

    pub(super) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// As after many failures: the next wait is the longest.
    pub(super) fn exhaust(&mut self) {
        self.failures = u32::MAX;
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: the first after no failure or one, then twice, four times and so on.
    pub(super) fn wait(&self, random: &mut Random) -> Duration {
        // 2^20 times 100 ms is more than a day.
        let doublings = self.failures.saturating_sub(1).min(20);
        random.jitter(self.first.saturating_mul(1 << doublings).min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_leaves_three_quarters_to_all_of_a_wait_and_uses_the_whole_range() {
        let mut random = Random::new(1);
        let waits: Vec<Duration> =
            (0..1000).map(|_| random.jitter(Duration::from_secs(100))).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(75) && *least < Duration::from_secs(76), "{least:?}");
        assert!(*most <= Duration::from_secs(100) && *most > Duration::from_secs(99), "{most:?}");
        assert!(random.jitter(Duration::MAX) <= LONGEST);
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut backoff = Backoff { first, longest, failures: 0 };
        let mut random = Random::new(7);
        for want in [1, 1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let wait = backoff.wait(&mut random);
            let whole = Duration::from_secs(want);
            assert!(wait <= whole && wait >= whole * 3 / 4, "{wait:?}, want 75-100 % of {whole:?}");
            backoff.fail();
        }
        backoff.failures = u32::MAX;
        backoff.fail();
        assert!(backoff.wait(&mut random) <= longest);
        backoff.reset();
        assert!(backoff.wait(&mut random) <= first);
    }
}
