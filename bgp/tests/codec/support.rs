//! What the tests of the codec share: hex, formats, shorthand for values and for octets.

use std::net::{Ipv4Addr, Ipv6Addr};

use brindle_bgp::msg::{
    Announcement, AsPath, Attributes, Decoded, MessageError, NextHop, Nlri, PathId, Update,
    WireFormat, decode,
};
use brindle_bgp::net::{Asn, Prefix};
use bytes::Bytes;

pub(crate) use crate::again::{format, hex, join, message, split, write};

/// The octets that a hex text means; spaces, line ends and what follows `#` do not count.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().bytes())
        .filter(|octet| !octet.is_ascii_whitespace())
        .map(|digit| u8::try_from(char::from(digit).to_digit(16).expect("a hex digit")).unwrap())
        .collect();
    let (pairs, []) = digits.as_chunks::<2>() else { panic!("odd number of digits: {text}") };
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// An UPDATE of these three fields.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Bytes {
    let length = |field: &[u8]| u16::try_from(field.len()).unwrap().to_be_bytes();
    message(2, &[&length(withdrawn), withdrawn, &length(attributes), attributes, nlri].concat())
}

/// An attribute with flags as given; the length has two octets if it must.
pub(crate) fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length) if flags & 0x10 == 0 => [&[flags, code, length], value].concat(),
        _ => {
            let length = u16::try_from(value.len()).unwrap().to_be_bytes();
            [&[flags | 0x10, code], &length[..], value].concat()
        }
    }
}

/// An MP_REACH_NLRI of a family with this next hop and these prefixes.
pub(crate) fn reach(afi: u8, next_hop: &[u8], prefixes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(next_hop.len()).unwrap();
    attribute(0x80, 14, &[&[0, afi, 1, length], next_hop, &[0], prefixes].concat())
}

/// ORIGIN, AS_PATH 65001 (four octets), NEXT_HOP 192.0.2.1.
pub(crate) fn mandatory() -> Vec<u8> {
    unhex("40010100 4002060201 0000fde9 400304 c0000201")
}

/// Bits of [`format`]: an external peer with four-octet AS numbers.
pub(crate) const EXTERNAL: u8 = 1;
/// Bits of [`format`]: an internal peer with four-octet AS numbers.
pub(crate) const INTERNAL: u8 = 3;

/// A bit of [`format`]: prefixes have path identifiers in both directions.
pub(crate) const ADD_PATHS: u8 = 16;

/// Every format.
pub(crate) fn formats() -> impl Iterator<Item = WireFormat> {
    (0..32).map(format)
}

/// What a message says and what was wrong with it; must be one.
pub(crate) fn read(octets: &[u8], format: &WireFormat) -> Result<Decoded, MessageError> {
    decode(&Bytes::copy_from_slice(octets), format)
}

/// The update that octets say, with the faults as code and treatment.
pub(crate) fn read_update(octets: &[u8], format: &WireFormat) -> Decoded {
    read(octets, format).unwrap_or_else(|error| panic!("{error}: {}", hex(octets)))
}

pub(crate) fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

pub(crate) fn prefixes<const N: usize>(texts: [&str; N]) -> Vec<Nlri> {
    texts.iter().map(|text| text.parse::<Prefix>().unwrap().into()).collect()
}

/// Paths to prefixes with identifiers.
pub(crate) fn paths<const N: usize>(of: [(u32, &str); N]) -> Vec<Nlri> {
    of.iter()
        .map(|&(id, text)| Nlri { path_id: PathId(id), prefix: text.parse().unwrap() })
        .collect()
}

pub(crate) fn v4(text: &str) -> NextHop {
    NextHop::V4(text.parse::<Ipv4Addr>().unwrap())
}

pub(crate) fn v6(text: &str) -> NextHop {
    NextHop::V6 { global: text.parse::<Ipv6Addr>().unwrap(), link_local: None }
}

/// Attributes with an AS path and nothing else.
pub(crate) fn path(asns: &[u32]) -> Attributes {
    let as_path = AsPath::sequence(asns.iter().map(|&number| asn(number)));
    Attributes { as_path, ..Attributes::default() }
}

/// An UPDATE that announces and nothing else.
pub(crate) fn announce(next_hop: NextHop, prefixes: Vec<Nlri>, attributes: Attributes) -> Update {
    Update {
        withdrawn: Vec::new(),
        announced: vec![Announcement { next_hop, prefixes }],
        attributes: Some(attributes),
    }
}

/// An UPDATE that withdraws and nothing else.
pub(crate) fn withdraw(withdrawn: Vec<Nlri>) -> Update {
    Update { withdrawn, ..Update::default() }
}
