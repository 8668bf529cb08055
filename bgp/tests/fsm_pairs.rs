//! Two machines back to back on one virtual clock.

mod support;

use std::time::Duration;

use brindle_bgp::fsm::{Down, Event, State};
use brindle_bgp::msg::CeaseReason;
use support::settings;
use support::simulation::Simulation;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn start(simulation: &mut Simulation) {
    simulation.event(0, Event::Start);
    simulation.event(1, Event::Start);
}

#[test]
fn both_dial_at_once_and_one_session_is_left_in_two_seconds() {
    for (id, local, remote) in [(2, 64512, 64512), (2, 64512, 65001), (1, 64512, 65001)] {
        for seed in 0..1000 {
            let pair = [settings(1, local, remote), settings(id, remote, local)];
            let mut net = Simulation::new(pair, seed, Duration::from_millis(1 + seed % 300));
            net.event(0, Event::Start);
            let apart = Duration::from_micros(net.random(200_000));
            net.run(apart);
            net.event(1, Event::Start);
            let took = net.run_until(2 * SECOND, Simulation::is_settled);
            let ceases = net.hosts.each_ref().map(|host| host.shell.ceases);
            let ups = net.hosts.each_ref().map(|host| host.shell.ups);
            assert!(
                took.is_some() && ceases.iter().all(|&n| n <= 1) && ups == [1, 1],
                "seed {seed}, ids 1 and {id}: took {took:?}, Ceases {ceases:?}, ups {ups:?}\n{}",
                net.story()
            );
            net.run(10 * MINUTE);
            assert!(net.is_established(), "seed {seed}: does not last\n{}", net.story());
            assert_eq!(net.hosts.each_ref().map(|host| host.shell.ups), [1, 1], "seed {seed}");
        }
    }
}
