//! On worlds made at random: the explanation and the quick verdict are one evaluation, and a
//! change that is named as nearest does open the flow.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::calico::OBJECTS;
use super::world as base;
use crate::address::{Cidr, Family};
use crate::model::{
    ADMIN_TIER, Action, BASELINE_TIER, Change, Criterion, DEFAULT_TIER, Direction, Holders,
    HostStage, IpBlock, Labels, PeerTerm, Policy, PolicyId, PolicyKind, PolicyOrder, PortMatch,
    PortTerm, Protocol, Rule, ServiceName, Side, StagedAction,
};
use crate::selector::{Expr, Key, Scope};
use crate::verdict::{Explanation, Flow, Step, explain, staged, verdict};
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

/// A condition of any language.
fn criterion() -> impl Strategy<Value = Criterion> {
    let side = || prop_oneof![Just(Side::Source), Just(Side::Destination)];
    let selected = expr().prop_map(|expr| PeerTerm::Selected(expr.into()));
    let peers = prop::collection::vec(prop_oneof![selected, peer()], 0..3);
    let ports = prop::collection::vec(port(), 0..3);
    let protocol = || prop::sample::select(&[1u8, 6, 17, 47]);
    prop_oneof![
        6 => (side(), peers, any::<bool>())
            .prop_map(|(side, any_of, negated)| Criterion::Peer { side, any_of, negated }),
        4 => (side(), ports, any::<bool>())
            .prop_map(|(side, any_of, negated)| Criterion::Ports { side, any_of, negated }),
        2 => (protocol(), any::<bool>())
            .prop_map(|(number, negated)| Criterion::Protocol { number, negated }),
        1 => prop::sample::select(&Family::ALL).prop_map(Criterion::Family),
        1 => (0u8..2, prop::option::of(0u8..2), any::<bool>())
            .prop_map(|(kind, code, negated)| Criterion::Icmp { kind, code, negated }),
        2 => (side(), any::<bool>()).prop_map(|(side, with_ports)| Criterion::Service {
            side,
            service: ServiceName { namespace: "shop".into(), name: "db".into() },
            with_ports,
        }),
    ]
}

/// A rule of any language.
fn any_rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        3 => Just(Action::Allow),
        2 => Just(Action::Deny),
        1 => Just(Action::Pass),
        1 => Just(Action::Log),
    ];
    (action, prop::collection::vec(criterion(), 0..4))
        .prop_map(|(action, criteria)| Rule { action, criteria })
}

/// A world with policies of several tiers, some of them staged, and whom they may be about.
fn any_world() -> impl Strategy<Value = World> {
    let rules = || prop::option::of(prop::collection::vec(any_rule(), 0..4));
    let tier = prop::sample::select(&[ADMIN_TIER, DEFAULT_TIER, BASELINE_TIER]);
    let policy = (expr(), tier, 0u8..3, rules(), rules(), prop::bool::weighted(0.2));
    prop::collection::vec(policy, 1..6).prop_map(|policies| {
        let mut world = base(OBJECTS);
        for (index, policy) in policies.into_iter().enumerate() {
            let (subject, tier, order, ingress, egress, is_staged) = policy;
            let kind = match is_staged {
                true => PolicyKind::StagedGlobalNetworkPolicy,
                false => PolicyKind::GlobalNetworkPolicy,
            };
            world.apply(Change::PolicyApplied(Arc::new(Policy {
                id: PolicyId { kind, namespace: None, name: format!("p{}", index / 2).into() },
                tier: tier.into(),
                order: PolicyOrder::new(Some(order.into())),
                subject: subject.into(),
                stage: HostStage::Normal,
                staged: is_staged.then_some(StagedAction::Set),
                ingress,
                egress,
                problems: Vec::new(),
            })));
        }
        world
    })
}

/// A world in which what is staged is enforced.
fn carried_into_effect(world: &World) -> World {
    let mut after = base(OBJECTS);
    let (staged, enforced): (Vec<_>, Vec<_>) =
        world.policies().cloned().partition(|policy| policy.staged.is_some());
    for policy in enforced.into_iter().chain(staged) {
        let kind = policy.id.kind.enforced().unwrap_or(policy.id.kind);
        let id = PolicyId { kind, ..policy.id.clone() };
        let policy = Policy { id, staged: None, ..(*policy).clone() };
        after.apply(Change::PolicyApplied(policy.into()));
    }
    after
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
            "198.51.100.7",
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
                if let Criterion::Peer { any_of, negated: false, .. } = criterion
                    && any_of.iter().any(|term| matches!(term, PeerTerm::Block(_)))
                {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn every_language_is_explained_as_it_is_decided_and_staged_as_it_would_be(
        mut world in any_world(),
        mut flow in flow(),
        icmp in prop::option::of((0u8..2, 0u8..2)),
    ) {
        flow.icmp = icmp.filter(|_| flow.protocol == 1);
        let said = explain(&world, &flow);
        prop_assert_eq!(&said.verdict, &verdict(&world, &flow));
        for trace in [&said.egress, &said.ingress] {
            let rules = trace.stages.iter().flat_map(|s| &s.policies).flat_map(|p| &p.rules);
            for rule in rules {
                prop_assert_eq!(rule.is_match, rule.reasons().is_empty(), "{:?}", rule);
            }
        }
        let proposed = staged(&world, &flow);
        let after = verdict(&carried_into_effect(&world), &flow);
        match &proposed {
            Some(proposed) => {
                prop_assert_eq!(proposed.verdict.is_allowed(), after.is_allowed());
                for direction in Direction::ALL {
                    let (is, want) = (proposed.verdict.of(direction), after.of(direction));
                    prop_assert_eq!((is.outcome, is.rule()), (want.outcome, want.rule()));
                }
            }
            None => prop_assert_eq!(&after, &said.verdict),
        }
        if let Some(nearest) = said.nearest {
            for step in &nearest.steps {
                carry_out(&mut world, &mut flow, step);
            }
            let after = verdict(&world, &flow);
            prop_assert!(after.is_allowed(), "{}: {:?}", nearest, after);
        }
    }
}
