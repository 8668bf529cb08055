//! What the RIB is told of us and of each peer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::limit::PrefixLimits;
use crate::filter::{Filter, PeerType, RouteSource};
use crate::fsm::Negotiated;
use crate::msg::NextHop;
use crate::net::{Asn, ClusterId, Prefix, Role, RouterId};

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
    /// Whether external paths of one prefix that are used together may come from different
    /// neighbouring ASes: their AS paths need only be equally long.
    pub as_path_relax: bool,
    /// Whether a next hop must first be resolved ([`Rib::resolve`](super::Rib::resolve)) before its paths are
    /// used; off for a reflector that installs nothing.
    pub track_next_hops: bool,
}

impl RibSettings {
    /// A speaker that takes next hops as they are and uses one path a prefix; its cluster is its
    /// own identifier (RFC 4456 §7).
    pub fn new(asn: Asn, router_id: RouterId) -> Self {
        Self {
            asn,
            router_id,
            cluster_id: router_id.into(),
            multipath: 1,
            as_path_relax: false,
            track_next_hops: false,
        }
    }
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

impl PeerKind {
    /// What filters take it for.
    pub(super) fn peer_type(self) -> PeerType {
        match self {
            PeerKind::External => PeerType::External,
            PeerKind::Internal | PeerKind::ReflectorClient => PeerType::Internal,
        }
    }
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
    /// Only what the node behind a mesh peer owns passes.
    Owned(Owned),
    /// Only what the node at the next hop owns passes, told by a reflector of the mesh.
    OwnedByNextHop(Arc<BTreeMap<IpAddr, Owned>>),
    /// Only what we originate and prefixes inside these pass: what a node tells the mesh. What
    /// it hears there, the others hear from those whose it is.
    OriginatedOr(Arc<[Prefix]>),
}

impl PeerPolicy {
    /// Whether it goes by who owns a prefix.
    pub(super) fn is_ownership(&self) -> bool {
        match self {
            PeerPolicy::Owned(_) | PeerPolicy::OwnedByNextHop(_) => true,
            PeerPolicy::Filters(filters) => filters.iter().any(|filter| filter.ends_in_ownership),
            PeerPolicy::AcceptAll | PeerPolicy::RefuseUnfiltered | PeerPolicy::OriginatedOr(_) => {
                false
            }
        }
    }
}

/// What a node owns, and may tell therefore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owned {
    /// Everything inside these.
    pub inside: Arc<[Prefix]>,
    /// These themselves, and nothing inside them. Sets that many nodes have are shared.
    pub exactly: Vec<Arc<BTreeSet<Prefix>>>,
}

impl Owned {
    /// Whether the prefix is among it.
    pub fn has(&self, prefix: &Prefix) -> bool {
        self.inside.iter().any(|own| own.covers(prefix))
            || self.exactly.iter().any(|own| own.contains(prefix))
    }
}

impl<T: Into<Arc<[Prefix]>>> From<T> for Owned {
    fn from(inside: T) -> Self {
        Self { inside: inside.into(), exactly: Vec::new() }
    }
}

/// Why paths are kept although the session that told them is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stale {
    /// The peer is expected back in a moment and forwards meanwhile (RFC 4724 §4.2): used as if
    /// nothing had happened.
    Restarting,
    /// What says who owns the prefixes still says so: the Node object stands. Used where there
    /// is no other, while the next hop is on-link.
    Owned,
    /// The peer has been away for long and asked for it (RFC 9494 §4.2): the last choice.
    LongLived,
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

/// How many paths of one prefix a peer is told, if that is agreed with it (RFC 7911).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendPaths {
    /// The best.
    One,
    /// The best so many.
    Best(u8),
    /// All that can be used.
    All,
}

impl SendPaths {
    /// The most of them.
    pub(super) fn most(self) -> u32 {
        match self {
            SendPaths::One => 1,
            SendPaths::Best(count) => u32::from(count.max(1)),
            SendPaths::All => u32::MAX,
        }
    }
}

/// What a route of our own is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnRoute {
    /// Pods of the node, or a network that it was told to originate.
    Local,
    /// A Service.
    Service,
}

impl From<OwnRoute> for RouteSource {
    fn from(what: OwnRoute) -> Self {
        match what {
            OwnRoute::Local => RouteSource::Local,
            OwnRoute::Service => RouteSource::Service,
        }
    }
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
    /// Our AS on its sessions, if it is another than with everybody else: the peer never sees
    /// that one, nor is it looked for in what the peer tells.
    pub local_asn: Option<Asn>,
    /// How often our AS may stand in an AS path that the peer tells; once more is a loop
    /// (RFC 4271 §9.1.2).
    pub allowed_own_asn: u8,
    /// How it relates to us.
    pub kind: PeerKind,
    /// What is taken from it.
    pub import: PeerPolicy,
    /// What is told to it. Peers with equal export treatment share one encoding.
    pub export: PeerPolicy,
    /// How next hops are told to it.
    pub next_hop_mode: NextHopMode,
    /// How many prefixes it may tell.
    pub limits: PrefixLimits,
    /// What filters take its routes for.
    pub source: RouteSource,
    /// What we are to it, if it is in another AS (RFC 9234). What was learned before is judged
    /// by another role with the next session only.
    pub role: Option<Role>,
    /// How many paths of a prefix are told to it. Whether it is told several at all is agreed
    /// with each session.
    pub send_paths: SendPaths,
}

impl RibPeer {
    /// A peer that everything is taken from and told to.
    pub fn new(name: impl Into<Arc<str>>, address: IpAddr, asn: Asn, kind: PeerKind) -> Self {
        Self {
            name: name.into(),
            address,
            asn,
            local_asn: None,
            allowed_own_asn: 0,
            kind,
            import: PeerPolicy::AcceptAll,
            export: PeerPolicy::AcceptAll,
            next_hop_mode: NextHopMode::Auto,
            limits: PrefixLimits::NONE,
            source: RouteSource::Peer,
            role: None,
            send_paths: SendPaths::One,
        }
    }

    /// Our AS on its sessions, where it is `usual` with others.
    pub(super) fn own_asn(&self, usual: Asn) -> Asn {
        self.local_asn.unwrap_or(usual)
    }
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
    /// The link that we share with the peer, where there is just one.
    pub link: Option<SessionLink>,
}

/// The link that a session's peer is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLink {
    /// Its number on this host.
    pub number: u32,
    /// Whether the session itself runs between link-local addresses, so that the peer may have
    /// no other that leads to it.
    pub is_unnumbered: bool,
}

impl RibSession {
    /// What is kept of a next hop that came on this session. Of two addresses (RFC 2545 §3) the
    /// link-local one counts where the session has no other either, and else the global one; a
    /// link-local one is on the session's own link, as it can be on no other.
    pub(super) fn next_hop(&self, told: NextHop) -> NextHop {
        let (NextHop::V6 { global, link_local }, Some(link)) = (told, self.link) else {
            return told;
        };
        let address = match link_local {
            Some(address) if link.is_unnumbered => address,
            _ if global.is_unicast_link_local() => global,
            _ => return told,
        };
        NextHop::Link { address, link: link.number }
    }
}
