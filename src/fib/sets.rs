//! The distinct sets of next hops that routes are wanted by: each is kept and resolved once,
//! however many prefixes use it.

use std::sync::Arc;

use brindle_bgp::msg::NextHop;
use rustc_hash::{FxHashMap, FxHashSet};

use super::mirror::{MAX_HOPS, Mirror, Unreached};
use super::route::{Hop, Target};

/// A set of next hops; valid as long as it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(u32);

/// All sets in use.
#[derive(Debug, Default)]
pub struct Sets {
    sets: Vec<Set>,
    by_next_hops: FxHashMap<Arc<[NextHop]>, SetId>,
    free: Vec<SetId>,
}

#[derive(Debug)]
struct Set {
    next_hops: Arc<[NextHop]>,
    users: usize,
    target: Option<Arc<Target>>,
    missing: Option<Unreached>,
}

impl Sets {
    /// One more route is wanted by these next hops.
    pub fn hold(&mut self, next_hops: Vec<NextHop>, mirror: &Mirror) -> SetId {
        if let Some(&id) = self.by_next_hops.get(next_hops.as_slice()) {
            self.sets[id.0 as usize].users += 1;
            return id;
        }
        let next_hops: Arc<[NextHop]> = next_hops.into();
        let (target, missing) = resolve(&next_hops, mirror);
        let set =
            Set { next_hops: next_hops.clone(), users: 1, target: target.map(Arc::new), missing };
        let id = match self.free.pop() {
            Some(id) => {
                self.sets[id.0 as usize] = set;
                id
            }
            None => {
                self.sets.push(set);
                SetId(u32::try_from(self.sets.len() - 1).expect("fewer sets than prefixes"))
            }
        };
        self.by_next_hops.insert(next_hops, id);
        id
    }

    /// One route less is wanted by the set.
    pub fn release(&mut self, id: SetId) {
        let set = &mut self.sets[id.0 as usize];
        set.users -= 1;
        if set.users == 0 {
            set.target = None;
            self.by_next_hops.remove(&set.next_hops);
            self.free.push(id);
        }
    }

    /// Resolves every set anew; which lead elsewhere now.
    pub fn resolve(&mut self, mirror: &Mirror) -> FxHashSet<SetId> {
        let mut changed = FxHashSet::default();
        for &id in self.by_next_hops.values() {
            let set = &mut self.sets[id.0 as usize];
            let (target, missing) = resolve(&set.next_hops, mirror);
            set.missing = missing;
            if set.target.as_deref() != target.as_ref() {
                set.target = target.map(Arc::new);
                changed.insert(id);
            }
        }
        changed
    }

    /// Where the set leads; `None` if no next hop of it is reached.
    pub fn target(&self, id: SetId) -> Option<&Arc<Target>> {
        self.sets[id.0 as usize].target.as_ref()
    }

    /// Why a next hop of the set is not reached, if one is not.
    pub fn missing(&self, id: SetId) -> Option<&Unreached> {
        self.sets[id.0 as usize].missing.as_ref()
    }

    /// The next hops of the set.
    pub fn next_hops(&self, id: SetId) -> &[NextHop] {
        &self.sets[id.0 as usize].next_hops
    }
}

/// The hops by which any of these next hops is reached, and why the first is not that is not.
fn resolve(next_hops: &[NextHop], mirror: &Mirror) -> (Option<Target>, Option<Unreached>) {
    let mut hops: Vec<Hop> = Vec::new();
    let mut missing = None;
    for next_hop in next_hops {
        match mirror.reach_gateway(next_hop.into()) {
            Ok(reached) => hops.extend(reached.hops),
            Err(why) => missing = missing.or(Some(why)),
        }
    }
    hops.sort_unstable();
    hops.dedup();
    hops.truncate(MAX_HOPS);
    ((!hops.is_empty()).then_some(Target::Via(hops)), missing)
}
