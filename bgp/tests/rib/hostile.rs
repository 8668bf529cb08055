//! Whatever peers send, as it goes through reader, RIB and writers: shared with the fuzz target
//! `rib`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use brindle_bgp::bmp::{Ends, Monitoring, Opens, Speaker, StationId, Views};
use brindle_bgp::fsm::Down;
use brindle_bgp::msg::{AddPaths, Message, WireFormat, decode};
use brindle_bgp::net::{Family, RouterId};
use brindle_bgp::rib::{NextHopMode, PeerId, PeerKind, RibPeer, RibSession, SendPaths, Stale};
use bytes::Bytes;

use crate::support::{Ear, OUR_AS, OUR_ID, Scene, asn, link_local, peer, session, settings};

/// Peers of all kinds, by number.
pub(crate) const PEERS: u32 = 8;

/// What comes next of an input.
enum Deed {
    /// A peer sends an UPDATE with this body.
    Update,
    /// Its session ends and begins anew; what it told is kept or not.
    Anew,
    /// It wants to be told everything again.
    Refresh,
}

/// How we treat a peer, and what is agreed with it.
fn who(number: u32) -> (RibPeer, RibSession) {
    let kind = match number {
        0 | 3 | 4 | 6 => PeerKind::External,
        1 | 7 => PeerKind::Internal,
        _ => PeerKind::ReflectorClient,
    };
    let (mut peer, mut session) = (peer(number, kind), session(number));
    let agreed = &mut session.negotiated;
    match number {
        // One that has numbers of two octets only.
        3 => agreed.four_octet_asns = false,
        4 | 5 => {
            agreed.add_paths = AddPaths { receive: [true; 2], send: [true; 2] };
            peer.send_paths = if number == 4 { SendPaths::All } else { SendPaths::Best(2) };
            agreed.enhanced_refresh = true;
        }
        6 => {
            agreed.extended_next_hop = true;
            peer.next_hop_mode = NextHopMode::Keep;
            peer.local_asn = Some(asn(65099));
            peer.allowed_own_asn = 1;
        }
        7 => {
            agreed.extended_message = true;
            agreed.extended_next_hop = true;
            agreed.long_lived_restart = true;
            session.local_v6 = Some(std::net::IpAddr::from(link_local(1)).into());
        }
        _ => {}
    }
    (peer, session)
}

/// How what the peer sends is read.
fn format(peer: &RibPeer, session: &RibSession) -> WireFormat {
    let agreed = &session.negotiated;
    WireFormat { add_paths: agreed.add_paths, ..Ear::new(peer, session).format }
}

/// The RIB, peers that listen, and a monitoring station.
struct World {
    scene: Scene,
    monitoring: Monitoring,
    station: StationId,
    formats: BTreeMap<u32, WireFormat>,
}

impl World {
    fn new() -> Self {
        let mut scene = Scene::new(settings());
        let speaker = Speaker { asn: asn(OUR_AS), router_id: RouterId::new(OUR_ID).unwrap() };
        let mut monitoring = Monitoring::new(speaker);
        let views = Views { pre_policy: true, post_policy: true, loc_rib: true };
        let station = monitoring.attach(&mut scene.rib, views);
        let mut world = Self { scene, monitoring, station, formats: BTreeMap::new() };
        (0..PEERS).for_each(|number| world.up(number));
        world
    }

    fn up(&mut self, number: u32) {
        let (peer, session) = who(number);
        self.formats.insert(number, format(&peer, &session));
        let agreed = &session.negotiated;
        let at = (peer.address, 179).into();
        self.monitoring.session_up(
            PeerId(number),
            peer.name.clone(),
            (peer.address, peer.asn, agreed.their_open.router_id),
            (agreed.families.clone(), agreed.add_paths.receive),
            (Opens::default(), Ends { local: at, remote: at }),
            SystemTime::UNIX_EPOCH,
        );
        self.scene.up_as(number, peer, session);
    }

    /// What a peer sends in an UPDATE; whether its session outlives it.
    fn update(&mut self, number: u32, body: &[u8]) -> bool {
        let length = u16::try_from(19 + body.len()).expect("a message that fits");
        let octets = [&[0xFF; 16][..], &length.to_be_bytes(), &[2], body].concat();
        match decode(&Bytes::from(octets), &self.formats[&number]).map(|it| it.message) {
            Ok(Message::Update(update)) => self.scene.learn(number, update),
            Ok(Message::EndOfRib(family)) => self.scene.rib.end_of_rib(PeerId(number), family),
            Ok(other) => panic!("an UPDATE was read as {other:?}"),
            Err(_) => return false,
        }
        true
    }

    fn anew(&mut self, number: u32, keep: [Option<Stale>; 2]) {
        self.scene.rib.session_lost(PeerId(number), keep);
        let why = Down::Tcp(String::new());
        self.monitoring.session_down(PeerId(number), &why, SystemTime::UNIX_EPOCH);
        self.up(number);
    }

    /// All peers and the station hear what there is.
    fn tell(&mut self) {
        self.scene.tell_all();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let Self { scene, monitoring, station, .. } = self;
        while monitoring.pull(&mut scene.rib, *station, 1 << 16, now).more {}
    }
}

/// Takes it as what peers do, one deed after the other, and has everybody told. What they hear
/// can be read and has no faults, whatever others sent; and what they are told again is what
/// they were told.
pub(crate) fn check(input: &[u8]) {
    let mut world = World::new();
    let mut rest = input;
    while let [head, high, low, behind @ ..] = rest {
        let number = u32::from(head & 7);
        let is_heard_at_once = head & 0x80 == 0;
        let deed = match head >> 3 & 7 {
            0..=5 => Deed::Update,
            6 => Deed::Anew,
            _ => Deed::Refresh,
        };
        let most = world.formats[&number].max_message() - 19;
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len()).min(most);
        let (body, behind) = behind.split_at(length);
        rest = behind;
        let keep = |octet: Option<&u8>| match octet.map(|octet| octet & 3) {
            None | Some(0) => None,
            Some(1) => Some(Stale::Restarting),
            Some(2) => Some(Stale::Owned),
            Some(_) => Some(Stale::LongLived),
        };
        match deed {
            Deed::Update => {
                if !world.update(number, body) {
                    world.anew(number, [None; 2]);
                }
            }
            Deed::Anew => world.anew(number, [keep(body.first()), keep(body.get(1))]),
            Deed::Refresh => {
                Family::ALL.into_iter().for_each(|it| world.scene.rib.refresh(PeerId(number), it));
            }
        }
        if is_heard_at_once {
            world.tell();
        }
    }
    world.tell();
    for number in 0..PEERS {
        let ear = world.scene.ear(number);
        let before = (ear.told.clone(), ear.paths.clone());
        Family::ALL.into_iter().for_each(|it| world.scene.rib.refresh(PeerId(number), it));
        world.tell();
        let ear = world.scene.ear(number);
        assert_eq!((&ear.told, &ear.paths), (&before.0, &before.1), "peer {number} told again");
    }
}

/// An input: that a peer sends this.
pub(crate) fn update(number: u32, body: &[u8]) -> Vec<u8> {
    let head = u8::try_from(number & 7).expect("three bits");
    let length = u16::try_from(body.len()).expect("a message that fits");
    [&[head][..], &length.to_be_bytes(), body].concat()
}
