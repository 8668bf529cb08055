//! Which routes share a resilient group of hops, and what has to be written for it: no I/O.
//!
//! A flow keeps its hop as long as its route stays in its group and the group is changed in
//! place. So a group belongs to routes that have come the same way, not to a set of hops: two
//! groups may lead by the same hops, and differ in which flows take which.
//!
//! - Routes without a past share a group for each set of hops.
//! - Where all routes of a group want other hops, as when a peer is gone, it is changed in
//!   place: one write, however many routes.
//! - Where some of them do, these get a group of their own that is made the way theirs was and
//!   then changed (`Lineage`): the kernel gives buckets by rule, so the copy has them as the
//!   first one, and only flows of the hop that left move. Of a group that hops have joined
//!   meanwhile this is not exact, since who got which bucket then depended on what was idle.
//! - Hops that join are waited for, as packets flow without them: mostly the other routes of
//!   the group get them a moment later, and then the group is changed in place, where only
//!   buckets without packets move.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::object::{Kind, OUR_IDS, Object, ObjectAction, ObjectId, ObjectOp, Shape};
use super::route::Hop;
use super::sets::SetId;
use super::table::{Outcome, Refused};

/// How many buckets flows fall into: enough for 128 hops, and for shares of 16 hops that differ
/// by a sixteenth at most.
const BUCKETS: u16 = 256;
/// More groups than this are not made: a group takes some ten kilobytes of the kernel's memory.
const MAX_GROUPS: usize = 1024;
/// How many former shapes of a group are remembered.
const MAX_STEPS: usize = 8;

/// How groups are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// For how long a flow must have been silent to be moved to a hop that joined.
    pub idle: Duration,
}

impl Resilience {
    /// In hundredths of seconds, as the kernel has it.
    fn centiseconds(self) -> u32 {
        u32::try_from(self.idle.as_millis() / 10).unwrap_or(u32::MAX)
    }
}

/// What a route that stands in a group wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// The hops of this set.
    For(SetId),
    /// Nobody has said yet: it is a leftover of an earlier run.
    Undecided,
}

/// Where a route goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It leads by its hops itself.
    Alone,
    /// Into this group.
    In(ObjectId),
    /// It stays in this group, and is to be looked at again in a while.
    Later(ObjectId),
}

/// How a group came to have its buckets as they are: the hops that it was made with, and what
/// it was changed to. Two groups of one lineage send the same flows the same ways.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lineage {
    /// Zero if the steps tell all; else a number of its own.
    root: u64,
    steps: Vec<Vec<Hop>>,
}

#[derive(Debug)]
struct Group {
    /// The hops that it is to have, ascending.
    want: Vec<Hop>,
    /// Those that it has in the kernel; `None` if it is not there.
    have: Option<Vec<Hop>>,
    /// The timer that it has in the kernel, in hundredths of seconds.
    idle: u32,
    lineage: Lineage,
    refused: Option<Arc<Refused>>,
}

/// Who stands in a group.
#[derive(Debug, Default)]
struct Electorate {
    routes: usize,
    wanting: FxHashMap<SetId, usize>,
    undecided: usize,
}

/// Our next-hop objects, and who uses them.
#[derive(Debug, Default)]
pub struct Groups {
    resilience: Option<Resilience>,
    hops: BTreeMap<ObjectId, Hop>,
    ids: FxHashMap<Hop, ObjectId>,
    groups: BTreeMap<ObjectId, Group>,
    by_want: FxHashMap<Vec<Hop>, Vec<ObjectId>>,
    /// Objects with our mark that we have no use for.
    strays: BTreeSet<ObjectId>,
    /// Numbers of ours that others have.
    taken: BTreeSet<ObjectId>,
    /// By the group that routes lead by, whether it is there or not.
    electorates: FxHashMap<ObjectId, Electorate>,
    /// Groups that may differ from what they are to be.
    dirty: BTreeSet<ObjectId>,
    last_id: ObjectId,
    last_root: u64,
}

impl Groups {
    /// Makes groups from now on, or no more; whether that is another thing than before. Routes
    /// have to be placed anew then.
    pub fn set(&mut self, resilience: Option<Resilience>) -> bool {
        let is_switched = self.resilience.is_some() != resilience.is_some();
        self.resilience = resilience;
        self.dirty.extend(self.groups.keys());
        is_switched
    }

    /// Takes in all objects as the kernel holds them, everybody's; whether ours were not as we
    /// thought.
    pub fn load(&mut self, objects: Vec<Object>) -> bool {
        let (ours, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(Object::is_ours);
        self.taken = others.iter().map(|o| o.id).filter(|id| OUR_IDS.contains(id)).collect();
        self.strays.clear();
        let hops_before = std::mem::take(&mut self.hops);
        self.ids.clear();
        for object in &ours {
            if let Kind::Hop(hop) = object.kind {
                self.hops.insert(object.id, hop);
                self.ids.entry(hop).or_insert(object.id);
            }
        }
        let mut is_news = hops_before != self.hops;
        let mut missing: BTreeSet<ObjectId> = self.groups.keys().copied().collect();
        for object in ours {
            let shape = match object.kind {
                Kind::Hop(_) => continue,
                Kind::Group(shape) => shape,
                Kind::Blackhole | Kind::Other => {
                    self.strays.insert(object.id);
                    continue;
                }
            };
            let have = self.resolve(&shape);
            if have.is_empty() {
                self.strays.insert(object.id);
                continue;
            }
            missing.remove(&object.id);
            if let Some(group) = self.groups.get_mut(&object.id) {
                is_news |= group.have.as_ref() != Some(&have) || group.idle != shape.idle;
                (group.have, group.idle) = (Some(have), shape.idle);
            } else {
                is_news = true;
                let lineage = Lineage { root: self.new_root(), steps: vec![have.clone()] };
                self.insert(object.id, have.clone(), lineage);
                let group = self.groups.get_mut(&object.id).expect("just put there");
                (group.have, group.idle) = (Some(have), shape.idle);
            }
        }
        for id in missing {
            let group = self.groups.get_mut(&id).expect("one of them");
            is_news |= group.have.take().is_some();
        }
        self.dirty.extend(self.groups.keys());
        is_news
    }

    /// The hops of a group, in order; those that are not there do not count.
    fn resolve(&self, shape: &Shape) -> Vec<Hop> {
        let member = |(id, weight): &(ObjectId, u8)| {
            self.hops.get(id).map(|hop| Hop { weight: *weight, ..*hop })
        };
        let mut hops: Vec<Hop> = shape.members.iter().filter_map(member).collect();
        hops.sort_unstable();
        hops
    }

    /// A link is down or gone: the kernel has removed the hops over it, and told nobody.
    pub fn forget_link(&mut self, link: u32) {
        self.hops.retain(|_, hop| hop.link != link);
        self.ids.retain(|hop, _| hop.link != link);
        for group in self.groups.values_mut() {
            if let Some(have) = &mut group.have {
                have.retain(|hop| hop.link != link);
                if have.is_empty() {
                    group.have = None;
                }
            }
        }
    }

    /// Whether an object of ours is about this link.
    pub fn uses(&self, link: u32) -> bool {
        self.hops.values().any(|hop| hop.link == link)
    }

    /// A route came to stand in a group, or left it; `None` if it wants something else than
    /// hops.
    pub fn count(&mut self, id: ObjectId, ballot: Option<Ballot>, enters: bool) {
        let electorate = self.electorates.entry(id).or_default();
        let change = |count: &mut usize| {
            *count = if enters { *count + 1 } else { count.saturating_sub(1) };
        };
        change(&mut electorate.routes);
        match ballot {
            Some(Ballot::For(set)) => {
                change(electorate.wanting.entry(set).or_default());
                if electorate.wanting.get(&set) == Some(&0) {
                    electorate.wanting.remove(&set);
                }
            }
            Some(Ballot::Undecided) => change(&mut electorate.undecided),
            None => {}
        }
        if electorate.routes == 0 {
            self.electorates.remove(&id);
        }
    }

    /// Counts all routes anew.
    pub fn recount(&mut self, routes: impl Iterator<Item = (ObjectId, Option<Ballot>)>) {
        self.electorates.clear();
        for (id, ballot) in routes {
            self.count(id, ballot, true);
        }
    }

    /// Whether all routes in a group that say so want this set.
    fn is_unanimous(&self, id: ObjectId, set: SetId) -> bool {
        self.electorates.get(&id).is_some_and(|electorate| {
            electorate.undecided == 0 && electorate.wanting.keys().all(|other| *other == set)
        })
    }

    /// Where a route goes that wants these hops, of this set, and leads by the group `now`. One
    /// that is patient may be told to wait for a hop that joins.
    pub fn place(
        &mut self,
        now: Option<ObjectId>,
        set: SetId,
        hops: &[Hop],
        is_patient: bool,
    ) -> Place {
        // Without a router's address the family of a hop is that of the route.
        if self.resilience.is_none() || hops.iter().any(|hop| hop.gateway.is_none()) {
            return Place::Alone;
        }
        let mut lineage = None;
        if let Some(id) = now
            && let Some(group) = self.groups.get(&id)
            && group.refused.is_none()
        {
            if group.want == hops {
                return Place::In(id);
            }
            if self.is_unanimous(id, set) {
                self.change(id, hops);
                return Place::In(id);
            }
            if is_patient && group.have.is_some() && has_all(hops, &group.want) {
                return Place::Later(id);
            }
            lineage = Some(group.lineage.then(hops));
        }
        // Flows of a single hop have nowhere else to go.
        if hops.len() < 2 {
            return Place::Alone;
        }
        let alike: &[ObjectId] = self.by_want.get(hops).map_or(&[], Vec::as_slice);
        if alike.iter().any(|id| self.groups[id].refused.is_some()) {
            return Place::Alone;
        }
        let found = match &lineage {
            Some(lineage) => alike.iter().find(|id| self.groups[id].lineage == *lineage),
            None => alike.first(),
        };
        match found.or(alike.first().filter(|_| self.groups.len() >= MAX_GROUPS)) {
            Some(id) => Place::In(*id),
            None if self.groups.len() >= MAX_GROUPS => Place::Alone,
            None => {
                let fresh = || Lineage { root: 0, steps: vec![hops.to_vec()] };
                let lineage = lineage.unwrap_or_else(fresh);
                match self.new_id() {
                    Some(id) => {
                        self.insert(id, hops.to_vec(), lineage);
                        Place::In(id)
                    }
                    None => Place::Alone,
                }
            }
        }
    }

    /// Whether a group stands as it is to be.
    pub fn is_whole(&self, id: ObjectId) -> bool {
        self.groups.get(&id).is_some_and(|group| group.have.as_ref() == Some(&group.want))
    }

    /// Changes in place what a group is to have.
    fn change(&mut self, id: ObjectId, hops: &[Hop]) {
        let root = self.new_root();
        let group = self.groups.get_mut(&id).expect("one of ours");
        group.lineage = match has_all(&group.want, hops) {
            true => group.lineage.then(hops),
            false => Lineage { root, steps: vec![hops.to_vec()] },
        };
        let before = std::mem::replace(&mut group.want, hops.to_vec());
        self.unlist(id, &before);
        self.by_want.entry(hops.to_vec()).or_default().push(id);
        self.dirty.insert(id);
    }

    fn insert(&mut self, id: ObjectId, want: Vec<Hop>, lineage: Lineage) {
        self.by_want.entry(want.clone()).or_default().push(id);
        let group = Group { want, have: None, idle: 0, lineage, refused: None };
        self.groups.insert(id, group);
        self.dirty.insert(id);
    }

    fn remove(&mut self, id: ObjectId) {
        if let Some(group) = self.groups.remove(&id) {
            self.unlist(id, &group.want);
        }
        self.dirty.remove(&id);
    }

    fn unlist(&mut self, id: ObjectId, want: &[Hop]) {
        if let Some(alike) = self.by_want.get_mut(want) {
            alike.retain(|other| *other != id);
            if alike.is_empty() {
                self.by_want.remove(want);
            }
        }
    }

    fn new_root(&mut self) -> u64 {
        self.last_root += 1;
        self.last_root
    }

    /// A number that nobody has, as far as is known; not one that was just given up, so that an
    /// event that comes late is not about another object.
    fn new_id(&mut self) -> Option<ObjectId> {
        let span = OUR_IDS.end() - OUR_IDS.start() + 1;
        let first = self.last_id.max(OUR_IDS.start() - 1) + 1 - OUR_IDS.start();
        let id = (0..span).map(|n| OUR_IDS.start() + (first + n) % span).find(|id| {
            !(self.hops.contains_key(id)
                || self.groups.contains_key(id)
                || self.strays.contains(id)
                || self.taken.contains(id)
                || self.electorates.contains_key(id))
        })?;
        self.last_id = id;
        Some(id)
    }

    /// Writes that make all groups what they are to be, hops before those that need them.
    pub fn plan(&mut self) -> Vec<ObjectOp> {
        let mut ops = Vec::new();
        let Some(resilience) = self.resilience else { return ops };
        let idle = resilience.centiseconds();
        for id in std::mem::take(&mut self.dirty) {
            let Some(group) = self.groups.get(&id) else { continue };
            let is_right = group.have.as_ref() == Some(&group.want) && group.idle == idle;
            if is_right || group.refused.is_some() {
                continue;
            }
            let (is_new, want) = (group.have.is_none(), group.want.clone());
            let steps = if is_new { group.lineage.steps.clone() } else { vec![want.clone()] };
            let mut members = Vec::with_capacity(want.len());
            for hop in &want {
                members.extend(self.id_of(hop, &mut ops).map(|id| (id, hop.weight)));
            }
            let mut shapes: Vec<Vec<(ObjectId, u8)>> = Vec::with_capacity(steps.len());
            // A former hop that is gone cannot be a member: then the copy is not exact.
            for step in &steps[..steps.len() - 1] {
                let known = |hop: &Hop| {
                    self.ids.get(&Hop { weight: 0, ..*hop }).map(|id| (*id, hop.weight))
                };
                let shape: Vec<_> = step.iter().filter_map(known).collect();
                if !shape.is_empty() && shapes.last() != Some(&shape) {
                    shapes.push(shape);
                }
            }
            shapes.push(members);
            for (at, members) in shapes.into_iter().enumerate() {
                let kind = Kind::Group(Shape { members, buckets: BUCKETS, idle });
                let action = match is_new && at == 0 {
                    true => ObjectAction::Add(kind),
                    false => ObjectAction::Change(kind),
                };
                ops.push(ObjectOp { id, action });
            }
        }
        ops
    }

    /// The number of a hop; one that is not there is made.
    fn id_of(&mut self, hop: &Hop, ops: &mut Vec<ObjectOp>) -> Option<ObjectId> {
        let hop = Hop { weight: 0, ..*hop };
        if let Some(id) = self.ids.get(&hop) {
            return Some(*id);
        }
        let id = self.new_id()?;
        self.ids.insert(hop, id);
        self.hops.insert(id, hop);
        ops.push(ObjectOp { id, action: ObjectAction::Add(Kind::Hop(hop)) });
        Some(id)
    }

    /// Removals of what no route leads by: groups before their hops. To be asked when all
    /// routes are written.
    pub fn plan_removals(&mut self) -> Vec<ObjectOp> {
        let mut gone: Vec<ObjectId> = Vec::new();
        let mut needed: BTreeSet<Hop> = BTreeSet::new();
        let mut unwritten = Vec::new();
        for (id, group) in &self.groups {
            let is_used = self.electorates.contains_key(id) || group.refused.is_some();
            if is_used {
                // Copies of the group begin with hops that it had, which are there until then.
                let steps = group.lineage.steps.iter().flatten();
                let hops = group.want.iter().chain(group.have.iter().flatten()).chain(steps);
                needed.extend(hops.map(|hop| Hop { weight: 0, ..*hop }));
            } else if group.have.is_some() {
                gone.push(*id);
            } else {
                unwritten.push(*id);
            }
        }
        unwritten.into_iter().for_each(|id| self.remove(id));
        gone.extend(self.strays.iter().filter(|id| !self.electorates.contains_key(id)).rev());
        let is_spare =
            |(id, hop): &(&ObjectId, &Hop)| !needed.contains(hop) || self.ids.get(hop) != Some(id);
        gone.extend(self.hops.iter().filter(is_spare).map(|(id, _)| *id));
        gone.into_iter().map(|id| ObjectOp { id, action: ObjectAction::Delete }).collect()
    }

    /// Writes that show whether the kernel has resilient groups, and leave nothing behind;
    /// `None` if all numbers are taken.
    pub fn trial(&mut self) -> Option<[ObjectOp; 4]> {
        let (hop, group) = (self.new_id()?, self.new_id()?);
        let shape = Shape { members: vec![(hop, 0)], buckets: BUCKETS, idle: 100 };
        Some([
            ObjectOp { id: hop, action: ObjectAction::Add(Kind::Blackhole) },
            ObjectOp { id: group, action: ObjectAction::Add(Kind::Group(shape)) },
            ObjectOp { id: group, action: ObjectAction::Delete },
            ObjectOp { id: hop, action: ObjectAction::Delete },
        ])
    }

    /// Notes what the kernel answered to a write.
    pub fn written(&mut self, op: &ObjectOp, answer: Result<(), Refused>) -> Outcome {
        let id = op.id;
        match (answer, &op.action) {
            (
                Ok(()),
                ObjectAction::Add(Kind::Group(shape)) | ObjectAction::Change(Kind::Group(shape)),
            ) => {
                let have = self.resolve(shape);
                if let Some(group) = self.groups.get_mut(&id) {
                    (group.have, group.idle) = (Some(have), shape.idle);
                }
                Outcome::Done
            }
            (Ok(()), ObjectAction::Add(_) | ObjectAction::Change(_)) => Outcome::Done,
            (
                Ok(()) | Err(Refused { errno: libc::ENOENT | libc::ESRCH, .. }),
                ObjectAction::Delete,
            ) => {
                self.forget(id);
                Outcome::Done
            }
            (Err(Refused { errno: libc::ENOENT, .. }), ObjectAction::Change(_)) => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.have = None;
                    self.dirty.insert(id);
                }
                Outcome::Surprised
            }
            (Err(refused), ObjectAction::Add(Kind::Hop(hop))) => {
                self.forget(id);
                let is_taken = refused.errno == libc::EEXIST;
                if is_taken {
                    self.taken.insert(id);
                }
                let refused = Arc::new(refused);
                for group in self.groups.values_mut() {
                    let has_it = |other: &Hop| Hop { weight: 0, ..*other } == *hop;
                    if group.have.as_ref() != Some(&group.want) && group.want.iter().any(has_it) {
                        group.refused.get_or_insert_with(|| refused.clone());
                    }
                }
                if is_taken { Outcome::Surprised } else { Outcome::Refused }
            }
            (Err(refused), action) => {
                let is_taken =
                    refused.errno == libc::EEXIST && matches!(action, ObjectAction::Add(_));
                if is_taken {
                    self.taken.insert(id);
                }
                if let Some(group) = self.groups.get_mut(&id) {
                    group.refused.get_or_insert_with(|| Arc::new(refused));
                }
                if is_taken { Outcome::Surprised } else { Outcome::Refused }
            }
        }
    }

    fn forget(&mut self, id: ObjectId) {
        self.strays.remove(&id);
        self.remove(id);
        if let Some(hop) = self.hops.remove(&id)
            && self.ids.get(&hop) == Some(&id)
        {
            self.ids.remove(&hop);
        }
    }

    /// Looks at all groups when next asked what to write.
    pub fn plan_again(&mut self) {
        self.dirty.extend(self.groups.keys());
    }

    /// Whether there is something to write.
    pub fn is_dirty(&self) -> bool {
        self.resilience.is_some() && !self.dirty.is_empty()
    }

    /// Whether a route may be written that leads by this group.
    pub fn is_ready(&self, id: ObjectId) -> bool {
        self.groups.get(&id).is_some_and(|group| group.have.is_some() && group.refused.is_none())
    }

    /// Whether the kernel refused a group.
    pub fn has_refused(&self) -> bool {
        self.groups.values().any(|group| group.refused.is_some())
    }

    /// Lets every group that the kernel refused be tried again; whether there is any. Routes
    /// have to be placed anew then.
    pub fn retry(&mut self) -> bool {
        let refused = self.groups.iter().filter(|(_, group)| group.refused.is_some());
        let refused: Vec<ObjectId> = refused.map(|(id, _)| *id).collect();
        for id in &refused {
            let group = self.groups.get_mut(id).expect("one of them");
            group.refused = None;
            if group.have.is_none() {
                self.remove(*id);
            } else {
                self.dirty.insert(*id);
            }
        }
        !refused.is_empty()
    }

    /// The hops that a group leads by, ascending.
    pub fn hops_of(&self, id: ObjectId) -> &[Hop] {
        self.groups.get(&id).and_then(|group| group.have.as_deref()).unwrap_or_default()
    }

    /// How many groups routes of ours lead by.
    pub fn used_count(&self) -> usize {
        self.groups.keys().filter(|id| self.electorates.contains_key(id)).count()
    }
}

impl Lineage {
    /// What comes of it by a change to these hops. A way back to what it was is the former one:
    /// who stayed there is met again.
    fn then(&self, hops: &[Hop]) -> Self {
        let mut lineage = self.clone();
        match self.steps.iter().position(|step| step == hops) {
            Some(at) => lineage.steps.truncate(at + 1),
            None => {
                if lineage.steps.len() == MAX_STEPS {
                    let first = lineage.steps.remove(0);
                    lineage.root = FxBuildHasher.hash_one((lineage.root, first));
                }
                lineage.steps.push(hops.to_vec());
            }
        }
        lineage
    }
}

/// Whether the first hops, ascending, have all of the others, ascending.
fn has_all(hops: &[Hop], others: &[Hop]) -> bool {
    others.iter().all(|hop| hops.binary_search(hop).is_ok())
}

#[cfg(test)]
mod tests;
