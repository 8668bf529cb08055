//! What to do so that the kernel holds what is wanted.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::names::{ChainName, SetName};
use crate::readback::{Installed, InstalledRule, InstalledSet};
use crate::ruleset::{
    Chain, ChainOp, Hook, Match, Members, Plan, Rule, Ruleset, SetKind, SetOp, Table,
};

/// So many differences of a set are always written one by one; more than that only if they
/// are at most half of what it is to have. All others at once.
const FEW: usize = 64;

/// What to do so that the kernel holds exactly `want`; empty if it already does. What the
/// kernel has of ours and nobody wants goes.
#[must_use]
pub fn diff(want: &Ruleset, have: &Installed) -> Plan {
    let mut plan = Plan::new(want.family);
    let there: BTreeSet<&Hook> = have.hooks.iter().map(|there| &there.hook).collect();
    let unwanted = there.into_iter().filter(|hook| !want.hooks.contains(*hook));
    plan.unhook = unwanted.cloned().collect();
    plan.hook = want.hooks.iter().filter(|hook| !is_hooked(have, hook)).cloned().collect();
    for (key, chain) in &want.chains {
        if !have.chains.get(key).is_some_and(|there| holds(there, &chain.rules)) {
            write(&mut plan, key, chain);
        }
    }
    for key in have.chains.keys().filter(|key| !want.chains.contains_key(*key)) {
        remove(&mut plan, key);
    }
    for (name, set) in &want.sets {
        let op = match have.sets.get(name) {
            None => Some(SetOp::Create(name.clone(), set.members.clone())),
            Some(there) => set_op(name, &set.members, there),
        };
        op.into_iter().for_each(|op| plan.note(op));
    }
    let surplus = have.sets.keys().filter(|name| !want.sets.contains_key(*name));
    plan.destroy = surplus.cloned().collect();
    plan
}

/// What makes `want` of `have`, where the kernel is known to hold exactly `have`.
#[must_use]
pub fn between(have: &Ruleset, want: &Ruleset) -> Plan {
    let mut plan = Plan::new(want.family);
    plan.unhook = have.hooks.difference(&want.hooks).cloned().collect();
    plan.hook = want.hooks.difference(&have.hooks).cloned().collect();
    for (key, chain) in &want.chains {
        if have.chains.get(key).is_none_or(|there| there.rules != chain.rules) {
            write(&mut plan, key, chain);
        }
    }
    for key in have.chains.keys().filter(|key| !want.chains.contains_key(*key)) {
        remove(&mut plan, key);
    }
    for (name, set) in &want.sets {
        let op = match have.sets.get(name) {
            None => Some(SetOp::Create(name.clone(), set.members.clone())),
            Some(there) if there.members.kind() != set.members.kind() => {
                Some(SetOp::Recreate(name.clone(), set.members.clone()))
            }
            Some(there) => members_op(name, &set.members, &there.members),
        };
        op.into_iter().for_each(|op| plan.note(op));
    }
    let surplus = have.sets.keys().filter(|name| !want.sets.contains_key(*name));
    plan.destroy = surplus.cloned().collect();
    plan
}

fn write(plan: &mut Plan, (table, name): &(Table, ChainName), chain: &Arc<Chain>) {
    plan.chains.entry(*table).or_default().insert(name.clone(), ChainOp::Write(chain.clone()));
}

fn remove(plan: &mut Plan, (table, name): &(Table, ChainName)) {
    plan.chains.entry(*table).or_default().insert(name.clone(), ChainOp::Remove);
}

/// Whether a hook is there once, before all rules of others.
fn is_hooked(have: &Installed, hook: &Hook) -> bool {
    let mut there = have.hooks.iter().filter(|there| there.hook == *hook);
    there.next().is_some_and(|first| first.before.is_empty()) && there.next().is_none()
}

/// Whether a chain has exactly these rules.
fn holds(there: &[InstalledRule], want: &[Rule]) -> bool {
    let is_same = |(there, want): (&InstalledRule, &Rule)| {
        there.rule.as_ref().is_some_and(|there| does_the_same(there, want))
    };
    there.len() == want.len() && there.iter().zip(want).all(is_same)
}

/// Whether two rules do the same: the kernel tells matches in an order of its own.
fn does_the_same(a: &Rule, b: &Rule) -> bool {
    fn sorted(rule: &Rule) -> Vec<&Match> {
        let mut matches: Vec<&Match> = rule.matches.iter().collect();
        matches.sort();
        matches
    }
    a.target == b.target && a.comment == b.comment && sorted(a) == sorted(b)
}

/// What makes of the set that is there one with the members `want`.
fn set_op(name: &SetName, want: &Members, there: &InstalledSet) -> Option<SetOp> {
    match &there.members {
        Some(have) if have.kind() == want.kind() => members_op(name, want, have),
        // Of the right type, but with options or members that we do not write.
        Some(_) | None if there.kind == Some(want.kind()) => {
            Some(SetOp::Replace(name.clone(), want.clone()))
        }
        Some(_) | None => Some(SetOp::Recreate(name.clone(), want.clone())),
    }
}

/// What makes `want` of the members `have` of the same type.
fn members_op(name: &SetName, want: &Members, have: &Members) -> Option<SetOp> {
    let remove: Vec<_> = have.iter().filter(|member| !want.contains(*member)).collect();
    let add: Vec<_> = want.iter().filter(|member| !have.contains(*member)).collect();
    match remove.len() + add.len() {
        0 => None,
        // Pairs of interfaces go and come each at its time.
        count if count <= FEW.max(want.len() / 2) || want.kind() == SetKind::Attached => {
            Some(SetOp::Change { set: name.clone(), remove, add })
        }
        _ => Some(SetOp::Replace(name.clone(), want.clone())),
    }
}
