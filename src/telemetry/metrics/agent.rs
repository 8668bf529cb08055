//! Metrics of the agent as a whole, its process and its host.

use std::collections::BTreeMap;
use std::time::SystemTime;

use prometheus_client::metrics::MetricType;

use super::policy::backend_name;
use super::{Metric, PolicyFigures};
use crate::control::calls::Calls;
use crate::telemetry::beats::Pulse;
use crate::telemetry::conntrack::Conntrack;
use crate::telemetry::process::Process;

/// The agent in figures.
#[derive(Clone, Debug)]
pub struct AgentFigures {
    /// When it started.
    pub started: SystemTime,
    /// The kind of its source, and whether that has told everything; `None` without a source.
    pub source: Option<(&'static str, bool)>,
    /// When the configuration in force was loaded.
    pub config_loaded: SystemTime,
    /// Whether a newer configuration was refused.
    pub config_stale: bool,
    /// Reloads that were taken, and that were refused.
    pub reloads: [u64; 2],
    /// Signs of life of its loops.
    pub pulses: Vec<Pulse>,
    /// What its control socket was asked.
    pub calls: BTreeMap<String, Calls>,
}

pub(super) fn metrics(agent: &AgentFigures, policy: Option<&PolicyFigures>) -> Vec<Metric> {
    let backend = policy.and_then(|policy| policy.status.backend).map_or("", backend_name);
    let build = Metric::new("brindle_build", MetricType::Info, "What runs").with(
        [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", option_env!("BRINDLE_REVISION").unwrap_or_default()),
            ("iptables_backend", backend),
        ],
        1u64,
    );
    let mut in_sync =
        Metric::gauge("brindle_in_sync", "Whether the source has told everything that there is");
    if let Some((kind, is_in_sync)) = agent.source {
        in_sync = in_sync.with([("source", kind)], is_in_sync);
    }
    let mut late =
        Metric::gauge("brindle_task_silence_seconds", "Time since a loop's last sign of life");
    let mut misses = Metric::counter(
        "brindle_watchdog_misses",
        "Times that a loop gave no sign of life for longer than it may",
    );
    for pulse in &agent.pulses {
        misses = misses.with([("task", pulse.name)], pulse.misses);
        late = late.with([("task", pulse.name)], pulse.silence.as_secs_f64());
    }
    let mut metrics = vec![
        build,
        Metric::gauge("brindle_up_since_seconds", "When the agent started")
            .with([], seconds(agent.started)),
        in_sync,
        Metric::gauge("brindle_config_loaded", "When the configuration in force was loaded")
            .with([], seconds(agent.config_loaded)),
        Metric::gauge("brindle_config_stale", "Whether a newer configuration was refused")
            .with([], agent.config_stale),
        Metric::counter("brindle_config_reloads", "Times that the configuration was loaded again")
            .with([("result", "ok")], agent.reloads[0])
            .with([("result", "refused")], agent.reloads[1]),
        late,
        misses,
    ];
    metrics.extend(calls(&agent.calls));
    if let Some(process) = Process::read() {
        metrics.extend([
            Metric::counter("process_cpu_seconds", "Processor time of the agent")
                .with([], process.cpu.as_secs_f64()),
            Metric::gauge("process_resident_memory_bytes", "Memory of the agent")
                .with([], process.resident),
            Metric::gauge("process_open_fds", "Open file descriptors of the agent")
                .with([], process.descriptors),
            Metric::gauge("process_threads", "Threads of the agent").with([], process.threads),
        ]);
    }
    if let Some(conntrack) = Conntrack::read() {
        metrics.extend([
            Metric::gauge("brindle_conntrack_entries", "Connections that the kernel tracks")
                .with([], conntrack.entries),
            Metric::gauge("brindle_conntrack_limit", "The most connections that it can track")
                .with([], conntrack.limit),
            Metric::counter("brindle_conntrack_drops", "Packets dropped for want of room")
                .with([], conntrack.drops),
        ]);
    }
    metrics
}

/// What the control socket was asked, by the pattern of the address.
fn calls(all: &BTreeMap<String, Calls>) -> [Metric; 2] {
    let mut requests = Metric::counter(
        "brindle_api_requests",
        "Requests over the control socket that were answered",
    );
    let mut seconds =
        Metric::histogram("brindle_api_request_seconds", "Time that answering them took");
    for (path, calls) in all {
        for (code, count) in &calls.codes {
            requests = requests.with([("path", path), ("code", &code.to_string())], *count);
        }
        seconds = seconds.with([("path", path)], calls.timings);
    }
    [requests, seconds]
}

/// A time as Prometheus has it.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
