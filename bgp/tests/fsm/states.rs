//! Every state of RFC 4271 §8.2.2 with every event, and what comes of it.

use std::time::Duration;

use brindle_bgp::fsm::{BfdFailure, Direction, Event, Peer, State, WireId};
use brindle_bgp::msg::{
    Capability, CeaseReason, Message, Notification, Open, Refresh, RouteRefresh, Update,
};
use brindle_bgp::net::{AfiSafi, Family};

use crate::support::{epoch, names, open, settings};

/// The wire that is there from OpenSent on.
const WIRE: WireId = WireId(1);
const NEW: WireId = WireId(2);
const STATES: [State; 6] = [
    State::Idle,
    State::Connect,
    State::Active,
    State::OpenSent,
    State::OpenConfirm,
    State::Established,
];

/// What happens in a row of the table.
#[allow(clippy::large_enum_variant, reason = "a test may waste memory")]
#[derive(Clone)]
enum Input {
    Event(Event),
    /// All that is due after so many seconds.
    After(u64),
}

fn received(message: Message) -> Input {
    Input::Event(Event::Received(WIRE, message))
}

fn peer_in(state: State) -> Peer {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    let way = [
        (State::Connect, Event::Start),
        (State::Active, Event::ConnectFailed("refused".into())),
        (State::OpenSent, Event::Connected(WIRE, Direction::Dialled)),
        (State::OpenConfirm, Event::Received(WIRE, Message::Open(open(2, 65001)))),
        (State::Established, Event::Received(WIRE, Message::Keepalive)),
    ];
    for (reached, event) in way {
        let is_detour = reached == State::Active && state != State::Active;
        if state >= reached && !is_detour {
            peer.handle(event, now);
        }
    }
    assert_eq!(peer.state(), state);
    peer
}

#[test]
fn every_event_in_every_state_does_what_the_standard_says() {
    use Input::{After, Event as On};
    let cease = |reason| On(Event::Stop(reason, None));
    let refresh = |kind| {
        received(Message::RouteRefresh(RouteRefresh { family: Family::Ipv6Unicast.into(), kind }))
    };
    let notification = Notification { code: 6, subcode: 4, data: Default::default() };
    let malformed = Notification { code: 1, subcode: 2, data: Default::default() };
    let bad_as = Message::Open(open(2, 65002));

    // Columns: Idle, Connect, Active, OpenSent, OpenConfirm, Established.
    // The numbers are those of RFC 4271 §8.1.
    #[rustfmt::skip]
    let table: Vec<(&str, Input, [&str; 6])> = vec![
        ("1, 3 start", On(Event::Start), [
            "dial -> Connect", "-> Connect", "-> Active",
            "-> OpenSent", "-> OpenConfirm", "-> Established"]),
        ("2 stop", cease(CeaseReason::AdministrativeShutdown), [
            "-> Idle", "abandon -> Idle", "-> Idle",
            "send 1 6/2, close 1 -> Idle", "send 1 6/2, close 1 -> Idle",
            "send 1 6/2, close 1, down (we sent Cease: Administrative Shutdown (6/2)) -> Idle"]),
        ("8 automatic stop", cease(CeaseReason::PeerDeconfigured), [
            "-> Idle", "abandon -> Idle", "-> Idle",
            "send 1 6/3, close 1 -> Idle", "send 1 6/3, close 1 -> Idle",
            "send 1 6/3, close 1, down (we sent Cease: Peer De-configured (6/3)) -> Idle"]),
        ("restart without graceful restart", On(Event::Restart(None)), [
            "-> Idle", "abandon -> Idle", "-> Idle",
            "send 1 6/2, close 1 -> Idle", "send 1 6/2, close 1 -> Idle",
            "send 1 6/2, close 1, down (we sent Cease: Administrative Shutdown (6/2)) -> Idle"]),
        ("9 connect retry, 10 hold timer", After(240), [
            "-> Idle", "abandon, dial -> Connect", "dial -> Connect",
            "send 1 4/0, close 1 -> Active", "send 1 4/0, close 1 -> Active",
            "send 1 4/0, close 1, down (hold timer expired: nothing came from the peer in time) -> Active"]),
        ("11 keepalive timer", After(30), [
            "-> Idle", "abandon, dial -> Connect", "dial -> Connect",
            "-> OpenSent", "send 1 KEEPALIVE -> OpenConfirm", "send 1 KEEPALIVE -> Established"]),
        ("12 delay open, 13 idle hold: nothing is due yet", After(0), [
            "-> Idle", "-> Connect", "-> Active",
            "-> OpenSent", "-> OpenConfirm", "-> Established"]),
        ("14, 17 connection accepted", On(Event::Connected(NEW, Direction::Accepted)), [
            "send 2 6/5, close 2 -> Idle", "send 2 OPEN -> OpenSent", "send 2 OPEN -> OpenSent",
            "send 2 OPEN -> OpenSent", "send 2 OPEN -> OpenConfirm",
            "send 2 6/7, close 2 -> Established"]),
        ("16 connection dialled", On(Event::Connected(NEW, Direction::Dialled)), [
            "close 2 -> Idle", "send 2 OPEN -> OpenSent", "close 2 -> Active",
            "close 2 -> OpenSent", "close 2 -> OpenConfirm", "close 2 -> Established"]),
        ("18 dialling failed", On(Event::ConnectFailed("refused".into())), [
            "-> Idle", "-> Active", "-> Active",
            "-> OpenSent", "-> OpenConfirm", "-> Established"]),
        ("18 connection lost", On(Event::Closed(WIRE, "reset".into())), [
            "-> Idle", "-> Connect", "-> Active",
            "-> Active", "-> Active", "down (reset) -> Active"]),
        ("19 OPEN", received(Message::Open(open(2, 65001))), [
            "-> Idle", "-> Connect", "-> Active", "send 1 KEEPALIVE -> OpenConfirm",
            "send 1 5/2, close 1 -> Idle",
            "send 1 5/3, close 1, down (we sent Finite State Machine Error: Unexpected Message in Established State (5/3) data 0x01) -> Active"]),
        ("21 message header error", On(Event::Malformed(WIRE, malformed)), [
            "-> Idle", "-> Connect", "-> Active",
            "send 1 1/2, close 1 -> Idle", "send 1 1/2, close 1 -> Idle",
            "send 1 1/2, close 1, down (we sent Message Header Error: Bad Message Length (1/2)) -> Active"]),
        ("22 OPEN message error", received(bad_as), [
            "-> Idle", "-> Connect", "-> Active", "send 1 2/2, close 1 -> Idle",
            "send 1 5/2, close 1 -> Idle",
            "send 1 5/3, close 1, down (we sent Finite State Machine Error: Unexpected Message in Established State (5/3) data 0x01) -> Active"]),
        ("24, 25 NOTIFICATION", received(Message::Notification(notification)), [
            "-> Idle", "-> Connect", "-> Active", "close 1 -> Active", "close 1 -> Active",
            "close 1, down (peer sent Cease: Administrative Reset (6/4)) -> Active"]),
        ("26 KEEPALIVE", received(Message::Keepalive), [
            "-> Idle", "-> Connect", "-> Active", "send 1 5/1, close 1 -> Idle",
            "up 1 -> Established", "-> Established"]),
        ("27 UPDATE", received(Message::Update(Update::default())), [
            "-> Idle", "-> Connect", "-> Active", "send 1 5/1, close 1 -> Idle",
            "send 1 5/2, close 1 -> Idle", "deliver UPDATE -> Established"]),
        ("27 End-of-RIB", received(Message::EndOfRib(Family::Ipv6Unicast)), [
            "-> Idle", "-> Connect", "-> Active", "send 1 5/1, close 1 -> Idle",
            "send 1 5/2, close 1 -> Idle", "deliver EoR ipv6 -> Established"]),
        ("ROUTE-REFRESH", refresh(Refresh::Request), [
            "-> Idle", "-> Connect", "-> Active", "send 1 5/1, close 1 -> Idle",
            "send 1 5/2, close 1 -> Idle", "deliver REFRESH -> Established"]),
        ("ROUTE-REFRESH of an unknown kind", refresh(Refresh::Unknown(9)), [
            "-> Idle", "-> Connect", "-> Active", "send 1 5/1, close 1 -> Idle",
            "send 1 5/2, close 1 -> Idle", "-> Established"]),
        ("progress in writing", On(Event::Progress(WIRE)), [
            "-> Idle", "-> Connect", "-> Active",
            "-> OpenSent", "-> OpenConfirm", "-> Established"]),
        ("a way to the peer", On(Event::Retry), [
            "-> Idle", "-> Connect", "dial -> Connect",
            "-> OpenSent", "-> OpenConfirm", "-> Established"]),
        ("BFD down", On(Event::BfdDown(BfdFailure {
            why: "no packets for 150 ms".into(), is_certain: false })), [
            "-> Idle", "-> Connect", "-> Active",
            "send 1 6/10, close 1 -> Active", "send 1 6/10, close 1 -> Active",
            "send 1 6/10, close 1, down (BFD: no packets for 150 ms) -> Active"]),
    ];

    let mut wrong = Vec::new();
    for (name, input, row) in table {
        for (state, want) in STATES.into_iter().zip(row) {
            let mut peer = peer_in(state);
            let actions = match input.clone() {
                Input::Event(event) => peer.handle(event, epoch()),
                Input::After(secs) => peer.on_deadline(epoch() + Duration::from_secs(secs)),
            };
            let got = format!("{} -> {}", names(&actions), peer.state());
            if got.trim_start() != want {
                wrong.push(format!("{state}, {name}:\n   got {}\n  want {want}", got.trim_start()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn news_of_unknown_wires_changes_nothing() {
    let stale = WireId(77);
    let events = [
        Event::Closed(stale, "gone".into()),
        Event::Received(stale, Message::Keepalive),
        Event::Received(stale, Message::Open(open(2, 65001))),
        Event::Malformed(stale, Notification { code: 1, subcode: 1, data: Default::default() }),
        Event::Progress(stale),
    ];
    for state in STATES {
        for event in events.clone() {
            let mut peer = peer_in(state);
            let actions = peer.handle(event.clone(), epoch());
            assert_eq!((actions, peer.state()), (vec![], state), "{event:?}");
        }
    }
}

#[test]
fn a_refused_open_is_explained_to_the_operator() {
    let notification = |subcode| {
        Message::Notification(Notification { code: 2, subcode, data: Default::default() })
    };
    let vpn = Capability::Multiprotocol(AfiSafi { afi: 1, safi: 128 });
    let internal = settings(1, 64512, 64512);
    let external = settings(1, 64512, 65001);
    for (settings, message, want) in [
        (
            &external,
            Message::Open(open(2, 65009)),
            "we sent OPEN Message Error: Bad Peer AS (2/2): the peer is in AS 65009, configured is \
             AS 65001",
        ),
        (
            &external,
            notification(2),
            "peer sent OPEN Message Error: Bad Peer AS (2/2): the peer does not expect us in AS \
             64512",
        ),
        (
            &internal,
            Message::Open(open(1, 64512)),
            "we sent OPEN Message Error: Bad BGP Identifier (2/3): the peer has our own router id \
             10.0.0.1",
        ),
        (
            &external,
            Message::Open(Open { capabilities: vec![vpn], ..open(2, 65001) }),
            "we sent OPEN Message Error: Unsupported Capability (2/7) data \
             0x010400010001010400020001: the peer offers afi 1 safi 128, we offer ipv4 and ipv6",
        ),
        (
            &external,
            Message::Keepalive,
            "we sent Finite State Machine Error: Unexpected Message \
            in OpenSent State (5/1) data 0x04",
        ),
    ] {
        let mut peer = Peer::new(settings.clone(), 1);
        peer.handle(Event::Start, epoch());
        peer.handle(Event::Connected(WIRE, Direction::Dialled), epoch());
        peer.handle(Event::Received(WIRE, message), epoch());
        assert_eq!(peer.last_reason().as_deref(), Some(want));
    }
}
