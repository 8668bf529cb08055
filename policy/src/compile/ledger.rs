//! Keeps the ruleset, counts who uses which set, and writes down what changes as a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Built;
use super::places::{Moves, Places};
use super::sets::{self, Source, Sources};
use crate::address::{Cidr, Family};
use crate::names::{ChainName, Interface, SetName};
use crate::ruleset::{ChainOp, Hook, Member, Members, Plan, Ruleset, Set, SetOp, Table};
use crate::world::{Touched, World};

/// A ruleset under change.
#[derive(Debug)]
pub(super) struct Ledger {
    ruleset: Ruleset,
    /// What each set that chains use stands for, and how many chains do.
    used: BTreeMap<SetName, (Source, usize)>,
    /// What the chains written since the last plan ask for.
    chains: BTreeMap<Table, BTreeMap<ChainName, ChainOp>>,
    /// Sets that came into use or out of it since.
    unsettled: BTreeSet<SetName>,
}

/// What sets are filled from.
pub(super) struct Content<'a> {
    pub(super) world: &'a World,
    pub(super) places: &'a Places,
    /// The ranges of all nodes' pods.
    pub(super) ranges: &'a BTreeSet<Cidr>,
    /// The addresses of local endpoints with their interfaces.
    pub(super) attached: &'a BTreeSet<(IpAddr, Interface)>,
}

impl Ledger {
    pub(super) fn new(family: Family) -> Self {
        Self {
            ruleset: Ruleset::new(family),
            used: BTreeMap::new(),
            chains: BTreeMap::new(),
            unsettled: BTreeSet::new(),
        }
    }

    pub(super) fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    pub(super) fn into_ruleset(self) -> Ruleset {
        self.ruleset
    }

    /// Puts a chain in place of what had its name.
    pub(super) fn write(&mut self, table: Table, name: ChainName, built: Built) {
        let Built { chain, sources } = built;
        let key = (table, name);
        let before = self.ruleset.chains.get(&key).cloned();
        self.take_up(sources);
        if before.as_deref() == Some(&chain) {
            return;
        }
        for set in sets::used(&chain.rules) {
            let (_, count) = self.used.get_mut(set).expect("a chain tells the sources of its sets");
            *count += 1;
        }
        if let Some(before) = before {
            self.release(&sets::used(&before.rules));
        }
        let chain = Arc::new(chain);
        self.ruleset.chains.insert(key.clone(), chain.clone());
        self.chains.entry(table).or_default().insert(key.1, ChainOp::Write(chain));
    }

    /// Removes a chain, if it is there.
    pub(super) fn remove(&mut self, table: Table, name: ChainName) {
        let key = (table, name);
        if let Some(before) = self.ruleset.chains.remove(&key) {
            self.release(&sets::used(&before.rules));
            self.chains.entry(table).or_default().insert(key.1, ChainOp::Remove);
        }
    }

    /// What is to be done since the last plan, the hooks being `hooks` from now on.
    pub(super) fn plan(
        &mut self,
        content: &Content<'_>,
        touched: &Touched,
        moves: &Moves,
        hooks: BTreeSet<Hook>,
    ) -> Plan {
        let mut plan = Plan::new(self.ruleset.family);
        plan.chains = std::mem::take(&mut self.chains);
        plan.unhook = self.ruleset.hooks.difference(&hooks).cloned().collect();
        plan.hook = hooks.difference(&self.ruleset.hooks).cloned().collect();
        self.ruleset.hooks = hooks;
        for op in self.changed_sets(content, touched, moves) {
            plan.note(op);
        }
        for name in std::mem::take(&mut self.unsettled) {
            match self.used.get(&name) {
                Some((_, 0)) | None => {
                    self.used.remove(&name);
                    if self.ruleset.sets.remove(&name).is_some() {
                        plan.destroy.push(name);
                    }
                }
                Some((source, _)) if !self.ruleset.sets.contains_key(&name) => {
                    let members = self.members(source, content);
                    let set = Set { about: source.about(), members: members.clone() };
                    self.ruleset.sets.insert(name.clone(), set);
                    plan.note(SetOp::Create(name, members));
                }
                Some(_) => {}
            }
        }
        plan
    }

    /// Learns what the sets of a chain stand for.
    fn take_up(&mut self, sources: Sources) {
        for (name, source) in sources {
            self.unsettled.insert(name.clone());
            self.used.entry(name).or_insert((source, 0));
        }
    }

    fn release(&mut self, names: &BTreeSet<&SetName>) {
        for &name in names {
            let (_, count) = self.used.get_mut(name).expect("sets of a chain are counted");
            *count -= 1;
            self.unsettled.insert(name.clone());
        }
    }

    /// Who is in a set.
    fn members(&self, source: &Source, content: &Content<'_>) -> Members {
        let Content { world, places, ranges, attached } = content;
        let family = self.ruleset.family;
        match source {
            Source::Peers(expr) => Members::Addresses(world.peer_addresses(expr, family)),
            Source::Blocks(blocks) => Members::Blocks(blocks.clone()),
            Source::Port(port) => {
                let found = world.port_addresses(port, family);
                Members::Ports(found.into_iter().map(|(ip, n)| (ip, port.protocol, n)).collect())
            }
            Source::Selected(expr) => Members::Blocks(world.selected(expr, family)),
            Source::ServiceAddresses(service) => {
                let found = world.service_endpoints(service).addresses.into_iter();
                Members::Addresses(found.filter(|ip| Family::of(*ip) == family).collect())
            }
            Source::ServicePorts(service) => {
                let found = world.service_endpoints(service).ports.into_iter();
                Members::Ports(found.filter(|(ip, ..)| Family::of(*ip) == family).collect())
            }
            Source::Local => Members::Addresses(places.local.keys().copied().collect()),
            Source::Attached => Members::Attached((*attached).clone()),
            Source::Ranges => Members::Blocks((*ranges).clone()),
            Source::Elsewhere => Members::Addresses(places.elsewhere.keys().copied().collect()),
        }
    }

    /// Brings the sets that are there up to date.
    fn changed_sets(
        &mut self,
        content: &Content<'_>,
        touched: &Touched,
        moves: &Moves,
    ) -> Vec<SetOp> {
        let mut ops = self.changed_wholes(content, touched);
        let mut doubtful: BTreeMap<SetName, BTreeSet<Member>> = BTreeMap::new();
        let family = self.ruleset.family;
        for (expr, delta) in &touched.peers {
            let members = delta.added.union(&delta.removed).copied().map(Member::Address);
            let name = Source::Peers(expr.clone()).name(family);
            doubtful.entry(name).or_default().extend(members);
        }
        for (port, delta) in &touched.named_ports {
            let members = delta.added.union(&delta.removed);
            let members = members.map(|&(ip, number)| Member::Port(ip, port.protocol, number));
            let name = Source::Port(port.clone()).name(family);
            doubtful.entry(name).or_default().extend(members);
        }
        for (source, addresses) in
            [(Source::Local, &moves.local), (Source::Elsewhere, &moves.elsewhere)]
        {
            let members = addresses.keys().copied().map(Member::Address);
            doubtful.entry(source.name(family)).or_default().extend(members);
        }
        for (name, doubtful) in doubtful {
            ops.extend(self.settle(name, doubtful, content));
        }
        for (expr, delta) in &touched.selected {
            // Which blocks there are, the world does not tell one by one, but it tells exactly
            // what came and went.
            let of_family = |blocks: &BTreeSet<Cidr>| -> Vec<Member> {
                let blocks = blocks.iter().filter(|block| block.family() == family);
                blocks.copied().map(Member::Block).collect()
            };
            let name = Source::Selected(expr.clone()).name(family);
            ops.extend(self.change(name, of_family(&delta.removed), of_family(&delta.added)));
        }
        ops
    }

    /// Brings those sets that are small up to date that are read whole.
    fn changed_wholes(&mut self, content: &Content<'_>, touched: &Touched) -> Vec<SetOp> {
        let services = touched.services.iter().flat_map(|service| {
            [Source::ServiceAddresses(service.clone()), Source::ServicePorts(service.clone())]
        });
        let sources = services.chain([Source::Attached, Source::Ranges]);
        let mut ops = Vec::new();
        for source in sources {
            let name = source.name(self.ruleset.family);
            let Some(set) = self.ruleset.sets.get(&name) else { continue };
            let now = self.members(&source, content);
            if set.members != now {
                let go = set.members.iter().filter(|member| !now.contains(*member)).collect();
                ops.extend(self.change(name, go, now.iter().collect()));
            }
        }
        ops
    }

    /// Takes members out of a set, if it is there, and puts some in.
    fn change(&mut self, name: SetName, go: Vec<Member>, come: Vec<Member>) -> Option<SetOp> {
        let set = self.ruleset.sets.get_mut(&name)?;
        let (_, count) = self.used.get(&name)?;
        let (remove, add) = sets::change(&mut set.members, go, come);
        let is_needed = *count > 0 && !(remove.is_empty() && add.is_empty());
        is_needed.then_some(SetOp::Change { set: name, remove, add })
    }

    /// Puts those of `doubtful` into a set that belong there and takes out the others.
    fn settle(
        &mut self,
        name: SetName,
        doubtful: BTreeSet<Member>,
        content: &Content<'_>,
    ) -> Option<SetOp> {
        let family = self.ruleset.family;
        let (source, _) = self.used.get(&name)?;
        let belongs = |member: &Member| match (source, *member) {
            (Source::Peers(expr), Member::Address(address)) => {
                Family::of(address) == family && sets::is_peer(content.world, expr, address)
            }
            (Source::Port(port), Member::Port(address, protocol, number)) => {
                Family::of(address) == family
                    && protocol == port.protocol
                    && sets::has_port(content.world, port, address, number)
            }
            (Source::Local, Member::Address(address)) => {
                content.places.local.contains_key(&address)
            }
            (Source::Elsewhere, Member::Address(address)) => {
                content.places.elsewhere.contains_key(&address)
            }
            (
                Source::Peers(_)
                | Source::Port(_)
                | Source::Local
                | Source::Elsewhere
                | Source::Selected(_)
                | Source::ServiceAddresses(_)
                | Source::ServicePorts(_)
                | Source::Blocks(_)
                | Source::Ranges
                | Source::Attached,
                Member::Address(_) | Member::Block(_) | Member::Port(..) | Member::Attached(..),
            ) => false,
        };
        let (stay, go): (Vec<Member>, Vec<Member>) = doubtful.into_iter().partition(belongs);
        self.change(name, go, stay)
    }
}
