//! Random worlds, and flows in them. Few values of each kind, so that things meet: labels
//! match, blocks hold pods, addresses are claimed twice, ports are asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    ACCOUNT_NAME_LABEL, AccountKey, Action, Criterion, DEFAULT_TIER, EndpointSlice, Holders,
    HostEndpoint, HostStage, IpBlock, Labels, NAMESPACE_NAME_LABEL, NamedPort, Namespace,
    NetworkSet, NetworkSetId, Node, PeerTerm, Pod, Policy, PolicyKind, PolicyOrder, PortMatch,
    PortTerm, Protocol, Rule, ServiceAccount, ServiceName, Side, SliceKey, StagedAction, Tier,
    TierAction,
};
use brindle_policy::selector::{Expr, Key, Scope, TextMatch};
use brindle_policy::verdict::Flow;
use brindle_policy::{Attachment, Change, Cidr, Direction, Family, PodKey, PolicyId, World};
use proptest::collection::{btree_set, vec};
use proptest::option;
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

/// Hosts that nothing but host endpoints knows, as peers: their names, and which of [`PLACES`]
/// they have.
const HOSTS: [(&str, [&str; 2]); 2] =
    [("beyond", ["203.0.113.7", "2001:db8::7"]), ("afar", ["10.3.0.1", "fd00:3::1"])];

/// Tiers of users: where each stands, the built-in ones being at 1 000, 1 000 000 and
/// 10 000 000.
const TIERS: [(&str, Option<f64>); 3] =
    [("early", Some(10.0)), ("between", Some(500_000.0)), ("last", None)];

/// Addresses that services lead to: of pods, mostly.
const BACKENDS: [&str; 10] = [
    "10.1.0.1",
    "10.1.0.2",
    "10.1.0.3",
    "10.2.0.1",
    "10.2.0.2",
    "203.0.113.7",
    "fd00:1::1",
    "fd00:1::2",
    "fd00:2::1",
    "2001:db8::7",
];

const SERVICES: [(&str, &str); 3] = [("a", "web"), ("b", "web"), ("b", "gone")];

/// Types of ICMP and of ICMPv6 that are judged.
const MESSAGES: [[u8; 3]; 2] = [[0, 3, 8], [1, 128, 129]];

const STAGED: [StagedAction; 4] =
    [StagedAction::Set, StagedAction::Delete, StagedAction::Learn, StagedAction::Ignore];

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
    let policies = vec(prop_oneof![kubernetes_policy(), any_policy()], 0..11);
    let cables = vec(cable(), 14);
    (
        (labels_of_namespaces(), others()),
        nodes(),
        pods,
        policies,
        cables,
        vec(raw_flow(), flows),
        any::<Index>(),
    )
        .prop_map(|((namespaces, others), nodes, mut pods, policies, cables, flows, turn)| {
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
                .chain(others)
                .chain(attachments.into_iter().map(|one| Change::Attached(one.into())))
                .chain(policies)
                .collect();
            // In the order of kinds, but beginning anywhere.
            let first = turn.index(changes.len());
            changes.rotate_left(first);
            Case { changes, flows }
        })
}

/// What there is besides pods and their like: tiers, accounts, hosts and sets that are peers
/// only, services.
fn others() -> impl Strategy<Value = Vec<Change>> {
    let of_default = (DEFAULT_TIER, Some(1_000_000.0));
    let tiers = TIERS.into_iter().chain([of_default]).map(|(name, order)| {
        let action = option::of(select(&[TierAction::Deny, TierAction::Pass][..]));
        action.prop_map(move |default_action| {
            let order = PolicyOrder::new(order);
            let tier = |default_action| Tier { name: name.into(), order, default_action };
            default_action.map(|action| Change::TierApplied(tier(action).into()))
        })
    });
    let accounts = [("a", "default"), ("a", "robot"), ("b", "robot")].map(|(namespace, name)| {
        let key = AccountKey { namespace: namespace.into(), name: name.into() };
        option::weighted(0.7, labels(&["team", "role"])).prop_map(move |labels| {
            let account = ServiceAccount::new(key.clone(), labels?);
            Some(Change::ServiceAccountApplied(account.into()))
        })
    });
    let hosts = HOSTS.map(|(name, expected)| {
        let ports = btree_set(named_port(), 0..3);
        option::of((labels(&["app", "role"]), ports)).prop_map(move |host| {
            let (labels, ports) = host?;
            Some(Change::HostEndpointApplied(Arc::new(HostEndpoint {
                name: name.into(),
                labels,
                node: name.into(),
                interface: None,
                expected: expected.iter().map(|ip| ip.parse().expect("an address")).collect(),
                ports,
                profiles: Vec::new(),
            })))
        })
    });
    let namespace = || option::of(select(&NAMESPACES[..]));
    let nets = || btree_set(select(&BLOCKS[..]), 0..4);
    let sets = (0..3).map(|number| {
        (namespace(), labels(&["app", "role"]), nets()).prop_map(
            move |(namespace, labels, nets)| {
                let id = NetworkSetId {
                    namespace: namespace.map(Arc::from),
                    name: format!("set{number}").into(),
                };
                let nets = nets.into_iter().map(|text| text.parse().expect("a block")).collect();
                Some(Change::NetworkSetApplied(NetworkSet { id, labels, nets }.into()))
            },
        )
    });
    let slices = (0..3).map(|number| {
        let addresses = btree_set(select(&BACKENDS[..]), 2..10);
        let ports = btree_set((select(&Protocol::ALL[..]), select(&NUMBERS[..])), 3..15);
        (select(&SERVICES[..2]), addresses, ports).prop_map(move |(service, addresses, ports)| {
            let (namespace, name) = service;
            let slice = EndpointSlice {
                key: SliceKey { namespace: namespace.into(), name: format!("s{number}").into() },
                service: Some(service_name((namespace, name))),
                addresses: addresses.iter().map(|ip| ip.parse().expect("an address")).collect(),
                ports,
            };
            Some(Change::SliceApplied(slice.into()))
        })
    });
    let all = tiers.map(Strategy::boxed);
    let all = all.chain(accounts.map(Strategy::boxed)).chain(hosts.map(Strategy::boxed));
    let all = all.chain(sets.map(Strategy::boxed)).chain(slices.map(Strategy::boxed));
    all.collect::<Vec<_>>().prop_map(|changes| changes.into_iter().flatten().collect())
}

fn service_name((namespace, name): (&str, &str)) -> ServiceName {
    ServiceName { namespace: namespace.into(), name: name.into() }
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

pub(crate) fn labels(keys: &'static [&'static str]) -> impl Strategy<Value = Labels> {
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
    let namespace = (select(&NAMESPACES[..]), select(&["default", "robot"][..]));
    (namespace, labels(&["app", "role"]), place, families, ports, odd, created).prop_map(
        |(namespace, labels, (node, elsewhere, last), families, ports, odd, created)| {
            let (namespace, account) = namespace;
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
                service_account: account.into(),
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

/// A selector as Calico's language has them, with all that it may look at.
fn selected_expr() -> impl Strategy<Value = Expr> {
    let key = prop_oneof![
        4 => select(&["app", "role"][..]).prop_map(|name| (Scope::Own, name)),
        2 => select(&["team", "stage", NAMESPACE_NAME_LABEL][..])
            .prop_map(|name| (Scope::Namespace, name)),
        2 => select(&["team", "role", ACCOUNT_NAME_LABEL][..])
            .prop_map(|name| (Scope::ServiceAccount, name)),
    ];
    let key = key.prop_map(|(scope, name)| Key { scope, name: name.into() }).boxed();
    let values = select(&["x", "y", "a", "b", "robot"][..]);
    let how = select(&[TextMatch::Contains, TextMatch::StartsWith, TextMatch::EndsWith][..]);
    let leaf = prop_oneof![
        1 => Just(Expr::All),
        2 => select(&NAMESPACES[..]).prop_map(|name| Expr::InNamespace(name.into())),
        3 => key.clone().prop_map(Expr::Has),
        4 => (key.clone(), btree_set(values, 1..3)).prop_map(|(key, values)| {
            Expr::is_in(key, values.into_iter().map(Arc::from).collect())
        }),
        1 => (key, how, select(&["x", "o", "ro", ""][..]))
            .prop_map(|(key, how, text)| Expr::Text(key, how, text.into())),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(Expr::not),
            3 => vec(inner.clone(), 0..3).prop_map(Expr::and),
            2 => vec(inner, 0..3).prop_map(Expr::or),
        ]
    })
}

fn port_term() -> impl Strategy<Value = PortTerm> {
    let holders = select(&[Holders::Pods, Holders::Endpoints][..]);
    let number = || select(&NUMBERS[..]);
    let port = prop_oneof![
        1 => Just(PortMatch::Any),
        4 => number().prop_map(|port| PortMatch::Range(port, port)),
        2 => (number(), number()).prop_map(|(a, b)| PortMatch::Range(a.min(b), a.max(b))),
        1 => Just(PortMatch::Range(0, 65535)),
        3 => (select(&PORT_NAMES[..]), holders)
            .prop_map(|(name, holders)| PortMatch::Named(name.into(), holders)),
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
    let peer = option::weighted(0.7, peer);
    let ports = option::weighted(0.4, port_terms());
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
pub(crate) fn any_rule(home: Arc<str>) -> impl Strategy<Value = Rule> {
    let actions = [Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log];
    let term = prop_oneof![
        1 => peer_term(home),
        2 => selected_expr().prop_map(|expr| PeerTerm::Selected(expr.into())),
    ];
    let negated = || prop::bool::weighted(0.3);
    let peer = (side(), vec(term, 0..3), negated());
    let numbers = [(1, 1), (6, 3), (17, 1), (47, 1), (58, 1)];
    let number =
        select(numbers.iter().flat_map(|(n, often)| vec![*n; *often]).collect::<Vec<u8>>());
    let service = (side(), select(&SERVICES[..]), any::<bool>());
    let criterion = prop_oneof![
        6 => peer.prop_map(|(side, any_of, negated)| {
            vec![Criterion::Peer { side, any_of, negated }]
        }),
        4 => (side(), port_terms(), negated())
            .prop_map(|(side, any_of, negated)| vec![Criterion::Ports { side, any_of, negated }]),
        2 => (number, negated())
            .prop_map(|(number, negated)| vec![Criterion::Protocol { number, negated }]),
        1 => select(&Family::ALL[..]).prop_map(|family| vec![Criterion::Family(family)]),
        4 => messages(),
        5 => service.prop_map(|(side, service, with_ports)| {
            vec![Criterion::Service { side, service: service_name(service), with_ports }]
        }),
    ]
    .boxed();
    // Many together hold for hardly any packet.
    let count = prop_oneof![1 => Just(0), 8 => Just(1), 3 => 2..4usize];
    let criteria = count.prop_flat_map(move |count| vec(criterion.clone(), count));
    (select(actions.to_vec()), criteria)
        .prop_map(|(action, criteria)| Rule { action, criteria: criteria.concat() })
}

/// Types of messages, as rules have them: with a family and its protocol.
fn messages() -> impl Strategy<Value = Vec<Criterion>> {
    let one = |types: &'static [u8], negated| {
        let code = option::weighted(0.3, select(&[0, 4][..]));
        (select(types), code).prop_map(move |(kind, code)| Criterion::Icmp { kind, code, negated })
    };
    let of = move |family, number, types| {
        (option::of(one(types, false)), option::of(one(types, true))).prop_map(
            move |(is, is_not)| {
                let protocol = Criterion::Protocol { number, negated: false };
                let all = [protocol, Criterion::Family(family)].into_iter();
                all.chain(is).chain(is_not).collect()
            },
        )
    };
    prop_oneof![of(Family::V4, 1, &MESSAGES[0][..]), of(Family::V6, 58, &MESSAGES[1][..])]
}

/// A NetworkPolicy without a name.
fn kubernetes_policy() -> impl Strategy<Value = Policy> {
    select(&NAMESPACES[..]).prop_flat_map(|home| {
        let home: Arc<str> = home.into();
        let rules =
            |direction| option::weighted(0.6, vec(kubernetes_rule(home.clone(), direction), 0..4));
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
pub(crate) fn any_policy() -> impl Strategy<Value = Policy> {
    let tier = prop_oneof![
        3 => select(&["kube-admin", "default", "kube-baseline", "no-such-tier"][..]),
        3 => select(&["early", "between", "last"][..]),
    ];
    let kind = prop_oneof![
        7 => select(&PolicyKind::ALL[..4]).prop_map(|kind| (kind, None)),
        1 => (select(&PolicyKind::ALL[4..]), select(&STAGED[..]))
            .prop_map(|(kind, action)| (kind, Some(action))),
    ];
    let order = option::of(select(&[-1.0, 0.0, 1000.0, 1001.0][..]));
    let home: Arc<str> = "a".into();
    let rules = || option::weighted(0.6, vec(any_rule("a".into()), 0..4));
    let subject = prop_oneof![peer_expr(home), selected_expr()];
    (tier, order, subject, rules(), rules(), kind).prop_map(
        |(tier, order, subject, ingress, egress, (kind, staged))| Policy {
            id: PolicyId { kind, namespace: None, name: "".into() },
            tier: tier.into(),
            order: PolicyOrder::new(order),
            subject: subject.into(),
            stage: HostStage::Normal,
            staged,
            ingress,
            egress,
            problems: Vec::new(),
        },
    )
}

/// A flow between ends that are chosen when the pods are known.
#[derive(Clone, Debug)]
struct RawFlow {
    ends: [(Index, bool); 2],
    is_v6: bool,
    protocol: u8,
    ports: [u16; 2],
    message: (Index, u8),
}

fn raw_flow() -> impl Strategy<Value = RawFlow> {
    let end = || (any::<Index>(), prop::bool::weighted(0.85));
    let protocol = select(vec![6u8, 6, 6, 6, 17, 17, 17, 132, 1, 1, 47]);
    let port = || prop_oneof![6 => select(&NUMBERS[..]), 1 => any::<u16>()];
    let message = (any::<Index>(), select(&[0, 4][..]));
    ([end(), end()], any::<bool>(), protocol, [port(), port()], message).prop_map(
        |(ends, is_v6, protocol, ports, message)| RawFlow { ends, is_v6, protocol, ports, message },
    )
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
        let (index, code) = self.message;
        let kind = *index.get(&MESSAGES[usize::from(self.is_v6)]);
        let icmp = matches!(protocol, 1 | 58).then_some((kind, code));
        Flow { source, destination, protocol, source_port, destination_port, icmp }
    }
}
