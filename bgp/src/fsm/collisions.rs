//! Which wires of a peer are kept (RFC 4271 §6.8).

use std::time::Instant;

use crate::msg::{CeaseReason, Message, Notification};

use super::peer::Dialler;
use super::timers::{COLLISION_FRESH, COLLISION_GRACE};
use super::wire::Wire;
use super::{Action, Direction, Down, Peer, State, WireId};

impl Peer {
    /// A TCP connection stands: makes a wire of it, or turns it away.
    pub(super) fn connected(
        &mut self,
        id: WireId,
        direction: Direction,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if self.find(id).is_some() {
            return;
        }
        match direction {
            // Abandoned meanwhile.
            Direction::Dialled if !matches!(self.dialler, Dialler::Dialling(_)) => {
                return out.push(Action::Close(id));
            }
            Direction::Dialled => self.dialler = Dialler::Off,
            Direction::Accepted if !self.wanted || self.idle_until.is_some() => {
                return turn_away(
                    id,
                    Notification::cease(CeaseReason::ConnectionRejected, None),
                    out,
                );
            }
            Direction::Accepted => {}
        }
        if self.wires.len() == 2 {
            self.make_room(now, out);
        }
        // Room that was made may have let the other wire go on, up to Established.
        if self.established().is_some() {
            turn_away(id, collision(), out);
            self.probe(now, out);
        } else if self.wires.len() == 2 {
            turn_away(id, collision(), out);
        } else {
            out.push(Action::Send(id, Message::Open(self.our_open())));
            self.wires.push(Wire::new(id, direction, now));
        }
        self.settle_dialler(now, out);
    }

    /// A peer that dials although the session is Established may have lost it without a
    /// word, in a crash: a KEEPALIVE makes its kernel reset what it does not know.
    fn probe(&mut self, now: Instant, out: &mut Vec<Action>) {
        for wire in &mut self.wires {
            if wire.probe(&mut self.random, now) {
                out.push(Action::Send(wire.id, Message::Keepalive));
            }
        }
    }

    /// Closes the older one of two wires if it has been silent for long: a peer that lost
    /// its power twice shall not be locked out until the timers of its old wires run out.
    fn make_room(&mut self, now: Instant, out: &mut Vec<Action>) {
        let is_silent =
            |wire: &&Wire| wire.state() == State::OpenSent && wire.since + COLLISION_GRACE < now;
        if let Some(id) = self.wires.iter().find(is_silent).map(|wire| wire.id) {
            self.refuse(id, collision(), None, now, out);
        }
    }

    /// An OPEN was accepted: settles a collision if there is one (RFC 4271 §6.8).
    pub(super) fn opened(&mut self, id: WireId, now: Instant, out: &mut Vec<Action>) {
        let rival = self.wires.iter().find(|wire| wire.id != id);
        let rival = rival.map(|rival| (rival.id, rival.state(), self.wins(rival, id, now)));
        match rival {
            None | Some((_, State::OpenSent, false)) => self.answer(id, now, out),
            Some((_, State::OpenSent, true)) => {
                if let Some(wire) = self.find_mut(id) {
                    wire.hold_back(now);
                }
            }
            Some((_, _, true)) => self.refuse(id, collision(), None, now, out),
            Some((rival, _, false)) => {
                self.refuse(rival, collision(), None, now, out);
                self.answer(id, now, out);
            }
        }
        self.settle_dialler(now, out);
    }

    /// Whether `rival` is to be kept rather than the wire `id`, whose OPEN is there. One that
    /// could be Established by now and is not has lost its peer.
    fn wins(&self, rival: &Wire, id: WireId, now: Instant) -> bool {
        if rival.since + COLLISION_FRESH < now {
            return false;
        }
        let Some((wire, agreed)) = self.find(id).and_then(|wire| Some((wire, wire.agreed()?)))
        else {
            return false;
        };
        if rival.direction == wire.direction {
            // Nobody dials twice, but who has lost the first one.
            return self.wires.last().is_some_and(|newest| newest.id == rival.id);
        }
        let ours = (self.settings.router_id, self.settings.local_asn);
        let asn = agreed.their_open.asn().unwrap_or(self.settings.remote_asn);
        let theirs = (agreed.their_open.router_id, asn);
        let kept = if ours > theirs { Direction::Dialled } else { Direction::Accepted };
        rival.direction == kept
    }

    /// Answers the peer's OPEN: with that it may take the wire for Established.
    pub(super) fn answer(&mut self, id: WireId, now: Instant, out: &mut Vec<Action>) {
        let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == id) else {
            return;
        };
        out.push(Action::Send(id, Message::Keepalive));
        if wire.answered(&mut self.random, now) {
            self.establish(id, now, out);
        }
    }

    pub(super) fn establish(&mut self, id: WireId, now: Instant, out: &mut Vec<Action>) {
        let rivals = self.wires.iter().map(|wire| wire.id).filter(|&rival| rival != id);
        for rival in rivals.collect::<Vec<_>>() {
            self.refuse(rival, collision(), None, now, out);
        }
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == id) {
            let agreed = wire.establish(&self.settings, now);
            self.established_since = Some(now);
            self.times_established += 1;
            self.settle_dialler(now, out);
            out.push(Action::Up(id, agreed));
        }
    }
}

/// Says why and closes a connection.
pub(super) fn turn_away(id: WireId, why: Notification, out: &mut Vec<Action>) {
    out.push(Action::Send(id, Message::Notification(why)));
    out.push(Action::Close(id));
}

/// Whether a wire ended in favour of another, which says nothing against the peer.
pub(super) fn is_collision(why: &Down) -> bool {
    match why {
        Down::Sent(notification) | Down::Received(notification) => {
            notification.cease_reason() == Some(CeaseReason::ConnectionCollisionResolution)
        }
        Down::HoldTimerExpired
        | Down::SendHoldTimerExpired
        | Down::BfdDown(_)
        | Down::Tcp(_)
        | Down::Silent => false,
    }
}

/// Another wire was kept (RFC 4486 §4).
fn collision() -> Notification {
    Notification::cease(CeaseReason::ConnectionCollisionResolution, None)
}
