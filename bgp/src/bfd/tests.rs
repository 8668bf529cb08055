//! What RFC 5880 asks, row by row; and two machines on a bad link.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use super::{Cause, Diagnostic, Fault, Intervals, Packet, Remote, Session, State};

mod codec;
mod link;
mod states;
mod timing;

#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
fn epoch() -> Instant {
    Instant::now()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn discriminator(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn intervals(transmit: u64, receive: u64, multiplier: u8) -> Intervals {
    Intervals {
        transmit: ms(transmit),
        receive: ms(receive),
        multiplier: NonZeroU8::new(multiplier).unwrap(),
    }
}

/// A packet of a peer in `state` that knows our session 1 and sends every 100 ms.
fn packet(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        is_poll: false,
        is_final: false,
        is_independent: false,
        is_demand: false,
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: discriminator(2),
        your_discriminator: NonZeroU32::new(1),
        desired_min_tx: ms(100),
        required_min_rx: ms(100),
        required_min_echo_rx: Duration::ZERO,
    }
}

fn session(wanted: Intervals, now: Instant) -> Session {
    Session::new(wanted, discriminator(1), 7, now)
}

/// A session that is Up, with no Poll Sequence under way.
fn up(wanted: Intervals, now: Instant) -> Session {
    let mut session = session(wanted, now);
    let _ = session.receive(&packet(State::Down), now);
    let _ = session.receive(&packet(State::Init), now);
    let _ = session.receive(&Packet { is_final: true, ..packet(State::Up) }, now);
    assert_eq!(session.state(), State::Up);
    session
}

/// Brings it from Down to `state`.
fn bring_to(session: &mut Session, state: State, now: Instant) {
    let _ = match state {
        State::AdminDown => session.disable(now),
        State::Down => super::Output::default(),
        State::Init => session.receive(&packet(State::Down), now),
        State::Up => session.receive(&packet(State::Init), now),
    };
    assert_eq!(session.state(), state);
}
