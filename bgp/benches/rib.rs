//! The RIB at work: bulk transfer, many peers with the same prefixes, all to all, loss of a peer.

#[path = "../tests/rib/support.rs"]
mod support;

use std::hint::black_box;

use brindle_bgp::msg::{Attributes, Update};
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{PeerId, PeerKind, Rib};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use support::{along, announce, hop, numbered, peer, session, settings};

/// Octets that a peer's socket takes at a time.
const BUDGET: usize = 64 << 10;
/// Prefixes in an UPDATE of a full table, on average.
const PACKED: u32 = 20;

/// What a peer with `count` prefixes sends, attributes shared by each [`PACKED`] of them.
fn table(number: u32, count: u32) -> Vec<Update> {
    let prefixes: Vec<Prefix> = (0..count).map(numbered).collect();
    let packed = (0..).zip(prefixes.chunks(PACKED as usize));
    packed
        .map(|(index, prefixes)| {
            let path = [65000 + number, 1000 + index % 60_000, 7 + index / 60_000];
            let attributes = Attributes { med: Some(index % 3), ..along(&path) };
            announce(prefixes, hop("192.0.2.77"), attributes)
        })
        .collect()
}

fn rib(peers: u32, kind: PeerKind) -> Rib {
    let mut rib = Rib::new(settings());
    for number in 0..peers {
        rib.configure_peer(PeerId(number), peer(number, kind));
        rib.session_up(PeerId(number), session(number));
    }
    rib
}

/// Tells whoever wants to be told; the octets that went out.
fn tell(rib: &mut Rib) -> usize {
    let mut octets = 0;
    for peer in rib.take_woken() {
        loop {
            let turn = rib.advertise(peer, BUDGET);
            octets += turn.messages.iter().map(bytes::Bytes::len).sum::<usize>();
            if !turn.more {
                break;
            }
        }
    }
    octets
}

/// Takes in updates and tells as it goes, as the speaker does.
fn learn_and_tell(rib: &mut Rib, from: PeerId, updates: Vec<Update>) -> usize {
    let mut octets = 0;
    for (count, update) in updates.into_iter().enumerate() {
        rib.learn(from, update);
        if count % 64 == 0 {
            octets += tell(rib);
            black_box(rib.take_changes());
        }
    }
    black_box(rib.take_changes());
    octets + tell(rib)
}

fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("rib");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("1M prefixes in, out to one peer", |b| {
        let updates = table(0, 1_000_000);
        b.iter_batched(
            || (rib(2, PeerKind::External), updates.clone()),
            |(mut rib, updates)| {
                let octets = learn_and_tell(&mut rib, PeerId(0), updates);
                assert!(octets > 3_000_000);
                rib
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("1M prefixes out to a new peer", |b| {
        let updates = table(0, 1_000_000);
        let mut full = rib(2, PeerKind::External);
        learn_and_tell(&mut full, PeerId(0), updates);
        b.iter(|| {
            full.session_up(PeerId(1), session(1));
            tell(&mut full)
        });
    });
    group.bench_function("10 peers with the same 100k, best out to one", |b| {
        let tables: Vec<Vec<Update>> = (0..10).map(|number| table(number, 100_000)).collect();
        b.iter_batched(
            || (rib(11, PeerKind::External), tables.clone()),
            |(mut rib, tables)| {
                for (number, updates) in (0..).zip(tables) {
                    learn_and_tell(&mut rib, PeerId(number), updates);
                }
                rib
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn mesh(c: &mut Criterion) {
    let mut group = c.benchmark_group("rib");
    group.sample_size(10);
    group.throughput(Throughput::Elements(500 * 499 * 2));
    let updates: Vec<Update> = (0..500)
        .map(|number| {
            let prefixes = [numbered(2 * number), numbered(2 * number + 1)];
            announce(&prefixes, support::address_hop(number), along(&[]))
        })
        .collect();
    group.bench_function("500 clients with 2 prefixes, all to all", |b| {
        b.iter_batched(
            || (rib(500, PeerKind::ReflectorClient), updates.clone()),
            |(mut rib, updates)| {
                tell(&mut rib);
                for (number, update) in (0..).zip(updates) {
                    rib.learn(PeerId(number), update);
                    if number % 8 == 0 {
                        tell(&mut rib);
                    }
                }
                tell(&mut rib);
                rib
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("500 sessions up over 1,000 prefixes", |b| {
        let mut full = rib(500, PeerKind::ReflectorClient);
        for (number, update) in (0..).zip(updates.clone()) {
            full.learn(PeerId(number), update);
        }
        tell(&mut full);
        b.iter(|| {
            for number in 0..500 {
                full.refresh(PeerId(number), brindle_bgp::net::Family::Ipv4Unicast);
            }
            tell(&mut full)
        });
    });
    group.finish();
}

fn loss(c: &mut Criterion) {
    let mut group = c.benchmark_group("rib");
    group.sample_size(10);
    group.throughput(Throughput::Elements(100_000));
    let updates = table(0, 100_000);
    group.bench_function("a peer with 100k lost, withdrawn from 10", |b| {
        b.iter_batched(
            || {
                let mut rib = rib(11, PeerKind::External);
                learn_and_tell(&mut rib, PeerId(0), updates.clone());
                rib
            },
            |mut rib| {
                rib.session_down(PeerId(0));
                black_box(rib.take_changes());
                assert!(tell(&mut rib) > 100_000);
                rib
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, bulk, mesh, loss);
criterion_main!(benches);
