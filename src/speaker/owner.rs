//! The task that owns the RIB: news of peers in, best paths to the kernel, messages to writers.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::fsm::{Negotiated, WireId};
use brindle_bgp::msg::{Attributes, CeaseReason, NextHop, Refresh, RouteRefresh, Update};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{Advertisement, PeerId, Rib, RibSession, RibSettings};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, info};

use super::listener::{KnownPeers, Listeners};
use super::peer::{Order, PeerTask, Shared};
use super::status::{Counters, PeerStatus};
use super::wire::Wake;
use super::{Command, Deed, DeedError, WantedPeer, local_next_hop, shared_link};
use crate::fib::{self, FibHandle, LocalAddress};

/// How long stopping may take: peers that do not take our NOTIFICATION lose it.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Messages of peers that are taken in before commands and the fib get their turn again.
const BATCH: usize = 16;

/// How long a peer whose task panicked stays down.
const PANIC_REST: Duration = Duration::from_secs(1);

/// What peers' tasks tell the owner.
pub(super) enum FromPeer {
    /// What happened, in its order. The permit is the peer's leave to have so much on its
    /// way; it goes back once the news is taken in.
    News(PeerId, Vec<News>, OwnedSemaphorePermit),
    /// A writer can take more.
    Pull { peer: PeerId, wire: WireId, budget: usize, reply: oneshot::Sender<Advertisement> },
}

/// What happens to a session, as the RIB sees it.
pub(super) enum News {
    Up { wire: WireId, local: IpAddr, wake: Wake, negotiated: Negotiated },
    Update(Update),
    EndOfRib(Family),
    Refresh(RouteRefresh),
    Down,
}

/// A peer as the owner keeps it.
pub struct PeerEntry {
    /// As it is wanted.
    pub wanted: Arc<WantedPeer>,
    /// Whether an operator switched it off.
    pub disabled: bool,
    /// Times that its task died.
    pub panics: u64,
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    accepted: mpsc::Sender<TcpStream>,
    session: Option<(WireId, Wake)>,
}

impl PeerEntry {
    /// Its session now.
    pub fn status(&self) -> Arc<PeerStatus> {
        self.shared.status.load_full()
    }

    /// Its messages so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

/// What can be read of the speaker.
pub struct View<'a> {
    /// The RIB.
    pub rib: &'a Rib,
    /// The peers.
    pub peers: &'a HashMap<PeerId, PeerEntry>,
}

impl View<'_> {
    /// The peer of that name or address.
    pub fn find(&self, name_or_address: &str) -> Option<(PeerId, &PeerEntry)> {
        find(self.peers, name_or_address).map(|id| (id, &self.peers[&id]))
    }

    /// The peer's name, for display.
    pub fn name(&self, peer: PeerId) -> Arc<str> {
        self.peers.get(&peer).map_or_else(|| "?".into(), |entry| Arc::clone(&entry.wanted.rib.name))
    }
}

fn find(peers: &HashMap<PeerId, PeerEntry>, name_or_address: &str) -> Option<PeerId> {
    let address = name_or_address.parse::<IpAddr>().ok();
    let by = |wanted: &WantedPeer| {
        &*wanted.rib.name == name_or_address || Some(wanted.address) == address
    };
    peers.iter().find(|(_, entry)| by(&entry.wanted)).map(|(id, _)| *id)
}

pub(super) struct Owner {
    rib: Rib,
    peers: HashMap<PeerId, PeerEntry>,
    next_peer: u32,
    commands: mpsc::Receiver<Command>,
    listeners: Listeners,
    from_peers: (mpsc::Sender<FromPeer>, mpsc::Receiver<FromPeer>),
    tasks: JoinSet<()>,
    of_task: HashMap<Id, PeerId>,
    fib: Option<FibHandle>,
    /// Whether best paths are for the fib; if not, it only tells of our addresses.
    installs: bool,
    fib_events: Option<mpsc::Receiver<fib::Event>>,
    /// The RIB may have something for the fib.
    dirty: bool,
    own: Vec<LocalAddress>,
    originated: BTreeSet<Prefix>,
    /// The fib knows addresses; the RIB also what came with them.
    watched: HashMap<IpAddr, Vec<NextHop>>,
}

impl Owner {
    pub(super) fn new(
        settings: RibSettings,
        commands: mpsc::Receiver<Command>,
        listeners: Listeners,
        fib: Option<(FibHandle, mpsc::Receiver<fib::Event>)>,
    ) -> Self {
        let (fib, fib_events) = fib.unzip();
        Self {
            installs: settings.track_next_hops,
            rib: Rib::new(settings),
            peers: HashMap::new(),
            next_peer: 0,
            commands,
            listeners,
            from_peers: mpsc::channel(256),
            tasks: JoinSet::new(),
            of_task: HashMap::new(),
            fib,
            fib_events,
            dirty: false,
            own: Vec::new(),
            originated: BTreeSet::new(),
            watched: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let fib = self.fib.clone();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Stop(reason, text, done)) => {
                        self.stop(reason, text).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return self.stop(CeaseReason::AdministrativeShutdown, None).await,
                },
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.task_ended(&ended);
                }
                Some(event) = next_event(&mut self.fib_events) => self.take_fib_event(event),
                permit = reserve(fib.as_ref()), if self.dirty && self.tells_fib() => match permit {
                    Some(permit) => self.tell_fib(permit),
                    None => self.fib = None,
                },
                count = self.from_peers.1.recv_many(&mut batch, BATCH) => {
                    debug_assert!(count > 0, "the owner holds a sender itself");
                    for message in batch.drain(..) {
                        self.take_in(message);
                    }
                }
            }
            if self.dirty && !self.tells_fib() {
                self.rib.forget_changes();
                self.dirty = false;
            }
            for peer in self.rib.take_woken() {
                if let Some((_, wake)) = self.peers.get(&peer).and_then(|e| e.session.as_ref()) {
                    wake.notify_one();
                }
            }
        }
    }

    fn tells_fib(&self) -> bool {
        self.installs && self.fib.is_some()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::SetPeers(wanted) => self.set_peers(wanted),
            Command::SetOriginated(prefixes, attributes) => {
                self.set_originated(prefixes, &attributes);
            }
            Command::Read(look) => look(&View { rib: &self.rib, peers: &self.peers }),
            Command::Do(peer, deed, done) => {
                let _ = done.send(self.act(&peer, deed));
            }
            Command::Stop(..) => unreachable!("the loop ends at a stop"),
        }
    }

    fn set_originated(&mut self, prefixes: Vec<Prefix>, attributes: &Attributes) {
        let wanted: BTreeSet<Prefix> = prefixes.into_iter().collect();
        for gone in self.originated.difference(&wanted) {
            self.rib.withdraw(gone);
        }
        for prefix in &wanted {
            self.rib.originate(*prefix, attributes.clone());
        }
        self.originated = wanted;
        self.dirty = true;
    }

    fn set_peers(&mut self, wanted: Vec<WantedPeer>) {
        let mut gone: HashMap<Arc<str>, PeerId> = self
            .peers
            .iter()
            .map(|(id, entry)| (Arc::clone(&entry.wanted.rib.name), *id))
            .collect();
        for peer in wanted {
            match gone.remove(&peer.rib.name) {
                None => self.add(peer),
                Some(id) => self.change(id, peer),
            }
        }
        for id in gone.into_values() {
            self.remove(id);
        }
        self.publish_known();
    }

    fn publish_known(&mut self) {
        let known: KnownPeers = self
            .peers
            .values()
            .map(|entry| (entry.wanted.address, entry.accepted.clone()))
            .collect();
        self.listeners.known.store(Arc::new(known));
    }

    fn add(&mut self, wanted: WantedPeer) {
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        info!(peer = %wanted.rib.name, address = %wanted.address, asn = %wanted.rib.asn, "peer added");
        self.rib.configure_peer(id, wanted.rib.clone());
        let wanted = Arc::new(wanted);
        let shared = Shared::new();
        let (orders, accepted) = self.spawn(id, &wanted, &shared, Duration::ZERO);
        let entry = PeerEntry {
            wanted,
            disabled: false,
            panics: 0,
            shared,
            orders,
            accepted,
            session: None,
        };
        self.peers.insert(id, entry);
    }

    fn spawn(
        &mut self,
        id: PeerId,
        wanted: &Arc<WantedPeer>,
        shared: &Arc<Shared>,
        rest: Duration,
    ) -> (mpsc::Sender<Order>, mpsc::Sender<TcpStream>) {
        let (orders, receive_orders) = mpsc::channel(16);
        let (accepted, receive_accepted) = mpsc::channel(2);
        let to_owner = self.from_peers.0.clone();
        let (wanted, shared) = (Arc::clone(wanted), Arc::clone(shared));
        let task = async move {
            tokio::time::sleep(rest).await;
            let task = PeerTask::new(id, wanted, to_owner, shared);
            task.run(receive_orders, receive_accepted).await;
        };
        self.of_task.insert(self.tasks.spawn(task).id(), id);
        let _ = orders.try_send(Order::Start);
        (orders, accepted)
    }

    fn change(&mut self, id: PeerId, wanted: WantedPeer) {
        let Some(entry) = self.peers.get_mut(&id) else { return };
        if *entry.wanted == wanted {
            return;
        }
        let old = Arc::clone(&entry.wanted);
        let same_session = (old.address, old.port, old.source, &old.session)
            == (wanted.address, wanted.port, wanted.source, &wanted.session)
            && (old.rib.kind, old.rib.asn) == (wanted.rib.kind, wanted.rib.asn)
            && old.own_addresses == wanted.own_addresses;
        if !same_session {
            info!(peer = %wanted.rib.name, "peer changed, its session starts anew");
            self.remove(id);
            return self.add(wanted);
        }
        info!(peer = %wanted.rib.name, "peer changed, its session stays");
        self.rib.configure_peer(id, wanted.rib.clone());
        entry.wanted = Arc::new(wanted);
        self.dirty = true;
    }

    fn remove(&mut self, id: PeerId) {
        if let Some(entry) = self.peers.remove(&id) {
            // Its task ends when `orders` is dropped, and tells the peer.
            info!(peer = %entry.wanted.rib.name, "peer removed");
            self.rib.remove_peer(id);
            self.dirty = true;
        }
    }

    fn act(&mut self, peer: &str, deed: Deed) -> Result<(), DeedError> {
        let id = find(&self.peers, peer).ok_or_else(|| DeedError::NoSuchPeer(peer.to_owned()))?;
        let Some(entry) = self.peers.get_mut(&id) else { return Ok(()) };
        let status = entry.status();
        match deed {
            Deed::Reset => {
                let _ = entry.orders.try_send(Order::Stop(CeaseReason::AdministrativeReset, None));
                if !entry.disabled {
                    let _ = entry.orders.try_send(Order::Start);
                }
            }
            Deed::Disable(text) => {
                entry.disabled = true;
                let reason = CeaseReason::AdministrativeShutdown;
                let _ = entry.orders.try_send(Order::Stop(reason, text));
            }
            Deed::Enable => {
                entry.disabled = false;
                let _ = entry.orders.try_send(Order::Start);
            }
            Deed::SoftIn | Deed::SoftOut => {
                let Some(negotiated) = &status.negotiated else {
                    return Err(DeedError::NotEstablished(peer.to_owned()));
                };
                for &family in &negotiated.families {
                    if deed == Deed::SoftOut {
                        self.rib.refresh(id, family);
                    } else if negotiated.route_refresh {
                        let refresh =
                            RouteRefresh { family: family.into(), kind: Refresh::Request };
                        let _ = entry.orders.try_send(Order::Refresh(refresh));
                    } else {
                        return Err(DeedError::NoRefresh(peer.to_owned()));
                    }
                }
            }
        }
        Ok(())
    }

    fn take_in(&mut self, message: FromPeer) {
        match message {
            FromPeer::News(peer, news, _permit) => {
                self.dirty = true;
                for news in news {
                    self.take_news(peer, news);
                }
            }
            FromPeer::Pull { peer, wire, budget, reply } => {
                let current = self.peers.get(&peer).and_then(|entry| entry.session.as_ref());
                let advertisement = match current {
                    Some((id, _)) if *id == wire => self.rib.advertise(peer, budget),
                    // The writer of a session that is over.
                    _ => Advertisement::default(),
                };
                let _ = reply.send(advertisement);
            }
        }
    }

    fn take_news(&mut self, peer: PeerId, news: News) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        match news {
            News::Up { wire, local, wake, negotiated } => {
                let next_hop = |family| {
                    local_next_hop(family, local, &entry.wanted, &self.own).map(Into::into)
                };
                let session = RibSession {
                    local_v4: next_hop(Family::Ipv4Unicast),
                    local_v6: next_hop(Family::Ipv6Unicast),
                    shared_link: shared_link(&self.own, entry.wanted.address),
                    negotiated,
                };
                entry.session = Some((wire, wake));
                self.rib.session_up(peer, session);
            }
            News::Update(update) => self.rib.learn(peer, update),
            News::EndOfRib(family) => self.rib.end_of_rib(peer, family),
            News::Refresh(refresh) => {
                if let (Some(family), Refresh::Request) = (refresh.family.family(), refresh.kind) {
                    self.rib.refresh(peer, family);
                }
            }
            News::Down => {
                entry.session = None;
                self.rib.session_down(peer);
            }
        }
    }

    /// A peer's task ended: in order, or by a panic that must not touch anybody else.
    fn task_ended(&mut self, ended: &Result<(Id, ()), JoinError>) {
        let (task, panicked) = match ended {
            Ok((task, ())) => (*task, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(id) = self.of_task.remove(&task) else { return };
        let Some(entry) = self.peers.get_mut(&id) else { return };
        if !panicked {
            return;
        }
        error!(peer = %entry.wanted.rib.name, "the peer's task died; its session starts anew");
        entry.panics += 1;
        entry.session = None;
        self.rib.session_down(id);
        self.dirty = true;
        let (wanted, shared) = (Arc::clone(&entry.wanted), Arc::clone(&entry.shared));
        let disabled = entry.disabled;
        let (orders, accepted) = self.spawn(id, &wanted, &shared, PANIC_REST);
        if disabled {
            let _ = orders.try_send(Order::Stop(CeaseReason::AdministrativeShutdown, None));
        }
        if let Some(entry) = self.peers.get_mut(&id) {
            (entry.orders, entry.accepted) = (orders, accepted);
        }
        self.publish_known();
    }

    fn take_fib_event(&mut self, event: fib::Event) {
        match event {
            fib::Event::NextHops(changes) => {
                for (address, cost) in changes {
                    for next_hop in self.watched.get(&address).into_iter().flatten() {
                        self.rib.resolve(*next_hop, cost);
                    }
                }
            }
            fib::Event::OwnAddresses(own) => {
                self.rib.set_own_addresses(own.iter().map(|local| local.address).collect());
                self.own = own;
            }
        }
        self.dirty = true;
    }

    fn tell_fib(&mut self, permit: mpsc::Permit<'_, fib::Command>) {
        let (new, gone) = self.rib.take_next_hops();
        if !new.is_empty() || !gone.is_empty() {
            let (watch, unwatch) = self.watch(new, gone);
            permit.send(fib::Command::Watch(watch, unwatch));
            return;
        }
        self.dirty = false;
        let changes = self.rib.take_changes();
        if !changes.is_empty() {
            permit.send(fib::Command::Change(changes));
        }
    }

    fn watch(&mut self, new: Vec<NextHop>, gone: Vec<NextHop>) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let mut watch = Vec::new();
        for next_hop in new {
            let known = self.watched.entry(next_hop.address()).or_default();
            if !known.contains(&next_hop) {
                known.push(next_hop);
            }
            // Also if it is watched already: the answer is wanted for this one, too.
            watch.push(next_hop.address());
        }
        let mut unwatch = Vec::new();
        for next_hop in gone {
            let address = next_hop.address();
            let Some(known) = self.watched.get_mut(&address) else { continue };
            known.retain(|other| *other != next_hop);
            if known.is_empty() {
                self.watched.remove(&address);
                unwatch.push(address);
            }
        }
        (watch, unwatch)
    }

    async fn stop(mut self, reason: CeaseReason, text: Option<String>) {
        for (_, entry) in self.peers.drain() {
            let _ = entry.orders.try_send(Order::Stop(reason, text.clone()));
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_LIMIT, all).await;
    }
}

async fn next_event(events: &mut Option<mpsc::Receiver<fib::Event>>) -> Option<fib::Event> {
    match events {
        Some(receiver) => {
            let event = receiver.recv().await;
            if event.is_none() {
                *events = None;
            }
            event
        }
        None => std::future::pending().await,
    }
}

async fn reserve(fib: Option<&FibHandle>) -> Option<mpsc::Permit<'_, fib::Command>> {
    match fib {
        Some(fib) => fib.commands.reserve().await.ok(),
        None => std::future::pending().await,
    }
}
