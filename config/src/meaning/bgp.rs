//! `bgp:` the speaker and its peers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::filter::Filter;
use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Prefix, Role, RouterId};
use brindle_bgp::rib::NextHopMode;

use super::{Auth, DrainSettings, KeyFile};

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
    /// `bgp.peers`.
    pub peers: Vec<Peer>,
    /// `bgp.networks`: further prefixes to originate.
    pub networks: Vec<Prefix>,
    /// `bgp.drain`.
    pub drain: DrainSettings,
}

impl Bgp {
    /// The files with keys of the mesh and of all peers.
    pub fn key_files(&self) -> impl Iterator<Item = &KeyFile> {
        let peers = self.peers.iter().flat_map(|peer| peer.auth.files());
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
    /// `bgp-only`: they go with the session.
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
}
