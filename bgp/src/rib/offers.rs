//! Numbers for paths, while some peer is told several of a prefix (RFC 7911).
//!
//! What such a peer is told is kept as for all others (see [`super::adj_out`]), but by the number
//! of a path where others have that of a prefix. The number stays with what tells the path apart,
//! the peer that told it and the identifier that it had there, however often the path itself
//! changes; so it can stand on the wire as its Path Identifier. It is given to another one only
//! after nobody believes in it any more.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::path::Path;
use crate::msg::PathId;

/// Says that a path is not usable, or not there any more.
const GONE: u32 = u32::MAX;

/// The numbered paths of a family.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// By the number of their prefix.
    by_prefix: FxHashMap<u32, SmallVec<[Offer; 2]>>,
    /// By number, the prefix; none if it is free.
    prefixes: Vec<Option<u32>>,
    free: Vec<u32>,
    /// Numbers of paths that were gone when they were put here.
    graveyard: Vec<u32>,
    /// How many were left after the last sweep.
    survivors: usize,
    /// So many of a prefix are ranked; the others are usable, in no order.
    depth: usize,
    /// Something was offered.
    has_begun: bool,
}

/// A path and its number.
#[derive(Clone, Copy, Debug)]
struct Offer {
    number: u32,
    /// How many are better; [`GONE`] if it is not usable.
    rank: u32,
    /// Stands in the graveyard.
    buried: bool,
    /// As it was when it was usable last.
    path: Path,
}

/// What has become of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfferChange {
    pub(super) number: u32,
    /// How many were better, and the path; none if it was not usable.
    pub(super) before: Option<(u32, Path)>,
    pub(super) after: Option<(u32, Path)>,
}

impl Offer {
    fn usable(&self) -> Option<(u32, Path)> {
        (self.rank != GONE).then_some((self.rank, self.path))
    }
}

impl Offers {
    /// The Path Identifier that a number stands for on the wire: not zero, which some speakers
    /// take for none at all.
    pub(super) fn path_id(number: u32) -> PathId {
        PathId(number + 1)
    }

    /// The number that an identifier stands for.
    pub(super) fn number(id: PathId) -> Option<u32> {
        id.0.checked_sub(1)
    }

    /// One more than the highest number ever used.
    pub(super) fn bound(&self) -> u32 {
        u32::try_from(self.prefixes.len()).expect("numbers are 32 bits")
    }

    /// How many of a prefix must be ranked.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Makes room for peers that are told `most` of a prefix; whether all must be noted anew.
    /// Who is told all needs no ranks.
    pub(super) fn deepen(&mut self, most: u32) -> bool {
        let depth = if most == u32::MAX { 0 } else { most as usize };
        let is_new = !std::mem::replace(&mut self.has_begun, true);
        let is_deeper = depth > self.depth;
        self.depth = self.depth.max(depth);
        is_new || is_deeper
    }

    /// Whether a path to a prefix has a number still.
    pub(super) fn holds(&self, prefix: u32) -> bool {
        self.by_prefix.contains_key(&prefix)
    }

    /// The prefix that a path with this number leads to, also if it is gone.
    pub(super) fn prefix(&self, number: u32) -> Option<u32> {
        *self.prefixes.get(number as usize)?
    }

    /// How many are better than the path with this number, and the path; none if it is gone.
    pub(super) fn find(&self, number: u32) -> Option<(u32, Path)> {
        let offers = self.by_prefix.get(&self.prefix(number)?)?;
        offers.iter().find(|offer| offer.number == number)?.usable()
    }

    /// The numbers of the paths to a prefix, gone ones included.
    pub(super) fn numbers_of(&self, prefix: u32) -> impl Iterator<Item = u32> + '_ {
        self.by_prefix.get(&prefix).into_iter().flatten().map(|offer| offer.number)
    }

    /// Notes the usable paths of a prefix, the best first; what that changes.
    pub(super) fn note(&mut self, prefix: u32, ranked: &[Path]) -> Vec<OfferChange> {
        let mut changes = Vec::new();
        if let Some(offers) = self.by_prefix.get_mut(&prefix) {
            for offer in offers {
                let before = offer.usable();
                let now = (0..).zip(ranked).find(|(_, path)| path.key() == offer.path.key());
                let after = now.map(|(rank, path)| (rank, path.as_told()));
                if before == after {
                    continue;
                }
                match after {
                    Some((rank, path)) => (offer.rank, offer.path) = (rank, path),
                    None => offer.rank = GONE,
                }
                if after.is_none() && !offer.buried {
                    offer.buried = true;
                    self.graveyard.push(offer.number);
                }
                changes.push(OfferChange { number: offer.number, before, after });
            }
        }
        for (rank, path) in (0..).zip(ranked) {
            let offers = self.by_prefix.entry(prefix).or_default();
            if offers.iter().any(|offer| offer.path.key() == path.key()) {
                continue;
            }
            let number = self.free.pop().unwrap_or_else(|| {
                self.prefixes.push(None);
                u32::try_from(self.prefixes.len() - 1).expect("fewer paths than octets")
            });
            self.prefixes[number as usize] = Some(prefix);
            let path = path.as_told();
            offers.push(Offer { number, rank, buried: false, path });
            changes.push(OfferChange { number, before: None, after: Some((rank, path)) });
        }
        changes
    }

    /// Frees the numbers of paths that are gone and of which `is_told` says that no peer believes
    /// in them; only if there are enough of them for it to be worth it.
    pub(super) fn sweep(&mut self, is_told: impl Fn(u32) -> bool) {
        if self.graveyard.len() < 2 * self.survivors + 256 {
            return;
        }
        for number in std::mem::take(&mut self.graveyard) {
            let Some(prefix) = self.prefixes[number as usize] else { continue };
            let Some(offers) = self.by_prefix.get_mut(&prefix) else { continue };
            let Some(place) = offers.iter().position(|offer| offer.number == number) else {
                continue;
            };
            if offers[place].rank != GONE {
                offers[place].buried = false;
            } else if is_told(number) {
                self.graveyard.push(number);
            } else {
                offers.swap_remove(place);
                if offers.is_empty() {
                    self.by_prefix.remove(&prefix);
                }
                self.prefixes[number as usize] = None;
                self.free.push(number);
            }
        }
        self.survivors = self.graveyard.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::RouteSource;
    use crate::msg::Attributes;
    use crate::rib::attr_store::AttrStore;
    use crate::rib::next_hop::HopId;
    use crate::rib::path::{PathKey, PeerIx, Source};

    fn path(peer: usize, id: u32) -> Path {
        let attributes = AttrStore::default().intern(Attributes::default());
        let key = PathKey { peer: PeerIx::new(peer), id: PathId(id) };
        Path::new(key, (attributes, HopId::NONE), Source::External, RouteSource::Peer)
    }

    #[test]
    fn a_number_stays_with_its_key_and_is_free_only_after_nobody_believes_in_it() {
        let mut offers = Offers::default();
        let numbers = |changes: Vec<OfferChange>| -> Vec<(u32, Option<u32>)> {
            changes.iter().map(|x| (x.number, x.after.map(|(rank, _)| rank))).collect()
        };
        let all = [path(0, 0), path(0, 7), path(1, 0)];
        let first = numbers(offers.note(5, &all));
        assert_eq!(first, [(0, Some(0)), (1, Some(1)), (2, Some(2))]);
        assert_eq!(numbers(offers.note(5, &all)), [], "nothing changed");
        assert_eq!(numbers(offers.note(5, &[path(1, 0)])), [(0, None), (1, None), (2, Some(0))]);
        // It comes back while somebody may still believe in it: the same number.
        let back = numbers(offers.note(5, &[path(0, 7), path(1, 0)]));
        assert_eq!(back, [(1, Some(0)), (2, Some(1))]);
        assert_eq!(offers.find(0), None);
        assert_eq!(offers.prefix(0), Some(5), "its withdrawal needs it");
        // Another path gets another number although one is gone.
        assert_eq!(numbers(offers.note(6, &[path(0, 0)])), [(3, Some(0))]);

        // Enough of them for a sweep to be worth it.
        offers.graveyard.extend([0; 256]);
        offers.sweep(|number| number == 0);
        assert_eq!((offers.prefix(0), offers.holds(5)), (Some(5), true));
        offers.note(5, &[]);
        offers.survivors = 0;
        offers.sweep(|_| false);
        assert!(!offers.holds(5) && offers.holds(6), "{offers:?}");
        let again: Vec<u32> = offers.note(9, &all).iter().map(|change| change.number).collect();
        assert!(again.iter().all(|&number| number < 3), "{again:?}");
    }
}
