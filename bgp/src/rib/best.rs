//! The decision process: steps that each remove paths until one is left
//! (RFC 4271 §9.1.2, RFC 4456 §9).

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::attr_store::{AttrKey, AttrStore};
use super::next_hop::{HopId, NextHops};
use super::path::{Path, PathList, Source};
use super::peer::Peers;
use super::settings::{PeerId, RibSettings, Stale};
use super::view::Reason;
use crate::msg::PathId;

/// A usable path and where to find what the steps ask of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    key: &'a AttrKey,
    peer: &'a TieBreakers,
    cost: u32,
    /// Where it leads.
    hop: HopId,
    /// Which of its peer's paths it is.
    id: PathId,
    /// Its place in the list of paths.
    place: u32,
    source: Source,
    /// How far it is stale; less is better.
    stale: Option<Stale>,
}

/// What the last steps ask of the peer that a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TieBreakers {
    /// Its BGP Identifier.
    pub(super) router_id: u32,
    pub(super) address: IpAddr,
    /// Tells apart peers that share an address.
    pub(super) id: PeerId,
}

impl TieBreakers {
    /// Those of our own routes, which are never asked: there is one for a prefix.
    pub(super) const OURS: TieBreakers =
        TieBreakers { router_id: 0, address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), id: PeerId(0) };
}

impl Candidate<'_> {
    /// What [`Reason::RouterId`] compares.
    fn router_id(&self) -> u32 {
        self.key.originator_or(self.peer.router_id)
    }
}

/// How far a path counts as stale: during a restart not at all, so that no packet takes another
/// way for it; and one that was told as the last choice is one (RFC 9494 §4.3).
fn rank(stale: Option<Stale>, key: &AttrKey) -> Option<Stale> {
    if key.long_lived {
        Some(Stale::LongLived)
    } else {
        stale.filter(|why| *why != Stale::Restarting)
    }
}

/// The paths that are still considered.
pub(super) type Field<'a> = SmallVec<[Candidate<'a>; 8]>;

type Step = fn(&mut Field<'_>);

/// The steps in order. What is left before [`Reason::RouterId`] is equally good and may be
/// used together.
const STEPS: &[(Reason, Step)] = &[
    (Reason::Local, |field| keep_least(field, |x| x.source != Source::Ours)),
    (Reason::Stale, |field| keep_least(field, |x| x.stale)),
    (Reason::LocalPref, |field| keep_least(field, |x| u32::MAX - x.key.local_pref)),
    (Reason::AsPathLength, |field| keep_least(field, |x| x.key.hops)),
    (Reason::Origin, |field| keep_least(field, |x| x.key.origin)),
    (Reason::Med, keep_least_med_of_each_neighbour),
    (Reason::ExternalOverInternal, |field| keep_least(field, |x| x.source.is_internal())),
    (Reason::IgpCost, |field| keep_least(field, |x| x.cost)),
    (Reason::RouterId, |field| keep_least(field, |x| x.key.originator_or(x.peer.router_id))),
    (Reason::ClusterListLength, |field| keep_least(field, |x| x.key.clusters)),
    (Reason::PeerAddress, |field| keep_least(field, |x| (x.peer.address, x.peer.id))),
    (Reason::PathId, |field| keep_least(field, |x| x.id)),
];

/// How many of [`STEPS`] must not tell paths apart that are used together.
const EQUAL_STEPS: usize = 8;

fn keep_least<'a, T: Ord>(field: &mut Field<'a>, of: impl Fn(&Candidate<'a>) -> T) {
    if let Some(least) = field.iter().map(&of).min() {
        field.retain(|candidate| of(candidate) == least);
    }
}

/// Removes each path for which another one from the same neighbouring AS has a lower MED.
/// Done for the whole field at once, so that the order of arrival cannot matter.
fn keep_least_med_of_each_neighbour(field: &mut Field<'_>) {
    let mut all: SmallVec<[(u32, u32); 8]> =
        field.iter().map(|x| (x.key.neighbour, x.key.med)).collect();
    // Sorted, since a peer may tell very many paths of one prefix: the first of a neighbour has
    // its least.
    all.sort_unstable();
    field.retain(|x| {
        let first = all.partition_point(|&(asn, _)| asn < x.key.neighbour);
        all.get(first).is_none_or(|&(_, med)| med >= x.key.med)
    });
}

/// What the decision process must see beside the paths.
pub(super) struct Judge<'a> {
    pub(super) attributes: &'a AttrStore,
    pub(super) hops: &'a NextHops,
    pub(super) peers: &'a Peers,
    pub(super) together: Together,
}

/// Which paths are used together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Together {
    /// The most of them.
    most: usize,
    /// External ones may come from different neighbouring ASes.
    any_neighbour: bool,
}

impl From<&RibSettings> for Together {
    fn from(settings: &RibSettings) -> Self {
        Self { most: settings.multipath, any_neighbour: settings.as_path_relax }
    }
}

impl Judge<'_> {
    /// The usable ones of `paths`.
    fn field(&self, paths: &PathList) -> Field<'_> {
        let candidates = (0..).zip(paths).filter_map(|(place, path)| {
            let cost = self.cost(path)?;
            Some(Candidate {
                key: self.attributes.key(path.attributes),
                peer: self.peers.tie_breakers(path.peer),
                cost,
                hop: path.hop,
                id: path.id,
                place,
                source: path.source(),
                stale: rank(path.stale(), self.attributes.key(path.attributes)),
            })
        });
        candidates.collect()
    }

    /// How far a path leads; `None` if it cannot be used. One that its owner keeps is used only
    /// while its next hop is on-link: nobody would tell us of a change on a longer way.
    fn cost(&self, path: &Path) -> Option<u32> {
        let cost = if path.is_refused() { None } else { self.hops.cost(path.hop) }?;
        (path.stale() != Some(Stale::Owned) || cost == 0 || !self.hops.is_tracked()).then_some(cost)
    }

    /// Puts the best path and those used together with it in front; how many these are.
    pub(super) fn select(&self, paths: &mut PathList) -> u16 {
        if let [path] = paths.as_slice() {
            return u16::from(self.cost(path).is_some());
        }
        let chosen = choose(self.field(paths), self.together);
        to_front(paths, &chosen);
        u16::try_from(chosen.len()).unwrap_or(u16::MAX)
    }

    /// The usable ones of `paths`: the best, the best without that, and so on as far as `depth`,
    /// then the others in any order.
    pub(super) fn rank(&self, paths: &PathList, depth: usize) -> SmallVec<[Path; 4]> {
        let mut field = self.field(paths);
        let mut ranked: SmallVec<[u32; 8]> = SmallVec::new();
        while ranked.len() < depth && field.len() > 1 {
            let best = choose(field.clone(), Together { most: 1, any_neighbour: false });
            field.retain(|x| !best.contains(&x.place));
            ranked.extend(best);
        }
        ranked.extend(field.iter().map(|x| x.place));
        ranked.iter().map(|&place| paths[place as usize]).collect()
    }

    /// For each of the usable `paths` its place and the step at which it was removed; none
    /// for the best and for those used with it.
    pub(super) fn explain(&self, paths: &PathList) -> Vec<(u32, Option<Reason>)> {
        let mut field = self.field(paths);
        let mut verdicts: Vec<_> = field.iter().map(|x| (x.place, None)).collect();
        let chosen = choose(field.clone(), self.together);
        for &(reason, step) in STEPS {
            step(&mut field);
            for (place, verdict) in &mut verdicts {
                let removed = !field.iter().any(|x| x.place == *place);
                if removed && verdict.is_none() && !chosen.contains(place) {
                    *verdict = Some(reason);
                }
            }
        }
        verdicts
    }
}

/// Puts what stands at these places in front, in their order.
fn to_front<T>(list: &mut [T], places: &[u32]) {
    // Where what stood in front was swapped to.
    let mut swapped: SmallVec<[usize; 8]> = SmallVec::new();
    for (front, &place) in places.iter().enumerate() {
        let mut place = place as usize;
        for (earlier, &to) in swapped.iter().enumerate() {
            if place == earlier {
                place = to;
            }
        }
        list.swap(front, place);
        swapped.push(place);
    }
}

/// The places of the best path and of those used together with it.
///
/// External and internal paths are never mixed (a step keeps them apart), and external ones
/// must come from the same neighbouring AS as the best unless any will do; equal length of the
/// AS path follows from the steps.
fn choose(mut field: Field<'_>, together: Together) -> SmallVec<[u32; 8]> {
    for (_, step) in &STEPS[..EQUAL_STEPS] {
        if field.len() > 1 {
            step(&mut field);
        }
    }
    let mut equal = if together.most > 1 { field.clone() } else { Field::new() };
    for (_, step) in &STEPS[EQUAL_STEPS..] {
        if field.len() > 1 {
            step(&mut field);
        }
    }
    let Some(best) = field.first() else { return SmallVec::new() };
    let mut chosen = SmallVec::from_slice(&[best.place]);
    if best.source != Source::Ours {
        equal.retain(|x| {
            x.place != best.place
                && (together.any_neighbour
                    || x.source.is_internal()
                    || x.key.neighbour == best.key.neighbour)
        });
        equal.sort_by_key(|x| (x.router_id(), x.key.clusters, x.peer.address, x.peer.id, x.id));
        // Several peers, or one that tells several paths, may name the same way.
        let mut hops: SmallVec<[HopId; 8]> = SmallVec::from_slice(&[best.hop]);
        for candidate in equal {
            if chosen.len() >= together.most {
                break;
            }
            if !hops.contains(&candidate.hop) {
                hops.push(candidate.hop);
                chosen.push(candidate.place);
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
    use proptest::{prop_assert_eq, proptest};

    use super::*;
    use crate::msg::Origin;
    use crate::rib::attr_store::Scope;

    /// A candidate that owns what it refers to, to be changed.
    #[derive(Clone, Copy, Debug)]
    struct Contender {
        key: AttrKey,
        peer: TieBreakers,
        cost: u32,
        hop: HopId,
        id: PathId,
        source: Source,
        stale: Option<Stale>,
    }

    /// Numbered by its peer; like any other until a test changes it.
    fn candidate(number: u32) -> Contender {
        Contender {
            key: AttrKey {
                local_pref: 100,
                hops: 2,
                origin: Origin::Igp,
                neighbour: 65001,
                med: 0,
                clusters: 0,
                originator: 0,
                scope: Scope::Everyone,
                long_lived: false,
            },
            peer: TieBreakers {
                router_id: 7,
                address: Ipv4Addr::from_bits(0x0A00_0000 + number).into(),
                id: PeerId(number),
            },
            cost: 10,
            hop: HopId::numbered(number),
            id: PathId(0),
            source: Source::External,
            stale: None,
        }
    }

    fn with(number: u32, change: impl Fn(&mut Contender)) -> Contender {
        let mut candidate = candidate(number);
        change(&mut candidate);
        candidate
    }

    fn field(contenders: &[Contender]) -> Field<'_> {
        let candidates = (0..).zip(contenders).map(|(place, x)| Candidate {
            key: &x.key,
            peer: &x.peer,
            cost: x.cost,
            hop: x.hop,
            id: x.id,
            place,
            source: x.source,
            stale: x.stale,
        });
        candidates.collect()
    }

    #[test]
    fn places_come_to_the_front_in_their_order_whatever_that_is() {
        for count in 0..=5_u32 {
            let all: Vec<u32> = (0..count).collect();
            // Every choice of places in every order.
            let mut orders: Vec<Vec<u32>> = vec![vec![]];
            for order in 0.. {
                let Some(order) = orders.get(order).cloned() else { break };
                let more = all.iter().filter(|place| !order.contains(place));
                orders.extend(more.map(|place| [&order[..], &[*place]].concat()));
            }
            for order in orders {
                let mut list = all.clone();
                to_front(&mut list, &order);
                assert_eq!(list[..order.len()], order, "of {count}");
                list.sort_unstable();
                assert_eq!(list, all);
            }
        }
    }

    /// Which peers' paths are used.
    fn chosen(contenders: &[Contender], multipath: usize) -> Vec<u32> {
        chosen_of(contenders, Together { most: multipath, any_neighbour: false })
    }

    fn chosen_of(contenders: &[Contender], together: Together) -> Vec<u32> {
        let places = choose(field(contenders), together);
        places.iter().map(|&place| contenders[place as usize].peer.id.0).collect()
    }

    /// The step that leaves one, and which.
    fn decide(contenders: &[Contender]) -> (Option<Reason>, u32) {
        let mut field = field(contenders);
        for &(reason, step) in STEPS {
            step(&mut field);
            if let [winner] = field.as_slice() {
                return (Some(reason), winner.peer.id.0);
            }
        }
        (None, field.len() as u32)
    }

    #[test]
    fn each_step_decides_where_those_before_do_not() {
        type Change = fn(&mut Contender);
        let rows: [(Reason, Change); 11] = [
            (Reason::Local, |x| x.source = Source::Ours),
            (Reason::Stale, |x| x.stale = None),
            (Reason::LocalPref, |x| x.key.local_pref = 101),
            (Reason::AsPathLength, |x| x.key.hops = 1),
            (Reason::Origin, |x| x.key.origin = Origin::Igp),
            (Reason::Med, |x| x.key.med = 4),
            (Reason::ExternalOverInternal, |x| x.source = Source::External),
            (Reason::IgpCost, |x| x.cost = 9),
            (Reason::RouterId, |x| x.peer.router_id = 6),
            (Reason::ClusterListLength, |x| x.key.clusters = 1),
            (Reason::PeerAddress, |x| x.peer.address = Ipv4Addr::from_bits(1).into()),
        ];
        // Every later step speaks for the other one, and is not asked.
        for (index, (reason, better)) in rows.iter().enumerate() {
            let plain = |number| {
                with(number, |x| {
                    x.source = Source::Internal;
                    x.stale = Some(Stale::Owned);
                    x.key.origin = Origin::Incomplete;
                    x.key.med = 5;
                    x.key.clusters = 2;
                })
            };
            let mut winner = plain(2);
            better(&mut winner);
            let mut loser = plain(1);
            for (_, better) in &rows[index + 1..] {
                better(&mut loser);
            }
            assert_eq!(decide(&[loser, winner]), (Some(*reason), 2), "{reason:?}");
            assert_eq!(decide(&[winner, loser]), (Some(*reason), 2), "{reason:?}");
        }
    }

    #[test]
    fn paths_of_one_peer_differ_in_their_identifiers_at_last_and_are_used_together() {
        let path = |id, hop| with(1, |x| (x.id, x.hop) = (PathId(id), HopId::numbered(hop)));
        let all = [path(9, 1), path(0, 2), path(3, 1), path(4, 3)];
        let mut left = field(&all);
        let decided = STEPS.iter().find(|(_, step)| {
            step(&mut left);
            left.len() == 1
        });
        assert_eq!((decided.unwrap().0, left[0].place), (Reason::PathId, 1));
        // Two that name the same way count once.
        for (most, want) in [(1, &[1][..]), (2, &[1, 2]), (3, &[1, 2, 3]), (8, &[1, 2, 3])] {
            let together = Together { most, any_neighbour: false };
            assert_eq!(choose(field(&all), together).as_slice(), want, "{most}");
        }
    }

    #[test]
    fn med_is_compared_within_a_neighbouring_as_only_and_none_is_the_lowest() {
        let path = |number, neighbour, med| {
            with(number, |x| {
                x.key.neighbour = neighbour;
                x.key.med = med;
                x.peer.router_id = number;
            })
        };
        for (field, want) in [
            (vec![path(1, 65001, 9), path(2, 65002, 0)], (Reason::RouterId, 1)),
            (vec![path(1, 65001, 9), path(2, 65001, 0)], (Reason::Med, 2)),
            // Compared pair by pair in the order of arrival, the second would win here.
            (vec![path(1, 65001, 9), path(2, 65002, 5), path(3, 65001, 1)], (Reason::RouterId, 2)),
            (vec![path(3, 65001, 1), path(1, 65001, 9), path(4, 65002, 5)], (Reason::RouterId, 3)),
        ] {
            assert_eq!(decide(&field), (Some(want.0), want.1), "{field:?}");
        }
    }

    #[test]
    fn paths_are_used_together_that_differ_in_the_last_steps_only() {
        type Change = fn(&mut Contender);
        let rows: [(&str, Change, bool); 9] = [
            ("stale", |x| x.stale = Some(Stale::Owned), false),
            ("identifier", |x| x.peer.router_id = 8, true),
            ("clusters", |x| x.key.clusters = 1, true),
            ("address", |_| {}, true),
            ("cost", |x| x.cost = 11, false),
            ("MED", |x| x.key.med = 1, false),
            ("internal", |x| x.source = Source::Internal, false),
            ("neighbouring AS", |x| x.key.neighbour = 65002, false),
            ("length", |x| x.key.hops = 3, false),
        ];
        for (what, change, want) in rows {
            let field = [candidate(1), with(2, change)];
            assert_eq!(chosen(&field, 1), [1], "{what}");
            let chosen = chosen(&field, 8);
            assert_eq!(chosen == [1, 2], want, "{what}: {chosen:?}");
        }
        let internal = |number, neighbour| {
            with(number, |x| {
                x.source = Source::Internal;
                x.key.neighbour = neighbour;
            })
        };
        let field = [internal(1, 65001), internal(2, 65002)];
        assert_eq!(chosen(&field, 8), [1, 2], "inside our AS any neighbour will do");
        let field: Vec<Contender> = (1..=9).map(candidate).collect();
        assert_eq!(chosen(&field, 3), [1, 2, 3], "no more than allowed");
    }

    #[test]
    fn external_paths_of_any_neighbour_are_used_together_where_that_is_asked_for() {
        let relaxed = Together { most: 8, any_neighbour: true };
        let from = |number, neighbour| with(number, |x| x.key.neighbour = neighbour);
        let internal = with(4, |x| x.source = Source::Internal);
        let longer = with(5, |x| (x.key.hops, x.key.neighbour) = (3, 65005));
        // Compared with its own neighbour only.
        let worse_med = with(6, |x| (x.key.med, x.key.neighbour) = (9, 65002));
        let other_med = with(7, |x| (x.key.med, x.key.neighbour) = (9, 65007));
        let field = [from(1, 65001), from(2, 65002), internal, longer, worse_med, other_med];
        assert_eq!(chosen_of(&field, relaxed), [1, 2, 7]);
        assert_eq!(chosen(&field, 8), [1]);
        assert_eq!(chosen_of(&field, Together { most: 2, ..relaxed }), [1, 2]);
    }

    fn any_candidate() -> impl Strategy<Value = Contender> {
        let source = prop_oneof![Just(Source::External), Just(Source::Internal)];
        let key = (100..102_u32, 1..3_u32, 65001..65004_u32, 0..3_u32, 0..2_u32);
        (source, key, 1..3_u32, 1..4_u32).prop_map(|(source, key, cost, router_id)| {
            with(0, |x| {
                x.source = source;
                (x.key.local_pref, x.key.hops, x.key.neighbour, x.key.med, x.key.clusters) = key;
                x.cost = cost;
                x.peer.router_id = router_id;
            })
        })
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_never_matters(
            field in prop::collection::vec(any_candidate(), 1..7),
            keys in prop::collection::vec(any::<u32>(), 7),
            multipath in 1..4_usize,
        ) {
            let field: Vec<Contender> = (1..)
                .zip(field)
                .map(|(number, x)| {
                    let peer = TieBreakers { router_id: x.peer.router_id, ..candidate(number).peer };
                    Contender { peer, ..x }
                })
                .collect();
            let mut shuffled: Vec<(u32, Contender)> = keys.into_iter().zip(field.clone()).collect();
            shuffled.sort_by_key(|&(key, _)| key);
            let shuffled: Vec<Contender> = shuffled.into_iter().map(|(_, x)| x).collect();
            prop_assert_eq!(chosen(&field, multipath), chosen(&shuffled, multipath));
        }
    }
}
