//! Which of two wires is kept (RFC 4271 §6.8, RFC 6286 §2.3).

use std::time::{Duration, Instant};

use brindle_bgp::fsm::{Action, Direction, Event, Peer, State, WireId};
use brindle_bgp::msg::{CeaseReason, Message, Notification};

use crate::support::{epoch, names, open, settings};

const DIALLED: WireId = WireId(1);
const ACCEPTED: WireId = WireId(2);
const THIRD: WireId = WireId(3);
const GRACE: Duration = Duration::from_secs(1);

/// A machine that dials and has accepted: both wires in OpenSent.
fn collided(our_id: u32, our_as: u32, their_as: u32, now: Instant) -> Peer {
    let mut peer = Peer::new(settings(our_id, our_as, their_as), 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(ACCEPTED, Direction::Accepted), now);
    peer.handle(Event::Connected(DIALLED, Direction::Dialled), now);
    assert_eq!(peer.state(), State::OpenSent);
    peer
}

fn message(peer: &mut Peer, wire: WireId, message: Message, now: Instant) -> String {
    names(&peer.handle(Event::Received(wire, message), now))
}

#[test]
fn the_wire_that_the_greater_speaker_dialled_is_kept_whatever_the_order() {
    for (our_id, our_as, their_id, their_as, kept) in [
        (1, 64512, 2, 64512, ACCEPTED),
        (2, 64512, 1, 64512, DIALLED),
        (1, 65009, 2, 65001, ACCEPTED),
        (2, 65001, 1, 65009, DIALLED),
        (1, 65001, 1, 65009, ACCEPTED), // equal identifiers: the larger AS
        (1, 65009, 1, 65001, DIALLED),
        (0x7F00_0000, 64512, 0xF500_0000, 64512, ACCEPTED), // compared without sign
        (1, 65001, 1, 100_000, ACCEPTED),
    ] {
        let lost = if kept == DIALLED { ACCEPTED } else { DIALLED };
        for first in [DIALLED, ACCEPTED] {
            let row = format!("{our_id} AS {our_as}, {their_id} AS {their_as}, first {first:?}");
            let now = epoch();
            let mut peer = collided(our_id, our_as, their_as, now);
            let open = || Message::Open(open(their_id, their_as));
            let second = if first == DIALLED { ACCEPTED } else { DIALLED };

            let early = message(&mut peer, first, open(), now);
            // What would lose is not answered while the other may come.
            let answer = format!("send {} KEEPALIVE", kept.0);
            assert_eq!(early, if first == kept { &*answer } else { "" }, "{row}");

            let late = message(&mut peer, second, open(), now);
            let closed = format!("send {} 6/7, close {}", lost.0, lost.0);
            let want = match first == kept {
                true => closed,
                false => format!("{closed}, {answer}"),
            };
            assert_eq!(late, want, "{row}");
            assert_eq!(
                message(&mut peer, kept, Message::Keepalive, now),
                format!("up {}", kept.0),
                "{row}"
            );
        }
    }
}

#[test]
fn a_live_wire_is_not_lost_for_a_silent_one() {
    for (end, want) in [
        ("time", "send 1 KEEPALIVE, send 2 6/7, close 2, up 1"),
        ("closed", "send 1 KEEPALIVE, up 1"),
        ("malformed", "send 2 1/1, close 2, send 1 KEEPALIVE, up 1"),
        ("cease", "close 2, send 1 KEEPALIVE, up 1"),
    ] {
        let now = epoch();
        // 10.0.0.2 is greater: its wire would win if it came to life.
        let mut peer = collided(1, 64512, 64512, now);
        assert_eq!(message(&mut peer, DIALLED, Message::Open(open(2, 64512)), now), "");
        assert_eq!(message(&mut peer, DIALLED, Message::Keepalive, now), "");
        assert_eq!(peer.state(), State::OpenConfirm);
        assert_eq!(peer.deadline(), Some(now + GRACE));
        let notification = Notification { code: 1, subcode: 1, data: Default::default() };
        let cease = Notification { code: 6, subcode: 7, data: Default::default() };
        let got = match end {
            "time" => peer.on_deadline(now + GRACE),
            "closed" => peer.handle(Event::Closed(ACCEPTED, "reset".into()), now),
            "malformed" => peer.handle(Event::Malformed(ACCEPTED, notification), now),
            _ => peer.handle(Event::Received(ACCEPTED, Message::Notification(cease)), now),
        };
        assert_eq!(names(&got), want, "{end}");
        assert_eq!(peer.state(), State::Established, "{end}");
    }
}

#[test]
fn a_silent_wire_may_still_win_until_the_other_is_established() {
    let now = epoch();
    let mut peer = collided(1, 64512, 64512, now);
    message(&mut peer, DIALLED, Message::Open(open(2, 64512)), now);
    let later = now + GRACE;
    assert_eq!(names(&peer.on_deadline(later)), "send 1 KEEPALIVE");
    assert_eq!(
        message(&mut peer, ACCEPTED, Message::Open(open(2, 64512)), later),
        "send 1 6/7, close 1, send 2 KEEPALIVE"
    );
}

#[test]
fn a_wire_that_hangs_in_open_confirm_does_not_win_for_ever() {
    for (age, want) in [
        (Duration::from_secs(2), "send 2 6/7, close 2"),
        (Duration::from_secs(4), "send 1 6/7, close 1, send 2 KEEPALIVE"),
    ] {
        let now = epoch();
        // 10.0.0.3 is greater, its own wire would win.
        let mut peer = Peer::new(settings(3, 64512, 64512), 1);
        peer.handle(Event::Start, now);
        peer.handle(Event::Connected(DIALLED, Direction::Dialled), now);
        message(&mut peer, DIALLED, Message::Open(open(2, 64512)), now);
        peer.handle(Event::Connected(ACCEPTED, Direction::Accepted), now + age);
        let got = message(&mut peer, ACCEPTED, Message::Open(open(2, 64512)), now + age);
        assert_eq!(got, want, "{age:?}");
    }
}

#[test]
fn an_established_session_stays_and_is_asked_whether_it_lives() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 64512), 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(DIALLED, Direction::Dialled), now);
    message(&mut peer, DIALLED, Message::Open(open(2, 64512)), now);
    message(&mut peer, DIALLED, Message::Keepalive, now);
    for (secs, wire, want) in [
        (1, 10, "send 10 6/7, close 10, send 1 KEEPALIVE"),
        (1, 11, "send 11 6/7, close 11"), // not twice in a second
        (5, 12, "send 12 6/7, close 12, send 1 KEEPALIVE"),
    ] {
        let at = now + Duration::from_secs(secs);
        let actions = peer.handle(Event::Connected(WireId(wire), Direction::Accepted), at);
        assert_eq!(names(&actions), want, "wire {wire}");
    }
    assert_eq!(peer.state(), State::Established);
}

#[test]
fn of_two_wires_that_the_peer_dialled_the_newer_is_kept() {
    for first in [ACCEPTED, THIRD] {
        let now = epoch();
        let mut peer = Peer::new(settings(1, 64512, 64512), 1);
        peer.handle(Event::Start, now);
        peer.handle(Event::ConnectFailed("refused".into()), now);
        peer.handle(Event::Connected(ACCEPTED, Direction::Accepted), now);
        peer.handle(Event::Connected(THIRD, Direction::Accepted), now);
        let second = if first == ACCEPTED { THIRD } else { ACCEPTED };
        let early = message(&mut peer, first, Message::Open(open(2, 64512)), now);
        assert_eq!(early, if first == THIRD { "send 3 KEEPALIVE" } else { "" });
        let late = message(&mut peer, second, Message::Open(open(2, 64512)), now);
        let want = match first == THIRD {
            true => "send 2 6/7, close 2",
            false => "send 2 6/7, close 2, send 3 KEEPALIVE",
        };
        assert_eq!(late, want, "first {first:?}");
    }
}

#[test]
fn a_third_wire_is_closed_unless_the_oldest_has_been_silent_for_long() {
    let now = epoch();
    let mut peer = collided(1, 64512, 64512, now);
    let actions = peer.handle(Event::Connected(THIRD, Direction::Accepted), now);
    assert_eq!(names(&actions), "send 3 6/7, close 3");
    let later = now + 2 * GRACE;
    let actions = peer.handle(Event::Connected(WireId(4), Direction::Accepted), later);
    assert_eq!(names(&actions), "send 2 6/7, close 2, send 4 OPEN");
    assert_eq!(peer.last_error(), None, "nothing has ended that was wanted");
}

#[test]
fn dialling_stops_with_the_first_open_and_goes_on_when_that_wire_dies() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 64512), 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(ACCEPTED, Direction::Accepted), now);
    assert_eq!(
        message(&mut peer, ACCEPTED, Message::Open(open(2, 64512)), now),
        "send 2 KEEPALIVE, abandon"
    );
    // Was on its way when the dialling was given up.
    let actions = peer.handle(Event::Connected(DIALLED, Direction::Dialled), now);
    assert_eq!(names(&actions), "close 1");
    peer.handle(Event::Closed(ACCEPTED, "reset".into()), now);
    let next = peer.next_dial().expect("it dials again");
    assert!(next <= now + Duration::from_secs(1));
    assert_eq!(peer.on_deadline(next), [Action::Dial]);
}

#[test]
fn dialling_goes_on_when_the_winner_of_a_collision_dies() {
    let now = epoch();
    for winner in [DIALLED, ACCEPTED] {
        let our_id = if winner == DIALLED { 3 } else { 1 };
        let mut peer = collided(our_id, 64512, 64512, now);
        message(&mut peer, DIALLED, Message::Open(open(2, 64512)), now);
        message(&mut peer, ACCEPTED, Message::Open(open(2, 64512)), now);
        assert_eq!((peer.state(), peer.next_dial()), (State::OpenConfirm, None));
        peer.handle(Event::Closed(winner, "reset".into()), now);
        let next = peer.next_dial().expect("it dials again");
        assert_eq!(peer.on_deadline(next), [Action::Dial], "{winner:?}");
    }
}

#[test]
fn while_an_accepted_wire_stays_silent_we_dial() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 64512), 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::ConnectFailed("refused".into()), now);
    peer.handle(Event::Connected(ACCEPTED, Direction::Accepted), now);
    let next = peer.next_dial().expect("it dials");
    assert_eq!(peer.on_deadline(next), [Action::Dial]);
    peer.handle(Event::Connected(DIALLED, Direction::Dialled), next);
    // The other is greater, but it does not come.
    message(&mut peer, DIALLED, Message::Open(open(2, 64512)), next);
    assert_eq!(names(&peer.on_deadline(next + GRACE)), "send 1 KEEPALIVE");
    assert_eq!(
        message(&mut peer, DIALLED, Message::Keepalive, next + GRACE),
        "send 2 6/7, close 2, up 1"
    );
}

#[test]
fn a_stop_says_goodbye_on_both_wires() {
    let now = epoch();
    let mut peer = collided(1, 64512, 64512, now);
    let stop = Event::Stop(CeaseReason::AdministrativeShutdown, Some("bye".into()));
    let actions = peer.handle(stop, now);
    assert_eq!(names(&actions), "send 2 6/2, send 1 6/2, close 2, close 1");
    assert_eq!((peer.state(), peer.deadline()), (State::Idle, None));
}
