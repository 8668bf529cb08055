//! Our own restart: what OPENs say of it, and what is kept back until peers were heard
//! (RFC 4724 §4.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle_bgp::fsm::OwnRestart;
use brindle_bgp::rib::PeerId;

use super::owner::Owner;
use super::view::PeerEntry;

/// How long a peer that is down may take to come back, once all are known. Peers dial anew
/// within a few seconds; who is away longer is away, and keeps nothing of ours for much longer.
const COME_BACK: Duration = Duration::from_secs(10);

/// What is waited for before learned routes and End-of-RIB go to peers that keep our routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferral {
    /// Longest wait (Selection_Deferral_Timer).
    until: Instant,
    /// Until then those are waited for that are down, or do not say End-of-RIB by agreement;
    /// `None` while not all are known.
    come_back: Option<Instant>,
}

impl Owner {
    /// An earlier run of ours has left its routes in the kernel.
    pub(super) fn restarted(&mut self, own: OwnRestart, limit: Duration) {
        self.own_restart.store(Arc::new(own));
        if own.restarting {
            self.rib.defer();
            self.deferral = Some(Deferral { until: Instant::now() + limit, come_back: None });
        }
    }

    /// All peers are known.
    pub(super) fn complete(&mut self) {
        if let Some(deferral) = &mut self.deferral {
            deferral.come_back.get_or_insert(Instant::now() + COME_BACK);
        }
    }

    /// The kernel has what is wanted: from now on we forward, whoever asks.
    pub(super) fn forwards(&mut self) {
        let own = OwnRestart { forwarding: [true; 2], ..**self.own_restart.load() };
        self.own_restart.store(Arc::new(own));
    }

    /// When the deferral may be over without anything happening.
    pub(super) fn deferral_deadline(&self) -> Option<Instant> {
        let Deferral { until, come_back } = self.deferral?;
        let now = Instant::now();
        Some(come_back.filter(|at| *at > now).map_or(until, |at| at.min(until)))
    }

    /// Tells everybody everything, if nobody is waited for any more.
    pub(super) fn look_at_deferral(&mut self, now: Instant) {
        let Some(deferral) = self.deferral else { return };
        let is_waited_for = |(id, entry): (&PeerId, &PeerEntry)| {
            self.waits_for(*id, entry, deferral.come_back.is_none_or(|at| now < at))
        };
        let is_complete = deferral.come_back.is_some();
        if now < deferral.until && (!is_complete || self.peers.iter().any(is_waited_for)) {
            return;
        }
        self.deferral = None;
        let own = OwnRestart { restarting: false, ..**self.own_restart.load() };
        self.own_restart.store(Arc::new(own));
        self.rib.end_deferral();
    }

    /// Whether a peer has still to say what it knows. One that has restarted itself waits for us
    /// (RFC 4724 §4.1).
    fn waits_for(&self, id: PeerId, entry: &PeerEntry, is_early: bool) -> bool {
        if entry.disabled {
            return false;
        }
        let Some(session) = &entry.session else { return is_early };
        match &session.agreed.restart {
            Some(restart) => !restart.restarting && !self.rib.is_synced(id),
            None => is_early && !self.rib.is_synced(id),
        }
    }
}
