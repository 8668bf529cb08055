//! Why a criterion does not hold, in words.

use super::describe;
use super::evaluate::{End, Packet, named};
use super::trace::{Party, PartyKind};
use super::view::View;
use crate::address::Family;
use crate::model::{PeerTerm, Pod, PortMatch, PortTerm, Protocol};
use crate::selector::{Expr, Key, Scope, quoted};

/// Why no address of `end` is one that `term` stands for; `party` is whose it is.
pub(super) fn of_peer(view: &View<'_>, end: &End<'_>, party: &Party, term: &PeerTerm) -> String {
    match (term, end.endpoint) {
        (PeerTerm::Endpoints(expr) | PeerTerm::Selected(expr), Some(pod)) => {
            of_selector(view, expr, pod)
        }
        (PeerTerm::Endpoints(_) | PeerTerm::Selected(_), None) => match &party.kind {
            PartyKind::Endpoint { .. } | PartyKind::Outside => {
                format!("{} is no pod's address", end.address)
            }
            PartyKind::Node { node } => {
                format!("{} is an address of node {node}, not of a pod", end.address)
            }
            PartyKind::Unknown { node } => {
                format!("no pod of node {node} is known to have {}", end.address)
            }
        },
        (PeerTerm::Block(block), _) if block.cidr.family() != Family::of(end.address) => {
            format!("{} is an {} address", end.address, Family::of(end.address))
        }
        (PeerTerm::Block(block), _) => {
            match block.except.iter().find(|except| except.contains(end.address)) {
                Some(except) if block.cidr.contains(end.address) => {
                    format!("{} is in {except}, which is excepted", end.address)
                }
                _ => format!("{} is not in {}", end.address, block.cidr),
            }
        }
    }
}

/// Why a selector does not hold for a pod: what is so of each part that does not hold.
fn of_selector(view: &View<'_>, expr: &Expr, pod: &Pod) -> String {
    let mut reasons = Vec::new();
    collect(view, expr, pod, true, &mut reasons);
    reasons.dedup();
    reasons.join(", ")
}

/// Adds what is so where `expr` should be `wanted` and is not.
fn collect(view: &View<'_>, expr: &Expr, pod: &Pod, wanted: bool, reasons: &mut Vec<String>) {
    if view.matches(expr, pod) == wanted {
        return;
    }
    match expr {
        Expr::All | Expr::Nothing => reasons.push("no pod can".to_owned()),
        Expr::InNamespace(_) => {
            let (name, namespace) = (quoted(&pod.key.name), quoted(&pod.key.namespace));
            reasons.push(format!("{name} is in namespace {namespace}"));
        }
        Expr::Has(key) | Expr::In(key, _) | Expr::Text(key, ..) => {
            reasons.push(fact(view, key, pod))
        }
        Expr::Not(inner) => collect(view, inner, pod, !wanted, reasons),
        Expr::And(parts) | Expr::Or(parts) => {
            for part in parts {
                collect(view, part, pod, wanted, reasons);
            }
        }
    }
}

/// What is so of a label.
fn fact(view: &View<'_>, key: &Key, pod: &Pod) -> String {
    let name = quoted(&key.name);
    let subject = view.subject(pod);
    let owner = match key.scope {
        Scope::Own => quoted(&pod.key.name),
        Scope::Namespace if subject.of_namespace.is_none() => {
            return format!("namespace {} is not known", quoted(&pod.key.namespace));
        }
        Scope::Namespace => format!("namespace {}", quoted(&pod.key.namespace)),
        Scope::ServiceAccount => format!("service account {}", quoted(&pod.service_account)),
    };
    match subject.label(key) {
        Some(value) => format!("{owner} has {name}={}", quoted(value)),
        None => format!("{owner} has no {name} label"),
    }
}

/// Why protocol and port of a packet are not those of `term` at `end`.
pub(super) fn of_port(
    packet: &Packet<'_>,
    end: &End<'_>,
    party: &Party,
    term: &PortTerm,
) -> String {
    let protocol = describe::protocol(packet.protocol);
    if Protocol::of_number(packet.protocol).is_none() {
        return format!("{protocol} has no ports");
    }
    if packet.protocol != term.protocol.number() {
        return format!("the protocol is {protocol}");
    }
    let Some(port) = end.port else { return "the port is not known".to_owned() };
    match &term.port {
        PortMatch::Any | PortMatch::Range(..) => format!("the port is {port}"),
        PortMatch::Named(name, _) => {
            let numbers: Vec<_> =
                named(end, name, term.protocol).map(|number| number.to_string()).collect();
            let name = quoted(name);
            match (&numbers[..], end.endpoint) {
                ([], Some(_)) => format!("{party} has no {protocol} port named {name}"),
                ([], None) => format!("{party} is no pod and has no named ports"),
                _ => format!("{name} of {party} is {}", numbers.join(", ")),
            }
        }
    }
}
