//! From configuration and nodes to wanted peers: what the mesh is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::filter::{Filter, RouteSource};
use brindle_bgp::fsm::{PeerSettings, RestartOffer};
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, ClusterId, Family, RouterId};
use brindle_bgp::rib::{PeerKind, PeerPolicy, RibPeer, SendPaths};
use brindle_config::{Bgp, ExpectedAs, GracefulRestart, PeerAs, Retain};

use super::Node;
use super::bgp::sessions::Around;
use super::bgp::{BgpKey, BgpObjects};
use super::claims::Claims;
use crate::speaker::{DynamicPeers, Protection, Ttl, WantedPeer};

/// Longest wait between two attempts at a peer.
const CONNECT_RETRY_MAX: Duration = Duration::from_secs(30);

/// This node, as it presents itself to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name: the Node object of that name is not a peer.
    pub name: Arc<str>,
    /// Its addresses, at most one a family is used.
    pub addresses: Vec<IpAddr>,
    /// Its BGP Identifier.
    pub router_id: RouterId,
    /// Its AS.
    pub asn: Asn,
    /// Its cluster, if it reflects routes between the nodes.
    pub route_reflector: Option<ClusterId>,
}

/// A node or peer that cannot be peered with, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The name of the node or peer.
    pub name: Arc<str>,
    /// The object that asks for the session; `None` if it is the Node.
    pub object: Option<BgpKey>,
    /// A sentence.
    pub why: String,
}

impl Skipped {
    /// What is not peered with: `Node/n2`, `BGPPeer/tor`.
    pub fn what(&self) -> String {
        match &self.object {
            Some(object) => object.to_string(),
            None => format!("Node/{}", self.name),
        }
    }
}

/// The peers that configuration, objects and nodes ask for, in this order. Of two that ask for
/// one address the first counts, whole. Where nodes reflect routes, the others have sessions of
/// the mesh with these only; sessions that the mesh had without that, or without a
/// BGPConfiguration that ends it, are among the peers as [`WantedPeer::leaving`]. `claims` says
/// which ranges each node may tell.
pub fn wanted_peers(
    configuration: &Bgp,
    own: &Identity,
    nodes: &BTreeMap<Arc<str>, Arc<Node>>,
    claims: &Claims,
    objects: &BgpObjects,
) -> (Vec<WantedPeer>, Vec<Skipped>) {
    let bgp = &objects.effective(configuration, &own.name);
    let mut peers: Vec<WantedPeer> = bgp.peers.iter().map(|p| configured(bgp, own, p)).collect();
    let around = Around { bgp, configured_port: configuration.listen_port, own, nodes, claims };
    let (asked, mut skipped) = objects.sessions(&around, &peers);
    let by_objects: Vec<IpAddr> = asked.iter().map(|peer| peer.address).collect();
    peers.extend(asked);
    let others = || nodes.values().filter(|node| node.name != own.name);
    let is_reflected =
        own.route_reflector.is_some() || others().any(|node| node.route_reflector.is_some());
    let is_wanted = |node: &Node| {
        let reflects = own.route_reflector.is_some() || node.route_reflector.is_some();
        bgp.mesh && (!is_reflected || reflects)
    };
    let is_over = !configuration.mesh;
    for node in others().filter(|node| is_wanted(node) || !is_over) {
        let is_wanted = is_wanted(node);
        let skip = |why| Skipped { name: Arc::clone(&node.name), object: None, why };
        let peer = mesh_peer(bgp, own, node, claims).map(|peer| {
            // The other one may have its port from a BGPConfiguration of its own.
            let port = objects.port_of(&node.name, configuration.listen_port);
            let mut peer = WantedPeer { port, ..peer };
            objects.protect_mesh(bgp, &mut peer.protection);
            peer
        });
        match peer {
            Err(why) if is_wanted => skipped.push(skip(why)),
            Err(_) => {}
            Ok(peer) => {
                let same_name = peers.iter().any(|other| other.rib.name == peer.rib.name);
                match peers.iter().find(|other| other.address == peer.address) {
                    // One session, whose settings are those of the object.
                    Some(_) if by_objects.contains(&peer.address) => {}
                    Some(_) if !is_wanted => {}
                    Some(other) => {
                        let (name, address) = (&other.rib.name, peer.address);
                        skipped
                            .push(skip(format!("{address} is already the address of peer {name}")));
                    }
                    None if same_name && !is_wanted => {}
                    None if same_name => {
                        skipped.push(skip("a configured peer has the same name".to_owned()));
                    }
                    None => {
                        let refusal = peer.protection.refusal().filter(|_| is_wanted);
                        skipped.extend(refusal.map(|why| skip(why.to_owned())));
                        peers.push(WantedPeer { leaving: !is_wanted, ..peer });
                    }
                }
            }
        }
    }
    (peers, skipped)
}

fn configured(bgp: &Bgp, own: &Identity, peer: &brindle_config::Peer) -> WantedPeer {
    let local_asn = peer.local_asn.unwrap_or(own.asn);
    // Our AS may be another than that of the file.
    let asn = match peer.asn_word {
        None => peer.asn,
        Some(PeerAs::Internal) => local_asn,
        Some(PeerAs::External) => ExpectedAs::External.example(local_asn),
    };
    let kind = match (asn == local_asn, peer.reflector_client) {
        (false, _) => PeerKind::External,
        (true, true) => PeerKind::ReflectorClient,
        (true, false) => PeerKind::Internal,
    };
    let rib = RibPeer {
        import: policy(kind, peer.import.as_deref()),
        export: policy(kind, peer.export.as_deref()),
        next_hop_mode: peer.next_hop_mode,
        limits: peer.limits.clone(),
        local_asn: peer.local_asn,
        allowed_own_asn: peer.allowed_own_asn,
        role: peer.role,
        send_paths: peer.add_paths.send,
        ..RibPeer::new(Arc::clone(&peer.name), peer.address, asn, kind)
    };
    let restart = &bgp.graceful_restart;
    let enabled = peer.graceful_restart.unwrap_or(restart.enabled);
    let time = peer.restart_time.unwrap_or(restart.time);
    let session = PeerSettings {
        graceful_restart: offer(&GracefulRestart { enabled, time, ..*restart }),
        role: peer.role,
        role_strict: peer.role_strict,
        any_external: peer.asn_word == Some(PeerAs::External),
        receive_paths: peer.add_paths.receive,
        send_paths: peer.add_paths.sends(),
        local_asn,
        ..session(bgp, own, asn, peer.hold_time, peer.passive)
    };
    WantedPeer {
        port: peer.port,
        link: peer.link.clone(),
        is_found: peer.is_found,
        reachable_by: peer.reachable_by,
        source: peer.source_address,
        bfd: peer.bfd,
        protection: Protection { ttl: ttl(kind, peer), ..Protection::default() },
        own_addresses: own.addresses.clone(),
        ..WantedPeer::new(session, rib)
    }
}

/// The peers that may come by themselves, from the prefixes that the configuration names.
pub fn dynamic_peers(bgp: &Bgp, own: &Identity) -> Vec<DynamicPeers> {
    let group = |group: &brindle_config::DynamicPeers| DynamicPeers {
        name: Arc::clone(&group.peer.name),
        prefixes: group.cidrs.clone(),
        asn: group.asn,
        limit: group.limit,
        template: {
            // Whether they are internal hangs on our AS as it is, which a Node may name.
            let asn = group.asn.example(group.peer.local_asn.unwrap_or(own.asn));
            configured(bgp, own, &brindle_config::Peer { asn, ..group.peer.clone() })
        },
    };
    bgp.dynamic.iter().map(group).collect()
}

/// What is offered of graceful restart.
pub(super) fn offer(restart: &GracefulRestart) -> Option<RestartOffer> {
    let &GracefulRestart { enabled, time, long_lived } = restart;
    enabled.then_some(RestartOffer { time, long_lived })
}

/// Other implementations let external sessions reach the next hop only, too, unless told
/// otherwise.
fn ttl(kind: PeerKind, peer: &brindle_config::Peer) -> Ttl {
    match (peer.ttl_security, kind) {
        (Some(hops), _) => Ttl::Security(hops),
        (None, PeerKind::External) => Ttl::Hops(peer.ebgp_multihop.unwrap_or(1)),
        (None, PeerKind::Internal | PeerKind::ReflectorClient) => Ttl::Any,
    }
}

/// A missing list of filters lets an internal peer through and refuses an external one
/// (RFC 8212); an empty one lets everybody through.
fn policy(kind: PeerKind, filters: Option<&[Arc<Filter>]>) -> PeerPolicy {
    match (filters, kind) {
        (Some([]), _) | (None, PeerKind::Internal | PeerKind::ReflectorClient) => {
            PeerPolicy::AcceptAll
        }
        (None, PeerKind::External) => PeerPolicy::RefuseUnfiltered,
        (Some(filters), _) => PeerPolicy::Filters(filters.to_vec()),
    }
}

fn mesh_peer(
    bgp: &Bgp,
    own: &Identity,
    node: &Node,
    claims: &Claims,
) -> Result<WantedPeer, String> {
    let (source, address) = common_family(&own.addresses, &node.addresses)?;
    if own.addresses.contains(&address) {
        return Err(format!("its address {address} is our own"));
    }
    let asn = node.asn.unwrap_or(bgp.asn);
    let kind = match (own.route_reflector, node.route_reflector) {
        _ if asn != own.asn => PeerKind::External,
        (Some(_), None) => PeerKind::ReflectorClient,
        (_, Some(_)) | (None, None) => PeerKind::Internal,
    };
    let import = if node.route_reflector.is_some() {
        PeerPolicy::OwnedByNextHop(Arc::new(claims.by_next_hop()))
    } else {
        PeerPolicy::Owned(claims.owned(&node.name))
    };
    // Without this, nodes in different AS would pass on all that they hear of each other.
    let export = match own.route_reflector {
        Some(_) => PeerPolicy::AcceptAll,
        None => PeerPolicy::OriginatedOr(claims.ranges(&own.name)),
    };
    // Only who reflects has several paths of one prefix to tell.
    let send_paths = match own.route_reflector {
        Some(_) if bgp.mesh_add_paths => SendPaths::All,
        _ => SendPaths::One,
    };
    let rib = RibPeer {
        import,
        export,
        source: RouteSource::Mesh,
        limits: bgp.mesh_limits.clone(),
        send_paths,
        ..RibPeer::new(Arc::clone(&node.name), address, asn, kind)
    };
    let session = PeerSettings {
        // Offered whoever reflects now: so no session ends when others do.
        receive_paths: bgp.mesh_add_paths,
        send_paths: bgp.mesh_add_paths,
        ..session(bgp, own, asn, bgp.hold_time, false)
    };
    Ok(WantedPeer {
        port: bgp.listen_port,
        source: Some(source),
        own_addresses: own.addresses.clone(),
        mesh: true,
        reflects: node.route_reflector.is_some(),
        retain: bgp.retain == Retain::NodeObject,
        bfd: bgp.mesh_bfd,
        ..WantedPeer::new(session, rib)
    })
}

/// Our address and theirs, IPv4 where both have it: one session carries both families.
pub(super) fn common_family(
    ours: &[IpAddr],
    theirs: &[IpAddr],
) -> Result<(IpAddr, IpAddr), String> {
    if theirs.is_empty() {
        return Err("its Node object has no InternalIP address yet".to_owned());
    }
    for family in Family::ALL {
        let of =
            |addresses: &[IpAddr]| addresses.iter().copied().find(|a| Family::of(*a) == family);
        if let (Some(our), Some(their)) = (of(ours), of(theirs)) {
            return Ok((our, their));
        }
    }
    let list = |addresses: &[IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    Err(format!("no family in common: we have {}, it has {}", list(ours), list(theirs)))
}

/// What the machine is told of a session.
pub(super) fn session(
    bgp: &Bgp,
    own: &Identity,
    remote_asn: Asn,
    hold_time: HoldTime,
    passive: bool,
) -> PeerSettings {
    PeerSettings {
        hold_time,
        connect_retry: bgp.connect_retry,
        connect_retry_max: CONNECT_RETRY_MAX.max(bgp.connect_retry),
        passive,
        graceful_restart: offer(&bgp.graceful_restart),
        ..PeerSettings::new(own.asn, own.router_id, remote_asn)
    }
}

#[cfg(test)]
mod tests {
    use brindle_bgp::net::Prefix;

    use super::*;
    use crate::cluster::claims::settle;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn own(addresses: &[&str]) -> Identity {
        Identity {
            name: "n1".into(),
            addresses: addresses.iter().map(|a| ip(a)).collect(),
            router_id: "10.0.0.1".parse().unwrap(),
            asn: Asn::new(64512).unwrap(),
            route_reflector: None,
        }
    }

    fn node(name: &str, addresses: &[&str], asn: Option<u32>) -> Arc<Node> {
        Arc::new(Node {
            name: name.into(),
            addresses: addresses.iter().map(|a| ip(a)).collect(),
            pod_cidrs: vec!["10.244.9.0/24".parse().unwrap()],
            networks: vec!["192.0.2.0/24".parse().unwrap()],
            asn: asn.map(|asn| Asn::new(asn).unwrap()),
            route_reflector: None,
            created: None,
            labels: BTreeMap::new(),
            cordon: Default::default(),
        })
    }

    fn bgp(yaml: &str) -> Bgp {
        brindle_config::Config::from_yaml("test.yaml", yaml).unwrap().bgp
    }

    fn mesh(own: &Identity, nodes: &[Arc<Node>], yaml: &str) -> (Vec<WantedPeer>, Vec<Skipped>) {
        let nodes = nodes.iter().map(|node| (Arc::clone(&node.name), Arc::clone(node))).collect();
        let claims = settle(&nodes, None, &Claims::default());
        wanted_peers(&bgp(yaml), own, &nodes, &claims, &BgpObjects::default())
    }

    #[test]
    fn every_other_node_is_a_peer_over_one_common_family() {
        let dual = ["10.0.0.1", "fd00::1"];
        for (ours, theirs, want) in [
            (&dual[..], &["10.0.0.2", "fd00::2"][..], Some("10.0.0.2")),
            (&dual[..], &["fd00::2", "10.0.0.2"][..], Some("10.0.0.2")),
            (&dual[..], &["fd00::2"][..], Some("fd00::2")),
            (&dual[..1], &["fd00::2"][..], None),
            (&dual[..], &[][..], None),
            (&dual[..], &["10.0.0.1"][..], None),
        ] {
            let nodes = [node("n1", ours, None), node("n2", theirs, None)];
            let (peers, skipped) = mesh(&own(ours), &nodes, "{}");
            let got: Vec<IpAddr> = peers.iter().map(|peer| peer.address).collect();
            assert_eq!(got, want.map(ip).into_iter().collect::<Vec<_>>(), "{ours:?} {theirs:?}");
            assert_eq!(skipped.len(), usize::from(want.is_none()), "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn a_mesh_peer_may_tell_what_its_node_owns_and_nothing_else() {
        let (peers, _) = mesh(&own(&["10.0.0.1"]), &[node("n2", &["10.0.0.2"], None)], "{}");
        let owned: Arc<[Prefix]> =
            Arc::from(["10.244.9.0/24", "192.0.2.0/24"].map(|text| text.parse().unwrap()));
        assert_eq!(peers[0].rib.import, PeerPolicy::Owned(owned.into()));
        assert_eq!(peers[0].rib.kind, PeerKind::Internal);
    }

    #[test]
    fn a_node_in_another_as_is_an_external_peer() {
        let nodes = [node("n2", &["10.0.0.2"], Some(65002))];
        let (peers, _) = mesh(&own(&["10.0.0.1"]), &nodes, "{}");
        assert_eq!(
            (peers[0].rib.kind, peers[0].session.remote_asn.get()),
            (PeerKind::External, 65002)
        );
    }

    #[test]
    fn where_nodes_reflect_the_others_have_sessions_with_these_only() {
        let reflector = |node: Arc<Node>| {
            Arc::new(Node { route_reflector: Some(ClusterId(7)), ..Node::clone(&node) })
        };
        let plain = |number: u8| node(&format!("n{number}"), &[&format!("10.0.0.{number}")], None);
        let clients = [plain(1), plain(2)];
        let nodes: Vec<_> = clients.into_iter().chain([3, 4].map(plain).map(reflector)).collect();
        let client = own(&["10.0.0.1"]);
        let other = Identity {
            name: "n3".into(),
            addresses: vec![ip("10.0.0.3")],
            route_reflector: Some(ClusterId(7)),
            ..client.clone()
        };
        use PeerKind::{External, Internal, ReflectorClient};
        for (who, asn, want) in [
            (&client, 64512, vec![("n3", Internal, true), ("n4", Internal, true)]),
            (
                &other,
                64512,
                vec![
                    ("n1", ReflectorClient, false),
                    ("n2", ReflectorClient, false),
                    ("n4", Internal, true),
                ],
            ),
            (&client, 64513, vec![("n3", External, true), ("n4", External, true)]),
        ] {
            let who = Identity { asn: Asn::new(asn).unwrap(), ..who.clone() };
            let (peers, skipped) = mesh(&who, &nodes, "{}");
            let by_next_hop =
                |peer: &WantedPeer| matches!(peer.rib.import, PeerPolicy::OwnedByNextHop(_));
            let staying = peers.iter().filter(|peer| !peer.leaving);
            let got: Vec<_> =
                staying.map(|peer| (&*peer.rib.name, peer.rib.kind, by_next_hop(peer))).collect();
            assert_eq!(got, want, "{who:?}");
            // Who does not reflect passes nothing on.
            let passes_on = |peer: &WantedPeer| peer.rib.export == PeerPolicy::AcceptAll;
            assert!(peers.iter().all(|peer| passes_on(peer) == who.route_reflector.is_some()));
            assert!(skipped.is_empty(), "{skipped:?}");
            assert!(peers.iter().all(|peer| peer.session.local_asn.get() == asn));
        }
    }

    #[test]
    fn what_is_configured_comes_before_the_mesh() {
        let yaml = "bgp: {peers: [{name: special, peerIP: 10.0.0.2, asNumber: 64512}]}";
        let (peers, skipped) = mesh(&own(&["10.0.0.1"]), &[node("n2", &["10.0.0.2"], None)], yaml);
        assert_eq!(peers.len(), 1);
        assert!(!peers[0].mesh);
        assert_eq!(skipped[0].why, "10.0.0.2 is already the address of peer special");
    }

    #[test]
    fn only_external_peers_must_be_near() {
        for (asn, more, want) in [
            (65001, "", Ttl::Hops(1)),
            (65001, ", ebgpMultihop: 3", Ttl::Hops(3)),
            (65001, ", ttlSecurity: 2", Ttl::Security(2)),
            (64512, "", Ttl::Any),
            (64512, ", ebgpMultihop: 3", Ttl::Any),
            (64512, ", ttlSecurity: 2", Ttl::Security(2)),
        ] {
            let yaml =
                format!("bgp: {{peers: [{{name: t, peerIP: 10.0.0.9, asNumber: {asn}{more}}}]}}");
            let nodes = [node("n2", &["10.0.0.2"], Some(65001))];
            let (peers, _) = mesh(&own(&["10.0.0.1"]), &nodes, &yaml);
            assert_eq!(peers[0].protection.ttl, want, "AS {asn}{more}");
            assert_eq!(peers[1].protection, Protection::default(), "the mesh");
        }
    }

    #[test]
    fn without_the_mesh_nodes_are_no_peers() {
        let yaml = "bgp: {nodeToNodeMesh: {enabled: false}}";
        let (peers, skipped) = mesh(&own(&["10.0.0.1"]), &[node("n2", &["10.0.0.2"], None)], yaml);
        assert!(peers.is_empty() && skipped.is_empty());
    }

    #[test]
    fn an_external_peer_without_filters_is_refused_everything() {
        for (filters, want) in
            [("", PeerPolicy::RefuseUnfiltered), (", importFilters: []", PeerPolicy::AcceptAll)]
        {
            let yaml = format!(
                "bgp: {{peers: [{{name: t, peerIP: 10.0.0.9, asNumber: 65001{filters}}}]}}"
            );
            let (peers, _) = mesh(&own(&["10.0.0.1"]), &[], &yaml);
            assert_eq!(peers[0].rib.import, want, "{filters}");
        }
    }
}
