//! Writes the chains of a table, and goes on where the kernel refuses one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::names::ChainName;
use brindle_policy::render;
use brindle_policy::ruleset::{Chain, ChainOp, Plan, Purpose, Table};

use super::BrokenChain;
use super::command::CommandError;
use super::iptables::{Iptables, Refused};
use super::trial::{self, Instead};

/// What was written otherwise than planned.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Chains that the kernel refused; what closes stands in their place, or what was there.
    pub broken: Vec<BrokenChain>,
    /// Chains that were to go and are still used by rules of others; they are empty.
    pub kept: Vec<ChainName>,
}

/// Writes the chains of one table in one transaction. If the kernel refuses some of them, the
/// transaction is done once more with what closes in their place. Those that judge packets of
/// a host stay as they are then; where there are none yet, what has to stay open does, and the
/// rest is closed (policy-semantics 7.11).
pub(super) async fn write(
    iptables: &Iptables,
    table: Table,
    ops: &BTreeMap<ChainName, ChainOp>,
) -> Result<Written, CommandError> {
    let mut written = Written::default();
    let Err((refused, text)) = transact(iptables, table, ops).await else { return Ok(written) };
    if !refused.error.is_about_content() {
        return Err(refused.error);
    }
    written.broken = trial::broken(iptables, table, ops, &refused, &text).await?;
    let (mut writes, removals): (BTreeMap<_, _>, Vec<_>) =
        ops.iter().fold((BTreeMap::new(), Vec::new()), |(mut writes, mut removals), (name, op)| {
            match op {
                ChainOp::Write(chain) => drop(writes.insert(name.clone(), chain.clone())),
                ChainOp::Remove => removals.push(name.clone()),
            }
            (writes, removals)
        });
    if written.broken.is_empty() && removals.is_empty() {
        return Err(refused.error);
    }
    // Empty first: then only rules of others can be in the way of their removal.
    let empty = Arc::new(Chain { purpose: Purpose::Fixed, rules: Vec::new() });
    let mut before = Vec::new();
    for bad in &written.broken {
        let Some(chain) = writes.get_mut(&bad.chain) else { continue };
        match trial::instead(chain) {
            Instead::Closed(closed) => *chain = Arc::new(closed),
            Instead::Before(closed) => {
                writes.remove(&bad.chain);
                before.push((bad.chain.clone(), Arc::new(closed)));
            }
            Instead::Nothing => return Err(refused.error),
        }
    }
    writes.extend(removals.iter().map(|name| (name.clone(), empty.clone())));
    let mut ops: BTreeMap<_, _> =
        writes.into_iter().map(|(name, chain)| (name, ChainOp::Write(chain))).collect();
    if let Err((refused, _)) = transact(iptables, table, &ops).await {
        if before.is_empty() || !refused.error.is_about_content() {
            return Err(refused.error);
        }
        // Others jump there, and nothing is there to stay.
        ops.extend(before.into_iter().map(|(name, closed)| (name, ChainOp::Write(closed))));
        transact(iptables, table, &ops).await.map_err(|(refused, _)| refused.error)?;
    }
    written.kept = remove(iptables, table, removals).await?;
    Ok(written)
}

/// Removes empty chains, and returns those that cannot be removed.
async fn remove(
    iptables: &Iptables,
    table: Table,
    names: Vec<ChainName>,
) -> Result<Vec<ChainName>, CommandError> {
    let mut kept = Vec::new();
    let mut groups = vec![names];
    while let Some(mut group) = groups.pop() {
        let ops = group.iter().map(|name| (name.clone(), ChainOp::Remove)).collect();
        let Err((refused, _)) = transact(iptables, table, &ops).await else { continue };
        if !refused.error.is_about_content() {
            return Err(refused.error);
        }
        if group.len() > 1 {
            let half = group.split_off(group.len() / 2);
            groups.extend([half, group]);
        } else {
            kept.append(&mut group);
        }
    }
    Ok(kept)
}

/// One transaction; if it is refused, also its text.
async fn transact(
    iptables: &Iptables,
    table: Table,
    ops: &BTreeMap<ChainName, ChainOp>,
) -> Result<(), (Refused, String)> {
    let mut plan = Plan::new(iptables.family);
    plan.chains.insert(table, ops.clone());
    for text in render::tables(&plan).into_values() {
        if let Err(refused) = iptables.restore(&text).await {
            return Err((refused, text));
        }
    }
    Ok(())
}
