//! What is said of mistakes in `bgp.peers`, and in what stands in the section of a peer.

use super::{errors, named};

#[test]
fn each_mistake_about_peers_is_named() {
    named(&[
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
            "bgp: {peers: [{name: a, interface: eth1, asNumber: 64512}, {name: b, peerIP: 'fe80::1%eth1', asNumber: 64512}]}",
            "f:1:78  bgp.peers[1].peerIP: eth1 is the interface of another peer, at f:1:36",
        ),
        (
            "bgp: {peers: [{name: a, interface: eth1, asNumber: extern}]}",
            "f:1:52  bgp.peers[0].asNumber: \"extern\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10, external (any AS but ours) and internal (ours)",
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
            "bgp: {dynamicPeers: [{name: a, cidrs: [10.0.0.0/8], asNumber: 64512, password: {file: /k}, tcpAO: {keys: []}}]}",
            "f:1:99  bgp.dynamicPeers[0].tcpAO: password and tcpAO exclude each other on one session; keep one of them (tcpAO, where both kernels have it)",
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
    ]);
}

const PEER: &str = "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 64512, ";

#[test]
fn each_mistake_about_bfd_is_named() {
    for (bfd, want) in [
        ("yes", "bfd"),
        ("{transmitInterval: 5ms}", "bfd.transmitInterval"),
        ("{receiveInterval: 2m}", "bfd.receiveInterval"),
        ("{multiplier: 0}", "bfd.multiplier"),
        ("{multiplier: 256}", "bfd.multiplier"),
        ("{gracefulRestart: maybe}", "bfd.gracefulRestart"),
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
