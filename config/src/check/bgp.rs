//! `bgp:` the speaker.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use brindle_bgp::bfd::{Path, Settings};
use brindle_bgp::net::{Prefix, RouterId};

use super::node::NodeRead;
use super::{
    auth, bfd, bmp, drain, dynamic, filter, limits, peer, prefixes, services, set, values,
};
use crate::meaning::{Bgp, Config, Retain};
use crate::section::{Good, Item, Section};
use crate::value;

/// What `nodeToNodeMesh.retain` accepts.
const RETAIN: [(&str, Retain); 2] =
    [("node-object", Retain::NodeObject), ("bgp-only", Retain::BgpOnly)];

const MIN_CONNECT_RETRY: Duration = Duration::from_millis(10);
const MAX_CONNECT_RETRY: Duration = Duration::from_secs(3600);
/// What its 24 bits can say (RFC 9494 §3.1), less what makes no whole hour.
const MAX_LONG_LIVED: Duration = Duration::from_secs(4660 * 3600);
const MIN_LONG_LIVED: Duration = Duration::from_secs(1);
const MAX_MAX_PATHS: u32 = 256;

/// Reads the section and checks it against itself and the node.
pub(super) fn read(item: &Item, node: &NodeRead, complete: bool) -> Bgp {
    let mut bgp = Config::default().bgp;
    let Some(mut section) = item.section() else { return bgp };

    set(&mut bgp.enabled, section.get("enabled").and_then(|item| item.boolean()));
    set(&mut bgp.asn, section.get("asNumber").and_then(|item| value::as_number(&item)));
    bgp.router_id = router_id(&mut section, node, bgp.enabled);
    let listen = section.get("listen").map(|item| listen(&item)).unwrap_or_default();
    bgp.listen_addresses = values(&listen.addresses);
    set(&mut bgp.listen_port, listen.port);
    if let Some(item) = section.get("nodeToNodeMesh") {
        mesh(&item, &mut bgp);
    }
    set(&mut bgp.hold_time, section.get("holdTime").and_then(|item| value::hold_time(&item)));
    if let Some(item) = section.get("connectRetryTime") {
        let accepted = MIN_CONNECT_RETRY..=MAX_CONNECT_RETRY;
        set(&mut bgp.connect_retry, value::duration(&item, accepted));
    }
    if let Some(item) = section.get("gracefulRestart") {
        graceful_restart(&item, &mut bgp);
    }
    if let Some(paths) = section.get("maxPaths").and_then(|item| item.number(1, MAX_MAX_PATHS)) {
        set(&mut bgp.max_paths, usize::try_from(paths).ok());
    }
    if let Some(mut multipath) = section.get("multipath").and_then(|item| item.section()) {
        let relax = multipath.get("asPathRelax").and_then(|item| item.boolean());
        set(&mut bgp.as_path_relax, relax);
        multipath.finish();
    }
    if let Some(item) = section.get("networks") {
        bgp.networks = networks(&item, node);
    }
    if let Some(item) = section.get("services") {
        bgp.services = services::read(&item, node, &bgp.networks);
    }
    if let Some(item) = section.get("prefixAdvertisements") {
        bgp.prefix_advertisements = services::advertisements(&item);
    }
    if let Some(item) = section.get("drain") {
        bgp.drain = drain::read(&item);
    }
    if let Some(item) = section.get("bmp") {
        bgp.bmp = bmp::read(&item);
    }

    let filters = section.get("filters").map(|item| filter::read(&item)).unwrap_or_default();
    let ours: Vec<&Good<IpAddr>> = node.addresses.iter().chain(&listen.addresses).collect();
    let around = peer::Around {
        asn: bgp.asn,
        hold_time: bgp.hold_time,
        ours: &ours,
        filters: &filters,
        complete,
    };
    if let Some(item) = section.get("peers") {
        bgp.peers = peer::read(&item, &around);
    }
    if let Some(item) = section.get("dynamicPeers") {
        bgp.dynamic = dynamic::read(&item, &around);
    }
    filters.warn_of_unused();
    let has_routes = !bgp.peers.is_empty() || !bgp.networks.is_empty();
    if has_routes && !bgp.enabled {
        section.item.warn("peers and networks say nothing while bgp.enabled is false");
    }
    section.finish();
    bgp
}

/// The router id, which may be missing only where an IPv4 address can stand in for it.
fn router_id(section: &mut Section, node: &NodeRead, is_used: bool) -> Option<RouterId> {
    if let Some(item) = section.get("routerID") {
        return item.parse();
    }
    let only_ipv6 = !node.addresses.is_empty() && node.addresses.iter().all(|a| a.value.is_ipv6());
    if only_ipv6 && is_used {
        section.item.refuse(
            "routerID is missing, and node.addresses has no IPv4 address to take it from; write \
             four octets that no other router of yours has, for instance \"routerID: 10.0.0.1\"",
        );
    }
    None
}

#[derive(Default)]
struct Listen<'a> {
    addresses: Vec<Good<'a, IpAddr>>,
    port: Option<u16>,
}

fn listen<'a>(item: &Item<'a>) -> Listen<'a> {
    let mut listen = Listen::default();
    let Some(mut section) = item.section() else { return listen };
    if let Some(item) = section.get("addresses") {
        listen.addresses = item.list(value::address).unwrap_or_default();
    }
    for (index, good) in listen.addresses.iter().enumerate() {
        let mut earlier = listen.addresses.iter().take(index);
        let same_family = |other: &&Good<IpAddr>| other.value.is_ipv4() == good.value.is_ipv4();
        if let Some(same) = earlier.clone().find(|other| other.value == good.value) {
            good.item
                .refuse(format!("{} stands here already, at {}", good.value, same.item.node.place));
        } else if let Some(other) = earlier.find(|other| {
            same_family(other) && (other.value.is_unspecified() || good.value.is_unspecified())
        }) {
            good.item.refuse(format!(
                "{} and {} cannot be listened on together: one of them is every address",
                good.value, other.value
            ));
        } else if good.value.is_unspecified() {
            good.item.warn(format!(
                "{} listens on every address of the host; name those that peers dial",
                good.value
            ));
        }
    }
    listen.port = section.get("port").and_then(|item| value::port(&item));
    section.finish();
    listen
}

fn mesh(item: &Item, bgp: &mut Bgp) {
    let Some(mut section) = item.section() else { return };
    set(&mut bgp.mesh, section.get("enabled").and_then(|item| item.boolean()));
    set(&mut bgp.retain, section.get("retain").and_then(|item| item.word(&RETAIN)));
    set(&mut bgp.mesh_limits, section.get("maxPrefixes").and_then(|item| limits::read(&item)));
    set(&mut bgp.mesh_add_paths, section.get("addPaths").and_then(|item| item.boolean()));
    if let Some(item) = section.get("bfd") {
        bgp.mesh_bfd = bfd::read(&item, None);
        if matches!(bgp.mesh_bfd, Some(Settings { path: Path::Multihop { .. }, .. })) {
            item.warn(
                "multihop for the whole mesh: all nodes must have it, also those on one link",
            );
        }
    }
    set(&mut bgp.mesh_auth, auth::signing(&mut section));
    section.finish();
}

fn graceful_restart(item: &Item, bgp: &mut Bgp) {
    let Some(mut section) = item.section() else { return };
    let restart = &mut bgp.graceful_restart;
    set(&mut restart.enabled, section.get("enabled").and_then(|item| item.boolean()));
    let time = section.get("restartTime").and_then(|item| value::restart_time(&item));
    set(&mut restart.time, time);
    restart.long_lived = section
        .get("longLivedStaleTime")
        .and_then(|item| value::duration(&item, MIN_LONG_LIVED..=MAX_LONG_LIVED));
    section.finish();
}

fn networks(item: &Item, node: &NodeRead) -> Vec<Prefix> {
    let networks = prefixes(item, false);
    for network in &networks {
        if let Some(range) = node.pod_cidrs.iter().find(|range| range.value == network.value) {
            network.item.refuse(format!(
                "{} is originated already, from node.podCIDRs at {}",
                network.value, range.item.node.place
            ));
        }
        if let Some(why) = no_unicast(&network.value) {
            network.item.refuse(why);
        }
    }
    values(&networks)
}

/// A sentence if nothing in the prefix is routed.
pub(super) fn no_unicast(prefix: &Prefix) -> Option<String> {
    let has_none = match prefix.address() {
        IpAddr::V4(v4) => v4.is_multicast() || v4 == Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
    };
    has_none.then(|| format!("{prefix} holds no unicast addresses to route"))
}
