//! The state of the fib without I/O: wanted routes, routes that are there, and what still
//! has to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::msg::NextHop;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{BestChange, Forwarding};
use rustc_hash::{FxHashMap, FxHashSet};

use super::found::{Found, Targets};
use super::groups::Groups;
use super::mirror::Mirror;
use super::plan::{Routes, of_prefix, plan_prefix};
use super::route::{Action, KernelRoute, OWN_METRIC, RouteKey, RouteOp, Target};
use super::sets::{SetId, Sets};

mod placing;
mod returning;

use placing::ballot;
use returning::Interim;

/// What is wanted for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Unreachable: it is our own.
    Local,
    /// By a set of next hops.
    Via(SetId),
}

/// Why the kernel refused a write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", std::io::Error::from_raw_os_error(*errno), hint(message))]
pub struct Refused {
    /// The error number, positive.
    pub errno: i32,
    /// What the kernel adds in words, if anything.
    pub message: Option<Box<str>>,
}

fn hint(message: &Option<Box<str>>) -> String {
    message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

/// What [`Table::written`] asks for besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Done,
    /// The kernel holds something else than we thought: read it again.
    Surprised,
    /// Refused: try again later.
    Refused,
    /// Done, and it was put back after somebody or something had removed it.
    Repaired,
}

/// Wanted routes, installed routes, and the prefixes where they may differ.
#[derive(Debug)]
pub struct Table {
    metric: u32,
    wanted: BTreeMap<Prefix, Want>,
    sets: Sets,
    unreachable: Arc<Target>,
    have: Routes,
    targets: Targets,
    groups: Groups,
    /// Routes of an earlier run that nobody has wanted or refused yet.
    leftovers: FxHashSet<RouteKey>,
    is_loaded: bool,
    is_swept: bool,
    /// Prefixes that are not wanted any more; planned before those that are, so that what
    /// goes is gone before anything comes in its place.
    unwanted: BTreeSet<Prefix>,
    dirty: BTreeSet<Prefix>,
    /// Prefixes whose group a hop is to join, if the others of the group want it too.
    waiting: BTreeSet<Prefix>,
    /// Prefixes that have waited for that.
    impatient: FxHashSet<Prefix>,
    /// Not all peers have said yet what they know.
    is_deferring: bool,
    /// Routers of which all that they know was told.
    heard: FxHashSet<IpAddr>,
    /// Prefixes whose routes stay as an earlier run left them meanwhile.
    returning: BTreeSet<Prefix>,
    lost: FxHashSet<RouteKey>,
    refused: FxHashMap<RouteKey, Arc<Refused>>,
    conflicts: FxHashSet<Prefix>,
    wanted_count: [usize; 2],
    installed_count: [usize; 2],
}

impl Table {
    /// An empty table that installs learned routes at `metric`.
    pub fn new(metric: u32) -> Self {
        Self {
            metric,
            wanted: BTreeMap::new(),
            sets: Sets::default(),
            unreachable: Arc::new(Target::Unreachable),
            have: Routes::new(),
            targets: Targets::default(),
            groups: Groups::default(),
            leftovers: FxHashSet::default(),
            is_loaded: false,
            is_swept: false,
            unwanted: BTreeSet::new(),
            dirty: BTreeSet::new(),
            waiting: BTreeSet::new(),
            impatient: FxHashSet::default(),
            is_deferring: false,
            heard: FxHashSet::default(),
            returning: BTreeSet::new(),
            lost: FxHashSet::default(),
            refused: FxHashMap::default(),
            conflicts: FxHashSet::default(),
            wanted_count: [0; 2],
            installed_count: [0; 2],
        }
    }

    /// Notes that the speaker wants something else for a prefix.
    pub fn change(&mut self, change: BestChange, mirror: &Mirror) {
        let BestChange { prefix, now } = change;
        let want = match now {
            Forwarding::None => None,
            // The host's own route to the address itself does all that is needed.
            Forwarding::Local if prefix.is_host() => None,
            Forwarding::Local => Some(Want::Local),
            Forwarding::Via(next_hops) => Some(Want::Via(self.sets.hold(next_hops, mirror))),
        };
        self.count(prefix, false);
        let before = match want {
            Some(want) => self.wanted.insert(prefix, want),
            None => self.wanted.remove(&prefix),
        };
        self.note_return(prefix, before, want);
        if let Some(Want::Via(set)) = before {
            self.sets.release(set);
        }
        let count = &mut self.wanted_count[prefix.family().index()];
        *count = *count + usize::from(want.is_some()) - usize::from(before.is_some());
        self.decide(prefix);
        self.count(prefix, true);
        for metric in [self.metric_of(prefix.family()), OWN_METRIC] {
            let key = RouteKey { prefix, metric };
            self.refused.remove(&key);
            if want.is_none() {
                self.lost.remove(&key);
            }
        }
        if want.is_none() {
            self.unwanted.insert(prefix);
        } else {
            self.unwanted.remove(&prefix);
            self.dirty.insert(prefix);
        }
    }

    /// What is wanted for a prefix.
    pub fn wanted(&self, prefix: Prefix) -> Forwarding {
        match self.wanted.get(&prefix) {
            None => Forwarding::None,
            Some(Want::Local) => Forwarding::Local,
            Some(Want::Via(set)) => Forwarding::Via(self.next_hops(*set).to_vec()),
        }
    }

    /// Somebody decided on the prefix: what an earlier run left there is ours to change.
    fn decide(&mut self, prefix: Prefix) {
        if !self.leftovers.is_empty() {
            for (key, _) in of_prefix(&self.have, prefix) {
                if self.leftovers.remove(key) {
                    self.installed_count[prefix.family().index()] += 1;
                }
            }
        }
    }

    /// Installs learned routes at another metric from now on.
    pub fn set_metric(&mut self, metric: u32) {
        if metric != self.metric {
            self.metric = metric;
            self.refused.clear();
            self.dirty.extend(self.wanted.keys());
        }
    }

    /// Leftovers of an earlier run may go.
    pub fn sweep(&mut self) {
        self.is_swept = true;
        self.end_deferral();
        for key in std::mem::take(&mut self.leftovers) {
            self.installed_count[key.prefix.family().index()] += 1;
            self.dirty.insert(key.prefix);
        }
        self.count_all();
    }

    /// Nobody wants anything any more, and somebody else will: all that stands is a leftover.
    pub fn orphan(&mut self) {
        for want in std::mem::take(&mut self.wanted).into_values() {
            if let Want::Via(set) = want {
                self.sets.release(set);
            }
        }
        self.leftovers.extend(self.have.keys());
        (self.is_swept, self.is_deferring) = (false, false);
        (self.wanted_count, self.installed_count) = ([0; 2], [0; 2]);
        self.unwanted.clear();
        self.dirty.clear();
        self.waiting.clear();
        self.impatient.clear();
        self.heard.clear();
        self.returning.clear();
        self.count_all();
        self.lost.clear();
        self.refused.clear();
        self.conflicts.clear();
    }

    /// Whether there are leftovers, by [`Family::index`].
    pub fn leftover_families(&self) -> [bool; 2] {
        let has = |family| self.leftovers.iter().any(|key| key.prefix.family() == family);
        Family::ALL.map(has)
    }

    /// The leftovers that lead somewhere: each prefix with each of its gateways.
    pub fn leftovers(&self) -> Vec<(Prefix, IpAddr)> {
        let mut leftovers = Vec::new();
        for key in &self.leftovers {
            if let Some(hops) = self.have.get(key).and_then(|target| self.hops_of(target)) {
                let gateways = hops.iter().filter_map(|hop| hop.gateway);
                leftovers.extend(gateways.map(|gateway| (key.prefix, gateway)));
            }
        }
        leftovers.sort_unstable();
        leftovers
    }

    /// Takes in all our routes as the kernel holds them. The first time, those that nobody
    /// decided on are leftovers. Returns how many were not as we thought.
    pub fn load(&mut self, found: Found) -> usize {
        let found = found.into_routes();
        self.targets.forget_unused();
        let is_first = !std::mem::replace(&mut self.is_loaded, true);
        let gone: Vec<RouteKey> = self
            .have
            .iter()
            .filter(|(key, target)| found.get(key) != Some(target))
            .map(|(key, _)| *key)
            .collect();
        let mut surprises = gone.len();
        for key in gone {
            self.lose(&key);
        }
        for (key, target) in found {
            if !self.have.contains_key(&key) {
                surprises += 1;
                self.targets.keep(&target);
                self.put(key, target);
                if is_first && !self.is_swept && !self.wanted.contains_key(&key.prefix) {
                    self.leftovers.insert(key);
                    self.installed_count[key.prefix.family().index()] -= 1;
                } else {
                    self.dirty.insert(key.prefix);
                }
            }
        }
        self.count_all();
        if is_first { 0 } else { surprises }
    }

    /// What [`Table::load`] takes in, empty yet.
    pub fn find(&self) -> Found {
        Found::new(self.targets.clone())
    }

    /// A route of ours is in the kernel as told; whether that is news.
    pub fn seen(&mut self, route: KernelRoute) -> bool {
        let target = self.targets.intern(route.target);
        if self.have.get(&route.key) == Some(&target) {
            return false;
        }
        self.lose(&route.key);
        self.put(route.key, target);
        true
    }

    /// A route of ours is no longer in the kernel as it was; what is there now is to be read
    /// if the answer is true: it went in part.
    pub fn vanished(&mut self, route: &KernelRoute) -> bool {
        let Some(there) = self.have.get(&route.key) else { return false };
        if **there != route.target && matches!(**there, Target::Via(ref hops) if hops.len() > 1) {
            return true;
        }
        self.lose(&route.key);
        false
    }

    /// A key of ours was taken over by another.
    pub fn taken(&mut self, key: &RouteKey) {
        self.lose(key);
    }

    fn lose(&mut self, key: &RouteKey) {
        if self.have.contains_key(key) {
            self.remove(key);
            self.dirty.insert(key.prefix);
            if self.wanted.contains_key(&key.prefix) {
                self.lost.insert(*key);
            }
        }
    }

    fn put(&mut self, key: RouteKey, target: Arc<Target>) {
        let ballot = ballot(&self.wanted, &self.leftovers, &key);
        let before = self.have.get(&key).and_then(|target| target.group());
        if let Some(id) = before {
            self.groups.count(id, ballot, false);
        }
        if let Some(id) = target.group() {
            self.groups.count(id, ballot, true);
        }
        if self.have.insert(key, target).is_none() {
            self.installed_count[key.prefix.family().index()] += 1;
        }
    }

    fn remove(&mut self, key: &RouteKey) {
        if let Some(id) = self.have.get(key).and_then(|target| target.group()) {
            self.groups.count(id, ballot(&self.wanted, &self.leftovers, key), false);
        }
        if self.have.remove(key).is_some() && !self.leftovers.remove(key) {
            self.installed_count[key.prefix.family().index()] -= 1;
        }
    }

    /// Finds all next hops anew after the mirror changed, and what others hold of ours.
    pub fn refresh(&mut self, mirror: &Mirror) {
        // The kernel may have taken hops out of groups, and put none back.
        self.groups.plan_again();
        let changed = self.sets.resolve(mirror);
        if !changed.is_empty() {
            let affected = self
                .wanted
                .iter()
                .filter(|(_, want)| matches!(want, Want::Via(set) if changed.contains(set)));
            for (&prefix, _) in affected {
                let metric = metric_of(self.metric, prefix.family());
                self.refused.remove(&RouteKey { prefix, metric });
                self.dirty.insert(prefix);
            }
        }
    }

    /// Others' routes to this prefix changed.
    pub fn reconsider(&mut self, prefix: Prefix) {
        if self.wanted.contains_key(&prefix) {
            self.dirty.insert(prefix);
        }
    }

    /// It is not known whether what was planned for this prefix was carried out.
    pub fn plan_again(&mut self, prefix: Prefix) {
        self.dirty.insert(prefix);
    }

    /// Others' routes were read anew: every prefix that they hold or held is looked at.
    pub fn reconsider_all(&mut self, mirror: &Mirror) {
        self.dirty.extend(self.conflicts.iter());
        self.dirty.extend(mirror.foreign_prefixes().filter(|p| self.wanted.contains_key(p)));
    }

    /// Lets everything that the kernel refused be tried again; whether there is any.
    pub fn retry(&mut self) -> bool {
        let mut any = !self.refused.is_empty();
        self.dirty.extend(self.refused.drain().map(|(key, _)| key.prefix));
        if self.groups.retry() {
            self.place_all();
            any = true;
        }
        any
    }

    /// The next writes, about `limit` of them; none if so many prefixes were looked at that
    /// others should have their turn, though some may be left.
    pub fn plan(&mut self, limit: usize, mirror: &Mirror) -> Vec<RouteOp> {
        const LOOKS_A_WRITE: usize = 16;
        let mut ops = Vec::with_capacity(limit.min(self.unwanted.len() + self.dirty.len()));
        for _ in 0..limit * LOOKS_A_WRITE {
            if ops.len() >= limit {
                break;
            }
            let next = self.unwanted.pop_first().or_else(|| self.dirty.pop_first());
            let Some(prefix) = next else { break };
            self.waiting.remove(&prefix);
            let mut want = self.goal(prefix);
            let key = want.as_ref().map(|(metric, _)| RouteKey { prefix, metric: *metric });
            if key.is_some_and(|key| mirror.winner(&key).is_some()) {
                self.conflicts.insert(prefix);
            } else {
                self.conflicts.remove(&prefix);
            }
            if key.is_some_and(|key| self.refused.contains_key(&key)) {
                continue;
            }
            // Where another holds the key, nothing is written there: not even ours, if the two
            // stand side by side, since the kernel might take theirs for ours.
            let held = key.filter(|key| mirror.holder(key).is_some());
            want = want.filter(|_| held.is_none());
            if let (Some((_, target)), Some(Want::Via(set))) =
                (&mut want, self.wanted.get(&prefix).copied())
            {
                *target = match self.interim(prefix, target) {
                    Some(Interim::AsLeft(there)) => there,
                    Some(Interim::Less(less)) => self.grouped(prefix, set, &less),
                    None => self.grouped(prefix, set, target),
                };
            }
            let target = want.as_ref().map(|(metric, target)| (*metric, target));
            let keep = |key: &RouteKey| self.leftovers.contains(key) || held == Some(*key);
            plan_prefix(prefix, target, &self.have, keep, &mut ops);
        }
        ops
    }

    /// The key's metric and the target that a prefix ought to have now.
    pub fn goal(&self, prefix: Prefix) -> Option<(u32, Arc<Target>)> {
        match self.wanted.get(&prefix)? {
            Want::Local => Some((OWN_METRIC, self.unreachable.clone())),
            Want::Via(set) => {
                let target = self.sets.target(*set)?;
                Some((self.metric_of(prefix.family()), target.clone()))
            }
        }
    }

    /// The metric of learned routes of a family: IPv6 knows no zero.
    pub fn metric_of(&self, family: Family) -> u32 {
        metric_of(self.metric, family)
    }

    /// Notes what the kernel answered to a write.
    pub fn written(&mut self, op: &RouteOp, answer: Result<(), Refused>) -> Outcome {
        match (answer, &op.action) {
            (Ok(()), Action::Add(target) | Action::Change(target)) => {
                self.targets.keep(target);
                self.put(op.key, target.clone());
                if self.lost.remove(&op.key) { Outcome::Repaired } else { Outcome::Done }
            }
            (Ok(()), Action::Delete) => {
                self.remove(&op.key);
                Outcome::Done
            }
            // It was gone before we asked: a link that went down takes IPv4 routes along.
            (Err(Refused { errno: libc::ESRCH, .. }), Action::Delete) => {
                self.remove(&op.key);
                if self.wanted.contains_key(&op.key.prefix) {
                    self.lost.insert(op.key);
                }
                Outcome::Done
            }
            (Err(Refused { errno: libc::ENOENT, .. }), Action::Change(_)) => {
                self.lose(&op.key);
                Outcome::Surprised
            }
            (Err(refused), action) => {
                let exists = match action {
                    Action::Add(target) | Action::Change(target) => {
                        // The group may be gone without a word.
                        refused.errno == libc::EEXIST && matches!(action, Action::Add(_))
                            || target.group().is_some()
                    }
                    Action::Delete => false,
                };
                self.refused.insert(op.key, Arc::new(refused));
                if exists { Outcome::Surprised } else { Outcome::Refused }
            }
        }
    }

    /// Whether a route of ours may leave by this link.
    pub fn uses(&self, link: u32) -> bool {
        self.targets.uses(link) || self.groups.uses(link)
    }

    /// Whether there is something to plan.
    pub fn is_dirty(&self) -> bool {
        !(self.dirty.is_empty() && self.unwanted.is_empty()) || self.groups.is_dirty()
    }

    /// Whether the kernel refused something that is still wanted.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty() || self.groups.has_refused()
    }

    /// Why the kernel refused a route.
    pub fn refusal(&self, key: &RouteKey) -> Option<&Arc<Refused>> {
        self.refused.get(key)
    }

    /// Wanted prefixes in order, after the given one.
    pub fn wanted_after(&self, after: Option<Prefix>) -> impl Iterator<Item = (Prefix, Want)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.wanted.range((from, Unbounded)).map(|(prefix, want)| (*prefix, *want))
    }

    /// Our installed routes in order, of prefixes after the given one.
    pub fn have_after(
        &self,
        after: Option<Prefix>,
    ) -> impl Iterator<Item = (&RouteKey, &Arc<Target>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from =
            after.map_or(Unbounded, |prefix| Excluded(RouteKey { prefix, metric: u32::MAX }));
        self.have.range((from, Unbounded))
    }

    /// Our installed routes of a prefix.
    pub fn have_of(&self, prefix: Prefix) -> impl Iterator<Item = (&RouteKey, &Arc<Target>)> {
        of_prefix(&self.have, prefix)
    }

    /// Whether a route is a leftover of an earlier run.
    pub fn is_leftover(&self, key: &RouteKey) -> bool {
        self.leftovers.contains(key)
    }

    /// The sets of next hops that are wanted.
    pub fn sets(&self) -> &Sets {
        &self.sets
    }

    /// The next hops of a set.
    pub fn next_hops(&self, set: SetId) -> &[NextHop] {
        self.sets.next_hops(set)
    }

    /// Routes wanted, by [`Family::index`].
    pub fn wanted_count(&self) -> [usize; 2] {
        self.wanted_count
    }

    /// Routes installed, leftovers aside, by [`Family::index`].
    pub fn installed_count(&self) -> [usize; 2] {
        self.installed_count
    }

    /// Leftovers of an earlier run.
    pub fn leftover_count(&self) -> usize {
        self.leftovers.len()
    }

    /// Prefixes that another protocol holds.
    pub fn conflict_count(&self) -> usize {
        self.conflicts.len()
    }
}

fn metric_of(metric: u32, family: Family) -> u32 {
    match (family, metric) {
        (Family::Ipv6Unicast, 0) => 1024,
        (_, metric) => metric,
    }
}

#[cfg(test)]
mod tests;
