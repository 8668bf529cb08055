//! Finds the rules that the kernel refuses, by trying them in a chain that no packet reaches.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::names::{ChainName, Comment};
use brindle_policy::render;
use brindle_policy::ruleset::{Chain, ChainOp, Plan, Purpose, Rule, Table, Target};

use super::BrokenChain;
use super::command::CommandError;
use super::iptables::{Iptables, Refused, chain_of_line};
use super::probe;

/// The chain that rules are tried in.
const TRIED: &str = "BRN-TRY";
/// What they jump to there, wherever they would jump to else.
const END: &str = "BRN-TRY-END";
/// How many rules of a refused chain are tried one by one, to name the bad one.
const MOST_TRIED_SINGLY: usize = 64;

/// Whether the kernel takes these rules.
pub(super) async fn accepts<'a>(
    iptables: &Iptables,
    table: Table,
    rules: impl IntoIterator<Item = &'a Rule>,
) -> Result<(), Refused> {
    let end = chain(END);
    let rules = rules.into_iter().map(|rule| {
        let target = match &rule.target {
            Target::Jump(_) => Target::Jump(end.clone()),
            Target::Goto(_) => Target::Goto(end.clone()),
            target @ (Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Log { .. }
            | Target::Masquerade
            | Target::NoTrack
            | Target::Mark
            | Target::Unmark) => target.clone(),
        };
        Rule { target, ..rule.clone() }
    });
    let write = |rules| ChainOp::Write(Arc::new(Chain { purpose: Purpose::Fixed, rules }));
    let ops = [(chain(TRIED), write(rules.collect())), (end.clone(), write(Vec::new()))];
    restore(iptables, table, ops.into()).await?;
    let gone = [TRIED, END].map(|name| (chain(name), ChainOp::Remove));
    restore(iptables, table, gone.into()).await
}

/// The chains among `ops` that the kernel refuses, each for itself; none if only their
/// connection is refused. `refused` is what was said of all together, as `text`.
pub(super) async fn broken(
    iptables: &Iptables,
    table: Table,
    ops: &BTreeMap<ChainName, ChainOp>,
    refused: &Refused,
    text: &str,
) -> Result<Vec<BrokenChain>, CommandError> {
    let written = ops.iter().filter_map(|(name, op)| match op {
        ChainOp::Write(chain) => Some((name, chain)),
        ChainOp::Remove => None,
    });
    let line = refused.line.and_then(|line| text.lines().nth(line.checked_sub(1)?));
    let hint = line.and_then(chain_of_line);
    // What the program names is tried first and alone: then the rest is mostly good.
    let (hinted, rest): (Vec<_>, Vec<_>) =
        written.partition(|(name, _)| Some(name.as_str()) == hint);
    let mut groups = vec![rest, hinted];
    let mut found = Vec::new();
    while let Some(mut group) = groups.pop() {
        let rules = group.iter().flat_map(|(_, chain)| &chain.rules);
        match accepts(iptables, table, rules).await {
            Ok(()) => {}
            Err(refused) if !refused.error.is_about_content() => return Err(refused.error),
            Err(refused) => match group[..] {
                [] => return Err(refused.error),
                [(name, chain)] => {
                    let why = why(iptables, table, chain, refused).await;
                    let purpose = chain.purpose.clone();
                    found.push(BrokenChain { table, chain: name.clone(), purpose, why });
                }
                [_, _, ..] => {
                    let half = group.split_off(group.len() / 2);
                    groups.extend([half, group]);
                }
            },
        }
    }
    Ok(found)
}

/// What stands for a chain that the kernel refuses.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Instead {
    /// This one: nothing is open then which the refused one would have closed.
    Closed(Chain),
    /// The one that is there, if there is one: a host that is closed cannot be mended from
    /// outside.
    Before,
    /// That cannot be said.
    Nothing,
}

/// What stands for a chain that the kernel refuses.
pub(super) fn instead(chain: &Chain) -> Instead {
    let drop = Rule {
        matches: Vec::new(),
        target: Target::Drop,
        comment: Some(Comment::new(&["closed"])),
    };
    let denies = chain.rules.iter().any(|rule| rule.target == Target::Drop);
    let rules = match chain.purpose {
        // Whom it governs is denied unless another policy allows.
        Purpose::Policy(..) if !denies => Vec::new(),
        Purpose::Policy(..) | Purpose::Endpoint(..) | Purpose::Dispatch => vec![drop],
        Purpose::Host(..) => return Instead::Before,
        Purpose::Fixed => return Instead::Nothing,
    };
    Instead::Closed(Chain { purpose: chain.purpose.clone(), rules })
}

async fn why(iptables: &Iptables, table: Table, chain: &Chain, refused: Refused) -> String {
    let complaint = said(&refused.error);
    if chain.rules.len() > MOST_TRIED_SINGLY {
        return complaint;
    }
    for (index, rule) in chain.rules.iter().enumerate() {
        if let Err(refused) = accepts(iptables, table, [rule]).await {
            let comment = rule.comment.as_ref().map_or(String::new(), |text| format!(" ({text})"));
            let module = probe::module_of(rule);
            let module = module.map_or(String::new(), |name| format!("; {name} brings it"));
            return format!("rule {}{comment}: {}{module}", index + 1, said(&refused.error));
        }
    }
    complaint
}

/// The first line of what a program complained of.
fn said(error: &CommandError) -> String {
    let line = error.complaint().lines().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(|| error.to_string(), str::to_owned)
}

async fn restore(
    iptables: &Iptables,
    table: Table,
    ops: BTreeMap<ChainName, ChainOp>,
) -> Result<(), Refused> {
    let mut plan = Plan::new(iptables.family);
    plan.chains.insert(table, ops);
    for text in render::tables(&plan).values() {
        iptables.restore(text).await?;
    }
    Ok(())
}

fn chain(name: &str) -> ChainName {
    ChainName::read(name).expect("the name is of our alphabet")
}
