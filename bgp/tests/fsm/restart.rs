//! Graceful restart in the session machine: what is offered, and which ends leave routes in
//! place (RFC 4724, RFC 8538).

use std::time::Duration;

use crate::support::{epoch, open, settings};
use brindle_bgp::fsm::{
    Action, BfdFailure, Direction, Down, Event, Negotiated, OwnRestart, Peer, PeerSettings,
    RestartOffer, RestartTime, State, WireId,
};
use brindle_bgp::msg::{
    Capability, CeaseReason, GracefulRestart, LongLivedFamily, Message, Notification, Open,
    RestartFamily,
};
use brindle_bgp::net::{AfiSafi, Family};

const V4: AfiSafi = AfiSafi { afi: 1, safi: 1 };
const V6: AfiSafi = AfiSafi { afi: 2, safi: 1 };
const WIRE: WireId = WireId(1);

fn with_restart() -> PeerSettings {
    let offer = RestartOffer {
        time: RestartTime::from_secs(90).unwrap(),
        long_lived: Some(Duration::from_secs(600)),
    };
    PeerSettings { graceful_restart: Some(offer), ..settings(1, 64512, 65001) }
}

fn capability(notification: bool, families: &[(AfiSafi, bool)]) -> Capability {
    let families = families.iter();
    let families =
        families.map(|&(family, forwarding)| RestartFamily { family, forwarding }).collect();
    let (restarting, restart_secs) = (false, 60);
    Capability::GracefulRestart(GracefulRestart {
        restarting,
        notification,
        restart_secs,
        families,
    })
}

fn their_open(more: impl IntoIterator<Item = Capability>) -> Open {
    let mut open = open(2, 65001);
    open.capabilities.extend(more);
    open
}

/// A machine in Established, and the OPEN that it sent.
fn established(peer: &mut Peer, wire: WireId, theirs: Open) -> Open {
    let now = epoch();
    peer.handle(Event::Start, now);
    let said = peer.handle(Event::Connected(wire, Direction::Accepted), now);
    peer.handle(Event::Received(wire, Message::Open(theirs)), now);
    peer.handle(Event::Received(wire, Message::Keepalive), now);
    assert_eq!(peer.state(), State::Established);
    let open = said.into_iter().find_map(|action| match action {
        Action::Send(_, Message::Open(open)) => Some(open),
        _ => None,
    });
    open.expect("it sends an OPEN")
}

fn agreed(settings: PeerSettings, theirs: Open) -> Negotiated {
    let mut peer = Peer::new(settings, 1);
    established(&mut peer, WIRE, theirs);
    peer.negotiated().unwrap().clone()
}

fn said(open: &Open) -> Option<&GracefulRestart> {
    open.capabilities.iter().find_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart),
        _ => None,
    })
}

#[test]
fn an_open_says_what_is_true_of_our_own_restart() {
    let own = |restarting, forwarding| OwnRestart { restarting, forwarding };
    for (row, own, want) in [
        ("new", OwnRestart::default(), (false, [false, false])),
        ("routes of one family found", own(true, [true, false]), (true, [true, false])),
        ("has restarted, and all was heard", own(false, [true, true]), (false, [true, true])),
    ] {
        let mut peer = Peer::new(with_restart(), 1);
        peer.set_own_restart(own);
        let open = established(&mut peer, WIRE, their_open([]));
        let restart = said(&open).expect(row);
        let families: Vec<AfiSafi> = restart.families.iter().map(|one| one.family).collect();
        let forwarding: Vec<bool> = restart.families.iter().map(|one| one.forwarding).collect();
        assert_eq!((restart.restarting, &forwarding[..]), (want.0, &want.1[..]), "{row}");
        assert_eq!((restart.restart_secs, restart.notification), (90, true), "{row}");
        assert_eq!(families, [V4, V6], "{row}");
        assert!(open.capabilities.contains(&Capability::LongLivedRestart(vec![])), "{row}");
    }
    let open = established(&mut Peer::new(settings(1, 64512, 65001), 1), WIRE, their_open([]));
    assert_eq!(said(&open), None, "off");
}

#[test]
fn what_was_forwarded_in_a_session_is_forwarded_in_the_next() {
    let mut peer = Peer::new(with_restart(), 1);
    let first = established(&mut peer, WIRE, their_open([]));
    peer.handle(Event::Closed(WIRE, "reset".into()), epoch());
    let second = established(&mut peer, WireId(2), their_open([]));
    let forwarding = |open: &Open| said(open).unwrap().families.iter().all(|one| one.forwarding);
    assert_eq!((forwarding(&first), forwarding(&second)), (false, true));
    assert!(!said(&second).unwrap().restarting, "only its TCP connection was lost");
}

#[test]
fn who_restarts_again_and_again_rests_for_less_than_its_routes_are_kept() {
    let asked = Duration::from_secs(60);
    for (row, theirs, most) in [
        ("kept", vec![capability(true, &[(V4, true), (V6, true)])], asked / 4),
        ("of one family", vec![capability(true, &[(V6, false)])], asked / 4),
        ("of none", vec![capability(true, &[])], Duration::from_secs(120)),
        ("not kept", vec![], Duration::from_secs(120)),
    ] {
        let mut peer = Peer::new(with_restart(), 1);
        let (mut now, mut longest) = (epoch(), Duration::ZERO);
        peer.handle(Event::Start, now);
        for wire in 1..=12 {
            while peer.idle().is_some() {
                now = peer.deadline().expect("its rest ends");
                peer.on_deadline(now);
            }
            let wire = WireId(wire);
            peer.handle(Event::Connected(wire, Direction::Accepted), now);
            peer.handle(Event::Received(wire, Message::Open(their_open(theirs.clone()))), now);
            peer.handle(Event::Received(wire, Message::Keepalive), now);
            assert_eq!(peer.state(), State::Established, "{row}");
            peer.handle(Event::Closed(wire, "reset".into()), now);
            let rest = peer.idle().map(|idle| idle.until - now);
            longest = longest.max(rest.unwrap_or_default());
        }
        assert!(longest <= most, "{row}: {longest:?}");
        assert!(longest >= most * 3 / 4, "{row}: it rests nevertheless, {longest:?}");
    }
}

#[test]
fn what_both_sides_say_is_agreed_for_families_that_are() {
    let both = [(V4, true), (V6, false)];
    let long = |secs| LongLivedFamily { family: V4, forwarding: true, stale_secs: secs };
    let full = agreed(
        with_restart(),
        their_open([capability(true, &both), Capability::LongLivedRestart(vec![long(3600)])]),
    );
    let restart = full.restart.unwrap();
    assert_eq!(restart.families, [Some(true), Some(false)]);
    assert_eq!((restart.time, restart.notification), (Duration::from_secs(60), true));
    let limit = Duration::from_secs(600);
    assert_eq!(restart.long_lived, [Some((true, limit)), None], "never longer than we will");
    for (row, settings, theirs, want) in [
        ("the peer does not", with_restart(), vec![], None),
        ("we do not", settings(1, 64512, 65001), vec![capability(true, &both)], None),
        ("it only keeps", with_restart(), vec![capability(true, &[])], Some([None, None])),
        (
            "the last one counts",
            with_restart(),
            vec![capability(true, &both), capability(true, &[(V6, true)])],
            Some([None, Some(true)]),
        ),
        (
            "one family only",
            PeerSettings { families: vec![Family::Ipv6Unicast], ..with_restart() },
            vec![capability(true, &both)],
            Some([None, Some(false)]),
        ),
    ] {
        let got = agreed(settings, their_open(theirs)).restart.map(|restart| restart.families);
        assert_eq!(got, want, "{row}");
    }
}

#[test]
fn who_reads_long_lived_routes_says_so_beside_graceful_restart() {
    let long = || Capability::LongLivedRestart(vec![]);
    for (row, theirs, want) in [
        ("both", vec![long(), capability(false, &[])], true),
        ("alone it means nothing", vec![long()], false),
        ("neither", vec![], false),
    ] {
        let got = agreed(with_restart(), their_open(theirs)).long_lived_restart;
        assert_eq!(got, want, "{row}");
    }
}

/// Every way that a session can end, for a peer with the N bit, without it, and without
/// graceful restart.
#[test]
fn the_end_of_tcp_leaves_routes_in_place_and_a_notification_only_by_agreement() {
    let families = [(V4, true)];
    let with_n = agreed(with_restart(), their_open([capability(true, &families)]));
    let without_n = agreed(with_restart(), their_open([capability(false, &families)]));
    let without = agreed(with_restart(), their_open([]));
    let check = |row: String, why: &Down, want: [bool; 3]| {
        let got = [&with_n, &without_n, &without].map(|agreed| agreed.is_outlived(why));
        assert_eq!(got, want, "{row}");
    };
    check("TCP".into(), &Down::Tcp("reset".into()), [true, true, false]);
    check("silent".into(), &Down::Silent, [true, true, false]);
    check("hold timer".into(), &Down::HoldTimerExpired, [true, false, false]);
    check("send hold timer".into(), &Down::SendHoldTimerExpired, [true, false, false]);
    let bfd = |is_certain| Down::BfdDown(BfdFailure { why: "silence".into(), is_certain });
    check("BFD that shares its fate with the rest".into(), &bfd(false), [true, true, false]);
    check("BFD that does not".into(), &bfd(true), [false, false, false]);
    for subcode in 0..=11 {
        let is_hard = subcode == 9;
        let cease = Notification { code: 6, subcode, data: Default::default() };
        let want = [!is_hard, false, false];
        check(format!("Cease {subcode} received"), &Down::Received(cease.clone()), want);
        // Who told more than it may is not kept more of.
        let want = [!is_hard && subcode != 1, false, false];
        check(format!("Cease {subcode} sent"), &Down::Sent(cease), want);
    }
    for (code, subcode) in [(1, 2), (3, 1), (4, 0), (5, 3), (7, 1), (8, 0)] {
        let why = Notification { code, subcode, data: Default::default() };
        check(format!("{code}/{subcode}"), &Down::Received(why), [true, false, false]);
    }
}

/// What is sent when we end a session: by the N bit of the peer.
#[test]
fn what_shall_end_for_good_is_a_hard_reset_where_the_peer_would_keep_routes() {
    use CeaseReason as Why;
    for reason in Why::ALL {
        let is_final = !matches!(
            reason,
            Why::AdministrativeReset
                | Why::ConnectionRejected
                | Why::ConnectionCollisionResolution
                | Why::OutOfResources
        );
        for (notification, is_hard) in [(true, is_final), (false, reason == Why::HardReset)] {
            let mut peer = Peer::new(with_restart(), 1);
            established(&mut peer, WIRE, their_open([capability(notification, &[(V4, true)])]));
            let actions = peer.handle(Event::Stop(reason, Some("bye".into())), epoch());
            let Some(Action::Send(_, Message::Notification(sent))) = actions.first() else {
                panic!("{reason}: {actions:?}");
            };
            let plain = Notification::cease(reason, Some("bye"));
            if !is_hard {
                assert_eq!(*sent, plain, "{reason}, N {notification}");
                continue;
            }
            assert_eq!((sent.code, sent.subcode), (6, 9), "{reason}");
            let inside = sent.enclosed().expect("a hard reset says why");
            match reason {
                Why::HardReset => assert_eq!((inside.code, inside.subcode), (6, 4)),
                _ => assert_eq!(inside, plain, "code, subcode and data as they would be without"),
            }
            assert!(!peer.negotiated().is_some_and(|it| it.is_outlived(&Down::Sent(sent.clone()))));
        }
    }
}

#[test]
fn a_path_that_failed_is_told_so_that_both_sides_keep_the_same_routes() {
    let kept = [(V4, true)];
    for (row, theirs, is_certain, want) in [
        ("keeps by the N bit", vec![capability(true, &kept)], false, Some((6, 10))),
        ("its BFD outlives it", vec![capability(true, &kept)], true, Some((6, 9))),
        ("a NOTIFICATION would end it", vec![capability(false, &kept)], false, None),
        ("likewise, but it is over", vec![capability(false, &kept)], true, Some((6, 10))),
        ("keeps nothing", vec![], false, Some((6, 10))),
    ] {
        let mut peer = Peer::new(with_restart(), 1);
        established(&mut peer, WIRE, their_open(theirs));
        let failure = BfdFailure { why: "silence".into(), is_certain };
        let actions = peer.handle(Event::BfdDown(failure.clone()), epoch());
        let sent = actions.iter().find_map(|action| match action {
            Action::Send(_, Message::Notification(sent)) => Some((sent.code, sent.subcode)),
            _ => None,
        });
        assert_eq!(sent, want, "{row}: {actions:?}");
        assert!(actions.contains(&Action::Close(WIRE)), "{row}: {actions:?}");
        assert!(actions.contains(&Action::Down(Down::BfdDown(failure))), "{row}: {actions:?}");
    }
}

#[test]
fn a_restart_is_silent_only_to_those_that_keep_routes() {
    for (row, theirs, is_silent) in [
        ("keeps", vec![capability(true, &[(V4, true)])], true),
        ("keeps, without the N bit", vec![capability(false, &[])], true),
        ("does not", vec![], false),
    ] {
        let mut peer = Peer::new(with_restart(), 1);
        established(&mut peer, WIRE, their_open(theirs));
        let actions = peer.handle(Event::Restart(Some("upgrade".into())), epoch());
        let sent = actions.iter().any(|action| matches!(action, Action::Send(..)));
        assert_eq!(sent, !is_silent, "{row}: {actions:?}");
        assert!(actions.contains(&Action::Close(WIRE)), "{row}: {actions:?}");
        assert_eq!(
            (peer.state(), peer.last_error() == Some(&Down::Silent)),
            (State::Idle, is_silent)
        );
    }
}

#[test]
fn restart_times_are_those_that_twelve_bits_can_say() {
    for (secs, want) in [(0, false), (1, true), (4095, true), (4096, false), (u16::MAX, false)] {
        assert_eq!(RestartTime::from_secs(secs).is_ok(), want, "{secs}");
    }
}
