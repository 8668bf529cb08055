//! Policies: all, one, those of a pod.

use std::collections::BTreeSet;

use brindle_policy::model::{Action, Criterion, HostStage, Pod, Policy, PolicyKind};
use brindle_policy::verdict::{staged_for, subject_in_words};
use brindle_policy::{Direction, PolicyId, World};

use super::words::{policy_name, rules};
use super::{Known, find};
use crate::control::view::PolicyState;
use crate::control::{Failure, Page, PageRequest, view};

/// The policies of a namespace or of all, by name.
pub(super) fn list(
    known: &Known<'_>,
    namespace: Option<&str>,
    page: &PageRequest,
) -> Result<Page<view::Policy>, Failure> {
    if let Some(name) = namespace {
        known_namespace(known.world, name)?;
    }
    let mut named: Vec<(String, &Policy)> = known
        .world
        .policies()
        .filter(|policy| namespace.is_none_or(|only| policy.namespace() == Some(only)))
        .map(|policy| (list_key(&policy.id), &**policy))
        .filter(|(name, _)| page.after.as_ref().is_none_or(|after| name > after))
        .collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    let next = named.get(page.limit).and_then(|_| named.get(page.limit.checked_sub(1)?));
    let next = next.map(|(name, _)| name.clone());
    let items = named.iter().take(page.limit).map(|(_, policy)| shown(known, policy)).collect();
    Ok(Page { items, next })
}

/// What a policy is listed by, which no two have in common: its name, and its kind where that
/// is not the usual one.
fn list_key(id: &PolicyId) -> String {
    match id.kind {
        PolicyKind::NetworkPolicy => policy_name(id),
        kind => format!("{} {}", policy_name(id), kind.as_str()),
    }
}

/// Fails for a namespace in which there is nothing at all: its name is mistyped.
pub(super) fn known_namespace(world: &World, name: &str) -> Result<(), Failure> {
    let is_known = world.namespace(name).is_some()
        || world.pods().any(|pod| *pod.key.namespace == *name)
        || world.policies().any(|policy| policy.namespace() == Some(name));
    if is_known {
        return Ok(());
    }
    let mut names: Vec<&str> = world.namespaces().map(|namespace| &*namespace.name).collect();
    names.sort_unstable();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(Failure::NotFound(format!("there is no namespace {name}; there are: {names}")))
}

/// One policy, with the endpoints that it governs.
pub(super) fn show(known: &Known<'_>, name: &str) -> Result<view::Policy, Failure> {
    let policy = find::policy(known.world, name)?;
    Ok(view::Policy { endpoints: governed(known.world, policy), ..shown(known, policy) })
}

/// The policies that govern a pod.
pub(super) fn of_pod(known: &Known<'_>, name: &str) -> Result<view::PodPolicies, Failure> {
    let pod = find::pod(known.world, name)?;
    let governing = |direction| {
        let stages = known.world.governing(pod, direction);
        let policies = stages.into_iter().flat_map(|(_, policies)| policies);
        policies.map(|policy| shown(known, policy)).collect()
    };
    Ok(view::PodPolicies {
        pod: pod.key.to_string(),
        node: pod.node.as_ref().map(ToString::to_string),
        addresses: match pod.is_endpoint() {
            true => known.world.owned_addresses(pod),
            false => pod.addresses.clone(),
        },
        no_endpoint: no_endpoint(pod).map(str::to_owned),
        ingress: governing(Direction::Ingress),
        egress: governing(Direction::Egress),
        staged: staged(known.world, pod),
    })
}

/// Staged policies that are about a pod, in either direction.
fn staged(world: &World, pod: &Pod) -> Vec<String> {
    let both = Direction::ALL.into_iter();
    let found: BTreeSet<PolicyId> =
        both.flat_map(|direction| staged_for(world, pod, direction)).collect();
    found.iter().map(PolicyId::to_string).collect()
}

/// The endpoints that a policy governs, or would if it were enforced: pods, then host endpoints.
fn governed(world: &World, policy: &Policy) -> Vec<String> {
    let is_for_pods = matches!(policy.stage, HostStage::Forward | HostStage::Normal);
    let pods = is_for_pods.then(|| world.members(&policy.subject)).into_iter().flatten();
    let hosts = world.host_endpoints().filter(|host| world.matches_host(&policy.subject, host));
    let hosts = hosts.map(|host| format!("HostEndpoint {}", host.name));
    pods.map(|pod| pod.key.to_string()).chain(hosts).collect()
}

/// Whether a policy takes effect; `governs` is how many endpoints it has.
fn state(known: &Known<'_>, policy: &Policy, governs: usize, is_broken: bool) -> PolicyState {
    if is_broken || !policy.problems.is_empty() && !lets_through(policy) {
        PolicyState::Invalid
    } else if !policy.problems.is_empty() {
        PolicyState::Partial
    } else if policy.staged.is_some() {
        PolicyState::Staged
    } else if known.world.tier(&policy.tier).is_none() {
        PolicyState::UnknownTier
    } else if governs == 0 {
        PolicyState::Unused
    } else {
        PolicyState::Active
    }
}

/// Whether a rule of it may let something through: those that are not understood do not.
fn lets_through(policy: &Policy) -> bool {
    let fits_nothing = |one: &Criterion| match one {
        Criterion::Peer { any_of, negated: false, .. } => any_of.is_empty(),
        Criterion::Ports { any_of, negated: false, .. } => any_of.is_empty(),
        _ => false,
    };
    let rules = Direction::ALL.into_iter().filter_map(|direction| policy.rules(direction));
    rules.flatten().any(|rule| {
        let may = matches!(rule.action, Action::Allow | Action::Pass);
        may && !rule.criteria.iter().any(fits_nothing)
    })
}

/// Why no policy can govern a pod.
fn no_endpoint(pod: &Pod) -> Option<&'static str> {
    if pod.is_endpoint() {
        None
    } else if pod.host_network {
        Some("it has its node's network (hostNetwork)")
    } else if pod.finished {
        Some("it has finished")
    } else {
        Some("it has no address yet; until then nothing reaches it")
    }
}

fn shown(known: &Known<'_>, policy: &Policy) -> view::Policy {
    let has_rules = |direction: &Direction| policy.rules(*direction).is_some();
    let broken = known.here.as_ref().and_then(|here| {
        let broken = here.status.broken.iter().find(|(id, _)| *id == policy.id);
        broken.map(|(_, why)| why.clone())
    });
    let governs = governed(known.world, policy).len();
    view::Policy {
        kind: policy.id.kind.as_str().to_owned(),
        namespace: policy.namespace().map(str::to_owned),
        name: policy.id.name.to_string(),
        tier: policy.tier.to_string(),
        order: policy.order.get(),
        state: state(known, policy, governs, broken.is_some()),
        subject: subject_in_words(policy),
        directions: Direction::ALL.into_iter().filter(has_rules).map(Into::into).collect(),
        governs,
        rules: rules(policy),
        problems: policy
            .problems
            .iter()
            .map(|problem| view::FieldProblem {
                field: problem.field.clone(),
                message: problem.message.clone(),
            })
            .collect(),
        broken,
        endpoints: Vec::new(),
    }
}
