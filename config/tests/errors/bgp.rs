//! What is said of mistakes in `bgp` that are not about single peers or filters.

use super::named;

#[test]
fn each_mistake_about_bgp_is_named() {
    named(&[
        (
            "bgp: {asNumber: 0}",
            "f:1:17  bgp.asNumber: \"0\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10",
        ),
        (
            "bgp: {asNumber: 23456}",
            "f:1:17  bgp.asNumber: 23456 stands for AS numbers of four octets and is nobody's (RFC 6793)",
        ),
        (
            "bgp: {asNumber: 4294967296}",
            "f:1:17  bgp.asNumber: \"4294967296\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10",
        ),
        (
            "bgp: {asNumber: 0x10}",
            "f:1:17  bgp.asNumber: \"0x10\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10",
        ),
        (
            "bgp: {routerID: 0.0.0.0}",
            "f:1:17  bgp.routerID: \"0.0.0.0\" is not a router id; accepted are four octets but 0.0.0.0, for instance 10.0.0.1",
        ),
        (
            "node: {addresses: ['fd00::1']}\nbgp: {asNumber: 1}",
            "f:2:6  bgp: routerID is missing, and node.addresses has no IPv4 address to take it from; write four octets that no other router of yours has, for instance \"routerID: 10.0.0.1\"",
        ),
        (
            "bgp: {holdTime: 2s}",
            "f:1:17  bgp.holdTime: hold time 2 s is not allowed; accepted are 0 (off) and 3 to 65535 s",
        ),
        (
            "bgp: {holdTime: 90}",
            "f:1:17  bgp.holdTime: \"90\" is not a duration; 90 seconds are \"90s\"",
        ),
        (
            "bgp: {holdTime: soon}",
            "f:1:17  bgp.holdTime: \"soon\" is not a duration; accepted is for instance 90s, 1m30s or 500ms",
        ),
        (
            "bgp: {holdTime: 3500ms}",
            "f:1:17  bgp.holdTime: 3500ms is not a whole number of seconds",
        ),
        (
            "bgp: {holdTime: 20h}",
            "f:1:17  bgp.holdTime: \"20h\" is out of range; accepted are 0s to 65535s",
        ),
        (
            "bgp: {gracefulRestart: {restartTime: 4096s}}",
            "f:1:38  bgp.gracefulRestart.restartTime: \"4096s\" is out of range; accepted are 1s to 4095s",
        ),
        (
            "bgp: {gracefulRestart: {restartTime: 1500ms}}",
            "f:1:38  bgp.gracefulRestart.restartTime: 1500ms is no restart time; accepted are whole seconds",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, role: peer}]}",
            "f:1:66  bgp.peers[0].role: a peer of our own AS 64512 has no role (RFC 9234)",
        ),
        (
            "bgp: {bmp: [{name: a, address: 10.0.0.9}, {name: a, address: 10.0.0.8}]}",
            "f:1:50  bgp.bmp[1].name: \"a\" is the name of another station, at f:1:20",
        ),
        (
            "bgp: {bmp: [{name: a, address: 10.0.0.9, statsInterval: 20ms}]}",
            "f:1:57  bgp.bmp[0].statsInterval: too often; accepted are 0s (off) and 1s to 24h",
        ),
        (
            "bgp: {bmp: [{name: a, address: 10.0.0.9, minRetry: 3m}]}",
            "f:1:13  bgp.bmp[0]: minRetry is longer than maxRetry (2m unless set); waits grow from one to the other",
        ),
        (
            "bgp: {bmp: [{name: a, address: 10.0.0.9, policy: all}]}",
            "f:1:50  bgp.bmp[0].policy: \"all\" is not accepted here; accepted: pre, post, both",
        ),
        (
            "bgp: {drain: {wait: 2h}}",
            "f:1:21  bgp.drain.wait: \"2h\" is out of range; accepted are 0s to 1h",
        ),
        (
            "bgp: {drain: {taints: ['a:Never']}}",
            "f:1:24  bgp.drain.taints[0]: \"a:Never\" is not a taint; accepted is for instance maintenance, maintenance=disk or maintenance:NoExecute; effects are NoSchedule, PreferNoSchedule, NoExecute",
        ),
        (
            "bgp: {connectRetryTime: 0s}",
            "f:1:25  bgp.connectRetryTime: \"0s\" is out of range; accepted are 10ms to 1h",
        ),
        ("bgp: {maxPaths: 0}", "f:1:17  bgp.maxPaths: \"0\" is not a whole number from 1 to 256"),
        (
            "bgp: {maxPaths: 1.5}",
            "f:1:17  bgp.maxPaths: \"1.5\" is not a whole number from 1 to 256",
        ),
        (
            "bgp: {listen: {port: 0}}",
            "f:1:22  bgp.listen.port: \"0\" is not a whole number from 1 to 65535",
        ),
        (
            "bgp: {listen: {addresses: [10.0.0.1, 10.0.0.1]}}",
            "f:1:38  bgp.listen.addresses[1]: 10.0.0.1 stands here already, at f:1:28",
        ),
        (
            "bgp: {listen: {addresses: [10.0.0.1, 0.0.0.0]}}",
            "f:1:38  bgp.listen.addresses[1]: 0.0.0.0 and 10.0.0.1 cannot be listened on together: one of them is every address",
        ),
        (
            "bgp: {nodeToNodeMesh: {enabled: yes}}",
            "f:1:33  bgp.nodeToNodeMesh.enabled: \"yes\" is text; did you mean true?",
        ),
        (
            "bgp: {nodeToNodeMesh: {enabled: no}}",
            "f:1:33  bgp.nodeToNodeMesh.enabled: \"no\" is text; did you mean false?",
        ),
        (
            "bgp: {nodeToNodeMesh: {enabled: 'true'}}",
            "f:1:33  bgp.nodeToNodeMesh.enabled: \"true\" is text; did you mean true?",
        ),
        (
            "bgp: {nodeToNodeMesh: {retain: node-objects}}",
            "f:1:32  bgp.nodeToNodeMesh.retain: \"node-objects\" is not accepted here; accepted: node-object, bgp-only; did you mean \"node-object\"?",
        ),
        (
            "bgp: {nodeToNodeMesh: {enabled: 1}}",
            "f:1:33  bgp.nodeToNodeMesh.enabled: expected true or false, found the value 1",
        ),
        (
            "bgp: {networks: [192.0.2.0/24, 192.0.2.0/24]}",
            "f:1:32  bgp.networks[1]: 192.0.2.0/24 stands here already, at f:1:18",
        ),
        (
            "bgp: {networks: [224.0.0.0/4]}",
            "f:1:18  bgp.networks[0]: 224.0.0.0/4 holds no unicast addresses to route",
        ),
        (
            "node: {podCIDRs: [10.1.0.0/16]}\nbgp: {networks: [10.1.0.0/16]}",
            "f:2:18  bgp.networks[0]: 10.1.0.0/16 is originated already, from node.podCIDRs at f:1:19",
        ),
        (
            "bgp: {services: {clusterIPs: [10.96.0.1/12]}}",
            "f:1:31  bgp.services.clusterIPs[0]: \"10.96.0.1/12\" has host bits set; its network is 10.96.0.0/12",
        ),
        (
            "bgp: {services: {externalIPs: [0.0.0.0/0]}}",
            "f:1:32  bgp.services.externalIPs[0]: 0.0.0.0/0 is every address; name the blocks of Services",
        ),
        (
            "bgp: {services: {loadBalancerIPs: [224.0.0.0/8]}}",
            "f:1:36  bgp.services.loadBalancerIPs[0]: 224.0.0.0/8 holds no unicast addresses to route",
        ),
        (
            "node: {podCIDRs: [10.1.0.0/16]}\nbgp: {services: {clusterIPs: [10.0.0.0/8]}}",
            "f:2:31  bgp.services.clusterIPs[0]: 10.0.0.0/8 overlaps with 10.1.0.0/16 at f:1:19, where pods are",
        ),
        (
            "node: {addresses: [10.0.0.1]}\nbgp: {services: {externalIPs: [10.0.0.0/24]}}",
            "f:2:32  bgp.services.externalIPs[0]: 10.0.0.0/24 holds 10.0.0.1, the node's address at f:1:20",
        ),
        (
            "bgp: {networks: [192.0.2.0/24], services: {externalIPs: [192.0.2.0/24]}}",
            "f:1:58  bgp.services.externalIPs[0]: 192.0.2.0/24 is originated already, from bgp.networks",
        ),
        (
            "bgp: {services: {hostRoutes: [clusterIP]}}",
            "f:1:31  bgp.services.hostRoutes[0]: \"clusterIP\" is not accepted here; accepted: clusterIPs, externalIPs, loadBalancerIPs; did you mean \"clusterIPs\"?",
        ),
        (
            "bgp: {services: {loadBalancerIPs: [192.0.2.0/24], loadBalancerClasses: []}}",
            "f:1:72  bgp.services.loadBalancerClasses: is empty; accepted are classes, \"\" for Services without one",
        ),
        (
            "bgp: {services: {loadBalancerIPs: [192.0.2.0/24], loadBalancerClasses: [a, b c]}}",
            "f:1:76  bgp.services.loadBalancerClasses[1]: \"b c\" is no class; accepted are such as example.com/internal, and \"\" for Services without one",
        ),
        (
            "bgp: {services: {loopPrevention: Drop}}",
            "f:1:34  bgp.services.loopPrevention: \"Drop\" is not accepted here; accepted: drop, reject, disabled; did you mean \"drop\"?",
        ),
        (
            "bgp: {prefixAdvertisements: [{cidr: 192.0.2.0/24}]}",
            "f:1:30  bgp.prefixAdvertisements[0]: communities is missing; write for instance \"communities: [\"65001:1\"]\"",
        ),
        (
            "bgp: {prefixAdvertisements: [{cidr: 192.0.2.0/24, communities: []}]}",
            "f:1:64  bgp.prefixAdvertisements[0].communities: is empty; accepted are communities such as \"65001:1\"",
        ),
    ]);
}
