//! What host endpoints say of a flow whose end is a node itself (policy-semantics 5).

use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{HostEndpoint, HostInterface, HostSettings, ToHost};
use brindle_policy::verdict::{
    Flow, HostQuestion, HostReason, HostStep, HostVerdict, hosts_verdict,
};
use brindle_policy::{Direction, PolicyId, World};

use super::Known;
use super::find::Located;
use crate::control::view::{Explanation, HostAsked, Judgement, Outcome};

/// Lets the host endpoints of the nodes that are ends of the flow decide too.
pub(super) fn judge(
    known: &Known<'_>,
    flow: &Flow,
    ends: [&Located<'_>; 2],
    explained: &mut Explanation,
) {
    let standard = HostSettings::default();
    let settings = known.here.map_or(&standard, |here| here.hosts);
    let places = ends.map(|end| place(known.world, end));
    if places[0].is_some() && places[0] == places[1] {
        // A node and itself, or its own pods: no host endpoint is about that, but what becomes
        // of a pod's packets is for the settings.
        let is_pod = [ends[0].endpoint.is_some(), ends[1].endpoint.is_some()];
        if is_pod == [true, false] {
            to_host(settings.to_host, places[1], explained);
        }
        return;
    }
    for (direction, end) in [(Direction::Egress, ends[0]), (Direction::Ingress, ends[1])] {
        let node = place(known.world, end).filter(|_| end.endpoint.is_none());
        let Some(node) = node else { continue };
        let endpoint = match counting(known, node, end.address) {
            Counting::None => continue,
            Counting::Unknown(why) => {
                explained.notes.push(why);
                continue;
            }
            Counting::Assumed(endpoint, why) => {
                explained.notes.push(why);
                endpoint
            }
            Counting::One(endpoint) => endpoint,
        };
        let question = HostQuestion::End(endpoint, direction);
        let said = hosts_verdict(known.world, settings, question, flow, flow);
        let by_failsafe =
            said.steps.iter().any(|step| matches!(step.reason, HostReason::Failsafe(_)));
        if by_failsafe && known.here.is_none_or(|here| here.node != node) {
            let whose = if known.here.is_some() { "those of this node" } else { "the usual ones" };
            explained.notes.push(format!("failsafe ports of node {node} are taken to be {whose}"));
        }
        let judged = judgement(known.world, node, &said);
        match direction {
            Direction::Egress => explained.egress = judged.unwrap_or(explained.egress.clone()),
            Direction::Ingress => explained.ingress = judged.unwrap_or(explained.ingress.clone()),
        }
    }
    conclude(explained);
}

/// The verdict of both directions. What was found out without hosts does not hold where they
/// deny.
fn conclude(explained: &mut Explanation) {
    explained.verdict = explained.egress.verdict.max(explained.ingress.verdict);
    let closed = |judged: &Judgement| {
        judged.verdict == Outcome::Denied && (!judged.host.is_empty() || judged.to_host.is_some())
    };
    if closed(&explained.egress) || closed(&explained.ingress) {
        explained.nearest = None;
        if explained.staged.take().is_some() {
            let note = "what staged policies would change is not told, as a host denies it";
            explained.notes.push(note.to_owned());
        }
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
}

/// The host endpoint that counts where a packet comes in or leaves.
enum Counting<'w> {
    /// There is none.
    None,
    /// This one.
    One(&'w Arc<HostEndpoint>),
    /// Most likely this one; what that rests on.
    Assumed(&'w Arc<HostEndpoint>, String),
    /// It cannot be told; why.
    Unknown(String),
}

/// The host endpoint of the interface that has an address: the agent knows those of its own
/// node; of others there is what the objects say.
fn counting<'w>(known: &Known<'w>, node: &str, address: IpAddr) -> Counting<'w> {
    let world = known.world;
    let all: Vec<&Arc<HostEndpoint>> = world.host_endpoints_on(node).collect();
    if all.is_empty() {
        return Counting::None;
    }
    if known.here.is_some_and(|here| here.node == node) {
        let mut devices = world.devices().devices.iter();
        if let Some((device, addresses)) = devices.find(|(_, held)| held.contains(&address)) {
            let found = HostEndpoint::of_interface(all.iter().copied(), *device, addresses);
            return found.map_or(Counting::None, Counting::One);
        }
    }
    let is_any = |one: &HostEndpoint| one.interface == Some(HostInterface::Any);
    let expecting = all.iter().find(|one| !is_any(one) && one.expected.contains(&address));
    if let Some(one) = expecting {
        return Counting::One(one);
    }
    if let [one] = all[..] {
        return match one.interface {
            Some(HostInterface::Any) => Counting::One(one),
            Some(HostInterface::Named(device)) => Counting::Assumed(
                one,
                format!(
                    "taken to pass {} of node {node}, which HostEndpoint {} is for: its \
                     expectedIPs do not say which addresses it has",
                    device.as_str(),
                    one.name
                ),
            ),
            None => Counting::None,
        };
    }
    let names: Vec<&str> = all.iter().map(|one| &*one.name).collect();
    let names = names.join(", ");
    match all.iter().find(|one| is_any(one)) {
        Some(any) if all.iter().all(|one| is_any(one) || is_elsewhere(one)) => Counting::One(any),
        Some(any) => Counting::Assumed(
            any,
            format!(
                "which host endpoint of node {node} judges it cannot be told ({names}): no \
                 expectedIPs have {address}; taken to be {}, which is for all other interfaces",
                any.name
            ),
        ),
        None => Counting::Unknown(format!(
            "which host endpoint of node {node} judges it, if any, cannot be told ({names}): no \
             expectedIPs have {address}; none is asked"
        )),
    }
}

/// Whether a host endpoint that does not expect an address is for another interface for sure.
fn is_elsewhere(host: &HostEndpoint) -> bool {
    host.interface.is_none()
}

/// What a host endpoint says, in the place of what no policy of a pod says.
fn judgement(world: &World, node: &str, said: &HostVerdict) -> Option<Judgement> {
    let last = said.steps.last()?;
    let host: Vec<HostAsked> = said.steps.iter().map(|step| asked(world, step)).collect();
    let decisive = host.last()?;
    Some(Judgement {
        verdict: Outcome::of(said.is_allowed()),
        node: Some(node.to_owned()),
        reason: format!(
            "HostEndpoint {}, {} stage: {}",
            last.endpoint, decisive.stage, decisive.reason
        ),
        tier: decisive.tier.clone(),
        decided_by: decisive.decided_by.clone(),
        rule: decisive.rule,
        policies: Vec::new(),
        host,
        to_host: None,
        kernel: None,
    })
}

fn asked(world: &World, step: &HostStep) -> HostAsked {
    let mut asked = HostAsked {
        endpoint: step.endpoint.to_string(),
        stage: step.stage.to_string(),
        verdict: step
            .outcome
            .map(|outcome| Outcome::of(outcome == brindle_policy::verdict::Outcome::Allowed)),
        reason: step.reason.to_string(),
        tier: None,
        decided_by: Vec::new(),
        rule: None,
        profile: None,
        is_failsafe: false,
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
