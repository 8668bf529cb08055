//! The NOTIFICATIONs that the machine itself sends.

use bytes::{BufMut, Bytes, BytesMut};

use crate::msg::{CeaseReason, Message, Notification};
use crate::net::{AfiSafi, Family};

use super::State;

/// The longest text of a shutdown or reset, in octets (RFC 9003 §2).
const TEXT_LIMIT: usize = 255;

fn notification(code: u8, subcode: u8) -> Notification {
    Notification { code, subcode, data: Bytes::new() }
}

/// 2/2: the peer is in another AS than it should be (RFC 4271 §6.2).
pub(super) fn bad_peer_as() -> Notification {
    notification(2, 2)
}

/// 2/3: the peer's BGP Identifier cannot be its own (RFC 4271 §6.2, RFC 6286 §2.2).
pub(super) fn bad_bgp_identifier() -> Notification {
    notification(2, 3)
}

/// 2/7: none of the families that we need was offered. The data are the capabilities that
/// were missing, as an OPEN would carry them (RFC 5492 §5).
pub(super) fn no_common_family(ours: &[Family]) -> Notification {
    let mut data = BytesMut::with_capacity(ours.len() * 6);
    for &family in ours {
        let AfiSafi { afi, safi } = family.into();
        data.put_slice(&[1, 4]);
        data.put_u16(afi);
        data.put_slice(&[0, safi]);
    }
    Notification { code: 2, subcode: 7, data: data.freeze() }
}

/// 4/0: nothing came in for the hold time (RFC 4271 §6.5).
pub(super) fn hold_timer_expired() -> Notification {
    notification(4, 0)
}

/// 5/1 to 5/3: a message that has no place in the state; the data are its type (RFC 6608 §3).
pub(super) fn unexpected(message: &Message, state: State) -> Notification {
    let subcode = match state {
        State::OpenSent => 1,
        State::OpenConfirm => 2,
        State::Established => 3,
        State::Idle | State::Connect | State::Active => 0,
    };
    let kind = match message {
        Message::Open(_) => 1,
        Message::Update(_) | Message::EndOfRib(_) => 2,
        Message::Notification(_) => 3,
        Message::Keepalive => 4,
        Message::RouteRefresh(_) => 5,
    };
    Notification { code: 5, subcode, data: Bytes::copy_from_slice(&[kind]) }
}

/// 8/0: nothing could be written for the send hold time (RFC 9687 §3).
pub(super) fn send_hold_timer_expired() -> Notification {
    notification(8, 0)
}

/// 6/7: another wire won the collision (RFC 4486 §4).
pub(super) fn collision() -> Notification {
    cease(CeaseReason::ConnectionCollisionResolution, None)
}

/// 6/5: the session is not wanted now (RFC 4486 §4).
pub(super) fn connection_rejected() -> Notification {
    cease(CeaseReason::ConnectionRejected, None)
}

/// Whether this is 6/7, which says nothing against the session itself.
pub(super) fn is_collision(notification: &Notification) -> bool {
    (notification.code, notification.subcode) == (6, 7)
}

/// 6/x. The text goes along where the reason allows one (RFC 9003 §2). A hard reset wraps
/// an administrative reset with that text (RFC 8538 §3).
pub(super) fn cease(reason: CeaseReason, text: Option<&str>) -> Notification {
    let data = match reason {
        CeaseReason::AdministrativeShutdown | CeaseReason::AdministrativeReset => {
            text.map(shutdown_text).unwrap_or_default()
        }
        CeaseReason::HardReset => {
            let mut data = BytesMut::from(&[6, subcode(CeaseReason::AdministrativeReset)][..]);
            data.put(text.map(shutdown_text).unwrap_or_default());
            data.freeze()
        }
        CeaseReason::MaximumPrefixesReached
        | CeaseReason::PeerDeconfigured
        | CeaseReason::ConnectionRejected
        | CeaseReason::OtherConfigurationChange
        | CeaseReason::ConnectionCollisionResolution
        | CeaseReason::OutOfResources
        | CeaseReason::BfdDown => Bytes::new(),
    };
    Notification { code: 6, subcode: subcode(reason), data }
}

fn subcode(reason: CeaseReason) -> u8 {
    match reason {
        CeaseReason::MaximumPrefixesReached => 1,
        CeaseReason::AdministrativeShutdown => 2,
        CeaseReason::PeerDeconfigured => 3,
        CeaseReason::AdministrativeReset => 4,
        CeaseReason::ConnectionRejected => 5,
        CeaseReason::OtherConfigurationChange => 6,
        CeaseReason::ConnectionCollisionResolution => 7,
        CeaseReason::OutOfResources => 8,
        CeaseReason::HardReset => 9,
        CeaseReason::BfdDown => 10,
    }
}

/// A length octet and the text, cut to 255 octets between two characters.
fn shutdown_text(text: &str) -> Bytes {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|&end| end <= TEXT_LIMIT).last().unwrap_or(0);
    let cut = &text[..end];
    let mut data = BytesMut::with_capacity(1 + cut.len());
    data.put_u8(u8::try_from(cut.len()).expect("a text is cut to 255 octets"));
    data.put_slice(cut.as_bytes());
    data.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_along_where_the_reason_allows_one_and_is_cut_between_characters() {
        let long = format!("{}é", "a".repeat(254));
        let cut = {
            let mut data = vec![254];
            data.extend_from_slice("a".repeat(254).as_bytes());
            data
        };
        for (reason, text, subcode, data) in [
            (CeaseReason::AdministrativeShutdown, Some("bye"), 2, b"\x03bye".to_vec()),
            (CeaseReason::AdministrativeReset, Some("again"), 4, b"\x05again".to_vec()),
            (CeaseReason::AdministrativeShutdown, Some(""), 2, b"\x00".to_vec()),
            (CeaseReason::AdministrativeShutdown, None, 2, b"".to_vec()),
            (CeaseReason::AdministrativeShutdown, Some(&*long), 2, cut),
            (CeaseReason::PeerDeconfigured, Some("no text here"), 3, b"".to_vec()),
            (CeaseReason::HardReset, Some("now"), 9, b"\x06\x04\x03now".to_vec()),
            (CeaseReason::HardReset, None, 9, b"\x06\x04".to_vec()),
        ] {
            let got = cease(reason, text);
            let want = Notification { code: 6, subcode, data: data.into() };
            assert_eq!(got, want, "{reason:?} {text:?}");
        }
    }

    #[test]
    fn the_capabilities_that_were_missing_are_listed_as_an_open_carries_them() {
        let data = no_common_family(&Family::ALL).data;
        assert_eq!(&data[..], [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]);
    }
}
