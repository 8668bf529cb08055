//! States: every one of ours with every one of the peer's.

use super::*;

#[test]
fn each_state_answers_each_state_of_the_peer_as_the_rfc_says() {
    use State::{AdminDown, Down, Init, Up};
    for (ours, [admin_down, down, init, up]) in [
        (Down, [Down, Init, Up, Down]),
        (Init, [Down, Init, Up, Up]),
        (Up, [Down, Down, Up, Up]),
        (AdminDown, [AdminDown; 4]),
    ] {
        for (theirs, want) in [(AdminDown, admin_down), (Down, down), (Init, init), (Up, up)] {
            let now = epoch();
            let mut session = session(intervals(100, 100, 3), now);
            bring_to(&mut session, ours, now);
            let out = session.receive(&packet(theirs), now);
            assert_eq!(session.state(), want, "{ours} hears {theirs}");
            assert_eq!(out.change.is_some(), ours != want, "{ours} hears {theirs}");
            // Who changed says so at once (§6.8.7).
            let said = out.send.map(|packet| packet.state);
            assert_eq!(said, (ours != want).then_some(want), "{ours} hears {theirs}");
        }
    }
}

#[test]
fn only_a_path_that_failed_concerns_the_clients_of_a_session() {
    let signaled = Packet {
        diagnostic: Diagnostic::DetectionTimeExpired,
        your_discriminator: None,
        ..packet(State::Down)
    };
    let now = epoch();
    let failures = |out: super::super::Output| {
        let change = out.change.expect("the state changed");
        (change.cause, change.is_failure(true), change.is_failure(false))
    };
    let fresh = || up(intervals(100, 100, 3), now);

    let want = (Cause::Signaled(Diagnostic::DetectionTimeExpired), true, true);
    let mut session = fresh();
    assert_eq!(failures(session.receive(&signaled, now)), want, "the peer lost us or restarted");
    assert_eq!(session.diagnostic(), Diagnostic::NeighborSignaledDown);

    let mut session = fresh();
    let silent = session.on_deadline(now + ms(300));
    assert_eq!(failures(silent), (Cause::Silence(ms(300)), true, true), "silence");
    assert_eq!(session.diagnostic(), Diagnostic::DetectionTimeExpired);

    let mut session = fresh();
    let off = session.receive(&packet(State::AdminDown), now);
    assert_eq!(failures(off), (Cause::SwitchedOff, false, true), "RFC 5882 §3.2");
    assert_eq!(session.diagnostic(), Diagnostic::NeighborSignaledDown);

    let mut session = fresh();
    assert_eq!(failures(session.disable(now)), (Cause::Told, false, false), "we wanted it");
    assert_eq!(session.diagnostic(), Diagnostic::AdministrativelyDown);

    let mut session = super::session(intervals(100, 100, 3), now);
    bring_to(&mut session, State::Init, now);
    let never_up = session.on_deadline(now + ms(300));
    assert_eq!(failures(never_up), (Cause::Silence(ms(300)), false, false), "it was not Up");
}

#[test]
fn a_session_that_is_switched_off_says_so_and_comes_back_when_told() {
    let now = epoch();
    let mut session = up(intervals(100, 100, 3), now);
    let out = session.disable(now);
    let said = out.send.expect("the peer is told at once");
    assert_eq!(
        (said.state, said.diagnostic, said.desired_min_tx),
        (State::AdminDown, Diagnostic::AdministrativelyDown, ms(1000))
    );
    let again = session.on_deadline(now + ms(1000)).send.expect("and told again");
    assert_eq!(again.state, State::AdminDown);
    let asked = session.receive(&Packet { is_poll: true, ..packet(State::Up) }, now);
    assert_eq!((asked.send, asked.change), (None, None), "what comes is discarded (§6.8.6)");
    assert_eq!(session.disable(now).change, None, "it is off already");
    let on = session.enable(now).change.expect("it changes");
    assert_eq!((on.from, on.to), (State::AdminDown, State::Down));
    assert!(!on.is_failure(false));
}

#[test]
fn a_silent_peer_is_forgotten_whatever_the_state() {
    for state in [State::Down, State::Init, State::Up] {
        let now = epoch();
        let mut session = session(intervals(100, 100, 3), now);
        bring_to(&mut session, state, now);
        // In Down, a packet that changes nothing.
        let _ = session.receive(&packet(State::Up), now);
        assert_eq!(session.remote().discriminator, NonZeroU32::new(2), "{state}");
        let out = session.on_deadline(now + ms(10_000));
        assert_eq!(session.remote().discriminator, None, "{state}");
        assert_eq!(session.state(), State::Down, "{state}");
        let said = out.send.expect("at least the periodic packet is due");
        assert_eq!(said.your_discriminator, None, "{state}: it begins anew");
    }
}

#[test]
fn what_the_peer_says_of_itself_can_be_shown() {
    let now = epoch();
    let mut session = session(intervals(100, 100, 3), now);
    let said = Packet {
        diagnostic: Diagnostic::PathDown,
        is_independent: true,
        multiplier: NonZeroU8::new(5).unwrap(),
        required_min_rx: ms(70),
        ..packet(State::Down)
    };
    let _ = session.receive(&said, now);
    let want = Remote {
        discriminator: NonZeroU32::new(2),
        state: State::Down,
        diagnostic: Diagnostic::PathDown,
        desired_min_tx: ms(100),
        required_min_rx: ms(70),
        multiplier: NonZeroU8::new(5).unwrap(),
        is_demand: false,
        is_independent: true,
    };
    assert_eq!(*session.remote(), want);
}
