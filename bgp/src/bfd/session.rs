//! The machine of one session (RFC 5880 §6.8).

use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use super::packet::Packet;
use super::settings::Intervals;
use super::words::{Diagnostic, State};
use crate::fsm::Random;

/// Least time between packets while a session is not Up (RFC 5880 §6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// Nobody is sent more than that, whatever is wanted.
const FASTEST: Duration = Duration::from_millis(1);

/// One session: an own state, what the peer last said, and two timers.
#[derive(Clone, Debug)]
pub struct Session {
    /// As the operator wants it.
    wanted: Intervals,
    state: State,
    discriminator: NonZeroU32,
    diagnostic: Diagnostic,
    remote: Remote,
    /// In force for sending; behind `wanted` while a longer one waits for the peer's leave.
    transmit: Duration,
    /// In force for detecting; behind `wanted` while a shorter one waits for the peer to know.
    receive: Duration,
    poll: Poll,
    last_sent: Option<Instant>,
    /// When the next periodic packet is due, and the interval that this was reckoned from.
    next_send: Option<(Instant, Duration)>,
    /// When the peer will have been silent for too long.
    silent_at: Option<Instant>,
    random: Random,
}

/// What the peer last said of its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its session; `None` while nothing is heard of it.
    pub discriminator: Option<NonZeroU32>,
    /// Its state.
    pub state: State,
    /// Why it last left Up.
    pub diagnostic: Diagnostic,
    /// It would send this often.
    pub desired_min_tx: Duration,
    /// It can receive this often; zero: it wants no periodic packets.
    pub required_min_rx: Duration,
    /// How many of its packets may be missing.
    pub multiplier: NonZeroU8,
    /// It would have no periodic packets while both are Up (Demand mode).
    pub is_demand: bool,
    /// Its BFD outlives its control plane (C bit).
    pub is_independent: bool,
}

impl Remote {
    /// Before anything is heard (RFC 5880 §6.8.1).
    const UNHEARD: Self = Self {
        discriminator: None,
        state: State::Down,
        diagnostic: Diagnostic::None,
        desired_min_tx: Duration::ZERO,
        required_min_rx: Duration::from_micros(1),
        multiplier: NonZeroU8::MIN,
        is_demand: false,
        is_independent: false,
    };
}

/// A Poll Sequence (RFC 5880 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    /// None.
    Idle,
    /// Packets carry P until one with F comes.
    Asking,
    /// Likewise; but something has changed since the first of them, and an answer may be one
    /// to what was said before.
    AskingAgain,
    /// The answer came. The next packet goes without P, so that answers to this sequence and
    /// to the next one can be told apart.
    Pausing,
}

/// What a step asks of the shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Output {
    /// Send this now.
    pub send: Option<Packet>,
    /// The state changed.
    pub change: Option<Change>,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// What changed it.
    pub cause: Cause,
}

/// What changed a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The handshake went on.
    Heard,
    /// Nothing came from the peer for so long: the detection time.
    Silence(Duration),
    /// The peer says that it is down, and why it left Up.
    Signaled(Diagnostic),
    /// The peer says that an operator switched its side off.
    SwitchedOff,
    /// We were told to switch our side on or off.
    Told,
}

impl Change {
    /// Whether the path to the peer has failed, as far as a client is concerned that has a
    /// liveness check of its own or not (`has_liveness`). Without one, it is for BFD alone to
    /// tell, and AdminDown must be taken for Down (RFC 5882 §3.2, §4.2).
    pub fn is_failure(&self, has_liveness: bool) -> bool {
        self.from == State::Up
            && match self.cause {
                Cause::Silence(_) | Cause::Signaled(_) => true,
                Cause::SwitchedOff => !has_liveness,
                Cause::Heard | Cause::Told => false,
            }
    }
}

impl Session {
    /// A session in Down, whose first packet is due at once. `discriminator` is unlike those
    /// of all other sessions here and hard to guess; `seed` drives the jitter.
    pub fn new(wanted: Intervals, discriminator: NonZeroU32, seed: u64, now: Instant) -> Self {
        let mut session = Self {
            wanted,
            state: State::Down,
            discriminator,
            diagnostic: Diagnostic::None,
            remote: Remote::UNHEARD,
            transmit: wanted.transmit.max(SLOW),
            receive: wanted.receive,
            poll: Poll::Idle,
            last_sent: None,
            next_send: None,
            silent_at: None,
            random: Random::new(seed),
        };
        session.reckon_send(now);
        session
    }

    /// The state of our side.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it last left Up.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// What packets for this session carry as Your Discriminator.
    pub fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// The peer's side.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// As the operator wants it.
    pub fn wanted(&self) -> &Intervals {
        &self.wanted
    }

    /// The time between two packets of ours, before jitter (RFC 5880 §6.8.2, §6.8.7).
    pub fn transmit_interval(&self) -> Duration {
        self.transmit.max(self.remote.required_min_rx).max(FASTEST)
    }

    /// The time between two packets of the peer, before jitter, as it follows from what both
    /// have said.
    pub fn receive_interval(&self) -> Duration {
        self.receive.max(self.remote.desired_min_tx)
    }

    /// How long the peer may be silent: its own multiplier times the interval that it sends
    /// at (RFC 5880 §6.8.4); `None` while nothing is heard of it.
    pub fn detection_time(&self) -> Option<Duration> {
        self.remote.discriminator?;
        Some(self.receive_interval().saturating_mul(self.remote.multiplier.get().into()))
    }

    /// How long the peer waits for packets of ours before it takes us for lost.
    pub fn remote_detection_time(&self) -> Duration {
        self.transmit_interval().saturating_mul(self.wanted.multiplier.get().into())
    }

    /// The next instant at which [`Session::on_deadline`] has work; `None` if no timer runs.
    pub fn deadline(&self) -> Option<Instant> {
        let send = self.next_send.map(|(at, _)| at);
        [send, self.silent_at].into_iter().flatten().min()
    }

    /// Takes a packet that is for this session: one whose Your Discriminator is ours, or one
    /// without that came from the peer's address (RFC 5880 §6.8.6).
    pub fn receive(&mut self, packet: &Packet, now: Instant) -> Output {
        self.remote = Remote {
            discriminator: Some(packet.my_discriminator),
            state: packet.state,
            diagnostic: packet.diagnostic,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            multiplier: packet.multiplier,
            is_demand: packet.is_demand,
            is_independent: packet.is_independent,
        };
        if packet.is_final {
            self.answered();
        }
        if self.state == State::AdminDown {
            self.reckon_send(now);
            return Output::default();
        }
        let change = self.hear(packet);
        self.silent_at = self.detection_time().and_then(|time| now.checked_add(time));
        let send = match (packet.is_poll, change) {
            (true, _) => Some(self.packet(true)),
            (false, Some(_)) => Some(self.unasked(now)),
            (false, None) => None,
        };
        self.reckon_send(now);
        Output { send, change }
    }

    /// Runs the timers that are due. Not before all packets that have arrived are handed in.
    pub fn on_deadline(&mut self, now: Instant) -> Output {
        let mut out = Output::default();
        if self.silent_at.is_some_and(|at| at <= now) {
            let silence = self.detection_time().unwrap_or_default();
            self.silent_at = None;
            self.remote = Remote {
                // What it said last is still worth showing.
                diagnostic: self.remote.diagnostic,
                is_independent: self.remote.is_independent,
                ..Remote::UNHEARD
            };
            if matches!(self.state, State::Init | State::Up) {
                self.diagnostic = Diagnostic::DetectionTimeExpired;
                out.change = Some(self.go(State::Down, Cause::Silence(silence)));
                out.send = Some(self.unasked(now));
            }
            self.reckon_send(now);
        }
        if self.next_send.is_some_and(|(at, _)| at <= now) {
            out.send = Some(self.unasked(now));
            self.reckon_send(now);
        }
        out
    }

    /// Takes other intervals, without a flap: a Poll Sequence tells the peer of them
    /// (RFC 5880 §6.8.3).
    pub fn configure(&mut self, wanted: Intervals, now: Instant) {
        if self.wanted == wanted {
            return;
        }
        let before = std::mem::replace(&mut self.wanted, wanted);
        if self.state == State::Up {
            // Faster at once, slower only when the peer knows: it must not take us for lost.
            self.transmit = self.transmit.min(wanted.transmit);
            // The other way round: the peer must know before we expect it to be faster.
            self.receive = self.receive.max(wanted.receive);
            if (before.transmit, before.receive) != (wanted.transmit, wanted.receive) {
                self.ask();
            }
        } else {
            self.settle();
        }
        self.silent_at = self.silent_at.and_then(|at| match self.detection_time() {
            // Never shorter than what it was: nothing came that would say so.
            Some(time) => now.checked_add(time).map(|new| new.max(at)),
            None => Some(at),
        });
        self.reckon_send(now);
    }

    /// Switches our side off; the peer is told, and goes on being told (RFC 5880 §6.8.16).
    pub fn disable(&mut self, now: Instant) -> Output {
        if self.state == State::AdminDown {
            return Output::default();
        }
        self.diagnostic = Diagnostic::AdministrativelyDown;
        let change = self.go(State::AdminDown, Cause::Told);
        self.silent_at = None;
        let send = Some(self.unasked(now));
        self.reckon_send(now);
        Output { send, change: Some(change) }
    }

    /// Switches it on again.
    pub fn enable(&mut self, now: Instant) -> Output {
        if self.state != State::AdminDown {
            return Output::default();
        }
        let change = self.go(State::Down, Cause::Told);
        let send = Some(self.unasked(now));
        self.reckon_send(now);
        Output { send, change: Some(change) }
    }

    /// What the peer's state makes of ours (RFC 5880 §6.2, §6.8.6).
    fn hear(&mut self, packet: &Packet) -> Option<Change> {
        let (to, cause) = match (self.state, packet.state) {
            (State::Init | State::Up, State::AdminDown) => (State::Down, Cause::SwitchedOff),
            (State::Down, State::Down) => (State::Init, Cause::Heard),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                (State::Up, Cause::Heard)
            }
            (State::Up, State::Down) => (State::Down, Cause::Signaled(packet.diagnostic)),
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::AdminDown, _) => return None,
        };
        match to {
            State::Down => self.diagnostic = Diagnostic::NeighborSignaledDown,
            State::Up => self.diagnostic = Diagnostic::None,
            State::AdminDown | State::Init => {}
        }
        Some(self.go(to, cause))
    }

    fn go(&mut self, to: State, cause: Cause) -> Change {
        let change = Change { from: self.state, to, cause };
        self.state = to;
        self.poll = Poll::Idle;
        self.settle();
        if to == State::Up && self.wanted.transmit < SLOW {
            // Once a second is what the peer knows.
            self.ask();
        }
        change
    }

    /// Nothing waits for the peer any more: what is wanted is in force.
    fn settle(&mut self) {
        let floor = if self.state == State::Up { Duration::ZERO } else { SLOW };
        self.transmit = self.wanted.transmit.max(floor);
        self.receive = self.wanted.receive;
    }

    /// Something that the peer must know has changed.
    fn ask(&mut self) {
        self.poll = match self.poll {
            Poll::Idle => Poll::Asking,
            Poll::Asking | Poll::AskingAgain => Poll::AskingAgain,
            Poll::Pausing => Poll::Pausing,
        };
    }

    /// A packet with F came.
    fn answered(&mut self) {
        match self.poll {
            Poll::Asking => {
                self.poll = Poll::Idle;
                self.settle();
            }
            Poll::AskingAgain => self.poll = Poll::Pausing,
            // Late, or nobody asked.
            Poll::Idle | Poll::Pausing => {}
        }
    }

    /// A packet that answers none: periodic, or because the state changed.
    fn unasked(&mut self, now: Instant) -> Packet {
        let packet = self.packet(false);
        (self.last_sent, self.next_send) = (Some(now), None);
        if self.poll == Poll::Pausing {
            self.poll = Poll::Asking;
        }
        packet
    }

    fn packet(&self, is_final: bool) -> Packet {
        let floor = if self.state == State::Up { Duration::ZERO } else { SLOW };
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            // Never both (§6.5): a poll of ours goes on with the next packet.
            is_poll: !is_final && matches!(self.poll, Poll::Asking | Poll::AskingAgain),
            is_final,
            // Agent and BFD live and die together.
            is_independent: false,
            is_demand: false,
            multiplier: self.wanted.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.wanted.transmit.max(floor),
            required_min_rx: self.wanted.receive,
            required_min_echo_rx: Duration::ZERO,
        }
    }

    /// Whether packets go out periodically (RFC 5880 §6.8.7).
    fn is_periodic(&self) -> bool {
        let remote = &self.remote;
        let both_up = self.state == State::Up && remote.state == State::Up;
        let is_spared = remote.is_demand && both_up && self.poll == Poll::Idle;
        !remote.required_min_rx.is_zero() && !is_spared
    }

    /// When the next packet is due. An interval that is still the same keeps its jitter; one
    /// that has changed counts from the last packet on.
    fn reckon_send(&mut self, now: Instant) {
        if !self.is_periodic() {
            self.next_send = None;
            return;
        }
        let interval = self.transmit_interval();
        if self.next_send.is_some_and(|(_, of)| of == interval) {
            return;
        }
        let Some(last) = self.last_sent else {
            self.next_send = Some((now, interval));
            return;
        };
        // With a multiplier of one the next packet must be there before the interval is over.
        let most = if self.wanted.multiplier.get() == 1 { 900 } else { 1000 };
        let at = last + self.random.share(interval, 750..=most);
        self.next_send = Some((at.max(now), interval));
    }
}
