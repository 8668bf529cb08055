//! Machines in pairs, a virtual clock, and TCP connections with delays that differ at random.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use brindle_bgp::fsm::{Action, Direction, Event, Peer, PeerSettings, State, WireId};
use brindle_bgp::msg::{Message, WireFormat, decode};
use bytes::Bytes;

use super::epoch;
use super::shell::Shell;

/// A machine, its shell, and how the network treats its host.
pub(crate) struct Host {
    pub(crate) peer: Peer,
    pub(crate) shell: Shell,
    /// The connection that is being dialled.
    dialling: Option<u64>,
    /// Nothing that is sent to or from this host arrives, and nobody is told.
    pub(crate) is_cut_off: bool,
    /// Every action in one line each, for what a test prints when it fails.
    pub(crate) log: Vec<String>,
    /// What octets mean on the session that is up.
    format: WireFormat,
    /// Who is at the other end of its wires.
    opposite: usize,
    /// The deadline that the clock knows of.
    deadline: Option<Instant>,
}

/// Something under way that arrives at a host.
#[allow(clippy::large_enum_variant, reason = "a test may waste memory")]
#[derive(Clone, Debug)]
enum Parcel {
    Syn,
    SynAck,
    Message(Message),
    Octets(Bytes),
    Fin(String),
    Reset,
}

/// The hosts and what lies between.
pub(crate) struct Simulation {
    pub(crate) now: Instant,
    pub(crate) began: Instant,
    pub(crate) hosts: Vec<Host>,
    /// What was for the RIBs, since they were last asked: the host and Up, Down or Deliver.
    pub(crate) news: Vec<(usize, Action)>,
    /// Whether to keep logs.
    pub(crate) is_logging: bool,
    timers: BTreeSet<(Instant, usize)>,
    /// By instant and order of sending: the host where it arrives, the connection, what.
    parcels: BTreeMap<(Instant, u64), (usize, u64, Box<Parcel>)>,
    /// When the last parcel of a connection arrives at a host: TCP keeps the order.
    order: HashMap<(u64, usize), Instant>,
    /// Parcels take up to this long.
    longest_delay: Duration,
    random: u64,
    counter: u64,
}

impl Simulation {
    /// Two hosts.
    pub(crate) fn new(settings: [PeerSettings; 2], seed: u64, longest_delay: Duration) -> Self {
        let [one, other] = settings;
        Self::of_many(vec![(one, 1), (other, 0)], seed, longest_delay)
    }

    /// Many hosts, each with the index of its opposite.
    pub(crate) fn of_many(
        hosts: Vec<(PeerSettings, usize)>,
        seed: u64,
        longest_delay: Duration,
    ) -> Self {
        let now = epoch();
        let hosts = hosts.into_iter().enumerate().map(|(index, (settings, opposite))| Host {
            peer: Peer::new(settings, seed.wrapping_mul(0x1_0000_0001) + index as u64),
            shell: Shell::default(),
            dialling: None,
            is_cut_off: false,
            log: Vec::new(),
            format: WireFormat::default(),
            opposite,
            deadline: None,
        });
        let hosts = hosts.collect();
        Self {
            now,
            began: now,
            hosts,
            news: Vec::new(),
            is_logging: true,
            timers: BTreeSet::new(),
            parcels: BTreeMap::new(),
            order: HashMap::new(),
            longest_delay,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            counter: 0,
        }
    }

    /// A number below `bound` (xorshift).
    pub(crate) fn random(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    /// Gives a host an event now.
    pub(crate) fn event(&mut self, host: usize, event: Event) {
        self.hosts[host].shell.before(&event);
        let actions = self.hosts[host].peer.handle(event, self.now);
        self.carry_out(host, actions);
    }

    /// The host loses power and starts again with an empty machine; its peer hears nothing.
    pub(crate) fn crash(&mut self, host: usize) {
        let settings = self.hosts[host].peer.settings().clone();
        let seed = self.random(u64::MAX);
        let crashed = &mut self.hosts[host];
        crashed.peer = Peer::new(settings, seed);
        crashed.shell = Shell::default();
        crashed.dialling = None;
        self.set_timer(host);
        self.parcels.retain(|_, (at, _, _)| *at != host);
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`, at most so long. Returns how long it took.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        while !done(self) {
            if !self.step(end) {
                return None;
            }
        }
        Some(self.now - start)
    }

    pub(crate) fn is_established(&self) -> bool {
        self.hosts.iter().all(|host| host.peer.state() == State::Established)
    }

    /// Whether both have the same single wire, and nothing is under way.
    pub(crate) fn is_settled(&self) -> bool {
        let ups = self.each(|host| host.shell.up.map(|wire| wire.0 / 2));
        ups[0].is_some() && ups[0] == ups[1] && self.parcels.is_empty()
    }

    /// Something of every host.
    pub(crate) fn each<T>(&self, what: impl FnMut(&Host) -> T) -> Vec<T> {
        self.hosts.iter().map(what).collect()
    }

    /// Writes octets of the RIB on the session that is up.
    pub(crate) fn write(&mut self, host: usize, octets: Bytes) {
        if let Some(wire) = self.hosts[host].shell.up {
            self.send(host, wire.0 / 2, Parcel::Octets(octets));
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.parcels.is_empty()
    }

    /// The next thing that happens until `end`; false if nothing does.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        let timer = self.timers.first().copied();
        let parcel = self.parcels.keys().next().copied();
        match (timer, parcel) {
            (Some((at, host)), _) if at <= end && parcel.is_none_or(|(when, _)| at < when) => {
                self.now = self.now.max(at);
                let early = self.hosts[host].peer.clone().on_deadline(self.now - TICK);
                assert!(early.is_empty(), "works before its deadline: {early:?}");
                let actions = self.hosts[host].peer.on_deadline(self.now);
                self.carry_out(host, actions);
                let next = self.hosts[host].peer.deadline();
                assert!(next.is_none_or(|next| next > self.now), "its deadline stands still");
                true
            }
            (_, Some(key)) if key.0 <= end => {
                self.now = self.now.max(key.0);
                if let Some((host, connection, parcel)) = self.parcels.remove(&key) {
                    self.arrive(host, connection, *parcel);
                }
                true
            }
            _ => false,
        }
    }

    fn set_timer(&mut self, host: usize) {
        let Host { peer, deadline, .. } = &mut self.hosts[host];
        let next = peer.deadline();
        if *deadline != next {
            if let Some(old) = deadline.take() {
                self.timers.remove(&(old, host));
            }
            if let Some(next) = next {
                self.timers.insert((next, host));
            }
            *deadline = next;
        }
    }

    fn arrive(&mut self, host: usize, connection: u64, parcel: Parcel) {
        if self.hosts[host].is_cut_off {
            return;
        }
        let wire = wire_of(connection, host > self.hosts[host].opposite);
        let is_open = self.hosts[host].shell.open.contains(&wire);
        let is_dialled = self.hosts[host].dialling == Some(connection);
        match parcel {
            Parcel::Syn => {
                self.send(host, connection, Parcel::SynAck);
                self.event(host, Event::Connected(wire, Direction::Accepted));
            }
            Parcel::SynAck if is_dialled => {
                self.hosts[host].dialling = None;
                self.event(host, Event::Connected(wire, Direction::Dialled));
            }
            Parcel::Reset if is_dialled => {
                self.hosts[host].dialling = None;
                self.event(host, Event::ConnectFailed("refused".into()));
            }
            Parcel::Fin(how) if is_open => self.event(host, Event::Closed(wire, how)),
            Parcel::Reset if is_open => self.event(host, Event::Closed(wire, "reset".into())),
            Parcel::Message(message) if is_open => self.event(host, Event::Received(wire, message)),
            Parcel::Octets(octets) if is_open => {
                let decoded = decode(&octets, &self.hosts[host].format);
                let decoded = decoded.expect("what a RIB writes can be read");
                assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
                self.event(host, Event::Received(wire, decoded.message));
            }
            // The kernel does not know the connection (any more).
            Parcel::SynAck | Parcel::Message(_) | Parcel::Octets(_) => {
                self.send(host, connection, Parcel::Reset);
            }
            Parcel::Fin(_) | Parcel::Reset => {}
        }
    }

    fn carry_out(&mut self, host: usize, actions: Vec<Action>) {
        let (now, began) = (self.now, self.began);
        let Host { peer, shell, log, .. } = &mut self.hosts[host];
        shell.after(peer, &actions);
        if self.is_logging && !actions.is_empty() {
            log.push(format!("{:>10.3?} {}", now - began, super::names(&actions)));
        }
        for action in actions {
            match action {
                Action::Dial => {
                    self.counter += 1;
                    let connection = self.counter;
                    self.hosts[host].dialling = Some(connection);
                    self.send(host, connection, Parcel::Syn);
                }
                Action::AbandonDial => self.hosts[host].dialling = None,
                Action::Send(wire, message) => {
                    self.send(host, wire.0 / 2, Parcel::Message(message));
                    self.hosts[host].peer.handle(Event::Progress(wire), now);
                }
                Action::Close(wire) => self.send(host, wire.0 / 2, Parcel::Fin("closed".into())),
                Action::Up(_, ref agreed) => {
                    self.hosts[host].format = WireFormat {
                        four_octet_asns: agreed.four_octet_asns,
                        extended_message: agreed.extended_message,
                        extended_next_hop: agreed.extended_next_hop,
                        families: agreed.families.clone(),
                        add_paths: agreed.add_paths,
                        internal: self.hosts[host].peer.settings().is_internal(),
                    };
                    self.news.push((host, action));
                }
                Action::Down(_) | Action::Deliver(_) => self.news.push((host, action)),
            }
        }
        self.set_timer(host);
    }

    fn send(&mut self, from: usize, connection: u64, parcel: Parcel) {
        if self.hosts[from].is_cut_off {
            return;
        }
        let to = self.hosts[from].opposite;
        let longest = u64::try_from(self.longest_delay.as_micros()).expect("a delay is short");
        let delay = Duration::from_micros(1 + self.random(longest));
        let last = self.order.entry((connection, to)).or_insert(self.now);
        let at = (self.now + delay).max(*last);
        *last = at;
        self.counter += 1;
        self.parcels.insert((at, self.counter), (to, connection, Box::new(parcel)));
    }

    /// What both did, for a test that fails.
    pub(crate) fn story(&self) -> String {
        let logs = self.hosts.iter().enumerate();
        let logs = logs.map(|(at, host)| format!("host {at}:\n  {}", host.log.join("\n  ")));
        logs.collect::<Vec<_>>().join("\n")
    }
}

const TICK: Duration = Duration::from_micros(1);

/// Each end of a connection has a number of its own.
fn wire_of(connection: u64, is_second: bool) -> WireId {
    WireId(connection * 2 + u64::from(is_second))
}
