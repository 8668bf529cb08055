//! From kube-router: the flags of its DaemonSet and the annotations of Nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Imported;
use super::draft::Peer;
use super::object::{annotation, flat, kind, name, title};

/// What kube-router's annotations begin with.
const ANNOTATION: &str = "kube-router.io/";
/// The AS that kube-router and brindle are in if nobody says another.
const DEFAULT_AS: u32 = 64512;

/// Flags that say nothing about what packets do, or that brindle has no need of.
const WITHOUT_MEANING: [&str; 18] = [
    "cache-sync-timeout",
    "cleanup-config",
    "health-port",
    "health-addr",
    "help",
    "injected-routes-sync-period",
    "ipset-debug",
    "iptables-sync-period",
    "ipvs-sync-period",
    "metrics-path",
    "metrics-port",
    "metrics-addr",
    "routes-sync-period",
    "runtime-endpoint",
    "v",
    "vmodule",
    "version",
    "enable-pprof",
];
/// Flags of its Service proxy.
const OF_PROXY: [&str; 9] = [
    "hairpin-mode",
    "ipvs-graceful-period",
    "ipvs-graceful-termination",
    "ipvs-permit-all",
    "masquerade-all",
    "nodeport-bindon-all-ip",
    "service-cluster-ip-range",
    "service-external-ip-range",
    "service-node-port-range",
];
/// Flags that advertise addresses of Services.
const OF_SERVICES: [&str; 6] = [
    "advertise-cluster-ip",
    "advertise-external-ip",
    "advertise-loadbalancer-ip",
    "loadbalancer-ip-range",
    "loadbalancer-default-class",
    "run-loadbalancer",
];

/// A configuration for `node`, or what is the same for all nodes if none is named.
pub fn import(objects: &[Value], node: Option<&str>) -> Imported {
    let objects: Vec<&Value> = objects.iter().flat_map(flat).collect();
    let mut imported = Imported::default();
    let found = objects.iter().find_map(|object| Some((title(object), flags(object)?)));
    match found {
        Some((title, flags)) => settings(&title, &flags, &mut imported),
        None => imported.refuse(
            "DaemonSet kube-system/kube-router",
            "",
            "is not among the objects, so its flags are not known: name a file with it by -f",
        ),
    }
    let ours = imported.config.bgp.as_number.unwrap_or(DEFAULT_AS);
    for object in objects.iter().filter(|object| kind(object) == "Node") {
        annotations(object, node == Some(name(object)), ours, &mut imported);
    }
    imported
}

/// The flags of a container that is kube-router, by name; those without a value are `true`.
fn flags(object: &Value) -> Option<BTreeMap<String, String>> {
    let spec = match kind(object) {
        "DaemonSet" => &object["spec"]["template"]["spec"],
        "Pod" => &object["spec"],
        _ => return None,
    };
    let containers = spec["containers"].as_array()?;
    let is_router = |container: &&Value| {
        container["image"].as_str().is_some_and(|image| image.contains("kube-router"))
    };
    let container = containers.iter().find(is_router)?;
    let lists = [&container["command"], &container["args"]];
    let words: Vec<&str> = lists
        .into_iter()
        .flat_map(|list| list.as_array().into_iter().flatten().filter_map(Value::as_str))
        .collect();
    let mut flags = BTreeMap::new();
    for (index, word) in words.iter().enumerate() {
        let Some(flag) = word.strip_prefix("--") else { continue };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, value),
            // A value may be the next word.
            None => match words.get(index + 1) {
                Some(next) if !next.starts_with('-') => (flag, *next),
                _ => (flag, "true"),
            },
        };
        flags.insert(flag.to_owned(), value.trim_matches('"').to_owned());
    }
    Some(flags)
}

fn settings(title: &str, flags: &BTreeMap<String, String>, imported: &mut Imported) {
    let is = |flag: &str, otherwise: bool| {
        flags.get(flag).map_or(otherwise, |value| matches!(&**value, "true" | "1" | "t" | "T"))
    };
    let refuse = |imported: &mut Imported, flag: &str, reason: &str| {
        imported.refuse(title, format!("--{flag}"), reason);
    };
    if !is("run-router", true) {
        imported.config.bgp.enabled = Some(false);
    }
    if !is("run-firewall", true) {
        imported.config.policy.enabled = Some(false);
    }
    if is("run-service-proxy", true) {
        imported.to_do.push(
            "start kube-proxy first: kube-router was the cluster's Service proxy, and brindle is none"
                .to_owned(),
        );
    }
    if is("enable-overlay", true) {
        let reason = "brindle encapsulates nothing: nodes of one subnet route directly as before, \
                      and between subnets the fabric has to route pod ranges (see docs/fabrics.md)";
        refuse(imported, "enable-overlay", reason);
    }
    imported.config.policy.masquerade = Some(is("enable-pod-egress", true));
    imported.config.cni.enabled = is("enable-cni", true).then_some(true);
    imported.config.bgp.as_number = flags.get("cluster-asn").and_then(|text| text.parse().ok());
    imported.config.bgp.listen.port =
        flags.get("bgp-port").and_then(|text| text.parse().ok()).filter(|port| *port != 179);
    if is("bgp-graceful-restart", false) {
        imported.config.bgp.graceful_restart.restart_time =
            flags.get("bgp-graceful-restart-time").cloned();
    }
    imported.config.bgp.hold_time = flags.get("bgp-holdtime").cloned();
    if !is("enable-ibgp", true) || !is("nodes-full-mesh", true) {
        imported.config.bgp.node_to_node_mesh.enabled = Some(false);
    }
    let list = |flag: &str| flags.get(flag).map_or("", String::as_str);
    let peers = Peers {
        addresses: list("peer-router-ips"),
        numbers: list("peer-router-asns"),
        ports: list("peer-router-ports"),
        prefix: "router",
    };
    let ours = imported.config.bgp.as_number.unwrap_or(DEFAULT_AS);
    let is_own_next_hop = is("override-nexthop", false);
    peers.add(title, "--peer-router-ips", ours, is_own_next_hop, imported);
    for (flag, value) in flags {
        let says = !matches!(&**value, "" | "false");
        match &**flag {
            "run-router"
            | "run-firewall"
            | "run-service-proxy"
            | "enable-overlay"
            | "enable-pod-egress"
            | "enable-cni"
            | "cluster-asn"
            | "bgp-port"
            | "bgp-holdtime"
            | "enable-ibgp"
            | "nodes-full-mesh"
            | "peer-router-ips"
            | "peer-router-asns"
            | "peer-router-ports"
            | "override-nexthop"
            | "overlay-type"
            | "overlay-encap"
            | "overlay-encap-port"
            | "enable-ipv4"
            | "enable-ipv6"
            | "advertise-pod-cidr"
            | "bgp-graceful-restart"
            | "bgp-graceful-restart-time"
            | "bgp-graceful-restart-deferral-time" => {}
            "kubeconfig" | "master" => imported.to_do.push(format!(
                "the API server is named by --{flag}={value}: say source.kubeconfig, unless the \
                 agent runs in a pod"
            )),
            "auto-mtu" if !says => refuse(imported, flag, "say cni.mtu"),
            "auto-mtu" => {}
            "excluded-cidrs" | "disable-source-dest-check" if !says => {}
            known if WITHOUT_MEANING.contains(&known) => {}
            proxy if OF_PROXY.contains(&proxy) => {
                refuse(imported, proxy, "is about Services, which kube-proxy takes over");
            }
            services if OF_SERVICES.contains(&services) && says => refuse(
                imported,
                services,
                "brindle does not advertise addresses of Services yet: bgp.networks advertises \
                 fixed ones",
            ),
            services if OF_SERVICES.contains(&services) => {}
            "peer-router-passwords" | "peer-router-passwords-file" if says => {
                refuse(imported, flag, WITHOUT_PASSWORD);
            }
            other if says => refuse(imported, other, "brindle has no such setting"),
            _ => {}
        }
    }
}

const WITHOUT_PASSWORD: &str = "brindle takes a password from a file, which an import does not \
                                write: add password: {file: ...}, or the peer will not come up";

/// Peers as lists with commas between.
struct Peers<'t> {
    addresses: &'t str,
    numbers: &'t str,
    ports: &'t str,
    prefix: &'t str,
}

impl Peers<'_> {
    fn add(
        &self,
        title: &str,
        field: &str,
        ours: u32,
        own_next_hop: bool,
        imported: &mut Imported,
    ) {
        let items = |text: &str| -> Vec<String> {
            text.split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect()
        };
        let (numbers, ports) = (items(self.numbers), items(self.ports));
        for (index, address) in items(self.addresses).into_iter().enumerate() {
            let Some(number) = numbers.get(index).and_then(|text| text.parse().ok()) else {
                imported.refuse(title, field, format!("{address} has no AS number"));
                continue;
            };
            if address.parse::<std::net::IpAddr>().is_err() {
                imported.refuse(title, field, format!("{address:?} is not an address"));
                continue;
            }
            let is_external = number != ours;
            let filters = || is_external.then(Vec::new);
            imported.config.bgp.peers.push(Peer {
                name: format!("{}-{}", self.prefix, index + 1),
                peer_ip: address,
                port: ports.get(index).and_then(|text| text.parse().ok()).filter(|p| *p != 179),
                as_number: number,
                import_filters: filters(),
                export_filters: filters(),
                next_hop_mode: own_next_hop.then_some("Self"),
                ..Peer::default()
            });
        }
    }
}

fn annotations(node: &Value, is_this: bool, ours: u32, imported: &mut Imported) {
    let (title, name) = (title(node), name(node));
    let of = |key: &str| annotation(node, &format!("{ANNOTATION}{key}"));
    if let Some(number) = of("node.asn") {
        imported.to_do.push(format!("kubectl annotate node {name} brindle.dev/as-number={number}"));
    }
    if let Some(id) = of("rr.server") {
        imported.to_do.push(format!(
            "kubectl annotate node {name} brindle.dev/route-reflector-cluster-id={id}"
        ));
    }
    if let Some(range) = of("pod-cidr").or_else(|| of("pod-cidrs")) {
        let has = node["spec"]["podCIDR"].as_str().unwrap_or_default();
        if has != range {
            let reason = format!(
                "brindle takes the podCIDRs of the Node ({}), or node.podCIDRs of the node's own \
                 configuration",
                if has.is_empty() { "it has none" } else { has }
            );
            imported.refuse(&title, "kube-router.io/pod-cidr", reason);
        }
    }
    if let Some(addresses) = of("peer.ips") {
        if is_this {
            let peers = Peers {
                addresses,
                numbers: of("peer.asns").unwrap_or_default(),
                ports: of("peer.ports").unwrap_or_default(),
                prefix: "peer",
            };
            let ours = of("node.asn").and_then(|text| text.parse().ok()).unwrap_or(ours);
            peers.add(&title, "kube-router.io/peer.ips", ours, false, imported);
        } else {
            let reason = format!("are peers of this node only: import with --node {name}");
            imported.refuse(&title, "kube-router.io/peer.ips", reason);
        }
    }
    let followed = [
        "node.asn",
        "rr.server",
        // Whoever reflects no routes is a client of those that do.
        "rr.client",
        "pod-cidr",
        "pod-cidrs",
        "peer.ips",
        "peer.asns",
        "peer.ports",
    ];
    let all = node["metadata"]["annotations"].as_object().into_iter().flatten();
    for (key, value) in all {
        let Some(own) = key.strip_prefix(ANNOTATION) else { continue };
        if followed.contains(&own) || value.as_str() == Some("") {
            continue;
        }
        let reason = match own {
            "peer.passwords" => WITHOUT_PASSWORD,
            _ => "brindle has no such setting of a node",
        };
        imported.refuse(&title, key.as_str(), reason);
    }
}
