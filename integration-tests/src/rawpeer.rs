//! A BGP peer that says exactly the octets it is told, and keeps all that it hears.
//!
//! It reads messages with a few lines of its own, so that what brindle's codec writes is
//! judged by something else than brindle's codec.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Host;
use crate::wait::{SOON, met, until};

/// A connected raw peer. A thread of its own reads everything at once.
#[derive(Debug)]
pub struct RawPeer {
    stream: TcpStream,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    messages: Vec<RawMessage>,
    /// Every KEEPALIVE is answered with one.
    answer: bool,
    closed: bool,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// 1 OPEN, 2 UPDATE, 3 NOTIFICATION, 4 KEEPALIVE, 5 ROUTE-REFRESH.
    pub kind: u8,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// A path as it was announced: attribute code to flags and value. Codes 14 and 15 are left
/// out; the next hop stands under [`NEXT_HOP`] whatever the family.
pub type RawPath = BTreeMap<u8, (u8, Vec<u8>)>;

/// The attribute code of NEXT_HOP.
pub const NEXT_HOP: u8 = 3;

/// KEEPALIVE.
pub const KEEPALIVE: u8 = 4;

impl RawPeer {
    /// Dials `to` from `host`'s address of the same family, on BGP's port.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn dial(host: &Host, to: IpAddr) -> std::io::Result<Self> {
        let ours = SocketAddr::new(host.address_like(to), 0);
        Self::dial_from(host, ours, SocketAddr::new(to, 179))
    }

    /// Dials `to` from an address that `host` has.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn dial_from(host: &Host, from: SocketAddr, to: SocketAddr) -> std::io::Result<Self> {
        Self::on(host.netns.inside(|| dial(from, to))?)
    }

    /// Takes a connection that was accepted.
    ///
    /// # Errors
    /// If it is broken already.
    pub fn on(stream: TcpStream) -> std::io::Result<Self> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (reader, book) = (stream.try_clone()?, heard.clone());
        std::thread::spawn(move || {
            listen_to(reader, &book);
            book.lock().expect("nobody panics with it").closed = true;
        });
        Ok(Self { stream, heard })
    }

    /// Sends octets.
    ///
    /// # Errors
    /// If the other side has closed.
    pub fn send(&self, octets: &[u8]) -> std::io::Result<()> {
        (&self.stream).write_all(octets)
    }

    /// Dials until a session is established: an OPEN with IPv4, IPv6 and four-octet AS
    /// numbers, a KEEPALIVE, and the other side's. From then on every KEEPALIVE is answered
    /// with one. (A hold time of 0 would do without, but not every implementation bears it.)
    ///
    /// # Panics
    /// If that does not succeed in good time.
    pub fn establish(host: &Host, to: IpAddr, asn: u32) -> Self {
        until(&format!("a session from {} with {to}", host.netns.name()), SOON, || {
            let peer = Self::dial(host, to).map_err(|error| error.to_string())?;
            peer.greet(asn, host.v4)?;
            Ok(peer)
        })
    }

    /// The handshake of [`RawPeer::establish`] on this connection.
    ///
    /// # Errors
    /// If the other side closes or does not answer within five seconds.
    pub fn greet(&self, asn: u32, router_id: Ipv4Addr) -> Result<(), String> {
        let hello = [open(asn, router_id, 90), message(KEEPALIVE, &[])].concat();
        self.send(&hello).map_err(|error| error.to_string())?;
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            let (messages, closed) = (self.messages(), self.is_closed());
            if messages.iter().any(|message| message.kind == KEEPALIVE) {
                self.heard.lock().expect("nobody panics with it").answer = true;
                return Ok(());
            }
            if closed || std::time::Instant::now() > deadline {
                return Err(format!("no session; heard {messages:?}, closed: {closed}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that was heard.
    ///
    /// # Panics
    /// If the reading thread has.
    pub fn messages(&self) -> Vec<RawMessage> {
        self.heard.lock().expect("nobody panics with it").messages.clone()
    }

    /// Whether the other side has closed the connection.
    ///
    /// # Panics
    /// If the reading thread has.
    pub fn is_closed(&self) -> bool {
        self.heard.lock().expect("nobody panics with it").closed
    }

    /// Code, subcode and data of the NOTIFICATION heard; `None` if there was none.
    pub fn notification(&self) -> Option<(u8, u8, Vec<u8>)> {
        let messages = self.messages();
        let body = &messages.iter().find(|message| message.kind == 3)?.body;
        Some((*body.first()?, *body.get(1)?, body.get(2..)?.to_vec()))
    }

    /// The prefixes that stand announced after all that was heard, and their paths.
    ///
    /// # Panics
    /// If an UPDATE cannot be read: the other side must not send such.
    pub fn routes(&self) -> BTreeMap<String, RawPath> {
        let mut routes = BTreeMap::new();
        for message in self.messages().iter().filter(|message| message.kind == 2) {
            apply(&message.body, &mut routes)
                .unwrap_or_else(|| panic!("cannot read the UPDATE {:02x?}", message.body));
        }
        routes
    }

    /// Waits until `prefix` stands announced and returns its path.
    ///
    /// # Panics
    /// If it does not in good time.
    pub fn hears(&self, prefix: &str) -> RawPath {
        until(&format!("an announcement of {prefix}"), SOON, || {
            let routes = self.routes();
            let all: Vec<&String> = routes.keys().collect();
            routes.get(prefix).cloned().ok_or_else(|| format!("{all:?}"))
        })
    }

    /// Waits until `prefix` does not stand announced any more.
    ///
    /// # Panics
    /// If it still does after a good time.
    pub fn loses(&self, prefix: &str) {
        until(&format!("a withdrawal of {prefix}"), SOON, || {
            met(!self.routes().contains_key(prefix), || "still announced".into())
        });
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        // The reading thread holds a copy of the socket: closing ours is not enough.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn dial(from: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn listen_to(mut stream: TcpStream, book: &Mutex<Heard>) {
    let mut header = [0; 19];
    while stream.read_exact(&mut header).is_ok() {
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let mut body = vec![0; length.saturating_sub(19)];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let message = RawMessage { kind: header[18], body };
        let mut heard = book.lock().expect("nobody panics with it");
        // If that fails the other side has closed, which the next read tells.
        let is_due = heard.answer && message.kind == KEEPALIVE;
        heard.messages.push(message);
        drop(heard);
        if is_due && stream.write_all(&self::message(KEEPALIVE, &[])).is_err() {
            return;
        }
    }
}

/// A whole message: header and body.
///
/// # Panics
/// If the body is too long for the length field.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("short enough");
    [&[0xff; 16], length.to_be_bytes().as_slice(), &[kind], body].concat()
}

/// An OPEN with four-octet AS numbers and both families.
pub fn open(asn: u32, router_id: Ipv4Addr, hold_time: u16) -> Vec<u8> {
    let short = u16::try_from(asn).unwrap_or(23456).to_be_bytes();
    let capabilities =
        [[1, 4, 0, 1, 0, 1].as_slice(), &[1, 4, 0, 2, 0, 1], &[2, 0], &[65, 4], &asn.to_be_bytes()]
            .concat();
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
fn apply(body: &[u8], routes: &mut BTreeMap<String, RawPath>) -> Option<()> {
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
