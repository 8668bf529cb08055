//! What right configurations mean.

mod filters;
mod peers;
mod text;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use brindle_bgp::filter::{Condition, Filter, FilterAction, FilterRule, MatchOperator};
use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Prefix, Role, RouterId};
use brindle_bgp::rib::{NextHopMode, PrefixLimits, SendPaths};
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
    loopPrevention: drop
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
                loop_prevention: LoopPrevention::Drop,
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
