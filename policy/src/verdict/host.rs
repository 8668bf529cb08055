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

use std::net::IpAddr;
use std::sync::Arc;

use super::evaluate::{Decided, Packet, Quick, Watch, decide, judge, rule_matches};
use super::view::View;
use super::{Flow, HostReason, HostStep, HostVerdict, Outcome, Reason};
use crate::model::{
    Action, Direction, Failsafe, HostEndpoint, HostInterface, HostSettings, HostStage, Protocol,
    TierAction, ToHost,
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
        watch: &mut Quick,
        verdict: HostVerdict { steps: Vec::new(), pods: Vec::new(), to_host: None },
    };
    if !is_open(flow) {
        judge.pass(*way);
    }
    judge.verdict
}

/// Which host endpoints are asked about a packet, where it is known which they are.
#[derive(Clone, Copy, Debug)]
pub enum HostQuestion<'a> {
    /// One whose host is an end of the packet, at all stages that such packets meet: the
    /// destination for ingress, the source for egress. The other end is not on this host.
    End(&'a Arc<HostEndpoint>, Direction),
    /// Those of the interfaces that a forwarded packet comes in and leaves through, where these
    /// have one. The policies of pods are not asked.
    Crossing {
        /// The one that it comes in by.
        from: Option<&'a Arc<HostEndpoint>>,
        /// The one that it leaves by.
        to: Option<&'a Arc<HostEndpoint>>,
        /// Whether it comes from a pod of this host.
        is_of_pod: bool,
    },
    /// One at one stage.
    Stage(&'a Arc<HostEndpoint>, HostStage, Direction),
}

impl<'a> HostQuestion<'a> {
    /// Who may be asked where.
    pub(super) fn posts(self) -> Vec<(&'a Arc<HostEndpoint>, HostStage, Direction)> {
        use Direction::{Egress, Ingress};
        use HostStage::{Forward, Normal, PreDnat, Untracked};
        let (one, stages, direction) = match self {
            HostQuestion::End(one, Ingress) => (one, &[Untracked, PreDnat, Normal][..], Ingress),
            HostQuestion::End(one, Egress) => (one, &[Untracked, Normal][..], Egress),
            HostQuestion::Stage(one, stage, direction) => return vec![(one, stage, direction)],
            HostQuestion::Crossing { from, to, .. } => {
                let from = from.into_iter().flat_map(|one| {
                    [Untracked, PreDnat, Forward].map(|stage| (one, stage, Ingress))
                });
                return from.chain(to.map(|one| (one, Forward, Egress))).collect();
            }
        };
        stages.iter().map(|stage| (one, *stage, direction)).collect()
    }
}

/// What host endpoints say of a packet, `original` before its destination is translated.
pub fn hosts_verdict(
    world: &World,
    settings: &HostSettings,
    question: HostQuestion<'_>,
    flow: &Flow,
    original: &Flow,
) -> HostVerdict {
    ask(&View::of(world), settings, question, [flow, original], &mut Quick)
}

/// The same, of a world with changes, watched.
pub(super) fn ask(
    view: &View<'_>,
    settings: &HostSettings,
    question: HostQuestion<'_>,
    [flow, original]: [&Flow; 2],
    watch: &mut impl Watch,
) -> HostVerdict {
    let mut judge = Judge {
        settings,
        // Only whose pods are judged depends on it, and they are not.
        node: "",
        packet: Packet::new(view.world, flow),
        original: Packet::new(view.world, original),
        view,
        watch,
        verdict: HostVerdict { steps: Vec::new(), pods: Vec::new(), to_host: None },
    };
    if is_open(flow) {
        return judge.verdict;
    }
    let passed = match question {
        HostQuestion::End(endpoint, direction) => judge.alone(endpoint, direction),
        HostQuestion::Crossing { from, to, is_of_pod } => judge.past(from, to, is_of_pod),
        HostQuestion::Stage(endpoint, stage, direction) => judge.at(endpoint, stage, direction),
    };
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

struct Judge<'a, 'w, W> {
    settings: &'a HostSettings,
    node: &'a str,
    /// After destination translation.
    packet: Packet<'w>,
    /// Before it.
    original: Packet<'w>,
    view: &'a View<'w>,
    watch: &'a mut W,
    verdict: HostVerdict,
}

impl<W: Watch> Judge<'_, '_, W> {
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

    /// Asks one at one stage.
    fn at(
        &mut self,
        endpoint: &Arc<HostEndpoint>,
        stage: HostStage,
        direction: Direction,
    ) -> Passed {
        match stage {
            HostStage::Untracked | HostStage::PreDnat => {
                self.early(endpoint, stage, direction).map(|_| ())
            }
            HostStage::Forward => self.forward(endpoint, direction),
            HostStage::Normal => self.normal(endpoint, direction),
        }
    }

    fn come(&mut self, from: Device) -> Passed {
        let is_allowed = match self.endpoint(from) {
            Some(endpoint) => self.before_translation(&endpoint, self.is_of_pod(from))?,
            None => false,
        };
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
        let ends = [self.endpoint(from), self.endpoint(to)];
        self.past(ends[0].as_ref(), ends[1].as_ref(), self.is_of_pod(from))?;
        if self.is_here(self.packet.source.address) {
            self.pods(Direction::Egress)?;
        }
        if self.is_here(self.packet.destination.address) {
            self.pods(Direction::Ingress)?;
        }
        Ok(())
    }

    /// Past the host endpoints of the interfaces that a packet comes in and leaves through.
    fn past(
        &mut self,
        from: Option<&Arc<HostEndpoint>>,
        to: Option<&Arc<HostEndpoint>>,
        is_of_pod: bool,
    ) -> Passed {
        let is_allowed = match from {
            Some(from) => self.before_translation(from, is_of_pod)?,
            None => false,
        };
        if is_allowed {
            return Ok(());
        }
        for (endpoint, direction) in [(from, Direction::Ingress), (to, Direction::Egress)] {
            if let Some(endpoint) = endpoint {
                self.forward(endpoint, direction)?;
            }
        }
        Ok(())
    }

    /// The untracked and the pre-DNAT stage of what comes in; whether one of them allows it.
    fn before_translation(
        &mut self,
        endpoint: &Arc<HostEndpoint>,
        is_of_pod: bool,
    ) -> Result<bool, Denied> {
        let direction = Direction::Ingress;
        let sees = endpoint.interface != Some(HostInterface::Any) || !is_of_pod;
        Ok(self.early(endpoint, HostStage::Untracked, direction)?
            || sees && self.early(endpoint, HostStage::PreDnat, direction)?)
    }

    /// Whether what comes in by an interface comes from a pod of this host.
    fn is_of_pod(&self, from: Device) -> bool {
        from.as_str().starts_with(INTERFACE_MARK)
            || self.original.source.endpoint.is_some_and(|pod| self.is_on_node(pod.node.as_ref()))
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
        let governing = self.view.governing_host(endpoint, stage, direction);
        if governing.is_empty() {
            return Ok(false);
        }
        let reply = self.failsafe(&self.original, direction, true).filter(|_| has_replies);
        let open = self.failsafe(&self.original, direction, false).or(reply);
        let (outcome, reason) = match open {
            Some(open) => (None, HostReason::Failsafe(open)),
            None => match self.tiers(&self.original.clone(), endpoint, stage, direction) {
                Some((outcome, reason)) => (Some(outcome), reason),
                None => (None, HostReason::Undecided),
            },
        };
        self.note(endpoint, stage, direction, outcome, reason)?;
        Ok(outcome == Some(Outcome::Allowed))
    }

    fn forward(&mut self, endpoint: &Arc<HostEndpoint>, direction: Direction) -> Passed {
        let stage = HostStage::Forward;
        if self.view.governing_host(endpoint, stage, direction).is_empty() {
            return Ok(());
        }
        let decided = self.tiers(&self.packet.clone(), endpoint, stage, direction);
        let (outcome, reason) = decided.unwrap_or((Outcome::Allowed, HostReason::Undecided));
        self.note(endpoint, stage, direction, Some(outcome), reason)
    }

    fn normal(&mut self, endpoint: &Arc<HostEndpoint>, direction: Direction) -> Passed {
        let stage = HostStage::Normal;
        let (outcome, reason) = match self.failsafe(&self.packet, direction, false) {
            Some(open) => (Outcome::Allowed, HostReason::Failsafe(open)),
            None => self
                .tiers(&self.packet.clone(), endpoint, stage, direction)
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
        let step = HostStep { endpoint, stage, direction, outcome, reason };
        self.watch.step(&step);
        self.verdict.steps.push(step);
        if outcome == Some(Outcome::Denied) { Err(Denied) } else { Ok(()) }
    }

    /// What the policies of a stage say; `None` if none of them decides.
    fn tiers(
        &mut self,
        packet: &Packet<'_>,
        endpoint: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Option<(Outcome, HostReason)> {
        for (tier, policies) in self.view.governing_host(endpoint, stage, direction) {
            self.watch.stage(tier, direction);
            match decide(self.view, packet, direction, &policies, self.watch) {
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
