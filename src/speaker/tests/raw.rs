//! A peer that a test plays itself, octet by octet.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use brindle_bgp::msg::{self, Message, WireFormat};
use brindle_bgp::net::Family;
use bytes::BytesMut;
use socket2::{Domain, Socket, Type};

use super::{Speaker, peer};
use crate::speaker::WantedPeer;

/// A connection to a speaker, with the OPENs exchanged and confirmed.
pub(super) struct RawPeer {
    pub(super) stream: TcpStream,
    received: BytesMut,
}

/// How `us` sees a raw peer on `127.0.0.<host>`, which dials.
pub(super) fn raw_peer(us: &Speaker, host: u8, name: &str) -> WantedPeer {
    let mut wanted = peer(us, us, name);
    wanted.address = IpAddr::from([127, 0, 0, host]);
    wanted.rib.address = wanted.address;
    wanted.session.passive = true;
    wanted.session.extended_message = false;
    wanted
}

/// Connects from `127.0.0.<host>`; a small window makes the peer slow for us.
pub(super) fn connect(to: SocketAddr, host: u8, window: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(window) = window {
        socket.set_recv_buffer_size(window).unwrap();
        // As on a real link: with one segment larger than the window, the kernel sends only
        // now and then.
        socket.set_tcp_mss(1460).unwrap();
    }
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

impl RawPeer {
    /// Comes up as the peer that `wanted` describes, with router id `10.99.1.<host>`.
    pub(super) fn establish(
        to: SocketAddr,
        host: u8,
        wanted: &WantedPeer,
        window: Option<usize>,
    ) -> Self {
        Self::try_establish(to, host, wanted, window).expect("a session")
    }

    /// The same; says why it does not come up.
    pub(super) fn try_establish(
        to: SocketAddr,
        host: u8,
        wanted: &WantedPeer,
        window: Option<usize>,
    ) -> io::Result<Self> {
        let mut settings = wanted.session.clone();
        settings.router_id = std::net::Ipv4Addr::new(10, 99, 1, host).try_into().unwrap();
        let mut raw = Self { stream: connect(to, host, window), received: BytesMut::new() };
        raw.say(&Message::Open(settings.open()))?;
        raw.say(&Message::Keepalive)?;
        loop {
            match raw.hear()? {
                Some(Message::Keepalive) => return Ok(raw),
                Some(Message::Open(_)) => {}
                other => return Err(io::Error::other(format!("no session: {other:?}"))),
            }
        }
    }

    pub(super) fn say(&mut self, message: &Message) -> io::Result<()> {
        say(&mut self.stream, message)
    }

    /// The next message; `None` at the end.
    pub(super) fn hear(&mut self) -> io::Result<Option<Message>> {
        let format = WireFormat {
            four_octet_asns: true,
            families: Family::ALL.to_vec(),
            internal: true,
            ..WireFormat::default()
        };
        loop {
            if let Some(length) = msg::frame(&self.received, &format).unwrap()
                && self.received.len() >= length
            {
                let octets = self.received.split_to(length).freeze();
                return Ok(Some(msg::decode(&octets, &format).unwrap().message));
            }
            let mut some = [0; 4096];
            match self.stream.read(&mut some)? {
                0 => return Ok(None),
                count => self.received.extend_from_slice(&some[..count]),
            }
        }
    }

    /// Keeps the session alive from a thread of its own, until the answer is dropped.
    pub(super) fn keep_alive(&self) -> Sender<()> {
        let mut stream = self.stream.try_clone().unwrap();
        let (stop, stopped): (Sender<()>, Receiver<()>) = channel();
        std::thread::spawn(move || {
            let pause = Duration::from_millis(500);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                if say(&mut stream, &Message::Keepalive).is_err() {
                    break;
                }
            }
        });
        stop
    }
}

fn say(stream: &mut TcpStream, message: &Message) -> io::Result<()> {
    let mut octets = BytesMut::new();
    msg::encode(message, &WireFormat::default(), &mut octets);
    stream.write_all(&octets)
}
