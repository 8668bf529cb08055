//! How fast UPDATEs are read and written, in prefixes and octets a second, with another
//! parser on the same octets in the same run.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use bgpkit_parser::models::AsnLength;
use bgpkit_parser::parser::bgp::parse_bgp_message;
use brindle_bgp::msg::{
    AsPath, Attributes, Community, Message, NextHop, Nlri, WireFormat, decode, encode_attributes,
    pack_announce,
};
use brindle_bgp::net::{Asn, Family, Prefix};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group};

/// Routes of one shape: how many prefixes share their attributes.
struct Shape {
    name: &'static str,
    sharing: usize,
    family: Family,
    prefixes: usize,
}

const SHAPES: [Shape; 4] = [
    // As a table of the Internet is sent: each path has a few prefixes.
    Shape { name: "few", sharing: 5, family: Family::Ipv4Unicast, prefixes: 200_000 },
    // As a node of a cluster sends its own: full messages.
    Shape { name: "full", sharing: 100_000, family: Family::Ipv4Unicast, prefixes: 1_000_000 },
    Shape { name: "full-ipv6", sharing: 100_000, family: Family::Ipv6Unicast, prefixes: 500_000 },
    // As a change comes.
    Shape { name: "single", sharing: 1, family: Family::Ipv4Unicast, prefixes: 100_000 },
];

/// Prefixes with one set of attributes.
type Batch = (Attributes, Vec<Prefix>);

fn format() -> WireFormat {
    WireFormat { four_octet_asns: true, families: Family::ALL.to_vec(), ..WireFormat::default() }
}

fn batches(shape: &Shape) -> Vec<Batch> {
    let numbers: Vec<u32> = (0..u32::try_from(shape.prefixes).unwrap()).collect();
    let batch = |(index, numbers): (usize, &[u32])| {
        let index = u32::try_from(index).unwrap();
        let asns = [65001, 3356, 1299, 64512 + index % 500, 100_000 + index];
        let attributes = Attributes {
            as_path: AsPath::sequence(asns.map(|number| Asn::new(number).unwrap())),
            med: Some(index),
            communities: (0..4).map(|n| Community(65001 << 16 | (index + n) & 0xFFFF)).collect(),
            ..Attributes::default()
        };
        let prefixes = numbers.iter().map(|&number| match shape.family {
            // Lengths 20 to 24 as they are most often met, from 1.0.0.0 on.
            Family::Ipv4Unicast => {
                let length = 24 - u8::try_from(number % 8).unwrap().saturating_sub(3);
                Prefix::v4((0x0100_0000 + (number << 8)).into(), length).unwrap()
            }
            Family::Ipv6Unicast => {
                Prefix::v6((0x2001_u128 << 112 | u128::from(number) << 64).into(), 64).unwrap()
            }
        });
        (attributes, prefixes.collect())
    };
    numbers.chunks(shape.sharing).enumerate().map(batch).collect()
}

fn write(shape: &Shape, batches: &[Batch], format: &WireFormat) -> Vec<Bytes> {
    let next_hop = match shape.family {
        Family::Ipv4Unicast => NextHop::V4(Ipv4Addr::new(10, 0, 0, 1)),
        Family::Ipv6Unicast => NextHop::V6 { global: "fd00::1".parse().unwrap(), link_local: None },
    };
    let mut out = Vec::new();
    for (attributes, prefixes) in batches {
        let attributes = encode_attributes(attributes, format);
        let prefixes = prefixes.iter().copied().map(Nlri::from);
        pack_announce(prefixes, &next_hop, &attributes, shape.family, format, &mut out);
    }
    out
}

fn read(messages: &[Bytes], format: &WireFormat) -> usize {
    let mut count = 0;
    for octets in messages {
        match decode(octets, format).expect("what we wrote").message {
            Message::Update(update) => {
                count += update.announced.iter().map(|a| a.prefixes.len()).sum::<usize>();
                black_box(update);
            }
            other => panic!("{other:?}"),
        }
    }
    count
}

fn read_elsewhere(messages: &[Bytes]) -> usize {
    for octets in messages {
        let mut octets = octets.clone();
        black_box(parse_bgp_message(&mut octets, false, &AsnLength::Bits32).expect("an UPDATE"));
    }
    messages.len()
}

fn codec(criterion: &mut Criterion) {
    let format = format();
    for shape in &SHAPES {
        let batches = batches(shape);
        let messages = write(shape, &batches, &format);
        let octets: usize = messages.iter().map(Bytes::len).sum();
        assert_eq!(read(&messages, &format), shape.prefixes);
        let mut group = criterion.benchmark_group(shape.name);
        group.sample_size(10).warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::ElementsAndBytes {
            elements: u64::try_from(shape.prefixes).unwrap(),
            bytes: u64::try_from(octets).unwrap(),
        });
        group.bench_function("encode", |b| b.iter(|| black_box(write(shape, &batches, &format))));
        group.bench_function("decode", |b| b.iter(|| black_box(read(&messages, &format))));
        group.bench_function("decode/bgpkit-parser", |b| {
            b.iter(|| black_box(read_elsewhere(&messages)));
        });
        group.finish();
    }
}

/// The seconds that the fastest run of each of three works takes. They take turns, so that
/// what else the machine does hits all alike.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn fastest(mut works: [&mut dyn FnMut() -> usize; 3]) -> [f64; 3] {
    let mut fastest = [f64::INFINITY; 3];
    for _ in 0..15 {
        for (work, fastest) in works.iter_mut().zip(&mut fastest) {
            let start = std::time::Instant::now();
            black_box(work());
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    fastest
}

/// One line for each shape, as ratios.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn summary() {
    let format = format();
    println!(
        "\nshape      octets/prefix  encode Mprefix/s  decode Mprefix/s  decode MB/s  bgpkit-parser/ours"
    );
    for shape in &SHAPES {
        let batches = batches(shape);
        let messages = write(shape, &batches, &format);
        let octets = messages.iter().map(Bytes::len).sum::<usize>() as f64;
        let prefixes = shape.prefixes as f64;
        let [encode, decode, elsewhere] = fastest([
            &mut || write(shape, &batches, &format).len(),
            &mut || read(&messages, &format),
            &mut || read_elsewhere(&messages),
        ]);
        println!(
            "{:<10} {:>13.1} {:>17.1} {:>17.1} {:>12.0} {:>19.1}",
            shape.name,
            octets / prefixes,
            prefixes / encode / 1e6,
            prefixes / decode / 1e6,
            octets / decode / 1e6,
            elsewhere / decode,
        );
    }
}

criterion_group!(benches, codec);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--bench") {
        summary();
    }
}
