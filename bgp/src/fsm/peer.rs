//! The machine of one peer: what to do with an event, and when to dial (RFC 4271 §8).

use std::time::{Duration, Instant};

use crate::msg::{CeaseReason, Message, Notification, Open};
use crate::net::Family;

use super::advice::advice;
use super::collisions::{is_collision, turn_away};
use super::damping::{Damping, PART_OF_AWAITED};
use super::negotiate::our_open;
use super::timers::{Backoff, DIAL_LIMIT, IDLE_HOLD, LONGEST, Random, STABLE_AFTER};
use super::wire::{Step, Wire};
use super::{
    Action, BfdFailure, Direction, Down, Event, Negotiated, OwnRestart, PeerSettings, State, WireId,
};

/// The session machine of one peer, with up to two wires until a collision is settled
/// (RFC 4271 §6.8).
///
/// The wire that the speaker with the higher BGP Identifier dialled is kept, or that of the
/// larger AS if they are equal (RFC 6286 §2.3); of two wires in the same direction the newer
/// one. Nothing is closed for the sake of a wire whose OPEN has not come: it may be dead.
/// Instead the answer to the other's OPEN is held back for a second, so that neither side
/// can take that one for Established while the decision is open.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) settings: PeerSettings,
    /// What our next OPEN says of our own restart.
    own_restart: OwnRestart,
    /// Whether the operator wants the session.
    pub(super) wanted: bool,
    pub(super) dialler: Dialler,
    /// Until then connections of the peer are refused and none is opened: a failed OPEN exchange
    /// is fresh, sessions end too often (RFC 4271 §8.1.1 DampPeerOscillations), or it told too
    /// many prefixes.
    pub(super) idle_until: Option<Instant>,
    /// At most two, the older first; with one Established there is no other.
    pub(super) wires: Vec<Wire>,
    backoff: Backoff,
    damping: Damping,
    /// The rest that runs is because of sessions that end too often.
    is_damped: bool,
    pub(super) random: Random,
    last_error: Option<Down>,
    last_open: Option<Box<Open>>,
    pub(super) established_since: Option<Instant>,
    pub(super) times_established: u64,
}

/// A peer that is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Until then.
    pub until: Instant,
    /// A sentence for the operator; what led to it stands in [`Peer::last_reason`].
    pub why: String,
}

/// What we do to reach the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialler {
    /// Nothing: not wanted, not allowed, or a wire is good enough.
    Off,
    /// Dials at that instant.
    Waiting(Instant),
    /// Dials until that instant.
    Dialling(Instant),
}

impl Peer {
    /// A machine in Idle that waits for [`Event::Start`]. `seed` drives the jitter.
    pub fn new(settings: PeerSettings, seed: u64) -> Self {
        Self {
            wanted: false,
            dialler: Dialler::Off,
            idle_until: None,
            wires: Vec::with_capacity(2),
            backoff: Backoff::new(&settings),
            damping: Damping::default(),
            is_damped: false,
            random: Random::new(seed),
            last_error: None,
            last_open: None,
            established_since: None,
            times_established: 0,
            own_restart: OwnRestart::default(),
            settings,
        }
    }

    /// Says what is true of our own restart from now on; the next OPEN tells it.
    pub fn set_own_restart(&mut self, own: OwnRestart) {
        self.own_restart = own;
    }

    /// The OPEN that we send now. What we forwarded in an earlier session we go on forwarding.
    pub(super) fn our_open(&self) -> Open {
        let OwnRestart { restarting, forwarding } = self.own_restart;
        let had_session = self.times_established > 0;
        let forwarding = forwarding.map(|forwarding| forwarding || had_session);
        our_open(&self.settings, OwnRestart { restarting, forwarding })
    }

    /// Takes one event and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Start => self.start(now, &mut out),
            Event::Stop(reason, text) => self.stop(reason, text.as_deref(), &mut out),
            Event::Restart(text) => self.restart(text.as_deref(), &mut out),
            Event::Connected(id, direction) => self.connected(id, direction, now, &mut out),
            Event::ConnectFailed(why) => self.connect_failed(why, now),
            Event::Closed(id, how) => self.closed(id, how, now, &mut out),
            Event::Received(id, message) => self.received(id, message, now, &mut out),
            Event::Malformed(id, answer) => self.refuse(id, answer, None, now, &mut out),
            Event::OverLimit(family, limit, rest) => {
                self.over_limit(family, limit, rest, now, &mut out);
            }
            Event::Progress(id) => self.progress(id, now),
            Event::BfdDown(failure) => self.bfd_down(&failure, now, &mut out),
            Event::Retry => self.retry(now, &mut out),
        }
        out
    }

    /// The next instant at which [`Peer::on_deadline`] has work; `None` if no timer runs.
    pub fn deadline(&self) -> Option<Instant> {
        let dialler = match self.dialler {
            Dialler::Off => None,
            Dialler::Waiting(at) | Dialler::Dialling(at) => Some(at),
        };
        let wires = self.wires.iter().filter_map(Wire::deadline);
        wires.chain(dialler).chain(self.idle_until).min()
    }

    /// Runs the timers that are due.
    pub fn on_deadline(&mut self, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        let mut ids = self.wires.iter().map(|wire| wire.id).collect::<Vec<_>>();
        while let Some(id) = ids.pop() {
            while let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == id) {
                match wire.on_deadline(&mut self.random, now) {
                    Step::Stay => break,
                    step => self.take(id, step, now, &mut out),
                }
            }
        }
        self.idle_until = self.idle_until.filter(|&until| until > now);
        self.run_dialler(now, &mut out);
        out
    }

    /// The state to show.
    pub fn state(&self) -> State {
        match (self.wires.iter().map(Wire::state).max(), self.dialler) {
            (Some(state), _) => state,
            (None, Dialler::Dialling(_)) => State::Connect,
            (None, _) if !self.wanted || self.idle_until.is_some() => State::Idle,
            (None, Dialler::Off | Dialler::Waiting(_)) => State::Active,
        }
    }

    /// Why the last session or attempt ended; `None` before the first end.
    pub fn last_error(&self) -> Option<&Down> {
        self.last_error.as_ref()
    }

    /// The same as a sentence for the operator, with what does not fit between both sides
    /// where that is known: AS numbers, identifiers, families.
    pub fn last_reason(&self) -> Option<String> {
        let why = self.last_error.as_ref()?;
        Some(match advice(why, &self.settings, self.last_open()) {
            Some(advice) => format!("{why}: {advice}"),
            None => why.to_string(),
        })
    }

    /// Until when the peer is left alone, and why, if that is for longer than a moment.
    pub fn idle(&self) -> Option<Idle> {
        let until = self.idle_until?;
        let is_limit = self.last_error.as_ref().is_some_and(Down::is_limit);
        let why = match (is_limit, self.is_damped) {
            (true, _) => "it told more prefixes than allowed".to_owned(),
            (false, true) => self.damping.describe(),
            (false, false) => return None,
        };
        Some(Idle { until, why })
    }

    /// What was agreed, while Established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.established().and_then(Wire::agreed)
    }

    /// The settings that the machine was made with.
    pub fn settings(&self) -> &PeerSettings {
        &self.settings
    }

    /// When it dials next; `None` while it does, and while it has no reason to.
    pub fn next_dial(&self) -> Option<Instant> {
        match self.dialler {
            Dialler::Waiting(at) => Some(at),
            Dialler::Off | Dialler::Dialling(_) => None,
        }
    }

    /// Since when the session is Established, while it is.
    pub fn established_since(&self) -> Option<Instant> {
        self.established_since
    }

    /// How often the session became Established since the machine was made.
    pub fn times_established(&self) -> u64 {
        self.times_established
    }

    /// The last OPEN that the peer sent, also one that was refused: shows what to change
    /// where AS numbers, identifiers or families do not fit.
    pub fn last_open(&self) -> Option<&Open> {
        self.last_open.as_deref()
    }

    fn start(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.wanted {
            return;
        }
        self.wanted = true;
        if !self.settings.passive {
            self.dial(now, out);
        }
    }

    fn retry(&mut self, now: Instant, out: &mut Vec<Action>) {
        let only_waits = matches!(self.dialler, Dialler::Waiting(_)) && self.idle().is_none();
        if self.wires.is_empty() && only_waits {
            self.idle_until = None;
            self.backoff.reset();
            self.dial(now, out);
        }
    }

    fn stop(&mut self, reason: CeaseReason, text: Option<&str>, out: &mut Vec<Action>) {
        let cease = match self.negotiated() {
            Some(agreed) => agreed.cease(reason, text),
            None => Notification::cease(reason, text),
        };
        for wire in &self.wires {
            out.push(Action::Send(wire.id, Message::Notification(cease.clone())));
        }
        self.rest(Down::Sent(cease), out);
    }

    fn restart(&mut self, text: Option<&str>, out: &mut Vec<Action>) {
        match self.negotiated() {
            Some(agreed) if agreed.is_outlived(&Down::Silent) => self.rest(Down::Silent, out),
            _ => self.stop(CeaseReason::AdministrativeShutdown, text, out),
        }
    }

    /// Closes everything and forgets what went wrong before.
    fn rest(&mut self, why: Down, out: &mut Vec<Action>) {
        self.wanted = false;
        self.idle_until = None;
        self.backoff.reset();
        self.damping.reset();
        if matches!(self.dialler, Dialler::Dialling(_)) {
            out.push(Action::AbandonDial);
        }
        self.dialler = Dialler::Off;
        if self.wires.is_empty() {
            return;
        }
        out.extend(self.wires.drain(..).map(|wire| Action::Close(wire.id)));
        if self.established_since.take().is_some() {
            out.push(Action::Down(why.clone()));
        }
        self.last_error = Some(why);
    }

    fn connect_failed(&mut self, why: String, now: Instant) {
        if !matches!(self.dialler, Dialler::Dialling(_)) {
            return;
        }
        if self.wires.is_empty() {
            self.backoff.fail();
            self.note_error(Down::Tcp(why), false);
        }
        self.dialler = Dialler::Waiting(now + self.backoff.wait(&mut self.random));
    }

    /// The peer told more than it may: says so and leaves it alone (RFC 4271 §6.7, RFC 4486 §4).
    fn over_limit(
        &mut self,
        family: Family,
        limit: u32,
        rest: Duration,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(id) = self.established().map(|wire| wire.id) else { return };
        self.refuse(id, Notification::max_prefixes(family, limit), None, now, out);
        self.rest_until(now + rest.min(LONGEST));
    }

    /// Neither dials the peer nor lets it in before that instant.
    fn rest_until(&mut self, until: Instant) {
        self.idle_until = Some(until);
        if !self.settings.passive {
            self.dialler = Dialler::Waiting(until);
        }
    }

    /// Keeps why a session or an attempt ended. What an attempt ends with that the other side
    /// turns away does not hide what is wrong.
    fn note_error(&mut self, why: Down, was_established: bool) {
        let is_news = was_established || why.is_telling();
        if is_news || !self.last_error.as_ref().is_some_and(Down::is_telling) {
            self.last_error = Some(why);
        }
    }

    fn closed(&mut self, id: WireId, how: String, now: Instant, out: &mut Vec<Action>) {
        self.end(id, Down::Tcp(how), now, out);
    }

    fn received(&mut self, id: WireId, message: Message, now: Instant, out: &mut Vec<Action>) {
        let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == id) else {
            return;
        };
        if let Message::Open(open) = &message {
            self.last_open = Some(Box::new(open.clone()));
        }
        let step = wire.receive(message, &self.settings, now);
        self.take(id, step, now, out);
    }

    /// The path has failed: nothing that runs over it is of use any more (RFC 9384).
    fn bfd_down(&mut self, failure: &BfdFailure, now: Instant, out: &mut Vec<Action>) {
        let mut wires: Vec<(State, WireId)> =
            self.wires.iter().map(|wire| (wire.state(), wire.id)).collect();
        // The one that got furthest first: the end of another would let it go on.
        wires.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in wires {
            let why = Down::BfdDown(failure.clone());
            let agreed = self.find(id).and_then(Wire::agreed);
            let cease = match agreed {
                Some(agreed) => agreed.bfd_cease(&why),
                None => Some(Notification::cease(CeaseReason::BfdDown, None)),
            };
            match cease {
                Some(cease) => self.refuse(id, cease, Some(why), now, out),
                None => {
                    out.push(Action::Close(id));
                    self.end(id, why, now, out);
                }
            }
        }
    }

    fn progress(&mut self, id: WireId, now: Instant) {
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == id) {
            wire.progress(&self.settings, now);
        }
    }

    fn take(&mut self, id: WireId, step: Step, now: Instant, out: &mut Vec<Action>) {
        match step {
            Step::Stay => {}
            Step::Deliver(delivery) => out.push(Action::Deliver(delivery)),
            Step::Keepalive => out.push(Action::Send(id, Message::Keepalive)),
            Step::Opened => self.opened(id, now, out),
            Step::Confirmed => self.establish(id, now, out),
            Step::Release => self.answer(id, now, out),
            Step::Refuse(answer, why) => self.refuse(id, answer, why, now, out),
            Step::Ended(notification) => {
                if self.find(id).is_some() {
                    out.push(Action::Close(id));
                    self.end(id, Down::Received(notification), now, out);
                }
            }
        }
    }

    /// Says why and closes.
    pub(super) fn refuse(
        &mut self,
        id: WireId,
        answer: Notification,
        why: Option<Down>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if self.find(id).is_some() {
            turn_away(id, answer.clone(), out);
            self.end(id, why.unwrap_or(Down::Sent(answer)), now, out);
        }
    }

    /// Forgets a wire that is closed, and goes on with what is left.
    fn end(&mut self, id: WireId, why: Down, now: Instant, out: &mut Vec<Action>) {
        let Some(at) = self.wires.iter().position(|wire| wire.id == id) else {
            return;
        };
        let wire = self.wires.remove(at);
        let state = wire.state();
        if state == State::Established {
            out.push(Action::Down(why.clone()));
        }
        match self.wires.first() {
            Some(rest) => {
                let (rest, is_held_back) = (rest.id, rest.is_held_back());
                if is_held_back {
                    self.answer(rest, now, out);
                }
            }
            None => {
                let awaited = wire.agreed().and_then(|agreed| agreed.awaits(&why));
                self.failed(state, &why, awaited, now);
            }
        }
        if self.wires.is_empty() || !is_collision(&why) {
            self.note_error(why, state == State::Established);
        }
        self.settle_dialler(now, out);
    }

    /// The last wire is gone: decides how soon to try again. What the peer told is kept for as
    /// long as it is `awaited`.
    fn failed(&mut self, state: State, why: &Down, awaited: Option<Duration>, now: Instant) {
        let since = self.established_since.take();
        self.is_damped = false;
        if since.is_some_and(|since| now.duration_since(since) >= STABLE_AFTER) {
            self.backoff.reset();
        } else {
            self.backoff.fail();
        }
        if why.is_limit() {
            // Nothing will have changed in a second.
            self.backoff.exhaust();
        } else if let Some(since) = since
            && let Some(rest) = self.damping.ended(now.duration_since(since), now)
        {
            self.is_damped = true;
            let rest = self.random.jitter(rest).max(self.backoff.wait(&mut self.random));
            let longest = awaited.map_or(Duration::MAX, |time| time / PART_OF_AWAITED);
            self.rest_until(now + rest.min(longest));
            return;
        }
        // A Cease is no reason to refuse the peer: it may want the session a moment later,
        // and two speakers that refuse each other in turn would never meet.
        let was_refused = match why {
            Down::Sent(n) | Down::Received(n) => state != State::Established && n.code != 6,
            Down::HoldTimerExpired
            | Down::SendHoldTimerExpired
            | Down::BfdDown(_)
            | Down::Tcp(_)
            | Down::Silent => false,
        };
        if was_refused {
            let wait = self.backoff.wait(&mut self.random);
            self.idle_until = Some(now + wait.min(IDLE_HOLD));
            if self.dialler == Dialler::Off && !self.settings.passive {
                self.dialler = Dialler::Waiting(now + wait);
            }
        }
    }

    /// Makes the dialler fit the wires: no dialling once a wire has both OPENs, or while
    /// one that we dialled waits for its OPEN; otherwise the next attempt is due some day.
    pub(super) fn settle_dialler(&mut self, now: Instant, out: &mut Vec<Action>) {
        let is_served = self
            .wires
            .iter()
            .any(|wire| wire.state() >= State::OpenConfirm || wire.direction == Direction::Dialled);
        match self.dialler {
            Dialler::Dialling(_) if is_served => {
                out.push(Action::AbandonDial);
                self.dialler = Dialler::Off;
            }
            Dialler::Waiting(_) if is_served => self.dialler = Dialler::Off,
            Dialler::Off if !is_served && self.wanted && !self.settings.passive => {
                self.dialler = Dialler::Waiting(now + self.backoff.wait(&mut self.random));
            }
            Dialler::Off | Dialler::Waiting(_) | Dialler::Dialling(_) => {}
        }
    }

    fn run_dialler(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.dialler {
            Dialler::Waiting(at) if at <= now => self.dial(now, out),
            Dialler::Dialling(until) if until <= now => {
                out.push(Action::AbandonDial);
                if self.wires.is_empty() {
                    let secs = DIAL_LIMIT.as_secs();
                    self.note_error(Down::Tcp(format!("no answer within {secs} s")), false);
                }
                self.dial(now, out);
            }
            Dialler::Off | Dialler::Waiting(_) | Dialler::Dialling(_) => {}
        }
    }

    /// Dials, or waits a while more if there is no room for another wire.
    fn dial(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.wires.len() < 2 {
            out.push(Action::Dial);
            self.dialler = Dialler::Dialling(now + DIAL_LIMIT);
        } else {
            self.dialler = Dialler::Waiting(now + self.backoff.wait(&mut self.random));
        }
    }

    pub(super) fn established(&self) -> Option<&Wire> {
        self.wires.first().filter(|wire| wire.state() == State::Established)
    }

    pub(super) fn find(&self, id: WireId) -> Option<&Wire> {
        self.wires.iter().find(|wire| wire.id == id)
    }

    pub(super) fn find_mut(&mut self, id: WireId) -> Option<&mut Wire> {
        self.wires.iter_mut().find(|wire| wire.id == id)
    }
}
