//! States and diagnostics by number and name (RFC 5880 §4.1).

use std::fmt;

/// State of a session, ours or as the peer reports its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Switched off by an operator: says nothing about the path.
    AdminDown,
    /// Nothing is heard of the peer.
    Down,
    /// The peer is heard, and does not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// The two bits of the Sta field.
    pub(super) fn bits(self) -> u8 {
        match self {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        }
    }

    /// From the lowest two bits; the others do not count.
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }
}

impl fmt::Display for State {
    /// The name that RFC 5880 gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}

/// Why a session is in the state that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    /// 0: no reason to give.
    None,
    /// 1: nothing came for the detection time.
    DetectionTimeExpired,
    /// 2: the Echo function failed.
    EchoFailed,
    /// 3: the other side said that it is down.
    NeighborSignaledDown,
    /// 4: the forwarding plane was reset.
    ForwardingReset,
    /// 5: the path is down.
    PathDown,
    /// 6: a path behind this one is down.
    ConcatenatedPathDown,
    /// 7: an operator wants it down.
    AdministrativelyDown,
    /// 8: a path behind this one is down in the other direction.
    ReverseConcatenatedPathDown,
    /// Any other.
    Unknown(u8),
}

impl Diagnostic {
    /// The five bits of the Diag field.
    pub fn bits(self) -> u8 {
        match self {
            Diagnostic::None => 0,
            Diagnostic::DetectionTimeExpired => 1,
            Diagnostic::EchoFailed => 2,
            Diagnostic::NeighborSignaledDown => 3,
            Diagnostic::ForwardingReset => 4,
            Diagnostic::PathDown => 5,
            Diagnostic::ConcatenatedPathDown => 6,
            Diagnostic::AdministrativelyDown => 7,
            Diagnostic::ReverseConcatenatedPathDown => 8,
            Diagnostic::Unknown(bits) => bits & 0x1f,
        }
    }

    /// From the lowest five bits; the others do not count.
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits & 0x1f {
            0 => Diagnostic::None,
            1 => Diagnostic::DetectionTimeExpired,
            2 => Diagnostic::EchoFailed,
            3 => Diagnostic::NeighborSignaledDown,
            4 => Diagnostic::ForwardingReset,
            5 => Diagnostic::PathDown,
            6 => Diagnostic::ConcatenatedPathDown,
            7 => Diagnostic::AdministrativelyDown,
            8 => Diagnostic::ReverseConcatenatedPathDown,
            other => Diagnostic::Unknown(other),
        }
    }
}

impl fmt::Display for Diagnostic {
    /// The words of RFC 5880 §4.1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Diagnostic::None => "No Diagnostic",
            Diagnostic::DetectionTimeExpired => "Control Detection Time Expired",
            Diagnostic::EchoFailed => "Echo Function Failed",
            Diagnostic::NeighborSignaledDown => "Neighbor Signaled Session Down",
            Diagnostic::ForwardingReset => "Forwarding Plane Reset",
            Diagnostic::PathDown => "Path Down",
            Diagnostic::ConcatenatedPathDown => "Concatenated Path Down",
            Diagnostic::AdministrativelyDown => "Administratively Down",
            Diagnostic::ReverseConcatenatedPathDown => "Reverse Concatenated Path Down",
            Diagnostic::Unknown(bits) => return write!(f, "diagnostic {bits}"),
        })
    }
}
