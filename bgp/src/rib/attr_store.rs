//! Attribute sets, each distinct one held once, with what the decision process asks of it.

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::msg::{Attributes, Community, Origin};
use crate::net::{Asn, RouterId};

/// The LOCAL_PREF of a path that has none.
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// A set in an [`AttrStore`], or a set and the one that filters made it of; means another once
/// its last holder has released it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AttrId(u32);

/// What decisions need of a set, worked out once when it is interned.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttrKey {
    /// LOCAL_PREF or its default; higher is better.
    pub(super) local_pref: u32,
    /// Hops of the AS_PATH; fewer is better.
    pub(super) hops: u32,
    /// ORIGIN; lower is better.
    pub(super) origin: Origin,
    /// The AS that MEDs are compared within; 0 for a path that begins in our AS.
    pub(super) neighbour: u32,
    /// MED, none counting as the lowest (RFC 4271 §9.1.2.2 c).
    pub(super) med: u32,
    /// Clusters passed; fewer is better (RFC 4456 §9).
    pub(super) clusters: u32,
    /// ORIGINATOR_ID, 0 for none.
    pub(super) originator: u32,
    /// How far it may go.
    pub(super) scope: Scope,
    /// Whoever told it has been away for long (RFC 9494 §4.3).
    pub(super) long_lived: bool,
}

/// How far well-known communities let a path go (RFC 1997); we are in no confederation, so
/// that NO_EXPORT and NO_EXPORT_SUBCONFED mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// To every peer.
    Everyone,
    /// To peers in our AS.
    OurAs,
    /// To nobody.
    Nobody,
}

impl AttrKey {
    fn of(attributes: &Attributes) -> Self {
        let has = |community| attributes.communities.contains(&community);
        let scope = if has(Community::NO_ADVERTISE) {
            Scope::Nobody
        } else if has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED) {
            Scope::OurAs
        } else {
            Scope::Everyone
        };
        Self {
            local_pref: attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            hops: u32::try_from(attributes.as_path.hops()).unwrap_or(u32::MAX),
            origin: attributes.origin,
            neighbour: attributes.as_path.first().map_or(0, Asn::get),
            med: attributes.med.unwrap_or(0),
            clusters: u32::try_from(attributes.cluster_list.len()).unwrap_or(u32::MAX),
            originator: attributes.originator_id.map_or(0, RouterId::get),
            scope,
            long_lived: has(Community::LLGR_STALE),
        }
    }

    /// ORIGINATOR_ID, which stands in for the identifier of the peer (RFC 4456 §9).
    pub(super) fn originator_or(&self, peer: u32) -> u32 {
        if self.originator > 0 { self.originator } else { peer }
    }
}

/// What filters made, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Made {
    now: AttrId,
    before: AttrId,
}

#[derive(Debug)]
struct Slot {
    attributes: Arc<Attributes>,
    key: AttrKey,
    holders: u32,
    /// Grows each time that the slot gets another set.
    generation: u32,
    /// Filters made the set: the slots of it alone and of what came, both held by this one. A
    /// path that filters did not change costs nothing for it, and one that they changed no more
    /// than any other.
    made: Option<Made>,
    hash: u64,
    /// The next slot whose set has the same hash.
    next: Option<u32>,
}

/// All attribute sets in use. Holders count by hand: [`AttrStore::hold`] for each path that
/// is kept, [`AttrStore::release`] for each that goes.
#[derive(Debug, Default)]
pub(super) struct AttrStore {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The first slot of each hash: hashing a set is dear, and a map of the sets themselves
    /// would do it again for all of them whenever it grows.
    by_hash: FxHashMap<u64, u32>,
    /// Slots that are about what filters made.
    derived: usize,
    /// What free slots hold.
    nothing: Arc<Attributes>,
}

impl AttrStore {
    /// The set equal to `attributes`, held once for the caller.
    pub(super) fn intern(&mut self, mut attributes: Attributes) -> AttrId {
        let hash = FxBuildHasher.hash_one(&attributes);
        let first = self.by_hash.get(&hash).copied();
        let mut at = first;
        while let Some(index) = at {
            let slot = &mut self.slots[index as usize];
            if slot.made.is_none() && *slot.attributes == attributes {
                slot.holders += 1;
                return AttrId(index);
            }
            at = slot.next;
        }
        let key = AttrKey::of(&attributes);
        for unknown in &mut attributes.unknown {
            // The value is a part of what was read: kept as it is, it would keep all of that.
            unknown.value = Bytes::copy_from_slice(&unknown.value);
        }
        self.add(Arc::new(attributes), key, hash, None)
    }

    /// The set equal to `attributes` that filters made of `before`, held once for the caller;
    /// `before` itself if they are the same.
    pub(super) fn derive(&mut self, before: AttrId, attributes: Attributes) -> AttrId {
        let now = self.intern(attributes);
        if now == before {
            return now;
        }
        let made = Made { now, before };
        let hash = FxBuildHasher.hash_one(made);
        let mut at = self.by_hash.get(&hash).copied();
        while let Some(index) = at {
            let slot = &mut self.slots[index as usize];
            if slot.made == Some(made) {
                slot.holders += 1;
                self.release(now);
                return AttrId(index);
            }
            at = slot.next;
        }
        self.hold(before);
        self.derived += 1;
        let slot = &self.slots[now.0 as usize];
        self.add(Arc::clone(&slot.attributes), slot.key, hash, Some(made))
    }

    /// A slot for what has none, held once.
    fn add(
        &mut self,
        attributes: Arc<Attributes>,
        key: AttrKey,
        hash: u64,
        made: Option<Made>,
    ) -> AttrId {
        let next = self.by_hash.get(&hash).copied();
        let slot = Slot { attributes, key, holders: 1, generation: 0, made, hash, next };
        let index = match self.free.pop() {
            Some(index) => {
                let place = &mut self.slots[index as usize];
                let generation = place.generation.wrapping_add(1);
                *place = Slot { generation, ..slot };
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer sets than paths")
            }
        };
        self.by_hash.insert(hash, index);
        AttrId(index)
    }

    /// One more holder.
    pub(super) fn hold(&mut self, id: AttrId) {
        self.slots[id.0 as usize].holders += 1;
    }

    /// One holder less; the last one's release forgets the set.
    pub(super) fn release(&mut self, id: AttrId) {
        let slot = &mut self.slots[id.0 as usize];
        slot.holders -= 1;
        if slot.holders == 0 {
            slot.attributes = Arc::clone(&self.nothing);
            let (hash, next, made) = (slot.hash, slot.next.take(), slot.made.take());
            self.unlink(hash, id.0, next);
            self.free.push(id.0);
            if let Some(Made { now, before }) = made {
                self.derived -= 1;
                self.release(now);
                self.release(before);
            }
        }
    }

    /// Takes a slot out of the chain of its hash.
    fn unlink(&mut self, hash: u64, index: u32, next: Option<u32>) {
        let Some(&first) = self.by_hash.get(&hash) else { return };
        if first == index {
            match next {
                Some(next) => self.by_hash.insert(hash, next),
                None => self.by_hash.remove(&hash),
            };
            return;
        }
        let mut at = Some(first);
        while let Some(before) = at {
            let slot = &mut self.slots[before as usize];
            at = slot.next;
            if at == Some(index) {
                slot.next = next;
                return;
            }
        }
    }

    /// What decisions need.
    pub(super) fn key(&self, id: AttrId) -> &AttrKey {
        &self.slots[id.0 as usize].key
    }

    /// The set itself.
    pub(super) fn get(&self, id: AttrId) -> &Arc<Attributes> {
        &self.slots[id.0 as usize].attributes
    }

    /// The set alone, whatever it was made of: equal for equal sets.
    pub(super) fn alone(&self, id: AttrId) -> AttrId {
        self.slots[id.0 as usize].made.map_or(id, |made| made.now)
    }

    /// The set that came, before filters.
    pub(super) fn before(&self, id: AttrId) -> AttrId {
        self.slots[id.0 as usize].made.map_or(id, |made| made.before)
    }

    /// Tells a set from another that had the same id before.
    pub(super) fn generation(&self, id: AttrId) -> u32 {
        self.slots[id.0 as usize].generation
    }

    /// Number of distinct sets.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.derived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_held_once_and_forgotten_with_their_last_holder() {
        let mut store = AttrStore::default();
        let med = |med| Attributes { med: Some(med), ..Attributes::default() };
        let (a, b) = (store.intern(med(1)), store.intern(med(1)));
        assert_eq!((a, store.len()), (b, 1));
        let other = store.intern(med(2));
        assert_ne!(a, other);
        store.release(a);
        assert_eq!(store.get(b).med, Some(1));
        let before = store.generation(b);
        store.release(b);
        assert_eq!(store.len(), 1);
        let reused = store.intern(med(3));
        assert_eq!(reused, a, "the slot is used again");
        assert_ne!(store.generation(reused), before, "but can be told from before");
    }

    #[test]
    fn what_filters_made_goes_with_its_last_holder_and_what_it_was_made_of_with_it() {
        let mut store = AttrStore::default();
        let med = |med| Attributes { med: Some(med), ..Attributes::default() };
        let (one, two) = (store.intern(med(1)), store.intern(med(2)));
        let (a, b) = (store.derive(one, med(9)), store.derive(two, med(9)));
        assert_eq!(store.derive(one, med(9)), a, "held once, counted twice");
        assert_ne!(a, b, "they came differently");
        assert_eq!((store.alone(a), store.before(a), store.before(b)), (store.alone(b), one, two));
        assert_eq!(store.get(a).med, Some(9));
        assert_eq!(store.derive(one, med(1)), one, "nothing was changed");
        assert_eq!((store.alone(one), store.before(one)), (one, one));
        let plain = store.intern(med(9));
        assert_eq!(plain, store.alone(a), "the set itself is one like any other");
        assert_eq!(store.len(), 3);
        for id in [one, two, one, plain, a, b] {
            store.release(id);
        }
        assert_eq!((store.len(), store.get(store.before(a)).med), (2, Some(1)), "a holds on");
        store.release(a);
        assert_eq!(store.len(), 0);
        assert!(store.by_hash.is_empty());
        assert_eq!(store.free.len(), store.slots.len());
    }

    #[test]
    fn sets_with_the_same_hash_are_told_apart_and_leave_in_any_order() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut store = AttrStore::default();
            let ids = [1, 2, 3]
                .map(|med| store.intern(Attributes { med: Some(med), ..Attributes::default() }));
            // No need to find real ones: chain them as if their hashes were one.
            store.by_hash = FxHashMap::from_iter([(9, ids[2].0)]);
            for (slot, next) in store.slots.iter_mut().zip([None, Some(ids[0].0), Some(ids[1].0)]) {
                (slot.hash, slot.next) = (9, next);
            }
            let chain = |store: &AttrStore| {
                let mut at = store.by_hash.get(&9).copied();
                let mut meds = Vec::new();
                while let Some(index) = at {
                    let slot = &store.slots[index as usize];
                    meds.extend(slot.attributes.med);
                    at = slot.next;
                }
                meds
            };
            let mut left = vec![3, 2, 1];
            for place in order {
                assert_eq!(chain(&store), left, "{order:?}");
                store.release(ids[place]);
                left.retain(|&med| med != place as u32 + 1);
            }
            assert!(store.by_hash.is_empty(), "{order:?}");
        }
    }

    #[test]
    fn well_known_communities_limit_how_far_a_path_goes() {
        for (communities, want) in [
            (vec![], Scope::Everyone),
            (vec![Community(0x0001_0002)], Scope::Everyone),
            (vec![Community::NO_EXPORT], Scope::OurAs),
            (vec![Community::NO_EXPORT_SUBCONFED], Scope::OurAs),
            (vec![Community::NO_ADVERTISE], Scope::Nobody),
            (vec![Community::NO_EXPORT, Community::NO_ADVERTISE], Scope::Nobody),
        ] {
            let attributes =
                Attributes { communities: communities.clone(), ..Attributes::default() };
            assert_eq!(AttrKey::of(&attributes).scope, want, "{communities:?}");
        }
    }
}
