//! Profiles.

use std::sync::Arc;

use super::World;
use super::policies::Uses;
use crate::model::{Action, DEFAULT_ALLOW_PROFILE, Labels, Profile, Rule};

/// A profile, and what it uses.
#[derive(Debug)]
pub(super) struct ProfileEntry {
    pub(super) profile: Arc<Profile>,
    uses: Uses,
}

impl ProfileEntry {
    /// The one that is always there.
    pub(super) fn default_allow() -> Self {
        let open = || vec![Rule { action: Action::Allow, criteria: Vec::new() }];
        let profile = Profile {
            name: DEFAULT_ALLOW_PROFILE.into(),
            labels: Labels::new(),
            ingress: open(),
            egress: open(),
            problems: Vec::new(),
        };
        Self { profile: Arc::new(profile), uses: Uses::default() }
    }
}

impl World {
    /// A profile is `after` from now on. The one that is always there stays as it is.
    pub(super) fn replace_profile(&mut self, name: &Arc<str>, after: Option<Arc<Profile>>) {
        let is_the_same = self.profile(name) == after.as_ref();
        if is_the_same || **name == *DEFAULT_ALLOW_PROFILE {
            return;
        }
        self.touched.hosts = true;
        let after = after.map(|profile| {
            let uses = self.acquire(profile.ingress.iter().chain(&profile.egress));
            ProfileEntry { profile, uses }
        });
        let before = match after {
            Some(after) => self.profiles.insert(name.clone(), after),
            None => self.profiles.remove(name),
        };
        if let Some(before) = before {
            self.release(&before.uses);
        }
        self.relabel_hosts(name);
    }
}
