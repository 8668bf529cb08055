//! The evaluation, watched.

use std::sync::Arc;

use super::evaluate::{End, Packet, Watch, holds, judge, peer_holds, port_holds, sides};
use super::trace::{
    CriterionTrace, DirectionTrace, Explanation, Party, PartyKind, PolicyTrace, RuleTrace,
    StageEnd, StageTrace, TermTrace,
};
use super::view::View;
use super::{
    Flow, HostReason, HostStep, Reason, Verdict, describe, nearest, openings, reasons, staged,
};
use crate::address::{Cidr, Family};
use crate::model::{
    Action, Criterion, Direction, HostStage, Node, PodKey, Policy, PolicyId, PolicyKind, Rule,
    Side, Tier, TierAction,
};
use crate::world::World;

/// What happens to `flow`, with everything that was looked at. Costs far more than
/// [`verdict`](super::verdict()): for one flow at a time.
pub fn explain(world: &World, flow: &Flow) -> Explanation {
    let view = View::of(world);
    let packet = Packet::new(world, flow);
    let parties = Parties::of_packet(&packet, world);
    let trace = |direction| trace(&view, &packet, &parties, direction);
    let (egress, ingress) = (trace(Direction::Egress), trace(Direction::Ingress));
    let verdict = Verdict { egress: egress.judgement.clone(), ingress: ingress.judgement.clone() };
    let allowed = verdict.is_allowed();
    Explanation {
        flow: *flow,
        nearest: if allowed { None } else { nearest::nearest(&view, &packet, &verdict) },
        openings: if allowed { openings::openings(&view, &packet, &verdict) } else { Vec::new() },
        staged: staged(world, flow),
        notes: notes(world, &parties),
        source: parties.source,
        destination: parties.destination,
        verdict,
        egress,
        ingress,
    }
}

/// Whose the ends of a packet are.
pub(super) struct Parties {
    source: Party,
    destination: Party,
}

impl Parties {
    pub(super) fn of_packet(packet: &Packet<'_>, world: &World) -> Self {
        Self {
            source: party(&packet.source, world),
            destination: party(&packet.destination, world),
        }
    }

    fn of(&self, side: Side) -> &Party {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }
}

fn party(end: &End<'_>, world: &World) -> Party {
    let within = |node: &&Arc<Node>| node.pod_cidrs.iter().any(|cidr| cidr.contains(end.address));
    let of_node = world.nodes().find(|node| node.addresses.contains(&end.address));
    let kind = match (end.endpoint, of_node, world.nodes().find(within)) {
        (Some(pod), _, _) => PartyKind::Endpoint { pod: pod.key.clone(), node: pod.node.clone() },
        (None, Some(node), _) => PartyKind::Node { node: node.name.clone() },
        (None, None, Some(node)) => PartyKind::Unknown { node: node.name.clone() },
        (None, None, None) => PartyKind::Outside,
    };
    let is_owner = |key: &PodKey| end.endpoint.is_some_and(|pod| pod.key == *key);
    let others = world
        .pods()
        .filter(|pod| pod.addresses.contains(&end.address) && !is_owner(&pod.key))
        .map(|pod| pod.key.clone());
    let hosts = world.host_endpoints().filter(|host| host.expected.contains(&end.address));
    let has = |net: &Cidr| net.length() > 0 && net.contains(end.address);
    let sets = world.network_sets().filter(|set| set.nets.iter().any(has));
    Party {
        address: end.address,
        kind,
        others: others.collect(),
        hosts: hosts.map(|host| host.name.clone()).collect(),
        sets: sets.map(|set| set.id.clone()).collect(),
    }
}

fn notes(world: &World, parties: &Parties) -> Vec<String> {
    let mut notes = Vec::new();
    let Parties { source, destination } = parties;
    if let (PartyKind::Endpoint { pod, .. }, true) = (&source.kind, source.kind == destination.kind)
    {
        notes.push(format!(
            "{pod} reaches its own address directly whatever policies say; this is about a packet \
             that a Service turned round"
        ));
    }
    for party in [source, destination] {
        for pod in party.others.iter().filter_map(|other| world.pod(other)) {
            let (key, address) = (&pod.key, party.address);
            notes.push(if pod.host_network {
                format!(
                    "{key} has the network of its host at {address}: policies do not apply to it \
                     and selectors do not stand for it"
                )
            } else if pod.finished {
                format!("{key} had {address} and has finished: policies do not see it there")
            } else {
                format!(
                    "{key} claims {address} too, which counts as that of {party}: policies do not \
                     see {key} there"
                )
            });
        }
    }
    notes
}

fn trace(
    view: &View<'_>,
    packet: &Packet<'_>,
    parties: &Parties,
    direction: Direction,
) -> DirectionTrace {
    let mut tracer = Tracer::new(view, packet, parties, direction);
    let judgement = judge(view, packet, direction, &mut tracer);
    let mut stages = tracer.stages;
    if let (Some(last), Reason::Rule { .. }) = (stages.last_mut(), &judgement.reason) {
        last.end = StageEnd::Decided;
    }
    let (own, _) = sides(direction);
    let mut trace = DirectionTrace { direction, judgement, summary: String::new(), stages };
    trace.summary = summary(&trace, parties.of(own));
    trace
}

fn summary(trace: &DirectionTrace, own: &Party) -> String {
    let names = |policies: &[PolicyId]| {
        policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let direction = trace.direction;
    match &trace.judgement.reason {
        Reason::NoEndpoint => match &own.kind {
            PartyKind::Node { node } => {
                format!("{} is an address of node {node}: no policy is about it", own.address)
            }
            PartyKind::Endpoint { .. } | PartyKind::Unknown { .. } | PartyKind::Outside => {
                format!("{} is no pod's address: no policy is about it", own.address)
            }
        },
        Reason::UnknownAddress(node) => format!(
            "{} is in the pod range of node {node}, but no pod is known to have it: closed",
            own.address
        ),
        Reason::OwnNode(node) => format!("comes from node {node} itself, where {own} is"),
        Reason::Tunnel => {
            format!("{own} makes a tunnel's packet, as only nodes may: denied before any policy")
        }
        Reason::NotGoverned => format!("no policy selects {own} for {direction}"),
        Reason::Rule { policy, index, .. } => {
            let outcome = trace.judgement.outcome;
            match trace.deciding_tier() {
                Some(tier) if trace.has_tiers() => {
                    format!("tier {tier}: {policy} rule {index} matches: {outcome}")
                }
                _ => format!("{policy} rule {index} matches: {outcome}"),
            }
        }
        Reason::NoRule { tier, policies } => {
            let isolates = policies.iter().all(|policy| policy.kind == PolicyKind::NetworkPolicy);
            if isolates && !trace.has_tiers() {
                format!("selected by {}; no rule matched -> isolated, denied", names(policies))
            } else {
                let names = names(policies);
                format!("selected by {names}; no rule decided -> denied at the end of tier {tier}")
            }
        }
        Reason::Profile => match &own.kind {
            PartyKind::Endpoint { pod, .. } => {
                format!("no tier decided about {own}: profile kns.{} allows", pod.namespace)
            }
            PartyKind::Node { .. } | PartyKind::Unknown { .. } | PartyKind::Outside => {
                format!("no tier decided about {own}: allowed")
            }
        },
    }
}

/// Writes down what is looked at.
pub(super) struct Tracer<'a, 'w> {
    view: &'a View<'w>,
    packet: &'a Packet<'w>,
    parties: &'a Parties,
    direction: Direction,
    /// Tiers since the last step of a host endpoint.
    stages: Vec<StageTrace>,
    /// Those of each step of host endpoints.
    pub(super) steps: Vec<Vec<StageTrace>>,
}

impl<'a, 'w> Tracer<'a, 'w> {
    pub(super) fn new(
        view: &'a View<'w>,
        packet: &'a Packet<'w>,
        parties: &'a Parties,
        direction: Direction,
    ) -> Self {
        Self { view, packet, parties, direction, stages: Vec::new(), steps: Vec::new() }
    }
}

impl Watch for Tracer<'_, '_> {
    fn stage(&mut self, tier: &Tier, direction: Direction) {
        self.direction = direction;
        let end = StageEnd::Default(tier.default_action);
        self.stages.push(StageTrace { tier: tier.name.clone(), policies: Vec::new(), end });
    }

    fn policy(&mut self, policy: &Arc<Policy>) {
        let Some(stage) = self.stages.last_mut() else { return };
        stage.policies.push(PolicyTrace {
            id: policy.id.clone(),
            subject: describe::subject(policy, None),
            rules: Vec::new(),
            problems: policy.problems.clone(),
        });
    }

    fn rule(&mut self, index: usize, rule: &Rule, is_match: bool) {
        let Some(stage) = self.stages.last_mut() else { return };
        if is_match && rule.action == Action::Pass {
            stage.end = StageEnd::Passed;
        }
        let Some(policy) = stage.policies.last_mut() else { return };
        let namespace = policy.id.namespace.clone();
        let text = describe::rule(rule, self.direction, namespace.as_deref());
        let criteria = rule.criteria.iter();
        let criteria = criteria.map(|one| {
            criterion(
                self.view,
                self.packet,
                self.parties,
                self.direction,
                namespace.as_deref(),
                one,
            )
        });
        policy.rules.push(RuleTrace {
            index,
            action: rule.action,
            peer: text.peer,
            ports: text.ports,
            is_match,
            criteria: criteria.collect(),
        });
    }

    fn step(&mut self, step: &HostStep) {
        let mut stages = std::mem::take(&mut self.stages);
        if let (Some(last), HostReason::Rule { .. }) = (stages.last_mut(), &step.reason) {
            last.end = StageEnd::Decided;
        }
        match step.stage {
            HostStage::Forward | HostStage::Normal => {}
            // Nothing is denied there at the end of a tier.
            HostStage::Untracked | HostStage::PreDnat => {
                let ends = stages.iter_mut().map(|stage| &mut stage.end);
                ends.filter(|end| **end == StageEnd::Default(TierAction::Deny))
                    .for_each(|end| *end = StageEnd::Default(TierAction::Pass));
            }
        }
        self.steps.push(stages);
    }
}

fn criterion(
    view: &View<'_>,
    packet: &Packet<'_>,
    parties: &Parties,
    direction: Direction,
    namespace: Option<&str>,
    criterion: &Criterion,
) -> CriterionTrace {
    let description = describe::criterion(criterion, direction, namespace);
    let holds = holds(view, packet, criterion);
    let (terms, blame) = match criterion {
        Criterion::Peer { side, any_of, negated } => {
            let (end, party) = (packet.end(*side), parties.of(*side));
            let terms = any_of.iter().map(|term| {
                let holds = peer_holds(view, end, term);
                let reason = (!holds && !negated).then(|| reasons::of_peer(view, end, party, term));
                TermTrace { description: describe::peer(term, namespace), holds, reason }
            });
            let family = Family::of(end.address);
            let blame = if *negated && !criterion.is_of(family) {
                Some(format!("{} is an {family} address", end.address))
            } else if *negated {
                Some(format!("{party} is one of them"))
            } else {
                any_of.is_empty().then(|| "none of its peers can be understood".to_owned())
            };
            (terms.collect(), blame)
        }
        Criterion::Ports { side, any_of, negated } => {
            let (end, party) = (packet.end(*side), parties.of(*side));
            let terms = any_of.iter().map(|term| {
                let holds = port_holds(view, packet.protocol, end, term);
                let why_not = || reasons::of_port(view, packet, end, party, term);
                let reason = (!holds && !negated).then(why_not);
                TermTrace { description: describe::port(term), holds, reason }
            });
            let blame = match (negated, end.port) {
                (true, Some(port)) => Some(format!("port {port} is one of them")),
                (true, None) => Some("all ports are".to_owned()),
                (false, _) => {
                    any_of.is_empty().then(|| "none of its ports can be understood".to_owned())
                }
            };
            (terms.collect(), blame)
        }
        Criterion::Family(_) => {
            let address = packet.source.address;
            (Vec::new(), Some(format!("{address} is an {} address", Family::of(address))))
        }
        Criterion::Icmp { .. } => (Vec::new(), Some(reasons::of_icmp(packet))),
        Criterion::Service { side, service, .. } => {
            let (end, party) = (packet.end(*side), parties.of(*side));
            let blame = reasons::of_service(view, packet, end, party, service);
            (Vec::new(), Some(blame))
        }
        Criterion::Protocol { .. } => {
            let blame = format!("the protocol is {}", describe::protocol(packet.protocol));
            (Vec::new(), Some(blame))
        }
    };
    CriterionTrace { description, holds, terms, reason: blame.filter(|_| !holds) }
}
