//! A BGP peer that says exactly the octets it is told, and keeps all that it hears.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Host;
use crate::octets::{KEEPALIVE, RawPath, apply, message, open};
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
