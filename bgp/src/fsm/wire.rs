//! The machine of one TCP connection, from OpenSent on (RFC 4271 §8.2.2).

use std::mem;
use std::time::Instant;

use crate::msg::{Message, Notification, Open, Refresh, RouteRefresh, UnexpectedIn};

use super::negotiate::negotiate;
use super::timers::{COLLISION_GRACE, KEEPALIVE_GAP, OPEN_HOLD, Random, send_hold};
use super::{Delivery, Direction, Down, Negotiated, PeerSettings, State, WireId};

/// One wire. It has sent its OPEN when it comes to be.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) id: WireId,
    pub(super) direction: Direction,
    /// When the connection stood.
    pub(super) since: Instant,
    phase: Phase,
    /// Longest wait for the next message.
    hold: Option<Instant>,
    /// When the next KEEPALIVE goes out.
    keepalive: Option<Instant>,
    /// When the last one did.
    kept_alive: Option<Instant>,
    /// Longest wait for progress in writing.
    send_hold: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Phase {
    OpenSent,
    /// Both OPENs are accepted. Our KEEPALIVE, which lets the peer go on, is out unless
    /// the wire is held back.
    OpenConfirm(Box<Negotiated>, Option<HeldBack>),
    Established(Box<Negotiated>),
}

/// A wire whose OPEN is not answered yet, because another one is expected to win the
/// collision as soon as its OPEN comes. Answering now could make this one Established on
/// the peer's side while we close it in favour of the other, and both would be lost.
#[derive(Clone, Copy, Debug)]
struct HeldBack {
    /// Until then the other must have shown that it is alive.
    until: Instant,
    /// Whether the peer's KEEPALIVE is already there.
    confirmed: bool,
}

/// What a message or a timer means for a wire.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing more.
    Stay,
    /// The peer's OPEN is accepted; now is the time to look for a collision (§6.8).
    Opened,
    /// The peer's KEEPALIVE confirms the OPENs.
    Confirmed,
    /// For the RIB.
    Deliver(Delivery),
    /// A KEEPALIVE is due.
    Keepalive,
    /// The other wire has not shown up: this one goes on.
    Release,
    /// Over: send this, then close; why, if not because of what was sent.
    Refuse(Notification, Option<Down>),
    /// Over: the peer said so.
    Ended(Notification),
}

impl Wire {
    pub(super) fn new(id: WireId, direction: Direction, now: Instant) -> Self {
        Self {
            id,
            direction,
            since: now,
            phase: Phase::OpenSent,
            hold: Some(now + OPEN_HOLD),
            keepalive: None,
            kept_alive: None,
            send_hold: None,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(..) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    /// What was agreed, from the peer's OPEN on.
    pub(super) fn agreed(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(agreed, _) | Phase::Established(agreed) => Some(agreed),
        }
    }

    pub(super) fn is_held_back(&self) -> bool {
        matches!(self.phase, Phase::OpenConfirm(_, Some(_)))
    }

    pub(super) fn receive(
        &mut self,
        message: Message,
        settings: &PeerSettings,
        now: Instant,
    ) -> Step {
        match self.phase {
            Phase::OpenSent => self.open_sent(message, settings, now),
            Phase::OpenConfirm(..) => self.open_confirm(message, now),
            Phase::Established(_) => self.established(message, now),
        }
    }

    /// OpenSent: waiting for the peer's OPEN.
    fn open_sent(&mut self, message: Message, settings: &PeerSettings, now: Instant) -> Step {
        match message {
            Message::Open(open) => self.open(open, settings, now),
            Message::Notification(notification) => Step::Ended(notification),
            Message::Update(_)
            | Message::EndOfRib(_)
            | Message::Keepalive
            | Message::RouteRefresh(_) => unexpected(UnexpectedIn::OpenSent, &message),
        }
    }

    fn open(&mut self, open: Open, settings: &PeerSettings, now: Instant) -> Step {
        match negotiate(settings, self.direction, open) {
            Ok(agreed) => {
                self.phase = Phase::OpenConfirm(Box::new(agreed), None);
                self.restart_hold(now);
                Step::Opened
            }
            Err(notification) => Step::Refuse(notification, None),
        }
    }

    /// OpenConfirm: both OPENs are accepted; waiting for the first KEEPALIVE.
    fn open_confirm(&mut self, message: Message, now: Instant) -> Step {
        match message {
            Message::Keepalive => {
                self.restart_hold(now);
                match &mut self.phase {
                    Phase::OpenConfirm(_, Some(held_back)) => {
                        held_back.confirmed = true;
                        Step::Stay
                    }
                    _ => Step::Confirmed,
                }
            }
            Message::Notification(notification) => Step::Ended(notification),
            Message::Open(_)
            | Message::Update(_)
            | Message::EndOfRib(_)
            | Message::RouteRefresh(_) => unexpected(UnexpectedIn::OpenConfirm, &message),
        }
    }

    /// Established: whatever comes in shows that the peer is alive.
    fn established(&mut self, message: Message, now: Instant) -> Step {
        self.restart_hold(now);
        match message {
            Message::Update(update) => Step::Deliver(Delivery::Update(update)),
            Message::Keepalive => Step::Stay,
            Message::EndOfRib(family) => match self.agreed() {
                Some(agreed) if agreed.families.contains(&family) => {
                    Step::Deliver(Delivery::EndOfRib(family))
                }
                _ => Step::Stay,
            },
            Message::RouteRefresh(refresh) => match self.agreed() {
                Some(agreed) if has_meaning(&refresh, agreed) => {
                    Step::Deliver(Delivery::Refresh(refresh))
                }
                _ => Step::Stay,
            },
            Message::Notification(notification) => Step::Ended(notification),
            Message::Open(_) => unexpected(UnexpectedIn::Established, &message),
        }
    }

    /// Does not answer the peer's OPEN before another wire had its chance.
    pub(super) fn hold_back(&mut self, now: Instant) {
        if let Phase::OpenConfirm(_, held_back) = &mut self.phase {
            *held_back = Some(HeldBack { until: now + COLLISION_GRACE, confirmed: false });
        }
    }

    /// The peer's OPEN is answered with a KEEPALIVE. Returns whether the peer's is
    /// already there.
    pub(super) fn answered(&mut self, random: &mut Random, now: Instant) -> bool {
        self.kept_alive(random, now);
        match &mut self.phase {
            Phase::OpenConfirm(_, held_back) => held_back.take().is_some_and(|held| held.confirmed),
            Phase::OpenSent | Phase::Established(_) => false,
        }
    }

    /// OpenConfirm becomes Established. Returns what was agreed.
    pub(super) fn establish(&mut self, settings: &PeerSettings, now: Instant) -> Box<Negotiated> {
        match mem::replace(&mut self.phase, Phase::OpenSent) {
            Phase::OpenConfirm(agreed, _) | Phase::Established(agreed) => {
                self.phase = Phase::Established(agreed.clone());
                self.restart_hold(now);
                self.progress(settings, now);
                agreed
            }
            Phase::OpenSent => unreachable!("only a wire with both OPENs is established"),
        }
    }

    fn restart_hold(&mut self, now: Instant) {
        let timeout = self.agreed().map(|agreed| agreed.hold_time.timeout());
        self.hold = match (timeout.flatten(), &self.phase) {
            (Some(timeout), _) => Some(now + timeout),
            (None, Phase::Established(_)) => None,
            // Even without a hold time the peer shall not take for ever to confirm.
            (None, Phase::OpenSent | Phase::OpenConfirm(..)) => Some(now + OPEN_HOLD),
        };
    }

    /// The kernel took octets; in Established that restarts the send hold timer.
    pub(super) fn progress(&mut self, settings: &PeerSettings, now: Instant) {
        if let Phase::Established(agreed) = &self.phase {
            let hold = agreed.hold_time.timeout();
            self.send_hold = hold.map(|hold| now + send_hold(settings, hold));
        }
    }

    /// A KEEPALIVE goes out.
    fn kept_alive(&mut self, random: &mut Random, now: Instant) {
        let interval = self.agreed().and_then(|agreed| agreed.keepalive);
        self.keepalive = interval.map(|interval| now + random.jitter(interval).max(KEEPALIVE_GAP));
        self.kept_alive = Some(now);
    }

    /// Whether a KEEPALIVE out of turn is allowed now; it counts as sent if it is.
    pub(super) fn probe(&mut self, random: &mut Random, now: Instant) -> bool {
        let is_early = self.kept_alive.is_some_and(|last| now < last + KEEPALIVE_GAP);
        if !is_early {
            self.kept_alive(random, now);
        }
        !is_early
    }

    fn release(&self) -> Option<Instant> {
        match &self.phase {
            Phase::OpenConfirm(_, Some(held_back)) => Some(held_back.until),
            Phase::OpenConfirm(_, None) | Phase::OpenSent | Phase::Established(_) => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold, self.release()].into_iter().flatten().min()
    }

    /// Runs the first timer that is due; to be called until it says `Stay`.
    pub(super) fn on_deadline(&mut self, random: &mut Random, now: Instant) -> Step {
        let is_due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if is_due(self.hold) {
            Step::Refuse(Notification::hold_timer_expired(), Some(Down::HoldTimerExpired))
        } else if is_due(self.send_hold) {
            Step::Refuse(Notification::send_hold_timer_expired(), Some(Down::SendHoldTimerExpired))
        } else if is_due(self.release()) {
            Step::Release
        } else if is_due(self.keepalive) {
            self.kept_alive(random, now);
            Step::Keepalive
        } else {
            Step::Stay
        }
    }
}

/// A message that has no place in the state ends the session (RFC 6608 §3).
fn unexpected(state: UnexpectedIn, message: &Message) -> Step {
    Step::Refuse(Notification::unexpected_message(state, message), None)
}

/// Whether a ROUTE-REFRESH speaks of an agreed family in words that were agreed
/// (RFC 2918 §4, RFC 7313 §5); any other is ignored.
fn has_meaning(refresh: &RouteRefresh, agreed: &Negotiated) -> bool {
    let is_agreed = refresh.family.family().is_some_and(|f| agreed.families.contains(&f));
    is_agreed
        && match refresh.kind {
            Refresh::Request => true,
            Refresh::Begin | Refresh::End => agreed.enhanced_refresh,
            Refresh::Unknown(_) => false,
        }
}
