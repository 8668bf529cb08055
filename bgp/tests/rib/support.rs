//! What tests of the RIB share: peers, sessions, and a peer's ear that reads what it is told.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use brindle_bgp::filter::{Condition, Filter, FilterAction, FilterRule, MatchOperator};
use brindle_bgp::fsm::{Direction, Negotiated};
use brindle_bgp::msg::{
    AddPaths, Announcement, AsPath, Attributes, Community, HoldTime, Message, NextHop, Nlri, Open,
    Refresh, RouteRefresh, Update, WireFormat, decode,
};
use brindle_bgp::net::{Asn, ClusterId, Family, Prefix, RouterId};
use brindle_bgp::rib::{
    Advertisement, PathStatus, PeerId, PeerKind, PeerPolicy, Refusal, Rib, RibPeer, RibSession,
    RibSettings,
};

/// Our AS in all tests.
pub(crate) const OUR_AS: u32 = 64512;
/// Our BGP Identifier.
pub(crate) const OUR_ID: u32 = 0x0A00_0001;
/// Our cluster.
pub(crate) const OUR_CLUSTER: u32 = 0x0A00_0001;

pub(crate) fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn hop(text: &str) -> NextHop {
    text.parse::<IpAddr>().unwrap().into()
}

/// 10.x.y.0/24 for small numbers.
pub(crate) fn numbered(number: u32) -> Prefix {
    Prefix::v4(Ipv4Addr::from_bits((10 << 24) + (number << 8)), 24).unwrap()
}

pub(crate) fn settings() -> RibSettings {
    RibSettings {
        cluster_id: ClusterId(OUR_CLUSTER),
        ..RibSettings::new(asn(OUR_AS), RouterId::new(OUR_ID).unwrap())
    }
}

/// The address of peer `number` on the link 192.0.2.0/24.
pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xC000_0200 + 10 + number)
}

pub(crate) fn peer(number: u32, kind: PeerKind) -> RibPeer {
    let external = kind == PeerKind::External;
    let asn = asn(if external { 65000 + number } else { OUR_AS });
    RibPeer::new(format!("peer{number}"), address(number).into(), asn, kind)
}

pub(crate) fn session(number: u32) -> RibSession {
    RibSession {
        negotiated: Negotiated {
            direction: Direction::Dialled,
            hold_time: HoldTime::DEFAULT,
            keepalive: None,
            families: Family::ALL.to_vec(),
            four_octet_asns: true,
            extended_message: false,
            extended_next_hop: false,
            add_paths: AddPaths::default(),
            route_refresh: true,
            enhanced_refresh: false,
            restart: None,
            long_lived_restart: false,
            their_open: Open {
                my_as: 23456,
                hold_time: HoldTime::DEFAULT,
                router_id: RouterId::new(0x0A00_0100 + number).unwrap(),
                capabilities: Vec::new(),
            },
        },
        local_v4: Some(hop("192.0.2.1")),
        local_v6: Some(hop("2001:db8::1")),
        shared_link: Vec::new(),
        link: None,
    }
}

pub(crate) fn path_of(asns: &[u32]) -> AsPath {
    AsPath::sequence(asns.iter().copied().map(asn))
}

/// Attributes with an AS path and nothing else.
pub(crate) fn along(asns: &[u32]) -> Attributes {
    Attributes { as_path: path_of(asns), ..Attributes::default() }
}

pub(crate) fn with_community(community: Community, asns: &[u32]) -> Attributes {
    Attributes { communities: vec![community], ..along(asns) }
}

/// The one path to each that there is without ADD-PATH.
pub(crate) fn named(prefixes: &[Prefix]) -> Vec<Nlri> {
    prefixes.iter().copied().map(Nlri::from).collect()
}

pub(crate) fn announce(prefixes: &[Prefix], next_hop: NextHop, attributes: Attributes) -> Update {
    Update {
        withdrawn: Vec::new(),
        announced: vec![Announcement { next_hop, prefixes: named(prefixes) }],
        attributes: Some(attributes),
    }
}

pub(crate) fn withdraw(prefixes: &[Prefix]) -> Update {
    Update { withdrawn: named(prefixes), ..Update::default() }
}

/// A peer's view of what it was told: reads messages as a BGP speaker would.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    pub(crate) format: WireFormat,
    pub(crate) told: BTreeMap<Prefix, (Attributes, NextHop)>,
    /// Instead of `told` where it hears several paths of a prefix.
    pub(crate) paths: BTreeMap<Nlri, (Attributes, NextHop)>,
    /// What it was told before a refresh began and not since (RFC 7313 §4), by family: goes at
    /// its end.
    awaited: [Option<BTreeSet<Nlri>>; 2],
    /// Prefixes of which it lost the last of several paths by a withdrawal.
    pub(crate) bereft: Vec<Prefix>,
    /// Everything of note in its order.
    pub(crate) heard: Vec<Heard>,
    pub(crate) octets: usize,
    pub(crate) messages: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Announced(Prefix),
    Withdrawn(Prefix),
    EndOfRib(Family),
    Mark(Refresh),
}

impl Ear {
    pub(crate) fn new(peer: &RibPeer, session: &RibSession) -> Self {
        let negotiated = &session.negotiated;
        Self {
            format: WireFormat {
                four_octet_asns: negotiated.four_octet_asns,
                extended_message: negotiated.extended_message,
                extended_next_hop: negotiated.extended_next_hop,
                families: negotiated.families.clone(),
                add_paths: AddPaths { receive: negotiated.add_paths.send, ..AddPaths::default() },
                internal: peer.kind != PeerKind::External,
            },
            told: BTreeMap::new(),
            paths: BTreeMap::new(),
            awaited: [None, None],
            bereft: Vec::new(),
            heard: Vec::new(),
            octets: 0,
            messages: 0,
        }
    }

    /// Reads messages. A withdrawal of what was never announced is an error: peers must not
    /// be bothered with it.
    pub(crate) fn listen(&mut self, advertisement: &Advertisement) {
        for octets in &advertisement.messages {
            self.octets += octets.len();
            self.messages += 1;
            let decoded = decode(octets, &self.format).unwrap();
            assert_eq!(decoded.faults, vec![], "{:?}", decoded.message);
            match decoded.message {
                Message::Update(update) => self.update(update),
                Message::EndOfRib(family) => self.heard.push(Heard::EndOfRib(family)),
                Message::RouteRefresh(refresh) => {
                    self.heard.push(Heard::Mark(refresh.kind));
                    self.refresh(refresh);
                }
                other => panic!("the RIB wrote {other:?}"),
            }
        }
    }

    /// What was told is awaited from the begin mark on, and goes at the end mark if it was not
    /// told again.
    fn refresh(&mut self, refresh: RouteRefresh) {
        let is_it = |family: &Family| refresh.family == (*family).into();
        let family = Family::ALL.into_iter().find(is_it).unwrap();
        let awaited = &mut self.awaited[family.index()];
        match refresh.kind {
            Refresh::Begin => {
                let all = self.paths.keys().copied().chain(self.told.keys().map(|&it| it.into()));
                *awaited = Some(all.filter(|nlri| nlri.family() == family).collect());
            }
            Refresh::End => {
                for nlri in awaited.take().expect("an end mark without a begin mark") {
                    self.paths.remove(&nlri);
                    self.told.remove(&nlri.prefix);
                }
            }
            Refresh::Request | Refresh::Unknown(_) => panic!("the RIB writes {refresh:?}"),
        }
    }

    fn told_again(&mut self, nlri: &Nlri) {
        if let Some(awaited) = &mut self.awaited[nlri.family().index()] {
            awaited.remove(nlri);
        }
    }

    fn update(&mut self, update: Update) {
        let receive = self.format.add_paths.receive;
        let hears_paths = |nlri: &Nlri| receive[nlri.family().index()];
        for nlri in update.withdrawn {
            let before = match hears_paths(&nlri) {
                true => self.paths.remove(&nlri),
                false => self.told.remove(&nlri.prefix),
            };
            assert!(before.is_some(), "{nlri:?} was never announced");
            self.told_again(&nlri);
            let prefix = nlri.prefix;
            if hears_paths(&nlri) && !self.paths.keys().any(|left| left.prefix == prefix) {
                self.bereft.push(prefix);
            }
            self.heard.push(Heard::Withdrawn(nlri.prefix));
        }
        for announcement in update.announced {
            let attributes = update.attributes.clone().unwrap();
            for nlri in announcement.prefixes {
                let said = (attributes.clone(), announcement.next_hop);
                self.told_again(&nlri);
                match hears_paths(&nlri) {
                    true => self.paths.insert(nlri, said),
                    false => self.told.insert(nlri.prefix, said),
                };
                self.heard.push(Heard::Announced(nlri.prefix));
            }
        }
    }

    pub(crate) fn prefixes(&self) -> Vec<String> {
        self.told.keys().map(Prefix::to_string).collect()
    }

    pub(crate) fn heard_announcements(&self) -> usize {
        self.heard.iter().filter(|heard| matches!(heard, Heard::Announced(_))).count()
    }
}

/// A RIB with peers that listen.
pub(crate) struct Scene {
    pub(crate) rib: Rib,
    pub(crate) ears: BTreeMap<u32, Ear>,
}

impl Scene {
    pub(crate) fn new(settings: RibSettings) -> Self {
        Self { rib: Rib::new(settings), ears: BTreeMap::new() }
    }

    /// Adds a peer and brings its session up.
    pub(crate) fn up(&mut self, number: u32, kind: PeerKind) {
        self.up_as(number, peer(number, kind), session(number));
    }

    pub(crate) fn up_as(&mut self, number: u32, peer: RibPeer, session: RibSession) {
        self.ears.insert(number, Ear::new(&peer, &session));
        self.rib.configure_peer(PeerId(number), peer);
        self.rib.session_up(PeerId(number), session);
    }

    pub(crate) fn learn(&mut self, number: u32, update: Update) {
        self.rib.learn(PeerId(number), update);
    }

    /// Tells one peer everything that there is.
    pub(crate) fn tell(&mut self, number: u32) {
        loop {
            let advertisement = self.rib.advertise(PeerId(number), 4096);
            self.ears.get_mut(&number).unwrap().listen(&advertisement);
            if !advertisement.more {
                break;
            }
        }
    }

    pub(crate) fn tell_all(&mut self) {
        for number in self.ears.keys().copied().collect::<Vec<_>>() {
            self.tell(number);
        }
    }

    pub(crate) fn ear(&self, number: u32) -> &Ear {
        &self.ears[&number]
    }
}

/// The IPv6 link-local address that is used where one is wanted.
pub(crate) fn link_local(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number)
}

/// The address of peer `number` as next hop.
pub(crate) fn address_hop(number: u32) -> NextHop {
    IpAddr::from(Ipv4Addr::from_bits(0xC612_0000 + number)).into()
}

/// All kinds of peers.
pub(crate) const KINDS: [PeerKind; 3] =
    [PeerKind::External, PeerKind::Internal, PeerKind::ReflectorClient];

pub(crate) fn v4() -> Prefix {
    prefix("10.1.0.0/16")
}

/// Attributes that a peer of this kind would send.
pub(crate) fn from_peer(number: u32, kind: PeerKind) -> Attributes {
    match kind {
        PeerKind::External => along(&[65000 + number]),
        PeerKind::Internal | PeerKind::ReflectorClient => along(&[]),
    }
}

pub(crate) fn one_update(attributes: Attributes) -> Update {
    announce(&[v4()], hop("198.51.100.1"), attributes)
}

pub(crate) fn filter(name: &str, cidr: &str) -> PeerPolicy {
    let accept = FilterRule::new(
        FilterAction::Accept,
        vec![Condition::Cidr(MatchOperator::In, prefix(cidr))],
    );
    PeerPolicy::Filters(vec![Filter::new(name, vec![accept]).into()])
}

pub(crate) fn refusal(rib: &Rib, prefix: &Prefix) -> Option<Refusal> {
    rib.paths(prefix).into_iter().find_map(|path| match path.status {
        PathStatus::Refused(refusal) => Some(refusal),
        _ => None,
    })
}
