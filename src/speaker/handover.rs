//! Peers that are wanted until others have taken over from them: sessions of the mesh while it
//! moves to reflectors, and reflectors while it moves back.
//!
//! What a node told that is to reflect no more is taken for a while longer, until the others have
//! sessions with one another.
//!
//! A session of the mesh goes once everything that it tells us is told by a peer that stays, and
//! has been for a while: the node at its other end needs the same of us, and does not say when it
//! has it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brindle_bgp::fsm::State;
use brindle_bgp::net::Family;
use brindle_bgp::rib::{PathStatus, PathView, PeerId, PeerPolicy, RibPeer, Which};
use tracing::{info, warn};

use super::WantedPeer;
use super::owner::Owner;

/// How often it is looked whether others have taken over.
const LOOK: Duration = Duration::from_millis(250);
/// How long they must have, without a gap.
const LINGER: Duration = Duration::from_secs(3);
/// The longest wait for those that stay, once one of them is in sync; and how long a node is
/// believed that reflects no more.
const LIMIT: Duration = Duration::from_secs(120);
/// Paths that are looked at in one go.
const PAGE: usize = 1_000;

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    since: Instant,
    /// Since when others have taken over.
    ready: Option<Instant>,
    next_look: Instant,
}

/// Peers that are believed for a while what they were when they reflected.
pub(super) type Held = BTreeMap<PeerId, HeldPeer>;

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct HeldPeer {
    until: Instant,
    /// What was taken from it.
    import: PeerPolicy,
}

impl Owner {
    /// How a peer is to be treated from now on that was `old` and is `wanted`: as `now`, unless
    /// it is believed a while longer.
    pub(super) fn treatment(
        &mut self,
        id: PeerId,
        old: &WantedPeer,
        wanted: &WantedPeer,
        now: RibPeer,
    ) -> RibPeer {
        if wanted.reflects || !wanted.mesh {
            self.held.remove(&id);
        } else if old.reflects {
            let import = old.rib.import.clone();
            self.held.insert(id, HeldPeer { until: Instant::now() + LIMIT, import });
        }
        match self.held.get(&id) {
            Some(held) => RibPeer { import: held.import.clone(), ..now },
            None => now,
        }
    }

    /// Treats peers as they are wanted that were believed for long enough.
    fn end_held(&mut self) {
        let now = Instant::now();
        let over = self.held.iter().filter(|(_, held)| held.until <= now).map(|(id, _)| *id);
        for id in over.collect::<Vec<_>>() {
            self.held.remove(&id);
            if let Some(entry) = self.peers.get(&id) {
                info!(peer = %entry.wanted.rib.name, "reflects no more: only its own is taken");
                self.rib.configure_peer(id, entry.as_for_rib(&entry.wanted));
                self.dirty = true;
            }
        }
    }

    /// When [`Self::look_at_leaving`] is next of use.
    pub(super) fn leaving_deadline(&self) -> Option<Instant> {
        let held = self.held.values().map(|held| held.until);
        held.chain(self.leaving.map(|leaving| leaving.next_look)).min()
    }

    /// Peers have changed: begins to wait where some are leaving.
    pub(super) fn note_leaving(&mut self) {
        let now = Instant::now();
        let is_one = self.peers.values().any(|entry| entry.wanted.leaving);
        let wait = Leaving { since: now, ready: None, next_look: now };
        self.leaving = is_one.then(|| self.leaving.unwrap_or(wait));
    }

    /// Lets those go that are not needed any more.
    pub(super) fn look_at_leaving(&mut self) {
        self.end_held();
        let Some(mut leaving) = self.leaving else { return };
        let now = Instant::now();
        if now < leaving.next_look {
            return;
        }
        let of_mesh = || self.peers.iter().filter(|(_, entry)| entry.wanted.mesh);
        // Without others of the mesh it is routers that take over.
        let is_mesh = of_mesh().any(|(_, entry)| !entry.wanted.leaving);
        let staying = || {
            let all = self.peers.iter().filter(|(_, entry)| !entry.wanted.leaving);
            all.filter(move |(_, entry)| entry.wanted.mesh || !is_mesh)
        };
        let is_synced = staying().any(|(id, entry)| {
            entry.status().state == State::Established && self.rib.is_synced(*id)
        });
        let all: Vec<PeerId> =
            of_mesh().filter(|(_, entry)| entry.wanted.leaving).map(|(id, _)| *id).collect();
        let without = |id: &PeerId| self.peers.get(id).is_some_and(|one| one.session.is_none());
        // What one without a session told is kept for those that are wanted for good.
        let mut gone: Vec<PeerId> = all.iter().copied().filter(without).collect();
        let has_others = staying().next().is_some();
        let is_covered = has_others && all.iter().all(|id| without(id) || self.is_covered(*id));
        leaving.ready = is_covered.then(|| leaving.ready.unwrap_or(now));
        let is_over = leaving.ready.is_some_and(|since| now >= since + LINGER);
        let is_late = is_synced && now >= leaving.since + LIMIT;
        if is_over || is_late || !has_others {
            if is_late && !is_over {
                warn!(
                    "not all routes of the mesh are told by those that reflect them; its sessions end now"
                );
            }
            gone = all.clone();
        }
        let is_done = gone.len() == all.len();
        leaving.next_look = now + LOOK;
        self.leaving = (!is_done).then_some(leaving);
        if gone.is_empty() {
            return;
        }
        info!(sessions = gone.len(), "sessions of the mesh end, others have taken over");
        for id in gone {
            self.remove(id, "is not needed any more");
        }
        self.publish_known();
    }

    /// Whether a peer that stays tells everything that this one does.
    fn is_covered(&self, leaving: PeerId) -> bool {
        let stays = |path: &PathView| {
            let entry = path.from.and_then(|peer| self.peers.get(&peer));
            let is_usable = match path.status {
                PathStatus::Best | PathStatus::Multipath | PathStatus::Lost(_) => true,
                PathStatus::Unreachable | PathStatus::Refused(_) => false,
            };
            is_usable
                && path.stale.is_none()
                && entry.is_some_and(|entry| entry.session.is_some() && !entry.wanted.leaving)
        };
        Family::ALL.into_iter().all(|family| {
            let mut after = None;
            loop {
                let page = self.rib.page(family, Which::From(leaving), after.as_ref(), PAGE);
                for path in page.rows {
                    let is_refused = matches!(path.status, PathStatus::Refused(_));
                    if !is_refused && !self.rib.paths(&path.prefix).iter().any(stays) {
                        return false;
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => return true,
                }
            }
        })
    }
}
