//! What host endpoints say of a flow whose end is a node itself, or that a node forwards from or
//! to its pods (policy-semantics 5).

use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{HostEndpoint, HostSettings, ToHost};
use brindle_policy::names::Device;
use brindle_policy::verdict::{
    self, Flow, HostExplanation, HostQuestion, HostReason, HostStaged, HostStep, HostVerdict,
    StageTrace, explain_hosts, staged_hosts,
};
use brindle_policy::{Direction, Family, PolicyId, World};

use super::Known;
use super::counting::{Counting, counting, counting_for_pod, judge_forwarded};
use super::explain::tiers_asked;
use super::find::Located;
use crate::control::view::{Explanation, HostAsked, Judgement, Outcome, Staged};

/// How a flow passes a node that forwards it from or to its pods, and has host endpoints that
/// judge such packets.
#[derive(Clone, Debug)]
pub(super) struct Crossed<'w> {
    /// The node.
    pub(super) node: &'w str,
    /// The interface that it comes in by; `None` is one that no host endpoint names.
    pub(super) from: Option<Device>,
    /// The interface that it leaves by, likewise.
    pub(super) to: Option<Device>,
    /// Whether that is known for sure.
    pub(super) is_known: bool,
    /// What host endpoints say there; nothing if none is asked.
    pub(super) said: Option<HostVerdict>,
}

/// What one end's host endpoints say, and would say.
struct Part {
    direction: Direction,
    now: HostExplanation,
    staged: Option<HostStaged>,
}

/// Lets the host endpoints decide too of the nodes that are ends of the flow, or that forward it
/// from or to their pods; tells how it passes those that forward it. `pods` is what the policies
/// of pods say.
pub(super) fn judge<'w>(
    known: &Known<'w>,
    flow: &Flow,
    ends: [&Located<'w>; 2],
    pods: &verdict::Explanation,
    explained: &mut Explanation,
) -> Vec<Crossed<'w>> {
    let standard = HostSettings::default();
    let settings = known.here.map_or(&standard, |here| here.hosts);
    let places = ends.map(|end| place(known.world, end));
    let is_pod = ends.map(|end| end.endpoint.is_some());
    let is_one = places[0].is_some() && places[0] == places[1];
    if is_one && is_pod != [true, true] {
        // A node and itself, or its own pods: no host endpoint is about that, but what becomes
        // of a pod's packets is for the settings.
        if is_pod == [true, false] {
            to_host(settings.to_host, places[1], explained);
        }
        return Vec::new();
    }
    let (mut parts, mut crossed) = (Vec::new(), Vec::new());
    for (index, direction) in [Direction::Egress, Direction::Ingress].into_iter().enumerate() {
        let Some(node) = places[index] else { continue };
        let notes = &mut explained.notes;
        let asking = match (is_pod[index], is_one, direction) {
            (false, ..) => counted(counting(known, node, ends[index].address), notes)
                .map(|endpoint| Asking::End(endpoint, direction)),
            // What stays on a node passes it once.
            (true, true, Direction::Ingress) => None,
            (true, ..) if !judge_forwarded(known.world, node) => None,
            (true, true, Direction::Egress) => {
                Some(Asking::between(known, node, ends.map(Some), flow, notes))
            }
            (true, false, Direction::Egress) => {
                Some(Asking::between(known, node, [Some(ends[0]), None], flow, notes))
            }
            (true, false, Direction::Ingress) => {
                Some(Asking::between(known, node, [None, Some(ends[1])], flow, notes))
            }
        };
        let Some(asking) = asking else { continue };
        let said = asking.question().map(|question| Part {
            direction,
            now: explain_hosts(known.world, settings, question, flow),
            staged: staged_hosts(known.world, settings, question, flow, flow),
        });
        if let Asking::Crossing { ends: [from, to], is_known } = asking {
            let said = said.as_ref().map(|part| part.now.verdict.clone());
            let [from, to] = [from, to].map(|one| one.device);
            crossed.push(Crossed { node, from, to, is_known, said });
        }
        let Some(part) = said else { continue };
        let steps = &part.now.verdict.steps;
        let by_failsafe = steps.iter().any(|one| matches!(one.reason, HostReason::Failsafe(_)));
        if by_failsafe && known.here.is_none_or(|here| here.node != node) {
            let whose = if known.here.is_some() { "those of this node" } else { "the usual ones" };
            explained.notes.push(format!("failsafe ports of node {node} are taken to be {whose}"));
        }
        let judged = match direction {
            Direction::Egress => &mut explained.egress,
            Direction::Ingress => &mut explained.ingress,
        };
        decide(known.world, node, &part.now, judged, is_pod[index]);
        parts.push(part);
    }
    conclude(explained);
    if !parts.is_empty() {
        explained.staged = staged(pods, &parts, explained.verdict);
    }
    crossed
}

/// Which host endpoints are asked.
#[derive(Clone, Copy)]
enum Asking<'w> {
    /// That of the node where the flow ends or begins.
    End(&'w Arc<HostEndpoint>, Direction),
    /// Those of the interfaces of a node that forwards it.
    Crossing { ends: [Crossing<'w>; 2], is_known: bool },
}

/// An interface that a forwarded flow passes.
#[derive(Clone, Copy)]
struct Crossing<'w> {
    /// `None` is one that no host endpoint names.
    device: Option<Device>,
    endpoint: Option<&'w Arc<HostEndpoint>>,
    is_of_pod: bool,
}

impl<'w> Asking<'w> {
    /// By the interfaces of these pods of the node, and for `None` by the one that has the
    /// address of the node.
    fn between(
        known: &Known<'w>,
        node: &'w str,
        pods: [Option<&Located<'w>>; 2],
        flow: &Flow,
        notes: &mut Vec<String>,
    ) -> Self {
        let world = known.world;
        let mut is_known = true;
        let ends = pods.map(|pod| match pod {
            Some(located) => {
                let attached = located.endpoint.into_iter();
                let attached = attached.flat_map(|pod| world.attachments_of(pod));
                let device = attached.filter(|one| one.addresses.contains(&located.address)).last();
                let device = device.and_then(|one| one.interface.as_str().parse().ok());
                let endpoint = counting_for_pod(world, node, device);
                Crossing { device, endpoint, is_of_pod: true }
            }
            None => {
                let of_family =
                    |address: &&IpAddr| Family::of(**address) == Family::of(flow.source);
                let mut addresses = world.node(node).into_iter().flat_map(|node| &node.addresses);
                let address = addresses.find(of_family).copied();
                let endpoint =
                    address.and_then(|address| counted(counting(known, node, address), notes));
                let is_here = known.here.is_some_and(|here| here.node == node);
                let mut devices = world.devices().devices.iter().filter(|_| is_here);
                let device = devices
                    .find(|(_, held)| address.is_some_and(|address| held.contains(&address)))
                    .map(|(device, _)| *device);
                is_known &= device.is_some();
                Crossing { device, endpoint, is_of_pod: false }
            }
        });
        if world.host_endpoints_on(node).count() > 1 && pods.iter().any(Option::is_none) {
            notes.push(format!(
                "taken to pass the interface of node {node} that has the node's address"
            ));
        }
        Asking::Crossing { ends, is_known }
    }

    fn question(&self) -> Option<HostQuestion<'w>> {
        match *self {
            Asking::End(endpoint, direction) => Some(HostQuestion::End(endpoint, direction)),
            Asking::Crossing { ends: [from, to], .. } => {
                let is_some = from.endpoint.is_some() || to.endpoint.is_some();
                is_some.then_some(HostQuestion::Crossing {
                    from: from.endpoint,
                    to: to.endpoint,
                    is_of_pod: from.is_of_pod,
                })
            }
        }
    }
}

/// The one to ask, if there is one; notes what that rests on.
fn counted<'w>(counting: Counting<'w>, notes: &mut Vec<String>) -> Option<&'w Arc<HostEndpoint>> {
    let (endpoint, why) = match counting {
        Counting::None => (None, None),
        Counting::Unknown(why) => (None, Some(why)),
        Counting::Assumed(endpoint, why) => (Some(endpoint), Some(why)),
        Counting::One(endpoint) => (Some(endpoint), None),
    };
    notes.extend(why);
    endpoint
}

/// The verdict of both directions. What was found out without hosts does not hold where they
/// deny.
fn conclude(explained: &mut Explanation) {
    explained.verdict = explained.egress.verdict.max(explained.ingress.verdict);
    let closed = |judged: &Judgement| {
        let is_last_denied =
            judged.host.last().is_some_and(|one| one.verdict == Some(Outcome::Denied));
        judged.to_host.is_some() || is_last_denied
    };
    if closed(&explained.egress) || closed(&explained.ingress) {
        explained.nearest = None;
    }
}

/// What would become of the flow with what is staged; `None` if none of that is about it.
fn staged(pods: &verdict::Explanation, parts: &[Part], now: Outcome) -> Option<Staged> {
    let of_hosts = parts.iter().filter_map(|part| part.staged.as_ref());
    let of_pods = pods.staged.as_ref();
    let mut policies: Vec<&PolicyId> = of_hosts.clone().flat_map(|one| &one.policies).collect();
    policies.extend(of_pods.into_iter().flat_map(|one| &one.policies));
    if policies.is_empty() {
        return None;
    }
    policies.sort();
    policies.dedup();
    let would_pods = of_pods.map_or(&pods.verdict, |one| &one.verdict);
    let would = |part: &Part| match &part.staged {
        Some(staged) => staged.verdict.clone(),
        None => part.now.verdict.clone(),
    };
    // As a packet meets them: the host endpoints of a node before its pods.
    let (mut closed, mut decided_by) = (None, Vec::new());
    for direction in [Direction::Egress, Direction::Ingress] {
        for part in parts.iter().filter(|part| part.direction == direction) {
            let would = would(part);
            if !would.is_allowed() && closed.is_none() {
                closed = would.steps.last().map(by_host);
            }
            decided_by.extend(would.steps.last().into_iter().flat_map(policies_of));
        }
        let judgement = would_pods.of(direction);
        if !judgement.is_allowed() && closed.is_none() {
            closed = Some(format!("by {} ({direction})", judgement.reason));
        }
        decided_by.extend(judgement.policies().iter().cloned());
    }
    let verdict = Outcome::of(closed.is_none());
    let open = || {
        let hosts = parts.iter().filter(|part| part.staged.is_some());
        let hosts = hosts.filter_map(|part| would(part).steps.last().map(by_host));
        let pods = of_pods.map(verdict::Staged::why).filter(|why| !why.is_empty());
        pods.into_iter().chain(hosts).collect::<Vec<_>>().join(" and ")
    };
    let why = closed.unwrap_or_else(open);
    let still = if verdict == now { "still " } else { "" };
    let word = match verdict {
        Outcome::Allowed => "ALLOWED",
        Outcome::Denied => "DENIED",
    };
    Some(Staged {
        verdict,
        is_change: verdict != now,
        text: format!("would {still}be {word} {why}").trim_end().to_owned(),
        decided_by: decided_by.iter().map(PolicyId::to_string).collect(),
        policies: policies.into_iter().map(PolicyId::to_string).collect(),
    })
}

/// `by GlobalNetworkPolicy web rule 0 (HostEndpoint n1-eth0, ingress, normal stage)`.
fn by_host(step: &HostStep) -> String {
    let HostStep { endpoint, stage, direction, reason, .. } = step;
    let by = match reason {
        HostReason::Rule { .. } | HostReason::NoRule { .. } => "by",
        HostReason::Failsafe(_)
        | HostReason::Undecided
        | HostReason::Profile { .. }
        | HostReason::UnknownProfile(_)
        | HostReason::Nothing => "since",
    };
    format!("{by} {reason} (HostEndpoint {endpoint}, {direction}, {stage} stage)")
}

fn policies_of(step: &HostStep) -> Vec<PolicyId> {
    match &step.reason {
        HostReason::Rule { policy, .. } => vec![policy.clone()],
        HostReason::NoRule { policies, .. } => policies.clone(),
        HostReason::Failsafe(_)
        | HostReason::Undecided
        | HostReason::Profile { .. }
        | HostReason::UnknownProfile(_)
        | HostReason::Nothing => Vec::new(),
    }
}

/// The node where an end is.
fn place<'w>(world: &'w World, end: &Located<'w>) -> Option<&'w str> {
    if let Some(pod) = end.endpoint {
        return pod.node.as_deref();
    }
    let node = world.nodes().find(|node| node.addresses.contains(&end.address));
    let host = || world.host_endpoints().find(|host| host.expected.contains(&end.address));
    node.map(|node| &*node.name).or_else(|| host().map(|host| &*host.node))
}

/// Packets of a pod to its own host that its policies allow (policy-semantics 5.4).
fn to_host(action: ToHost, node: Option<&str>, explained: &mut Explanation) {
    let (action, reason) = match action {
        ToHost::Accept => return,
        ToHost::Drop => {
            ("Drop", "packets of pods to their own node are dropped (defaultEndpointToHostAction)")
        }
        ToHost::Return => {
            let note = "past the policies the node's own rules decide, as \
                        defaultEndpointToHostAction is Return";
            explained.notes.push(note.to_owned());
            return;
        }
    };
    let judged = &mut explained.ingress;
    judged.verdict = Outcome::Denied;
    judged.node = node.map(ToOwned::to_owned);
    judged.reason = reason.to_owned();
    judged.to_host = Some(action.to_owned());
    conclude(explained);
    if explained.staged.take().is_some() {
        let note = "what staged policies would change is not told, as the node denies it";
        explained.notes.push(note.to_owned());
    }
}

/// Adds what host endpoints say to what the policies of a pod say, or puts it in the place of
/// what they do not.
fn decide(world: &World, node: &str, said: &HostExplanation, judged: &mut Judgement, is_pod: bool) {
    let HostExplanation { verdict, tiers } = said;
    let steps = verdict.steps.iter().zip(tiers);
    judged.host = steps.map(|(step, tiers)| asked(world, step, tiers)).collect();
    let (Some(last), Some(decisive)) = (verdict.steps.last(), judged.host.last()) else { return };
    if is_pod && verdict.is_allowed() {
        return;
    }
    judged.verdict = Outcome::of(verdict.is_allowed());
    judged.node = Some(node.to_owned());
    judged.reason =
        format!("HostEndpoint {}, {} stage: {}", last.endpoint, decisive.stage, decisive.reason);
    judged.tier = decisive.tier.clone();
    judged.decided_by = decisive.decided_by.clone();
    judged.rule = decisive.rule;
}

fn asked(world: &World, step: &HostStep, tiers: &[StageTrace]) -> HostAsked {
    let mut asked = HostAsked {
        endpoint: step.endpoint.to_string(),
        stage: step.stage.to_string(),
        direction: step.direction.into(),
        verdict: step.outcome.map(|outcome| Outcome::of(outcome == verdict::Outcome::Allowed)),
        reason: step.reason.to_string(),
        tier: None,
        decided_by: Vec::new(),
        rule: None,
        profile: None,
        is_failsafe: false,
        policies: tiers_asked(tiers, true),
    };
    match &step.reason {
        HostReason::Failsafe(_) => asked.is_failsafe = true,
        HostReason::Rule { policy, index } => {
            asked.tier = world.policy(policy).map(|policy| policy.tier.to_string());
            asked.decided_by = vec![policy.to_string()];
            asked.rule = Some(*index);
        }
        HostReason::NoRule { tier, policies } => {
            asked.tier = Some(tier.to_string());
            asked.decided_by = policies.iter().map(PolicyId::to_string).collect();
        }
        HostReason::Profile { profile, index } => {
            asked.profile = Some(profile.to_string());
            asked.rule = Some(*index);
        }
        HostReason::UnknownProfile(profile) => asked.profile = Some(profile.to_string()),
        HostReason::Undecided | HostReason::Nothing => {}
    }
    asked
}
