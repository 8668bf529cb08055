//! Routes of peers without session: which are kept, and when that ends.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use brindle_bgp::fsm::{Down, PeerRestart};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{PeerId, Stale};

use super::owner::Owner;
use super::view::PeerEntry;

/// How long a peer whose session is up again may take to tell what it told before: one that
/// says End-of-RIB (RFC 4724 §2) ends that itself.
const STALE_LIMIT: Duration = Duration::from_secs(60);

/// The same of a peer that has restarted: it may wait for all of its own peers first, in usual
/// implementations for up to six minutes.
const RESTART_LIMIT: Duration = Duration::from_secs(360);

/// Why what the peer told is kept, by family, if its session ends now.
fn reasons(entry: &PeerEntry) -> [Option<Stale>; 2] {
    [(entry.wanted.retain && !entry.disabled).then_some(Stale::Owned); 2]
}

/// Likewise if the session ends for this reason: for a restart first, if that is agreed.
fn reasons_after(entry: &PeerEntry, why: &Down) -> [Option<Stale>; 2] {
    let agreed = entry.session.as_ref().map(|session| &session.agreed);
    let Some(agreed) = agreed.filter(|agreed| !entry.disabled && agreed.is_outlived(why)) else {
        return reasons(entry);
    };
    Family::ALL.map(|family| match &agreed.restart {
        Some(restart) if restart.keeps(family) => Some(Stale::Restarting),
        _ => reasons(entry)[family.index()],
    })
}

impl Owner {
    /// The session of a peer that is still wanted has ended.
    pub(super) fn session_lost(&mut self, peer: PeerId, why: &Down) {
        if self.peers.get(&peer).is_none_or(|entry| entry.session.is_none()) {
            return;
        }
        // What it did not tell again had its time, unless the node stands.
        self.keep_owned(peer, |_, _| true);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let keep = reasons_after(entry, why);
        entry.restart = entry.session.take().and_then(|session| session.agreed.restart);
        let wait = entry.restart.as_ref().map_or(Duration::ZERO, |restart| restart.time);
        self.stale_until.retain(|(of, _), _| *of != peer);
        self.rib.session_lost(peer, keep);
        self.monitors.session_down(peer, why);
        for family in Family::ALL {
            if self.rib.stale(peer, family) == Some(Stale::Restarting) {
                self.stale_until.insert((peer, family), Instant::now() + wait);
            }
        }
        self.dirty = true;
    }

    /// Goes on keeping what a peer told in an earlier session, but only because its node
    /// stands, in the families for which `is_over` says that its restart justifies it no more.
    pub(super) fn keep_owned(
        &mut self,
        peer: PeerId,
        is_over: impl Fn(Option<&PeerRestart>, Family) -> bool,
    ) {
        let Some(entry) = self.peers.get(&peer) else { return };
        let restart = entry.session.as_ref().and_then(|session| session.agreed.restart.as_ref());
        for family in Family::ALL {
            let is_kept = self.rib.stale(peer, family).is_some();
            if is_kept && reasons(entry)[family.index()].is_some() && is_over(restart, family) {
                self.rib.keep_stale(peer, family, Stale::Owned);
            }
        }
    }

    /// A session is up: from now on there is an end to waiting for what is still kept.
    pub(super) fn limit_stale(&mut self, peer: PeerId) {
        for family in Family::ALL {
            let limit = match self.rib.stale(peer, family) {
                Some(Stale::Owned) => STALE_LIMIT,
                Some(Stale::Restarting) => RESTART_LIMIT,
                // Its time goes on (RFC 9494 §4.2).
                Some(Stale::LongLived) => continue,
                None => {
                    self.stale_until.remove(&(peer, family));
                    continue;
                }
            };
            self.stale_until.insert((peer, family), Instant::now() + limit);
        }
    }

    /// When the next peer has had its time.
    pub(super) fn stale_deadline(&self) -> Option<Instant> {
        self.stale_until.values().min().copied()
    }

    /// Ends the waiting for peers that have had their time.
    pub(super) fn end_stale(&mut self) {
        let now = Instant::now();
        let over =
            |(which, until): (&(PeerId, Family), &Instant)| (*until <= now).then_some(*which);
        for (peer, family) in self.stale_until.iter().filter_map(over).collect::<Vec<_>>() {
            self.stale_until.remove(&(peer, family));
            self.restart_is_over(peer, family, now);
        }
        self.dirty = true;
    }

    /// A peer did not tell a family again in time: what comes after that is another reason to
    /// keep it, or nothing.
    fn restart_is_over(&mut self, peer: PeerId, family: Family, now: Instant) {
        let Some(entry) = self.peers.get(&peer) else { return };
        let is_down = entry.session.is_none();
        let is_restarting = self.rib.stale(peer, family) == Some(Stale::Restarting);
        let long = entry.restart.as_ref().and_then(|restart| restart.long_lived[family.index()]);
        if is_down && is_restarting && reasons(entry)[family.index()].is_some() {
            self.rib.keep_stale(peer, family, Stale::Owned);
        } else if let (true, true, Some((_, time))) = (is_down, is_restarting, long) {
            self.rib.keep_stale(peer, family, Stale::LongLived);
            self.stale_until.insert((peer, family), now + time);
        } else {
            self.rib.drop_stale(peer, family);
        }
    }

    /// The path to a peer without a session has failed: what is kept of it for its restart goes,
    /// but for what its node stands for.
    pub(super) fn path_failed(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get(&peer) else { return };
        if entry.session.is_some() {
            return;
        }
        let owned = reasons(entry);
        for family in Family::ALL {
            if !matches!(self.rib.stale(peer, family), Some(Stale::Restarting | Stale::LongLived)) {
                continue;
            }
            self.stale_until.remove(&(peer, family));
            match owned[family.index()] {
                Some(why) => self.rib.keep_stale(peer, family, why),
                None => self.rib.drop_stale(peer, family),
            }
        }
        self.dirty = true;
    }

    /// Keeps nothing any more that a peer told in an earlier session.
    pub(super) fn drop_stale(&mut self, peer: PeerId) {
        self.stale_until.retain(|(of, _), _| *of != peer);
        for family in Family::ALL {
            self.rib.drop_stale(peer, family);
        }
        self.dirty = true;
    }

    /// A node does not stand any more for what it told in an earlier session.
    pub(super) fn drop_owned(&mut self, peer: PeerId) {
        for family in Family::ALL {
            if self.rib.stale(peer, family) == Some(Stale::Owned) {
                self.stale_until.remove(&(peer, family));
                self.rib.drop_stale(peer, family);
            }
        }
        self.dirty = true;
    }

    /// Takes over what an earlier run of ours has left in the kernel.
    pub(super) fn adopt(&mut self, routes: Vec<(Prefix, IpAddr)>) {
        let waiting = |entry: &PeerEntry| {
            entry.wanted.mesh && entry.session.is_none() && reasons(entry) != [None; 2]
        };
        let peers = self.peers.iter().filter(|(_, entry)| waiting(entry)).map(|(id, _)| *id);
        let mut peers: Vec<PeerId> = peers.collect();
        peers.sort_unstable();
        for (prefix, next_hop) in routes {
            for peer in &peers {
                if self.rib.adopt(*peer, prefix, next_hop.into(), Stale::Owned) {
                    break;
                }
            }
        }
        self.dirty = true;
    }
}
