//! ROUTE-REFRESH on the wire (RFC 2918 §3, RFC 7313 §3.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::{MessageError, frame, read};
use crate::msg::{Notification, Refresh, RouteRefresh};
use crate::net::AfiSafi;

/// Reads the body of a ROUTE-REFRESH, which has four octets.
///
/// Of another length it is a ROUTE-REFRESH Message Error if it marks a begin or an end
/// (RFC 7313 §5), and a Message Header Error else.
pub(super) fn decode(body: &[u8], octets: &Bytes) -> Result<RouteRefresh, MessageError> {
    let Some([afi_high, afi_low, subtype, safi]) = read::exactly(body) else {
        let marks = matches!(body.get(2), Some(1 | 2));
        return Err(MessageError(if marks {
            Notification::bad_refresh_length(octets.clone())
        } else {
            Notification::bad_length(octets.len())
        }));
    };
    let kind = match subtype {
        0 => Refresh::Request,
        1 => Refresh::Begin,
        2 => Refresh::End,
        other => Refresh::Unknown(other),
    };
    let afi = u16::from_be_bytes([afi_high, afi_low]);
    Ok(RouteRefresh { family: AfiSafi { afi, safi }, kind })
}

/// Appends a ROUTE-REFRESH.
pub(super) fn encode(refresh: &RouteRefresh, out: &mut BytesMut) {
    let start = frame::begin(frame::ROUTE_REFRESH, out);
    out.put_u16(refresh.family.afi);
    out.put_u8(match refresh.kind {
        Refresh::Request => 0,
        Refresh::Begin => 1,
        Refresh::End => 2,
        Refresh::Unknown(other) => other,
    });
    out.put_u8(refresh.family.safi);
    frame::finish(start, out);
}
