//! What a session is set up with.

use std::num::NonZeroU8;
use std::time::Duration;

/// What an operator says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often, and how many may be missing.
    pub intervals: Intervals,
    /// How far away the peer is.
    pub path: Path,
    /// Whether a failure may be a graceful restart of the peer: it may unless the peer's BFD
    /// outlives its control plane (RFC 5882 §4.3). If not, any failure is one of the path.
    pub graceful_restart: bool,
}

impl Settings {
    /// A session over one hop with the usual intervals.
    pub const DEFAULT: Self =
        Self { intervals: Intervals::DEFAULT, path: Path::SingleHop, graceful_restart: true };
}

/// How often packets go and come, and how many may be missing (RFC 5880 §6.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// We would send this often (bfd.DesiredMinTxInterval); while the session is not Up no
    /// more than once a second.
    pub transmit: Duration,
    /// We can take a packet this often (bfd.RequiredMinRxInterval).
    pub receive: Duration,
    /// The peer takes us for lost when this many of our packets are missing (bfd.DetectMult).
    pub multiplier: NonZeroU8,
}

impl Intervals {
    /// Every 300 ms, three may be missing.
    pub const DEFAULT: Self = Self {
        transmit: Duration::from_millis(300),
        receive: Duration::from_millis(300),
        multiplier: NonZeroU8::new(3).expect("three is not zero"),
    };
}

/// How far away a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// On a link of ours: its packets have the TTL 255 that nobody on the way has lowered
    /// (RFC 5881 §5).
    SingleHop,
    /// Behind routers (RFC 5883).
    Multihop {
        /// Packets that arrive with a lower TTL come from further away than the peer is.
        min_ttl: u8,
    },
}

impl Path {
    /// The UDP port that packets go to (RFC 5881 §4, RFC 5883 §5).
    pub fn port(self) -> u16 {
        match self {
            Path::SingleHop => super::PORT_SINGLE_HOP,
            Path::Multihop { .. } => super::PORT_MULTIHOP,
        }
    }

    /// The least TTL that a packet of the peer can arrive with.
    pub fn min_ttl(self) -> u8 {
        match self {
            Path::SingleHop => u8::MAX,
            Path::Multihop { min_ttl } => min_ttl,
        }
    }
}
