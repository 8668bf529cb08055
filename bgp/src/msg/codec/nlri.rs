//! Prefixes on the wire (RFC 4271 §4.3, RFC 4760 §5): a length in bits and as many octets
//! as these need; before it a path identifier where ADD-PATH was agreed (RFC 7911 §3).

use bytes::{BufMut, BytesMut};
use ipnetwork::IpNetwork;

use crate::msg::{Nlri, PathId};
use crate::net::{Family, Prefix};

/// Octets of a path identifier.
const PATH_ID: usize = 4;

/// The field cannot be split into prefixes (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadNlri;

/// Reads a field that is full of prefixes of one family and appends them. Bits behind the
/// prefix length do not count (RFC 4271 §4.3). `has_ids` says that each has a path identifier.
///
/// Fails on a length over that of the family's addresses and on a prefix that leaves the field.
pub(super) fn decode(
    field: &[u8],
    family: Family,
    has_ids: bool,
    prefixes: &mut Vec<Nlri>,
) -> Result<(), BadNlri> {
    if field.is_empty() {
        return Ok(());
    }
    // A guess that holds for the lengths most often met, /24 and /64, without a second walk.
    let usual = match family {
        Family::Ipv4Unicast => 4,
        Family::Ipv6Unicast => 9,
    };
    let usual = if has_ids { usual + PATH_ID } else { usual };
    prefixes.reserve(field.len() / usual + 1);
    let mut rest = field;
    while !rest.is_empty() {
        let mut path_id = PathId::default();
        if has_ids {
            let (id, after) = rest.split_first_chunk::<PATH_ID>().ok_or(BadNlri)?;
            (path_id, rest) = (PathId(u32::from_be_bytes(*id)), after);
        }
        let (&length, bits) = rest.split_first().ok_or(BadNlri)?;
        let prefix = match family {
            Family::Ipv4Unicast => Prefix::v4(address::<4>(bits, length)?.into(), length),
            Family::Ipv6Unicast => Prefix::v6(address::<16>(bits, length)?.into(), length),
        };
        prefixes.push(Nlri { prefix: prefix.map_err(|_| BadNlri)?, path_id });
        rest = bits.get(octets(length)..).ok_or(BadNlri)?;
    }
    Ok(())
}

/// The octets of an address whose first `length` bits stand at the begin of `bits`. What
/// follows these is of no value: the prefix is told its length too.
fn address<const N: usize>(bits: &[u8], length: u8) -> Result<[u8; N], BadNlri> {
    // Nearly always there is as much, and copying a fixed size is three times as fast.
    if let Some(address) = bits.first_chunk::<N>() {
        return Ok(*address);
    }
    let bits = bits.get(..octets(length)).ok_or(BadNlri)?;
    let mut address = [0; N];
    address.get_mut(..bits.len()).ok_or(BadNlri)?.copy_from_slice(bits);
    Ok(address)
}

/// The octets that so many bits need.
fn octets(bits: u8) -> usize {
    usize::from(bits).div_ceil(8)
}

/// How many octets [`encode`] will write.
pub(in crate::msg) fn encoded_len(nlri: &Nlri, has_ids: bool) -> usize {
    let id = if has_ids { PATH_ID } else { 0 };
    id + 1 + octets(nlri.prefix.length())
}

/// The most octets that [`encode`] writes for a prefix of a family.
pub(in crate::msg) fn longest(family: Family, has_ids: bool) -> usize {
    let id = if has_ids { PATH_ID } else { 0 };
    id + 1 + octets(family.bits())
}

/// Appends a prefix, behind its path identifier if it `has_ids`.
pub(in crate::msg) fn encode(nlri: &Nlri, has_ids: bool, out: &mut BytesMut) {
    let Nlri { prefix, path_id } = nlri;
    if has_ids {
        out.put_u32(path_id.0);
    }
    // One write of known size is cheaper than two: the length and the address together.
    let mut field = [0; 17];
    field[0] = prefix.length();
    match prefix.network() {
        IpNetwork::V4(network) => field[1..5].copy_from_slice(&network.ip().octets()),
        IpNetwork::V6(network) => field[1..17].copy_from_slice(&network.ip().octets()),
    }
    out.put_slice(&field[..encoded_len(nlri, false)]);
}
