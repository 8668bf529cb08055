//! Rules in words.

use brindle_policy::model::{
    Action, Criterion, IpBlock, PeerTerm, Policy, PortMatch, PortTerm, Rule, Side,
};
use brindle_policy::{Direction, PolicyId};

use crate::control::view::PolicyRule;

/// The rules of a policy, ingress first.
pub(super) fn rules(policy: &Policy) -> Vec<PolicyRule> {
    let of = |direction: Direction| {
        let rules = policy.rules(direction).unwrap_or_default().iter().enumerate();
        rules.map(move |(index, rule)| PolicyRule {
            direction: direction.into(),
            rule: index,
            action: action(rule.action).to_owned(),
            text: rule_text(rule),
        })
    };
    of(Direction::Ingress).chain(of(Direction::Egress)).collect()
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
        Action::Log => "log",
    }
}

/// What a rule matches: `from ns=shop and app=api, TCP 5432`.
pub fn rule_text(rule: &Rule) -> String {
    if rule.criteria.is_empty() {
        return "everything".to_owned();
    }
    let parts: Vec<String> = rule.criteria.iter().map(criterion).collect();
    parts.join(", ")
}

fn criterion(criterion: &Criterion) -> String {
    match criterion {
        Criterion::Peer { side, any_of, negated } => {
            let word = match side {
                Side::Source => "from",
                Side::Destination => "to",
            };
            let not = if *negated { "not " } else { "" };
            format!("{word} {not}{}", either(any_of.iter().map(peer)))
        }
        Criterion::Ports { side, any_of } => {
            let word = match side {
                Side::Source => "source port ",
                Side::Destination => "",
            };
            format!("{word}{}", either(any_of.iter().map(port)))
        }
        Criterion::Protocol { number, negated } => {
            let not = if *negated { "not " } else { "" };
            format!("{not}protocol {number}")
        }
    }
}

/// The terms with "or" between; no term matches nothing.
fn either(terms: impl Iterator<Item = String>) -> String {
    let terms: Vec<String> = terms.collect();
    if terms.is_empty() { "nothing".to_owned() } else { terms.join(" or ") }
}

fn peer(term: &PeerTerm) -> String {
    match term {
        PeerTerm::Endpoints(expr) => {
            let text = expr.to_string();
            if text == "all" { "any pod".to_owned() } else { text }
        }
        PeerTerm::Block(IpBlock { cidr, except }) if except.is_empty() => cidr.to_string(),
        PeerTerm::Block(IpBlock { cidr, except }) => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            format!("{cidr} except {}", except.join(", "))
        }
    }
}

fn port(term: &PortTerm) -> String {
    let protocol = term.protocol;
    match &term.port {
        PortMatch::Any => format!("any {protocol} port"),
        PortMatch::Range(low, high) if low == high => format!("{protocol} {low}"),
        PortMatch::Range(low, high) => format!("{protocol} {low}-{high}"),
        PortMatch::Named(name) => format!("{protocol} port {name}"),
    }
}

/// `namespace/name` of a policy, or the name alone.
pub(super) fn policy_name(id: &PolicyId) -> String {
    match &id.namespace {
        Some(namespace) => format!("{namespace}/{}", id.name),
        None => id.name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brindle_policy::Protocol;
    use brindle_policy::selector::{Expr, Key, Scope};

    use super::*;

    #[test]
    fn rules_read_as_they_are_meant() {
        let api = Expr::is_in(
            Key { scope: Scope::Own, name: "app".into() },
            [Arc::from("api")].into_iter().collect(),
        );
        let from = |any_of| Criterion::Peer { side: Side::Source, any_of, negated: false };
        let ports = |any_of| Criterion::Ports { side: Side::Destination, any_of };
        let tcp = |port| PortTerm { protocol: Protocol::Tcp, port };
        let block = |cidr: &str, except: &[&str]| {
            let except = except.iter().map(|cidr| cidr.parse().unwrap()).collect();
            PeerTerm::Block(IpBlock { cidr: cidr.parse().unwrap(), except })
        };
        for (criteria, want) in [
            (vec![], "everything"),
            (vec![from(vec![])], "from nothing"),
            (vec![from(vec![PeerTerm::Endpoints(Arc::new(Expr::All))])], "from any pod"),
            (
                vec![
                    from(vec![PeerTerm::Endpoints(Arc::new(api)), block("10.0.0.0/8", &[])]),
                    ports(vec![tcp(PortMatch::Range(80, 80)), tcp(PortMatch::Range(8000, 8080))]),
                ],
                "from app=api or 10.0.0.0/8, TCP 80 or TCP 8000-8080",
            ),
            (
                vec![from(vec![block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/16"])])],
                "from 10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16",
            ),
            (
                vec![ports(vec![tcp(PortMatch::Any), tcp(PortMatch::Named("web".into()))])],
                "any TCP port or TCP port web",
            ),
        ] {
            let rule = Rule { action: Action::Allow, criteria };
            assert_eq!(rule_text(&rule), want);
        }
    }
}
