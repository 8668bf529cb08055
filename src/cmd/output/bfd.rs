//! The BFD session of a peer as lines of its screen.

use super::text::age;
use crate::control::view::{Bfd, BfdRemote};

/// Titles and what stands behind them.
pub(super) fn lines(bfd: &Bfd) -> Vec<(&'static str, String)> {
    let hops = if bfd.multihop { ", multihop" } else { "" };
    let from = bfd.local.map(|local| format!(", from {local}")).unwrap_or_default();
    let state = format!("{} for {}{hops}{from}", bfd.state, age(bfd.since_seconds));
    let detects = match bfd.detection_time_milliseconds {
        Some(time) => format!("lost after {time} ms of silence"),
        None => "nothing heard of the peer".to_owned(),
    };
    let times = format!(
        "we send every {} ms, the peer every {} ms; {detects}",
        bfd.transmit_interval_milliseconds, bfd.receive_interval_milliseconds
    );
    let ours = format!("{}, discriminator {}", bfd.diagnostic, bfd.discriminator);
    let mut lines = vec![("bfd", state)];
    lines.extend(bfd.problem.as_ref().map(|problem| ("bfd problem", problem.clone())));
    lines.extend([("bfd times", times), ("bfd, we", ours)]);
    lines.extend(bfd.remote.as_ref().map(|remote| ("bfd, peer", peer(remote))));
    let packets = format!("{} sent, {} received", bfd.sent, bfd.received);
    lines.push(("bfd packets", packets));
    let failures = match &bfd.last_failure {
        Some(why) => format!("{}, the last one: {why}", bfd.failures),
        None => "none".to_owned(),
    };
    lines.push(("bfd failures", failures));
    lines
}

fn peer(remote: &BfdRemote) -> String {
    let mut words = vec![
        remote.state.to_string(),
        remote.diagnostic.clone(),
        format!("discriminator {}", remote.discriminator),
        format!("would send every {} ms", remote.desired_transmit_milliseconds),
        format!("can receive every {} ms", remote.required_receive_milliseconds),
        format!("{} may be missing", remote.multiplier),
    ];
    if remote.independent {
        words.push("outlives its control plane".to_owned());
    }
    if remote.demand {
        words.push("wants no packets while Up".to_owned());
    }
    words.join(", ")
}
