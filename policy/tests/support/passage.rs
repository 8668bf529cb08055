//! A packet's way past one node, through the tables in the order in which the kernel has them.

use brindle_policy::names::{Device, INTERFACE_MARK};
use brindle_policy::ruleset::{BuiltIn, Table};
use brindle_policy::verdict::{Passage, Way};
use brindle_policy::walk::{End, Packet, State, Walk, walk_in};
use brindle_policy::{Ruleset, World};

/// What became of a packet.
#[derive(Debug)]
pub(crate) struct Passed {
    /// No chain dropped it.
    pub(crate) is_allowed: bool,
    /// What each chain of ours did that a chain of the kernel jumps to.
    pub(crate) walks: Vec<(Table, BuiltIn, Walk)>,
}

impl Passed {
    /// Whether connection tracking does not see it.
    pub(crate) fn is_untracked(&self) -> bool {
        self.walks.last().is_some_and(|(.., walk)| walk.packet.state == State::Untracked)
    }
}

/// Sends a packet of which connection tracking says `state` past `node`, which has `ruleset`.
pub(crate) fn pass(
    ruleset: &Ruleset,
    world: &World,
    node: &str,
    passage: &Passage,
    state: State,
) -> Passed {
    let (raw, mangle, filter) = (Table::Raw, Table::Mangle, Table::Filter);
    let hooks = match passage.way {
        Way::In { .. } => {
            [(raw, BuiltIn::Prerouting), (mangle, BuiltIn::Prerouting), (filter, BuiltIn::Input)]
        }
        Way::Through { .. } => {
            [(raw, BuiltIn::Prerouting), (mangle, BuiltIn::Prerouting), (filter, BuiltIn::Forward)]
        }
        Way::Out { .. } => {
            [(raw, BuiltIn::Output), (mangle, BuiltIn::Output), (filter, BuiltIn::Output)]
        }
    };
    let mut passed = Passed { is_allowed: true, walks: Vec::new() };
    let (mut is_marked, mut is_untracked) = (false, false);
    for (table, from) in hooks {
        let flow = if table == filter { passage.flow } else { passage.original() };
        let mut packet = packet(world, node, passage, &flow);
        packet.is_marked = is_marked;
        packet.state = if is_untracked { State::Untracked } else { state };
        let hook = ruleset.hooks.iter().find(|hook| (hook.table, hook.from) == (table, from));
        let Some(hook) = hook else { continue };
        let walk = walk_in(ruleset, table, &hook.to, &packet);
        is_marked = walk.packet.is_marked;
        is_untracked = walk.packet.state == State::Untracked;
        match &walk.end {
            End::Accept | End::Returned => {}
            End::Drop => passed.is_allowed = false,
            End::Lost(lost) => panic!("{passage:?} in {table} {from:?}: {lost:?}"),
        }
        passed.walks.push((table, from, walk));
        if !passed.is_allowed {
            break;
        }
    }
    passed
}

fn packet(
    world: &World,
    node: &str,
    passage: &Passage,
    flow: &brindle_policy::verdict::Flow,
) -> Packet {
    let (from, to, is_for_this_host) = match passage.way {
        Way::In { from } => (Some(from), None, true),
        Way::Out { to } => (None, Some(to), false),
        Way::Through { from, to } => (Some(from), Some(to), false),
    };
    let is_lo = |device: &Device| device.as_str() == "lo";
    let is_of_pod = |device: &Device| device.as_str().starts_with(INTERFACE_MARK);
    let own = world.node(node).map(|node| node.addresses.clone()).unwrap_or_default();
    Packet {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        source_port: flow.source_port,
        destination_port: flow.destination_port,
        icmp: flow.icmp,
        state: State::New,
        is_from_loopback: from.as_ref().is_some_and(is_lo),
        interface: from.filter(is_of_pod).map(|one| one.as_str().parse().expect("a name")),
        arrives: from.filter(|one| !is_of_pod(one) && !is_lo(one)),
        leaves: to,
        is_to_loopback: to.as_ref().is_some_and(is_lo),
        is_marked: false,
        is_from_this_host: own.contains(&flow.source),
        is_for_this_host,
    }
}
