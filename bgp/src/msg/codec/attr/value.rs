//! The values of single attributes; each fails with what makes it malformed.

use std::net::Ipv4Addr;

use crate::msg::codec::read;
use crate::msg::{Aggregator, Community, ExtendedCommunity, LargeCommunity, Origin};
use crate::net::{Asn, ClusterId, RouterId};

/// A field that must have exactly `N` octets.
fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], String> {
    read::exactly(value).ok_or_else(|| format!("{} octets, not {N}", value.len()))
}

/// A field that must be full of items of `N` octets, at least one (RFC 7606 §7.8, 7.10, 7.14).
fn items<const N: usize>(value: &[u8]) -> Result<&[[u8; N]], String> {
    match value.as_chunks::<N>() {
        (items, []) if !items.is_empty() => Ok(items),
        _ => Err(format!("{} octets, not a multiple of {N}", value.len())),
    }
}

/// Items as a set: sorted, each once.
fn set<const N: usize, T: Ord>(
    value: &[u8],
    item: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, String> {
    let mut set: Vec<T> = items::<N>(value)?.iter().map(|&octets| item(octets)).collect();
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

/// ORIGIN (RFC 4271 §4.3 a).
pub(super) fn origin(value: &[u8]) -> Result<Origin, String> {
    match exactly(value)? {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [other] => Err(format!("value {other}")),
    }
}

/// NEXT_HOP (RFC 4271 §4.3 c). An address that no host can have is as bad as a wrong
/// length: RFC 4271 §6.3 calls both syntactically incorrect, RFC 7606 §7.3 withdraws.
pub(super) fn next_hop(value: &[u8]) -> Result<Ipv4Addr, String> {
    let address = Ipv4Addr::from(exactly::<4>(value)?);
    if is_host_v4(address) { Ok(address) } else { Err(format!("address {address}")) }
}

/// Whether a host can have the address: not 0.0.0.0/8, loopback, multicast or broadcast.
pub(super) fn is_host_v4(address: Ipv4Addr) -> bool {
    let this_network = address.octets()[0] == 0;
    !(this_network || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

/// MULTI_EXIT_DISC and LOCAL_PREF (RFC 4271 §4.3 d, e), ONLY_TO_CUSTOMER (RFC 9234 §5).
pub(super) fn number(value: &[u8]) -> Result<u32, String> {
    exactly(value).map(u32::from_be_bytes)
}

/// ATOMIC_AGGREGATE (RFC 4271 §4.3 f).
pub(super) fn empty(value: &[u8]) -> Result<(), String> {
    exactly::<0>(value).map(|_| ())
}

/// AGGREGATOR and AS4_AGGREGATOR (RFC 4271 §4.3 g, RFC 6793 §3, RFC 7607 §2).
pub(super) fn aggregator(value: &[u8], four_octet_asns: bool) -> Result<Aggregator, String> {
    let (number, address) = if four_octet_asns {
        let [n0, n1, n2, n3, a, b, c, d] = exactly(value)?;
        (u32::from_be_bytes([n0, n1, n2, n3]), [a, b, c, d])
    } else {
        let [n0, n1, a, b, c, d] = exactly(value)?;
        (u16::from_be_bytes([n0, n1]).into(), [a, b, c, d])
    };
    let asn = Asn::new(number).map_err(|_| "AS number 0")?;
    Ok(Aggregator { asn, address: address.into() })
}

/// COMMUNITIES (RFC 1997).
pub(super) fn communities(value: &[u8]) -> Result<Vec<Community>, String> {
    set(value, |octets| Community(u32::from_be_bytes(octets)))
}

/// EXTENDED COMMUNITIES (RFC 4360 §2).
pub(super) fn extended_communities(value: &[u8]) -> Result<Vec<ExtendedCommunity>, String> {
    set(value, ExtendedCommunity)
}

/// LARGE_COMMUNITY (RFC 8092 §3).
pub(super) fn large_communities(value: &[u8]) -> Result<Vec<LargeCommunity>, String> {
    set(value, |octets: [u8; 12]| {
        let field = |at: usize| {
            u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
        };
        LargeCommunity { global: field(0), local1: field(4), local2: field(8) }
    })
}

/// ORIGINATOR_ID (RFC 4456 §8).
pub(super) fn originator_id(value: &[u8]) -> Result<RouterId, String> {
    RouterId::new(number(value)?).map_err(|_| "router id 0.0.0.0".to_owned())
}

/// CLUSTER_LIST (RFC 4456 §8), in its order.
pub(super) fn cluster_list(value: &[u8]) -> Result<Vec<ClusterId>, String> {
    Ok(items(value)?.iter().map(|&octets| ClusterId(u32::from_be_bytes(octets))).collect())
}

/// Whether a value is a list of type, two octets of length, value (RFC 8669 §3).
pub(super) fn is_type_length_values(value: &[u8]) -> Result<(), String> {
    let mut rest = value;
    while !rest.is_empty() {
        let next = read::u8(rest).and_then(|(after, _)| read::take_u16(after));
        rest = next.map_err(|_| "an element leaves the attribute")?.0;
    }
    Ok(())
}
