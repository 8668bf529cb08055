//! What one change costs, by how large the cluster is around it: in the world alone, and with
//! both families' rulesets of a node with a hundred pods.

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use brindle_policy::compile::{Compiler, Settings};
use brindle_policy::model::{Criterion as Condition, HostSettings, PeerTerm, Policy, PortMatch};
use brindle_policy::ruleset::SetOp;
use brindle_policy::{Change, Family, Plan, World};
use cluster::{CROWD, Size, endpoints, namespace, own};
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// The pod that changes: the first of the namespace that the policy of this number is in, so
/// that this policy governs it.
const POD: usize = CROWD;
/// The policy that changes.
const POLICY: usize = 1;

/// Octets of memory that this process has; zero where there is no way to see it.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// The world, having told all that is in it; prints what it weighs.
fn world(size: Size) -> World {
    let empty = resident();
    let changes = size.changes();
    let objects = resident();
    let mut world = World::default();
    changes.into_iter().for_each(|change| world.apply(change));
    black_box(world.take_touched());
    let full = resident();
    println!(
        "{} pods: {} octets a pod, {} of them for the objects",
        size.pods,
        (full - empty) / size.pods,
        (objects - empty) / size.pods,
    );
    world
}

/// The policy with other ports, or other peers.
fn edited(policy: &Policy, port: u16, peer: Option<&PeerTerm>) -> Policy {
    let mut policy = policy.clone();
    let rules = policy.ingress.iter_mut().flatten();
    for criterion in rules.flat_map(|rule| &mut rule.criteria) {
        match criterion {
            Condition::Peer { any_of, .. } => any_of.extend(peer.cloned()),
            Condition::Ports { any_of, .. } => {
                any_of.iter_mut().for_each(|term| term.port = PortMatch::Range(port, port));
            }
            _ => {}
        }
    }
    policy
}

/// Pairs of changes that undo one another.
fn changes(size: Size) -> Vec<(&'static str, [Change; 2])> {
    let pod = size.pod(POD);
    let mut relabelled = pod.clone();
    relabelled.labels.insert("app.kubernetes.io/name".into(), "app7".into());
    let mut bumped = pod.clone();
    bumped.labels.insert("app.kubernetes.io/version".into(), "2.0".into());
    let mut new = pod.clone();
    new.key.name = "app0-new".into();
    new.addresses = cluster::addresses(POD % size.crowds(), CROWD);
    let gone = Change::PodDeleted(new.key.clone());

    let policy = size.policy(POLICY);
    let mut governs_others = policy.clone();
    let home = policy.id.namespace.clone().expect("it is in one");
    governs_others.subject = Arc::new(cluster::here(&home, own("app.kubernetes.io/name", "app9")));
    let with_port = edited(&policy, 9090, None);
    let few = endpoints(own("app.kubernetes.io/instance", "app9-2"));
    let with_few = edited(&policy, 8080, Some(&few));
    let tenth = endpoints(own("app.kubernetes.io/name", "app9"));
    let with_tenth = edited(&policy, 8080, Some(&tenth));
    let space = namespace(POD / CROWD);
    let mut moved = space.clone();
    moved.labels.insert("team".into(), "nobody".into());

    let pods = |to| [to, pod.clone()].map(|pod| Change::PodApplied(Arc::new(pod)));
    let policies = |to| [to, policy.clone()].map(|p| Change::PolicyApplied(Arc::new(p)));
    vec![
        ("a label that matters", pods(relabelled)),
        ("a label that does not", pods(bumped)),
        ("a pod comes or goes", [Change::PodApplied(Arc::new(new)), gone]),
        ("a policy's port", policies(with_port)),
        ("a policy's subject", policies(governs_others)),
        ("ten peers, looked for in all namespaces", policies(with_few)),
        ("a tenth of all pods as peers", policies(with_tenth)),
        ("a namespace's label", [moved, space].map(|n| Change::NamespaceApplied(Arc::new(n)))),
    ]
}

/// The rulesets of the node that the changing pod is on.
fn compilers(world: &World, size: Size) -> [Compiler; 2] {
    let node = size.pod(POD).node.expect("all are on some node");
    let settings = Settings {
        node,
        pod_cidrs: [].into(),
        masquerade: true,
        deny_log: None,
        hosts: HostSettings::default(),
    };
    Family::ALL.map(|family| Compiler::new(world, settings.clone(), family))
}

fn one_change(c: &mut Criterion) {
    for pods in SIZES {
        let size = Size { pods, policies: 1_000 };
        let mut world = world(size);
        let mut group = c.benchmark_group(format!("{pods} pods, the world"));
        for (name, pair) in changes(size) {
            let mut turn = pair.iter().cycle();
            group.bench_function(name, |b| {
                b.iter(|| {
                    world.apply(turn.next().expect("a cycle has no end").clone());
                    black_box(world.take_touched())
                });
            });
            let [_, undo] = pair;
            world.apply(undo);
            world.take_touched();
        }
        drop(group);

        let mut group = c.benchmark_group(format!("{pods} pods, with rulesets"));
        let mut compilers = compilers(&world, size);
        let mut follow = |change: &Change| -> [Plan; 2] {
            world.apply(change.clone());
            let touched = world.take_touched();
            compilers.each_mut().map(|compiler| compiler.update(&world, &touched))
        };
        for (name, [change, undo]) in changes(size) {
            println!("{name}: {}", extent(&follow(&change)[0]));
            let mut turn = [&undo, &change].into_iter().cycle();
            group.bench_function(name, |b| {
                b.iter(|| black_box(follow(turn.next().expect("a cycle has no end"))));
            });
            follow(&undo);
        }
    }
}

/// How much a plan asks for.
fn extent(plan: &Plan) -> String {
    let chains = plan.chains.values().map(BTreeMap::len).sum::<usize>();
    let members = plan.set_ops().map(|op| match op {
        SetOp::Create(_, members) | SetOp::Replace(_, members) | SetOp::Recreate(_, members) => {
            members.len()
        }
        SetOp::Change { remove, add, .. } => remove.len() + add.len(),
    });
    let (sets, members) = (plan.set_ops().count() + plan.destroy.len(), members.sum::<usize>());
    format!("{chains} chains, {sets} sets with {members} members")
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(10);
    for pods in SIZES {
        let size = Size { pods, policies: 1_000 };
        let changes = size.changes();
        group.bench_function(format!("{pods} pods, the world"), |b| {
            b.iter(|| {
                let mut world = World::default();
                changes.iter().for_each(|change| world.apply(change.clone()));
                world.take_touched()
            });
        });
        let world = size.world();
        group.bench_function(format!("{pods} pods, rulesets"), |b| {
            b.iter(|| compilers(&world, size));
        });
    }
}

criterion_group!(benches, one_change, start);
criterion_main!(benches);
