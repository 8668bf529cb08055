//! Who this node is: name, addresses, router id, pod CIDRs, and the reason for each.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix, RouterId};
use brindle_config::Config;

use crate::cluster::Node;
use crate::cluster::node::AS_NUMBER;
use crate::cluster::peers::Identity;

/// Why a configured address was chosen.
const CONFIGURED: &str = "node.addresses";

/// Why a node without an AS of its own is in the one of the configuration.
pub(super) const CONFIGURED_ASN: &str = "bgp.asNumber";

/// An address of the node and why it was chosen, for `brindle status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChosenAddress {
    pub(super) address: IpAddr,
    pub(super) reason: String,
}

/// Who the node is, with reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) identity: Identity,
    pub(super) addresses: Vec<ChosenAddress>,
    /// Why it is in that AS.
    pub(super) asn_reason: &'static str,
}

/// The name: as commanded, else as configured, else the host's.
pub(super) fn name(commanded: Option<&str>, config: &Config) -> anyhow::Result<Arc<str>> {
    if let Some(name) = commanded.or(config.node.name.as_deref()) {
        return Ok(name.into());
    }
    let host = nix::unistd::gethostname()?;
    let host = host
        .to_str()
        .ok_or_else(|| anyhow::anyhow!("the host name {host:?} is not UTF-8; set node.name"))?;
    Ok(host.to_ascii_lowercase().into())
}

/// The addresses: as configured, else as the node's own Node object has them, else as the
/// host would use them to reach the world.
pub(super) fn addresses(
    name: &Arc<str>,
    config: &Config,
    own_node: Option<&Node>,
) -> Vec<ChosenAddress> {
    if !config.node.addresses.is_empty() {
        with_reason(&config.node.addresses, CONFIGURED)
    } else if let Some(node) = own_node.filter(|node| !node.addresses.is_empty()) {
        with_reason(&node.addresses, &format!("InternalIP of Node/{name}"))
    } else {
        detect()
    }
}

/// Who the speaker is: addresses, a router id, its AS (as its Node's annotation has it, else as
/// configured), its cluster as reflector. Addresses that one that is `running` has, and that
/// nobody says any more, stay, but for those that were configured: these are not meant any more.
pub(super) fn choose(
    name: &Arc<str>,
    config: &Config,
    own_node: Option<&Node>,
    running: Option<&Chosen>,
) -> anyhow::Result<Chosen> {
    let is_told = !config.node.addresses.is_empty()
        || own_node.is_some_and(|node| !node.addresses.is_empty());
    let addresses = match running {
        Some(running) if !is_told && !is_configured(running) => running.addresses.clone(),
        _ => addresses(name, config, own_node),
    };
    if addresses.is_empty() && config.bgp.listen_addresses.is_empty() {
        anyhow::bail!(
            "this node has no address to speak BGP from: node.addresses is not set, Node/{name} \
             has no InternalIP, and there is no default route to take one from"
        );
    }
    let router_id = match config.bgp.router_id {
        Some(router_id) => router_id,
        None => derive_router_id(&addresses)?,
    };
    let (asn, asn_reason) = match own_node.and_then(|node| node.asn) {
        Some(asn) => (asn, AS_NUMBER),
        None => (config.bgp.asn, CONFIGURED_ASN),
    };
    let identity = Identity {
        name: Arc::clone(name),
        addresses: addresses.iter().map(|chosen| chosen.address).collect(),
        router_id,
        asn,
        route_reflector: own_node.and_then(|node| node.route_reflector),
    };
    Ok(Chosen { identity, addresses, asn_reason })
}

fn is_configured(chosen: &Chosen) -> bool {
    chosen.addresses.iter().any(|one| one.reason == CONFIGURED)
}

/// The first of each family: a node speaks BGP from one address of each.
fn with_reason(addresses: &[IpAddr], reason: &str) -> Vec<ChosenAddress> {
    let first = |family| addresses.iter().copied().find(|a| Family::of(*a) == family);
    let chosen = Family::ALL.into_iter().filter_map(first);
    chosen.map(|address| ChosenAddress { address, reason: reason.to_owned() }).collect()
}

/// The source addresses that the host would use for distant destinations: what the kernel
/// answers without a packet being sent.
fn detect() -> Vec<ChosenAddress> {
    // Documentation prefixes: nobody is there, only the default route matches.
    let probes = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let source = |(from, to): (&str, &str)| {
        let socket = UdpSocket::bind(from.parse::<SocketAddr>().ok()?).ok()?;
        socket.connect(to.parse::<SocketAddr>().ok()?).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    };
    let detected = probes.into_iter().filter_map(source);
    let reason = "detected: the source address of the default route";
    detected.map(|address| ChosenAddress { address, reason: reason.to_owned() }).collect()
}

fn derive_router_id(addresses: &[ChosenAddress]) -> anyhow::Result<RouterId> {
    let v4 = addresses.iter().find_map(|chosen| match chosen.address {
        IpAddr::V4(v4) => RouterId::try_from(v4).ok(),
        IpAddr::V6(_) => None,
    });
    v4.ok_or_else(|| {
        anyhow::anyhow!(
            "the node has no IPv4 address to take a router id from; set bgp.routerID, four octets \
             that no other speaker of the AS has, for instance 10.0.0.1"
        )
    })
}

/// A sentence if the node is somebody else by now than a speaker that runs, which cannot change
/// that in place.
pub(super) fn changed(running: &Chosen, now: &Chosen) -> Option<String> {
    let (before, after) = (&running.identity, &now.identity);
    let list = |addresses: &[IpAddr]| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    };
    let cluster = |id: &Identity| {
        id.route_reflector.map_or_else(|| "no reflector".to_owned(), |id| format!("cluster {id}"))
    };
    let changes = [
        ("address", list(&before.addresses), list(&after.addresses)),
        ("router id", before.router_id.to_string(), after.router_id.to_string()),
        ("AS number", before.asn.to_string(), after.asn.to_string()),
        ("role", cluster(before), cluster(after)),
    ];
    let changes: Vec<String> = changes
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(what, before, after)| format!("{what} {after} instead of {before}"))
        .collect();
    (!changes.is_empty()).then(|| format!("node {} has {}", after.name, changes.join(", ")))
}

/// Whether what peers know of the node stays true: it may only have another role.
pub(super) fn is_the_same_to_peers(running: &Chosen, now: &Chosen) -> bool {
    let route_reflector = now.identity.route_reflector;
    Identity { route_reflector, ..running.identity.clone() } == now.identity
}

/// The node's own pod CIDRs: as configured, else as its Node object has them.
pub(super) fn pod_cidrs(config: &Config, own_node: Option<&Node>) -> Vec<Prefix> {
    if config.node.pod_cidrs.is_empty() {
        own_node.map(|node| node.pod_cidrs.clone()).unwrap_or_default()
    } else {
        config.node.pod_cidrs.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use brindle_bgp::net::ClusterId;

    use super::*;

    fn node(addresses: &[&str]) -> Node {
        Node {
            name: "n1".into(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            networks: Vec::new(),
            asn: None,
            route_reflector: None,
            created: None,
            labels: BTreeMap::new(),
            cordon: Default::default(),
        }
    }

    #[test]
    fn what_is_configured_comes_before_what_the_source_says() {
        let name: Arc<str> = "n1".into();
        for (yaml, node, want, reason) in [
            (
                "node: {addresses: [10.0.0.1]}",
                &["10.0.0.9"][..],
                &["10.0.0.1"][..],
                "node.addresses",
            ),
            (
                "{}",
                &["10.0.0.9", "10.0.0.8", "fd00::9"],
                &["10.0.0.9", "fd00::9"],
                "InternalIP of Node/n1",
            ),
        ] {
            let config = Config::from_yaml("test.yaml", yaml).unwrap();
            let chosen = choose(&name, &config, Some(&super::tests::node(node)), None).unwrap();
            let got: Vec<String> = chosen.addresses.iter().map(|a| a.address.to_string()).collect();
            assert_eq!(got, want, "{yaml}");
            assert_eq!(chosen.addresses[0].reason, reason, "{yaml}");
        }
    }

    #[test]
    fn what_a_running_speaker_cannot_change_in_place_is_named() {
        let name: Arc<str> = "n1".into();
        let config = |yaml| Config::from_yaml("test.yaml", yaml).unwrap();
        type Change = fn(&mut Node);
        let rows: [(&str, Change, Option<&str>); 7] = [
            ("{}", |_| {}, None),
            ("{}", |node| node.pod_cidrs.clear(), None),
            ("{node: {addresses: [10.0.0.1]}}", |node| node.addresses.clear(), None),
            (
                "{}",
                |node| node.addresses = vec!["10.0.0.2".parse().unwrap()],
                Some(
                    "node n1 has address 10.0.0.2 instead of 10.0.0.1, router id 10.0.0.2 instead \
                     of 10.0.0.1",
                ),
            ),
            ("{}", |node| node.addresses.clear(), None),
            (
                "{}",
                |node| node.asn = "65001".parse().ok(),
                Some("node n1 has AS number 65001 instead of 64512"),
            ),
            (
                "{}",
                |node| node.route_reflector = Some(ClusterId(7)),
                Some("node n1 has role cluster 0.0.0.7 instead of no reflector"),
            ),
        ];
        for (number, (yaml, change, want)) in rows.into_iter().enumerate() {
            let mut own = node(&["10.0.0.1"]);
            let before = choose(&name, &config(yaml), Some(&own), None).unwrap();
            change(&mut own);
            let after = choose(&name, &config(yaml), Some(&own), Some(&before)).unwrap();
            assert_eq!(changed(&before, &after).as_deref(), want, "row {number}");
            assert_eq!(changed(&after, &after), None, "row {number}");
        }
    }

    #[test]
    fn what_was_told_once_stays_and_what_was_configured_goes_with_its_line() {
        let name: Arc<str> = "n1".into();
        let config = |yaml| Config::from_yaml("test.yaml", yaml).unwrap();
        let (named, unnamed) = (config("{node: {addresses: [192.0.2.7]}}"), config("{}"));
        let own = node(&["192.0.2.8"]);
        let silent = Node { addresses: Vec::new(), ..node(&[]) };

        let told = choose(&name, &unnamed, Some(&own), None).unwrap();
        let after = choose(&name, &unnamed, Some(&silent), Some(&told)).unwrap();
        assert_eq!(after.addresses, told.addresses);

        let configured = choose(&name, &named, Some(&own), None).unwrap();
        let after = choose(&name, &unnamed, Some(&own), Some(&configured)).unwrap();
        assert_eq!(after.addresses, told.addresses);
        // What the host has itself, if it has any.
        if let Ok(after) = choose(&name, &unnamed, Some(&silent), Some(&configured)) {
            assert_ne!(after.addresses, configured.addresses);
        }
    }

    #[test]
    fn the_annotation_says_the_as_number_before_the_configuration_does() {
        let config = Config::from_yaml("test.yaml", "bgp: {asNumber: 65000}").unwrap();
        for (annotation, want) in
            [(None, (65000, "bgp.asNumber")), (Some("65001"), (65001, "brindle.dev/as-number"))]
        {
            let own =
                Node { asn: annotation.map(|text| text.parse().unwrap()), ..node(&["10.0.0.1"]) };
            let chosen = choose(&"n1".into(), &config, Some(&own), None).unwrap();
            assert_eq!((chosen.identity.asn.get(), chosen.asn_reason), want);
        }
    }

    #[test]
    fn a_node_without_ipv4_needs_a_router_id() {
        let name: Arc<str> = "n1".into();
        for (yaml, want) in [
            ("node: {addresses: ['fd00::1']}", None),
            ("{node: {addresses: ['fd00::1']}, bgp: {routerID: 10.0.0.1}}", Some("10.0.0.1")),
        ] {
            let config = Config::from_yaml("test.yaml", yaml).unwrap();
            let got =
                choose(&name, &config, None, None).ok().map(|c| c.identity.router_id.to_string());
            assert_eq!(got.as_deref(), want, "{yaml}");
        }
    }
}
