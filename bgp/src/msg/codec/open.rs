//! OPEN on the wire (RFC 4271 §4.2, RFC 5492, RFC 9072).

use bytes::{BufMut, Bytes, BytesMut};

use super::read::{self, Read};
use super::{MessageError, capability, frame};
use crate::msg::{Capability, HoldTime, Notification, Open};
use crate::net::RouterId;

/// The one version of BGP.
const VERSION: u8 = 4;
/// The optional parameter that holds capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// Says that lengths of parameters have two octets (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// Reads the body of an OPEN. Fields are checked in their order (RFC 4271 §6.2); whether it
/// is the peer that we expect is for the session to say.
pub(super) fn decode(body: &[u8], octets: &Bytes) -> Result<Open, MessageError> {
    let malformed = |_| MessageError(Notification::malformed_open());
    let (rest, version) = read::u8(body).map_err(malformed)?;
    if version != VERSION {
        return Err(MessageError(Notification::unsupported_version()));
    }
    let (rest, my_as) = read::u16(rest).map_err(malformed)?;
    let (rest, hold_time) = read::u16(rest).map_err(malformed)?;
    let (rest, router_id) = read::u32(rest).map_err(malformed)?;
    if my_as == 0 {
        return Err(MessageError(Notification::bad_peer_as()));
    }
    let hold_time = HoldTime::from_secs(hold_time)
        .map_err(|_| MessageError(Notification::unacceptable_hold_time()))?;
    let router_id =
        RouterId::new(router_id).map_err(|_| MessageError(Notification::bad_router_id()))?;
    let capabilities = parameters(rest, octets)?;
    let zero = |capability: &Capability| matches!(capability, Capability::FourOctetAsn(0));
    if capabilities.iter().any(zero) {
        return Err(MessageError(Notification::bad_peer_as()));
    }
    Ok(Open { my_as, hold_time, router_id, capabilities })
}

/// Reads the optional parameters from their length on: one or more with any number of
/// capabilities each.
fn parameters(input: &[u8], octets: &Bytes) -> Result<Vec<Capability>, MessageError> {
    let malformed = |_| MessageError(Notification::malformed_open());
    let (_, (field, is_extended)) = parameter_field(input).map_err(malformed)?;
    let mut capabilities = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        let (after, kind) = read::u8(rest).map_err(malformed)?;
        let take = if is_extended { read::take_u16 } else { read::take_u8 };
        let (after, value) = take(after).map_err(malformed)?;
        if kind != CAPABILITIES {
            return Err(MessageError(Notification::unsupported_parameter()));
        }
        let mut value = value;
        while !value.is_empty() {
            let (next, capability) = capability::decode(value, octets).map_err(malformed)?;
            capabilities.push(capability);
            value = next;
        }
        rest = after;
    }
    Ok(capabilities)
}

/// The field of optional parameters, and whether their lengths have two octets. It must fill
/// the message.
fn parameter_field(input: &[u8]) -> Read<'_, (&[u8], bool)> {
    let (rest, length) = read::u8(input)?;
    // RFC 9072 §2: the first type says it; the length before it, unless zero, says nothing then.
    let is_extended = length != 0 && rest.first() == Some(&EXTENDED);
    let (end, field) = if is_extended {
        let (rest, _) = read::u8(rest)?;
        read::take_u16(rest)?
    } else {
        read::take(length.into(), rest)?
    };
    if end.is_empty() { Ok((end, (field, is_extended))) } else { Err(nom::Err::Error(())) }
}

/// Appends an OPEN: all capabilities in one parameter, with the lengths of RFC 9072 only
/// where they need these. Capabilities that would take the message over 4096 octets, which
/// an OPEN never exceeds (RFC 8654 §4), are left out.
pub(super) fn encode(open: &Open, out: &mut BytesMut) {
    /// Header, fixed fields, and the lengths of RFC 9072.
    const FIXED: usize = frame::HEADER + 10 + 6;
    let mut capabilities = BytesMut::new();
    for capability in &open.capabilities {
        let before = capabilities.len();
        capability::encode(capability, &mut capabilities);
        if FIXED + capabilities.len() > 4096 {
            capabilities.truncate(before);
        }
    }
    let start = frame::begin(frame::OPEN, out);
    out.put_u8(VERSION);
    out.put_u16(open.my_as);
    out.put_u16(open.hold_time.secs());
    out.put_u32(open.router_id.get());
    match u8::try_from(capabilities.len()) {
        Ok(0) => out.put_u8(0),
        Ok(length @ ..=253) => out.put_slice(&[length + 2, CAPABILITIES, length]),
        _ => {
            out.put_slice(&[EXTENDED, EXTENDED]);
            let length = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
            out.put_u16(length.saturating_add(3));
            out.put_u8(CAPABILITIES);
            out.put_u16(length);
        }
    }
    out.put_slice(&capabilities);
    frame::finish(start, out);
}
