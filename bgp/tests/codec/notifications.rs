//! NOTIFICATIONs: the text of a Cease (RFC 9003), a hard reset (RFC 8538), and what an
//! operator reads.

use brindle_bgp::msg::{CeaseReason, Message, Notification, UnexpectedIn};
use bytes::Bytes;

use crate::support::{format, formats, hex, message, read, write};

/// A NOTIFICATION as a peer may have made it.
fn from_peer(code: u8, subcode: u8, data: &[u8]) -> Notification {
    let octets = message(3, &[&[code, subcode], data].concat());
    match read(&octets, &format(0)).unwrap().message {
        Message::Notification(notification) => notification,
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_of_every_length_are_carried() {
    for length in [0, 1, 127, 128, 129, 254, 255] {
        let text = "x".repeat(length);
        for reason in [CeaseReason::AdministrativeShutdown, CeaseReason::AdministrativeReset] {
            let sent = Notification::cease(reason, Some(&text));
            assert_eq!(sent.data.len(), 1 + length);
            for format in formats() {
                let octets = write(&Message::Notification(sent.clone()), &format);
                let Message::Notification(got) = read(&octets, &format).unwrap().message else {
                    panic!("a NOTIFICATION");
                };
                assert_eq!(got.cease_reason(), Some(reason));
                let want = Some(text.as_bytes()).filter(|text| !text.is_empty());
                assert_eq!(got.text(), want, "{length} octets");
            }
        }
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_at_a_character() {
    for (character, want) in [("x", 255), ("é", 254), ("€", 255), ("🦀", 252)] {
        let sent =
            Notification::cease(CeaseReason::AdministrativeShutdown, Some(&character.repeat(300)));
        let text = sent.text().unwrap();
        assert_eq!(text.len(), want, "{character}");
        assert!(std::str::from_utf8(text).is_ok(), "{character}");
    }
}

#[test]
fn reasons_without_text_carry_none() {
    for reason in CeaseReason::ALL {
        let with = Notification::cease(reason, Some("why"));
        let without = Notification::cease(reason, None);
        assert_eq!((with.code, with.subcode), (6, reason.subcode()));
        assert_eq!(CeaseReason::from_subcode(with.subcode), Some(reason));
        assert_eq!(with.cease_reason(), Some(reason));
        let (with, without) = (hex(&with.data), hex(&without.data));
        match reason {
            CeaseReason::AdministrativeShutdown | CeaseReason::AdministrativeReset => {
                assert_eq!((&*with, &*without), ("03776879", ""), "{reason}");
            }
            CeaseReason::HardReset => {
                assert_eq!((&*with, &*without), ("060403776879", "0604"), "{reason}");
            }
            _ => assert_eq!((&*with, &*without), ("", ""), "{reason}"),
        }
    }
    assert_eq!(CeaseReason::from_subcode(0), None);
    assert_eq!(CeaseReason::from_subcode(11), None);
}

#[test]
fn an_operator_reads_names_numbers_and_escaped_text() {
    let long = [0xAB; 40];
    for (code, subcode, data, want) in [
        (1, 1, &[][..], "Message Header Error: Connection Not Synchronized (1/1)"),
        (1, 2, &[0, 18], "Message Header Error: Bad Message Length (1/2) data 0x0012"),
        (2, 0, &[], "OPEN Message Error (2/0)"),
        (2, 2, &[], "OPEN Message Error: Bad Peer AS (2/2)"),
        (
            2,
            7,
            &[1, 4, 0, 1, 0, 1],
            "OPEN Message Error: Unsupported Capability (2/7) data 0x010400010001",
        ),
        (2, 11, &[], "OPEN Message Error: Role Mismatch (2/11)"),
        (3, 11, &[], "UPDATE Message Error: Malformed AS_PATH (3/11)"),
        (3, 99, &[], "UPDATE Message Error (3/99)"),
        (4, 0, &[], "Hold Timer Expired (4/0)"),
        (
            5,
            3,
            &[1],
            "Finite State Machine Error: Unexpected Message in Established State (5/3) data 0x01",
        ),
        (6, 2, &[], "Cease: Administrative Shutdown (6/2)"),
        (6, 2, &[0], "Cease: Administrative Shutdown (6/2)"),
        (6, 2, b"\x03bye", "Cease: Administrative Shutdown (6/2) \"bye\""),
        (
            6,
            4,
            b"\x09\x1b[31m\"\n\tx",
            "Cease: Administrative Reset (6/4) \"\\u{1b}[31m\\\"\\n\\tx\"",
        ),
        (6, 2, b"\x04a\xff\xfeb", "Cease: Administrative Shutdown (6/2) \"a\u{fffd}\u{fffd}b\""),
        (6, 2, "\u{5}grün".as_bytes(), "Cease: Administrative Shutdown (6/2) \"grün\""),
        // A length that leaves the data: shown as it is.
        (6, 2, b"\x05bye", "Cease: Administrative Shutdown (6/2) data 0x05627965"),
        // Octets behind the text are not text.
        (6, 2, b"\x02bye", "Cease: Administrative Shutdown (6/2) \"by\""),
        (
            6,
            1,
            &[0, 1, 1, 0, 0, 0, 9],
            "Cease: Maximum Number of Prefixes Reached (6/1) at 9 prefixes of ipv4",
        ),
        (
            6,
            9,
            b"\x06\x04\x03bye",
            "Cease: Hard Reset (6/9) for Cease: Administrative Reset (6/4) \"bye\"",
        ),
        (
            6,
            9,
            &[6, 9, 6, 9, 6, 9],
            "Cease: Hard Reset (6/9) for Cease: Hard Reset (6/9) data 0x06090609",
        ),
        (6, 9, &[6], "Cease: Hard Reset (6/9) data 0x06"),
        (6, 77, &[], "Cease (6/77)"),
        (7, 1, &[], "ROUTE-REFRESH Message Error: Invalid Message Length (7/1)"),
        (8, 0, &[], "Send Hold Timer Expired (8/0)"),
        (200, 3, &[], "Unknown Error (200/3)"),
        (
            200,
            3,
            &long,
            &format!("Unknown Error (200/3) data 0x{}... (40 octets)", "ab".repeat(32)),
        ),
    ] {
        let got = from_peer(code, subcode, data);
        assert_eq!(got.to_string(), want, "{code}/{subcode} {}", hex(data));
    }
}

#[test]
fn what_we_send_has_the_numbers_of_the_standards() {
    let octets = Bytes::from_static(&[1, 2]);
    for (sent, code, subcode, data) in [
        (Notification::not_synchronized(), 1, 1, ""),
        (Notification::bad_length(18), 1, 2, "0012"),
        (Notification::bad_length(70_000), 1, 2, "ffff"),
        (Notification::bad_type(9), 1, 3, "09"),
        (Notification::malformed_open(), 2, 0, ""),
        (Notification::unsupported_version(), 2, 1, "0004"),
        (Notification::bad_peer_as(), 2, 2, ""),
        (Notification::bad_router_id(), 2, 3, ""),
        (Notification::unsupported_parameter(), 2, 4, ""),
        (Notification::unacceptable_hold_time(), 2, 6, ""),
        (Notification::unsupported_capability(octets.clone()), 2, 7, "0102"),
        (Notification::malformed_attribute_list(), 3, 1, ""),
        (Notification::unrecognized_well_known(octets.clone()), 3, 2, "0102"),
        (Notification::optional_attribute_error(octets.clone()), 3, 9, "0102"),
        (Notification::invalid_network_field(), 3, 10, ""),
        (Notification::hold_timer_expired(), 4, 0, ""),
        (Notification::unexpected_message(UnexpectedIn::OpenSent, &Message::Keepalive), 5, 1, "04"),
        (
            Notification::unexpected_message(UnexpectedIn::OpenConfirm, &Message::Keepalive),
            5,
            2,
            "04",
        ),
        (
            Notification::unexpected_message(UnexpectedIn::Established, &Message::Keepalive),
            5,
            3,
            "04",
        ),
        (Notification::bad_refresh_length(octets), 7, 1, "0102"),
        (Notification::send_hold_timer_expired(), 8, 0, ""),
    ] {
        assert_eq!((sent.code, sent.subcode, &*hex(&sent.data)), (code, subcode, data), "{sent}");
    }
}

#[test]
fn data_that_does_not_fit_is_cut() {
    for format in formats() {
        let data = Bytes::from(vec![7; 70_000]);
        let octets =
            write(&Message::Notification(Notification { code: 3, subcode: 9, data }), &format);
        assert_eq!(octets.len(), format.max_message());
        assert!(read(&octets, &format).is_ok());
    }
}
