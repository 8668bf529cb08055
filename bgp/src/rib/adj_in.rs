//! What happens to a path on its way in: checks, refusals, LOCAL_PREF.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::attr_store::DEFAULT_LOCAL_PREF;
use super::roles;
use super::settings::{PeerKind, PeerPolicy, RibPeer, RibSettings};
use super::view::Refusal;
use crate::filter::{Filter, Matched, Route, RouteSource, Session, Verdict, apply, evaluate};
use crate::msg::{Attributes, Community, NextHop};
use crate::net::{Asn, Prefix};

/// The attributes as we keep them. LOCAL_PREF from another AS does not count
/// (RFC 4271 §5.1.5), nor do the attributes of reflection (RFC 4456 §8); a peer about to go
/// is the last choice (RFC 8326 §4.2).
pub(super) fn import(peer: &RibPeer, mut attributes: Attributes) -> Attributes {
    if peer.kind == PeerKind::External {
        attributes.local_pref = None;
        attributes.originator_id = None;
        attributes.cluster_list = Vec::new();
    }
    prefer_last_if_going(&mut attributes);
    attributes.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
    roles::note(peer, &mut attributes);
    attributes
}

/// Why no path with these attributes and this next hop can be taken from the peer.
pub(super) fn refuse_path(
    settings: &RibSettings,
    own: &FxHashSet<IpAddr>,
    peer: &RibPeer,
    attributes: &Attributes,
    next_hop: NextHop,
) -> Option<Refusal> {
    let ours = peer.own_asn(settings.asn);
    if attributes.as_path.count(ours) > usize::from(peer.allowed_own_asn) {
        return Some(Refusal::AsLoop);
    }
    if attributes.originator_id == Some(settings.router_id) {
        return Some(Refusal::OriginatorLoop);
    }
    if attributes.cluster_list.contains(&settings.cluster_id) {
        return Some(Refusal::ClusterLoop);
    }
    if peer.kind == PeerKind::External && attributes.as_path.first() != Some(peer.asn) {
        return Some(Refusal::WrongFirstAs);
    }
    if let Some(leak) = roles::refuse(peer, attributes) {
        return Some(leak);
    }
    let address = next_hop.address();
    // A link-local address of ours may be another's on another link.
    let is_own = next_hop.link().is_none() && own.contains(&address);
    (is_own || !is_sane(address)).then_some(Refusal::BadNextHop(address))
}

/// Whether packets can be sent towards an address (RFC 4271 §6.3, RFC 2545 §3).
fn is_sane(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.octets()[0] != 0
                && !(v4.is_loopback()
                    || v4.is_multicast()
                    || v4.is_link_local()
                    || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast())
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

/// What filters look at in a path, with the interface that its next hop is reached over if they
/// ask for it.
#[inline]
pub(super) fn route<'a>(
    prefix: &Prefix,
    attributes: &'a Attributes,
    (next_hop, interface): (Option<NextHop>, Option<&'a str>),
    source: RouteSource,
    session: Session,
) -> Route<'a> {
    let next_hop = next_hop.map(|hop| hop.address());
    Route { prefix: *prefix, attributes, next_hop, interface, source, session }
}

/// Which rules of `policy` change `route` on its way, or why it does not pass. Our own routes
/// have no next hop.
pub(super) fn admit(policy: &PeerPolicy, route: &Route<'_>) -> Result<Matched, Refusal> {
    let refusal = match policy {
        PeerPolicy::AcceptAll => None,
        PeerPolicy::RefuseUnfiltered => Some(Refusal::Unfiltered),
        PeerPolicy::Filters(filters) => {
            let decision = evaluate(filters, route);
            let (Verdict::Reject, Some((at, rule))) = (decision.verdict, decision.by) else {
                return Ok(decision.matched);
            };
            Some(refused_by(&filters[at], rule))
        }
        PeerPolicy::Owned(owned) => refuse_foreign(owned.has(&route.prefix)),
        PeerPolicy::OwnedByNextHop(owned) => {
            let owned = route.next_hop.and_then(|hop| owned.get(&hop));
            refuse_foreign(owned.is_some_and(|owned| owned.has(&route.prefix)))
        }
        PeerPolicy::OriginatedOr(_) if route.next_hop.is_none() => None,
        PeerPolicy::OriginatedOr(others) => {
            refuse_foreign(others.iter().any(|other| other.covers(&route.prefix)))
        }
    };
    refusal.map_or(Ok(Matched::default()), Err)
}

/// Why a filter refuses a path, by that rule or by none.
fn refused_by(filter: &Filter, rule: Option<usize>) -> Refusal {
    match rule.map(|rule| filter.place(rule)) {
        Some((list, place)) => Refusal::Filter(Arc::clone(list), Some(place)),
        None if filter.ends_in_ownership => Refusal::NotOwned,
        None => Refusal::Filter(Arc::clone(&filter.name), None),
    }
}

/// The attributes after import filters. A peer about to go is the last choice whatever they
/// say (RFC 8326 §4.2), unless they take the community away that says so.
pub(super) fn change(
    policy: &PeerPolicy,
    matched: &Matched,
    mut attributes: Attributes,
    ours: Asn,
) -> Attributes {
    if let PeerPolicy::Filters(filters) = policy {
        apply(filters, matched, &mut attributes, ours);
    }
    prefer_last_if_going(&mut attributes);
    attributes
}

/// A peer about to go is the last choice (RFC 8326 §4.2).
pub fn prefer_last_if_going(attributes: &mut Attributes) {
    if attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
        attributes.local_pref = Some(0);
    }
}

fn refuse_foreign(is_owned: bool) -> Option<Refusal> {
    (!is_owned).then_some(Refusal::NotOwned)
}
