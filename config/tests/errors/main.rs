//! What is said of wrong configurations: one row a mistake.

mod bgp;
mod filters;
mod node;
mod parts;
mod peers;

use brindle_config::Config;

/// The lines that `text` as the file `f` is refused with; none if it is accepted.
fn errors(text: &str) -> Vec<String> {
    match Config::from_yaml("f", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = Config::from_yaml_with_warnings("f", text).expect("only doubtful");
    warnings.iter().map(ToString::to_string).collect()
}

/// Whether each text is refused with the line behind it and nothing else.
#[track_caller]
fn named(mistakes: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for &(text, want) in mistakes {
        let got = errors(text);
        if got != [want] {
            wrong.push(format!("{text}\n  want {want}\n  got  {}", got.join("\n       ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_mistake_is_named_with_its_place_and_what_would_be_right() {
    named(&[
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
        // What a file holds never reaches the terminal as it is.
        (
            "\"a\\e[2Jb\": 1",
            "f:1:1  unknown field \"a\\u{1b}[2Jb\"; accepted here: node, bgp, routes, policy, cni, source, control, telemetry",
        ),
    ]);
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
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 65001, importFilters: [], exportFilters: [], ebgpMultihop: 2, bfd: {}}]}",
            vec![
                "f:1:120  bgp.peers[0].bfd: the peer may be 2 hops away, and this is BFD over one (RFC 5881); with a router between, both sides need BFD for several: \"multihop: true\"",
            ],
        ),
        (
            "bgp: {peers: [{name: a, peerIP: 10.0.0.9, asNumber: 65001, importFilters: [], exportFilters: [], ebgpMultihop: 2, bfd: {multihop: true}}]}",
            vec![],
        ),
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
