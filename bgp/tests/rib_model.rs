//! The RIB against a naive model that works everything out from scratch, under random events.

mod rib_support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use brindle_bgp::filter::{Filter, FilterAction, FilterRule};
use brindle_bgp::msg::{Announcement, Attributes, Community, NextHop, Origin, Refresh, Update};
use brindle_bgp::net::{ClusterId, Family, Prefix, RouterId};
use brindle_bgp::rib::{
    Forwarding, NextHopMode, PathStatus, PeerId, PeerKind, PeerPolicy, Rib, RibPeer, RibSession,
    RibSettings, Which,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::Config;
use proptest::{prop_assert_eq, proptest};
use rib_support::{
    Ear, Heard, OUR_AS, OUR_CLUSTER, OUR_ID, asn, hop, path_of, peer, prefix, session, settings,
};

const PEERS: u32 = 5;
const PREFIXES: [&str; 8] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "172.16.0.0/12",
    "0.0.0.0/0",
    "fd00::/8",
    "fd00:1::/32",
    "::/0",
];
const HOPS: [&str; 8] = [
    "192.0.2.10", // the first peer's own
    "192.0.2.11", // the second peer's own
    "192.0.2.77", // on the link
    "198.51.100.1",
    "203.0.113.9", // ours
    "2001:db8::5",
    "fd00:9::1",
    "fe80::1",
];

#[derive(Clone, Debug)]
enum Op {
    Configure { peer: u32, import: u8, export: u8, mode: u8, client: bool },
    Remove(u32),
    Up { peer: u32, v6: u8, own: u8, shared: bool, extended: bool, marks: bool },
    Down(u32),
    Learn { peer: u32, announced: Vec<u8>, withdrawn: Vec<u8>, hop: u8, set: Set },
    Originate(u8, bool),
    Withdraw(u8),
    Resolve(u8, Option<u32>),
    Own(bool),
    Refresh(u32, bool),
    Advertise(u32, usize),
    Changes,
}

#[derive(Clone, Debug)]
struct Set {
    path: u8,
    local_pref: u8,
    med: u8,
    origin: bool,
    community: u8,
    reflected: u8,
}

fn set() -> impl Strategy<Value = Set> {
    (0..7_u8, 0..3_u8, 0..3_u8, any::<bool>(), 0..10_u8, 0..6_u8).prop_map(
        |(path, local_pref, med, origin, community, reflected)| Set {
            path,
            local_pref,
            med,
            origin,
            community,
            reflected,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let places = || prop::collection::vec(0..8_u8, 0..4);
    let learn = (0..PEERS, places(), places(), 0..8_u8, set()).prop_map(
        |(peer, announced, withdrawn, hop, set)| Op::Learn { peer, announced, withdrawn, hop, set },
    );
    let up = (0..PEERS, 0..4_u8, 0..4_u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(peer, v6, own, shared, extended, marks)| Op::Up {
            peer,
            v6,
            own,
            shared,
            extended,
            marks,
        },
    );
    let configure = (0..PEERS, 0..5_u8, 0..5_u8, 0..5_u8, any::<bool>()).prop_map(
        |(peer, import, export, mode, client)| Op::Configure { peer, import, export, mode, client },
    );
    prop_oneof![
        12 => learn,
        4 => up,
        2 => configure,
        1 => (0..PEERS).prop_map(Op::Remove),
        1 => (0..PEERS).prop_map(Op::Down),
        2 => (0..8_u8, any::<bool>()).prop_map(|(place, med)| Op::Originate(place, med)),
        1 => (0..8_u8).prop_map(Op::Withdraw),
        3 => (0..8_u8, prop_oneof![Just(None), (1..4_u32).prop_map(Some)])
            .prop_map(|(hop, cost)| Op::Resolve(hop, cost)),
        1 => any::<bool>().prop_map(Op::Own),
        2 => (0..PEERS, any::<bool>()).prop_map(|(peer, v6)| Op::Refresh(peer, v6)),
        8 => (0..PEERS, prop_oneof![Just(0_usize), Just(60), Just(100_000)])
            .prop_map(|(peer, budget)| Op::Advertise(peer, budget)),
        3 => Just(Op::Changes),
    ]
}

/// The first three peers are external; two of these in one AS.
fn base(number: u32) -> RibPeer {
    let kind = if number < 3 { PeerKind::External } else { PeerKind::Internal };
    let mut how = peer(number, kind);
    if number < 3 {
        how.asn = asn(if number == 0 { 65000 } else { 65001 });
    }
    how
}

fn policy(kind: u8) -> PeerPolicy {
    match kind {
        0 => PeerPolicy::RefuseUnfiltered,
        1 => PeerPolicy::Owned([prefix("10.1.0.0/16"), prefix("fd00::/8")].into()),
        2 => PeerPolicy::Filters(vec![
            Filter {
                name: "no-default".into(),
                rules: vec![
                    FilterRule {
                        action: FilterAction::Reject,
                        cidr: None,
                        prefix_lengths: Some(0..=0),
                    },
                    FilterRule { action: FilterAction::Accept, cidr: None, prefix_lengths: None },
                ],
            }
            .into(),
        ]),
        _ => PeerPolicy::AcceptAll,
    }
}

fn attributes(from: u32, set: &Set) -> Attributes {
    let internal = from >= 3;
    let own = base(from).asn.get();
    let tails: [&[u32]; 7] =
        [&[], &[65100], &[65100, 65101], &[65001], &[OUR_AS], &[65100, OUR_AS], &[65200, 65201]];
    let tail = tails[usize::from(set.path)];
    let path: Vec<u32> =
        if internal || set.path == 6 { tail.to_vec() } else { [&[own], tail].concat() };
    Attributes {
        origin: if set.origin { Origin::Igp } else { Origin::Incomplete },
        as_path: path_of(&path),
        med: [None, Some(5), Some(10)][usize::from(set.med)],
        local_pref: [None, Some(100), Some(200)][usize::from(set.local_pref)],
        communities: match set.community {
            0 => vec![Community::NO_EXPORT],
            1 => vec![Community::NO_ADVERTISE],
            2 => vec![Community::NO_EXPORT_SUBCONFED],
            3 => vec![Community::GRACEFUL_SHUTDOWN],
            _ => vec![],
        },
        originator_id: match set.reflected {
            0 if internal => RouterId::new(OUR_ID).ok(),
            1 | 2 if internal => RouterId::new(77).ok(),
            _ => None,
        },
        cluster_list: match set.reflected {
            1 if internal => vec![ClusterId(1), ClusterId(OUR_CLUSTER)],
            2 if internal => vec![ClusterId(1)],
            _ => vec![],
        },
        ..Attributes::default()
    }
}

/// Everything that happened, as it stands: nothing is derived until somebody asks.
struct Model {
    settings: RibSettings,
    peers: BTreeMap<u32, RibPeer>,
    sessions: BTreeMap<u32, RibSession>,
    /// As received, by prefix and peer.
    learned: BTreeMap<(Prefix, u32), (Attributes, NextHop)>,
    ours: BTreeMap<Prefix, Attributes>,
    costs: BTreeMap<NextHop, u32>,
    own: Vec<IpAddr>,
}

#[derive(Clone, Debug)]
struct Way {
    /// None for our own.
    from: Option<u32>,
    attributes: Attributes,
    hop: Option<NextHop>,
    cost: u32,
}

impl Model {
    fn kind(&self, way: &Way) -> Option<PeerKind> {
        way.from.map(|from| self.peers[&from].kind)
    }

    fn passes(policy: &PeerPolicy, prefix: &Prefix) -> bool {
        match policy {
            PeerPolicy::AcceptAll => true,
            PeerPolicy::RefuseUnfiltered => false,
            PeerPolicy::Owned(owned) => owned.iter().any(|own| own.covers(prefix)),
            PeerPolicy::Filters(_) => prefix.length() > 0,
        }
    }

    fn is_accepted(
        &self,
        from: u32,
        prefix: &Prefix,
        attributes: &Attributes,
        hop: &NextHop,
    ) -> bool {
        let how = &self.peers[&from];
        let external = how.kind == PeerKind::External;
        let loops = attributes.as_path.contains(asn(OUR_AS))
            || attributes.originator_id == RouterId::new(OUR_ID).ok()
            || attributes.cluster_list.contains(&ClusterId(OUR_CLUSTER));
        let stranger = external && attributes.as_path.first() != Some(how.asn);
        !loops
            && !stranger
            && !self.own.contains(&hop.address())
            && Self::passes(&how.import, prefix)
    }

    fn ways(&self, prefix: &Prefix) -> Vec<Way> {
        let mut ways = Vec::new();
        if let Some(attributes) = self.ours.get(prefix) {
            ways.push(Way { from: None, attributes: attributes.clone(), hop: None, cost: 0 });
        }
        for ((at, from), (attributes, hop)) in &self.learned {
            if at != prefix || !self.is_accepted(*from, prefix, attributes, hop) {
                continue;
            }
            let Some(&cost) = self.costs.get(hop) else { continue };
            let mut attributes = attributes.clone();
            if self.peers[from].kind == PeerKind::External {
                attributes.local_pref = None;
            }
            if attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
                attributes.local_pref = Some(0);
            }
            attributes.local_pref = Some(attributes.local_pref.unwrap_or(100));
            ways.push(Way { from: Some(*from), attributes, hop: Some(*hop), cost });
        }
        ways
    }

    /// The best way and all that are used.
    fn best(&self, prefix: &Prefix) -> (Option<Way>, Vec<Way>) {
        let mut ways = self.ways(prefix);
        if let Some(ours) = ways.iter().find(|way| way.from.is_none()) {
            return (Some(ours.clone()), vec![ours.clone()]);
        }
        let least = |ways: &mut Vec<Way>, of: &dyn Fn(&Way) -> u64| {
            let least = ways.iter().map(of).min();
            ways.retain(|way| Some(of(way)) == least);
        };
        least(&mut ways, &|way| u64::MAX - u64::from(way.attributes.local_pref.unwrap()));
        least(&mut ways, &|way| way.attributes.as_path.hops() as u64);
        least(&mut ways, &|way| way.attributes.origin as u64);
        let rivals = ways.clone();
        ways.retain(|way| {
            !rivals.iter().any(|rival| {
                rival.attributes.as_path.first() == way.attributes.as_path.first()
                    && rival.attributes.med.unwrap_or(0) < way.attributes.med.unwrap_or(0)
            })
        });
        least(&mut ways, &|way| u64::from(self.kind(way) != Some(PeerKind::External)));
        least(&mut ways, &|way| way.cost.into());
        let id = |way: &Way| {
            let session = &self.sessions[&way.from.unwrap()];
            way.attributes.originator_id.unwrap_or(session.negotiated.their_open.router_id)
        };
        ways.sort_by_key(|way| (id(way), way.attributes.cluster_list.len(), way.from));
        let Some(best) = ways.first().cloned() else { return (None, vec![]) };
        let external = self.kind(&best) == Some(PeerKind::External);
        ways.retain(|way| {
            !external || way.attributes.as_path.first() == best.attributes.as_path.first()
        });
        ways.truncate(self.settings.multipath);
        (Some(best), ways)
    }

    fn forwarding(&self, prefix: &Prefix) -> Forwarding {
        let (best, used) = self.best(prefix);
        match best {
            None => Forwarding::None,
            Some(way) if way.from.is_none() => Forwarding::Local,
            Some(_) => {
                let hops: BTreeSet<NextHop> = used.iter().filter_map(|way| way.hop).collect();
                Forwarding::Via(hops.into_iter().collect())
            }
        }
    }

    fn told(&self, to: u32, prefix: &Prefix) -> Option<(Attributes, NextHop)> {
        let (how, session) = (&self.peers[&to], &self.sessions[&to]);
        let agreed = &session.negotiated;
        if !agreed.families.contains(&prefix.family()) {
            return None;
        }
        let way = self.best(prefix).0?;
        if way.from == Some(to) || !Self::passes(&how.export, prefix) {
            return None;
        }
        let kind = self.kind(&way);
        let external = how.kind == PeerKind::External;
        let reflected = matches!(kind, Some(PeerKind::Internal | PeerKind::ReflectorClient));
        if kind == Some(PeerKind::Internal) && how.kind == PeerKind::Internal {
            return None;
        }
        let has = |community| way.attributes.communities.contains(&community);
        if has(Community::NO_ADVERTISE)
            || external && (has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED))
        {
            return None;
        }
        let mut out = way.attributes.clone();
        if external {
            out.as_path.prepend(asn(OUR_AS));
            out.local_pref = None;
            out.originator_id = None;
            out.cluster_list.clear();
            if way.from.is_some() {
                out.med = None;
            }
        } else {
            out.local_pref.get_or_insert(100);
            if reflected {
                let from = &self.sessions[&way.from.unwrap()];
                out.originator_id.get_or_insert(from.negotiated.their_open.router_id);
                out.cluster_list.insert(0, ClusterId(OUR_CLUSTER));
            }
        }
        Some((out, self.told_hop(how, session, prefix, &way)?))
    }

    fn told_hop(
        &self,
        how: &RibPeer,
        session: &RibSession,
        prefix: &Prefix,
        way: &Way,
    ) -> Option<NextHop> {
        let extended = session.negotiated.extended_next_hop;
        let own = match prefix.family() {
            Family::Ipv6Unicast => session.local_v6,
            Family::Ipv4Unicast if extended => session.local_v4.or(session.local_v6),
            Family::Ipv4Unicast => session.local_v4.filter(|hop| matches!(hop, NextHop::V4(_))),
        };
        let Some(hop) = way.hop else { return own };
        let shared = session.shared_link.iter().any(|link| link.contains(hop.address()));
        let is_link_local = hop.address().to_string().starts_with("fe80");
        let unreadable =
            prefix.family() == Family::Ipv4Unicast && hop.address().is_ipv6() && !extended;
        if unreadable || is_link_local && !shared || how.next_hop_mode == NextHopMode::SelfAddress {
            return own;
        }
        if how.next_hop_mode == NextHopMode::Keep || how.kind != PeerKind::External {
            return Some(hop);
        }
        if shared && own.is_some() && hop.address() != how.address { Some(hop) } else { own }
    }
}

struct Run {
    rib: Rib,
    model: Model,
    ears: BTreeMap<u32, Ear>,
    awake: BTreeSet<u32>,
    /// What is due before the peer is at rest: End-of-RIB by family since the session.
    forwarding: BTreeMap<Prefix, Forwarding>,
    /// Peer ids are never used twice; these are the current ones.
    ids: BTreeMap<u32, u32>,
    watched: BTreeMap<NextHop, Option<u32>>,
}

impl Run {
    fn new(multipath: usize) -> Self {
        let settings = RibSettings { multipath, track_next_hops: true, ..settings() };
        Self {
            rib: Rib::new(settings.clone()),
            model: Model {
                settings,
                peers: BTreeMap::new(),
                sessions: BTreeMap::new(),
                learned: BTreeMap::new(),
                ours: BTreeMap::new(),
                costs: BTreeMap::new(),
                own: Vec::new(),
            },
            ears: BTreeMap::new(),
            awake: BTreeSet::new(),
            forwarding: BTreeMap::new(),
            ids: BTreeMap::new(),
            watched: BTreeMap::new(),
        }
    }

    fn id(&self, peer: u32) -> PeerId {
        PeerId(self.ids.get(&peer).copied().unwrap_or(9999))
    }

    fn number(&self, id: PeerId) -> u32 {
        *self.ids.iter().find(|(_, at)| **at == id.0).expect("only known peers are woken").0
    }

    fn drop_session(&mut self, peer: u32) {
        self.model.sessions.remove(&peer);
        self.model.learned.retain(|(_, from), _| *from != peer);
        self.ears.remove(&peer);
        self.awake.remove(&peer);
    }

    fn step(&mut self, op: &Op, serial: u32) {
        match op {
            Op::Configure { peer, import, export, mode, client } => {
                let mut how = base(*peer);
                how.import = policy(*import);
                how.export = policy(*export);
                how.next_hop_mode = match mode {
                    0 => NextHopMode::Keep,
                    1 => NextHopMode::SelfAddress,
                    _ => NextHopMode::Auto,
                };
                if *client && how.kind == PeerKind::Internal {
                    how.kind = PeerKind::ReflectorClient;
                }
                self.ids.entry(*peer).or_insert(serial);
                self.rib.configure_peer(self.id(*peer), how.clone());
                self.model.peers.insert(*peer, how);
            }
            Op::Remove(peer) => {
                self.rib.remove_peer(self.id(*peer));
                self.drop_session(*peer);
                self.model.peers.remove(peer);
                self.ids.remove(peer);
            }
            Op::Up { peer, v6, own, shared, extended, marks } => {
                let mut with = session(*peer);
                with.negotiated.families = match v6 {
                    0 => vec![Family::Ipv4Unicast],
                    _ => Family::ALL.to_vec(),
                };
                with.negotiated.extended_next_hop = *extended;
                with.negotiated.enhanced_refresh = *marks;
                if *own == 0 {
                    with.local_v4 = None;
                }
                if *own == 1 {
                    with.local_v6 = None;
                }
                if *shared {
                    with.shared_link = vec![prefix("192.0.2.0/24"), prefix("2001:db8::/64")];
                }
                self.rib.session_up(self.id(*peer), with.clone());
                if let Some(how) = self.model.peers.get(peer).cloned() {
                    self.drop_session(*peer);
                    self.ears.insert(*peer, Ear::new(&how, &with));
                    self.model.sessions.insert(*peer, with);
                }
            }
            Op::Down(peer) => {
                self.rib.session_down(self.id(*peer));
                self.drop_session(*peer);
            }
            Op::Learn { peer, announced, withdrawn, hop: at, set } => {
                self.learn(*peer, announced, withdrawn, *at, set);
            }
            Op::Originate(place, med) => {
                let prefix = prefix(PREFIXES[usize::from(*place)]);
                let attributes = Attributes { med: med.then_some(3), ..Attributes::default() };
                self.rib.originate(prefix, attributes.clone());
                self.model.ours.insert(prefix, attributes);
            }
            Op::Withdraw(place) => {
                let prefix = prefix(PREFIXES[usize::from(*place)]);
                self.rib.withdraw(&prefix);
                self.model.ours.remove(&prefix);
            }
            Op::Resolve(at, cost) => {
                self.watch();
                let hop = hop(HOPS[usize::from(*at)]);
                if let Some(known) = self.watched.get_mut(&hop) {
                    *known = *cost;
                    self.rib.resolve(hop, *cost);
                }
                self.watch();
            }
            Op::Own(ours) => {
                let own = if *ours { vec!["203.0.113.9".parse().unwrap()] } else { vec![] };
                self.rib.set_own_addresses(own.clone());
                self.model.own = own;
            }
            Op::Refresh(peer, v6) => {
                let family = if *v6 { Family::Ipv6Unicast } else { Family::Ipv4Unicast };
                self.rib.refresh(self.id(*peer), family);
            }
            Op::Advertise(peer, budget) => {
                self.watch();
                self.advertise(*peer, *budget);
            }
            Op::Changes => self.check_forwarding(),
        }
    }

    fn learn(&mut self, peer: u32, announced: &[u8], withdrawn: &[u8], at: u8, set: &Set) {
        let known = |places: &[u8]| -> BTreeSet<Prefix> {
            places.iter().map(|&place| prefix(PREFIXES[usize::from(place)])).collect()
        };
        let announced = known(announced);
        let withdrawn: Vec<Prefix> =
            known(withdrawn).into_iter().filter(|prefix| !announced.contains(prefix)).collect();
        let next_hop = hop(HOPS[usize::from(at)]);
        // The decoder never makes an IPv6 prefix with an IPv4 next hop.
        let announced: Vec<Prefix> = announced
            .into_iter()
            .filter(|prefix| prefix.family() == Family::Ipv4Unicast || next_hop.address().is_ipv6())
            .collect();
        let attributes = attributes(peer, set);
        let mut update = Update { withdrawn: withdrawn.clone(), ..Update::default() };
        for family in Family::ALL {
            let prefixes: Vec<Prefix> =
                announced.iter().copied().filter(|prefix| prefix.family() == family).collect();
            if !prefixes.is_empty() {
                update.announced.push(Announcement { next_hop, prefixes });
                update.attributes = Some(attributes.clone());
            }
        }
        self.rib.learn(self.id(peer), update);
        let Some(session) = self.model.sessions.get(&peer) else { return };
        for prefix in withdrawn {
            self.model.learned.remove(&(prefix, peer));
        }
        for prefix in announced {
            if session.negotiated.families.contains(&prefix.family()) {
                self.model.learned.insert((prefix, peer), (attributes.clone(), next_hop));
            }
        }
    }

    /// Plays the resolver: knows what it was told to watch and forgets what nobody uses.
    fn watch(&mut self) {
        let (fresh, gone) = self.rib.take_next_hops();
        for hop in gone {
            assert!(self.watched.remove(&hop).is_some(), "{hop} was not watched");
        }
        for hop in fresh {
            assert!(self.watched.insert(hop, None).is_none(), "{hop} was watched already");
        }
        self.model.costs =
            self.watched.iter().filter_map(|(hop, cost)| Some((*hop, (*cost)?))).collect();
    }

    fn wake(&mut self) {
        for id in self.rib.take_woken() {
            let number = self.number(id);
            assert!(self.awake.insert(number), "peer {number} was awake already");
        }
    }

    fn advertise(&mut self, peer: u32, budget: usize) {
        self.wake();
        let advertisement = self.rib.advertise(self.id(peer), budget);
        let Some(ear) = self.ears.get_mut(&peer) else {
            assert!(advertisement.messages.is_empty() && !advertisement.more);
            return;
        };
        assert!(
            self.awake.contains(&peer) || advertisement.messages.is_empty(),
            "peer {peer} had something to be told and was not woken"
        );
        ear.listen(&advertisement);
        if !advertisement.more {
            self.awake.remove(&peer);
        }
    }

    fn check_forwarding(&mut self) {
        self.watch();
        for change in self.rib.take_changes() {
            self.forwarding.insert(change.prefix, change.now);
        }
        for prefix in PREFIXES.map(prefix) {
            let got = self.forwarding.get(&prefix).cloned().unwrap_or(Forwarding::None);
            assert_eq!(got, self.model.forwarding(&prefix), "{prefix}");
            let (best, _) = self.model.best(&prefix);
            let shown = self.rib.paths(&prefix);
            let shown = shown.first().filter(|path| path.status == PathStatus::Best);
            assert_eq!(
                shown.map(|path| path.from),
                best.map(|way| way.from.map(|from| self.id(from))),
                "{prefix} as shown"
            );
        }
    }

    /// Tells everybody everything, waking only whom the RIB names; then all must be right.
    fn settle(&mut self) {
        self.check_forwarding();
        self.wake();
        while let Some(&peer) = self.awake.iter().next() {
            self.advertise(peer, 500);
        }
        for (peer, ear) in &self.ears {
            let want: BTreeMap<Prefix, (Attributes, NextHop)> = PREFIXES
                .map(prefix)
                .into_iter()
                .filter_map(|prefix| Some((prefix, self.model.told(*peer, &prefix)?)))
                .collect();
            assert_eq!(ear.told, want, "peer {peer}");
            let mut shown = BTreeMap::new();
            for family in Family::ALL {
                let page = self.rib.told(self.id(*peer), family, None, 100);
                for row in page.rows {
                    assert!(!row.is_pending, "{} for peer {peer}", row.prefix);
                    shown.insert(row.prefix, ((*row.attributes).clone(), row.next_hop));
                }
                let counts = self.rib.counts(self.id(*peer), family).unwrap();
                let of = |prefix: &Prefix| prefix.family() == family;
                assert_eq!(counts.advertised, want.keys().filter(|prefix| of(prefix)).count());
                let learned = self.model.learned.keys();
                let received = learned.filter(|(prefix, from)| of(prefix) && from == peer).count();
                assert_eq!(counts.received, received);
                assert_eq!(counts.received, counts.accepted + counts.rejected);
                let page = self.rib.page(family, Which::From(self.id(*peer)), None, 100);
                assert_eq!(page.rows.len(), counts.received);
                let page = self.rib.page(family, Which::RefusedFrom(self.id(*peer)), None, 100);
                assert_eq!(page.rows.len(), counts.rejected);
                for row in page.rows {
                    assert!(matches!(row.status, PathStatus::Refused(_)), "{row:?}");
                }
                let ends = ear.heard.iter().filter(|heard| **heard == Heard::EndOfRib(family));
                let families = &self.model.sessions[peer].negotiated.families;
                assert_eq!(ends.count(), usize::from(families.contains(&family)), "peer {peer}");
            }
            assert_eq!(shown, want, "peer {peer} as shown");
            let mut open = false;
            for heard in &ear.heard {
                match heard {
                    Heard::Mark(Refresh::Begin) => open = true,
                    Heard::Mark(Refresh::End) => assert!(open),
                    _ => {}
                }
            }
        }
        let totals = self.rib.totals();
        assert_eq!(totals.noted, 0, "everybody has taken all");
        assert_eq!(totals.held_octets, 0, "everybody has taken all");
    }
}

proptest! {
    #![proptest_config(Config { cases: 600, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn any_schedule_ends_with_what_the_model_says(
        multipath in 1..4_usize,
        ops in prop::collection::vec(op(), 1..80),
        rests in any::<u128>(),
    ) {
        let mut run = Run::new(multipath);
        for peer in 0..PEERS {
            run.step(&Op::Configure { peer, import: 4, export: 4, mode: 4, client: peer == 4 }, peer);
        }
        for (serial, op) in (100..).zip(&ops) {
            run.step(op, serial);
            if (rests >> (serial % 128)) & 7 == 0 {
                run.settle();
            }
        }
        run.settle();
        // In the end nothing is left behind.
        for peer in 0..PEERS {
            run.step(&Op::Remove(peer), 0);
        }
        for place in 0..8 {
            run.step(&Op::Withdraw(place), 0);
        }
        run.settle();
        run.watch();
        let totals = run.rib.totals();
        prop_assert_eq!(
            (totals.paths, totals.attributes, totals.next_hops, totals.groups),
            ([0, 0], 0, 0, 0)
        );
        prop_assert_eq!(run.watched.len(), 0);
    }
}
