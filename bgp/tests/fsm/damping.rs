//! Peers that come and go, that tell too much, and what is kept of why.

use std::time::{Duration, Instant};

use brindle_bgp::fsm::{Direction, Event, Peer, PeerSettings, State, WireId};
use brindle_bgp::msg::{CeaseReason, Message, Notification};
use brindle_bgp::net::Family;

use crate::support::{epoch, names, open, settings};

const SECOND: Duration = Duration::from_secs(1);

fn passive() -> PeerSettings {
    PeerSettings { passive: true, ..settings(1, 64512, 65001) }
}

/// The peer connects; whether it was let in. A session comes up if it was.
fn come(peer: &mut Peer, wire: u64, now: Instant) -> bool {
    let wire = WireId(wire);
    let actions = names(&peer.handle(Event::Connected(wire, Direction::Accepted), now));
    if actions != format!("send {} OPEN", wire.0) {
        assert_eq!(actions, format!("send {0} 6/5, close {0}", wire.0));
        return false;
    }
    peer.handle(Event::Received(wire, Message::Open(open(2, 65001))), now);
    peer.handle(Event::Received(wire, Message::Keepalive), now);
    assert_eq!(peer.state(), State::Established);
    true
}

fn reason(peer: &Peer) -> String {
    peer.last_reason().unwrap_or_default()
}

#[test]
fn a_peer_that_flaps_for_ten_minutes_has_few_sessions_and_one_that_restarts_comes_back_at_once() {
    let begin = epoch();
    let mut peer = Peer::new(passive(), 1);
    peer.handle(Event::Start, begin);
    let (mut sessions, mut refused) = (0_u32, 0_u32);
    for round in 0..300 {
        let now = begin + 2 * SECOND * round;
        while peer.deadline().is_some_and(|at| at <= now) {
            peer.on_deadline(now);
        }
        if come(&mut peer, u64::from(round), now) {
            sessions += 1;
            peer.handle(Event::Closed(WireId(round.into()), "reset".into()), now + SECOND);
        } else {
            refused += 1;
        }
        match sessions {
            0..=3 => assert_eq!((refused, peer.idle()), (0, None), "restarts cost nothing"),
            4.. => assert_eq!(reason(&peer), "reset", "what led to it is kept"),
        }
    }
    assert!((8..=16).contains(&sessions), "{sessions} sessions, {refused} refused");
    let idle = peer.idle().expect("it rests");
    assert!(idle.why.starts_with("session ended ") && idle.why.contains(" minutes"), "{idle:?}");
    // An operator who resets it does not have to wait.
    peer.handle(Event::Stop(CeaseReason::AdministrativeReset, None), begin + 600 * SECOND);
    peer.handle(Event::Start, begin + 600 * SECOND);
    assert_eq!(peer.idle(), None);
    assert!(come(&mut peer, 1000, begin + 600 * SECOND));
}

#[test]
fn a_way_that_comes_and_goes_does_not_make_a_flapping_peer_a_calm_one() {
    let mut now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    peer.handle(Event::Start, now);
    for wire in 1..=4 {
        assert!(come(&mut peer, wire, now));
        peer.handle(Event::Closed(WireId(wire), "reset".into()), now + SECOND);
        now += SECOND;
        let before = (peer.idle(), peer.next_dial());
        let actions = names(&peer.handle(Event::Retry, now));
        if wire < 4 {
            assert_eq!(actions, "dial", "it need not wait");
            peer.handle(Event::ConnectFailed("refused".into()), now);
        } else {
            assert_eq!((actions.as_str(), peer.idle(), peer.next_dial()), ("", before.0, before.1));
            assert!(peer.idle().is_some_and(|idle| idle.why.starts_with("session ended 4 times")));
        }
    }
}

#[test]
fn a_way_that_comes_cuts_the_moment_short_that_follows_a_refusal() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(WireId(1), Direction::Dialled), now);
    let bad_as = Notification { code: 2, subcode: 2, data: Default::default() };
    let refusal = Message::Notification(bad_as);
    peer.handle(Event::Received(WireId(1), refusal), now);
    assert_eq!((peer.state(), peer.idle()), (State::Idle, None));
    assert_eq!(names(&peer.handle(Event::Retry, now)), "dial");
    assert_eq!(peer.state(), State::Connect);
}

#[test]
fn a_peer_over_its_limit_is_told_so_and_left_alone_for_as_long_as_configured() {
    for settings in [passive(), settings(1, 64512, 65001)] {
        let (now, is_passive) = (epoch(), settings.passive);
        let mut peer = Peer::new(settings, 1);
        peer.handle(Event::Start, now);
        assert!(come(&mut peer, 1, now) || !is_passive);
        let over = Event::OverLimit(Family::Ipv6Unicast, 1000, 300 * SECOND);
        let actions = peer.handle(over.clone(), now);
        let said =
            "we sent Cease: Maximum Number of Prefixes Reached (6/1) at 1000 prefixes of ipv6";
        assert_eq!(names(&actions), format!("send 1 6/1, close 1, down ({said})"));
        assert_eq!(peer.handle(over, now), [], "said once");
        let idle = peer.idle().expect("it rests");
        assert_eq!(idle.until, now + 300 * SECOND);
        assert_eq!(idle.why, "it told more prefixes than allowed");
        assert_eq!(peer.next_dial(), (!is_passive).then_some(idle.until));
        peer.on_deadline(now + 299 * SECOND);
        assert!(!come(&mut peer, 2, now + 299 * SECOND));
        assert_eq!((reason(&peer).as_str(), peer.state()), (said, State::Idle));
        let actions = names(&peer.on_deadline(now + 300 * SECOND));
        assert_eq!(actions, if is_passive { "" } else { "dial" });
        assert!(come(&mut peer, 3, now + 300 * SECOND));
    }
}

#[test]
fn who_told_too_much_itself_does_not_hammer() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    peer.handle(Event::Start, now);
    assert!(come(&mut peer, 1, now));
    let cease = Message::Notification(Notification::max_prefixes(Family::Ipv4Unicast, 7));
    peer.handle(Event::Received(WireId(1), cease), now);
    let wait = peer.next_dial().expect("it waits") - now;
    assert!(wait >= 45 * SECOND && wait <= 60 * SECOND, "three quarters of the longest: {wait:?}");
    assert!(reason(&peer).ends_with("(6/1) at 7 prefixes of ipv4"), "{}", reason(&peer));
    assert!(come(&mut peer, 2, now), "the other side may come back when it wants");
}

#[test]
fn what_is_wrong_is_not_hidden_by_the_attempts_that_follow() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    peer.handle(Event::Start, now);
    let attempt = |peer: &mut Peer, wire: u64, message: Option<Message>| {
        let wire = WireId(wire);
        let at = peer.deadline().map_or(now, |at| at.max(now));
        peer.on_deadline(at);
        peer.on_deadline(at + 60 * SECOND);
        peer.handle(Event::Connected(wire, Direction::Dialled), at);
        match message {
            Some(message) => peer.handle(Event::Received(wire, message), at),
            None => peer.handle(Event::Closed(wire, "connection reset".into()), at),
        };
        peer.on_deadline(at + 60 * SECOND);
    };
    let rejected =
        || Message::Notification(Notification::cease(CeaseReason::ConnectionRejected, None));
    attempt(&mut peer, 1, None);
    assert_eq!(reason(&peer), "connection reset");
    attempt(&mut peer, 2, Some(rejected()));
    assert!(reason(&peer).contains("(6/5)"), "nothing better is known: {}", reason(&peer));
    attempt(&mut peer, 3, Some(Message::Notification(Notification::bad_peer_as())));
    let wrong_as = "peer sent OPEN Message Error: Bad Peer AS (2/2): the peer does not expect us in \
                    AS 64512";
    assert_eq!(reason(&peer), wrong_as);
    attempt(&mut peer, 4, None);
    attempt(&mut peer, 5, Some(rejected()));
    peer.handle(Event::ConnectFailed("no answer".into()), now);
    assert_eq!(reason(&peer), wrong_as);
    attempt(&mut peer, 6, Some(Message::Notification(Notification::bad_router_id())));
    assert!(reason(&peer).contains("(2/3)"), "{}", reason(&peer));
    // A session shows that it is over.
    let at = now + 1000 * SECOND;
    peer.on_deadline(at);
    assert!(come(&mut peer, 7, at));
    peer.handle(Event::Closed(WireId(7), "gone".into()), at);
    assert_eq!(reason(&peer), "gone");
}
