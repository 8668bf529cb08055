//! The decision process: steps that each remove paths until one is left
//! (RFC 4271 §9.1.2, RFC 4456 §9).

use std::net::IpAddr;

use smallvec::SmallVec;

use super::attr_store::{AttrKey, AttrStore};
use super::next_hop::NextHops;
use super::path::{PathList, Source};
use super::peer::Peers;
use super::settings::PeerId;
use super::view::Reason;

/// A usable path with everything that the steps ask of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place in the list of paths.
    pub(super) place: usize,
    pub(super) source: Source,
    pub(super) key: AttrKey,
    pub(super) cost: u32,
    /// ORIGINATOR_ID, or the identifier of the peer.
    pub(super) router_id: u32,
    /// The peer's address; its id only tells apart peers that share one.
    pub(super) peer: (IpAddr, PeerId),
}

impl Candidate {
    fn is_internal(&self) -> bool {
        matches!(self.source, Source::Internal | Source::Client)
    }
}

/// The paths that are still considered.
pub(super) type Field = SmallVec<[Candidate; 4]>;

type Step = fn(&mut Field);

/// The steps in order. What is left before [`Reason::RouterId`] is equally good and may be
/// used together.
const STEPS: &[(Reason, Step)] = &[
    (Reason::Local, |field| keep_least(field, |x| x.source != Source::Ours)),
    (Reason::LocalPref, |field| keep_least(field, |x| u32::MAX - x.key.local_pref)),
    (Reason::AsPathLength, |field| keep_least(field, |x| x.key.hops)),
    (Reason::Origin, |field| keep_least(field, |x| x.key.origin)),
    (Reason::Med, keep_least_med_of_each_neighbour),
    (Reason::ExternalOverInternal, |field| keep_least(field, Candidate::is_internal)),
    (Reason::IgpCost, |field| keep_least(field, |x| x.cost)),
    (Reason::RouterId, |field| keep_least(field, |x| x.router_id)),
    (Reason::ClusterListLength, |field| keep_least(field, |x| x.key.clusters)),
    (Reason::PeerAddress, |field| keep_least(field, |x| x.peer)),
];

/// How many of [`STEPS`] must not tell paths apart that are used together.
const EQUAL_STEPS: usize = 7;

fn keep_least<T: Ord>(field: &mut Field, of: impl Fn(&Candidate) -> T) {
    if let Some(least) = field.iter().map(&of).min() {
        field.retain(|candidate| of(candidate) == least);
    }
}

/// Removes each path for which another one from the same neighbouring AS has a lower MED.
/// Done for the whole field at once, so that the order of arrival cannot matter.
fn keep_least_med_of_each_neighbour(field: &mut Field) {
    let all: SmallVec<[(u32, u32); 8]> =
        field.iter().map(|x| (x.key.neighbour, x.key.med)).collect();
    field.retain(|x| all.iter().all(|&(asn, med)| asn != x.key.neighbour || med >= x.key.med));
}

/// What the decision process must see beside the paths.
pub(super) struct Judge<'a> {
    pub(super) attributes: &'a AttrStore,
    pub(super) hops: &'a NextHops,
    pub(super) peers: &'a Peers,
    /// The most paths that are used together.
    pub(super) multipath: usize,
}

impl Judge<'_> {
    /// The usable ones of `paths`.
    pub(super) fn field(&self, paths: &PathList) -> Field {
        let candidates = paths.iter().enumerate().filter_map(|(place, path)| {
            let cost = if path.refused { None } else { self.hops.cost(path.hop) }?;
            let key = *self.attributes.key(path.attributes);
            let (identity, peer_router_id) = self.peers.tie_breakers(path.peer);
            let router_id = if key.originator > 0 { key.originator } else { peer_router_id };
            Some(Candidate { place, source: path.source, key, cost, router_id, peer: identity })
        });
        candidates.collect()
    }

    /// Puts the best path and those used together with it in front; how many these are.
    pub(super) fn select(&self, paths: &mut PathList) -> u16 {
        if let [path] = paths.as_slice() {
            return u16::from(!path.refused && self.hops.cost(path.hop).is_some());
        }
        let chosen = choose(self.field(paths), self.multipath);
        for (front, &place) in chosen.iter().enumerate() {
            // What stood at `front` moves to `place`; later entries of `chosen` that meant it
            // were moved before, or are found where an earlier swap has put them.
            let mut place = place;
            for (earlier, &from) in chosen[..front].iter().enumerate() {
                if place == earlier {
                    place = from;
                }
            }
            paths.swap(front, place);
        }
        u16::try_from(chosen.len()).unwrap_or(u16::MAX)
    }

    /// For each of the usable `paths` its place and the step at which it was removed; none
    /// for the best and for those used with it.
    pub(super) fn explain(&self, paths: &PathList) -> Vec<(usize, Option<Reason>)> {
        let mut field = self.field(paths);
        let mut verdicts: Vec<_> = field.iter().map(|x| (x.place, None)).collect();
        let chosen = choose(field.clone(), self.multipath);
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

/// The places of the best path and of those used together with it.
///
/// External and internal paths are never mixed (a step keeps them apart), and external ones
/// must come from the same neighbouring AS as the best; equal length of the AS path follows
/// from the steps.
fn choose(mut field: Field, multipath: usize) -> SmallVec<[usize; 4]> {
    for (_, step) in &STEPS[..EQUAL_STEPS] {
        if field.len() > 1 {
            step(&mut field);
        }
    }
    let mut equal = if multipath > 1 { field.clone() } else { Field::new() };
    for (_, step) in &STEPS[EQUAL_STEPS..] {
        if field.len() > 1 {
            step(&mut field);
        }
    }
    let Some(best) = field.first() else { return SmallVec::new() };
    let mut chosen = SmallVec::from_slice(&[best.place]);
    if best.source != Source::Ours {
        equal.retain(|x| {
            x.place != best.place && (x.is_internal() || x.key.neighbour == best.key.neighbour)
        });
        equal.sort_by_key(|x| (x.router_id, x.key.clusters, x.peer));
        chosen.extend(equal.iter().take(multipath.saturating_sub(1)).map(|x| x.place));
    }
    chosen
}
