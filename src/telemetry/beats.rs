//! Signs of life of the loops that must not stand still.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// All loops that are looked after. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Beats(Arc<Mutex<Vec<Arc<Loop>>>>);

#[derive(Debug)]
struct Loop {
    name: &'static str,
    deadline: Duration,
    heard: Mutex<Heard>,
}

/// What a loop was heard of.
#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Instant,
    /// Silences that were too long and have ended.
    misses: u64,
}

/// The way of one loop to say that it lives.
#[derive(Debug)]
pub struct Beat(Arc<Loop>);

/// A loop as of some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// What the loop is called.
    pub name: &'static str,
    /// How long ago it gave a sign of life.
    pub silence: Duration,
    /// How long it may be silent.
    pub deadline: Duration,
    /// How often it was silent for longer, this time included.
    pub misses: u64,
}

impl Pulse {
    /// Whether it has been silent for too long.
    pub fn is_late(&self) -> bool {
        self.silence > self.deadline
    }
}

impl Loop {
    fn pulse(&self, now: Instant) -> Pulse {
        let Heard { last, misses } = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = now.saturating_duration_since(last);
        let pulse = Pulse { name: self.name, silence, deadline: self.deadline, misses };
        Pulse { misses: misses + u64::from(pulse.is_late()), ..pulse }
    }
}

impl Beats {
    /// Looks after one more loop, which gives its first sign of life hereby. It takes the
    /// place of an earlier one of that name.
    pub fn add(&self, name: &'static str, deadline: Duration) -> Beat {
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earlier = loops.iter().find(|one| one.name == name);
        let misses = earlier.map_or(0, |earlier| earlier.pulse(now).misses);
        let heard = Mutex::new(Heard { last: now, misses });
        let added = Arc::new(Loop { name, deadline, heard });
        loops.retain(|one| one.name != name);
        loops.push(Arc::clone(&added));
        Beat(added)
    }

    /// How all loops are at `now`, in the order in which they were added.
    pub fn pulses(&self, now: Instant) -> Vec<Pulse> {
        let loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.iter().map(|one| one.pulse(now)).collect()
    }

    /// The loops that have been silent for too long.
    pub fn late(&self) -> Vec<Pulse> {
        self.pulses(Instant::now()).into_iter().filter(Pulse::is_late).collect()
    }
}

impl Beat {
    /// The loop lives.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let misses = self.0.pulse(now).misses;
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Heard { last: now, misses };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_late_after_its_deadline_and_not_before() {
        let beats = Beats::default();
        let first = beats.add("first", Duration::from_secs(5));
        let _second = beats.add("second", Duration::from_secs(60));
        let start = Instant::now();
        let late = |after: u64| {
            let pulses = beats.pulses(start + Duration::from_secs(after));
            pulses.iter().filter(|p| p.is_late()).map(|p| p.name).collect::<Vec<_>>()
        };
        assert_eq!(late(4), [""; 0]);
        assert_eq!(late(6), ["first"]);
        assert_eq!(late(61), ["first", "second"]);
        let before = beats.pulses(start + Duration::from_secs(6))[0].silence;
        first.beat();
        assert!(beats.pulses(start + Duration::from_secs(6))[0].silence <= before);
        assert_eq!(beats.late(), []);
    }

    #[test]
    fn each_silence_that_is_too_long_counts_once_also_while_it_lasts() {
        let beats = Beats::default();
        let beat = beats.add("one", Duration::from_secs(5));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let misses = |seconds| beats.pulses(at(seconds))[0].misses;
        assert_eq!((misses(4), misses(7), misses(9)), (0, 1, 1));
        beat.beat_at(at(10));
        beat.beat_at(at(12));
        assert_eq!((misses(13), misses(18)), (1, 2));
        // Another in its place, as after a panic, goes on counting.
        beat.beat_at(at(18));
        drop(beats.add("one", Duration::from_secs(5)));
        assert_eq!(misses(0), 2);
    }
}
