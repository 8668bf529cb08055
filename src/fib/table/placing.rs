//! The side of the table that is turned to groups of hops: which routes lead by which, and who
//! waits for whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use rustc_hash::FxHashSet;

use super::{Outcome, Refused, Table, Want};
use crate::fib::groups::{Ballot, Place, Resilience};
use crate::fib::object::{Object, ObjectOp};
use crate::fib::plan::of_prefix;
use crate::fib::route::{Action, Hop, RouteKey, RouteOp, Target};
use crate::fib::sets::SetId;

impl Table {
    /// Has the routes of a prefix counted by the groups that they lead by, or no more.
    pub(super) fn count(&mut self, prefix: Prefix, enters: bool) {
        for (key, target) in of_prefix(&self.have, prefix) {
            if let Some(id) = target.group() {
                let ballot = ballot(&self.wanted, &self.leftovers, key);
                self.groups.count(id, ballot, enters);
            }
        }
    }

    pub(super) fn count_all(&mut self) {
        let Self { groups, have, wanted, leftovers, .. } = self;
        groups.recount(have.iter().filter_map(|(key, target)| {
            target.group().map(|id| (id, ballot(wanted, leftovers, key)))
        }));
    }

    /// Has routes with several hops lead by resilient groups from now on, or no more.
    pub fn set_groups(&mut self, resilience: Option<Resilience>) {
        if self.groups.set(resilience) {
            self.place_all();
        }
    }

    /// Looks at where every route is to go that may lead by a group.
    pub(super) fn place_all(&mut self) {
        let via = self.wanted.iter().filter(|(_, want)| matches!(want, Want::Via(_)));
        self.dirty.extend(via.map(|(prefix, _)| *prefix));
    }

    /// Takes in all next-hop objects as the kernel holds them; to be called before
    /// [`Table::load`].
    pub fn load_objects(&mut self, objects: Vec<Object>) {
        if self.groups.load(objects) {
            self.retry();
        }
    }

    /// A link is down or gone, and next-hop objects with it.
    pub fn forget_link(&mut self, link: u32) {
        self.groups.forget_link(link);
    }

    /// The target that a route to these hops is written with: themselves, or their group.
    pub(super) fn grouped(
        &mut self,
        prefix: Prefix,
        set: SetId,
        target: &Arc<Target>,
    ) -> Arc<Target> {
        let Target::Via(hops) = &**target else { return target.clone() };
        let now = of_prefix(&self.have, prefix).find_map(|(_, there)| there.group());
        let is_patient = !self.impatient.remove(&prefix);
        let id = match self.groups.place(now, set, hops, is_patient) {
            Place::Alone => return target.clone(),
            Place::In(id) => id,
            Place::Later(id) => {
                self.waiting.insert(prefix);
                id
            }
        };
        self.targets.intern(Target::Group(id))
    }

    /// Writes of next-hop objects that have to go before the last planned ones of routes.
    pub fn plan_objects(&mut self) -> Vec<ObjectOp> {
        self.groups.plan()
    }

    /// Removals of next-hop objects that no route needs; to be asked when nothing is left to
    /// be written.
    pub fn plan_removals(&mut self) -> Vec<ObjectOp> {
        self.groups.plan_removals()
    }

    /// Drops writes of routes whose group is not there after all; they are planned again.
    pub fn drop_unready(&mut self, ops: &mut Vec<RouteOp>) {
        ops.retain(|op| match &op.action {
            Action::Add(target) | Action::Change(target) => {
                let is_ready = target.group().is_none_or(|id| self.groups.is_ready(id));
                if !is_ready {
                    self.dirty.insert(op.key.prefix);
                }
                is_ready
            }
            Action::Delete => true,
        });
    }

    /// Whether a prefix waits for the others of its group.
    pub fn is_waiting(&self, prefix: Prefix) -> bool {
        self.waiting.contains(&prefix)
    }

    /// Whether any prefix waits for the others of its group.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Prefixes that wait for the others of their group have waited long enough.
    pub fn end_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.dirty.extend(&waiting);
        self.impatient.extend(waiting);
    }

    /// The hops that a target leads by, if it leads anywhere that we know of.
    pub fn hops_of<'a>(&'a self, target: &'a Target) -> Option<&'a [Hop]> {
        match target {
            Target::Via(hops) => Some(hops),
            Target::Group(id) => Some(self.groups.hops_of(*id)),
            Target::Unreachable | Target::Other(_) => None,
        }
    }

    /// Whether what is there is as good as what ought to be: by its hops or by a group of them.
    pub fn is_as_good(&self, there: &Target, goal: &Target) -> bool {
        there == goal || there.group().is_some() && self.hops_of(there) == self.hops_of(goal)
    }

    /// How many groups of hops routes lead by.
    pub fn group_count(&self) -> usize {
        self.groups.used_count()
    }

    /// Writes that show whether the kernel has resilient groups; `None` if no number is free.
    pub fn try_groups(&mut self) -> Option<[ObjectOp; 4]> {
        self.groups.trial()
    }

    /// Notes what the kernel answered to a write of a next-hop object.
    pub fn object_written(&mut self, op: &ObjectOp, answer: Result<(), Refused>) -> Outcome {
        self.groups.written(op, answer)
    }
}

/// What a route of ours wants, as the group that it leads by has to know.
pub(super) fn ballot(
    wanted: &BTreeMap<Prefix, Want>,
    leftovers: &FxHashSet<RouteKey>,
    key: &RouteKey,
) -> Option<Ballot> {
    match wanted.get(&key.prefix) {
        Some(Want::Via(set)) => Some(Ballot::For(*set)),
        Some(Want::Local) => None,
        None => leftovers.contains(key).then_some(Ballot::Undecided),
    }
}
