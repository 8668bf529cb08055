//! The first octets of an IP packet: addresses, protocol, ports.

use std::net::IpAddr;

use brindle_policy::Protocol;

/// Extension headers of IPv6 that are passed over; a packet with more is one that hides
/// something, and is shown without its ports.
const MOST_EXTENSIONS: usize = 8;
/// Numbers of IPv6 extension headers (RFC 8200 §4.1): hop-by-hop, routing, destination options.
const EXTENSIONS: [u8; 3] = [0, 43, 60];
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What the headers of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// The number of the IP protocol.
    pub protocol: u8,
    /// Source and destination port, if the protocol has ports and they are there.
    pub ports: Option<(u16, u16)>,
    /// The flags of TCP, as in its header.
    pub tcp_flags: Option<u8>,
    /// Type and code of a message of ICMP or ICMPv6, if they are there.
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    /// Reads the start of a packet; `None` if not even its addresses are there.
    pub fn read(octets: &[u8]) -> Option<Self> {
        match octets.first()? >> 4 {
            4 => Self::read_v4(octets),
            6 => Self::read_v6(octets),
            _ => None,
        }
    }

    fn read_v4(octets: &[u8]) -> Option<Self> {
        let header = octets.first_chunk::<20>()?;
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        let length = usize::from(header[0] & 0x0f) * 4;
        let inner = if fragment == 0 && length >= 20 { octets.get(length..) } else { None };
        let [.., a, b, c, d, e, f, g, h] = *header;
        Some(Self::with([a, b, c, d].into(), [e, f, g, h].into(), header[9], inner))
    }

    fn read_v6(octets: &[u8]) -> Option<Self> {
        let header = octets.first_chunk::<40>()?;
        let address = |at: usize| {
            let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen of forty");
            IpAddr::from(octets)
        };
        let (mut protocol, mut inner) = (header[6], octets.get(40..));
        for _ in 0..MOST_EXTENSIONS {
            let Some(extension) = inner else { break };
            // Its length is there too; without it nothing behind it can be found.
            let [next, length, ..] = *extension else {
                inner = None;
                break;
            };
            let octets = match protocol {
                FRAGMENT => {
                    let offset = extension.get(2..4).map(|o| u16::from_be_bytes([o[0], o[1]]) >> 3);
                    if offset == Some(0) { 8 } else { usize::MAX }
                }
                AUTHENTICATION => (usize::from(length) + 2) * 4,
                number if EXTENSIONS.contains(&number) => (usize::from(length) + 1) * 8,
                _ => break,
            };
            protocol = next;
            inner = extension.get(octets..);
        }
        Some(Self::with(address(8), address(24), protocol, inner))
    }

    fn with(source: IpAddr, destination: IpAddr, protocol: u8, inner: Option<&[u8]>) -> Self {
        let inner = inner.unwrap_or_default();
        let has_ports = Protocol::of_number(protocol).is_some();
        let ports = inner
            .first_chunk::<4>()
            .filter(|_| has_ports)
            .map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
        let is_tcp = protocol == Protocol::Tcp.number();
        let tcp_flags = inner.get(13).copied().filter(|_| is_tcp);
        let is_icmp = protocol == if source.is_ipv4() { ICMP } else { ICMPV6 };
        let icmp = inner.first_chunk::<2>().map(|[kind, code]| (*kind, *code));
        let icmp = icmp.filter(|_| is_icmp);
        Self { source, destination, protocol, ports, tcp_flags, icmp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, inner: &[u8]) -> Vec<u8> {
        let mut octets = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        octets[6..8].copy_from_slice(&fragment.to_be_bytes());
        octets.extend([10, 1, 0, 1, 10, 1, 0, 2]);
        octets.extend(inner);
        octets
    }

    fn v6(next: u8, inner: &[&[u8]]) -> Vec<u8> {
        let mut octets = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        octets.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        octets.extend("fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        inner.iter().for_each(|part| octets.extend(*part));
        octets
    }

    const TCP: [u8; 20] = [0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];

    #[test]
    fn protocol_and_ports_are_found_behind_whatever_stands_before_them() {
        let syn = (Some((12345, 80)), Some(2));
        let mut options = v4(6, 0, &[]);
        options[0] = 0x46;
        options.extend([[0; 4].as_slice(), &TCP].concat());
        for (what, octets, protocol, want) in [
            ("TCP", v4(6, 0, &TCP), 6, syn),
            ("with options", options, 6, syn),
            ("UDP", v4(17, 0, &TCP[..8]), 17, (Some((12345, 80)), None)),
            ("a first fragment", v4(6, 0x2000, &TCP), 6, syn),
            ("a later fragment", v4(6, 0x2001, &TCP), 6, (None, None)),
            ("cut in the ports", v4(6, 0, &TCP[..3]), 6, (None, None)),
            ("cut in the flags", v4(6, 0, &TCP[..13]), 6, (Some((12345, 80)), None)),
            ("TCP over IPv6", v6(6, &[&TCP]), 6, syn),
            ("an option", v6(0, &[&[6, 0, 0, 0, 0, 0, 0, 0], &TCP]), 6, syn),
            ("a long option", v6(60, &[&[6, 1], &[0; 14], &TCP]), 6, syn),
            ("authenticated", v6(51, &[&[6, 1], &[0; 10], &TCP]), 6, syn),
            ("a fragment of v6", v6(44, &[&[6, 0, 0, 1, 0, 0, 0, 0], &TCP]), 6, syn),
            ("a later one", v6(44, &[&[6, 0, 0, 8, 0, 0, 0, 0], &TCP]), 6, (None, None)),
            ("cut in an option", v6(0, &[&[6]]), 0, (None, None)),
            ("a lying option", v6(0, &[&[6, 255], &TCP]), 6, (None, None)),
            ("nothing behind", v6(6, &[]), 6, (None, None)),
        ] {
            let packet = Packet::read(&octets).unwrap_or_else(|| panic!("{what}"));
            assert_eq!(packet.protocol, protocol, "{what}");
            assert_eq!((packet.ports, packet.tcp_flags), want, "{what}");
            let last = packet.destination.to_string().pop();
            assert_eq!((last, packet.source == packet.destination), (Some('2'), false), "{what}");
        }
    }

    #[test]
    fn the_type_and_code_of_a_message_are_found() {
        for (what, octets, want) in [
            ("echo", v4(1, 0, &[8, 0, 1, 2]), Some((8, 0))),
            ("unreachable", v4(1, 0, &[3, 4]), Some((3, 4))),
            ("cut", v4(1, 0, &[3]), None),
            ("a later fragment", v4(1, 1, &[8, 0]), None),
            ("of the other family", v4(58, 0, &[128, 0]), None),
            ("echo over IPv6", v6(58, &[&[128, 0]]), Some((128, 0))),
            ("behind an option", v6(0, &[&[58, 0, 0, 0, 0, 0, 0, 0], &[1, 4]]), Some((1, 4))),
            ("of the other family", v6(1, &[&[8, 0]]), None),
            ("TCP", v4(6, 0, &TCP), None),
        ] {
            let packet = Packet::read(&octets).unwrap_or_else(|| panic!("{what}"));
            assert_eq!(packet.icmp, want, "{what}");
            assert_eq!(packet.ports.is_some(), packet.protocol == 6, "{what}");
        }
    }

    #[test]
    fn any_octets_are_read_or_refused() {
        let whole = [v4(6, 0, &TCP), v6(0, &[&[44, 0], &[0; 6], &[6; 8], &TCP])];
        for octets in whole {
            for length in 0..octets.len() {
                for (at, value) in [(0, 0x4f), (0, 0x6f), (6, 0xff), (9, 0), (40, 43), (41, 255)] {
                    let mut octets = octets[..length].to_vec();
                    if let Some(octet) = octets.get_mut(at) {
                        *octet = value;
                    }
                    let least = if octets.first().is_some_and(|o| o >> 4 == 6) { 40 } else { 20 };
                    assert_eq!(Packet::read(&octets).is_some(), length >= least, "{octets:?}");
                }
            }
        }
        assert_eq!(Packet::read(&[0; 64]), None);
    }
}
