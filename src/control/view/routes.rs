//! Routes: what is best, what peers told and were told, what was refused, what the kernel holds.

use std::fmt;
use std::net::IpAddr;

use brindle_bgp::net::Prefix;
use serde::{Deserialize, Serialize};

use super::filter::FilterStep;
use super::{Time, as_text};

/// A prefix and its paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The prefix.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// The best path first, then those used with it; then, where one prefix was asked for,
    /// all others.
    pub paths: Vec<Path>,
}

/// A path of a prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// The prefix.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// Name of the peer that told it; absent if it is our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Which of several paths to the prefix it is: as that peer says it or, of what a peer was
    /// told, as we say it (RFC 7911). Absent without ADD-PATH.
    #[serde(rename = "pathID", default, skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
    /// Where it points; absent if it is our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// The link-local next hop that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_link_local: Option<IpAddr>,
    /// What becomes of it.
    pub status: PathStatus,
    /// The session that told it is over; it is used only if there is nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Why, in words: the step of the decision process that it lost by, the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its path attributes.
    pub attributes: Attributes,
    /// What each rule of the peer's filters did that matched; only where routes of one peer
    /// are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterStep>,
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathStatus {
    /// It is used.
    Best,
    /// It is used together with the best.
    Multipath,
    /// Another is better.
    Lost,
    /// Its next hop cannot be reached.
    Unreachable,
    /// It was refused.
    Refused,
    /// It was told to a peer.
    Advertised,
}

impl fmt::Display for PathStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathStatus::Best => "best",
            PathStatus::Multipath => "multipath",
            PathStatus::Lost => "lost",
            PathStatus::Unreachable => "unreachable",
            PathStatus::Refused => "refused",
            PathStatus::Advertised => "advertised",
        })
    }
}

/// Path attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attributes {
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// `65001 65002 {65003,65004}`, nearest first.
    pub as_path: String,
    /// MULTI_EXIT_DISC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// LOCAL_PREF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub atomic_aggregate: bool,
    /// AGGREGATOR: AS and address, `65001 192.0.2.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<String>,
    /// COMMUNITIES: `65001:100`, `no-export`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// EXTENDED COMMUNITIES: `rt:65001:1`, else in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended_communities: Vec<String>,
    /// LARGE_COMMUNITY: `64512:1:2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<String>,
    /// ONLY_TO_CUSTOMER: the AS that said so (RFC 9234).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_to_customer: Option<u32>,
    /// ORIGINATOR_ID.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "originatorID")]
    pub originator_id: Option<String>,
    /// CLUSTER_LIST, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_list: Vec<String>,
    /// Attributes that we do not know and pass on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownAttribute>,
}

/// An attribute that we do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnknownAttribute {
    /// Its type code.
    pub code: u8,
    /// Its value in hexadecimal.
    pub value: String,
}

/// A path that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// The prefix.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// Name of the peer that told it.
    pub from: String,
    /// What refused it: `filter cluster-only rule 2`, `mesh-ownership`, `as-loop`.
    pub rule: String,
    /// Why, a sentence.
    pub reason: String,
    /// How often it was told and refused, or refused by a changed filter; absent where so many
    /// others were refused since that it is not known any more, as are the times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When that was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rejected: Option<Time>,
    /// For how long it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rejected_seconds: Option<u64>,
    /// Whose prefix it is, if that is known: `Node/n2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A route as wanted and as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelRoute {
    /// The prefix.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// What is wanted; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Target>,
    /// What the kernel holds of ours; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Target>,
    /// How the two compare.
    pub state: KernelState,
    /// Reason and next step, if they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Where packets go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Target {
    /// The prefix is our own: what no pod's route covers is unreachable.
    Local,
    /// To these, in equal shares.
    #[serde(rename_all = "camelCase")]
    Via {
        /// At least one.
        next_hops: Vec<Hop>,
    },
}

/// One next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// Its address.
    pub address: IpAddr,
    /// The interface that packets leave by, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// How a route that is wanted compares with what the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KernelState {
    /// As wanted.
    Installed,
    /// Wanted and not there.
    Missing,
    /// There in another shape.
    Different,
    /// There and not wanted, or a leftover of an earlier run.
    Stale,
}

impl fmt::Display for KernelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KernelState::Installed => "installed",
            KernelState::Missing => "missing",
            KernelState::Different => "different",
            KernelState::Stale => "stale",
        })
    }
}
