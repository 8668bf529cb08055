//! The RIB: what was learned (Adj-RIB-In), what is best (Loc-RIB), what is told (Adj-RIB-Out).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::filter::Filter;
use crate::fsm::Negotiated;
use crate::msg::{Attributes, NextHop, Update};
use crate::net::{Asn, ClusterId, Family, Prefix, RouterId};

/// What the RIB must know of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RibSettings {
    /// Our AS.
    pub asn: Asn,
    /// Our BGP Identifier.
    pub router_id: RouterId,
    /// Our cluster when we reflect (RFC 4456 §7).
    pub cluster_id: ClusterId,
    /// The most paths of one prefix that are used together; 1 is no multipath.
    pub multipath: usize,
    /// Whether a next hop must first be resolved ([`Rib::resolve`]) before its paths are
    /// used; off for a reflector that installs nothing.
    pub track_next_hops: bool,
}

/// A peer in the RIB; never used twice, so that news of a removed peer finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// How a peer relates to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// In another AS.
    External,
    /// In our AS.
    Internal,
    /// In our AS, and we reflect to and from it (RFC 4456).
    ReflectorClient,
}

/// What decides whether a path is taken from a peer or told to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerPolicy {
    /// Everything passes.
    AcceptAll,
    /// Nothing passes: an external peer without filters (RFC 8212).
    RefuseUnfiltered,
    /// Each filter must accept it.
    Filters(Vec<Arc<Filter>>),
    /// Only prefixes inside these pass: what the node behind a mesh peer owns.
    Owned(Arc<[Prefix]>),
}

/// How next hops are told to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopMode {
    /// As RFC 4271 §5.1.3 has it: unchanged to internal peers; to external ones ourselves,
    /// or a third party on the link that we share.
    Auto,
    /// Always ourselves.
    SelfAddress,
    /// Always unchanged.
    Keep,
}

/// How the RIB treats a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RibPeer {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// Its address: the last tie breaker (RFC 4271 §9.1.2.2 g).
    pub address: IpAddr,
    /// Its AS.
    pub asn: Asn,
    /// How it relates to us.
    pub kind: PeerKind,
    /// What is taken from it.
    pub import: PeerPolicy,
    /// What is told to it. Peers with equal export treatment share one encoding.
    pub export: PeerPolicy,
    /// How next hops are told to it.
    pub next_hop_mode: NextHopMode,
}

/// What an established session adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RibSession {
    /// What was agreed in the OPENs.
    pub negotiated: Negotiated,
    /// Our next hop for IPv4 prefixes on this session, if we have one.
    pub local_v4: Option<NextHop>,
    /// Our next hop for IPv6 prefixes on this session, if we have one.
    pub local_v6: Option<NextHop>,
    /// The prefixes of the link that we share with the peer; empty if it is not on-link.
    pub shared_link: Vec<Prefix>,
}

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
    /// Nowhere: no usable path is left.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Our AS stands in the AS_PATH (RFC 4271 §9.1.2).
    AsLoop,
    /// We are its ORIGINATOR_ID (RFC 4456 §8).
    OriginatorLoop,
    /// Our cluster stands in its CLUSTER_LIST (RFC 4456 §8).
    ClusterLoop,
    /// The filter rejects it: its name and the rule from zero, none if no rule matched.
    Filter(Arc<str>, Option<usize>),
    /// An external peer without filters (RFC 8212).
    Unfiltered,
    /// The node behind the peer does not own it.
    NotOwned,
    /// The next hop is one of ours, unspecified, loopback, multicast or the like.
    BadNextHop(IpAddr),
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
    /// Where it points; `None` if it is our own.
    pub next_hop: Option<NextHop>,
    /// Its attributes after import.
    pub attributes: Arc<Attributes>,
    /// What it is to the decision process.
    pub status: PathStatus,
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
}

/// The routing information bases of one speaker.
#[derive(Debug)]
pub struct Rib {
    _settings: RibSettings,
}

impl Rib {
    /// An empty RIB.
    pub fn new(settings: RibSettings) -> Self {
        Self { _settings: settings }
    }

    /// Adds a peer, or changes how one is treated. A changed import policy is applied to
    /// what was learned; a changed export policy sends only the difference.
    pub fn configure_peer(&mut self, peer: PeerId, how: RibPeer) {
        let _ = (peer, how);
    }

    /// Forgets a peer and all that was learned from it.
    pub fn remove_peer(&mut self, peer: PeerId) {
        let _ = peer;
    }

    /// The peer's session is Established: everything is to be told to it, End-of-RIB last.
    pub fn session_up(&mut self, peer: PeerId, session: RibSession) {
        let _ = (peer, session);
    }

    /// The peer's session is over: what was learned from it goes.
    pub fn session_down(&mut self, peer: PeerId) {
        let _ = peer;
    }

    /// Takes in an UPDATE. Unknown peers and peers without session change nothing.
    pub fn learn(&mut self, from: PeerId, update: Update) {
        let _ = (from, update);
    }

    /// Notes the End-of-RIB of a family (RFC 4724 §2).
    pub fn end_of_rib(&mut self, from: PeerId, family: Family) {
        let _ = (from, family);
    }

    /// Whether the peer has sent its End-of-RIB for every agreed family of this session.
    pub fn is_synced(&self, peer: PeerId) -> bool {
        let _ = peer;
        false
    }

    /// Sends a family to a peer again (RFC 2918 §4), between begin and end marks where
    /// agreed (RFC 7313 §4).
    pub fn refresh(&mut self, peer: PeerId, family: Family) {
        let _ = (peer, family);
    }

    /// Adds a prefix of our own with these attributes, or changes its attributes.
    pub fn originate(&mut self, prefix: Prefix, attributes: Attributes) {
        let _ = (prefix, attributes);
    }

    /// Removes a prefix of our own.
    pub fn withdraw(&mut self, prefix: &Prefix) {
        let _ = prefix;
    }

    /// Next hops that came up since the last call and want [`Rib::resolve`], and those
    /// that no path uses any more.
    pub fn take_next_hops(&mut self) -> (Vec<NextHop>, Vec<NextHop>) {
        (Vec::new(), Vec::new())
    }

    /// Says how far a next hop is; `None` if it cannot be reached.
    pub fn resolve(&mut self, next_hop: NextHop, cost: Option<u32>) {
        let _ = (next_hop, cost);
    }

    /// Tells which addresses are ours: next hops that are refused.
    pub fn set_own_addresses(&mut self, addresses: Vec<IpAddr>) {
        let _ = addresses;
    }

    /// What became best since the last call, each prefix once.
    pub fn take_changes(&mut self) -> Vec<BestChange> {
        Vec::new()
    }

    /// Peers that have something to be told and had nothing before; each named once until
    /// [`Rib::advertise`] has given it all.
    pub fn take_woken(&mut self) -> Vec<PeerId> {
        Vec::new()
    }

    /// The next messages for a peer, about `budget` octets of them; withdrawals first.
    pub fn advertise(&mut self, to: PeerId, budget: usize) -> Advertisement {
        let _ = (to, budget);
        Advertisement::default()
    }
}
