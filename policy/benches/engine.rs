//! What one change costs, by how large the cluster is around it.

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::hint::black_box;
use std::sync::Arc;

use brindle_policy::{Change, World};
use cluster::{Size, namespace, own};
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

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
    let full = resident();
    black_box(world.take_touched());
    println!(
        "{} pods: {} octets a pod, {} for the objects",
        size.pods,
        (full - empty) / size.pods,
        (objects - empty) / size.pods,
    );
    world
}

/// Pairs of changes that undo one another.
fn changes(size: Size) -> [(&'static str, [Change; 2]); 5] {
    let number = size.pods / 2;
    let pod = size.pod(number);
    let mut relabelled = pod.clone();
    relabelled.labels.insert("app.kubernetes.io/name".into(), "app7".into());
    let mut annotated = pod.clone();
    annotated.labels.insert("app.kubernetes.io/version".into(), "2.0".into());
    let mut new = pod.clone();
    new.key.name = "app3-new".into();
    new.addresses = vec![[10, 99, 0, 1].into(), "fd00::99:1".parse().expect("an address")];
    let policy = size.policy(1);
    let mut edited = policy.clone();
    edited.subject = Arc::new(own("app.kubernetes.io/name", "app9"));
    let home = namespace(number / cluster::CROWD);
    let mut other = home.clone();
    other.labels.insert("team".into(), "team-of-nobody".into());
    let pods = |from, to| [from, to].map(|pod| Change::PodApplied(Arc::new(pod)));
    [
        ("a label that matters", pods(relabelled, pod.clone())),
        ("a label that does not", pods(annotated, pod)),
        ("a pod comes or goes", {
            let key = new.key.clone();
            [Change::PodApplied(Arc::new(new)), Change::PodDeleted(key)]
        }),
        ("a policy's subject", [edited, policy].map(|p| Change::PolicyApplied(Arc::new(p)))),
        ("a namespace's label", [other, home].map(|n| Change::NamespaceApplied(Arc::new(n)))),
    ]
}

fn one_change(c: &mut Criterion) {
    for pods in SIZES {
        let size = Size { pods, policies: 1_000 };
        let mut world = world(size);
        let mut group = c.benchmark_group(format!("world of {pods} pods"));
        for (name, pair) in changes(size) {
            let mut turn = pair.iter().cycle();
            group.bench_function(name, |b| {
                b.iter(|| {
                    world.apply(turn.next().expect("a cycle has no end").clone());
                    black_box(world.take_touched())
                });
            });
        }
    }
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(10);
    for pods in SIZES {
        let changes = Size { pods, policies: 1_000 }.changes();
        group.bench_function(format!("{pods} pods"), |b| {
            b.iter(|| {
                let mut world = World::default();
                changes.iter().for_each(|change| world.apply(change.clone()));
                world.take_touched()
            });
        });
    }
}

criterion_group!(benches, one_change, start);
criterion_main!(benches);
