//! The message header (RFC 4271 §4.1) and where a message ends.

use bytes::{BufMut, BytesMut};

use super::{MessageError, WireFormat, read};
use crate::msg::Notification;

/// Octets of the header.
pub(in crate::msg) const HEADER: usize = 19;
/// Where the two octets of the length stand.
pub(in crate::msg) const LENGTH_AT: usize = 16;
/// Sixteen octets of ones (RFC 4271 §4.1).
const MARKER: [u8; 16] = [0xFF; 16];

pub(super) const OPEN: u8 = 1;
pub(in crate::msg) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
pub(super) const ROUTE_REFRESH: u8 = 5;

/// The length of the message that `buffer` begins with, header included; `None` if the
/// header is not there yet. The message itself may be incomplete.
///
/// Fails as early as the octets show it: a marker that is not all ones, a length that no
/// message or none of its type may have, an unknown type (RFC 4271 §6.1, RFC 8654 §4).
pub fn frame(buffer: &[u8], format: &WireFormat) -> Result<Option<usize>, MessageError> {
    let marker = buffer.get(..MARKER.len()).unwrap_or(buffer);
    if marker.iter().any(|&octet| octet != 0xFF) {
        return Err(MessageError(Notification::not_synchronized()));
    }
    let Some(Ok((after, length))) = buffer.get(LENGTH_AT..).map(read::u16) else {
        return Ok(None);
    };
    let length = usize::from(length);
    if length < HEADER {
        return Err(MessageError(Notification::bad_length(length)));
    }
    let Some(&kind) = after.first() else { return Ok(None) };
    let allowed = match kind {
        OPEN => 29..=4096,
        UPDATE => 23..=format.max_message(),
        NOTIFICATION => 21..=format.max_message(),
        KEEPALIVE => HEADER..=HEADER,
        // Its own RFCs say what a wrong length means: left to the decoder.
        ROUTE_REFRESH => HEADER..=format.max_message(),
        // RFC 4271 §6.1 names the type only if the length is right.
        _ if length > format.max_message() => {
            return Err(MessageError(Notification::bad_length(length)));
        }
        _ => return Err(MessageError(Notification::bad_type(kind))),
    };
    if !allowed.contains(&length) {
        return Err(MessageError(Notification::bad_length(length)));
    }
    Ok(Some(length))
}

/// The type and the body of the one message that `octets` are.
pub(super) fn split<'a>(
    octets: &'a [u8],
    format: &WireFormat,
) -> Result<(u8, &'a [u8]), MessageError> {
    let bad_length = || MessageError(Notification::bad_length(octets.len()));
    let length = frame(octets, format)?.ok_or_else(bad_length)?;
    if length != octets.len() {
        return Err(MessageError(Notification::bad_length(length)));
    }
    match octets.get(HEADER - 1..).map(read::u8) {
        Some(Ok((body, kind))) => Ok((kind, body)),
        _ => Err(bad_length()),
    }
}

/// Appends a header whose length [`finish`] fills in; returns where the message begins.
pub(in crate::msg) fn begin(kind: u8, out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_slice(&MARKER);
    out.put_u16(0);
    out.put_u8(kind);
    start
}

/// Fills in the length of the message that began at `start` and ends here.
pub(in crate::msg) fn finish(start: usize, out: &mut BytesMut) {
    let length = out.len() - start;
    patch(out, start + LENGTH_AT, length);
}

/// Writes `value` over the two octets at `position`. Callers keep messages under 65536
/// octets; if they did not, the length would be too small rather than wrapped.
pub(in crate::msg) fn patch(out: &mut [u8], position: usize, value: usize) {
    let value = u16::try_from(value).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(position..position + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
