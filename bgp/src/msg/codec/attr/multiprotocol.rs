//! MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 §3-4, RFC 2545 §3, RFC 8950 §3).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Reach, value};
use crate::msg::codec::read::{self, Read};
use crate::msg::codec::{WireFormat, nlri};
use crate::msg::{NextHop, Nlri};
use crate::net::{AfiSafi, Family};

/// What a multiprotocol attribute says.
pub(super) struct Multiprotocol<T> {
    /// The family, known to us or not.
    pub(super) family: AfiSafi,
    /// Its content if the family was agreed.
    pub(super) agreed: Option<T>,
    /// Whether anything stands in its field of prefixes.
    pub(super) has_prefixes: bool,
}

/// Reads an MP_REACH_NLRI; `None` if it cannot be split into prefixes, which ends the
/// session (RFC 7606 §5.3, 7.11).
pub(super) fn reach(value: &[u8], format: &WireFormat) -> Option<Multiprotocol<Reach>> {
    let (rest, family) = family(value).ok()?;
    let (rest, next_hop) = read::take_u8(rest).ok()?;
    // Reserved: to be ignored, also where it is the number of SNPAs of old.
    let (field, _reserved) = read::u8(rest).ok()?;
    let agreed = match agreed(family, format) {
        None => None,
        Some(family) => {
            let next_hop = self::next_hop(next_hop, family, format)?;
            let prefixes = prefixes(field, family, format)?;
            Some(Reach { next_hop, prefixes })
        }
    };
    Some(Multiprotocol { family, agreed, has_prefixes: !field.is_empty() })
}

/// Reads an MP_UNREACH_NLRI; `None` as for [`reach`].
pub(super) fn unreach(
    value: &[u8],
    format: &WireFormat,
) -> Option<Multiprotocol<(Family, Vec<Nlri>)>> {
    let (field, family) = family(value).ok()?;
    let agreed = match agreed(family, format) {
        None => None,
        Some(family) => Some((family, prefixes(field, family, format)?)),
    };
    Some(Multiprotocol { family, agreed, has_prefixes: !field.is_empty() })
}

fn family(input: &[u8]) -> Read<'_, AfiSafi> {
    let (input, afi) = read::u16(input)?;
    let (input, safi) = read::u8(input)?;
    Ok((input, AfiSafi { afi, safi }))
}

fn agreed(family: AfiSafi, format: &WireFormat) -> Option<Family> {
    family.family().filter(|family| format.families.contains(family))
}

fn prefixes(field: &[u8], family: Family, format: &WireFormat) -> Option<Vec<Nlri>> {
    let mut prefixes = Vec::new();
    nlri::decode(field, family, format.add_paths.receive[family.index()], &mut prefixes).ok()?;
    Some(prefixes)
}

/// The next hop; inside, why it can be none; `None` for a length that the family does not have
/// (RFC 7606 §7.11: 24 and 48 octets are for VPNs, RFC 8950 §3).
fn next_hop(field: &[u8], family: Family, format: &WireFormat) -> Option<Result<NextHop, String>> {
    if let (Family::Ipv4Unicast, Some(octets)) = (family, read::exactly::<4>(field)) {
        let address = Ipv4Addr::from(octets);
        let is_host = value::is_host_v4(address);
        return Some(if is_host { Ok(NextHop::V4(address)) } else { Err(bad(address.into())) });
    }
    if family == Family::Ipv4Unicast && !format.extended_next_hop {
        return None;
    }
    if let Some(octets) = read::exactly::<16>(field) {
        return Some(v6(octets.into(), None));
    }
    let (first, second) = field.split_first_chunk::<16>()?;
    let second: [u8; 16] = read::exactly(second)?;
    Some(v6((*first).into(), Some(second.into())))
}

fn v6(global: Ipv6Addr, second: Option<Ipv6Addr>) -> Result<NextHop, String> {
    // Some senders put anything, zeros among it, where they have no link-local address;
    // some put the link-local address first, or nothing but it.
    let link_local = second.filter(Ipv6Addr::is_unicast_link_local);
    let (global, link_local) = match link_local {
        Some(address) if global.is_unspecified() || global.is_unicast_link_local() => {
            (address, None)
        }
        _ => (global, link_local),
    };
    if global.is_unspecified() || global.is_loopback() || global.is_multicast() {
        return Err(bad(global.into()));
    }
    Ok(NextHop::V6 { global, link_local })
}

fn bad(address: std::net::IpAddr) -> String {
    format!("MP_REACH_NLRI: next hop {address}")
}
