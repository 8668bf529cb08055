//! How a `kubernetes` source is doing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::trouble::{Cause, Trouble};
use super::view::ObjectProblem;
use super::watcher::Relist;
use crate::cluster::files::Counts;
use crate::cluster::kind::{Kind, Place};

/// How a `kubernetes` source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesStatus {
    /// Whether everything that there was at the start has been delivered.
    pub in_sync: bool,
    /// Objects in force.
    pub objects: Counts,
    /// The kinds that are watched, in the order in which they are told.
    pub resources: Vec<ResourceStatus>,
    /// What is wrong with objects.
    pub problems: Arc<[ObjectProblem]>,
    /// Deletions that are held back.
    pub held: Vec<HeldDeletions>,
    /// When something last changed.
    pub last_change: Option<SystemTime>,
}

impl KubernetesStatus {
    /// Whether all kinds that the server has are watched now.
    pub fn is_connected(&self) -> bool {
        self.resources.iter().all(|resource| resource.watching || resource.absent)
    }

    /// When the kind that has been silent for longest was last heard of; `None` if one never
    /// was.
    pub fn last_heard(&self) -> Option<SystemTime> {
        let served = self.resources.iter().filter(|resource| !resource.absent);
        served.map(|resource| resource.heard).min().flatten()
    }

    /// Whether a kind is read from this group.
    pub fn has(&self, group: &str, plural: &str) -> bool {
        self.resources.iter().any(|one| one.group == Some(group) && one.plural == plural)
    }

    /// The kinds that are not watched, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (&ResourceStatus, &CurrentTrouble)> {
        self.resources.iter().filter_map(|resource| Some((resource, resource.trouble.as_ref()?)))
    }
}

/// A kind that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceStatus {
    /// The kind, as `kubectl get` takes it: `pods`, `tiers.projectcalico.org`.
    pub resource: &'static str,
    /// As the API's paths have it: `pods`, `tiers`.
    pub plural: &'static str,
    /// The API group that it is read from: empty for the core; `None` before that is known, and
    /// while it is not served.
    pub group: Option<&'static str>,
    /// Whether the server does not have the kind: there is nothing of it.
    pub absent: bool,
    /// Whether it was listed to the end.
    pub listed: bool,
    /// Whether it is watched now.
    pub watching: bool,
    /// When all that had happened was last known.
    pub heard: Option<SystemTime>,
    /// Objects in force.
    pub objects: usize,
    /// How often everything had to be listed again.
    pub relists: BTreeMap<&'static str, u64>,
    /// How often a request failed.
    pub errors: BTreeMap<&'static str, u64>,
    /// Why it is not watched, if it is not.
    pub trouble: Option<CurrentTrouble>,
}

impl ResourceStatus {
    pub(super) fn of(kind: Kind) -> Self {
        // Told from the start, so that the first one is a rise.
        let relists = [Relist::Gone, Relist::Invalid].map(|why| (why.as_str(), 0));
        let (resource, plural) = (kind.resource(), kind.plural());
        Self { resource, plural, relists: relists.into(), ..Self::default() }
    }

    /// The API group that it is read from, if that is not the one of its name.
    pub fn other_group(&self) -> Option<&'static str> {
        let own = self.resource.split_once('.').map(|(_, group)| group);
        self.group.filter(|group| own.is_some_and(|own| own != *group))
    }

    /// The server has the kind, here.
    pub(super) fn found(&mut self, place: Place) {
        self.absent = false;
        self.group = Some(place.group());
    }

    /// The server does not have the kind.
    pub(super) fn lost(&mut self) {
        self.absent = true;
        self.group = None;
        (self.listed, self.watching, self.heard, self.trouble) = (false, false, None, None);
    }

    pub(super) fn heard(&mut self, now: SystemTime) {
        self.watching = true;
        self.heard = Some(now);
        self.trouble = None;
    }

    pub(super) fn failed(&mut self, trouble: Trouble, now: SystemTime) {
        self.watching = false;
        *self.errors.entry(trouble.cause.as_str()).or_default() += 1;
        // It lasts since the first failure, whatever the later ones say.
        let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
        let Trouble { cause, message, next, .. } = trouble;
        self.trouble = Some(CurrentTrouble { cause, message, next, since });
    }
}

/// Why a kind is not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentTrouble {
    /// In a word.
    pub cause: Cause,
    /// In a sentence.
    pub message: String,
    /// What to do.
    pub next: String,
    /// Since when it is not.
    pub since: SystemTime,
}

/// Deletions of a kind that are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldDeletions {
    /// The kind, as `kubectl get` takes it: `nodes`, `tiers.projectcalico.org`.
    pub resource: &'static str,
    /// How many.
    pub count: usize,
    /// Of how many, these included.
    pub of: usize,
    /// When the last of them is believed.
    pub until: SystemTime,
}
