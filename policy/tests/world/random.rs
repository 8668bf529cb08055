//! Random changes over few names, so that they meet: addresses are claimed twice, namespaces
//! come late, expressions are shared.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    Action, Criterion, DEFAULT_TIER, Holders, HostStage, IpBlock, Labels, NamedPort, Namespace,
    Node, PeerTerm, Pod, Policy, PolicyKind, PolicyOrder, PortMatch, PortName, PortTerm, Protocol,
    Rule, Side,
};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::{Attachment, Change, Interface, PodKey, PolicyId};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn text(of: &'static [&'static str]) -> impl Strategy<Value = Arc<str>> + Clone {
    select(of).prop_map(Arc::from)
}

fn namespace_name() -> impl Strategy<Value = Arc<str>> + Clone {
    text(&["a", "b", "c", "d"])
}

fn pod_key() -> impl Strategy<Value = PodKey> {
    let name = text(&["one", "two", "three", "four"]);
    (namespace_name(), name).prop_map(|(namespace, name)| PodKey { namespace, name })
}

fn policy_id() -> impl Strategy<Value = PolicyId> {
    (namespace_name(), text(&["p", "q"])).prop_map(|(namespace, name)| PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: Some(namespace),
        name,
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    let value = || option::of(text(&["x", "y", "z"]));
    (value(), value()).prop_map(|(app, role)| {
        let app = app.map(|value| ("app".into(), value));
        let role = role.map(|value| ("role".into(), value));
        app.into_iter().chain(role).collect()
    })
}

fn key() -> impl Strategy<Value = Key> {
    let name = text(&["app", "role", "kubernetes.io/metadata.name"]);
    (select(&[Scope::Own, Scope::Namespace][..]), name)
        .prop_map(|(scope, name)| Key { scope, name })
}

/// An expression in normal form.
pub(crate) fn expr() -> impl Strategy<Value = Expr> {
    let values = btree_set(text(&["x", "y", "a", "b"]), 0..3);
    let leaf = prop_oneof![
        1 => Just(Expr::All),
        1 => Just(Expr::Nothing),
        4 => namespace_name().prop_map(Expr::InNamespace),
        2 => key().prop_map(Expr::Has),
        5 => (key(), values).prop_map(|(key, values)| Expr::is_in(key, values)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(Expr::not),
            3 => vec(inner.clone(), 0..3).prop_map(Expr::and),
            2 => vec(inner, 0..3).prop_map(Expr::or),
        ]
    })
}

fn address() -> impl Strategy<Value = Vec<IpAddr>> {
    let four = option::weighted(0.8, (1..6_u8).prop_map(|last| IpAddr::from([10, 0, 0, last])));
    let six =
        option::of((1..4_u16).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])));
    (four, six).prop_map(|(four, six)| four.into_iter().chain(six).collect())
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(&[Protocol::Tcp, Protocol::Udp][..])
}

/// A name that ports may go by.
pub(crate) fn port_name() -> impl Strategy<Value = PortName> {
    (text(&["web", "dns"]), protocol()).prop_map(|(name, protocol)| PortName {
        name,
        protocol,
        holders: Holders::Pods,
    })
}

fn port() -> impl Strategy<Value = NamedPort> {
    let number = select(&[53, 80, 81][..]);
    (port_name(), number).prop_map(|(PortName { name, protocol, .. }, number)| NamedPort {
        name,
        protocol,
        number,
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    let node = option::of(text(&["left", "right"]));
    let flag = || prop::bool::weighted(0.1);
    let created = text(&["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
    let ports = btree_set(port(), 0..3);
    (pod_key(), labels(), node, flag(), flag(), address(), ports, created).prop_map(
        |(key, labels, node, host_network, finished, addresses, ports, created)| Pod {
            key,
            labels,
            node,
            host_network,
            finished,
            addresses,
            ports,
            created,
            service_account: "default".into(),
        },
    )
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let block = IpBlock { cidr: "10.0.0.0/8".parse().expect("a block"), except: Vec::new() };
    let peer = prop_oneof![
        4 => expr().prop_map(|expr| PeerTerm::Endpoints(Arc::new(expr))),
        1 => Just(PeerTerm::Block(block)),
    ];
    let port = prop_oneof![
        Just(PortMatch::Any),
        Just(PortMatch::Range(80, 90)),
        text(&["web", "dns"]).prop_map(|name| PortMatch::Named(name, Holders::Pods)),
    ];
    let port = (protocol(), port).prop_map(|(protocol, port)| PortTerm { protocol, port });
    let peers = (vec(peer, 0..3), any::<bool>()).prop_map(|(any_of, negated)| Criterion::Peer {
        side: Side::Source,
        any_of,
        negated,
    });
    let ports = vec(port, 0..3);
    let ports = ports.prop_map(|any_of| Criterion::Ports {
        side: Side::Destination,
        any_of,
        negated: false,
    });
    prop_oneof![3 => peers, 2 => ports]
}

fn policy() -> impl Strategy<Value = Policy> {
    let rule = || {
        let criteria = vec(criterion(), 0..3);
        criteria.prop_map(|criteria| Rule { action: Action::Allow, criteria })
    };
    let rules = || option::of(vec(rule(), 0..3));
    let order = option::weighted(0.8, select(&[1000.0, 2000.0][..]));
    let tier = text(&[DEFAULT_TIER, DEFAULT_TIER, DEFAULT_TIER, "nowhere"]);
    (policy_id(), tier, order, expr(), rules(), rules()).prop_map(
        |(id, tier, order, subject, ingress, egress)| Policy {
            id,
            tier,
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

fn namespace() -> impl Strategy<Value = Namespace> {
    (namespace_name(), labels()).prop_map(|(name, mut labels)| {
        labels.insert("kubernetes.io/metadata.name".into(), name.clone());
        Namespace { name, labels }
    })
}

fn node() -> impl Strategy<Value = Node> {
    let number = 1..4_u8;
    (text(&["left", "right"]), number).prop_map(|(name, number)| Node {
        name,
        addresses: BTreeSet::from([IpAddr::from([192, 0, 2, number])]),
        pod_cidrs: BTreeSet::from([format!("10.{number}.0.0/24").parse().expect("a block")]),
        labels: Default::default(),
    })
}

fn interface() -> impl Strategy<Value = Interface> {
    (1..5_u8).prop_map(|number| format!("brn{number}").parse().expect("a name"))
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let pod = option::weighted(0.9, pod_key());
    (text(&["left", "right"]), interface(), pod, address()).prop_map(
        |(node, interface, pod, addresses)| Attachment { node, interface, pod, addresses },
    )
}

/// A change.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => pod().prop_map(|pod| Change::PodApplied(Arc::new(pod))),
        3 => pod_key().prop_map(Change::PodDeleted),
        5 => policy().prop_map(|policy| Change::PolicyApplied(Arc::new(policy))),
        2 => policy_id().prop_map(Change::PolicyDeleted),
        4 => namespace().prop_map(|namespace| Change::NamespaceApplied(Arc::new(namespace))),
        1 => namespace_name().prop_map(Change::NamespaceDeleted),
        6 => attachment().prop_map(|one| Change::Attached(Arc::new(one))),
        2 => interface().prop_map(Change::Detached),
        1 => node().prop_map(|node| Change::NodeApplied(Arc::new(node))),
        1 => text(&["left", "right"]).prop_map(Change::NodeDeleted),
    ]
}
