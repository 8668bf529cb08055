//! Two machines back to back on one virtual clock.

use std::time::Duration;

use brindle_bgp::fsm::{Down, Event, PeerSettings, RestartOffer, RestartTime, State};
use brindle_bgp::msg::CeaseReason;

use crate::support::simulation::Simulation;
use crate::support::{asn, settings};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn start(simulation: &mut Simulation) {
    simulation.event(0, Event::Start);
    simulation.event(1, Event::Start);
}

#[test]
fn both_dial_at_once_and_one_session_is_left_in_two_seconds() {
    for (id, local, remote) in [(2, 64512, 64512), (2, 64512, 65001), (1, 64512, 65001)] {
        let mut collisions = 0;
        for seed in 0..1000 {
            let pair = [settings(1, local, remote), settings(id, remote, local)];
            let mut net = Simulation::new(pair, seed, Duration::from_millis(1 + seed % 300));
            net.event(0, Event::Start);
            let apart = Duration::from_micros(seed % 2 * net.random(200_000));
            net.run(apart);
            net.event(1, Event::Start);
            let took = net.run_until(2 * SECOND, Simulation::is_settled);
            let ceases = net.each(|host| host.shell.ceases);
            let ups = net.each(|host| host.shell.ups);
            assert!(
                took.is_some() && ceases.iter().all(|&n| n <= 1) && ups == [1, 1],
                "seed {seed}, ids 1 and {id}: took {took:?}, Ceases {ceases:?}, ups {ups:?}\n{}",
                net.story()
            );
            collisions += u64::from(net.story().contains("6/7"));
            net.run(10 * MINUTE);
            assert!(net.is_established(), "seed {seed}: does not last\n{}", net.story());
            assert_eq!(net.each(|host| host.shell.ups), [1, 1], "seed {seed}");
        }
        assert!(collisions > 300, "only {collisions} of 1000 runs had a collision");
    }
}

#[test]
fn a_host_that_loses_power_is_back_in_seconds() {
    for seed in 0..500 {
        let pair = [settings(1, 64512, 64512), settings(2, 64512, 64512)];
        let mut net = Simulation::new(pair, seed, Duration::from_millis(200));
        start(&mut net);
        // In the middle of dialling, of the OPEN exchange, or later.
        let before = Duration::from_micros(net.random(1_500_000));
        net.run(before);
        let victim = usize::from(net.random(2) == 1);
        net.crash(victim);
        let away = Duration::from_micros(net.random(3_000_000));
        net.run(away);
        net.event(victim, Event::Start);
        let took = net.run_until(10 * SECOND, Simulation::is_settled);
        assert!(took.is_some(), "seed {seed}: not up again\n{}", net.story());
    }
}

#[test]
fn a_cut_cable_ends_the_session_after_the_hold_time_and_a_mended_one_brings_it_back() {
    for seed in 0..50 {
        let pair = [settings(1, 64512, 65001), settings(2, 65001, 64512)];
        let mut net = Simulation::new(pair, seed, Duration::from_millis(50));
        start(&mut net);
        net.run_until(5 * SECOND, Simulation::is_settled).expect("it comes up");
        net.run(3 * MINUTE);
        net.hosts[0].is_cut_off = true;
        let down = |net: &Simulation| net.hosts.iter().all(|host| host.shell.up.is_none());
        let took = net.run_until(2 * MINUTE, down).expect("it goes down");
        assert!(took > 59 * SECOND && took <= 91 * SECOND, "seed {seed}: {took:?}");
        for host in &net.hosts {
            let is_told = host.log.iter().any(|line| line.contains("down (hold timer expired"));
            assert!(is_told, "seed {seed}\n{}", net.story());
        }
        net.run(10 * MINUTE);
        net.hosts[0].is_cut_off = false;
        let took = net.run_until(61 * SECOND, Simulation::is_settled);
        assert!(took.is_some(), "seed {seed}: does not come back\n{}", net.story());
    }
}

#[test]
fn two_speakers_that_disagree_on_the_as_do_not_storm() {
    for seed in 0..50 {
        let pair = [settings(1, 64512, 65001), settings(2, 65009, 64512)];
        let mut net = Simulation::new(pair, seed, Duration::from_millis(20));
        start(&mut net);
        net.run(10 * MINUTE);
        for host in &net.hosts {
            let dials = host.shell.dials;
            // 1, 2, 4 ... 32 s and then every minute; some are refused in between.
            assert!((5..=25).contains(&dials), "seed {seed}: {dials} dials\n{}", net.story());
            assert_eq!(host.shell.ups, 0);
        }
        let reason = net.hosts[0].peer.last_open().and_then(brindle_bgp::msg::Open::asn);
        assert_eq!(reason, Some(asn(65009)), "seed {seed}");
        let dials = net.each(|host| host.shell.dials);
        net.run(10 * MINUTE);
        for (host, before) in net.hosts.iter().zip(dials) {
            let later = host.shell.dials - before;
            assert!(later <= 14, "seed {seed}: {before} dials, then {later}, at most every 45 s");
        }
    }
}

#[test]
fn nobody_dials_a_peer_that_is_not_there_more_than_the_back_off_allows() {
    let pair = [settings(1, 64512, 65001), settings(2, 65001, 64512)];
    let mut net = Simulation::new(pair, 1, Duration::from_millis(20));
    net.hosts[1].is_cut_off = true;
    net.event(0, Event::Start);
    net.run(10 * MINUTE);
    // An unanswered dial is repeated every 15 s.
    assert_eq!(net.hosts[0].shell.dials, 41);
    assert_eq!(net.hosts[0].peer.state(), State::Connect);
}

#[test]
fn a_goodbye_is_read_on_the_other_side_and_a_start_brings_the_session_back() {
    let pair = [settings(1, 64512, 65001), settings(2, 65001, 64512)];
    let mut net = Simulation::new(pair, 3, Duration::from_millis(20));
    start(&mut net);
    net.run_until(5 * SECOND, Simulation::is_settled).expect("it comes up");
    net.run(2 * MINUTE);
    net.event(0, Event::Stop(CeaseReason::AdministrativeShutdown, Some("new disk".into())));
    net.run(SECOND / 10);
    let reason = |net: &Simulation, host: usize| {
        net.hosts[host].peer.last_error().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(reason(&net, 0), "we sent Cease: Administrative Shutdown (6/2) \"new disk\"");
    assert_eq!(reason(&net, 1), "peer sent Cease: Administrative Shutdown (6/2) \"new disk\"");
    net.run(10 * MINUTE);
    let kept = "peer sent Cease: Administrative Shutdown (6/2) \"new disk\"";
    assert_eq!(reason(&net, 1), kept, "being turned away since then says less");
    net.event(0, Event::Start);
    let took = net.run_until(SECOND, Simulation::is_settled);
    assert!(took.is_some(), "{}", net.story());
}

#[test]
fn a_restart_tells_a_peer_that_keeps_routes_nothing_but_the_end_of_tcp() {
    let offer = RestartOffer { time: RestartTime::DEFAULT, long_lived: None };
    let pair = [settings(1, 64512, 65001), settings(2, 65001, 64512)]
        .map(|settings| PeerSettings { graceful_restart: Some(offer), ..settings });
    let mut net = Simulation::new(pair, 3, Duration::from_millis(20));
    start(&mut net);
    net.run_until(5 * SECOND, Simulation::is_settled).expect("it comes up");
    net.event(0, Event::Restart(None));
    net.run(SECOND / 10);
    assert_eq!(net.hosts[0].peer.last_error(), Some(&Down::Silent));
    assert_eq!(net.hosts[1].peer.last_error(), Some(&Down::Tcp("closed".into())));
}

#[test]
fn of_two_speakers_one_may_be_passive_and_with_two_nothing_happens() {
    let passive = |id, local, remote| PeerSettings { passive: true, ..settings(id, local, remote) };
    let pair = [passive(1, 64512, 65001), settings(2, 65001, 64512)];
    let mut net = Simulation::new(pair, 3, Duration::from_millis(20));
    start(&mut net);
    assert!(net.run_until(SECOND, Simulation::is_settled).is_some(), "{}", net.story());
    assert_eq!(net.hosts[0].shell.dials, 0);

    let pair = [passive(1, 64512, 65001), passive(2, 65001, 64512)];
    let mut net = Simulation::new(pair, 3, Duration::from_millis(20));
    start(&mut net);
    net.run(60 * MINUTE);
    assert_eq!(net.each(|host| host.log.len()), [0, 0]);
}

#[test]
fn over_a_very_slow_path_a_session_still_comes_up_and_lasts() {
    for seed in 0..300 {
        let pair = [settings(1, 64512, 65001), settings(2, 65001, 64512)];
        let mut net = Simulation::new(pair, seed, Duration::from_millis(500 + seed * 10));
        start(&mut net);
        let took = net.run_until(3 * MINUTE, Simulation::is_settled);
        assert!(took.is_some(), "seed {seed}: never settles\n{}", net.story());
        let ups = net.each(|host| host.shell.ups);
        net.run(10 * MINUTE);
        assert!(net.is_established(), "seed {seed}\n{}", net.story());
        assert_eq!(net.each(|host| host.shell.ups), ups, "seed {seed}: does not last");
    }
}
