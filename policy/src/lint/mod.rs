//! What a policy says but can hardly mean: rules that never match, selectors that select
//! nothing, and what else is found by reading objects against the cluster they are in.
//!
//! A warning is no error: the policy does what it says. Every [`Check`] has a name that stays,
//! to be searched for and to be switched off by.

mod hosts;
mod place;
mod reach;
mod rules;
mod selectors;

use std::fmt;
use std::sync::Arc;

use crate::ingest::ignored_rules;
use crate::model::{Direction, Pod, Policy, PolicyId};
use crate::selector::quoted;
use crate::world::World;

/// Something that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// What it is about.
    pub object: Object,
    /// Path of the field, for instance `spec.ingress[0].from[1]`.
    pub field: String,
    /// What was looked for.
    pub check: Check,
    /// What was found, as a sentence.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A policy.
    Policy(PolicyId),
    /// A host endpoint, by name.
    HostEndpoint(Arc<str>),
}

impl fmt::Display for Object {
    /// `NetworkPolicy shop/db-clients`, `HostEndpoint n1-eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Policy(id) => id.fmt(f),
            Object::HostEndpoint(name) => write!(f, "HostEndpoint {name}"),
        }
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Something could not be understood, and allows nothing.
    NotUnderstood,
    /// Rules of a direction that `policyTypes` does not list.
    RulesIgnored,
    /// A namespace that does not exist.
    UnknownNamespace,
    /// A selector that contradicts itself.
    Contradiction,
    /// The policy selects nothing that there is.
    GovernsNothing,
    /// A selector selects only pods with the network of their host, which policies do not see.
    HostNetworkOnly,
    /// A peer's selectors select no pod.
    SelectsNothing,
    /// A block of which `except` leaves nothing.
    EmptyBlock,
    /// Addresses in `except` that another peer of the same rule allows again.
    ExceptWithoutEffect,
    /// A named port that no pod in question has.
    NamedPortNobodyHas,
    /// A rule that can never match, whatever pods there are.
    RuleNeverMatches,
    /// A rule that allows nothing that another rule of the policy does not.
    RuleWithoutEffect,
    /// `podSelector` and `namespaceSelector` as two peers, which means either, not both.
    SeparateSelectors,
    /// A direction that is closed, and nothing opens it.
    DenyWithoutAllow,
    /// Pods that may send something, but ask no DNS server.
    NoDns,
    /// A tier that does not exist, so that the policy is not enforced.
    UnknownTier,
    /// Rules that only record.
    OnlyLogs,
    /// A rule or a policy that no packet comes to, as another before it decides about all.
    NeverReached,
    /// A condition on namespaces that holds for host endpoints too, which are in none.
    AlsoHosts,
    /// Host endpoints of which only failsafe ports stay open.
    OnlyFailsafes,
    /// A Service without its namespace, where the policy has none either.
    ServiceWithoutNamespace,
    /// A Service without endpoints.
    ServiceWithoutEndpoints,
    /// A host endpoint of a node that does not exist.
    UnknownNode,
    /// A host endpoint with a profile that does not exist, which counts as one that denies.
    UnknownProfile,
    /// A host endpoint for an interface that another one has.
    SameInterface,
    /// An untracked policy that selects a host endpoint of all interfaces, where it is not
    /// applied.
    UntrackedAny,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 26] = [
        Check::NotUnderstood,
        Check::RulesIgnored,
        Check::UnknownNamespace,
        Check::Contradiction,
        Check::GovernsNothing,
        Check::HostNetworkOnly,
        Check::SelectsNothing,
        Check::EmptyBlock,
        Check::ExceptWithoutEffect,
        Check::NamedPortNobodyHas,
        Check::RuleNeverMatches,
        Check::RuleWithoutEffect,
        Check::SeparateSelectors,
        Check::DenyWithoutAllow,
        Check::NoDns,
        Check::UnknownTier,
        Check::OnlyLogs,
        Check::NeverReached,
        Check::AlsoHosts,
        Check::OnlyFailsafes,
        Check::ServiceWithoutNamespace,
        Check::ServiceWithoutEndpoints,
        Check::UnknownNode,
        Check::UnknownProfile,
        Check::SameInterface,
        Check::UntrackedAny,
    ];

    /// Its name, for good.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::NotUnderstood => "not-understood",
            Check::RulesIgnored => "rules-ignored",
            Check::UnknownNamespace => "unknown-namespace",
            Check::Contradiction => "contradiction",
            Check::GovernsNothing => "governs-nothing",
            Check::HostNetworkOnly => "host-network-only",
            Check::SelectsNothing => "selects-nothing",
            Check::EmptyBlock => "empty-block",
            Check::ExceptWithoutEffect => "except-without-effect",
            Check::NamedPortNobodyHas => "named-port-nobody-has",
            Check::RuleNeverMatches => "rule-never-matches",
            Check::RuleWithoutEffect => "rule-without-effect",
            Check::SeparateSelectors => "separate-selectors",
            Check::DenyWithoutAllow => "deny-without-allow",
            Check::NoDns => "no-dns",
            Check::UnknownTier => "unknown-tier",
            Check::OnlyLogs => "only-logs",
            Check::NeverReached => "never-reached",
            Check::AlsoHosts => "also-hosts",
            Check::OnlyFailsafes => "only-failsafes",
            Check::ServiceWithoutNamespace => "service-without-namespace",
            Check::ServiceWithoutEndpoints => "service-without-endpoints",
            Check::UnknownNode => "unknown-node",
            Check::UnknownProfile => "unknown-profile",
            Check::SameInterface => "same-interface",
            Check::UntrackedAny => "untracked-any",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything that is worth a look, by policy and field. Looks at every pod for every policy
/// at worst: for when somebody asks, not for every change.
pub fn lint(world: &World) -> Vec<Warning> {
    let dns_servers = reach::dns_servers(world);
    let mut found = Vec::new();
    for policy in world.policies() {
        let mut lint = Lint { world, policy, dns_servers: &dns_servers, found: Vec::new() };
        lint.problems();
        lint.tier();
        lint.subject();
        lint.untracked_hosts();
        for direction in Direction::ALL {
            lint.rules(direction);
            // Staged policies leave nobody anything, or nothing.
            if policy.staged.is_none() {
                lint.reach(direction);
                lint.hosts_reach(direction);
            }
        }
        found.extend(lint.found);
    }
    found.extend(hosts::host_endpoints(world));
    found.sort();
    found
}

/// One policy, and what was found so far.
struct Lint<'w> {
    world: &'w World,
    policy: &'w Policy,
    dns_servers: &'w [Arc<Pod>],
    found: Vec<Warning>,
}

impl Lint<'_> {
    fn warn(
        &mut self,
        check: Check,
        field: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.found.push(Warning {
            object: Object::Policy(self.policy.id.clone()),
            field: field.into(),
            check,
            message: message.into(),
            fix: fix.into(),
        });
    }

    /// Whether its tier exists (policy-semantics C40).
    fn tier(&mut self) {
        let tier = &self.policy.tier;
        if self.world.tier(tier).is_some() {
            return;
        }
        let tiers: Vec<&str> = self.world.tiers().iter().map(|tier| &*tier.name).collect();
        self.warn(
            Check::UnknownTier,
            "spec.tier",
            format!("there is no tier {}: the policy is not enforced", quoted(tier)),
            format!("create the tier, or name one of {}", tiers.join(", ")),
        );
    }

    /// What was wrong with the object itself.
    fn problems(&mut self) {
        let policy = self.policy;
        for problem in &policy.problems {
            let (check, fix) = match ignored_rules(problem) {
                Some(Direction::Ingress) => {
                    (Check::RulesIgnored, place::add_type(policy.id.kind, Direction::Ingress))
                }
                Some(Direction::Egress) => {
                    (Check::RulesIgnored, place::add_type(policy.id.kind, Direction::Egress))
                }
                None => (Check::NotUnderstood, "write what would be accepted".to_owned()),
            };
            self.warn(check, &problem.field, &problem.message, fix);
        }
    }
}

#[cfg(test)]
mod tests;
