//! The task that owns the RIB: news of peers in, best paths to the kernel, messages to writers.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use brindle_bgp::bmp::Opens;
use brindle_bgp::fsm::{Down, Negotiated, OwnRestart, WireId};
use brindle_bgp::msg::{Attributes, CeaseReason, Refresh, RouteRefresh, Update};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{Advertisement, OwnRoute, PeerId, Rib, RibSession, RibSettings};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, warn};

use super::dynamic::{Gone, Newcomer};
use super::handover::{Held, Leaving};
use super::link::{Links, Sightings};
use super::listener::Listeners;
use super::monitor::Monitors;
use super::next_hops::Watched;
use super::peer::{Order, until};
use super::reach::Reach;
use super::refresh::Refreshing;
use super::rejections::Rejections;
use super::restart::{Deferral, ForFib};
use super::view::{Faults, PeerEntry, Session, StaleUntil, View, find};
use super::wire::Wake;
use super::{
    Command, Deed, DeedError, StopMode, Tiding, WantedPeer, local_next_hop, session_link,
    shared_link,
};
use crate::bfd;
use crate::fib::{self, FibHandle, LocalAddress};

/// How long stopping may take: peers that do not take our NOTIFICATION lose it.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Changes in one message to the fib. What a slow kernel keeps waiting beyond its few
/// messages waits in the RIB, where it takes the least room.
const CHANGES: usize = 1024;

/// How long a peer whose task panicked stays down.
const PANIC_REST: Duration = Duration::from_secs(1);

/// Messages of peers that may wait; each holds what one read brought.
const FROM_PEERS: usize = 64;

/// How long peers are listened to before others get their turn.
const TURN: Duration = Duration::from_millis(5);

/// What peers' tasks tell the owner.
pub(super) enum FromPeer {
    /// What happened, in its order, as that life of the peer's task saw it. The permit is
    /// the peer's leave to have so much on its way; it goes back once the news is taken in.
    News(PeerId, u64, Vec<News>, OwnedSemaphorePermit),
    /// A writer can take more.
    Pull(Pull),
}

/// What a writer asks for.
pub(super) struct Pull {
    pub(super) peer: PeerId,
    pub(super) wire: WireId,
    /// About how many octets.
    pub(super) budget: usize,
    pub(super) reply: oneshot::Sender<Advertisement>,
}

/// What happens to a session, as the RIB sees it.
pub(super) enum News {
    Up {
        wire: WireId,
        ends: (SocketAddr, SocketAddr),
        wake: Wake,
        negotiated: Negotiated,
        opens: Opens,
    },
    Update(Update),
    EndOfRib(Family),
    Refresh(RouteRefresh),
    Down(Down),
    /// While there was no session: nothing that leads over it is of use.
    PathFailed,
}

pub(super) struct Owner {
    pub(super) rib: Rib,
    pub(super) peers: HashMap<PeerId, PeerEntry>,
    pub(super) next_peer: u32,
    pub(super) next_life: u64,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) listeners: Listeners,
    pub(super) from_peers: (mpsc::Sender<FromPeer>, mpsc::Receiver<FromPeer>),
    pub(super) tasks: JoinSet<()>,
    pub(super) of_task: HashMap<Id, PeerId>,
    pub(super) fib: Option<FibHandle>,
    /// Whether best paths are for the fib; if not, it only tells of our addresses.
    pub(super) installs: bool,
    pub(super) fib_events: Option<mpsc::Receiver<fib::Event>>,
    /// The RIB may have something for the fib.
    pub(super) dirty: bool,
    pub(super) own: Vec<LocalAddress>,
    pub(super) originated: BTreeMap<Prefix, (OwnRoute, Attributes)>,
    pub(super) next_hops: Watched,
    /// Writers that are kept waiting until next hops are looked up.
    pulls: Vec<Pull>,
    /// The fib is to be told that leftovers may go, once it knows all that we want.
    pub(super) sweep: bool,
    /// Until when paths of an earlier session of a peer are kept, where that is limited.
    pub(super) stale_until: StaleUntil,
    /// What our next OPENs say of our own restart.
    pub(super) own_restart: Arc<ArcSwap<OwnRestart>>,
    /// What is waited for after it.
    pub(super) deferral: Option<Deferral>,
    pub(super) deferral_for_fib: Option<ForFib>,
    /// Where those are that have said all they know meanwhile; the fib is still to be told.
    pub(super) heard: Vec<IpAddr>,
    /// Peers in the middle of telling a family again, and until when.
    pub(super) refreshing: Refreshing,
    /// No session may come up: see [`super::Leave`].
    pub(super) is_gone: bool,
    /// How far peers are that are leaving, if some are.
    pub(super) leaving: Option<Leaving>,
    /// Peers that are believed a while longer what they told as reflectors.
    pub(super) held: Held,
    /// The BFD sessions of peers.
    pub(super) bfd: bfd::Handle,
    /// Who wants to know what happens.
    pub(super) tidings: Option<mpsc::Sender<Tiding>>,
    /// Orders to peers over their limits that found no room yet.
    pub(super) over_limit: Vec<(PeerId, Order)>,
    pub(super) gone: Gone,
    /// Links without addresses of their own, and who is on them.
    pub(super) links: Links,
    pub(super) sightings: Sightings,
    /// Gateways by which peers are reached.
    pub(super) reach: Reach,
    /// Those who follow the RIB from outside.
    pub(super) monitors: Monitors,
    /// How often what was refused was told.
    pub(super) rejections: Rejections,
    /// Tasks of peers that died.
    panics: u64,
    newcomers: Option<mpsc::Receiver<Newcomer>>,
}

impl Owner {
    pub(super) fn new(
        settings: RibSettings,
        commands: mpsc::Receiver<Command>,
        mut listeners: Listeners,
        fib: Option<(FibHandle, mpsc::Receiver<fib::Event>)>,
    ) -> Self {
        let (fib, fib_events) = fib.unzip();
        let newcomers = listeners.newcomers.take();
        Self {
            installs: settings.track_next_hops,
            monitors: Monitors::new(&settings),
            rib: Rib::new(settings),
            peers: HashMap::new(),
            next_peer: 0,
            next_life: 0,
            commands,
            listeners,
            from_peers: mpsc::channel(FROM_PEERS),
            tasks: JoinSet::new(),
            of_task: HashMap::new(),
            fib,
            fib_events,
            dirty: false,
            own: Vec::new(),
            originated: BTreeMap::new(),
            next_hops: Watched::default(),
            pulls: Vec::new(),
            sweep: false,
            stale_until: HashMap::new(),
            bfd: bfd::Handle::default(),
            own_restart: Arc::default(),
            deferral: None,
            deferral_for_fib: None,
            heard: Vec::new(),
            refreshing: Refreshing::default(),
            is_gone: false,
            leaving: None,
            held: Held::new(),
            tidings: None,
            over_limit: Vec::new(),
            gone: Gone::new(),
            rejections: Rejections::default(),
            panics: 0,
            links: Links::default(),
            sightings: None,
            reach: Reach::default(),
            newcomers,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let fib = self.fib.clone();
            let ends =
                self.sweep || self.deferral_for_fib == Some(ForFib::End) || !self.heard.is_empty();
            let may_end = ends && !self.next_hops.is_waiting();
            let begins = self.deferral_for_fib == Some(ForFib::Begin);
            let stale_deadline =
                self.stale_deadline().into_iter().chain(self.refresh_deadline()).min();
            let deferral_deadline = self.deferral_deadline();
            let gone_deadline = self.gone_deadline();
            let leaving_deadline = self.leaving_deadline();
            let now = Instant::now();
            if !self.pulls.is_empty() && self.tells_fib() && self.rib.has_new_next_hops() {
                self.next_hops.will_ask(now);
            }
            let best_deadline = self.next_hops.best_waits_until(now);
            let pulls_deadline = self.next_hops.peers_wait_until(now);
            if pulls_deadline.is_none() {
                self.answer_pulls();
            }
            let answers_deadline = best_deadline.into_iter().chain(pulls_deadline).min();
            let has_best = self.dirty && best_deadline.is_none();
            let is_told = (has_best || begins || self.reach.is_untold()) && self.tells_fib();
            let has_orders = fib.is_some() && (is_told || may_end);
            // Not biased: nobody who asks or tells without end may keep the others waiting.
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Stop(mode, done)) => {
                        self.stop(mode).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return self.stop(StopMode::Restart).await,
                },
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.task_ended(ended);
                }
                Some(event) = next(&mut self.fib_events) => self.take_fib_event(event),
                permit = reserve(fib.as_ref()), if has_orders => match permit {
                    Some(permit) => self.tell_fib(permit),
                    None => self.fib = None,
                },
                Some(message) = self.from_peers.1.recv() => self.take_turn(message),
                () = until(stale_deadline) => {
                    self.end_stale();
                    self.end_refreshes();
                }
                () = until(deferral_deadline) => {}
                () = until(answers_deadline) => {}
                Some(newcomer) = next(&mut self.newcomers) => self.welcome(newcomer),
                Some(sighting) = next(&mut self.sightings) => self.sighted(sighting),
                () = until(gone_deadline) => self.forget_gone(),
                () = until(leaving_deadline) => self.look_at_leaving(),
            }
            self.look_at_deferral(Instant::now());
            self.enforce_limits();
            self.tell_of_refusals();
            self.count_rejections();
            if self.dirty && !self.tells_fib() {
                self.rib.forget_changes();
                self.dirty = false;
            }
            self.monitors.look(&mut self.rib);
            for peer in self.rib.take_woken() {
                if let Some(session) = self.peers.get(&peer).and_then(|e| e.session.as_ref()) {
                    session.wake.notify_one();
                }
            }
        }
    }

    fn tells_fib(&self) -> bool {
        self.installs && self.fib.is_some()
    }

    /// Takes in a message and those that wait behind it, for a short while or until somebody
    /// wants to write: what it leads to shall be on its way before all is read that a fast peer
    /// has to say.
    fn take_turn(&mut self, first: FromPeer) {
        let end = Instant::now() + TURN;
        let kept_waiting = self.pulls.len();
        self.take_in(first);
        while self.pulls.len() == kept_waiting
            && Instant::now() < end
            && let Ok(message) = self.from_peers.1.try_recv()
        {
            self.take_in(message);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::SetPeers(wanted) => self.ask_for_peers(wanted),
            Command::SetDynamic(groups) => self.set_dynamic(groups),
            Command::SetOriginated(wanted) => self.set_originated(wanted),
            Command::Read(look) => {
                let Self { rib, peers, stale_until, bfd, rejections, .. } = self;
                let faults = Faults { peers: self.panics, bfd: bfd.faults() };
                let (groups, bfd_drops) = (self.listeners.door.groups(), bfd.drops());
                look(&View { rib, peers, groups, stale_until, rejections, bfd_drops, faults });
            }
            Command::Watching(deed) => deed(&mut self.monitors, &mut self.rib, &self.peers),
            Command::Do(peer, deed, done) => {
                let _ = done.send(self.act(&peer, deed));
            }
            Command::Leave(how) => self.leave(&how),
            Command::Adopt(routes) => self.adopt(routes),
            Command::TellOf(tidings) => self.tidings = Some(tidings),
            Command::Restarted(own, limit) => self.restarted(own, limit),
            Command::Complete => self.complete(),
            Command::Sweep => {
                self.sweep = true;
                self.forwards();
            }
            Command::Stop(..) => unreachable!("the loop ends at a stop"),
        }
    }

    fn act(&mut self, peer: &str, deed: Deed) -> Result<(), DeedError> {
        let id = find(&self.peers, peer).ok_or_else(|| DeedError::NoSuchPeer(peer.to_owned()))?;
        let Some(entry) = self.peers.get_mut(&id) else { return Ok(()) };
        let status = entry.status();
        let order =
            |order| entry.orders.try_send(order).map_err(|_| DeedError::Busy(peer.to_owned()));
        match deed {
            Deed::Reset => {
                order(Order::Stop(CeaseReason::AdministrativeReset, None))?;
                if !entry.disabled && !self.is_gone {
                    order(Order::Start)?;
                }
            }
            Deed::Disable(text) => {
                order(Order::Stop(CeaseReason::AdministrativeShutdown, text))?;
                entry.disabled = true;
                if entry.session.is_none() {
                    self.drop_stale(id);
                }
                self.set_bfd();
            }
            Deed::Enable => {
                if !self.is_gone {
                    order(Order::Start)?;
                }
                entry.disabled = false;
                self.set_bfd();
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
                        order(Order::Refresh(refresh))?;
                    } else {
                        return Err(DeedError::NoRefresh(peer.to_owned()));
                    }
                }
            }
            #[cfg(test)]
            Deed::Panic => order(Order::Panic)?,
        }
        Ok(())
    }

    fn take_in(&mut self, message: FromPeer) {
        match message {
            FromPeer::News(peer, life, news, _permit) => {
                if self.peers.get(&peer).is_none_or(|entry| entry.life != life) {
                    return;
                }
                self.dirty = true;
                for news in news {
                    self.take_news(peer, news);
                }
            }
            FromPeer::Pull(pull) => self.pulls.push(pull),
        }
    }

    /// Gives writers what they asked for.
    fn answer_pulls(&mut self) {
        self.next_hops.peers_told();
        for Pull { peer, wire, budget, reply } in std::mem::take(&mut self.pulls) {
            let current = self.peers.get(&peer).and_then(|entry| entry.session.as_ref());
            let advertisement = match current {
                Some(session) if session.wire == wire => self.rib.advertise(peer, budget),
                // The writer of a session that is over.
                _ => Advertisement::default(),
            };
            let _ = reply.send(advertisement);
        }
    }

    fn take_news(&mut self, peer: PeerId, news: News) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        match news {
            News::Up { wire, ends, wake, negotiated, opens } => {
                let local = ends.0.ip();
                let extended = negotiated.extended_next_hop;
                let next_hop = |family| {
                    local_next_hop(family, local, &entry.wanted, &self.own, extended)
                        .map(Into::into)
                };
                let session = RibSession {
                    local_v4: next_hop(Family::Ipv4Unicast),
                    local_v6: next_hop(Family::Ipv6Unicast),
                    shared_link: shared_link(&self.own, entry.wanted.address),
                    link: session_link(&self.own, local, &entry.wanted),
                    negotiated,
                };
                let agreed = Box::new(session.negotiated.clone());
                entry.told_asn = agreed.their_open.asn();
                entry.session = Some(Session { wire, local, wake, agreed });
                let is_told = entry.wanted.session.any_external;
                let told = is_told.then(|| entry.as_for_rib(&entry.wanted));
                self.keep_owned(peer, |restart, family| {
                    restart.is_none_or(|it| it.families[family.index()] != Some(true))
                });
                if let Some(told) = told {
                    self.rib.configure_peer(peer, told);
                }
                if let Some(entry) = self.peers.get(&peer) {
                    self.monitors.session_up(
                        peer,
                        &entry.wanted,
                        &session.negotiated,
                        (opens, ends),
                    );
                }
                self.rib.session_up(peer, session);
                self.limit_stale(peer);
                self.note_session(peer, true);
                self.tell_of(peer, |name, address, _| Tiding::Up(name, address));
            }
            News::Update(update) => self.rib.learn(peer, update),
            News::EndOfRib(family) => {
                self.rib.end_of_rib(peer, family);
                self.note_heard(peer);
            }
            News::Refresh(refresh) => {
                self.take_refresh(peer, refresh);
            }
            News::PathFailed => self.path_failed(peer),
            News::Down(why) => {
                let was_up = entry.session.is_some();
                let wanted = Arc::clone(&entry.wanted);
                self.session_lost(peer, &why);
                self.look_for(&wanted);
                self.note_session(peer, false);
                if was_up {
                    self.tell_of(peer, Tiding::Down);
                }
            }
        }
    }

    /// A peer's task ended: in order, or by a panic that must not touch anybody else.
    fn task_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match &ended {
            Ok((task, ())) => *task,
            Err(error) => error.id(),
        };
        let Some(id) = self.of_task.remove(&task) else { return };
        let Some(Ok(panic)) = ended.err().map(JoinError::try_into_panic) else { return };
        let Some(entry) = self.peers.get_mut(&id) else { return };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        error!(peer = %entry.wanted.rib.name, panic = text,
            "a fault of ours: the peer's task died; its session starts anew");
        self.panics += 1;
        let was_up = entry.session.is_some();
        entry.shared.task_died();
        self.session_lost(id, &Down::Tcp(String::new()));
        if was_up {
            self.tell_of(id, Tiding::Down);
        }
        let Some(entry) = self.peers.get_mut(&id) else { return };
        let (wanted, shared) = (Arc::clone(&entry.wanted), Arc::clone(&entry.shared));
        let disabled = entry.disabled;
        let task = self.spawn(id, &wanted, &shared, disabled, PANIC_REST);
        if let Some(entry) = self.peers.get_mut(&id) {
            (entry.life, entry.orders, entry.accepted) = (task.life, task.orders, task.accepted);
        }
        self.publish_known();
    }

    /// Tells of a peer: its name and address, and why it has no session.
    pub(super) fn tell_of(
        &self,
        peer: PeerId,
        tiding: impl FnOnce(Arc<str>, IpAddr, String) -> Tiding,
    ) {
        if let (Some(tidings), Some(entry)) = (&self.tidings, self.peers.get(&peer)) {
            let why = entry.status().last_reason.clone().unwrap_or_else(|| "unknown".to_owned());
            let (name, address) = (Arc::clone(&entry.wanted.rib.name), entry.wanted.address);
            // Who is told does not keep routing waiting; what does not fit is lost.
            let _ = tidings.try_send(tiding(name, address, why));
        }
    }

    fn tell_of_refusals(&mut self) {
        for (peer, prefix) in self.rib.take_refusals() {
            self.tell_of(peer, |name, _, _| Tiding::NotOwned(name, prefix));
        }
    }

    fn take_fib_event(&mut self, event: fib::Event) {
        match event {
            fib::Event::NextHops(changes) => {
                for (address, cost) in changes {
                    for next_hop in self.next_hops.answered(address) {
                        self.rib.resolve(*next_hop, cost);
                    }
                }
            }
            fib::Event::OwnAddresses(own) => {
                self.rib.set_own_addresses(own.iter().map(|local| local.address).collect());
                let links = own.iter().map(|local| (local.link, Arc::clone(&local.interface)));
                self.rib.set_links(links.collect());
                let before = std::mem::replace(&mut self.own, own);
                self.follow_links();
                self.follow_addresses(&before);
                self.set_bfd();
            }
        }
        self.dirty = true;
    }

    /// Sessions on an address that this host has lost would hang until a timer ends them; and
    /// those that wait to be tried again need not wait when an address comes, or its link is up
    /// again.
    fn follow_addresses(&self, before: &[LocalAddress]) {
        let lost = |address, wanted: &WantedPeer| {
            let is_it = |local: &LocalAddress| {
                local.address == address
                    && wanted.link.as_ref().is_none_or(|link| local.interface == *link)
            };
            before.iter().any(is_it) && !self.own.iter().any(is_it)
        };
        let come: Vec<&LocalAddress> =
            self.own.iter().filter(|local| local.is_up && !before.contains(local)).collect();
        for entry in self.peers.values().filter(|entry| !entry.disabled) {
            let wanted = &entry.wanted;
            match &entry.session {
                Some(session) if lost(session.local, wanted) => {
                    warn!(peer = %wanted.rib.name, address = %session.local,
                        "this host has lost the address of the session, which starts anew");
                    let reason = CeaseReason::OtherConfigurationChange;
                    // If there is no room, the hold timer does it later.
                    let _ = entry.orders.try_send(Order::Stop(reason, None));
                    let _ = entry.orders.try_send(Order::Start);
                }
                _ if come.iter().any(|local| {
                    wanted.source == Some(local.address)
                        || wanted.link.as_ref().map_or_else(
                            || local.link.contains(wanted.address),
                            |link| local.interface == *link,
                        )
                }) =>
                {
                    let _ = entry.orders.try_send(Order::Retry);
                    self.look_for(wanted);
                }
                _ => {}
            }
        }
    }

    fn tell_fib(&mut self, permit: mpsc::Permit<'_, fib::Command>) {
        if self.deferral_for_fib == Some(ForFib::Begin) {
            self.deferral_for_fib = None;
            return permit.send(fib::Command::Defer);
        }
        if self.reach.is_untold() {
            return permit.send(self.tell_gateways());
        }
        if self.dirty {
            let (new, gone) = self.rib.take_next_hops();
            if !new.is_empty() || !gone.is_empty() {
                let (watch, unwatch) = self.next_hops.change(new, gone, Instant::now());
                return permit.send(fib::Command::Watch(watch, unwatch));
            }
            self.next_hops.best_told();
            let changes = self.rib.take_some_changes(CHANGES);
            self.dirty = self.rib.has_changes();
            if !changes.is_empty() {
                return permit.send(fib::Command::Change(changes));
            }
        }
        if self.next_hops.is_waiting() {
            return;
        }
        // The fib reads in the order that we write: it knows all that is wanted by now.
        if self.deferral_for_fib.take().is_some() {
            self.heard.clear();
            permit.send(fib::Command::EndDeferral);
        } else if !self.heard.is_empty() {
            permit.send(fib::Command::Heard(std::mem::take(&mut self.heard)));
        } else if self.sweep {
            self.sweep = false;
            permit.send(fib::Command::Sweep);
        }
    }

    async fn stop(mut self, mode: StopMode) {
        let order = || match &mode {
            StopMode::Restart => Order::Restart,
            StopMode::Leave(reason, text) => Order::Stop(*reason, text.clone()),
        };
        for (_, entry) in self.peers.drain() {
            let _ = entry.orders.try_send(order());
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_LIMIT, all).await;
        // Last: not all peers know that a BFD that is switched off says nothing of the path.
        self.bfd.stop().await;
    }
}

/// What comes next of it; once nothing more can come, nothing for ever.
async fn next<T>(events: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
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
