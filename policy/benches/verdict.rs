//! What a verdict costs, and what an explanation and all warnings cost.

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::hint::black_box;
use std::net::IpAddr;

use brindle_policy::Protocol;
use brindle_policy::lint::lint;
use brindle_policy::verdict::{Flow, explain, verdict};
use cluster::Size;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 2] = [500, 10_000];
/// Pods to a side of the matrix.
const SIDE: usize = 500;

fn judged(c: &mut Criterion) {
    for pods in SIZES {
        let world = Size { pods, policies: 1_000 }.world();
        let addresses: Vec<IpAddr> =
            world.pods().take(SIDE).flat_map(|pod| pod.addresses.first().copied()).collect();
        let flows: Vec<Flow> = addresses
            .iter()
            .flat_map(|a| addresses.iter().map(|b| Flow::to_port(*a, *b, Protocol::Tcp, 8080)))
            .collect();
        let mut group = c.benchmark_group(format!("{pods} pods, 1000 policies"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(flows.len() as u64));
        group.bench_function("matrix of 500 by 500", |b| {
            b.iter(|| flows.iter().filter(|flow| verdict(&world, flow).is_allowed()).count());
        });
        group.throughput(Throughput::Elements(1));
        let mut turn = flows.iter().step_by(SIDE + 7).cycle();
        group.bench_function("explain", |b| {
            b.iter_batched(
                || turn.next().expect("a cycle has no end"),
                |flow| black_box(explain(&world, flow)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("lint", |b| b.iter(|| lint(&world).len()));
    }
}

criterion_group!(benches, judged);
criterion_main!(benches);
