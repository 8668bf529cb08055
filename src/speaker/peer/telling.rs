//! What others learn of a peer: its state for those who look, and lines of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brindle_bgp::fsm::State;
use brindle_bgp::msg::{AttributeFault, Notification, Treatment};
use tracing::{info, warn};

use super::PeerTask;
use crate::speaker::auth::AuthFailures;
use crate::speaker::calm::Line;
use crate::speaker::status::PeerStatus;

impl PeerTask {
    /// What happened; of a peer that says nothing at all, with the likely reason.
    pub(super) fn closed_because(&self, what: &str) -> String {
        if self.established.is_some() || self.shared.counters.last_heard().is_some() {
            return what.to_owned();
        }
        format!("{what} without a word; does it have our address as that of a peer?")
    }

    /// Counts malformed attributes; logs at most one line a minute and peer.
    pub(super) fn note_faults(&mut self, faults: &[AttributeFault]) {
        for fault in faults {
            let counter = match fault.treatment {
                Treatment::DiscardAttribute => &self.shared.counters.discarded,
                Treatment::TreatAsWithdraw => &self.shared.counters.treated_as_withdraw,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        let quiet = self.last_fault.is_some_and(|at| now - at < Duration::from_secs(60));
        if let (Some(fault), false) = (faults.first(), quiet) {
            self.last_fault = Some(now);
            warn!(peer = %self.wanted.rib.name, attribute = fault.code, why = %fault.why,
                treatment = ?fault.treatment, "malformed attribute (RFC 7606)");
        }
    }

    /// Says that the session came or went; of a peer that does so all the time, only that.
    pub(in crate::speaker) fn say_session(&mut self, say: impl FnOnce()) {
        let peer = &self.wanted.rib.name;
        match self.calm.line(Instant::now()) {
            Line::Written(0) => say(),
            Line::Written(dropped) => {
                info!(%peer, dropped, "session came and went; lines about it were left out");
                say();
            }
            Line::Last => {
                say();
                warn!(%peer, "session comes and goes; less is written about it for a minute");
            }
            Line::Dropped => {}
        }
    }

    /// Makes the state readable for others, if it changed.
    pub(super) fn publish(&mut self) {
        let old = self.shared.status.load();
        let state = self.machine.state();
        let next_dial = self.machine.next_dial();
        let idle = self.machine.idle();
        let last_down = self.machine.last_error();
        let notified = |old: &Option<(Notification, Instant)>, new: &Option<(_, Instant)>| {
            old.as_ref().map(|(_, at)| *at) != new.as_ref().map(|(_, at)| *at)
        };
        if old.state == state
            && old.next_dial == next_dial
            && old.idle == idle
            && old.last_down.as_ref() == last_down
            && !notified(&old.last_sent, &self.sent_notification)
            && !notified(&old.last_received, &self.received_notification)
        {
            return;
        }
        let mut status = PeerStatus::clone(&old);
        if old.state != state {
            let was_up = old.state == State::Established;
            status.flaps += u64::from(was_up);
            if let (true, Some(why)) = (was_up, last_down) {
                *status.flaps_by.entry(why.word()).or_default() += 1;
            }
            // Dialling and waiting take turns; what counts is how long it has not been up.
            if was_up || state == State::Established {
                status.since = Instant::now();
            }
            if was_up {
                status.failures_before = AuthFailures::read();
            }
            status.state = state;
        }
        if old.last_down.as_ref() != last_down {
            status.last_dial_error = None;
        }
        status.last_down = last_down.cloned();
        status.last_reason = self.machine.last_reason().or(status.last_reason);
        status.next_dial = next_dial;
        status.idle = idle;
        status.last_sent.clone_from(&self.sent_notification);
        status.last_received.clone_from(&self.received_notification);
        status.negotiated = self.machine.negotiated().cloned();
        let wire = self.established.and_then(|id| self.wires.iter().find(|w| w.id == id));
        status.ends = wire.map(|wire| wire.ends);
        status.offered = wire.map(|_| Arc::clone(&self.offered)).unwrap_or_default();
        if status.negotiated.is_some() {
            status.last_dial_error = None;
        } else if self.machine.last_reason().is_some() && self.said != status.last_reason {
            // Each reason once: it is tried again and again with the same outcome.
            self.said.clone_from(&status.last_reason);
            let (peer, why) = (Arc::clone(&self.wanted.rib.name), status.last_reason.clone());
            self.say_session(|| info!(%peer, why, "no session"));
        }
        self.shared.status.store(Arc::new(status));
    }
}
