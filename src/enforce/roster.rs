//! Which endpoints of this node are programmed, and how long changes took.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use brindle_policy::{PodKey, World};

use super::status::{EnforceStatus, Trigger};
use crate::telemetry::Timings;

/// Latest times that are kept.
const LATEST: usize = 1000;

/// Changes and endpoints that go into the kernel together.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What changed, and when it came.
    arrivals: Vec<(Trigger, Instant)>,
    /// Endpoints that changed, and whether they are of this node now.
    endpoints: BTreeMap<PodKey, bool>,
}

/// The endpoints of this node.
#[derive(Debug, Default)]
pub(super) struct Roster {
    programmed: BTreeSet<PodKey>,
    /// What waits or is being written.
    round: Round,
    latest: VecDeque<Duration>,
    latency: BTreeMap<Trigger, Timings>,
}

impl Roster {
    /// A change came.
    pub(super) fn arrived(&mut self, trigger: Trigger, at: Instant) {
        self.round.arrivals.push((trigger, at));
    }

    /// These endpoints changed.
    pub(super) fn touch<'a>(
        &mut self,
        world: &World,
        node: &str,
        keys: impl IntoIterator<Item = &'a PodKey>,
    ) {
        for key in keys {
            let pod = world.pod(key);
            let is_local = |pod: &brindle_policy::model::Pod| {
                pod.is_endpoint() && pod.node.as_deref() == Some(node)
            };
            self.round.endpoints.insert(key.clone(), pod.is_some_and(|pod| is_local(pod)));
        }
    }

    /// Whether the kernel has all of an endpoint that was told; `writing` is what is being
    /// written.
    pub(super) fn is_programmed(&self, key: &PodKey, writing: Option<&Round>) -> bool {
        let mut rounds = writing.into_iter().chain([&self.round]);
        self.programmed.contains(key) && !rounds.any(|round| round.endpoints.contains_key(key))
    }

    /// What waits now is to be written.
    pub(super) fn take(&mut self) -> Round {
        std::mem::take(&mut self.round)
    }

    /// Writing that failed: it waits again, with what came meanwhile.
    pub(super) fn put_back(&mut self, round: Round) {
        let later = std::mem::replace(&mut self.round, round);
        self.round.arrivals.extend(later.arrivals);
        self.round.endpoints.extend(later.endpoints);
    }

    /// It is written.
    pub(super) fn settle(&mut self, round: Round, now: Instant) {
        for (key, is_local) in round.endpoints {
            if is_local {
                self.programmed.insert(key);
            } else {
                self.programmed.remove(&key);
            }
        }
        for (trigger, arrived) in round.arrivals {
            let took = now.saturating_duration_since(arrived);
            self.latency.entry(trigger).or_default().add(took);
            self.latest.truncate(LATEST - 1);
            self.latest.push_front(took);
        }
    }

    /// Tells it; `writing` is what is being written, `held` are endpoints that wait for their
    /// address.
    pub(super) fn tell<'a>(
        &self,
        status: &mut EnforceStatus,
        writing: Option<&Round>,
        held: impl Iterator<Item = &'a PodKey>,
    ) {
        let mut pending: BTreeSet<&PodKey> = held.collect();
        for round in writing.into_iter().chain([&self.round]) {
            let local = round.endpoints.iter().filter(|(_, is_local)| **is_local);
            pending.extend(local.map(|(key, _)| key));
        }
        pending.retain(|key| !self.programmed.contains(*key));
        status.programmed = self.programmed.len();
        status.pending = pending.into_iter().cloned().collect();
        status.latencies = self.latest.iter().copied().collect();
        status.latencies.sort_unstable();
        status.latency.clone_from(&self.latency);
    }
}
