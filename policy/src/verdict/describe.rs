//! Rules and selectors in words.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::evaluate::{ICMP, ICMPV6, sides};
use crate::address::Family;
use crate::model::{
    ACCOUNT_NAME_LABEL, Criterion, Direction, IpBlock, NAMESPACE_NAME_LABEL, PeerTerm, Policy,
    PolicyKind, PortMatch, PortTerm, Protocol, Rule, SHORT_ACCOUNT_NAME_LABEL, Side,
};
use crate::selector::{Expr, Key, Scope, quoted};

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
    let (mut peers, mut protocols, mut messages, mut ports) =
        (Vec::new(), Vec::<String>::new(), Vec::new(), Vec::new());
    for one in rule.criteria.iter().filter(|one| !goes_without_saying(one, rule)) {
        let text = criterion(one, direction, namespace);
        match one {
            Criterion::Peer { .. } | Criterion::Service { .. } => peers.push(text),
            Criterion::Family(_) | Criterion::Protocol { .. } => protocols.push(text),
            Criterion::Icmp { .. } => messages.push(text),
            Criterion::Ports { .. } => ports.push(text),
        }
    }
    // `ICMP type 8`.
    match protocols.last_mut() {
        Some(protocol) => {
            for message in messages {
                protocol.push_str(&format!(" {message}"));
            }
        }
        None => protocols = messages,
    }
    let mut ports = [protocols, ports].concat();
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

/// Whether another criterion of the rule says it too: ports have their protocol, ICMP its
/// family.
fn goes_without_saying(criterion: &Criterion, rule: &Rule) -> bool {
    let has = |holds: &dyn Fn(&Criterion) -> bool| rule.criteria.iter().any(holds);
    match criterion {
        Criterion::Protocol { number, negated: false } => has(&|other| {
            matches!(other, Criterion::Ports { any_of, negated: false, .. }
                if !any_of.is_empty()
                    && any_of.iter().all(|term| term.protocol.number() == *number))
        }),
        Criterion::Family(family) => has(&|other| {
            let of = match family {
                Family::V4 => ICMP,
                Family::V6 => ICMPV6,
            };
            matches!(other, Criterion::Protocol { number, negated: false } if *number == of)
        }),
        Criterion::Protocol { negated: true, .. }
        | Criterion::Peer { .. }
        | Criterion::Ports { .. }
        | Criterion::Icmp { .. }
        | Criterion::Service { .. } => false,
    }
}

/// One criterion of a rule.
pub(super) fn criterion(
    criterion: &Criterion,
    direction: Direction,
    namespace: Option<&str>,
) -> String {
    let (own, _) = sides(direction);
    let which = |side: Side| if side == own { "as" } else { word(side) };
    let not = |negated: &bool| if *negated { "not " } else { "" };
    match criterion {
        Criterion::Peer { side, any_of, negated } => {
            let terms: Vec<_> = any_of.iter().map(|term| peer(term, namespace)).collect();
            let or = "nobody, since no peer can be understood";
            format!("{}{} {}", not(negated), which(*side), one_of(&terms, or))
        }
        Criterion::Ports { side, any_of, negated } => {
            let terms: Vec<_> = any_of.iter().map(port).collect();
            let which = match side {
                Side::Destination => "",
                Side::Source => "source ",
            };
            let or = "no port, since none can be understood";
            format!("{}{which}{}", not(negated), one_of(&terms, or))
        }
        Criterion::Protocol { number, negated: false } => match Protocol::of_number(*number) {
            Some(protocol) => format!("any {protocol} port"),
            None => protocol(*number),
        },
        Criterion::Protocol { number, negated: true } => format!("not {}", protocol(*number)),
        Criterion::Family(family) => family.to_string(),
        Criterion::Icmp { kind, code, negated } => {
            format!("{}{}", not(negated), icmp(*kind, *code))
        }
        Criterion::Service { side, service, with_ports } => {
            let ports = if *with_ports { " at its ports" } else { "" };
            format!("{} endpoints of Service {service}{ports}", which(*side))
        }
    }
}

/// `type 8`, `type 3 code 4`.
pub(super) fn icmp(kind: u8, code: Option<u8>) -> String {
    let code = code.map(|code| format!(" code {code}")).unwrap_or_default();
    format!("type {kind}{code}")
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
pub(crate) fn peer(term: &PeerTerm, namespace: Option<&str>) -> String {
    match term {
        PeerTerm::Endpoints(expr) => endpoints(expr, namespace),
        PeerTerm::Selected(expr) => whom(expr, Whom::Peers, namespace),
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
        (None, ICMP) => "ICMP".to_owned(),
        (None, ICMPV6) => "ICMPv6".to_owned(),
        (None, _) => format!("protocol {number}"),
    }
}

/// Who may be meant by an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Pods alone.
    Pods,
    /// Those that policies may govern: pods and host endpoints.
    Governed,
    /// Those that selectors of Calico's language stand for: network sets too.
    Peers,
}

/// `app=api`, `all pods in namespaces team=dba`, `app=api in namespace lab`. A namespace that
/// is `implied` is left out where labels are named.
pub(crate) fn endpoints(expr: &Expr, implied: Option<&str>) -> String {
    whom(expr, Whom::Pods, implied)
}

/// Whom a policy governs: `app=db in namespace shop`, `pods and hosts with role=db`. A
/// namespace that is `implied` is left out as of [`endpoints`].
pub(crate) fn subject(policy: &Policy, implied: Option<&str>) -> String {
    let who = match policy.id.kind {
        PolicyKind::GlobalNetworkPolicy | PolicyKind::StagedGlobalNetworkPolicy => Whom::Governed,
        PolicyKind::NetworkPolicy
        | PolicyKind::CalicoNetworkPolicy
        | PolicyKind::ClusterNetworkPolicy
        | PolicyKind::StagedKubernetesNetworkPolicy
        | PolicyKind::StagedNetworkPolicy => Whom::Pods,
    };
    whom(&policy.subject, who, implied)
}

/// The parts of a conjunction, by what they are about.
#[derive(Default)]
struct Facts<'e> {
    own: Vec<String>,
    of_namespace: Vec<String>,
    accounts: Vec<String>,
    of_account: Vec<String>,
    /// Conditions of several kinds.
    mixed: Vec<String>,
    within: Option<&'e Arc<str>>,
    /// Only what is in no namespace.
    is_global: bool,
}

fn facts(parts: &[Expr]) -> Facts<'_> {
    let mut facts = Facts::default();
    for part in parts {
        match part {
            Expr::InNamespace(name) if facts.within.is_none() => facts.within = Some(name),
            part if is_in_a_namespace(part) => {}
            Expr::Not(inner) if is_in_a_namespace(inner) => facts.is_global = true,
            Expr::In(key, names) if is_account_name(key) => {
                facts.accounts.extend(names.iter().map(|name| quoted(name)));
            }
            part if is_any_account(part) => {}
            part => match atom(part) {
                Some((Scope::Own, text)) => facts.own.push(text),
                Some((Scope::Namespace, text)) => facts.of_namespace.push(text),
                Some((Scope::ServiceAccount, text)) => facts.of_account.push(text),
                None => facts.mixed.push(condition(part)),
            },
        }
    }
    facts
}

fn whom(expr: &Expr, who: Whom, implied: Option<&str>) -> String {
    let parts = match expr {
        Expr::All => &[][..],
        Expr::Nothing => return if who == Whom::Pods { "no pod" } else { "nobody" }.to_owned(),
        Expr::And(parts) => &parts[..],
        one => std::slice::from_ref(one),
    };
    let mut facts = facts(parts);
    let in_namespace = expr.needs(Scope::Namespace);
    let of_account = expr.needs(Scope::ServiceAccount);
    let is_pod = !facts.is_global;
    let is_host = who != Whom::Pods && !in_namespace && !of_account;
    let is_set = who == Whom::Peers && !of_account;
    let kinds = [(is_pod, "pods"), (is_host, "hosts"), (is_set, "network sets")];
    let kinds: Vec<&str> = kinds.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    facts.own.append(&mut facts.mixed);
    let only_pods = kinds == ["pods"];
    let mut text = match (&facts.own[..], &kinds[..]) {
        (_, []) => return "nobody".to_owned(),
        ([], kinds) => format!("all {}", listed(kinds, "and")),
        (own, _) if only_pods => own.join(", "),
        (own, kinds) => {
            let or = if who == Whom::Peers { "or" } else { "and" };
            format!("{} with {}", listed(kinds, or), own.join(", "))
        }
    };
    match facts.within {
        Some(name) if implied == Some(name) && !facts.own.is_empty() => {}
        Some(name) => text.push_str(&format!(" in namespace {}", quoted(name))),
        None if !facts.of_namespace.is_empty() => {}
        None if in_namespace || only_pods => text.push_str(" in all namespaces"),
        None => {}
    }
    if !facts.of_namespace.is_empty() {
        text.push_str(&format!(" in namespaces {}", facts.of_namespace.join(", ")));
    }
    if !facts.accounts.is_empty() {
        text.push_str(&format!(" of service account {}", facts.accounts.join(" or ")));
    }
    if !facts.of_account.is_empty() {
        text.push_str(&format!(" of service accounts {}", facts.of_account.join(", ")));
    }
    text
}

/// `pods`, `pods or hosts`, `pods, hosts or network sets`.
fn listed(names: &[&str], or: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} {or} {last}", first.join(", ")),
    }
}

/// Whether it says no more than that somebody is in a namespace.
fn is_in_a_namespace(expr: &Expr) -> bool {
    matches!(expr, Expr::Has(key)
        if key.scope == Scope::Namespace && *key.name == *NAMESPACE_NAME_LABEL)
}

/// Whether it says no more than that somebody has a service account.
fn is_any_account(expr: &Expr) -> bool {
    matches!(expr, Expr::Has(key) if is_account_name(key))
}

fn is_account_name(key: &Key) -> bool {
    key.scope == Scope::ServiceAccount
        && (*key.name == *ACCOUNT_NAME_LABEL || *key.name == *SHORT_ACCOUNT_NAME_LABEL)
}

/// Any expression as a condition: `app=api or namespace team=dba`.
fn condition(expr: &Expr) -> String {
    let inner = |part: &Expr| match part {
        Expr::And(_) | Expr::Or(_) => format!("({})", condition(part)),
        part => condition(part),
    };
    let all = |parts: &[Expr], word: &str| parts.iter().map(inner).collect::<Vec<_>>().join(word);
    match expr {
        Expr::All => "anything".to_owned(),
        Expr::Nothing => "nothing".to_owned(),
        Expr::InNamespace(name) => format!("in namespace {}", quoted(name)),
        Expr::And(parts) => all(parts, " and "),
        Expr::Or(parts) => all(parts, " or "),
        Expr::Not(inner) => match (&**inner, atom(expr)) {
            (Expr::InNamespace(name), _) => format!("not in namespace {}", quoted(name)),
            (inner, _) if is_in_a_namespace(inner) => "in no namespace".to_owned(),
            (_, Some((scope, text))) => with_owner(scope, &text),
            (inner, None) => format!("not ({})", condition(inner)),
        },
        one if is_in_a_namespace(one) => "in a namespace".to_owned(),
        Expr::Has(_) | Expr::In(..) | Expr::Text(..) => match atom(expr) {
            Some((scope, text)) => with_owner(scope, &text),
            None => expr.to_string(),
        },
    }
}

fn with_owner(scope: Scope, text: &str) -> String {
    match scope {
        Scope::Own => text.to_owned(),
        Scope::Namespace => format!("namespace {text}"),
        Scope::ServiceAccount => format!("service account {text}"),
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
            Expr::Text(key, how, text) => {
                named(key, format!("{} not {} {}", name(key), how.as_str(), quoted(text)))
            }
            Expr::All
            | Expr::Nothing
            | Expr::InNamespace(_)
            | Expr::Not(_)
            | Expr::And(_)
            | Expr::Or(_) => None,
        },
        Expr::Text(key, how, text) => {
            named(key, format!("{} {} {}", name(key), how.as_str(), quoted(text)))
        }
        Expr::All | Expr::Nothing | Expr::InNamespace(_) | Expr::And(_) | Expr::Or(_) => None,
    }
}
