//! What is said of mistakes in `routes`, `source`, `policy`, `cni`, `telemetry` and `control`.

use super::named;

#[test]
fn each_mistake_about_the_other_parts_is_named() {
    named(&[
        (
            "routes: {metric: -1}",
            "f:1:18  routes.metric: \"-1\" is not a whole number from 1 to 4294967295",
        ),
        (
            "routes: {hashPolicy: ports}",
            "f:1:22  routes.hashPolicy: \"ports\" is not accepted here; accepted: l3, l4, inner",
        ),
        (
            "routes: {multipath: sticky}",
            "f:1:21  routes.multipath: \"sticky\" is not accepted here; accepted: plain, resilient",
        ),
        (
            "routes: {multipath: resilient, resilientIdle: 2h}",
            "f:1:47  routes.resilientIdle: \"2h\" is out of range; accepted are 0s to 1h",
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
    ]);
}
