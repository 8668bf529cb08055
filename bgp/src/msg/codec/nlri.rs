//! Prefixes on the wire (RFC 4271 §4.3, RFC 4760 §5): a length in bits and as many octets
//! as these need.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};
use ipnetwork::IpNetwork;

use super::read;
use crate::net::{Family, Prefix};

/// The field cannot be split into prefixes: which one and why (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadNlri;

/// Reads a field that is full of prefixes of one family and appends them. Bits behind the
/// prefix length do not count (RFC 4271 §4.3).
///
/// Fails on a length over that of the family's addresses and on a prefix that leaves the field.
pub(super) fn decode(
    field: &[u8],
    family: Family,
    prefixes: &mut Vec<Prefix>,
) -> Result<(), BadNlri> {
    prefixes.reserve_exact(count(field));
    let mut rest = field;
    while !rest.is_empty() {
        let (after, length) = read::u8(rest).map_err(|_| BadNlri)?;
        let (after, bits) = read::take(octets(length), after).map_err(|_| BadNlri)?;
        let prefix = match family {
            Family::Ipv4Unicast => {
                Prefix::v4(Ipv4Addr::from(padded::<4>(bits).ok_or(BadNlri)?), length)
            }
            Family::Ipv6Unicast => {
                Prefix::v6(Ipv6Addr::from(padded::<16>(bits).ok_or(BadNlri)?), length)
            }
        };
        prefixes.push(prefix.map_err(|_| BadNlri)?);
        rest = after;
    }
    Ok(())
}

/// How many prefixes a field holds, so that they are allocated once; an estimate from above
/// if it is malformed.
fn count(field: &[u8]) -> usize {
    let mut rest = field;
    let mut count = 0;
    while let Some((&length, after)) = rest.split_first() {
        count += 1;
        rest = after.get(octets(length)..).unwrap_or_default();
    }
    count
}

/// The octets that so many bits need.
fn octets(bits: u8) -> usize {
    usize::from(bits).div_ceil(8)
}

/// The octets of an address whose last ones are zero; `None` if there are too many.
fn padded<const N: usize>(bits: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..bits.len())?.copy_from_slice(bits);
    Some(address)
}

/// How many octets [`encode`] will write.
pub(in crate::msg) fn encoded_len(prefix: &Prefix) -> usize {
    1 + octets(prefix.length())
}

/// Appends a prefix.
pub(in crate::msg) fn encode(prefix: &Prefix, out: &mut BytesMut) {
    // One write of known size is cheaper than two: the length and the address together.
    let mut field = [0; 17];
    field[0] = prefix.length();
    match prefix.network() {
        IpNetwork::V4(network) => field[1..5].copy_from_slice(&network.ip().octets()),
        IpNetwork::V6(network) => field[1..17].copy_from_slice(&network.ip().octets()),
    }
    out.put_slice(&field[..encoded_len(prefix)]);
}
