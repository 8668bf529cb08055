//! A cluster as one meets them, of any size: what tests and benchmarks share.
//!
//! A hundred pods to a namespace, ten to an application, a hundred to a node, both families.
//! Policies go round the namespaces: each governs one application; its peers are applications
//! of the same namespace, of the namespaces of a team, whole namespaces, or blocks.

#![allow(dead_code, reason = "each program uses its own part")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    Action, Criterion, DEFAULT_TIER, Holders, HostStage, IpBlock, Labels, NAMESPACE_NAME_LABEL,
    NamedPort, Namespace, Node, PeerTerm, Pod, Policy, PolicyKind, PolicyOrder, PortMatch,
    PortTerm, Protocol, Rule, Side,
};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::{Change, Cidr, PodKey, PolicyId, World};

/// Pods in a namespace, and on a node.
pub(crate) const CROWD: usize = 100;
/// Applications in a namespace.
const APPLICATIONS: usize = 10;
/// Teams that namespaces belong to.
const TEAMS: usize = 5;

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Pods; namespaces and nodes follow from it.
    pub(crate) pods: usize,
    /// Policies.
    pub(crate) policies: usize,
}

impl Size {
    /// How many namespaces, and nodes, it has.
    pub(crate) fn crowds(self) -> usize {
        self.pods.div_ceil(CROWD)
    }

    /// Every object.
    pub(crate) fn changes(self) -> Vec<Change> {
        let namespaces = (0..self.crowds()).map(|n| Change::NamespaceApplied(namespace(n).into()));
        let nodes = (0..self.crowds()).map(|n| Change::NodeApplied(node(n).into()));
        let policies = (0..self.policies).map(|n| Change::PolicyApplied(self.policy(n).into()));
        let pods = (0..self.pods).map(|n| Change::PodApplied(self.pod(n).into()));
        namespaces.chain(nodes).chain(policies).chain(pods).collect()
    }

    /// The world of this size, told that it is complete.
    pub(crate) fn world(self) -> World {
        let mut world = World::default();
        self.changes().into_iter().for_each(|change| world.apply(change));
        world.apply(Change::InSync);
        world
    }

    /// Pod `number`. Neighbours in a namespace are on different nodes.
    pub(crate) fn pod(self, number: usize) -> Pod {
        let (node, place) = (number % self.crowds(), number / self.crowds());
        let application = number % APPLICATIONS;
        Pod {
            key: PodKey {
                namespace: namespace_name(number / CROWD),
                name: format!("app{application}-5d8f7c9b6-{number}").into(),
            },
            labels: labels([
                ("app.kubernetes.io/name", format!("app{application}")),
                ("app.kubernetes.io/instance", format!("app{application}-{}", number / CROWD)),
                ("app.kubernetes.io/version", format!("1.{}", number % 3)),
                ("pod-template-hash", "5d8f7c9b6".to_owned()),
                ("layer", ["front", "back", "data"][application % 3].to_owned()),
            ]),
            node: Some(node_name(node)),
            host_network: false,
            finished: false,
            addresses: addresses(node, place),
            ports: [("http", 8080), ("metrics", 9000)].map(named).into(),
            created: "2026-01-01T00:00:00Z".into(),
            service_account: "default".into(),
        }
    }

    /// Policy `number`.
    pub(crate) fn policy(self, number: usize) -> Policy {
        let home = namespace_name(number % self.crowds());
        let round = number / self.crowds();
        let application = |number: usize| own("app.kubernetes.io/name", &app(number));
        let here = |expr| here(&home, expr);
        let team = namespace_label("team", &format!("team{}", number % TEAMS));
        let peers = match number % 5 {
            0 | 1 => vec![endpoints(here(application(round + 1)))],
            2 => vec![
                endpoints(here(own("layer", "front"))),
                endpoints(Expr::and([team, application(round + 1)])),
            ],
            3 => vec![endpoints(namespace_label(
                NAMESPACE_NAME_LABEL,
                &namespace_name((number + 1) % self.crowds()),
            ))],
            _ => vec![PeerTerm::Block(block("10.0.0.0/8", "10.99.0.0/16"))],
        };
        let port = if number.is_multiple_of(3) {
            PortMatch::Named("http".into(), Holders::Pods)
        } else {
            PortMatch::Range(8080, 8080)
        };
        let allow = |side, any_of| Rule {
            action: Action::Allow,
            criteria: vec![
                Criterion::Peer { side, any_of, negated: false },
                Criterion::Ports {
                    side: Side::Destination,
                    any_of: vec![PortTerm { protocol: Protocol::Tcp, port: port.clone() }],
                    negated: false,
                },
            ],
        };
        let to_dns = endpoints(namespace_label(NAMESPACE_NAME_LABEL, "kube-system"));
        let egress = vec![allow(Side::Destination, vec![to_dns])];
        Policy {
            id: PolicyId {
                kind: PolicyKind::NetworkPolicy,
                namespace: Some(home.clone()),
                name: format!("policy-{number}").into(),
            },
            tier: DEFAULT_TIER.into(),
            order: PolicyOrder::KUBERNETES,
            subject: Arc::new(here(application(round))),
            stage: HostStage::Normal,
            staged: None,
            ingress: Some(vec![allow(Side::Source, peers)]),
            egress: number.is_multiple_of(4).then_some(egress),
            problems: Vec::new(),
        }
    }
}

/// Namespace `number`.
pub(crate) fn namespace(number: usize) -> Namespace {
    let name = namespace_name(number);
    let mut labels = labels([("team", format!("team{}", number % TEAMS))]);
    labels.insert(NAMESPACE_NAME_LABEL.into(), name.clone());
    Namespace { name, labels }
}

/// Node `number`.
pub(crate) fn node(number: usize) -> Node {
    let address = IpAddr::from([192, 168, high(number), low(number)]);
    let ranges = [(four(number, 0), 24), (six(number, 0), 112)];
    let ranges = ranges.map(|(address, length)| Cidr::new(address, length).expect("short enough"));
    Node {
        name: node_name(number),
        addresses: BTreeSet::from([address]),
        pod_cidrs: ranges.into(),
        labels: Default::default(),
    }
}

/// The name of node `number`.
pub(crate) fn node_name(number: usize) -> Arc<str> {
    format!("node-{number}").into()
}

fn namespace_name(number: usize) -> Arc<str> {
    if number == 0 { "kube-system".into() } else { format!("space-{number}").into() }
}

fn app(number: usize) -> String {
    format!("app{}", number % APPLICATIONS)
}

fn labels<const N: usize>(labels: [(&str, String); N]) -> Labels {
    labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// `expr` in one namespace.
pub(crate) fn here(namespace: &Arc<str>, expr: Expr) -> Expr {
    Expr::and([Expr::InNamespace(namespace.clone()), expr])
}

/// `key=value` of the endpoint.
pub(crate) fn own(key: &str, value: &str) -> Expr {
    label(Scope::Own, key, value)
}

/// `key=value` of its namespace.
pub(crate) fn namespace_label(key: &str, value: &str) -> Expr {
    label(Scope::Namespace, key, value)
}

fn label(scope: Scope, key: &str, value: &str) -> Expr {
    Expr::is_in(Key { scope, name: key.into() }, BTreeSet::from([value.into()]))
}

/// The endpoints for which `expr` holds.
pub(crate) fn endpoints(expr: Expr) -> PeerTerm {
    PeerTerm::Endpoints(Arc::new(expr))
}

fn block(cidr: &str, except: &str) -> IpBlock {
    let parse = |text: &str| text.parse().expect("a block of addresses");
    IpBlock { cidr: parse(cidr), except: vec![parse(except)] }
}

fn named((name, number): (&str, u16)) -> NamedPort {
    NamedPort { name: name.into(), protocol: Protocol::Tcp, number }
}

/// The addresses that a node has for the pod at a place, counted from zero.
pub(crate) fn addresses(node: usize, place: usize) -> Vec<IpAddr> {
    vec![four(node, place), six(node, place)]
}

fn four(node: usize, place: usize) -> IpAddr {
    IpAddr::from([10, high(node), low(node), low(place + 1)])
}

fn six(node: usize, place: usize) -> IpAddr {
    let segment = |number: usize| u16::try_from(number).expect("small enough for a cluster");
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, segment(node), segment(place + 1)])
}

fn high(number: usize) -> u8 {
    u8::try_from(number >> 8).expect("no cluster has 65,536 nodes here")
}

fn low(number: usize) -> u8 {
    u8::try_from(number & 0xff).expect("eight bits are left")
}
