//! BGP messages as octets: written as a test wants them, right or wrong, and read back.
//!
//! A few lines of its own, so that what brindle's codec writes is judged by something else
//! than brindle's codec.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A path as it was announced: attribute code to flags and value. Codes 14 and 15 are left
/// out; the next hop stands under [`NEXT_HOP`] whatever the family.
pub type RawPath = BTreeMap<u8, (u8, Vec<u8>)>;

/// The attribute code of NEXT_HOP.
pub const NEXT_HOP: u8 = 3;

/// KEEPALIVE.
pub const KEEPALIVE: u8 = 4;

/// A whole message: header and body.
///
/// # Panics
/// If the body is too long for the length field.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("short enough");
    [&[0xff; 16], length.to_be_bytes().as_slice(), &[kind], body].concat()
}

/// An OPEN with four-octet AS numbers, both families and enhanced route refresh.
pub fn open(asn: u32, router_id: Ipv4Addr, hold_time: u16) -> Vec<u8> {
    let short = u16::try_from(asn).unwrap_or(23456).to_be_bytes();
    let families = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1];
    let capabilities = [families.as_slice(), &[2, 0, 70, 0], &[65, 4], &asn.to_be_bytes()].concat();
    let length = u8::try_from(capabilities.len()).unwrap_or(u8::MAX);
    let body = [
        [4].as_slice(),
        &short,
        &hold_time.to_be_bytes(),
        &router_id.octets(),
        &[length + 2, 2, length],
        &capabilities,
    ];
    message(1, &body.concat())
}

/// An UPDATE of its three parts, each as it stands on the wire without its length field.
///
/// # Panics
/// If a part is too long.
pub fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).expect("short enough").to_be_bytes();
    let body = [&length(withdrawn), withdrawn, &length(attributes), attributes, announced].concat();
    message(2, &body)
}

/// A path attribute; its length takes two octets if it must.
pub fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length) => [&[flags, code, length], value].concat(),
        Err(_) => {
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
            [&[flags | 0x10, code], length.as_slice(), value].concat()
        }
    }
}

/// An AS_PATH of one sequence of four-octet numbers.
///
/// # Panics
/// For more than 255 numbers.
pub fn as_path(numbers: &[u32]) -> Vec<u8> {
    if numbers.is_empty() {
        return attribute(0x40, 2, &[]);
    }
    let mut value = vec![2, u8::try_from(numbers.len()).expect("at most 255")];
    value.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    attribute(0x40, 2, &value)
}

/// ORIGIN IGP, AS_PATH and NEXT_HOP: what an IPv4 announcement needs.
pub fn usual(path: &[u32], next_hop: Ipv4Addr) -> Vec<u8> {
    let next_hop = attribute(0x40, NEXT_HOP, &next_hop.octets());
    [attribute(0x40, 1, &[0]), as_path(path), next_hop].concat()
}

/// MP_REACH_NLRI of IPv6 prefixes.
pub fn mp_reach(next_hop: Ipv6Addr, prefixes: &[&str]) -> Vec<u8> {
    let value = [[0, 2, 1, 16].as_slice(), &next_hop.octets(), &[0], &nlri(prefixes)].concat();
    attribute(0x80, 14, &value)
}

/// Prefixes as they stand on the wire.
///
/// # Panics
/// If one is not a prefix.
pub fn nlri(prefixes: &[&str]) -> Vec<u8> {
    let one = |prefix: &&str| {
        let (address, length) = prefix.split_once('/').expect("ADDRESS/LENGTH");
        let length: u8 = length.parse().expect("a number");
        let octets = match address.parse().expect("an address") {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        [&[length], &octets[..usize::from(length.div_ceil(8))]].concat()
    };
    prefixes.iter().flat_map(one).collect()
}

/// Takes an UPDATE into account; `None` if it ends too soon.
pub(crate) fn apply(body: &[u8], routes: &mut BTreeMap<String, RawPath>) -> Option<()> {
    let (withdrawn, rest) = part(body)?;
    let (attributes, announced) = part(rest)?;
    let mut gone = prefixes(withdrawn, false)?;
    let mut path = attributes_of(attributes)?;
    let mut new = prefixes(announced, false)?;
    if let Some((_, value)) = path.remove(&15) {
        gone.extend(prefixes(value.get(3..)?, *value.get(1)? == 2)?);
    }
    if let Some((flags, value)) = path.remove(&14) {
        let length = usize::from(*value.get(3)?);
        let next_hop = value.get(4..4 + length)?.to_vec();
        new.extend(prefixes(value.get(5 + length..)?, *value.get(1)? == 2)?);
        path.insert(NEXT_HOP, (flags, next_hop));
    }
    for prefix in gone {
        routes.remove(&prefix);
    }
    routes.extend(new.into_iter().map(|prefix| (prefix, path.clone())));
    Some(())
}

/// A part with a length field of two octets, and what follows it.
fn part(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*octets.first()?, *octets.get(1)?]));
    Some((octets.get(2..2 + length)?, octets.get(2 + length..)?))
}

fn attributes_of(mut octets: &[u8]) -> Option<RawPath> {
    let mut path = RawPath::new();
    while let [flags, code, rest @ ..] = octets {
        let (length, rest) = match (flags & 0x10, rest) {
            (0, [length, rest @ ..]) => (usize::from(*length), rest),
            (_, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => return None,
        };
        path.insert(*code, (*flags & 0xe0, rest.get(..length)?.to_vec()));
        octets = rest.get(length..)?;
    }
    octets.is_empty().then_some(path)
}

fn prefixes(mut octets: &[u8], is_v6: bool) -> Option<Vec<String>> {
    let mut prefixes = Vec::new();
    while let [length, rest @ ..] = octets {
        let size = usize::from(length.div_ceil(8));
        let mut address = [0; 16];
        address.get_mut(..size)?.copy_from_slice(rest.get(..size)?);
        prefixes.push(match is_v6 {
            true => format!("{}/{length}", Ipv6Addr::from(address)),
            false => {
                let [a, b, c, d, ..] = address;
                format!("{}/{length}", Ipv4Addr::new(a, b, c, d))
            }
        });
        octets = rest.get(size..)?;
    }
    Some(prefixes)
}
