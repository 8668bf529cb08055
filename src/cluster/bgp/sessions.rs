//! Which sessions BGPPeers come down to on this node.
//!
//! Where several objects ask for a session with one address, the first counts, whole: those that
//! name this node, then those that select it, then those of all nodes, then those that select it
//! as the peer of others; in each of these by name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::filter::RouteSource;
use brindle_bgp::net::{Asn, Family};
use brindle_bgp::rib::{NextHopMode, PeerKind, RibPeer};
use brindle_config::{Bgp, GracefulRestart, Retain};
use brindle_policy::model::Labels;
use brindle_policy::selector::{Expr, Subject};

use super::engine::{self, Direction, Otherwise};
use super::{BgpKey, BgpObjects, BgpPeer, EXTRAS, Remote, Whose};
use crate::cluster::Node;
use crate::cluster::claims::Claims;
use crate::cluster::peers::{Identity, Skipped, offer, session};
use crate::speaker::{Protection, Ttl, WantedPeer};

/// What decides, besides the objects.
pub(crate) struct Around<'a> {
    /// `bgp:` as it holds by now ([`BgpObjects::effective`]).
    pub(crate) bgp: &'a Bgp,
    /// The port of brindle.yaml.
    pub(crate) configured_port: u16,
    pub(crate) own: &'a Identity,
    pub(crate) nodes: &'a BTreeMap<Arc<str>, Arc<Node>>,
    pub(crate) claims: &'a Claims,
}

/// A session that an object asks for.
struct Asked<'a> {
    by: &'a BgpPeer,
    /// The node at the other end, if it is one.
    node: Option<&'a Node>,
    address: IpAddr,
    port: u16,
    asn: Asn,
}

impl BgpObjects {
    /// The sessions that BGPPeers ask for on this node, each address once and none that is
    /// `taken`, and what is in the way of others.
    pub(crate) fn sessions(
        &self,
        around: &Around<'_>,
        taken: &[WantedPeer],
    ) -> (Vec<WantedPeer>, Vec<Skipped>) {
        let (mut peers, mut skipped): (Vec<WantedPeer>, Vec<Skipped>) = Default::default();
        for asked in self.asked(around, &mut skipped) {
            let mut others = taken.iter().chain(&peers);
            if let Some(other) = others.find(|other| other.address == asked.address) {
                // Selectors overlap as a matter of course.
                if asked.node.is_none() {
                    let (address, name) = (asked.address, &other.rib.name);
                    let why = format!("{address} is already the address of peer {name}");
                    skipped.push(skip(asked.by, why));
                }
                continue;
            }
            match self.session(&asked, around) {
                Ok(peer) => {
                    // It is known, and not spoken to.
                    let refusal = peer.protection.refusal().map(ToOwned::to_owned);
                    skipped.extend(refusal.map(|why| skip(asked.by, why)));
                    peers.push(peer);
                }
                Err(why) => skipped.push(skip(asked.by, why)),
            }
        }
        (peers, skipped)
    }

    /// All sessions that objects ask for, those that count first.
    fn asked<'a>(&'a self, around: &Around<'a>, skipped: &mut Vec<Skipped>) -> Vec<Asked<'a>> {
        let own =
            around.nodes.get(&around.own.name).map(|node| node.selectable()).unwrap_or_default();
        let rank = |whose: &Whose| match whose {
            Whose::Node(name) => (*name == around.own.name).then_some(0),
            Whose::Selected(expr) => selects(expr, &own).then_some(1),
            Whose::Everybody => Some(2),
        };
        let mut forward: Vec<(u8, &BgpPeer)> =
            self.peers.values().filter_map(|peer| Some((rank(&peer.whose)?, &**peer))).collect();
        forward.sort_by_key(|(rank, _)| *rank);
        let mut asked = Vec::new();
        for (_, by) in forward {
            match &by.remote {
                Remote::Router { address, port, asn } => {
                    let (address, asn) = (*address, *asn);
                    if around.own.addresses.contains(&address) {
                        // One that is for all nodes may name one of them.
                        continue;
                    }
                    let node = around.claims.node_at(address);
                    let node = node.and_then(|name| around.nodes.get(name)).map(|node| &**node);
                    let of_node = node.map(|node| self.port_of(&node.name, around.configured_port));
                    let port = port.or(of_node).unwrap_or(BGP_PORT);
                    asked.push(Asked { by, node, address, port, asn });
                }
                Remote::Nodes { selected, .. } => {
                    let is_there = |node: &Node| selects(selected, &node.selectable());
                    asked.extend(self.nodes_asked(by, is_there, around, skipped));
                }
            }
        }
        for by in self.peers.values() {
            let Remote::Nodes { selected, both_ways: true } = &by.remote else { continue };
            if selects(selected, &own) {
                let has_it = |node: &Node| match &by.whose {
                    Whose::Node(name) => *name == node.name,
                    Whose::Selected(expr) => selects(expr, &node.selectable()),
                    Whose::Everybody => true,
                };
                asked.extend(self.nodes_asked(by, has_it, around, skipped));
            }
        }
        asked
    }

    /// Sessions with the nodes for which `is_one` holds.
    fn nodes_asked<'a>(
        &self,
        by: &'a BgpPeer,
        is_one: impl Fn(&Node) -> bool,
        around: &Around<'a>,
        skipped: &mut Vec<Skipped>,
    ) -> Vec<Asked<'a>> {
        let others = around.nodes.values().filter(|node| node.name != around.own.name);
        let mut asked = Vec::new();
        for node in others.filter(|node| is_one(node)) {
            let address =
                crate::cluster::peers::common_family(&around.own.addresses, &node.addresses);
            match address {
                Ok((_, address)) if !around.own.addresses.contains(&address) => {
                    let port = self.port_of(&node.name, around.configured_port);
                    let asn = node.asn.unwrap_or(around.bgp.asn);
                    asked.push(Asked { by, node: Some(node), address, port, asn });
                }
                Ok((_, address)) => {
                    let why = format!("Node/{}: its address {address} is our own", node.name);
                    skipped.push(skip(by, why));
                }
                Err(why) => skipped.push(skip(by, format!("Node/{}: {why}", node.name))),
            }
        }
        asked
    }

    /// How the session shall be; why it cannot be.
    fn session(&self, asked: &Asked<'_>, around: &Around<'_>) -> Result<WantedPeer, String> {
        let Asked { by, node, address, port, asn } = *asked;
        let (bgp, own, claims) = (around.bgp, around.own, around.claims);
        let local_asn = by.local_asn.unwrap_or(own.asn);
        let kind = kind(own, node, local_asn, asn);
        let is_node = node.is_some();
        let reflects = own.route_reflector.is_some();
        let (import, export) = match node {
            // As in the mesh, but that a reflector is believed: it may tell of routers.
            Some(node) => (
                match node.route_reflector {
                    None => Otherwise::Inside(claims.owned(&node.name)),
                    Some(_) => Otherwise::Accept,
                },
                match reflects {
                    true => Otherwise::Accept,
                    false => Otherwise::OwnAnd(claims.ranges(&own.name)),
                },
            ),
            // As Calico has it: routers are told of the cluster, and of nothing else.
            None => (Otherwise::Accept, Otherwise::OwnAnd(claims.all_ranges())),
        };
        let filters = by.filters.iter().map(|name| {
            let filter = self.filters.get(name);
            filter.ok_or_else(|| format!("spec.filters: there is no BGPFilter {name}"))
        });
        let filters: Vec<_> = filters.collect::<Result<_, _>>()?;
        let normal = self.normal_priorities();
        let policy = |direction, otherwise| engine::policy(&filters, normal, direction, otherwise);
        let extras = &by.extras;
        if extras.role.is_some() && kind != PeerKind::External {
            return Err(format!(
                "{EXTRAS}: role: a peer of our own AS {asn} has no role (RFC 9234)"
            ));
        }
        let keeps = by.keep_original_next_hop && kind == PeerKind::External;
        let usual = if keeps { NextHopMode::Keep } else { NextHopMode::Auto };
        let rib = RibPeer {
            import: policy(Direction::Import, import),
            export: policy(Direction::Export, export),
            next_hop_mode: by.next_hop_mode.unwrap_or(usual),
            limits: extras.limits.clone(),
            role: extras.role,
            send_paths: extras.add_paths.send,
            local_asn: by.local_asn,
            allowed_own_asn: by.allowed_own_asn,
            source: if is_node { RouteSource::Mesh } else { RouteSource::Peer },
            ..RibPeer::new(name(asked, around), address, asn, kind)
        };
        let source = own.addresses.iter().find(|own| Family::of(**own) == Family::of(address));
        // As Calico has it: whoever says nothing may be any number of hops away.
        let ttl = by.ttl_security.map_or(Ttl::Any, Ttl::Security);
        let mut protection = Protection { ttl, ..Protection::default() };
        if let Some(at) = &by.password {
            self.sign("spec.password", at, &mut protection);
        }
        let hold_time = by.hold_time.unwrap_or(bgp.hold_time);
        let mut session = session(bgp, own, asn, hold_time, extras.passive);
        session.local_asn = local_asn;
        session.receive_paths = extras.add_paths.receive;
        session.send_paths = extras.add_paths.sends();
        (session.role, session.role_strict) = (extras.role, extras.role_strict);
        if let Some(enabled) = extras.graceful_restart {
            session.graceful_restart = offer(&GracefulRestart { enabled, ..bgp.graceful_restart });
        }
        if let (Some(time), Some(offer)) = (by.max_restart_time, &mut session.graceful_restart) {
            offer.time = time;
        }
        Ok(WantedPeer {
            port,
            source: source.copied().filter(|_| by.from_node_address),
            own_addresses: own.addresses.clone(),
            reachable_by: by.reachable_by,
            mesh: is_node,
            reflects: node.is_some_and(|node| node.route_reflector.is_some()),
            protection,
            bfd: extras.bfd,
            retain: is_node && bgp.retain == Retain::NodeObject,
            ..WantedPeer::new(session, rib)
        })
    }
}

impl BgpPeer {
    /// Whether it may ask for a session of the node of this name and with these labels.
    pub(crate) fn is_about(&self, node: &str, own: &Labels) -> bool {
        let is_its = match &self.whose {
            Whose::Node(name) => &**name == node,
            Whose::Selected(expr) => selects(expr, own),
            Whose::Everybody => true,
        };
        is_its
            || match &self.remote {
                Remote::Nodes { selected, both_ways } => *both_ways && selects(selected, own),
                Remote::Router { .. } => false,
            }
    }
}

impl Node {
    /// Its labels, as selectors ask for them.
    pub(crate) fn selectable(&self) -> Labels {
        self.labels.iter().map(|(key, value)| (Arc::from(&**key), Arc::from(&**value))).collect()
    }
}

/// The port of BGP (RFC 4271 §8.2.1).
const BGP_PORT: u16 = 179;

fn skip(by: &BgpPeer, why: String) -> Skipped {
    let object = Some(BgpKey::Peer(Arc::clone(&by.name)));
    Skipped { name: Arc::clone(&by.name), object, why }
}

/// How the other end relates to us, who are in `local_asn` there. Whoever reflects has clients in all of its AS but those
/// that reflect for the same cluster.
fn kind(own: &Identity, node: Option<&Node>, local_asn: Asn, asn: Asn) -> PeerKind {
    let theirs = node.and_then(|node| node.route_reflector);
    match own.route_reflector {
        _ if asn != local_asn => PeerKind::External,
        Some(ours) if theirs != Some(ours) => PeerKind::ReflectorClient,
        Some(_) | None => PeerKind::Internal,
    }
}

/// What the peer is called: as in the mesh if it is a node, so that its session stays whoever
/// asks for it; else as the object, unless a node has that name.
fn name(asked: &Asked<'_>, around: &Around<'_>) -> Arc<str> {
    let by = &asked.by.name;
    match asked.node {
        Some(node) => Arc::clone(&node.name),
        None if around.nodes.contains_key(by)
            || around.bgp.peers.iter().any(|peer| peer.name == *by) =>
        {
            format!("bgppeer-{by}").into()
        }
        None => Arc::clone(by),
    }
}

fn selects(expr: &Expr, labels: &Labels) -> bool {
    expr.matches(&Subject { namespace: None, own: labels, of_namespace: None, of_account: None })
}
