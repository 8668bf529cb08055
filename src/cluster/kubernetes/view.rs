//! What the API server has, as far as we know it, and what of that is still to be told: pure.
//!
//! Everything that arrives is put into the view at once; what it comes down to is taken out
//! when somebody listens. What is overtaken in between is never told, nor is anything that is
//! as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::names::Names;
use crate::cluster::Change;
use crate::cluster::files::{Batch, Counts};
use crate::cluster::kind::Kind;
use crate::cluster::node::BadField;
use crate::cluster::object::{Key, Object};
use crate::cluster::stand_in::StandIn;
use crate::cluster::typed::Reading;

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectProblem {
    /// The object, `Node/n2`; its kind alone where its name cannot be told.
    pub object: String,
    /// The field; empty for the whole.
    pub field: String,
    /// What is wrong, and what follows from it.
    pub message: String,
}

/// Deletions of a kind that a listing seemed to find, and that are not believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) kind: Kind,
    /// How many are missing.
    pub(super) missing: usize,
    /// Of how many.
    pub(super) known: usize,
    /// The first of them by name.
    pub(super) first: Key,
}

/// The view. See the module.
pub(super) struct View {
    /// How long suspicious deletions wait; zero believes everything.
    hold: Duration,
    objects: BTreeMap<Key, Object>,
    counts: BTreeMap<Kind, usize>,
    /// What was told of the objects that changed since.
    told: BTreeMap<Key, Option<Object>>,
    /// The kinds that were listed to the end at least once.
    listed: BTreeSet<Kind>,
    in_sync: bool,
    /// Objects that are there for us alone, and until when.
    held: BTreeMap<Key, Instant>,
    problems: BTreeMap<Key, Vec<ObjectProblem>>,
    /// Of objects that have no key, by kind: those of the last listing.
    nameless: BTreeMap<Kind, Vec<ObjectProblem>>,
    /// Objects with which something else is wrong than before, not told yet.
    doubtful: BTreeSet<Key>,
    /// Changed whenever the problems may have.
    problems_age: u64,
    /// Objects that only stand in for one of which no good version is known.
    stand_ins: BTreeSet<Key>,
    /// Secrets of which nothing is known yet, and that objects need.
    awaited: BTreeSet<Arc<str>>,
    names: Names,
}

impl View {
    /// One that knows nothing.
    pub(super) fn new(hold: Duration) -> Self {
        Self {
            hold,
            objects: BTreeMap::new(),
            counts: BTreeMap::new(),
            told: BTreeMap::new(),
            listed: BTreeSet::new(),
            in_sync: false,
            held: BTreeMap::new(),
            problems: BTreeMap::new(),
            nameless: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            problems_age: 0,
            stand_ins: BTreeSet::new(),
            awaited: BTreeSet::new(),
            names: Names::default(),
        }
    }

    /// Takes a whole listing of a kind: what is not in it is gone, unless that is hard to
    /// believe. Answers what is held back from now on.
    pub(super) fn list(
        &mut self,
        kind: Kind,
        readings: Vec<Reading>,
        now: Instant,
    ) -> Option<Held> {
        if self.nameless.remove(&kind).is_some() {
            self.problems_age += 1;
        }
        // One that has no name may be any of those that we know.
        let is_whole = readings.iter().all(|reading| reading.key.is_some());
        let there: BTreeSet<Key> = readings.iter().filter_map(|r| r.key.clone()).collect();
        for reading in readings {
            self.apply(kind, reading);
        }
        let is_first = self.listed.insert(kind);
        if !is_whole {
            return None;
        }
        let of_kind = |key: &&Key| key.kind() == kind && !there.contains(*key);
        let missing: Vec<Key> = self.objects.keys().filter(of_kind).cloned().collect();
        // Those that were never good are only known by their problems.
        let refused: Vec<Key> = self.problems.keys().filter(of_kind).cloned().collect();
        let known = self.count(kind);
        let believed =
            is_first || self.hold.is_zero() || !is_suspicious(kind, missing.len(), known);
        let mut fresh = None;
        for key in missing {
            if believed && !self.held.contains_key(&key) {
                self.delete(&key);
            } else if !self.held.contains_key(&key) {
                fresh.get_or_insert_with(|| key.clone());
                self.held.insert(key, now + self.hold);
            }
        }
        for key in refused {
            if !self.held.contains_key(&key) {
                self.delete(&key);
            }
        }
        let missing = self.held.keys().filter(|key| key.kind() == kind).count();
        fresh.map(|first| Held { kind, missing, known, first })
    }

    /// Takes that the objects of a kind cannot be known, and are not waited for.
    pub(super) fn do_without(&mut self, kind: Kind) {
        self.listed.insert(kind);
    }

    /// Takes an object that is new or changed. One that is wrong leaves its last good version
    /// in force.
    pub(super) fn apply(&mut self, kind: Kind, reading: Reading) {
        let Reading { key, object, stand_in, doubts } = reading;
        let Some(key) = key else {
            let problems = object.err().unwrap_or_default();
            let problems = problems.into_iter().map(|bad| problem(kind.name().to_owned(), bad, ""));
            /// What is behind so many is not worth the room.
            const MOST: usize = 10;
            let known = self.nameless.entry(kind).or_default();
            known.extend(problems.take(MOST.saturating_sub(known.len())));
            self.problems_age += 1;
            return;
        };
        self.held.remove(&key);
        let has_good = self.objects.contains_key(&key) && !self.stand_ins.contains(&key);
        let (follows, bad) = match (object, stand_in) {
            (Ok(object), _) => {
                self.stand_ins.remove(&key);
                self.replace(&key, object);
                (String::new(), doubts)
            }
            (Err(bad), _) if has_good => ("; its last good version stays in force".to_owned(), bad),
            (Err(bad), Some(StandIn { object, follows })) => {
                self.stand_ins.insert(key.clone());
                self.replace(&key, object);
                (format!("; {follows}"), bad)
            }
            (Err(bad), None) => (String::new(), bad),
        };
        let bad: Vec<_> =
            bad.into_iter().map(|bad| problem(key.to_string(), bad, &follows)).collect();
        let before = if bad.is_empty() {
            self.problems.remove(&key)
        } else {
            self.problems.insert(key.clone(), bad)
        };
        if before.as_ref() != self.problems.get(&key) {
            self.problems_age += 1;
            self.doubtful.insert(key);
        }
    }

    fn replace(&mut self, key: &Key, object: Object) {
        if self.objects.get(key) != Some(&object) {
            let object = self.names.share(object);
            self.set(key.clone(), Some(object));
        }
    }

    /// Takes that an object is gone.
    pub(super) fn delete(&mut self, key: &Key) {
        self.held.remove(key);
        self.stand_ins.remove(key);
        if self.problems.remove(key).is_some() {
            self.problems_age += 1;
        }
        if self.objects.contains_key(key) {
            self.set(key.clone(), None);
        }
    }

    /// Believes the deletions that have waited long enough. Answers how many of each kind.
    pub(super) fn release(&mut self, now: Instant) -> BTreeMap<Kind, usize> {
        let due: Vec<Key> = self
            .held
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        let mut counts = BTreeMap::new();
        for key in due {
            *counts.entry(key.kind()).or_default() += 1;
            self.delete(&key);
        }
        counts
    }

    /// Whether there is something to be told.
    pub(super) fn has_news(&self) -> bool {
        if self.in_sync {
            self.told.keys().any(|key| !self.is_waiting(key))
        } else {
            self.is_complete()
        }
    }

    /// What is to be told: nothing until all kinds are listed, then everything and
    /// [`Change::InSync`], later what changed: deletions, then objects in the order of
    /// their keys.
    pub(super) fn take(&mut self) -> Batch {
        if !self.has_news() {
            return Batch::new();
        }
        let told = std::mem::take(&mut self.told);
        let (later, told): (BTreeMap<_, _>, BTreeMap<_, _>) =
            told.into_iter().partition(|(key, _)| self.is_waiting(key));
        self.told = later;
        if !self.in_sync {
            self.in_sync = true;
            let all = self.objects.values().flat_map(|object| object.applied(None));
            return all.chain([Change::InSync]).collect();
        }
        let is_gone = |(key, before): &(&Key, &Option<Object>)| {
            before.is_some() && !self.objects.contains_key(*key)
        };
        let gone = told.iter().filter(is_gone).flat_map(|(key, _)| key.deleted());
        let fresh = told
            .iter()
            .filter_map(|(key, before)| Some(self.objects.get(key)?.applied(before.as_ref())));
        gone.chain(fresh.flatten()).collect()
    }

    /// Whether all kinds were listed and that was told.
    pub(super) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// How long suspicious deletions wait.
    pub(super) fn hold(&self) -> Duration {
        self.hold
    }

    /// How many objects of a kind there are, held ones included.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// The same for all kinds.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (kind, count) in &self.counts {
            *counts.of(*kind) += count;
        }
        counts
    }

    /// How many deletions of each kind are held, and when the last of them is believed.
    pub(super) fn held(&self) -> BTreeMap<Kind, (usize, Instant)> {
        let mut held: BTreeMap<Kind, (usize, Instant)> = BTreeMap::new();
        for (key, until) in &self.held {
            let entry = held.entry(key.kind()).or_insert((0, *until));
            *entry = (entry.0 + 1, entry.1.max(*until));
        }
        held
    }

    /// When [`Self::release`] is next of use.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }

    /// Everything that is wrong with objects.
    pub(super) fn problems(&self) -> impl Iterator<Item = &ObjectProblem> {
        self.problems.values().chain(self.nameless.values()).flatten()
    }

    /// What has come to be wrong with objects since this was last asked.
    pub(super) fn take_doubts(&mut self) -> Vec<(Key, Vec<ObjectProblem>)> {
        let doubtful = std::mem::take(&mut self.doubtful).into_iter();
        doubtful
            .filter_map(|key| self.problems.get(&key).cloned().map(|wrong| (key, wrong)))
            .collect()
    }

    /// Another number whenever [`Self::problems`] may be others.
    pub(super) fn problems_age(&self) -> u64 {
        self.problems_age
    }

    fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len() && self.awaited.is_empty()
    }

    fn set(&mut self, key: Key, object: Option<Object>) {
        let count = self.counts.entry(key.kind()).or_default();
        let before = match object {
            Some(object) => {
                let before = self.objects.insert(key.clone(), object);
                *count += usize::from(before.is_none());
                before
            }
            None => {
                let before = self.objects.remove(&key);
                *count -= usize::from(before.is_some());
                before
            }
        };
        if self.in_sync {
            self.told.entry(key).or_insert(before);
        }
    }
}

/// Whether a listing that lacks so many of a kind is more likely wrong than right.
fn is_suspicious(kind: Kind, missing: usize, known: usize) -> bool {
    match kind {
        // Believed wrongly, these cut off nodes and Services, and open pods, hosts and sessions. A
        // Service without its slices has nothing that is ready.
        Kind::Node
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Tier
        | Kind::GlobalNetworkSet
        | Kind::NetworkSet
        | Kind::HostEndpoint
        | Kind::NetworkPolicy
        | Kind::CalicoNetworkPolicy
        | Kind::GlobalNetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::BgpConfiguration
        | Kind::BgpFilter
        | Kind::BgpPeer => missing * 2 > known,
        // A profile that is gone allows nothing; staged policies do nothing.
        Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Profile
        | Kind::StagedKubernetesNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::Secret => false,
    }
}

fn problem(object: String, bad: BadField, follows: &str) -> ObjectProblem {
    ObjectProblem { object, field: bad.field, message: format!("{}{follows}", bad.message) }
}

mod secrets;
#[cfg(test)]
mod tests;
