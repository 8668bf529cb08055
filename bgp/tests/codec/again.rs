//! Whether what a message says can be said again: shared with the fuzz target `message`.

use brindle_bgp::msg::{
    AddPaths, Announcement, Attributes, Message, Nlri, SegmentKind, Update, WireFormat, decode,
    encode, frame,
};
use brindle_bgp::net::{Asn, Family};
use bytes::{Bytes, BytesMut};

/// The format whose switches are the bits of a number from 0 to 31, both families agreed.
pub(crate) fn format(bits: u8) -> WireFormat {
    WireFormat {
        four_octet_asns: bits & 1 != 0,
        internal: bits & 2 != 0,
        extended_message: bits & 4 != 0,
        extended_next_hop: bits & 8 != 0,
        families: Family::ALL.to_vec(),
        add_paths: AddPaths { receive: [bits & 16 != 0; 2], send: [bits & 16 != 0; 2] },
    }
}

/// Octets as hex, in one word.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A message of a type with this body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Bytes {
    let length = u16::try_from(19 + body.len()).expect("a message that fits");
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat().into()
}

/// A message as octets, whole.
pub(crate) fn write(message: &Message, format: &WireFormat) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(message, format, &mut out);
    out.to_vec()
}

/// Splits octets into the messages that they are.
pub(crate) fn split(octets: &[u8], format: &WireFormat) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(octets);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = frame(&rest, format).unwrap().expect("a whole header");
        messages.push(rest.split_to(length));
    }
    messages
}

/// What UPDATEs say together, announcements with one next hop and family joined.
pub(crate) fn join(updates: impl IntoIterator<Item = Update>) -> Update {
    let mut all = Update::default();
    for update in updates {
        all.withdrawn.extend(update.withdrawn);
        if let Some(attributes) = update.attributes {
            let first = all.attributes.get_or_insert_with(|| attributes.clone());
            assert_eq!(*first, attributes, "one UPDATE has one set of attributes");
        }
        for Announcement { next_hop, prefixes } in update.announced {
            let same = all.announced.iter_mut().find(|have| {
                have.next_hop == next_hop && have.prefixes[0].family() == prefixes[0].family()
            });
            match same {
                Some(have) => have.prefixes.extend(prefixes),
                None => all.announced.push(Announcement { next_hop, prefixes }),
            }
        }
    }
    all
}

/// Reads what [`write`] made: the one message, or the UPDATEs joined.
pub(crate) fn read_all(octets: &[u8], format: &WireFormat) -> Message {
    let mut updates = Vec::new();
    for octets in split(octets, format) {
        let decoded = decode(&octets, format).unwrap_or_else(|e| panic!("{e}: {}", hex(&octets)));
        assert_eq!(decoded.faults, [], "{}", hex(&octets));
        match decoded.message {
            Message::Update(update) => updates.push(update),
            other => return other,
        }
    }
    Message::Update(join(updates))
}

/// The form in which a message comes back: withdrawn prefixes by family, unknown attributes
/// partial, announcements joined.
fn normal(message: Message) -> Message {
    let Message::Update(mut update) = message else { return message };
    update.withdrawn.sort_by_key(Nlri::family);
    if let Some(attributes) = &mut update.attributes {
        for unknown in &mut attributes.unknown {
            unknown.partial = true;
        }
    }
    Message::Update(join([update]))
}

/// Whether the format loses nothing of the message: two octets lose long numbers in
/// confederation segments, and where these stand.
fn is_faithful(message: &Message, format: &WireFormat) -> bool {
    let Message::Update(Update { attributes: Some(Attributes { as_path, .. }), .. }) = message
    else {
        return true;
    };
    let is_long = |asn: &Asn| asn.get() > 65535;
    let is_confed = |kind| matches!(kind, SegmentKind::ConfedSequence | SegmentKind::ConfedSet);
    format.four_octet_asns
        || !as_path.0.iter().any(|segment| is_confed(segment.kind))
        || !as_path.0.iter().any(|segment| segment.asns.iter().any(is_long))
}

/// Reads a message of any octets, and if it is one, writes and reads it again: must say the
/// same, without faults.
pub(crate) fn check(bits: u8, kind: u8, body: &[u8]) {
    let format = format(bits);
    let octets = message(kind, body);
    let Ok(decoded) = decode(&octets, &format) else { return };
    let said = normal(decoded.message);
    // Nearly full messages may not fit again: AS4_PATH repeats what AS_PATH says.
    if is_faithful(&said, &format) && octets.len() * 3 < format.max_message() {
        let again = read_all(&write(&said, &format), &format);
        assert_eq!(again, said, "{}", hex(&octets));
    }
}

/// What the fuzz target is given: bits of a format, a type and a body, which is read as a
/// stream of whatever comes, and behind a header that is right.
pub(crate) fn check_input(input: &[u8]) {
    let [bits, kind, body @ ..] = input else { return };
    let format = format(*bits);
    let _ = frame(body, &format);
    let _ = decode(&Bytes::copy_from_slice(body), &format);
    if body.len() <= 65535 - 19 {
        check(*bits, *kind, body);
    }
}
