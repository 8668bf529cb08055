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
    last: Mutex<Instant>,
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
}

impl Pulse {
    /// Whether it has been silent for too long.
    pub fn is_late(&self) -> bool {
        self.silence > self.deadline
    }
}

impl Beats {
    /// Looks after one more loop, which gives its first sign of life hereby. It takes the
    /// place of an earlier one of that name.
    pub fn add(&self, name: &'static str, deadline: Duration) -> Beat {
        let added = Arc::new(Loop { name, deadline, last: Mutex::new(Instant::now()) });
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|one| one.name != name);
        loops.push(Arc::clone(&added));
        Beat(added)
    }

    /// How all loops are at `now`, in the order in which they were added.
    pub fn pulses(&self, now: Instant) -> Vec<Pulse> {
        let loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pulse = |one: &Arc<Loop>| Pulse {
            name: one.name,
            silence: now.saturating_duration_since(
                *one.last.lock().unwrap_or_else(PoisonError::into_inner),
            ),
            deadline: one.deadline,
        };
        loops.iter().map(pulse).collect()
    }

    /// The loops that have been silent for too long.
    pub fn late(&self) -> Vec<Pulse> {
        self.pulses(Instant::now()).into_iter().filter(Pulse::is_late).collect()
    }
}

impl Beat {
    /// The loop lives.
    pub fn beat(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
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
}
