//! What host endpoints say, watched.

use super::Flow;
use super::evaluate::Packet;
use super::explain::{Parties, Tracer};
use super::host::{HostQuestion, ask};
use super::host_verdict::HostVerdict;
use super::trace::StageTrace;
use super::view::View;
use crate::model::{Direction, HostSettings};
use crate::world::World;

/// What host endpoints say of a packet, with everything that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct HostExplanation {
    /// What [`hosts_verdict`](super::hosts_verdict()) says.
    pub verdict: HostVerdict,
    /// For each of its steps the tiers that were looked at, up to the one that decided.
    pub tiers: Vec<Vec<StageTrace>>,
}

/// What host endpoints say of a packet whose destination is not translated, watched.
pub fn explain_hosts(
    world: &World,
    settings: &HostSettings,
    question: HostQuestion<'_>,
    flow: &Flow,
) -> HostExplanation {
    let view = View::of(world);
    let packet = Packet::new(world, flow);
    let parties = Parties::of_packet(&packet, world);
    let mut tracer = Tracer::new(&view, &packet, &parties, Direction::Ingress);
    let verdict = ask(&view, settings, question, [flow, flow], &mut tracer);
    HostExplanation { verdict, tiers: tracer.steps }
}
