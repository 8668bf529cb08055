//! The chains of the node's host endpoints, and the way to them (policy-semantics 5).
//!
//! ```text
//! raw PREROUTING ──► BRN-PREROUTING ─► BRN-HI-... untracked     raw OUTPUT ─► BRN-OUTPUT ─► BRN-HE-...
//! mangle PREROUTING ► BRN-PREROUTING ─► BRN-HI-... pre-DNAT
//! filter INPUT ────► BRN-INPUT ─► BRN-HOST-IN ─► BRN-HI-...     filter OUTPUT ► BRN-OUTPUT ► BRN-HE-...
//! filter FORWARD ──► BRN-FORWARD ─► BRN-HOST-FORWARD ─┬► BRN-HOST-FROM ─► BRN-HI-...
//!                                                     └► BRN-HOST-TO ───► BRN-HE-...
//! ```
//!
//! A host endpoint is found by the interface that a packet comes in or leaves through. A node
//! without host endpoints has none of this. What the untracked or the pre-DNAT stage allows
//! carries our mark from there to the filter table, where the other stages let it pass; what
//! comes in has no mark before it met them.

mod failsafe;
mod judging;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fixed::{Hosted, neighbours, rule};
use super::sets::{self, Source, Sources};
use super::{Built, Context};
use crate::model::{Direction, HostEndpoint, HostInterface, HostStage, PolicyId, Side};
use crate::names::{ChainName, Device, Fixed};
use crate::ruleset::{BuiltIn, Chain, Hook, Match, Purpose, Rule, Table, Target};
use crate::world::World;

/// The stages with the directions in which they judge.
const STAGES: [(HostStage, Direction); 7] = [
    (HostStage::Untracked, Direction::Ingress),
    (HostStage::Untracked, Direction::Egress),
    (HostStage::PreDnat, Direction::Ingress),
    (HostStage::Forward, Direction::Ingress),
    (HostStage::Forward, Direction::Egress),
    (HostStage::Normal, Direction::Ingress),
    (HostStage::Normal, Direction::Egress),
];

/// What a node has because of its host endpoints.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// The chains.
    pub(super) chains: Vec<((Table, ChainName), Built)>,
    /// The jumps to them, besides those that every node has.
    pub(super) hooks: BTreeSet<Hook>,
    /// What the fixed chains have to lead to.
    pub(super) hosted: Hosted,
    /// The policies that take part.
    pub(super) policies: BTreeSet<PolicyId>,
}

/// Which host endpoint each interface of a node has.
struct Owners<'w> {
    /// Those that one fits, other than by `*`.
    named: BTreeMap<Device, &'w Arc<HostEndpoint>>,
    /// That of all other interfaces.
    any: Option<&'w Arc<HostEndpoint>>,
}

/// The host endpoints of a node that do not count for an interface which they fit, with the
/// one that does (policy-semantics 5.1); in order of names.
pub fn shadowed(world: &World, node: &str) -> Vec<(Arc<str>, Arc<str>)> {
    let owners = Owners::of(world, node);
    let mut pairs = BTreeSet::new();
    for one in world.host_endpoints_on(node) {
        let winners = owners.named.iter().filter(|(device, _)| {
            let addresses = world.devices().devices.get(*device).cloned().unwrap_or_default();
            one.fits(**device, &addresses)
        });
        let of_any = owners.any.filter(|_| one.interface == Some(HostInterface::Any));
        let winners = winners.map(|(_, winner)| *winner).chain(of_any);
        let others = winners.filter(|winner| winner.name != one.name);
        pairs.extend(others.map(|winner| (one.name.clone(), winner.name.clone())));
    }
    pairs.into_iter().collect()
}

impl<'w> Owners<'w> {
    fn of(world: &'w World, node: &'w str) -> Self {
        let endpoints = world.host_endpoints_on(node);
        let found = &world.devices().devices;
        let names = endpoints.clone().filter_map(|one| match one.interface {
            Some(HostInterface::Named(device)) => Some(device),
            Some(HostInterface::Any) | None => None,
        });
        let devices: BTreeSet<Device> = names.chain(found.keys().copied()).collect();
        let none = BTreeSet::new();
        let owner = |device: Device| {
            let addresses = found.get(&device).unwrap_or(&none);
            let owner = HostEndpoint::of_interface(endpoints.clone(), device, addresses)?;
            owner.fits(device, addresses).then_some((device, owner))
        };
        // What a host says to itself is nobody's business.
        let devices = devices.into_iter().filter(|device| device.as_str() != "lo");
        let any = endpoints.clone().filter(|one| one.interface == Some(HostInterface::Any));
        Self {
            named: devices.filter_map(owner).collect(),
            any: any.min_by(|a, b| a.name.cmp(&b.name)),
        }
    }

    /// Each host endpoint that counts, once.
    fn all(&self) -> impl Iterator<Item = &'w Arc<HostEndpoint>> {
        let all = self.named.values().copied().chain(self.any);
        all.map(|one| (one.name.clone(), one)).collect::<BTreeMap<_, _>>().into_values()
    }
}

/// The chains of the host endpoints of the node.
pub(super) fn hosts(context: &Context<'_>) -> Hosts {
    let owners = Owners::of(context.world, &context.settings.node);
    let mut hosts = Hosts::default();
    let mut judges = BTreeSet::new();
    for one in owners.all() {
        for (stage, direction) in STAGES {
            // Not supported there (policy-semantics 5.2).
            let is_any = one.interface == Some(HostInterface::Any);
            if stage == HostStage::Untracked && is_any {
                continue;
            }
            let Some(judging) = judging::judging(context, one, stage, direction) else { continue };
            judges.insert((one.name.clone(), stage, direction));
            hosts.policies.extend(judging.policies);
            let chains = judging.chains.into_iter();
            hosts.chains.extend(chains.map(|(name, built)| ((table(stage), name), built)));
        }
    }
    if !judges.is_empty() {
        Ways { context, owners, judges }.lead(&mut hosts);
    }
    hosts
}

fn table(stage: HostStage) -> Table {
    match stage {
        HostStage::Untracked => Table::Raw,
        HostStage::PreDnat => Table::Mangle,
        HostStage::Forward | HostStage::Normal => Table::Filter,
    }
}

/// The ways to the chains of host endpoints.
struct Ways<'a> {
    context: &'a Context<'a>,
    owners: Owners<'a>,
    /// Who judges where.
    judges: BTreeSet<(Arc<str>, HostStage, Direction)>,
}

impl Ways<'_> {
    fn lead(&self, hosts: &mut Hosts) {
        use Direction::{Egress, Ingress};
        let mut add = |table, to, from: Option<BuiltIn>, built: Built| {
            let to = ChainName::fixed(to);
            hosts.hooks.extend(from.map(|from| Hook { table, from, to: to.clone() }));
            hosts.chains.push(((table, to), built));
        };
        add(Table::Filter, Fixed::HostIn, None, self.input());
        add(Table::Filter, Fixed::Output, Some(BuiltIn::Output), self.output());
        if self.has(HostStage::Untracked, Ingress) {
            add(Table::Raw, Fixed::Prerouting, Some(BuiltIn::Prerouting), self.raw(Ingress));
        }
        if self.has(HostStage::Untracked, Egress) {
            add(Table::Raw, Fixed::Output, Some(BuiltIn::Output), self.raw(Egress));
        }
        if self.has(HostStage::PreDnat, Ingress) {
            add(Table::Mangle, Fixed::Prerouting, Some(BuiltIn::Prerouting), self.pre_dnat());
        }
        let forwards = [(Ingress, Fixed::HostFrom), (Egress, Fixed::HostTo)]
            .into_iter()
            .filter(|(direction, _)| self.has(HostStage::Forward, *direction));
        let forwards: Vec<_> = forwards.collect();
        hosts.hosted = Hosted { is_some: true, forwards: !forwards.is_empty() };
        if !forwards.is_empty() {
            let mut add = |to, rules| {
                hosts.chains.push(((Table::Filter, ChainName::fixed(to)), fixed(rules)));
            };
            let allowed = self.marks(Ingress).then(|| rule(vec![Match::Marked], Target::Return));
            let jump = |to: Fixed| rule(Vec::new(), Target::Jump(ChainName::fixed(to)));
            let jumps = forwards.iter().map(|(_, to)| jump(*to));
            add(Fixed::HostForward, allowed.into_iter().chain(jumps).collect());
            for (direction, to) in forwards {
                add(to, self.dispatch(HostStage::Forward, direction));
            }
        }
    }

    /// Whether some host endpoint judges in a stage.
    fn has(&self, stage: HostStage, direction: Direction) -> bool {
        self.judges.iter().any(|(_, s, d)| (*s, *d) == (stage, direction))
    }

    /// Whether packets of a direction may come to the filter table with our mark.
    fn marks(&self, direction: Direction) -> bool {
        self.has(HostStage::Untracked, direction) || self.has(HostStage::PreDnat, direction)
    }

    /// Whether a host endpoint judges in a stage, and by which chain.
    fn chain(
        &self,
        one: &HostEndpoint,
        stage: HostStage,
        direction: Direction,
    ) -> Option<ChainName> {
        let judges = self.judges.contains(&(one.name.clone(), stage, direction));
        judges.then(|| ChainName::host(&one.name, stage, direction, ""))
    }

    /// Leads to the host endpoint of the interface, if that judges.
    fn dispatch(&self, stage: HostStage, direction: Direction) -> Vec<Rule> {
        let mut rules = self.of_named(stage, direction);
        rules.extend(self.of_any(stage, direction));
        rules
    }

    fn of_named(&self, stage: HostStage, direction: Direction) -> Vec<Rule> {
        // Where somebody judges all other interfaces, those of who does not judge are no others.
        let is_other = self.of_any(stage, direction).is_some();
        let rules = self.owners.named.iter().filter_map(|(device, one)| {
            let through = match direction {
                Direction::Ingress => Match::Arrives(*device),
                Direction::Egress => Match::Leaves(*device),
            };
            let target = match self.chain(one, stage, direction) {
                Some(chain) => Target::Goto(chain),
                None if is_other => Target::Return,
                None => return None,
            };
            Some(rule(vec![through], target))
        });
        rules.collect()
    }

    fn of_any(&self, stage: HostStage, direction: Direction) -> Option<Rule> {
        let chain = self.chain(self.owners.any?, stage, direction)?;
        Some(rule(Vec::new(), Target::Goto(chain)))
    }

    /// Packets for processes of this host, those of its pods and its own left out.
    fn input(&self) -> Built {
        let allowed = rule(vec![Match::Marked], Target::Accept);
        let mut rules: Vec<Rule> =
            self.marks(Direction::Ingress).then_some(allowed).into_iter().collect();
        rules.extend(self.dispatch(HostStage::Normal, Direction::Ingress));
        fixed(rules)
    }

    /// Packets that processes of this host send, to its pods and to itself left out.
    fn output(&self) -> Built {
        let mut sources = Sources::new();
        let mut rules = vec![rule(vec![Match::ToLoopback], Target::Return)];
        rules.extend(neighbours(self.context.family));
        rules.push(self.of_pods(Side::Destination, &mut sources));
        if self.marks(Direction::Egress) {
            rules.push(rule(vec![Match::Marked], Target::Accept));
        }
        rules.extend(self.dispatch(HostStage::Normal, Direction::Egress));
        Built { sources, ..fixed(rules) }
    }

    /// Packets before connection tracking sees them.
    fn raw(&self, direction: Direction) -> Built {
        let mut sources = Sources::new();
        let mut rules = vec![rule(Vec::new(), Target::Unmark)];
        rules.extend(self.on());
        match direction {
            Direction::Ingress => rules.push(rule(vec![Match::FromLoopback], Target::Return)),
            Direction::Egress => {
                rules.push(rule(vec![Match::ToLoopback], Target::Return));
                rules.push(self.of_pods(Side::Destination, &mut sources));
            }
        }
        rules.extend(self.dispatch(HostStage::Untracked, direction));
        Built { sources, ..fixed(rules) }
    }

    /// Packets that come in, before their destination is translated. What pods send is no
    /// business of who has all interfaces: only in the forward stage those of pods count.
    fn pre_dnat(&self) -> Built {
        let (stage, direction) = (HostStage::PreDnat, Direction::Ingress);
        let mut sources = Sources::new();
        let mut rules = Vec::new();
        if self.has(HostStage::Untracked, direction) {
            rules.push(rule(vec![Match::Marked], Target::Return));
        } else {
            rules.push(rule(Vec::new(), Target::Unmark));
        }
        rules.extend(self.on());
        rules.push(rule(vec![Match::FromLoopback], Target::Return));
        rules.push(rule(vec![Match::Established], Target::Return));
        rules.extend(self.of_named(stage, direction));
        if let Some(of_any) = self.of_any(stage, direction) {
            rules.push(rule(vec![Match::FromPod], Target::Return));
            rules.push(self.of_pods(Side::Source, &mut sources));
            rules.push(of_any);
        }
        Built { sources, ..fixed(rules) }
    }

    /// What is always open, before the filter table: it goes on.
    fn on(&self) -> impl Iterator<Item = Rule> {
        neighbours(self.context.family).into_iter().map(|open| rule(open.matches, Target::Return))
    }

    /// Leaves out what one end is a local endpoint of.
    fn of_pods(&self, side: Side, sources: &mut Sources) -> Rule {
        let set = sets::note(sources, Source::Local, self.context.family);
        rule(vec![Match::InSet { side, set, negated: false }], Target::Return)
    }
}

fn fixed(rules: Vec<Rule>) -> Built {
    Built { chain: Chain { purpose: Purpose::Fixed, rules }, sources: Sources::new() }
}
