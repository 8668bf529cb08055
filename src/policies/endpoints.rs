//! Local endpoints, and what their policies' rules have met.

use std::collections::BTreeSet;
use std::sync::Arc;

use brindle_policy::compile::shadowed;
use brindle_policy::model::{HostEndpoint, HostStage, Pod, Policy};
use brindle_policy::names::{ChainName, Comment};
use brindle_policy::ruleset::{Table, Target};
use brindle_policy::{Attachment, Direction, PodKey, PolicyId};

use super::words::rules_of;
use super::{Here, Known, find};
use crate::control::Failure;
use crate::control::view::{Endpoint, EndpointState, RuleHits};
use crate::enforce::hosts;

/// The endpoints on this node, or the one of a pod.
pub(super) fn endpoints(
    known: &Known<'_>,
    here: &Here<'_>,
    pod: Option<&str>,
) -> Result<Vec<Endpoint>, Failure> {
    let Some(name) = pod else {
        let local = known.world.endpoints_on(here.node);
        let local = local.map(|pod| endpoint(known, here, pod));
        let closed = closed(known, here).into_iter();
        return Ok(local.chain(closed).chain(host_endpoints(known, here)).collect());
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

/// The host endpoints of this node.
fn host_endpoints(known: &Known<'_>, here: &Here<'_>) -> Vec<Endpoint> {
    let (world, status) = (known.world, here.status);
    let problems = hosts::problems(world, here.node);
    let endpoint = |host: &Arc<HostEndpoint>| {
        let interfaces = hosts::interfaces(world, host);
        let missing = status.unavailable.as_ref();
        let missing = missing.map(|missing| format!("nothing is programmed: {missing}"));
        let name = format!("HostEndpoint {}", host.name);
        let refused = status.refused.iter().find(|what| what.starts_with(&format!("{name},")));
        let problem = problems.get(&host.name);
        let is_shadowed = shadowed(world, here.node).iter().any(|(one, _)| *one == host.name);
        let state = if interfaces.is_empty() || is_shadowed {
            EndpointState::Unused
        } else if refused.is_some() || (missing.is_some() && status.failing.is_some()) {
            EndpointState::Failed
        } else if missing.is_some() || !status.ready {
            EndpointState::Pending
        } else {
            EndpointState::Programmed
        };
        let waits = (!status.ready).then(|| "the policies are not in the kernel yet".to_owned());
        let chain =
            |direction| ChainName::host(&host.name, HostStage::Normal, direction, "").to_string();
        Endpoint {
            pod: name,
            addresses: host.expected.iter().copied().collect(),
            interface: Some(interfaces.join(", ")).filter(|text| !text.is_empty()),
            state,
            ingress_policies: hosts::count(world, host, Direction::Ingress),
            egress_policies: hosts::count(world, host, Direction::Egress),
            ingress_chain: chain(Direction::Ingress),
            egress_chain: chain(Direction::Egress),
            problem: problem.or(refused).cloned().or(missing).or(waits),
        }
    };
    world.host_endpoints_on(here.node).map(endpoint).collect()
}

/// Interfaces of which nobody knows the pod, or of which that is no endpoint: they are closed.
fn closed(known: &Known<'_>, here: &Here<'_>) -> Vec<Endpoint> {
    let is_endpoint = |key: &PodKey| {
        let pod = known.world.pod(key);
        pod.is_some_and(|pod| pod.is_endpoint() && pod.node.as_deref() == Some(here.node))
    };
    let all = known.world.attachments().filter(|one| &*one.node == here.node);
    let closed = all.filter(|one| !one.pod.as_ref().is_some_and(is_endpoint));
    let endpoint = |attachment: &Attachment| Endpoint {
        pod: attachment.pod.as_ref().map_or_else(|| "-".to_owned(), PodKey::to_string),
        interface: Some(attachment.interface.to_string()),
        addresses: attachment.addresses.clone(),
        state: EndpointState::Pending,
        ingress_policies: 0,
        egress_policies: 0,
        ingress_chain: "-".to_owned(),
        egress_chain: "-".to_owned(),
        problem: Some(match &attachment.pod {
            Some(_) => "closed: no running pod of that name is known on this node".to_owned(),
            None => "closed: nobody can write a policy for a container without a pod".to_owned(),
        }),
    };
    closed.map(|attachment| endpoint(attachment)).collect()
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
