//! From the [`World`] to the chains and sets of one node and family.
//!
//! ```text
//! FORWARD ─► BRN-FORWARD ─┬► BRN-FROM ─► ... ─► BRN-E-pod ─► BRN-PE-policy ─► BRN-SENT ─┐
//! INPUT ───► BRN-INPUT ───┘                                                             │
//!                         └► BRN-TO ◄───────────────────────────────────────────────────┘
//!                              └► ... ─► BRN-I-pod ─► BRN-PI-policy ─► ACCEPT
//! ```
//!
//! A packet of a known connection leaves at the first rule. Any other goes through the
//! dispatch to the chain of the endpoint it comes from, which judges its egress, and what
//! that allows through the dispatch to the chain of the endpoint it goes to. An address of
//! this node's ranges that no endpoint owns is closed both ways. How many rules a packet
//! meets grows with the policies that govern its two ends, with about the cube root of the
//! number of local endpoints, and with nothing else.
//!
//! Before all that, a packet that comes through an interface of our own network plug-in goes on
//! only if its source is an address of the pod behind it, and that pod's chains are there. So
//! an interface whose pod is not known yet is closed, also while nobody is there to open it.
//!
//! No packet needs a mark: what egress allows goes on to [`Fixed::Sent`](crate::names::Fixed)
//! by a jump that does not come back. Only where pods' packets to their host are left to the
//! host's own rules ([`ToHost::Return`](crate::model::ToHost)) they find the way back by one.
//! What the chains of host endpoints do is told in `hosts`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{Cidr, Family};
use crate::model::{Direction, HostSettings, PodKey, Policy, PolicyId, PolicyOrder};
use crate::names::{ChainName, Fixed, Interface};
use crate::ruleset::{Chain, Hook, Plan, Ruleset, Table};
use crate::world::{Touched, World};

pub(crate) mod blocks;
mod criteria;
mod dispatch;
mod endpoint;
mod fixed;
mod hosts;
mod ledger;
mod places;
mod policy;
mod ports;
mod ranges;
mod sets;
mod staged;

use fixed::{Ground, Hosted};
use ledger::{Content, Ledger};
use places::Places;

pub use hosts::shadowed;

/// What a ruleset depends on besides the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The node that it is for.
    pub node: Arc<str>,
    /// The ranges of the node's pods; if empty, those that its Node object has.
    pub pod_cidrs: BTreeSet<Cidr>,
    /// Whether packets from those ranges to outside all nodes' ranges get the node's address.
    pub masquerade: bool,
    /// Who wants to know of denied packets, if someone does.
    pub deny_log: Option<DenyLog>,
    /// Policy on the host itself.
    pub hosts: HostSettings,
}

/// How denied packets are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenyLog {
    /// The NFLOG group.
    pub group: u16,
    /// At most so many a second from each rule.
    pub per_second: u16,
}

/// The ruleset of a node, from scratch.
pub fn compile(world: &World, settings: &Settings, family: Family) -> Ruleset {
    Compiler::new(world, settings.clone(), family).ledger.into_ruleset()
}

/// A ruleset that is kept up to date as the world changes.
#[derive(Debug)]
pub struct Compiler {
    settings: Settings,
    quarantined: BTreeSet<PolicyId>,
    ground: Ground,
    places: Places,
    /// The ranges of all nodes' pods.
    ranges: BTreeSet<Cidr>,
    /// The addresses of local endpoints with the interfaces that they are behind.
    attached: BTreeSet<(IpAddr, Interface)>,
    endpoints: BTreeMap<PodKey, Endpoint>,
    governed: BTreeMap<PolicyId, Governed>,
    hosts: Hosts,
    ledger: Ledger,
}

/// What the compiler remembers of host endpoints.
#[derive(Debug, Default)]
struct Hosts {
    chains: BTreeSet<(Table, ChainName)>,
    hooks: BTreeSet<Hook>,
    hosted: Hosted,
    /// The policies whose rules are in those chains.
    policies: BTreeSet<PolicyId>,
}

/// What the compiler remembers of a local endpoint.
#[derive(Debug, Default)]
struct Endpoint {
    chains: BTreeSet<ChainName>,
    governing: BTreeMap<Direction, BTreeSet<PolicyId>>,
    /// The directions in which its packets are told of for the sake of staged policies.
    told: BTreeSet<Direction>,
}

/// What it remembers of a policy that governs local endpoints.
#[derive(Debug, Default)]
struct Governed {
    endpoints: BTreeMap<Direction, BTreeSet<PodKey>>,
    /// `None` until its chains were looked at.
    shape: Option<Shape>,
}

/// What the chains of the endpoints that a policy governs depend on.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    tier: Arc<str>,
    order: PolicyOrder,
    /// The directions in which its rules stand in chains of its endpoints.
    inline: BTreeSet<Direction>,
    /// The directions that it governs.
    directions: BTreeSet<Direction>,
}

/// A chain, and what the sets in it stand for.
#[derive(Clone, Debug)]
struct Built {
    chain: Chain,
    sources: sets::Sources,
}

/// What chains are made from.
#[derive(Clone, Copy)]
struct Context<'a> {
    world: &'a World,
    settings: &'a Settings,
    family: Family,
    quarantined: &'a BTreeSet<PolicyId>,
}

impl Compiler {
    /// Compiles the world as it is. Its [`Touched`] up to here are to be thrown away.
    pub fn new(world: &World, settings: Settings, family: Family) -> Self {
        Self::build(world, settings, family, BTreeSet::new())
    }

    /// The ruleset.
    pub fn ruleset(&self) -> &Ruleset {
        self.ledger.ruleset()
    }

    /// Follows what changed in the world since the last call. The plan names only chains and
    /// set members that are different now.
    pub fn update(&mut self, world: &World, touched: &Touched) -> Plan {
        if touched.is_empty() {
            return Plan::new(self.ground.family);
        }
        self.follow(world, touched)
    }

    /// Takes other settings.
    pub fn set_settings(&mut self, world: &World, settings: Settings) -> Plan {
        let family = self.ground.family;
        let next = Self::build(world, settings, family, std::mem::take(&mut self.quarantined));
        let plan = crate::diff::between(self.ruleset(), next.ruleset());
        *self = next;
        plan
    }

    /// Takes other policies for quarantined, in place of those that were. What such a policy
    /// governs it still governs, but nothing is allowed by it: the kernel refused a rule of
    /// it, or might.
    pub fn quarantine(&mut self, world: &World, policies: BTreeSet<PolicyId>) -> Plan {
        let policies = std::mem::replace(&mut self.quarantined, policies);
        let policies = policies.symmetric_difference(&self.quarantined).cloned().collect();
        self.follow(world, &Touched { policies, ..Touched::default() })
    }

    fn build(
        world: &World,
        settings: Settings,
        family: Family,
        quarantined: BTreeSet<PolicyId>,
    ) -> Self {
        let mut compiler = Self {
            settings,
            quarantined,
            ground: Ground::none(family),
            places: Places::default(),
            ranges: BTreeSet::new(),
            attached: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            governed: BTreeMap::new(),
            hosts: Hosts::default(),
            ledger: Ledger::new(family),
        };
        let endpoints = world.endpoints_on(&compiler.settings.node);
        let endpoints = endpoints.map(|pod| pod.key.clone()).collect();
        compiler.write_ground(compiler.ground.clone());
        compiler.write_dispatches(&dispatch::Tree::new());
        let all = Touched { endpoints, nodes: true, hosts: true, ..Touched::default() };
        compiler.follow(world, &all);
        compiler
    }

    /// Looks again at what was touched and at what follows from it.
    fn follow(&mut self, world: &World, touched: &Touched) -> Plan {
        let family = self.ground.family;
        let local = ranges::of_node(world, &self.settings, family);
        let mut pods: BTreeSet<&PodKey> = touched.endpoints.iter().collect();
        if local != self.ground.local {
            let is_near = |address: &IpAddr| {
                local.iter().chain(&self.ground.local).any(|range| range.contains(*address))
            };
            let near = world.pods().filter(|pod| pod.addresses.iter().any(is_near));
            pods.extend(near.map(|pod| &pod.key));
        }
        let moves = self.places.moves(world, &self.settings.node, &local, family, pods);
        let tree = (!moves.local.is_empty()).then(|| dispatch::tree(&self.places.local));
        let moved = self.places.settle(&moves);
        // What is told of packets depends on staged policies, and those take no part.
        let concerns =
            |id: &PolicyId| id.kind.enforced().is_some() || self.hosts.policies.contains(id);
        if touched.hosts || touched.policies.iter().any(concerns) {
            self.write_hosts(world);
        }
        let ground = Ground {
            family,
            local,
            masquerade: self.settings.masquerade,
            is_shared: !self.places.elsewhere.is_empty(),
            deny_log: self.settings.deny_log,
            to_host: self.settings.hosts.to_host,
            hosts: self.hosts.hosted,
        };
        if ground != self.ground {
            self.write_ground(ground);
        }
        if let Some(before) = tree {
            self.write_dispatches(&before);
        }
        let mut endpoints = moved;
        endpoints.extend(touched.endpoints.iter().cloned());
        let mut policies = touched.policies.clone();
        for id in &touched.policies {
            endpoints.extend(self.reshaped(world, id));
        }
        if touched.policies.iter().any(|id| id.kind.enforced().is_some()) {
            endpoints.extend(self.told_otherwise(world));
        }
        for key in &endpoints {
            self.write_endpoint(world, key, &mut policies);
        }
        for id in &policies {
            self.write_policy(world, id);
        }
        if touched.nodes {
            self.ranges = ranges::of_all(world, &self.settings, family);
        }
        if !touched.attachments.is_empty() || !moves.local.is_empty() {
            self.attached = self.places.attached(world, &self.settings.node, family);
        }
        let Self { ground, places, ranges, attached, hosts, ledger, .. } = self;
        let content = Content { world, places, ranges, attached };
        let mut hooks = fixed::hooks(ground);
        hooks.extend(hosts.hooks.iter().cloned());
        ledger.plan(&content, touched, &moves, hooks)
    }

    /// Writes all chains of host endpoints: there are few, and what is as it was costs nothing
    /// further on.
    fn write_hosts(&mut self, world: &World) {
        let made = hosts::hosts(&self.context(world));
        let mut now = Hosts {
            chains: BTreeSet::new(),
            hooks: made.hooks,
            hosted: made.hosted,
            policies: made.policies,
        };
        for ((table, name), built) in made.chains {
            now.chains.insert((table, name.clone()));
            self.ledger.write(table, name, built);
        }
        for (table, name) in self.hosts.chains.difference(&now.chains) {
            self.ledger.remove(*table, name.clone());
        }
        self.hosts = now;
    }

    fn write_ground(&mut self, ground: Ground) {
        let postrouting = ChainName::fixed(Fixed::Postrouting);
        let chains = fixed::chains(&ground);
        if !chains.iter().any(|((_, name), _)| *name == postrouting) {
            self.ledger.remove(Table::Nat, postrouting);
        }
        for ((table, name), built) in chains {
            self.ledger.write(table, name, built);
        }
        self.ground = ground;
    }

    /// Writes the chains of the dispatch that are not as they were in `before`.
    fn write_dispatches(&mut self, before: &dispatch::Tree) {
        let now = dispatch::tree(&self.places.local);
        for direction in Direction::ALL {
            let name = |block: &Option<Cidr>| match block {
                None => dispatch::root(direction),
                Some(block) => ChainName::dispatch(direction, *block),
            };
            for (block, parts) in now.iter().filter(|(block, p)| before.get(block) != Some(p)) {
                let chain = dispatch::chain(*block, parts, direction);
                let built = Built { chain, sources: sets::Sources::new() };
                self.ledger.write(Table::Filter, name(block), built);
            }
            for block in before.keys().filter(|block| !now.contains_key(block)) {
                self.ledger.remove(Table::Filter, name(block));
            }
        }
    }

    /// The endpoints whose chains have to be looked at again because a policy that governs
    /// them is not what it was.
    fn reshaped(&self, world: &World, id: &PolicyId) -> BTreeSet<PodKey> {
        let Some(governed) = self.governed.get(id) else { return BTreeSet::new() };
        let shape = world.policy(id).map(|policy| Shape::of(&self.context(world), policy));
        if shape
            .is_some_and(|shape| governed.shape.as_ref() == Some(&shape) && shape.inline.is_empty())
        {
            return BTreeSet::new();
        }
        governed.endpoints.values().flatten().cloned().collect()
    }

    /// The endpoints whose packets are told of for the sake of staged policies, and were not,
    /// or the other way round.
    fn told_otherwise(&self, world: &World) -> Vec<PodKey> {
        let context = self.context(world);
        let is_other = |(key, endpoint): &(&PodKey, &Endpoint)| {
            let Some(pod) = world.pod(key) else { return false };
            let is_told = |d: &Direction| staged::is_told(&context, pod, *d);
            !Direction::ALL.iter().filter(|d| is_told(d)).eq(&endpoint.told)
        };
        let others = self.endpoints.iter().filter(is_other);
        others.map(|(key, _)| key.clone()).collect()
    }

    /// Writes the chains of an endpoint, or removes those of what is none here. Collects the
    /// policies that govern other endpoints than before.
    fn write_endpoint(&mut self, world: &World, key: &PodKey, policies: &mut BTreeSet<PolicyId>) {
        if !self.places.is_local(key) && !self.endpoints.contains_key(key) {
            return;
        }
        let mut before = self.endpoints.remove(key).unwrap_or_default();
        let mut now = Endpoint::default();
        for direction in Direction::ALL {
            let pod = world.pod(key).filter(|_| self.places.is_local(key));
            let judging = pod.map(|pod| endpoint::judging(&self.context(world), pod, direction));
            let judging = judging.unwrap_or_default();
            now.told.extend(judging.is_told.then_some(direction));
            for (name, built) in judging.chains {
                now.chains.insert(name.clone());
                self.ledger.write(Table::Filter, name, built);
            }
            let governed_by = before.governing.remove(&direction).unwrap_or_default();
            for id in governed_by.symmetric_difference(&judging.governing) {
                let governed = self.governed.entry(id.clone()).or_default();
                let endpoints = governed.endpoints.entry(direction).or_default();
                if !endpoints.remove(key) {
                    endpoints.insert(key.clone());
                }
                policies.insert(id.clone());
            }
            now.governing.insert(direction, judging.governing);
        }
        for name in before.chains.difference(&now.chains) {
            self.ledger.remove(Table::Filter, name.clone());
        }
        if !now.chains.is_empty() {
            self.endpoints.insert(key.clone(), now);
        }
    }

    /// Writes the chains of a policy, or removes those that no endpoint goes to.
    fn write_policy(&mut self, world: &World, id: &PolicyId) {
        let policy = world.policy(id);
        let shape = policy.map(|policy| Shape::of(&self.context(world), policy));
        for direction in Direction::ALL {
            let governed = self.governed.get(id).and_then(|g| g.endpoints.get(&direction));
            let is_shared = governed.is_some_and(|endpoints| !endpoints.is_empty())
                && shape.as_ref().is_some_and(|shape| !shape.inline.contains(&direction));
            let policy = policy.filter(|_| is_shared);
            let chain = policy.and_then(|p| policy::chain(&self.context(world), p, direction));
            match chain {
                Some((name, built)) => self.ledger.write(Table::Filter, name, built),
                None => self.ledger.remove(Table::Filter, ChainName::policy(id, direction)),
            }
        }
        if let Some(governed) = self.governed.get_mut(id) {
            match shape {
                Some(shape) if governed.endpoints.values().any(|e| !e.is_empty()) => {
                    governed.shape = Some(shape);
                }
                Some(_) | None => drop(self.governed.remove(id)),
            }
        }
    }

    fn context<'a>(&'a self, world: &'a World) -> Context<'a> {
        Context {
            world,
            settings: &self.settings,
            family: self.ground.family,
            quarantined: &self.quarantined,
        }
    }
}

impl Shape {
    fn of(context: &Context<'_>, policy: &Policy) -> Self {
        let directions = Direction::ALL.into_iter().filter(|d| policy.rules(*d).is_some());
        let inline = Direction::ALL.into_iter();
        Self {
            tier: policy.tier.clone(),
            order: policy.order,
            inline: inline.filter(|d| policy::has_pass(context, policy, *d)).collect(),
            directions: directions.collect(),
        }
    }
}
