//! One task a peer: feeds its session machine and does what the machine says.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use brindle_bgp::fsm::{Action, Delivery, Direction, Event, Negotiated, OwnRestart, Peer, WireId};
use brindle_bgp::msg::{
    self, Capability, CeaseReason, Message, Notification, Refresh, RouteRefresh, WireFormat,
};
use brindle_bgp::net::Family;
use brindle_bgp::rib::PeerId;
use bytes::BytesMut;
use futures::FutureExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tracing::info;

mod connecting;
mod telling;

use super::WantedPeer;
use super::auth::Protection;
use super::bfd::BfdWatch;
use super::calm::Calm;
use super::owner::{FromPeer, News};
use super::status::{Shared, offered};
use super::wire::{Wire, read_any};

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
                // Nothing else may happen to a peer that is only waited for.
                self.publish();
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
            Order::Retry => self.feed(Event::Retry),
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

    pub(super) fn feed(&mut self, event: Event) {
        let actions = self.machine.handle(event, Instant::now());
        self.carry_out(actions);
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

    /// The path to the peer has surely failed while it has no session: it will not come back over
    /// it, and nothing that is kept of it for that leads anywhere (RFC 5882 §4.3).
    pub(super) fn path_failed(&mut self) {
        if self.established.is_none() {
            self.pending.push(News::PathFailed);
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
            News::Up { .. }
            | News::Update(_)
            | News::EndOfRib(_)
            | News::Down(_)
            | News::PathFailed => false,
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
