//! What others see of the policy half: how it is doing, and how long things took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brindle_policy::ruleset::Table;
use brindle_policy::{Change, Direction, Family, PodKey, PolicyId};

use super::Backend;
use super::audit::Kind;
use super::dataplane::{Op, Tally};
use crate::telemetry::Timings;

/// How the policy half is doing; replaced as a whole whenever something changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnforceStatus {
    /// Which iptables is in use; `None` before it is known.
    pub backend: Option<Backend>,
    /// Why nothing is programmed, if so: a program or a kernel module is missing.
    pub unavailable: Option<String>,
    /// Every source has told all it has, and it is in the kernel.
    pub ready: bool,
    /// Local endpoints whose chains are in the kernel.
    pub programmed: usize,
    /// Local endpoints that wait for theirs; they are closed.
    pub pending: Vec<PodKey>,
    /// Since when writing fails, and why.
    pub failing: Option<(SystemTime, String)>,
    /// Policies that could not be installed whole; the pods that they govern are closed as far
    /// as these would have opened them.
    pub broken: Vec<(PolicyId, String)>,
    /// Host endpoints of this node.
    pub host_endpoints: usize,
    /// Those that judge nothing, or more than is meant, and why.
    pub host_problems: BTreeMap<Arc<str>, String>,
    /// What of the policies on this host is not in the kernel, and why; it is open as far as
    /// these would have closed it.
    pub refused: Vec<String>,
    /// What was found changed by others and was put right again.
    pub repairs: u64,
    /// The last repair: when, and what was found, with the process where the kernel told it.
    pub last_repair: Option<(SystemTime, String)>,
    /// What others do that may open what we close, such as a rule before ours; told once each.
    pub warnings: Vec<String>,
    /// Time from a change's arrival to the kernel's acknowledgement, latest thousand, sorted.
    pub latencies: Vec<Duration>,
    /// Sizes by family: chains, rules, sets, set members.
    pub sizes: Vec<(Family, [usize; 4])>,
    /// Time from a pod's interface being told to its pod's policies being in the kernel
    /// (`policy_pod_wait_seconds`).
    pub pod_wait: Timings,
    /// Time from a change's arrival to the kernel's acknowledgement since the start, by what
    /// changed (`policy_latency_seconds`).
    pub latency: BTreeMap<Trigger, Timings>,
    /// How long carrying out a plan took, by family (`policy_apply_seconds`).
    pub applying: BTreeMap<Family, Timings>,
    /// Plans that the kernel took, and that failed.
    pub applied: [u64; 2],
    /// Repaired things, by the table that they are in, of which sets have none, and by what they
    /// are (`policy_repairs_total`).
    pub repaired: BTreeMap<(Option<Table>, Kind), u64>,
    /// Connections cut (`conntrack_flushed_total`).
    pub flushed: Flushed,
    /// Packets that staged policies would decide otherwise, by direction and whether they would
    /// allow them (`policy_staged_flows_total`).
    pub staged: BTreeMap<(Direction, bool), u64>,
    /// Packets that the kernel told (`nflog_messages_total`), and times that it had
    /// more to tell than there was room for (`nflog_lost_total`).
    pub denied: [u64; 2],
    /// Runs of iptables and ipset, by what for and whether they went well
    /// (`iptables_calls_total`, `ipset_calls_total`).
    pub programs: BTreeMap<(Op, bool), Tally>,
}

impl EnforceStatus {
    /// How long writing may fail before we are not ready any more (operations 5).
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// Whether what is wanted is enforced: told once, and since then not failing for longer
    /// than [`EnforceStatus::PATIENCE`] before `now`. For `/readyz`.
    pub fn is_ready(&self, now: SystemTime) -> bool {
        let patience_is_over = self.failing.as_ref().is_some_and(|(since, _)| {
            now.duration_since(*since).is_ok_and(|failed| failed >= Self::PATIENCE)
        });
        self.ready && self.unavailable.is_none() && !patience_is_over
    }

    /// The time that of a hundred changes so many took at most, of the latest thousand; `None`
    /// before the first.
    pub fn percentile(&self, of_hundred: usize) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get((last * of_hundred).div_ceil(100)).copied()
    }
}

/// Connections that were cut: conntrack entries deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// What the policies would not let begin any more (`policy.establishedFlows: recheck`).
    pub denied: u64,
    /// Their address was given to another pod.
    pub reused: u64,
}

/// What kind of change it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A pod.
    Pod,
    /// A pod's interface.
    Attachment,
    /// A namespace.
    Namespace,
    /// A node.
    Node,
    /// A policy.
    Policy,
    /// A host endpoint, or an interface of the host.
    Host,
    /// A network set.
    NetworkSet,
    /// A service account.
    ServiceAccount,
    /// Endpoints of a Service.
    Service,
    /// The first time that everything was told.
    InSync,
}

impl Trigger {
    /// What `change` is about.
    pub fn of(change: &Change) -> Self {
        match change {
            Change::PodApplied(_) | Change::PodDeleted(_) => Trigger::Pod,
            Change::Attached(_) | Change::Detached(_) => Trigger::Attachment,
            Change::NamespaceApplied(_) | Change::NamespaceDeleted(_) => Trigger::Namespace,
            Change::NodeApplied(_) | Change::NodeDeleted(_) => Trigger::Node,
            Change::PolicyApplied(_)
            | Change::PolicyDeleted(_)
            | Change::TierApplied(_)
            | Change::TierDeleted(_)
            | Change::ProfileApplied(_)
            | Change::ProfileDeleted(_) => Trigger::Policy,
            Change::HostEndpointApplied(_)
            | Change::HostEndpointDeleted(_)
            | Change::Devices(_) => Trigger::Host,
            Change::NetworkSetApplied(_) | Change::NetworkSetDeleted(_) => Trigger::NetworkSet,
            Change::ServiceAccountApplied(_) | Change::ServiceAccountDeleted(_) => {
                Trigger::ServiceAccount
            }
            Change::SliceApplied(_) | Change::SliceDeleted(_) => Trigger::Service,
            Change::InSync => Trigger::InSync,
        }
    }

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Pod => "pod",
            Trigger::Attachment => "attachment",
            Trigger::Namespace => "namespace",
            Trigger::Node => "node",
            Trigger::Policy => "policy",
            Trigger::Host => "host",
            Trigger::NetworkSet => "network_set",
            Trigger::ServiceAccount => "service_account",
            Trigger::Service => "service",
            Trigger::InSync => "in_sync",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_for_thirty_seconds_is_not_ready() {
        let start = SystemTime::UNIX_EPOCH;
        let mut status = EnforceStatus { ready: true, ..EnforceStatus::default() };
        assert!(status.is_ready(start));
        status.failing = Some((start, "no lock".to_owned()));
        for (seconds, ready) in [(0, true), (29, true), (30, false), (90, false)] {
            assert_eq!(status.is_ready(start + Duration::from_secs(seconds)), ready, "{seconds}");
        }
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let status = EnforceStatus {
            latencies: (1..=200).map(Duration::from_millis).collect(),
            ..EnforceStatus::default()
        };
        assert_eq!(status.percentile(0), Some(Duration::from_millis(1)));
        assert_eq!(status.percentile(50), Some(Duration::from_millis(101)));
        assert_eq!(status.percentile(100), Some(Duration::from_millis(200)));
        assert_eq!(EnforceStatus::default().percentile(99), None);
    }
}
