//! What is said of wrong configurations: one row a mistake.

use brindle_config::Config;

/// The lines that `text` as the file `f` is refused with; none if it is accepted.
fn errors(text: &str) -> Vec<String> {
    match Config::from_yaml("f", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// What stands in the section of a peer.
#[test]
fn each_mistake_about_bfd_is_named() {
    for (bfd, want) in [
        ("yes", "bfd"),
        ("{transmitInterval: 5ms}", "bfd.transmitInterval"),
        ("{receiveInterval: 2m}", "bfd.receiveInterval"),
        ("{multiplier: 0}", "bfd.multiplier"),
        ("{multiplier: 256}", "bfd.multiplier"),
        ("{minimumTTL: 250}", "minimumTTL is for multihop: true"),
        ("{multihop: true, minimumTTL: 0}", "bfd.minimumTTL"),
        ("{interval: 50ms}", "unknown field \"interval\""),
    ] {
        let got = errors(&format!("{PEER}bfd: {bfd}}}]}}"));
        assert!(got.len() == 1 && got[0].contains(want), "{bfd}: {got:?}");
        assert!(got[0].starts_with("f:1:"), "{bfd}: {got:?}");
    }
    // What is on a link is one hop away.
    for place in ["interface: eth1", "peerIP: \"fe80::1%eth1\""] {
        let peer = format!("bgp: {{peers: [{{name: a, asNumber: 64512, {place}, bfd: ");
        let got = errors(&format!("{peer}{{multihop: true}}}}]}}"));
        let want = "bgp.peers[0].bfd.multihop: a peer on eth1 is one hop away";
        assert!(got.len() == 1 && got[0].contains(want), "{place}: {got:?}");
        assert_eq!(errors(&format!("{peer}{{multihop: false}}}}]}}")), [""; 0], "{place}");
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = Config::from_yaml_with_warnings("f", text).expect("only doubtful");
    warnings.iter().map(ToString::to_string).collect()
}

const PEER: &str = "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, ";

#[test]
fn each_mistake_is_named_with_its_place_and_what_would_be_right() {
    let mut wrong = Vec::new();
    for (text, want) in [
        // Not YAML, or not one map.
        ("bgp: [", "f:1:6  not valid YAML: unclosed bracket '['"),
        (
            "bgp:\n\tx: 1",
            "f:2:2  not valid YAML: tabs disallowed within this context (block indentation)",
        ),
        ("[1]", "f:1:1  expected keys with values, found a list"),
        ("hello", "f:1:1  expected keys with values, found the text \"hello\""),
        ("7", "f:1:1  expected keys with values, found the value 7"),
        (
            "bgp: {}\n---\nbgp: {}",
            "f:3:1  a second YAML document begins here; a configuration file holds one",
        ),
        ("node: {}\nbgp: {}\nnode: {}", "f:3:1  the key \"node\" stands twice in one map"),
        ("bgp: {asNumber: 1, asNumber: 2}", "f:1:20  the key \"asNumber\" stands twice in one map"),
        // Keys.
        ("nodes: {}", "f:1:1  unknown field \"nodes\"; did you mean \"node\"?"),
        (
            "xyzzy: {}",
            "f:1:1  unknown field \"xyzzy\"; accepted here: node, bgp, routes, policy, cni, source, control, telemetry",
        ),
        ("bgp: {asNumbr: 1}", "f:1:7  bgp: unknown field \"asNumbr\"; did you mean \"asNumber\"?"),
        (
            "bgp: {ASNumber: 1}",
            "f:1:7  bgp: unknown field \"ASNumber\"; did you mean \"asNumber\"?",
        ),
        (
            "bgp: {routerId: 1}",
            "f:1:7  bgp: unknown field \"routerId\"; did you mean \"routerID\"?",
        ),
        (
            "bgp: {nodeToNodeMesh: {maxPrefixes: {warnAt: 50}}}",
            "f:1:37  bgp.nodeToNodeMesh.maxPrefixes: sets no limit; write for instance \"{ipv4: 1000, ipv6: 1000}\"",
        ),
        (
            "bgp: {nodeToNodeMesh: {maxPrefixes: {ipv4: 0}}}",
            "f:1:44  bgp.nodeToNodeMesh.maxPrefixes.ipv4: \"0\" is not a whole number from 1 to 4294967295",
        ),
        (
            "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 9-1}]}",
            "f:1:63  bgp.dynamicPeers[0].asNumber: \"9-1\" is an empty range; did you mean 1-9?",
        ),
        (
            "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 1-x}]}",
            "f:1:63  bgp.dynamicPeers[0].asNumber: \"1-x\" is not a range of AS numbers; accepted is for instance 65001, 65001-65100 or external",
        ),
        (
            "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 64512}, {name: b, cidrs: [10.0.0.0/8], asNumber: 64512}]}",
            "f:1:89  bgp.dynamicPeers[1].cidrs[0]: 10.0.0.0/8 is in another group, at f:1:40",
        ),
        (
            "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 64512, passive: true}]}",
            "f:1:70  bgp.dynamicPeers[0]: unknown field \"passive\"; accepted here: cidrs, asNumber, limit, name, localASNumber, numAllowedLocalASNumbers, password, tcpAO, ttlSecurity, ebgpMultihop, reflectorClient, holdTime, gracefulRestart, maxRestartTime, importFilters, exportFilters, nextHopMode, maxPrefixes, role, roleStrict, addPaths, bfd",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 1, importFilters: [], exportFilters: [], addPaths: {send: 1}}]}",
            "f:1:111  bgp.peers[0].addPaths.send: \"1\" is not accepted here; accepted: off (the best path alone), all, and a number from 2 to 255 for the best so many",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 1, importFilters: [], exportFilters: [], addPaths: {send: some}}]}",
            "f:1:111  bgp.peers[0].addPaths.send: \"some\" is not accepted here; accepted: off (the best path alone), all, and a number from 2 to 255 for the best so many",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 1, importFilters: [], exportFilters: [], addPaths: {send: true}}]}",
            "f:1:111  bgp.peers[0].addPaths.send: \"true\" is not accepted here; accepted: off (the best path alone), all, and a number from 2 to 255 for the best so many",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 1, importFilters: [], exportFilters: [], addPaths: {send: +3}}]}",
            "f:1:111  bgp.peers[0].addPaths.send: \"+3\" is not accepted here; accepted: off (the best path alone), all, and a number from 2 to 255 for the best so many",
        ),
        ("node: [1]", "f:1:7  node: expected keys with values, found a list"),
        (
            "node: {addresses: 10.0.0.1}",
            "f:1:19  node.addresses: expected a list, found the text \"10.0.0.1\"",
        ),
        ("node: {name: [a]}", "f:1:14  node.name: expected one value, found a list"),
        ("node: {name: {a: b}}", "f:1:14  node.name: expected one value, found a map of keys"),
        // node
        ("node: {name: N1}", "f:1:14  node.name: \"N1\" is not a node name; did you mean \"n1\"?"),
        (
            "node: {name: a_b}",
            "f:1:14  node.name: \"a_b\" is not a node name; accepted are up to 253 lower-case letters, digits, \"-\" and \".\", each part between dots with a letter or digit first and last",
        ),
        (
            "node: {addresses: [10.0.0.300]}",
            "f:1:20  node.addresses[0]: \"10.0.0.300\" is not an IP address; accepted is for instance 10.0.0.1 or fd00::1",
        ),
        (
            "node: {addresses: [10.0.0.1/24]}",
            "f:1:20  node.addresses[0]: \"10.0.0.1/24\" is not an IP address; without the prefix length it would be 10.0.0.1",
        ),
        (
            "node: {addresses: [0.0.0.0]}",
            "f:1:20  node.addresses[0]: 0.0.0.0 stands for every address; name one",
        ),
        (
            "node: {addresses: [224.0.0.5]}",
            "f:1:20  node.addresses[0]: 224.0.0.5 is a multicast address; accepted are unicast ones",
        ),
        (
            "node: {addresses: [255.255.255.255]}",
            "f:1:20  node.addresses[0]: 255.255.255.255 is a broadcast address",
        ),
        (
            "node: {addresses: ['fe80::1']}",
            "f:1:20  node.addresses[0]: fe80::1 is a link-local address, which means nothing without its link; write a global or unique local one",
        ),
        (
            "node: {addresses: ['::ffff:10.0.0.1']}",
            "f:1:20  node.addresses[0]: ::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes; write 10.0.0.1",
        ),
        (
            "node: {addresses: [10.0.0.1, 10.0.0.2]}",
            "f:1:30  node.addresses[1]: 10.0.0.2 is a second ipv4 address; a node has one of a family, here 10.0.0.1",
        ),
        (
            "node: {podCIDRs: [10.244.1.7/24]}",
            "f:1:19  node.podCIDRs[0]: \"10.244.1.7/24\" has host bits set; its network is 10.244.1.0/24",
        ),
        (
            "node: {podCIDRs: [10.244.1.0]}",
            "f:1:19  node.podCIDRs[0]: \"10.244.1.0\" is not a prefix; accepted is address/length, for instance 10.244.0.0/16",
        ),
        (
            "node: {podCIDRs: [10.244.1.0/33]}",
            "f:1:19  node.podCIDRs[0]: prefix length 33 is over 32",
        ),
        (
            "node: {podCIDRs: [0.0.0.0/0]}",
            "f:1:19  node.podCIDRs[0]: 0.0.0.0/0 is every address; name the range of this node",
        ),
        (
            "node: {podCIDRs: [10.244.1.0/24, 10.244.0.0/16]}",
            "f:1:34  node.podCIDRs[1]: 10.244.0.0/16 overlaps with 10.244.1.0/24 at f:1:19; pod ranges must be apart",
        ),
        (
            "node: {podCIDRs: [10.244.1.0/24, 10.244.1.0/24]}",
            "f:1:34  node.podCIDRs[1]: 10.244.1.0/24 stands here already, at f:1:19",
        ),
        (
            "node: {addresses: [10.244.1.1], podCIDRs: [10.244.1.0/24]}",
            "f:1:44  node.podCIDRs[0]: the node's own address 10.244.1.1 lies in 10.244.1.0/24; pods need a range of their own",
        ),
        (
            "node: {addresses: [10.0.0.1], podCIDRs: ['fd00:1::/64']}",
            "f:1:42  node.podCIDRs[0]: no other node could reach fd00:1::/64: node.addresses has no ipv6 address to be its next hop; add one, or leave node.addresses out to have them detected",
        ),
        // bgp
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
        // peers
        (
            "bgp: {peers: [{peerIP: 10.0.0.9, asNumber: 64512}]}",
            "f:1:15  bgp.peers[0]: name is missing; write for instance \"name: tor-a\"",
        ),
        (
            "bgp: {peers: [{name: a, asNumber: 64512}]}",
            "f:1:15  bgp.peers[0]: peerIP is missing; write for instance \"peerIP: 10.0.0.250\"",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, interface: eth1, asNumber: 64512}]}",
            "f:1:54  bgp.peers[0].interface: stands for an address that is found on it, so it goes without peerIP; a link-local address and its interface are one value, for instance \"peerIP: fe80::1%eth1\"",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 'fe80::1', asNumber: 64512}]}",
            "f:1:33  bgp.peers[0].peerIP: fe80::1 is link-local, and there is one on each interface; write it with its interface, for instance \"fe80::1%eth1\", or \"interface: eth1\" in place of peerIP",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 'fd00::1%eth1', asNumber: 64512}]}",
            "f:1:33  bgp.peers[0].peerIP: \"fd00::1%eth1\" names an interface, which only a link-local address goes with, for instance \"fe80::1%eth1\"",
        ),
        (
            "bgp: {peers: [{name: a, interface: 'eth0:1', asNumber: 64512}]}",
            "f:1:36  bgp.peers[0].interface: \"eth0:1\" is not the name of an interface; accepted are up to 15 letters, digits and signs other than \"/\", \":\", \"%\" and quotes, for instance eth1",
        ),
        (
            "bgp: {peers: [{name: a, interface: eth1, asNumber: 64512}, {name: b, interface: eth1, asNumber: 64512}]}",
            "f:1:81  bgp.peers[1].interface: eth1 is the interface of another peer, at f:1:36",
        ),
        (
            "bgp: {peers: [{name: a, interface: eth1, asNumber: 64512, sourceAddress: 10.0.0.1}]}",
            "f:1:74  bgp.peers[0].sourceAddress: a session on eth1 is from our link-local address there; leave it out",
        ),
        (
            "bgp: {peers: [{name: a, interface: eth1, asNumber: 64512, reachableBy: 10.0.0.1}]}",
            "f:1:72  bgp.peers[0].reachableBy: a peer on an interface is on the link, and needs no gateway",
        ),
        (
            &format!("{PEER}reachableBy: 10.0.0.9}}]}}"),
            "f:1:73  bgp.peers[0].reachableBy: 10.0.0.9 is the peer's own address; leave reachableBy out",
        ),
        (
            &format!("{PEER}reachableBy: 'fd00::1'}}]}}"),
            "f:1:73  bgp.peers[0].reachableBy: fd00::1 is an ipv6 address and the peer's 10.0.0.9 an ipv4 one; write a gateway of the peer's family",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: }]}",
            "f:1:43  bgp.peers[0]: asNumber is missing; write for instance \"asNumber: 65001\"",
        ),
        (
            "bgp: {peers: [{name: 'a b', peerIP: 10.0.0.9, asNumber: 64512}]}",
            "f:1:22  bgp.peers[0].name: \"a b\" is not a name; accepted are up to 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit first",
        ),
        (
            "node: {addresses: [10.0.0.9]}\nbgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512}]}",
            "f:2:33  bgp.peers[0].peerIP: 10.0.0.9 is our own address, from node.addresses[0] at f:1:20",
        ),
        (
            "bgp: {listen: {addresses: [10.0.0.9]}, peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512}]}",
            "f:1:66  bgp.peers[0].peerIP: 10.0.0.9 is our own address, from bgp.listen.addresses[0] at f:1:28",
        ),
        (
            &format!("{PEER}}}, {{name: a, peerIP: 10.0.0.8, asNumber: 64512}}]}}"),
            "f:1:70  bgp.peers[1].name: \"a\" is the name of another peer, at f:1:22",
        ),
        (
            &format!("{PEER}}}, {{name: b, peerIP: 10.0.0.9, asNumber: 64512}}]}}"),
            "f:1:81  bgp.peers[1].peerIP: 10.0.0.9 is the address of another peer, at f:1:33",
        ),
        (
            &format!("{PEER}port: 70000}}]}}"),
            "f:1:66  bgp.peers[0].port: \"70000\" is not a whole number from 1 to 65535",
        ),
        (
            &format!("{PEER}sourceAddress: 'fd00::1'}}]}}"),
            "f:1:75  bgp.peers[0].sourceAddress: fd00::1 is an ipv6 address and cannot reach 10.0.0.9; write an ipv4 one of ours",
        ),
        (
            &format!("{PEER}sourceAddress: 10.0.0.9}}]}}"),
            "f:1:75  bgp.peers[0].sourceAddress: 10.0.0.9 is the peer's own address",
        ),
        (
            &format!("{PEER}nextHopMode: self}}]}}"),
            "f:1:73  bgp.peers[0].nextHopMode: \"self\" is not accepted here; accepted: Auto, Self, Keep; did you mean \"Self\"?",
        ),
        (
            &format!("{PEER}importFilters: [x]}}]}}"),
            "f:1:76  bgp.peers[0].importFilters[0]: there is no filter \"x\"; bgp.filters has none yet",
        ),
        (
            &format!(
                "{PEER}importFilters: [cluster-onyl]}}], filters: [{{name: cluster-only, rules: []}}]}}"
            ),
            "f:1:76  bgp.peers[0].importFilters[0]: there is no filter \"cluster-onyl\"; did you mean \"cluster-only\"?",
        ),
        (
            &format!("{PEER}colour: x}}]}}"),
            "f:1:60  bgp.peers[0]: unknown field \"colour\"; accepted here: name, asNumber, peerIP, interface, localASNumber, numAllowedLocalASNumbers, port, sourceAddress, passive, password, tcpAO, ttlSecurity, ebgpMultihop, reflectorClient, holdTime, gracefulRestart, maxRestartTime, importFilters, exportFilters, nextHopMode, maxPrefixes, role, roleStrict, addPaths, bfd, reachableBy",
        ),
        (
            "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 64512, tcpAO: {keys: [{sendID: 1, recvID: 1, file: /k}]}}]}",
            "f:1:22  bgp.dynamicPeers[0]: tcpAO is not for dynamicPeers; give them a password, or list those that sign so under bgp.peers",
        ),
        // What protects a session is lost by no mistake.
        (
            &format!("{PEER}password: swordfish}}]}}"),
            "f:1:70  bgp.peers[0].password: the key itself does not belong here, where many may read it; put it into a file and write for instance \"{file: /etc/brindle/keys/tor-a}\"",
        ),
        (
            &format!("{PEER}password: }}]}}"),
            "f:1:60  bgp.peers[0].password: has no value; give it one, or leave the key out",
        ),
        (
            &format!("{PEER}password: {{}}}}]}}"),
            "f:1:70  bgp.peers[0].password: file is missing; write for instance \"file: /etc/brindle/keys/tor-a\"",
        ),
        (
            &format!("{PEER}password: {{file: keys/a}}}}]}}"),
            "f:1:77  bgp.peers[0].password.file: \"keys/a\" is not a path from the root, such as /etc/brindle",
        ),
        (
            "bgp: {nodeToNodeMesh: {password: {file: /k, flie: /k}}}",
            "f:1:45  bgp.nodeToNodeMesh.password: unknown field \"flie\"; did you mean \"file\"?",
        ),
        (
            &format!("{PEER}password: {{file: /k}}, tcpAO: {{keys: []}}}}]}}"),
            "f:1:89  bgp.peers[0].tcpAO: password and tcpAO exclude each other on one session; keep one of them (tcpAO, where both kernels have it)",
        ),
        (
            &format!("{PEER}tcpAO: {{keys: []}}}}]}}"),
            "f:1:74  bgp.peers[0].tcpAO.keys: is empty; a session that nothing signs is one without tcpAO",
        ),
        (
            &format!(
                "{PEER}tcpAO: {{keys: [{{sendID: 1, recvID: 1, file: /a}}, {{sendID: 2, recvID: 1, file: /b}}]}}}}]}}"
            ),
            "f:1:109  bgp.peers[0].tcpAO.keys[1]: the key at f:1:75 has the same sendID or recvID; each key has its own",
        ),
        (
            &format!("{PEER}tcpAO: {{keys: [{{sendID: 256, recvID: 1, file: /a}}]}}}}]}}"),
            "f:1:84  bgp.peers[0].tcpAO.keys[0].sendID: \"256\" is not a whole number from 0 to 255",
        ),
        (
            &format!(
                "{PEER}tcpAO: {{keys: [{{sendID: 1, recvID: 1, algorithm: md5, file: /a}}]}}}}]}}"
            ),
            "f:1:109  bgp.peers[0].tcpAO.keys[0].algorithm: \"md5\" is not accepted here; accepted: hmac-sha1-96, aes-128-cmac-96",
        ),
        (
            &format!("{PEER}ttlSecurity: 255}}]}}"),
            "f:1:73  bgp.peers[0].ttlSecurity: \"255\" is not a whole number from 1 to 254",
        ),
        (
            &format!("{PEER}ttlSecurity: 1, ebgpMultihop: 2}}]}}"),
            "f:1:90  bgp.peers[0].ebgpMultihop: ttlSecurity says already that the peer is up to 1 hops away; keep one of them",
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 65001, importFilters: [], exportFilters: [], reflectorClient: true}]}",
            "f:1:115  bgp.peers[0].reflectorClient: only a peer of our own AS 64512 can be a reflector client; this one is AS 65001",
        ),
        // filters
        (
            "bgp: {filters: [{name: f}]}",
            "f:1:17  bgp.filters[0]: rules is missing; write for instance \"rules: [{action: reject}]\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{}]}]}",
            "f:1:35  bgp.filters[0].rules[0]: action is missing; write for instance \"action: accept\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: permit}]}]}",
            "f:1:44  bgp.filters[0].rules[0].action: \"permit\" is not accepted here; accepted: accept, reject, continue",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.1.0.0/8}]}]}",
            "f:1:58  bgp.filters[0].rules[0].cidr: \"10.1.0.0/8\" has host bits set; its network is 10.0.0.0/8",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, prefixLengths: 32-16}]}]}",
            "f:1:67  bgp.filters[0].rules[0].prefixLengths: \"32-16\" is an empty range; did you mean 16-32?",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, prefixLengths: 129}]}]}",
            "f:1:67  bgp.filters[0].rules[0].prefixLengths: \"129\" is too long; an IPv6 prefix has at most 128 bits",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, prefixLengths: long}]}]}",
            "f:1:67  bgp.filters[0].rules[0].prefixLengths: \"long\" is not a range of prefix lengths; accepted is for instance 24 or 16-32",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/8, prefixLengths: 8-33}]}]}",
            "f:1:85  bgp.filters[0].rules[0].prefixLengths: 33 is too long; an ipv4 prefix such as 10.0.0.0/8 has at most 32 bits",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/16, prefixLengths: 8-24}]}]}",
            "f:1:86  bgp.filters[0].rules[0].prefixLengths: 8 is shorter than 10.0.0.0/16 itself, in which no prefix has under 16 bits",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/16, matchOperator: Equal, prefixLengths: 24}]}]}",
            "f:1:108  bgp.filters[0].rules[0].prefixLengths: the length of 10.0.0.0/16 is none of these: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, matchOperator: NotIn}]}]}",
            "f:1:67  bgp.filters[0].rules[0].matchOperator: compares the prefix with cidr, which is missing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, cidr: 10.0.0.0/16, family: ipv6}]}]}",
            "f:1:79  bgp.filters[0].rules[0].family: no ipv6 prefix is inside 10.0.0.0/16",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, sources: [local], nextHops: [10.0.0.0/8]}]}]}",
            "f:1:80  bgp.filters[0].rules[0].nextHops: our own routes have no next hop: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, sources: [world]}]}]}",
            "f:1:62  bgp.filters[0].rules[0].sources[0]: \"world\" is not accepted here; accepted: local, service, mesh, peer",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, sources: []}]}]}",
            "f:1:61  bgp.filters[0].rules[0].sources: an empty list would never match; leave it out, or name something",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {regex: '(1'}}]}]}",
            "f:1:68  bgp.filters[0].rules[0].asPath.regex: \"(1\" is not an expression over AS paths: unclosed group; accepted is for instance \"^65001 .* 65010$\" or \"_65001_\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {length: 5-1}}]}]}",
            "f:1:69  bgp.filters[0].rules[0].asPath.length: \"5-1\" is not a range of AS path lengths; accepted is for instance 3 or 1-5",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {length: 1, prefix: [1, 2]}}]}]}",
            "f:1:80  bgp.filters[0].rules[0].asPath.prefix: has 2 numbers, more than asPath.length: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {first: [3], prefix: [1, 2]}}]}]}",
            "f:1:81  bgp.filters[0].rules[0].asPath.prefix: begins with another AS than asPath.first: the rule could match nothing",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, asPath: {}}]}]}",
            "f:1:60  bgp.filters[0].rules[0].asPath: asPath is empty; write for instance \"asPath: {contains: [65001]}\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: accept, communities: {any: ['65536:1']}}]}]}",
            "f:1:72  bgp.filters[0].rules[0].communities.any[0]: \"65536:1\" is not a community or a pattern of them; accepted are 65001:1, 65001:*, large ones such as 65001:1:*, extended ones such as rt:65001:*, rt:* or 0x and 16 hexadecimal digits, and no-export, no-advertise, no-export-subconfed, graceful-shutdown, blackhole, llgr-stale, no-llgr",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: reject, set: {med: 1}}]}]}",
            "f:1:57  bgp.filters[0].rules[0].set: a rule that rejects changes nothing; leave it out, or accept or continue",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {}}]}]}",
            "f:1:41  bgp.filters[0].rules[0].set: set is empty; write for instance \"set: {localPref: 200}\"",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {med: 1, addMed: -5}}]}]}",
            "f:1:58  bgp.filters[0].rules[0].set.addMed: one of med, addMed and removeMed is enough",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {addMed: 1.5}}]}]}",
            "f:1:50  bgp.filters[0].rules[0].set.addMed: \"1.5\" is not a whole number from -4294967295 to 4294967295",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {prepend: {times: 33}}}]}]}",
            "f:1:59  bgp.filters[0].rules[0].set.prepend.times: \"33\" is not a whole number from 1 to 32",
        ),
        (
            "bgp: {filters: [{name: f, rules: [{set: {addCommunities: ['65001:*']}}]}]}",
            "f:1:59  bgp.filters[0].rules[0].set.addCommunities[0]: \"65001:*\" is not a community; accepted are 65001:1, large ones such as 65001:1:2, extended ones such as rt:65001:1, ro:10.0.0.1:1 or 0x and 16 hexadecimal digits, and no-export, no-advertise, no-export-subconfed, graceful-shutdown, blackhole, llgr-stale, no-llgr",
        ),
        (
            "bgp: {filters: [{name: f, otherwise: pass, rules: []}]}",
            "f:1:38  bgp.filters[0].otherwise: \"pass\" is not accepted here; accepted: accept, reject",
        ),
        (
            "bgp: {filters: [{name: f, rules: []}, {name: f, rules: []}]}",
            "f:1:46  bgp.filters[1].name: \"f\" is the name of another filter, at f:1:24",
        ),
        // routes, source, control
        (
            "routes: {metric: -1}",
            "f:1:18  routes.metric: \"-1\" is not a whole number from 1 to 4294967295",
        ),
        (
            "routes: {hashPolicy: ports}",
            "f:1:22  routes.hashPolicy: \"ports\" is not accepted here; accepted: l3, l4, inner",
        ),
        (
            "routes: {startupHold: 2h}",
            "f:1:23  routes.startupHold: \"2h\" is out of range; accepted are 0s to 1h",
        ),
        (
            "source: {path: /x}",
            "f:1:9  source: kind is missing; write for instance \"kind: kubernetes\"",
        ),
        (
            "source: {kind: files}",
            "f:1:9  source: path is missing; write for instance \"path: /etc/brindle/manifests\"",
        ),
        (
            "source: {kind: kubernets, path: /x}",
            "f:1:16  source.kind: \"kubernets\" is not accepted here; accepted: files, kubernetes; did you mean \"kubernetes\"?",
        ),
        (
            "source: {kind: kubernetes, path: /x}",
            "f:1:28  source: unknown field \"path\"; accepted here: kind, kubeconfig, context, holdDeletions",
        ),
        (
            "source: {kind: files, path: /x, context: lab}",
            "f:1:33  source: unknown field \"context\"; accepted here: kind, path",
        ),
        (
            "source: {kind: kubernetes, kubeconfig: config}",
            "f:1:40  source.kubeconfig: \"config\" is not a path from the root, such as /etc/brindle",
        ),
        (
            "source: {kind: kubernetes, context: ''}",
            "f:1:37  source.context: is empty; accepted is the name of a context of the kubeconfig",
        ),
        (
            "source: {kind: kubernetes, holdDeletions: 2h}",
            "f:1:43  source.holdDeletions: \"2h\" is out of range; accepted are 0s to 1h",
        ),
        (
            "source: {kind: files, path: manifests}",
            "f:1:29  source.path: \"manifests\" is not a path from the root, such as /etc/brindle",
        ),
        (
            "policy: {enabled: true}",
            "f:1:19  policy.enabled: policies and the pods that they are about come from the source, and there is none; write \"source: {kind: kubernetes}\" or for instance \"source: {kind: files, path: /etc/brindle/manifests}\"",
        ),
        (
            "policy: {backend: nftables}",
            "f:1:19  policy.backend: \"nftables\" is not accepted here; accepted: auto, nft, legacy",
        ),
        (
            "policy: {establishedFlows: keepp}",
            "f:1:28  policy.establishedFlows: \"keepp\" is not accepted here; accepted: keep, recheck; did you mean \"keep\"?",
        ),
        (
            "policy: {flowLog: {group: 65536}}",
            "f:1:27  policy.flowLog.group: \"65536\" is not a whole number from 0 to 65535",
        ),
        (
            "policy: {flowLog: {perSecond: 0}}",
            "f:1:31  policy.flowLog.perSecond: \"0\" is not a whole number from 1 to 10000",
        ),
        (
            "policy: {auditInterval: 0}",
            "f:1:25  policy.auditInterval: \"0\" is out of range; accepted are 1s to 1h",
        ),
        (
            "policy: {hostEndpoints: {failsafeInbound: ['tcp:22', 'tcp:6443', 'tcp:10250']}}",
            "f:1:43  policy.hostEndpoints.failsafeInbound: TCP 179 is not among them, so that a policy on nodes could end BGP and with it all routes; add \"tcp:179\", or write \"withoutBGP: true\" beside it if that is meant",
        ),
        (
            "{bgp: {listen: {port: 1179}}, policy: {hostEndpoints: {failsafeOutbound: ['tcp:179', 'tcp:6443']}}}",
            "f:1:74  policy.hostEndpoints.failsafeOutbound: TCP 1179 is not among them, so that a policy on nodes could end BGP and with it all routes; add \"tcp:1179\", or write \"withoutBGP: true\" beside it if that is meant",
        ),
        (
            "policy: {hostEndpoints: {failsafeInbound: ['ssh']}}",
            "f:1:44  policy.hostEndpoints.failsafeInbound[0]: \"ssh\" is not a port with its protocol; accepted is for instance tcp:22, tcp:10.0.0.0/8:22, udp:[fd00::/8]:546 or {protocol: TCP, port: 22, net: 10.0.0.0/8}",
        ),
        (
            "policy: {hostEndpoints: {defaultEndpointToHostAction: ACCEPT}}",
            "f:1:55  policy.hostEndpoints.defaultEndpointToHostAction: \"ACCEPT\" is not accepted here; accepted: Accept, Drop, Return; did you mean \"Accept\"?",
        ),
        (
            "cni: {enabled: true}",
            "f:1:16  cni.enabled: pods' addresses come from node.podCIDRs or from the source's Node, and there is neither",
        ),
        ("cni: {mtu: 100}", "f:1:12  cni.mtu: \"100\" is not a whole number from 576 to 65535"),
        (
            "cni: {chain: [portmap, firewall]}",
            "f:1:24  cni.chain[1]: \"firewall\" is not accepted here; accepted: portmap, bandwidth",
        ),
        (
            "cni: {chain: [portmap, portmap]}",
            "f:1:24  cni.chain[1]: the plug-in stands here already, at f:1:15",
        ),
        (
            "cni: {dataDir: data}",
            "f:1:16  cni.dataDir: \"data\" is not a path from the root, such as /etc/brindle",
        ),
        (
            "telemetry: {listen: [9798]}",
            "f:1:22  telemetry.listen[0]: \"9798\" is not an address with a port; accepted is for instance 127.0.0.1:9798 or [::1]:9798",
        ),
        (
            "telemetry: {listen: ['127.0.0.1:0']}",
            "f:1:22  telemetry.listen[0]: \"127.0.0.1:0\" has no port that anybody could know",
        ),
        (
            "telemetry: {listen: ['[::1]:80', '[0::1]:80']}",
            "f:1:34  telemetry.listen[1]: [::1]:80 stands here already, at f:1:22",
        ),
        (
            "control: {socket: x.sock}",
            "f:1:19  control.socket: \"x.sock\" is not a path from the root, such as /etc/brindle",
        ),
        (
            &format!("control: {{socket: /{}}}", "x".repeat(107)),
            "f:1:19  control.socket: the path has 108 octets; a UNIX socket takes at most 107",
        ),
        // What a file holds never reaches the terminal as it is.
        (
            "\"a\\e[2Jb\": 1",
            "f:1:1  unknown field \"a\\u{1b}[2Jb\"; accepted here: node, bgp, routes, policy, cni, source, control, telemetry",
        ),
    ] {
        let got = errors(text);
        if got != [want] {
            wrong.push(format!("{text}\n  want {want}\n  got  {}", got.join("\n       ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_mistakes_are_named_in_the_order_of_the_file() {
    let text = "\
node:
  addresses: [10.0.0.300]
bgp:
  asNumber: 0
  pears: []
  peers:
    - {name: a, peerIP: 10.0.0.9, asNumber: 64512, holdTime: 1s, importFilters: [nope]}
    - {name: b, peerIP: 10.0.0.9, asNumber: 64512}
";
    assert_eq!(
        errors(text),
        [
            "f:2:15  node.addresses[0]: \"10.0.0.300\" is not an IP address; accepted is for instance 10.0.0.1 or fd00::1",
            "f:4:13  bgp.asNumber: \"0\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10",
            "f:5:3  bgp: unknown field \"pears\"; did you mean \"peers\"?",
            "f:7:62  bgp.peers[0].holdTime: hold time 1 s is not allowed; accepted are 0 (off) and 3 to 65535 s",
            "f:7:82  bgp.peers[0].importFilters[0]: there is no filter \"nope\"; bgp.filters has none yet",
            "f:8:25  bgp.peers[1].peerIP: 10.0.0.9 is the address of another peer, at f:7:25",
        ]
    );
}

#[test]
fn what_is_allowed_but_doubtful_is_a_warning() {
    for (text, want) in [
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 65001}]}",
            vec![
                "f:1:15  bgp.peers[0]: importFilters and exportFilters missing for an external peer: nothing is taken from it or told to it (RFC 8212); an empty list accepts everything",
            ],
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 65001, importFilters: []}]}",
            vec![
                "f:1:15  bgp.peers[0]: exportFilters missing for an external peer: nothing is told to it (RFC 8212); an empty list accepts everything",
            ],
        ),
        ("bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512}]}", vec![]),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 65001, importFilters: [], exportFilters: [], reachableBy: 10.0.0.1}]}",
            vec![
                "f:1:111  bgp.peers[0].reachableBy: packets to an external peer reach no farther than the gateway without ebgpMultihop, for instance \"ebgpMultihop: 2\"",
            ],
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, ebgpMultihop: 2}]}",
            vec![
                "f:1:74  bgp.peers[0].ebgpMultihop: says nothing for a peer in our own AS: it may be any number of hops away",
            ],
        ),
        (
            "source: {kind: files, path: /m}\nbgp: {services: {clusterIPs: [10.96.0.0/12], hostRoutes: [externalIPs]}}",
            vec![
                "f:2:59  bgp.services.hostRoutes[0]: externalIPs has no blocks in which addresses would be announced",
            ],
        ),
        (
            "bgp: {services: {clusterIPs: [10.96.0.0/12]}}",
            vec![
                "f:1:6  bgp: services says nothing without source, which tells what Services there are",
            ],
        ),
        (
            "bgp: {enabled: false, networks: [192.0.2.0/24]}",
            vec!["f:1:6  bgp: peers and networks say nothing while bgp.enabled is false"],
        ),
        (
            "bgp: {nodeToNodeMesh: {maxPrefixes: {ipv4: 9, action: warn, retryAfter: 1m}}}",
            vec![
                "f:1:73  bgp.nodeToNodeMesh.maxPrefixes.retryAfter: says nothing with action warn: the session goes on",
            ],
        ),
        ("telemetry: {listen: ['127.0.0.2:80', '[::1]:80']}", vec![]),
        (
            "telemetry: {listen: ['0.0.0.0:9798']}",
            vec![
                "f:1:22  telemetry.listen[0]: 0.0.0.0:9798 can be reached from other hosts; whoever can reach it can read the metrics",
            ],
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: reject}, {action: accept}]}]}",
            vec![
                "f:1:24  bgp.filters[0].name: no peer uses the filter \"f\"",
                "f:1:53  bgp.filters[0].rules[1]: never reached: the rule before it matches everything",
            ],
        ),
        (
            "bgp: {filters: [{name: f, rules: [{action: reject, cidr: 10.0.0.0/8}, {set: {med: 1}}, {action: accept, cidr: 10.1.0.0/16, communities: {any: ['1:1']}}, {action: accept, communities: {any: ['1:1']}}, {set: {addCommunities: ['1:1']}}, {action: reject, communities: {any: ['1:1']}}, {action: continue}]}]}",
            vec![
                "f:1:24  bgp.filters[0].name: no peer uses the filter \"f\"",
                "f:1:88  bgp.filters[0].rules[2]: never reached: rules[0] matches all that it would",
                "f:1:291  bgp.filters[0].rules[6].action: a rule that goes on and changes nothing does nothing",
            ],
        ),
        (
            "bgp: {listen: {addresses: ['::']}}",
            vec![
                "f:1:28  bgp.listen.addresses[0]: :: listens on every address of the host; name those that peers dial",
            ],
        ),
        (
            "{bgp: {enabled: false}, policy: {hostEndpoints: {failsafeInbound: ['tcp:6443', 'tcp:10250'], failsafeOutbound: ['udp:6443']}}}",
            vec![
                "f:1:67  policy.hostEndpoints.failsafeInbound: TCP 22, SSH, is not among them; a mistake in a policy on nodes can close it",
                "f:1:112  policy.hostEndpoints.failsafeOutbound: TCP 6443, the API server, is not among them; a mistake in a policy on nodes can close it",
            ],
        ),
        (
            "policy: {hostEndpoints: {withoutBGP: true, failsafeInbound: ['22', '6443', '10250'], failsafeOutbound: ['6443']}}",
            vec![],
        ),
        (
            "bgp: {asNumber: 65535}",
            vec!["f:1:17  bgp.asNumber: AS 65535 is reserved (RFC 7300); routers may refuse it"],
        ),
        (
            "node: {addresses: [127.0.0.1]}",
            vec![
                "f:1:20  node.addresses[0]: 127.0.0.1: no other node can reach a loopback address",
            ],
        ),
    ] {
        assert_eq!(warnings(text), want, "{text}");
    }
}
