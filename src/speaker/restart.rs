//! Our own restart: what OPENs say of it, and what is kept back until peers were heard
//! (RFC 4724 §4.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle_bgp::fsm::OwnRestart;
use brindle_bgp::net::Family;
use brindle_bgp::rib::{PeerId, Which};

use super::owner::Owner;
use super::view::PeerEntry;

/// How long a peer that is down may take to come back, once all are known. Peers dial anew
/// within a few seconds; who is away longer is away, and keeps nothing of ours for much longer.
const COME_BACK: Duration = Duration::from_secs(10);

/// Paths of a peer that are looked at for where it leads, a family.
const LOOKED_AT: usize = 1_000;

/// What is waited for before learned routes and End-of-RIB go to peers that keep our routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferral {
    /// Longest wait (Selection_Deferral_Timer).
    until: Instant,
    /// Until then those are waited for that are down, or do not say End-of-RIB by agreement;
    /// `None` while not all are known.
    come_back: Option<Instant>,
}

/// What the fib is still to be told of the deferral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForFib {
    /// That it has begun: before anything that is wanted.
    Begin,
    /// That it is over: behind all that is wanted by now.
    End,
}

impl Owner {
    /// An earlier run of ours has left its routes in the kernel.
    pub(super) fn restarted(&mut self, own: OwnRestart, limit: Duration) {
        self.own_restart.store(Arc::new(own));
        if own.restarting {
            self.rib.defer();
            self.deferral_for_fib = Some(ForFib::Begin);
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
        let is_early = deferral.come_back.is_none_or(|at| now < at);
        let is_waited_for =
            |(id, entry): (&PeerId, &PeerEntry)| self.waits_for(*id, entry, is_early);
        // Who comes from the prefixes of dynamic peers is not known before it does.
        let may_others_come = is_early && !self.listeners.door.groups().is_empty();
        let is_waiting = may_others_come || self.peers.iter().any(is_waited_for);
        if now < deferral.until && (deferral.come_back.is_none() || is_waiting) {
            return;
        }
        self.deferral = None;
        self.deferral_for_fib = Some(ForFib::End);
        let own = OwnRestart { restarting: false, ..**self.own_restart.load() };
        self.own_restart.store(Arc::new(own));
        self.rib.end_deferral();
    }

    /// A peer has come to an End-of-RIB: if it has said all, what the kernel has from before by its
    /// addresses and was not told again is over. That of the other family shows in what a node
    /// tells, unless it reflects; of very much the first part says enough.
    pub(super) fn note_heard(&mut self, peer: PeerId) {
        let Some(PeerEntry { wanted, .. }) = self.peers.get(&peer) else { return };
        if self.deferral.is_none() || !self.rib.is_synced(peer) {
            return;
        }
        self.heard.push(wanted.address);
        for family in Family::ALL.into_iter().filter(|_| wanted.mesh && !wanted.reflects) {
            let told = self.rib.page(family, Which::From(peer), None, LOOKED_AT);
            let hops = told.rows.iter().filter_map(|path| path.next_hop);
            self.heard.extend(hops.map(|next_hop| next_hop.address()));
        }
        self.heard.sort_unstable();
        self.heard.dedup();
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
