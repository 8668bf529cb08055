//! Rules one by one.

use std::sync::Arc;

use super::place::{self, Layout};
use super::{Check, Lint};
use crate::compile::blocks::union;
use crate::model::{
    Action, Criterion, Direction, Holders, IpBlock, PeerTerm, Pod, PortMatch, PortTerm, Protocol,
    Rule, ServiceName, Side, TierAction,
};
use crate::selector::{Expr, Scope, quoted};

impl Lint<'_> {
    pub(super) fn rules(&mut self, direction: Direction) {
        let policy = self.policy;
        let rules = policy.rules(direction).unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            let field = place::rule(direction, index);
            let mut is_dead = false;
            for criterion in &rule.criteria {
                is_dead |= match criterion {
                    Criterion::Peer { side, any_of, negated: false } => {
                        self.peers(any_of, direction, *side, &field)
                    }
                    Criterion::Ports { side: Side::Destination, any_of, negated: false } => {
                        self.ports(any_of, rule, direction, &field)
                    }
                    Criterion::Service { side, service, .. } => {
                        self.service(service, &format!("{field}.{}", place::side(*side)))
                    }
                    Criterion::Peer { .. }
                    | Criterion::Ports { .. }
                    | Criterion::Family(_)
                    | Criterion::Icmp { .. }
                    | Criterion::Protocol { .. } => false,
                };
            }
            if is_dead {
                let fix = "correct what the other warnings of this rule say, or delete it";
                self.warn(Check::RuleNeverMatches, &field, "this rule can never match", fix);
            }
            self.without_effect(rules, index, &field);
        }
        self.only_logs(rules, direction);
    }

    /// Rules that record and decide nothing (policy-semantics C10).
    fn only_logs(&mut self, rules: &[Rule], direction: Direction) {
        if rules.is_empty() || rules.iter().any(|rule| rule.action != Action::Log) {
            return;
        }
        let tier = self.world.tier(&self.policy.tier);
        let follows = match tier.map(|tier| tier.default_action) {
            Some(TierAction::Pass) => "the next tier decides",
            Some(TierAction::Deny) | None => "what no other policy of the tier allows is denied",
        };
        self.warn(
            Check::OnlyLogs,
            place::rules(direction),
            format!("its rules only record: {follows}"),
            "if that is not meant, add a rule of action Allow or Pass",
        );
    }

    /// A Service that is named as a peer. Says whether it can never have endpoints.
    fn service(&mut self, service: &ServiceName, field: &str) -> bool {
        let field = format!("{field}.services");
        if service.namespace.is_empty() {
            self.warn(
                Check::ServiceWithoutNamespace,
                format!("{field}.namespace"),
                format!(
                    "Service {} needs a namespace here, as the policy is in none: nothing matches",
                    quoted(&service.name)
                ),
                "write the namespace of the Service",
            );
            return true;
        }
        if self.world.service_endpoints(service).addresses.is_empty() {
            self.warn(
                Check::ServiceWithoutEndpoints,
                field,
                format!("Service {service} has no endpoints: nothing matches"),
                "create the Service, or compare its selector with the labels of pods",
            );
        }
        false
    }

    /// Says whether none can ever match.
    fn peers(&mut self, any_of: &[PeerTerm], direction: Direction, side: Side, rule: &str) -> bool {
        let layout = place::layout(self.policy.id.kind);
        let mut dead = 0;
        for (nth, term) in any_of.iter().enumerate() {
            let side = place::side(side);
            let field = match (layout, term) {
                (Layout::Kubernetes | Layout::Cluster, _) => {
                    place::element(self.policy, rule, place::peers(direction), nth)
                }
                (Layout::Calico, PeerTerm::Block(_)) => {
                    place::element(self.policy, rule, &format!("{side}.nets"), nth)
                }
                (Layout::Calico, PeerTerm::Endpoints(_) | PeerTerm::Selected(_)) => {
                    format!("{rule}.{side}")
                }
            };
            let is_dead = match term {
                PeerTerm::Endpoints(expr) => self.selector(expr, &field),
                PeerTerm::Selected(expr) => self.selected(expr, &field),
                PeerTerm::Block(block) => {
                    let others = any_of.iter().enumerate().filter(|(other, _)| *other != nth);
                    let others = others.filter_map(|(_, term)| match term {
                        PeerTerm::Block(block) => Some(block),
                        PeerTerm::Endpoints(_) | PeerTerm::Selected(_) => None,
                    });
                    self.block(block, others, &field)
                }
            };
            dead += usize::from(is_dead);
        }
        match layout {
            Layout::Kubernetes => {
                self.separate_selectors(any_of, rule, place::peers(direction));
            }
            // A peer of these has all its selectors by itself.
            Layout::Calico | Layout::Cluster => {}
        }
        dead == any_of.len()
    }

    /// Says whether nothing is left of it.
    fn block<'b>(
        &mut self,
        block: &IpBlock,
        others: impl Iterator<Item = &'b IpBlock>,
        field: &str,
    ) -> bool {
        if union([block]).is_empty() {
            self.warn(
                Check::EmptyBlock,
                format!("{field}.ipBlock"),
                format!("except leaves nothing of {}", block.cidr),
                "take away the blocks under except that are not meant",
            );
            return true;
        }
        let given = union(others);
        for (index, except) in block.except.iter().enumerate() {
            if given.iter().any(|given| given.covers(*except)) {
                self.warn(
                    Check::ExceptWithoutEffect,
                    format!("{field}.ipBlock.except[{index}]"),
                    format!("another peer of this rule allows {except} nevertheless"),
                    "put the exception into the other peer too, or delete it here",
                );
            }
        }
        false
    }

    fn separate_selectors(&mut self, any_of: &[PeerTerm], rule: &str, list: &str) {
        let own = self.policy.id.namespace.clone().map(Expr::InNamespace);
        let parts = |term: &PeerTerm| match term {
            PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => match &**expr {
                Expr::And(parts) => parts.clone(),
                one => vec![one.clone()],
            },
            PeerTerm::Block(_) => Vec::new(),
        };
        // Pods by label in the policy's namespace; and all pods of namespaces by label.
        let is_pods = |parts: &Vec<Expr>| {
            parts.len() > 1 && own.as_ref().is_some_and(|own| parts.contains(own))
        };
        let is_namespaces = |parts: &Vec<Expr>| {
            !parts.is_empty() && parts.iter().all(|part| part.looks_at(Scope::Namespace))
        };
        let terms: Vec<Vec<Expr>> = any_of.iter().map(parts).collect();
        // Only next to each other: a dash too many in front of the second selector.
        let pair = terms.windows(2).position(|pair| {
            let [a, b] = pair else { return false };
            (is_pods(a) && is_namespaces(b)) || (is_namespaces(a) && is_pods(b))
        });
        let Some(nth) = pair else { return };
        let second = place::element(self.policy, rule, list, nth + 1);
        self.warn(
            Check::SeparateSelectors,
            &second,
            "this selector and that of the peer before are two peers: either is enough",
            "if both have to hold, write both selectors into one peer",
        );
    }

    /// Says whether none can ever match.
    fn ports(
        &mut self,
        any_of: &[PortTerm],
        rule: &Rule,
        direction: Direction,
        path: &str,
    ) -> bool {
        let layout = place::layout(self.policy.id.kind);
        for (nth, term) in any_of.iter().enumerate() {
            let PortMatch::Named(name, holders) = &term.port else { continue };
            let same_name = |other: &&PortTerm| matches!(&other.port, PortMatch::Named(other, _) if other == name);
            let (field, protocols) = match layout {
                Layout::Kubernetes => {
                    let field = place::element(self.policy, path, "ports", nth);
                    (format!("{field}.port"), vec![term.protocol])
                }
                // One name may stand for a port of any protocol.
                Layout::Calico | Layout::Cluster => {
                    if any_of.iter().take(nth).any(|term| same_name(&term)) {
                        continue;
                    }
                    let field = match layout {
                        Layout::Kubernetes | Layout::Cluster => format!("{path}.protocols"),
                        Layout::Calico => format!("{path}.destination.ports"),
                    };
                    let terms = any_of.iter().filter(same_name);
                    (field, terms.map(|term| term.protocol).collect())
                }
            };
            let of_hosts = || {
                let ports = self.world.host_endpoints().flat_map(|host| &host.ports);
                ports.into_iter().any(|port| port.name == *name)
            };
            match holders {
                Holders::Endpoints if of_hosts() => {}
                Holders::Pods | Holders::Endpoints => {
                    self.named_port(name, &protocols, rule, direction, &field);
                }
            }
        }
        any_of.is_empty()
    }

    /// A name that none of the pods has that the rule is about. Silent if there are no such
    /// pods, of which other checks tell.
    fn named_port(
        &mut self,
        name: &str,
        protocols: &[Protocol],
        rule: &Rule,
        direction: Direction,
        field: &str,
    ) {
        let pods = match direction {
            Direction::Ingress => self.world.members(&self.policy.subject).collect(),
            Direction::Egress => self.destinations(rule),
        };
        let has = |pod: &Pod, wanted: Option<&[Protocol]>| {
            pod.ports.iter().any(|port| {
                *port.name == *name && wanted.is_none_or(|some| some.contains(&port.protocol))
            })
        };
        if pods.is_empty() || pods.iter().any(|pod| has(pod, Some(protocols))) {
            return;
        }
        let protocol = match protocols {
            [one] => format!("{one} port"),
            _ => "port".to_owned(),
        };
        let whose = match direction {
            Direction::Ingress => "that the policy governs",
            Direction::Egress => "that the rule is about",
        };
        let port = quoted(name);
        let (message, fix) = match pods.iter().find(|pod| has(pod, None)) {
            Some(pod) => (
                format!(
                    "no pod {whose} has a {protocol} named {port}, but {} has one of another \
                     protocol",
                    pod.key
                ),
                "write the protocol of the port into the rule".to_owned(),
            ),
            None => (
                format!("no pod {whose} has a {protocol} named {port}: nothing matches"),
                "give the container's port this name, or write the number".to_owned(),
            ),
        };
        self.warn(Check::NamedPortNobodyHas, field, message, fix);
    }

    /// The endpoints that an egress rule's peers stand for.
    fn destinations(&self, rule: &Rule) -> Vec<&Arc<Pod>> {
        let world = self.world;
        let holds = |pod: &Pod| {
            rule.criteria.iter().all(|criterion| match criterion {
                Criterion::Peer { side: Side::Destination, any_of, negated } => {
                    any_of.iter().any(|term| match term {
                        PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => {
                            world.matches(expr, pod)
                        }
                        PeerTerm::Block(block) => pod.addresses.iter().any(|a| block.contains(*a)),
                    }) != *negated
                }
                Criterion::Peer { .. }
                | Criterion::Ports { .. }
                | Criterion::Family(_)
                | Criterion::Icmp { .. }
                | Criterion::Service { .. }
                | Criterion::Protocol { .. } => true,
            })
        };
        world.members(&Expr::All).filter(|pod| holds(pod)).collect()
    }

    /// What one rule allows another need not; and after a rule that decides about everything
    /// no other is asked.
    fn without_effect(&mut self, rules: &[Rule], index: usize, field: &str) {
        let rule = &rules[index];
        let decides_all = |rule: &Rule| rule.criteria.is_empty() && rule.action != Action::Log;
        let all_allow = rules.iter().all(|rule| rule.action == Action::Allow);
        let is_ordered = !all_allow || place::layout(self.policy.id.kind) != Layout::Kubernetes;
        if is_ordered && let Some(earlier) = rules[..index].iter().position(decides_all) {
            self.warn(
                Check::NeverReached,
                field,
                format!("rule {earlier} of the same list decides about everything before"),
                "put this rule before it, or delete it",
            );
            return;
        }
        if !all_allow {
            return;
        }
        let open = rules.iter().position(|rule| rule.criteria.is_empty());
        let same = rules[..index].iter().position(|other| other == rule);
        let (message, fix) = match (same, open) {
            (Some(same), _) => {
                (format!("rule {same} of the same list says the same"), "delete one of them")
            }
            (None, Some(open)) if open != index => (
                format!("rule {open} of the same list allows everything already"),
                "delete this rule, or the other if it is not meant",
            ),
            (None, _) => return,
        };
        self.warn(Check::RuleWithoutEffect, field, message, fix);
    }
}

/// Whether some peer or port of every criterion was understood.
pub(super) fn can_match(rule: &Rule) -> bool {
    rule.criteria.iter().all(|criterion| match criterion {
        Criterion::Peer { any_of, negated, .. } => *negated || !any_of.is_empty(),
        Criterion::Ports { any_of, negated, .. } => *negated || !any_of.is_empty(),
        Criterion::Family(_)
        | Criterion::Icmp { .. }
        | Criterion::Service { .. }
        | Criterion::Protocol { .. } => true,
    })
}
