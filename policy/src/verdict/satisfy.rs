//! Which changes would make a rule match: each criterion that does not hold has some ways to
//! make it hold, and a rule needs one of each.

use std::collections::BTreeSet;

use super::evaluate::{Packet, holds, named, rule_matches};
use super::nearest::Step;
use super::view::View;
use crate::address::Family;
use crate::model::{
    Criterion, Direction, NAMESPACE_NAME_LABEL, PeerTerm, Pod, PolicyId, PortMatch, PortTerm,
    Protocol, Rule, Side,
};
use crate::selector::{Expr, Key, Scope};

/// Changes that only together do it; none twice.
pub(super) type Steps = BTreeSet<Step>;

/// How many ways are followed at each turn. A selector may list thousands of values, of which
/// the first few will do for a hint.
const MOST: usize = 16;

/// Ways to make a rule match, the cheapest first; none if none is known.
pub(super) fn rule(
    view: &View<'_>,
    packet: &Packet<'_>,
    rule: &Rule,
    place: (&PolicyId, Direction, usize),
) -> Vec<Steps> {
    all_of(rule.criteria.iter().map(|one| criterion(view, packet, one, place)))
}

/// Ways to make a rule not match that does: none if it does not, since then it is not what is
/// in the way.
pub(super) fn not_rule(view: &View<'_>, packet: &Packet<'_>, rule: &Rule) -> Vec<Steps> {
    if !rule_matches(view, packet, rule) {
        return Vec::new();
    }
    let ways = rule.criteria.iter().flat_map(|criterion| match criterion {
        Criterion::Peer { side, any_of, negated: false } => match packet.end(*side).endpoint {
            Some(pod) => all_of(any_of.iter().map(|term| not_term(view, term, pod))),
            None => Vec::new(),
        },
        // Other ends, ports and protocols are other flows.
        Criterion::Peer { .. }
        | Criterion::Ports { .. }
        | Criterion::Family(_)
        | Criterion::Icmp { .. }
        | Criterion::Service { .. }
        | Criterion::Protocol { .. } => Vec::new(),
    });
    cheapest(ways.collect())
}

/// Ways to make a term not stand for a pod.
fn not_term(view: &View<'_>, term: &PeerTerm, pod: &Pod) -> Vec<Steps> {
    match term {
        PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr) => selector(view, expr, false, pod),
        PeerTerm::Block(block) if pod.addresses.iter().any(|one| block.contains(*one)) => {
            Vec::new()
        }
        PeerTerm::Block(_) => vec![Steps::new()],
    }
}

/// Everything that goes into comparing two ways: how many steps, then what they ask of whom.
pub(super) fn cost(steps: &Steps) -> (usize, u32) {
    let weight = |step: &Step| match step {
        Step::PodLabel { .. } => 1,
        Step::NamespaceLabel { .. } => 2,
        Step::Port { .. } => 3,
        Step::Block { .. } => 4,
    };
    (steps.len(), steps.iter().map(weight).sum())
}

/// Both, unless they contradict each other.
pub(super) fn together(a: &Steps, b: &Steps) -> Option<Steps> {
    let both: Steps = a.union(b).cloned().collect();
    let contradict = |a: &Step, b: &Step| match (a, b) {
        (Step::PodLabel { pod, key, .. }, Step::PodLabel { pod: p, key: k, .. }) => {
            (pod, key) == (p, k)
        }
        (
            Step::NamespaceLabel { namespace, key, .. },
            Step::NamespaceLabel { namespace: n, key: k, .. },
        ) => (namespace, key) == (n, k),
        (Step::Port { .. }, Step::Port { .. }) => true,
        _ => false,
    };
    // What contradicts stands side by side in the order of steps.
    let clash = both.iter().zip(both.iter().skip(1)).any(|(a, b)| contradict(a, b));
    (!clash).then_some(both)
}

fn all_of(parts: impl Iterator<Item = Vec<Steps>>) -> Vec<Steps> {
    let mut ways = vec![Steps::new()];
    for part in parts {
        let pairs = ways.iter().flat_map(|a| part.iter().filter_map(|b| together(a, b)));
        ways = cheapest(pairs.collect());
    }
    ways
}

fn cheapest(mut ways: Vec<Steps>) -> Vec<Steps> {
    ways.sort_by(|a, b| cost(a).cmp(&cost(b)).then_with(|| a.cmp(b)));
    ways.dedup();
    ways.truncate(MOST);
    ways
}

fn criterion(
    view: &View<'_>,
    packet: &Packet<'_>,
    criterion: &Criterion,
    place: (&PolicyId, Direction, usize),
) -> Vec<Steps> {
    if holds(view, packet, criterion) {
        return vec![Steps::new()];
    }
    let ways = match criterion {
        Criterion::Peer { side, any_of, negated: false } => {
            let end = packet.end(*side);
            let ways = any_of.iter().flat_map(|term| match (term, end.endpoint) {
                (PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr), Some(pod)) => {
                    selector(view, expr, true, pod)
                }
                (PeerTerm::Block(block), _) if block.cidr.family() == Family::of(end.address) => {
                    let (policy, direction, index) = (place.0.clone(), place.1, place.2);
                    let address = end.address;
                    vec![Steps::from([Step::Block { policy, direction, index, address }])]
                }
                (PeerTerm::Endpoints(_) | PeerTerm::Selected(_), None)
                | (PeerTerm::Block(_), _) => Vec::new(),
            });
            ways.collect()
        }
        Criterion::Peer { side, any_of, negated: true } => match packet.end(*side).endpoint {
            Some(pod) => all_of(any_of.iter().map(|term| not_term(view, term, pod))),
            None => Vec::new(),
        },
        Criterion::Ports { side: Side::Destination, any_of, negated: false } => {
            let ports = any_of.iter().filter_map(|term| port(view, packet, term));
            ports.map(|step| Steps::from([step])).collect()
        }
        // These would be other flows, not a change of what there is.
        Criterion::Ports { .. }
        | Criterion::Family(_)
        | Criterion::Icmp { .. }
        | Criterion::Service { .. }
        | Criterion::Protocol { .. } => Vec::new(),
    };
    cheapest(ways)
}

/// The nearest port that `term` stands for.
fn port(view: &View<'_>, packet: &Packet<'_>, term: &PortTerm) -> Option<Step> {
    let protocol: Protocol = term.protocol;
    let end = &packet.destination;
    let number = match &term.port {
        PortMatch::Any => end.port?,
        PortMatch::Range(first, last) => end.port.unwrap_or(*first).clamp(*first, *last),
        PortMatch::Named(name, holders) => *named(view, end, name, protocol, *holders).first()?,
    };
    Some(Step::Port { protocol, number })
}

/// Ways to make a selector `wanted` for a pod.
fn selector(view: &View<'_>, expr: &Expr, wanted: bool, pod: &Pod) -> Vec<Steps> {
    if view.matches(expr, pod) == wanted {
        return vec![Steps::new()];
    }
    let inner = |part: &Expr| selector(view, part, wanted, pod);
    let further =
        |key: &Key| view.further.get(&key.name).into_iter().flatten().map(|value| Some(&**value));
    match expr {
        Expr::All | Expr::Nothing | Expr::InNamespace(_) => Vec::new(),
        Expr::Has(key) if wanted => {
            values(pod, key, [Some("true"), Some("other")].into_iter().chain(further(key)))
        }
        Expr::Has(key) => values(pod, key, [None]),
        Expr::In(key, listed) if wanted => {
            values(pod, key, listed.iter().take(MOST).map(|value| Some(&**value)))
        }
        // Another value, where a label has to be there.
        Expr::In(key, listed) => {
            let further = further(key).filter(|value| value.is_none_or(|it| !listed.contains(it)));
            values(pod, key, [None, Some("other")].into_iter().chain(further))
        }
        Expr::Text(key, _, text) if wanted => values(pod, key, [Some(&**text)]),
        Expr::Text(key, ..) => values(pod, key, [None]),
        Expr::Not(inner) => selector(view, inner, !wanted, pod),
        Expr::And(parts) if wanted => all_of(parts.iter().map(inner)),
        Expr::Or(parts) if !wanted => all_of(parts.iter().map(inner)),
        Expr::And(parts) | Expr::Or(parts) => cheapest(parts.iter().flat_map(inner).collect()),
    }
}

/// One way for each value that a label may get; `None` takes it away. None for labels that
/// nobody can change without making another pod.
fn values<'v>(
    pod: &Pod,
    key: &Key,
    values: impl IntoIterator<Item = Option<&'v str>>,
) -> Vec<Steps> {
    let step = |value: Option<&str>| {
        let (name, value) = (key.name.clone(), value.map(Into::into));
        match key.scope {
            Scope::Own => Some(Step::PodLabel { pod: pod.key.clone(), key: name, value }),
            Scope::Namespace if *name == *NAMESPACE_NAME_LABEL => None,
            Scope::Namespace => {
                let namespace = pod.key.namespace.clone();
                Some(Step::NamespaceLabel { namespace, key: name, value })
            }
            Scope::ServiceAccount => None,
        }
    };
    values.into_iter().filter_map(step).map(|step| Steps::from([step])).collect()
}
