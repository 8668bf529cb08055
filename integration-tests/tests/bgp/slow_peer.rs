//! A peer that does not read costs neither the others time nor us memory without bound.

use std::io::Write;

use integration_tests::agent::{Agent, Config};
use integration_tests::wait::{SOON, met};
use integration_tests::{Lan, load, skip, until};

/// Memory that a process holds now, in octets.
pub(crate) fn resident(pid: nix::unistd::Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is counted");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

#[test]
fn a_peer_that_stops_reading_neither_delays_others_nor_costs_memory_for_every_change() {
    let test = "a_peer_that_stops_reading_neither_delays_others_nor_costs_memory_for_every_change";
    if !skip::can_run(test, &[]) {
        return;
    }
    const COUNT: usize = 20_000;
    const ROUNDS: usize = 10;
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let (sender, deaf, reader) = (lan.host("sender", 2), lan.host("deaf", 3), lan.host("ok", 4));
    let config = Config::new(65001)
        .peer("sender", &sender, 65002, ", passive: true")
        .peer("deaf", &deaf, 65003, ", passive: true")
        .peer("reader", &reader, 65004, ", passive: true")
        .rest("routes: {install: false}");
    let mut agent = Agent::start(&us, &config);
    let to = us.v4.into();
    let deaf_stream = load::establish(&deaf.netns, deaf.v4, to, 65003).expect("a session");
    let heard =
        load::count(load::establish(&reader.netns, reader.v4, to, 65004).expect("likewise"));
    let mut stream = load::establish(&sender.netns, sender.v4, to, 65002).expect("likewise");
    let round = [load::table(COUNT, 65002, sender.v4), load::withdrawal(COUNT)];

    let mut after_two = 0;
    for number in 0..ROUNDS {
        let (announced, withdrawn) = (heard.announced(), heard.withdrawn());
        stream.write_all(&round[0]).expect("an open session");
        until(&format!("round {number} arrives at the peer that reads"), SOON, || {
            let arrived = heard.announced() - announced;
            met(arrived >= COUNT, || format!("{arrived} of {COUNT}; {}", agent.peer("deaf")))
        });
        stream.write_all(&round[1]).expect("an open session");
        until(&format!("round {number} is withdrawn again"), SOON, || {
            let arrived = heard.withdrawn() - withdrawn;
            met(arrived >= COUNT, || format!("{arrived} of {COUNT}; {}", agent.peer("deaf")))
        });
        if number == 1 {
            after_two = resident(agent.process().pid());
        }
    }
    let after_all = resident(agent.process().pid());
    let shown =
        format!("{} kB after two rounds, {} kB after {ROUNDS}", after_two / 1024, after_all / 1024);
    assert!(after_all < after_two + after_two / 2 + 8_000_000, "{shown}");
    assert_eq!(agent.up("reader")["flaps"], 0);
    assert_eq!(agent.up("sender")["flaps"], 0);
    drop(deaf_stream);
}
