//! A node with one peer of each sort, as the agent would show it.

use std::time::{Duration, SystemTime};

use brindle::control::view::{
    AddPaths, Attributes, AuthKind, BgpStatus, Config, ConfigStatus, Drain, DrainState,
    FamilyCounts, FamilyForwarding, FamilyRoutes, Forwarding, Hop, KernelRoute, KernelState,
    KernelStatus, MessageCounts, MessageTypes, Negotiated, NodeAddress, NotificationSeen, Path,
    PathStatus, Peer, PeerAuth, PeerKind, PolicyKind, Problem, Rejected, Reload, ReloadResult,
    Route, SourceError, SourceStatus, Status, Target, TelemetryStatus, Time, Timers,
    UnknownAttribute,
};
use brindle::control::view::{Family, SessionState};
use brindle::control::{Answer, Failure, Page, Query, RouteFilter, view};

use crate::agent::Reply;
use crate::{follow, policies};

/// 2026-01-02T03:04:05Z, and some seconds before it.
pub(crate) fn time(ago: u64) -> Time {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045 - ago)).into()
}

const DAYS: u64 = 3 * 86_400 + 4 * 3600;

/// A node that is drained.
pub(crate) fn drain() -> Drain {
    Drain {
        state: DrainState::Drained,
        reason: Some("an operator said so".to_owned()),
        since: Some(time(60)),
        since_seconds: Some(60),
        wait_seconds: Some(30.0),
        peers: 14,
        withdrawn_after_seconds: Some(30.0),
        packets_per_second: Some(0),
        safe_to_stop: true,
        ..Drain::serving("n2")
    }
}

pub(crate) fn status() -> Status {
    Status {
        hash_policy: vec![],
        resilient: None,
        version: "0.1.0".to_owned(),
        node: "n2".to_owned(),
        healthy: true,
        problems: vec![],
        started: time(DAYS),
        uptime_seconds: DAYS,
        addresses: vec![NodeAddress {
            address: "10.0.0.2".parse().unwrap(),
            reason: "detected on eth0: source of the default route".to_owned(),
        }],
        pod_cidrs: vec!["10.244.2.0/24".parse().unwrap(), "fd00:10:244:2::/64".parse().unwrap()],
        config: ConfigStatus {
            files: vec!["/etc/brindle/brindle.yaml".to_owned()],
            loaded: time(DAYS),
            loaded_seconds: DAYS,
            stale: false,
            errors: vec![],
        },
        drain: None,
        source: Some(SourceStatus {
            kubernetes: None,
            kind: "files".to_owned(),
            path: "/etc/brindle/manifests".to_owned(),
            in_sync: true,
            nodes: 12,
            namespaces: 3,
            pods: 418,
            policies: 37,
            tiers: 0,
            network_sets: 0,
            host_endpoints: 0,
            bgp_objects: 0,
            changed: Some(time(300)),
            changed_seconds: Some(300),
            errors: vec![],
        }),
        bgp: Some(BgpStatus {
            as_number: 64512,
            as_number_reason: Some("bgp.asNumber".to_owned()),
            route_reflector: None,
            router_id: "10.0.0.2".to_owned(),
            listen: vec!["10.0.0.2:179".parse().unwrap()],
            peers: 4,
            established: 3,
            down: vec!["tor-b".to_owned()],
            disabled: vec![],
            bmp: vec![],
        }),
        routes: vec![FamilyRoutes {
            family: Family::Ipv4,
            learned: 24,
            originated: 1,
            wanted: 25,
            installed: 25,
            refused: 2,
        }],
        forwarding: vec![FamilyForwarding { family: Family::Ipv4, state: Forwarding::On }],
        kernel: Some(KernelStatus {
            ready: true,
            install: true,
            drifted: 0,
            stale: 0,
            conflicts: 0,
            repairs: 3,
            overruns: 0,
            guarded: 0,
            last_error: None,
        }),
        policy: Some(policies::status()),
        telemetry: TelemetryStatus {
            listen: vec!["127.0.0.1:9798".parse().unwrap()],
            warnings: vec![],
        },
    }
}

/// The same node on a bad day.
pub(crate) fn unhealthy() -> Status {
    let mut status = status();
    status.healthy = false;
    status.problems = vec![Problem {
        area: "config".to_owned(),
        what: "the newest file was refused".to_owned(),
        next: "correct it, then: brindle config reload".to_owned(),
    }];
    status.config.stale = true;
    status.config.errors = vec![
        "/etc/brindle/brindle.yaml:31:15  bgp.peers[2].peerIP: \"10.0.0.300\" is not an IP address"
            .to_owned(),
    ];
    status.source.as_mut().unwrap().errors = vec![SourceError {
        file: "/etc/brindle/manifests/n7.yaml".to_owned(),
        document: Some(2),
        line: Some(14),
        message: "spec.podCIDRs: \"10.0.0.0\" is not a prefix; its last good content stays"
            .to_owned(),
    }];
    status.bgp.as_mut().unwrap().disabled = vec!["n9".to_owned()];
    status.forwarding = vec![
        FamilyForwarding { family: Family::Ipv4, state: Forwarding::SwitchedOn },
        FamilyForwarding { family: Family::Ipv6, state: Forwarding::Off },
    ];
    let kernel = status.kernel.as_mut().unwrap();
    kernel.drifted = 1;
    kernel.last_error = Some("cannot install 10.244.7.0/24: no such device".to_owned());
    status
}

fn peer(name: &str, address: &str, kind: PeerKind, state: SessionState) -> Peer {
    let is_up = state == SessionState::Established;
    let local = "10.0.0.2:179".parse().unwrap();
    let remote = std::net::SocketAddr::new(address.parse().unwrap(), 41822);
    Peer {
        interface: None,
        name: name.to_owned(),
        address: address.parse().unwrap(),
        port: 179,
        as_number: 64512,
        kind,
        state,
        since: time(DAYS),
        since_seconds: DAYS,
        last_reason: None,
        next_attempt: None,
        next_attempt_seconds: None,
        flaps: 0,
        families: vec![FamilyCounts {
            family: Family::Ipv4,
            received: 2,
            accepted: 2,
            rejected: 0,
            stale: 0,
            kept: None,
            kept_seconds: None,
            advertised: 2,
            limit: None,
            end_of_rib: is_up,
        }],
        messages: MessageCounts {
            received: MessageTypes { open: 1, update: 4, keepalive: 4470, ..Default::default() },
            sent: MessageTypes { open: 1, update: 3, keepalive: 4471, ..Default::default() },
        },
        passive: false,
        auth: (name == "tor-b").then(|| PeerAuth {
            kind: AuthKind::Md5,
            source: Some("file /etc/brindle/keys/tor-b".to_owned()),
        }),
        ttl_security: None,
        local_as_number: None,
        timers: Timers {
            hold_time_seconds: 90,
            connect_retry_seconds: 1,
            send_hold_seconds: Some(480),
        },
        import_policy: Some(PolicyKind::Owned),
        import_filters: None,
        export_policy: Some(PolicyKind::Originated),
        export_filters: None,
        bfd: None,
        negotiated: is_up.then(|| {
            Box::new(Negotiated {
                local,
                remote,
                dialled: false,
                peer_router_id: address.to_owned(),
                hold_time_seconds: 90,
                keepalive_seconds: 30,
                families: vec![Family::Ipv4],
                add_paths: AddPaths::default(),
                capabilities_sent: vec![
                    "multiprotocol ipv4".to_owned(),
                    "multiprotocol ipv6".to_owned(),
                    "four-octet AS".to_owned(),
                ],
                capabilities_received: vec![
                    "multiprotocol ipv4".to_owned(),
                    "four-octet AS".to_owned(),
                ],
                capabilities_agreed: vec![
                    "multiprotocol ipv4".to_owned(),
                    "four-octet AS".to_owned(),
                ],
                graceful_restart_sent: None,
                graceful_restart_received: None,
                last_received_seconds: Some(12),
                out_queue_bytes: 0,
            })
        }),
        last_notification_sent: None,
        last_notification_received: None,
    }
}

pub(crate) fn peers() -> Vec<Peer> {
    let mut tor_a = peer("tor-a", "10.0.0.250", PeerKind::Peer, SessionState::Established);
    tor_a.as_number = 65001;
    tor_a.families[0] = FamilyCounts {
        family: Family::Ipv4,
        received: 14,
        accepted: 12,
        rejected: 2,
        stale: 0,
        kept: None,
        kept_seconds: None,
        advertised: 2,
        limit: None,
        end_of_rib: true,
    };
    tor_a.import_filters = Some(vec!["cluster-only".to_owned()]);
    tor_a.import_policy = Some(PolicyKind::Filters);
    tor_a.export_policy = Some(PolicyKind::Everything);
    tor_a.last_notification_received = Some(NotificationSeen {
        reason: "Cease: Administrative Reset (6/4) \"spine upgrade\"".to_owned(),
        code: 6,
        subcode: 4,
        at: time(DAYS + 2),
        at_seconds: DAYS + 2,
    });
    let mut tor_b = peer("tor-b", "10.0.0.251", PeerKind::Peer, SessionState::Active);
    tor_b.as_number = 65001;
    (tor_b.import_policy, tor_b.export_policy) =
        (Some(PolicyKind::Nothing), Some(PolicyKind::Nothing));
    tor_b.since = time(360);
    tor_b.since_seconds = 360;
    tor_b.flaps = 9;
    tor_b.last_reason = Some("no answer to SYN; check path, peer config, MD5".to_owned());
    tor_b.next_attempt = Some((SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_050)).into());
    tor_b.next_attempt_seconds = Some(5);
    let mut rogue = peer("x\x1b[2J\nno", "fd00::9", PeerKind::ReflectorClient, SessionState::Idle);
    rogue.last_reason = Some("the peer says: \u{202e}\u{9b}31m".to_owned());
    vec![peer("n1", "10.0.0.1", PeerKind::Mesh, SessionState::Established), rogue, tor_a, tor_b]
}

pub(crate) fn path(
    prefix: &str,
    from: Option<&str>,
    next_hop: Option<&str>,
    status: PathStatus,
) -> Path {
    Path {
        prefix: prefix.parse().unwrap(),
        from: from.map(str::to_owned),
        path_id: None,
        next_hop: next_hop.map(|address| address.parse().unwrap()),
        next_hop_link_local: None,
        status,
        stale: false,
        reason: None,
        attributes: Attributes {
            origin: "igp".to_owned(),
            local_pref: Some(100),
            ..Default::default()
        },
        filters: Vec::new(),
    }
}

pub(crate) fn routes() -> Vec<Route> {
    let mut far = path("192.0.2.0/24", Some("tor-a"), Some("10.0.0.250"), PathStatus::Best);
    far.attributes.as_path = "65001 65010".to_owned();
    far.attributes.med = Some(50);
    far.attributes.communities = vec!["65001:100".to_owned(), "no-export".to_owned()];
    far.attributes.large_communities = vec!["64512:1:2".to_owned()];
    far.attributes.unknown = vec![UnknownAttribute { code: 128, value: "00ff".to_owned() }];
    let mut also = path("192.0.2.0/24", Some("tor-b"), Some("10.0.0.251"), PathStatus::Lost);
    also.attributes.as_path = "65001 65020 65010".to_owned();
    also.reason = Some("the best has a shorter AS path".to_owned());
    vec![
        Route {
            prefix: "10.244.1.0/24".parse().unwrap(),
            paths: vec![path("10.244.1.0/24", Some("n1"), Some("10.0.0.1"), PathStatus::Best)],
        },
        Route {
            prefix: "10.244.2.0/24".parse().unwrap(),
            paths: vec![path("10.244.2.0/24", None, None, PathStatus::Best)],
        },
        Route { prefix: "192.0.2.0/24".parse().unwrap(), paths: vec![far, also] },
    ]
}

pub(crate) fn rejected() -> Vec<Rejected> {
    vec![
        Rejected {
            prefix: "10.244.2.0/24".parse().unwrap(),
            from: "n5".to_owned(),
            rule: "mesh-ownership".to_owned(),
            reason: "belongs to Node/n2; n5 owns 10.244.5.0/24".to_owned(),
            count: Some(3),
            last_rejected: Some(time(120)),
            last_rejected_seconds: Some(120),
            owner: Some("Node/n2".to_owned()),
        },
        Rejected {
            prefix: "0.0.0.0/0".parse().unwrap(),
            from: "tor-a".to_owned(),
            rule: "filter cluster-only".to_owned(),
            reason: "not inside 10.244.0.0/16".to_owned(),
            count: None,
            last_rejected: None,
            last_rejected_seconds: None,
            owner: None,
        },
    ]
}

pub(crate) fn kernel(only_diff: bool) -> Vec<KernelRoute> {
    let via = |address: &str, interface: Option<&str>| Target::Via {
        next_hops: vec![Hop {
            address: address.parse().unwrap(),
            interface: interface.map(str::to_owned),
        }],
    };
    let good = KernelRoute {
        prefix: "10.244.1.0/24".parse().unwrap(),
        wanted: Some(via("10.0.0.1", Some("eth0"))),
        installed: Some(via("10.0.0.1", Some("eth0"))),
        state: KernelState::Installed,
        problem: None,
    };
    let missing = KernelRoute {
        prefix: "10.244.7.0/24".parse().unwrap(),
        wanted: Some(via("10.0.0.7", Some("eth0"))),
        installed: None,
        state: KernelState::Missing,
        problem: Some("link eth0 went down, reinstalled when it is up".to_owned()),
    };
    if only_diff { vec![missing] } else { vec![good, missing] }
}

fn one_page<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}

/// Answers every question as this node would.
pub(crate) fn answer(query: Query) -> Reply {
    let find = |name: &str| {
        let wanted = |peer: &Peer| peer.name == name || peer.address.to_string() == name;
        peers().into_iter().find(wanted).ok_or_else(|| {
            Failure::NotFound(format!("there is no peer {name:?}; there are n1, tor-a, tor-b"))
        })
    };
    let done = |name: &str, message: &str| {
        let done = |peer: Peer| view::Done { peer: peer.name, message: message.to_owned() };
        find(name).map(|peer| Answer::Done(done(peer)))
    };
    Some(match query {
        Query::Status => Ok(Answer::Status(Box::new(status()))),
        Query::Peers => Ok(Answer::Peers(peers())),
        Query::Peer(name) => find(&name).map(|peer| Answer::Peer(Box::new(peer))),
        Query::Routes(filter, _) => {
            let mut items = routes();
            match filter {
                RouteFilter::All(family) => {
                    items.retain(|route| {
                        family.is_none_or(|wanted| wanted == route.prefix.family())
                    });
                    for route in &mut items {
                        route.paths.retain(|path| path.status == PathStatus::Best);
                    }
                }
                RouteFilter::Exact(prefix) => items.retain(|route| route.prefix == prefix),
                RouteFilter::Longest(address) => {
                    items.retain(|route| route.prefix.contains(address));
                }
            }
            Ok(Answer::Routes(one_page(items)))
        }
        Query::RouteChanges { after: None, .. } => {
            Ok(Answer::RouteChanges(Box::new(follow::changes(vec![], "7-0"))))
        }
        Query::RouteChanges { .. } => Ok(Answer::RouteChanges(Box::new(follow::changes(
            vec![follow::changed(), follow::removed()],
            "7-2",
        )))),
        Query::Dump(..) => Ok(Answer::Dump(Box::new(follow::dump()))),
        Query::RoutesIn(name, _) => find(&name).map(|peer| {
            let paths = routes().into_iter().flat_map(|route| route.paths);
            let from = paths.filter(|path| path.from.as_ref() == Some(&peer.name));
            Answer::Paths(one_page(from.collect()))
        }),
        Query::RoutesOut(name, _) => find(&name).map(|_| {
            let own = path("10.244.2.0/24", None, Some("10.0.0.2"), PathStatus::Advertised);
            Answer::Paths(one_page(vec![own]))
        }),
        Query::Rejected(peer, _) => {
            let mut items = rejected();
            items.retain(|path| peer.as_ref().is_none_or(|wanted| path.from == *wanted));
            Ok(Answer::Rejected(one_page(items)))
        }
        Query::Kernel { only_diff, .. } => Ok(Answer::Kernel(one_page(kernel(only_diff)))),
        Query::ConfigShow => Ok(Answer::Config(Box::new(Config {
            status: status().config,
            yaml: "node:\n  name: n2\n".to_owned(),
        }))),
        Query::Policy(query) => policies::answer(&query),
        Query::Cni(query) => super::cni::answer(&query),
        Query::Reload => Ok(Answer::Reload(Box::new(Reload {
            result: ReloadResult::Applied,
            files: vec!["/etc/brindle/brindle.yaml".to_owned()],
            changes: vec!["peer tor-b added".to_owned()],
            needs_restart: vec!["control.socket".to_owned()],
            errors: vec![],
        }))),
        Query::DrainState | Query::Drain { .. } => Ok(Answer::Drain(Box::new(drain()))),
        Query::Undrain => Ok(Answer::Drain(Box::new(Drain::serving("n2")))),
        Query::PeerReset { peer, .. } => done(&peer, "session is being reset"),
        Query::PeerEnable(peer) => done(&peer, "enabled"),
        Query::PeerDisable { peer, message } => {
            done(&peer, &format!("disabled; told the peer: {}", message.unwrap_or_default()))
        }
    })
}
