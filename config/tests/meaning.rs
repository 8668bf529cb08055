//! What right configurations mean.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use brindle_bgp::bfd::{Intervals, Path, Settings};
use brindle_bgp::filter::{
    Change, Condition, Filter, FilterAction, FilterRule, Has, MatchOperator, NextHopChange,
    PeerType, RouteSource,
};
use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Prefix, Role, RouterId};
use brindle_bgp::rib::{LimitAction, NextHopMode, PrefixLimits, SendPaths};
use brindle_config::{
    AddPaths, AoAlgorithm, AoKey, Auth, Backend, Bgp, Config, Control, DrainSettings,
    EstablishedFlows, Failsafe, FailsafeProtocol, FlowLog, GracefulRestart, HostEndpoints, KeyFile,
    LoopPrevention, Multipath, Node, Peer, Place, Policy, PrefixAdvertisement, Retain, Routes,
    ServiceAddresses, ServiceSettings, Source, Telemetry, ToHost,
};

/// The example that the documentation promises to be understood for ever.
const CONTRACT: &str = r#"
node:
  name: n1
  addresses: [10.0.0.1, "fd00::1"]
  podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]
bgp:
  asNumber: 64512
  routerID: 10.0.0.1
  listen: {addresses: [10.0.0.1, "fd00::1"], port: 179}
  nodeToNodeMesh: {enabled: true}
  peers:
    - name: tor-a
      peerIP: 10.0.0.250
      asNumber: 65001
      importFilters: [cluster-only]
      exportFilters: [cluster-only]
  filters:
    - name: cluster-only
      rules:
        - {action: accept, cidr: 10.244.0.0/16, prefixLengths: 16-32}
        - {action: reject}
  networks: [192.0.2.0/24]
  services:
    clusterIPs: [10.96.0.0/12, "fd00:10:96::/112"]
    loadBalancerIPs: [198.51.100.0/24]
    hostRoutes: [loadBalancerIPs]
    loadBalancerClasses: [example.com/bgp, ""]
    loopPrevention: reject
  prefixAdvertisements:
    - {cidr: 198.51.100.0/24, communities: ["65001:1", "65001:1:2", no-export]}
source:
  kind: files
  path: /etc/brindle/manifests
control: {socket: /run/brindle/brindle.sock}
"#;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a good address")
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a good prefix")
}

fn asn(number: u32) -> Asn {
    Asn::new(number).expect("not zero")
}

fn key_file(path: &str) -> KeyFile {
    // Where it stands makes no difference.
    KeyFile { path: path.into(), place: Place::file("any"), key: String::new() }
}

fn md5(path: &str) -> Auth {
    Auth::Md5(key_file(path))
}

fn ao(send_id: u8, recv_id: u8, algorithm: AoAlgorithm, path: &str) -> AoKey {
    AoKey { send_id, recv_id, algorithm, file: key_file(path) }
}

fn read(text: &str) -> Config {
    Config::from_yaml("f", text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

#[test]
fn the_contract_example_means_what_it_says() {
    let within = vec![
        Condition::Cidr(MatchOperator::In, prefix("10.244.0.0/16")),
        Condition::PrefixLengths(16..=32),
    ];
    let filter = std::sync::Arc::new(Filter::new(
        "cluster-only",
        vec![
            FilterRule::new(FilterAction::Accept, within),
            FilterRule::new(FilterAction::Reject, vec![]),
        ],
    ));
    let want = Config {
        node: Node {
            name: Some("n1".to_owned()),
            addresses: vec![ip("10.0.0.1"), ip("fd00::1")],
            pod_cidrs: vec![prefix("10.244.1.0/24"), prefix("fd00:10:244:1::/64")],
        },
        bgp: Bgp {
            enabled: true,
            asn: asn(64512),
            router_id: Some("10.0.0.1".parse::<RouterId>().expect("a good id")),
            listen_addresses: vec![ip("10.0.0.1"), ip("fd00::1")],
            listen_port: 179,
            mesh: true,
            retain: Retain::NodeObject,
            mesh_auth: Auth::None,
            hold_time: HoldTime::DEFAULT,
            connect_retry: Duration::from_secs(1),
            graceful_restart: GracefulRestart {
                enabled: true,
                time: RestartTime::DEFAULT,
                long_lived: None,
            },
            max_paths: 16,
            as_path_relax: false,
            mesh_limits: PrefixLimits::NONE,
            mesh_add_paths: false,
            mesh_bfd: None,
            peers: vec![Peer {
                link: None,
                is_found: false,
                reachable_by: None,
                asn_word: None,
                name: "tor-a".into(),
                address: ip("10.0.0.250"),
                port: 179,
                asn: asn(65001),
                local_asn: None,
                allowed_own_asn: 0,
                source_address: None,
                passive: false,
                auth: Auth::None,
                ttl_security: None,
                ebgp_multihop: None,
                reflector_client: false,
                hold_time: HoldTime::DEFAULT,
                graceful_restart: None,
                restart_time: None,
                import: Some(vec![filter.clone()]),
                export: Some(vec![filter]),
                next_hop_mode: NextHopMode::Auto,
                limits: PrefixLimits::NONE,
                role: None,
                role_strict: false,
                add_paths: AddPaths::OFF,
                bfd: None,
            }],
            dynamic: vec![],
            networks: vec![prefix("192.0.2.0/24")],
            services: ServiceSettings {
                cluster_ips: vec![prefix("10.96.0.0/12"), prefix("fd00:10:96::/112")],
                external_ips: vec![],
                load_balancer_ips: vec![prefix("198.51.100.0/24")],
                host_routes: [ServiceAddresses::LoadBalancer].into(),
                load_balancer_classes: Some(["example.com/bgp".into(), String::new()].into()),
                loop_prevention: LoopPrevention::Reject,
            },
            prefix_advertisements: vec![PrefixAdvertisement {
                cidr: prefix("198.51.100.0/24"),
                communities: ["65001:1", "65001:1:2", "no-export"]
                    .map(|text| text.parse().expect("a community"))
                    .into(),
            }],
            drain: DrainSettings::default(),
            bmp: Vec::new(),
        },
        routes: Routes {
            install: true,
            metric: 512,
            forwarding: true,
            hash_policy: None,
            multipath: Multipath::Plain,
            resilient_idle: Duration::from_secs(120),
            startup_hold: Duration::from_secs(60),
        },
        policy: Policy {
            enabled: false,
            backend: Backend::Auto,
            established: EstablishedFlows::Keep,
            masquerade: None,
            flow_log: FlowLog { enabled: true, group: 98, per_second: 10 },
            audit_interval: Duration::from_secs(30),
            hosts: HostEndpoints::default(),
        },
        cni: Config::default().cni,
        source: Some(Source::Files { path: PathBuf::from("/etc/brindle/manifests") }),
        control: Control { socket: PathBuf::from("/run/brindle/brindle.sock") },
        telemetry: Telemetry { listen: vec!["127.0.0.1:9798".parse().expect("an address")] },
    };
    let (got, warnings) = Config::from_yaml_with_warnings("f", CONTRACT).expect("the contract");
    assert_eq!(got, want);
    assert_eq!(warnings, []);
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in [
        "",
        "\n\n",
        "# nothing\n",
        "---\n",
        "{}",
        "~",
        "node:\nbgp:\nroutes:\nsource:\n",
        "\u{feff}",
    ] {
        assert_eq!(read(text), Config::default(), "{text:?}");
    }
}

#[test]
fn keys_of_each_kind_are_read() {
    let bgp = |text: &str| read(&format!("bgp: {{{text}}}")).bgp;
    assert_eq!(bgp("asNumber: 1.10").asn, asn(65546), "asdot, not a float");
    assert_eq!(bgp("asNumber: '4200000000'").asn, asn(4_200_000_000), "quoted");
    assert_eq!(bgp("holdTime: 1m30s").hold_time, HoldTime::DEFAULT);
    assert_eq!(bgp("holdTime: 0").hold_time, HoldTime::OFF);
    assert_eq!(bgp("connectRetryTime: 250ms").connect_retry, Duration::from_millis(250));
    assert_eq!(bgp("maxPaths: 1").max_paths, 1);
    assert!(!bgp("nodeToNodeMesh: {enabled: false}").mesh);
    let mesh = bgp("nodeToNodeMesh: {password: {file: /k/mesh}}");
    assert_eq!(mesh.mesh_auth, md5("/k/mesh"));
    for (word, want) in [("node-object", Retain::NodeObject), ("bgp-only", Retain::BgpOnly)] {
        assert_eq!(bgp(&format!("nodeToNodeMesh: {{retain: {word}}}")).retain, want);
    }

    let routes = read(
        "routes: {install: false, metric: 20, forwarding: false, startupHold: 0s, \
         multipath: resilient, resilientIdle: 90s}",
    );
    let want = Routes {
        install: false,
        metric: 20,
        forwarding: false,
        hash_policy: None,
        multipath: Multipath::Resilient,
        resilient_idle: Duration::from_secs(90),
        startup_hold: Duration::ZERO,
    };
    assert_eq!(routes.routes, want);

    let policy = read(
        "{source: {kind: files, path: /m}, policy: {enabled: true, backend: legacy, \
         establishedFlows: recheck, masquerade: false, auditInterval: 1m, \
         flowLog: {enabled: false, group: 0, perSecond: 1}}}",
    );
    let want = Policy {
        enabled: true,
        backend: Backend::Legacy,
        established: EstablishedFlows::Recheck,
        masquerade: Some(false),
        flow_log: FlowLog { enabled: false, group: 0, per_second: 1 },
        audit_interval: Duration::from_secs(60),
        hosts: HostEndpoints::default(),
    };
    assert_eq!(policy.policy, want);
    assert_eq!(read("policy: {backend: nft}").policy.backend, Backend::Nft);
    let hosts = read(
        "{bgp: {enabled: false}, policy: {hostEndpoints: {auto: true, failsafeOutbound: [], \
         defaultEndpointToHostAction: Return, failsafeInbound: [{port: 22}, 'tcp:6443', \
         {protocol: UDP, port: 68, net: 10.0.0.0/8}]}}}",
    );
    let failsafe =
        |protocol, port, net: Option<&str>| Failsafe { protocol, port, net: net.map(prefix) };
    let want = HostEndpoints {
        auto: true,
        to_host: ToHost::Return,
        failsafe_inbound: Some(vec![
            failsafe(FailsafeProtocol::Tcp, 22, None),
            failsafe(FailsafeProtocol::Tcp, 6443, None),
            failsafe(FailsafeProtocol::Udp, 68, Some("10.0.0.0/8")),
        ]),
        failsafe_outbound: Some(Vec::new()),
        without_bgp: false,
    };
    assert_eq!(hosts.policy.hosts, want);
    let kubernetes = |kubeconfig: Option<&str>, context: Option<&str>, seconds| {
        Some(Source::Kubernetes {
            kubeconfig: kubeconfig.map(PathBuf::from),
            context: context.map(str::to_owned),
            hold_deletions: Duration::from_secs(seconds),
        })
    };
    assert_eq!(read("source: {kind: kubernetes}").source, kubernetes(None, None, 60));
    let text = "source: {kind: kubernetes, kubeconfig: /k, context: lab, holdDeletions: 0s}";
    assert_eq!(read(text).source, kubernetes(Some("/k"), Some("lab"), 0));
    assert_eq!(read("telemetry: {listen: []}").telemetry.listen, []);
    let listen = read("telemetry: {listen: ['[::1]:80']}").telemetry.listen;
    assert_eq!(listen, ["[::1]:80".parse().expect("an address")]);

    let peer = "
bgp:
  holdTime: 30s
  peers:
    - {name: a, peerIP: 10.0.0.9, asNumber: 64512, port: 1179, sourceAddress: 10.0.0.1,
       passive: true, reflectorClient: true, holdTime: 9s, nextHopMode: Self,
       numAllowedLocalASNumbers: 2,
       password: {file: /k/a}, ttlSecurity: 2,
       importFilters: [], exportFilters: [one], addPaths: {receive: true, send: all}}
    - {name: b, peerIP: 'fd00::9', asNumber: 64513, nextHopMode: Keep, role: rs-client,
       localASNumber: 64999,
       roleStrict: true, ebgpMultihop: 255, addPaths: {receive: false, send: 4},
       tcpAO: {keys: [{sendID: 1, recvID: 2, file: /k/b},
                      {sendID: 0, recvID: 255, algorithm: aes-128-cmac-96, file: /k/c}]}}
  filters: [{name: one, rules: [{action: accept, prefixLengths: 24}]}]
";
    let peers = read(peer).bgp.peers;
    let filter = Filter::new(
        "one",
        vec![FilterRule::new(FilterAction::Accept, vec![Condition::PrefixLengths(24..=24)])],
    );
    let want = [
        Peer {
            link: None,
            is_found: false,
            reachable_by: None,
            asn_word: None,
            name: "a".into(),
            address: ip("10.0.0.9"),
            port: 1179,
            asn: asn(64512),
            local_asn: None,
            allowed_own_asn: 2,
            source_address: Some(ip("10.0.0.1")),
            passive: true,
            auth: md5("/k/a"),
            ttl_security: Some(2),
            ebgp_multihop: None,
            reflector_client: true,
            hold_time: HoldTime::from_secs(9).expect("a good time"),
            graceful_restart: None,
            restart_time: None,
            import: Some(Vec::new()),
            export: Some(vec![std::sync::Arc::new(filter)]),
            next_hop_mode: NextHopMode::SelfAddress,
            limits: PrefixLimits::NONE,
            role: None,
            role_strict: false,
            add_paths: AddPaths { receive: true, send: SendPaths::All },
            bfd: None,
        },
        Peer {
            link: None,
            is_found: false,
            reachable_by: None,
            asn_word: None,
            name: "b".into(),
            address: ip("fd00::9"),
            port: 179,
            asn: asn(64513),
            local_asn: Some(asn(64999)),
            allowed_own_asn: 0,
            source_address: None,
            passive: false,
            auth: Auth::Ao(vec![
                ao(1, 2, AoAlgorithm::HmacSha1, "/k/b"),
                ao(0, 255, AoAlgorithm::AesCmac, "/k/c"),
            ]),
            ttl_security: None,
            ebgp_multihop: Some(255),
            reflector_client: false,
            hold_time: HoldTime::from_secs(30).expect("a good time"),
            graceful_restart: None,
            restart_time: None,
            import: None,
            export: None,
            next_hop_mode: NextHopMode::Keep,
            limits: PrefixLimits::NONE,
            role: Some(Role::RouteServerClient),
            role_strict: true,
            add_paths: AddPaths { receive: false, send: SendPaths::Best(4) },
            bfd: None,
        },
    ];
    assert_eq!(peers, want);
}

#[test]
fn a_peer_may_tell_as_much_as_is_said_and_others_without_limit() {
    let limits = |text: &str| {
        let text = format!(
            "bgp: {{peers: [{{name: a, peerIP: 10.0.0.9, asNumber: 64512, maxPrefixes: {text}}}]}}"
        );
        read(&text).bgp.peers[0].limits.clone()
    };
    let restart = |secs| LimitAction::Restart(Duration::from_secs(secs));
    for (text, most, warn_percent, action) in [
        ("{ipv4: 1000}", [Some(1000), None], 75, restart(300)),
        ("{ipv6: 7, warnAt: 100, retryAfter: 1s}", [None, Some(7)], 100, restart(1)),
        ("{ipv4: 1, ipv6: 2, action: warn}", [Some(1), Some(2)], 75, LimitAction::Warn),
    ] {
        assert_eq!(limits(text), PrefixLimits { most, warn_percent, action }, "{text}");
    }
}

#[test]
fn a_dynamic_peer_may_be_in_the_as_that_is_expected() {
    let own = asn(64512);
    for (text, is_in, is_not) in [
        ("65001", vec![65001], vec![65002, 64512]),
        ("64512", vec![64512], vec![64513]),
        ("64500-64600", vec![64500, 64511, 64600], vec![64512, 64499, 64601]),
        ("1.0-1.5", vec![65536, 65541], vec![65542]),
        ("external", vec![1, 64511, u32::MAX], vec![64512]),
    ] {
        let text =
            format!("bgp: {{dynamicPeers: [{{name: a, cidrs: [10.0.0.0/8], asNumber: {text}}}]}}");
        let group = &read(&text).bgp.dynamic[0];
        assert_eq!((group.limit, group.peer.passive), (100, true));
        for number in is_in {
            assert!(group.asn.has(asn(number), own), "{number} is in {text}");
        }
        for number in is_not {
            assert!(!group.asn.has(asn(number), own), "{number} is not in {text}");
        }
        assert!(group.asn.has(group.asn.example(own), own), "{text}");
    }
}

#[test]
fn who_does_not_route_does_not_masquerade_unless_told_to() {
    for (text, want) in [
        ("", true),
        ("bgp: {enabled: false}", false),
        ("{bgp: {enabled: false}, policy: {masquerade: true}}", true),
        ("policy: {masquerade: false}", false),
    ] {
        assert_eq!(read(text).masquerade(), want, "{text}");
    }
}

#[test]
fn without_bgp_nobody_asks_for_what_only_bgp_needs() {
    let text = "{node: {addresses: ['fd00::1']}, bgp: {enabled: false}}";
    let (config, warnings) = Config::from_yaml_with_warnings("f", text).expect("it is right");
    assert!(!config.bgp.enabled && config.bgp.router_id.is_none());
    assert_eq!(warnings, []);
}

#[test]
fn what_yaml_takes_for_something_else_is_still_read_as_the_key_wants_it() {
    for (name, want) in
        [("no", "no"), ("y", "y"), ("123", "123"), ("1e3", "1e3"), ("017", "017"), ("'~'", "~")]
    {
        let text = format!("bgp: {{filters: [{{name: {name}, rules: []}}]}}");
        match Config::from_yaml_with_warnings("f", &text) {
            Ok((_, warnings)) => {
                let unused = format!("no peer uses the filter \"{want}\"");
                assert!(warnings.iter().any(|w| w.message == unused), "{text}: {warnings:?}");
            }
            // `~` is no good name, but it arrives as it was typed.
            Err(errors) => assert!(errors.to_string().contains(&format!("\"{want}\"")), "{errors}"),
        }
    }
    assert_eq!(read("node: {name: 123}").node.name.as_deref(), Some("123"));
    assert_eq!(read("node: {name: null}").node.name, None);
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
bgp:
  peers:
    - &first {name: a, peerIP: 10.0.0.9, asNumber: 64512, holdTime: 9s}
    - {<<: *first, name: b, peerIP: 10.0.0.8}
";
    let peers = read(text).bgp.peers;
    let got: Vec<_> = peers.iter().map(|p| (&*p.name, p.address, p.hold_time.secs())).collect();
    assert_eq!(got, [("a", ip("10.0.0.9"), 9), ("b", ip("10.0.0.8"), 9)]);
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    for text in [
        "",
        CONTRACT,
        "node: {name: 'no'}",
        "node: {name: '123'}",
        "node: {name: 1e3}",
        "routes: {startupHold: 90s, install: false}",
        "routes: {hashPolicy: l4}",
        "routes: {multipath: resilient, resilientIdle: 1500ms}",
        "bgp: {asNumber: 4294967295, holdTime: 0, connectRetryTime: 1500ms, networks: ['::/0']}",
        "bgp: {peers: [{name: 'yes', peerIP: 'fd00::9', asNumber: 64512, importFilters: []}]}",
        "bgp: {multipath: {asPathRelax: true}, nodeToNodeMesh: {maxPrefixes: {ipv6: 7, action: warn}}}",
        "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 1, maxPrefixes: {ipv4: 9, warnAt: 50, retryAfter: 1m}}]}",
        "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8, 'fd00::/8'], asNumber: 1-9, limit: 7, importFilters: []}]}",
        "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: external}, {name: b, cidrs: ['::/0'], asNumber: 64512, reflectorClient: true}]}",
        "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, addPaths: {receive: true}}, {name: b, peerIP: 10.0.0.8, asNumber: 64512, addPaths: {send: 255}}, {name: c, peerIP: 10.0.0.7, asNumber: 64512, addPaths: {send: all}}]}",
        "bgp: {nodeToNodeMesh: {addPaths: true}}",
        "bgp: {gracefulRestart: {enabled: false, restartTime: 90s, longLivedStaleTime: 6h}}",
        "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, gracefulRestart: false, maxRestartTime: 5s}]}",
        "bgp: {peers: [{name: a, peerIP: 'fd00::9', asNumber: 1, password: {file: /k}, ebgpMultihop: 2}]}",
        "bgp: {peers: [{name: a, interface: eth1, asNumber: external, importFilters: []}, {name: b, peerIP: 'fe80::1%eth1', asNumber: internal}]}",
        "bgp: {peers: [{name: a, peerIP: 192.0.2.1, asNumber: 1, reachableBy: 10.0.0.254, ebgpMultihop: 2}]}",
        "bgp: {peers: [{name: a, peerIP: 'fd00::9', asNumber: 1, ttlSecurity: 254}], nodeToNodeMesh: {tcpAO: {keys: [{sendID: 1, recvID: 2, algorithm: aes-128-cmac-96, file: /k}]}}}",
        "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 1, role: provider}, {name: b, peerIP: 10.0.0.8, asNumber: 1, role: rs-server, roleStrict: true}]}",
        "bgp: {bmp: [{name: a, address: 10.0.0.9}, {name: b, address: '::9', port: 1790, policy: both, locRIB: true, statsInterval: 0s, minRetry: 10ms, maxRetry: 10ms, stuckAfter: 5s}]}",
        "bgp: {drain: {onCordon: true, taints: ['a.b/c=d:NoExecute', e:NoSchedule, f=g, h], wait: 1500ms}}",
        "source: {kind: files, path: '/a b: #c'}",
        "source: {kind: kubernetes}",
        "source: {kind: kubernetes, kubeconfig: /k, context: 'no', holdDeletions: 1m30s}",
        "{bgp: {enabled: false}, telemetry: {listen: ['[::1]:9798', 127.0.0.1:9798]}}",
        "telemetry: {listen: []}",
        "policy: {backend: nft, masquerade: true, flowLog: {enabled: false}, auditInterval: 90s}",
        "policy: {backend: legacy, establishedFlows: recheck, masquerade: false}",
        "policy: {hostEndpoints: {auto: true, withoutBGP: true, failsafeInbound: [22, 'udp:[fd00::/8]:68'], failsafeOutbound: []}}",
        "{node: {podCIDRs: [10.1.0.0/24]}, cni: {enabled: true, mtu: 1400, chain: [bandwidth]}}",
        "cni: {configDir: /a, dataDir: /b, chain: []}",
    ] {
        let config = read(text);
        let shown = config.to_yaml();
        assert_eq!(read(&shown), config, "{text}\n{shown}");
        let json = config.to_json().to_string();
        assert_eq!(read(&json), config, "{text}\n{json}");
    }
}

#[test]
fn every_condition_and_change_of_a_filter_is_read_and_shown_as_it_was_written() {
    let config = read(include_str!("../examples/filters.yaml"));
    let again = read(&config.to_json().to_string());
    assert_eq!(again.bgp, config.bgp);
    let [peer] = &config.bgp.peers[..] else { panic!("{:?}", config.bgp.peers) };
    let (Some([import]), Some([export])) = (peer.import.as_deref(), peer.export.as_deref()) else {
        panic!("{peer:?}");
    };
    fn all<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().expect("right")).collect()
    }
    let cidr = |operator, text| Condition::Cidr(operator, prefix(text));
    let reject = |condition| FilterRule::new(FilterAction::Reject, vec![condition]);
    let want = [
        reject(cidr(MatchOperator::In, "10.244.0.0/16")),
        reject(Condition::AsPathRegex("_(64666|65099)_".parse().expect("right"))),
        FilterRule {
            conditions: vec![Condition::Communities(Has::Any, all(&["65001:666", "65001:80:*"]))],
            changes: vec![Change::LocalPref(50), Change::RemoveCommunities(all(&["65001:*"]))],
            action: FilterAction::Continue,
        },
        FilterRule::new(FilterAction::Accept, vec![cidr(MatchOperator::Equal, "0.0.0.0/0")]),
        FilterRule::new(
            FilterAction::Accept,
            vec![
                Condition::PrefixLengths(8..=24),
                Condition::Family(brindle_bgp::net::Family::Ipv4Unicast),
                Condition::NextHop(vec![prefix("10.0.0.0/24")]),
                Condition::PeerType(PeerType::External),
                Condition::AsPathContains(vec![asn(65010), asn(65011)]),
                Condition::AsPathFirst(vec![asn(65001)]),
                Condition::AsPathLast(vec![asn(65010)]),
                Condition::AsPathLength(1..=5),
                Condition::AsPathPrefix(vec![asn(65001)]),
            ],
        ),
        FilterRule {
            conditions: vec![Condition::Communities(Has::All, all(&["rt:65001:1", "no-export"]))],
            changes: vec![Change::Med(20)],
            action: FilterAction::Accept,
        },
    ];
    assert_eq!(import.rules, want);
    let want = [
        FilterRule {
            conditions: vec![
                cidr(MatchOperator::In, "10.244.0.0/16"),
                Condition::PrefixLengths(24..=32),
                Condition::Source(vec![RouteSource::Local]),
            ],
            changes: vec![
                Change::Med(10),
                Change::SetCommunities(all(&["64512:100", "64512:1:1", "rt:64512:1"])),
            ],
            action: FilterAction::Accept,
        },
        FilterRule {
            conditions: vec![
                cidr(MatchOperator::NotIn, "192.0.2.0/24"),
                Condition::Source(vec![RouteSource::Mesh, RouteSource::Service]),
            ],
            changes: vec![
                Change::AddMed(50),
                Change::AddCommunities(all(&["graceful-shutdown"])),
                Change::Prepend(None, 2),
                Change::NextHop(NextHopChange::SelfAddress),
            ],
            action: FilterAction::Accept,
        },
    ];
    assert_eq!(export.rules, want);
}

#[test]
fn bfd_has_usual_intervals_and_is_there_where_its_section_stands() {
    let interval = Duration::from_millis;
    let settings = |transmit, receive, multiplier, path| Settings {
        intervals: Intervals {
            transmit: interval(transmit),
            receive: interval(receive),
            multiplier: NonZeroU8::new(multiplier).expect("not zero"),
        },
        path,
    };
    for (text, want) in [
        ("bfd: {}", Some(Settings::DEFAULT)),
        ("bfd: {enabled: true}", Some(settings(300, 300, 3, Path::SingleHop))),
        ("bfd: {enabled: false, multiplier: 5}", None),
        (
            "bfd: {transmitInterval: 50ms, receiveInterval: 60s, multiplier: 255}",
            Some(settings(50, 60_000, 255, Path::SingleHop)),
        ),
        ("bfd: {multihop: true}", Some(settings(300, 300, 3, Path::Multihop { min_ttl: 1 }))),
        (
            "bfd: {multihop: true, minimumTTL: 253}",
            Some(settings(300, 300, 3, Path::Multihop { min_ttl: 253 })),
        ),
    ] {
        let peer = format!("{{name: a, peerIP: 10.0.0.9, asNumber: 64512, {text}}}");
        let config = read(&format!("bgp: {{peers: [{peer}], nodeToNodeMesh: {{{text}}}}}"));
        assert_eq!((config.bgp.peers[0].bfd, config.bgp.mesh_bfd), (want, want), "{text}");
        let again = read(&config.to_yaml());
        assert_eq!(again.bgp, config.bgp, "{text}");
    }
    assert_eq!(read("bgp: {}").bgp.mesh_bfd, None);
}
