//! The configuration files of a lab's speakers, as an administrator would write them.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use super::plan::{NODE_ASN, Node, Plan, RACK_BRIDGE, TrunkEnd};

/// The `v1` Node object of `node`, as the API server would hand it out.
pub fn manifest(node: &Node) -> String {
    let cidrs: Vec<_> = node.pod_cidrs.iter().map(ToString::to_string).collect();
    let object = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"brindle.dev/rack": format!("rack{}", node.rack + 1)}},
        "spec": {"podCIDR": cidrs.first(), "podCIDRs": cidrs},
        "status": {"addresses": node
            .ips()
            .map(|ip| serde_json::json!({"type": "InternalIP", "address": ip.to_string()}))
            .collect::<Vec<_>>()},
    });
    serde_yaml::to_string(&object).expect("plain text and lists are YAML")
}

/// `brindle.yaml` of a node: the mesh from the manifests, and its rack's router as a peer.
pub fn node_config(plan: &Plan, node: &Node, dir: &Path) -> String {
    let tor = &plan.tors[node.rack];
    let peers = tor.ips().map(|ip| Peer {
        name: peer_name(&tor.name, ip),
        ip,
        asn: tor.asn,
        filter: "cluster-only",
    });
    let mut text = format!(
        "# Node {name} of a lab.\n\
         node:\n\
         \x20 name: {name}\n\
         \x20 addresses: {addresses}\n\
         \x20 podCIDRs: {cidrs}\n\
         bgp:\n\
         \x20 asNumber: {NODE_ASN}\n\
         \x20 nodeToNodeMesh: {{enabled: true}}\n",
        name = node.name,
        addresses = list(node.ips()),
        cidrs = list(node.pod_cidrs.iter()),
    );
    push_peers(&mut text, peers);
    push_filter(&mut text, "cluster-only", &plan.cluster_cidrs(), None);
    push(&mut text, format_args!("source: {{kind: files, path: {}}}", quoted(dir, "manifests")));
    push_control(&mut text, dir, &node.name);
    text
}

/// `brindle.yaml` of the router with this index: its nodes and the other routers as peers.
pub fn tor_config(plan: &Plan, index: usize, dir: &Path) -> String {
    let tor = &plan.tors[index];
    let nodes = plan.nodes.iter().filter(|n| n.rack == index).flat_map(|node| {
        node.ips().map(|ip| Peer {
            name: peer_name(&node.name, ip),
            ip,
            asn: NODE_ASN,
            filter: "cluster-only",
        })
    });
    let routers = trunks(plan, index).flat_map(|(_, there)| {
        let other = &plan.tors[there.tor];
        there.addresses.iter().map(|address| Peer {
            name: peer_name(&other.name, address.ip()),
            ip: address.ip(),
            asn: other.asn,
            filter: "fabric",
        })
    });
    let listen = trunks(plan, index).flat_map(|(here, _)| here.addresses.iter().map(IpNetwork::ip));
    let mut text = format!(
        "# Top-of-rack router {name} of a lab.\n\
         node:\n\
         \x20 name: {name}\n\
         \x20 addresses: {addresses}\n\
         bgp:\n\
         \x20 asNumber: {asn}\n\
         \x20 listen: {{addresses: {listen}}}\n\
         \x20 nodeToNodeMesh: {{enabled: false}}\n\
         \x20 networks: {networks}\n",
        name = tor.name,
        addresses = list(tor.ips()),
        asn = tor.asn,
        listen = list(tor.ips().chain(listen)),
        networks = list(tor.subnets()),
    );
    push_peers(&mut text, nodes.chain(routers));
    push_filter(&mut text, "cluster-only", &plan.cluster_cidrs(), None);
    push_filter(&mut text, "fabric", &plan.cluster_cidrs(), Some(plan));
    push_control(&mut text, dir, &tor.name);
    text
}

/// `bird.conf` of the router with this index; the same peers and filters in BIRD's words.
pub fn bird_config(plan: &Plan, index: usize) -> String {
    let tor = &plan.tors[index];
    let families: &[u8] = if tor.addresses.len() > 1 { &[4, 6] } else { &[4] };
    let mut text = format!(
        "# Top-of-rack router {} of a lab.\nlog stderr all;\nrouter id {};\n\
         protocol device {{ scan time 1; }}\n",
        tor.name,
        tor.addresses[0].ip()
    );
    for family in families {
        let pods = &plan.cluster_cidrs()[usize::from(*family == 6)];
        let racks: Vec<_> =
            plan.tors.iter().filter_map(|t| t.subnets().nth(usize::from(*family == 6))).collect();
        let racks = list_with(racks.iter(), "[", "]");
        push(
            &mut text,
            format_args!(
                "protocol direct {{ ipv{family}; interface \"{RACK_BRIDGE}\"; }}\n\
             protocol kernel {{ ipv{family} {{ import none; export where source = RTS_BGP; }}; \
             merge paths on; }}\n\
             filter pods{family} {{ if net ~ [ {pods}+ ] then accept; reject; }}\n\
             filter fabric{family} {{ if net ~ [ {pods}+ ] || net ~ {racks} then accept; reject; }}\n\
             template bgp rack{family} {{\n\
             \x20 local as {asn};\n\
             \x20 connect delay time 1; connect retry time 1; error wait time 1, 5;\n\
             \x20 ipv{family} {{ import filter pods{family}; export filter pods{family}; next hop self; }};\n\
             }}\n\
             template bgp fabric_peer{family} {{\n\
             \x20 local as {asn};\n\
             \x20 connect delay time 1; connect retry time 1; error wait time 1, 5;\n\
             \x20 ipv{family} {{ import filter fabric{family}; export filter fabric{family}; next hop self; }};\n\
             }}",
                asn = tor.asn,
            ),
        );
    }
    let mut session = |name: &str, template: &str, ip: IpAddr, asn: u32| {
        let (family, suffix) = if ip.is_ipv6() { (6, "_v6") } else { (4, "") };
        push(
            &mut text,
            format_args!(
                "protocol bgp {name}{suffix} from {template}{family} {{ neighbor {ip} as {asn}; }}"
            ),
        );
    };
    for node in plan.nodes.iter().filter(|n| n.rack == index) {
        node.ips().for_each(|ip| session(&node.name, "rack", ip, NODE_ASN));
    }
    for (_, there) in trunks(plan, index) {
        let other = &plan.tors[there.tor];
        for address in &there.addresses {
            session(&other.name, "fabric_peer", address.ip(), other.asn);
        }
    }
    text
}

/// The router's ends of its trunks, each with the other end.
fn trunks(plan: &Plan, index: usize) -> impl Iterator<Item = (&TrunkEnd, &TrunkEnd)> {
    plan.trunks.iter().filter_map(move |trunk| match &trunk.ends {
        [a, b] if a.tor == index => Some((a, b)),
        [a, b] if b.tor == index => Some((b, a)),
        _ => None,
    })
}

struct Peer {
    name: String,
    ip: IpAddr,
    asn: u32,
    filter: &'static str,
}

fn peer_name(name: &str, ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("{name}-v6") } else { name.to_owned() }
}

fn push_peers(text: &mut String, peers: impl Iterator<Item = Peer>) {
    push(text, format_args!("  peers:"));
    for Peer { name, ip, asn, filter } in peers {
        push(
            text,
            format_args!(
                "    - {{name: {name}, peerIP: \"{ip}\", asNumber: {asn}, importFilters: [{filter}], exportFilters: [{filter}]}}"
            ),
        );
    }
    push(text, format_args!("  filters:"));
}

/// A filter that lets pass what lies in `cidrs`, and with `racks` their subnets, nothing else.
fn push_filter(text: &mut String, name: &str, cidrs: &[IpNetwork], racks: Option<&Plan>) {
    push(text, format_args!("    - name: {name}\n      rules:"));
    let inside = cidrs.iter().map(|c| (*c, c.prefix(), if c.is_ipv6() { 128 } else { 32 }));
    let racks = racks.iter().flat_map(|p| p.tors.iter().flat_map(super::plan::Tor::subnets));
    for (cidr, from, to) in inside.chain(racks.map(|s| (s, s.prefix(), s.prefix()))) {
        push(
            text,
            format_args!(
                "        - {{action: accept, cidr: \"{cidr}\", prefixLengths: {from}-{to}}}"
            ),
        );
    }
    push(text, format_args!("        - {{action: reject}}"));
}

fn push_control(text: &mut String, dir: &Path, name: &str) {
    let socket = quoted(&dir.join(name), "brindle.sock");
    push(text, format_args!("control: {{socket: {socket}}}"));
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

/// A path as a double-quoted YAML scalar, which reads escapes as JSON writes them.
fn quoted(dir: &Path, file: &str) -> String {
    serde_json::Value::from(dir.join(file).to_string_lossy()).to_string()
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.map(|item| format!("\"{}\"", item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

fn list_with(items: impl Iterator<Item = impl ToString>, open: &str, close: &str) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    format!("{open} {} {close}", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{FIRST_TOR_ASN, Options, TorKind};

    fn plan(nodes: u8, tors: u8, dual_stack: bool) -> Plan {
        let name = "demo".parse().expect("a good name");
        let options = Options { name, nodes, tors, pods: 1, dual_stack, tor: TorKind::Brindle };
        Plan::new(&options).expect("within limits")
    }

    #[test]
    fn every_file_is_yaml_and_names_what_it_must() {
        for (nodes, tors, dual_stack) in [(3, 1, false), (3, 1, true), (5, 3, true)] {
            let plan = plan(nodes, tors, dual_stack);
            let dir = Path::new("/run/brindle-lab/demo");
            let row = format!("{nodes} nodes, {tors} ToRs, dual stack {dual_stack}");
            let read = |text: String| -> serde_json::Value {
                serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{row}: {e}\n{text}"))
            };
            let families = if dual_stack { 2 } else { 1 };
            for node in &plan.nodes {
                let config = read(node_config(&plan, node, dir));
                assert_eq!(config["node"]["name"], node.name.as_str(), "{row}");
                assert_eq!(config["bgp"]["peers"].as_array().map(Vec::len), Some(families));
                assert_eq!(config["source"]["path"], "/run/brindle-lab/demo/manifests");
                let object = read(manifest(node));
                let cidrs = object["spec"]["podCIDRs"].as_array().map(Vec::len);
                assert_eq!(cidrs, Some(families), "{row}");
            }
            for (index, tor) in plan.tors.iter().enumerate() {
                let config = read(tor_config(&plan, index, dir));
                assert_eq!(config["bgp"]["asNumber"], FIRST_TOR_ASN + index as u32, "{row}");
                let own = plan.nodes.iter().filter(|n| n.rack == index).count();
                let peers = (own + plan.tors.len() - 1) * families;
                assert_eq!(config["bgp"]["peers"].as_array().map(Vec::len), Some(peers), "{row}");
                let socket = format!("/run/brindle-lab/demo/{}/brindle.sock", tor.name);
                assert_eq!(config["control"]["socket"], socket, "{row}");
            }
        }
    }

    #[test]
    fn bird_has_one_session_for_each_peer_and_family() {
        let plan = plan(5, 2, true);
        let text = bird_config(&plan, 0);
        let sessions = text.lines().filter(|l| l.starts_with("protocol bgp ")).count();
        let own = plan.nodes.iter().filter(|n| n.rack == 0).count();
        assert_eq!(sessions, (own + 1) * 2, "{text}");
    }
}
