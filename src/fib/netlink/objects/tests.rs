use proptest::prelude::*;

use super::*;

/// What `ip nexthop add id 205 group 101/102,5 type resilient buckets 16 idle_timer 120 proto 98`
/// of iproute2 6.1 sends after the header, without its unbalanced timer.
#[rustfmt::skip]
const GROUP: &[u8] = &[
    0, 0, 98, 0, 0, 0, 0, 0,
    8, 0, 1, 0, 205, 0, 0, 0,
    20, 0, 2, 0, 101, 0, 0, 0, 0, 0, 0, 0, 102, 0, 0, 0, 4, 0, 0, 0,
    6, 0, 3, 0, 1, 0, 0, 0,
    20, 0, 12, 0x80, 6, 0, 1, 0, 16, 0, 0, 0, 8, 0, 2, 0, 0xe0, 0x2e, 0, 0,
];

fn shape() -> Shape {
    Shape { members: vec![(101, 0), (102, 4)], buckets: 16, idle: 12_000 }
}

fn hop(gateway: Option<&str>, onlink: bool) -> Kind {
    let gateway = gateway.map(|text| text.parse().unwrap());
    Kind::Hop(Hop { gateway, link: 3, onlink, weight: 0 })
}

/// The message as octets and back.
fn sent(op: &ObjectOp, acknowledge: bool) -> NetlinkMessage<ObjectMessage> {
    let message = message_of(op, 7, acknowledge);
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    let received = NetlinkMessage::deserialize(&octets).unwrap();
    assert_eq!(received, message);
    received
}

#[test]
#[cfg(target_endian = "little")]
fn a_group_is_written_as_iproute2_writes_it() {
    let op = ObjectOp { id: 205, action: ObjectAction::Add(Kind::Group(shape())) };
    let NetlinkPayload::InnerMessage(message) = sent(&op, true).payload else { panic!() };
    assert_eq!((message.number, message.body.as_slice()), (104, GROUP));
}

#[test]
#[cfg(target_endian = "little")]
fn hops_and_removals_have_the_octets_of_the_header_file() {
    let v4 = [
        &[2, 0, 98, 0, 4, 0, 0, 0, 8, 0, 1, 0, 9, 0, 0, 0, 8, 0, 5, 0, 3, 0, 0, 0][..],
        &[8, 0, 6, 0, 10, 0, 0, 2],
    ];
    let v6 = [
        &[10, 0, 98, 0, 0, 0, 0, 0, 8, 0, 1, 0, 9, 0, 0, 0, 8, 0, 5, 0, 3, 0, 0, 0][..],
        &[20, 0, 6, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    ];
    let blackhole = [&[2, 0, 98, 0, 0, 0, 0, 0, 8, 0, 1, 0, 9, 0, 0, 0][..], &[4, 0, 4, 0]];
    let removal = [&[0, 0, 0, 0, 0, 0, 0, 0][..], &[8, 0, 1, 0, 9, 0, 0, 0]];
    for (action, number, want) in [
        (ObjectAction::Add(hop(Some("10.0.0.2"), true)), 104, v4.concat()),
        (ObjectAction::Add(hop(Some("fe80::2"), false)), 104, v6.concat()),
        (ObjectAction::Add(Kind::Blackhole), 104, blackhole.concat()),
        (ObjectAction::Delete, 105, removal.concat()),
    ] {
        let op = ObjectOp { id: 9, action };
        let NetlinkPayload::InnerMessage(message) = sent(&op, true).payload else { panic!() };
        assert_eq!((message.number, message.body), (number, want), "{op:?}");
    }
}

#[test]
fn an_add_never_replaces_and_a_change_never_creates_nor_names_buckets() {
    for (action, acknowledge, want) in [
        (ObjectAction::Add(Kind::Group(shape())), false, NLM_F_CREATE | NLM_F_EXCL),
        (ObjectAction::Change(Kind::Group(shape())), true, NLM_F_REPLACE | NLM_F_ACK),
        (ObjectAction::Delete, true, NLM_F_ACK),
    ] {
        let header = sent(&ObjectOp { id: 9, action: action.clone() }, acknowledge).header;
        assert_eq!(header.flags, NLM_F_REQUEST | want, "{action:?}");
    }
    let change = ObjectOp { id: 9, action: ObjectAction::Change(Kind::Group(shape())) };
    let NetlinkPayload::InnerMessage(message) = sent(&change, false).payload else { panic!() };
    let read = read_object(&message).unwrap();
    assert_eq!(read.kind, Kind::Group(Shape { buckets: 0, ..shape() }), "none is named");
}

#[test]
#[cfg(target_endian = "little")]
fn what_we_never_write_is_told_apart() {
    let read = |body: Vec<u8>| read_object(&ObjectMessage { number: 104, body });
    let changed = |at: usize, octet: u8| {
        let mut body = GROUP.to_vec();
        body[at] = octet;
        body
    };
    let kind = |body| read(body).map(|object| object.kind);
    assert_eq!(kind(changed(40, 0)), Some(Kind::Other), "a group that is not resilient");
    let mut encapsulated = body_of(9, Some(&hop(Some("10.0.0.2"), false)), true);
    put(&mut encapsulated, 7, &[1, 0]);
    assert_eq!(kind(encapsulated), Some(Kind::Other), "with an encapsulation");
    assert_eq!(read(changed(2, 11)).map(|object| object.protocol), Some(11));
    assert_eq!(kind(changed(8, 7)), None, "an attribute that is cut off");
    assert_eq!(kind(vec![0; 8]), None, "without a number");
    let number = RTM_GETNEXTHOP;
    assert_eq!(read_object(&ObjectMessage { number, body: GROUP.to_vec() }), None);
}

#[test]
fn events_count_if_they_are_about_an_object_or_a_number_of_ours() {
    let event = |id: ObjectId, protocol: u8| {
        let op = ObjectOp { id, action: ObjectAction::Add(hop(Some("10.0.0.2"), false)) };
        let message = message_of(&op, 0, false);
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        octets[16 + 2] = protocol;
        octets
    };
    let ours = *OUR_IDS.start();
    for (octets, want) in [
        (event(7, PROTOCOL), true),
        (event(ours, 11), true),
        (event(7, 11), false),
        ([event(7, 11), event(8, PROTOCOL)].concat(), true),
        ([event(7, 11), event(8, 11)].concat(), false),
        (vec![], false),
        (vec![0; 16], false),
    ] {
        assert_eq!(is_about_ours(&octets), want, "{octets:?}");
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let hop = (any::<Option<IpAddr>>(), any::<u32>(), any::<bool>());
    let members = prop::collection::vec((any::<u32>(), any::<u8>()), 1..128);
    prop_oneof![
        Just(Kind::Blackhole),
        hop.prop_map(|(gateway, link, onlink)| Kind::Hop(Hop { gateway, link, onlink, weight: 0 })),
        (members, any::<u16>(), any::<u32>())
            .prop_map(|(members, buckets, idle)| Kind::Group(Shape { members, buckets, idle })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(id: u32, kind in kind()) {
        let op = ObjectOp { id, action: ObjectAction::Add(kind.clone()) };
        let NetlinkPayload::InnerMessage(message) = sent(&op, true).payload else { panic!() };
        prop_assert_eq!(read_object(&message), Some(Object { id, protocol: PROTOCOL, kind }));
    }

    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..200), number in 100u16..110) {
        read_object(&ObjectMessage { number, body: octets.clone() });
        is_about_ours(&octets);
    }

    #[test]
    fn no_changed_or_missing_octet_panics(at in 0..GROUP.len(), octet: u8) {
        let mut body = GROUP.to_vec();
        body[at] = octet;
        read_object(&ObjectMessage { number: 104, body: body.clone() });
        body.truncate(at);
        read_object(&ObjectMessage { number: 104, body });
    }
}
