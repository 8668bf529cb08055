//! Rules and selectors in words.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{
    Criterion, Direction, IpBlock, PeerTerm, PortMatch, PortTerm, Protocol, Rule, Side,
};
use crate::selector::{Expr, Key, Scope, quoted};

use super::evaluate::sides;

/// A rule in words: whom, and which ports.
pub(super) struct RuleText {
    /// `from app=api in namespaces team=dba`.
    pub(super) peer: String,
    /// `port TCP 5432`.
    pub(super) ports: String,
}

/// A rule of one direction; `namespace` is its policy's, which goes without saying.
pub(super) fn rule(rule: &Rule, direction: Direction, namespace: Option<&str>) -> RuleText {
    let (_, peer_side) = sides(direction);
    let (mut peers, mut ports) = (Vec::new(), Vec::new());
    for one in &rule.criteria {
        let text = criterion(one, direction, namespace);
        match one {
            Criterion::Peer { .. } | Criterion::Service { .. } => peers.push(text),
            Criterion::Ports { .. }
            | Criterion::Family(_)
            | Criterion::Icmp { .. }
            | Criterion::Protocol { .. } => ports.push(text),
        }
    }
    let has_peer = |one: &Criterion| {
        matches!(one, Criterion::Peer { side, .. } | Criterion::Service { side, .. }
            if *side == peer_side)
    };
    if !rule.criteria.iter().any(has_peer) {
        peers.insert(0, format!("{} anyone", word(peer_side)));
    }
    if ports.is_empty() {
        ports.push("any port".to_owned());
    }
    RuleText { peer: peers.join(" and "), ports: ports.join(" and ") }
}

/// One criterion of a rule.
pub(super) fn criterion(
    criterion: &Criterion,
    direction: Direction,
    namespace: Option<&str>,
) -> String {
    match criterion {
        Criterion::Peer { side, any_of, negated } => {
            let terms: Vec<_> = any_of.iter().map(|term| peer(term, namespace)).collect();
            let not = if *negated { "not " } else { "" };
            let or = "nobody, since no peer can be understood";
            let (own, _) = sides(direction);
            let which = if *side == own { "as" } else { word(*side) };
            format!("{not}{which} {}", one_of(&terms, or))
        }
        Criterion::Ports { side, any_of, negated } => {
            let not = if *negated { "not " } else { "" };
            let terms: Vec<_> = any_of.iter().map(port).collect();
            let which = match side {
                Side::Destination => "",
                Side::Source => "source ",
            };
            format!("{not}{which}{}", one_of(&terms, "no port, since none can be understood"))
        }
        Criterion::Protocol { number, negated: false } => protocol(*number),
        Criterion::Protocol { number, negated: true } => format!("not {}", protocol(*number)),
        Criterion::Family(family) => family.to_string(),
        Criterion::Icmp { kind, code, negated } => {
            let not = if *negated { "not " } else { "" };
            let code = code.map(|code| format!(" code {code}")).unwrap_or_default();
            format!("{not}type {kind}{code}")
        }
        Criterion::Service { side, service, with_ports } => {
            let ports = if *with_ports { " at its ports" } else { "" };
            format!("{} Service {service}{ports}", word(*side))
        }
    }
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Source => "from",
        Side::Destination => "to",
    }
}

fn one_of(terms: &[String], none: &str) -> String {
    if terms.is_empty() { none.to_owned() } else { terms.join(" or ") }
}

/// Whom a term stands for.
pub(super) fn peer(term: &PeerTerm, namespace: Option<&str>) -> String {
    match term {
        PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => endpoints(expr, namespace),
        PeerTerm::Block(block) => ip_block(block),
    }
}

fn ip_block(block: &IpBlock) -> String {
    let except: Vec<_> = block.except.iter().map(ToString::to_string).collect();
    match &except[..] {
        [] => block.cidr.to_string(),
        _ => format!("{} except {}", block.cidr, except.join(", ")),
    }
}

/// `port TCP 80`, `ports TCP 80-90`, `port TCP http`, `any TCP port`.
pub(crate) fn port(term: &PortTerm) -> String {
    let protocol = term.protocol;
    match &term.port {
        PortMatch::Any => format!("any {protocol} port"),
        PortMatch::Range(first, last) if first == last => format!("port {protocol} {first}"),
        PortMatch::Range(first, last) => format!("ports {protocol} {first}-{last}"),
        PortMatch::Named(name, _) => format!("port {protocol} named {}", quoted(name)),
    }
}

/// `TCP`, `ICMP`, `protocol 47`.
pub(super) fn protocol(number: u8) -> String {
    match (Protocol::of_number(number), number) {
        (Some(protocol), _) => protocol.to_string(),
        (None, 1) => "ICMP".to_owned(),
        (None, 58) => "ICMPv6".to_owned(),
        (None, _) => format!("protocol {number}"),
    }
}

/// `app=api`, `all pods in namespaces team=dba`, `app=api in namespace lab`. A namespace that
/// is `implied` is left out where labels are named.
pub(crate) fn endpoints(expr: &Expr, implied: Option<&str>) -> String {
    let parts = match expr {
        Expr::All => return "all pods in all namespaces".to_owned(),
        Expr::Nothing => return "no pod".to_owned(),
        Expr::And(parts) => &parts[..],
        one => std::slice::from_ref(one),
    };
    let (mut own, mut of_namespace, mut within) = (Vec::new(), Vec::new(), None::<&Arc<str>>);
    for part in parts {
        match (part, atom(part)) {
            (Expr::InNamespace(name), _) if within.is_none() => within = Some(name),
            (_, Some((Scope::Own, text))) => own.push(text),
            (_, Some((Scope::Namespace, text))) => of_namespace.push(text),
            // No selector of Kubernetes comes to this.
            (_, None | Some((Scope::ServiceAccount, _))) => return format!("pods with {expr}"),
        }
    }
    let which = if own.is_empty() { "all pods".to_owned() } else { own.join(", ") };
    let within = match within {
        Some(name) if implied == Some(name) && !own.is_empty() => String::new(),
        Some(name) => format!(" in namespace {}", quoted(name)),
        None if of_namespace.is_empty() => " in all namespaces".to_owned(),
        None => String::new(),
    };
    if of_namespace.is_empty() {
        format!("{which}{within}")
    } else {
        format!("{which}{within} in namespaces {}", of_namespace.join(", "))
    }
}

/// A condition on one label, without whose it is: `app=api`, `tier!=db`, `has x`, `no x`.
fn atom(expr: &Expr) -> Option<(Scope, String)> {
    let listed = |values: &BTreeSet<Arc<str>>| {
        values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")
    };
    let named = |key: &Key, text: String| Some((key.scope, text));
    let name = |key: &Key| quoted(&key.name);
    match expr {
        Expr::Has(key) => named(key, format!("has {}", name(key))),
        Expr::In(key, values) if values.len() == 1 => {
            named(key, format!("{}={}", name(key), listed(values)))
        }
        Expr::In(key, values) => named(key, format!("{} in ({})", name(key), listed(values))),
        Expr::Not(inner) => match &**inner {
            Expr::Has(key) => named(key, format!("no {}", name(key))),
            Expr::In(key, values) if values.len() == 1 => {
                named(key, format!("{}!={}", name(key), listed(values)))
            }
            Expr::In(key, values) => {
                named(key, format!("{} not in ({})", name(key), listed(values)))
            }
            _ => None,
        },
        Expr::Text(key, how, text) => {
            named(key, format!("{} {} {}", name(key), how.as_str(), quoted(text)))
        }
        Expr::All | Expr::Nothing | Expr::InNamespace(_) | Expr::And(_) | Expr::Or(_) => None,
    }
}
