//! One end of a rule's packets (policy-semantics 3.5, 3.6).

use std::sync::Arc;

use super::ports::{Carried, ports};
use super::{list, text};
use crate::api::calico::{EntityRule, ServiceAccountMatch, ServiceMatch};
use crate::ingest::address::net;
use crate::ingest::doubt::Draft;
use crate::ingest::name::{is_label, is_subdomain};
use crate::ingest::shown;
use crate::model::{
    ACCOUNT_NAME_LABEL, Criterion, Direction, IpBlock, PeerTerm, ServiceName, Side,
};
use crate::selector::{
    Expr, Key, Scope, SelectorError, Whose, parse, parse_of, parse_peer_namespaces,
};

/// Which end of which rule.
pub(super) struct Place<'r> {
    pub(super) direction: Direction,
    pub(super) side: Side,
    /// That of the policy.
    pub(super) namespace: Option<&'r Arc<str>>,
    /// What the rule says of the protocol.
    pub(super) carried: Carried,
    /// The path of this end.
    pub(super) field: String,
}

impl Place<'_> {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.field)
    }
}

/// Adds what `typed` says to the rule.
pub(super) fn entity(typed: &EntityRule, place: &Place<'_>, draft: &mut Draft<'_>) {
    let side = place.side;
    if let Some(service) = &typed.services {
        services(service, typed, place, draft);
    }
    for (name, nets, negated) in [("nets", &typed.nets, false), ("notNets", &typed.not_nets, true)]
    {
        if !list(nets).is_empty() {
            let any_of = blocks(list(nets), negated, &place.field(name), draft);
            draft.add(Criterion::Peer { side, any_of, negated });
        }
    }
    peers(typed, place, draft);
    for (name, typed, negated) in
        [("ports", &typed.ports, false), ("notPorts", &typed.not_ports, true)]
    {
        if !list(typed).is_empty() {
            let any_of = ports(list(typed), place.carried, negated, &place.field(name), draft);
            draft.add(Criterion::Ports { side, any_of, negated });
        }
    }
}

fn blocks(typed: &[String], negated: bool, field: &str, draft: &mut Draft<'_>) -> Vec<PeerTerm> {
    let mut terms = Vec::with_capacity(typed.len());
    for (index, typed) in typed.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match net(typed) {
            Ok(cidr) if negated && cidr.length() == 0 => {
                let message = format!("{cidr} leaves nothing; accepted are smaller blocks");
                draft.bad(field, message);
            }
            Ok(cidr) => terms.push(PeerTerm::Block(IpBlock { cidr, except: Vec::new() })),
            Err(message) => draft.bad_in_list(negated, field, message),
        }
    }
    terms
}

/// The peer set, and what is not in it.
fn peers(typed: &EntityRule, place: &Place<'_>, draft: &mut Draft<'_>) {
    let selector = text(typed.selector.as_ref());
    let not_selector = text(typed.not_selector.as_ref());
    let namespaces = text(typed.namespace_selector.as_ref());
    let accounts = typed.service_accounts.as_ref();
    if selector.is_none() && not_selector.is_none() && namespaces.is_none() && accounts.is_none() {
        return;
    }
    let mut parts = Vec::new();
    match (namespaces, place.namespace) {
        (Some(typed), _) => {
            let read = parse_peer_namespaces(typed);
            parts.extend(taken(read, place.field("namespaceSelector"), draft));
        }
        (None, Some(own)) => parts.push(Expr::InNamespace(own.clone())),
        (None, None) => {}
    }
    if let Some(typed) = selector {
        parts.extend(taken(parse(typed), place.field("selector"), draft));
    }
    if let Some(typed) = accounts {
        parts.extend(service_accounts(typed, &place.field("serviceAccounts"), draft));
    }
    let side = place.side;
    // Without any, only `notSelector` was said, which means addresses of nobody too.
    if !parts.is_empty() {
        let any_of = vec![PeerTerm::Selected(Expr::and(parts).into())];
        draft.add(Criterion::Peer { side, any_of, negated: false });
    }
    if let Some(typed) = not_selector
        && let Some(expr) = taken(parse(typed), place.field("notSelector"), draft)
    {
        let any_of = vec![PeerTerm::Selected(expr.into())];
        draft.add(Criterion::Peer { side, any_of, negated: true });
    }
}

/// The expression; `None`, and noted, if there is none.
fn taken(read: Result<Expr, SelectorError>, field: String, draft: &mut Draft<'_>) -> Option<Expr> {
    read.map_err(|error| draft.bad(field, error.to_string())).ok()
}

/// Names and selector, both of which must fit; what says neither means whatever has a service
/// account.
fn service_accounts(typed: &ServiceAccountMatch, field: &str, draft: &mut Draft<'_>) -> Vec<Expr> {
    let name = || Key { scope: Scope::ServiceAccount, name: ACCOUNT_NAME_LABEL.into() };
    let mut parts = Vec::new();
    let names = list(&typed.names);
    if !names.is_empty() {
        for (index, typed) in names.iter().enumerate().filter(|(_, name)| !is_subdomain(name)) {
            let message = format!("{} is not the name of a service account", shown(typed));
            let accepted = "accepted are lower-case letters, digits, \"-\" and \".\"";
            draft.bad_element(format!("{field}.names[{index}]"), format!("{message}; {accepted}"));
        }
        let names = names.iter().map(|name| name.as_str().into()).collect();
        parts.push(Expr::is_in(name(), names));
    }
    if let Some(typed) = text(typed.selector.as_ref()) {
        let read = parse_of(typed, Whose::ServiceAccount);
        parts.extend(taken(read, format!("{field}.selector"), draft));
    } else if parts.is_empty() {
        parts.push(Expr::Has(name()));
    }
    parts
}

fn services(service: &ServiceMatch, beside: &EntityRule, place: &Place<'_>, draft: &mut Draft<'_>) {
    let field = place.field("services");
    let fits = match place.direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    };
    if place.side != fits {
        let message = "accepted are services of the source in ingress rules and of the destination \
                       in egress rules";
        draft.bad(field, message);
        return;
    }
    let with_ports = place.direction == Direction::Egress;
    let others = [
        ("nets", !list(&beside.nets).is_empty()),
        ("notNets", !list(&beside.not_nets).is_empty()),
        ("selector", text(beside.selector.as_ref()).is_some()),
        ("notSelector", text(beside.not_selector.as_ref()).is_some()),
        ("namespaceSelector", text(beside.namespace_selector.as_ref()).is_some()),
        ("serviceAccounts", beside.service_accounts.is_some()),
        ("ports", with_ports && !list(&beside.ports).is_empty()),
        ("notPorts", with_ports && !list(&beside.not_ports).is_empty()),
    ];
    for (name, _) in others.into_iter().filter(|(_, is_there)| *is_there) {
        draft.bad(place.field(name), "together with services; accepted is either");
    }
    let Some(name) = text(service.name.as_ref()).filter(|name| is_label(name)) else {
        let name = shown(service.name.as_deref().unwrap_or_default());
        let message = format!("{name} is not the name of a Service; accepted is that of one");
        draft.bad(format!("{field}.name"), message);
        return;
    };
    let namespace = match (text(service.namespace.as_ref()), place.namespace) {
        (Some(typed), _) => typed.into(),
        (None, Some(own)) => own.clone(),
        (None, None) => {
            let message = "no namespace, in an object that is in none; accepted is that of the \
                           Service";
            draft.bad(format!("{field}.namespace"), message);
            return;
        }
    };
    let service = ServiceName { namespace, name: name.into() };
    draft.add(Criterion::Service { side: place.side, service, with_ports });
}
