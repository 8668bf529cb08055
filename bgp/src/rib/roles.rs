//! Route leaks: where a path may come from and go to by the roles of neighbours (RFC 9234 §5).
//!
//! What a provider, a peer or a route server told us goes to customers only. The attribute Only
//! to Customer (OTC) says so, with the AS that put it there.

use super::settings::{PeerKind, RibPeer};
use super::view::Refusal;
use crate::msg::Attributes;
use crate::net::{Asn, Role};

/// Our role towards a peer. Inside an AS there are none.
pub(super) fn of(peer: &RibPeer) -> Option<Role> {
    peer.role.filter(|_| peer.kind == PeerKind::External)
}

/// Notes on the way in that what comes from above or from the side goes to customers only
/// (ingress, step 3).
pub(super) fn note(peer: &RibPeer, attributes: &mut Attributes) {
    if let Some(Role::Customer | Role::Peer | Role::RouteServerClient) = of(peer) {
        attributes.only_to_customer.get_or_insert(peer.asn.get());
    }
}

/// Why a path with these attributes must not have come from the peer (ingress, steps 1 and 2).
pub(super) fn refuse(peer: &RibPeer, attributes: &Attributes) -> Option<Refusal> {
    let by = attributes.only_to_customer?;
    let is_leak = match of(peer)? {
        Role::Provider | Role::RouteServer => true,
        Role::Peer => by != peer.asn.get(),
        Role::Customer | Role::RouteServerClient => false,
    };
    is_leak.then_some(Refusal::RouteLeak(by))
}

/// Whether a path with these attributes may go to a peer towards which we have this role
/// (egress, step 2).
pub(super) fn lets_pass(role: Option<Role>, attributes: &Attributes) -> bool {
    attributes.only_to_customer.is_none()
        || !matches!(role, Some(Role::Customer | Role::Peer | Role::RouteServerClient))
}

/// Marks what goes to customers, peers and clients of a route server (egress, step 1).
pub(super) fn mark(role: Option<Role>, own: Asn, attributes: &mut Attributes) {
    if let Some(Role::Provider | Role::Peer | Role::RouteServer) = role {
        attributes.only_to_customer.get_or_insert(own.get());
    }
}
