//! What a node's ruleset costs, from scratch and for one change, by how large the cluster is.

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use brindle_policy::compile::{Compiler, Settings, compile};
use brindle_policy::model::HostSettings;
use brindle_policy::{Change, Family};
use cluster::{Size, node_name, own};
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn settings() -> Settings {
    Settings {
        node: node_name(0),
        pod_cidrs: BTreeSet::new(),
        masquerade: true,
        deny_log: None,
        hosts: HostSettings::default(),
    }
}

/// Pairs of changes that undo one another. Pod 0 is here, pod 1 is not; policy 0 governs pods
/// here.
fn changes(size: Size) -> [(&'static str, [Change; 2]); 5] {
    let relabelled = |number: usize| {
        let (pod, mut other) = (size.pod(number), size.pod(number));
        other.labels.insert("app.kubernetes.io/name".into(), "app7".into());
        [other, pod].map(|pod| Change::PodApplied(Arc::new(pod)))
    };
    let mut new = size.pod(0);
    new.key.name = "app0-new".into();
    new.addresses = vec![[10, 0, 0, 200].into()];
    let policy = size.policy(0);
    let (mut edited, mut moved) = (policy.clone(), policy.clone());
    edited.ingress = Some(Vec::new());
    moved.subject = Arc::new(own("app.kubernetes.io/name", "app9"));
    let policies = |from| [from, policy.clone()].map(|p| Change::PolicyApplied(Arc::new(p)));
    [
        ("a label of a pod elsewhere", relabelled(1)),
        ("a label of a pod here", relabelled(0)),
        ("a pod here comes or goes", {
            let key = new.key.clone();
            [Change::PodApplied(Arc::new(new)), Change::PodDeleted(key)]
        }),
        ("a policy's rules", policies(edited)),
        ("a policy's subject", policies(moved)),
    ]
}

/// With what the world does about the change, which the benchmark `engine` shows alone.
fn one_change(c: &mut Criterion) {
    for pods in SIZES {
        let size = Size { pods, policies: 1_000 };
        let mut world = size.world();
        world.take_touched();
        let mut compiler = Compiler::new(&world, settings(), Family::V4);
        let mut group = c.benchmark_group(format!("ruleset among {pods} pods"));
        for (name, pair) in changes(size) {
            let mut turn = pair.iter().cycle();
            group.bench_function(name, |b| {
                b.iter(|| {
                    world.apply(turn.next().expect("a cycle has no end").clone());
                    let touched = world.take_touched();
                    black_box(compiler.update(&world, &touched))
                });
            });
        }
    }
}

fn from_scratch(c: &mut Criterion) {
    let mut group = c.benchmark_group("ruleset from scratch");
    group.sample_size(10);
    for pods in SIZES {
        let world = Size { pods, policies: 1_000 }.world();
        group.bench_function(format!("{pods} pods"), |b| {
            b.iter(|| compile(&world, &settings(), Family::V4));
        });
    }
}

criterion_group!(benches, one_change, from_scratch);
criterion_main!(benches);
