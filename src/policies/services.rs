//! Ports that rules tell apart: judging one port of each class judges them all.

use std::collections::BTreeSet;
use std::net::IpAddr;

use brindle_policy::model::{Criterion, Pod, PortMatch, PortTerm, Rule};
use brindle_policy::{Direction, Protocol, World};

use crate::flow::Service;

/// Ports from one to another that no rule tells apart, or ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The first of them.
    pub(super) service: Service,
    /// The last of them.
    last: Option<u16>,
}

impl Class {
    /// The class of one service alone.
    pub(super) fn of(service: Service) -> Self {
        Self { service, last: service.port() }
    }
}

/// All classes that the policies of two ends make, ICMP last.
pub(super) fn classes(world: &World, from: Option<&Pod>, to: Option<&Pod>) -> Vec<Class> {
    let mut starts = Protocol::ALL.map(|protocol| (protocol, BTreeSet::from([1])));
    let governed = [(from, Direction::Egress), (to, Direction::Ingress)];
    for (pod, direction) in governed {
        let stages = pod.map(|pod| world.governing(pod, direction)).unwrap_or_default();
        let policies = stages.iter().flat_map(|(_, policies)| policies);
        let rules = policies.flat_map(|policy| policy.rules(direction).unwrap_or_default());
        for (protocol, port) in rules.clone().flat_map(|rule| service_ports(world, rule, to)) {
            for (of, starts) in &mut starts {
                if *of == protocol {
                    starts.insert(port.max(1));
                    starts.extend(port.checked_add(1));
                }
            }
        }
        for term in rules.flat_map(port_terms) {
            for (low, high) in ranges(term, to) {
                for (protocol, starts) in &mut starts {
                    if *protocol == term.protocol {
                        starts.insert(low.max(1));
                        starts.extend(high.checked_add(1));
                    }
                }
            }
        }
    }
    let mut classes = Vec::new();
    for (protocol, starts) in starts {
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
        classes.extend(starts.iter().zip(ends).map(|(low, high)| Class {
            service: Service::Port(protocol, Some(*low)),
            last: Some(high),
        }));
    }
    classes.push(Class::of(Service::Icmp));
    classes
}

/// The ports of the Services that a rule names, where the flow goes to `to`.
fn service_ports(world: &World, rule: &Rule, to: Option<&Pod>) -> Vec<(Protocol, u16)> {
    let services = rule.criteria.iter().filter_map(Criterion::service);
    let ports = services.flat_map(|service| world.service_endpoints(service).ports);
    let is_there = |address: &IpAddr| to.is_some_and(|pod| pod.addresses.contains(address));
    ports
        .filter(|(address, ..)| is_there(address))
        .map(|(_, protocol, port)| (protocol, port))
        .collect()
}

fn port_terms(rule: &Rule) -> impl Iterator<Item = &PortTerm> {
    rule.criteria.iter().flat_map(|criterion| match criterion {
        Criterion::Ports { any_of, .. } => any_of.as_slice(),
        _ => &[],
    })
}

/// The ports that a term means where the flow goes to `to`.
fn ranges(term: &PortTerm, to: Option<&Pod>) -> Vec<(u16, u16)> {
    match &term.port {
        PortMatch::Any => Vec::new(),
        PortMatch::Range(low, high) => vec![(*low, *high)],
        PortMatch::Named(name, _) => {
            let ports = to.into_iter().flat_map(|pod| &pod.ports);
            let named = ports.filter(|p| p.name == *name && p.protocol == term.protocol);
            named.map(|port| (port.number, port.number)).collect()
        }
    }
}

/// Neighbouring ports of a protocol.
struct Span {
    protocol: Protocol,
    low: u16,
    high: u16,
}

/// Classes in words, neighbours as one: `80/tcp`, `8000-8080/tcp`, `udp`, `icmp`.
pub(super) fn open<'c>(classes: impl Iterator<Item = &'c Class>) -> Vec<String> {
    let mut spans: Vec<Span> = Vec::new();
    let mut has_icmp = false;
    for class in classes {
        let Service::Port(protocol, port) = class.service else {
            has_icmp = true;
            continue;
        };
        let (low, high) = (port.unwrap_or(1), class.last.unwrap_or(u16::MAX));
        match spans.last_mut() {
            Some(before)
                if before.protocol == protocol && before.high.checked_add(1) == Some(low) =>
            {
                before.high = high;
            }
            _ => spans.push(Span { protocol, low, high }),
        }
    }
    let words = spans.into_iter().map(|Span { protocol, low, high }| {
        let protocol = protocol.to_string().to_lowercase();
        match (low, high) {
            (1, u16::MAX) => protocol,
            (low, high) if low == high => format!("{low}/{protocol}"),
            (low, high) => format!("{low}-{high}/{protocol}"),
        }
    });
    words.chain(has_icmp.then(|| "icmp".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_classes_are_told_as_one() {
        let class = |protocol, low, high| Class {
            service: Service::Port(protocol, Some(low)),
            last: Some(high),
        };
        for (classes, want) in [
            (vec![class(Protocol::Tcp, 1, 79), class(Protocol::Tcp, 80, u16::MAX)], vec!["tcp"]),
            (vec![class(Protocol::Tcp, 80, 80)], vec!["80/tcp"]),
            (
                vec![
                    class(Protocol::Tcp, 8000, 8080),
                    class(Protocol::Tcp, 8081, 8090),
                    class(Protocol::Udp, 8091, 8091),
                    Class::of(Service::Icmp),
                ],
                vec!["8000-8090/tcp", "8091/udp", "icmp"],
            ),
            (vec![], vec![]),
        ] {
            assert_eq!(open(classes.iter()), want, "{classes:?}");
        }
    }
}
