//! What the policies of a pod leave it, taken together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::can_match;
use super::{Check, Lint, place};
use crate::address::Family;
use crate::model::{
    Action, Criterion, Direction, PeerTerm, Pod, PodKey, Policy, PolicyId, PortMatch, PortName,
    PortTerm, Protocol, Rule, Side,
};
use crate::selector::Expr;
use crate::world::World;

/// The port of DNS servers.
const DNS: u16 = 53;

/// Endpoints that the same policies govern: how many, and the first of them by name.
struct Group {
    policies: Vec<Arc<Policy>>,
    first: PodKey,
    count: usize,
}

impl Group {
    fn rules(&self, direction: Direction) -> impl Iterator<Item = &Rule> {
        let rules = self.policies.iter().flat_map(move |policy| policy.rules(direction));
        rules.flatten().filter(|rule| rule.action == Action::Allow && can_match(rule))
    }

    fn whom(&self) -> String {
        match self.count {
            1 => self.first.to_string(),
            count => format!("{count} pods, {} first,", self.first),
        }
    }
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
        let allows = rules.iter().any(|rule| rule.action == Action::Allow && can_match(rule));
        for group in self.groups(direction) {
            let field = place::rules(direction);
            let is_closed = group.rules(direction).next().is_none();
            if is_closed && !allows {
                let what = match direction {
                    Direction::Ingress => "nothing but their node reaches",
                    Direction::Egress => "nothing can be reached by",
                };
                self.warn(
                    Check::DenyWithoutAllow,
                    &field,
                    format!("no policy allows any {direction}: {what} {}", group.whom()),
                    format!("if that is not meant, allow some {direction} by a rule"),
                );
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
    }

    fn groups(&self, direction: Direction) -> Vec<Group> {
        let mut groups: BTreeMap<Vec<PolicyId>, Group> = BTreeMap::new();
        for pod in self.world.members(&self.policy.subject) {
            let stages = self.world.governing(pod, direction);
            let policies: Vec<Arc<Policy>> =
                stages.into_iter().flat_map(|(_, policies)| policies).cloned().collect();
            let ids = policies.iter().map(|policy| policy.id.clone()).collect();
            let new = || Group { policies, first: pod.key.clone(), count: 0 };
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
            Criterion::Peer { any_of, negated: false, .. } if !servers.is_empty() => {
                let is_server = |pod: &Pod, term: &PeerTerm| match term {
                    PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => {
                        self.world.matches(expr, pod)
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
