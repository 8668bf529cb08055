//! The OPEN that we send, and what follows from the one that comes back.

use std::time::Duration;

use crate::msg::{Capability, HoldTime, Notification, Open};
use crate::net::{AfiSafi, Family};

use super::{Direction, PeerSettings, refuse};

/// The address family identifier of IPv6, as next hop family (RFC 8950 §4).
const AFI_IPV6: u16 = 2;

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Who opened the wire.
    pub direction: Direction,
    /// The hold time in force.
    pub hold_time: HoldTime,
    /// Time between KEEPALIVEs; `None` if the hold timer is off.
    pub keepalive: Option<Duration>,
    /// The families that both offered; IPv4 alone if the peer offered none (RFC 4760 §8).
    pub families: Vec<Family>,
    /// AS numbers have four octets in both directions (RFC 6793).
    pub four_octet_asns: bool,
    /// Messages may have 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer understands ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// The peer understands its begin and end marks (RFC 7313).
    pub enhanced_refresh: bool,
    /// The peer's OPEN, for display.
    pub their_open: Open,
}

/// The OPEN that we send to the peer.
pub(super) fn our_open(settings: &PeerSettings) -> Open {
    let families = offered(settings);
    let mut capabilities: Vec<Capability> =
        families.iter().map(|&family| Capability::Multiprotocol(family.into())).collect();
    capabilities.push(Capability::RouteRefresh);
    if offers_extended_next_hop(settings, &families) {
        let ipv4 = AfiSafi::from(Family::Ipv4Unicast);
        capabilities.push(Capability::ExtendedNextHop(vec![(ipv4, AFI_IPV6)]));
    }
    if settings.extended_message {
        capabilities.push(Capability::ExtendedMessage);
    }
    capabilities.push(Capability::FourOctetAsn(settings.local_asn.get()));
    capabilities.push(Capability::EnhancedRouteRefresh);
    Open {
        my_as: settings.local_asn.two_octets(),
        hold_time: settings.hold_time,
        router_id: settings.router_id,
        capabilities,
    }
}

/// Checks the peer's OPEN (RFC 4271 §6.2) and says what holds between it and ours, or
/// with which NOTIFICATION to refuse it. Capabilities that we do not know are no reason.
pub(super) fn negotiate(
    settings: &PeerSettings,
    direction: Direction,
    theirs: Open,
) -> Result<Negotiated, Notification> {
    if theirs.asn() != Some(settings.remote_asn) {
        return Err(refuse::bad_peer_as());
    }
    // Equal identifiers in different ASes are allowed (RFC 6286 §2.1).
    if settings.is_internal() && theirs.router_id == settings.router_id {
        return Err(refuse::bad_bgp_identifier());
    }
    let ours = offered(settings);
    let families = common_families(&ours, &theirs.capabilities);
    if families.is_empty() {
        return Err(refuse::no_common_family(&ours));
    }

    let has = |wanted: fn(&Capability) -> bool| theirs.capabilities.iter().any(wanted);
    let hold_time = settings.hold_time.negotiate(theirs.hold_time);
    Ok(Negotiated {
        direction,
        hold_time,
        // A third is what RFC 4271 §4.4 suggests.
        keepalive: hold_time.timeout().map(|timeout| timeout / 3),
        four_octet_asns: has(|c| matches!(c, Capability::FourOctetAsn(_))),
        extended_message: settings.extended_message
            && has(|c| matches!(c, Capability::ExtendedMessage)),
        extended_next_hop: offers_extended_next_hop(settings, &families)
            && has(|c| match c {
                Capability::ExtendedNextHop(pairs) => {
                    pairs.contains(&(Family::Ipv4Unicast.into(), AFI_IPV6))
                }
                _ => false,
            }),
        route_refresh: has(|c| matches!(c, Capability::RouteRefresh)),
        enhanced_refresh: has(|c| matches!(c, Capability::EnhancedRouteRefresh)),
        families,
        their_open: theirs,
    })
}

/// Our families, each once, IPv4 first.
fn offered(settings: &PeerSettings) -> Vec<Family> {
    Family::ALL.into_iter().filter(|family| settings.families.contains(family)).collect()
}

fn offers_extended_next_hop(settings: &PeerSettings, families: &[Family]) -> bool {
    settings.extended_next_hop && families.contains(&Family::Ipv4Unicast)
}

fn common_families(ours: &[Family], theirs: &[Capability]) -> Vec<Family> {
    let offers: Vec<AfiSafi> = theirs
        .iter()
        .filter_map(|capability| match capability {
            Capability::Multiprotocol(family) => Some(*family),
            _ => None,
        })
        .collect();
    let is_common = |family: &Family| match offers.is_empty() {
        // Who does not know the capability speaks IPv4 alone (RFC 4760 §8).
        true => *family == Family::Ipv4Unicast,
        false => offers.contains(&AfiSafi::from(*family)),
    };
    ours.iter().copied().filter(is_common).collect()
}
