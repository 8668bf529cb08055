//! A packet's way through the nodes of a cluster, each with the chains that were compiled for
//! it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings, compile};
use brindle_policy::model::HostSettings;
use brindle_policy::names::{ChainName, Comment, Fixed};
use brindle_policy::ruleset::{Table, Target};
use brindle_policy::verdict::Flow;
use brindle_policy::walk::{End, Packet, State, Walk, walk};
use brindle_policy::{Family, Ruleset, World};

/// A cluster whose nodes have programmed what the world asks of them.
pub(crate) struct Cluster<'w> {
    world: &'w World,
    rulesets: BTreeMap<(Arc<str>, Family), Ruleset>,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Journey {
    /// It arrived.
    pub(crate) arrived: bool,
    /// The nodes that looked at it, with what they did.
    pub(crate) stages: Vec<(Arc<str>, Fixed, Walk)>,
}

impl<'w> Cluster<'w> {
    /// Compiles for every node.
    pub(crate) fn new(world: &'w World) -> Self {
        let mut rulesets = BTreeMap::new();
        for node in world.nodes() {
            let settings = Settings {
                node: node.name.clone(),
                pod_cidrs: Default::default(),
                masquerade: true,
                // Rules that tell are there too; the next ones decide.
                deny_log: Some(DenyLog { group: 98, per_second: 10 }),
                hosts: HostSettings::default(),
            };
            for family in Family::ALL {
                rulesets.insert((node.name.clone(), family), compile(world, &settings, family));
            }
        }
        Self { world, rulesets }
    }

    /// What a node has programmed.
    pub(crate) fn ruleset(&self, node: &str, family: Family) -> &Ruleset {
        &self.rulesets[&(node.into(), family)]
    }

    /// Sends the first packet of a flow from where its source is to where its destination is.
    pub(crate) fn send(&self, flow: &Flow) -> Journey {
        self.send_as(flow, State::New)
    }

    /// Likewise, with what connection tracking says of the packet on every node.
    pub(crate) fn send_as(&self, flow: &Flow, state: State) -> Journey {
        let (from, to) = (self.node_of(flow.source), self.node_of(flow.destination));
        let is_sent_by_node = |node: &str| self.is_of_node(node, flow.source);
        let mut journey = Journey { arrived: true, stages: Vec::new() };
        let mut nodes: Vec<Arc<str>> = Vec::new();
        // What a node itself sends is not looked at there.
        nodes.extend(from.filter(|node| !is_sent_by_node(node)));
        nodes.extend(to.filter(|node| !nodes.contains(node) && !is_sent_by_node(node)));
        for node in nodes {
            let is_for_this_host = self.is_of_node(&node, flow.destination);
            let start = if is_for_this_host { Fixed::Input } else { Fixed::Forward };
            let of_node = self.world.attachments().filter(|one| one.node == node);
            let interface = of_node.map(|one| one.interface);
            let interface =
                interface.filter(|one| self.world.is_attached(*one, flow.source)).last();
            let packet = Packet {
                source: flow.source,
                destination: flow.destination,
                protocol: flow.protocol,
                source_port: flow.source_port,
                destination_port: flow.destination_port,
                icmp: flow.icmp.or((flow.protocol == 58).then_some((128, 0))),
                arrives: None,
                leaves: None,
                is_to_loopback: false,
                is_marked: false,
                state,
                is_from_loopback: false,
                interface,
                is_from_this_host: false,
                is_for_this_host,
            };
            let ruleset = self.ruleset(&node, Family::of(flow.source));
            let walked = walk(ruleset, &ChainName::fixed(start), &packet);
            match walked.end {
                End::Accept | End::Returned => {}
                End::Drop => journey.arrived = false,
                End::Lost(ref lost) => panic!("{flow} on {node}: {lost:?}"),
            }
            journey.stages.push((node, start, walked));
            if !journey.arrived {
                break;
            }
        }
        journey
    }

    /// What the nodes do with the first packet of a flow that comes through pods' interfaces
    /// which it has no right to come through.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) fn spoof(&self, flow: &Flow) -> Vec<Walk> {
        let has_no_right = |one: &&Arc<brindle_policy::Attachment>| {
            !self.world.is_attached(one.interface, flow.source)
        };
        let walked = self.world.attachments().filter(has_no_right).map(|attachment| {
            let is_for_this_host = self.is_of_node(&attachment.node, flow.destination);
            let start = if is_for_this_host { Fixed::Input } else { Fixed::Forward };
            let packet = Packet {
                source: flow.source,
                destination: flow.destination,
                protocol: flow.protocol,
                source_port: flow.source_port,
                destination_port: flow.destination_port,
                icmp: flow.icmp.or((flow.protocol == 58).then_some((128, 0))),
                arrives: None,
                leaves: None,
                is_to_loopback: false,
                is_marked: false,
                // A made up connection is none the better.
                state: State::Established,
                is_from_loopback: false,
                interface: Some(attachment.interface),
                is_from_this_host: self.is_of_node(&attachment.node, flow.source),
                is_for_this_host,
            };
            let ruleset = self.ruleset(&attachment.node, Family::of(flow.source));
            walk(ruleset, &ChainName::fixed(start), &packet)
        });
        walked.collect()
    }

    /// The comments of the rules of policies that decided on a journey, one for each
    /// direction that such a rule decided.
    #[allow(dead_code, reason = "not every test asks who decided")]
    pub(crate) fn deciding(&self, journey: &Journey, flow: &Flow) -> Vec<Comment> {
        let mut comments = Vec::new();
        for (node, _, walked) in &journey.stages {
            let ruleset = self.ruleset(node, Family::of(flow.source));
            for step in &walked.trail {
                let chain = &ruleset.chains[&(Table::Filter, step.chain.clone())];
                let rule = &chain.rules[step.index];
                let decides = match &rule.target {
                    Target::Accept | Target::Drop => true,
                    Target::Goto(to) => *to == ChainName::fixed(Fixed::Sent),
                    Target::Return
                    | Target::Jump(_)
                    | Target::Log { .. }
                    | Target::Masquerade
                    | Target::NoTrack
                    | Target::Mark
                    | Target::Unmark => false,
                };
                let of_policy = |comment: &&Comment| comment.rule_index().is_some();
                comments.extend(rule.comment.iter().filter(of_policy).filter(|_| decides).cloned());
            }
        }
        comments
    }

    fn is_of_node(&self, node: &str, address: IpAddr) -> bool {
        self.world.node(node).is_some_and(|node| node.addresses.contains(&address))
    }

    /// Where packets to an address are led: to the endpoint's node, to the node that has it,
    /// or to the one in whose range it is; `None` out of the cluster.
    fn node_of(&self, address: IpAddr) -> Option<Arc<str>> {
        if let Some(pod) = self.world.endpoint_at(address) {
            return pod.node.clone();
        }
        let own = self.world.nodes().find(|node| node.addresses.contains(&address));
        let within = || {
            self.world.nodes().find(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(address)))
        };
        own.or_else(within).map(|node| node.name.clone())
    }
}
