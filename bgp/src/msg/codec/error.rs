//! NOTIFICATION on the wire (RFC 4271 §4.5), and octets that lead to one.

use bytes::{BufMut, Bytes, BytesMut};

use super::{WireFormat, frame, read};
use crate::msg::Notification;

/// Octets that end the session, as the NOTIFICATION to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct MessageError(pub Notification);

/// Reads the body of a NOTIFICATION; `None` if code or subcode is missing.
pub(super) fn decode_notification(body: &[u8], octets: &Bytes) -> Option<Notification> {
    let (body, code) = read::u8(body).ok()?;
    let (data, subcode) = read::u8(body).ok()?;
    Some(Notification { code, subcode, data: octets.slice_ref(data) })
}

/// Appends a NOTIFICATION; data that does not fit is cut off.
pub(super) fn encode_notification(
    notification: &Notification,
    format: &WireFormat,
    out: &mut BytesMut,
) {
    let start = frame::begin(frame::NOTIFICATION, out);
    out.put_u8(notification.code);
    out.put_u8(notification.subcode);
    let room = format.max_message() - frame::HEADER - 2;
    let data = &notification.data;
    out.put_slice(data.get(..room).unwrap_or(data));
    frame::finish(start, out);
}
