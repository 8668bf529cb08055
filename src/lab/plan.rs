//! What a lab consists of: names, addresses and cables, all worked out before anything is made.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::addresses::{
    families, pod_addresses, pod_cidrs, rack_addresses, trunk_addresses, v4, v6,
};

/// AS number of all nodes.
pub const NODE_ASN: u32 = 64512;
/// AS number of the first top-of-rack router; the others count up from it.
pub const FIRST_TOR_ASN: u32 = 65001;
/// Name of a node's interface to its rack, and of a pod's interface to its node.
pub const UPLINK: &str = "eth0";
/// Name of the bridge inside a top-of-rack router that its rack hangs on.
pub const RACK_BRIDGE: &str = "rack";
/// Last octet (or group, read the same) of a top-of-rack router in its rack's subnet.
const TOR_HOST: u8 = 250;
/// Name of the API server, and the same of its network namespace.
pub const API_SERVER: &str = "api";
/// Last octet (or group) of the API server in the first rack's subnet.
const API_HOST: u8 = 240;
/// A pod's address is this much above its number.
const POD_OFFSET: u8 = 10;
/// The highest number of a pod.
const MAX_PODS: u8 = 240;

fn default_namespace() -> String {
    "default".to_owned()
}

/// Name of a lab: part of directory and namespace names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every network namespace of this lab starts with.
    pub fn namespace_prefix(&self) -> String {
        // '-' cannot be part of a lab's name, so no lab's prefix starts another's namespaces
        format!("brl-{}-", self.0)
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lab's name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" cannot name a lab: 1 to 20 of a-z, 0-9 and \"_\" can")]
pub struct BadLabName(String);

impl FromStr for LabName {
    type Err = BadLabName;

    fn from_str(text: &str) -> Result<Self, BadLabName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let good = (1..=20).contains(&text.len()) && text.chars().all(allowed);
        if good { Ok(Self(text.to_owned())) } else { Err(BadLabName(text.to_owned())) }
    }
}

impl TryFrom<String> for LabName {
    type Error = BadLabName;

    fn try_from(text: String) -> Result<Self, BadLabName> {
        text.parse()
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

/// What runs on the top-of-rack routers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum TorKind {
    /// A brindle agent.
    #[default]
    Brindle,
    /// BIRD, as installed on this machine.
    Bird,
}

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// The lab's name.
    pub name: LabName,
    /// How many nodes, 1 to 200.
    pub nodes: u8,
    /// How many top-of-rack routers, 1 to 8 and not more than nodes.
    pub tors: u8,
    /// How many pods on each node, 0 to 100.
    pub pods: u8,
    /// IPv6 beside IPv4.
    pub dual_stack: bool,
    /// What the top-of-rack routers run.
    pub tor: TorKind,
    /// Whether the nodes enforce policies, and with which iptables.
    #[serde(default)]
    pub policy: Option<PolicyBackend>,
    /// The folder of the API server's programs, if the nodes have one to ask instead of a folder
    /// of manifests.
    #[serde(default)]
    pub kube: Option<PathBuf>,
}

impl Options {
    /// The lab's name of the pod `object` of Kubernetes namespace `kube_namespace`, and its
    /// network namespace.
    pub fn pod_names(&self, kube_namespace: &str, object: &str) -> (String, String) {
        let prefix = self.name.namespace_prefix();
        if kube_namespace == default_namespace() {
            return (object.to_owned(), format!("{prefix}{object}"));
        }
        // no name of Kubernetes has a `_`
        let namespace = format!("{prefix}{kube_namespace}_{object}");
        (format!("{kube_namespace}/{object}"), namespace)
    }
}

/// Which iptables enforces policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum PolicyBackend {
    /// What the machine uses.
    #[default]
    Auto,
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

impl PolicyBackend {
    /// As `policy.backend` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyBackend::Auto => "auto",
            PolicyBackend::Nft => "nft",
            PolicyBackend::Legacy => "legacy",
        }
    }
}

/// A lab that cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// Too few or too many nodes.
    #[error("--nodes {0}: 1 to 200 are possible")]
    Nodes(u8),
    /// Too few or too many routers.
    #[error("--tors {tors}: 1 to 8 are possible, and not more than nodes ({nodes})")]
    Tors {
        /// What was asked for.
        tors: u8,
        /// Beside so many nodes.
        nodes: u8,
    },
    /// Too many pods.
    #[error("--pods {0}: 0 to 100 on each node are possible")]
    Pods(u8),
}

/// A pod that cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// `spec.nodeName` names no node.
    #[error("there is no node {0} in this lab")]
    NoNode(String),
    /// The node has handed out all numbers.
    #[error("node {0} has no address left for another pod")]
    Full(String),
}

/// A whole lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The nodes, `n1` first.
    pub nodes: Vec<Node>,
    /// The top-of-rack routers, one for each rack.
    pub tors: Vec<Tor>,
    /// The cables between routers: one for each pair.
    pub trunks: Vec<Trunk>,
    /// The API server, on the first rack's wire, if the lab has one.
    #[serde(default)]
    pub api: Option<ApiServer>,
}

/// The API server of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiServer {
    /// Its network namespace.
    pub namespace: String,
    /// Its addresses on [`UPLINK`] with the length of the rack's subnet, one a family; it serves
    /// on the first.
    pub addresses: Vec<IpNetwork>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// `n1`, `n2`, ...
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Index into [`Plan::tors`].
    pub rack: usize,
    /// Its addresses on [`UPLINK`] with the length of the rack's subnet, at most one a family.
    pub addresses: Vec<IpNetwork>,
    /// Its pods' prefixes, one a family.
    pub pod_cidrs: Vec<IpNetwork>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The number of the last pod that it was given; numbers are not used again.
    #[serde(default)]
    pub last_pod: u8,
}

/// A pod: a namespace of its own, cabled to its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// `n1-p1`, `n1-p2`, ...; a pod of a manifest has its own name, with that of its Kubernetes
    /// namespace before it unless that is `default`: `shop/db`.
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// The namespace that Kubernetes has it in.
    #[serde(default = "default_namespace")]
    pub kube_namespace: String,
    /// The node's end of its cable, as the plug-in has called it; empty until it is connected.
    pub interface: String,
    /// Its addresses, one a family.
    pub addresses: Vec<IpAddr>,
}

impl Pod {
    /// The name of its object.
    pub fn object(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Whether it has its cable.
    pub fn is_connected(&self) -> bool {
        !self.interface.is_empty()
    }
}

/// A top-of-rack router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tor {
    /// `tor1`, `tor2`, ...
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Its AS number.
    pub asn: u32,
    /// Its addresses on [`RACK_BRIDGE`], one a family.
    pub addresses: Vec<IpNetwork>,
}

/// A cable between two top-of-rack routers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trunk {
    /// Both ends.
    pub ends: [TrunkEnd; 2],
}

/// One end of a [`Trunk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrunkEnd {
    /// Index into [`Plan::tors`].
    pub tor: usize,
    /// The interface's name: that of the router at the other end.
    pub interface: String,
    /// Its addresses, one a family.
    pub addresses: Vec<IpNetwork>,
}

impl Plan {
    /// Works out the lab that `options` ask for. The same options give the same plan.
    ///
    /// # Errors
    /// Numbers out of range.
    pub fn new(options: &Options) -> Result<Self, BadOptions> {
        let &Options { nodes, tors, pods, dual_stack, .. } = options;
        if !(1..=200).contains(&nodes) {
            return Err(BadOptions::Nodes(nodes));
        }
        if !(1..=8).contains(&tors) || tors > nodes {
            return Err(BadOptions::Tors { tors, nodes });
        }
        if pods > 100 {
            return Err(BadOptions::Pods(pods));
        }
        let prefix = options.name.namespace_prefix();
        let tor = |index: u8| Tor {
            name: format!("tor{}", index + 1),
            namespace: format!("{prefix}tor{}", index + 1),
            asn: FIRST_TOR_ASN + u32::from(index),
            addresses: rack_addresses(index, TOR_HOST, dual_stack),
        };
        // neighbours in one rack first: n1 and n2 are closer than n1 and the last
        let rack_of = |node: u8| (u16::from(node) * u16::from(tors) / u16::from(nodes)) as u8;
        let node = |index: u8| {
            let rack = rack_of(index);
            let name = format!("n{}", index + 1);
            let pod = |p: u8| Pod {
                name: format!("{name}-p{p}"),
                namespace: format!("{prefix}{name}-p{p}"),
                kube_namespace: default_namespace(),
                interface: String::new(),
                addresses: pod_addresses(index + 1, POD_OFFSET + p, dual_stack),
            };
            Node {
                namespace: format!("{prefix}{name}"),
                rack: usize::from(rack),
                addresses: rack_addresses(rack, index + 1, dual_stack),
                pod_cidrs: pod_cidrs(index + 1, dual_stack),
                pods: (1..=pods).map(pod).collect(),
                last_pod: pods,
                name,
            }
        };
        let pairs = (0..tors).flat_map(|a| (a + 1..tors).map(move |b| (a, b)));
        let trunk = |(number, (a, b)): (u8, (u8, u8))| Trunk {
            ends: [(a, b, 1), (b, a, 2)].map(|(here, there, host)| TrunkEnd {
                tor: usize::from(here),
                interface: format!("tor{}", there + 1),
                addresses: trunk_addresses(number, host, dual_stack),
            }),
        };
        Ok(Self {
            nodes: (0..nodes).map(node).collect(),
            tors: (0..tors).map(tor).collect(),
            trunks: (0..).zip(pairs).map(trunk).collect(),
            api: options.kube.as_ref().map(|_| ApiServer {
                namespace: format!("{prefix}{API_SERVER}"),
                addresses: rack_addresses(0, API_HOST, dual_stack),
            }),
        })
    }

    /// Gives the pod `object` of Kubernetes namespace `kube_namespace` a place: on `node`, or on
    /// the node with the fewest pods.
    ///
    /// # Errors
    /// There is no such node, or it has no address left.
    pub fn add_pod(
        &mut self,
        options: &Options,
        kube_namespace: &str,
        object: &str,
        node: Option<&str>,
    ) -> Result<(usize, Pod), NoPlace> {
        let known = |name: &str| self.nodes.iter().position(|n| n.name == name);
        let emptiest = || (0..self.nodes.len()).min_by_key(|index| self.nodes[*index].pods.len());
        let index = match node {
            Some(name) => known(name).ok_or_else(|| NoPlace::NoNode(name.to_owned()))?,
            None => emptiest().expect("a plan has nodes"),
        };
        let node = &mut self.nodes[index];
        let number = node.last_pod + 1;
        if number > MAX_PODS {
            return Err(NoPlace::Full(node.name.clone()));
        }
        node.last_pod = number;
        let (name, namespace) = options.pod_names(kube_namespace, object);
        let pod = Pod {
            name,
            namespace,
            kube_namespace: kube_namespace.to_owned(),
            interface: String::new(),
            addresses: pod_addresses(index as u8 + 1, POD_OFFSET + number, options.dual_stack),
        };
        node.pods.push(pod.clone());
        Ok((index, pod))
    }

    /// Notes what has become of the pod of this name on `node`.
    pub fn put_pod(&mut self, node: &str, pod: Pod) {
        let node = self.nodes.iter_mut().find(|own| own.name == node);
        let own = node.and_then(|node| node.pods.iter_mut().find(|own| own.name == pod.name));
        if let Some(own) = own {
            *own = pod;
        }
    }

    /// The network namespaces that a lab begins with: those of routers, nodes and the API
    /// server. A pod gets its own when it is connected.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        let tors = self.tors.iter().map(|t| t.namespace.as_str());
        let nodes = self.nodes.iter().map(|n| n.namespace.as_str());
        let api = self.api.iter().map(|a| a.namespace.as_str());
        tors.chain(nodes).chain(api)
    }

    /// All pods with their nodes.
    pub fn pods(&self) -> impl Iterator<Item = (&Node, &Pod)> {
        self.nodes.iter().flat_map(|n| n.pods.iter().map(move |p| (n, p)))
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name == name)
    }

    /// The router of this name.
    pub fn tor(&self, name: &str) -> Option<&Tor> {
        self.tors.iter().find(|t| t.name == name)
    }

    /// The prefixes that all pods of the lab lie in, one a family.
    pub fn cluster_cidrs(&self) -> Vec<IpNetwork> {
        let dual_stack = self.nodes.iter().any(|n| n.pod_cidrs.len() > 1);
        let six = v6([0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0], 48);
        families(v4(10, 244, 0, 0, 16), six, dual_stack)
    }
}

impl Node {
    /// The node's addresses without lengths.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(IpNetwork::ip)
    }
}

impl Tor {
    /// The router's addresses towards its rack, without lengths.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(IpNetwork::ip)
    }

    /// The rack's subnets, one a family.
    pub fn subnets(&self) -> impl Iterator<Item = IpNetwork> {
        self.addresses
            .iter()
            .map(|a| IpNetwork::new(a.network(), a.prefix()).expect("the length was legal before"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use brindle_bgp::net::Prefix;

    use super::*;

    fn options(nodes: u8, tors: u8, pods: u8, dual_stack: bool) -> Options {
        let name = "demo".parse().expect("a good name");
        let tor = TorKind::Brindle;
        Options { name, nodes, tors, pods, dual_stack, tor, policy: None, kube: None }
    }

    #[test]
    fn addresses_read_as_documented() {
        let plan = Plan::new(&options(13, 2, 2, true)).expect("within limits");
        let node = plan.node("n12").expect("there are 13");
        let text = |list: &[IpNetwork]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&node.addresses), ["10.0.1.12/24", "fd00:0:0:1::12/64"]);
        assert_eq!(node.namespace, "brl-demo-n12");
        let cidrs: Vec<_> = node.pod_cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(cidrs, ["10.244.12.0/24", "fd00:10:244:12::/64"]);
        assert_eq!(node.pods[1].name, "n12-p2");
        let pod: Vec<_> = node.pods[1].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(pod, ["10.244.12.12", "fd00:10:244:12::12"]);
        assert_eq!(text(&plan.tors[1].addresses), ["10.0.1.250/24", "fd00:0:0:1::250/64"]);
        assert_eq!(text(&plan.trunks[0].ends[1].addresses), ["172.16.0.2/30", "fd00:172:16::2/64"]);
    }

    #[test]
    fn nothing_collides_up_to_the_limits() {
        for (nodes, tors, pods, dual_stack) in [
            (1, 1, 0, false),
            (3, 1, 2, false),
            (3, 2, 2, true),
            (50, 1, 4, true),
            (50, 7, 3, true),
            (200, 8, 100, true),
        ] {
            let row = format!("{nodes} nodes, {tors} ToRs, {pods} pods, dual stack {dual_stack}");
            let plan = Plan::new(&options(nodes, tors, pods, dual_stack)).expect("within limits");
            let families = if dual_stack { 2 } else { 1 };

            let mut namespaces = HashSet::new();
            let of_pods = plan.pods().map(|(_, pod)| pod.namespace.as_str());
            for name in plan.namespaces().chain(of_pods) {
                assert!(namespaces.insert(name), "{row}: namespace {name} twice");
            }
            let things = usize::from(tors) + usize::from(nodes) * (1 + usize::from(pods));
            assert_eq!(namespaces.len(), things, "{row}");

            let mut addresses = HashSet::new();
            let trunk_ends = plan.trunks.iter().flat_map(|t| &t.ends);
            let all = plan.nodes.iter().flat_map(Node::ips);
            let all = all.chain(plan.tors.iter().flat_map(Tor::ips));
            let all = all.chain(plan.pods().flat_map(|(_, p)| p.addresses.iter().copied()));
            for ip in all.chain(trunk_ends.flat_map(|e| e.addresses.iter().map(IpNetwork::ip))) {
                assert!(addresses.insert(ip), "{row}: address {ip} twice");
            }

            let cluster = plan.cluster_cidrs();
            assert_eq!(cluster.len(), families, "{row}");
            let cluster: Vec<_> = cluster.into_iter().map(Prefix::from).collect();
            let cidrs = plan.nodes.iter().flat_map(|n| &n.pod_cidrs);
            let cidrs: Vec<_> = cidrs.map(|&c| Prefix::from(c)).collect();
            for (index, cidr) in cidrs.iter().enumerate() {
                assert!(cluster.iter().any(|c| c.covers(cidr)), "{row}: {cidr} outside");
                let other = cidrs[..index].iter().find(|o| o.overlaps(cidr));
                assert_eq!(other, None, "{row}: {cidr} overlaps");
            }
            for (node, pod) in plan.pods() {
                for ip in &pod.addresses {
                    assert!(node.pod_cidrs.iter().any(|c| c.contains(*ip)), "{row}: {ip}");
                }
            }
            for node in &plan.nodes {
                let rack = &plan.tors[node.rack];
                for ip in node.ips() {
                    assert!(rack.subnets().any(|s| s.contains(ip)), "{row}: {ip} off its rack");
                }
            }
            let used: HashSet<_> = plan.nodes.iter().map(|n| n.rack).collect();
            assert_eq!(used.len(), usize::from(tors), "{row}: an empty rack");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (nodes, tors, pods, want) in [
            (0, 1, 2, BadOptions::Nodes(0)),
            (201, 1, 2, BadOptions::Nodes(201)),
            (3, 0, 2, BadOptions::Tors { tors: 0, nodes: 3 }),
            (3, 4, 2, BadOptions::Tors { tors: 4, nodes: 3 }),
            (20, 9, 2, BadOptions::Tors { tors: 9, nodes: 20 }),
            (3, 1, 101, BadOptions::Pods(101)),
        ] {
            assert_eq!(Plan::new(&options(nodes, tors, pods, true)), Err(want));
        }
    }

    #[test]
    fn a_labs_name_is_safe_in_a_path() {
        for (name, good) in [
            ("demo", true),
            ("a_1", true),
            ("a-1", false),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a.b", false),
            ("Demo", false),
            ("abcdefghijklmnopqrstu", false),
        ] {
            assert_eq!(name.parse::<LabName>().is_ok(), good, "{name:?}");
        }
    }
}
