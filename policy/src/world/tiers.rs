//! Tiers.

use std::sync::Arc;

use super::World;
use super::policies::concerns_pods;
use crate::model::Tier;

impl World {
    /// All tiers, in the order of evaluation.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// One tier.
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| *tier.name == *name)
    }

    /// A tier is told to be `told` from now on. One that is always there keeps its place.
    pub(super) fn replace_tier(&mut self, name: &Arc<str>, told: Option<Arc<Tier>>) {
        let built_in = Tier::built_in().into_iter().find(|tier| tier.name == *name);
        let after = match (built_in, told) {
            (Some(built_in), Some(told)) => {
                Some(Tier { default_action: told.default_action, ..built_in })
            }
            (Some(built_in), None) => Some(built_in),
            (None, told) => told.map(Arc::unwrap_or_clone),
        };
        if self.tier(name) == after.as_ref() {
            return;
        }
        self.tiers.retain(|tier| tier.name != *name);
        self.tiers.extend(after);
        self.tiers.sort_by(Tier::compare);
        self.touched.hosts = true;
        for entry in self.policies.values().filter(|entry| entry.policy.tier == *name) {
            self.touched.policies.insert(entry.policy.id.clone());
            if concerns_pods(&entry.policy) {
                let members = self.expressions.get(entry.subject).members.iter();
                let keys = members.map(|member| self.pods[*member].pod.key.clone());
                self.touched.endpoints.extend(keys);
            }
        }
    }
}
