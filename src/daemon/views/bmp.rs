//! Monitoring stations as shown.

use std::net::SocketAddr;

use crate::bmp::{Phase, Report};
use crate::control::view::{BmpState, BmpStation, Clock};

/// A station.
pub(super) fn station(report: &Report, clock: &Clock) -> BmpStation {
    let (state, figures) = (report.state(), report.figures());
    let (since, since_seconds) = clock.past(state.since);
    let (word, next) = match state.phase {
        Phase::Dialling => (BmpState::Dialling, None),
        Phase::Dumping => (BmpState::Dumping, None),
        Phase::Streaming => (BmpState::Streaming, None),
        Phase::Waiting(until) => (BmpState::Waiting, Some(clock.future(until).1)),
    };
    BmpStation {
        name: report.station.name.to_string(),
        address: SocketAddr::new(report.station.address, report.station.port),
        state: word,
        since,
        since_seconds,
        next_attempt_seconds: next,
        last_error: state.last_error.clone(),
        messages: figures.messages,
        dumps: figures.dumps,
        superseded: figures.superseded,
    }
}
