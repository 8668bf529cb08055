//! The sessions on the thread: which packet is for whom, what is due when.

use std::collections::hash_map::{self, RandomState};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle_bgp::bfd::{Cause, Change, Output, Packet, Path, Session, State};
use brindle_bgp::fsm::BfdFailure;

use super::Wanted;
use super::receiver::{Arrival, Receiver};
use super::report::{Counters, Drop, Drops, Seen, Status};
use super::sender::{PORTS, Sender};

/// Packets that are read in a row from one socket: a flood must not keep timers waiting.
const TURN: usize = 1024;

/// How soon a socket that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// All sessions, by our discriminator.
pub(super) struct Table {
    sessions: HashMap<NonZeroU32, Entry>,
    /// Who is at an address, over one hop or several.
    of_peer: BTreeMap<(IpAddr, bool), Vec<NonZeroU32>>,
    due: BTreeSet<(Instant, NonZeroU32)>,
    receivers: HashMap<SocketAddr, Receiver>,
    /// Source ports that sessions have.
    ports: BTreeSet<u16>,
    drops: Arc<Drops>,
}

struct Entry {
    wanted: Wanted,
    session: Session,
    since: Instant,
    sender: Option<Sender>,
    /// The source port that it had last.
    port: Option<u16>,
    /// The index of the interface of the peer's link, as last looked up.
    interface: u32,
    /// When a sender is tried again.
    try_at: Instant,
    /// Why packets do not go, why none come, and why those that come are dropped.
    problems: [Option<String>; 3],
    /// When its timers are due, as it stands in `due`.
    armed: Option<Instant>,
    /// It is not wanted any more, and until then the peer is told so.
    leaving: Option<Instant>,
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn is_multihop(wanted: &Wanted) -> bool {
    matches!(wanted.settings.path, Path::Multihop { .. })
}

impl Table {
    pub(super) fn new(drops: Arc<Drops>) -> Self {
        Self {
            sessions: HashMap::new(),
            of_peer: BTreeMap::new(),
            due: BTreeSet::new(),
            receivers: HashMap::new(),
            ports: BTreeSet::new(),
            drops,
        }
    }

    /// The sockets that packets come in on.
    pub(super) fn receivers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.receivers.values().map(AsFd::as_fd)
    }

    /// When the next timer is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// These sessions and no others.
    pub(super) fn set(&mut self, wanted: Vec<Wanted>, now: Instant) {
        let mut gone: BTreeSet<NonZeroU32> = self.sessions.keys().copied().collect();
        for wanted in wanted {
            match self.find(&wanted) {
                Some(id) if gone.remove(&id) => self.change(id, wanted, now),
                // Twice the same: the first counts.
                Some(_) => {}
                None => self.add(wanted, now),
            }
        }
        for id in gone {
            self.leave(id, now);
        }
        self.close_unused();
    }

    /// The session that this one would be: to the same peer, from the same address.
    fn find(&self, wanted: &Wanted) -> Option<NonZeroU32> {
        let ids = self.of_peer.get(&(wanted.peer, is_multihop(wanted)))?;
        let is_same = |id: &&NonZeroU32| {
            self.sessions.get(id).is_some_and(|entry| {
                entry.wanted.source == wanted.source
                    // What is link-local on one interface is somebody else on another.
                    && (!is_link_local(wanted.peer) || entry.wanted.interface == wanted.interface)
            })
        };
        ids.iter().find(is_same).copied()
    }

    fn add(&mut self, wanted: Wanted, now: Instant) {
        // Keyed by the kernel's random numbers: nobody guesses what it makes of 0, 1 and so on.
        let random = RandomState::new();
        let mut numbers = (0u32..).map(|number| random.hash_one(number));
        let fresh = |number: u64| NonZeroU32::new((number >> 32) as u32);
        let id = numbers.by_ref().filter_map(fresh).find(|id| !self.sessions.contains_key(id));
        let (Some(id), Some(seed)) = (id, numbers.next()) else { return };
        let session = Session::new(wanted.settings.intervals, id, seed, now);
        self.of_peer.entry((wanted.peer, is_multihop(&wanted))).or_default().push(id);
        let entry = Entry {
            wanted,
            session,
            since: now,
            sender: None,
            port: None,
            interface: 0,
            try_at: now,
            problems: [const { None }; 3],
            armed: None,
            leaving: None,
        };
        self.sessions.insert(id, entry);
        self.settle(id);
    }

    fn change(&mut self, id: NonZeroU32, wanted: Wanted, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        entry.session.configure(wanted.settings.intervals, now);
        let old = std::mem::replace(&mut entry.wanted, wanted);
        if old.interface != entry.wanted.interface {
            (entry.sender, entry.try_at) = (None, now);
        }
        if !Arc::ptr_eq(&old.report, &entry.wanted.report) {
            old.report.show(None);
        }
        (entry.leaving, entry.problems[2]) = (None, None);
        let out = entry.session.enable(now);
        // Not only when the next packet is due: until then it would be deaf.
        self.open(id, now);
        self.carry_out(id, out, now);
    }

    fn leave(&mut self, id: NonZeroU32, now: Instant) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        if entry.leaving.is_some() {
            return;
        }
        let out = entry.session.disable(now);
        // Reckoned with the slow interval that it has now: longer than the peer waits.
        entry.leaving = now.checked_add(entry.session.remote_detection_time());
        self.carry_out(id, out, now);
        if let Some(entry) = self.sessions.get(&id) {
            entry.wanted.report.show(None);
        }
    }

    fn remove(&mut self, id: NonZeroU32) {
        let Some(entry) = self.sessions.remove(&id) else { return };
        if let Some(armed) = entry.armed {
            self.due.remove(&(armed, id));
        }
        let of = (entry.wanted.peer, is_multihop(&entry.wanted));
        if let Some(ids) = self.of_peer.get_mut(&of) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.of_peer.remove(&of);
            }
        }
        if let Some(port) = entry.port {
            self.ports.remove(&port);
        }
    }

    /// Hands in what waits in the sockets.
    pub(super) fn receive(&mut self) {
        let places: Vec<SocketAddr> = self.receivers.keys().copied().collect();
        for place in places {
            for _ in 0..TURN {
                let arrival = self.receivers.get_mut(&place).and_then(Receiver::receive);
                let Some(arrival) = arrival else { break };
                let now = Instant::now();
                if let Err(reason) = self.take_in(place, &arrival, now) {
                    self.drops.note(reason);
                }
            }
        }
    }

    fn take_in(&mut self, at: SocketAddr, arrival: &Arrival, now: Instant) -> Result<(), Drop> {
        let packet = Packet::decode(arrival.octets())?;
        let is_multihop = at.port() == brindle_bgp::bfd::PORT_MULTIHOP;
        let ids = self.of_peer.get(&(arrival.from, is_multihop)).ok_or(Drop::UnknownPeer)?;
        let is_here = |id: &&NonZeroU32| {
            let entry = self.sessions.get(id);
            entry.and_then(Entry::place).is_some_and(|place| place == at)
        };
        let id = match packet.your_discriminator {
            Some(yours) => ids.iter().find(|id| **id == yours).ok_or(Drop::Discriminator)?,
            // One that begins: whoever is wanted rather than who is on the way out.
            None => ids
                .iter()
                .filter(is_here)
                .min_by_key(|id| self.sessions.get(id).is_some_and(|e| e.leaving.is_some()))
                .ok_or(Drop::UnknownPeer)?,
        };
        let id = *id;
        let entry = self.sessions.get_mut(&id).ok_or(Drop::UnknownPeer)?;
        let refused = entry.refuse(arrival);
        if let Err((reason, why)) = refused {
            // One that is up is not to be frightened by what anybody may send.
            if entry.session.state() != State::Up {
                entry.problems[2] = Some(why);
                self.settle(id);
            }
            return Err(reason);
        }
        entry.problems[2] = None;
        Counters::note(&entry.wanted.report.counters().received);
        let out = entry.session.receive(&packet, now);
        self.carry_out(id, out, now);
        Ok(())
    }

    /// Runs the timers that are due.
    pub(super) fn run_timers(&mut self, now: Instant) {
        let before = self.sessions.len();
        while let Some((at, id)) = self.due.first().copied()
            && at <= now
        {
            let Some(entry) = self.sessions.get_mut(&id) else {
                self.due.remove(&(at, id));
                continue;
            };
            if entry.leaving.is_some_and(|end| end <= now) {
                self.remove(id);
                continue;
            }
            let out = entry.session.on_deadline(now);
            self.carry_out(id, out, now);
        }
        if self.sessions.len() < before {
            self.close_unused();
        }
    }

    fn carry_out(&mut self, id: NonZeroU32, out: Output, now: Instant) {
        if let Some(packet) = &out.send {
            self.send(id, packet, now);
        }
        if let (Some(change), Some(entry)) = (&out.change, self.sessions.get_mut(&id)) {
            entry.since = now;
            entry.note(change);
        }
        self.settle(id);
    }

    /// Arms the timer and tells how things stand.
    fn settle(&mut self, id: NonZeroU32) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let deadline = entry.session.deadline().into_iter().chain(entry.leaving).min();
        // One that sends nothing, because the peer wants nothing, has no timer.
        if entry.armed != deadline {
            if let Some(armed) = entry.armed {
                self.due.remove(&(armed, id));
            }
            if let Some(deadline) = deadline {
                self.due.insert((deadline, id));
            }
            entry.armed = deadline;
        }
        if entry.leaving.is_none() {
            entry.wanted.report.show(Some(entry.seen()));
        }
    }

    fn send(&mut self, id: NonZeroU32, packet: &Packet, now: Instant) {
        self.open(id, now);
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let Some(sender) = &entry.sender else { return };
        match sender.send(packet) {
            Ok(()) => {
                Counters::note(&entry.wanted.report.counters().sent);
                entry.problems[0] = None;
            }
            Err(problem) => {
                entry.problems[0] = Some(problem);
                // Perhaps there is another way by now, from another address.
                if entry.session.state() != State::Up && now >= entry.try_at {
                    (entry.sender, entry.try_at) = (None, now + TRY_AGAIN);
                }
            }
        }
    }

    /// Opens the sockets that the session needs and does not have.
    fn open(&mut self, id: NonZeroU32, now: Instant) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let is_due = entry.sender.is_none() && now >= entry.try_at;
        let sender = is_due.then(|| self.new_sender(id, entry));
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        match sender {
            Some(Ok(sender)) => {
                if let Some(before) = entry.port.replace(sender.local().port()) {
                    self.ports.remove(&before);
                }
                self.ports.insert(sender.local().port());
                (entry.sender, entry.problems[0]) = (Some(sender), None);
            }
            Some(Err(problem)) => {
                entry.problems[0] = Some(problem);
                entry.try_at = now + TRY_AGAIN;
            }
            None => {}
        }
        let Some(place) = entry.place() else { return };
        entry.problems[1] = None;
        if let hash_map::Entry::Vacant(vacant) = self.receivers.entry(place) {
            match Receiver::open(place) {
                Ok(receiver) => drop(vacant.insert(receiver)),
                Err(problem) => entry.problems[1] = Some(problem),
            }
        }
    }

    /// A sender with a source port that no other session has: its own of before, or one that
    /// is as hard to guess as its discriminator.
    fn new_sender(&self, id: NonZeroU32, entry: &Entry) -> Result<Sender, String> {
        let wanted = &entry.wanted;
        let start = (id.get() >> 16) as u16 | *PORTS.start();
        let ports = entry.port.into_iter().chain(start..=*PORTS.end()).chain(PORTS);
        let free = ports.filter(|port| entry.port == Some(*port) || !self.ports.contains(port));
        let mut to = SocketAddr::new(wanted.peer, wanted.settings.path.port());
        if let (SocketAddr::V6(to), Some(name), true) =
            (&mut to, &wanted.interface, is_link_local(wanted.peer))
        {
            to.set_scope_id(nix::net::if_::if_nametoindex(&**name).unwrap_or(0));
        }
        Sender::open(to, wanted.source, wanted.interface.as_deref(), free)
    }

    fn close_unused(&mut self) {
        let used: BTreeSet<SocketAddr> = self.sessions.values().filter_map(Entry::place).collect();
        self.receivers.retain(|place, _| used.contains(place));
    }
}

impl Entry {
    /// Refuses a packet that did not come the way that the peer's do.
    fn refuse(&mut self, arrival: &Arrival) -> Result<(), (Drop, String)> {
        let (peer, least) = (self.wanted.peer, self.wanted.settings.path.min_ttl());
        if arrival.ttl < least {
            let ttl = arrival.ttl;
            let what = match self.wanted.settings.path {
                Path::SingleHop => "as over one hop",
                Path::Multihop { .. } => "by bfd.minimumTTL",
            };
            let why =
                format!("packets of {peer} come with TTL {ttl}, and {least} is wanted {what}");
            return Err((Drop::Ttl, why));
        }
        if let Some(name) = &self.wanted.interface
            && self.interface != arrival.interface
        {
            // It may have been made anew since.
            self.interface = nix::net::if_::if_nametoindex(&**name).unwrap_or(0);
            if self.interface != arrival.interface {
                let why = format!("packets of {peer} come in by another interface than {name}");
                return Err((Drop::Interface, why));
            }
        }
        Ok(())
    }

    /// Our address, if it is known.
    fn local(&self) -> Option<IpAddr> {
        self.wanted.source.or_else(|| self.sender.as_ref().map(|sender| sender.local().ip()))
    }

    /// Where its packets come in, if that is known.
    fn place(&self) -> Option<SocketAddr> {
        let port = self.wanted.settings.path.port();
        match (&self.sender, self.wanted.source) {
            (Some(sender), None) => {
                let mut place = sender.local();
                place.set_port(port);
                Some(place)
            }
            (_, source) => Some(SocketAddr::new(source?, port)),
        }
    }

    /// Counts a change that clients act on.
    fn note(&self, change: &Change) {
        let peer = self.wanted.peer;
        let why = match change.cause {
            Cause::Silence(time) => format!("no packets from {peer} for {}", in_words(time)),
            Cause::Signaled(diagnostic) => {
                format!("{peer} says that the session is down: {diagnostic}")
            }
            Cause::SwitchedOff => format!("{peer} has switched BFD off"),
            Cause::Heard | Cause::Told => return,
        };
        let may_be_restart = self.wanted.settings.graceful_restart;
        let is_certain = self.session.remote().is_independent || !may_be_restart;
        let failure = BfdFailure { why, is_certain };
        let tell = |status: &mut Status| {
            if change.is_failure(true) {
                status.failures += 1;
                status.last_failure = Some(failure);
            } else if change.is_failure(false) {
                status.switched_off += 1;
            }
        };
        self.wanted.report.note(tell);
    }

    fn seen(&self) -> Seen {
        let session = &self.session;
        Seen {
            state: session.state(),
            since: self.since,
            diagnostic: session.diagnostic(),
            local: self.local(),
            settings: self.wanted.settings,
            discriminator: session.discriminator(),
            remote: *session.remote(),
            transmit_interval: session.transmit_interval(),
            receive_interval: session.receive_interval(),
            detection_time: session.detection_time(),
            problem: self.problems.iter().flatten().next().cloned().or_else(|| self.advice()),
        }
    }

    /// Why nothing may be heard of the peer, if there is something to say.
    fn advice(&self) -> Option<String> {
        let is_heard = self.session.remote().discriminator.is_some();
        (!is_heard && self.wanted.is_far && !is_multihop(&self.wanted)).then(|| {
            format!(
                "nothing is heard of {}, which is on no subnet of this host; is there a router \
                 between? Then both sides need BFD for several hops (bfd.multihop: true)",
                self.wanted.peer
            )
        })
    }
}

/// A time as operators say it: `150 ms`.
fn in_words(time: Duration) -> String {
    match time.subsec_micros() % 1000 {
        0 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
    }
}
