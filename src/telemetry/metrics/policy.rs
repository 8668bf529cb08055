//! Metrics of the policy half.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::Family;
use brindle_policy::ruleset::Table;

use super::packets::direction_name;
use super::{Metric, PacketTotals, Value};
use crate::enforce::dataplane::Op;
use crate::enforce::{Backend, EnforceStatus};

/// The policy half in figures.
#[derive(Clone, Debug, Default)]
pub struct PolicyFigures {
    /// How it is doing.
    pub status: Arc<EnforceStatus>,
    /// The objects that it knows; `None` if it did not answer in time.
    pub objects: Option<ObjectCounts>,
    /// What its chains have counted.
    pub packets: PacketTotals,
    /// The NFLOG group of denied packets, if they are told.
    pub log_group: Option<u16>,
}

/// How many objects the policy half knows, by kind and state. States of policies: `active`
/// governs an endpoint of this node, and nothing is wrong with it; `unused` governs none;
/// `invalid` was not understood, could not be installed, or is in no tier that there is;
/// `staged` is not enforced. Other objects are `active`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectCounts(pub BTreeMap<(&'static str, &'static str), usize>);

impl ObjectCounts {
    /// So many more.
    pub fn add(&mut self, kind: &'static str, state: &'static str, count: usize) {
        *self.0.entry((kind, state)).or_default() += count;
    }
}

pub(super) fn metrics(policy: &PolicyFigures) -> Vec<Metric> {
    let status = &*policy.status;
    let mut metrics = vec![
        objects(policy.objects.as_ref()),
        Metric::gauge("brindle_policy_endpoints", "Pods of this node that policies apply to")
            .with([("state", "programmed")], status.programmed)
            .with([("state", "pending")], status.pending.len()),
    ];
    metrics.extend(policy.packets.metrics());
    metrics.extend(times(status));
    metrics.extend(sizes(status));
    metrics.extend(kernel(status, policy.log_group));
    metrics.extend(programs(status));
    metrics
}

fn objects(counts: Option<&ObjectCounts>) -> Metric {
    let metric = Metric::gauge("brindle_policy_objects", "Objects that the policy half knows");
    let with = |metric: Metric, ((kind, state), count): (&(&str, &str), &usize)| {
        metric.with([("kind", *kind), ("state", *state)], *count)
    };
    counts.into_iter().flat_map(|counts| &counts.0).fold(metric, with)
}

fn times(status: &EnforceStatus) -> [Metric; 3] {
    let mut apply = Metric::histogram(
        "brindle_policy_apply_seconds",
        "Time that carrying out one plan in the kernel took",
    );
    for (family, timings) in &status.applying {
        apply = apply.with([("family", family_name(*family))], *timings);
    }
    let mut latency = Metric::histogram(
        "brindle_policy_latency_seconds",
        "Time from a change's arrival to the kernel's acknowledgement",
    );
    for (trigger, timings) in &status.latency {
        latency = latency.with([("trigger", trigger.as_str())], *timings);
    }
    let wait = Metric::histogram(
        "brindle_policy_pod_wait_seconds",
        "Time from a pod's interface being seen to its policies being in place",
    );
    [apply, latency, wait.with([], status.pod_wait)]
}

fn sizes(status: &EnforceStatus) -> [Metric; 4] {
    let mut metrics = [
        Metric::gauge("brindle_iptables_chains", "Chains of ours"),
        Metric::gauge("brindle_iptables_rules", "Rules in chains of ours"),
        Metric::gauge("brindle_ipset_sets", "Sets of ours"),
        Metric::gauge("brindle_ipset_entries", "Members of sets of ours"),
    ];
    for (family, sizes) in &status.sizes {
        for (metric, size) in metrics.iter_mut().zip(sizes) {
            *metric = metric.clone().with([("family", family_name(*family))], *size);
        }
    }
    metrics
}

fn kernel(status: &EnforceStatus, log_group: Option<u16>) -> Vec<Metric> {
    let mut repairs = Metric::counter(
        "brindle_policy_repairs",
        "Things of ours that others had changed, put right again",
    );
    for ((table, cause), count) in &status.repaired {
        // Without a value it is to Prometheus as if it were not there.
        let table = table.map_or("", Table::as_str);
        repairs = repairs.with([("table", table), ("cause", cause.as_str())], *count);
    }
    let [taken, failed] = status.applied;
    let mut metrics = vec![
        Metric::counter("brindle_policy_applies", "Plans carried out in the kernel")
            .with([("result", "ok")], taken)
            .with([("result", "error")], failed),
        repairs,
        Metric::counter("brindle_conntrack_flushed", "Connections that were cut")
            .with([("reason", "denied")], status.flushed.denied)
            .with([("reason", "reused_address")], status.flushed.reused),
    ];
    if let Some(group) = log_group {
        let (group, [told, lost]) = (group.to_string(), status.denied);
        let mut staged = Metric::counter(
            "brindle_policy_staged_flows",
            "Told packets that staged policies would decide otherwise",
        );
        for ((direction, would_allow), count) in &status.staged {
            let would = if *would_allow { "allow" } else { "deny" };
            let labels = [("direction", direction_name(*direction)), ("would", would)];
            staged = staged.with(labels, *count);
        }
        metrics.extend([
            staged,
            Metric::counter("brindle_nflog_messages", "Packets that the kernel told")
                .with([("group", &group)], told),
            Metric::counter("brindle_nflog_lost", "Times that it had more to tell than room")
                .with([("group", &group)], lost),
        ]);
    }
    metrics
}

/// Runs of iptables and ipset. How long each took is not kept, only how long all did: one
/// bucket takes them all.
fn programs(status: &EnforceStatus) -> [Metric; 3] {
    let mut iptables = Metric::counter("brindle_iptables_calls", "Runs of iptables");
    let mut seconds = Metric::histogram("brindle_iptables_seconds", "Time that they took");
    let mut ipset = Metric::counter("brindle_ipset_calls", "Runs of ipset");
    let backend = status.backend.map_or("", backend_name);
    for ((op, is_ok), tally) in &status.programs {
        let result = if *is_ok { "ok" } else { "error" };
        let (is_ipset, word) = match op {
            Op::Save => (false, "save"),
            Op::Restore => (false, "restore"),
            Op::Hook => (false, "hook"),
            Op::Probe => (false, "probe"),
            Op::List => (true, "list"),
            Op::Fill => (true, "restore"),
        };
        if is_ipset {
            ipset = ipset.with([("op", word), ("result", result)], tally.calls);
        } else {
            let labels = [("backend", backend), ("op", word), ("result", result)];
            iptables = iptables.with(labels, tally.calls);
            let buckets = vec![(f64::INFINITY, tally.calls)];
            seconds = seconds.with(labels, Value::Histogram { buckets, sum: tally.taken });
        }
    }
    [iptables, seconds, ipset]
}

pub(super) fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    }
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}
