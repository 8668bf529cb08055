//! Whose packet it was that was dropped, and what decided.

use std::time::SystemTime;

use brindle_policy::verdict::{self, Judgement, Reason, verdict};
use brindle_policy::{Direction, World};

use super::denied::DeniedPacket;
use super::flows::{Flow, FlowEnd};
use super::packet::Packet;

/// The record of a packet that was dropped at `now`. The engine judges it anew: the kernel
/// tells only where it was dropped.
pub(super) fn flow(world: &World, denied: &DeniedPacket, now: SystemTime) -> Flow {
    let packet = &denied.packet;
    if denied.is_spoofed {
        return spoofed(world, denied, now);
    }
    let verdict = verdict(
        world,
        &verdict::Flow {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            source_port: packet.ports.map(|(source, _)| source),
            destination_port: packet.ports.map(|(_, destination)| destination),
            icmp: None,
        },
    );
    let direction = denied.direction.unwrap_or(if verdict.egress.is_allowed() {
        Direction::Ingress
    } else {
        Direction::Egress
    });
    let judgement = match direction {
        Direction::Ingress => &verdict.ingress,
        Direction::Egress => &verdict.egress,
    };
    let [source, destination] = ends(world, packet);
    let is_denied = !judgement.is_allowed();
    Flow {
        number: 0,
        first: now,
        last: now,
        count: 1,
        direction,
        source,
        destination,
        protocol: packet.protocol,
        tcp_flags: packet.tcp_flags,
        policy: judgement.policies().first().filter(|_| is_denied).cloned(),
        tier: tier(judgement).filter(|_| is_denied),
        rule: judgement.rule().filter(|_| is_denied),
        why: why(judgement).into(),
    }
}

/// The record of one that came through a pod's interface with an address that is not the
/// pod's. It is the pod behind the interface that sent it, whoever has the address.
fn spoofed(world: &World, denied: &DeniedPacket, now: SystemTime) -> Flow {
    let packet = &denied.packet;
    let [mut source, destination] = ends(world, packet);
    let owner = source.pod.take();
    let attachment = denied.interface.and_then(|interface| world.attachment(interface));
    source.pod = attachment.and_then(|attachment| attachment.pod.clone());
    let interface = match denied.interface {
        Some(interface) => interface.to_string(),
        None => "an interface that is gone".to_owned(),
    };
    let is_own = attachment.is_some_and(|one| one.addresses.contains(&packet.source));
    let why = match (&source.pod, is_own) {
        (_, true) => format!("{interface} is closed: the policies of its pod are not in place"),
        (Some(pod), false) => {
            format!("spoofed: {} is no address of {pod} behind {interface}", packet.source)
        }
        (None, false) => {
            format!("spoofed: {} is no address of a pod behind {interface}", packet.source)
        }
    };
    let belongs = owner.filter(|_| !is_own).map(|owner| format!("; it is that of {owner}"));
    Flow {
        number: 0,
        first: now,
        last: now,
        count: 1,
        direction: Direction::Egress,
        source,
        destination,
        protocol: packet.protocol,
        tcp_flags: packet.tcp_flags,
        policy: None,
        tier: None,
        rule: None,
        why: (why + &belongs.unwrap_or_default()).into(),
    }
}

/// Who the ends of a packet are, by their addresses.
fn ends(world: &World, packet: &Packet) -> [FlowEnd; 2] {
    let end = |address, port: Option<u16>| FlowEnd {
        address,
        port,
        pod: world.endpoint_at(address).map(|pod| pod.key.clone()),
    };
    [
        end(packet.source, packet.ports.map(|(source, _)| source)),
        end(packet.destination, packet.ports.map(|(_, destination)| destination)),
    ]
}

fn tier(judgement: &Judgement) -> Option<std::sync::Arc<str>> {
    match &judgement.reason {
        Reason::NoRule { tier, .. } => Some(tier.clone()),
        _ => None,
    }
}

fn why(judgement: &Judgement) -> String {
    if judgement.is_allowed() {
        // Connection tracking could not place it, or the policies changed since.
        return "no packet of a connection that is known, or allowed by now".to_owned();
    }
    judgement.reason.to_string()
}
