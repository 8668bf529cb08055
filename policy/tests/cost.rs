//! What a change writes, and what a packet meets: neither grows with what it does not touch.

#[path = "support/cluster.rs"]
mod cluster;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use brindle_policy::compile::{Compiler, Settings, compile};
use brindle_policy::model::{
    Action, Criterion, HostSettings, NetworkSet, NetworkSetId, Node, PeerTerm, Pod, Policy, Rule,
    Side,
};
use brindle_policy::names::{ChainName, Fixed, SetName};
use brindle_policy::ruleset::{ChainOp, Members, Plan, Rule as KernelRule, SetOp, Table};
use brindle_policy::walk::{End, Held, Packet, State, walk};
use brindle_policy::{Change, Cidr, Family, Ruleset, World};
use cluster::{Size, node, node_name, own};

const SIZE: Size = Size { pods: 2_000, policies: 400 };

fn settings(node: Arc<str>) -> Settings {
    Settings {
        node,
        pod_cidrs: BTreeSet::new(),
        masquerade: true,
        deny_log: None,
        hosts: HostSettings::default(),
    }
}

/// What a plan writes: chains by the letters of their kind, members of sets, whole sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cost {
    written: BTreeMap<String, usize>,
    removed: BTreeMap<String, usize>,
    members: usize,
    created: usize,
    destroyed: usize,
}

impl Cost {
    fn of(plan: &Plan) -> Self {
        let mut cost = Self { destroyed: plan.destroy.len(), ..Self::default() };
        for (name, op) in plan.chains.values().flatten() {
            let kind = name.as_str().split('-').nth(1).unwrap_or_default().to_owned();
            let by_kind = match op {
                ChainOp::Write(_) => &mut cost.written,
                ChainOp::Remove => &mut cost.removed,
            };
            *by_kind.entry(kind).or_default() += 1;
        }
        for op in plan.set_ops() {
            match op {
                SetOp::Create(..) => cost.created += 1,
                SetOp::Change { remove, add, .. } => cost.members += remove.len() + add.len(),
                SetOp::Replace(..) | SetOp::Recreate(..) => panic!("{op:?} for one change"),
            }
        }
        cost
    }

    /// The chains of the dispatch that it writes or removes; their number depends on how
    /// the addresses lie.
    fn take_dispatch(&mut self) -> usize {
        let is_dispatch = |kind: &String| matches!(&kind[..], "FROM" | "TO" | "DE" | "DI");
        let mut count = 0;
        for chains in [&mut self.written, &mut self.removed] {
            count += chains.iter().filter(|(k, _)| is_dispatch(k)).map(|(_, n)| n).sum::<usize>();
            chains.retain(|kind, _| !is_dispatch(kind));
        }
        count
    }
}

fn counts(kinds: &[(&str, usize)]) -> BTreeMap<String, usize> {
    kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

/// Pod `number`, with another application.
fn relabelled(number: usize, application: &str) -> Arc<Pod> {
    let mut pod = SIZE.pod(number);
    pod.labels.insert("app.kubernetes.io/name".into(), application.into());
    Arc::new(pod)
}

fn edited(number: usize, edit: impl FnOnce(&mut Policy)) -> Change {
    let mut policy = SIZE.policy(number);
    edit(&mut policy);
    Change::PolicyApplied(Arc::new(policy))
}

#[test]
fn a_change_writes_only_what_it_touches() {
    // Pod n is on node n % 20 and in namespace n / 100; policies n, n + 20, n + 40 ... are of
    // namespace n % 20, policy n governs application n / 20 there.
    let mut world = SIZE.world();
    world.take_touched();
    let mut compiler = Compiler::new(&world, settings(node_name(0)), Family::V4);
    let mut new = SIZE.pod(0);
    new.key.name = "new".into();
    new.addresses = vec![[10, 0, 0, 200].into()];
    let key = new.key.clone();
    let mut annotated = SIZE.pod(1);
    annotated.labels.insert("app.kubernetes.io/version".into(), "9".into());
    let (new, annotated) = (Arc::new(new), Arc::new(annotated));
    let nothing = Cost::default();
    let members = |members| Cost { members, ..Cost::default() };
    let written = |kinds: &[(&str, usize)]| Cost { written: counts(kinds), ..Cost::default() };
    let own = [("E", 1), ("I", 1)];
    for (what, change, want) in [
        ("a label of another node's pod", Change::PodApplied(relabelled(1, "app2")), members(1)),
        ("the label of before", Change::PodApplied(relabelled(1, "app1")), members(1)),
        ("a label that no policy looks at", Change::PodApplied(annotated), nothing.clone()),
        (
            // It is governed by two policies that governed nobody here, one of whose peer sets
            // nobody used here, and leaves a peer set.
            "a label of a pod here",
            Change::PodApplied(relabelled(0, "app1")),
            Cost { created: 1, members: 1, ..written(&[("E", 1), ("I", 1), ("PE", 2), ("PI", 2)]) },
        ),
        // Into the set of this node's endpoints, a peer set, and that of a named port.
        ("a new pod here", Change::PodApplied(new), Cost { members: 3, ..written(&own) }),
        ("it goes", Change::PodDeleted(key), Cost { removed: counts(&own), ..members(3) }),
        ("a rule of a policy", edited(0, |p| p.ingress = Some(Vec::new())), written(&[("PI", 1)])),
        (
            "a policy of four pods goes",
            Change::PolicyDeleted(SIZE.policy(0).id),
            Cost { removed: counts(&[("PE", 1), ("PI", 1)]), ..written(&[("E", 4), ("I", 4)]) },
        ),
        ("it comes back", edited(0, |_| {}), written(&[("E", 4), ("I", 4), ("PE", 1), ("PI", 1)])),
        (
            "a policy of pods elsewhere",
            edited(21, |p| p.ingress = Some(Vec::new())),
            nothing.clone(),
        ),
        ("a new node", Change::NodeApplied(Arc::new(node(99))), members(1)),
        ("the same node", Change::NodeApplied(Arc::new(node(99))), nothing.clone()),
    ] {
        world.apply(change);
        let touched = world.take_touched();
        let mut cost = Cost::of(&compiler.update(&world, &touched));
        let dispatch = cost.take_dispatch();
        let has_moved = cost.members == 3;
        // Those of blocks that are divided elsewhere now, both ways.
        let range = if has_moved { 2..=32 } else { 0..=0 };
        assert!(range.contains(&dispatch), "{what}: {dispatch} chains of the dispatch");
        assert_eq!(cost, want, "{what}");
    }
}

/// Counts the rules that a walk looks at.
struct Counting<'a>(&'a Ruleset, Cell<usize>);

impl Held for Counting<'_> {
    fn length(&self, table: Table, chain: &ChainName) -> Option<usize> {
        self.0.length(table, chain)
    }

    fn rule(&self, table: Table, chain: &ChainName, index: usize) -> Option<&KernelRule> {
        self.1.set(self.1.get() + 1);
        self.0.rule(table, chain, index)
    }

    fn members(&self, set: &SetName) -> Option<&Members> {
        self.0.members(set)
    }
}

/// A node with `pods` pods of one namespace, each with a policy of its own both ways that
/// allows the others.
fn crowded(pods: u32) -> World {
    let mut world = World::default();
    let range = "10.1.0.0/20".parse().expect("a block");
    let node = Node {
        name: node_name(0),
        addresses: BTreeSet::new(),
        pod_cidrs: BTreeSet::from([range]),
        labels: Default::default(),
    };
    world.apply(Change::NodeApplied(Arc::new(node)));
    let size = Size { pods: 100, policies: 1 };
    for number in 0..pods {
        let mut pod = size.pod(0);
        pod.key.name = format!("pod-{number}").into();
        pod.addresses = vec![address(number)];
        pod.labels.insert("number".into(), number.to_string().as_str().into());
        world.apply(Change::PodApplied(Arc::new(pod)));
        let mut policy = size.policy(0);
        let open = Rule { action: Action::Allow, criteria: Vec::new() };
        policy.id.name = format!("policy-{number}").into();
        policy.subject = Arc::new(own("number", &number.to_string()));
        (policy.ingress, policy.egress) = (Some(vec![open.clone()]), Some(vec![open]));
        world.apply(Change::PolicyApplied(Arc::new(policy)));
    }
    world
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a01_0002 + number).into()
}

#[test]
fn the_rules_that_a_packet_meets_grow_slower_than_the_pods() {
    let outside: IpAddr = [192, 0, 2, 7].into();
    let mut most = Vec::new();
    for pods in [10, 100, 250, 1_000] {
        let world = crowded(pods);
        let ruleset = compile(&world, &settings(node_name(0)), Family::V4);
        let met = |source, destination| {
            let held = Counting(&ruleset, Cell::new(0));
            let packet = Packet {
                source,
                destination,
                protocol: 6,
                source_port: Some(40_000),
                destination_port: Some(8080),
                icmp: None,
                arrives: None,
                leaves: None,
                is_to_loopback: false,
                is_marked: false,
                state: State::New,
                is_from_loopback: false,
                interface: None,
                is_from_this_host: false,
                is_for_this_host: false,
            };
            let end = walk(&held, &ChainName::fixed(Fixed::Forward), &packet).end;
            assert_eq!(end, End::Accept, "{source} to {destination}");
            held.1.get()
        };
        let ways = (0..pods).map(|number| {
            let (pod, other) = (address(number), address((number * 7 + 3) % pods));
            [met(pod, other), met(pod, outside), met(outside, pod)]
        });
        let ways: Vec<[usize; 3]> = ways.collect();
        let of = |way: usize| ways.iter().map(move |counts| counts[way]);
        let mean = |way: usize| of(way).sum::<usize>() as f64 / f64::from(pods);
        for (way, name) in ["pod to pod", "pod to outside", "outside to pod"].iter().enumerate() {
            let most = of(way).max().expect("there are pods");
            println!("{pods} pods, {name}: {:.1} rules, at most {most}", mean(way));
        }
        most.push(of(0).max().expect("there are pods"));
    }
    // 25 times the pods, and 100 times: the tree has three levels (the kernel takes no more),
    // so each gets longer with the cube root.
    assert!(most[2] < 3 * most[0] && most[3] < 5 * most[0], "{most:?}");
}

/// A global network set of `count` nets.
fn large_set(count: u32) -> NetworkSet {
    let nets = (0..count).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + (n << 4)).into());
    NetworkSet {
        id: NetworkSetId { namespace: None, name: "offices".into() },
        labels: [("kind".into(), "office".into())].into(),
        nets: nets.filter_map(|address| Cidr::new(address, 28)).collect(),
    }
}

#[test]
fn c42_a_change_of_one_net_of_a_hundred_thousand_writes_one_element() {
    let mut world = crowded(10);
    let mut policy = Size { pods: 100, policies: 1 }.policy(0);
    let peer = Criterion::Peer {
        side: Side::Source,
        any_of: vec![PeerTerm::Selected(Arc::new(own("kind", "office")))],
        negated: false,
    };
    policy.subject = Arc::new(own("number", "3"));
    policy.ingress = Some(vec![Rule { action: Action::Allow, criteria: vec![peer] }]);
    policy.egress = None;
    world.apply(Change::PolicyApplied(Arc::new(policy)));
    let mut set = large_set(100_000);
    world.apply(Change::NetworkSetApplied(Arc::new(set.clone())));
    world.take_touched();
    let mut compiler = Compiler::new(&world, settings(node_name(0)), Family::V4);
    let sizes = compiler.ruleset().sets.values().map(|set| set.members.len());
    assert_eq!(sizes.max(), Some(100_000));
    let members = |members| Cost { members, ..Cost::default() };
    for (what, net, is_there, want) in [
        ("one comes", "192.0.2.0/24", true, members(1)),
        ("it goes", "192.0.2.0/24", false, members(1)),
        ("one that was there", "10.0.0.16/28", false, members(1)),
        ("one of the other family", "fd00::/64", true, members(0)),
        // The kernel's sets take no such block.
        ("all there is", "0.0.0.0/0", true, members(2)),
    ] {
        let net: Cidr = net.parse().expect("a block");
        let is_other = if is_there { set.nets.insert(net) } else { set.nets.remove(&net) };
        assert!(is_other, "{what}");
        world.apply(Change::NetworkSetApplied(Arc::new(set.clone())));
        let touched = world.take_touched();
        assert_eq!(Cost::of(&compiler.update(&world, &touched)), want, "{what}");
    }
    assert_eq!(*compiler.ruleset(), compile(&world, &settings(node_name(0)), Family::V4));
}
