//! Brings sets to what is wanted, and goes on where one of them cannot be brought there.

use std::collections::{BTreeSet, VecDeque};
use std::slice;

use brindle_policy::Family;
use brindle_policy::names::SetName;
use brindle_policy::render;
use brindle_policy::ruleset::{Members, SetOp};

use super::BrokenSet;
use super::command::CommandError;
use super::ipset::{Broke, Cause, Ipset};

/// How many ways of doing one thing are tried.
const MOST_TRIES: u8 = 4;

/// How far it came.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Sets that do not hold what they should.
    pub broken: Vec<BrokenSet>,
    /// Something else was found than the plan took for granted.
    pub is_astray: bool,
}

/// Does these operations, in order. Those that the kernel refuses are done in another way, or
/// left with a set that holds less.
pub(super) async fn fill(
    ipset: &Ipset,
    family: Family,
    ops: &[SetOp],
) -> Result<Filled, CommandError> {
    let mut filled = Filled::default();
    if ops.is_empty() {
        return Ok(filled);
    }
    match ipset.restore(&render::sets_up(ops, family)).await {
        Ok(()) => return Ok(filled),
        Err(broke) if broke.line.is_none() => return Err(broke.error),
        Err(_) => {}
    }
    // Each for itself, then; what was done already is done again.
    let mut waiting: VecDeque<(SetOp, u8)> = one_by_one(ops).map(|op| (op, 0)).collect();
    while !waiting.is_empty() {
        let texts = waiting.iter().map(|(op, _)| render::sets_up(slice::from_ref(op), family));
        let texts: Vec<String> = texts.collect();
        let Err(broke) = ipset.restore(&texts.concat()).await else { break };
        let Some(failed) = broke.line.and_then(|line| which(&texts, line)) else {
            return Err(broke.error);
        };
        waiting.drain(..failed);
        let (op, tries) = waiting.pop_front().expect("one of them failed");
        let another = match tries < MOST_TRIES {
            true => another_way(ipset, &op, &broke).await?,
            false => None,
        };
        match another {
            Some(another) => {
                filled.is_astray |= !matches!(op, SetOp::Recreate(..));
                waiting.push_front((another, tries + 1));
            }
            None => {
                filled.is_astray |= matches!(broke.cause, Cause::Gone | Cause::InUse);
                filled.broken.push(give_up(ipset, family, op, &broke).await?);
            }
        }
    }
    Ok(filled)
}

/// Removes sets; returns those that a rule still uses. Removed rules let go of their sets a
/// moment later.
pub(super) async fn destroy(
    ipset: &Ipset,
    names: &BTreeSet<SetName>,
) -> Result<BTreeSet<SetName>, CommandError> {
    let mut waiting: VecDeque<SetName> = names.iter().cloned().collect();
    let mut in_use = BTreeSet::new();
    while !waiting.is_empty() {
        // One line each.
        let text = render::destroy(waiting.make_contiguous());
        let Err(broke) = ipset.restore(&text).await else { break };
        let Some(failed) = broke.line.filter(|line| (1..=waiting.len()).contains(line)) else {
            return Err(broke.error);
        };
        waiting.drain(..failed - 1);
        let name = waiting.pop_front().expect("one of them failed");
        match broke.cause {
            Cause::InUse => drop(in_use.insert(name)),
            Cause::Gone => {}
            Cause::Exists | Cause::Full | Cause::Type | Cause::Other => return Err(broke.error),
        }
    }
    Ok(in_use)
}

/// The same operations so that each can be done for itself: members leave all sets first.
fn one_by_one(ops: &[SetOp]) -> impl Iterator<Item = SetOp> {
    let leave = ops.iter().filter_map(|op| match op {
        SetOp::Change { set, remove, .. } if !remove.is_empty() => {
            Some(SetOp::Change { set: set.clone(), remove: remove.clone(), add: Vec::new() })
        }
        SetOp::Change { .. } | SetOp::Create(..) | SetOp::Replace(..) | SetOp::Recreate(..) => None,
    });
    let come = ops.iter().filter_map(|op| match op {
        SetOp::Change { add, .. } if add.is_empty() => None,
        SetOp::Change { set, add, .. } => {
            Some(SetOp::Change { set: set.clone(), remove: Vec::new(), add: add.clone() })
        }
        SetOp::Create(..) | SetOp::Replace(..) | SetOp::Recreate(..) => Some(op.clone()),
    });
    leave.chain(come)
}

/// The text that line `line`, from 1, of all of them together is in.
fn which(texts: &[String], line: usize) -> Option<usize> {
    let mut before = 0;
    texts.iter().position(|text| {
        before += text.lines().count();
        line <= before
    })
}

/// What to do instead of an operation that failed, if there is something.
async fn another_way(
    ipset: &Ipset,
    op: &SetOp,
    broke: &Broke,
) -> Result<Option<SetOp>, CommandError> {
    Ok(match (op, broke.cause) {
        // It is there from before, with who knows what in it.
        (SetOp::Create(set, members), Cause::Exists) => {
            Some(SetOp::Replace(set.clone(), members.clone()))
        }
        (SetOp::Replace(set, members), Cause::Gone) => {
            destroy(ipset, &[set.stand_in()].into()).await?;
            Some(SetOp::Create(set.clone(), members.clone()))
        }
        // No set takes the place of one of another type; that one has to go first.
        (SetOp::Replace(set, members), Cause::Type) => {
            destroy(ipset, &[set.stand_in()].into()).await?;
            Some(SetOp::Recreate(set.clone(), members.clone()))
        }
        (
            SetOp::Create(..),
            Cause::Gone | Cause::InUse | Cause::Full | Cause::Type | Cause::Other,
        )
        | (SetOp::Replace(..), Cause::Exists | Cause::InUse | Cause::Full | Cause::Other)
        | (SetOp::Recreate(..) | SetOp::Change { .. }, _) => None,
    })
}

/// Leaves a set that can be named by rules, so that these do not fail too.
async fn give_up(
    ipset: &Ipset,
    family: Family,
    op: SetOp,
    broke: &Broke,
) -> Result<BrokenSet, CommandError> {
    let (set, kind) = match op {
        SetOp::Create(set, members)
        | SetOp::Replace(set, members)
        | SetOp::Recreate(set, members) => (set, Some(members.kind())),
        SetOp::Change { set, .. } => (set, None),
    };
    let why = broke.error.complaint().to_owned();
    if let Some(kind) = kind {
        // If this fails, the set is there.
        let empty = SetOp::Create(set.clone(), Members::none_of(kind));
        let _ = ipset.restore(&render::sets_up(&[empty], family)).await;
        destroy(ipset, &[set.stand_in()].into()).await?;
    }
    Ok(BrokenSet { set, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_belongs_to_the_operation_that_it_came_from() {
        let texts = ["a\nb\n", "c\n", "d\ne\n"].map(str::to_owned);
        for (line, want) in [(1, 0), (2, 0), (3, 1), (4, 2), (5, 2)] {
            assert_eq!(which(&texts, line), Some(want), "line {line}");
        }
        assert_eq!(which(&texts, 6), None);
    }
}
