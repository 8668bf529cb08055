//! What objects mean, and what is said about bad ones.

mod calico;
mod clusters;
mod doubted;
mod objects;
mod policies;
mod rules;
mod spoiled;

use crate::model::{Criterion, PeerTerm, PortMatch, Problem, Rule, Side};

/// Problems as `field: message` lines.
fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
}

/// A rule in a few words.
fn words(rule: &Rule) -> String {
    let not = |negated: &bool| if *negated { "not " } else { "" };
    let end = |side: &Side| match side {
        Side::Source => "from",
        Side::Destination => "to",
    };
    let peer = |term: &PeerTerm| match term {
        PeerTerm::Endpoints(expr) => format!("pods({expr})"),
        PeerTerm::Selected(expr) => format!("({expr})"),
        PeerTerm::Block(block) => block.cidr.to_string(),
    };
    let port = |port: &PortMatch| match port {
        PortMatch::Any => String::new(),
        PortMatch::Range(first, last) if first == last => first.to_string(),
        PortMatch::Range(first, last) => format!("{first}-{last}"),
        PortMatch::Named(name, holders) => format!("{name} of {holders:?}"),
    };
    let criterion = |criterion: &Criterion| match criterion {
        Criterion::Peer { side, any_of, negated } => {
            let terms: Vec<_> = any_of.iter().map(peer).collect();
            format!("{}{} [{}]", not(negated), end(side), terms.join(" | "))
        }
        Criterion::Ports { side, any_of, negated } => {
            let terms = any_of.iter().map(|term| format!("{}/{}", term.protocol, port(&term.port)));
            let terms: Vec<_> = terms.collect();
            format!("{}{} port [{}]", not(negated), end(side), terms.join(" | "))
        }
        Criterion::Protocol { number, negated } => format!("{}protocol {number}", not(negated)),
        Criterion::Family(family) => family.to_string(),
        Criterion::Icmp { kind, code: None, negated } => format!("{}icmp {kind}", not(negated)),
        Criterion::Icmp { kind, code: Some(code), negated } => {
            format!("{}icmp {kind}/{code}", not(negated))
        }
        Criterion::Service { side, service, with_ports } => {
            let ports = if *with_ports { " and its ports" } else { "" };
            format!("{} service {service}{ports}", end(side))
        }
    };
    let criteria: Vec<_> = rule.criteria.iter().map(criterion).collect();
    format!("{:?} {}", rule.action, criteria.join(", ")).trim_end().to_owned()
}

fn read<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error} in\n{yaml}"))
}
