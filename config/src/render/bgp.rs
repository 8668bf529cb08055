//! `bgp:` the speaker, its peers and filters.

use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::bfd::{Path, Settings};
use brindle_bgp::filter::{Filter, FilterAction, FilterRule};
use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::Asn;
use brindle_bgp::rib::NextHopMode;

use super::{address, cidr, time};
use crate::meaning::{Bgp, Peer, Retain as Kept};
use crate::schema::{
    Action, AsNumber, BfdSection, BgpSection, FilterSection, GracefulRestartSection, Lengths,
    ListenSection, MeshSection, NextHop, PeerSection, Retain, RuleSection, Time,
};

/// The section that says it.
pub(super) fn section(bgp: &Bgp) -> BgpSection {
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
            bfd: bgp.mesh_bfd.as_ref().map(bfd),
        },
        hold_time: hold_time(bgp.hold_time),
        connect_retry_time: time(bgp.connect_retry),
        graceful_restart: GracefulRestartSection {
            enabled: bgp.graceful_restart.enabled,
            restart_time: restart_time(bgp.graceful_restart.time),
            long_lived_stale_time: bgp.graceful_restart.long_lived.map(time),
        },
        max_paths: bgp.max_paths,
        peers: bgp.peers.iter().map(peer).collect(),
        filters: used_filters(&bgp.peers).into_iter().map(filter).collect(),
        networks: bgp.networks.iter().map(cidr).collect(),
        drain: super::drain::section(&bgp.drain),
    }
}

fn peer(peer: &Peer) -> PeerSection {
    let names =
        |filters: &Vec<Arc<Filter>>| filters.iter().map(|filter| filter.name.to_string()).collect();
    PeerSection {
        name: peer.name.to_string(),
        peer_ip: address(&peer.address),
        port: peer.port,
        as_number: as_number(peer.asn),
        source_address: peer.source_address.as_ref().map(address),
        passive: peer.passive,
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
        bfd: peer.bfd.as_ref().map(bfd),
    }
}

pub(crate) fn bfd(settings: &Settings) -> BfdSection {
    let Settings { intervals, path } = settings;
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
    }
}

/// Each filter once, in the order in which peers first name it.
fn used_filters(peers: &[Peer]) -> Vec<&Arc<Filter>> {
    let mut used: Vec<&Arc<Filter>> = Vec::new();
    for filter in peers.iter().flat_map(|peer| peer.import.iter().chain(&peer.export).flatten()) {
        if !used.iter().any(|known| known.name == filter.name) {
            used.push(filter);
        }
    }
    used
}

fn filter(filter: &Arc<Filter>) -> FilterSection {
    FilterSection { name: filter.name.to_string(), rules: filter.rules.iter().map(rule).collect() }
}

fn rule(rule: &FilterRule) -> RuleSection {
    RuleSection {
        action: match rule.action {
            FilterAction::Accept => Action::Accept,
            FilterAction::Reject => Action::Reject,
        },
        cidr: rule.cidr.as_ref().map(cidr),
        prefix_lengths: rule.prefix_lengths.as_ref().map(|lengths| {
            if lengths.start() == lengths.end() {
                Lengths::One(*lengths.start())
            } else {
                Lengths::Range(format!("{}-{}", lengths.start(), lengths.end()))
            }
        }),
    }
}

fn as_number(asn: Asn) -> AsNumber {
    AsNumber::Number(asn.get())
}

fn hold_time(hold: HoldTime) -> Time {
    time(Duration::from_secs(hold.secs().into()))
}

fn restart_time(restart: RestartTime) -> Time {
    time(Duration::from_secs(restart.secs().into()))
}
