//! The prefixes of one family: small numbers for updates, a trie for everything in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use prefix_trie::PrefixMap;
use prefix_trie::map::Entry as MapEntry;

use super::offers::{OfferChange, Offers};
use super::path::{Path, PathList};
use crate::net::{Family, Prefix};

/// A prefix and its paths.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// All paths; those in use first, the best before all.
    pub(super) paths: PathList,
    /// How many of `paths` are in use; none if no path is usable.
    pub(super) selected: u16,
    /// Stands in the list of changes that nobody has taken yet.
    pub(super) changed: bool,
    /// Stands in the list of prefixes without paths.
    pub(super) buried: bool,
}

impl Entry {
    /// The best path.
    pub(super) fn best(&self) -> Option<Path> {
        if self.selected > 0 { self.paths.first().copied() } else { None }
    }

    /// The best path and those used together with it.
    pub(super) fn selection(&self) -> &[Path] {
        &self.paths[..usize::from(self.selected)]
    }
}

/// All prefixes of a family that have paths, and those whose withdrawal somebody still waits
/// for. A prefix keeps its number for as long.
#[derive(Debug)]
pub(super) struct Table {
    index: Index,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Numbers of entries that had no path when they were put here.
    graveyard: Vec<u32>,
    /// How many were left after the last sweep.
    survivors: usize,
    /// Number of paths.
    pub(super) paths: usize,
    /// Numbers of paths, while some peer is told several of a prefix.
    offers: Option<Box<Offers>>,
}

#[derive(Debug)]
enum Index {
    V4(PrefixMap<Key4, u32>, Vec<Key4>),
    V6(PrefixMap<Key6, u32>, Vec<Key6>),
}

/// An IPv4 prefix in eight octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key4(u32, u8);

/// An IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key6([u64; 2], u8);

impl prefix_trie::Prefix for Key4 {
    type R = u32;

    fn repr(&self) -> u32 {
        self.0
    }

    fn prefix_len(&self) -> u8 {
        self.1
    }

    fn from_repr_len(repr: u32, len: u8) -> Self {
        Self(repr, len)
    }
}

impl prefix_trie::Prefix for Key6 {
    type R = u128;

    fn repr(&self) -> u128 {
        (u128::from(self.0[0]) << 64) | u128::from(self.0[1])
    }

    fn prefix_len(&self) -> u8 {
        self.1
    }

    fn from_repr_len(repr: u128, len: u8) -> Self {
        // Both halves are cut out of the whole; nothing is lost.
        Self([(repr >> 64) as u64, repr as u64], len)
    }
}

impl Key4 {
    fn of(address: Ipv4Addr, length: u8) -> Self {
        Self(address.to_bits(), length)
    }

    fn prefix(self) -> Prefix {
        Prefix::v4(Ipv4Addr::from_bits(self.0), self.1).expect("made from a prefix")
    }
}

impl Key6 {
    fn of(address: Ipv6Addr, length: u8) -> Self {
        prefix_trie::Prefix::from_repr_len(address.to_bits(), length)
    }

    fn prefix(self) -> Prefix {
        let bits = prefix_trie::Prefix::repr(&self);
        Prefix::v6(Ipv6Addr::from_bits(bits), self.1).expect("made from a prefix")
    }
}

impl Table {
    /// An empty table of `family`.
    pub(super) fn new(family: Family) -> Self {
        let index = match family {
            Family::Ipv4Unicast => Index::V4(PrefixMap::new(), Vec::new()),
            Family::Ipv6Unicast => Index::V6(PrefixMap::new(), Vec::new()),
        };
        Self {
            index,
            entries: Vec::new(),
            free: Vec::new(),
            graveyard: Vec::new(),
            survivors: 0,
            paths: 0,
            offers: None,
        }
    }

    /// The numbers of paths, while there are any.
    pub(super) fn offers(&self) -> Option<&Offers> {
        self.offers.as_deref()
    }

    /// One more than the highest number in use: of paths, or of prefixes.
    pub(super) fn numbers(&self, by_path: bool) -> u32 {
        if by_path { self.offers().map_or(0, Offers::bound) } else { self.bound() }
    }

    /// How many paths of a prefix must be ranked, if any are to be offered.
    pub(super) fn offer_depth(&self) -> Option<usize> {
        self.offers().map(Offers::depth)
    }

    /// Notes the usable paths of a prefix, the best first; what that changes.
    pub(super) fn offer(&mut self, id: u32, ranked: &[Path]) -> Vec<OfferChange> {
        self.offers.as_mut().map(|offers| offers.note(id, ranked)).unwrap_or_default()
    }

    /// Whether paths are to be offered anew: they have no numbers, or are not ranked as far as
    /// `most` of a prefix.
    pub(super) fn begin_offers(&mut self, most: u32) -> bool {
        self.offers.get_or_insert_default().deepen(most)
    }

    /// Takes the numbers away from paths.
    pub(super) fn end_offers(&mut self) {
        self.offers = None;
    }

    /// Frees numbers of paths that are gone once nobody `is_told` of them any more.
    pub(super) fn sweep_offers(&mut self, is_told: impl Fn(u32) -> bool) {
        if let Some(offers) = &mut self.offers {
            offers.sweep(is_told);
        }
    }

    /// The family of its prefixes.
    pub(super) fn family(&self) -> Family {
        match &self.index {
            Index::V4(..) => Family::Ipv4Unicast,
            Index::V6(..) => Family::Ipv6Unicast,
        }
    }

    /// The number of `prefix`, if it is here.
    pub(super) fn find(&self, prefix: &Prefix) -> Option<u32> {
        match (&self.index, prefix.address()) {
            (Index::V4(map, _), IpAddr::V4(at)) => map.get(&Key4::of(at, prefix.length())),
            (Index::V6(map, _), IpAddr::V6(at)) => map.get(&Key6::of(at, prefix.length())),
            _ => None,
        }
        .copied()
    }

    /// The number of `prefix`, which is added if it is not here. `None` for the other family.
    pub(super) fn obtain(&mut self, prefix: &Prefix) -> Option<u32> {
        let id = match self.free.last() {
            Some(&id) => id,
            None => u32::try_from(self.entries.len()).expect("fewer prefixes than octets"),
        };
        match (&mut self.index, prefix.address()) {
            (Index::V4(map, keys), IpAddr::V4(at)) => {
                let key = Key4::of(at, prefix.length());
                match map.entry(key) {
                    MapEntry::Occupied(there) => return Some(*there.get()),
                    MapEntry::Vacant(place) => _ = place.insert(id),
                }
                put(keys, id, key);
            }
            (Index::V6(map, keys), IpAddr::V6(at)) => {
                let key = Key6::of(at, prefix.length());
                match map.entry(key) {
                    MapEntry::Occupied(there) => return Some(*there.get()),
                    MapEntry::Vacant(place) => _ = place.insert(id),
                }
                put(keys, id, key);
            }
            _ => return None,
        }
        if self.free.pop().is_none() {
            self.entries.push(Entry::default());
        }
        Some(id)
    }

    /// The prefix of a number.
    pub(super) fn prefix(&self, id: u32) -> Prefix {
        match &self.index {
            Index::V4(_, keys) => keys[id as usize].prefix(),
            Index::V6(_, keys) => keys[id as usize].prefix(),
        }
    }

    /// The paths of a number.
    pub(super) fn entry(&self, id: u32) -> &Entry {
        &self.entries[id as usize]
    }

    /// The paths of a number, to be changed.
    pub(super) fn entry_mut(&mut self, id: u32) -> &mut Entry {
        &mut self.entries[id as usize]
    }

    /// One more than the highest number ever used.
    pub(super) fn bound(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("numbers are 32 bits")
    }

    /// Number of prefixes that have a number.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Puts a prefix that has lost its last path on the list of those to be forgotten.
    pub(super) fn bury(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        if !entry.buried {
            entry.buried = true;
            self.graveyard.push(id);
        }
    }

    /// Whether enough prefixes lost their paths for a [`Table::sweep`] to be worth it.
    pub(super) fn wants_sweep(&self) -> bool {
        self.graveyard.len() >= 2 * self.survivors + 256
    }

    /// Forgets prefixes without paths for which nobody waits: no change to be taken, and
    /// `is_told` says of none that a peer still believes in it.
    pub(super) fn sweep(&mut self, is_told: impl Fn(u32) -> bool) {
        for id in std::mem::take(&mut self.graveyard) {
            let entry = &mut self.entries[id as usize];
            if !entry.paths.is_empty() {
                entry.buried = false;
            } else if entry.changed
                || is_told(id)
                || self.offers.as_ref().is_some_and(|offers| offers.holds(id))
            {
                self.graveyard.push(id);
            } else {
                entry.buried = false;
                entry.paths = PathList::new();
                match &mut self.index {
                    Index::V4(map, keys) => map.remove(&keys[id as usize]),
                    Index::V6(map, keys) => map.remove(&keys[id as usize]),
                };
                self.free.push(id);
            }
        }
        self.survivors = self.graveyard.len();
    }

    /// Numbers in the order of their prefixes, from the first one behind `after`.
    pub(super) fn from(&self, after: Option<&Prefix>) -> Box<dyn Iterator<Item = u32> + '_> {
        match (&self.index, after.map(|prefix| (prefix.address(), prefix.length()))) {
            (Index::V4(map, _), Some((IpAddr::V4(at), length))) => {
                Box::new(map.iter_from(&Key4::of(at, length), false).map(|(_, &id)| id))
            }
            (Index::V6(map, _), Some((IpAddr::V6(at), length))) => {
                Box::new(map.iter_from(&Key6::of(at, length), false).map(|(_, &id)| id))
            }
            (Index::V4(map, _), None) => Box::new(map.values().copied()),
            (Index::V6(map, _), None) => Box::new(map.values().copied()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Numbers of the prefixes that `address` lies in, shortest first.
    pub(super) fn covering(&self, address: IpAddr) -> Vec<u32> {
        match (&self.index, address) {
            (Index::V4(map, _), IpAddr::V4(at)) => {
                map.cover_values(&Key4::of(at, 32)).copied().collect()
            }
            (Index::V6(map, _), IpAddr::V6(at)) => {
                map.cover_values(&Key6::of(at, 128)).copied().collect()
            }
            _ => Vec::new(),
        }
    }
}

fn put<K>(keys: &mut Vec<K>, id: u32, key: K) {
    match keys.get_mut(id as usize) {
        Some(place) => *place = key,
        None => keys.push(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_come_in_order_a_shorter_one_before_those_inside_it() {
        for (family, texts) in [
            (Family::Ipv4Unicast, ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "10.1.0.0/16"]),
            (Family::Ipv6Unicast, ["::/0", "fd00::/8", "fd00::/48", "fd00:1::/48"]),
        ] {
            let mut table = Table::new(family);
            for text in texts.iter().rev() {
                table.obtain(&prefix(text)).unwrap();
            }
            let names = |after: Option<&str>| -> Vec<String> {
                let after = after.map(prefix);
                table.from(after.as_ref()).map(|id| table.prefix(id).to_string()).collect()
            };
            assert_eq!(names(None), texts);
            assert_eq!(names(Some(texts[1])), texts[2..]);
        }
    }

    #[test]
    fn the_other_family_has_no_place_in_a_table() {
        let mut table = Table::new(Family::Ipv4Unicast);
        assert_eq!(table.obtain(&prefix("fd00::/8")), None);
        assert_eq!((table.len(), table.covering("fd00::1".parse().unwrap())), (0, vec![]));
    }

    #[test]
    fn a_number_is_used_again_only_after_nobody_waits_for_it() {
        let mut table = Table::new(Family::Ipv4Unicast);
        let id = table.obtain(&prefix("10.0.0.0/8")).unwrap();
        table.bury(id);
        table.sweep(|_| true);
        assert_eq!(table.find(&prefix("10.0.0.0/8")), Some(id));
        table.sweep(|_| false);
        assert_eq!((table.find(&prefix("10.0.0.0/8")), table.len()), (None, 0));
        assert_eq!(table.obtain(&prefix("11.0.0.0/8")), Some(id));
        assert_eq!(table.prefix(id), prefix("11.0.0.0/8"));
    }
}
