//! What metrics look like.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brindle_bgp::fsm::State;
use brindle_bgp::rib::PeerCounts;
use brindle_policy::ruleset::Table;
use brindle_policy::{Family, PodKey};

use super::*;
use crate::control::calls::Calls;
use crate::drain::Phase;
use crate::enforce::audit::Kind;
use crate::enforce::dataplane::{Op, Tally};
use crate::enforce::{Backend, EnforceStatus, Flushed, Trigger};
use crate::fib::FibStatus;
use crate::speaker::{AuthFailures, Faults};
use crate::telemetry::beats::Pulse;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn figures() -> Figures {
    let mut timings = Timings::default();
    for millis in [1, 3, 40_000] {
        timings.add(Duration::from_millis(millis));
    }
    let pending = PodKey { namespace: "shop".into(), name: "secret-name".into() };
    let status = EnforceStatus {
        backend: Some(Backend::Nft),
        ready: true,
        programmed: 31,
        pending: vec![pending],
        sizes: vec![(Family::V4, [4, 5, 6, 7])],
        latency: [(Trigger::Pod, timings)].into(),
        applying: [(Family::V6, timings)].into(),
        applied: [12, 1],
        repaired: [((Some(Table::Nat), Kind::Chain), 2), ((None, Kind::Set), 1)].into(),
        flushed: Flushed { denied: 3, reused: 4 },
        denied: [8, 9],
        programs: [
            ((Op::Save, true), Tally { calls: 7, taken: Duration::from_millis(1500) }),
            ((Op::Fill, false), Tally { calls: 1, taken: Duration::ZERO }),
        ]
        .into(),
        ..EnforceStatus::default()
    };
    let peer = PeerFigures {
        name: "tor-a".into(),
        is_mesh: false,
        state: State::Established,
        established: Some(at(500)),
        negotiated: [true, false],
        counts: [
            PeerCounts { received: 14, accepted: 12, rejected: 2, stale: 0, advertised: 3 },
            PeerCounts::default(),
        ],
        limits: [Some(1000), None],
        beyond: [7, 0],
        beyond_paths: [2, 1],
        flaps: [("bfd", 2), ("tcp", 1)].into(),
        bfd: Some(BfdFigures {
            state: brindle_bgp::bfd::State::Up,
            detection_seconds: 0.15,
            packets: [70, 60],
        }),
    };
    Figures {
        agent: AgentFigures {
            started: at(1000),
            source: Some(("files", true)),
            config_loaded: at(2000),
            config_stale: false,
            reloads: [3, 1],
            pulses: vec![Pulse {
                name: "fib",
                silence: Duration::from_secs(1),
                deadline: Duration::from_secs(10),
                misses: 2,
            }],
            calls: [(
                "/v1/peers/{peer}".to_owned(),
                Calls { codes: [(200, 4), (404, 1)].into(), timings },
            )]
            .into(),
        },
        kubernetes: None,
        routing: Some(RoutingFigures {
            auth_failures: AuthFailures {
                md5_missing: 1,
                md5_wrong: 2,
                ttl: 4,
                ..AuthFailures::default()
            },
            peers: vec![peer],
            bfd_drops: [0, 0, 4, 0, 0, 0],
            bmp: Vec::new(),
            faults: Faults { peers: 2, bfd: 0 },
            drain: Some(Phase::Closing),
            fib: Arc::new(FibStatus { wanted: [24, 2], installed: [23, 2], ..Default::default() }),
        }),
        policy: Some(PolicyFigures {
            status: Arc::new(status),
            objects: Some(ObjectCounts(
                [(("Pod", "active"), 40), (("NetworkPolicy", "invalid"), 1)].into(),
            )),
            packets: PacketTotals::default(),
            log_group: Some(98),
        }),
    }
}

#[test]
fn figures_stand_under_the_names_that_dashboards_know() {
    let text = figures().to_text();
    let lines: BTreeSet<&str> = text.lines().collect();
    for want in [
        "brindle_task_panics_total{task=\"peer\"} 2.0",
        "brindle_task_panics_total{task=\"bfd\"} 0.0",
        "brindle_task_panics_total{task=\"bmp\"} 0.0",
        "brindle_drain_state{state=\"serving\"} 0.0",
        "brindle_drain_state{state=\"closing\"} 1.0",
        "brindle_build_info{version=\"0.1.0\",revision=\"\",iptables_backend=\"nft\"} 1",
        "brindle_up_since_seconds 1000.0",
        "brindle_in_sync{source=\"files\"} 1.0",
        "brindle_config_loaded 2000.0",
        "brindle_config_stale 0.0",
        "brindle_config_reloads_total{result=\"ok\"} 3.0",
        "brindle_config_reloads_total{result=\"refused\"} 1.0",
        "brindle_bgp_peer_up{peer=\"tor-a\",kind=\"peer\",family=\"ipv4\"} 1.0",
        "brindle_bgp_peer_up{peer=\"tor-a\",kind=\"peer\",family=\"ipv6\"} 0.0",
        "brindle_bgp_peer_state{peer=\"tor-a\",state=\"Established\"} 1.0",
        "brindle_bgp_peer_state{peer=\"tor-a\",state=\"Idle\"} 0.0",
        "brindle_bgp_peer_established_timestamp_seconds{peer=\"tor-a\"} 500.0",
        "brindle_bgp_prefixes{peer=\"tor-a\",family=\"ipv4\",set=\"accepted\"} 12.0",
        "brindle_bgp_max_prefixes{peer=\"tor-a\",family=\"ipv4\"} 1000.0",
        "brindle_bgp_rejected_total{peer=\"tor-a\",reason=\"max_prefix\"} 7.0",
        "brindle_bgp_rejected_total{peer=\"tor-a\",reason=\"max_paths\"} 3.0",
        "brindle_watchdog_misses_total{task=\"fib\"} 2.0",
        "brindle_routes_wanted{family=\"ipv4\"} 24.0",
        "brindle_bgp_auth_failures_total{kind=\"md5\"} 3.0",
        "brindle_bgp_auth_failures_total{kind=\"ttl\"} 4.0",
        "brindle_routes_installed{family=\"ipv4\"} 23.0",
        "brindle_policy_objects{kind=\"Pod\",state=\"active\"} 40.0",
        "brindle_policy_objects{kind=\"NetworkPolicy\",state=\"invalid\"} 1.0",
        "brindle_policy_endpoints{state=\"programmed\"} 31.0",
        "brindle_policy_endpoints{state=\"pending\"} 1.0",
        "brindle_policy_apply_seconds_count{family=\"ipv6\"} 3",
        "brindle_policy_latency_seconds_bucket{le=\"0.002\",trigger=\"pod\"} 1",
        "brindle_policy_latency_seconds_bucket{le=\"0.005\",trigger=\"pod\"} 2",
        "brindle_policy_latency_seconds_bucket{le=\"30.0\",trigger=\"pod\"} 2",
        "brindle_policy_latency_seconds_bucket{le=\"+Inf\",trigger=\"pod\"} 3",
        "brindle_policy_latency_seconds_sum{trigger=\"pod\"} 40.004",
        "brindle_policy_repairs_total{table=\"nat\",cause=\"chain\"} 2.0",
        "brindle_policy_repairs_total{table=\"\",cause=\"set\"} 1.0",
        "brindle_api_requests_total{path=\"/v1/peers/{peer}\",code=\"200\"} 4.0",
        "brindle_api_requests_total{path=\"/v1/peers/{peer}\",code=\"404\"} 1.0",
        "brindle_api_request_seconds_count{path=\"/v1/peers/{peer}\"} 3",
        "brindle_api_request_seconds_bucket{le=\"0.002\",path=\"/v1/peers/{peer}\"} 1",
        "brindle_iptables_chains{family=\"ipv4\"} 4.0",
        "brindle_iptables_rules{family=\"ipv4\"} 5.0",
        "brindle_ipset_sets{family=\"ipv4\"} 6.0",
        "brindle_ipset_entries{family=\"ipv4\"} 7.0",
        "brindle_conntrack_flushed_total{reason=\"denied\"} 3.0",
        "brindle_iptables_calls_total{backend=\"nft\",op=\"save\",result=\"ok\"} 7.0",
        "brindle_iptables_seconds_sum{backend=\"nft\",op=\"save\",result=\"ok\"} 1.5",
        "brindle_ipset_calls_total{op=\"restore\",result=\"error\"} 1.0",
        "brindle_nflog_messages_total{group=\"98\"} 8.0",
        "# TYPE brindle_policy_latency_seconds histogram",
        "# TYPE brindle_policy_repairs counter",
        "# EOF",
    ] {
        assert!(lines.contains(want), "no {want} in\n{text}");
    }
    assert_eq!(text.lines().last(), Some("# EOF"));
}

#[test]
fn no_pod_is_named() {
    let text = figures().to_text();
    assert!(!text.contains("secret-name") && !text.contains("shop"), "{text}");
}

#[test]
fn each_metric_is_described_once_and_every_series_stands_under_its_own() {
    let text = figures().to_text();
    let (mut seen, mut current) = (BTreeSet::new(), "");
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap_or_default();
            assert!(seen.insert(name), "{name} twice");
        } else {
            assert!(line.starts_with(current) && !current.is_empty(), "{line} under {current}");
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn halves_that_do_not_run_say_nothing() {
    let text = Figures { routing: None, policy: None, ..figures() }.to_text();
    for prefix in ["brindle_bgp", "brindle_routes", "brindle_policy", "brindle_nflog"] {
        assert!(!text.contains(prefix), "{prefix} in\n{text}");
    }
    assert!(text.contains("brindle_up_since_seconds"), "{text}");
}
