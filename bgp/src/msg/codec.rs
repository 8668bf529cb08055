//! Octets to messages and back.

use bytes::{Bytes, BytesMut};

use super::{Message, Notification};
use crate::net::Family;

/// What the octets of a wire mean: depends on what was agreed in the OPENs. The default
/// is what holds before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireFormat {
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_asns: bool,
    /// Messages but OPEN and KEEPALIVE may have 65535 octets instead of 4096 (RFC 8654).
    pub extended_message: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The families that were agreed; prefixes of others are ignored.
    pub families: Vec<Family>,
    /// The peer is in our AS: LOCAL_PREF and reflection attributes count (RFC 7606 §7.5, 7.9, 7.10).
    pub internal: bool,
}

impl Default for WireFormat {
    fn default() -> Self {
        Self {
            four_octet_asns: false,
            extended_message: false,
            extended_next_hop: false,
            families: Vec::new(),
            internal: false,
        }
    }
}

/// The length of the message that `buffer` begins with, header included; `None` if the
/// length field is not there yet. The message itself may be incomplete.
pub fn frame(buffer: &[u8], format: &WireFormat) -> Result<Option<usize>, MessageError> {
    let _ = (buffer, format);
    Ok(None)
}

/// Reads one whole message, header included.
pub fn decode(octets: &Bytes, format: &WireFormat) -> Result<Decoded, MessageError> {
    let _ = (octets, format);
    Err(MessageError(Notification { code: 1, subcode: 0, data: Bytes::new() }))
}

/// Appends a message to `out`, an UPDATE that is too long for one as several.
pub fn encode(message: &Message, format: &WireFormat, out: &mut BytesMut) {
    let _ = (message, format, out);
}

/// A message and what was wrong with it that did not end the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The message, after RFC 7606 treatment: prefixes of an announcement that must be
    /// treated as withdrawn stand in `withdrawn`.
    pub message: Message,
    /// Each malformed attribute, for counters and the log.
    pub faults: Vec<AttributeFault>,
}

/// A malformed attribute and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFault {
    /// The attribute type code.
    pub code: u8,
    /// What was done.
    pub treatment: Treatment,
    /// What was wrong.
    pub why: String,
}

/// What RFC 7606 §2 asks for, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// The attribute was dropped, the prefixes count.
    DiscardAttribute,
    /// The prefixes count as withdrawn.
    TreatAsWithdraw,
}

/// Octets that end the session, as the NOTIFICATION to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message, code {} subcode {}", .0.code, .0.subcode)]
pub struct MessageError(pub Notification);
