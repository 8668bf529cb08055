//! What the RIB says of itself: changes, messages, paths as shown.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::settings::{PeerId, Stale};
use crate::msg::{Attributes, NextHop, PathId};
use crate::net::Prefix;

/// What became best for a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestChange {
    /// The prefix.
    pub prefix: Prefix,
    /// Where packets for it go now.
    pub now: Forwarding,
}

/// Where packets for a prefix go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Nowhere: no usable path is left, or it is a Service of ours, whose packets another
    /// program on this machine takes care of.
    None,
    /// It is our own.
    Local,
    /// To these next hops in equal shares, ascending, each once, at least one.
    Via(Vec<NextHop>),
}

/// What is to be written to a peer.
#[derive(Clone, Debug, Default)]
pub struct Advertisement {
    /// Whole messages, to be written in this order.
    pub messages: Vec<Bytes>,
    /// Whether more is waiting: ask again once these are written.
    pub more: bool,
}

/// Why a path is not used; kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Our AS stands in the AS_PATH (RFC 4271 §9.1.2).
    AsLoop,
    /// We are its ORIGINATOR_ID (RFC 4456 §8).
    OriginatorLoop,
    /// Our cluster stands in its CLUSTER_LIST (RFC 4456 §8).
    ClusterLoop,
    /// A filter rejects it: the name of the list and the rule from zero, as the operator knows
    /// them; none if no rule matched.
    Filter(Arc<str>, Option<usize>),
    /// An external peer without filters (RFC 8212).
    Unfiltered,
    /// The node behind the peer does not own it.
    NotOwned,
    /// The next hop is one of ours, unspecified, loopback, multicast or the like.
    BadNextHop(IpAddr),
    /// It must not have come from there by the roles of both sides: it is marked to go to
    /// customers only, by this AS (RFC 9234 §5).
    RouteLeak(u32),
    /// An external path does not begin with the AS of the peer (RFC 4271 §6.3).
    WrongFirstAs,
}

/// A path as shown to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView {
    /// The prefix.
    pub prefix: Prefix,
    /// The peer that it was learned from; `None` if it is our own.
    pub from: Option<PeerId>,
    /// Which of the peer's paths to the prefix it is, where that is told (RFC 7911).
    pub path_id: Option<PathId>,
    /// Where it points; `None` if it is our own.
    pub next_hop: Option<NextHop>,
    /// Its attributes after import.
    pub attributes: Arc<Attributes>,
    /// What it is to the decision process.
    pub status: PathStatus,
    /// The session that told it is over, and it is kept for this reason.
    pub stale: Option<Stale>,
}

/// What a path is to the decision process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStatus {
    /// The best.
    Best,
    /// Used together with the best.
    Multipath,
    /// Lost; the step of the decision process that decided.
    Lost(Reason),
    /// Its next hop is not resolved.
    Unreachable,
    /// Refused.
    Refused(Refusal),
}

/// The steps of the decision process (RFC 4271 §9.1.2, RFC 4456 §9), in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Our own routes come first.
    Local,
    /// Of a live session before kept from one that is over.
    Stale,
    /// Highest LOCAL_PREF.
    LocalPref,
    /// Shortest AS_PATH.
    AsPathLength,
    /// Lowest ORIGIN.
    Origin,
    /// Lowest MED among paths of one neighbouring AS.
    Med,
    /// External before internal.
    ExternalOverInternal,
    /// Nearest next hop.
    IgpCost,
    /// Lowest BGP Identifier or ORIGINATOR_ID.
    RouterId,
    /// Shortest CLUSTER_LIST.
    ClusterListLength,
    /// Lowest peer address.
    PeerAddress,
    /// Lowest path identifier of one peer.
    PathId,
}

/// What a peer was told of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldView {
    /// The prefix.
    pub prefix: Prefix,
    /// The peer that it was learned from; `None` if it is our own.
    pub from: Option<PeerId>,
    /// Which of several paths to the prefix the peer is told that it is (RFC 7911).
    pub path_id: Option<PathId>,
    /// The next hop as told.
    pub next_hop: NextHop,
    /// The attributes as told.
    pub attributes: Arc<Attributes>,
    /// This is what the peer will be told; what it was told before differs, or may.
    pub is_pending: bool,
}

/// Part of a long list, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order of their prefixes.
    pub rows: Vec<T>,
    /// Ask again with this as `after`; `None` if that was all. Pages may come out short, or
    /// empty, with more behind them: the work for one page is bounded, not its length.
    pub next: Option<Prefix>,
}

/// Which paths to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The best path of each prefix and those used together with it.
    Used,
    /// Every path, refused ones included.
    All,
    /// Every path of one peer, refused ones included: its Adj-RIB-In.
    From(PeerId),
    /// Refused paths.
    Refused,
    /// Refused paths of one peer.
    RefusedFrom(PeerId),
}

/// Counts of a peer in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Paths that it has sent and not withdrawn: accepted and rejected.
    pub received: usize,
    /// Paths that import let pass.
    pub accepted: usize,
    /// Paths that import refused.
    pub rejected: usize,
    /// Of those accepted, paths that are kept although their session is over.
    pub stale: usize,
    /// Prefixes that it was told; where it is told several paths of a prefix, paths.
    pub advertised: usize,
}

/// Counts of the whole RIB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Prefixes with at least one path, by [`crate::net::Family::index`]; for a short while
    /// also prefixes without, whose withdrawal is still to be told.
    pub prefixes: [usize; 2],
    /// Paths, by [`crate::net::Family::index`].
    pub paths: [usize; 2],
    /// Distinct sets of attributes.
    pub attributes: usize,
    /// Distinct next hops.
    pub next_hops: usize,
    /// Groups of peers that are told the same.
    pub groups: usize,
    /// Changes noted in journals that some peer has not taken yet.
    pub noted: usize,
    /// Octets of messages that are held because some peer still has to take them.
    pub held_octets: usize,
    /// Prefixes encoded, announced and withdrawn, for all groups that exist now.
    pub encoded: u64,
}
