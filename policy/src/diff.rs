//! What to do so that the kernel holds what is wanted.

use crate::ruleset::{ChainOp, Plan, Ruleset, SetOp};

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
