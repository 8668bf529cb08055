//! What can be asked of host endpoints, network sets and what stands for them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::World;
use crate::address::{Cidr, Family};
use crate::model::{
    DeviceAddresses, Direction, HostEndpoint, HostStage, NetworkSet, Policy, Profile, Tier,
};
use crate::selector::Expr;

impl World {
    /// All host endpoints, by name.
    pub fn host_endpoints(&self) -> impl Iterator<Item = &Arc<HostEndpoint>> {
        self.others.hosts()
    }

    /// The host endpoints of a node, by name.
    pub fn host_endpoints_on<'w>(
        &'w self,
        node: &str,
    ) -> impl Iterator<Item = &'w Arc<HostEndpoint>> + Clone + use<'w> {
        let node: Arc<str> = node.into();
        self.others.hosts().filter(move |host| host.node == node)
    }

    /// The interfaces of the node that a ruleset is compiled for.
    pub fn devices(&self) -> &DeviceAddresses {
        &self.devices
    }

    /// One profile; knows the one that is always there.
    pub fn profile(&self, name: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(name).map(|entry| &entry.profile)
    }

    /// All profiles, by name; the one that is always there is among them.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values().map(|entry| &entry.profile)
    }

    /// All network sets: global ones first, then by namespace, by name.
    pub fn network_sets(&self) -> impl Iterator<Item = &Arc<NetworkSet>> {
        self.others.sets()
    }

    /// Whether `expr` holds for a host endpoint, with the labels of its profiles.
    pub fn matches_host(&self, expr: &Expr, host: &HostEndpoint) -> bool {
        expr.matches(&self.face_of_host(host).subject())
    }

    /// Whether `expr` holds for a network set, with the labels of its namespace.
    pub fn matches_set(&self, expr: &Expr, set: &NetworkSet) -> bool {
        expr.matches(&self.face_of_set(set).subject())
    }

    /// Whether a peer of Calico's language stands for `address`
    /// ([`crate::model::PeerTerm::Selected`]): it is that of a pod, a host endpoint or a network
    /// set for which `expr` holds.
    pub fn selects(&self, expr: &Expr, address: IpAddr) -> bool {
        self.endpoint_at(address).is_some_and(|pod| self.matches(expr, pod))
            || self.is_selected_other(expr, address)
    }

    /// The blocks of one family that a peer of Calico's language stands for: those of all that
    /// `expr` holds for; a block of length 0 as its two halves.
    pub fn selected(&self, expr: &Expr, family: Family) -> BTreeSet<Cidr> {
        let mut blocks: BTreeSet<Cidr> =
            self.peer_addresses(expr, family).into_iter().map(Cidr::host).collect();
        for number in self.other_numbers(expr) {
            let of_other = self.others.get(number).other.blocks();
            blocks.extend(of_other.iter().filter(|block| block.family() == family));
        }
        blocks
    }

    /// The policies that govern a host endpoint at a stage, in one direction: for each tier
    /// that has some, in the order of evaluation. Those of [`HostStage::Forward`] take part in
    /// [`HostStage::Normal`] too (policy-semantics 5.2).
    pub fn governing_host(
        &self,
        host: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Vec<(&Tier, Vec<&Arc<Policy>>)> {
        // One that is not, or no longer, what is in the world is judged as it is given.
        let exprs = match self.others.exprs_of_host(host) {
            Some(exprs) => Cow::Borrowed(exprs),
            None => Cow::Owned(self.expressions.holding(&self.face_of_host(host).subject())),
        };
        let takes_part = |policy: &&Arc<Policy>| {
            policy.takes_part(stage) && policy.staged.is_none() && policy.rules(direction).is_some()
        };
        self.by_tier(&exprs, takes_part)
    }
}
