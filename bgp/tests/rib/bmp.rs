//! What a monitoring station hears, as another implementation reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bgpkit_parser::models::{BgpMessage, Origin};
use bgpkit_parser::parser::bmp::messages::{
    BmpMessageBody, BmpPeerType, PeerDownReason, PerPeerFlags, StatType, StatsData,
};
use bgpkit_parser::parser::bmp::parse_bmp_msg;
use brindle_bgp::bmp::{
    Ends, Monitoring, Opens, Speaker, StationId, Views, initiation, termination,
};
use brindle_bgp::fsm::Down;
use brindle_bgp::msg::{
    AddPaths, CeaseReason, Message, Nlri, Notification, PathId, UnknownAttribute, WireFormat,
    decode, encode,
};
use brindle_bgp::net::{Family, RouterId};
use brindle_bgp::rib::{
    NextHopMode, OwnRoute, PeerId, PeerKind, PeerPolicy, RibPeer, RibSession, Stale,
};
use bytes::{Bytes, BytesMut};

use super::support::*;

const ALL: Views = Views { pre_policy: true, post_policy: true, loc_rib: true };
const PRE: Views = Views { pre_policy: true, post_policy: false, loc_rib: false };

/// Which table of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum View {
    Pre,
    Post,
    Loc,
}

/// A station that believes all that it hears, and refuses what makes no sense.
#[derive(Debug, Default)]
struct Station {
    up: BTreeSet<IpAddr>,
    has_loc: bool,
    /// AS path, next hop and LOCAL_PREF by view, peer and prefix.
    routes: BTreeMap<(View, IpAddr), BTreeMap<String, String>>,
    ended: Vec<(View, IpAddr, bool)>,
    downs: Vec<(IpAddr, PeerDownReason, Option<Vec<u8>>)>,
    timed: usize,
    updates: usize,
    longest: usize,
}

impl Station {
    fn hear(&mut self, message: &Bytes) {
        let mut octets = message.clone();
        let parsed = parse_bmp_msg(&mut octets).unwrap();
        assert!(octets.is_empty(), "{parsed:?} and more");
        let header = parsed.per_peer_header.unwrap();
        let peer = header.peer_ip;
        let view = match (header.peer_type, header.peer_flags) {
            (BmpPeerType::LocalRib, _) => View::Loc,
            (_, PerPeerFlags::PeerFlags(flags)) if flags.is_post_policy() => View::Post,
            _ => View::Pre,
        };
        match parsed.message_body {
            BmpMessageBody::PeerUpNotification(up) => {
                let is_new = match view {
                    View::Loc => !std::mem::replace(&mut self.has_loc, true),
                    View::Pre | View::Post => self.up.insert(peer),
                };
                assert!(is_new, "{peer} is up twice");
                assert!(matches!(up.sent_open, BgpMessage::Open(_)));
                assert!(matches!(up.received_open, BgpMessage::Open(_)));
            }
            BmpMessageBody::PeerDownNotification(down) => {
                assert!(self.up.remove(&peer), "{peer} was not up");
                self.routes.retain(|(_, of), _| *of != peer);
                self.downs.push((peer, down.reason, down.data));
            }
            BmpMessageBody::RouteMonitoring(route) => {
                assert!(view == View::Loc || self.up.contains(&peer), "{peer} is not up");
                self.longest = self.longest.max(message.len());
                self.updates += 1;
                self.timed += usize::from(header.timestamp > 0.0);
                let BgpMessage::Update(update) = &route.bgp_message else { panic!("{route:?}") };
                if route.is_end_of_rib() {
                    let is_ipv6 = update.attributes.get_unreachable_nlri().is_some();
                    self.ended.push((view, peer, is_ipv6));
                    return;
                }
                let table = self.routes.entry((view, peer)).or_default();
                let gone = update.attributes.get_unreachable_nlri();
                let gone = gone.iter().flat_map(|nlri| &nlri.prefixes);
                for prefix in update.withdrawn_prefixes.iter().chain(gone) {
                    table.remove(&prefix.prefix.to_string());
                }
                let come = update.attributes.get_reachable_nlri();
                let other_hop = come.and_then(|nlri| nlri.next_hop).map(|hop| hop.addr());
                let come = come.iter().flat_map(|nlri| &nlri.prefixes);
                let attributes = &update.attributes;
                for prefix in update.announced_prefixes.iter().chain(come) {
                    assert_eq!(attributes.origin(), Origin::IGP);
                    let path = attributes.as_path().map(ToString::to_string).unwrap_or_default();
                    let hop = attributes.next_hop().or(other_hop).unwrap();
                    let pref = attributes.local_preference();
                    table.insert(prefix.prefix.to_string(), format!("{path} {hop} {pref:?}"));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn of(&self, view: View, number: u32) -> Vec<(&str, &str)> {
        let key = (view, address(number).into());
        let table = self.routes.get(&key);
        table.into_iter().flatten().map(|(prefix, what)| (&**prefix, &**what)).collect()
    }

    fn loc(&self) -> Vec<&str> {
        let table = self.routes.get(&(View::Loc, IpAddr::from([0, 0, 0, 0])));
        table.into_iter().flatten().map(|(prefix, _)| &**prefix).collect()
    }
}

struct World {
    scene: Scene,
    monitoring: Monitoring,
    station: Station,
    id: StationId,
    now: SystemTime,
}

impl World {
    fn new(views: Views) -> Self {
        let mut scene = Scene::new(settings());
        let speaker = Speaker { asn: asn(OUR_AS), router_id: RouterId::new(OUR_ID).unwrap() };
        let mut monitoring = Monitoring::new(speaker);
        let id = monitoring.attach(&mut scene.rib, views);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Self { scene, monitoring, station: Station::default(), id, now }
    }

    fn up(&mut self, number: u32, peer: RibPeer) {
        self.up_with(number, peer, session(number));
    }

    fn up_with(&mut self, number: u32, peer: RibPeer, session: RibSession) {
        let open = |id: u32| {
            let open = super::support::session(id).negotiated.their_open;
            let mut octets = BytesMut::new();
            encode(&Message::Open(open), &WireFormat::default(), &mut octets);
            octets.freeze()
        };
        let opens = Opens { sent: open(0), received: open(number) };
        let remote = (peer.address, 179).into();
        let ends = Ends { local: (IpAddr::from([192, 0, 2, 1]), 40_000).into(), remote };
        let router_id = session.negotiated.their_open.router_id;
        self.monitoring.session_up(
            PeerId(number),
            peer.name.clone(),
            (peer.address, peer.asn, router_id),
            (Family::ALL.to_vec(), session.negotiated.add_paths.receive),
            (opens, ends),
            self.now,
        );
        self.scene.up_as(number, peer, session);
    }

    fn down(&mut self, number: u32, why: &Down, keep: [Option<Stale>; 2]) {
        self.scene.rib.session_lost(PeerId(number), keep);
        self.monitoring.session_down(PeerId(number), why, self.now);
    }

    fn pull(&mut self, budget: usize) -> bool {
        let pulled = self.monitoring.pull(&mut self.scene.rib, self.id, budget, self.now);
        for message in &pulled.messages {
            self.station.hear(message);
        }
        pulled.more
    }

    /// Pulls all, after the station was woken or from the beginning.
    fn hear(&mut self) {
        let mut pulls = 0;
        while self.pull(4096) {
            pulls += 1;
            assert!(pulls < 10_000, "there is an end to it");
        }
        assert_eq!(self.monitoring.take_woken(&mut self.scene.rib), [], "it has heard all");
    }

    fn is_woken(&mut self) -> bool {
        let woken = self.monitoring.take_woken(&mut self.scene.rib);
        assert_eq!(self.monitoring.take_woken(&mut self.scene.rib), [], "once is enough");
        woken == [self.id]
    }
}

fn external(number: u32) -> RibPeer {
    peer(number, PeerKind::External)
}

#[test]
fn a_station_hears_sessions_routes_and_their_end() {
    let mut world = World::new(ALL);
    world.scene.rib.originate(prefix("10.9.0.0/16"), along(&[]), OwnRoute::Local);
    let filtered = RibPeer { import: filter("some", "10.1.0.0/16"), ..external(1) };
    world.up(1, filtered);
    let both = [prefix("10.1.1.0/24"), prefix("10.2.0.0/24"), prefix("fd00:1::/64")];
    world.scene.learn(1, announce(&both[..2], hop("192.0.2.11"), along(&[65001, 7])));
    world.scene.learn(1, announce(&both[2..], hop("2001:db8::11"), along(&[65001])));
    world.hear();
    let station = &world.station;
    assert_eq!(
        station.of(View::Pre, 1),
        [
            ("10.1.1.0/24", "65001 7 192.0.2.11 None"),
            ("10.2.0.0/24", "65001 7 192.0.2.11 None"),
            ("fd00:1::/64", "65001 2001:db8::11 None"),
        ],
        "all that came, without the preference that we gave it"
    );
    assert_eq!(station.of(View::Post, 1), [("10.1.1.0/24", "65001 7 192.0.2.11 Some(100)")]);
    assert_eq!(station.loc(), ["10.1.1.0/24", "10.9.0.0/16"]);
    let loc = IpAddr::from([0, 0, 0, 0]);
    let of = |view, of| [(view, of, false), (view, of, true)];
    let peer = address(1).into();
    for end in of(View::Loc, loc).into_iter().chain(of(View::Pre, peer)).chain(of(View::Post, peer))
    {
        assert_eq!(station.ended.iter().filter(|it| **it == end).count(), 1, "{end:?}");
    }
    assert_eq!(station.timed, 0, "when the first ones came is not known");
    assert!(!world.is_woken());

    world.scene.learn(1, withdraw(&both[..1]));
    assert!(world.is_woken());
    world.hear();
    assert!(world.station.timed > 0, "what comes now comes now");
    assert_eq!((world.station.of(View::Pre, 1).len(), world.station.loc().len()), (2, 1));

    let cease = Notification::cease(CeaseReason::AdministrativeReset, None);
    world.down(1, &Down::Received(cease), [None; 2]);
    assert!(world.is_woken());
    world.hear();
    let (_, reason, data) = &world.station.downs[0];
    assert_eq!(*reason, PeerDownReason::RemoteSystemClosedNotificationPduFollows);
    assert_eq!(data.as_deref().map(|data| &data[18..]), Some(&[3, 6, 4][..]), "the message");
    assert!(world.station.of(View::Pre, 1).is_empty());
}

#[test]
fn a_station_that_is_slow_hears_what_became_of_it() {
    let mut world = World::new(PRE);
    world.up(1, external(1));
    world.up(2, external(2));
    world.hear();
    let updates = world.station.updates;
    let prefixes: Vec<_> = (0..500).map(numbered).collect();
    for round in 0..100 {
        let attributes = along(&[65001, 1 + round % 7]);
        world.scene.learn(1, announce(&prefixes, hop("192.0.2.11"), attributes));
        world.scene.learn(1, withdraw(&prefixes[..250]));
    }
    world.scene.learn(2, announce(&prefixes[..1], hop("192.0.2.12"), along(&[65002])));
    assert!(world.is_woken());
    let before = world.station.downs.len();
    // Meanwhile one goes and comes again, more than once.
    for _ in 0..3 {
        world.down(2, &Down::Tcp(String::new()), [None; 2]);
        world.up(2, external(2));
    }
    world.hear();
    assert_eq!(world.station.of(View::Pre, 1).len(), 250);
    assert!(world.station.updates - updates < 20, "not each round is told");
    assert_eq!(world.station.downs.len() - before, 1);
    assert_eq!(world.station.downs[0].1, PeerDownReason::RemoteSystemsClosedNoData);
    assert_eq!(world.station.of(View::Pre, 2), [], "it told nothing in its last session");
    let pulled = world.monitoring.pull(&mut world.scene.rib, world.id, 4096, world.now);
    assert!(pulled.superseded >= 99 * 500, "{}", pulled.superseded);
}

#[test]
fn one_peer_with_many_changes_does_not_hide_another() {
    let mut world = World::new(PRE);
    world.up(1, external(1));
    world.up(2, external(2));
    world.hear();
    let prefixes: Vec<_> = (0..20_000).map(numbered).collect();
    for (number, prefix) in (0..).zip(&prefixes) {
        let attributes = along(&[65001, 1 + number]);
        world.scene.learn(1, announce(&[*prefix], hop("192.0.2.11"), attributes));
    }
    let one = prefix("10.255.255.0/24");
    world.pull(1);
    world.scene.learn(2, announce(&[one], hop("192.0.2.12"), along(&[65002])));
    assert!(world.pull(1), "much is left");
    assert_eq!(world.station.of(View::Pre, 2).len(), 1, "the other had its turn");
    world.hear();
    assert_eq!(world.station.of(View::Pre, 1).len(), 20_000);
}

#[test]
fn what_is_kept_of_an_earlier_session_is_not_said_in_the_next() {
    let mut world = World::new(PRE);
    world.up(1, external(1));
    let told = [prefix("10.1.0.0/24"), prefix("10.2.0.0/24")];
    world.scene.learn(1, announce(&told, hop("192.0.2.11"), along(&[65001])));
    world.hear();
    world.down(1, &Down::Silent, [Some(Stale::Owned); 2]);
    world.up(1, external(1));
    world.hear();
    assert_eq!(world.station.downs[0].1, PeerDownReason::LocalSystemClosedFsmEvenFollows);
    assert_eq!(world.station.downs[0].2.as_deref(), Some(&[0, 2][..]));
    assert_eq!(world.station.of(View::Pre, 1), []);
    world.scene.learn(1, announce(&told[..1], hop("192.0.2.11"), along(&[65001])));
    world.scene.rib.end_of_rib(PeerId(1), Family::Ipv4Unicast);
    world.hear();
    assert_eq!(world.station.of(View::Pre, 1).len(), 1);
}

#[test]
fn a_peer_that_is_none_any_more_is_down() {
    let mut world = World::new(PRE);
    world.up(1, external(1));
    world.hear();
    world.scene.rib.remove_peer(PeerId(1));
    world.monitoring.remove_peer(PeerId(1), world.now);
    // Its place is used again before the station looks.
    world.up(2, external(2));
    world.scene.learn(2, announce(&[v4()], hop("192.0.2.12"), along(&[65002])));
    assert!(world.is_woken());
    world.hear();
    let (_, reason, data) = &world.station.downs[0];
    assert_eq!(*reason, PeerDownReason::LocalSystemClosedNotificationPduFollows);
    assert_eq!(data.as_deref().map(|data| &data[18..]), Some(&[3, 6, 3][..]), "deconfigured");
    assert_eq!((world.station.up.len(), world.station.of(View::Pre, 2).len()), (1, 1));
}

#[test]
fn a_changed_filter_changes_what_is_behind_it_and_not_what_came() {
    let mut world = World::new(ALL);
    world.up(1, external(1));
    world.scene.learn(1, one_update(along(&[65001])));
    world.hear();
    assert_eq!(world.station.of(View::Post, 1).len(), 1);
    let refused = RibPeer { import: PeerPolicy::RefuseUnfiltered, ..external(1) };
    world.scene.rib.configure_peer(PeerId(1), refused);
    assert!(world.is_woken());
    world.hear();
    let station = &world.station;
    assert_eq!((station.of(View::Pre, 1).len(), station.of(View::Post, 1).len()), (1, 0));
    assert_eq!(station.loc().len(), 0);
    let other_export = RibPeer { next_hop_mode: NextHopMode::SelfAddress, ..external(1) };
    world.scene.rib.configure_peer(PeerId(1), other_export);
    world.hear();
    assert_eq!(world.station.of(View::Post, 1).len(), 1);
}

#[test]
fn attributes_that_fill_a_long_message_are_not_lost() {
    let mut world = World::new(PRE);
    world.up(1, external(1));
    let value = Bytes::from(vec![7; 5000]);
    let long = UnknownAttribute { code: 200, partial: false, value };
    let attributes = brindle_bgp::msg::Attributes { unknown: vec![long], ..along(&[65001]) };
    world.scene.learn(1, one_update(attributes));
    world.hear();
    assert_eq!(world.station.of(View::Pre, 1).len(), 1);
    assert!(world.station.longest > 5000);
}

#[test]
fn a_number_is_not_used_again_before_the_station_has_looked() {
    let mut world = World::new(PRE);
    world.up(1, external(1));
    let first: Vec<_> = (0..2000).map(numbered).collect();
    world.scene.learn(1, announce(&first, hop("192.0.2.11"), along(&[65001])));
    world.hear();
    world.scene.learn(1, withdraw(&first));
    world.scene.rib.forget_changes();
    let second: Vec<_> = (5000..7000).map(numbered).collect();
    world.scene.learn(1, announce(&second, hop("192.0.2.11"), along(&[65001])));
    world.hear();
    let told: BTreeSet<String> =
        world.station.of(View::Pre, 1).iter().map(|(prefix, _)| (*prefix).to_owned()).collect();
    assert_eq!(told, second.iter().map(ToString::to_string).collect());
    // Once it has, the numbers are free again.
    for round in 0..20 {
        let others: Vec<_> = (0..2000).map(|number| numbered(round * 2000 + number)).collect();
        world.scene.learn(1, announce(&others, hop("192.0.2.11"), along(&[65001])));
        world.scene.learn(1, withdraw(&others));
        world.hear();
        world.scene.rib.forget_changes();
    }
    assert!(world.scene.rib.totals().prefixes[0] < 15_000, "{:?}", world.scene.rib.totals());
}

#[test]
fn figures_are_those_of_the_rib() {
    let mut world = World::new(ALL);
    world.up(1, external(1));
    world.scene.learn(1, one_update(along(&[65001])));
    world.hear();
    let reports = world.monitoring.statistics(&world.scene.rib, world.id, |_| 3, world.now);
    let figures: Vec<(StatType, StatsData)> = reports
        .iter()
        .flat_map(|report| match parse_bmp_msg(&mut report.clone()).unwrap().message_body {
            BmpMessageBody::StatsReport(report) => report.counters,
            other => panic!("{other:?}"),
        })
        .map(|figure| (figure.stat_type, figure.stat_data))
        .collect();
    for figure in [
        (StatType::RoutesInLocRib, StatsData::Gauge(1)),
        (StatType::RoutesInPerAfiSafiLocRib, StatsData::AfiSafiGauge(1, 1, 1)),
        (StatType::RoutesInAdjRibsIn, StatsData::Gauge(1)),
        (StatType::RoutesInPerAfiSafiAdjRibIn, StatsData::AfiSafiGauge(1, 1, 1)),
        (StatType::RoutesInPerAfiSafiAdjRibIn, StatsData::AfiSafiGauge(2, 1, 0)),
        (StatType::UpdatesSubjectedToTreatAsWithdraw, StatsData::Counter(3)),
        (StatType::RoutesInPostPolicyAdjRibOut, StatsData::Gauge(0)),
    ] {
        assert!(figures.contains(&figure), "{figure:?} is not in {figures:?}");
    }
}

#[test]
fn first_and_last_message_say_who_and_why() {
    let read = |message: Bytes| parse_bmp_msg(&mut message.clone()).unwrap().message_body;
    let BmpMessageBody::InitiationMessage(first) = read(initiation("n1", "brindle")) else {
        panic!("no Initiation")
    };
    let texts: Vec<&str> = first.tlvs.iter().map(|tlv| &*tlv.info).collect();
    assert_eq!(texts, ["brindle", "n1"]);
    let BmpMessageBody::TerminationMessage(last) = read(termination("stopped")) else {
        panic!("no Termination")
    };
    assert_eq!(last.tlvs.len(), 2, "{last:?}");
    let long = "ä".repeat(40_000);
    assert_eq!(initiation(&long, "").len(), 6 + 4 + 4 + 65_534, "cut between characters");
}

#[test]
fn paths_of_one_prefix_come_and_go_by_their_identifiers() {
    let mut world = World::new(PRE);
    let paths = AddPaths { receive: [true; 2], ..AddPaths::default() };
    let mut with_paths = session(1);
    with_paths.negotiated.add_paths = paths;
    world.up_with(1, external(1), with_paths);
    let nlri = |id| Nlri { prefix: v4(), path_id: PathId(id) };
    let come = |ids: &[u32]| {
        let mut update = announce(&[], hop("192.0.2.11"), along(&[65001]));
        update.announced[0].prefixes = ids.iter().copied().map(nlri).collect();
        update
    };
    let go = |ids: &[u32]| {
        let mut update = withdraw(&[]);
        update.withdrawn = ids.iter().copied().map(nlri).collect();
        update
    };
    // What it hears of prefixes: which paths came and which went, and sessions that ended.
    let hear = |world: &mut World| {
        let families = Family::ALL.to_vec();
        let format = WireFormat {
            add_paths: paths,
            families,
            four_octet_asns: true,
            ..WireFormat::default()
        };
        let (mut come, mut gone, mut downs) = (Vec::new(), Vec::new(), 0);
        loop {
            let pulled = world.monitoring.pull(&mut world.scene.rib, world.id, 4096, world.now);
            for message in pulled.messages {
                match message[5] {
                    0 => {
                        let update = match decode(&message.slice(48..), &format).unwrap().message {
                            Message::Update(update) => update,
                            Message::EndOfRib(_) => continue,
                            other => panic!("{other:?}"),
                        };
                        let ids = |nlris: &[Nlri]| -> Vec<u32> {
                            nlris.iter().map(|nlri| nlri.path_id.0).collect()
                        };
                        gone.extend(ids(&update.withdrawn));
                        come.extend(update.announced.iter().flat_map(|one| ids(&one.prefixes)));
                    }
                    2 => downs += 1,
                    _ => {}
                }
            }
            if !pulled.more {
                come.sort_unstable();
                gone.sort_unstable();
                return (come, gone, downs);
            }
        }
    };
    world.scene.learn(1, come(&[0, 7, 9]));
    assert_eq!(hear(&mut world), (vec![0, 7, 9], vec![], 0));
    world.scene.learn(1, go(&[0, 9]));
    assert_eq!(hear(&mut world), (vec![7], vec![0, 9], 0));
    // One that went and came again before the station looked.
    world.scene.learn(1, go(&[7]));
    world.scene.learn(1, come(&[7]));
    assert_eq!(hear(&mut world), (vec![7], vec![], 0));
    // Beyond what is kept in mind for a slow station, its session begins anew.
    for id in 100..=70_000 {
        world.scene.learn(1, come(&[id]));
        world.scene.learn(1, go(&[id]));
    }
    assert_eq!(hear(&mut world), (vec![7], vec![], 1));
    world.scene.learn(1, go(&[7]));
    assert_eq!(hear(&mut world), (vec![], vec![7], 0));
}
