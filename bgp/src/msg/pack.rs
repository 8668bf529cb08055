//! Prefixes into as few UPDATEs as possible, behind attributes that were encoded once.
//!
//! Every UPDATE is a fixed head, prefixes and a fixed tail; a few length fields in the head
//! grow with the prefixes:
//!
//! ```text
//!               head                                         prefixes  tail
//! announce      header, 0, attributes' length, attributes    ...
//! announce, MP  header, 0, attributes' length, MP_REACH      ...       attributes
//! withdraw      header, length                               ...       0
//! withdraw, MP  header, 0, attributes' length, MP_UNREACH    ...
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::codec::attr::{code, write};
use super::codec::{WireFormat, frame, nlri};
use super::{NextHop, Nlri, Update};
use crate::net::{AfiSafi, Family};

pub use super::codec::attr::write::encode_attributes;

/// Appends to `out` the UPDATEs that announce `prefixes` of one family with `attributes` (from
/// [`encode_attributes`] for the same format) and `next_hop`: as few as the format allows.
///
/// IPv4 prefixes with an IPv4 next hop stand in the NLRI field, others in MP_REACH_NLRI,
/// which comes first (RFC 7606 §5.1). Prefixes that cannot be told are withdrawn, so that
/// the peer does not keep an older path: where the attributes leave no room in a message
/// (RFC 8654 §4), and IPv4 with an IPv6 next hop where RFC 8950 was not agreed.
/// Prefixes of another family are left out, and path identifiers where ADD-PATH was not agreed.
pub fn pack_announce(
    prefixes: impl Iterator<Item = Nlri>,
    next_hop: &NextHop,
    attributes: &Bytes,
    family: Family,
    format: &WireFormat,
    out: &mut Vec<Bytes>,
) {
    let template = match (family, next_hop) {
        (Family::Ipv4Unicast, NextHop::V4(address)) => Template::nlri(address.octets(), attributes),
        (Family::Ipv4Unicast, NextHop::V6 { .. }) if !format.extended_next_hop => {
            return pack_withdraw(prefixes, family, format, out);
        }
        _ => Template::reach(family, next_hop, attributes),
    };
    if template.room(format) < nlri::longest(family, format.add_paths.send[family.index()]) {
        return pack_withdraw(prefixes, family, format, out);
    }
    template.fill(prefixes, family, format, out);
}

/// Appends to `out` the UPDATEs that withdraw `prefixes` of one family: as few as the format
/// allows. Prefixes of another family are left out.
pub fn pack_withdraw(
    prefixes: impl Iterator<Item = Nlri>,
    family: Family,
    format: &WireFormat,
    out: &mut Vec<Bytes>,
) {
    let template = match family {
        Family::Ipv4Unicast => Template::withdrawn(),
        Family::Ipv6Unicast => Template::unreach(family),
    };
    template.fill(prefixes, family, format, out);
}

/// The End-of-RIB of a family (RFC 4724 §2).
pub fn end_of_rib(family: Family) -> Bytes {
    let mut out = BytesMut::with_capacity(frame::HEADER + 10);
    let start = frame::begin(frame::UPDATE, &mut out);
    out.put_u16(0);
    match family {
        Family::Ipv4Unicast => out.put_u16(0),
        Family::Ipv6Unicast => {
            out.put_u16(6);
            out.put_slice(&[code::OPTIONAL, code::MP_UNREACH_NLRI, 3]);
            put_family(family, &mut out);
        }
    }
    frame::finish(start, &mut out);
    out.freeze()
}

/// Appends an UPDATE by its parts: what is withdrawn by family, then each announcement.
pub(super) fn encode_update(update: &Update, format: &WireFormat, out: &mut BytesMut) {
    let mut messages = Vec::new();
    for family in Family::ALL {
        pack_withdraw(update.withdrawn.iter().copied(), family, format, &mut messages);
    }
    if let Some(attributes) = &update.attributes {
        let attributes = encode_attributes(attributes, format);
        for announcement in &update.announced {
            let Some(family) = announcement.prefixes.first().map(Nlri::family) else { continue };
            let prefixes = announcement.prefixes.iter().copied();
            let next_hop = &announcement.next_hop;
            pack_announce(prefixes, next_hop, &attributes, family, format, &mut messages);
        }
    }
    for message in messages {
        out.put_slice(&message);
    }
}

/// An UPDATE without its prefixes.
struct Template {
    head: BytesMut,
    tail: Bytes,
    /// Where in `head` the lengths stand that grow with the prefixes, next to that of the
    /// message. They hold what they are without any.
    growing: SmallVec<[(usize, usize); 2]>,
}

impl Template {
    /// Announces in the NLRI field.
    fn nlri(next_hop: [u8; 4], attributes: &Bytes) -> Self {
        let mut head = Self::head();
        let (before, after) = attributes.split_at(write::position_of(code::NEXT_HOP, attributes));
        head.put_u16(0);
        head.put_u16(length(attributes.len() + 7));
        head.put_slice(before);
        head.put_slice(&[code::WELL_KNOWN, code::NEXT_HOP, 4]);
        head.put_slice(&next_hop);
        head.put_slice(after);
        Self { head, tail: Bytes::new(), growing: SmallVec::new() }
    }

    /// Announces in MP_REACH_NLRI (RFC 4760 §3).
    fn reach(family: Family, next_hop: &NextHop, attributes: &Bytes) -> Self {
        let mut head = Self::head();
        head.put_slice(&[0; 4]);
        let list = head.len();
        head.put_slice(&[code::OPTIONAL | code::EXTENDED_LENGTH, code::MP_REACH_NLRI, 0, 0]);
        let value = head.len();
        put_family(family, &mut head);
        match *next_hop {
            NextHop::V4(address) if family == Family::Ipv4Unicast => {
                head.put_u8(4);
                head.put_slice(&address.octets());
            }
            // No speaker has such a next hop; the mapped address at least says what was meant.
            NextHop::V4(address) => {
                head.put_u8(16);
                head.put_slice(&address.to_ipv6_mapped().octets());
            }
            NextHop::V6 { global, link_local: None } => {
                head.put_u8(16);
                head.put_slice(&global.octets());
            }
            NextHop::V6 { global, link_local: Some(link_local) } => {
                head.put_u8(32);
                head.put_slice(&global.octets());
                head.put_slice(&link_local.octets());
            }
        }
        // Reserved, once the number of SNPAs.
        head.put_u8(0);
        let growing = smallvec![
            (list - 2, head.len() - list + attributes.len()),
            (value - 2, head.len() - value)
        ];
        Self { head, tail: attributes.clone(), growing }
    }

    /// Withdraws in the Withdrawn Routes field.
    fn withdrawn() -> Self {
        let mut head = Self::head();
        let at = head.len();
        head.put_u16(0);
        Self { head, tail: Bytes::from_static(&[0, 0]), growing: smallvec![(at, 0)] }
    }

    /// Withdraws in MP_UNREACH_NLRI (RFC 4760 §4).
    fn unreach(family: Family) -> Self {
        let mut head = Self::head();
        head.put_slice(&[0; 4]);
        let list = head.len();
        head.put_slice(&[code::OPTIONAL | code::EXTENDED_LENGTH, code::MP_UNREACH_NLRI, 0, 0]);
        let value = head.len();
        put_family(family, &mut head);
        let growing = smallvec![(list - 2, head.len() - list), (value - 2, head.len() - value)];
        Self { head, tail: Bytes::new(), growing }
    }

    fn head() -> BytesMut {
        let mut head = BytesMut::with_capacity(128);
        frame::begin(frame::UPDATE, &mut head);
        head
    }

    /// How many octets of prefixes one message can hold.
    fn room(&self, format: &WireFormat) -> usize {
        format.max_message().saturating_sub(self.head.len()).saturating_sub(self.tail.len())
    }

    /// Fills as many messages as the prefixes need, none for none. `room` must hold the
    /// longest prefix of the family.
    fn fill(
        &self,
        prefixes: impl Iterator<Item = Nlri>,
        family: Family,
        format: &WireFormat,
        out: &mut Vec<Bytes>,
    ) {
        /// Messages share allocations of this size, so that a full table costs few of them.
        const SHARED: usize = 64 * 1024;
        let room = self.room(format);
        let has_ids = format.add_paths.send[family.index()];
        let longest = nlri::longest(family, has_ids);
        let mut prefixes = prefixes.filter(|prefix| prefix.family() == family);
        let mut next = prefixes.next();
        let expected =
            prefixes.size_hint().1.unwrap_or(0).saturating_add(1).saturating_mul(longest);
        let around = self.head.len() + self.tail.len();
        let mut buffer = BytesMut::new();
        if next.is_some() {
            buffer.reserve(expected.saturating_add(around).min(SHARED));
        }
        while next.is_some() {
            buffer.put_slice(&self.head);
            while let Some(prefix) = next {
                let used = buffer.len() - self.head.len();
                if used + nlri::encoded_len(&prefix, has_ids) > room {
                    break;
                }
                nlri::encode(&prefix, has_ids, &mut buffer);
                next = prefixes.next();
            }
            let grown = buffer.len() - self.head.len();
            for &(position, without) in &self.growing {
                frame::patch(&mut buffer, position, without + grown);
            }
            buffer.put_slice(&self.tail);
            frame::finish(0, &mut buffer);
            out.push(buffer.split().freeze());
            if grown == 0 {
                break;
            }
        }
    }
}

fn put_family(family: Family, out: &mut BytesMut) {
    let AfiSafi { afi, safi } = family.into();
    out.put_u16(afi);
    out.put_u8(safi);
}

/// A length as two octets; what is longer is refused before it is sent.
fn length(octets: usize) -> u16 {
    u16::try_from(octets).unwrap_or(u16::MAX)
}
