use serde_json::Value;

use super::{Imported, calico, kube_router};

fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|one| serde::Deserialize::deserialize(one).expect("YAML")).collect()
}

/// The configuration as the agent reads it, in the words of an import.
fn config(imported: &Imported) -> String {
    let text = serde_saphyr::to_string(&imported.config).expect("it can be written");
    if let Err(errors) = brindle_config::Config::from_yaml("imported", &text) {
        panic!("{errors}\n{text}");
    }
    text
}

/// `BGPPeer tor: spec.password`, in order.
fn refused(imported: &Imported) -> Vec<String> {
    imported.refused.iter().map(|one| format!("{}: {}", one.object, one.field)).collect()
}

const CALICO: &str = r#"
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: {rack: r1}
  annotations: {projectcalico.org/ASNumber: "64600", projectcalico.org/RouteReflectorClusterID: 10.0.0.1}
---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {rack: r2}}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec:
  asNumber: 64513
  nodeToNodeMeshEnabled: false
  logSeverityScreen: Info
  serviceClusterIPs: [{cidr: 10.96.0.0/12}]
  serviceLoadBalancerIPs: [{cidr: 198.51.100.0/24}]
  serviceLoadBalancerAggregation: Disabled
  communities: [{name: lb, value: "65001:7"}]
  prefixAdvertisements: [{cidr: 198.51.100.0/24, communities: [lb, "65001:1:2"]}]
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.244.0.0/16, natOutgoing: true, ipipMode: Always, vxlanMode: Never, nodeSelector: all()}
---
apiVersion: crd.projectcalico.org/v1
kind: BGPFilter
metadata: {name: few}
spec:
  importV4:
  - {action: Accept, cidr: 192.0.2.0/24, matchOperator: In, prefixLength: {max: 28}}
  - {action: Reject, cidr: 198.51.100.0/24, matchOperator: Equal}
---
apiVersion: crd.projectcalico.org/v1
kind: BGPFilter
metadata: {name: odd}
spec:
  exportV4:
  - {action: Reject, interface: 'eth*', priority: 7}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec: {nodeSelector: rack == 'r1', peerIP: "192.0.2.1:1179", asNumber: "65001", filters: [few], password: {secretKeyRef: {name: s, key: k}}}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: odd}
spec: {peerIP: 192.0.2.2, asNumber: 65001, filters: [odd]}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: other-rack}
spec: {node: n2, peerIP: 192.0.2.3, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: reflectors}
spec: {nodeSelector: all(), peerSelector: "rack == 'r1'"}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec:
  defaultEndpointToHostAction: Return
  iptablesBackend: NFT
  serviceLoopPrevention: Drop
  logSeverityScreen: Info
  wireguardEnabled: true
  failsafeInboundHostPorts: [{protocol: tcp, port: 22, net: 10.0.0.0/8}, {protocol: tcp, port: 179}]
---
apiVersion: crd.projectcalico.org/v1
kind: KubeControllersConfiguration
metadata: {name: default}
spec: {controllers: {node: {hostEndpoint: {autoCreate: Enabled}}}}
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata:
  name: default.deny
  uid: 0
  annotations: {projectcalico.org/metadata: '{"labels":{"team":"a"},"annotations":null}'}
spec: {tier: default, selector: all(), types: [Egress]}
---
apiVersion: crd.projectcalico.org/v1
kind: Tier
metadata: {name: default}
spec: {order: 1000000}
---
apiVersion: crd.projectcalico.org/v1
kind: IPReservation
metadata: {name: held}
"#;

#[test]
fn calicos_objects_become_a_configuration_of_one_node() {
    let imported = calico::import(&objects(CALICO), Some("n1"));
    let want = "\
bgp:
  asNumber: 64513
  nodeToNodeMesh:
    enabled: true
  peers:
    - name: tor
      peerIP: 192.0.2.1
      port: 1179
      asNumber: 65001
      ebgpMultihop: 255
      importFilters:
        - import-tor
      exportFilters:
        - calico-pools
  filters:
    - name: import-tor
      rules:
        - action: accept
          cidr: 192.0.2.0/24
          prefixLengths: 24-28
        - action: reject
          cidr: 198.51.100.0/24
          prefixLengths: '24'
        - action: accept
    - name: calico-pools
      rules:
        - action: accept
          cidr: 10.244.0.0/16
          prefixLengths: 16-32
        - action: accept
          sources:
            - service
        - action: reject
  services:
    clusterIPs:
      - 10.96.0.0/12
    loadBalancerIPs:
      - 198.51.100.0/24
    hostRoutes:
      - loadBalancerIPs
    loopPrevention: drop
  prefixAdvertisements:
    - cidr: 198.51.100.0/24
      communities:
        - '65001:7'
        - '65001:1:2'
policy:
  backend: nft
  masquerade: true
  hostEndpoints:
    auto: true
    defaultEndpointToHostAction: Return
    failsafeInbound:
      - protocol: TCP
        port: 22
        net: 10.0.0.0/8
      - protocol: TCP
        port: 179
source:
  kind: kubernetes
";
    let value = |text: &str| serde_yaml::from_str::<Value>(text).expect("YAML");
    assert_eq!(value(&config(&imported)), value(want));
    assert_eq!(
        refused(&imported),
        [
            "IPPool pool: spec.ipipMode",
            "FelixConfiguration default: spec.wireguardEnabled",
            "BGPPeer tor: spec.password",
            "BGPFilter odd: spec.exportV4[0].priority",
            "IPReservation held: ",
        ]
    );
    let annotated: Vec<_> = imported.to_do.iter().filter(|one| one.contains("annotate")).collect();
    assert_eq!(
        annotated,
        [
            "kubectl annotate node n1 brindle.dev/as-number=64600",
            "kubectl annotate node n1 brindle.dev/route-reflector-cluster-id=10.0.0.1",
        ]
    );
    let [policy] = &imported.policies[..] else { panic!("{:?}", imported.policies) };
    assert_eq!(
        *policy,
        serde_json::json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "default.deny", "labels": {"team": "a"}},
            "spec": {"tier": "default", "selector": "all()", "types": ["Egress"]},
        })
    );
}

#[test]
fn what_a_bgp_filter_asks_for_and_changes_is_followed() {
    let text = "
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: {name: much}
spec:
  importV4:
  - {action: Reject, cidr: 192.0.2.0/24, matchOperator: NotIn, source: RemotePeers}
  - action: Accept
    peerType: eBGP
    asPathPrefix: [65001, 65002]
    communities: {values: ['65001:1']}
    operations: [{addCommunity: {value: '65001:2'}}, {prependASPath: {prefix: [65009, 65009]}}]
  importV6:
  - {action: Accept, interface: eth*, operations: [{setPriority: {value: 512}}]}
  - {action: Reject, priority: 7}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec: {peerIP: 192.0.2.2, asNumber: 65001, filters: [much]}
";
    let all = calico::import(&objects(text), None);
    assert_eq!(refused(&all), ["BGPFilter much: spec.importV6[1].priority"]);
    let followed = text.replace("  - {action: Reject, priority: 7}\n", "");
    let imported = calico::import(&objects(&followed), None);
    assert_eq!(refused(&imported), [] as [&str; 0]);
    let rules = serde_json::to_value(&imported.config.bgp.filters[0].rules).expect("JSON");
    assert_eq!(
        rules,
        serde_json::json!([
            {"action": "reject", "cidr": "192.0.2.0/24", "matchOperator": "NotIn",
             "prefixLengths": "0-32", "family": "ipv4", "sources": ["mesh", "peer"]},
            {"action": "accept", "cidr": "0.0.0.0/0", "prefixLengths": "0-32", "peerType": "eBGP",
             "asPath": {"prefix": [65001, 65002]}, "communities": {"any": ["65001:1"]},
             "set": {"addCommunities": ["65001:2"],
                     "prepend": {"asNumber": 65009, "times": 2}}},
            {"action": "accept", "cidr": "::/0", "prefixLengths": "0-128", "interface": "eth*",
             "set": {"localPref": 2_147_483_135}},
            {"action": "accept"},
        ])
    );
    config(&imported); // can be read
}

#[test]
fn what_is_for_one_node_is_refused_where_none_is_named() {
    let imported = calico::import(&objects(CALICO), None);
    let refused = refused(&imported);
    for want in ["BGPPeer tor: spec.nodeSelector", "BGPPeer other-rack: spec.node"] {
        assert!(refused.iter().any(|one| one == want), "{want}: {refused:?}");
    }
    assert!(imported.config.bgp.peers.is_empty(), "{:?}", imported.config.bgp.peers);
}

const KUBE_ROUTER: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-router, namespace: kube-system}
spec:
  template:
    spec:
      containers:
      - image: docker.io/cloudnativelabs/kube-router:v2
        args:
        - --run-router=true
        - --run-firewall=true
        - --run-service-proxy=false
        - --enable-overlay=false
        - --cluster-asn=64512
        - --peer-router-ips=192.0.2.1,192.0.2.2
        - --peer-router-asns=65001,64512
        - --advertise-cluster-ip=true
        - --service-cluster-ip-range=10.97.0.0/16
        - --advertise-loadbalancer-ip=true
        - --bgp-holdtime=30s
        - --v=2
        - --some-new-flag
---
apiVersion: v1
kind: Node
metadata:
  name: n1
  annotations:
    kube-router.io/node.asn: "64601"
    kube-router.io/peer.ips: 192.0.2.9
    kube-router.io/peer.asns: "65009"
    kube-router.io/peer.passwords: c2VjcmV0
    kube-router.io/rr.client: "42"
"#;

#[test]
fn kube_routers_flags_and_annotations_become_a_configuration() {
    let imported = kube_router::import(&objects(KUBE_ROUTER), Some("n1"));
    let text = config(&imported);
    let peers: Vec<_> = imported.config.bgp.peers.iter().collect();
    let shown: Vec<_> = peers
        .iter()
        .map(|peer| {
            let filters = (&peer.import_filters, &peer.export_filters);
            format!("{} {} {} {filters:?}", peer.name, peer.peer_ip, peer.as_number)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "router-1 192.0.2.1 65001 (Some([]), Some([]))",
            "router-2 192.0.2.2 64512 (None, None)",
            "peer-1 192.0.2.9 65009 (Some([]), Some([]))",
        ]
    );
    for want in ["asNumber: 64512", "holdTime: 30s", "masquerade: true", "- 10.97.0.0/16"] {
        assert!(text.contains(want), "{want}: {text}");
    }
    assert_eq!(
        refused(&imported),
        [
            "DaemonSet kube-system/kube-router: --advertise-loadbalancer-ip",
            "DaemonSet kube-system/kube-router: --some-new-flag",
            "Node n1: kube-router.io/peer.passwords",
        ]
    );
    let nothing = kube_router::import(&[], None);
    assert_eq!(refused(&nothing), ["DaemonSet kube-system/kube-router: "]);
}
