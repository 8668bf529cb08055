//! Attributes to octets: everything but the next hop, in ascending order of type codes.

use std::iter::Peekable;
use std::slice;

use bytes::{BufMut, Bytes, BytesMut};

use super::{as_path, code};
use crate::msg::{Aggregator, AsSegment, Attributes, Origin, UnknownAttribute, WireFormat};
use crate::net::Asn;

/// The attributes as octets without next hop and multiprotocol attributes, in ascending
/// order of type codes: what [`pack_announce`](crate::msg::pack_announce) puts behind
/// the prefixes, made once for all peers of one format.
///
/// Towards an external peer LOCAL_PREF and the reflection attributes are left out
/// (RFC 4271 §5.1.5, RFC 4456 §8); towards a peer with two-octet AS numbers AS4_PATH and
/// AS4_AGGREGATOR are added where they say more (RFC 6793 §4.2.2).
pub fn encode_attributes(attributes: &Attributes, format: &WireFormat) -> Bytes {
    let mut list =
        List { out: BytesMut::with_capacity(128), unknown: attributes.unknown.iter().peekable() };
    let a = attributes;
    list.put(code::ORIGIN, code::WELL_KNOWN, &[origin_octet(a.origin)]);
    list.put_path(code::AS_PATH, code::WELL_KNOWN, &a.as_path.0, format.four_octet_asns);
    if let Some(med) = a.med {
        list.put(code::MULTI_EXIT_DISC, code::OPTIONAL, &med.to_be_bytes());
    }
    if let (Some(local_pref), true) = (a.local_pref, format.internal) {
        list.put(code::LOCAL_PREF, code::WELL_KNOWN, &local_pref.to_be_bytes());
    }
    if a.atomic_aggregate {
        list.put(code::ATOMIC_AGGREGATE, code::WELL_KNOWN, &[]);
    }
    if let Some(aggregator) = a.aggregator {
        let value = aggregator_octets(aggregator, format.four_octet_asns);
        list.put(code::AGGREGATOR, code::OPTIONAL_TRANSITIVE, &value);
    }
    list.put_all(code::COMMUNITIES, code::OPTIONAL_TRANSITIVE, &a.communities, |community| {
        community.0.to_be_bytes()
    });
    if format.internal {
        if let Some(originator) = a.originator_id {
            list.put(code::ORIGINATOR_ID, code::OPTIONAL, &originator.get().to_be_bytes());
        }
        list.put_all(code::CLUSTER_LIST, code::OPTIONAL, &a.cluster_list, |cluster| {
            cluster.0.to_be_bytes()
        });
    }
    let extended = &a.extended_communities;
    list.put_all(code::EXTENDED_COMMUNITIES, code::OPTIONAL_TRANSITIVE, extended, |c| c.0);
    if !format.four_octet_asns {
        if let Some(segments) = as_path::as4_segments(&a.as_path) {
            list.put_path(code::AS4_PATH, code::OPTIONAL_TRANSITIVE, &segments, true);
        }
        if let Some(aggregator) = a.aggregator.filter(|a| needs_four_octets(a.asn)) {
            let value = aggregator_octets(aggregator, true);
            list.put(code::AS4_AGGREGATOR, code::OPTIONAL_TRANSITIVE, &value);
        }
    }
    let large = &a.large_communities;
    list.put_all(code::LARGE_COMMUNITY, code::OPTIONAL_TRANSITIVE, large, |community| {
        let mut octets = [0; 12];
        octets[..4].copy_from_slice(&community.global.to_be_bytes());
        octets[4..8].copy_from_slice(&community.local1.to_be_bytes());
        octets[8..].copy_from_slice(&community.local2.to_be_bytes());
        octets
    });
    if let Some(asn) = a.only_to_customer {
        list.put(code::ONLY_TO_CUSTOMER, code::OPTIONAL_TRANSITIVE, &asn.to_be_bytes());
    }
    list.finish()
}

/// Whether a two-octet field cannot carry the number.
pub(super) fn needs_four_octets(asn: Asn) -> bool {
    asn.get() > u16::MAX.into()
}

/// Where in a list of attributes one with this type code belongs.
pub(in crate::msg) fn position_of(code: u8, list: &[u8]) -> usize {
    let mut rest = list;
    while let Ok((after, attribute)) = super::raw::attribute(rest) {
        if attribute.code >= code {
            break;
        }
        rest = after;
    }
    list.len() - rest.len()
}

/// Appends flags, type code and length of an attribute.
fn put_head(code: u8, flags: u8, length: usize, out: &mut BytesMut) {
    match u8::try_from(length) {
        Ok(length) => out.put_slice(&[flags, code, length]),
        Err(_) => {
            out.put_slice(&[flags | code::EXTENDED_LENGTH, code]);
            // More than 65535 octets fit no message: the packing refuses such a list.
            out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        }
    }
}

/// A list of attributes into which the unknown ones are woven by type code.
struct List<'a> {
    out: BytesMut,
    unknown: Peekable<slice::Iter<'a, UnknownAttribute>>,
}

impl List<'_> {
    fn put(&mut self, code: u8, flags: u8, value: &[u8]) {
        self.put_unknown_before(code);
        put_head(code, flags, value.len(), &mut self.out);
        self.out.put_slice(value);
    }

    fn put_path(&mut self, code: u8, flags: u8, segments: &[AsSegment], four_octet_asns: bool) {
        self.put_unknown_before(code);
        put_head(code, flags, as_path::encoded_len(segments, four_octet_asns), &mut self.out);
        as_path::encode(segments, four_octet_asns, &mut self.out);
    }

    /// Appends an attribute that is a list of values of `N` octets, unless that is empty.
    fn put_all<T, const N: usize>(
        &mut self,
        code: u8,
        flags: u8,
        items: &[T],
        octets: impl Fn(&T) -> [u8; N],
    ) {
        if items.is_empty() {
            return;
        }
        self.put_unknown_before(code);
        put_head(code, flags, items.len().saturating_mul(N), &mut self.out);
        for item in items {
            self.out.put_slice(&octets(item));
        }
    }

    /// Appends the unknown attributes whose turn it is, as partial (RFC 4271 §5).
    fn put_unknown_before(&mut self, code: u8) {
        while let Some(unknown) = self.unknown.next_if(|unknown| unknown.code < code) {
            self.put_one_unknown(unknown);
        }
    }

    fn put_one_unknown(&mut self, unknown: &UnknownAttribute) {
        let flags = code::OPTIONAL_TRANSITIVE | code::PARTIAL;
        put_head(unknown.code, flags, unknown.value.len(), &mut self.out);
        self.out.put_slice(&unknown.value);
    }

    fn finish(mut self) -> Bytes {
        while let Some(unknown) = self.unknown.next() {
            self.put_one_unknown(unknown);
        }
        self.out.freeze()
    }
}

fn origin_octet(origin: Origin) -> u8 {
    match origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    }
}

fn aggregator_octets(aggregator: Aggregator, four_octet_asns: bool) -> Vec<u8> {
    let mut value = Vec::with_capacity(8);
    if four_octet_asns {
        value.put_u32(aggregator.asn.get());
    } else {
        value.put_u16(aggregator.asn.two_octets());
    }
    value.put_slice(&aggregator.address.octets());
    value
}
