//! The policy half: keeps this node's iptables chains and ipsets as the cluster's policies
//! want them.
//!
//! ```text
//!  changes ─► task: World ─► Compiler (one a family) ─► Plan ─► dataplane ─► iptables, ipset
//!               ▲                                                  ▲
//!   questions ──┘                 audit, ruleset events ───────────┘
//! ```
//!
//! The task owns the [`World`] and what is wanted; the dataplane carries plans out and knows
//! what the kernel holds. Neither knows where objects come from, or BGP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brindle_policy::{Cidr, Family, PodKey, PolicyId};

/// What the policy half is to do; from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforceSettings {
    /// This node's name: its pods are the local endpoints.
    pub node: Arc<str>,
    /// `node.podCIDRs` of the configuration; empty takes those of the Node object. Addresses
    /// in these ranges that no known pod has are closed.
    pub pod_cidrs: BTreeSet<Cidr>,
    /// `policy.backend`: which iptables.
    pub backend: BackendChoice,
    /// `policy.masquerade`: whether what pods send outside the pod ranges gets the node's
    /// address.
    pub masquerade: bool,
    /// `policy.establishedFlows`.
    pub established: EstablishedFlows,
    /// `policy.flowLog`: where denied packets are told; `None` if they are not.
    pub flow_log: Option<FlowLog>,
    /// `policy.auditInterval`: how often the kernel is compared with what is wanted without an
    /// event.
    pub audit: Duration,
}

/// Which iptables is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The one that the host uses already, nft if none.
    #[default]
    Auto,
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

/// An iptables backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

/// What happens to connections that a policy change would not let begin any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstablishedFlows {
    /// They live on.
    #[default]
    Keep,
    /// They are cut: their conntrack entries, and no others, are deleted.
    Recheck,
}

/// Where denied packets are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLog {
    /// The NFLOG group.
    pub group: u16,
    /// The most packets told a second, for each endpoint and direction.
    pub per_second: u16,
}

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
}
