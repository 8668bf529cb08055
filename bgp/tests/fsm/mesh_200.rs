//! A full mesh of 200 speakers in one process: session machines, codec and RIBs together,
//! without sockets and on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use brindle_bgp::fsm::{Action, Delivery, Event, PeerSettings};
use brindle_bgp::msg::{Attributes, CeaseReason, NextHop};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{
    Forwarding, OwnRoute, PeerId, PeerKind, PeerPolicy, Rib, RibPeer, RibSession, RibSettings,
};

use crate::support::simulation::Simulation;
use crate::support::{asn, router_id, settings};

const SIZE: usize = 200;
const AS: u32 = 64512;
/// Octets asked of a RIB at a time.
const BUDGET: usize = 65536;

/// The speakers. The host of speaker `a` towards speaker `b` is number `a * SIZE + b`.
struct Mesh {
    net: Simulation,
    ribs: Vec<Rib>,
    tables: Vec<BTreeMap<Prefix, Forwarding>>,
    /// Messages that the RIBs have written.
    written: usize,
}

fn addresses(speaker: usize) -> (Ipv4Addr, Ipv6Addr) {
    let last = u16::try_from(speaker + 1).expect("a mesh is small");
    let [high, low] = last.to_be_bytes();
    (Ipv4Addr::new(10, 0, high, low), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last))
}

/// What a speaker originates.
fn pods(speaker: usize) -> [Prefix; 2] {
    let number = u16::try_from(speaker).expect("a mesh is small");
    let [high, low] = number.to_be_bytes();
    let v4 = Prefix::v4(Ipv4Addr::new(10, 100 + high, low, 0), 24);
    let v6 = Prefix::v6(Ipv6Addr::new(0xfd00, 0x10, 0x244, number, 0, 0, 0, 0), 64);
    [v4.expect("24 is at most 32"), v6.expect("64 is at most 128")]
}

/// Where packets for the pods of `speaker` go from anywhere else.
fn way_to(speaker: usize) -> [Forwarding; 2] {
    let (v4, v6) = addresses(speaker);
    [IpAddr::from(v4), IpAddr::from(v6)].map(|address| Forwarding::Via(vec![address.into()]))
}

fn rib(speaker: usize) -> Rib {
    let id = router_id(u32::try_from(speaker + 1).expect("a mesh is small"));
    let mut rib = Rib::new(RibSettings { multipath: 16, ..RibSettings::new(asn(AS), id) });
    for prefix in pods(speaker) {
        rib.originate(prefix, Attributes::default(), OwnRoute::Local);
    }
    for other in (0..SIZE).filter(|&other| other != speaker) {
        rib.configure_peer(
            peer_id(other),
            RibPeer {
                import: PeerPolicy::Owned(pods(other).into()),
                ..RibPeer::new(
                    format!("n{other}"),
                    addresses(other).0.into(),
                    asn(AS),
                    PeerKind::Internal,
                )
            },
        );
    }
    rib
}

fn peer_id(speaker: usize) -> PeerId {
    PeerId(u32::try_from(speaker).expect("a mesh is small"))
}

impl Mesh {
    fn new(seed: u64) -> Self {
        let host = |index: usize| {
            let (speaker, other) = (index / SIZE, index % SIZE);
            let id = u32::try_from(speaker + 1).expect("a mesh is small");
            let settings: PeerSettings = settings(id, AS, AS);
            (settings, other * SIZE + speaker)
        };
        let hosts = (0..SIZE * SIZE).map(host).collect();
        let mut net = Simulation::of_many(hosts, seed, Duration::from_millis(20));
        net.is_logging = false;
        Self {
            net,
            ribs: (0..SIZE).map(rib).collect(),
            tables: vec![BTreeMap::new(); SIZE],
            written: 0,
        }
    }

    fn tell(&mut self, speaker: usize, event: &Event) {
        for other in (0..SIZE).filter(|&other| other != speaker) {
            self.net.event(speaker * SIZE + other, event.clone());
        }
    }

    /// Runs until every table is `done`, at most so long of virtual time.
    fn run_until(&mut self, limit: Duration, done: impl Fn(usize, usize) -> bool) -> Duration {
        let (start, end) = (self.net.now, self.net.now + limit);
        let mut served = start;
        loop {
            // A RIB takes what has come in meanwhile, not message by message.
            if self.net.is_quiet() || self.net.now >= served + Duration::from_millis(1) {
                self.serve();
                served = self.net.now;
            }
            let is_done = |(at, table): (usize, &BTreeMap<_, _>)| done(at, table.len());
            if self.net.is_quiet() && self.tables.iter().enumerate().all(is_done) {
                return self.net.now - start;
            }
            if !self.net.step(end) {
                let sizes: BTreeSet<usize> = self.tables.iter().map(BTreeMap::len).collect();
                panic!("not done after {limit:?}: tables have {sizes:?} prefixes");
            }
        }
    }

    /// Hands the news of the machines to the RIBs, and to the peers what these have to tell.
    fn serve(&mut self) {
        let mut touched = BTreeSet::new();
        for (host, news) in std::mem::take(&mut self.net.news) {
            let (speaker, other) = (host / SIZE, peer_id(host % SIZE));
            let rib = &mut self.ribs[speaker];
            touched.insert(speaker);
            match news {
                Action::Up(_, negotiated) => {
                    let (v4, v6) = addresses(speaker);
                    let session = RibSession {
                        negotiated: *negotiated,
                        local_v4: Some(NextHop::V4(v4)),
                        local_v6: Some(IpAddr::from(v6).into()),
                        shared_link: Vec::new(),
                        link: None,
                    };
                    rib.session_up(other, session);
                }
                Action::Down(_) => rib.session_down(other),
                Action::Deliver(Delivery::Update(update)) => rib.learn(other, update),
                Action::Deliver(Delivery::EndOfRib(family)) => rib.end_of_rib(other, family),
                Action::Deliver(Delivery::Refresh(refresh)) => {
                    let family = refresh.family.family().expect("others are not delivered");
                    rib.refresh(other, family);
                }
                Action::Dial | Action::AbandonDial | Action::Send(..) | Action::Close(_) => {
                    unreachable!("these are no news")
                }
            }
        }
        for speaker in touched {
            self.pump(speaker);
        }
    }

    fn pump(&mut self, speaker: usize) {
        for change in self.ribs[speaker].take_changes() {
            match change.now {
                Forwarding::None => self.tables[speaker].remove(&change.prefix),
                now => self.tables[speaker].insert(change.prefix, now),
            };
        }
        for peer in self.ribs[speaker].take_woken() {
            let host = speaker * SIZE + peer.0 as usize;
            loop {
                let advertisement = self.ribs[speaker].advertise(peer, BUDGET);
                for message in advertisement.messages {
                    self.written += 1;
                    self.net.write(host, message);
                }
                if !advertisement.more {
                    break;
                }
            }
        }
    }

    /// Panics unless every speaker forwards to all of `present`, and to nobody else.
    fn expect_ways(&self, present: &BTreeSet<usize>) {
        for (at, table) in self.tables.iter().enumerate() {
            let mut want = BTreeMap::new();
            for &speaker in present.iter().filter(|_| present.contains(&at)) {
                want.extend(pods(speaker).into_iter().zip(way_to(speaker)));
            }
            want.extend(pods(at).map(|prefix| (prefix, Forwarding::Local)));
            assert_eq!(table, &want, "table of speaker {at}");
        }
    }
}

#[test]
fn two_hundred_speakers_that_start_at_once_learn_all_and_follow_every_change() {
    let mut mesh = Mesh::new(1);
    for speaker in 0..SIZE {
        mesh.tell(speaker, &Event::Start);
    }
    let took = mesh.run_until(Duration::from_secs(5), |_, prefixes| prefixes == 2 * SIZE);
    println!("all learned after {took:?} of virtual time, {} messages", mesh.written);
    let everybody: BTreeSet<usize> = (0..SIZE).collect();
    mesh.expect_ways(&everybody);
    for (index, host) in mesh.net.hosts.iter().enumerate() {
        let (speaker, other) = (index / SIZE, index % SIZE);
        let want = usize::from(speaker != other);
        assert_eq!(host.shell.ups, want, "sessions of {speaker} with {other}");
        assert!(host.shell.ceases <= 1, "{} Ceases from {speaker} to {other}", host.shell.ceases);
        let is_synced = mesh.ribs[speaker].is_synced(peer_id(other));
        assert_eq!(is_synced, speaker != other, "End-of-RIB of {other} at {speaker}");
    }
    // One UPDATE and one End-of-RIB for each family and session, from each side.
    let sessions = SIZE * (SIZE - 1);
    assert!(mesh.written <= 4 * sessions, "{} messages", mesh.written);

    // One goes: all others forget it, and it forgets them.
    let before = mesh.written;
    let stop = Event::Stop(CeaseReason::AdministrativeShutdown, None);
    mesh.tell(7, &stop);
    let rest = |at: usize, prefixes: usize| match at {
        7 => prefixes == 2,
        _ => prefixes == 2 * SIZE - 2,
    };
    let took = mesh.run_until(Duration::from_secs(1), rest);
    println!("one less after {took:?}");
    mesh.expect_ways(&everybody.iter().copied().filter(|&at| at != 7).collect());
    assert_eq!(mesh.written, before, "what came from an internal peer is told to nobody");

    // It comes back.
    mesh.tell(7, &Event::Start);
    let took = mesh.run_until(Duration::from_secs(5), |_, prefixes| prefixes == 2 * SIZE);
    println!("back after {took:?}");
    mesh.expect_ways(&everybody);

    // One withdraws a prefix: it is gone everywhere.
    mesh.ribs[3].withdraw(&pods(3)[0]);
    mesh.pump(3);
    let took = mesh.run_until(Duration::from_secs(1), |_, prefixes| prefixes == 2 * SIZE - 1);
    println!("withdrawn after {took:?}");
    assert!(mesh.tables.iter().all(|table| !table.contains_key(&pods(3)[0])));
    assert!(Family::ALL.len() == pods(3).len(), "one prefix of each family");
}
