//! `bgp:` the speaker and its peers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::bfd::Settings;
use brindle_bgp::filter::Filter;
use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Prefix, Role, RouterId};
use brindle_bgp::rib::{NextHopMode, PrefixLimits, SendPaths};

use super::{Auth, BmpStation, DrainSettings, KeyFile};

/// `bgp:` the speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// `bgp.enabled`, true by default. False leaves routes, and what forwards, to others.
    pub enabled: bool,
    /// `bgp.asNumber`, 64512 by default.
    pub asn: Asn,
    /// `bgp.routerID`; `None` takes the node's IPv4 address.
    pub router_id: Option<RouterId>,
    /// `bgp.listen.addresses`; empty takes the node's addresses.
    pub listen_addresses: Vec<IpAddr>,
    /// `bgp.listen.port`, 179 by default; also the port that mesh peers are dialled on.
    pub listen_port: u16,
    /// `bgp.nodeToNodeMesh.enabled`, true by default.
    pub mesh: bool,
    /// `bgp.nodeToNodeMesh.retain`: what keeps the routes of a mesh peer without session.
    pub retain: Retain,
    /// `bgp.nodeToNodeMesh.bfd`; `None`, the default, for no BFD.
    pub mesh_bfd: Option<Settings>,
    /// `bgp.nodeToNodeMesh.password` or `tcpAO`: what signs sessions with other nodes.
    pub mesh_auth: Auth,
    /// `bgp.holdTime`, 90 s by default.
    pub hold_time: HoldTime,
    /// `bgp.connectRetryTime`: first wait between attempts, 1 s by default.
    pub connect_retry: Duration,
    /// `bgp.gracefulRestart`.
    pub graceful_restart: GracefulRestart,
    /// `bgp.maxPaths`: the most paths used together, 16 by default; 1 switches ECMP off.
    pub max_paths: usize,
    /// `bgp.multipath.asPathRelax`: external paths used together may come from different
    /// neighbouring ASes; false by default.
    pub as_path_relax: bool,
    /// `bgp.nodeToNodeMesh.maxPrefixes`: how much each node may tell; no limit by default.
    pub mesh_limits: PrefixLimits,
    /// `bgp.nodeToNodeMesh.addPaths`: nodes that reflect tell the others every path of a prefix
    /// (RFC 7911); false by default.
    pub mesh_add_paths: bool,
    /// `bgp.peers`.
    pub peers: Vec<Peer>,
    /// `bgp.dynamicPeers`.
    pub dynamic: Vec<DynamicPeers>,
    /// `bgp.networks`: further prefixes to originate.
    pub networks: Vec<Prefix>,
    /// `bgp.drain`.
    pub drain: DrainSettings,
    /// `bgp.bmp`: stations that are told of sessions and routes.
    pub bmp: Vec<BmpStation>,
}

impl Bgp {
    /// The files with keys of the mesh and of all peers.
    pub fn key_files(&self) -> impl Iterator<Item = &KeyFile> {
        let dynamic = self.dynamic.iter().map(|group| &group.peer);
        let peers = self.peers.iter().chain(dynamic).flat_map(|peer| peer.auth.files());
        self.mesh_auth.files().chain(peers)
    }
}

/// `bgp.gracefulRestart`: routes that outlive sessions (RFC 4724).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// `enabled`, true by default: offered to every peer that does not say otherwise.
    pub enabled: bool,
    /// `restartTime`, 120 s by default: how long peers are asked to wait for us.
    pub time: RestartTime,
    /// `longLivedStaleTime`: the longest that routes of peers are kept that ask for it
    /// (RFC 9494); `None` by default, which keeps none.
    pub long_lived: Option<Duration>,
}

/// `bgp.nodeToNodeMesh.retain`: what keeps the routes of a mesh peer whose session is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    /// `node-object`, the default: they stay while the Node object claims them and the node is
    /// on-link.
    NodeObject,
    /// `bgp-only`: they go with the session, unless that ends for a graceful restart.
    BgpOnly,
}

/// One of `bgp.peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `name`, unique.
    pub name: Arc<str>,
    /// `peerIP`, unique.
    pub address: IpAddr,
    /// `port`, 179 by default.
    pub port: u16,
    /// `asNumber`.
    pub asn: Asn,
    /// `localASNumber`: our AS on its sessions; `None` is that of the node.
    pub local_asn: Option<Asn>,
    /// `numAllowedLocalASNumbers`: how often our AS may stand in AS paths that it tells.
    pub allowed_own_asn: u8,
    /// `sourceAddress`: ours on this session; `None` lets the kernel choose.
    pub source_address: Option<IpAddr>,
    /// `passive`: never dial it.
    pub passive: bool,
    /// `password` or `tcpAO`: what signs the session.
    pub auth: Auth,
    /// `ttlSecurity`: the peer is up to so many hops away, and packets from farther off are
    /// dropped (RFC 5082).
    pub ttl_security: Option<u8>,
    /// `ebgpMultihop`: an external peer is up to so many hops away; `None` is one.
    pub ebgp_multihop: Option<u8>,
    /// `reflectorClient`: reflect to and from it (RFC 4456).
    pub reflector_client: bool,
    /// `holdTime`, that of `bgp` by default.
    pub hold_time: HoldTime,
    /// `gracefulRestart`; `None` takes `bgp.gracefulRestart.enabled`.
    pub graceful_restart: Option<bool>,
    /// `maxRestartTime`; `None` takes `bgp.gracefulRestart.restartTime`.
    pub restart_time: Option<RestartTime>,
    /// `importFilters`, resolved; `None` if the key is missing (RFC 8212 refuses then for an
    /// external peer), an empty list accepts everything.
    pub import: Option<Vec<Arc<Filter>>>,
    /// `exportFilters`, likewise.
    pub export: Option<Vec<Arc<Filter>>>,
    /// `nextHopMode`: Auto, Self or Keep.
    pub next_hop_mode: NextHopMode,
    /// `role`: what we are to it (RFC 9234).
    pub role: Option<Role>,
    /// `roleStrict`: refuse it if it says no role.
    pub role_strict: bool,
    /// `addPaths`: several paths of one prefix.
    pub add_paths: AddPaths,
    /// `maxPrefixes`: how much it may tell; no limit by default.
    pub limits: PrefixLimits,
    /// `bfd`; `None`, the default, for no BFD.
    pub bfd: Option<Settings>,
}

/// `addPaths`: several paths of one prefix (RFC 7911).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddPaths {
    /// `receive`: take them from the peer, false by default.
    pub receive: bool,
    /// `send`: how many to tell it, the best alone by default.
    pub send: SendPaths,
}

impl AddPaths {
    /// Neither offered nor asked for.
    pub const OFF: Self = Self { receive: false, send: SendPaths::One };

    /// Whether sending several is offered at all; how many is for us alone to know.
    pub fn sends(&self) -> bool {
        self.send != SendPaths::One
    }
}

/// One of `bgp.dynamicPeers`: whoever connects from some prefixes becomes a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicPeers {
    /// `cidrs`: where they come from.
    pub cidrs: Vec<Prefix>,
    /// `asNumber`: where they may be.
    pub asn: ExpectedAs,
    /// `limit`: the most of them at a time, 100 by default.
    pub limit: usize,
    /// What each is like, passive; its address and AS stand for theirs.
    pub peer: Peer,
}

/// The AS that a dynamic peer may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedAs {
    /// This one, which may be our own.
    One(Asn),
    /// From one to another, our own aside.
    Range(Asn, Asn),
    /// `external`: any but our own.
    External,
}

impl ExpectedAs {
    /// Whether a peer of ours, who are in AS `own`, may be in `asn`.
    pub fn has(&self, asn: Asn, own: Asn) -> bool {
        match self {
            Self::One(one) => asn == *one,
            Self::Range(low, high) => asn != own && (*low..=*high).contains(&asn),
            Self::External => asn != own,
        }
    }

    /// Some AS that a peer may be in.
    pub fn example(&self, own: Asn) -> Asn {
        match self {
            Self::One(one) => *one,
            Self::Range(low, high) => {
                if *low == own {
                    *high
                } else {
                    *low
                }
            }
            Self::External => {
                let other = if own.get() == 1 { 2 } else { 1 };
                Asn::new(other).expect("neither is zero")
            }
        }
    }
}

impl fmt::Display for ExpectedAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(one) => one.fmt(f),
            Self::Range(low, high) => write!(f, "{low}-{high}"),
            Self::External => f.write_str("external"),
        }
    }
}
