//! The timers of one machine, with the clock moved by hand.

use std::time::{Duration, Instant};

use brindle_bgp::fsm::{Action, Direction, Down, Event, Peer, PeerSettings, State, WireId};
use brindle_bgp::msg::{CeaseReason, Message, Notification, Open, Update};

use crate::support::{asn, epoch, hold, names, open, settings};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const WIRE: WireId = WireId(1);

fn established(settings: PeerSettings, theirs: Open, now: Instant) -> Peer {
    let mut peer = Peer::new(settings, 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(WIRE, Direction::Dialled), now);
    peer.handle(Event::Received(WIRE, Message::Open(theirs)), now);
    peer.handle(Event::Received(WIRE, Message::Keepalive), now);
    assert_eq!(peer.state(), State::Established);
    peer
}

/// Runs the timers up to and with `end`; what they did and when.
fn run(peer: &mut Peer, begin: Instant, end: Instant) -> Vec<(Duration, String)> {
    let mut done = Vec::new();
    while let Some(at) = peer.deadline().filter(|&at| at <= end) {
        assert_eq!(peer.on_deadline(at - Duration::from_nanos(1)), [], "before its time");
        let actions = peer.on_deadline(at);
        assert!(peer.deadline().is_none_or(|next| next > at), "the deadline stands still");
        if !actions.is_empty() {
            done.push((at - begin, names(&actions)));
        }
    }
    done
}

#[test]
fn whatever_comes_in_restarts_the_hold_timer() {
    let refresh = brindle_bgp::msg::RouteRefresh {
        family: brindle_bgp::net::AfiSafi { afi: 99, safi: 9 },
        kind: brindle_bgp::msg::Refresh::Request,
    };
    for message in [
        Message::Keepalive,
        Message::Update(Update::default()),
        Message::EndOfRib(brindle_bgp::net::Family::Ipv4Unicast),
        Message::RouteRefresh(refresh),
    ] {
        let now = epoch();
        let mut peer = established(settings(1, 64512, 65001), open(2, 65001), now);
        run(&mut peer, now, now + 60 * SECOND);
        peer.handle(Event::Received(WIRE, message.clone()), now + 60 * SECOND);
        run(&mut peer, now, now + 150 * SECOND - Duration::from_nanos(1));
        assert_eq!(peer.state(), State::Established, "{message:?}");
        let done = run(&mut peer, now, now + 150 * SECOND);
        let want = "send 1 4/0, close 1, down (hold timer expired: nothing came from the peer in \
                    time)";
        assert_eq!(done, [(150 * SECOND, want.to_owned())], "{message:?}");
        assert_eq!(peer.last_error(), Some(&Down::HoldTimerExpired));
        assert!(peer.next_dial().is_some(), "it tries again");
    }
}

#[test]
fn keepalives_go_out_every_third_of_the_hold_time_less_up_to_a_quarter() {
    for (secs, shortest, longest) in [(90, 22_500, 30_000), (9, 2_250, 3_000), (3, 1_000, 1_000)] {
        let now = epoch();
        let theirs = Open { hold_time: hold(secs), ..open(2, 65001) };
        let mut peer = established(settings(1, 64512, 65001), theirs, now);
        let mut last = now;
        let mut gaps = Vec::new();
        for _ in 0..200 {
            let at = peer.deadline().expect("a timer runs");
            assert_eq!(names(&peer.on_deadline(at)), "send 1 KEEPALIVE", "{secs} s");
            gaps.push(at - last);
            last = at;
            peer.handle(Event::Received(WIRE, Message::Keepalive), at);
            peer.handle(Event::Progress(WIRE), at);
        }
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        let allowed = Duration::from_millis(shortest)..=Duration::from_millis(longest);
        assert!(allowed.contains(least) && allowed.contains(most), "{secs} s: {least:?} {most:?}");
        assert!(secs == 3 || least != most, "{secs} s: no jitter");
    }
}

#[test]
fn without_hold_time_no_timer_runs_in_established() {
    for (ours, theirs) in [(0, 90), (90, 0), (0, 0)] {
        let settings = PeerSettings {
            hold_time: hold(ours),
            send_hold: Some(MINUTE),
            ..settings(1, 64512, 65001)
        };
        let theirs = Open { hold_time: hold(theirs), ..open(2, 65001) };
        let peer = established(settings, theirs, epoch());
        assert_eq!(peer.deadline(), None, "{ours} s");
    }
}

#[test]
fn a_peer_that_does_not_read_is_given_up_after_the_send_hold_time() {
    for (secs, configured, want) in [
        (90, None, 480),
        (600, None, 1200),
        (90, Some(120), 120),
        // Never shorter than the hold time: an idle session writes nothing but KEEPALIVEs.
        (90, Some(5), 90),
    ] {
        let settings = PeerSettings {
            hold_time: hold(secs),
            send_hold: configured.map(Duration::from_secs),
            ..settings(1, 64512, 65001)
        };
        let now = epoch();
        let theirs = Open { hold_time: hold(secs), ..open(2, 65001) };
        let mut peer = established(settings, theirs, now);
        let mut at = now + 10 * SECOND;
        peer.handle(Event::Progress(WIRE), at);
        let ended = loop {
            at += SECOND;
            peer.handle(Event::Received(WIRE, Message::Keepalive), at);
            let actions = names(&peer.on_deadline(at));
            if peer.state() != State::Established {
                break actions;
            }
            assert!(at < now + 3600 * SECOND, "never given up");
        };
        assert_eq!((at - now).as_secs(), want + 10, "hold {secs} s, configured {configured:?}");
        assert_eq!(
            ended,
            "send 1 8/0, close 1, down (send hold timer expired: the peer does not read what we \
             send)"
        );
    }
}

#[test]
fn a_wire_without_open_or_confirmation_ends_some_day() {
    let now = epoch();
    for (theirs, want) in [(None, 240), (Some(90), 90), (Some(0), 240)] {
        let mut peer = Peer::new(settings(1, 64512, 65001), 1);
        peer.handle(Event::Start, now);
        peer.handle(Event::Connected(WIRE, Direction::Dialled), now);
        if let Some(secs) = theirs {
            let theirs = Open { hold_time: hold(secs), ..open(2, 65001) };
            peer.handle(Event::Received(WIRE, Message::Open(theirs)), now);
        }
        let done = run(&mut peer, now, now + want * SECOND);
        let last = done.last().expect("it ends");
        assert_eq!(*last, (want * SECOND, "send 1 4/0, close 1".into()), "{theirs:?}");
    }
}

#[test]
fn an_unanswered_dial_is_given_up_for_another() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    assert_eq!(peer.handle(Event::Start, now), [Action::Dial]);
    let done = run(&mut peer, now, now + MINUTE);
    let want: Vec<_> = (1..=4).map(|n| (n * 15 * SECOND, "abandon, dial".to_owned())).collect();
    assert_eq!(done, want);
    assert_eq!(
        peer.last_error().map(ToString::to_string).as_deref(),
        Some("no answer within 15 s")
    );
}

/// How long the machine waits before each of `count` more attempts that all end with `fail`.
fn waits(peer: &mut Peer, mut now: Instant, count: usize, fail: fn(u64) -> Vec<Event>) -> Vec<f64> {
    let mut waits = Vec::new();
    for wire in 0..count {
        for event in fail(100 + wire as u64) {
            peer.handle(event, now);
        }
        let next = peer.next_dial().expect("it waits");
        waits.push((next - now).as_secs_f64());
        while now < next {
            now = peer.deadline().expect("a timer runs");
            let actions = peer.on_deadline(now);
            assert_eq!(now == next, actions == [Action::Dial], "{}", names(&actions));
        }
    }
    waits
}

#[test]
fn waits_grow_whether_tcp_or_the_open_exchange_fails() {
    let refused: fn(u64) -> Vec<Event> = |_| vec![Event::ConnectFailed("refused".into())];
    let wrong_as: fn(u64) -> Vec<Event> = |wire| {
        let wire = WireId(wire);
        vec![
            Event::Connected(wire, Direction::Dialled),
            Event::Received(wire, Message::Open(open(2, 65009))),
        ]
    };
    let closed: fn(u64) -> Vec<Event> = |wire| {
        let wire = WireId(wire);
        vec![Event::Connected(wire, Direction::Dialled), Event::Closed(wire, "closed".into())]
    };
    let short: fn(u64) -> Vec<Event> = |wire| {
        let wire = WireId(wire);
        vec![
            Event::Connected(wire, Direction::Dialled),
            Event::Received(wire, Message::Open(open(2, 65001))),
            Event::Received(wire, Message::Keepalive),
            Event::Closed(wire, "closed".into()),
        ]
    };
    // The peer holds on to a session that we know nothing of.
    let collision: fn(u64) -> Vec<Event> = |wire| {
        let wire = WireId(wire);
        let cease = Notification::cease(CeaseReason::ConnectionCollisionResolution, None);
        vec![
            Event::Connected(wire, Direction::Dialled),
            Event::Received(wire, Message::Notification(cease)),
        ]
    };
    for (name, fail) in [
        ("refused", refused),
        ("wrong AS", wrong_as),
        ("closed", closed),
        ("short", short),
        ("collision", collision),
    ] {
        let now = epoch();
        let mut peer = Peer::new(settings(1, 64512, 65001), 5);
        peer.handle(Event::Start, now);
        let waits = waits(&mut peer, now, 8, fail);
        let wants = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
        for (wait, want) in waits.iter().zip(wants) {
            assert!((0.75 * want..=want).contains(wait), "{name}: {waits:?}");
        }
    }
}

#[test]
fn a_session_that_lasted_forgets_the_failures_before_it() {
    for (lasted, want) in [(30 * SECOND, 16.0..=32.0), (2 * MINUTE, 0.75..=1.0)] {
        let now = epoch();
        let mut peer = Peer::new(settings(1, 64512, 65001), 5);
        peer.handle(Event::Start, now);
        waits(&mut peer, now, 5, |_| vec![Event::ConnectFailed("refused".into())]);
        let mut at = now + 5 * MINUTE;
        peer.handle(Event::Connected(WIRE, Direction::Dialled), at);
        peer.handle(Event::Received(WIRE, Message::Open(open(2, 65001))), at);
        peer.handle(Event::Received(WIRE, Message::Keepalive), at);
        assert_eq!(peer.established_since(), Some(at));
        at += lasted;
        peer.handle(Event::Closed(WIRE, "closed".into()), at);
        let wait = (peer.next_dial().expect("it waits") - at).as_secs_f64();
        assert!(want.contains(&wait), "lasted {lasted:?}, waits {wait} s");
        assert_eq!((peer.times_established(), peer.established_since()), (1, None));
    }
}

#[test]
fn after_a_refused_open_the_peer_is_turned_away_for_a_moment() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(WIRE, Direction::Dialled), now);
    peer.handle(Event::Received(WIRE, Message::Open(open(2, 65009))), now);
    assert_eq!(peer.state(), State::Idle);
    assert_eq!(peer.last_open().and_then(Open::asn), Some(asn(65009)), "to be shown");
    let actions = peer.handle(Event::Connected(WireId(2), Direction::Accepted), now);
    assert_eq!(names(&actions), "send 2 6/5, close 2");
    let soon = now + Duration::from_millis(700);
    let actions = peer.handle(Event::Connected(WireId(3), Direction::Accepted), soon);
    assert_eq!(names(&actions), "send 3 6/5, close 3");
    peer.on_deadline(now + SECOND);
    let actions = peer.handle(Event::Connected(WireId(4), Direction::Accepted), now + SECOND);
    assert_eq!(names(&actions), "send 4 OPEN");
}

#[test]
fn a_stop_forgets_failures_and_a_start_dials_at_once() {
    let now = epoch();
    let mut peer = Peer::new(settings(1, 64512, 65001), 1);
    peer.handle(Event::Start, now);
    waits(&mut peer, now, 6, |_| vec![Event::ConnectFailed("refused".into())]);
    peer.handle(Event::Stop(CeaseReason::AdministrativeReset, None), now);
    assert_eq!((peer.state(), peer.deadline()), (State::Idle, None));
    assert_eq!(peer.handle(Event::Start, now), [Action::Dial]);
    peer.handle(Event::ConnectFailed("refused".into()), now);
    assert!(peer.next_dial().is_some_and(|at| at <= now + SECOND));
}

#[test]
fn a_passive_peer_never_dials() {
    let now = epoch();
    let passive = PeerSettings { passive: true, ..settings(1, 64512, 65001) };
    let mut peer = Peer::new(passive, 1);
    assert_eq!(peer.handle(Event::Start, now), []);
    assert_eq!((peer.state(), peer.deadline()), (State::Active, None));
    let actions = peer.handle(Event::Connected(WIRE, Direction::Accepted), now);
    assert_eq!(names(&actions), "send 1 OPEN");
    peer.handle(Event::Closed(WIRE, "closed".into()), now);
    assert_eq!((peer.state(), peer.deadline(), peer.next_dial()), (State::Active, None, None));
}
