//! On worlds made at random: the explanation and the quick verdict are one evaluation, and a
//! change that is named as nearest does open the flow.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::world as base;
use crate::address::Cidr;
use crate::model::{
    Action, Change, Criterion, DEFAULT_TIER, Direction, Holders, HostStage, IpBlock, Labels,
    PeerTerm, Policy, PolicyId, PolicyKind, PolicyOrder, PortMatch, PortTerm, Protocol, Rule, Side,
};
use crate::selector::{Expr, Key, Scope};
use crate::verdict::{Explanation, Flow, Step, explain, verdict};
use crate::world::World;

pub(crate) const KEYS: [&str; 3] = ["app", "tier", "team"];
pub(crate) const VALUES: [&str; 4] = ["api", "cart", "db", "web"];

pub(crate) fn expr() -> impl Strategy<Value = Expr> {
    let key = (prop_oneof![Just(Scope::Own), Just(Scope::Namespace)], prop::sample::select(&KEYS))
        .prop_map(|(scope, name)| Key { scope, name: name.into() });
    let value = prop::sample::select(&VALUES).prop_map(Arc::<str>::from);
    let atom = prop_oneof![
        1 => Just(Expr::All),
        2 => prop_oneof![Just("shop"), Just("lab")].prop_map(|name| Expr::InNamespace(name.into())),
        2 => key.clone().prop_map(Expr::Has),
        6 => (key, prop::collection::btree_set(value, 1..3))
            .prop_map(|(key, values)| Expr::is_in(key, values)),
    ];
    let signed = (atom, any::<bool>()).prop_map(|(e, not)| if not { Expr::not(e) } else { e });
    prop::collection::vec(signed, 1..4).prop_map(Expr::and)
}

fn peer() -> impl Strategy<Value = PeerTerm> {
    let block = prop::sample::select(&[
        ("10.1.0.0/24", "10.1.0.2/31"),
        ("10.0.0.0/8", "10.2.0.0/16"),
        ("0.0.0.0/0", "10.0.0.0/8"),
        ("192.0.2.0/24", "192.0.2.128/25"),
    ]);
    let cidr = |text: &str| text.parse::<Cidr>().unwrap();
    prop_oneof![
        3 => expr().prop_map(|expr| PeerTerm::Endpoints(expr.into())),
        1 => (block, any::<bool>()).prop_map(move |((block, except), has)| {
            let except = has.then(|| cidr(except)).into_iter().collect();
            PeerTerm::Block(IpBlock { cidr: cidr(block), except })
        }),
    ]
}

fn port() -> impl Strategy<Value = PortTerm> {
    let port = prop_oneof![
        Just(PortMatch::Any),
        (1u16..6, 0u16..3).prop_map(|(first, more)| PortMatch::Range(first, first + more)),
        prop::sample::select(&["http", "dns", "sql"])
            .prop_map(|n| PortMatch::Named(n.into(), Holders::Pods)),
    ];
    (prop::sample::select(&Protocol::ALL), port)
        .prop_map(|(protocol, port)| PortTerm { protocol, port })
}

fn rule(direction: Direction) -> impl Strategy<Value = Rule> {
    let side = match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    };
    let peers = prop::option::weighted(0.8, prop::collection::vec(peer(), 0..3));
    let ports = prop::option::weighted(0.5, prop::collection::vec(port(), 0..3));
    (peers, ports).prop_map(move |(peers, ports)| {
        let peers = peers.map(|any_of| Criterion::Peer { side, any_of, negated: false });
        let ports = ports.map(|any_of| Criterion::Ports {
            side: Side::Destination,
            any_of,
            negated: false,
        });
        Rule { action: Action::Allow, criteria: peers.into_iter().chain(ports).collect() }
    })
}

fn policy() -> impl Strategy<Value = (Expr, Option<Vec<Rule>>, Option<Vec<Rule>>)> {
    let rules = |direction| prop::option::of(prop::collection::vec(rule(direction), 0..3));
    (expr(), rules(Direction::Ingress), rules(Direction::Egress))
}

fn world() -> impl Strategy<Value = World> {
    prop::collection::vec(policy(), 1..5).prop_map(|policies| {
        let mut world = base("");
        for (index, (subject, ingress, egress)) in policies.into_iter().enumerate() {
            let id = PolicyId {
                kind: PolicyKind::NetworkPolicy,
                namespace: Some("shop".into()),
                name: format!("p{index}").into(),
            };
            world.apply(Change::PolicyApplied(Arc::new(Policy {
                id,
                tier: DEFAULT_TIER.into(),
                order: PolicyOrder::KUBERNETES,
                subject: subject.into(),
                stage: HostStage::Normal,
                staged: None,
                ingress,
                egress,
                problems: Vec::new(),
            })));
        }
        world
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let address = || {
        prop::sample::select(&[
            "10.1.0.2",
            "10.1.0.3",
            "10.2.0.2",
            "10.2.0.3",
            "10.0.0.1",
            "192.0.2.1",
            "10.1.0.77",
        ])
        .prop_map(|text| text.parse::<IpAddr>().unwrap())
    };
    let port = prop::option::weighted(0.9, prop::sample::select(&[1u16, 5, 53, 5432, 8080]));
    (address(), address(), prop::sample::select(&[6u8, 17, 132, 1]), port).prop_map(
        |(source, destination, protocol, port)| Flow {
            source,
            destination,
            protocol,
            source_port: None,
            destination_port: port.filter(|_| protocol != 1),
            icmp: None,
        },
    )
}

/// Carries a step out; a change of a policy is carried out on the object too.
fn carry_out(world: &mut World, flow: &mut Flow, step: &Step) {
    let set = |labels: &mut Labels, key: &Arc<str>, value: &Option<Arc<str>>| match value {
        Some(value) => drop(labels.insert(key.clone(), value.clone())),
        None => drop(labels.remove(key)),
    };
    match step {
        Step::PodLabel { pod, key, value } => {
            let mut pod = (**world.pod(pod).unwrap()).clone();
            set(&mut pod.labels, key, value);
            world.apply(Change::PodApplied(pod.into()));
        }
        Step::NamespaceLabel { namespace, key, value } => {
            let mut namespace = (**world.namespace(namespace).unwrap()).clone();
            set(&mut namespace.labels, key, value);
            world.apply(Change::NamespaceApplied(namespace.into()));
        }
        Step::Port { protocol, number } => {
            flow.protocol = protocol.number();
            flow.destination_port = Some(*number);
        }
        Step::Block { policy, direction, index, address } => {
            let mut policy = (**world.policy(policy).unwrap()).clone();
            let rules = match direction {
                Direction::Ingress => policy.ingress.as_mut(),
                Direction::Egress => policy.egress.as_mut(),
            };
            for criterion in &mut rules.unwrap()[*index].criteria {
                if let Criterion::Peer { any_of, .. } = criterion {
                    let cidr = Cidr::host(*address);
                    any_of.push(PeerTerm::Block(IpBlock { cidr, except: Vec::new() }));
                }
            }
            world.apply(Change::PolicyApplied(policy.into()));
        }
    }
}

/// Whether one label of the peer of the direction that is closed opens the flow, by trying all.
fn some_label_opens(world: &mut World, flow: &Flow, said: &Explanation) -> bool {
    let values = VALUES.map(Some).into_iter().chain([None, Some("true"), Some("other")]);
    let peers: BTreeSet<_> =
        [(&said.verdict.egress, flow.destination), (&said.verdict.ingress, flow.source)]
            .into_iter()
            .filter(|(judgement, _)| !judgement.is_allowed())
            .filter_map(|(_, address)| world.endpoint_at(address).map(|pod| pod.key.clone()))
            .collect();
    let tries = values.flat_map(|value| KEYS.map(|key| (key, value)));
    let tries: Vec<_> = tries.flat_map(|(k, v)| peers.iter().map(move |p| (p, k, v))).collect();
    tries.into_iter().any(|(pod, key, value)| {
        let former = world.pod(pod).unwrap().clone();
        let step =
            Step::PodLabel { pod: pod.clone(), key: key.into(), value: value.map(Into::into) };
        // Labels may also take the pod itself out of policies, which is not what is looked for.
        let governing = |world: &World| {
            let pod = world.pod(pod).unwrap();
            Direction::ALL.map(|direction| {
                let stages = world.governing(pod, direction);
                let policies = stages.iter().flat_map(|(_, policies)| policies);
                policies.map(|policy| policy.id.clone()).collect::<Vec<_>>()
            })
        };
        let before = governing(world);
        carry_out(world, &mut flow.clone(), &step);
        let opens = governing(world) == before && verdict(world, flow).is_allowed();
        world.apply(Change::PodApplied(former));
        opens
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_explained_is_what_is_decided_and_what_would_open_opens(
        mut world in world(),
        mut flow in flow(),
    ) {
        let said = explain(&world, &flow);
        prop_assert_eq!(&said.verdict, &verdict(&world, &flow));
        for trace in [&said.egress, &said.ingress] {
            prop_assert_eq!(&trace.judgement, said.verdict.of(trace.direction));
            let rules = trace.stages.iter().flat_map(|s| &s.policies).flat_map(|p| &p.rules);
            for rule in rules {
                prop_assert_eq!(rule.is_match, rule.reasons().is_empty());
            }
        }
        if said.verdict.is_allowed() {
            prop_assert_eq!(&said.nearest, &None);
            prop_assert!(!said.openings.is_empty());
            return Ok(());
        }
        let one_label = some_label_opens(&mut world, &flow, &said);
        let Some(nearest) = said.nearest else {
            prop_assert!(!one_label, "a label opens it, but none was found");
            return Ok(());
        };
        prop_assert!(!one_label || nearest.steps.len() == 1, "{}", nearest);
        for step in &nearest.steps {
            carry_out(&mut world, &mut flow, step);
        }
        let after = verdict(&world, &flow);
        prop_assert!(after.is_allowed(), "{}: {:?}", nearest, after);
        for (policy, direction, index) in &nearest.rules {
            let judgement = after.of(*direction);
            prop_assert_eq!(judgement.policies(), std::slice::from_ref(policy));
            prop_assert_eq!(judgement.rule(), Some(*index));
        }
    }
}
