//! A table in a file as MRT has it: TABLE_DUMP_V2 (RFC 6396 §4.3), with path identifiers where
//! there are any (RFC 8050).
//!
//! First [`Table::peers`] with everybody whose paths follow, then [`Table::paths`] a prefix.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::msg::{Attributes, NextHop, PathId, WireFormat, cut, encode_attributes};
use crate::net::{Family, Prefix};

/// The MRT type of all records here (RFC 6396 §4.3).
const TABLE_DUMP_V2: u16 = 13;

/// Its subtypes.
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;

/// The same with path identifiers (RFC 8050 §4.2, §4.3).
const RIB_IPV4_UNICAST_ADDPATH: u16 = 8;
const RIB_IPV6_UNICAST_ADDPATH: u16 = 10;

/// Octets of a record before what its length field counts.
const HEADER: usize = 12;

/// The type of a peer: its address has sixteen octets; its AS number has four.
const IPV6_PEER: u8 = 1;
const FOUR_OCTET_ASN: u8 = 2;

const NEXT_HOP: [u8; 3] = [0x40, 3, 4];
const MP_REACH_NLRI: [u8; 2] = [0x80, 14];

/// Somebody whose paths are in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The BGP Identifier, zero if it is not known.
    pub router_id: u32,
    /// The address.
    pub address: IpAddr,
    /// The AS number.
    pub asn: u32,
}

/// A path of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place of its peer in the index table, from zero.
    pub peer: u16,
    /// When it was heard, in seconds since 1970.
    pub originated: u32,
    /// Which of the peer's paths to the prefix it is, where the peer says so (RFC 7911).
    pub path_id: Option<PathId>,
    /// What [`attributes`] made.
    pub attributes: Bytes,
}

/// Makes the records of one table.
#[derive(Clone, Debug)]
pub struct Table {
    at: u32,
    /// That of the next record of a prefix.
    sequence: u32,
}

impl Table {
    /// A table that was taken `at`, in seconds since 1970.
    pub fn new(at: u32) -> Self {
        Self { at, sequence: 0 }
    }

    /// The record that the table begins with (RFC 6396 §4.3.1); `collector` is our BGP
    /// Identifier, `name` that of the view. `None` for more peers than the format can count.
    pub fn peers(&self, collector: u32, name: &str, peers: &[Peer]) -> Option<Bytes> {
        let mut out = begin(self.at, PEER_INDEX_TABLE);
        out.put_u32(collector);
        let name = cut(name, u16::MAX.into());
        out.put_u16(u16::try_from(name.len()).ok()?);
        out.put_slice(name.as_bytes());
        out.put_u16(u16::try_from(peers.len()).ok()?);
        for peer in peers {
            let ipv6 = if peer.address.is_ipv6() { IPV6_PEER } else { 0 };
            out.put_u8(FOUR_OCTET_ASN | ipv6);
            out.put_u32(peer.router_id);
            match peer.address {
                IpAddr::V4(address) => out.put_slice(&address.octets()),
                IpAddr::V6(address) => out.put_slice(&address.octets()),
            }
            out.put_u32(peer.asn);
        }
        Some(finish(out))
    }

    /// The records of a prefix: one of the paths without identifier (RFC 6396 §4.3.2), one of
    /// those with one (RFC 8050 §4), each if there are any. `None` for more paths than the
    /// format can count, or attributes that are too long.
    pub fn paths(&mut self, prefix: &Prefix, entries: &[Entry]) -> Option<Vec<Bytes>> {
        let mut records = Vec::with_capacity(1);
        for with_ids in [false, true] {
            let of_record = || entries.iter().filter(|entry| entry.path_id.is_some() == with_ids);
            let count = u16::try_from(of_record().count()).ok()?;
            if count == 0 {
                continue;
            }
            let mut out = begin(self.at, subtype(prefix.family(), with_ids));
            out.put_u32(self.sequence);
            out.put_u8(prefix.length());
            let octets = usize::from(prefix.length().div_ceil(8));
            match prefix.address() {
                IpAddr::V4(address) => out.put_slice(&address.octets()[..octets]),
                IpAddr::V6(address) => out.put_slice(&address.octets()[..octets]),
            }
            out.put_u16(count);
            for entry in of_record() {
                out.put_u16(entry.peer);
                out.put_u32(entry.originated);
                if let Some(id) = entry.path_id {
                    out.put_u32(id.0);
                }
                out.put_u16(u16::try_from(entry.attributes.len()).ok()?);
                out.put_slice(&entry.attributes);
            }
            // Nobody has as many routes as there are numbers; if so, they begin anew.
            self.sequence = self.sequence.wrapping_add(1);
            records.push(finish(out));
        }
        Some(records)
    }
}

fn subtype(family: Family, with_ids: bool) -> u16 {
    match (family, with_ids) {
        (Family::Ipv4Unicast, false) => RIB_IPV4_UNICAST,
        (Family::Ipv4Unicast, true) => RIB_IPV4_UNICAST_ADDPATH,
        (Family::Ipv6Unicast, false) => RIB_IPV6_UNICAST,
        (Family::Ipv6Unicast, true) => RIB_IPV6_UNICAST_ADDPATH,
    }
}

/// Path attributes as tables have them: AS numbers of four octets, and of MP_REACH_NLRI nothing
/// but the next hop (RFC 6396 §4.3.4). IPv4 next hops stand in NEXT_HOP; our own paths, which
/// have none, get the unspecified address.
pub fn attributes(attributes: &Attributes, next_hop: Option<NextHop>, family: Family) -> Bytes {
    let format = WireFormat { four_octet_asns: true, internal: true, ..WireFormat::default() };
    let rest = encode_attributes(attributes, &format);
    let mut out = BytesMut::with_capacity(rest.len() + 40);
    match (next_hop, family) {
        (Some(NextHop::V4(address)), _) => {
            out.put_slice(&NEXT_HOP);
            out.put_slice(&address.octets());
        }
        (None, Family::Ipv4Unicast) => {
            out.put_slice(&NEXT_HOP);
            out.put_u32(0);
        }
        (Some(NextHop::V6 { global, link_local }), _) => {
            let length = if link_local.is_some() { 32 } else { 16 };
            out.put_slice(&MP_REACH_NLRI);
            out.put_slice(&[length + 1, length]);
            out.put_slice(&global.octets());
            if let Some(link_local) = link_local {
                out.put_slice(&link_local.octets());
            }
        }
        (Some(NextHop::Link { address, .. }), _) => {
            out.put_slice(&MP_REACH_NLRI);
            out.put_slice(&[17, 16]);
            out.put_slice(&address.octets());
        }
        (None, Family::Ipv6Unicast) => {
            out.put_slice(&MP_REACH_NLRI);
            out.put_slice(&[17, 16]);
            out.put_slice(&[0; 16]);
        }
    }
    out.put_slice(&rest);
    out.freeze()
}

fn begin(at: u32, subtype: u16) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_u32(at);
    out.put_u16(TABLE_DUMP_V2);
    out.put_u16(subtype);
    out.put_u32(0);
    out
}

fn finish(mut out: BytesMut) -> Bytes {
    // At most 65535 paths of 65535 octets: just below what the field can say.
    let length = u32::try_from(out.len() - HEADER).unwrap_or(u32::MAX);
    out[HEADER - 4..HEADER].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use bgpkit_parser::models::{MrtMessage, MrtRecord, TableDumpV2Message, TableDumpV2Type};
    use bgpkit_parser::parser::mrt::parse_mrt_record;

    use super::*;
    use crate::msg::AsPath;
    use crate::net::Asn;

    fn read(record: &Bytes) -> (MrtRecord, TableDumpV2Message) {
        let mut octets = &record[..];
        let record = parse_mrt_record(&mut octets).unwrap();
        assert!(octets.is_empty());
        let MrtMessage::TableDumpV2Message(message) = record.message.clone() else {
            panic!("{record:?}")
        };
        (record, message)
    }

    #[test]
    fn another_implementation_reads_who_the_peers_are() {
        let peers = [
            Peer { router_id: 1, address: "0.0.0.0".parse().unwrap(), asn: 64512 },
            Peer { router_id: 2, address: "2001:db8::2".parse().unwrap(), asn: 4_200_000_000 },
        ];
        let (record, message) = read(&Table::new(1_700_000_000).peers(1, "n1", &peers).unwrap());
        assert_eq!(record.common_header.timestamp, 1_700_000_000);
        let TableDumpV2Message::PeerIndexTable(table) = message else { panic!("{message:?}") };
        assert_eq!((table.view_name.as_str(), table.id_peer_map.len()), ("n1", 2));
        let second = table.id_peer_map[&1];
        assert_eq!(second.peer_ip, peers[1].address);
        assert_eq!(second.peer_asn.to_u32(), 4_200_000_000);
    }

    #[test]
    fn another_implementation_reads_paths_of_both_families() {
        let path = Attributes {
            as_path: AsPath::sequence([Asn::new(65001).unwrap(), Asn::new(4_200_000_000).unwrap()]),
            med: Some(7),
            ..Attributes::default()
        };
        let global: Ipv6Addr = "2001:db8::9".parse().unwrap();
        let link_local = Some("fe80::9".parse().unwrap());
        let v6 = NextHop::V6 { global, link_local: None };
        let both = NextHop::V6 { global, link_local };
        let (mut table, mut sequence) = (Table::new(1_700_000_000), 0);
        for (prefix, next_hop, want) in [
            ("10.0.0.0/8", Some(NextHop::V4([192, 0, 2, 1].into())), "192.0.2.1"),
            ("0.0.0.0/0", None, "0.0.0.0"),
            ("10.1.2.128/25", Some(v6), "2001:db8::9"),
            ("2001:db8::/47", Some(v6), "2001:db8::9"),
            ("2001:db8:1::1/128", Some(both), "2001:db8::9"),
            ("::/0", None, "::"),
        ] {
            let prefix: Prefix = prefix.parse().unwrap();
            let attributes = attributes(&path, next_hop, prefix.family());
            let entry = |peer, path_id| Entry {
                peer,
                originated: 1_600_000_000,
                path_id,
                attributes: attributes.clone(),
            };
            let ids = [PathId(0), PathId(u32::MAX)].map(Some);
            let entries =
                [entry(2, ids[0]), entry(1, None), entry(2, ids[1]), entry(u16::MAX, None)];
            let records = table.paths(&prefix, &entries).unwrap();
            let subtypes = match prefix.family() {
                Family::Ipv4Unicast => {
                    [TableDumpV2Type::RibIpv4Unicast, TableDumpV2Type::RibIpv4UnicastAddPath]
                }
                Family::Ipv6Unicast => {
                    [TableDumpV2Type::RibIpv6Unicast, TableDumpV2Type::RibIpv6UnicastAddPath]
                }
            };
            let peers = [[(1, None), (u16::MAX, None)], [(2, Some(0)), (2, Some(u32::MAX))]];
            assert_eq!(records.len(), 2);
            for ((record, subtype), peers) in records.iter().zip(subtypes).zip(peers) {
                let (_, message) = read(record);
                let TableDumpV2Message::RibAfi(rib) = message else { panic!("{message:?}") };
                assert_eq!((rib.rib_type, rib.sequence_number), (subtype, sequence));
                sequence += 1;
                assert_eq!(rib.prefix.prefix.to_string(), prefix.to_string());
                let entries = rib.rib_entries.iter();
                let from: Vec<_> = entries.map(|entry| (entry.peer_index, entry.path_id)).collect();
                assert_eq!(from, peers);
                let entry = &rib.rib_entries[1];
                assert_eq!(entry.originated_time, 1_600_000_000);
                let read = &entry.attributes;
                assert_eq!(read.as_path().unwrap().to_string(), "65001 4200000000");
                let other = read.get_reachable_nlri().and_then(|nlri| nlri.next_hop);
                let hop = read.next_hop().or(other.map(|hop| hop.addr())).unwrap();
                assert_eq!(hop.to_string(), want, "{prefix}");
            }
        }
        assert_eq!(table.paths(&"::/0".parse().unwrap(), &[]), Some(vec![]));
    }

    #[test]
    fn what_the_format_cannot_count_is_none() {
        let peer = Peer { router_id: 1, address: "10.0.0.1".parse().unwrap(), asn: 1 };
        let mut table = Table::new(0);
        assert!(table.peers(1, "", &vec![peer; 65_535]).is_some());
        assert_eq!(table.peers(1, "", &vec![peer; 65_536]), None);
        let prefix = "10.0.0.0/8".parse().unwrap();
        let entry = |length| Entry {
            peer: 0,
            originated: 0,
            path_id: None,
            attributes: vec![0; length].into(),
        };
        assert!(table.paths(&prefix, &[entry(65_535)]).is_some());
        assert_eq!(table.paths(&prefix, &[entry(65_536)]), None);
    }
}
