//! How the text is read, and shown.

use brindle_config::Config;

use super::{CONTRACT, ip, read};

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
        "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 64512, tcpAO: {keys: [{sendID: 1, recvID: 2, file: /k}]}}]}",
        "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: external}, {name: b, cidrs: ['::/0'], asNumber: 64512, reflectorClient: true}]}",
        "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, addPaths: {receive: true}}, {name: b, peerIP: 10.0.0.8, asNumber: 64512, addPaths: {send: 255}}, {name: c, peerIP: 10.0.0.7, asNumber: 64512, addPaths: {send: all}}]}",
        "bgp: {nodeToNodeMesh: {addPaths: true}}",
        "bgp: {gracefulRestart: {enabled: false, restartTime: 90s, longLivedStaleTime: 6h}}",
        "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, gracefulRestart: false, maxRestartTime: 5s}]}",
        "bgp: {peers: [{name: a, peerIP: 'fd00::9', asNumber: 1, password: {file: /k}, ebgpMultihop: 2}]}",
        "bgp: {peers: [{name: a, interface: eth1, asNumber: external, importFilters: []}, {name: b, peerIP: 'fe80::1%eth2', asNumber: internal}]}",
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
