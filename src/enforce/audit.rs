//! What others changed of ours, told in words.

use std::collections::BTreeSet;
use std::fmt;

use brindle_policy::diff::diff;
use brindle_policy::readback::Installed;
use brindle_policy::ruleset::{ChainOp, Hook, Plan, Ruleset, SetOp, Table};

use crate::visible::visible;

/// How many things of a kind are named; of more, only their number is told.
const MOST_NAMED: usize = 3;

/// What has to change so that the kernel holds what is wanted; empty if it does.
pub fn drift(want: &Ruleset, have: &Installed) -> Plan {
    diff(want, have)
}

/// Something of ours that somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    /// What kind of thing it is.
    pub kind: Kind,
    /// The table that it is in; `None` for sets, which are in none.
    pub table: Option<Table>,
    /// What was found, in words for operators.
    pub what: String,
    /// The processes that changed rules just before, where the kernel told: `nft (4711)`.
    pub culprit: Option<String>,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Our chains, some of them.
    Chain,
    /// Our jump from a chain of the kernel.
    Jump,
    /// Our sets.
    Set,
    /// All of our chains of a table are gone.
    Ruleset,
}

impl Kind {
    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Chain => "chain",
            Kind::Jump => "jump",
            Kind::Set => "set",
            Kind::Ruleset => "ruleset_replaced",
        }
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.culprit {
            Some(culprit) => write!(f, "; changed by {}", visible(culprit)),
            None => Ok(()),
        }
    }
}

/// What `plan`, made by [`drift`], puts right in `have`. `culprits` are the processes that
/// were heard of.
pub fn tampering(plan: &Plan, have: &Installed, culprits: &BTreeSet<String>) -> Vec<Tampering> {
    let culprit = culprits.iter().cloned().collect::<Vec<_>>().join(", ");
    let culprit = (!culprit.is_empty()).then_some(culprit);
    let mut found = Vec::new();
    let mut tell = |kind, table, what| {
        found.push(Tampering { kind, table, what, culprit: culprit.clone() });
    };
    for (table, ops) in plan.chains.iter().filter(|(_, ops)| !ops.is_empty()) {
        if have.chains.keys().all(|(of, _)| of != table) {
            let all = format!("all our chains of the {} {table} table are gone", plan.family);
            tell(Kind::Ruleset, Some(*table), all);
            continue;
        }
        let chains = ops.iter().map(|(name, op)| {
            let is_there = have.chains.contains_key(&(*table, name.clone()));
            let how = match (op, is_there) {
                (ChainOp::Write(_), true) => "was changed",
                (ChainOp::Write(_), false) => "is gone",
                (ChainOp::Remove, _) => "is not wanted",
            };
            format!("{table} {name} {how}")
        });
        tell(Kind::Chain, Some(*table), listed(plan, "chains", &chains.collect::<Vec<_>>()));
    }
    for table in Table::ALL {
        let of_table = |hook: &&Hook| hook.table == table;
        let jumps = plan.hook.iter().filter(of_table).map(|hook| jump(hook, have));
        let unwanted = plan.unhook.iter().filter(of_table);
        let unwanted = unwanted.map(|hook| format!("{} is not wanted", name(hook)));
        let jumps: Vec<String> = jumps.chain(unwanted).collect();
        if !jumps.is_empty() {
            tell(Kind::Jump, Some(table), listed(plan, "jumps", &jumps));
        }
    }
    let sets = plan.set_ops().map(set);
    let sets: Vec<String> =
        sets.chain(plan.destroy.iter().map(|name| format!("{name} is not wanted"))).collect();
    if !sets.is_empty() {
        tell(Kind::Set, None, listed(plan, "sets", &sets));
    }
    found
}

fn listed(plan: &Plan, things: &str, all: &[String]) -> String {
    let named = all.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = match all.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {things}: {named}{more}", plan.family)
}

fn name(hook: &Hook) -> String {
    format!("{} {}", hook.table, hook.from.as_str())
}

fn jump(hook: &Hook, have: &Installed) -> String {
    let there: Vec<_> = have.hooks.iter().filter(|one| one.hook == *hook).collect();
    match there[..] {
        [] => format!("{} has lost its jump", name(hook)),
        [one] => match one.before.first() {
            Some(rule) => format!("{} has a rule before our jump: {}", name(hook), visible(rule)),
            None => format!("{} has another jump of ours before ours", name(hook)),
        },
        [_, _, ..] => format!("{} has {} jumps of ours", name(hook), there.len()),
    }
}

fn set(op: &SetOp) -> String {
    match op {
        SetOp::Create(set, _) => format!("{set} is gone"),
        SetOp::Recreate(set, _) => format!("{set} is of another type"),
        SetOp::Replace(set, _) => format!("{set} holds something else"),
        SetOp::Change { set, remove, add } => {
            format!("{set} lacks {} members and has {} too many", add.len(), remove.len())
        }
    }
}
