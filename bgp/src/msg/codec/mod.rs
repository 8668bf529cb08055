//! Octets to messages and back.
//!
//! ```text
//! frame -> decode -> open | update | notification | refresh -> Message
//!                              |
//!                              +-> attr (RFC 7606 table, values, multiprotocol), nlri
//! ```
//!
//! Everything that reads foreign octets does so through [`read`], whose parsers cannot leave
//! the slice that they were given; lengths are `usize` and are never added up unchecked.

pub(in crate::msg) mod attr;
mod capability;
mod error;
pub(in crate::msg) mod frame;
pub(in crate::msg) mod nlri;
mod open;
mod read;
mod refresh;
mod update;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{AddPaths, Message, Notification, pack};
use crate::net::Family;

pub use error::MessageError;
pub use frame::frame;

/// What the octets of a wire mean: depends on what was agreed in the OPENs. The default
/// is what holds before that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireFormat {
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_asns: bool,
    /// Messages but OPEN and KEEPALIVE may have 65535 octets instead of 4096 (RFC 8654).
    pub extended_message: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The families that were agreed; prefixes of others are ignored.
    pub families: Vec<Family>,
    /// Where prefixes have path identifiers (RFC 7911).
    pub add_paths: AddPaths,
    /// The peer is in our AS: LOCAL_PREF and reflection attributes count (RFC 7606 §7.5, 7.9, 7.10).
    pub internal: bool,
}

impl WireFormat {
    /// The most octets that an UPDATE, NOTIFICATION or ROUTE-REFRESH may have, header included.
    pub const fn max_message(&self) -> usize {
        if self.extended_message { 65535 } else { 4096 }
    }
}

/// Reads one whole message, header included; see [`frame()`] for where it ends.
///
/// Values of unknown attributes and capabilities share memory with `octets`.
pub fn decode(octets: &Bytes, format: &WireFormat) -> Result<Decoded, MessageError> {
    let (kind, body) = frame::split(octets, format)?;
    let message = match kind {
        frame::OPEN => Message::Open(open::decode(body, octets)?),
        frame::UPDATE => return update::decode(body, octets, format),
        frame::NOTIFICATION => Message::Notification(
            error::decode_notification(body, octets)
                .ok_or_else(|| MessageError(Notification::bad_length(octets.len())))?,
        ),
        frame::KEEPALIVE => Message::Keepalive,
        frame::ROUTE_REFRESH => Message::RouteRefresh(refresh::decode(body, octets)?),
        other => return Err(MessageError(Notification::bad_type(other))),
    };
    Ok(Decoded { message, faults: Vec::new() })
}

/// Appends a message to `out`, an UPDATE as several where one cannot hold it: first what is
/// withdrawn, by family, then each announcement. What cannot be told in this format is
/// withdrawn instead, see [`pack_announce`](crate::msg::pack_announce).
pub fn encode(message: &Message, format: &WireFormat, out: &mut BytesMut) {
    match message {
        Message::Open(open) => open::encode(open, out),
        Message::Update(update) => pack::encode_update(update, format, out),
        Message::EndOfRib(family) => out.put_slice(&pack::end_of_rib(*family)),
        Message::Notification(notification) => {
            error::encode_notification(notification, format, out);
        }
        Message::Keepalive => {
            let start = frame::begin(frame::KEEPALIVE, out);
            frame::finish(start, out);
        }
        Message::RouteRefresh(refresh) => refresh::encode(refresh, out),
    }
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
    /// The attribute type code; 0 for a fault of the list of attributes itself.
    pub code: u8,
    /// What was done.
    pub treatment: Treatment,
    /// What was wrong.
    pub why: String,
}

impl fmt::Display for AttributeFault {
    /// `NEXT_HOP: 3 octets, not 4: prefixes treated as withdrawn`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.treatment)
    }
}

/// What RFC 7606 §2 asks for, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// The attribute was dropped, the prefixes count.
    DiscardAttribute,
    /// The prefixes count as withdrawn.
    TreatAsWithdraw,
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Treatment::DiscardAttribute => "attribute discarded",
            Treatment::TreatAsWithdraw => "prefixes treated as withdrawn",
        })
    }
}
