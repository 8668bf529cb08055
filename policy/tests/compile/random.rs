//! Random policies of every kind that the model has, all that their peers may be besides
//! pods, and nodes whose ranges meet the pods' addresses; all else from the random world.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings};
use brindle_policy::model::{
    AccountKey, Action, Criterion, EndpointSlice, Holders, HostEndpoint, HostSettings, HostStage,
    IpBlock, Labels, NamedPort, NetworkSet, NetworkSetId, Node, PeerTerm, Policy, PolicyKind,
    PolicyOrder, PortMatch, PortTerm, Protocol, Rule, ServiceAccount, ServiceName, Side, SliceKey,
    StagedAction, Tier, TierAction,
};
use brindle_policy::selector::{Expr, Key, Scope, TextMatch};
use brindle_policy::{Change, Cidr, Family, PolicyId};
use proptest::collection::{btree_map, btree_set, vec};
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

/// An expression, that may look at accounts too.
fn expr() -> impl Strategy<Value = Expr> {
    let scope = select(&[Scope::Own, Scope::Namespace, Scope::ServiceAccount][..]);
    let key = (scope, select(&["app", "role"][..]))
        .prop_map(|(scope, name)| Key { scope, name: name.into() });
    let also =
        (key, select(&["x", "y"][..]), any::<bool>()).prop_map(|(key, text, whole)| match whole {
            true => Expr::is_in(key, BTreeSet::from([text.into()])),
            false => Expr::Text(key, TextMatch::StartsWith, text.into()),
        });
    prop_oneof![
        2 => world::expr(),
        1 => also.clone(),
        1 => (world::expr(), also.clone()).prop_map(|(a, b)| Expr::and([a, b])),
        1 => (world::expr(), also).prop_map(|(a, b)| Expr::or([a, Expr::not(b)])),
    ]
}

fn service() -> impl Strategy<Value = ServiceName> {
    (select(&["a", "b"][..]), select(&["web", "db"][..])).prop_map(|(namespace, name)| {
        ServiceName { namespace: namespace.into(), name: name.into() }
    })
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let block = (cidr(), vec(cidr(), 0..3)).prop_map(|(cidr, except)| IpBlock { cidr, except });
    let peer = prop_oneof![
        3 => world::expr().prop_map(|expr| PeerTerm::Endpoints(Arc::new(expr))),
        3 => expr().prop_map(|expr| PeerTerm::Selected(Arc::new(expr))),
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
        1 => world::port_name().prop_map(|name| {
            let port = PortMatch::Named(name.name, Holders::Endpoints);
            PortTerm { protocol: name.protocol, port }
        }),
    ];
    let negated = || prop::bool::weighted(0.3);
    prop_oneof![
        5 => (side(), vec(peer, 0..4), negated())
            .prop_map(|(side, any_of, negated)| Criterion::Peer { side, any_of, negated }),
        3 => (side(), vec(term, 0..4), prop::bool::weighted(0.1))
            .prop_map(|(side, any_of, negated)| Criterion::Ports { side, any_of, negated }),
        1 => select(&Family::ALL[..]).prop_map(Criterion::Family),
        1 => (select(&[3, 8][..]), option::of(Just(1)), negated())
            .prop_map(|(kind, code, negated)| Criterion::Icmp { kind, code, negated }),
        2 => (side(), service(), any::<bool>()).prop_map(|(side, service, with_ports)| {
            Criterion::Service { side, service, with_ports }
        }),
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
    let tier = select(&["kube-admin", "default", "default", "kube-baseline", "mine"][..]);
    let order = option::weighted(0.8, select(&[10.0, 1000.0][..]));
    let actions = [
        StagedAction::Set,
        StagedAction::Set,
        StagedAction::Delete,
        StagedAction::Learn,
        StagedAction::Ignore,
    ];
    let action = select(actions.to_vec());
    let stage = select(
        &[
            HostStage::Normal,
            HostStage::Normal,
            HostStage::Normal,
            HostStage::Forward,
            HostStage::PreDnat,
        ][..],
    );
    (policy_id(), tier, order, expr(), rules(), rules(), (action, stage)).prop_map(
        |(id, tier, order, subject, ingress, egress, (action, stage))| Policy {
            staged: id.kind.enforced().map(|_| action),
            id,
            tier: tier.into(),
            order: PolicyOrder::new(order),
            subject: Arc::new(subject),
            stage,
            ingress,
            egress,
            problems: Vec::new(),
        },
    )
}

pub(crate) fn policy_id() -> impl Strategy<Value = PolicyId> {
    // Mostly Kubernetes', and otherwise those that are proposed for the same names.
    const KINDS: [PolicyKind; 4] = [
        PolicyKind::NetworkPolicy,
        PolicyKind::NetworkPolicy,
        PolicyKind::CalicoNetworkPolicy,
        PolicyKind::StagedKubernetesNetworkPolicy,
    ];
    (select(&KINDS[..]), select(&["a", "b"][..]), select(&["p", "q", "r"][..])).prop_map(
        |(kind, namespace, name)| PolicyId {
            kind,
            namespace: Some(namespace.into()),
            name: name.into(),
        },
    )
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(
        select(&["app", "role"][..]).prop_map(Arc::from),
        select(&["x", "y"][..]).prop_map(Arc::from),
        0..3,
    )
}

fn tier() -> impl Strategy<Value = Change> {
    let action = option::of(select(&[TierAction::Deny, TierAction::Pass][..]));
    let order = option::of(select(&[10.0, 2_000_000.0][..]));
    (select(&["mine", "default", "kube-admin"][..]), order, action).prop_map(
        |(name, order, action)| match action {
            None => Change::TierDeleted(name.into()),
            Some(default_action) => Change::TierApplied(Arc::new(Tier {
                name: name.into(),
                order: PolicyOrder::new(order),
                default_action,
            })),
        },
    )
}

fn network_set() -> impl Strategy<Value = Change> {
    let namespace = option::of(select(&["a", "b"][..]));
    let name = select(&["one", "two"][..]);
    let set = option::weighted(0.8, (labels(), btree_set(cidr(), 0..4)));
    (namespace, name, set).prop_map(|(namespace, name, set)| {
        let id = NetworkSetId { namespace: namespace.map(Arc::from), name: name.into() };
        match set {
            None => Change::NetworkSetDeleted(id),
            Some((labels, nets)) => {
                Change::NetworkSetApplied(Arc::new(NetworkSet { id, labels, nets }))
            }
        }
    })
}

fn host() -> impl Strategy<Value = Change> {
    let name = select(&["one", "two"][..]);
    let expected = btree_set((1..6_u8).prop_map(|last| IpAddr::from([10, 0, 0, last])), 0..3);
    let number = select(&[53, 80][..]);
    let port = (world::port_name(), number).prop_map(|(port, number)| NamedPort {
        name: port.name,
        protocol: port.protocol,
        number,
    });
    let host = option::weighted(0.8, (labels(), expected, btree_set(port, 0..3)));
    (name, host).prop_map(|(name, host)| match host {
        None => Change::HostEndpointDeleted(name.into()),
        Some((labels, expected, ports)) => Change::HostEndpointApplied(Arc::new(HostEndpoint {
            name: name.into(),
            labels,
            node: "elsewhere".into(),
            interface: None,
            expected,
            ports,
            profiles: Vec::new(),
        })),
    })
}

fn account() -> impl Strategy<Value = Change> {
    let key = select(&["a", "b"][..])
        .prop_map(|namespace| AccountKey { namespace: namespace.into(), name: "default".into() });
    (key, option::weighted(0.8, labels())).prop_map(|(key, labels)| match labels {
        None => Change::ServiceAccountDeleted(key),
        Some(labels) => Change::ServiceAccountApplied(Arc::new(ServiceAccount::new(key, labels))),
    })
}

fn slice() -> impl Strategy<Value = Change> {
    let key = (select(&["a", "b"][..]), select(&["one", "two"][..]));
    let address = prop_oneof![
        (1..6_u8).prop_map(|last| IpAddr::from([10, 0, 0, last])),
        (1..4_u16).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])),
    ];
    let port = (select(&Protocol::ALL[..]), select(&[53, 80][..]));
    let slice = (service(), btree_set(address, 0..4), btree_set(port, 0..3));
    (key, option::weighted(0.8, slice)).prop_map(|((namespace, name), slice)| {
        let key = SliceKey { namespace: namespace.into(), name: name.into() };
        match slice {
            None => Change::SliceDeleted(key),
            Some((service, addresses, ports)) => Change::SliceApplied(Arc::new(EndpointSlice {
                key,
                service: Some(service),
                addresses,
                ports,
            })),
        }
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
        2 => tier(),
        3 => network_set(),
        2 => host(),
        2 => account(),
        2 => slice(),
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
