//! Why a session ends.

use bytes::Bytes;

/// A NOTIFICATION message (RFC 4271 §4.5): error code, subcode and data as they stand on
/// the wire. Constructors name the ones that we send; `Display` names all that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is unspecific.
    pub subcode: u8,
    /// Data, whose meaning depends on code and subcode.
    pub data: Bytes,
}

/// A subcode of Cease (RFC 4486, RFC 8538 §3.1, RFC 9384).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CeaseReason {
    /// 1: more prefixes than allowed.
    MaximumPrefixesReached,
    /// 2: shut down by an operator; may carry a text (RFC 9003).
    AdministrativeShutdown,
    /// 3: the peer was removed from the configuration.
    PeerDeconfigured,
    /// 4: reset by an operator; may carry a text (RFC 9003).
    AdministrativeReset,
    /// 5: not willing to accept the connection.
    ConnectionRejected,
    /// 6: configuration changed.
    OtherConfigurationChange,
    /// 7: the other connection won the collision.
    ConnectionCollisionResolution,
    /// 8: short of memory or the like.
    OutOfResources,
    /// 9: a hard reset, with the true code inside (RFC 8538).
    HardReset,
    /// 10: BFD says down (RFC 9384).
    BfdDown,
}
