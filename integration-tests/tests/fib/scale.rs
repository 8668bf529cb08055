//! The fib with very many routes: all of them, fast.
//!
//! `cargo test --release -p integration-tests --test fib -- --ignored --nocapture`
//! prints the figures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use brindle::fib::{Command, Tuning};
use brindle_bgp::msg::NextHop;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{BestChange, Forwarding};

use crate::support::{Fib, Namespace, can_run, settings};

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
    let mut changes = prefixes(is_v6, count).zip(0..).map(|(prefix, n)| {
        let hop = via(n).map(|hop| vec![NextHop::from(hop)]);
        BestChange { prefix, now: hop.map_or(Forwarding::None, Forwarding::Via) }
    });
    loop {
        let part: Vec<BestChange> = changes.by_ref().take(1000).collect();
        if part.is_empty() {
            return;
        }
        fib.send(Command::Change(part));
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

/// Wall time and the time of all processors that this process and the kernel for it took:
/// the second says more on a machine that does other things as well.
struct Clock {
    started: Instant,
    worked: [Duration; 2],
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now(), worked: processor_time() }
    }

    fn report(&self, what: &str, count: u32) {
        let wall = self.started.elapsed().as_secs_f64();
        let now = processor_time();
        let [user, system] = [0, 1].map(|at| (now[at] - self.worked[at]).as_secs_f64());
        let rate = f64::from(count) / wall;
        let worked_rate = f64::from(count) / (user + system).max(0.01);
        println!(
            "{what:20} {count:>8} {wall:>8.3} s {rate:>8.0}/s   \
             CPU {user:>5.2} + {system:>5.2} s {worked_rate:>8.0}/s"
        );
    }
}

/// Time in programs and in the kernel.
fn processor_time() -> [Duration; 2] {
    let text = std::fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    let (_, after_name) = text.rsplit_once(')').expect("a name in brackets");
    let mut words = after_name.split_whitespace().skip(11);
    [(); 2].map(|()| {
        let ticks = words.next().expect("a line of many words").parse::<u64>().expect("a number");
        Duration::from_millis(ticks * 10)
    })
}

/// Memory of this process in MiB.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("it is always there");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn install_change_adopt_remove(count: u32) {
    for is_v6 in [false, true] {
        let family = usize::from(is_v6);
        let name = if is_v6 { "IPv6" } else { "IPv4" };
        let namespace = Namespace::new();
        let fib = namespace.start();
        let goal = |n: u32| move |s: &brindle::fib::FibStatus| s.installed[family] == n as usize;

        let clock = Clock::start();
        send(&fib, is_v6, count, |n| Some(next_hop(is_v6, n)));
        fib.until("all installed", goal(count));
        clock.report(&format!("{name} install"), count);

        let clock = Clock::start();
        send(&fib, is_v6, count, |n| Some(next_hop(is_v6, n + 1)));
        // The last prefix is written last; to ask for all of them would be measured as well.
        fib.settle_after(prefixes(is_v6, count).nth(count as usize - 2));
        clock.report(&format!("{name} change"), count);
        fib.settle();
        let status = fib.status();
        assert_eq!((status.repairs, status.overruns), (0, 0), "{status:?}");
        assert_eq!(status.last_error, None);
        println!("{:20} {:>8} MiB", format!("{name} memory"), memory());

        fib.stop();
        let clock = Clock::start();
        let fib = namespace.start_with(settings(), Tuning::default());
        clock.report(&format!("{name} read at start"), count);
        assert_eq!(fib.status().stale, count as usize);
        let clock = Clock::start();
        send(&fib, is_v6, count, |n| Some(next_hop(is_v6, n + 1)));
        fib.until("all adopted", goal(count));
        fib.settle();
        clock.report(&format!("{name} adopt"), count);
        assert_eq!(fib.diff(), vec![]);

        let clock = Clock::start();
        send(&fib, is_v6, count, |_| None);
        fib.until("all removed", |s| s.installed[family] == 0 && s.wanted[family] == 0);
        clock.report(&format!("{name} delete"), count);
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
