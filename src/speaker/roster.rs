//! Who is a peer: added, changed, removed, each with a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::rib::PeerId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tracing::info;

use super::listener::KnownPeers;
use super::owner::Owner;
use super::peer::{Order, PeerTask};
use super::status::Shared;
use super::view::PeerEntry;
use super::{Tiding, WantedPeer};

/// Orders to a peer's task that may wait.
const ORDERS: usize = 64;

/// A peer's new task.
pub(super) struct Spawned {
    pub(super) life: u64,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) accepted: mpsc::Sender<TcpStream>,
}

impl Owner {
    /// What goes, goes first: an address, a name or a range may pass from one peer to another.
    pub(super) fn set_peers(&mut self, mut wanted: Vec<WantedPeer>) {
        self.listeners.follow_keys(&mut wanted);
        let mut gone: HashMap<Arc<str>, PeerId> = self
            .peers
            .iter()
            .filter(|(_, entry)| {
                // Dynamic ones are not named here; they give way to who is.
                let wants_place = |peer: &WantedPeer| {
                    peer.is_at_place_of(&entry.wanted) || peer.rib.name == entry.wanted.rib.name
                };
                entry.wanted.group.is_none() || wanted.iter().any(wants_place)
            })
            .map(|(id, entry)| (Arc::clone(&entry.wanted.rib.name), *id))
            .collect();
        let mut known: Vec<Option<PeerId>> =
            wanted.iter().map(|peer| gone.remove(&peer.rib.name)).collect();
        // One that is only called otherwise, since somebody else asks for it, keeps its session.
        for (peer, known) in wanted.iter().zip(&mut known).filter(|(_, known)| known.is_none()) {
            let is_it = |id: &PeerId| {
                self.peers.get(id).is_some_and(|entry| entry.wanted.is_at_place_of(peer))
            };
            let name = gone.iter().find(|(_, id)| is_it(id)).map(|(name, _)| Arc::clone(name));
            *known = name.and_then(|name| gone.remove(&name));
        }
        for id in gone.into_values() {
            self.remove(id, "removed");
        }
        let mut fresh = Vec::new();
        for (peer, known) in wanted.into_iter().zip(known) {
            match known {
                None if peer.leaving => {}
                None => fresh.push((peer, false)),
                Some(id) => fresh.extend(self.change(id, peer)),
            }
        }
        // One that leaves is there for its session alone.
        for (peer, disabled) in fresh.into_iter().filter(|(peer, _)| !peer.leaving) {
            self.add(peer, disabled);
        }
        self.note_leaving();
        self.publish_known();
    }

    /// Who is a peer has changed: tells those who accept connections, and BFD. Dynamic peers come
    /// in by the door each time: they may be in another AS than before.
    pub(super) fn publish_known(&mut self) {
        let known: KnownPeers = self
            .peers
            .values()
            .filter(|entry| entry.wanted.is_known() && entry.wanted.group.is_none())
            .map(|entry| (entry.wanted.place(), entry.accepted.clone()))
            .collect();
        self.listeners.known.store(Arc::new(known));
        self.follow_gateways();
        self.set_bfd();
    }

    pub(super) fn add(&mut self, wanted: WantedPeer, disabled: bool) -> PeerId {
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        let asn = match wanted.session.any_external {
            true => "external".to_owned(),
            false => wanted.rib.asn.to_string(),
        };
        let place = match &wanted.link {
            Some(link) if !wanted.is_known() => link.to_string(),
            Some(link) => format!("{}%{link}", wanted.address),
            None => wanted.address.to_string(),
        };
        info!(peer = %wanted.rib.name, address = place, asn, "peer added");
        self.rib.configure_peer(id, wanted.rib.clone());
        let wanted = Arc::new(wanted);
        let shared = Shared::new();
        let task = self.spawn(id, &wanted, &shared, disabled, Duration::ZERO);
        let entry = PeerEntry {
            wanted,
            disabled,
            shared,
            life: task.life,
            orders: task.orders,
            accepted: task.accepted,
            session: None,
            told_asn: None,
            restart: None,
        };
        self.peers.insert(id, entry);
        id
    }

    pub(super) fn spawn(
        &mut self,
        id: PeerId,
        wanted: &Arc<WantedPeer>,
        shared: &Arc<Shared>,
        disabled: bool,
        rest: Duration,
    ) -> Spawned {
        let life = self.next_life;
        self.next_life += 1;
        let (orders, receive_orders) = mpsc::channel(ORDERS);
        let (accepted, receive_accepted) = mpsc::channel(2);
        let to_owner = self.from_peers.0.clone();
        let (wanted, shared) = (Arc::clone(wanted), Arc::clone(shared));
        let own_restart = Arc::clone(&self.own_restart);
        let task = async move {
            tokio::time::sleep(rest).await;
            let task = PeerTask::new(id, life, wanted, to_owner, shared, own_restart);
            task.run(receive_orders, receive_accepted).await;
        };
        self.of_task.insert(self.tasks.spawn(task).id(), id);
        if !disabled && !self.is_gone {
            // There is room: it is new.
            let _ = orders.try_send(Order::Start);
        }
        Spawned { life, orders, accepted }
    }

    /// Changes a peer; gives it back to be added, disabled or not, if it must start anew.
    pub(super) fn change(&mut self, id: PeerId, wanted: WantedPeer) -> Option<(WantedPeer, bool)> {
        let entry = self.peers.get_mut(&id)?;
        if *entry.wanted == wanted {
            return None;
        }
        let old = Arc::clone(&entry.wanted);
        let same_session = (old.place(), old.port, old.source, &old.session)
            == (wanted.place(), wanted.port, wanted.source, &wanted.session)
            // Whether we reflect for it is nothing that the session itself knows.
            && old.rib.asn == wanted.rib.asn
            && old.own_addresses == wanted.own_addresses;
        if !same_session {
            let disabled = entry.disabled;
            self.remove(id, "changed, its session starts anew");
            return Some((wanted, disabled));
        }
        if old.protection != wanted.protection {
            // If there is no room, the peer is too busy to be protected in time.
            let protection = Box::new(wanted.protection.clone());
            if entry.orders.try_send(Order::Protect(protection)).is_err() {
                let disabled = entry.disabled;
                self.remove(id, "changed, its session starts anew");
                return Some((wanted, disabled));
            }
        }
        info!(peer = %wanted.rib.name, "peer changed, its session stays");
        let now = entry.as_for_rib(&wanted);
        let treatment = self.treatment(id, &old, &wanted, now);
        self.rib.configure_peer(id, treatment);
        let ends = old.retain && !wanted.retain;
        let wanted = Arc::new(wanted);
        if let Some(entry) = self.peers.get_mut(&id) {
            entry.wanted = wanted;
        }
        if ends {
            self.drop_owned(id);
        }
        self.dirty = true;
        None
    }

    pub(super) fn remove(&mut self, id: PeerId, why: &str) {
        if self.peers.get(&id).is_some_and(|entry| entry.session.is_some()) {
            self.tell_of(id, |name, address, _| Tiding::Down(name, address, why.to_owned()));
        }
        self.stale_until.retain(|(peer, _), _| *peer != id);
        self.gone.remove(&id);
        self.held.remove(&id);
        if let Some(entry) = self.peers.remove(&id) {
            // Its task ends when `orders` is dropped, and tells the peer.
            info!(peer = %entry.wanted.rib.name, "peer {why}");
            self.rib.remove_peer(id);
            self.rejections.forget(id);
            self.monitors.remove_peer(id);
            self.dirty = true;
        }
    }
}
