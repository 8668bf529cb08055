//! ICMP echo, IPv4 and IPv6.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::PATIENCE;

/// Sends an echo request to `ip` and waits for its reply; how long that took.
///
/// # Errors
/// No privilege for raw sockets, no way there, or no reply in time.
pub fn echo(ip: IpAddr, number: usize) -> io::Result<Duration> {
    let (domain, protocol) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.connect(&SocketAddr::new(ip, 0).into())?;
    let tries = 2;
    let mut buffer = [0; 2048];
    let [.., a, b] = number.to_be_bytes();
    for attempt in 0..tries {
        let request = request(ip.is_ipv6(), [a, b], attempt);
        let start = Instant::now();
        socket.send(&request)?;
        let deadline = start + PATIENCE / u32::from(tries);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match (&socket).read(&mut buffer) {
                Ok(length) => {
                    let got = buffer.get(..length).unwrap_or_default();
                    if is_reply(ip.is_ipv6(), got, &request) {
                        return Ok(start.elapsed());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// An echo request with 40 octets of data; the kernel fills in ICMPv6 checksums itself.
fn request(is_v6: bool, id: [u8; 2], sequence: u8) -> Vec<u8> {
    let mut octets = vec![if is_v6 { 128 } else { 8 }, 0, 0, 0, id[0], id[1], 0, sequence];
    octets.extend((0..40).map(|i| i ^ id[1]));
    if !is_v6 {
        let sum = checksum(&octets).to_be_bytes();
        octets[2..4].copy_from_slice(&sum);
    }
    octets
}

/// Whether `got`, with its IP header if it is IPv4, is the reply to `request`.
fn is_reply(is_v6: bool, got: &[u8], request: &[u8]) -> bool {
    let header = match got.first() {
        Some(first) if !is_v6 => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let Some(message) = got.get(header..) else { return false };
    let wanted = if is_v6 { 129 } else { 0 };
    message.first() == Some(&wanted) && message.get(4..) == request.get(4..)
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_add_up() {
        for (octets, want) in [
            (&[][..], 0xffff),
            (&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7][..], !0xddf2),
            (&[0x01][..], !0x0100),
        ] {
            assert_eq!(checksum(octets), want, "{octets:x?}");
        }
        assert_eq!(checksum(&request(false, [1, 2], 3)), 0, "a request with its own checksum");
    }

    #[test]
    fn only_our_own_reply_counts() {
        let asked = request(false, [1, 2], 0);
        let with_header = |message: &[u8]| {
            let mut packet = vec![0_u8; 20];
            packet[0] = 0x45;
            packet.extend_from_slice(message);
            packet
        };
        let mut reply = asked.clone();
        reply[0] = 0;
        let mut other = reply.clone();
        other[5] = 9;
        for (what, packet, want) in [
            ("its reply", with_header(&reply), true),
            ("the request itself", with_header(&asked), false),
            ("somebody else's reply", with_header(&other), false),
            ("a header alone", with_header(&[]), false),
            ("a header that claims more than there is", vec![0x4f; 8], false),
            ("nothing", Vec::new(), false),
        ] {
            assert_eq!(is_reply(false, &packet, &asked), want, "{what}");
        }
    }
}
