//! `bgp:` the speaker, its peers and filters.

use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::bfd::{Path, Settings};
use brindle_bgp::filter::Filter;
use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{self, Asn};
use brindle_bgp::rib::{LimitAction, NextHopMode, PrefixLimits, SendPaths};

use super::filter::filter;
use super::{address, auth, cidr, services, time};
use crate::meaning::{AddPaths, Bgp, DynamicPeers, ExpectedAs, Peer, PeerAs, Retain as Kept};
use crate::schema::{
    AddPathsSection, AsNumber, BfdSection, BgpSection, DynamicPeerSection, GracefulRestartSection,
    LimitWord, ListenSection, MaxPrefixesSection, MeshSection, MultipathSection, NextHop,
    PeerAddress, PeerAsNumber, PeerSection, Retain, Role, SendWord, Time,
};

/// The section that says it.
pub(super) fn section(bgp: &Bgp) -> BgpSection {
    let (password, tcp_ao) = auth::sections(&bgp.mesh_auth);
    BgpSection {
        enabled: bgp.enabled,
        as_number: as_number(bgp.asn),
        router_id: bgp.router_id.map(|id| id.to_string()),
        listen: ListenSection {
            addresses: bgp.listen_addresses.iter().map(address).collect(),
            port: bgp.listen_port,
        },
        node_to_node_mesh: MeshSection {
            enabled: bgp.mesh,
            retain: match bgp.retain {
                Kept::NodeObject => Retain::NodeObject,
                Kept::BgpOnly => Retain::BgpOnly,
            },
            max_prefixes: limits(&bgp.mesh_limits),
            add_paths: bgp.mesh_add_paths,
            bfd: bgp.mesh_bfd.as_ref().map(bfd),
            password,
            tcp_ao,
        },
        hold_time: hold_time(bgp.hold_time),
        connect_retry_time: time(bgp.connect_retry),
        graceful_restart: GracefulRestartSection {
            enabled: bgp.graceful_restart.enabled,
            restart_time: restart_time(bgp.graceful_restart.time),
            long_lived_stale_time: bgp.graceful_restart.long_lived.map(time),
        },
        max_paths: bgp.max_paths,
        multipath: MultipathSection { as_path_relax: bgp.as_path_relax },
        peers: bgp.peers.iter().map(peer).collect(),
        dynamic_peers: bgp.dynamic.iter().map(dynamic).collect(),
        filters: used_filters(bgp.peers.iter().chain(bgp.dynamic.iter().map(|group| &group.peer)))
            .into_iter()
            .map(filter)
            .collect(),
        networks: bgp.networks.iter().map(cidr).collect(),
        services: services::section(&bgp.services),
        prefix_advertisements: bgp
            .prefix_advertisements
            .iter()
            .map(services::advertisement)
            .collect(),
        drain: super::drain::section(&bgp.drain),
        bmp: bgp.bmp.iter().map(super::bmp::section).collect(),
    }
}

fn peer(peer: &Peer) -> PeerSection {
    let names =
        |filters: &Vec<Arc<Filter>>| filters.iter().map(|filter| filter.name.to_string()).collect();
    let (password, tcp_ao) = auth::sections(&peer.auth);
    PeerSection {
        name: peer.name.to_string(),
        peer_ip: (!peer.is_found).then(|| PeerAddress(peer_address(peer))),
        interface: peer.link.as_deref().filter(|_| peer.is_found).map(ToOwned::to_owned),
        reachable_by: peer.reachable_by.as_ref().map(address),
        port: peer.port,
        as_number: match peer.asn_word {
            Some(PeerAs::External) => PeerAsNumber::Word("external"),
            Some(PeerAs::Internal) => PeerAsNumber::Word("internal"),
            None => PeerAsNumber::One(as_number(peer.asn)),
        },
        local_as_number: peer.local_asn.map(as_number),
        num_allowed_local_as_numbers: peer.allowed_own_asn,
        source_address: peer.source_address.as_ref().map(address),
        passive: peer.passive,
        password,
        tcp_ao,
        ttl_security: peer.ttl_security,
        ebgp_multihop: peer.ebgp_multihop,
        reflector_client: peer.reflector_client,
        hold_time: hold_time(peer.hold_time),
        graceful_restart: peer.graceful_restart,
        max_restart_time: peer.restart_time.map(restart_time),
        import_filters: peer.import.as_ref().map(names),
        export_filters: peer.export.as_ref().map(names),
        next_hop_mode: match peer.next_hop_mode {
            NextHopMode::Auto => NextHop::Auto,
            NextHopMode::SelfAddress => NextHop::SelfAddress,
            NextHopMode::Keep => NextHop::Keep,
        },
        max_prefixes: limits(&peer.limits),
        role: peer.role.map(|role| match role {
            net::Role::Provider => Role::Provider,
            net::Role::Customer => Role::Customer,
            net::Role::Peer => Role::Peer,
            net::Role::RouteServer => Role::RsServer,
            net::Role::RouteServerClient => Role::RsClient,
        }),
        role_strict: peer.role_strict,
        add_paths: add_paths(&peer.add_paths),
        bfd: peer.bfd.as_ref().map(bfd),
    }
}

fn peer_address(peer: &Peer) -> String {
    match &peer.link {
        Some(link) => format!("{}%{link}", peer.address),
        None => peer.address.to_string(),
    }
}

pub(crate) fn bfd(settings: &Settings) -> BfdSection {
    let Settings { intervals, path, graceful_restart } = settings;
    let min_ttl = match path {
        Path::SingleHop => None,
        Path::Multihop { min_ttl } => Some(*min_ttl),
    };
    BfdSection {
        enabled: true,
        transmit_interval: time(intervals.transmit),
        receive_interval: time(intervals.receive),
        multiplier: intervals.multiplier.get(),
        multihop: min_ttl.is_some(),
        minimum_ttl: min_ttl,
        graceful_restart: *graceful_restart,
    }
}

fn add_paths(paths: &AddPaths) -> Option<AddPathsSection> {
    let send = match paths.send {
        SendPaths::One => SendWord::Word("off".to_owned()),
        SendPaths::All => SendWord::Word("all".to_owned()),
        SendPaths::Best(count) => SendWord::Best(count),
    };
    (*paths != AddPaths::OFF).then_some(AddPathsSection { receive: paths.receive, send })
}

fn limits(limits: &PrefixLimits) -> Option<MaxPrefixesSection> {
    if limits.most == [None; 2] {
        return None;
    }
    let (action, rest) = match (limits.action, PrefixLimits::NONE.action) {
        (LimitAction::Restart(rest), _) => (LimitWord::Restart, rest),
        (LimitAction::Warn, LimitAction::Restart(rest)) => (LimitWord::Warn, rest),
        (LimitAction::Warn, LimitAction::Warn) => (LimitWord::Warn, Duration::ZERO),
    };
    let [ipv4, ipv6] = limits.most;
    let warn_at = limits.warn_percent;
    Some(MaxPrefixesSection { ipv4, ipv6, warn_at, action, retry_after: time(rest) })
}

fn dynamic(group: &DynamicPeers) -> DynamicPeerSection {
    let asn = match group.asn {
        ExpectedAs::One(asn) => asn.get().into(),
        ExpectedAs::Range(..) | ExpectedAs::External => group.asn.to_string().into(),
    };
    let cidrs = group.cidrs.iter().map(ToString::to_string).collect();
    DynamicPeerSection::new(&peer(&group.peer), cidrs, asn, group.limit)
}

/// Each filter once, in the order in which peers first name it.
fn used_filters<'a>(peers: impl Iterator<Item = &'a Peer>) -> Vec<&'a Arc<Filter>> {
    let mut used: Vec<&Arc<Filter>> = Vec::new();
    for filter in peers.flat_map(|peer| peer.import.iter().chain(&peer.export).flatten()) {
        if !used.iter().any(|known| known.name == filter.name) {
            used.push(filter);
        }
    }
    used
}

pub(super) fn as_number(asn: Asn) -> AsNumber {
    AsNumber::Number(asn.get())
}

fn hold_time(hold: HoldTime) -> Time {
    time(Duration::from_secs(hold.secs().into()))
}

fn restart_time(restart: RestartTime) -> Time {
    time(Duration::from_secs(restart.secs().into()))
}
