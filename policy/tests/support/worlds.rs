//! Random worlds, and flows in them. Few values of each kind, so that things meet: labels
//! match, blocks hold pods, addresses are claimed twice, ports are asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    Action, Criterion, DEFAULT_TIER, Holders, HostStage, IpBlock, Labels, NamedPort, Namespace,
    Node, PeerTerm, Pod, Policy, PolicyKind, PolicyOrder, PortMatch, PortTerm, Protocol, Rule,
    Side,
};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::verdict::Flow;
use brindle_policy::{Attachment, Change, Cidr, Direction, PodKey, PolicyId, World};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The nodes, `left` and `right`, have 10.1.0.0/28 and 10.2.0.0/28 for their pods, and
/// fd00:1::/124 and fd00:2::/124.
pub(crate) const NODES: [&str; 2] = ["left", "right"];
const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const PORT_NAMES: [&str; 4] = ["http", "dns", "peer", "nobody"];
const NUMBERS: [u16; 6] = [53, 80, 81, 443, 8080, 65535];

/// Addresses that packets come from and go to, besides those of pods: of the nodes, in the
/// ranges of pods, from elsewhere. With the blocks of policies below most rules see both
/// sides of their edges.
const PLACES: [&str; 16] = [
    "192.168.0.1",
    "192.168.0.2",
    "10.1.0.14",
    "10.1.0.9",
    "10.2.0.9",
    "10.3.0.1",
    "203.0.113.7",
    "203.0.113.130",
    "fd09::1",
    "fd09::2",
    "fd00:1::e",
    "fd00:1::9",
    "fd00:2::9",
    "fd00:3::1",
    "2001:db8::7",
    "2001:db8::8007",
];

const BLOCKS: [&str; 16] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/28",
    "10.1.0.0/30",
    "10.1.0.2/31",
    "10.2.0.1/32",
    "192.168.0.0/31",
    "203.0.113.0/24",
    "::/0",
    "fd00::/8",
    "fd00:1::/124",
    "fd00:1::/126",
    "fd00:1::2/127",
    "fd00:2::1/128",
    "fd09::/64",
    "2001:db8::/112",
];

/// Parts of those, to be left out of them.
const EXCEPTS: [&str; 12] = [
    "10.1.0.0/29",
    "10.1.0.1/32",
    "10.1.0.3/32",
    "10.2.0.0/16",
    "128.0.0.0/1",
    "203.0.113.128/25",
    "fd00:1::/125",
    "fd00:1::1/128",
    "fd00:1::3/128",
    "fd00:2::/32",
    "8000::/1",
    "2001:db8::8000/113",
];

/// A world that was told, and flows in it.
#[derive(Debug)]
pub(crate) struct Case {
    /// What was told, in this order.
    pub(crate) changes: Vec<Change>,
    /// What to ask.
    pub(crate) flows: Vec<Flow>,
}

impl Case {
    /// The world.
    pub(crate) fn world(&self) -> World {
        let mut world = World::default();
        for change in &self.changes {
            world.apply(change.clone());
        }
        world
    }
}

/// A world with up to a dozen pods and eight policies, and `flows` flows.
pub(crate) fn case(flows: usize) -> impl Strategy<Value = Case> {
    let named = |index: usize| format!("p{index}");
    let pods = vec(pod(), 2..14).prop_map(move |pods| {
        let with_name = |(index, mut pod): (usize, Pod)| {
            pod.key.name = named(index).into();
            pod
        };
        pods.into_iter().enumerate().map(with_name).collect::<Vec<_>>()
    });
    let policies = vec(prop_oneof![3 => kubernetes_policy(), 1 => any_policy()], 0..9);
    let cables = vec(cable(), 14);
    (
        labels_of_namespaces(),
        nodes(),
        pods,
        policies,
        cables,
        vec(raw_flow(), flows),
        any::<Index>(),
    )
        .prop_map(|(namespaces, nodes, mut pods, policies, cables, flows, turn)| {
            let flows = flows.into_iter().map(|raw| raw.flow(&pods)).collect();
            let attachments = attach(&mut pods, &cables);
            let policies = policies.into_iter().enumerate().map(|(index, mut policy)| {
                policy.id.name = format!("np{index}").into();
                Change::PolicyApplied(policy.into())
            });
            let mut changes: Vec<Change> = namespaces
                .into_iter()
                .map(|namespace| Change::NamespaceApplied(namespace.into()))
                .chain(nodes.into_iter().map(|node| Change::NodeApplied(node.into())))
                .chain(pods.into_iter().map(|pod| Change::PodApplied(pod.into())))
                .chain(attachments.into_iter().map(|one| Change::Attached(one.into())))
                .chain(policies)
                .collect();
            // In the order of kinds, but beginning anywhere.
            let first = turn.index(changes.len());
            changes.rotate_left(first);
            Case { changes, flows }
        })
}

/// How a pod is connected to its node.
#[derive(Clone, Copy, Debug)]
enum Cable {
    /// By another network plug-in.
    Foreign,
    /// By ours, and the API server knows its addresses, or not yet.
    Ours { is_told: bool },
    /// By ours, but it is none that Kubernetes knows.
    Nobodys,
}

fn cable() -> impl Strategy<Value = Cable> {
    prop_oneof![
        4 => Just(Cable::Foreign),
        2 => Just(Cable::Ours { is_told: true }),
        2 => Just(Cable::Ours { is_told: false }),
        1 => Just(Cable::Nobodys),
    ]
}

/// Gives pods the addresses that they have by their interfaces.
fn attach(pods: &mut [Pod], cables: &[Cable]) -> Vec<Attachment> {
    let mut attachments = Vec::new();
    for (index, (pod, cable)) in pods.iter_mut().zip(cables).enumerate() {
        let key = match cable {
            Cable::Foreign => continue,
            Cable::Ours { .. } if pod.host_network => continue,
            Cable::Ours { .. } => Some(pod.key.clone()),
            Cable::Nobodys => None,
        };
        attachments.push(Attachment {
            node: pod.node.clone().expect("each has one"),
            interface: format!("brn{index}").parse().expect("a name"),
            pod: key,
            addresses: pod.addresses.clone(),
        });
        if matches!(cable, Cable::Ours { is_told: false }) {
            pod.addresses.clear();
        }
    }
    attachments
}

fn labels(keys: &'static [&'static str]) -> impl Strategy<Value = Labels> {
    let label = (select(keys), select(&["x", "y"][..]));
    vec(label, 0..3).prop_map(|labels| {
        labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    })
}

fn labels_of_namespaces() -> impl Strategy<Value = Vec<Namespace>> {
    // The last one is sometimes not known, though it has pods.
    (vec(labels(&["team", "stage"]), 3), 2..=3usize).prop_map(|(labels, known)| {
        let named = |(name, mut labels): (&str, Labels)| {
            labels.insert("kubernetes.io/metadata.name".into(), name.into());
            Namespace { name: name.into(), labels }
        };
        NAMESPACES.into_iter().zip(labels).take(known).map(named).collect()
    })
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    // Some nodes have an address among those of their pods: a bridge's.
    vec(any::<bool>(), 2).prop_map(|bridges| {
        let node = |(index, has_bridge): (usize, bool)| {
            let number = index + 1;
            let parse = |text: String| text.parse().expect("an address");
            let mut addresses = BTreeSet::from([
                parse(format!("192.168.0.{number}")),
                parse(format!("fd09::{number}")),
            ]);
            if has_bridge {
                addresses.insert(parse(format!("10.{number}.0.14")));
                addresses.insert(parse(format!("fd00:{number}::e")));
            }
            let ranges = [format!("10.{number}.0.0/28"), format!("fd00:{number}::/124")];
            let pod_cidrs = ranges.iter().map(|text| text.parse().expect("a block")).collect();
            Node { name: NODES[index].into(), addresses, pod_cidrs, labels: Default::default() }
        };
        bridges.into_iter().enumerate().map(node).collect()
    })
}

/// Has no name yet.
fn pod() -> impl Strategy<Value = Pod> {
    let place = (0..NODES.len(), prop_oneof![20 => Just(None), 1 => Just(Some(3))], 1..=7u8);
    let families =
        prop_oneof![4 => Just([true, true]), 2 => Just([true, false]), 1 => Just([false, true])];
    let ports = btree_set(named_port(), 0..4);
    let odd =
        prop_oneof![12 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    let created = select(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"][..]);
    let namespace = select(&NAMESPACES[..]);
    (namespace, labels(&["app", "role"]), place, families, ports, odd, created).prop_map(
        |(namespace, labels, (node, elsewhere, last), families, ports, odd, created)| {
            let (host_network, finished) = odd;
            // Mostly of its node's range; some CNI plug-ins take addresses from elsewhere.
            let network = elsewhere.unwrap_or(node + 1);
            let last = if host_network { 14 } else { last };
            let texts = [format!("10.{network}.0.{last}"), format!("fd00:{network}::{last:x}")];
            let addresses = texts.iter().zip(families).filter(|(_, has)| *has);
            let parse = |text: &String| text.parse::<IpAddr>().expect("an address");
            Pod {
                key: PodKey { namespace: namespace.into(), name: "".into() },
                labels,
                node: Some(NODES[node].into()),
                host_network,
                finished,
                addresses: addresses.map(|(text, _)| parse(text)).collect(),
                ports,
                created: created.into(),
                service_account: "default".into(),
            }
        },
    )
}

fn named_port() -> impl Strategy<Value = NamedPort> {
    let ports: [(&str, Protocol, u16); 7] = [
        ("http", Protocol::Tcp, 80),
        ("http", Protocol::Tcp, 8080),
        ("http", Protocol::Udp, 443),
        ("dns", Protocol::Udp, 53),
        ("dns", Protocol::Tcp, 53),
        ("peer", Protocol::Sctp, 81),
        ("peer", Protocol::Tcp, 65535),
    ];
    select(ports.to_vec()).prop_map(|(name, protocol, number)| NamedPort {
        name: name.into(),
        protocol,
        number,
    })
}

fn side() -> impl Strategy<Value = Side> {
    select(&[Side::Source, Side::Destination][..])
}

/// A label selector of Kubernetes.
fn selector(scope: Scope, keys: &'static [&'static str]) -> impl Strategy<Value = Expr> {
    let key = move |name: &str| Key { scope, name: name.into() };
    let requirement = (select(keys), 0..5u8, btree_set(select(&["x", "y"][..]), 1..3)).prop_map(
        move |(name, kind, values)| {
            let values = values.into_iter().map(Arc::from).collect();
            match kind {
                0 => Expr::Has(key(name)),
                1 => Expr::not(Expr::Has(key(name))),
                2 => Expr::not(Expr::is_in(key(name), values)),
                _ => Expr::is_in(key(name), values),
            }
        },
    );
    vec(requirement, 0..3).prop_map(Expr::and)
}

fn own() -> impl Strategy<Value = Expr> {
    selector(Scope::Own, &["app", "role"])
}

/// As the peers of a policy of a namespace say it.
fn peer_expr(home: Arc<str>) -> impl Strategy<Value = Expr> {
    let of_namespace = selector(Scope::Namespace, &["team", "stage"]);
    let here = own().prop_map(move |own| Expr::and([Expr::InNamespace(home.clone()), own]));
    prop_oneof![
        2 => here,
        1 => (of_namespace, own()).prop_map(|(of_namespace, own)| Expr::and([of_namespace, own])),
    ]
}

fn block() -> impl Strategy<Value = IpBlock> {
    let parse = |text: &str| text.parse::<Cidr>().expect("a block");
    (select(&BLOCKS[..]), vec(select(&EXCEPTS[..]), 0..4)).prop_map(move |(cidr, excepts)| {
        let cidr = parse(cidr);
        let inside = |except: &Cidr| cidr.covers(*except) && cidr != *except;
        IpBlock { cidr, except: excepts.into_iter().map(parse).filter(inside).collect() }
    })
}

fn peer_term(home: Arc<str>) -> impl Strategy<Value = PeerTerm> {
    prop_oneof![
        3 => peer_expr(home).prop_map(|expr| PeerTerm::Endpoints(expr.into())),
        2 => block().prop_map(PeerTerm::Block),
    ]
}

fn port_term() -> impl Strategy<Value = PortTerm> {
    let number = || select(&NUMBERS[..]);
    let port = prop_oneof![
        1 => Just(PortMatch::Any),
        4 => number().prop_map(|port| PortMatch::Range(port, port)),
        2 => (number(), number()).prop_map(|(a, b)| PortMatch::Range(a.min(b), a.max(b))),
        1 => Just(PortMatch::Range(0, 65535)),
        3 => select(&PORT_NAMES[..]).prop_map(|name| PortMatch::Named(name.into(), Holders::Pods)),
    ];
    (select(&Protocol::ALL[..]), port).prop_map(|(protocol, port)| PortTerm { protocol, port })
}

fn port_terms() -> impl Strategy<Value = Vec<PortTerm>> {
    let apart = |protocol| {
        move |first: u16| PortTerm { protocol, port: PortMatch::Range(first * 2, first * 2) }
    };
    prop_oneof![
        8 => vec(port_term(), 1..5), 1 => Just(Vec::new()),
        // More than one rule of the kernel takes.
        1 => (20..45u16).prop_map(move |last| (0..last).map(apart(Protocol::Tcp)).collect()),
    ]
}

/// A rule as NetworkPolicies have them.
fn kubernetes_rule(home: Arc<str>, direction: Direction) -> impl Strategy<Value = Rule> {
    let side = match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    };
    let peer = prop_oneof![1 => Just(Vec::new()), 9 => vec(peer_term(home), 1..5)];
    let peer = proptest::option::weighted(0.7, peer);
    let ports = proptest::option::weighted(0.4, port_terms());
    (peer, ports).prop_map(move |(peer, ports)| {
        let peer = peer.map(|any_of| Criterion::Peer { side, any_of, negated: false });
        let ports = ports.map(|any_of| Criterion::Ports {
            side: Side::Destination,
            any_of,
            negated: false,
        });
        Rule { action: Action::Allow, criteria: peer.into_iter().chain(ports).collect() }
    })
}

/// A rule with all that the model has.
fn any_rule(home: Arc<str>) -> impl Strategy<Value = Rule> {
    let actions = [Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log];
    let peer = (side(), vec(peer_term(home), 0..3), any::<bool>());
    let numbers = [(1, 1), (6, 3), (17, 1), (47, 1), (58, 1)];
    let number =
        select(numbers.iter().flat_map(|(n, often)| vec![*n; *often]).collect::<Vec<u8>>());
    let criterion = prop_oneof![
        3 => peer.prop_map(|(side, any_of, negated)| Criterion::Peer { side, any_of, negated }),
        2 => (side(), port_terms()).prop_map(|(side, any_of)| Criterion::Ports { side, any_of, negated: false }),
        1 => (number, any::<bool>())
            .prop_map(|(number, negated)| Criterion::Protocol { number, negated }),
    ];
    (select(actions.to_vec()), vec(criterion, 0..4))
        .prop_map(|(action, criteria)| Rule { action, criteria })
}

/// A NetworkPolicy without a name.
fn kubernetes_policy() -> impl Strategy<Value = Policy> {
    select(&NAMESPACES[..]).prop_flat_map(|home| {
        let home: Arc<str> = home.into();
        let rules = |direction| {
            proptest::option::weighted(0.6, vec(kubernetes_rule(home.clone(), direction), 0..4))
        };
        let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
        (own(), ingress, egress).prop_map(move |(subject, ingress, egress)| Policy {
            id: PolicyId {
                kind: PolicyKind::NetworkPolicy,
                namespace: Some(home.clone()),
                name: "".into(),
            },
            tier: DEFAULT_TIER.into(),
            order: PolicyOrder::KUBERNETES,
            subject: Expr::and([Expr::InNamespace(home.clone()), subject]).into(),
            stage: HostStage::Normal,
            staged: None,
            ingress,
            egress,
            problems: Vec::new(),
        })
    })
}

/// A policy of any language, without a name.
fn any_policy() -> impl Strategy<Value = Policy> {
    let tier = select(&["kube-admin", "default", "kube-baseline", "no-such-tier"][..]);
    let order = proptest::option::of(select(&[-1.0, 0.0, 1000.0, 1001.0][..]));
    let home: Arc<str> = "a".into();
    let rules = || proptest::option::weighted(0.6, vec(any_rule("a".into()), 0..4));
    let subject = peer_expr(home);
    (tier, order, subject, rules(), rules()).prop_map(|(tier, order, subject, ingress, egress)| {
        Policy {
            id: PolicyId { kind: PolicyKind::NetworkPolicy, namespace: None, name: "".into() },
            tier: tier.into(),
            order: PolicyOrder::new(order),
            subject: subject.into(),
            stage: HostStage::Normal,
            staged: None,
            ingress,
            egress,
            problems: Vec::new(),
        }
    })
}

/// A flow between ends that are chosen when the pods are known.
#[derive(Clone, Debug)]
struct RawFlow {
    ends: [(Index, bool); 2],
    is_v6: bool,
    protocol: u8,
    ports: [u16; 2],
}

fn raw_flow() -> impl Strategy<Value = RawFlow> {
    let end = || (any::<Index>(), prop::bool::weighted(0.85));
    let protocol = select(vec![6u8, 6, 6, 6, 17, 17, 17, 132, 1, 47]);
    let port = || prop_oneof![6 => select(&NUMBERS[..]), 1 => any::<u16>()];
    ([end(), end()], any::<bool>(), protocol, [port(), port()])
        .prop_map(|(ends, is_v6, protocol, ports)| RawFlow { ends, is_v6, protocol, ports })
}

impl RawFlow {
    fn flow(self, pods: &[Pod]) -> Flow {
        let of_family = |address: &IpAddr| address.is_ipv6() == self.is_v6;
        let of_pods: Vec<IpAddr> =
            pods.iter().flat_map(|pod| pod.addresses.iter().copied()).filter(of_family).collect();
        let places = PLACES.iter().map(|text| text.parse::<IpAddr>().expect("an address"));
        let places: Vec<IpAddr> = places.filter(of_family).collect();
        let [source, destination] = self.ends.map(|(index, is_pod)| match is_pod {
            true if !of_pods.is_empty() => *index.get(&of_pods),
            true | false => *index.get(&places),
        });
        // ICMP has a number in each family.
        let protocol = if self.protocol == 1 && self.is_v6 { 58 } else { self.protocol };
        let has_ports = Protocol::of_number(protocol).is_some();
        let [source_port, destination_port] = self.ports.map(|port| has_ports.then_some(port));
        Flow { source, destination, protocol, source_port, destination_port, icmp: None }
    }
}
