//! Peers by the thousand prefixes: what they send was encoded before, what they hear is
//! only counted. For measurements and for tests of what much costs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::octets::{KEEPALIVE, as_path, attribute, message, open, update};

/// Longest hold time that we offer: a busy daemon must not lose a session to our silence.
const HOLD_TIME: u16 = 600;

/// A session that is up: everything until the first KEEPALIVE is read, nothing after it.
///
/// # Errors
/// If there is none within a minute.
pub fn establish(netns: &Netns, from: Ipv4Addr, to: IpAddr, asn: u32) -> Result<TcpStream, String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match netns.inside(|| greet(from, to, asn)) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("no session from {from}: {error}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn greet(from: Ipv4Addr, to: IpAddr, asn: u32) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.connect_timeout(&SocketAddr::new(to, 179).into(), Duration::from_secs(2))?;
    socket.set_tcp_nodelay(true)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&open(asn, from, HOLD_TIME))?;
    stream.write_all(&message(KEEPALIVE, &[]))?;
    loop {
        let mut header = [0; 19];
        stream.read_exact(&mut header)?;
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let mut body = vec![0; length.saturating_sub(19)];
        stream.read_exact(&mut body)?;
        match header[18] {
            KEEPALIVE => break,
            1 => {}
            kind => return Err(std::io::Error::other(format!("message {kind}: {body:02x?}"))),
        }
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// How many IPv4 prefixes a session has told so far, each time counted.
#[derive(Debug, Default)]
pub struct Heard {
    announced: AtomicUsize,
    withdrawn: AtomicUsize,
}

impl Heard {
    /// Announcements.
    pub fn announced(&self) -> usize {
        self.announced.load(Ordering::Relaxed)
    }

    /// Withdrawals.
    pub fn withdrawn(&self) -> usize {
        self.withdrawn.load(Ordering::Relaxed)
    }
}

/// Counts what a session tells, on a thread of its own, and answers KEEPALIVEs.
///
/// # Panics
/// If no thread can be made.
pub fn count(mut stream: TcpStream) -> Arc<Heard> {
    let count = Arc::new(Heard::default());
    let heard = count.clone();
    let work = move || {
        let mut buffer = vec![0; 256 * 1024];
        let mut filled = 0;
        while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]) {
            filled += read;
            let mut begin = 0;
            while let Some(body) = next_message(&buffer[begin..filled]) {
                match buffer[begin + 18] {
                    2 => {
                        let (withdrawn, announced) = prefixes(body);
                        heard.withdrawn.fetch_add(withdrawn, Ordering::Relaxed);
                        heard.announced.fetch_add(announced, Ordering::Relaxed);
                    }
                    KEEPALIVE => {
                        // A session that is closed shows in the next read.
                        let _ = stream.write_all(&message(KEEPALIVE, &[]));
                    }
                    _ => {}
                }
                begin += 19 + body.len();
            }
            buffer.copy_within(begin..filled, 0);
            filled -= begin;
        }
    };
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    small.spawn(work).expect("a thread can be made");
    count
}

/// The body of the whole message that `octets` begin with.
fn next_message(octets: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*octets.get(16)?, *octets.get(17)?]));
    octets.get(19..length)
}

/// How many IPv4 prefixes the UPDATE withdraws and announces.
fn prefixes(body: &[u8]) -> (usize, usize) {
    let length = |at: usize| match body.get(at..at + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    let count = |mut octets: &[u8]| {
        let mut count = 0;
        while let Some(bits) = octets.first() {
            octets = octets.get(1 + usize::from(bits.div_ceil(8))..).unwrap_or_default();
            count += 1;
        }
        count
    };
    let attributes = 2 + length(0);
    let announced = attributes + 2 + length(attributes);
    let part = |range: std::ops::Range<usize>| body.get(range).unwrap_or_default();
    (count(part(2..attributes)), count(part(announced..body.len())))
}

/// Waits until `done` says so, looking often.
///
/// # Errors
/// After `limit`, with what `done` said last.
pub fn wait(limit: Duration, done: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        match done() {
            Ok(()) => return Ok(()),
            Err(missing) if begin.elapsed() > limit => return Err(missing),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// UPDATEs that announce `count` different /24s, ten to each set of attributes: AS paths of
/// three to six numbers and a community, as tables of the Internet have them.
///
/// # Panics
/// For more prefixes than there are from 20.0.0.0 on.
pub fn table(count: usize, asn: u32, next_hop: Ipv4Addr) -> Vec<u8> {
    table_along(100_000, count, asn, next_hop)
}

/// As [`table`], but each prefix along another path.
///
/// # Panics
/// As [`table`].
pub fn changed_table(count: usize, asn: u32, next_hop: Ipv4Addr) -> Vec<u8> {
    table_along(200_000, count, asn, next_hop)
}

/// AS numbers other than `asn` are `base` and above.
fn table_along(base: u32, count: usize, asn: u32, next_hop: Ipv4Addr) -> Vec<u8> {
    let mut octets = Vec::with_capacity(count * 12);
    let hop = attribute(0x40, 3, &next_hop.octets());
    for first in (0..count).step_by(10) {
        let set = u32::try_from(first / 10).expect("a count of sets");
        let mut path = vec![asn];
        path.extend((0..2 + set % 4).map(|hop| base + (set / 4 + hop * 7919) % 70_000));
        let community = [0xfc_u8, 0x00, (set >> 8) as u8, set as u8];
        let attributes =
            [attribute(0x40, 1, &[0]), as_path(&path), hop.clone(), attribute(0xc0, 8, &community)]
                .concat();
        let last = count.min(first + 10);
        let prefixes: Vec<u8> = (first..last).flat_map(|number| prefix(number, 24)).collect();
        octets.extend(update(&[], &attributes, &prefixes));
    }
    octets
}

/// An UPDATE with two /32s that belong to one peer alone, as an internal peer sends it.
///
/// # Panics
/// For more peers than there are addresses.
pub fn two(number: usize, next_hop: Ipv4Addr) -> Vec<u8> {
    let attributes = [
        attribute(0x40, 1, &[0]),
        as_path(&[]),
        attribute(0x40, 3, &next_hop.octets()),
        attribute(0x40, 5, &100_u32.to_be_bytes()),
    ]
    .concat();
    let prefixes = [prefix(2 * number, 32), prefix(2 * number + 1, 32)].concat();
    update(&[], &attributes, &prefixes)
}

/// UPDATEs that withdraw what [`table`] announces.
///
/// # Panics
/// As [`table`].
pub fn withdrawal(count: usize) -> Vec<u8> {
    let all = (0..count).step_by(900).flat_map(|first| {
        let last = count.min(first + 900);
        let prefixes: Vec<u8> = (first..last).flat_map(|number| prefix(number, 24)).collect();
        update(&prefixes, &[], &[])
    });
    all.collect()
}

/// The prefix of that number and length, from 20.0.0.0 on, as it stands on the wire.
fn prefix(number: usize, length: u8) -> Vec<u8> {
    let number = u32::try_from(number).expect("fewer than there are addresses");
    let address = 0x1400_0000 + (number << (32 - length));
    [&[length], &address.to_be_bytes()[..usize::from(length / 8)]].concat()
}
