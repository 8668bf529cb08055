//! What the policies of a pod leave it, taken together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::can_match;
use super::{Check, Lint, place};
use crate::address::Family;
use crate::model::{
    Action, Criterion, Direction, PeerTerm, Pod, PodKey, Policy, PolicyId, PolicyKind, PortMatch,
    PortName, PortTerm, Protocol, Rule, Side, Tier, TierAction,
};
use crate::selector::Expr;
use crate::world::World;

/// The port of DNS servers.
const DNS: u16 = 53;

/// Endpoints that the same policies govern: how many, and the first of them by name.
struct Group {
    stages: Vec<(Tier, Vec<Arc<Policy>>)>,
    first: PodKey,
    count: usize,
}

impl Group {
    fn rules(&self, direction: Direction) -> impl Iterator<Item = &Rule> {
        let policies = self.stages.iter().flat_map(|(_, policies)| policies);
        let rules = policies.flat_map(move |policy| policy.rules(direction)).flatten();
        rules.filter(|rule| rule.action == Action::Allow && can_match(rule))
    }

    fn whom(&self) -> String {
        match self.count {
            1 => self.first.to_string(),
            count => format!("{count} pods, {} first,", self.first),
        }
    }

    /// Whether what no rule is about is denied: some tier ends so, and nothing passes it on.
    fn ends_closed(&self, direction: Direction) -> bool {
        ends_closed(self.stages.iter().map(|(tier, policies)| (tier, &policies[..])), direction)
    }

    /// The policy that decides about everything before `policy` is asked, if there is one.
    fn decided_before(&self, policy: &Policy, direction: Direction) -> Option<&Arc<Policy>> {
        let decides_all = |policy: &Policy, with_pass: bool| {
            policy.rules(direction).unwrap_or_default().iter().any(|rule| {
                rule.criteria.is_empty()
                    && match rule.action {
                        Action::Allow | Action::Deny => true,
                        Action::Pass => with_pass,
                        Action::Log => false,
                    }
            })
        };
        for (tier, policies) in &self.stages {
            let is_own = tier.name == policy.tier;
            let earlier = policies.iter().take_while(|other| other.id != policy.id);
            let mut asked = earlier.map(|other| (other, decides_all(other, is_own)));
            if let Some((decider, _)) = asked.find(|(_, decides)| *decides) {
                return Some(decider).filter(|_| self.is_asked(policy, direction, decider));
            }
            if is_own {
                return None;
            }
        }
        None
    }

    /// Whether `decider` stands for all that is denied or allowed: something passed on before
    /// it comes to later tiers past it.
    fn is_asked(&self, policy: &Policy, direction: Direction, decider: &Policy) -> bool {
        decider.tier == policy.tier
            || !self.stages.iter().any(|(tier, policies)| {
                tier.name == decider.tier
                    && policies.iter().take_while(|one| one.id != decider.id).any(|one| {
                        let rules = one.rules(direction).unwrap_or_default();
                        rules.iter().any(|rule| rule.action == Action::Pass)
                    })
            })
    }
}

/// Whether what no rule is about is denied by the end of some tier.
pub(super) fn ends_closed<'p>(
    stages: impl Iterator<Item = (&'p Tier, &'p [Arc<Policy>])>,
    direction: Direction,
) -> bool {
    for (tier, policies) in stages {
        let rules = policies.iter().filter_map(|policy| policy.rules(direction)).flatten();
        let passes = rules.clone().any(|rule| rule.action == Action::Pass && can_match(rule));
        if tier.default_action == TierAction::Deny && !passes {
            return true;
        }
    }
    false
}

/// Endpoints that say that they serve DNS.
pub(super) fn dns_servers(world: &World) -> Vec<Arc<Pod>> {
    let serves = |pod: &&Arc<Pod>| {
        pod.ports.iter().any(|port| port.protocol == Protocol::Udp && port.number == DNS)
    };
    world.members(&Expr::All).filter(serves).cloned().collect()
}

impl Lint<'_> {
    pub(super) fn reach(&mut self, direction: Direction) {
        let policy = self.policy;
        let Some(rules) = policy.rules(direction) else { return };
        let has = |action| rules.iter().any(|rule| rule.action == action && can_match(rule));
        let (allows, denies) = (has(Action::Allow), has(Action::Deny));
        let groups = self.groups(direction);
        for group in &groups {
            let field = place::rules(direction);
            if !group.ends_closed(direction) {
                continue;
            }
            let is_closed = group.rules(direction).next().is_none();
            if is_closed && !allows {
                let what = match direction {
                    Direction::Ingress => "nothing but their node reaches",
                    Direction::Egress => "nothing can be reached by",
                };
                let whom = group.whom();
                let message = if denies {
                    format!(
                        "it denies some {direction}, but no policy allows any, so that everything \
                         else is denied too: {what} {whom}"
                    )
                } else {
                    format!("no policy allows any {direction}: {what} {whom}")
                };
                let fix = format!("if that is not meant, allow some {direction} by a rule");
                self.warn(Check::DenyWithoutAllow, &field, message, fix);
            } else if direction == Direction::Egress
                && !group.rules(direction).any(|rule| self.is_for_dns(rule))
            {
                self.warn(
                    Check::NoDns,
                    &field,
                    format!("no policy lets {} ask a DNS server", group.whom()),
                    "allow egress to UDP and TCP port 53",
                );
            }
        }
        self.never_reached(direction, &groups);
    }

    /// A policy before which others decide about everything, for all whom it governs. Those of
    /// Kubernetes add up, whichever comes first.
    fn never_reached(&mut self, direction: Direction, groups: &[Group]) {
        let policy = self.policy;
        let has_rules = policy.rules(direction).is_some_and(|rules| !rules.is_empty());
        let mut deciders = groups.iter().map(|group| group.decided_before(policy, direction));
        let Some(Some(first)) = deciders.next() else { return };
        let of_kubernetes = [policy, first].iter().all(|p| p.id.kind == PolicyKind::NetworkPolicy);
        if of_kubernetes || !has_rules || !deciders.all(|decider| decider.is_some()) {
            return;
        }
        let message = format!("{} decides about everything before its rules are asked", first.id);
        let fix = "give it an order or a tier that comes before, or delete it";
        self.warn(Check::NeverReached, place::rules(direction), message, fix);
    }

    fn groups(&self, direction: Direction) -> Vec<Group> {
        let mut groups: BTreeMap<Vec<PolicyId>, Group> = BTreeMap::new();
        if !self.policy.judges_pods() || self.world.tier(&self.policy.tier).is_none() {
            return Vec::new();
        }
        for pod in self.world.members(&self.policy.subject) {
            let stages = self.world.governing(pod, direction);
            let policies = stages.iter().flat_map(|(_, policies)| policies);
            let ids = policies.map(|policy| policy.id.clone()).collect();
            let new = || {
                let stages = stages.into_iter().map(|(tier, policies)| {
                    (tier.clone(), policies.into_iter().cloned().collect())
                });
                Group { stages: stages.collect(), first: pod.key.clone(), count: 0 }
            };
            groups.entry(ids).or_insert_with(new).count += 1;
        }
        groups.into_values().collect()
    }

    /// Whether a rule may let DNS queries out: it names their port, or it allows all ports to
    /// whom a server may be.
    fn is_for_dns(&self, rule: &Rule) -> bool {
        let servers = self.dns_servers;
        rule.criteria.iter().all(|criterion| match criterion {
            Criterion::Ports { side: Side::Destination, any_of, negated: false } => {
                any_of.iter().any(|term| self.is_dns_port(term))
            }
            Criterion::Ports { .. } => true,
            Criterion::Protocol { number, negated } => {
                (*number == Protocol::Udp.number()) != *negated
            }
            // Servers need not be known: they may be outside, or their ports not declared.
            Criterion::Peer { side: Side::Destination, any_of, negated: false }
                if !servers.is_empty() =>
            {
                let is_server = |pod: &Pod, term: &PeerTerm| match term {
                    PeerTerm::Endpoints(expr) => self.world.matches(expr, pod),
                    PeerTerm::Selected(expr) => {
                        pod.addresses.iter().any(|address| self.world.selects(expr, *address))
                    }
                    PeerTerm::Block(_) => true,
                };
                any_of.iter().any(|term| servers.iter().any(|pod| is_server(pod, term)))
            }
            Criterion::Family(_)
            | Criterion::Icmp { .. }
            | Criterion::Service { .. }
            | Criterion::Peer { .. } => true,
        })
    }

    fn is_dns_port(&self, term: &PortTerm) -> bool {
        let numbers = |name: &PortName| {
            Family::ALL.iter().any(|family| {
                let ports = self.world.port_addresses(name, *family);
                ports.iter().any(|(_, number)| *number == DNS)
            })
        };
        term.protocol == Protocol::Udp
            && match &term.port {
                PortMatch::Any => true,
                PortMatch::Range(first, last) => (*first..=*last).contains(&DNS),
                PortMatch::Named(name, holders) => numbers(&PortName {
                    name: name.clone(),
                    protocol: term.protocol,
                    holders: *holders,
                }),
            }
    }
}
