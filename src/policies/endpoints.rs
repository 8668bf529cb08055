//! Local endpoints, and what their policies' rules have met.

use std::collections::BTreeSet;

use brindle_policy::model::{Pod, Policy};
use brindle_policy::names::{ChainName, Comment};
use brindle_policy::ruleset::{Table, Target};
use brindle_policy::{Direction, PolicyId};

use super::words::rules_of;
use super::{Here, Known, find};
use crate::control::Failure;
use crate::control::view::{Endpoint, EndpointState, RuleHits};

/// The endpoints on this node, or the one of a pod.
pub(super) fn endpoints(
    known: &Known<'_>,
    here: &Here<'_>,
    pod: Option<&str>,
) -> Result<Vec<Endpoint>, Failure> {
    let Some(name) = pod else {
        let local = known.world.endpoints_on(here.node);
        return Ok(local.map(|pod| endpoint(known, here, pod)).collect());
    };
    let pod = find::pod(known.world, name)?;
    if !pod.is_endpoint() || pod.node.as_deref() != Some(here.node) {
        let place = match &pod.node {
            Some(node) if **node != *here.node => format!("it is on node {node}"),
            Some(_) => format!("see `brindle policy for {}`", pod.key),
            None => "it is not scheduled yet".to_owned(),
        };
        let what = format!("pod {} is no endpoint of this node: {place}", pod.key);
        return Err(Failure::Conflict(what));
    }
    Ok(vec![endpoint(known, here, pod)])
}

fn endpoint(known: &Known<'_>, here: &Here<'_>, pod: &Pod) -> Endpoint {
    let addresses = known.world.owned_addresses(pod);
    let count = |direction| {
        let stages = known.world.governing(pod, direction);
        stages.iter().map(|(_, policies)| policies.len()).sum()
    };
    let chain = |direction| ChainName::endpoint(&pod.key, direction);
    let problem = problem(here, pod, addresses.is_empty());
    Endpoint {
        pod: pod.key.to_string(),
        interface: known.world.attachments_of(pod).next().map(|one| one.interface.to_string()),
        addresses,
        state: match problem {
            None => EndpointState::Programmed,
            Some(_) if here.status.failing.is_some() => EndpointState::Failed,
            Some(_) => EndpointState::Pending,
        },
        ingress_policies: count(Direction::Ingress),
        egress_policies: count(Direction::Egress),
        ingress_chain: chain(Direction::Ingress).to_string(),
        egress_chain: chain(Direction::Egress).to_string(),
        problem,
    }
}

/// Why the kernel does not judge its packets; `None` if it does.
fn problem(here: &Here<'_>, pod: &Pod, has_no_address: bool) -> Option<String> {
    let status = here.status;
    if let Some(missing) = &status.unavailable {
        return Some(format!("nothing is programmed: {missing}"));
    }
    if has_no_address {
        return Some("another pod has its address now".to_owned());
    }
    if status.pending.contains(&pod.key) {
        return Some(match &status.failing {
            Some((_, why)) => format!("closed until writing works again: {why}"),
            None => "closed until its chains are written".to_owned(),
        });
    }
    (!status.ready).then(|| "not written yet since the agent started".to_owned())
}

/// What each rule has met that a local endpoint's policies have.
pub(super) fn hits(known: &Known<'_>, here: &Here<'_>) -> Vec<RuleHits> {
    let mut policies: BTreeSet<(&PolicyId, Direction)> = BTreeSet::new();
    for pod in known.world.endpoints_on(here.node) {
        for direction in Direction::ALL {
            let stages = known.world.governing(pod, direction);
            let governing = stages.into_iter().flat_map(|(_, policies)| policies);
            policies.extend(governing.map(|policy| (&policy.id, direction)));
        }
    }
    let found = policies.into_iter().filter_map(|(id, direction)| {
        let policy = known.world.policy(id)?;
        Some(of_policy(here, policy, direction))
    });
    found.flatten().collect()
}

fn of_policy(here: &Here<'_>, policy: &Policy, direction: Direction) -> Vec<RuleHits> {
    let mut hits: Vec<RuleHits> = rules_of(policy, direction)
        .map(|rule| RuleHits {
            policy: policy.id.to_string(),
            direction: rule.direction,
            rule: rule.rule,
            text: rule.text,
            packets: 0,
            bytes: 0,
            kernel_rules: 0,
        })
        .collect();
    let chain = (Table::Filter, ChainName::policy(&policy.id, direction));
    let held = here.installed.iter().filter_map(|held| held.chains.get(&chain));
    for installed in held.flatten() {
        let Some(rule) = &installed.rule else { continue };
        let index = rule.comment.as_ref().and_then(Comment::rule_index);
        // What logs stands before what decides, for the same packets.
        let decides = !matches!(rule.target, Target::Log { .. });
        if let Some(hits) = index.and_then(|index| hits.get_mut(index))
            && decides
        {
            hits.packets = hits.packets.saturating_add(installed.packets);
            hits.bytes = hits.bytes.saturating_add(installed.bytes);
            hits.kernel_rules += 1;
        }
    }
    hits
}
