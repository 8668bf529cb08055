//! Why a criterion does not hold, in words.

use super::describe;
use super::evaluate::{End, ICMP, ICMPV6, Packet, named};
use super::trace::{Party, PartyKind};
use super::view::View;
use crate::address::Family;
use crate::model::{
    Holders, Labels, NAMESPACE_NAME_LABEL, PeerTerm, Pod, PortMatch, PortTerm, Protocol,
    ServiceName,
};
use crate::selector::{Expr, Key, Scope, Subject, quoted};

/// Why no address of `end` is one that `term` stands for; `party` is whose it is.
pub(super) fn of_peer(view: &View<'_>, end: &End<'_>, party: &Party, term: &PeerTerm) -> String {
    match (term, end.endpoint) {
        (PeerTerm::Endpoints(expr), Some(pod)) => of_selector(view, expr, pod),
        (PeerTerm::Endpoints(_), None) => match &party.kind {
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
        (PeerTerm::Selected(expr), endpoint) => {
            let of_pod = endpoint.map(|pod| of_selector(view, expr, pod));
            let others = of_hosts_and_sets(view, expr, end);
            let reasons: Vec<String> = of_pod.into_iter().chain(others).collect();
            if reasons.is_empty() {
                return format!("{} is no pod's, host's or network set's address", end.address);
            }
            reasons.join(", ")
        }
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
    let account = view.account_of(pod);
    let name = quoted(&pod.key.name);
    let namespace = quoted(&pod.key.namespace);
    let subject = view.subject(pod, &account);
    let asked = Asked {
        subject,
        matches: &|expr| view.matches(expr, pod),
        place: format!("{name} is in namespace {namespace}"),
        owner: &|scope| match scope {
            Scope::Own => Some(name.clone()),
            Scope::Namespace => subject.of_namespace.map(|_| format!("namespace {namespace}")),
            Scope::ServiceAccount => {
                Some(format!("service account {}", quoted(&pod.service_account)))
            }
        },
        nowhere: format!("namespace {namespace} is not known"),
    };
    asked.reasons(expr)
}

/// Why a selector does not hold for the host endpoints and network sets that have the address.
fn of_hosts_and_sets(view: &View<'_>, expr: &Expr, end: &End<'_>) -> Vec<String> {
    let world = view.world;
    let hosts = world.host_endpoints().filter(|host| host.expected.contains(&end.address));
    let hosts = hosts.map(|host| {
        let name = format!("HostEndpoint {}", host.name);
        let mut labels = host.labels.clone();
        let profiles = host.profiles.iter().filter_map(|profile| world.profile(profile));
        for (key, value) in profiles.flat_map(|profile| &profile.labels) {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        without_account(expr, &name, None, &labels, None, &|expr| world.matches_host(expr, host))
    });
    let sets =
        world.network_sets().filter(|set| set.nets.iter().any(|net| net.contains(end.address)));
    let sets = sets.map(|set| {
        let namespace = set.id.namespace.as_deref();
        let of_namespace = namespace.and_then(|name| world.namespace(name));
        let of_namespace = of_namespace.map(|namespace| &namespace.labels);
        let matches = |expr: &Expr| view.matches_set(expr, set);
        without_account(expr, &set.id.to_string(), namespace, &set.labels, of_namespace, &matches)
    });
    hosts.chain(sets).collect()
}

/// Why a selector does not hold for something that has no service account.
fn without_account(
    expr: &Expr,
    name: &str,
    namespace: Option<&str>,
    own: &Labels,
    of_namespace: Option<&Labels>,
    matches: &dyn Fn(&Expr) -> bool,
) -> String {
    let subject = Subject { namespace, own, of_namespace, of_account: None };
    let asked = Asked {
        subject,
        matches,
        place: match namespace {
            Some(namespace) => format!("{name} is in namespace {}", quoted(namespace)),
            None => format!("{name} is in no namespace"),
        },
        owner: &|scope| match scope {
            Scope::Own => Some(name.to_owned()),
            Scope::Namespace => namespace.map(|name| format!("namespace {}", quoted(name))),
            Scope::ServiceAccount => None,
        },
        nowhere: match namespace {
            Some(_) => format!("{name} has no service account"),
            None => format!("{name} is in no namespace and has no service account"),
        },
    };
    asked.reasons(expr)
}

/// What a selector was asked about.
struct Asked<'a> {
    subject: Subject<'a>,
    matches: &'a dyn Fn(&Expr) -> bool,
    /// In which namespace it is, as a sentence.
    place: String,
    /// Whose the labels of a scope are; `None` if there are none.
    owner: &'a dyn Fn(Scope) -> Option<String>,
    /// What is so of a scope that has no labels.
    nowhere: String,
}

impl Asked<'_> {
    /// What is so of each part of an expression that does not hold.
    fn reasons(&self, expr: &Expr) -> String {
        let mut reasons = Vec::new();
        self.collect(expr, true, &mut reasons);
        reasons.dedup();
        if reasons.is_empty() {
            // Labels that come from elsewhere may hold what its own do not.
            reasons.push("its labels do not fit".to_owned());
        }
        reasons.join(", ")
    }

    /// Adds what is so where `expr` should be `wanted` and is not.
    fn collect(&self, expr: &Expr, wanted: bool, reasons: &mut Vec<String>) {
        if (self.matches)(expr) == wanted {
            return;
        }
        match expr {
            Expr::All | Expr::Nothing => reasons.push("no pod can".to_owned()),
            Expr::InNamespace(_) => reasons.push(self.place.clone()),
            Expr::Has(key)
                if key.scope == Scope::Namespace && *key.name == *NAMESPACE_NAME_LABEL =>
            {
                reasons.push(self.place.clone());
            }
            Expr::Has(key) | Expr::In(key, _) | Expr::Text(key, ..) => {
                reasons.push(self.fact(key));
            }
            Expr::Not(inner) => self.collect(inner, !wanted, reasons),
            Expr::And(parts) | Expr::Or(parts) => {
                for part in parts {
                    self.collect(part, wanted, reasons);
                }
            }
        }
    }

    /// What is so of a label.
    fn fact(&self, key: &Key) -> String {
        let name = quoted(&key.name);
        let Some(owner) = (self.owner)(key.scope) else { return self.nowhere.clone() };
        match self.subject.label(key) {
            Some(value) => format!("{owner} has {name}={}", quoted(value)),
            None => format!("{owner} has no {name} label"),
        }
    }
}

/// Why a message is not the ICMP that is asked for.
pub(super) fn of_icmp(packet: &Packet<'_>) -> String {
    match packet.icmp {
        _ if !matches!(packet.protocol, ICMP | ICMPV6) => {
            format!("the protocol is {}", describe::protocol(packet.protocol))
        }
        Some((kind, code)) => format!("it is of {}", describe::icmp(kind, Some(code))),
        None => "the type is not known".to_owned(),
    }
}

/// Why one end is not the endpoint of a Service.
pub(super) fn of_service(
    view: &View<'_>,
    packet: &Packet<'_>,
    end: &End<'_>,
    party: &Party,
    service: &ServiceName,
) -> String {
    let endpoints = view.world.service_endpoints(service);
    if endpoints.addresses.is_empty() {
        return format!("Service {service} has no endpoints");
    }
    if !endpoints.addresses.contains(&end.address) {
        return format!("{party} is no endpoint of Service {service}");
    }
    let ports = endpoints.ports.iter().filter(|(address, ..)| *address == end.address);
    let ports: Vec<_> = ports.map(|(_, protocol, port)| format!("{protocol} {port}")).collect();
    let (protocol, port) = (describe::protocol(packet.protocol), end.port);
    let asked = port.map_or(protocol.clone(), |port| format!("{protocol} {port}"));
    match &ports[..] {
        [] => format!("{party} has no ports as an endpoint of Service {service}"),
        ports => format!("{party} has {} there, not {asked}", ports.join(" and ")),
    }
}

/// Why protocol and port of a packet are not those of `term` at `end`.
pub(super) fn of_port(
    view: &View<'_>,
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
        PortMatch::Named(name, holders) => {
            let numbers = named(view, end, name, term.protocol, *holders);
            let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            let name = quoted(name);
            match (&numbers[..], end.endpoint) {
                ([], _) if !party.hosts.is_empty() && *holders == Holders::Endpoints => {
                    format!("{party} has no {protocol} port named {name}")
                }
                ([], Some(_)) => format!("{party} has no {protocol} port named {name}"),
                ([], None) => format!("{party} is no pod and has no named ports"),
                _ => format!("{name} of {party} is {}", numbers.join(", ")),
            }
        }
    }
}
