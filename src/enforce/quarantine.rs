//! Policies that the kernel would not take whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use brindle_policy::names::SetName;
use brindle_policy::ruleset::{Match, Purpose, Rule};
use brindle_policy::{Family, PolicyId, Ruleset};

use super::by::By;
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
            // Chains of pods and of host endpoints have rules of several policies in them: only
            // those of which some were refused are to blame.
            let policies = match &broken.purpose {
                Purpose::Policy(id, _) => BTreeSet::from([id.clone()]),
                Purpose::Endpoint(..) | Purpose::Host(..) => broken.policies.clone(),
                Purpose::Fixed | Purpose::Dispatch => BTreeSet::new(),
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
            Match::InSet { set: named, .. } | Match::PortIn { set: named, .. } => named == set,
            _ => false,
        })
    };
    let mut users = BTreeSet::new();
    for chain in ruleset.chains.values() {
        let naming = chain.rules.iter().filter(|rule| names(rule));
        users.extend(naming.filter_map(|rule| match &chain.purpose {
            Purpose::Policy(id, _) => Some(id.clone()),
            _ => match By::read(rule.comment.as_ref()?)? {
                By::Rule(id, _) => Some(id),
                By::Tier(_) | By::Profile(_) | By::Host => None,
            },
        }));
    }
    users
}

#[cfg(test)]
mod tests {
    use brindle_policy::model::{HostStage, PolicyKind, Side};
    use brindle_policy::names::{ChainName, Comment};
    use brindle_policy::ruleset::{Chain, Table, Target};
    use brindle_policy::{Direction, PodKey};

    use super::super::dataplane::{BrokenChain, BrokenSet};
    use super::*;

    fn id(name: &str) -> PolicyId {
        let (kind, namespace) = (PolicyKind::NetworkPolicy, Some("a".into()));
        PolicyId { kind, namespace, name: name.into() }
    }

    fn broken_chain(purpose: Purpose) -> Applied {
        let (table, chain) = (Table::Filter, ChainName::policy(&id("p"), Direction::Ingress));
        let policies = BTreeSet::from([id("inner")]);
        let broken = BrokenChain { table, chain, purpose, policies, why: "no".to_owned() };
        Applied { broken_chains: vec![broken], ..Applied::default() }
    }

    #[test]
    fn policies_come_in_by_their_chains_and_sets() {
        let set = SetName::of('s', Family::V4, &["x"]);
        let mut ruleset = Ruleset::new(Family::V4);
        let matches = vec![Match::InSet { side: Side::Source, set: set.clone(), negated: false }];
        let rule = Rule { matches, target: Target::Accept, comment: None };
        let purpose = Purpose::Policy(id("user"), Direction::Ingress);
        let name = ChainName::policy(&id("user"), Direction::Ingress);
        let chain = Chain { purpose, rules: vec![rule.clone()] };
        ruleset.chains.insert((Table::Filter, name), chain.into());
        let host = Purpose::Host("eth".into(), HostStage::Normal, Direction::Ingress);
        let name = ChainName::host("eth", HostStage::Normal, Direction::Ingress, "");
        let comment = Some(Comment::policy_rule(&id("inlined"), 0));
        let rules = vec![Rule { comment, ..rule }];
        let chain = Chain { purpose: host.clone(), rules };
        ruleset.chains.insert((Table::Filter, name), chain.into());
        let broken_set = Applied {
            broken_sets: vec![BrokenSet { set, why: "full".to_owned() }],
            ..Applied::default()
        };
        let pod = PodKey { namespace: "a".into(), name: "pod".into() };
        let now = Instant::now();
        for (what, applied, admitted) in [
            ("nothing", Applied::default(), &[][..]),
            ("a policy", broken_chain(Purpose::Policy(id("p"), Direction::Egress)), &["p"]),
            ("an endpoint", broken_chain(Purpose::Endpoint(pod, Direction::Egress)), &["inner"]),
            ("a host endpoint", broken_chain(host), &["inner"]),
            ("a fixed one", broken_chain(Purpose::Fixed), &[]),
            ("a set", broken_set, &["user", "inlined"]),
        ] {
            let mut quarantine = Quarantine::default();
            assert_eq!(quarantine.admit(&ruleset, &applied, now), !admitted.is_empty(), "{what}");
            let policies: BTreeSet<PolicyId> = admitted.iter().map(|name| id(name)).collect();
            assert_eq!(quarantine.of(Family::V4), policies, "{what}");
            assert_eq!(quarantine.of(Family::V6), BTreeSet::new(), "{what}");
            assert!(!quarantine.admit(&ruleset, &applied, now), "{what}: it is in");
        }
    }

    #[test]
    fn policies_leave_when_they_change_and_after_a_while() {
        let ruleset = Ruleset::new(Family::V6);
        let applied = broken_chain(Purpose::Policy(id("p"), Direction::Ingress));
        let start = Instant::now();
        let mut quarantine = Quarantine::default();
        assert_eq!(quarantine.next(), None);
        quarantine.admit(&ruleset, &applied, start);
        assert_eq!(quarantine.cases(), [(id("p"), "IPv6: no".to_owned())]);
        assert!(!quarantine.release(&[id("other")].into(), start));
        assert!(quarantine.release(&[id("p")].into(), start));
        quarantine.admit(&ruleset, &applied, start);
        let next = quarantine.next().expect("one is in");
        assert!(!quarantine.release(&BTreeSet::new(), next - Duration::from_millis(1)));
        assert!(quarantine.release(&BTreeSet::new(), next));
        assert_eq!(quarantine.of(Family::V6), BTreeSet::new());
    }
}
