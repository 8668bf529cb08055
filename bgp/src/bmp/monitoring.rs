//! What is known of sessions, for stations that are there and for those that come later.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use super::message::{DownReason, PeerHeader, PeerKind};
use super::station::{Pulled, Station, StationId, Views};
use crate::fsm::Down;
use crate::msg::{
    Capability, CeaseReason, HoldTime, Message, Notification, Open, WireFormat, encode,
};
use crate::net::{Asn, Family, RouterId};
use crate::rib::{PeerId, Rib};

/// The session machine's events that end a session without a NOTIFICATION of ours
/// (RFC 4271 §8.1.2).
const MANUAL_STOP: u16 = 2;

/// The OPEN messages of a session, header included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opens {
    /// Ours.
    pub sent: Bytes,
    /// The peer's.
    pub received: Bytes,
}

/// Both ends of a session's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Ours.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// Who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Our AS.
    pub asn: Asn,
    /// Our BGP Identifier.
    pub router_id: RouterId,
}

impl Speaker {
    /// The OPEN that a Peer Up for the Loc-RIB has on both sides: only what is needed to read
    /// what follows (RFC 9069 §5.1).
    pub(super) fn open(&self) -> Bytes {
        let mut capabilities: Vec<Capability> =
            Family::ALL.iter().map(|&family| Capability::Multiprotocol(family.into())).collect();
        capabilities.push(Capability::FourOctetAsn(self.asn.get()));
        let open = Open {
            my_as: self.asn.two_octets(),
            hold_time: HoldTime::OFF,
            router_id: self.router_id,
            capabilities,
        };
        octets(&Message::Open(open))
    }
}

fn octets(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    encode(message, &WireFormat::default(), &mut out);
    out.freeze()
}

/// A session that is up.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub(super) header: PeerHeader,
    pub(super) name: Arc<str>,
    pub(super) families: Vec<Family>,
    /// Where what it tells has path identifiers, by [`Family::index`].
    pub(super) path_ids: [bool; 2],
    pub(super) opens: Opens,
    pub(super) ends: Ends,
}

impl Up {
    /// What begins all messages about it.
    pub(super) fn header(&self, at: Option<SystemTime>) -> PeerHeader {
        PeerHeader { at, ..self.header }
    }
}

/// What is known of a peer's sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Counts sessions.
    pub(super) generation: u64,
    /// The present one.
    pub(super) up: Option<Arc<Up>>,
    /// Why the last one ended, and when.
    pub(super) down: Option<(DownReason, SystemTime)>,
}

/// All stations, and what they are told of sessions.
#[derive(Debug)]
pub struct Monitoring {
    speaker: Speaker,
    sessions: BTreeMap<PeerId, Record>,
    stations: BTreeMap<StationId, Station>,
    next: u32,
}

impl Monitoring {
    /// No stations and no sessions.
    pub fn new(speaker: Speaker) -> Self {
        Self { speaker, sessions: BTreeMap::new(), stations: BTreeMap::new(), next: 0 }
    }

    /// A session came up with these families, and path identifiers in what the peer tells of
    /// some, by [`Family::index`]; `name` is the operator's word for the peer.
    pub fn session_up(
        &mut self,
        peer: PeerId,
        name: Arc<str>,
        (address, asn, router_id): (IpAddr, Asn, RouterId),
        (families, path_ids): (Vec<Family>, [bool; 2]),
        (opens, ends): (Opens, Ends),
        at: SystemTime,
    ) {
        let kind = PeerKind::Global(address);
        let header = PeerHeader { kind, asn, router_id, is_post_policy: false, at: Some(at) };
        let record = self.sessions.entry(peer).or_default();
        record.generation += 1;
        record.up = Some(Arc::new(Up { header, name, families, path_ids, opens, ends }));
        self.note(peer);
    }

    /// The session of a peer is over.
    pub fn session_down(&mut self, peer: PeerId, why: &Down, at: SystemTime) {
        let Some(record) = self.sessions.get_mut(&peer) else { return };
        if record.up.take().is_some() {
            record.down = Some((reason(why), at));
            self.note(peer);
        }
    }

    /// There is no such peer any more; one with a session was told that it is no peer.
    pub fn remove_peer(&mut self, peer: PeerId, at: SystemTime) {
        let gone = Notification::cease(CeaseReason::PeerDeconfigured, None);
        self.session_down(peer, &Down::Sent(gone), at);
        for station in self.stations.values_mut() {
            if let Some(record) = self.sessions.get(&peer) {
                station.peer_removed(peer, record);
            }
        }
        self.sessions.remove(&peer);
    }

    fn note(&mut self, peer: PeerId) {
        for station in self.stations.values_mut() {
            station.session_changed(peer);
        }
    }

    /// A station begins to listen: it is to be told of everything that there is.
    pub fn attach(&mut self, rib: &mut Rib, views: Views) -> StationId {
        let id = StationId(self.next);
        self.next += 1;
        let mut station = Station::new(rib.watch(), views);
        for peer in self.sessions.keys() {
            station.session_changed(*peer);
        }
        self.stations.insert(id, station);
        id
    }

    /// A station does not listen any more.
    pub fn detach(&mut self, rib: &mut Rib, id: StationId) {
        if let Some(station) = self.stations.remove(&id) {
            rib.unwatch(station.watch());
        }
    }

    /// The next messages for a station, about `budget` octets of them. The work is bounded, too:
    /// there may be more to come without a message yet.
    pub fn pull(&mut self, rib: &mut Rib, id: StationId, budget: usize, now: SystemTime) -> Pulled {
        let Self { speaker, sessions, stations, .. } = self;
        let Some(station) = stations.get_mut(&id) else { return Pulled::default() };
        station.pull(rib, sessions, speaker, budget, now)
    }

    /// A Statistics Report of each peer that a station was told of. `withdrawn` answers how many
    /// UPDATEs of a peer were treated as withdrawals because of malformed attributes.
    pub fn statistics(
        &self,
        rib: &Rib,
        id: StationId,
        withdrawn: impl Fn(PeerId) -> u32,
        now: SystemTime,
    ) -> Vec<Bytes> {
        let station = self.stations.get(&id);
        station.map_or_else(Vec::new, |it| it.statistics(rib, &self.speaker, withdrawn, now))
    }

    /// Stations that have something to pull and had nothing before; each is named once until it
    /// has pulled all.
    pub fn take_woken(&mut self, rib: &mut Rib) -> Vec<StationId> {
        let marked = rib.take_marked_watches();
        let woken = self.stations.iter_mut().filter_map(|(id, station)| {
            station.wakes(marked.contains(&station.watch())).then_some(*id)
        });
        woken.collect()
    }
}

fn reason(why: &Down) -> DownReason {
    let notification = |it: &Notification| octets(&Message::Notification(it.clone()));
    match why {
        Down::Sent(sent) => DownReason::Sent(notification(sent)),
        Down::Received(received) => DownReason::Received(notification(received)),
        Down::HoldTimerExpired => {
            DownReason::Sent(notification(&Notification::hold_timer_expired()))
        }
        Down::SendHoldTimerExpired => {
            DownReason::Sent(notification(&Notification::send_hold_timer_expired()))
        }
        Down::BfdDown(_) => {
            DownReason::Sent(notification(&Notification::cease(CeaseReason::BfdDown, None)))
        }
        Down::Silent => DownReason::Closed(MANUAL_STOP),
        // Also where it was our side of the connection that broke (RFC 7854 §4.9).
        Down::Tcp(_) => DownReason::Lost,
    }
}
