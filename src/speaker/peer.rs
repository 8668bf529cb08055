//! One task a peer: feeds its session machine and does what the machine says.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use brindle_bgp::fsm::{
    Action, Delivery, Direction, Event, Negotiated, OwnRestart, Peer, State, WireId,
};
use brindle_bgp::msg::{
    self, AttributeFault, Capability, CeaseReason, Message, Notification, Refresh, RouteRefresh,
    Treatment, WireFormat,
};
use brindle_bgp::net::Family;
use brindle_bgp::rib::PeerId;
use bytes::BytesMut;
use futures::FutureExt;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info, warn};

use super::WantedPeer;
use super::auth::{AuthFailures, Protection};
use super::bfd::BfdWatch;
use super::calm::{Calm, Line};
use super::dial::dial;
use super::owner::{FromPeer, News};
use super::status::{PeerStatus, Shared, offered};
use super::wire::{Wire, read_any};
use super::writer::Writer;

/// Wire numbers are unique over all peers, so that late news of an old wire finds nobody.
static NEXT_WIRE: AtomicU64 = AtomicU64::new(1);

/// Batches of news that a peer may have on their way to the owner: one to be taken in, one
/// decoded meanwhile. More would only be memory, since a decoded update is many times as
/// large as on the wire.
const BATCHES_AHEAD: usize = 2;

/// Updates that may be read ahead of the owner to see whether the peer is alive.
const READ_AHEAD: usize = 100_000;

/// Connections that may still carry their last message; of those beyond, nothing is carried.
const CLOSING: usize = 16;

/// What the owner tells a peer's task.
#[derive(Debug)]
pub(super) enum Order {
    Start,
    Stop(CeaseReason, Option<String>),
    /// End the session so that the peer keeps our routes, if it can.
    Restart,
    /// Protect its connections in this way from now on.
    Protect(Box<Protection>),
    /// Send this, if there is a session.
    Refresh(RouteRefresh),
    /// It told more prefixes of a family than so many: end the session and rest so long.
    OverLimit(Family, u32, Duration),
    /// Something changed for the better: dial now, if there is no connection.
    Retry,
    #[cfg(test)]
    Panic,
}

/// What a wire's writer tells the peer's task.
#[derive(Debug)]
pub(super) enum WireNews {
    Progress(WireId),
    Broken(WireId, String),
}

pub(super) struct PeerTask {
    id: PeerId,
    life: u64,
    pub(super) wanted: Arc<WantedPeer>,
    protection: Protection,
    pub(super) machine: Peer,
    /// What an OPEN says of our own restart.
    own_restart: Arc<ArcSwap<OwnRestart>>,
    wires: Vec<Wire>,
    dialling: Option<JoinHandle<Result<TcpStream, String>>>,
    /// News for the owner that wait for room in its channel; nothing more is read meanwhile.
    pending: Vec<News>,
    to_owner: mpsc::Sender<FromPeer>,
    /// Permits for batches of news that the owner has not taken in yet.
    on_its_way: Arc<Semaphore>,
    news: (mpsc::Sender<WireNews>, mpsc::Receiver<WireNews>),
    pub(super) bfd: BfdWatch,
    shared: Arc<Shared>,
    established: Option<WireId>,
    /// What our OPEN of the established session said.
    offered: Arc<[Capability]>,
    /// Wires that still carry their last message.
    closing: JoinSet<()>,
    sent_notification: Option<(Notification, Instant)>,
    received_notification: Option<(Notification, Instant)>,
    last_fault: Option<Instant>,
    calm: Calm,
    /// What was last said of why there is no session.
    said: Option<String>,
}

impl PeerTask {
    pub(super) fn new(
        id: PeerId,
        life: u64,
        wanted: Arc<WantedPeer>,
        to_owner: mpsc::Sender<FromPeer>,
        shared: Arc<Shared>,
        own_restart: Arc<ArcSwap<OwnRestart>>,
    ) -> Self {
        // Only jitter hangs on it: two nodes that start together shall not dial in step.
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seed = u64::from(clock.subsec_nanos())
            ^ (u64::from(id.0) << 32)
            ^ u64::from(std::process::id());
        let machine = Peer::new(wanted.session.clone(), seed);
        Self {
            id,
            life,
            protection: wanted.protection.clone(),
            wanted,
            machine,
            own_restart,
            wires: Vec::new(),
            dialling: None,
            pending: Vec::new(),
            to_owner,
            on_its_way: Arc::new(Semaphore::new(BATCHES_AHEAD)),
            news: mpsc::channel(16),
            bfd: BfdWatch::new(&shared.bfd),
            shared,
            established: None,
            offered: Arc::default(),
            closing: JoinSet::new(),
            sent_notification: None,
            received_notification: None,
            last_fault: None,
            calm: Calm::default(),
            said: None,
        }
    }

    /// Runs until the owner drops its end of `orders` and the session is closed.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut accepted: mpsc::Receiver<TcpStream>,
    ) {
        loop {
            self.run_timers().await;
            // Before connections: who was just added is wanted.
            while let Ok(order) = orders.try_recv() {
                self.obey(order);
            }
            while self.closing.try_join_next().is_some() {}
            let deadline = self.machine.deadline();
            let may_read = self.pending.is_empty();
            let to_owner = self.to_owner.clone();
            // Not biased: neither a flood of connections nor one of updates starves the other.
            // Timers are run above, whatever comes.
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                room = room(&to_owner, &self.on_its_way), if !may_read => {
                    let Some((slot, permit)) = room else { break };
                    let news = std::mem::take(&mut self.pending);
                    slot.send(FromPeer::News(self.id, self.life, news, permit));
                }
                () = self.bfd.changed() => self.heed_bfd(),
                Some(stream) = accepted.recv() => self.connected(stream, Direction::Accepted),
                dialled = async { self.dialling.as_mut().expect("guarded").await }, if self.dialling.is_some() => {
                    self.dialling = None;
                    match dialled {
                        Ok(Ok(stream)) => self.connected(stream, Direction::Dialled),
                        Ok(Err(why)) => self.dial_failed(why),
                        Err(ended) => self.dial_failed(format!("dialling ended early: {ended}")),
                    }
                }
                Some(news) = self.news.1.recv() => match news {
                    WireNews::Progress(wire) => self.feed(Event::Progress(wire)),
                    WireNews::Broken(wire, why) => self.cannot_write(wire, why),
                },
                (wire, read) = read_any(&mut self.wires), if may_read && !self.wires.is_empty() => {
                    self.take_in(wire, read);
                }
                () = until(deadline) => {}
            }
            self.publish();
        }
        self.feed(Event::Stop(CeaseReason::PeerDeconfigured, None));
        self.publish();
        while self.closing.join_next().await.is_some() {}
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start => self.feed(Event::Start),
            Order::Stop(reason, text) => self.feed(Event::Stop(reason, text)),
            Order::Restart => self.feed(Event::Restart(Some("brindle is stopping".to_owned()))),
            Order::Protect(protection) => self.protect(*protection),
            Order::Refresh(refresh) => self.say(&Message::RouteRefresh(refresh)),
            Order::OverLimit(family, most, rest) => {
                self.feed(Event::OverLimit(family, most, rest));
            }
            Order::Retry => self.retry(),
            #[cfg(test)]
            Order::Panic => panic!("as ordered"),
        }
    }

    /// Runs timers that are due, but first takes in what has already arrived: after a pause
    /// of ours, or while the owner has no time, the peer's keepalives wait in the socket, and
    /// it must not be taken for dead.
    async fn run_timers(&mut self) {
        let is_due = |machine: &Peer| machine.deadline().is_some_and(|due| due <= Instant::now());
        if !is_due(&self.machine) {
            return;
        }
        // The reactor may not know yet what has arrived.
        tokio::task::yield_now().await;
        if self.pending.len() < READ_AHEAD
            && !self.wires.is_empty()
            && let Some((wire, read)) = read_any(&mut self.wires).now_or_never()
        {
            self.take_in(wire, read);
        }
        if is_due(&self.machine) {
            let actions = self.machine.on_deadline(Instant::now());
            self.carry_out(actions);
        }
        self.publish();
    }

    fn retry(&mut self) {
        // Who rests for what it did does so until its time is over.
        let may_dial = self.machine.next_dial().is_some() && self.machine.idle().is_none();
        if self.wires.is_empty() && may_dial {
            self.feed(Event::Stop(CeaseReason::OtherConfigurationChange, None));
            self.feed(Event::Start);
        }
    }

    pub(super) fn feed(&mut self, event: Event) {
        let actions = self.machine.handle(event, Instant::now());
        self.carry_out(actions);
    }

    fn dial_failed(&mut self, why: String) {
        debug!(peer = %self.wanted.rib.name, %why, "dialling failed");
        let mut status = PeerStatus::clone(&self.shared.status.load());
        status.last_dial_error = Some(why.clone());
        self.shared.status.store(Arc::new(status));
        self.feed(Event::ConnectFailed(why));
    }

    /// Dialling has come to something again.
    fn forget_dial_error(&self) {
        let status = self.shared.status.load();
        if status.last_dial_error.is_some() {
            let status = PeerStatus { last_dial_error: None, ..PeerStatus::clone(&status) };
            self.shared.status.store(Arc::new(status));
        }
    }

    fn dial(&mut self) {
        let peer = self.wanted.socket_address();
        let (source, protection) = (self.wanted.source, self.protection.clone());
        self.dialling = Some(tokio::spawn(async move { dial(peer?, source, &protection).await }));
    }

    /// Changes the connections that there are; those that cannot live on end.
    fn protect(&mut self, protection: Protection) {
        let old = std::mem::replace(&mut self.protection, protection);
        let peer = self.wanted.address;
        let change = |wire: &Wire| old.change(&self.protection, wire.socket(), peer).err();
        let lost = self.wires.iter().find_map(change);
        if let Some(why) = lost {
            info!(peer = %self.wanted.rib.name, why, "the session starts anew");
            self.feed(Event::Stop(CeaseReason::OtherConfigurationChange, None));
            self.feed(Event::Start);
        } else if let Some(dialling) = self.dialling.take() {
            dialling.abort();
            self.dial();
        } else {
            self.retry();
        }
    }

    fn connected(&mut self, stream: TcpStream, direction: Direction) {
        if direction == Direction::Accepted
            && let Err(why) = self.protection.arm_accepted(&stream, self.wanted.address)
        {
            return self.turn_away(&stream, why);
        }
        let id = WireId(NEXT_WIRE.fetch_add(1, Ordering::Relaxed));
        let start_writer = |write| {
            let counters = Arc::clone(&self.shared.counters);
            Writer::start(self.id, id, write, self.to_owner.clone(), self.news.0.clone(), counters)
        };
        match Wire::new(id, stream, start_writer) {
            Ok(wire) => {
                if direction == Direction::Dialled {
                    self.forget_dial_error();
                }
                self.wires.push(wire);
                self.machine.set_own_restart(**self.own_restart.load());
                self.feed(Event::Connected(id, direction));
            }
            Err(error) if direction == Direction::Dialled => self.dial_failed(error.to_string()),
            Err(error) => debug!(%error, "accepted connection was gone at once"),
        }
    }

    /// Resets a connection that is not protected as it shall be.
    fn turn_away(&mut self, stream: &TcpStream, why: String) {
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        debug!(peer = %self.wanted.rib.name, %why, "connection turned away");
        let mut status = PeerStatus::clone(&self.shared.status.load());
        status.last_dial_error = Some(why);
        self.shared.status.store(Arc::new(status));
    }

    /// The writer failed. What the peer said last may wait to be read, and says more of the
    /// reason than the failure.
    fn cannot_write(&mut self, wire: WireId, why: String) {
        while let Some(index) = self.wires.iter().position(|w| w.id == wire)
            && self.pending.len() < READ_AHEAD
        {
            let Some((_, read)) = read_any(&mut self.wires[index..=index]).now_or_never() else {
                break;
            };
            self.take_in(wire, read);
        }
        self.broken(wire, why);
    }

    fn broken(&mut self, wire: WireId, why: String) {
        if let Some(index) = self.wires.iter().position(|w| w.id == wire) {
            self.wires.swap_remove(index);
            self.feed(Event::Closed(wire, why));
        }
    }

    /// Decodes and handles everything that is whole in the wire's buffer.
    fn take_in(&mut self, wire: WireId, read: std::io::Result<usize>) {
        match read {
            Ok(0) => {
                return self.broken(wire, self.closed_because("the peer closed the connection"));
            }
            Err(error) => {
                let why = match error.kind() {
                    ErrorKind::ConnectionReset => {
                        self.closed_because("the peer reset the connection")
                    }
                    _ => error.to_string(),
                };
                return self.broken(wire, why);
            }
            Ok(_) => self.shared.counters.note_heard(),
        }
        let counters = Arc::clone(&self.shared.counters);
        while let Some(current) = self.wires.iter_mut().find(|w| w.id == wire) {
            match current.next_message(&counters) {
                Ok(None) => {
                    current.relax();
                    return;
                }
                Ok(Some(decoded)) => {
                    if !decoded.faults.is_empty() {
                        self.note_faults(&decoded.faults);
                    }
                    if let Message::Notification(notification) = &decoded.message {
                        self.received_notification = Some((notification.clone(), Instant::now()));
                    }
                    self.feed(Event::Received(wire, decoded.message));
                }
                Err(error) => {
                    self.feed(Event::Malformed(wire, error.0));
                    // The machine closes it; should it ever not, nothing more can be read
                    // from a stream that is out of step.
                    self.close(wire);
                    return;
                }
            }
        }
    }

    /// What happened; of a peer that says nothing at all, with the likely reason.
    fn closed_because(&self, what: &str) -> String {
        if self.established.is_some() || self.shared.counters.last_heard().is_some() {
            return what.to_owned();
        }
        format!("{what} without a word; does it have our address as that of a peer?")
    }

    /// Counts malformed attributes; logs at most one line a minute and peer.
    fn note_faults(&mut self, faults: &[AttributeFault]) {
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

    fn say(&mut self, message: &Message) {
        if let Some(id) = self.established {
            self.send(id, message);
        }
    }

    fn send(&mut self, id: WireId, message: &Message) {
        if let Some(wire) = self.wires.iter_mut().find(|w| w.id == id) {
            let mut octets = BytesMut::new();
            msg::encode(message, &wire.format, &mut octets);
            let octets = octets.freeze();
            if matches!(message, Message::Open(_)) {
                wire.opens.sent = octets.clone();
            }
            wire.writer.send(octets);
        }
    }

    fn close(&mut self, wire: WireId) {
        if let Some(index) = self.wires.iter().position(|w| w.id == wire) {
            let wire = self.wires.swap_remove(index);
            if self.closing.len() < CLOSING {
                self.closing.spawn(wire.close());
            } else {
                wire.reset();
            }
        }
    }

    /// Says that the session came or went; of a peer that does so all the time, only that.
    pub(super) fn say_session(&mut self, say: impl FnOnce()) {
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

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Dial => {
                    self.dial();
                }
                Action::AbandonDial => {
                    if let Some(dialling) = self.dialling.take() {
                        dialling.abort();
                    }
                }
                Action::Send(wire, message) => {
                    if let Message::Notification(notification) = &message {
                        self.sent_notification = Some((notification.clone(), Instant::now()));
                    }
                    self.send(wire, &message);
                }
                Action::Close(wire) => self.close(wire),
                Action::Up(wire, negotiated) => self.up(wire, *negotiated),
                Action::Down(why) => {
                    self.established = None;
                    self.pending.push(News::Down(why.clone()));
                    let why = self.machine.last_reason().unwrap_or_else(|| why.to_string());
                    let peer = Arc::clone(&self.wanted.rib.name);
                    self.said = Some(why.clone());
                    self.say_session(|| info!(%peer, why, "session down"));
                }
                Action::Deliver(Delivery::Update(update)) => {
                    self.pending.push(News::Update(update));
                }
                Action::Deliver(Delivery::EndOfRib(family)) => {
                    self.pending.push(News::EndOfRib(family));
                }
                Action::Deliver(Delivery::Refresh(refresh)) => {
                    self.note_refresh(refresh);
                }
            }
        }
    }

    /// Passes a ROUTE-REFRESH on. Of a flood of requests one a family is enough: each has
    /// everything sent again from the beginning.
    fn note_refresh(&mut self, refresh: RouteRefresh) {
        let is_known = |news: &News| match news {
            News::Refresh(earlier) => *earlier == refresh,
            News::Up { .. } | News::Update(_) | News::EndOfRib(_) | News::Down(_) => false,
        };
        let mut latest =
            self.pending.iter().rev().take_while(|news| matches!(news, News::Refresh(_)));
        if refresh.kind != Refresh::Request || !latest.any(is_known) {
            self.pending.push(News::Refresh(refresh));
        }
    }

    fn up(&mut self, id: WireId, negotiated: Negotiated) {
        let Some(wire) = self.wires.iter_mut().find(|w| w.id == id) else { return };
        wire.format = WireFormat {
            four_octet_asns: negotiated.four_octet_asns,
            extended_message: negotiated.extended_message,
            extended_next_hop: negotiated.extended_next_hop,
            families: negotiated.families.clone(),
            add_paths: negotiated.add_paths,
            internal: self.wanted.session.local_asn == self.wanted.session.remote_asn,
        };
        wire.writer.start_updates();
        let wake = Arc::clone(&wire.writer.wake);
        let (ends, opens) = (wire.ends, std::mem::take(&mut wire.opens));
        self.established = Some(id);
        self.said = None;
        let wanted = Arc::clone(&self.wanted);
        let hold_time = negotiated.hold_time.secs();
        self.say_session(|| {
            info!(peer = %wanted.rib.name, address = %wanted.address, hold_time,
                "session established");
        });
        self.offered = offered(&opens.sent);
        self.pending.push(News::Up { wire: id, ends, wake, negotiated, opens });
    }

    /// Makes the state readable for others, if it changed.
    fn publish(&mut self) {
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

/// A place in the owner's channel and the peer's leave to use it; `None` if the owner is gone.
async fn room<'a>(
    to_owner: &'a mpsc::Sender<FromPeer>,
    on_its_way: &Arc<Semaphore>,
) -> Option<(mpsc::Permit<'a, FromPeer>, OwnedSemaphorePermit)> {
    let permit = Arc::clone(on_its_way).acquire_owned().await.ok()?;
    Some((to_owner.reserve().await.ok()?, permit))
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
