//! Draining a node: when to take which step. No clock, no packets, no peers: those come in.
//!
//! ```text
//!  announcing ──quiet, or limit──► withdrawing ──quiet, or limit──► closing ──► drained
//!  all is marked                   own prefixes are gone            Cease       stays so until
//!  (RFC 8326)                      from all peers                   (RFC 9003)  it is undone
//! ```
//!
//! Quiet is: everything is told, and for a second no packet has come in for an address that we
//! announce. Where packets cannot be counted each wait takes as long as it may.

mod arriving;
mod cause;
mod kept;

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use arriving::Arriving;
pub use cause::wanted_by;
pub use kept::{Kept, Store};

/// Without a packet for so long it is quiet: what is on its way arrives, and peers choose anew.
const QUIET: Duration = Duration::from_secs(1);

/// The longest wait after withdrawing: whoever still sends then has no other way, or a default
/// route to us.
const WITHDRAWN_LIMIT: Duration = Duration::from_secs(5);

/// The longest wait for sessions to end: each of them has timers of its own.
const CLOSING_LIMIT: Duration = Duration::from_secs(5);

/// Who wants the node drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// Somebody said so, and must say when it ends.
    Operator,
    /// The Node object, for this reason; it ends with it.
    Node(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Who wants it.
    pub by: By,
    /// How long to wait for traffic to go elsewhere before own prefixes are withdrawn.
    pub wait: Duration,
    /// What peers are told when sessions end (RFC 9003), at most 255 octets.
    pub message: Option<String>,
    /// When it was said.
    pub since: SystemTime,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// What peers are told is marked; traffic is to go elsewhere.
    Announcing,
    /// What we originate is withdrawn.
    Withdrawing,
    /// Sessions end.
    Closing,
    /// There are none.
    Drained,
}

/// What can be seen of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Peers that are wanted.
    pub peers: usize,
    /// Those of them with a session.
    pub established: usize,
    /// Those of these that must still be told something.
    pub untold: usize,
    /// Packets that came in since counting began for addresses that we announce; `None` if
    /// they cannot be counted.
    pub arrived: Option<u64>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Withdraw what we originate.
    Withdraw,
    /// End the sessions, now or once more.
    Close,
    /// It is done.
    Done,
}

/// A drain under way, or done.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    wait: Duration,
    /// An earlier run of ours began it: peers may keep what it told, and must first be back.
    is_resumed: bool,
    /// Since when everything is told.
    told: Option<Instant>,
    /// The last count, and since when it is so.
    arrived: Option<(u64, Instant)>,
    rate: Rate,
    outcome: Outcome,
}

/// What came of it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Peers that were told of it.
    pub peers: usize,
    /// How long it took until own prefixes were withdrawn; `None` before that.
    pub withdrawn_after: Option<Duration>,
    /// Packets of the last second; `None` if they cannot be counted.
    pub packets_per_second: Option<u64>,
}

/// Packets a second, over whole seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    begun: Option<(u64, Instant)>,
}

impl Rate {
    /// The packets of the last second, if one has passed.
    fn take(&mut self, count: u64, now: Instant) -> Option<u64> {
        let (before, begun) = *self.begun.get_or_insert((count, now));
        let passed = now.duration_since(begun).as_millis();
        if passed < 1000 {
            return None;
        }
        self.begun = Some((count, now));
        let packets = u128::from(count.saturating_sub(before)) * 1000 / passed;
        Some(u64::try_from(packets).unwrap_or(u64::MAX))
    }
}

impl Drain {
    /// Begins; peers are to be told with marks from now on.
    pub fn begin(wait: Duration, is_resumed: bool, now: Instant) -> Self {
        Self {
            phase: Phase::Announcing,
            since: now,
            wait,
            is_resumed,
            told: None,
            arrived: None,
            rate: Rate::default(),
            outcome: Outcome::default(),
        }
    }

    /// One that an earlier run has ended.
    pub fn done(outcome: Outcome, now: Instant) -> Self {
        let begun = Self::begin(Duration::ZERO, true, now);
        Self { phase: Phase::Drained, outcome, ..begun }
    }

    /// Whoever drains has another wait in mind by now, from when the phase began.
    pub fn set_wait(&mut self, wait: Duration) {
        self.wait = wait;
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What came of it so far.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Takes in what is seen, and says what to do if something is due.
    pub fn look(&mut self, seen: &Seen, now: Instant) -> Option<Step> {
        self.note(seen, now);
        let waited = now.saturating_duration_since(self.since);
        match self.phase {
            Phase::Announcing => {
                self.outcome.peers = self.outcome.peers.max(seen.established);
                // Nobody was told, so nobody need move.
                let is_alone = seen.established == 0 && !self.is_resumed;
                if !(is_alone || self.is_quiet(now) || waited >= self.wait) {
                    return None;
                }
                self.outcome.withdrawn_after = Some(waited);
                Some(self.enter(Phase::Withdrawing, Step::Withdraw, now))
            }
            Phase::Withdrawing => {
                let is_over = seen.established == 0 || self.is_quiet(now);
                let is_over = is_over || waited >= WITHDRAWN_LIMIT.min(self.wait.max(QUIET));
                is_over.then(|| self.enter(Phase::Closing, Step::Close, now))
            }
            Phase::Closing if seen.established == 0 || waited >= CLOSING_LIMIT => {
                Some(self.enter(Phase::Drained, Step::Done, now))
            }
            Phase::Closing => Some(Step::Close),
            Phase::Drained => None,
        }
    }

    fn enter(&mut self, phase: Phase, step: Step, now: Instant) -> Step {
        (self.phase, self.since, self.told) = (phase, now, None);
        step
    }

    fn note(&mut self, seen: &Seen, now: Instant) {
        if self.phase == Phase::Drained {
            return;
        }
        let is_back = !self.is_resumed || seen.established >= seen.peers;
        if seen.untold > 0 || !is_back {
            self.told = None;
        } else {
            self.told.get_or_insert(now);
        }
        match seen.arrived {
            None => {
                self.arrived = None;
                self.outcome.packets_per_second = None;
            }
            Some(count) => {
                if self.arrived.is_none_or(|(before, _)| before != count) {
                    self.arrived = Some((count, now));
                }
                if let Some(rate) = self.rate.take(count, now) {
                    self.outcome.packets_per_second = Some(rate);
                }
            }
        }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        let (Some(told), Some((_, changed))) = (self.told, self.arrived) else { return false };
        now.saturating_duration_since(told.max(changed)) >= QUIET
    }
}

#[cfg(test)]
mod tests;
