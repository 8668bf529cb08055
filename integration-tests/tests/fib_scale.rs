//! The fib with very many routes: all of them, fast.
//!
//! `cargo test --release -p integration-tests --test fib_scale -- --ignored --nocapture`
//! prints the figures.

mod support_fib;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use brindle::fib::{Command, Tuning};
use brindle_bgp::msg::NextHop;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{BestChange, Forwarding};
use support_fib::{Fib, Namespace, can_run, settings};

/// As many different prefixes of a family; of the lengths that a full table has most.
fn prefixes(is_v6: bool, count: u32) -> impl Iterator<Item = Prefix> {
    (0..count).map(move |n| {
        if is_v6 {
            let bits = (0x2001_0db8_u128 << 96) | (u128::from(n) << 64);
            Prefix::v6(Ipv6Addr::from_bits(bits), 64).unwrap()
        } else {
            Prefix::v4(Ipv4Addr::from_bits((16 << 24) + (n << 8)), 24).unwrap()
        }
    })
}

fn send(fib: &Fib, is_v6: bool, count: u32, via: impl Fn(u32) -> Option<IpAddr>) {
    let changes: Vec<BestChange> = prefixes(is_v6, count)
        .zip(0..)
        .map(|(prefix, n)| {
            let now =
                via(n).map_or(Forwarding::None, |hop| Forwarding::Via(vec![NextHop::from(hop)]));
            BestChange { prefix, now }
        })
        .collect();
    for part in changes.chunks(1000) {
        fib.send(Command::Change(part.to_vec()));
    }
}

fn next_hop(is_v6: bool, n: u32) -> IpAddr {
    let last = 2 + n % 8;
    if is_v6 {
        Ipv6Addr::from_bits((0xfd00_u128 << 112) | u128::from(last)).into()
    } else {
        Ipv4Addr::from_bits((10 << 24) | last).into()
    }
}

fn report(what: &str, count: u32, took: Duration) {
    println!(
        "{what:32} {count:>8} {:>8.3} s {:>9.0}/s",
        took.as_secs_f64(),
        f64::from(count) / took.as_secs_f64()
    );
}

fn install_change_adopt_remove(count: u32) {
    for is_v6 in [false, true] {
        let family = usize::from(is_v6);
        let name = if is_v6 { "IPv6" } else { "IPv4" };
        let namespace = Namespace::new();
        let fib = namespace.start();
        let goal = |n: u32| move |s: &brindle::fib::FibStatus| s.installed[family] == n as usize;

        let started = Instant::now();
        send(&fib, is_v6, count, |n| Some(next_hop(is_v6, n)));
        fib.until("all installed", goal(count));
        report(&format!("{name} install"), count, started.elapsed());

        let started = Instant::now();
        send(&fib, is_v6, count, |n| Some(next_hop(is_v6, n + 1)));
        // The command is answered after all changes were taken in.
        fib.settle();
        report(&format!("{name} change"), count, started.elapsed());
        let status = fib.status();
        assert_eq!((status.repairs, status.overruns), (0, 0), "{status:?}");
        assert_eq!(status.last_error, None);

        fib.stop();
        let started = Instant::now();
        let fib = namespace.start_with(settings(), Tuning::default());
        report(&format!("{name} read at start"), count, started.elapsed());
        assert_eq!(fib.status().stale, count as usize);
        let started = Instant::now();
        send(&fib, is_v6, count, |n| Some(next_hop(is_v6, n + 1)));
        fib.until("all adopted", goal(count));
        fib.settle();
        report(&format!("{name} adopt"), count, started.elapsed());
        assert_eq!(fib.diff(), vec![]);

        let started = Instant::now();
        send(&fib, is_v6, count, |_| None);
        fib.until("all removed", |s| s.installed[family] == 0 && s.wanted[family] == 0);
        report(&format!("{name} delete"), count, started.elapsed());
        let ours = namespace.ours(if is_v6 { "-6" } else { "-4" });
        assert_eq!(ours, Vec::<String>::new());
    }
}

#[test]
fn ten_thousand_routes_are_installed_changed_adopted_and_removed() {
    if can_run() {
        install_change_adopt_remove(10_000);
    }
}

#[test]
#[ignore = "a measurement, of use with --release only"]
fn measure_one_hundred_thousand_routes() {
    if can_run() {
        install_change_adopt_remove(100_000);
    }
}

#[test]
#[ignore = "a measurement, of use with --release only"]
fn measure_one_million_routes() {
    if can_run() {
        install_change_adopt_remove(1_000_000);
    }
}
