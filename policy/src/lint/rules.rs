//! Rules one by one.

use std::sync::Arc;

use super::{Check, Lint, place};
use crate::compile::blocks::union;
use crate::model::{
    Action, Criterion, Direction, IpBlock, PeerTerm, Pod, PortMatch, PortTerm, Protocol, Rule, Side,
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
                    Criterion::Peer { any_of, negated: false, .. } => {
                        self.peers(any_of, direction, &field)
                    }
                    Criterion::Ports { side: Side::Destination, any_of, negated: false } => {
                        self.ports(any_of, rule, direction, &field)
                    }
                    Criterion::Peer { .. }
                    | Criterion::Ports { .. }
                    | Criterion::Family(_)
                    | Criterion::Icmp { .. }
                    | Criterion::Service { .. }
                    | Criterion::Protocol { .. } => false,
                };
            }
            if is_dead {
                let fix = "correct what the other warnings of this rule say, or delete it";
                self.warn(Check::RuleNeverMatches, &field, "this rule can never match", fix);
            }
            self.without_effect(rules, index, &field);
        }
    }

    /// Says whether none can ever match.
    fn peers(&mut self, any_of: &[PeerTerm], direction: Direction, rule: &str) -> bool {
        let mut dead = 0;
        for (nth, term) in any_of.iter().enumerate() {
            let field = place::element(self.policy, rule, place::peers(direction), nth);
            let is_dead = match term {
                PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => self.selector(expr, &field),
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
        self.separate_selectors(any_of, rule, place::peers(direction));
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
        for (nth, term) in any_of.iter().enumerate() {
            let PortMatch::Named(name, _) = &term.port else { continue };
            let field = place::element(self.policy, path, "ports", nth);
            self.named_port(name, term.protocol, rule, direction, &field);
        }
        any_of.is_empty()
    }

    /// A name that none of the pods has that the rule is about. Silent if there are no such
    /// pods, of which other checks tell.
    fn named_port(
        &mut self,
        name: &str,
        protocol: Protocol,
        rule: &Rule,
        direction: Direction,
        field: &str,
    ) {
        let pods = match direction {
            Direction::Ingress => self.world.members(&self.policy.subject).collect(),
            Direction::Egress => self.destinations(rule),
        };
        let has = |pod: &Pod, wanted: Option<Protocol>| {
            pod.ports
                .iter()
                .any(|port| *port.name == *name && wanted.is_none_or(|p| port.protocol == p))
        };
        if pods.is_empty() || pods.iter().any(|pod| has(pod, Some(protocol))) {
            return;
        }
        let whose = match direction {
            Direction::Ingress => "that the policy governs",
            Direction::Egress => "that the rule is about",
        };
        let port = quoted(name);
        let (message, fix) = match pods.iter().find(|pod| has(pod, None)) {
            Some(pod) => (
                format!(
                    "no pod {whose} has a {protocol} port named {port}, but {} has one of another \
                     protocol",
                    pod.key
                ),
                "write the protocol of the port into the rule".to_owned(),
            ),
            None => (
                format!("no pod {whose} has a {protocol} port named {port}: nothing matches"),
                "give the container's port this name, or write the number".to_owned(),
            ),
        };
        self.warn(Check::NamedPortNobodyHas, format!("{field}.port"), message, fix);
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

    /// Rules of NetworkPolicies only allow: what one allows another need not.
    fn without_effect(&mut self, rules: &[Rule], index: usize, field: &str) {
        if rules.iter().any(|rule| rule.action != Action::Allow) {
            return;
        }
        let rule = &rules[index];
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
