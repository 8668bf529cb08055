//! Metrics of the routing half.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use brindle_bgp::fsm::State;
use brindle_bgp::net::Family;
use brindle_bgp::rib::PeerCounts;

use super::Metric;
use super::agent::seconds;
use super::bfd::{self, BfdFigures};
use super::bmp;
use crate::bfd::DROP_REASONS;
use crate::bmp::Report;
use crate::drain::Phase;
use crate::fib::FibStatus;
use crate::speaker::{AuthFailures, Faults};

/// The routing half in figures.
#[derive(Clone, Debug, Default)]
pub struct RoutingFigures {
    /// Peers; none before BGP has started.
    pub peers: Vec<PeerFigures>,
    /// BFD packets that were dropped, by [`DROP_REASONS`].
    pub bfd_drops: [u64; DROP_REASONS.len()],
    /// Faults of ours.
    pub faults: Faults,
    /// How far draining is; `None` while the node serves.
    pub drain: Option<Phase>,
    /// The kernel's routes.
    pub fib: Arc<FibStatus>,
    /// What the kernel dropped of connections that are protected.
    pub auth_failures: AuthFailures,
    /// Monitoring stations.
    pub bmp: Vec<Arc<Report>>,
}

/// A peer in figures.
#[derive(Clone, Debug)]
pub struct PeerFigures {
    /// Its name, as configured or as its node's.
    pub name: Arc<str>,
    /// Whether it is a node of the mesh.
    pub is_mesh: bool,
    /// Its state.
    pub state: State,
    /// Since when it is Established; `None` if it is not.
    pub established: Option<SystemTime>,
    /// Whether a family was agreed on, by [`Family::index`].
    pub negotiated: [bool; 2],
    /// Its paths, by [`Family::index`].
    pub counts: [PeerCounts; 2],
    /// The most prefixes that it may tell, by [`Family::index`].
    pub limits: [Option<u32>; 2],
    /// Prefixes that were not taken because it had told more, by [`Family::index`].
    pub beyond: [u64; 2],
    /// Paths beyond the most to one prefix, by family.
    pub beyond_paths: [u64; 2],
    /// Sessions that were Established and ended, by the word for why.
    pub flaps: BTreeMap<&'static str, u64>,
    /// Its BFD session, if it has one.
    pub bfd: Option<BfdFigures>,
}

const STATES: [(&str, State); 6] = [
    ("Idle", State::Idle),
    ("Connect", State::Connect),
    ("Active", State::Active),
    ("OpenSent", State::OpenSent),
    ("OpenConfirm", State::OpenConfirm),
    ("Established", State::Established),
];

const DRAIN_STATES: [(&str, Option<Phase>); 5] = [
    ("serving", None),
    ("announcing", Some(Phase::Announcing)),
    ("withdrawing", Some(Phase::Withdrawing)),
    ("closing", Some(Phase::Closing)),
    ("drained", Some(Phase::Drained)),
];

pub(super) fn metrics(routing: &RoutingFigures) -> Vec<Metric> {
    let mut up = Metric::gauge(
        "brindle_bgp_peer_up",
        "Whether the peer is Established and has agreed on the family",
    );
    let mut states = Metric::gauge("brindle_bgp_peer_state", "The peer's state: one of them is 1");
    let mut since = Metric::gauge(
        "brindle_bgp_peer_established_timestamp_seconds",
        "Since when the peer is Established",
    );
    let mut prefixes = Metric::gauge("brindle_bgp_prefixes", "Prefixes from and to the peer");
    let mut limits =
        Metric::gauge("brindle_bgp_max_prefixes", "The most prefixes that the peer may tell");
    let mut rejected =
        Metric::counter("brindle_bgp_rejected", "Prefixes of the peer that were not taken");
    for peer in &routing.peers {
        let name = &*peer.name;
        let kind = if peer.is_mesh { "mesh" } else { "peer" };
        for family in Family::ALL {
            let label = family_name(family);
            let is_up = peer.state == State::Established && peer.negotiated[family.index()];
            up = up.with([("peer", name), ("kind", kind), ("family", label)], is_up);
            if let Some(most) = peer.limits[family.index()] {
                limits = limits.with([("peer", name), ("family", label)], u64::from(most));
            }
            let counts = peer.counts[family.index()];
            for (set, count) in [
                ("received", counts.received),
                ("accepted", counts.accepted),
                ("rejected", counts.rejected),
                ("stale", counts.stale),
                ("advertised", counts.advertised),
            ] {
                prefixes = prefixes.with([("peer", name), ("family", label), ("set", set)], count);
            }
        }
        rejected = rejected
            .with([("peer", name), ("reason", "max_prefix")], peer.beyond.iter().sum::<u64>())
            .with([("peer", name), ("reason", "max_paths")], peer.beyond_paths.iter().sum::<u64>());
        for (word, state) in STATES {
            states = states.with([("peer", name), ("state", word)], peer.state == state);
        }
        if let Some(established) = peer.established {
            since = since.with([("peer", name)], seconds(established));
        }
    }
    let mut wanted = Metric::gauge("brindle_routes_wanted", "Routes that the kernel shall hold");
    let mut installed = Metric::gauge("brindle_routes_installed", "Routes of ours that it holds");
    for family in Family::ALL {
        let label = [("family", family_name(family))];
        wanted = wanted.with(label, routing.fib.wanted[family.index()]);
        installed = installed.with(label, routing.fib.installed[family.index()]);
    }
    let overruns =
        Metric::counter("brindle_netlink_overruns", "Times that the kernel's events overran us")
            .with([("socket", "routes")], routing.fib.overruns);
    let dropped = &routing.auth_failures;
    let auth_failures = Metric::counter(
        "brindle_bgp_auth_failures",
        "TCP segments that the kernel dropped for their signature or TTL, of all programs here",
    )
    .with([("kind", "md5")], dropped.md5_missing + dropped.md5_unexpected + dropped.md5_wrong)
    .with([("kind", "ao")], dropped.ao_missing + dropped.ao_wrong + dropped.ao_unknown)
    .with([("kind", "ttl")], dropped.ttl);
    let panics = Metric::counter(
        "brindle_task_panics",
        "Times that a fault of ours ended a task, which was started anew",
    )
    .with([("task", "peer")], routing.faults.peers)
    .with([("task", "bfd")], routing.faults.bfd)
    .with([("task", "bmp")], routing.bmp.iter().map(|it| it.figures().faults).sum::<u64>());
    let mut drain = Metric::gauge("brindle_drain_state", "How far draining is: one of them is 1");
    for (word, phase) in DRAIN_STATES {
        drain = drain.with([("state", word)], routing.drain == phase);
    }
    let mut metrics = vec![
        panics,
        drain,
        up,
        states,
        since,
        prefixes,
        limits,
        rejected,
        wanted,
        installed,
        overruns,
        auth_failures,
    ];
    metrics.extend(bfd::metrics(&routing.peers, routing.bfd_drops));
    metrics.extend(bmp::metrics(&routing.bmp));
    metrics
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}
