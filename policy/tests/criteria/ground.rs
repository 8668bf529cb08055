//! A small cluster to try policies on, through both the verdict and the chains of its nodes.

use std::net::IpAddr;

use brindle_policy::verdict::{Flow, verdict};
use brindle_policy::walk::State;
use brindle_policy::{Change, Protocol, World};
use serde::Deserialize;
use serde_yaml::Value;

use crate::objects;
use crate::walk::Cluster;

/// Two nodes of both families, and pods of namespaces `shop` (team=web) and `lab` (team=dba).
const OBJECTS: &str = "
{kind: Node, metadata: {name: n1}, spec: {podCIDRs: [10.1.0.0/24, 'fd00:1::/64']},
 status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: 'fd09::1'}]}}
---
{kind: Node, metadata: {name: n2}, spec: {podCIDRs: [10.2.0.0/24, 'fd00:2::/64']},
 status: {addresses: [{type: InternalIP, address: 192.168.0.2}, {type: InternalIP, address: 'fd09::2'}]}}
---
{kind: Namespace, metadata: {name: shop, labels: {team: web}}}
---
{kind: Namespace, metadata: {name: lab, labels: {team: dba}}}
---
{kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api, tier: front}},
 spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]},
 status: {phase: Running, podIPs: [{ip: 10.1.0.2}, {ip: 'fd00:1::2'}]}}
---
{kind: Pod, metadata: {name: cart, namespace: shop, labels: {app: cart}},
 spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 9090}]}]},
 status: {phase: Running, podIPs: [{ip: 10.1.0.3}, {ip: 'fd00:1::3'}]}}
---
{kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}},
 spec: {nodeName: n2,
  containers: [{name: c, ports: [{name: sql, containerPort: 5432},
   {name: dns, containerPort: 53, protocol: UDP}, {name: dns, containerPort: 54}]}],
  initContainers: [{name: i, restartPolicy: Always, ports: [{name: proxy, containerPort: 15001}]}]},
 status: {phase: Running, podIPs: [{ip: 10.2.0.2}, {ip: 'fd00:2::2'}]}}
---
{kind: Pod, metadata: {name: probe, namespace: lab, labels: {app: api}},
 spec: {nodeName: n2, containers: []},
 status: {phase: Running, podIPs: [{ip: 10.2.0.3}, {ip: 'fd00:2::3'}]}}
---
{kind: Pod, metadata: {name: host, namespace: shop, labels: {app: api}},
 spec: {nodeName: n2, hostNetwork: true, containers: []},
 status: {phase: Running, podIPs: [{ip: 192.168.0.2}, {ip: 'fd09::2'}]}}
";

/// Names of addresses; with a 6 behind it that of the other family.
const PLACES: [(&str, &str, &str); 10] = [
    ("api", "10.1.0.2", "fd00:1::2"),
    ("cart", "10.1.0.3", "fd00:1::3"),
    ("db", "10.2.0.2", "fd00:2::2"),
    ("probe", "10.2.0.3", "fd00:2::3"),
    ("n1", "192.168.0.1", "fd09::1"),
    ("n2", "192.168.0.2", "fd09::2"),
    ("host", "192.168.0.2", "fd09::2"),
    ("outside", "203.0.113.7", "2001:db8::7"),
    ("elsewhere", "198.51.100.7", "2001:db8:ffff::7"),
    // In the range of n1, of no pod that is known at first.
    ("new", "10.1.0.77", "fd00:1::77"),
];

/// The cluster, as it is now.
pub(crate) struct Ground {
    pub(crate) world: World,
}

impl Ground {
    /// The cluster with these objects besides its own.
    pub(crate) fn with(objects: &str) -> Self {
        let mut ground = Self { world: World::default() };
        ground.apply(OBJECTS);
        ground.apply(objects);
        ground
    }

    /// The cluster with a policy of `shop` of this spec.
    pub(crate) fn with_policy(spec: &str) -> Self {
        Self::with(&policy("p", spec))
    }

    /// Tells of objects, as YAML documents.
    pub(crate) fn apply(&mut self, objects: &str) {
        for change in changes(objects) {
            self.world.apply(change);
        }
    }

    /// Tells of one change.
    pub(crate) fn tell(&mut self, change: Change) {
        self.world.apply(change);
    }

    /// Asserts for flows such as `cart -> db tcp/5432` whether they are allowed.
    pub(crate) fn check(&self, rows: &[(&str, bool)]) {
        let cluster = Cluster::new(&self.world);
        for (text, want) in rows {
            let flow = flow(text);
            let said = verdict(&self.world, &flow);
            assert_eq!(said.is_allowed(), *want, "verdict on {text}: {said:#?}");
            let journey = cluster.send(&flow);
            assert_eq!(journey.arrived, *want, "walk of {text}: {journey:#?}");
        }
    }

    /// Asserts that each of `flows` is allowed, and each of `others` is not.
    pub(crate) fn check_all(&self, flows: &[&str], others: &[&str]) {
        let allowed = flows.iter().map(|text| (*text, true));
        let denied = others.iter().map(|text| (*text, false));
        self.check(&allowed.chain(denied).collect::<Vec<_>>());
    }

    /// Whether packets pass that connection tracking has something to say of.
    pub(crate) fn passes(&self, text: &str, state: State) -> bool {
        Cluster::new(&self.world).send_as(&flow(text), state).arrived
    }
}

/// A policy of `shop`.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    policy_of("shop", name, spec)
}

/// A policy.
pub(crate) fn policy_of(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\n{{kind: NetworkPolicy, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {spec}}}\n"
    )
}

/// A pod of `shop` on n1 with the address `new`; `more` is what else its metadata says.
pub(crate) fn new_pod(name: &str, labels: &str, phase: &str, more: &str) -> String {
    format!(
        "---\n{{kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {labels}{more}}}, \
         spec: {{nodeName: n1, containers: []}}, \
         status: {{phase: {phase}, podIPs: [{{ip: 10.1.0.77}}, {{ip: 'fd00:1::77'}}]}}}}\n"
    )
}

/// Reads objects.
pub(crate) fn changes(objects: &str) -> Vec<Change> {
    let documents = serde_yaml::Deserializer::from_str(objects);
    let values = documents.map(|document| Value::deserialize(document).expect("YAML"));
    let values = values.filter(|value| !value.is_null());
    let change = |value| objects::change(&value).unwrap_or_else(|| panic!("{value:?}"));
    values.map(change).collect()
}

fn address(text: &str) -> IpAddr {
    let (name, is_v6) = match text.strip_suffix('6') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let place = PLACES.into_iter().find(|(place, ..)| *place == name);
    let written = place.map_or(text, |(_, v4, v6)| if is_v6 { v6 } else { v4 });
    written.parse().unwrap_or_else(|_| panic!("{text} is no place"))
}

/// `cart -> db tcp/5432`, `cart6 -> db6 udp/53`, `api -> db icmp/3.4`: type and code, an echo
/// request if they are left out.
pub(crate) fn flow(text: &str) -> Flow {
    let words: Vec<_> = text.split(' ').collect();
    let [source, "->", destination, port] = words[..] else { panic!("{text}") };
    let (name, port) = port.split_once('/').unwrap_or((port, ""));
    let source = address(source);
    let protocol = match name {
        "icmp" if source.is_ipv4() => 1,
        "icmp" => 58,
        "gre" => 47,
        "tcp" => Protocol::Tcp.number(),
        "udp" => Protocol::Udp.number(),
        "sctp" => Protocol::Sctp.number(),
        other => panic!("{other} is no protocol of this test"),
    };
    let number = |text: &str| text.parse().expect("a type or code");
    let icmp = match (protocol, port) {
        (1, "") => Some((8, 0)),
        (58, "") => Some((128, 0)),
        (1 | 58, _) => {
            let (kind, code) = port.split_once('.').unwrap_or((port, "0"));
            Some((number(kind), number(code)))
        }
        (_, _) => None,
    };
    let has_port = icmp.is_none() && !port.is_empty();
    let destination_port = has_port.then(|| port.parse().expect("a port"));
    Flow {
        source,
        destination: address(destination),
        protocol,
        source_port: destination_port.map(|_| 40_000),
        destination_port,
        icmp,
    }
}
