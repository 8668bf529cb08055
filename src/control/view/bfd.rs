//! The BFD session with a peer.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Time;

/// The BFD session with a peer, both sides of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bfd {
    /// The state of our side.
    pub state: BfdState,
    /// When it came into this state.
    pub since: Time,
    /// Since then.
    pub since_seconds: u64,
    /// Why it is in this state, in the words of RFC 5880 §4.1.
    pub diagnostic: String,
    /// Why packets cannot be sent or received; absent where they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Our address, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Whether there may be routers between (RFC 5883).
    pub multihop: bool,
    /// Milliseconds between packets of ours, before jitter.
    pub transmit_interval_milliseconds: f64,
    /// Milliseconds between packets of the peer, before jitter.
    pub receive_interval_milliseconds: f64,
    /// How many of our packets may be missing before the peer takes us for lost.
    pub multiplier: u8,
    /// Milliseconds of silence after which the peer counts as lost; absent while it is not
    /// heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_time_milliseconds: Option<f64>,
    /// Our discriminator.
    pub discriminator: u32,
    /// What the peer says of its side; absent while it is not heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<BfdRemote>,
    /// Times that the path failed while the session was Up.
    pub failures: u64,
    /// How the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Packets sent since the agent started.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
}

/// The peer's side of a BFD session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdRemote {
    /// Its state.
    pub state: BfdState,
    /// Why it is in this state, in the words of RFC 5880 §4.1.
    pub diagnostic: String,
    /// Its discriminator.
    pub discriminator: u32,
    /// It would send so often.
    pub desired_transmit_milliseconds: f64,
    /// It can receive so often; 0 wants no periodic packets.
    pub required_receive_milliseconds: f64,
    /// How many of its packets may be missing.
    pub multiplier: u8,
    /// Its BFD outlives its control plane (C bit).
    pub independent: bool,
    /// It would have no periodic packets while both are Up (Demand mode).
    pub demand: bool,
}

/// The state of one side of a BFD session (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BfdState {
    /// Switched off by an operator.
    AdminDown,
    /// Nothing is heard of the other side.
    Down,
    /// The other side is heard.
    Init,
    /// Both hear each other.
    Up,
}

impl fmt::Display for BfdState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BfdState::AdminDown => "AdminDown",
            BfdState::Down => "Down",
            BfdState::Init => "Init",
            BfdState::Up => "Up",
        })
    }
}
