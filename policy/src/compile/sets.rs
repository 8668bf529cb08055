//! The sets that rules use: their names, and who is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{Cidr, Family};
use crate::model::{Holders, NamedPort, PortName, ServiceName};
use crate::names::SetName;
use crate::ruleset::{Match, Member, Members, Rule};
use crate::selector::Expr;
use crate::world::World;

/// How many blocks of a set its description lists.
const LISTED: usize = 4;

/// What a set stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The addresses of the endpoints that an expression holds for.
    Peers(Arc<Expr>),
    /// The addresses of the pods and host endpoints that an expression holds for, and the
    /// blocks of such network sets.
    Selected(Arc<Expr>),
    /// The addresses of a Service's endpoints.
    ServiceAddresses(ServiceName),
    /// Those with their protocols and ports.
    ServicePorts(ServiceName),
    /// Blocks that a rule lists; they never change, for they are the name.
    Blocks(BTreeSet<Cidr>),
    /// Addresses and numbers of a named port.
    Port(PortName),
    /// The addresses of the endpoints of this node.
    Local,
    /// The addresses of this node's endpoints with the interfaces that they are behind, of
    /// those that our network plug-in connected.
    Attached,
    /// The ranges of all nodes' pods.
    Ranges,
    /// The addresses of other nodes' endpoints that lie in this node's ranges: with a network
    /// plug-in that gives out addresses without regard to those.
    Elsewhere,
}

impl Source {
    /// The name of the set. Sets that mean the same have the same name.
    pub(super) fn name(&self, family: Family) -> SetName {
        match self {
            Source::Peers(expr) => SetName::of('s', family, &[&expr.to_string()]),
            Source::Blocks(blocks) => {
                let blocks: Vec<String> = blocks.iter().map(Cidr::to_string).collect();
                let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
                SetName::of('n', family, &blocks)
            }
            Source::Selected(expr) => SetName::of('t', family, &[&expr.to_string()]),
            Source::ServiceAddresses(service) => {
                SetName::of('w', family, &[&service.namespace, &service.name])
            }
            Source::ServicePorts(service) => {
                SetName::of('v', family, &[&service.namespace, &service.name])
            }
            Source::Port(PortName { name, protocol, holders }) => {
                let protocol = protocol.to_string();
                match holders {
                    Holders::Pods => SetName::of('p', family, &[name, &protocol]),
                    Holders::Endpoints => SetName::of('p', family, &[name, &protocol, "hosts"]),
                }
            }
            Source::Local => SetName::of('l', family, &["local"]),
            Source::Attached => SetName::of('a', family, &["attached"]),
            Source::Ranges => SetName::of('r', family, &["ranges"]),
            Source::Elsewhere => SetName::of('e', family, &["elsewhere"]),
        }
    }

    /// What it stands for, as operators read it.
    pub(super) fn about(&self) -> Arc<str> {
        match self {
            Source::Peers(expr) => expr.to_string().into(),
            Source::Blocks(blocks) => {
                let listed: Vec<String> = blocks.iter().take(LISTED).map(Cidr::to_string).collect();
                match blocks.len().saturating_sub(LISTED) {
                    0 => listed.join(", ").into(),
                    more => format!("{} and {more} more", listed.join(", ")).into(),
                }
            }
            Source::Selected(expr) => format!("{expr}; hosts and network sets too").into(),
            Source::ServiceAddresses(service) => format!("endpoints of service {service}").into(),
            Source::ServicePorts(service) => {
                format!("endpoints of service {service} with their ports").into()
            }
            Source::Port(PortName { name, protocol, holders }) => match holders {
                Holders::Pods => format!("port {name}/{protocol}").into(),
                Holders::Endpoints => format!("port {name}/{protocol}, of hosts too").into(),
            },
            Source::Local => "endpoints of this node".into(),
            Source::Attached => "pods of this node with their interfaces".into(),
            Source::Ranges => "ranges of pods of all nodes".into(),
            Source::Elsewhere => "endpoints of other nodes in ranges of this one".into(),
        }
    }
}

/// The sets that the rules of a chain use.
pub(super) type Sources = BTreeMap<SetName, Source>;

/// Notes that a rule uses the set of `source`, and gives its name.
pub(super) fn note(sources: &mut Sources, source: Source, family: Family) -> SetName {
    let name = source.name(family);
    sources.insert(name.clone(), source);
    name
}

/// The sets that `rules` name.
pub(super) fn used(rules: &[Rule]) -> BTreeSet<&SetName> {
    rules.iter().flat_map(|rule| &rule.matches).filter_map(of_match).collect()
}

/// The set that a match names.
pub(super) fn of_match(condition: &Match) -> Option<&SetName> {
    match condition {
        Match::InSet { set, .. } | Match::PortIn { set, .. } | Match::NotAttached(set) => Some(set),
        Match::FromLoopback
        | Match::FromPod
        | Match::In(..)
        | Match::Protocol { .. }
        | Match::Ports(..)
        | Match::Icmp { .. }
        | Match::Arrives(_)
        | Match::Leaves(_)
        | Match::ToLoopback
        | Match::Untracked
        | Match::Marked
        | Match::Established
        | Match::Invalid
        | Match::SourceIsLocal
        | Match::DestinationIsLocal
        | Match::Limit { .. } => None,
    }
}

/// Whether the endpoint at `address`, if there is one, is among those that `expr` holds for.
pub(super) fn is_peer(world: &World, expr: &Expr, address: IpAddr) -> bool {
    world.endpoint_at(address).is_some_and(|pod| world.matches(expr, pod))
}

/// Whether the endpoint at `address`, if there is one, has the named port with this number.
pub(super) fn has_port(world: &World, port: &PortName, address: IpAddr, number: u16) -> bool {
    let is_among = |ports: &BTreeSet<NamedPort>| {
        let mut ports = ports.iter();
        ports.any(|p| (&p.name, p.protocol, p.number) == (&port.name, port.protocol, number))
    };
    let is_of_pod = || world.endpoint_at(address).is_some_and(|pod| is_among(&pod.ports));
    let is_of_host = || {
        let mut hosts = world.host_endpoints().filter(|host| host.expected.contains(&address));
        hosts.any(|host| is_among(&host.ports))
    };
    match port.holders {
        Holders::Pods => is_of_pod(),
        Holders::Endpoints => is_of_pod() || is_of_host(),
    }
}

/// Takes members out and puts some in; those that were not there or were there already do not
/// count. Gives what went and what came.
pub(super) fn change(
    members: &mut Members,
    remove: impl IntoIterator<Item = Member>,
    add: impl IntoIterator<Item = Member>,
) -> (Vec<Member>, Vec<Member>) {
    let removed = remove.into_iter().filter(|member| members.remove(*member)).collect();
    let added = add.into_iter().filter(|member| members.insert(*member)).collect();
    (removed, added)
}
