//! The asking side: one exchange, and why it failed.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::responder::{HEAD, LIMIT, Ports};
use super::{Kind, PATIENCE, icmp, socket};

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its address.
    pub ip: IpAddr,
    /// Its ports.
    pub ports: Ports,
    /// Our own address, which the other side should see.
    pub as_whom: Option<IpAddr>,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The way there or back is closed.
    #[error("{}", describe(.0))]
    Io(#[from] io::Error),
    /// Somebody on the way put another source address in.
    #[error("source translated: {seen} was seen instead of {ours}")]
    Translated {
        /// What the other side saw.
        seen: String,
        /// What it should have seen.
        ours: IpAddr,
    },
    /// What came back is not what was sent.
    #[error("damaged: {got} octets came back for {sent}, or others than were sent")]
    Damaged {
        /// Octets sent.
        sent: usize,
        /// Octets received.
        got: usize,
    },
}

fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ETIMEDOUT) => "no answer".to_owned(),
        _ if error.kind() == io::ErrorKind::TimedOut => "no answer".to_owned(),
        Some(libc::EMSGSIZE) => "does not fit: the path's MTU is below 1500".to_owned(),
        Some(libc::ENETUNREACH) => "network unreachable".to_owned(),
        Some(libc::EHOSTUNREACH) => "no route to host".to_owned(),
        _ => error.to_string(),
    }
}

/// Sends one probe and waits for its answer; how long that took. `number` tells it from all
/// others of the same test.
///
/// # Errors
/// Whatever kept the same octets from coming back from a peer that saw our own address.
pub fn send(kind: Kind, number: usize, target: &Target) -> Result<Duration, Failure> {
    let start = Instant::now();
    match kind {
        Kind::Tcp => tcp(number, target)?,
        Kind::Udp => datagram(number, target, HEAD + 64)?,
        Kind::FullSize => datagram(number, target, full_size(target.ip))?,
        Kind::Icmp => return Ok(icmp::echo(target.ip, number)?),
    }
    Ok(start.elapsed())
}

/// Octets of UDP payload that make an IP packet of 1500.
fn full_size(ip: IpAddr) -> usize {
    let headers = if ip.is_ipv6() { 40 + 8 } else { 20 + 8 };
    1500 - headers
}

fn tcp(number: usize, target: &Target) -> Result<(), Failure> {
    let at = SocketAddr::new(target.ip, target.ports.tcp);
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let sent = message(number, 16_384);
    stream.write_all(&sent)?;
    stream.shutdown(Shutdown::Write)?;
    let mut got = Vec::new();
    stream.take(LIMIT as u64).read_to_end(&mut got)?;
    compare(&sent, &got, target.as_whom)
}

fn datagram(number: usize, target: &Target, length: usize) -> Result<(), Failure> {
    let any: IpAddr = if target.ip.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket::forbid_fragments(&socket, target.ip)?;
    socket.connect(SocketAddr::new(target.ip, target.ports.udp))?;
    let tries = 2;
    socket.set_read_timeout(Some(PATIENCE / tries))?;
    let sent = message(number, length);
    let mut buffer = vec![0; LIMIT];
    let mut last = io::ErrorKind::TimedOut.into();
    // datagrams may be lost; one that comes is enough
    for _ in 0..tries {
        match socket.send(&sent).and_then(|_| socket.recv(&mut buffer)) {
            Ok(length) => return compare(&sent, &buffer[..length], target.as_whom),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// An empty head and `length` octets in all that differ from probe to probe.
fn message(number: usize, length: usize) -> Vec<u8> {
    let mut octets = vec![0; HEAD.min(length)];
    let pattern = (0..length.saturating_sub(HEAD)).map(|i| (i.wrapping_mul(31) ^ number) as u8);
    octets.extend(pattern);
    octets
}

fn compare(sent: &[u8], got: &[u8], as_whom: Option<IpAddr>) -> Result<(), Failure> {
    let same_body = sent.get(HEAD..) == got.get(HEAD..);
    if sent.len() != got.len() || !same_body {
        return Err(Failure::Damaged { sent: sent.len(), got: got.len() });
    }
    let seen = String::from_utf8_lossy(got.get(..HEAD).unwrap_or(got)).trim().to_owned();
    match as_whom {
        Some(ours) if seen != ours.to_string() => Err(Failure::Translated { seen, ours }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_be_whole_and_come_from_one_who_saw_us() {
        let ours: IpAddr = "10.244.1.11".parse().expect("an address");
        let sent = message(7, 200);
        let stamped = |who: &str| {
            let mut got = sent.clone();
            got[..HEAD].copy_from_slice(format!("{who:<HEAD$}").as_bytes());
            got
        };
        let mut changed = stamped("10.244.1.11");
        changed[150] ^= 1;
        for (what, got, want) in [
            ("good", stamped("10.244.1.11"), None),
            ("translated", stamped("10.0.0.1"), Some("source translated: 10.0.0.1")),
            ("one octet changed", changed, Some("damaged: 200 octets")),
            ("cut short", stamped("10.244.1.11")[..100].to_vec(), Some("damaged: 100 octets")),
            ("shorter than its head", vec![b'x'; 10], Some("damaged: 10 octets")),
            ("empty", Vec::new(), Some("damaged: 0 octets")),
        ] {
            let result = compare(&sent, &got, Some(ours)).map_err(|e| e.to_string());
            match want {
                None => assert_eq!(result, Ok(()), "{what}"),
                Some(start) => {
                    let text = result.expect_err(what);
                    assert!(text.starts_with(start), "{what}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_full_size_packet_has_1500_octets() {
        for (ip, want) in [("10.0.0.1", 1472), ("fd00::1", 1452)] {
            assert_eq!(full_size(ip.parse().expect("an address")), want, "{ip}");
        }
    }
}
