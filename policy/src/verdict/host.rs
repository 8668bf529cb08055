//! What the host endpoints of a node say of a packet that comes to the node, leaves it, or
//! passes through it (policy-semantics 5).
//!
//! A packet meets the untracked stage, the pre-DNAT stage, and then the forward stage or the
//! normal one. The first two see it before its destination is translated. What they allow, no
//! later stage of a host endpoint judges; the policies of pods still do. Where nothing is said
//! of it:
//!
//! - Packets between a node and its own pods are none that come to the host or leave it: those
//!   from pods are judged by the pods' egress and by [`ToHost`], those to them pass.
//! - What `*` fits before the forward stage are packets of hosts: those of local pods are not
//!   judged there.
//! - A forwarded packet leaves without an untracked stage: that one sees what the host itself
//!   sends.
//! - Once all tiers of the forward stage have passed a packet on, it is allowed: no profile is
//!   asked there.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::evaluate::{Decided, Packet, Quick, decide, judge, rule_matches};
use super::view::View;
use super::{Flow, Judgement, Outcome, Reason};
use crate::model::{
    Action, Direction, Failsafe, HostEndpoint, HostInterface, HostSettings, HostStage, PolicyId,
    Protocol, TierAction, ToHost,
};
use crate::names::{Device, INTERFACE_MARK};
use crate::world::World;

/// ICMPv6 messages without which hosts do not find each other: neighbour discovery (RFC 4861
/// §4) and multicast listeners (RFC 2710 §3, RFC 3810 §5).
const ALWAYS_OPEN: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// The first packet of a connection, on its way past a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The packet after destination translation.
    pub flow: Flow,
    /// The packet before that; `None` if its destination is not translated here.
    pub original: Option<Flow>,
    /// How it passes.
    pub way: Way,
}

impl Passage {
    /// The packet as it is before its destination is translated.
    pub fn original(&self) -> Flow {
        self.original.unwrap_or(self.flow)
    }
}

/// How a packet passes a node. Interfaces are those of the host's network namespace, also the
/// ones that pods are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// To the host itself.
    In {
        /// The interface that it comes in through.
        from: Device,
    },
    /// From the host itself.
    Out {
        /// The interface that it leaves through.
        to: Device,
    },
    /// Forwarded.
    Through {
        /// The interface that it comes in through.
        from: Device,
        /// The interface that it leaves through.
        to: Device,
    },
}

/// What a node does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVerdict {
    /// What host endpoints say, in the order in which they are asked.
    pub steps: Vec<HostStep>,
    /// What the policies of the pods say that are on this node; asked last.
    pub pods: Vec<(Direction, Judgement)>,
    /// What becomes of a packet of a local pod to its host that its policies allow.
    pub to_host: Option<ToHost>,
}

/// What one host endpoint says in one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStep {
    /// Its name.
    pub endpoint: Arc<str>,
    /// The stage.
    pub stage: HostStage,
    /// Which way the packet goes, as the host sees it.
    pub direction: Direction,
    /// What is decided; `None` if later stages decide.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: HostReason,
}

/// Why a host endpoint said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostReason {
    /// Allowed, or left to later stages: a port that stays open.
    Failsafe(Failsafe),
    /// Either: a rule of a policy matched.
    Rule {
        /// The policy.
        policy: PolicyId,
        /// The position of the rule, from 0.
        index: usize,
    },
    /// Denied: these policies govern it, none of their rules matched, and their tier ends so.
    NoRule {
        /// The tier.
        tier: Arc<str>,
        /// Its policies that govern the host endpoint, in order.
        policies: Vec<PolicyId>,
    },
    /// Allowed in the forward stage, else left to later ones: no tier decided.
    Undecided,
    /// Either: a rule of a profile matched.
    Profile {
        /// The profile.
        profile: Arc<str>,
        /// The position of the rule, from 0.
        index: usize,
    },
    /// Denied: the profile of this name, which is to decide, is not known.
    UnknownProfile(Arc<str>),
    /// Denied: no policy and no profile decided.
    Nothing,
}

impl HostVerdict {
    /// Whether the packet passes.
    pub fn is_allowed(&self) -> bool {
        self.steps.iter().all(|step| step.outcome != Some(Outcome::Denied))
            && self.pods.iter().all(|(_, judgement)| judgement.is_allowed())
            && self.to_host != Some(ToHost::Drop)
    }

    /// What a stage said; `None` if no host endpoint judged there.
    pub fn of(&self, stage: HostStage, direction: Direction) -> Option<&HostStep> {
        self.steps.iter().find(|step| (step.stage, step.direction) == (stage, direction))
    }
}

/// What `node` does with a packet.
pub fn host_verdict(
    world: &World,
    settings: &HostSettings,
    node: &str,
    passage: &Passage,
) -> HostVerdict {
    let Passage { flow, way, .. } = passage;
    let view = View::of(world);
    let mut judge = Judge {
        settings,
        node,
        packet: Packet::new(world, flow),
        original: Packet::new(world, &passage.original()),
        view: &view,
        verdict: HostVerdict { steps: Vec::new(), pods: Vec::new(), to_host: None },
    };
    if !is_open(flow) {
        judge.pass(*way);
    }
    judge.verdict
}

/// What a host endpoint says of a packet that comes to its host or leaves it, through whichever
/// interface it counts for. Its other end is not on this host.
pub fn endpoint_verdict(
    world: &World,
    settings: &HostSettings,
    endpoint: &Arc<HostEndpoint>,
    flow: &Flow,
    direction: Direction,
) -> HostVerdict {
    let view = View::of(world);
    let mut judge = Judge {
        settings,
        node: &endpoint.node,
        packet: Packet::new(world, flow),
        original: Packet::new(world, flow),
        view: &view,
        verdict: HostVerdict { steps: Vec::new(), pods: Vec::new(), to_host: None },
    };
    if is_open(flow) {
        return judge.verdict;
    }
    let passed = judge.alone(endpoint, direction);
    debug_assert_eq!(passed.is_ok(), judge.verdict.is_allowed(), "{:?}", judge.verdict);
    judge.verdict
}

/// Whether it is a message that nobody may close.
fn is_open(flow: &Flow) -> bool {
    flow.protocol == 58 && flow.icmp.is_some_and(|(kind, _)| ALWAYS_OPEN.contains(&kind))
}

/// A packet that is denied goes no further.
struct Denied;

type Passed = Result<(), Denied>;

struct Judge<'a, 'w> {
    settings: &'a HostSettings,
    node: &'a str,
    /// After destination translation.
    packet: Packet<'w>,
    /// Before it.
    original: Packet<'w>,
    view: &'a View<'w>,
    verdict: HostVerdict,
}

impl<'w> Judge<'_, 'w> {
    /// Asks everyone on the way, up to the one who denies.
    fn pass(&mut self, way: Way) {
        let passed = match way {
            Way::In { from } => self.come(from),
            Way::Out { to } => self.leave(to),
            Way::Through { from, to } => self.cross(from, to),
        };
        debug_assert_eq!(passed.is_ok(), self.verdict.is_allowed(), "{:?}", self.verdict);
    }

    /// Asks one host endpoint in all stages that packets of the host meet.
    fn alone(&mut self, endpoint: &Arc<HostEndpoint>, direction: Direction) -> Passed {
        let before_translation = match direction {
            Direction::Ingress => &[HostStage::Untracked, HostStage::PreDnat][..],
            Direction::Egress => &[HostStage::Untracked],
        };
        for stage in before_translation {
            if self.early(endpoint, *stage, direction)? {
                return Ok(());
            }
        }
        self.normal(endpoint, direction)
    }

    fn come(&mut self, from: Device) -> Passed {
        let is_allowed = self.before_translation(from)?;
        if self.is_here(self.packet.source.address) {
            let is_pod = self.packet.source.endpoint.is_some();
            self.pods(Direction::Egress)?;
            self.verdict.to_host = is_pod.then_some(self.settings.to_host);
            return match self.verdict.to_host {
                Some(ToHost::Drop) => Err(Denied),
                Some(ToHost::Accept | ToHost::Return) | None => Ok(()),
            };
        }
        match self.endpoint(from) {
            Some(endpoint) if !is_allowed => self.normal(&endpoint, Direction::Ingress),
            Some(_) | None => Ok(()),
        }
    }

    fn leave(&mut self, to: Device) -> Passed {
        let Some(endpoint) = self.endpoint(to) else { return Ok(()) };
        let is_to_pod = |packet: &Packet<'_>| {
            packet.destination.endpoint.is_some_and(|pod| pod.node.as_deref() == Some(self.node))
        };
        let (was_to_pod, is_to_pod) = (is_to_pod(&self.original), is_to_pod(&self.packet));
        let (stage, direction) = (HostStage::Untracked, Direction::Egress);
        let is_allowed = !was_to_pod && self.early(&endpoint, stage, direction)?;
        if is_to_pod || is_allowed {
            return Ok(());
        }
        self.normal(&endpoint, direction)
    }

    fn cross(&mut self, from: Device, to: Device) -> Passed {
        if !self.before_translation(from)? {
            for (device, direction) in [(from, Direction::Ingress), (to, Direction::Egress)] {
                if let Some(endpoint) = self.endpoint(device) {
                    self.forward(&endpoint, direction)?;
                }
            }
        }
        if self.is_here(self.packet.source.address) {
            self.pods(Direction::Egress)?;
        }
        if self.is_here(self.packet.destination.address) {
            self.pods(Direction::Ingress)?;
        }
        Ok(())
    }

    /// The untracked and the pre-DNAT stage of what comes in; whether one of them allows it.
    fn before_translation(&mut self, from: Device) -> Result<bool, Denied> {
        let Some(endpoint) = self.endpoint(from) else { return Ok(false) };
        let direction = Direction::Ingress;
        let of_pod = from.as_str().starts_with(INTERFACE_MARK)
            || self.original.source.endpoint.is_some_and(|pod| self.is_on_node(pod.node.as_ref()));
        let sees = endpoint.interface != Some(HostInterface::Any) || !of_pod;
        Ok(self.early(&endpoint, HostStage::Untracked, direction)?
            || sees && self.early(&endpoint, HostStage::PreDnat, direction)?)
    }

    /// One of the stages before translation; whether it allows the packet.
    fn early(
        &mut self,
        endpoint: &Arc<HostEndpoint>,
        stage: HostStage,
        direction: Direction,
    ) -> Result<bool, Denied> {
        let has_replies = match stage {
            HostStage::Untracked if endpoint.interface == Some(HostInterface::Any) => {
                return Ok(false);
            }
            HostStage::Untracked => true,
            HostStage::PreDnat | HostStage::Forward | HostStage::Normal => false,
        };
        let governing = self.view.world.governing_host(endpoint, stage, direction);
        if governing.is_empty() {
            return Ok(false);
        }
        let reply = self.failsafe(&self.original, direction, true).filter(|_| has_replies);
        let open = self.failsafe(&self.original, direction, false).or(reply);
        let (outcome, reason) = match open {
            Some(open) => (None, HostReason::Failsafe(open)),
            None => match self.tiers(&self.original, endpoint, stage, direction) {
                Some((outcome, reason)) => (Some(outcome), reason),
                None => (None, HostReason::Undecided),
            },
        };
        self.note(endpoint, stage, direction, outcome, reason)?;
        Ok(outcome == Some(Outcome::Allowed))
    }

    fn forward(&mut self, endpoint: &Arc<HostEndpoint>, direction: Direction) -> Passed {
        let stage = HostStage::Forward;
        if self.view.world.governing_host(endpoint, stage, direction).is_empty() {
            return Ok(());
        }
        let decided = self.tiers(&self.packet, endpoint, stage, direction);
        let (outcome, reason) = decided.unwrap_or((Outcome::Allowed, HostReason::Undecided));
        self.note(endpoint, stage, direction, Some(outcome), reason)
    }

    fn normal(&mut self, endpoint: &Arc<HostEndpoint>, direction: Direction) -> Passed {
        let stage = HostStage::Normal;
        let (outcome, reason) = match self.failsafe(&self.packet, direction, false) {
            Some(open) => (Outcome::Allowed, HostReason::Failsafe(open)),
            None => self
                .tiers(&self.packet, endpoint, stage, direction)
                .unwrap_or_else(|| self.profiles(endpoint, direction)),
        };
        self.note(endpoint, stage, direction, Some(outcome), reason)
    }

    fn note(
        &mut self,
        endpoint: &Arc<HostEndpoint>,
        stage: HostStage,
        direction: Direction,
        outcome: Option<Outcome>,
        reason: HostReason,
    ) -> Passed {
        let endpoint = endpoint.name.clone();
        self.verdict.steps.push(HostStep { endpoint, stage, direction, outcome, reason });
        if outcome == Some(Outcome::Denied) { Err(Denied) } else { Ok(()) }
    }

    /// What the policies of a stage say; `None` if none of them decides.
    fn tiers(
        &self,
        packet: &Packet<'_>,
        endpoint: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Option<(Outcome, HostReason)> {
        for (tier, policies) in self.view.world.governing_host(endpoint, stage, direction) {
            match decide(self.view, packet, direction, &policies, &mut Quick) {
                Some(Decided::Judgement(judgement)) => match judgement.reason {
                    Reason::Rule { policy, index, .. } => {
                        return Some((judgement.outcome, HostReason::Rule { policy, index }));
                    }
                    other => unreachable!("rules decide by themselves, not by {other}"),
                },
                Some(Decided::Pass) => continue,
                None => {}
            }
            let is_final = match stage {
                HostStage::Untracked | HostStage::PreDnat => false,
                HostStage::Forward | HostStage::Normal => true,
            };
            if is_final && tier.default_action == TierAction::Deny {
                let policies = policies.iter().map(|policy| policy.id.clone()).collect();
                let tier = tier.name.clone();
                return Some((Outcome::Denied, HostReason::NoRule { tier, policies }));
            }
        }
        None
    }

    fn profiles(&self, endpoint: &HostEndpoint, direction: Direction) -> (Outcome, HostReason) {
        for name in &endpoint.profiles {
            let Some(profile) = self.view.world.profile(name) else {
                return (Outcome::Denied, HostReason::UnknownProfile(name.clone()));
            };
            let rules = match direction {
                Direction::Ingress => &profile.ingress,
                Direction::Egress => &profile.egress,
            };
            let mut matching = rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule_matches(self.view, &self.packet, rule));
            let decided = matching.find_map(|(index, rule)| {
                let reason = HostReason::Profile { profile: name.clone(), index };
                match rule.action {
                    Action::Allow => Some(Some((Outcome::Allowed, reason))),
                    Action::Deny => Some(Some((Outcome::Denied, reason))),
                    Action::Pass => Some(None),
                    Action::Log => None,
                }
            });
            if let Some(Some(decided)) = decided {
                return decided;
            }
        }
        (Outcome::Denied, HostReason::Nothing)
    }

    /// The failsafe that a packet is the first of, or, if that is asked, a reply to.
    fn failsafe(
        &self,
        packet: &Packet<'_>,
        direction: Direction,
        is_reply: bool,
    ) -> Option<Failsafe> {
        let safe = &self.settings.failsafes;
        let is_inbound = (direction == Direction::Ingress) != is_reply;
        let mut open = if is_inbound { safe.inbound.iter() } else { safe.outbound.iter() };
        let port = if is_reply { packet.source.port } else { packet.destination.port };
        let peer = match direction {
            Direction::Ingress => packet.source.address,
            Direction::Egress => packet.destination.address,
        };
        let holds = |one: &&Failsafe| {
            Some(one.port) == port
                && Protocol::of_number(packet.protocol) == Some(one.protocol)
                && one.net.is_none_or(|net| net.contains(peer))
        };
        open.find(holds).copied()
    }

    fn pods(&mut self, direction: Direction) -> Passed {
        let judgement = judge(self.view, &self.packet, direction, &mut Quick);
        let is_allowed = judgement.is_allowed();
        self.verdict.pods.push((direction, judgement));
        if is_allowed { Ok(()) } else { Err(Denied) }
    }

    /// The host endpoint that counts for an interface; never one for the loopback interface.
    fn endpoint(&self, device: Device) -> Option<Arc<HostEndpoint>> {
        let world = self.view.world;
        let addresses = world.devices().devices.get(&device).cloned().unwrap_or_default();
        let endpoints = world.host_endpoints_on(self.node);
        let found = HostEndpoint::of_interface(endpoints, device, &addresses);
        found.filter(|_| device.as_str() != "lo").cloned()
    }

    /// Whether this node judges for an address: that of a pod here, or of its ranges.
    fn is_here(&self, address: IpAddr) -> bool {
        let world = self.view.world;
        match world.endpoint_at(address) {
            Some(pod) => self.is_on_node(pod.node.as_ref()),
            None => world.node(self.node).is_some_and(|node| {
                !node.addresses.contains(&address)
                    && node.pod_cidrs.iter().any(|range| range.contains(address))
            }),
        }
    }

    fn is_on_node(&self, node: Option<&Arc<str>>) -> bool {
        node.is_some_and(|node| **node == *self.node)
    }
}

impl fmt::Display for HostStep {
    /// `host endpoint n1-eth0, ingress, pre-DNAT: denied: GlobalNetworkPolicy ports rule 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, stage, direction, outcome, reason } = self;
        write!(f, "host endpoint {endpoint}, {direction}, {stage}: ")?;
        match outcome {
            Some(outcome) => write!(f, "{outcome}: {reason}"),
            None => write!(f, "goes on: {reason}"),
        }
    }
}

impl fmt::Display for HostReason {
    /// Half a sentence, as [`Reason`] has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostReason::Failsafe(Failsafe { protocol, port, net }) => {
                write!(f, "failsafe port {protocol} {port}")?;
                net.map_or(Ok(()), |net| write!(f, " of {net}"))
            }
            HostReason::Rule { policy, index } => write!(f, "{policy} rule {index}"),
            HostReason::NoRule { policies, .. } => {
                let names: Vec<_> = policies.iter().map(ToString::to_string).collect();
                write!(f, "{} (no rule)", names.join(", "))
            }
            HostReason::Undecided => f.write_str("no tier decided"),
            HostReason::Profile { profile, index } => write!(f, "profile {profile} rule {index}"),
            HostReason::UnknownProfile(name) => write!(f, "profile {name} is not known"),
            HostReason::Nothing => f.write_str("no policy and no profile decided"),
        }
    }
}
