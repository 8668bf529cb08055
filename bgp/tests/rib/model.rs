//! The RIB against the reference, under random events and schedules.

use std::collections::{BTreeMap, BTreeSet};

use brindle_bgp::msg::{
    AddPaths, Announcement, Attributes, NextHop, Nlri, PathId, Refresh, Update,
};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{
    Forwarding, NextHopMode, OwnRoute, PathStatus, PeerId, PeerKind, Rib, RibSettings, SendPaths,
    Stale, Which,
};
use proptest::prelude::{any, prop};
use proptest::test_runner::Config;
use proptest::{prop_assert_eq, proptest};

use crate::events::{HOPS, Op, PEERS, PREFIXES, Set, attributes, base, op, policy};
use crate::reference::{Key, Model};
use crate::support::{Ear, Heard, hop, prefix, session, settings};

struct Run {
    rib: Rib,
    model: Model,
    ears: BTreeMap<u32, Ear>,
    awake: BTreeSet<u32>,
    /// As the changes taken so far add up to.
    forwarding: BTreeMap<Prefix, Forwarding>,
    /// Peer ids are never used twice; these are the current ones.
    ids: BTreeMap<u32, u32>,
    /// Peers that have had a session since they are known.
    met: BTreeSet<u32>,
    watched: BTreeMap<NextHop, Option<u32>>,
    /// Next hops are resolved as soon as they are asked for.
    resolves: bool,
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
                stale: BTreeSet::new(),
                awaited: BTreeMap::new(),
                ours: BTreeMap::new(),
                costs: BTreeMap::new(),
                own: Vec::new(),
            },
            ears: BTreeMap::new(),
            awake: BTreeSet::new(),
            forwarding: BTreeMap::new(),
            ids: BTreeMap::new(),
            met: BTreeSet::new(),
            watched: BTreeMap::new(),
            resolves: false,
        }
    }

    fn id(&self, peer: u32) -> PeerId {
        PeerId(self.ids.get(&peer).copied().unwrap_or(9999))
    }

    fn number(&self, id: PeerId) -> u32 {
        *self.ids.iter().find(|(_, at)| **at == id.0).expect("only known peers are woken").0
    }

    fn drop_session(&mut self, peer: u32) {
        self.lose_session(peer, [false; 2]);
    }

    /// The session is over; by family, what it told is kept.
    fn lose_session(&mut self, peer: u32, keep: [bool; 2]) {
        self.model.sessions.remove(&peer);
        for key in self.model.learned.keys().copied().collect::<Vec<_>>() {
            if key.1 == peer {
                self.model.stale.insert(key);
                if !keep[key.0.family().index()] {
                    self.model.forget(key);
                }
            }
        }
        self.model.awaited.retain(|&(from, _), _| from != peer);
        self.model.forget_refused_stale();
        self.ears.remove(&peer);
        self.awake.remove(&peer);
    }

    fn step(&mut self, op: &Op, serial: u32) {
        match op {
            Op::Configure { peer, import, export, mode, client, send } => {
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
                how.send_paths = match send {
                    0 => SendPaths::One,
                    1 | 2 => SendPaths::All,
                    more => SendPaths::Best(*more - 1),
                };
                self.ids.entry(*peer).or_insert(serial);
                self.rib.configure_peer(self.id(*peer), how.clone());
                self.model.peers.insert(*peer, how);
                self.model.forget_refused_stale();
            }
            Op::Remove(peer) => {
                self.rib.remove_peer(self.id(*peer));
                self.drop_session(*peer);
                self.model.peers.remove(peer);
                self.ids.remove(peer);
                self.met.remove(peer);
            }
            Op::Up { peer, v6, own, shared, extended, marks, paths } => {
                let mut with = session(*peer);
                with.negotiated.families = match v6 {
                    0 => vec![Family::Ipv4Unicast],
                    _ => Family::ALL.to_vec(),
                };
                with.negotiated.extended_next_hop = *extended;
                with.negotiated.enhanced_refresh = *marks;
                let both = with.negotiated.families.len() > 1 && paths & 4 == 0;
                with.negotiated.add_paths = AddPaths {
                    receive: [paths & 1 != 0, paths & 1 != 0 && both],
                    send: [paths & 2 != 0, paths & 2 != 0 && both],
                };
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
                    if self.model.sessions.contains_key(peer) {
                        self.drop_session(*peer);
                    }
                    for family in Family::ALL {
                        if !with.negotiated.families.contains(&family) {
                            self.model.forget_stale(*peer, family);
                        }
                    }
                    self.ears.insert(*peer, Ear::new(&how, &with));
                    self.model.sessions.insert(*peer, with);
                    self.met.insert(*peer);
                }
            }
            Op::Down(peer) => {
                self.rib.session_down(self.id(*peer));
                self.drop_session(*peer);
            }
            Op::Lost(peer, keep) => {
                self.rib
                    .session_lost(self.id(*peer), keep.map(|keep| keep.then_some(Stale::Owned)));
                self.lose_session(*peer, *keep);
            }
            Op::EndOfRib(peer, v6) => {
                let family = if *v6 { Family::Ipv6Unicast } else { Family::Ipv4Unicast };
                self.rib.end_of_rib(self.id(*peer), family);
                if self.model.sessions.contains_key(peer) {
                    self.model.forget_stale(*peer, family);
                }
            }
            Op::DropStale(peer, v6) => {
                let family = if *v6 { Family::Ipv6Unicast } else { Family::Ipv4Unicast };
                self.rib.drop_stale(self.id(*peer), family);
                self.model.forget_stale(*peer, family);
            }
            Op::Adopt(peer, place, at) => {
                let (prefix, hop) =
                    (prefix(PREFIXES[usize::from(*place)]), hop(HOPS[usize::from(*at)]));
                let is_possible = prefix.family() == Family::Ipv4Unicast || hop.address().is_ipv6();
                // Before its first session nobody knows the BGP Identifier of a peer, which breaks
                // ties and is told to others; the model takes it to be known.
                if is_possible && self.met.contains(peer) {
                    let adopted = self.rib.adopt(self.id(*peer), prefix, hop, Stale::Owned);
                    assert_eq!(adopted, self.model.adopt(*peer, prefix, hop), "{prefix} via {hop}");
                }
            }
            Op::Learn { peer, announced, withdrawn, hop: at, set } => {
                self.learn(*peer, announced, withdrawn, *at, set);
            }
            Op::Originate(place, med) => {
                let prefix = prefix(PREFIXES[usize::from(*place)]);
                let attributes = Attributes { med: med.then_some(3), ..Attributes::default() };
                self.rib.originate(prefix, attributes.clone(), OwnRoute::Local);
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
                self.model.forget_refused_stale();
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
            Op::Again(peer, v6, begins) => {
                let family = if *v6 { Family::Ipv6Unicast } else { Family::Ipv4Unicast };
                self.tell_again(*peer, family, *begins);
            }
        }
    }

    fn tell_again(&mut self, peer: u32, family: Family, begins: bool) {
        if begins {
            self.rib.refresh_begins(self.id(peer), family);
            let session = self.model.sessions.get(&peer);
            if session.is_some_and(|session| session.negotiated.families.contains(&family)) {
                let keys = self.model.learned.keys().copied();
                let all = keys.filter(|key| key.1 == peer && key.0.family() == family).collect();
                self.model.awaited.insert((peer, family), all);
            }
        } else {
            let gone = self.model.awaited.remove(&(peer, family)).unwrap_or_default();
            assert_eq!(self.rib.refresh_ends(self.id(peer), family), gone.len());
            for key in gone {
                self.model.forget(key);
            }
        }
    }

    fn learn(
        &mut self,
        peer: u32,
        announced: &[(u8, u8)],
        withdrawn: &[(u8, u8)],
        at: u8,
        set: &Set,
    ) {
        let agreed = self.model.sessions.get(&peer).map(|session| session.negotiated.add_paths);
        let known = |places: &[(u8, u8)]| -> BTreeSet<Nlri> {
            let nlri = |&(place, id): &(u8, u8)| {
                let prefix = prefix(PREFIXES[usize::from(place)]);
                let has_id = agreed.is_some_and(|agreed| agreed.receive[prefix.family().index()]);
                Nlri { prefix, path_id: PathId(if has_id { id.into() } else { 0 }) }
            };
            places.iter().map(nlri).collect()
        };
        let announced = known(announced);
        let withdrawn: Vec<Nlri> =
            known(withdrawn).into_iter().filter(|nlri| !announced.contains(nlri)).collect();
        let next_hop = hop(HOPS[usize::from(at)]);
        // The decoder never makes an IPv6 prefix with an IPv4 next hop.
        let announced: Vec<Nlri> = announced
            .into_iter()
            .filter(|nlri| nlri.family() == Family::Ipv4Unicast || next_hop.address().is_ipv6())
            .collect();
        let attributes = attributes(peer, set);
        let mut update = Update { withdrawn: withdrawn.clone(), ..Update::default() };
        for family in Family::ALL {
            let prefixes: Vec<Nlri> =
                announced.iter().copied().filter(|nlri| nlri.family() == family).collect();
            if !prefixes.is_empty() {
                update.announced.push(Announcement { next_hop, prefixes });
                update.attributes = Some(attributes.clone());
            }
        }
        self.rib.learn(self.id(peer), update);
        let Some(session) = self.model.sessions.get(&peer).cloned() else { return };
        for Nlri { prefix, path_id } in withdrawn {
            self.model.forget((prefix, peer, path_id.0));
        }
        for Nlri { prefix, path_id } in announced {
            if session.negotiated.families.contains(&prefix.family()) {
                let key = (prefix, peer, path_id.0);
                self.model.learned.insert(key, (attributes.clone(), next_hop));
                self.model.stale.remove(&key);
                self.model.note_told(key);
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
            let cost = self.resolves.then_some(0);
            assert!(self.watched.insert(hop, cost).is_none(), "{hop} was watched already");
            self.rib.resolve(hop, cost);
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
        for prefix in std::mem::take(&mut ear.bereft) {
            let left = self.model.told_paths(peer, &prefix);
            assert!(left.is_empty(), "peer {peer} was for a moment without a path to {prefix}");
        }
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
        let mut turns = 0;
        while let Some(&peer) = self.awake.iter().next() {
            self.advertise(peer, 500);
            turns += 1;
            assert!(turns < 10_000, "peer {peer} never has everything");
        }
        for (peer, ear) in &self.ears {
            let want: BTreeMap<Prefix, (Attributes, NextHop)> = PREFIXES
                .map(prefix)
                .into_iter()
                .filter_map(|prefix| Some((prefix, self.model.told(*peer, &prefix)?)))
                .collect();
            assert_eq!(ear.told, want, "peer {peer}");
            self.check_paths(*peer, ear);
            let mut shown = BTreeMap::new();
            for family in Family::ALL {
                let page = self.rib.told(self.id(*peer), family, None, 100);
                for row in page.rows {
                    assert!(!row.is_pending, "{} for peer {peer}", row.prefix);
                    if row.path_id.is_none() {
                        shown.insert(row.prefix, ((*row.attributes).clone(), row.next_hop));
                    }
                }
                let counts = self.rib.counts(self.id(*peer), family).unwrap();
                let of = |prefix: &Prefix| prefix.family() == family;
                let told = want.keys().chain(ear.paths.keys().map(|nlri| &nlri.prefix));
                assert_eq!(counts.advertised, told.filter(|prefix| of(prefix)).count());
                let learned = self.model.learned.keys();
                let received = learned.filter(|(prefix, from, _)| of(prefix) && from == peer);
                let received = received.count();
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
        for (peer, family) in
            self.ids.keys().flat_map(|peer| Family::ALL.map(|family| (*peer, family)))
        {
            let of = |&&(prefix, from, _): &&Key| prefix.family() == family && from == peer;
            let stale = self.model.stale.iter().filter(of).count();
            let received = self.model.learned.keys().filter(of).count();
            let counts = self.rib.counts(self.id(peer), family).unwrap();
            assert_eq!((counts.received, counts.stale), (received, stale), "peer {peer} {family}");
            assert_eq!(self.rib.stale(self.id(peer), family).is_some(), stale > 0, "peer {peer}");
            let page = self.rib.page(family, Which::From(self.id(peer)), None, 100);
            assert_eq!(
                page.rows.iter().filter(|row| row.stale.is_some()).count(),
                stale,
                "peer {peer}"
            );
        }
        let totals = self.rib.totals();
        assert_eq!(totals.noted, 0, "everybody has taken all");
        assert_eq!(totals.held_octets, 0, "everybody has taken all");
    }
}

impl Run {
    /// What a peer heard that is told several paths: each once, and as it is shown.
    fn check_paths(&self, peer: u32, ear: &Ear) {
        for prefix in PREFIXES.map(prefix) {
            let heard = ear.paths.iter().filter(|(nlri, _)| nlri.prefix == prefix);
            let sorted = |paths: Vec<(Attributes, NextHop)>| {
                let mut texts: Vec<String> = paths.iter().map(|x| format!("{x:?}")).collect();
                texts.sort();
                texts
            };
            assert_eq!(
                sorted(heard.map(|(_, said)| said.clone()).collect()),
                sorted(self.model.told_paths(peer, &prefix)),
                "{prefix} for peer {peer}"
            );
        }
        let rows = Family::ALL.map(|family| self.rib.told(self.id(peer), family, None, 100).rows);
        let rows = rows.into_iter().flatten().filter_map(|row| {
            let nlri = Nlri { prefix: row.prefix, path_id: row.path_id? };
            Some((nlri, ((*row.attributes).clone(), row.next_hop)))
        });
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), ear.paths, "peer {peer} as shown");
    }
}

proptest! {
    #![proptest_config(Config { cases: 400, ..Config::default() })]

    #[test]
    fn any_schedule_ends_with_what_the_model_says(
        multipath in 1..4_usize,
        is_resolved_late in any::<bool>(),
        ops in prop::collection::vec(op(), 1..150),
        rests in any::<u128>(),
    ) {
        let mut run = Run::new(multipath);
        for peer in 0..PEERS {
            run.step(&Op::Configure { peer, import: 4, export: 4, mode: 4, client: peer == 4, send: 1 }, peer);
            run.step(
                &Op::Up {
                    peer,
                    v6: 1,
                    own: 2,
                    shared: false,
                    extended: false,
                    marks: true,
                    // Of each kind one that is told several paths and one that is not.
                    paths: [3, 0, 1, 0, 3][peer as usize],
                },
                peer,
            );
        }
        run.resolves = !is_resolved_late;
        for (serial, op) in (100..).zip(&ops) {
            run.step(op, serial);
            if (rests >> (serial % 120)) & 15 == 0 {
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
