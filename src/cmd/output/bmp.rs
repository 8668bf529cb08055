//! Monitoring stations on a screen.

use super::text::age;
use crate::control::view::{BmpState, BmpStation};

/// `collector 10.0.0.5:11019  streaming since 3d4h, 1200 messages`.
pub(super) fn line(station: &BmpStation) -> String {
    let BmpStation { name, address, state, messages, .. } = station;
    let since = age(station.since_seconds);
    let mut text = match state {
        BmpState::Dumping | BmpState::Streaming => {
            format!("{name} {address}  {state}, connected {since}, {messages} messages")
        }
        BmpState::Dialling | BmpState::Waiting => {
            let error = station.last_error.as_deref().unwrap_or("not tried before");
            format!("{name} {address}  {state}, not connected {since}: {error}")
        }
    };
    if let Some(seconds) = station.next_attempt_seconds {
        text.push_str(&format!("; again in {seconds}s"));
    }
    text
}
