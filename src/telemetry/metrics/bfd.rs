//! Metrics of BFD, and of why sessions ended.

use brindle_bgp::bfd::State;

use super::Metric;
use super::routing::PeerFigures;
use crate::bfd::DROP_REASONS;

/// The BFD session of a peer in figures.
#[derive(Clone, Debug)]
pub struct BfdFigures {
    /// Its state.
    pub state: State,
    /// How long the peer may be silent, in seconds; zero while it is not heard.
    pub detection_seconds: f64,
    /// Packets sent and received.
    pub packets: [u64; 2],
}

pub(super) fn metrics(peers: &[PeerFigures], drops: [u64; DROP_REASONS.len()]) -> Vec<Metric> {
    let mut flaps = Metric::counter(
        "brindle_bgp_peer_flaps",
        "Sessions that were Established and ended, by why",
    );
    let mut up = Metric::gauge("brindle_bgp_bfd_up", "Whether the peer's BFD session is Up");
    let mut detection = Metric::gauge(
        "brindle_bgp_bfd_detection_seconds",
        "Silence after which the peer counts as lost; 0 while it is not heard",
    );
    let mut packets = Metric::counter("brindle_bgp_bfd_packets", "BFD packets of the peer");
    for peer in peers {
        let name = &*peer.name;
        for (reason, count) in &peer.flaps {
            flaps = flaps.with([("peer", name), ("reason", *reason)], *count);
        }
        let Some(bfd) = &peer.bfd else { continue };
        up = up.with([("peer", name)], bfd.state == State::Up);
        detection = detection.with([("peer", name)], bfd.detection_seconds);
        for (direction, count) in ["sent", "received"].into_iter().zip(bfd.packets) {
            packets = packets.with([("peer", name), ("direction", direction)], count);
        }
    }
    let mut dropped =
        Metric::counter("brindle_bgp_bfd_dropped", "BFD packets that were dropped, by why");
    let is_used = peers.iter().any(|peer| peer.bfd.is_some());
    for (reason, count) in DROP_REASONS.into_iter().zip(drops).filter(|_| is_used) {
        dropped = dropped.with([("reason", reason)], count);
    }
    vec![flaps, up, detection, packets, dropped]
}
