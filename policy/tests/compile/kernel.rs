//! A kernel that holds a ruleset and takes plans as strictly as the real one: what is named
//! has to be there, and what is removed must not be in use.

#![allow(dead_code, reason = "each program uses its own part")]

use std::collections::{BTreeMap, BTreeSet};

use brindle_policy::model::Side;
use brindle_policy::names::{ChainName, SetName};
use brindle_policy::readback::{Installed, InstalledHook, InstalledRule, InstalledSet};
use brindle_policy::ruleset::{
    ChainOp, Hook, Match, Members, Plan, Rule, Ruleset, SetOp, Table, Target,
};
use brindle_policy::{Cidr, Family};

/// What it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    family: Family,
    chains: BTreeMap<(Table, ChainName), Vec<Rule>>,
    hooks: BTreeSet<Hook>,
    sets: BTreeMap<SetName, Members>,
}

impl Kernel {
    /// The one that holds exactly `ruleset`.
    pub(crate) fn holding(ruleset: &Ruleset) -> Self {
        let chains = ruleset.chains.iter().map(|(key, c)| (key.clone(), c.rules.clone()));
        let sets = ruleset.sets.iter().map(|(name, set)| (name.clone(), set.members.clone()));
        let hooks = ruleset.hooks.clone();
        Self { family: ruleset.family, chains: chains.collect(), hooks, sets: sets.collect() }
    }

    /// What one would read back.
    pub(crate) fn installed(&self) -> Installed {
        let mut installed = Installed::new(self.family);
        let rule = |rule: &Rule| {
            let mut rule = rule.clone();
            rule.matches.reverse(); // in an order of its own
            InstalledRule { rule: Some(rule), text: String::new(), packets: 1, bytes: 60 }
        };
        let chains = self.chains.iter();
        installed.chains =
            chains.map(|(k, rules)| (k.clone(), rules.iter().map(rule).collect())).collect();
        let hook = |hook: &Hook| InstalledHook {
            hook: hook.clone(),
            position: 1,
            before: Vec::new(),
            packets: 1,
            bytes: 60,
        };
        installed.hooks = self.hooks.iter().map(hook).collect();
        let set = |members: &Members| InstalledSet {
            kind: Some(members.kind()),
            members: Some(members.clone()),
        };
        installed.sets =
            self.sets.iter().map(|(name, members)| (name.clone(), set(members))).collect();
        installed
    }

    /// Carries out a plan, each step of which has to be needed.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        for hook in &plan.unhook {
            assert!(self.hooks.remove(hook), "{hook:?} is not there");
        }
        plan.sets.iter().for_each(|op| self.apply_set(op));
        self.assert_judged();
        for (table, chains) in &plan.chains {
            for (name, op) in chains {
                let key = (*table, name.clone());
                let before = match op {
                    ChainOp::Write(chain) => self.chains.insert(key, chain.rules.clone()),
                    ChainOp::Remove => Some(self.chains.remove(&key).expect("a chain to remove")),
                };
                if let ChainOp::Write(chain) = op {
                    assert!(before.as_ref() != Some(&chain.rules), "{name} is written in vain");
                }
            }
        }
        self.assert_judged();
        plan.admit.iter().for_each(|op| self.apply_set(op));
        self.assert_judged();
        for hook in &plan.hook {
            assert!(self.hooks.insert(hook.clone()), "{hook:?} is there");
        }
        self.assert_whole();
        for name in &plan.destroy {
            self.sets.remove(name).expect("a set to destroy");
        }
        self.assert_whole();
    }

    fn apply_set(&mut self, op: &SetOp) {
        match op {
            SetOp::Create(name, members) => {
                assert!(self.sets.insert(name.clone(), members.clone()).is_none(), "{name}");
            }
            SetOp::Replace(name, members) => {
                let before = self.sets.insert(name.clone(), members.clone());
                assert!(before.expect("a set to replace") != *members, "{name} in vain");
            }
            SetOp::Recreate(name, _) => panic!("{name} is one that we make"),
            SetOp::Change { set, remove, add } => {
                let members = self.sets.get_mut(set).expect("a set to change");
                assert!(remove.len() + add.len() > 0, "{set} is changed in vain");
                assert!(remove.iter().all(|member| members.remove(*member)), "{set}: {remove:?}");
                assert!(add.iter().all(|member| members.insert(*member)), "{set}: {add:?}");
            }
        }
    }

    /// Fails if an interface is open and nothing judges what comes through it: after each step,
    /// as a plan may be cut short. Where nothing leads to our chains nothing is closed either.
    fn assert_judged(&self) {
        if self.hooks.is_empty() {
            return;
        }
        let rules = || self.chains.values().flatten();
        for (address, interface) in self.sets.values().flat_map(|members| match members {
            Members::Attached(pairs) => pairs.iter().copied().collect(),
            Members::Addresses(_) | Members::Blocks(_) | Members::Ports(_) => Vec::new(),
        }) {
            let from_it = Match::In(Side::Source, Cidr::host(address));
            let mut judges = rules().filter_map(|rule| match &rule.target {
                Target::Goto(to) if rule.matches.contains(&from_it) => Some(to),
                _ => None,
            });
            let is_there = |to: &ChainName| self.chains.contains_key(&(Table::Filter, to.clone()));
            assert!(judges.any(is_there), "{interface} is open, and {address} is not judged");
        }
    }

    /// Fails unless every chain and set that a rule or hook names is there.
    fn assert_whole(&self) {
        for hook in &self.hooks {
            assert!(self.chains.contains_key(&(hook.table, hook.to.clone())), "{hook:?}");
        }
        for ((table, chain), rules) in &self.chains {
            for rule in rules {
                if let Target::Jump(to) | Target::Goto(to) = &rule.target {
                    assert!(self.chains.contains_key(&(*table, to.clone())), "{chain} to {to}");
                }
                for condition in &rule.matches {
                    if let Match::InSet { set, .. }
                    | Match::PortIn { set, .. }
                    | Match::NotAttached(set) = condition
                    {
                        assert!(self.sets.contains_key(set), "{chain} names {set}");
                    }
                }
            }
        }
    }

    /// Fails if something is there that nothing leads to.
    pub(crate) fn assert_no_waste(&self) {
        let rules = || self.chains.values().flatten();
        let targets = rules().filter_map(|rule| match &rule.target {
            Target::Jump(to) | Target::Goto(to) => Some(to),
            Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Log { .. }
            | Target::Masquerade
            | Target::NoTrack
            | Target::Mark
            | Target::Unmark => None,
        });
        let hooked = self.hooks.iter().map(|hook| &hook.to);
        let reached: BTreeSet<&ChainName> = targets.chain(hooked).collect();
        let sent = "BRN-SENT"; // always there, as the first endpoint needs it
        for (_, chain) in self.chains.keys() {
            assert!(reached.contains(chain) || chain.as_str() == sent, "{chain} is never reached");
        }
        let matches = rules().flat_map(|rule| &rule.matches);
        let used: BTreeSet<&SetName> = matches
            .filter_map(|condition| match condition {
                Match::InSet { set, .. } | Match::PortIn { set, .. } | Match::NotAttached(set) => {
                    Some(set)
                }
                _ => None,
            })
            .collect();
        assert_eq!(used, self.sets.keys().collect());
    }
}
