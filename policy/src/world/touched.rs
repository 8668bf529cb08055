//! What changed between two looks at the world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::Cidr;
use crate::model::{PodKey, PolicyId, PortName, ServiceName};
use crate::names::Interface;
use crate::selector::Expr;

/// What changed since it was last taken: all that a compiler has to look at again. May name
/// more than what changed, never less.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Endpoints that came, went, moved to another node, changed an address or whether they
    /// own it, or are governed by other policies now, or by the same in another order, or are
    /// the subject of other staged ones.
    pub endpoints: BTreeSet<PodKey>,
    /// Policies that came, went, changed their rules, or govern other endpoints now, or would
    /// if they were not staged; and those of a tier that came, went, or changed.
    pub policies: BTreeSet<PolicyId>,
    /// Addresses that came to and went from peer sets, of those sets that policies used when
    /// this was last taken and still use: what is used since then has to be read whole.
    pub peers: BTreeMap<Arc<Expr>, Delta<IpAddr>>,
    /// Likewise blocks, of the sets of peers that are hosts and network sets too
    /// ([`crate::model::PeerTerm::Selected`]); a block of length 0 as its two halves.
    pub selected: BTreeMap<Arc<Expr>, Delta<Cidr>>,
    /// Likewise of named ports.
    pub named_ports: BTreeMap<PortName, Delta<(IpAddr, u16)>>,
    /// Interfaces that came, went, or have another pod or other addresses behind them now.
    pub attachments: BTreeSet<Interface>,
    /// Some node's ranges or addresses changed.
    pub nodes: bool,
    /// Services whose endpoints changed, used by a policy or not.
    pub services: BTreeSet<ServiceName>,
    /// A host endpoint, a profile, an interface of the node or a tier changed, or a policy that
    /// governs a host endpoint or governed one.
    pub hosts: bool,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Touched::default()
    }
}

/// What came to and went from a set. What does both in turn is in neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta<T> {
    /// New members.
    pub added: BTreeSet<T>,
    /// Former members.
    pub removed: BTreeSet<T>,
}

impl<T> Delta<T> {
    /// Whether the set is what it was.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

impl<T> Default for Delta<T> {
    fn default() -> Self {
        Self { added: BTreeSet::new(), removed: BTreeSet::new() }
    }
}

/// How a set is used, and what changed in it.
#[derive(Debug)]
pub(super) struct Watch<T> {
    /// How many policies use it now.
    users: usize,
    /// Whether some policy used it when changes were last taken. What has come in use since
    /// is read whole, so it needs no delta; what went out of use and comes back does need one.
    is_known: bool,
    /// Empty unless that.
    delta: Delta<T>,
}

impl<T> Default for Watch<T> {
    fn default() -> Self {
        Self { users: 0, is_known: false, delta: Delta::default() }
    }
}

impl<T: Ord + Copy> Watch<T> {
    /// Whether what changes in it has to be told.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether somebody uses it.
    pub(super) fn is_used(&self) -> bool {
        self.users > 0
    }

    /// One more policy uses it.
    pub(super) fn acquire(&mut self) {
        self.users += 1;
    }

    /// One policy less uses it.
    pub(super) fn release(&mut self) {
        self.users -= 1;
    }

    /// `member` was in the set and no longer is. Says whether that has to be told.
    pub(super) fn remove(&mut self, member: T) -> bool {
        if self.is_known && !self.delta.added.remove(&member) {
            self.delta.removed.insert(member);
        }
        self.is_known
    }

    /// `member` was not in the set and now is. Says whether that has to be told.
    pub(super) fn add(&mut self, member: T) -> bool {
        if self.is_known && !self.delta.removed.remove(&member) {
            self.delta.added.insert(member);
        }
        self.is_known
    }

    /// What changed, if that matters to somebody.
    pub(super) fn take(&mut self) -> Option<Delta<T>> {
        let delta = std::mem::take(&mut self.delta);
        let tell = self.is_used() && !delta.is_empty();
        self.is_known = self.is_used();
        tell.then_some(delta)
    }
}
