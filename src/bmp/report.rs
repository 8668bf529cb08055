//! What a station's task tells about itself, readable at any time without asking it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use brindle_config::BmpStation;

/// What becomes of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is dialled.
    Dialling,
    /// It is connected, and is told what there is.
    Dumping,
    /// It was told what there was, and is told what changes.
    Streaming,
    /// It is dialled again at that instant.
    Waiting(Instant),
}

/// How a station is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What becomes of it.
    pub phase: Phase,
    /// Since when it is connected, or is not.
    pub since: Instant,
    /// Why the last connection, or attempt at one, ended; a sentence.
    pub last_error: Option<String>,
}

impl State {
    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Dumping | Phase::Streaming)
    }
}

/// Counts since the station was configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages that its connection took.
    pub messages: u64,
    /// Octets of them.
    pub octets: u64,
    /// Connections that began, each with everything from the beginning.
    pub dumps: u64,
    /// Changes that it was not told, since the next one came before it had read so far.
    pub superseded: u64,
    /// Faults of ours that ended a connection.
    pub faults: u64,
}

/// A station, for others to look at.
#[derive(Debug)]
pub struct Report {
    /// As it is wanted.
    pub station: BmpStation,
    state: ArcSwap<State>,
    messages: AtomicU64,
    octets: AtomicU64,
    dumps: AtomicU64,
    superseded: AtomicU64,
    faults: AtomicU64,
}

impl Report {
    pub(super) fn new(station: BmpStation) -> Self {
        let state = State { phase: Phase::Dialling, since: Instant::now(), last_error: None };
        Self {
            station,
            state: ArcSwap::from_pointee(state),
            messages: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            dumps: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        }
    }

    /// How it is.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// What it was told so far.
    pub fn figures(&self) -> Figures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            messages: read(&self.messages),
            octets: read(&self.octets),
            dumps: read(&self.dumps),
            superseded: read(&self.superseded),
            faults: read(&self.faults),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let old = self.state.load();
        let mut state = State { phase, ..State::clone(&old) };
        if state.is_connected() != old.is_connected() {
            state.since = Instant::now();
        }
        self.state.store(Arc::new(state));
    }

    pub(super) fn failed(&self, why: String) {
        let old = self.state.load();
        self.state.store(Arc::new(State { last_error: Some(why), ..State::clone(&old) }));
    }

    pub(super) fn note_dump(&self) {
        self.dumps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_octets(&self, count: usize) {
        self.octets.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn note_superseded(&self, count: u64) {
        self.superseded.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn note_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }
}
