//! Headers, OPENs and others that end a session, with the NOTIFICATION to send; and what of
//! them is tolerated.

use brindle_bgp::msg::{Capability, Message, Notification, Open, decode, frame};
use bytes::Bytes;

use crate::support::{EXTERNAL, format, hex, message, read, unhex, write};

#[test]
fn headers_are_checked_as_soon_as_they_are_there() {
    let marker = "ff".repeat(16);
    for (name, bits, rest, want) in [
        ("no length yet", EXTERNAL, "", Ok(None)),
        ("half a length", EXTERNAL, "00", Ok(None)),
        ("no type yet", EXTERNAL, "0013", Ok(None)),
        ("keepalive", EXTERNAL, "0013 04", Ok(Some(19))),
        ("more behind it", EXTERNAL, "0013 04 ffff", Ok(Some(19))),
        ("length 0", EXTERNAL, "0000", Err("0102 0000")),
        ("length 18", EXTERNAL, "0012", Err("0102 0012")),
        ("long keepalive", EXTERNAL, "0014 04", Err("0102 0014")),
        ("keepalive of 4097", EXTERNAL | 4, "1001 04", Err("0102 1001")),
        ("short open", EXTERNAL, "001c 01", Err("0102 001c")),
        ("shortest open", EXTERNAL, "001d 01", Ok(Some(29))),
        ("open of 4097", EXTERNAL | 4, "1001 01", Err("0102 1001")),
        ("short update", EXTERNAL, "0016 02", Err("0102 0016")),
        ("shortest update", EXTERNAL, "0017 02", Ok(Some(23))),
        ("longest update", EXTERNAL, "1000 02", Ok(Some(4096))),
        ("update of 4097", EXTERNAL, "1001 02", Err("0102 1001")),
        ("update of 4097, agreed", EXTERNAL | 4, "1001 02", Ok(Some(4097))),
        ("update of 65535, agreed", EXTERNAL | 4, "ffff 02", Ok(Some(65535))),
        ("short notification", EXTERNAL, "0014 03", Err("0102 0014")),
        ("notification of 65535, agreed", EXTERNAL | 4, "ffff 03", Ok(Some(65535))),
        ("notification of 65535", EXTERNAL, "ffff 03", Err("0102 ffff")),
        ("type 0", EXTERNAL, "0013 00", Err("0103 00")),
        ("type 6", EXTERNAL, "0013 06", Err("0103 06")),
        ("type 255 of 4097", EXTERNAL, "1001 ff", Err("0102 1001")),
    ] {
        let octets = unhex(&[&marker, rest].concat());
        let got = frame(&octets, &format(bits)).map_err(|error| said(&error.0));
        assert_eq!(got, want.map_err(|text| hex(&unhex(text))), "{name}");
    }
}

/// A NOTIFICATION as hex: code, subcode, data.
fn said(notification: &Notification) -> String {
    hex(&[&[notification.code, notification.subcode], notification.data.as_ref()].concat())
}

#[test]
fn one_flipped_bit_of_the_marker_is_seen_at_once() {
    let octets = message(4, &[]);
    for bit in 0..128 {
        let mut flipped = octets.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        for seen in [bit / 8 + 1, octets.len()] {
            let error = frame(&flipped[..seen], &format(EXTERNAL)).unwrap_err();
            assert_eq!(error.0, Notification::not_synchronized(), "bit {bit}, {seen} octets");
        }
    }
}

#[test]
fn a_message_of_another_length_than_its_header_says_is_refused() {
    let octets = message(4, &[]);
    let longer = Bytes::from([octets.as_ref(), &[0]].concat());
    for octets in [octets.slice(..18), longer, Bytes::new()] {
        let error = decode(&octets, &format(EXTERNAL)).unwrap_err();
        assert_eq!((error.0.code, error.0.subcode), (1, 2), "{}", hex(&octets));
    }
}

#[test]
fn opens_are_refused_with_the_right_subcode() {
    for (name, body, want) in [
        ("fine", "04 fde8 005a 0a000001 00", None),
        ("hold time 0", "04 fde8 0000 0a000001 00", None),
        ("hold time 3", "04 fde8 0003 0a000001 00", None),
        ("router id 240.0.0.1", "04 fde8 005a f0000001 00", None),
        ("router id 255.255.255.255", "04 fde8 005a ffffffff 00", None),
        ("version 3", "03 fde8 005a 0a000001 00", Some("0201 0004")),
        ("version 5 and nothing else right", "05 0000 0001 00000000 ff", Some("0201 0004")),
        ("AS 0", "04 0000 005a 0a000001 00", Some("0202")),
        ("hold time 1", "04 fde8 0001 0a000001 00", Some("0206")),
        ("hold time 2", "04 fde8 0002 0a000001 00", Some("0206")),
        ("router id 0", "04 fde8 005a 00000000 00", Some("0203")),
        ("four-octet AS 0", "04 5ba0 005a 0a000001 08 0206 4104 00000000", Some("0202")),
        ("parameters too short", "04 fde8 005a 0a000001 02 02", Some("0200")),
        ("octets behind the parameters", "04 fde8 005a 0a000001 00 00", Some("0200")),
        ("parameter longer than all", "04 fde8 005a 0a000001 03 0202 02", Some("0200")),
        ("half a capability", "04 fde8 005a 0a000001 03 0201 02", Some("0200")),
        (
            "capability over its parameter",
            "04 fde8 005a 0a000001 08 0202 4104 0202 0200",
            Some("0200"),
        ),
        ("authentication", "04 fde8 005a 0a000001 03 0101 00", Some("0204")),
        ("unknown parameter", "04 fde8 005a 0a000001 02 4d00", Some("0204")),
        ("extended, cut off", "04 fde8 005a 0a000001 ff ff00", Some("0200")),
        ("extended, too long", "04 fde8 005a 0a000001 ff ff0006 02 0002 0200", Some("0200")),
        (
            "extended, octets behind",
            "04 fde8 005a 0a000001 ff ff0005 02 0002 0200 00",
            Some("0200"),
        ),
    ] {
        let got = read(&message(1, &unhex(body)), &format(0)).err().map(|error| said(&error.0));
        assert_eq!(got, want.map(|text| hex(&unhex(text))), "{name}");
    }
}

#[test]
fn capabilities_are_tolerated_in_every_form() {
    let refresh = || vec![Capability::RouteRefresh];
    let unknown = |code, value: &'static [u8]| {
        vec![Capability::Unknown { code, value: Bytes::from_static(value) }]
    };
    for (name, parameters, want) in [
        ("an empty parameter", "02 0200", vec![]),
        ("a parameter for each", "08 0202 0200 0202 4600", {
            vec![Capability::RouteRefresh, Capability::EnhancedRouteRefresh]
        }),
        ("one parameter for all", "06 0204 0200 4600", {
            vec![Capability::RouteRefresh, Capability::EnhancedRouteRefresh]
        }),
        ("one twice", "06 0204 0200 0200", vec![Capability::RouteRefresh; 2]),
        ("unknown", "07 0205 4303 010203", unknown(67, &[1, 2, 3])),
        ("old route refresh", "04 0202 8000", unknown(128, &[])),
        ("four-octet AS of two octets", "06 0204 4102 0001", unknown(65, &[0, 1])),
        ("multiprotocol of three octets", "07 0205 0103 000100", unknown(1, &[0, 1, 0])),
        ("route refresh with a value", "05 0203 0201 00", unknown(2, &[0])),
        ("next hop tuple of five octets", "09 0207 0505 0001000100", unknown(5, &[0, 1, 0, 1, 0])),
        ("SAFI over 255", "0a 0208 0506 000101010002", unknown(5, &[0, 1, 1, 1, 0, 2])),
        ("graceful restart of one octet", "05 0203 4001 00", unknown(64, &[0])),
        ("extended lengths", "ff ff0005 02 0002 0200", refresh()),
        ("extended lengths, first length 254", "fe ff0005 02 0002 0200", refresh()),
        ("255 octets of plain parameters", &plain_255(), unknown(67, &[7; 251])),
    ] {
        let octets = message(1, &unhex(&["04 fde8 005a 0a000001", parameters].concat()));
        let got = read(&octets, &format(0)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Message::Open(open) = got.message else { panic!("{name}: an OPEN") };
        assert_eq!(open.capabilities, want, "{name}");
    }
}

/// Parameters of 255 octets whose first is a capability parameter.
fn plain_255() -> String {
    format!("ff 02fd 43fb {}", "07".repeat(251))
}

#[test]
fn lengths_are_extended_exactly_where_they_must() {
    let open = |octets: usize| {
        let value = Bytes::from(vec![7; octets]);
        let Message::Open(open) =
            read(&message(1, &unhex("04 fde8 005a 0a000001 00")), &format(0)).unwrap().message
        else {
            panic!("an OPEN");
        };
        let capabilities = vec![Capability::Unknown { code: 67, value }];
        Message::Open(Open { capabilities, ..open })
    };
    for (octets, want) in [
        (1, "05 0203 4301"),
        (251, "ff 02fd 43fb"),
        (252, "ff ff0101 02 00fe 43fc"),
        (255, "ff ff0104 02 0101 43ff"),
    ] {
        let written = write(&open(octets), &format(0));
        let parameters = hex(&written[28..written.len() - octets]);
        assert_eq!(parameters, hex(&unhex(want)), "{octets} octets");
        assert_eq!(read(&written, &format(0)).unwrap().message, open(octets), "{octets} octets");
    }
}

#[test]
fn an_open_never_exceeds_4096_octets() {
    let Message::Open(open) =
        read(&message(1, &unhex("04 fde8 005a 0a000001 00")), &format(0)).unwrap().message
    else {
        panic!("an OPEN");
    };
    let huge = Capability::Unknown { code: 67, value: Bytes::from(vec![7; 255]) };
    let mut capabilities = vec![huge; 40];
    capabilities.push(Capability::RouteRefresh);
    let octets = write(&Message::Open(Open { capabilities, ..open }), &format(15));
    assert!(octets.len() <= 4096, "{} octets", octets.len());
    let Message::Open(open) = read(&octets, &format(15)).unwrap().message else {
        panic!("an OPEN");
    };
    assert_eq!(open.capabilities.len(), 16);
    assert_eq!(open.capabilities.last(), Some(&Capability::RouteRefresh));
}

#[test]
fn route_refreshes_of_a_wrong_length_are_refused() {
    for (body, want) in [
        ("0001 00", Some("0102 0016")),
        ("0001 00 01 00", Some("0102 0018")),
        ("0001 03 01 00", Some("0102 0018")),
        ("", Some("0102 0013")),
        ("0001 00 01", None),
    ] {
        let got = read(&message(5, &unhex(body)), &format(0)).err().map(|error| said(&error.0));
        assert_eq!(got, want.map(|text| hex(&unhex(text))), "{body}");
    }
    // RFC 7313: marks answer with the whole message.
    for body in ["0001 01 01 00", "0002 02"] {
        let octets = message(5, &unhex(body));
        let error = decode(&octets, &format(0)).unwrap_err().0;
        assert_eq!(error, Notification::bad_refresh_length(octets), "{body}");
    }
}

#[test]
fn the_data_of_an_update_error_is_the_attribute() {
    for (list, subcode) in [("4063020102", 2), ("800e03 000201", 9), ("900f0004 000201 81", 9)] {
        let list = unhex(list);
        let octets = crate::support::update(&[], &list, &[]);
        let error = decode(&octets, &format(EXTERNAL)).unwrap_err().0;
        assert_eq!((error.code, error.subcode), (3, subcode));
        assert_eq!(error.data, list);
    }
}
