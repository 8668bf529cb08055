//! The configuration files of a lab's speakers, as an administrator would write them.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;

use super::plan::{NODE_ASN, Node, Options, Plan, RACK_BRIDGE, Tor, TrunkEnd};

/// The file that an agent announces our plug-in by, in the runtime's folder of configurations.
pub const CONFLIST: &str = "10-brindle.conflist";

/// Where the container runtime of node `name` would look for configurations.
pub fn cni_config_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(name).join("net.d")
}

/// The `v1` Node object of `node`, as the API server would hand it out.
pub fn manifest(node: &Node) -> String {
    serde_yaml::to_string(&node_object(node)).expect("plain text and lists are YAML")
}

/// The same as a value.
pub fn node_object(node: &Node) -> serde_json::Value {
    let cidrs: Vec<_> = node.pod_cidrs.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"brindle.dev/rack": format!("rack{}", node.rack + 1)}},
        "spec": {"podCIDR": cidrs.first(), "podCIDRs": cidrs},
        "status": {"addresses": node
            .ips()
            .map(|ip| serde_json::json!({"type": "InternalIP", "address": ip.to_string()}))
            .collect::<Vec<_>>()},
    })
}

/// `brindle.yaml` of a node: the mesh from the Node objects, and its rack's router as a peer.
///
/// Where there is an API server, the node learns from its own Node object who it is.
///
/// The router is told of the node's own pods alone. If it heard of the mesh's routes, too, it
/// would take the way through any node of its rack for a short one to another rack.
pub fn node_config(plan: &Plan, node: &Node, dir: &Path, options: &Options) -> String {
    let tor = &plan.tors[node.rack];
    let peer = tor.ips().next().map(|ip| Peer {
        name: tor.name.clone(),
        ip,
        asn: tor.asn,
        import: "other-racks",
        export: "own-pods",
    });
    let mut text = format!("# Node {name} of a lab.\nnode:\n  name: {name}\n", name = node.name);
    if options.kube.is_none() {
        push(&mut text, format_args!("  addresses: {}", list(node.ips())));
        push(&mut text, format_args!("  podCIDRs: {}", list(node.pod_cidrs.iter())));
    }
    push(&mut text, format_args!("bgp:\n  asNumber: {NODE_ASN}"));
    push(&mut text, format_args!("  nodeToNodeMesh: {{enabled: true}}"));
    push_peers(&mut text, peer.into_iter());
    push_filter(&mut text, "own-pods", exact(node.pod_cidrs.iter().copied()));
    push_filter(&mut text, "other-racks", exact(other_racks(plan, node.rack)));
    let own = dir.join(&node.name);
    if options.kube.is_some() {
        let kubeconfig = quoted(&own, "kubeconfig");
        push(&mut text, format_args!("source: {{kind: kubernetes, kubeconfig: {kubeconfig}}}"));
    } else {
        let path = quoted(dir, "manifests");
        push(&mut text, format_args!("source: {{kind: files, path: {path}}}"));
    }
    let (list, data) = (quoted(&own, "net.d"), quoted(&own, "cni"));
    push(
        &mut text,
        format_args!(
            "cni: {{enabled: true, configDir: {list}, dataDir: {data}, mtu: 1500, chain: []}}"
        ),
    );
    if let Some(backend) = options.policy {
        let backend = backend.as_str();
        push(&mut text, format_args!("policy: {{enabled: true, backend: {backend}}}"));
    }
    push_control(&mut text, dir, &node.name);
    text
}

/// `brindle.yaml` of the router with this index: its nodes and the other routers as peers.
pub fn tor_config(plan: &Plan, index: usize, dir: &Path) -> String {
    let tor = &plan.tors[index];
    // one session for both families: a rack is one wire, so next hops of both are on it
    let nodes = plan.nodes.iter().filter(|n| n.rack == index).filter_map(|node| {
        Some(Peer {
            name: node.name.clone(),
            ip: node.ips().next()?,
            asn: NODE_ASN,
            import: "cluster-only",
            export: "other-racks",
        })
    });
    let routers = trunks(plan, index).flat_map(|(_, there)| {
        let other = &plan.tors[there.tor];
        there.addresses.iter().map(|address| Peer {
            name: peer_name(&other.name, address.ip()),
            ip: address.ip(),
            asn: other.asn,
            import: "fabric",
            export: "fabric",
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
    push_filter(&mut text, "cluster-only", inside(plan.cluster_cidrs()));
    push_filter(&mut text, "other-racks", exact(other_racks(plan, index)));
    let racks = plan.tors.iter().flat_map(Tor::subnets);
    push_filter(&mut text, "fabric", inside(plan.cluster_cidrs()).chain(exact(racks)));
    push_control(&mut text, dir, &tor.name);
    text
}

/// `bird.conf` of the router with this index; the same peers and filters in BIRD's words.
pub fn bird_config(plan: &Plan, index: usize) -> String {
    let tor = &plan.tors[index];
    let asn = tor.asn;
    let mut text = format!(
        "# Top-of-rack router {} of a lab.\nlog stderr all;\nrouter id {};\n\
         protocol device {{ scan time 1; }}\n",
        tor.name,
        tor.addresses[0].ip()
    );
    let timers = "connect delay time 1; connect retry time 1; error wait time 1, 5;";
    let mut channels = String::new();
    for pods in plan.cluster_cidrs() {
        let family = if pods.is_ipv6() { 6 } else { 4 };
        let same = |subnet: &IpNetwork| subnet.is_ipv6() == pods.is_ipv6();
        let racks = bird_set(plan.tors.iter().flat_map(Tor::subnets).filter(same));
        let others = bird_set(other_racks(plan, index).filter(same));
        push(
            &mut text,
            format_args!(
                "protocol direct {{ ipv{family}; interface \"{RACK_BRIDGE}\"; }}\n\
             protocol kernel {{ ipv{family} {{ import none; export where source = RTS_BGP; }}; \
             merge paths on; }}\n\
             filter cluster_only{family} {{ if net ~ [ {pods}+ ] then accept; reject; }}\n\
             filter other_racks{family} {{ {} reject; }}\n\
             filter fabric{family} {{ if net ~ [ {pods}+ ] then accept; {} reject; }}",
                others.as_deref().unwrap_or_default(),
                racks.as_deref().unwrap_or_default(),
            ),
        );
        push(
            &mut channels,
            format_args!(
                "  ipv{family} {{ import filter cluster_only{family}; \
             export filter other_racks{family}; next hop self; }};"
            ),
        );
        push(
            &mut text,
            format_args!(
                "template bgp fabric_peer{family} {{\n\
             \x20 local as {asn}; {timers}\n\
             \x20 ipv{family} {{ import filter fabric{family}; export filter fabric{family}; next hop self; }};\n\
             }}"
            ),
        );
    }
    push(&mut text, format_args!("template bgp rack {{\n  local as {asn}; {timers}\n{channels}}}"));
    for node in plan.nodes.iter().filter(|n| n.rack == index) {
        for ip in node.ips().take(1) {
            push(
                &mut text,
                format_args!(
                    "protocol bgp {} from rack {{ neighbor {ip} as {NODE_ASN}; }}",
                    node.name
                ),
            );
        }
    }
    for (_, there) in trunks(plan, index) {
        let other = &plan.tors[there.tor];
        for ip in there.addresses.iter().map(IpNetwork::ip) {
            let (family, suffix) = if ip.is_ipv6() { (6, "_v6") } else { (4, "") };
            push(
                &mut text,
                format_args!(
                    "protocol bgp {}{suffix} from fabric_peer{family} {{ neighbor {ip} as {}; }}",
                    other.name, other.asn
                ),
            );
        }
    }
    text
}

/// BIRD's words that accept exactly these prefixes; `None` if there are none.
fn bird_set(prefixes: impl Iterator<Item = IpNetwork>) -> Option<String> {
    let all: Vec<_> = prefixes.map(|p| p.to_string()).collect();
    (!all.is_empty()).then(|| format!("if net ~ [ {} ] then accept;", all.join(", ")))
}

/// The subnets of all racks but one.
fn other_racks(plan: &Plan, but: usize) -> impl Iterator<Item = IpNetwork> {
    plan.tors.iter().enumerate().filter(move |(i, _)| *i != but).flat_map(|(_, t)| t.subnets())
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
    import: &'static str,
    export: &'static str,
}

fn peer_name(name: &str, ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("{name}-v6") } else { name.to_owned() }
}

fn push_peers(text: &mut String, peers: impl Iterator<Item = Peer>) {
    push(text, format_args!("  peers:"));
    for Peer { name, ip, asn, import, export } in peers {
        push(
            text,
            format_args!(
                "    - {{name: {name}, peerIP: \"{ip}\", asNumber: {asn}, importFilters: [{import}], exportFilters: [{export}]}}"
            ),
        );
    }
    push(text, format_args!("  filters:"));
}

/// What a filter lets pass: prefixes inside the first, of these lengths.
type Pass = (IpNetwork, u8, u8);

/// These prefixes alone.
fn exact(prefixes: impl Iterator<Item = IpNetwork>) -> impl Iterator<Item = Pass> {
    prefixes.map(|p| (p, p.prefix(), p.prefix()))
}

/// These prefixes and whatever is inside them.
fn inside(prefixes: Vec<IpNetwork>) -> impl Iterator<Item = Pass> {
    prefixes.into_iter().map(|p| (p, p.prefix(), if p.is_ipv6() { 128 } else { 32 }))
}

/// A filter that lets `pass`, and nothing else.
fn push_filter(text: &mut String, name: &str, pass: impl Iterator<Item = Pass>) {
    push(text, format_args!("    - name: {name}\n      rules:"));
    for (cidr, from, to) in pass {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{FIRST_TOR_ASN, TorKind};

    fn options(nodes: u8, tors: u8, dual_stack: bool) -> Options {
        let name = "demo".parse().expect("a good name");
        let tor = TorKind::Brindle;
        Options { name, nodes, tors, pods: 1, dual_stack, tor, policy: None, kube: None }
    }

    fn plan(nodes: u8, tors: u8, dual_stack: bool) -> Plan {
        Plan::new(&options(nodes, tors, dual_stack)).expect("within limits")
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
                let mut options = options(nodes, tors, dual_stack);
                let config = read(node_config(&plan, node, dir, &options));
                assert_eq!(config["node"]["name"], node.name.as_str(), "{row}");
                options.kube = Some("/assets".into());
                let asks = read(node_config(&plan, node, dir, &options));
                let kubeconfig = format!("/run/brindle-lab/demo/{}/kubeconfig", node.name);
                assert_eq!(asks["source"]["kubeconfig"], kubeconfig, "{row}");
                assert_eq!(asks["node"].as_object().map(serde_json::Map::len), Some(1), "{row}");
                assert_eq!(config["bgp"]["peers"].as_array().map(Vec::len), Some(1));
                assert_eq!(config["source"]["path"], "/run/brindle-lab/demo/manifests");
                let object = read(manifest(node));
                let cidrs = object["spec"]["podCIDRs"].as_array().map(Vec::len);
                assert_eq!(cidrs, Some(families), "{row}");
            }
            for (index, tor) in plan.tors.iter().enumerate() {
                let config = read(tor_config(&plan, index, dir));
                assert_eq!(config["bgp"]["asNumber"], FIRST_TOR_ASN + index as u32, "{row}");
                let own = plan.nodes.iter().filter(|n| n.rack == index).count();
                let peers = own + (plan.tors.len() - 1) * families;
                assert_eq!(config["bgp"]["peers"].as_array().map(Vec::len), Some(peers), "{row}");
                let socket = format!("/run/brindle-lab/demo/{}/brindle.sock", tor.name);
                assert_eq!(config["control"]["socket"], socket, "{row}");
            }
        }
    }

    #[test]
    fn bird_has_a_session_with_each_node_and_one_a_family_with_each_router() {
        let plan = plan(5, 2, true);
        let text = bird_config(&plan, 0);
        let sessions = text.lines().filter(|l| l.starts_with("protocol bgp ")).count();
        let own = plan.nodes.iter().filter(|n| n.rack == 0).count();
        assert_eq!(sessions, own + 2, "{text}");
    }
}
