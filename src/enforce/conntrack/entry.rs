//! Entries of the connection tracking table, as netlink tells them.

use std::net::IpAddr;

use brindle_policy::verdict::Flow;
use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED, NlasIterator};

/// Attributes of an entry (`linux/netfilter/nfnetlink_conntrack.h`).
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const TUPLE_MASTER: u16 = 14;
const ZONE: u16 = 18;
/// Attributes of a tuple.
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
/// Attributes of a tuple's addresses: IPv4 and IPv6 differ.
const SOURCES: [u16; 2] = [1, 3];
const DESTINATIONS: [u16; 2] = [2, 4];
/// Attributes of a tuple's protocol.
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// Likewise of ICMP and of ICMPv6.
const ICMP_TYPES: [u16; 2] = [5, 8];
const ICMP_CODES: [u16; 2] = [6, 9];

/// What a packet of one direction looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// The number of the IP protocol.
    pub protocol: u8,
    /// Its source port, where the protocol has ports.
    pub source_port: Option<u16>,
    /// Its destination port.
    pub destination_port: Option<u16>,
    /// Type and code of its message, of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
}

/// A tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its first packet, as it came.
    pub original: Tuple,
    /// What an answer looks like. Where addresses are translated it is not the opposite of
    /// `original`.
    pub reply: Tuple,
    /// The original tuple of the connection that this one belongs to: it was let through as
    /// related.
    pub master: Option<Tuple>,
    /// The attributes that name this entry and no other, not even one of the same tuples.
    pub(super) name: Vec<u8>,
}

impl Entry {
    /// The connection as policies judge it: its first packet after destination translation and
    /// before source translation (policy-semantics 7.4).
    pub fn flow(&self) -> Flow {
        Flow {
            source: self.original.source,
            destination: self.reply.source,
            protocol: self.original.protocol,
            source_port: self.original.source_port,
            destination_port: self.reply.source_port,
            icmp: self.original.icmp,
        }
    }

    /// Its first packet before destination translation, as host endpoints judge it first.
    pub fn untranslated(&self) -> Flow {
        let Tuple { destination, destination_port, .. } = self.original;
        Flow { destination, destination_port, ..self.flow() }
    }

    /// Every address that it is about; some may be there twice.
    pub fn addresses(&self) -> [IpAddr; 4] {
        let Self { original, reply, .. } = self;
        [original.source, original.destination, reply.source, reply.destination]
    }

    /// Reads the attributes of an entry; `None` if some are missing or make no sense.
    pub(super) fn read(attributes: &[u8]) -> Option<Self> {
        let (mut original, mut reply, mut master) = (None, None, None);
        let mut name = Vec::with_capacity(80);
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute.ok()?;
            match attribute.kind() {
                TUPLE_ORIGINAL => original = Some(Tuple::read(attribute.value())?),
                TUPLE_REPLY => reply = Some(Tuple::read(attribute.value())?),
                TUPLE_MASTER => master = Tuple::read(attribute.value()),
                _ => {}
            }
            if let TUPLE_ORIGINAL | ID | ZONE = attribute.kind() {
                let nested = if attribute.nested_flag() { NLA_F_NESTED } else { 0 };
                let value = attribute.value().to_vec();
                let attribute = DefaultNla::new(attribute.kind() | nested, value);
                let start = name.len();
                name.resize(start + attribute.buffer_len(), 0);
                attribute.emit(&mut name[start..]);
            }
        }
        Some(Self { original: original?, reply: reply?, master, name })
    }
}

impl Tuple {
    fn read(attributes: &[u8]) -> Option<Self> {
        let (mut source, mut destination, mut protocol) = (None, None, None);
        let (mut source_port, mut destination_port) = (None, None);
        let (mut kind_of, mut code) = (None, None);
        for outer in NlasIterator::new(attributes) {
            let outer = outer.ok()?;
            let group = outer.kind();
            if group != TUPLE_ADDRESSES && group != TUPLE_PROTOCOL {
                continue;
            }
            for attribute in NlasIterator::new(outer.value()) {
                let attribute = attribute.ok()?;
                let (kind, value) = (attribute.kind(), attribute.value());
                match (group, kind) {
                    (TUPLE_ADDRESSES, kind) if SOURCES.contains(&kind) => source = address(value),
                    (TUPLE_ADDRESSES, kind) if DESTINATIONS.contains(&kind) => {
                        destination = address(value);
                    }
                    (TUPLE_PROTOCOL, NUMBER) => protocol = value.first().copied(),
                    (TUPLE_PROTOCOL, SOURCE_PORT) => source_port = port(value),
                    (TUPLE_PROTOCOL, DESTINATION_PORT) => destination_port = port(value),
                    (TUPLE_PROTOCOL, kind) if ICMP_TYPES.contains(&kind) => {
                        kind_of = value.first().copied();
                    }
                    (TUPLE_PROTOCOL, kind) if ICMP_CODES.contains(&kind) => {
                        code = value.first().copied();
                    }
                    _ => {}
                }
            }
        }
        let (source, destination) = (source?, destination?);
        let icmp = kind_of.zip(code);
        Some(Self { source, destination, protocol: protocol?, source_port, destination_port, icmp })
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn port(octets: &[u8]) -> Option<u16> {
    octets.try_into().map(u16::from_be_bytes).ok()
}

#[cfg(test)]
impl Entry {
    /// One that no kernel told.
    pub(crate) fn new(original: Tuple, reply: Tuple, master: Option<Tuple>) -> Self {
        Self { original, reply, master, name: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let attribute = DefaultNla::new(kind, value.to_vec());
        let mut octets = vec![0; attribute.buffer_len()];
        attribute.emit(&mut octets);
        octets
    }

    fn tuple(kind: u16, addresses: [[u8; 4]; 2], ports: [u16; 2]) -> Vec<u8> {
        let [source, destination] = addresses;
        let addresses = [attribute(1, &source), attribute(2, &destination)].concat();
        let [source, destination] = ports.map(u16::to_be_bytes);
        let protocol =
            [attribute(1, &[6]), attribute(2, &source), attribute(3, &destination)].concat();
        let nested = |kind, value: &[u8]| attribute(kind | NLA_F_NESTED, value);
        nested(kind, &[nested(1, &addresses), nested(2, &protocol)].concat())
    }

    #[test]
    fn a_message_is_read_with_its_type_and_code() {
        for (number, kinds, want) in
            [(1, [5, 6], Some((8, 0))), (58, [8, 9], Some((8, 0))), (1, [5, 7], None)]
        {
            let addresses = [attribute(1, &[10, 1, 0, 1]), attribute(2, &[10, 1, 0, 2])].concat();
            let [kind, code] = kinds;
            let protocol =
                [attribute(1, &[number]), attribute(kind, &[8]), attribute(code, &[0])].concat();
            let nested = |kind, value: &[u8]| attribute(kind | NLA_F_NESTED, value);
            let octets = [nested(1, &addresses), nested(2, &protocol)].concat();
            let tuple = Tuple::read(&octets).expect("it is whole");
            assert_eq!((tuple.icmp, tuple.source_port), (want, None), "{number} {kinds:?}");
        }
    }

    #[test]
    fn an_entry_is_read_with_what_names_it() {
        let (pod, service, web) = ([10, 1, 0, 1], [10, 96, 0, 1], [10, 1, 0, 2]);
        let original = tuple(TUPLE_ORIGINAL, [pod, service], [4000, 443]);
        let reply = tuple(TUPLE_REPLY, [web, pod], [80, 4000]);
        let id = attribute(ID, &[1, 2, 3, 4]);
        let status = attribute(3, &[0, 0, 1, 0x8e]);
        let all = [&original[..], &reply, &status, &id].concat();
        let entry = Entry::read(&all).expect("it is whole");
        let flow = entry.flow();
        assert_eq!((flow.source, flow.destination), (pod.into(), web.into()));
        assert_eq!((flow.source_port, flow.destination_port), (Some(4000), Some(80)));
        assert_eq!((flow.protocol, entry.master), (6, None));
        assert_eq!(entry.name, [original.clone(), id].concat());
        let master = tuple(TUPLE_MASTER, [pod, web], [4001, 21]);
        let related = Entry::read(&[&all[..], &master].concat()).expect("it is whole");
        assert_eq!(related.master.and_then(|master| master.destination_port), Some(21));
        // What is not whole is none, and nothing breaks.
        assert_eq!(Entry::read(&original), None);
        for length in 0..original.len() + reply.len() - 1 {
            let _ = Entry::read(&all[..length]);
        }
    }
}
