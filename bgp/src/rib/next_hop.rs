//! The next hops that paths point at, each held once, and how far each is.

use rustc_hash::FxHashMap;

use crate::msg::NextHop;

/// A next hop in [`NextHops`]; means another once its last holder has released it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HopId(u32);

impl HopId {
    /// No next hop: the path is our own.
    pub(super) const NONE: HopId = HopId(u32::MAX);

    /// Any next hop, for tests that look at nothing but whether two are the same.
    #[cfg(test)]
    pub(super) const fn numbered(number: u32) -> Self {
        Self(number)
    }
}

#[derive(Debug)]
struct Slot {
    hop: NextHop,
    /// Paths that point at it, refused ones included.
    holders: u32,
    /// Paths that could be used if it is resolved.
    users: u32,
    cost: Option<u32>,
    /// Whether the resolver was told of it.
    watched: bool,
    /// Whether it waits in `news`.
    queued: bool,
    /// Whether its cost changed since the last [`NextHops::take_moved`].
    moved: bool,
}

/// All next hops in use.
///
/// There is no index from a next hop to its prefixes: a changed cost is noted here, and one
/// walk over the table, at the next time that somebody wants results, re-decides the prefixes
/// of all next hops that changed since. An index would cost every prefix memory to save a
/// walk that takes 10 ns a prefix.
#[derive(Debug)]
pub(super) struct NextHops {
    tracked: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_value: FxHashMap<NextHop, u32>,
    news: Vec<u32>,
    moved: bool,
}

impl NextHops {
    /// None yet. Where they are not `tracked`, each counts as near.
    pub(super) fn new(tracked: bool) -> Self {
        Self {
            tracked,
            slots: Vec::new(),
            free: Vec::new(),
            by_value: FxHashMap::default(),
            news: Vec::new(),
            moved: false,
        }
    }

    /// The id of `hop`, held once for the caller.
    pub(super) fn intern(&mut self, hop: NextHop) -> HopId {
        let index = match self.by_value.get(&hop) {
            Some(&index) => index,
            None => {
                let slot = Slot {
                    hop,
                    holders: 0,
                    users: 0,
                    cost: None,
                    watched: false,
                    queued: false,
                    moved: false,
                };
                let index = match self.free.pop() {
                    Some(index) => {
                        let queued = self.slots[index as usize].queued;
                        self.slots[index as usize] = Slot { queued, ..slot };
                        index
                    }
                    None => {
                        self.slots.push(slot);
                        u32::try_from(self.slots.len() - 1).expect("fewer next hops than paths")
                    }
                };
                self.by_value.insert(hop, index);
                index
            }
        };
        self.slots[index as usize].holders += 1;
        HopId(index)
    }

    /// One more path points there.
    pub(super) fn hold(&mut self, id: HopId) {
        if id != HopId::NONE {
            self.slots[id.0 as usize].holders += 1;
        }
    }

    /// One path less points there.
    pub(super) fn release(&mut self, id: HopId) {
        if id == HopId::NONE {
            return;
        }
        let slot = &mut self.slots[id.0 as usize];
        slot.holders -= 1;
        if slot.holders == 0 && !slot.watched {
            self.forget(id.0);
        }
    }

    /// One more path would use it.
    pub(super) fn begin_use(&mut self, id: HopId) {
        if id != HopId::NONE {
            self.slots[id.0 as usize].users += 1;
            self.queue_if(id, 1);
        }
    }

    /// One path less would use it.
    pub(super) fn end_use(&mut self, id: HopId) {
        if id != HopId::NONE {
            self.slots[id.0 as usize].users -= 1;
            self.queue_if(id, 0);
        }
    }

    fn queue_if(&mut self, id: HopId, users: u32) {
        let slot = &mut self.slots[id.0 as usize];
        if self.tracked && slot.users == users && !slot.queued {
            slot.queued = true;
            self.news.push(id.0);
        }
    }

    fn forget(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.cost = None;
        slot.watched = false;
        self.by_value.remove(&slot.hop);
        self.free.push(index);
    }

    /// Next hops that came into use, and those that fell out of use, since the last call.
    pub(super) fn take_news(&mut self) -> (Vec<NextHop>, Vec<NextHop>) {
        let (mut fresh, mut gone) = (Vec::new(), Vec::new());
        for index in std::mem::take(&mut self.news) {
            let slot = &mut self.slots[index as usize];
            slot.queued = false;
            if slot.users > 0 && !slot.watched {
                slot.watched = true;
                fresh.push(slot.hop);
            } else if slot.users == 0 && slot.watched {
                slot.watched = false;
                slot.cost = None;
                gone.push(slot.hop);
                if slot.holders == 0 {
                    self.forget(index);
                }
            }
        }
        (fresh, gone)
    }

    /// Whether some came into use that nobody was told of.
    pub(super) fn has_fresh(&self) -> bool {
        let mut slots = self.news.iter().map(|&index| &self.slots[index as usize]);
        slots.any(|slot| slot.users > 0 && !slot.watched)
    }

    /// Notes how far `hop` is; unknown ones are passed over.
    pub(super) fn resolve(&mut self, hop: NextHop, cost: Option<u32>) {
        let Some(&index) = self.by_value.get(&hop) else { return };
        let slot = &mut self.slots[index as usize];
        if slot.cost != cost {
            slot.cost = cost;
            slot.moved = true;
            self.moved = true;
        }
    }

    /// Whether next hops must be resolved before they count.
    pub(super) fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// Whether some cost changed since the last [`NextHops::take_moved`].
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Which next hops changed their cost, by place; the notes are then gone.
    pub(super) fn take_moved(&mut self) -> Moved {
        self.moved = false;
        Moved(self.slots.iter_mut().map(|slot| std::mem::take(&mut slot.moved)).collect())
    }

    /// How far it is; `None` if paths that point there cannot be used.
    pub(super) fn cost(&self, id: HopId) -> Option<u32> {
        if id == HopId::NONE {
            return Some(0);
        }
        let cost = self.slots[id.0 as usize].cost;
        if self.tracked { cost } else { Some(cost.unwrap_or(0)) }
    }

    /// The next hop itself; `None` for [`HopId::NONE`].
    pub(super) fn get(&self, id: HopId) -> Option<NextHop> {
        self.slots.get(id.0 as usize).map(|slot| slot.hop)
    }

    /// Number of distinct next hops.
    pub(super) fn len(&self) -> usize {
        self.by_value.len()
    }
}

/// The next hops whose cost changed.
pub(super) struct Moved(Vec<bool>);

impl Moved {
    /// Whether this one did.
    pub(super) fn has(&self, id: HopId) -> bool {
        self.0.get(id.0 as usize).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn hop(text: &str) -> NextHop {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_next_hop_is_reported_when_it_comes_into_use_and_when_it_falls_out_of_it() {
        let mut hops = NextHops::new(true);
        let id = hops.intern(hop("10.0.0.1"));
        assert_eq!(hops.take_news(), (vec![], vec![]), "a refused path needs no resolving");
        hops.begin_use(id);
        hops.begin_use(id);
        assert!(hops.has_fresh());
        assert_eq!(hops.take_news(), (vec![hop("10.0.0.1")], vec![]));
        assert!(!hops.has_fresh());
        assert_eq!(hops.cost(id), None);
        hops.resolve(hop("10.0.0.1"), Some(7));
        assert!(hops.take_moved().has(id));
        assert_eq!(hops.cost(id), Some(7));
        hops.end_use(id);
        assert_eq!(hops.take_news(), (vec![], vec![]), "one user is left");
        hops.end_use(id);
        hops.begin_use(id);
        assert_eq!(hops.take_news(), (vec![], vec![]), "it came back in time");
        hops.end_use(id);
        hops.release(id);
        assert!(!hops.has_fresh(), "one that goes is no question");
        assert_eq!(hops.take_news(), (vec![], vec![hop("10.0.0.1")]));
        assert_eq!(hops.len(), 0);
    }

    #[test]
    fn without_tracking_every_next_hop_is_near_and_nothing_is_reported() {
        let mut hops = NextHops::new(false);
        let id = hops.intern(hop("fd00::1"));
        hops.begin_use(id);
        assert_eq!((hops.cost(id), hops.take_news()), (Some(0), (vec![], vec![])));
        hops.end_use(id);
        hops.release(id);
        assert_eq!(hops.len(), 0);
    }
}
