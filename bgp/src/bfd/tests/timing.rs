//! Intervals, jitter, detection and Poll Sequences.

use super::*;

#[test]
fn the_detection_time_is_the_peers_multiplier_times_the_slower_of_its_sending_and_our_receiving() {
    // Ours: transmit, receive, multiplier; the peer's: desired, multiplier.
    for (ours, theirs, want) in [
        ((50, 50, 3), (50, 3), 150),
        ((50, 50, 3), (50, 5), 250),
        ((50, 50, 9), (50, 2), 100),
        ((50, 50, 3), (200, 3), 600),
        ((50, 300, 3), (50, 3), 900),
        ((2000, 50, 9), (50, 1), 50),
    ] {
        let now = epoch();
        let mut session = up(intervals(ours.0, ours.1, ours.2), now);
        let said = Packet {
            desired_min_tx: ms(theirs.0),
            multiplier: NonZeroU8::new(theirs.1).unwrap(),
            ..packet(State::Up)
        };
        let _ = session.receive(&said, now);
        assert_eq!(session.detection_time(), Some(ms(want)), "{ours:?} {theirs:?}");
        let early = session.on_deadline(now + ms(want) - Duration::from_micros(1));
        assert_eq!(early.change, None, "{ours:?} {theirs:?}: not yet");
        let late = session.on_deadline(now + ms(want));
        assert_eq!(late.change.map(|change| change.to), Some(State::Down), "{ours:?} {theirs:?}");
    }
}

/// The times between `count` packets when nothing else happens.
fn gaps(session: &mut Session, count: usize) -> Vec<Duration> {
    let mut gaps = Vec::new();
    let mut last = None;
    while gaps.len() < count {
        let Some(now) = session.deadline() else { break };
        let out = session.on_deadline(now);
        if out.send.is_some() {
            gaps.extend(last.map(|last| now - last));
            last = Some(now);
        }
        if session.state() == State::Up {
            let _ = session.receive(&packet(State::Up), now);
        }
    }
    gaps
}

#[test]
fn packets_leave_at_three_quarters_to_all_of_the_interval_and_sooner_with_multiplier_1() {
    for (multiplier, most) in [(3, 100), (1, 90)] {
        let now = epoch();
        let mut session = up(intervals(100, 100, multiplier), now);
        let gaps = gaps(&mut session, 2000);
        let (least, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!((75..77).contains(&least.as_millis()), "{multiplier}: {least:?}");
        let longest = longest.as_millis();
        assert!((most - 2..=most).contains(&longest), "{multiplier}: {longest} of {most}");
    }
}

#[test]
fn it_sends_as_slowly_as_the_peer_wants_and_once_a_second_until_it_is_up() {
    for (state, transmit, their_receive, want) in [
        (State::Down, 50, 50, 1000),
        (State::Down, 3000, 50, 3000),
        (State::Init, 50, 5000, 5000),
        (State::Up, 50, 50, 50),
        (State::Up, 50, 400, 400),
        (State::AdminDown, 50, 50, 1000),
    ] {
        let now = epoch();
        let mut session = session(intervals(transmit, 60_000, 3), now);
        let said =
            |state| Packet { required_min_rx: ms(their_receive), is_final: true, ..packet(state) };
        let heard: &[State] = match state {
            State::AdminDown | State::Down => &[],
            State::Init => &[State::Down],
            State::Up => &[State::Init, State::Up],
        };
        for state in heard {
            let _ = session.receive(&said(*state), now);
        }
        if state == State::AdminDown {
            let _ = session.disable(now);
        }
        assert_eq!(session.transmit_interval(), ms(want), "{state}");
        let first = session.on_deadline(now + ms(60_000)).send.expect("long due");
        let floor = if state == State::Up { 0 } else { 1000 };
        assert_eq!(first.desired_min_tx, ms(transmit.max(floor)), "{state}: what it says");
        let next = session.deadline().unwrap() - (now + ms(60_000));
        assert!(next <= ms(want) && next >= ms(want) * 3 / 4, "{state}: {next:?} of {want} ms");
    }
}

#[test]
fn a_peer_that_wants_none_gets_no_periodic_packets_but_its_polls_are_answered() {
    for (what, said, sends) in [
        (
            "Required Min RX of zero",
            Packet { required_min_rx: Duration::ZERO, ..packet(State::Up) },
            false,
        ),
        ("Demand mode", Packet { is_demand: true, ..packet(State::Up) }, false),
        ("Demand mode before it is Up", Packet { is_demand: true, ..packet(State::Init) }, true),
        ("Demand mode is over", packet(State::Up), true),
    ] {
        let now = epoch();
        let mut session = up(intervals(100, 100, 3), now);
        let _ = session.receive(&Packet { is_demand: true, ..packet(State::Up) }, now);
        let _ = session.receive(&said, now);
        // Before the peer would be taken for lost.
        let sent = session.on_deadline(now + ms(299)).send;
        assert_eq!(sent.is_some(), sends, "{what}");
        let polled = Packet { is_poll: true, ..said };
        let answer = session.receive(&polled, now + ms(299)).send.expect("a poll is answered");
        assert!(answer.is_final && !answer.is_poll, "{what}: {answer:?}");
    }
}

#[test]
fn a_poll_of_ours_goes_to_a_peer_in_demand_mode_as_well() {
    let now = epoch();
    let mut session = up(intervals(100, 100, 3), now);
    let demand = Packet { is_demand: true, ..packet(State::Up) };
    let _ = session.receive(&demand, now);
    assert_eq!(session.on_deadline(now + ms(200)).send, None);
    session.configure(intervals(80, 100, 3), now);
    let asked = session.on_deadline(now + ms(200)).send.expect("the peer must be told");
    assert!(asked.is_poll && asked.desired_min_tx == ms(80), "{asked:?}");
    let _ = session.receive(&Packet { is_final: true, ..demand }, now + ms(210));
    assert_eq!(session.on_deadline(now + ms(400)).send, None, "the sequence is over");
}

#[test]
fn being_up_is_told_with_a_poll_until_it_is_answered() {
    let now = epoch();
    let mut session = session(intervals(50, 50, 3), now);
    let up = session.receive(&packet(State::Init), now).send.expect("the state changed");
    assert!(up.is_poll && up.desired_min_tx == ms(50), "{up:?}");
    let next = session.on_deadline(now + ms(100)).send.expect("due");
    assert!(next.is_poll, "it goes on asking: {next:?}");
    // Both ask at once: an answer carries F, and never P as well.
    let both = Packet { is_poll: true, ..packet(State::Up) };
    let answer = session.receive(&both, now + ms(100)).send.expect("an answer");
    assert!(answer.is_final && !answer.is_poll, "{answer:?}");
    let _ = session.receive(&Packet { is_final: true, ..packet(State::Up) }, now + ms(110));
    let next = session.on_deadline(now + ms(200)).send.expect("due");
    assert!(!next.is_poll, "answered: {next:?}");
}

#[test]
fn slower_sending_and_faster_detection_wait_for_the_peers_answer() {
    let final_packet = Packet { is_final: true, ..packet(State::Up) };
    // From and to: transmit and receive. In force before and after the answer: the interval
    // of sending, and the detection time.
    for (from, to, before, after) in [
        ((100, 300), (400, 300), (100, 900), (400, 900)),
        ((400, 300), (100, 300), (100, 900), (100, 900)),
        ((100, 300), (100, 600), (100, 1800), (100, 1800)),
        ((100, 600), (100, 300), (100, 1800), (100, 900)),
        ((400, 600), (100, 300), (100, 1800), (100, 900)),
    ] {
        let now = epoch();
        let mut session = up(intervals(from.0, from.1, 3), now);
        let _ = session.receive(&packet(State::Up), now);
        session.configure(intervals(to.0, to.1, 3), now);
        let in_force =
            |session: &Session| (session.transmit_interval(), session.detection_time().unwrap());
        let want = |(transmit, detect)| (ms(transmit), ms(detect));
        assert_eq!(in_force(&session), want(before), "{from:?} to {to:?}, before");
        let asked = session.on_deadline(now + ms(401)).send.expect("due");
        assert_eq!(
            (asked.is_poll, asked.desired_min_tx, asked.required_min_rx),
            (true, ms(to.0), ms(to.1)),
            "{from:?} to {to:?}: says at once what is wanted"
        );
        let _ = session.receive(&final_packet, now + ms(402));
        assert_eq!(in_force(&session), want(after), "{from:?} to {to:?}, after");
        assert_eq!(session.state(), State::Up);
    }
}

#[test]
fn a_second_change_while_the_first_is_asked_is_asked_after_a_packet_without_p() {
    let now = epoch();
    let mut session = up(intervals(100, 300, 3), now);
    session.configure(intervals(200, 300, 3), now);
    let first = session.on_deadline(now + ms(200)).send.unwrap();
    assert!(first.is_poll && first.desired_min_tx == ms(200), "{first:?}");
    session.configure(intervals(400, 300, 3), now + ms(200));
    let final_packet = Packet { is_final: true, ..packet(State::Up) };
    let _ = session.receive(&final_packet, now + ms(210));
    assert_eq!(session.transmit_interval(), ms(100), "it may be the answer to 200 ms");
    let pause = session.on_deadline(now + ms(320)).send.unwrap();
    assert!(!pause.is_poll, "{pause:?}");
    let second = session.on_deadline(now + ms(430)).send.unwrap();
    assert!(second.is_poll && second.desired_min_tx == ms(400), "{second:?}");
    let _ = session.receive(&final_packet, now + ms(440));
    assert_eq!(session.transmit_interval(), ms(400));
}

#[test]
fn a_sooner_packet_is_due_when_the_peer_can_take_more() {
    let now = epoch();
    let mut session = up(intervals(100, 100, 3), now);
    let slow = Packet { required_min_rx: ms(10_000), ..packet(State::Up) };
    let _ = session.receive(&slow, now);
    let sent = session.on_deadline(now + ms(200));
    assert_eq!(sent.send, None, "the peer asked for one in ten seconds");
    let _ = session.receive(&packet(State::Up), now + ms(200));
    let due = session.deadline().unwrap();
    assert!(due <= now + ms(200), "long since the last packet: {:?}", due - now);
}
