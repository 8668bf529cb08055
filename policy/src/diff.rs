//! What to do so that the kernel holds what is wanted.

use crate::names::SetName;
use crate::readback::Installed;
use crate::ruleset::{ChainOp, Members, Plan, Rule, Ruleset, SetOp};

/// So many differences of a set are always written one by one; more than that only if they
/// are fewer than half of what it is to have.
const FEW: usize = 64;

/// What to do so that the kernel holds exactly `want`; empty if it already does. Chains of
/// ours that are not wanted go, even if somebody else jumps to them.
#[must_use]
pub fn diff(want: &Ruleset, have: &Installed) -> Plan {
    let mut plan = Plan::new(want.family);
    let mut unhook: Vec<_> = have.hooks.iter().map(|there| there.hook.clone()).collect();
    unhook.retain(|hook| !want.hooks.contains(hook));
    unhook.sort();
    unhook.dedup();
    plan.unhook = unhook;
    for hook in &want.hooks {
        let mut places = have.hooks.iter().filter(|there| there.hook == *hook);
        let is_first = places.next().is_some_and(|there| there.before.is_empty());
        if !is_first || places.next().is_some() {
            plan.hook.push(hook.clone());
        }
    }
    for (key, chain) in &want.chains {
        let rules = have.chains.get(key);
        let is_there = rules.is_some_and(|rules| {
            let pairs = rules.iter().zip(&chain.rules);
            rules.len() == chain.rules.len()
                && pairs.into_iter().all(|(there, rule)| {
                    there.rule.as_ref().is_some_and(|there| is_same(there, rule))
                })
        });
        if !is_there {
            let (table, name) = key.clone();
            plan.chains.entry(table).or_default().insert(name, ChainOp::Write(chain.clone()));
        }
    }
    for (table, name) in have.chains.keys().filter(|key| !want.chains.contains_key(*key)) {
        plan.chains.entry(*table).or_default().insert(name.clone(), ChainOp::Remove);
    }
    for (name, set) in &want.sets {
        plan.sets.extend(match have.sets.get(name) {
            None => set_op(name, &set.members, None),
            Some(there) => match &there.members {
                Some(members) => set_op(name, &set.members, Some(members)),
                None => Some(SetOp::Recreate(name.clone(), set.members.clone())),
            },
        });
    }
    let surplus = have.sets.keys().filter(|name| !want.sets.contains_key(*name));
    plan.destroy = surplus.cloned().collect();
    plan
}

/// Whether two rules do the same. The kernel tells the matches in an order of its own.
fn is_same(a: &Rule, b: &Rule) -> bool {
    let sorted = |rule: &Rule| {
        let mut matches = rule.matches.clone();
        matches.sort();
        matches
    };
    a.target == b.target && a.comment == b.comment && sorted(a) == sorted(b)
}

/// What makes `want` of `have`, where the kernel is known to hold exactly `have`.
#[must_use]
pub fn between(have: &Ruleset, want: &Ruleset) -> Plan {
    let mut plan = Plan::new(want.family);
    plan.unhook = have.hooks.difference(&want.hooks).cloned().collect();
    plan.hook = want.hooks.difference(&have.hooks).cloned().collect();
    for (key, chain) in &want.chains {
        if have.chains.get(key).is_none_or(|there| there.rules != chain.rules) {
            let (table, name) = key.clone();
            plan.chains.entry(table).or_default().insert(name, ChainOp::Write(chain.clone()));
        }
    }
    for (table, name) in have.chains.keys().filter(|key| !want.chains.contains_key(*key)) {
        plan.chains.entry(*table).or_default().insert(name.clone(), ChainOp::Remove);
    }
    for (name, set) in &want.sets {
        match have.sets.get(name) {
            Some(there) => plan.sets.extend(set_op(name, &set.members, Some(&there.members))),
            None => plan.sets.extend(set_op(name, &set.members, None)),
        }
    }
    plan.destroy =
        have.sets.keys().filter(|name| !want.sets.contains_key(*name)).cloned().collect();
    plan
}

fn set_op(name: &SetName, want: &Members, have: Option<&Members>) -> Option<SetOp> {
    let Some(have) = have else { return Some(SetOp::Create(name.clone(), want.clone())) };
    if have.kind() != want.kind() {
        return Some(SetOp::Recreate(name.clone(), want.clone()));
    }
    let remove: Vec<_> = have.iter().filter(|member| !want.contains(*member)).collect();
    let add: Vec<_> = want.iter().filter(|member| !have.contains(*member)).collect();
    match remove.len() + add.len() {
        0 => None,
        count if count <= FEW.max(want.len() / 2) => {
            Some(SetOp::Change { set: name.clone(), remove, add })
        }
        _ => Some(SetOp::Replace(name.clone(), want.clone())),
    }
}
