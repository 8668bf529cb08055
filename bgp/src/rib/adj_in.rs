//! What happens to a path on its way in: checks, refusals, LOCAL_PREF.

use std::net::IpAddr;

use rustc_hash::FxHashSet;

use super::attr_store::DEFAULT_LOCAL_PREF;
use super::roles;
use super::settings::{PeerKind, PeerPolicy, RibPeer, RibSettings};
use super::view::Refusal;
use crate::filter::FilterAction;
use crate::msg::{Attributes, Community, NextHop};
use crate::net::Prefix;

/// The attributes as we keep them. LOCAL_PREF from another AS does not count
/// (RFC 4271 §5.1.5), nor do the attributes of reflection (RFC 4456 §8); a peer about to go
/// is the last choice (RFC 8326 §4.2).
pub(super) fn import(peer: &RibPeer, mut attributes: Attributes) -> Attributes {
    if peer.kind == PeerKind::External {
        attributes.local_pref = None;
        attributes.originator_id = None;
        attributes.cluster_list = Vec::new();
    }
    if attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
        attributes.local_pref = Some(0);
    }
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
    if attributes.as_path.contains(settings.asn) {
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
    (own.contains(&address) || !is_sane(address)).then_some(Refusal::BadNextHop(address))
}

/// Whether packets can be sent towards an address (RFC 4271 §6.3, RFC 2545 §3).
pub(super) fn is_sane(address: IpAddr) -> bool {
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

/// Why `policy` does not let `prefix` with this next hop pass; our own have none.
pub(super) fn refuse_prefix(
    policy: &PeerPolicy,
    prefix: &Prefix,
    next_hop: Option<NextHop>,
) -> Option<Refusal> {
    match policy {
        PeerPolicy::AcceptAll => None,
        PeerPolicy::RefuseUnfiltered => Some(Refusal::Unfiltered),
        PeerPolicy::Filters(filters) => {
            filters.iter().find_map(|filter| match filter.decide(prefix) {
                (FilterAction::Accept, _) => None,
                (FilterAction::Reject, rule) => {
                    Some(Refusal::Filter(std::sync::Arc::clone(&filter.name), rule))
                }
            })
        }
        PeerPolicy::Owned(owned) => refuse_foreign(owned, prefix),
        PeerPolicy::OwnedByNextHop(owned) => {
            let owned = next_hop.and_then(|hop| owned.get(&hop.address()));
            refuse_foreign(owned.map_or(&[], |owned| owned), prefix)
        }
        PeerPolicy::OriginatedOr(_) if next_hop.is_none() => None,
        PeerPolicy::OriginatedOr(others) => refuse_foreign(others, prefix),
    }
}

fn refuse_foreign(owned: &[Prefix], prefix: &Prefix) -> Option<Refusal> {
    (!owned.iter().any(|own| own.covers(prefix))).then_some(Refusal::NotOwned)
}
