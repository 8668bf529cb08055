//! The one evaluation: tiers in order, in each the policies that govern the endpoint in order,
//! in each its rules in order (policy-semantics 4).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::view::View;
use super::{Flow, HostStep, Judgement, Reason};
use crate::address::Family;
use crate::model::{
    Action, Criterion, Direction, Holders, PeerTerm, Pod, Policy, PortMatch, PortTerm, Protocol,
    Rule, ServiceName, Side, Tier, TierAction,
};
use crate::world::World;

/// The protocol number of ICMP.
pub(super) const ICMP: u8 = 1;
/// The protocol number of ICMPv6.
pub(super) const ICMPV6: u8 = 58;

/// A flow, and whose its addresses are.
#[derive(Clone)]
pub(super) struct Packet<'w> {
    pub(super) protocol: u8,
    pub(super) icmp: Option<(u8, u8)>,
    pub(super) source: End<'w>,
    pub(super) destination: End<'w>,
}

/// One end of a packet.
#[derive(Clone)]
pub(super) struct End<'w> {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    pub(super) endpoint: Option<&'w Arc<Pod>>,
}

impl<'w> Packet<'w> {
    pub(super) fn new(world: &'w World, flow: &Flow) -> Self {
        let end = |address, port| End { address, port, endpoint: world.endpoint_at(address) };
        Self {
            protocol: flow.protocol,
            icmp: flow.icmp,
            source: end(flow.source, flow.source_port),
            destination: end(flow.destination, flow.destination_port),
        }
    }

    pub(super) fn end(&self, side: Side) -> &End<'w> {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }
}

/// The end whose policies a direction asks, and the other one.
pub(super) fn sides(direction: Direction) -> (Side, Side) {
    match direction {
        Direction::Ingress => (Side::Destination, Side::Source),
        Direction::Egress => (Side::Source, Side::Destination),
    }
}

/// Sees what the evaluation looks at, in its order.
pub(super) trait Watch {
    /// A tier that has policies which govern the endpoint in a direction.
    fn stage(&mut self, tier: &Tier, direction: Direction);
    /// One of those policies.
    fn policy(&mut self, policy: &Arc<Policy>);
    /// One of its rules.
    fn rule(&mut self, index: usize, rule: &Rule, is_match: bool);
    /// What a host endpoint said at a stage, after all that it looked at for that.
    fn step(&mut self, step: &HostStep);
}

/// Looks at nothing.
pub(super) struct Quick;

impl Watch for Quick {
    fn stage(&mut self, _: &Tier, _: Direction) {}
    fn policy(&mut self, _: &Arc<Policy>) {}
    fn rule(&mut self, _: usize, _: &Rule, _: bool) {}
    fn step(&mut self, _: &HostStep) {}
}

/// What one direction says of a packet.
pub(super) fn judge(
    view: &View<'_>,
    packet: &Packet<'_>,
    direction: Direction,
    watch: &mut impl Watch,
) -> Judgement {
    let (own, peer) = sides(direction);
    let (own, peer) = (packet.end(own), packet.end(peer));
    let Some(pod) = own.endpoint else {
        return of_no_endpoint(view.world, own.address, peer.address, direction);
    };
    let from_own_node = || {
        let node = view.world.node(pod.node.as_deref()?)?;
        node.addresses.contains(&peer.address).then(|| node.name.clone())
    };
    if direction == Direction::Ingress
        && let Some(node) = from_own_node()
    {
        return Judgement::allowed(Reason::OwnNode(node));
    }
    if direction == Direction::Egress && is_tunnel(packet) {
        return Judgement::denied(Reason::Tunnel);
    }
    let stages = view.governing(pod, direction);
    if stages.is_empty() {
        return Judgement::allowed(Reason::NotGoverned);
    }
    for (tier, policies) in stages {
        watch.stage(tier, direction);
        match decide(view, packet, direction, &policies, watch) {
            Some(Decided::Judgement(judgement)) => return judgement,
            Some(Decided::Pass) => continue,
            None => {}
        }
        match tier.default_action {
            TierAction::Pass => {}
            TierAction::Deny => {
                let policies = policies.iter().map(|policy| policy.id.clone()).collect();
                return Judgement::denied(Reason::NoRule { tier: tier.name.clone(), policies });
            }
        }
    }
    Judgement::allowed(Reason::Profile)
}

/// Whether it is IP in IP (RFC 2003) or VXLAN (RFC 7348 §8.1), which only nodes may make
/// (policy-semantics 5.4).
pub(super) fn is_tunnel(packet: &Packet<'_>) -> bool {
    let is_vxlan = Protocol::of_number(packet.protocol) == Some(Protocol::Udp)
        && packet.destination.port == Some(4789);
    packet.protocol == 4 || is_vxlan
}

/// What the rules of a tier said.
pub(super) enum Decided {
    /// This.
    Judgement(Judgement),
    /// That the next tier decides.
    Pass,
}

/// What the rules of a tier's policies say; `None` if none that decides matches.
pub(super) fn decide(
    view: &View<'_>,
    packet: &Packet<'_>,
    direction: Direction,
    policies: &[&Arc<Policy>],
    watch: &mut impl Watch,
) -> Option<Decided> {
    for policy in policies {
        watch.policy(policy);
        for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            let rule = &*view.rule(&policy.id, direction, index, rule);
            let is_match = rule_matches(view, packet, rule);
            watch.rule(index, rule, is_match);
            if !is_match {
                continue;
            }
            let reason = || Reason::Rule { policy: policy.id.clone(), direction, index };
            match rule.action {
                Action::Allow => return Some(Decided::Judgement(Judgement::allowed(reason()))),
                Action::Deny => return Some(Decided::Judgement(Judgement::denied(reason()))),
                Action::Pass => return Some(Decided::Pass),
                Action::Log => {}
            }
        }
    }
    None
}

fn of_no_endpoint(world: &World, address: IpAddr, peer: IpAddr, direction: Direction) -> Judgement {
    let mut within =
        world.nodes().filter(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(address)));
    // Packets that a node itself sends are not looked at on it.
    let sent_by_node = |peer: &IpAddr, addresses: &BTreeSet<IpAddr>| {
        direction == Direction::Ingress && addresses.contains(peer)
    };
    let closed = within.find(|node| !node.addresses.contains(&address));
    match closed {
        None => Judgement::allowed(Reason::NoEndpoint),
        Some(node) if sent_by_node(&peer, &node.addresses) => {
            Judgement::allowed(Reason::OwnNode(node.name.clone()))
        }
        Some(node) => Judgement::denied(Reason::UnknownAddress(node.name.clone())),
    }
}

/// Whether all criteria of a rule hold.
pub(super) fn rule_matches(view: &View<'_>, packet: &Packet<'_>, rule: &Rule) -> bool {
    rule.criteria.iter().all(|criterion| holds(view, packet, criterion))
}

/// Whether a criterion holds.
pub(super) fn holds(view: &View<'_>, packet: &Packet<'_>, criterion: &Criterion) -> bool {
    match criterion {
        Criterion::Peer { side, any_of, negated } => {
            let end = packet.end(*side);
            criterion.is_of(Family::of(end.address))
                && any_of.iter().any(|term| peer_holds(view, end, term)) != *negated
        }
        Criterion::Ports { side, any_of, negated } => {
            let end = packet.end(*side);
            any_of.iter().any(|term| port_holds(view, packet.protocol, end, term)) != *negated
        }
        Criterion::Family(family) => Family::of(packet.source.address) == *family,
        Criterion::Icmp { kind, code, negated } => is_icmp(packet, *kind, *code) != *negated,
        Criterion::Service { side, service, with_ports } => {
            service_holds(view, packet, packet.end(*side), service, *with_ports)
        }
        Criterion::Protocol { number, negated } => (packet.protocol == *number) != *negated,
    }
}

/// Whether an end's address is one that `term` stands for.
pub(super) fn peer_holds(view: &View<'_>, end: &End<'_>, term: &PeerTerm) -> bool {
    match term {
        PeerTerm::Endpoints(expr) => end.endpoint.is_some_and(|pod| view.matches(expr, pod)),
        PeerTerm::Selected(expr) => view.selects(expr, end.address, end.endpoint),
        PeerTerm::Block(block) => block.contains(end.address),
    }
}

/// Whether protocol and port of an end are those of `term`.
pub(super) fn port_holds(view: &View<'_>, protocol: u8, end: &End<'_>, term: &PortTerm) -> bool {
    if term.protocol.number() != protocol {
        return false;
    }
    match &term.port {
        PortMatch::Any => true,
        PortMatch::Range(first, last) => {
            end.port.is_some_and(|port| (*first..=*last).contains(&port))
        }
        PortMatch::Named(name, holders) => end
            .port
            .is_some_and(|port| named(view, end, name, term.protocol, *holders).contains(&port)),
    }
}

/// The numbers of an end's ports of this name.
pub(super) fn named(
    view: &View<'_>,
    end: &End<'_>,
    name: &str,
    protocol: Protocol,
    holders: Holders,
) -> BTreeSet<u16> {
    let of_pod = end.endpoint.into_iter().flat_map(|pod| &pod.ports);
    let of_hosts = match holders {
        Holders::Pods => None,
        Holders::Endpoints => Some(view.world.host_endpoints()),
    };
    let hosts = of_hosts.into_iter().flatten().filter(|host| host.expected.contains(&end.address));
    of_pod
        .chain(hosts.flat_map(|host| &host.ports))
        .filter(|port| port.protocol == protocol && *port.name == *name)
        .map(|port| port.number)
        .collect()
}

/// Whether a packet is an ICMP message of its family of this type and, if one is asked for,
/// code. Of a message whose type is not known it is not.
fn is_icmp(packet: &Packet<'_>, kind: u8, code: Option<u8>) -> bool {
    let number = match Family::of(packet.source.address) {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    packet.protocol == number
        && packet.icmp.is_some_and(|(k, c)| k == kind && code.is_none_or(|code| code == c))
}

fn service_holds(
    view: &View<'_>,
    packet: &Packet<'_>,
    end: &End<'_>,
    service: &ServiceName,
    with_ports: bool,
) -> bool {
    let endpoints = view.world.service_endpoints(service);
    if !with_ports {
        return endpoints.addresses.contains(&end.address);
    }
    let (Some(protocol), Some(port)) = (Protocol::of_number(packet.protocol), end.port) else {
        return false;
    };
    endpoints.ports.contains(&(end.address, protocol, port))
}
