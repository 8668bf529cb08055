//! Random changes over few names, so that they meet: addresses are claimed twice, namespaces
//! come late, expressions are shared.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    ACCOUNT_NAME_LABEL, AccountKey, Action, Criterion, DEFAULT_ALLOW_PROFILE, DEFAULT_TIER,
    DeviceAddresses, EndpointSlice, Holders, HostEndpoint, HostStage, IpBlock, Labels, NamedPort,
    Namespace, NetworkSet, NetworkSetId, Node, PeerTerm, Pod, Policy, PolicyKind, PolicyOrder,
    PortMatch, PortName, PortTerm, Profile, Protocol, Rule, ServiceAccount, ServiceName, Side,
    SliceKey, StagedAction, Tier, TierAction,
};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::{Attachment, Change, Cidr, Interface, PodKey, PolicyId};
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
    let name = text(&["app", "role", "kubernetes.io/metadata.name", ACCOUNT_NAME_LABEL]);
    (select(&[Scope::Own, Scope::Namespace, Scope::ServiceAccount][..]), name)
        .prop_map(|(scope, name)| Key { scope, name })
}

/// An expression in normal form.
pub(crate) fn expr() -> impl Strategy<Value = Expr> {
    let values = btree_set(text(&["x", "y", "a", "b", "robot"]), 0..3);
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
    (text(&["web", "dns"]), protocol(), holders()).prop_map(|(name, protocol, holders)| PortName {
        name,
        protocol,
        holders,
    })
}

fn holders() -> impl Strategy<Value = Holders> {
    select(&[Holders::Pods, Holders::Endpoints][..])
}

fn account_name() -> impl Strategy<Value = Arc<str>> {
    text(&["default", "robot"])
}

fn account_key() -> impl Strategy<Value = AccountKey> {
    (namespace_name(), account_name()).prop_map(|(namespace, name)| AccountKey { namespace, name })
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
    let flags = (flag(), flag());
    (pod_key(), labels(), node, flags, address(), ports, created, account_name()).prop_map(
        |(key, labels, node, flags, addresses, ports, created, service_account)| Pod {
            key,
            labels,
            node,
            host_network: flags.0,
            finished: flags.1,
            addresses,
            ports,
            created,
            service_account,
        },
    )
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let block = IpBlock { cidr: "10.0.0.0/8".parse().expect("a block"), except: Vec::new() };
    let peer = prop_oneof![
        4 => expr().prop_map(|expr| PeerTerm::Endpoints(Arc::new(expr))),
        4 => expr().prop_map(|expr| PeerTerm::Selected(Arc::new(expr))),
        1 => Just(PeerTerm::Block(block)),
    ];
    let port = prop_oneof![
        Just(PortMatch::Any),
        Just(PortMatch::Range(80, 90)),
        (text(&["web", "dns"]), holders()).prop_map(|(name, of)| PortMatch::Named(name, of)),
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

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let criteria = vec(criterion(), 0..3);
    vec(criteria.prop_map(|criteria| Rule { action: Action::Allow, criteria }), 0..3)
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = || option::of(rules());
    let stage = prop_oneof![3 => Just(HostStage::Normal), 1 => select(&HostStage::ALL[..])];
    let standing = (stage, option::weighted(0.1, Just(StagedAction::Set)));
    let order = option::weighted(0.8, select(&[1000.0, 2000.0][..]));
    let tier = text(&[DEFAULT_TIER, DEFAULT_TIER, DEFAULT_TIER, "nowhere"]);
    (policy_id(), tier, order, expr(), standing, rules(), rules()).prop_map(
        |(id, tier, order, subject, (stage, staged), ingress, egress)| Policy {
            id,
            tier,
            order: PolicyOrder::new(order),
            subject: Arc::new(subject),
            stage,
            staged,
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

/// Labels of what is no pod, some of which stand in for inherited ones.
fn labels_of_other() -> impl Strategy<Value = Labels> {
    let key = text(&["app", "pcns.role", "pcsa.app", "pcns.kubernetes.io/metadata.name"]);
    let more = option::of((key, text(&["x", "y", "a"])));
    (labels(), more).prop_map(|(labels, more)| labels.into_iter().chain(more).collect())
}

fn host_name() -> impl Strategy<Value = Arc<str>> {
    text(&["one", "two", "three"])
}

fn host() -> impl Strategy<Value = HostEndpoint> {
    let profiles = vec(text(&["p", "q", "none", DEFAULT_ALLOW_PROFILE]), 0..3);
    let (node, ports) = (text(&["left", "right"]), btree_set(port(), 0..3));
    (host_name(), labels_of_other(), node, address(), ports, profiles).prop_map(
        |(name, labels, node, expected, ports, profiles)| HostEndpoint {
            name,
            labels,
            node,
            interface: None,
            expected: expected.into_iter().collect(),
            ports,
            profiles,
        },
    )
}

fn set_id() -> impl Strategy<Value = NetworkSetId> {
    (option::of(namespace_name()), text(&["s", "t"]))
        .prop_map(|(namespace, name)| NetworkSetId { namespace, name })
}

/// Of pods' addresses, around them, everything.
fn net() -> impl Strategy<Value = Cidr> {
    let nets = [
        "10.0.0.1/32",
        "10.0.0.2/32",
        "10.0.0.0/30",
        "10.0.0.0/8",
        "0.0.0.0/1",
        "0.0.0.0/0",
        "fd00::1/128",
        "fd00::/64",
        "::/0",
    ];
    select(nets.to_vec()).prop_map(|net| net.parse().expect("a block"))
}

fn set() -> impl Strategy<Value = NetworkSet> {
    (set_id(), labels_of_other(), btree_set(net(), 0..4))
        .prop_map(|(id, labels, nets)| NetworkSet { id, labels, nets })
}

fn profile_name() -> impl Strategy<Value = Arc<str>> {
    text(&["p", "q", DEFAULT_ALLOW_PROFILE])
}

fn profile() -> impl Strategy<Value = Profile> {
    (profile_name(), labels_of_other(), rules(), rules()).prop_map(
        |(name, labels, ingress, egress)| Profile {
            name,
            labels,
            ingress,
            egress,
            problems: Vec::new(),
        },
    )
}

fn tier_name() -> impl Strategy<Value = Arc<str>> {
    text(&["nowhere", "elsewhere", DEFAULT_TIER])
}

fn tier() -> impl Strategy<Value = Tier> {
    let order = option::of(select(&[1.0, 2_000_000.0][..]));
    let action = select(&[TierAction::Deny, TierAction::Pass][..]);
    (tier_name(), order, action).prop_map(|(name, order, default_action)| Tier {
        name,
        order: PolicyOrder::new(order),
        default_action,
    })
}

fn slice_key() -> impl Strategy<Value = SliceKey> {
    text(&["one", "two", "three"]).prop_map(|name| SliceKey { namespace: "a".into(), name })
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let service = option::weighted(0.9, text(&["s", "t"]));
    let ports = btree_set((protocol(), select(&[53, 80][..])), 0..3);
    (slice_key(), service, address(), ports).prop_map(|(key, service, addresses, ports)| {
        EndpointSlice {
            key,
            service: service.map(|name| ServiceName { namespace: "a".into(), name }),
            addresses: addresses.into_iter().collect(),
            ports,
        }
    })
}

fn devices() -> impl Strategy<Value = DeviceAddresses> {
    address().prop_map(|addresses| {
        let device = "eth0".parse().expect("a name");
        DeviceAddresses { devices: [(device, addresses.into_iter().collect())].into() }
    })
}

fn account() -> impl Strategy<Value = ServiceAccount> {
    (account_key(), labels()).prop_map(|(key, labels)| ServiceAccount::new(key, labels))
}

/// A change of what is no pod and governs none.
fn change_of_other() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => account().prop_map(|account| Change::ServiceAccountApplied(Arc::new(account))),
        1 => account_key().prop_map(Change::ServiceAccountDeleted),
        5 => host().prop_map(|host| Change::HostEndpointApplied(Arc::new(host))),
        1 => host_name().prop_map(Change::HostEndpointDeleted),
        6 => set().prop_map(|set| Change::NetworkSetApplied(Arc::new(set))),
        2 => set_id().prop_map(Change::NetworkSetDeleted),
        3 => profile().prop_map(|profile| Change::ProfileApplied(Arc::new(profile))),
        1 => profile_name().prop_map(Change::ProfileDeleted),
        2 => tier().prop_map(|tier| Change::TierApplied(Arc::new(tier))),
        1 => tier_name().prop_map(Change::TierDeleted),
        2 => slice().prop_map(|slice| Change::SliceApplied(Arc::new(slice))),
        1 => slice_key().prop_map(Change::SliceDeleted),
        1 => devices().prop_map(|devices| Change::Devices(Arc::new(devices))),
    ]
}

/// A change.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        20 => change_of_other(),
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
