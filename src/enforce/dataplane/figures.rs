//! How often programs were run, and how long they took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a program was run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// To read chains.
    Save,
    /// To write chains.
    Restore,
    /// To look at or put our jumps into the kernel's chains.
    Hook,
    /// To read sets.
    List,
    /// To write sets.
    Fill,
    /// To learn what there is: versions and features.
    Probe,
}

/// The runs of one kind with one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub calls: u64,
    /// How long they took together.
    pub taken: Duration,
}

/// Counts of what was run; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Figures(Arc<Mutex<BTreeMap<(Op, bool), Tally>>>);

impl Figures {
    pub(super) fn count(&self, op: Op, is_ok: bool, taken: Duration) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry((op, is_ok)).or_default();
        tally.calls += 1;
        tally.taken += taken;
    }

    /// The counts so far, by what was run and whether it went well.
    pub fn read(&self) -> BTreeMap<(Op, bool), Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
