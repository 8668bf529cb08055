//! Finds the rules that the kernel refuses, by trying them in a chain that no packet reaches.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::names::{ChainName, Comment};
use brindle_policy::ruleset::{Chain, ChainOp, Plan, Purpose, Rule, Table, Target};
use brindle_policy::{PolicyId, render};

use super::super::by::By;
use super::BrokenChain;
use super::command::CommandError;
use super::iptables::{Iptables, Refused, chain_of_line};
use super::probe;

/// The chain that rules are tried in.
const TRIED: &str = "BRN-TRY";
/// What they jump to there, wherever they would jump to else.
const END: &str = "BRN-TRY-END";
/// How many times rules of a refused chain are tried, to name the bad ones.
const MOST_TRIED: usize = 64;

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
                    let bad = refused_rules(iptables, table, chain).await?;
                    let why = why(chain, &bad, &refused);
                    let policies = bad.iter().filter_map(|(index, _)| policy_of(chain, *index));
                    found.push(BrokenChain {
                        table,
                        chain: name.clone(),
                        purpose: chain.purpose.clone(),
                        policies: policies.collect(),
                        why,
                    });
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
    /// The one that is there, if there is one; else this one, which leaves open what has to stay
    /// so: a host that is closed cannot be mended from outside.
    Before(Chain),
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
        Purpose::Host(..) => {
            let head = chain.rules.iter().take_while(|rule| is_of_head(rule));
            let rules = head.cloned().chain([drop]).collect();
            return Instead::Before(Chain { purpose: chain.purpose.clone(), rules });
        }
        Purpose::Fixed => return Instead::Nothing,
    };
    Instead::Closed(Chain { purpose: chain.purpose.clone(), rules })
}

/// Whether a rule at the head of a host endpoint's chain is one of those for known connections
/// and failsafe ports: they are nobody's.
fn is_of_head(rule: &Rule) -> bool {
    rule.comment.is_none()
        && !rule.matches.is_empty()
        && matches!(rule.target, Target::Accept | Target::Return | Target::Drop)
}

/// The rules of a refused chain that the kernel refuses, and how. Of those that there was no time
/// to try it is not known that it takes them: they are among them.
async fn refused_rules(
    iptables: &Iptables,
    table: Table,
    chain: &Chain,
) -> Result<Vec<(usize, Option<Refused>)>, CommandError> {
    let mut groups = vec![(0..chain.rules.len()).collect::<Vec<_>>()];
    let (mut bad, mut tries) = (Vec::new(), 0);
    while let Some(mut group) = groups.pop() {
        if tries == MOST_TRIED {
            bad.extend(group.into_iter().map(|index| (index, None)));
            continue;
        }
        tries += 1;
        let rules = group.iter().map(|index| &chain.rules[*index]);
        match accepts(iptables, table, rules).await {
            Ok(()) => {}
            Err(refused) if !refused.error.is_about_content() => return Err(refused.error),
            Err(refused) => match group[..] {
                [] => return Err(refused.error),
                [index] => bad.push((index, Some(refused))),
                [_, _, ..] => {
                    // The first half next: what is told is the first.
                    let half = group.split_off(group.len() / 2);
                    groups.extend([half, group]);
                }
            },
        }
    }
    bad.sort_by_key(|(index, _)| *index);
    Ok(bad)
}

/// The policy that a rule of a chain is of.
fn policy_of(chain: &Chain, index: usize) -> Option<PolicyId> {
    if let Purpose::Policy(id, _) = &chain.purpose {
        return Some(id.clone());
    }
    match By::read(chain.rules.get(index)?.comment.as_ref()?)? {
        By::Rule(id, _) => Some(id),
        By::Tier(_) | By::Profile(_) | By::Host => None,
    }
}

/// Which rule was refused first, and how; `refused` is what was said of all.
fn why(chain: &Chain, bad: &[(usize, Option<Refused>)], refused: &Refused) -> String {
    let named = bad.iter().find_map(|(index, refused)| Some((*index, refused.as_ref()?)));
    let Some((index, refused)) = named else { return said(&refused.error) };
    let rule = &chain.rules[index];
    let comment = rule.comment.as_ref().map_or(String::new(), |text| format!(" ({text})"));
    let module = probe::module_of(rule);
    let module = module.map_or(String::new(), |name| format!("; {name} brings it"));
    format!("rule {}{comment}: {}{module}", index + 1, said(&refused.error))
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

#[cfg(test)]
mod tests {
    use brindle_policy::Direction;
    use brindle_policy::model::{HostStage, PolicyKind, Protocol, Side};
    use brindle_policy::ruleset::Match;

    use super::*;

    #[test]
    fn a_refused_chain_of_a_host_is_closed_but_for_what_stands_at_its_head() {
        let id =
            PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: None, name: "p".into() };
        let rule = |matches, target, comment| Rule { matches, target, comment };
        let ssh = Match::Ports(Side::Destination, Protocol::Tcp, vec![(22, 22)]);
        let head = [
            rule(vec![Match::Established], Target::Accept, None),
            rule(vec![ssh], Target::Accept, None),
            rule(vec![Match::Invalid], Target::Drop, None),
        ];
        let purpose = Purpose::Host("eth".into(), HostStage::Normal, Direction::Ingress);
        let own = rule(Vec::new(), Target::Accept, Some(Comment::policy_rule(&id, 0)));
        let jump = rule(Vec::new(), Target::Unmark, None);
        for behind in [own, jump] {
            let rules = head.iter().cloned().chain([behind]).collect();
            let chain = Chain { purpose: purpose.clone(), rules };
            let Instead::Before(closed) = instead(&chain) else { panic!("{chain:?}") };
            assert_eq!(closed.rules[..3], head[..]);
            assert_eq!((closed.rules.len(), &closed.rules[3].target), (4, &Target::Drop));
            let is_own = chain.rules[3].comment.is_some();
            assert_eq!(policy_of(&chain, 3), is_own.then(|| id.clone()));
            assert_eq!(policy_of(&chain, 0), None);
        }
    }
}
