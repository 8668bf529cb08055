//! BFD sessions as shown.

use std::sync::atomic::Ordering;
use std::time::Duration;

use brindle_bgp::bfd::{Path, Remote, State};

use crate::bfd::Report;
use crate::control::view::{Bfd, BfdRemote, BfdState, Clock};

/// The session that is told of there, if there is one.
pub(super) fn bfd(report: &Report, clock: &Clock) -> Option<Bfd> {
    let status = report.status();
    let seen = status.seen?;
    let (since, since_seconds) = clock.past(seen.since);
    let counters = report.counters();
    Some(Bfd {
        state: state(seen.state),
        since,
        since_seconds,
        diagnostic: seen.diagnostic.to_string(),
        problem: seen.problem,
        local: seen.local,
        multihop: matches!(seen.settings.path, Path::Multihop { .. }),
        transmit_interval_milliseconds: milliseconds(seen.transmit_interval),
        receive_interval_milliseconds: milliseconds(seen.receive_interval),
        multiplier: seen.settings.intervals.multiplier.get(),
        detection_time_milliseconds: seen.detection_time.map(milliseconds),
        discriminator: seen.discriminator.get(),
        remote: remote(&seen.remote),
        failures: status.failures,
        last_failure: status.last_failure.map(|failure| failure.why),
        sent: counters.sent.load(Ordering::Relaxed),
        received: counters.received.load(Ordering::Relaxed),
    })
}

/// What there is to say beside a BGP session whose BFD session is not up: only its hold time would
/// notice that the path has failed.
pub(super) fn lack(report: &Report) -> Option<String> {
    let seen = report.status().seen.filter(|seen| seen.state != State::Up)?;
    let remote = seen.remote.discriminator.map(|_| seen.remote.state);
    let why = match (seen.problem, remote) {
        (Some(problem), _) => problem,
        (None, None) => "nothing is heard of the peer's; does it have BFD for us?".to_owned(),
        (None, Some(State::AdminDown)) => "the peer has switched it off".to_owned(),
        (None, Some(state)) => format!("the peer's is {state}"),
    };
    Some(format!("BFD is {}: {why}", seen.state))
}

fn remote(remote: &Remote) -> Option<BfdRemote> {
    Some(BfdRemote {
        discriminator: remote.discriminator?.get(),
        state: state(remote.state),
        diagnostic: remote.diagnostic.to_string(),
        desired_transmit_milliseconds: milliseconds(remote.desired_min_tx),
        required_receive_milliseconds: milliseconds(remote.required_min_rx),
        multiplier: remote.multiplier.get(),
        independent: remote.is_independent,
        demand: remote.is_demand,
    })
}

fn state(state: State) -> BfdState {
    match state {
        State::AdminDown => BfdState::AdminDown,
        State::Down => BfdState::Down,
        State::Init => BfdState::Init,
        State::Up => BfdState::Up,
    }
}

/// With the microseconds that the protocol has, and not what a float makes of them.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
