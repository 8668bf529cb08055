//! Random policies of every kind that the model has, and nodes whose ranges meet the pods'
//! addresses; all else from the random world.

use std::collections::BTreeSet;
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings};
use brindle_policy::model::{
    Action, Criterion, HostSettings, HostStage, IpBlock, Node, PeerTerm, Policy, PolicyKind,
    PolicyOrder, PortMatch, PortTerm, Protocol, Rule, Side,
};
use brindle_policy::{Change, Cidr, PolicyId};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::random_world as world;

fn cidr() -> impl Strategy<Value = Cidr> {
    const BLOCKS: [&str; 10] = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/30",
        "10.0.0.4/31",
        "10.0.0.3/32",
        "192.0.2.0/24",
        "::/0",
        "fd00::/64",
        "fd00::2/127",
        "fd00::1/128",
    ];
    select(&BLOCKS[..]).prop_map(|text| text.parse().expect("a block"))
}

fn side() -> impl Strategy<Value = Side> {
    select(&[Side::Source, Side::Destination][..])
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let block = (cidr(), vec(cidr(), 0..3)).prop_map(|(cidr, except)| IpBlock { cidr, except });
    let peer = prop_oneof![
        3 => world::expr().prop_map(|expr| PeerTerm::Endpoints(Arc::new(expr))),
        3 => block.prop_map(PeerTerm::Block),
    ];
    let port = prop_oneof![
        2 => Just(None),
        6 => (0..100_u16, 0..30_u16).prop_map(|(first, more)| Some((first, first + more))),
    ];
    let protocol = select(&Protocol::ALL[..]);
    let term = prop_oneof![
        3 => (protocol, port).prop_map(|(protocol, port)| {
            let port = port.map_or(PortMatch::Any, |(a, b)| PortMatch::Range(a, b));
            PortTerm { protocol, port }
        }),
        1 => world::port_name().prop_map(|name| {
            PortTerm { protocol: name.protocol, port: PortMatch::Named(name.name, name.holders) }
        }),
    ];
    let negated = || prop::bool::weighted(0.3);
    prop_oneof![
        5 => (side(), vec(peer, 0..4), negated())
            .prop_map(|(side, any_of, negated)| Criterion::Peer { side, any_of, negated }),
        3 => (side(), vec(term, 0..4)).prop_map(|(side, any_of)| Criterion::Ports { side, any_of, negated: false }),
        1 => (select(&[0, 1, 6, 17, 58][..]), negated())
            .prop_map(|(number, negated)| Criterion::Protocol { number, negated }),
    ]
}

const ACTIONS: &[Action] = &[Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log];

fn policy() -> impl Strategy<Value = Policy> {
    let action = select(ACTIONS);
    let rule =
        (action, vec(criterion(), 0..4)).prop_map(|(action, criteria)| Rule { action, criteria });
    let rule = rule.boxed();
    let rules = || option::weighted(0.7, vec(rule.clone(), 0..4));
    let tier = select(&["kube-admin", "default", "default", "kube-baseline", "nowhere"][..]);
    let order = option::weighted(0.8, select(&[10.0, 1000.0][..]));
    (policy_id(), tier, order, world::expr(), rules(), rules()).prop_map(
        |(id, tier, order, subject, ingress, egress)| Policy {
            id,
            tier: tier.into(),
            order: PolicyOrder::new(order),
            subject: Arc::new(subject),
            stage: HostStage::Normal,
            staged: None,
            ingress,
            egress,
            problems: Vec::new(),
        },
    )
}

pub(crate) fn policy_id() -> impl Strategy<Value = PolicyId> {
    (select(&["a", "b"][..]), select(&["p", "q", "r"][..])).prop_map(|(namespace, name)| PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: Some(namespace.into()),
        name: name.into(),
    })
}

fn node() -> impl Strategy<Value = Node> {
    let name = select(&["left", "right"][..]);
    const RANGES: [&str; 5] =
        ["10.0.0.0/30", "10.0.0.4/30", "10.0.1.0/24", "fd00::/126", "fd00::4/126"];
    let ranges = select(&RANGES[..]).prop_map(|text| text.parse().expect("a block"));
    (name, btree_set(ranges, 0..3)).prop_map(|(name, pod_cidrs)| Node {
        name: name.into(),
        addresses: BTreeSet::new(),
        pod_cidrs,
        labels: Default::default(),
    })
}

/// A change.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        20 => world::change(),
        10 => policy().prop_map(|policy| Change::PolicyApplied(Arc::new(policy))),
        2 => policy_id().prop_map(Change::PolicyDeleted),
        4 => node().prop_map(|node| Change::NodeApplied(Arc::new(node))),
    ]
}

/// Settings of one of the two nodes.
pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let node = select(&["left", "right"][..]);
    let pod_cidrs = prop_oneof![3 => btree_set(cidr(), 0..1), 1 => btree_set(cidr(), 0..3)];
    let deny_log = option::of(Just(DenyLog { group: 98, per_second: 10 }));
    (node, pod_cidrs, any::<bool>(), deny_log).prop_map(
        |(node, pod_cidrs, masquerade, deny_log)| Settings {
            node: node.into(),
            pod_cidrs,
            masquerade,
            deny_log,
            hosts: HostSettings::default(),
        },
    )
}
