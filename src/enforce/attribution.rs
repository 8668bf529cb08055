//! Whose packet it was that was dropped, and what decided.

use std::time::SystemTime;

use brindle_policy::verdict::{self, Judgement, Reason, verdict};
use brindle_policy::{Direction, World};

use super::denied::DeniedPacket;
use super::flows::{Flow, FlowEnd};

/// The record of a packet that was dropped at `now`. The engine judges it anew: the kernel
/// tells only where it was dropped.
pub(super) fn flow(world: &World, denied: &DeniedPacket, now: SystemTime) -> Flow {
    let packet = &denied.packet;
    let verdict = verdict(
        world,
        &verdict::Flow {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            source_port: packet.ports.map(|(source, _)| source),
            destination_port: packet.ports.map(|(_, destination)| destination),
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
    let end = |address, port: Option<u16>| FlowEnd {
        address,
        port,
        pod: world.endpoint_at(address).map(|pod| pod.key.clone()),
    };
    let is_denied = !judgement.is_allowed();
    Flow {
        number: 0,
        first: now,
        last: now,
        count: 1,
        direction,
        source: end(packet.source, packet.ports.map(|(source, _)| source)),
        destination: end(packet.destination, packet.ports.map(|(_, destination)| destination)),
        protocol: packet.protocol,
        tcp_flags: packet.tcp_flags,
        policy: judgement.policies().first().filter(|_| is_denied).cloned(),
        tier: tier(judgement).filter(|_| is_denied),
        rule: judgement.rule().filter(|_| is_denied),
        why: why(judgement).into(),
    }
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
