//! The node as a whole as shown: healthy or not, and the first thing to do.

use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::fsm::State;
use brindle_bgp::net::Family;

use super::policy::policy_status;
use super::source::{source_problems, source_status};
use crate::control::Failure;
use crate::control::view::{
    BgpStatus, Clock, FamilyForwarding, FamilyHash, FamilyRoutes, Forwarding, KernelStatus,
    NodeAddress, Problem, Resilient, Status,
};
use crate::daemon::answer::{Facts, Known};
use crate::daemon::drain;
use crate::daemon::identity::CONFIGURED_ASN;
use crate::daemon::policy::LEFTOVERS_GO;
use crate::enforce::EnforceStatus;
use crate::fib::{FibStatus, ForwardingState};
use crate::speaker::{DynamicPeers, View};

/// Peers may take so long after the start before one that is down is a problem.
const START_GRACE: Duration = Duration::from_secs(30);

/// What the speaker tells of itself.
#[derive(Default)]
struct Speaking {
    established: Vec<String>,
    down: Vec<String>,
    disabled: Vec<String>,
    /// Groups of dynamic peers of which nobody is spoken to, and why.
    unserved: Vec<(String, String)>,
    learned: [usize; 2],
    refused: [usize; 2],
}

/// The node's status.
pub(in crate::daemon) async fn status(known: &Known, facts: &Facts) -> Result<Status, Failure> {
    let clock = Clock::now();
    let speaking = match &facts.speaker {
        Some(speaker) => speaker
            .read(speaking)
            .await
            .map_err(|_| Failure::Unavailable("the agent is stopping".to_owned()))?,
        None => Speaking::default(),
    };
    let fib = known.fib.as_ref().map_or_else(Arc::default, |fib| fib.status.load_full());
    let source = known.source.as_ref();
    let source = source.map(|source| source_status(source, &known.missing.load()));
    let mut problems = Vec::new();
    config_problems(facts, &mut problems);
    source_problems(source.as_ref(), &mut problems);
    if known.fib.is_some() {
        bgp_problems(known, facts, &speaking, &mut problems);
        kernel_problems(facts, &fib, &mut problems);
    }
    node_problems(known, facts, &mut problems);
    if let Some(enforce) = &known.enforce {
        policy_problems(&enforce.status.load(), &mut problems);
    }
    if let Some(what) = known.leftover_policies.get() {
        problems.push(problem("policy", what, LEFTOVERS_GO));
    }
    for what in known.cni.all() {
        problems.push(problem("cni", what, "see to the file or folder"));
    }
    let (started, uptime_seconds) = clock.past(known.started);
    let is_routed = |family: &Family| known.fib.is_some() && is_routed(facts, &fib, *family);
    let families = || Family::ALL.into_iter().filter(is_routed);
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: known.name.to_string(),
        healthy: problems.is_empty(),
        problems,
        started,
        uptime_seconds,
        addresses: facts
            .addresses
            .iter()
            .map(|chosen| NodeAddress { address: chosen.address, reason: chosen.reason.clone() })
            .collect(),
        pod_cidrs: facts.pod_cidrs.clone(),
        config: facts.config_status(&clock),
        source,
        drain: facts.drain.as_ref().map(|report| drain::view(&known.name, Some(report), &clock)),
        bgp: known.fib.is_some().then(|| bgp_status(facts, &speaking, &clock)),
        routes: families()
            .map(|family| FamilyRoutes {
                family: family.into(),
                learned: speaking.learned[family.index()],
                originated: originated(facts, family),
                wanted: fib.wanted[family.index()],
                installed: fib.installed[family.index()],
                refused: speaking.refused[family.index()],
            })
            .collect(),
        hash_policy: families().filter_map(|family| hash(family, &fib)).collect(),
        resilient: fib
            .groups
            .as_ref()
            .map(|groups| Resilient { groups: groups.used, refused: groups.refused.clone() }),
        forwarding: families()
            .map(|family| FamilyForwarding {
                family: family.into(),
                state: Forwarding::from(fib.forwarding[family.index()]),
            })
            .collect(),
        kernel: known.fib.is_some().then(|| kernel_status(facts, &fib)),
        policy: known.enforce.as_ref().map(|enforce| policy_status(&enforce.status.load())),
        telemetry: facts.telemetry.clone(),
    })
}

fn hash(family: Family, fib: &FibStatus) -> Option<FamilyHash> {
    let state = fib.hash[family.index()];
    let word = |number: u8| match number {
        0 => "l3".to_owned(),
        1 => "l4".to_owned(),
        2 => "inner".to_owned(),
        other => other.to_string(),
    };
    Some(FamilyHash { family: family.into(), by: word(state.now?), before: state.before.map(word) })
}

fn speaking(view: &View<'_>) -> Speaking {
    let mut speaking = Speaking::default();
    for entry in view.peers.values() {
        let name = entry.wanted.rib.name.to_string();
        if entry.disabled {
            speaking.disabled.push(name);
        } else if entry.status().state == State::Established {
            speaking.established.push(name);
        } else if entry.wanted.group.is_none() {
            speaking.down.push(name);
        }
    }
    let refusal = |group: &DynamicPeers| {
        let why = group.template.protection.refusal()?;
        Some((group.name.to_string(), why.to_owned()))
    };
    speaking.unserved = view.groups.iter().filter_map(refusal).collect();
    speaking.down.sort();
    speaking.disabled.sort();
    for (id, family) in view.peers.keys().flat_map(|id| Family::ALL.map(|family| (*id, family))) {
        let counts = view.rib.counts(id, family).unwrap_or_default();
        speaking.learned[family.index()] += counts.accepted;
        speaking.refused[family.index()] += counts.rejected;
    }
    speaking
}

/// Prefixes of our own in a family.
fn originated(facts: &Facts, family: Family) -> usize {
    facts.originated.iter().filter(|prefix| prefix.family() == family).count()
}

/// Whether the family is one that this node has anything to do with.
fn is_routed(facts: &Facts, fib: &FibStatus, family: Family) -> bool {
    facts.addresses.iter().any(|chosen| Family::of(chosen.address) == family)
        || is_forwarded(facts, fib, family)
}

/// Whether packets of the family are to be forwarded: a node may well have an address of a family
/// that its cluster has no pods of.
fn is_forwarded(facts: &Facts, fib: &FibStatus, family: Family) -> bool {
    facts.pod_cidrs.iter().any(|cidr| cidr.family() == family) || fib.wanted[family.index()] > 0
}

fn bgp_status(facts: &Facts, speaking: &Speaking, clock: &Clock) -> BgpStatus {
    BgpStatus {
        as_number: facts.asn.map_or(facts.config.bgp.asn, |(asn, _)| asn).get(),
        as_number_reason: facts.asn.map(|(asn, reason)| match reason {
            // Where the file leaves it at its default, an object may say it in its place.
            CONFIGURED_ASN if asn != facts.config.bgp.asn => {
                "asNumber of BGPConfiguration default".to_owned()
            }
            reason => reason.to_owned(),
        }),
        route_reflector: facts.route_reflector.map(|cluster| cluster.to_string()),
        router_id: facts.router_id.map(|id| id.to_string()).unwrap_or_default(),
        listen: facts.listen.clone(),
        peers: speaking.established.len() + speaking.down.len() + speaking.disabled.len(),
        established: speaking.established.len(),
        down: speaking.down.clone(),
        disabled: speaking.disabled.clone(),
        bmp: facts.bmp.iter().map(|report| super::bmp::station(report, clock)).collect(),
    }
}

fn kernel_status(facts: &Facts, fib: &FibStatus) -> KernelStatus {
    let wanted: usize = fib.wanted.iter().sum();
    let installed: usize = fib.installed.iter().sum();
    KernelStatus {
        ready: fib.ready,
        install: facts.config.routes.install,
        drifted: if facts.config.routes.install { wanted.saturating_sub(installed) } else { 0 },
        stale: fib.stale,
        conflicts: fib.conflicts,
        repairs: fib.repairs,
        overruns: fib.overruns,
        guarded: fib.guarded.iter().sum(),
        last_error: fib.last_error.clone(),
    }
}

pub(super) fn problem(area: &str, what: impl Into<String>, next: impl Into<String>) -> Problem {
    Problem { area: area.to_owned(), what: what.into(), next: next.into() }
}

fn config_problems(facts: &Facts, problems: &mut Vec<Problem>) {
    if facts.config_stale {
        let first = facts.config_errors.first().cloned().unwrap_or_default();
        problems.push(problem(
            "config",
            format!("the newest configuration was refused: {first}"),
            "brindle config check",
        ));
    }
}

fn bgp_problems(known: &Known, facts: &Facts, speaking: &Speaking, problems: &mut Vec<Problem>) {
    if facts.speaker.is_none() {
        let why = facts.start_problem.as_deref().unwrap_or("the source was not read yet");
        problems.push(problem(
            "bgp",
            format!("BGP has not started: {why}"),
            "set node.addresses, or see to the source",
        ));
    }
    // Without sessions it is as somebody wants it.
    if facts.drain.as_ref().is_some_and(drain::Report::has_no_sessions) {
        return;
    }
    if known.started.elapsed() >= START_GRACE || !speaking.established.is_empty() {
        for name in &speaking.down {
            let next = format!("brindle peers {name}");
            problems.push(problem("bgp", format!("peer {name} is down"), next));
        }
    } else if !speaking.down.is_empty() {
        let count = speaking.down.len();
        let what = format!("no peer is established yet, {count} wanted");
        problems.push(problem("bgp", what, "brindle peers"));
    }
    for (name, why) in &speaking.unserved {
        let what = format!("nobody of the dynamic peers {name} is spoken to: {why}");
        problems.push(problem("bgp", what, "see to the key, or to what the kernel lacks"));
    }
    for skipped in &facts.skipped {
        let what = format!("no peering with {}: {}", skipped.what(), skipped.why);
        problems.push(problem("bgp", what, "mend the object or the peer"));
    }
}

fn node_problems(known: &Known, facts: &Facts, problems: &mut Vec<Problem>) {
    for refused in facts.claims.refused() {
        let whose =
            if refused.node == known.name { ", so this node does not announce it" } else { "" };
        let next = format!("give Node/{} another range", refused.node);
        problems.push(problem("node", format!("{refused}{whose}"), next));
    }
    for overlap in &facts.overlaps {
        let next = "give the block, or what is in it, other addresses";
        problems.push(problem("services", overlap.to_string(), next));
    }
    if facts.own_node_gone {
        let what =
            format!("Node/{} is gone from the source; what it said stays in force", known.name);
        problems.push(problem("node", what, "put the Node object back, or stop the agent"));
    }
}

fn policy_problems(enforce: &EnforceStatus, problems: &mut Vec<Problem>) {
    if let Some(missing) = &enforce.unavailable {
        let what = format!("policies are not enforced: {missing}");
        problems.push(problem("policy", what, "put it there; it is looked for again by itself"));
    } else if !enforce.ready {
        let what = "the policies are not in the kernel yet";
        problems.push(problem("policy", what, "wait, or see to the source"));
    }
    if let Some((_, why)) = &enforce.failing {
        let what = format!("the kernel does not take the policies: {why}");
        problems.push(problem("policy", what, "see the log; it is tried again by itself"));
    }
    for (host, why) in &enforce.host_problems {
        let what = format!("HostEndpoint {host}: {why}");
        problems.push(problem("policy", what, "brindle endpoints"));
    }
    for refused in &enforce.refused {
        problems.push(problem(
            "policy",
            refused.clone(),
            "see the log; it is tried again by itself",
        ));
    }
    for (policy, why) in &enforce.broken {
        let what = format!("{policy} is not installed whole and allows nothing: {why}");
        problems.push(problem("policy", what, "mend the policy"));
    }
    for warning in &enforce.warnings {
        problems.push(problem("policy", warning, "look at the rules of others"));
    }
}

fn kernel_problems(facts: &Facts, fib: &FibStatus, problems: &mut Vec<Problem>) {
    let kernel = kernel_status(facts, fib);
    if !kernel.ready {
        let next = kernel.last_error.clone().unwrap_or_else(|| "wait, or see the log".to_owned());
        problems.push(problem("kernel", "the kernel's routes have not been read yet", next));
    }
    if kernel.drifted > 0 {
        let what = format!("{} routes are not installed as wanted", kernel.drifted);
        problems.push(problem("routes", what, "brindle routes diff"));
    }
    if kernel.conflicts > 0 {
        let what =
            format!("{} prefixes are held by another protocol and left alone", kernel.conflicts);
        problems.push(problem("routes", what, "brindle routes diff"));
    }
    if let Some(why) = &fib.unguarded {
        let next = "see to it, or do without: bgp.services.loopPrevention: disabled";
        problems.push(problem("services", why, next));
    }
    for family in Family::ALL {
        let off = fib.forwarding[family.index()] == ForwardingState::Off;
        if off && is_forwarded(facts, fib, family) && facts.config.routes.install {
            let what = format!("the kernel does not forward {family} packets");
            let next = match family {
                Family::Ipv4Unicast => "sysctl -w net.ipv4.ip_forward=1",
                Family::Ipv6Unicast => "sysctl -w net.ipv6.conf.all.forwarding=1",
            };
            problems.push(problem("forwarding", what, next));
        }
    }
}
