//! Policies that the kernel would not take whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use brindle_policy::names::SetName;
use brindle_policy::ruleset::{Match, Purpose, Rule};
use brindle_policy::{Family, PolicyId, Ruleset};

use super::dataplane::Applied;

/// When a quarantined policy is tried again although it did not change: what the kernel takes
/// may have.
const TRY_AGAIN: Duration = Duration::from_secs(300);

/// The policies in quarantine: they govern what they govern, and allow nothing.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    policies: BTreeMap<(Family, PolicyId), Case>,
}

#[derive(Debug)]
struct Case {
    why: String,
    since: Instant,
}

impl Quarantine {
    /// Takes in the policies that the kernel refused something of, as it told after writing
    /// `ruleset`. Whether there are more now than before.
    pub(super) fn admit(&mut self, ruleset: &Ruleset, applied: &Applied, now: Instant) -> bool {
        let before = self.policies.len();
        for broken in &applied.broken_chains {
            let policies = match &broken.purpose {
                Purpose::Policy(id, _) => BTreeSet::from([id.clone()]),
                // A chain of an endpoint has rules of policies in it, if they leave something
                // to the next tier.
                Purpose::Endpoint(..) | Purpose::Fixed | Purpose::Dispatch => BTreeSet::new(),
            };
            self.add(ruleset.family, policies, &broken.why, now);
        }
        for broken in &applied.broken_sets {
            self.add(ruleset.family, users(ruleset, &broken.set), &broken.why, now);
        }
        self.policies.len() > before
    }

    fn add(&mut self, family: Family, policies: BTreeSet<PolicyId>, why: &str, now: Instant) {
        for id in policies {
            let case = || Case { why: why.to_owned(), since: now };
            self.policies.entry((family, id)).or_insert_with(case);
        }
    }

    /// Lets those out that changed, and those that have been in for long. Whether there were
    /// any.
    pub(super) fn release(&mut self, changed: &BTreeSet<PolicyId>, now: Instant) -> bool {
        let before = self.policies.len();
        self.policies.retain(|(_, id), case| {
            !changed.contains(id) && now.duration_since(case.since) < TRY_AGAIN
        });
        self.policies.len() < before
    }

    /// When the next is to be let out; `None` if there is none.
    pub(super) fn next(&self) -> Option<Instant> {
        self.policies.values().map(|case| case.since + TRY_AGAIN).min()
    }

    /// Those of one family.
    pub(super) fn of(&self, family: Family) -> BTreeSet<PolicyId> {
        let all = self.policies.keys().filter(|(of, _)| *of == family);
        all.map(|(_, id)| id.clone()).collect()
    }

    /// All of them, and why.
    pub(super) fn cases(&self) -> Vec<(PolicyId, String)> {
        let mut cases: BTreeMap<&PolicyId, Vec<String>> = BTreeMap::new();
        for ((family, id), case) in &self.policies {
            cases.entry(id).or_default().push(format!("{family}: {}", case.why));
        }
        cases.into_iter().map(|(id, why)| (id.clone(), why.join("; "))).collect()
    }
}

/// The policies that have a rule which names `set`.
fn users(ruleset: &Ruleset, set: &SetName) -> BTreeSet<PolicyId> {
    let names = |rule: &Rule| {
        rule.matches.iter().any(|one| match one {
            Match::InSet { set: named, .. } | Match::PortIn(_, named) => named == set,
            _ => false,
        })
    };
    let mut users = BTreeSet::new();
    for chain in ruleset.chains.values().filter(|chain| chain.rules.iter().any(names)) {
        if let Purpose::Policy(id, _) = &chain.purpose {
            users.insert(id.clone());
        }
    }
    users
}
