//! Host endpoints, and what policies leave of them.

use std::sync::Arc;

use super::reach::ends_closed;
use super::rules::can_match;
use super::{Check, Lint, Object, Warning, place};
use crate::model::{
    Action, DEFAULT_ALLOW_PROFILE, Direction, HostEndpoint, HostInterface, HostStage, Profile,
};
use crate::selector::quoted;
use crate::world::World;

impl Lint<'_> {
    /// Host endpoints that the policy governs and of which nothing stays open but failsafe
    /// ports (policy-semantics 5.3).
    pub(super) fn hosts_reach(&mut self, direction: Direction) {
        let (world, policy) = (self.world, self.policy);
        if policy.rules(direction).is_none() {
            return;
        }
        let mut closed: Vec<&Arc<str>> = Vec::new();
        for host in world.host_endpoints() {
            let stages = world.governing_host(host, HostStage::Normal, direction);
            let mut policies = stages.iter().flat_map(|(_, policies)| policies);
            if policies.any(|one| one.id == policy.id) && is_closed(world, host, direction) {
                closed.push(&host.name);
            }
        }
        let Some(first) = closed.first() else { return };
        let whom = match closed.len() {
            1 => format!("HostEndpoint {first}"),
            count => format!("{count} host endpoints, {first} first"),
        };
        self.warn(
            Check::OnlyFailsafes,
            place::rules(direction),
            format!("no policy allows any {direction} of {whom}: only failsafe ports stay open"),
            format!("if that is not meant, allow some {direction} by a rule"),
        );
    }

    /// Host endpoints of all interfaces that an untracked policy selects: it is not applied
    /// there (policy-semantics 5.2).
    pub(super) fn untracked_hosts(&mut self) {
        let (world, policy) = (self.world, self.policy);
        match policy.stage {
            HostStage::Untracked => {}
            HostStage::PreDnat | HostStage::Forward | HostStage::Normal => return,
        }
        let is_any = |host: &&Arc<HostEndpoint>| host.interface == Some(HostInterface::Any);
        let selected = world.host_endpoints().filter(is_any);
        let mut selected = selected.filter(|host| world.matches_host(&policy.subject, host));
        let Some(first) = selected.next() else { return };
        let whom = match selected.count() {
            0 => format!("HostEndpoint {}", first.name),
            more => format!("{} host endpoints, {} first", more + 1, first.name),
        };
        self.warn(
            Check::UntrackedAny,
            "spec.doNotTrack",
            format!("the policy is not applied to {whom}: untracked policies are not for \"*\""),
            "give the interface a host endpoint of its own, by spec.interfaceName, or leave out \
             doNotTrack",
        );
    }
}

/// Whether no rule of its policies and profiles allows a host endpoint anything.
fn is_closed(world: &World, host: &HostEndpoint, direction: Direction) -> bool {
    let stages = world.governing_host(host, HostStage::Normal, direction);
    let stages: Vec<_> = stages
        .into_iter()
        .map(|(tier, policies)| (tier, policies.into_iter().cloned().collect::<Vec<_>>()))
        .collect();
    let policies = stages.iter().flat_map(|(_, policies)| policies);
    let rules = policies.filter_map(|policy| policy.rules(direction)).flatten();
    let mut allowing = rules.filter(|rule| rule.action == Action::Allow && can_match(rule));
    let profile_allows = |name: &Arc<str>| {
        world.profile(name).is_some_and(|profile| {
            let rules = rules_of(profile, direction);
            rules.iter().any(|rule| rule.action == Action::Allow && can_match(rule))
        })
    };
    let borrowed = stages.iter().map(|(tier, policies)| (*tier, &policies[..]));
    let ends_closed = ends_closed(borrowed, direction);
    allowing.next().is_none() && (ends_closed || !host.profiles.iter().any(profile_allows))
}

fn rules_of(profile: &Profile, direction: Direction) -> &[crate::model::Rule] {
    match direction {
        Direction::Ingress => &profile.ingress,
        Direction::Egress => &profile.egress,
    }
}

/// What is wrong with host endpoints themselves.
pub(super) fn host_endpoints(world: &World) -> Vec<Warning> {
    let mut found = Vec::new();
    // Manifests mostly do not describe nodes.
    let knows_nodes = world.nodes().next().is_some();
    for host in world.host_endpoints() {
        let mut warn = |check, field: &str, message: String, fix: &str| {
            let object = Object::HostEndpoint(host.name.clone());
            let (field, fix) = (field.to_owned(), fix.to_owned());
            found.push(Warning { object, field, check, message, fix });
        };
        if knows_nodes && world.node(&host.node).is_none() {
            warn(
                Check::UnknownNode,
                "spec.node",
                format!("there is no node {}: it stands for no interface", quoted(&host.node)),
                "write the name of a node as `kubectl get nodes` has it",
            );
        }
        for (index, name) in host.profiles.iter().enumerate() {
            if world.profile(name).is_none() {
                warn(
                    Check::UnknownProfile,
                    &format!("spec.profiles[{index}]"),
                    format!("there is no profile {}: it counts as one that denies", quoted(name)),
                    &format!("create the profile, or name {DEFAULT_ALLOW_PROFILE}"),
                );
            }
        }
        let same = |other: &&Arc<HostEndpoint>| other.name < host.name && overlap(other, host);
        if let Some(first) = world.host_endpoints_on(&host.node).find(same) {
            let field =
                if host.interface.is_some() { "spec.interfaceName" } else { "spec.expectedIPs" };
            warn(
                Check::SameInterface,
                field,
                format!(
                    "HostEndpoint {} is for the same interface and counts, as its name comes \
                     first: this one does nothing there",
                    first.name
                ),
                "delete one of the two, or let each name an interface of its own",
            );
        }
    }
    found
}

/// Whether two host endpoints of a node are for one interface, as far as they say so.
fn overlap(a: &HostEndpoint, b: &HostEndpoint) -> bool {
    match (a.interface, b.interface) {
        (Some(HostInterface::Any), Some(HostInterface::Any)) => true,
        (Some(HostInterface::Named(a)), Some(HostInterface::Named(b))) => a == b,
        (None, None) => !a.expected.is_disjoint(&b.expected),
        // One by name and one by address: of that the node knows more than the objects say.
        (Some(HostInterface::Named(_)), None) | (None, Some(HostInterface::Named(_))) => {
            !a.expected.is_disjoint(&b.expected)
        }
        // What has an interface of its own is not what `*` is for.
        (Some(HostInterface::Any), _) | (_, Some(HostInterface::Any)) => false,
    }
}
