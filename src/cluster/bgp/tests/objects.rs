//! What single objects say, and what is wrong with them.

use brindle_bgp::net::Role;
use brindle_bgp::rib::SendPaths;
use brindle_config::ServiceAddresses;

use super::*;

#[test]
fn wrong_fields_are_named_and_refuse_their_object_alone() {
    let tor = "peerIP: 10.0.0.250, asNumber: 65001";
    let with = |more: &str| format!("{{{tor}, {more}}}");
    let rule = |rule: &str| format!("{{importV4: [{rule}]}}");
    let (peer, filter, configuration) = ("BGPPeer", "BGPFilter", "BGPConfiguration");
    for (kind, spec, want) in [
        (peer, "{}".to_owned(), vec!["spec.peerIP"]),
        (peer, "{peerIP: 10.0.0.250}".to_owned(), vec!["spec.asNumber"]),
        (peer, "{peerIP: tor, asNumber: 0}".to_owned(), vec!["spec.peerIP", "spec.asNumber"]),
        (peer, "{peerIP: '10.0.0.250:0', asNumber: 1}".to_owned(), vec!["spec.peerIP"]),
        (peer, "{peerIP: 'fe80::1', asNumber: 1}".to_owned(), vec!["spec.peerIP"]),
        (peer, "{peerIP: 10.0.0.250, asNumber: {}}".to_owned(), vec!["spec.asNumber"]),
        (peer, with("node: n1, nodeSelector: all()"), vec!["spec.nodeSelector"]),
        (peer, with("nodeSelector: a ="), vec!["spec.nodeSelector"]),
        (peer, with("peerSelector: all()"), vec!["spec.peerSelector"]),
        (peer, "{peerSelector: all(), asNumber: 1}".to_owned(), vec!["spec.asNumber"]),
        (peer, with("reversePeering: Auto"), vec!["spec.reversePeering"]),
        (peer, "{localWorkloadSelector: all()}".to_owned(), vec!["spec.localWorkloadSelector"]),
        (peer, with("nextHopMode: self"), vec!["spec.nextHopMode"]),
        (peer, with("sourceAddress: 10.0.0.1"), vec!["spec.sourceAddress"]),
        (peer, with("maxRestartTime: long"), vec!["spec.maxRestartTime"]),
        (peer, with("maxRestartTime: 2h"), vec!["spec.maxRestartTime"]),
        (peer, with("keepaliveTime: 0s"), vec!["spec.keepaliveTime"]),
        (peer, with("ttlSecurity: 256"), vec!["spec.ttlSecurity"]),
        (peer, with("reachableBy: 'fd00::1'"), vec!["spec.reachableBy"]),
        (peer, with("password: {}"), vec!["spec.password.secretKeyRef.name"]),
        (peer, with("password: {secretKeyRef: {name: a}}"), vec!["spec.password.secretKeyRef.key"]),
        (configuration, "{listenPort: 0}".to_owned(), vec!["metadata.name", "spec.listenPort"]),
        (filter, rule("{}"), vec!["spec.importV4[0].action"]),
        (filter, rule("{action: accept}"), vec!["spec.importV4[0].action"]),
        (
            filter,
            rule("{action: Accept, cidr: 10.0.0.0/8}"),
            vec!["spec.importV4[0].matchOperator"],
        ),
        (
            filter,
            rule("{action: Accept, cidr: 10.0.0.1/8, matchOperator: In}"),
            vec!["spec.importV4[0].cidr"],
        ),
        (
            filter,
            rule("{action: Accept, cidr: 'fd00::/8', matchOperator: In}"),
            vec!["spec.importV4[0].cidr"],
        ),
        (
            filter,
            rule("{action: Accept, prefixLength: {min: 8}}"),
            vec!["spec.importV4[0].prefixLength"],
        ),
        (
            filter,
            rule("{action: Accept, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {max: 4}}"),
            vec!["spec.importV4[0].prefixLength"],
        ),
        (
            filter,
            rule("{action: Reject, operations: [{addCommunity: {value: '1:1'}}]}"),
            vec!["spec.importV4[0].operations"],
        ),
        (
            filter,
            rule("{action: Accept, operations: [{}]}"),
            vec!["spec.importV4[0].operations[0]"],
        ),
        (
            filter,
            rule("{action: Accept, communities: {values: [no-export]}}"),
            vec!["spec.importV4[0].communities.values[0]"],
        ),
    ] {
        let good = object("BGPPeer", "good", &format!("{{{tor}}}"));
        let cluster = cluster(&(object(kind, "bad", &spec) + &good));
        assert_eq!(cluster.wrong, want, "{kind} {spec}");
        assert_eq!(cluster.objects.peers.len(), 1, "the other one: {spec}");
        let none = cluster.objects.filters.len() + cluster.objects.configurations.len();
        assert_eq!(none, 0, "{spec}");
    }
}

#[test]
fn blocks_of_services_and_communities_count_where_brindle_yaml_has_none() {
    let all = object(
        "BGPConfiguration",
        "default",
        "{serviceClusterIPs: [{cidr: 10.96.0.0/12}], serviceLoadBalancerIPs: [{cidr: \
         198.51.100.0/24}], serviceLoadBalancerAggregation: Disabled, communities: [{name: a, \
         value: '65001:1'}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]}",
    );
    let own = object(
        "BGPConfiguration",
        "node.n1",
        "{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: ['65001:1:2']}]}",
    );
    let yaml = |services: &str| {
        let text = format!("source: {{kind: files, path: /m}}\nbgp: {{services: {{{services}}}}}");
        Config::from_yaml("test.yaml", &text).unwrap().bgp
    };
    let objects = cluster(&(all + &own)).objects;
    for (services, node, clusters, communities) in [
        ("", "n1", "10.96.0.0/12", "65001:1:2"),
        ("", "n2", "10.96.0.0/12", "65001:1"),
        ("clusterIPs: [10.97.0.0/16]", "n2", "10.97.0.0/16", "65001:1"),
    ] {
        let bgp = objects.effective(&yaml(services), node);
        assert_eq!(bgp.services.cluster_ips[0].to_string(), clusters, "{services}");
        assert_eq!(bgp.services.load_balancer_ips[0].to_string(), "198.51.100.0/24");
        assert_eq!(bgp.services.host_routes, [ServiceAddresses::LoadBalancer].into());
        let advertised = &bgp.prefix_advertisements;
        assert_eq!(advertised[0].communities[0].to_string(), communities, "{node}");
    }
    for (spec, want) in [
        ("{serviceClusterIPs: [{cidr: 10.96.0.1/12}]}", "spec.serviceClusterIPs[0].cidr"),
        ("{serviceExternalIPs: [{}]}", "spec.serviceExternalIPs[0].cidr"),
        ("{serviceExternalIPs: [{cidr: 0.0.0.0/0}]}", "spec.serviceExternalIPs[0].cidr"),
        ("{serviceClusterIPs: [{cidr: 'ff00::/8'}]}", "spec.serviceClusterIPs[0].cidr"),
        ("{serviceLoadBalancerAggregation: No}", "spec.serviceLoadBalancerAggregation"),
        ("{ipv6NormalRoutePriority: 0}", "spec.ipv6NormalRoutePriority"),
        ("{communities: [{name: a, value: b}]}", "spec.communities[0].value"),
        (
            "{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [b]}]}",
            "spec.prefixAdvertisements[0].communities[0]",
        ),
    ] {
        assert_eq!(cluster(&object("BGPConfiguration", "default", spec)).wrong, [want], "{spec}");
    }
}

#[test]
fn what_is_not_followed_is_said() {
    let blocks = "{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}";
    for (kind, name, spec, want) in [
        ("BGPConfiguration", "node.n1", blocks, vec!["spec.serviceClusterIPs"]),
        ("BGPPeer", "p", "{peerSelector: all(), surprise: 1}", vec!["spec.surprise"]),
        ("BGPPeer", "p", "{peerSelector: all(), asNumber: 0}", vec![]),
        ("BGPConfiguration", "default", "{logSeverityScreen: Info}", vec![]),
        (
            "BGPConfiguration",
            "default",
            "{ignoredInterfaces: [eth9], programClusterRoutes: Disabled}",
            vec!["spec.ignoredInterfaces", "spec.programClusterRoutes"],
        ),
    ] {
        let cluster = cluster(&object(kind, name, spec));
        assert_eq!((cluster.wrong, cluster.idle), (vec![], own(&want)), "{kind} {spec}");
    }
}

const MESHLESS: &str = "bgp: {nodeToNodeMesh: {enabled: false}}";

/// A BGPPeer with the annotation whose keys are those of brindle.yaml.
fn peer_with(name: &str, spec: &str, extras: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {{name: {name}, \
         annotations: {{brindle.dev/peer: \"{extras}\"}}}}, spec: {spec}}}\n"
    )
}

#[test]
fn an_annotation_says_what_a_peer_of_calico_has_no_field_for() {
    let extras = "maxPrefixes: {ipv4: 7}\\naddPaths: {receive: true, send: all}\\nbfd: {}\\nrole: \
                  customer\\ngracefulRestart: false\\npassive: true";
    let tor = "{peerIP: 10.0.0.250, asNumber: 65001}";
    let cluster = cluster(&(nodes() + &peer_with("tor", tor, extras)));
    assert_eq!(cluster.wrong, own(&[]));
    let (peers, skipped) = wanted(&cluster, 1, MESHLESS);
    assert_eq!(skipped, own(&[]));
    let tor = peers.iter().find(|peer| &*peer.rib.name == "tor").expect("a peer");
    assert_eq!(tor.rib.limits.most, [Some(7), None]);
    assert_eq!((tor.rib.send_paths, tor.rib.role), (SendPaths::All, Some(Role::Customer)));
    let session = &tor.session;
    assert!(session.receive_paths && session.send_paths && session.passive && tor.bfd.is_some());
    assert_eq!((session.role, session.role_strict), (Some(Role::Customer), false));
    assert!(session.graceful_restart.is_none());
}

#[test]
fn what_is_wrong_in_the_annotation_refuses_its_object_or_its_session() {
    let (tor, nodes_too) = ("{peerIP: 10.0.0.250, asNumber: 65001}", "{peerSelector: all()}");
    for (spec, extras) in [
        (tor, "maxPrefixes: {}"),
        (tor, "peerIP: 10.0.0.1"),
        (tor, "{"),
        (nodes_too, "passive: true"),
    ] {
        let wrong = cluster(&peer_with("tor", spec, extras)).wrong;
        assert_eq!(wrong, own(&["metadata.annotations[brindle.dev/peer]"]), "{extras}");
    }
    let internal = "{peerIP: 10.0.0.250, asNumber: 64512}";
    let cluster = cluster(&(nodes() + &peer_with("rr", internal, "role: peer")));
    let (_, skipped) = wanted(&cluster, 1, MESHLESS);
    let why =
        "BGPPeer/rr: brindle.dev/peer: role: a peer of our own AS 64512 has no role (RFC 9234)";
    assert_eq!(skipped, own(&[why]));
}

#[test]
fn next_hops_are_kept_as_the_older_field_says_for_external_peers_alone() {
    use NextHopMode::{Auto, Keep, SelfAddress};
    for (spec, want) in [
        ("asNumber: 65001, keepOriginalNextHop: true", Keep),
        ("asNumber: 64512, keepOriginalNextHop: true", Auto),
        ("asNumber: 65001, keepOriginalNextHop: true, nextHopMode: Self", SelfAddress),
        ("asNumber: 64512, nextHopMode: Keep", Keep),
        ("asNumber: 65001", Auto),
    ] {
        let tor = peer("tor", &format!("{{peerIP: 10.0.0.250, {spec}}}"));
        let (peers, _) = wanted(&cluster(&(nodes() + &tor)), 1, MESHLESS);
        let tor = peers.iter().find(|peer| &*peer.rib.name == "tor").expect("a peer");
        assert_eq!(tor.rib.next_hop_mode, want, "{spec}");
    }
}
