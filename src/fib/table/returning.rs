//! Routes of an earlier run while those who told them come back (RFC 4724 §4.1).
//!
//! Peers come back one after the other. Were it left to the first of them alone where packets go,
//! the flows of all others would move to it, also by a way that is worse, and back. So a route
//! stays as it was left while route selection is deferred, until all of its hops are wanted again,
//! but for hops of those who have said all that they know: what they did not tell is over.
//! What is new has no such route, and waits for nobody.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;

use super::{Table, Want};
use crate::fib::plan::of_prefix;
use crate::fib::route::{Hop, RouteKey, Target};
use crate::fib::sets::SetId;

/// What a prefix leads by while peers come back.
pub(super) enum Interim {
    /// By what an earlier run left.
    AsLeft(Arc<Target>),
    /// By some hops of that.
    Less(Arc<Target>),
}

impl Table {
    /// Not all peers have said yet what they know: what is wanted of leftovers from now on is not
    /// the last word, until [`Table::end_deferral`] or [`Table::sweep`].
    pub fn defer(&mut self) {
        self.is_deferring = true;
    }

    /// What is wanted by now counts.
    pub fn end_deferral(&mut self) {
        self.is_deferring = false;
        self.heard.clear();
        self.dirty.append(&mut self.returning);
    }

    /// Those at these addresses have said all that they know.
    pub fn hear(&mut self, gateways: Vec<IpAddr>) {
        if self.is_deferring {
            self.heard.extend(gateways);
            self.dirty.extend(&self.returning);
        }
    }

    /// What is wanted for a prefix by now is the last word, whatever is to be said of others.
    pub fn insist(&mut self, prefix: Prefix) {
        self.returning.remove(&prefix);
    }

    /// Notes whether a prefix has a route of an earlier run of whose hops some may not have been
    /// told of yet.
    pub(super) fn note_return(&mut self, prefix: Prefix, before: Option<Want>, want: Option<Want>) {
        let Some(Want::Via(now)) = want else {
            self.returning.remove(&prefix);
            return;
        };
        if let Some(Want::Via(before)) = before {
            // What has come back and left again does not come by waiting.
            let (before, now) = (self.hops_of_set(before), self.hops_of_set(now));
            let has_left = |(_, there): (&RouteKey, &Arc<Target>)| {
                let left = self.hops_of(there).unwrap_or_default();
                left.iter().any(|hop| before.contains(hop) && !now.contains(hop))
            };
            if of_prefix(&self.have, prefix).any(has_left) {
                self.returning.remove(&prefix);
            }
        } else if self.is_deferring {
            let is_left = |(key, there): (&RouteKey, &Arc<Target>)| {
                self.hops_of(there).is_some() && self.leftovers.contains(key)
            };
            if of_prefix(&self.have, prefix).any(is_left) {
                self.returning.insert(prefix);
            }
        }
    }

    /// The hops by which a set of next hops is reached.
    fn hops_of_set(&self, set: SetId) -> &[Hop] {
        self.sets.target(set).and_then(|target| self.hops_of(target)).unwrap_or_default()
    }

    /// What a prefix keeps for now although it is to have another target; none if nothing is to be
    /// waited for any more, or the kernel has it no more as it was left.
    pub(super) fn interim(&mut self, prefix: Prefix, goal: &Target) -> Option<Interim> {
        if !self.returning.contains(&prefix) {
            return None;
        }
        let interim = self.find_interim(prefix, goal);
        match interim {
            None => _ = self.returning.remove(&prefix),
            Some(Interim::Less(ref target)) => self.targets.keep(target),
            Some(Interim::AsLeft(_)) => {}
        }
        interim
    }

    fn find_interim(&self, prefix: Prefix, goal: &Target) -> Option<Interim> {
        let Target::Via(wanted) = goal else { return None };
        let (there, left) = of_prefix(&self.have, prefix).find_map(|(_, there)| {
            let is_whole = there.group().is_none_or(|id| self.groups.is_whole(id));
            Some((there, self.hops_of(there).filter(|_| is_whole)?))
        })?;
        let is_over = |hop: &Hop| hop.gateway.is_none_or(|gateway| self.heard.contains(&gateway));
        let kept: Vec<Hop> =
            left.iter().filter(|hop| wanted.contains(hop) || !is_over(hop)).copied().collect();
        if kept.iter().all(|hop| wanted.contains(hop)) {
            None
        } else if kept.len() == left.len() {
            Some(Interim::AsLeft(there.clone()))
        } else {
            Some(Interim::Less(Arc::new(Target::Via(kept))))
        }
    }

    /// Whether a prefix stays as an earlier run left it, though not all of its hops are wanted
    /// again.
    pub fn is_returning(&self, prefix: Prefix) -> bool {
        self.returning.contains(&prefix)
    }
}
