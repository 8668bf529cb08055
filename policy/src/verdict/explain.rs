//! The evaluation with everything that it looked at.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::evaluate::{End, Packet, Watch, holds, judge, peer_holds, port_holds, sides};
use super::nearest::{self, Nearest, Opening};
use super::view::View;
use super::{Flow, Judgement, Verdict, describe, reasons};
use crate::model::{
    Action, Criterion, Direction, PodKey, Policy, PolicyId, Problem, Rule, Side, Tier, TierAction,
};
use crate::world::World;

/// A verdict, and everything that was looked at to get it.
///
/// `verdict` is always what [`verdict`](super::verdict()) says of the same flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What was asked.
    pub flow: Flow,
    /// Whose the source address is.
    pub source: Party,
    /// Whose the destination address is.
    pub destination: Party,
    /// The answer.
    pub verdict: Verdict,
    /// How the answer for the source came about.
    pub egress: DirectionTrace,
    /// How the answer for the destination came about.
    pub ingress: DirectionTrace,
    /// The smallest change that would allow the flow, if it is denied and there is one.
    pub nearest: Option<Nearest>,
    /// What keeps the flow open, if it is allowed: all of it has to go for the flow to be
    /// denied in that direction. Egress first. Empty if it is denied.
    pub openings: Vec<Opening>,
    /// What else is good to know, as sentences.
    pub notes: Vec<String>,
}

impl Explanation {
    /// How the answer for one direction came about.
    pub fn of(&self, direction: Direction) -> &DirectionTrace {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub kind: PartyKind,
    /// Pods that have this address too without being its endpoint: they have the network of
    /// their host, have finished, or another pod was given the address after them. By name.
    pub others: Vec<PodKey>,
}

/// What has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartyKind {
    /// A pod that policies apply to.
    Endpoint {
        /// Its name.
        pod: PodKey,
        /// Where it runs; `None` if that is not known.
        node: Option<Arc<str>>,
    },
    /// A node itself, or a pod with its network.
    Node {
        /// Its name.
        node: Arc<str>,
    },
    /// Nobody known, in the pod ranges of a node.
    Unknown {
        /// The node.
        node: Arc<str>,
    },
    /// Nobody of the cluster, as far as is known.
    Outside,
}

impl fmt::Display for Party {
    /// `shop/db-0`, `node n1`, or the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PartyKind::Endpoint { pod, .. } => write!(f, "{pod}"),
            PartyKind::Node { node } => write!(f, "node {node}"),
            PartyKind::Unknown { .. } | PartyKind::Outside => write!(f, "{}", self.address),
        }
    }
}

/// One direction of an explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionTrace {
    /// Which.
    pub direction: Direction,
    /// The answer.
    pub judgement: Judgement,
    /// The answer as a sentence: `no policy selects shop/db-0 for ingress`.
    pub summary: String,
    /// The tiers that were looked at: those with policies that govern the endpoint, up to the
    /// one that decided. Empty if no policy was looked at.
    pub stages: Vec<StageTrace>,
}

/// A tier that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTrace {
    /// Its name.
    pub tier: Arc<str>,
    /// Its policies that govern the endpoint, up to the one that decided.
    pub policies: Vec<PolicyTrace>,
    /// How it ended.
    pub end: StageEnd,
}

/// How a tier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageEnd {
    /// A rule allowed or denied.
    Decided,
    /// A rule passed on to the next tier.
    Passed,
    /// No rule decided, and the tier's default was taken.
    Default(TierAction),
}

/// A policy that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyTrace {
    /// Which.
    pub id: PolicyId,
    /// Whom it governs, in words: `app=db in namespace shop`.
    pub subject: String,
    /// Its rules of the direction, up to the one that decided.
    pub rules: Vec<RuleTrace>,
    /// What is wrong with the object, as far as that might matter here.
    pub problems: Vec<Problem>,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTrace {
    /// Where it stands in its list (`spec.ingress`, `spec.egress`), from 0.
    pub index: usize,
    /// What it does with what it matches.
    pub action: Action,
    /// Whom it is about, in words: `from app=api in namespaces team=dba`.
    pub peer: String,
    /// Which ports it is about, in words: `port TCP 5432`, `any port`.
    pub ports: String,
    /// Whether it matched, which is whether all criteria hold.
    pub is_match: bool,
    /// Its criteria; none if it matches everything.
    pub criteria: Vec<CriterionTrace>,
}

impl RuleTrace {
    /// The rule in words: `from app=api in namespaces team=dba, port TCP 5432`.
    pub fn description(&self) -> String {
        format!("{}, {}", self.peer, self.ports)
    }

    /// Why it did not match: a reason for each term of each criterion that does not hold, none
    /// twice. Empty if it matched.
    pub fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<&str> = Vec::new();
        let failed = self.criteria.iter().filter(|criterion| !criterion.holds);
        for reason in failed.flat_map(CriterionTrace::reasons) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }
}

/// A criterion of a rule that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct CriterionTrace {
    /// In words: `from app=api`, `port TCP 80 or port TCP named http`.
    pub description: String,
    /// Whether it holds.
    pub holds: bool,
    /// What it needs one of.
    pub terms: Vec<TermTrace>,
    /// Why it does not hold where no single term is to blame; `None` if one is, or if it holds.
    pub reason: Option<String>,
}

impl CriterionTrace {
    /// Why it does not hold.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        let of_terms = self.terms.iter().filter_map(|term| term.reason.as_deref());
        self.reason.as_deref().into_iter().chain(of_terms).filter(|_| !self.holds)
    }
}

/// A term of a criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct TermTrace {
    /// In words: `app=api in namespaces team=dba`, `port TCP 80`.
    pub description: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why not: `cart-7d9 has app=cart`; `None` if it holds.
    pub reason: Option<String>,
}

/// What happens to `flow`, with everything that was looked at. Costs far more than
/// [`verdict`](super::verdict()): for one flow at a time.
pub fn explain(world: &World, flow: &Flow) -> Explanation {
    let view = View::of(world);
    let packet = Packet::new(world, flow);
    let parties = Parties {
        source: party(&packet.source, world),
        destination: party(&packet.destination, world),
    };
    let trace = |direction| trace(&view, &packet, &parties, direction);
    let (egress, ingress) = (trace(Direction::Egress), trace(Direction::Ingress));
    let verdict = Verdict { egress: egress.judgement.clone(), ingress: ingress.judgement.clone() };
    let allowed = verdict.is_allowed();
    Explanation {
        flow: *flow,
        nearest: if allowed { None } else { nearest::nearest(&view, &packet, &verdict) },
        openings: if allowed { nearest::openings(&view, &packet, &verdict) } else { Vec::new() },
        notes: notes(&parties),
        source: parties.source,
        destination: parties.destination,
        verdict,
        egress,
        ingress,
    }
}

struct Parties {
    source: Party,
    destination: Party,
}

impl Parties {
    fn of(&self, side: Side) -> &Party {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }
}

fn party(end: &End<'_>, world: &World) -> Party {
    let within = |node: &&Arc<crate::model::Node>| {
        node.pod_cidrs.iter().any(|cidr| cidr.contains(end.address))
    };
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
    Party { address: end.address, kind, others: others.collect() }
}

fn notes(parties: &Parties) -> Vec<String> {
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
        for other in &party.others {
            let owner = match &party.kind {
                PartyKind::Endpoint { pod, .. } => format!("belongs to {pod} now"),
                PartyKind::Node { node } => format!("is an address of node {node}"),
                PartyKind::Unknown { .. } | PartyKind::Outside => {
                    "is not the pod's any more, which has finished".to_owned()
                }
            };
            notes.push(format!(
                "{} of {other} {owner}: policies do not see {other} there",
                party.address
            ));
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
    let mut tracer = Tracer { view, packet, parties, direction, stages: Vec::new() };
    let judgement = judge(view, packet, direction, &mut tracer);
    let mut stages = tracer.stages;
    if let (Some(last), super::Reason::Rule { .. }) = (stages.last_mut(), &judgement.reason) {
        last.end = StageEnd::Decided;
    }
    let (own, _) = sides(direction);
    let summary = summary(&judgement, parties.of(own), direction);
    DirectionTrace { direction, judgement, summary, stages }
}

fn summary(judgement: &Judgement, own: &Party, direction: Direction) -> String {
    use super::Reason;
    let names = |policies: &[PolicyId]| {
        policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match &judgement.reason {
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
        Reason::NotGoverned => format!("no policy selects {own} for {direction}"),
        Reason::Rule { policy, index, .. } => {
            format!("{policy} rule {index} matches: {}", judgement.outcome)
        }
        Reason::NoRule { policies, .. } => {
            format!("selected by {}; no rule matched -> isolated, denied", names(policies))
        }
        Reason::Profile => format!("no tier decided about {own}: allowed"),
    }
}

struct Tracer<'a, 'w> {
    view: &'a View<'w>,
    packet: &'a Packet<'w>,
    parties: &'a Parties,
    direction: Direction,
    stages: Vec<StageTrace>,
}

impl Watch for Tracer<'_, '_> {
    fn stage(&mut self, tier: &Tier) {
        let end = StageEnd::Default(tier.default_action);
        self.stages.push(StageTrace { tier: tier.name.clone(), policies: Vec::new(), end });
    }

    fn policy(&mut self, policy: &Arc<Policy>) {
        let Some(stage) = self.stages.last_mut() else { return };
        stage.policies.push(PolicyTrace {
            id: policy.id.clone(),
            subject: describe::endpoints(&policy.subject, None),
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
            let blame = if *negated {
                Some(format!("{party} is one of them"))
            } else {
                any_of.is_empty().then(|| "none of its peers can be understood".to_owned())
            };
            (terms.collect(), blame)
        }
        Criterion::Ports { side, any_of } => {
            let (end, party) = (packet.end(*side), parties.of(*side));
            let terms = any_of.iter().map(|term| {
                let holds = port_holds(packet.protocol, end, term);
                let reason = (!holds).then(|| reasons::of_port(packet, end, party, term));
                TermTrace { description: describe::port(term), holds, reason }
            });
            let blame = any_of.is_empty().then(|| "none of its ports can be understood".to_owned());
            (terms.collect(), blame)
        }
        Criterion::Protocol { .. } => {
            let blame = format!("the protocol is {}", describe::protocol(packet.protocol));
            (Vec::new(), Some(blame))
        }
    };
    CriterionTrace { description, holds, terms, reason: blame.filter(|_| !holds) }
}
