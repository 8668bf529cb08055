//! The socket that the packets of one session leave by: its source port is the session's own
//! (RFC 5881 §4).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use brindle_bgp::bfd::Packet;
use socket2::{Domain, Protocol, Socket, Type};

/// Where source ports come from (RFC 5881 §4).
pub(super) const PORTS: RangeInclusive<u16> = 49152..=65535;

/// Ports that are tried when others have them.
const TRIES: usize = 64;

/// Internetwork control, as the packets of routing protocols have it.
const TOS_CS6: u32 = 0xC0;

/// A connected socket.
pub(super) struct Sender {
    socket: Socket,
    to: SocketAddr,
    local: SocketAddr,
}

impl Sender {
    /// One to `to` from `source`, or from an address that the kernel chooses; by `interface`
    /// if that is known. `ports` are tried in their order.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn open(
        to: SocketAddr,
        source: Option<IpAddr>,
        interface: Option<&str>,
        ports: impl Iterator<Item = u16>,
    ) -> Result<Self, String> {
        let mut last = io::Error::from(ErrorKind::AddrInUse);
        for port in ports.take(TRIES) {
            match connect(to, source, interface, port) {
                Ok(socket) => {
                    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
                    let Some(local) = local else { continue };
                    return Ok(Self { socket, to, local });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => last = error,
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(match (last.kind(), source) {
            (ErrorKind::AddrNotAvailable, Some(source)) => {
                format!("cannot send from {source}: this host does not have that address")
            }
            _ => format!("cannot send to {}: {last}", to.ip()),
        })
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn send(&self, packet: &Packet) -> Result<(), String> {
        let octets = packet.encode();
        let sent = match self.socket.send(&octets) {
            // That is of an earlier packet; this one is not sent yet.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let _ = self.socket.send(&octets);
                Err(error)
            }
            sent => sent,
        };
        sent.map(drop).map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => {
                format!(
                    "nobody listens on UDP port {} of {}; is BFD switched on there for {}?",
                    self.to.port(),
                    self.to.ip(),
                    self.local.ip()
                )
            }
            _ => format!("cannot send to {}: {error}", self.to.ip()),
        })
    }

    /// Our address and port, and our link if that is what the address goes with.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }
}

fn connect(
    to: SocketAddr,
    source: Option<IpAddr>,
    interface: Option<&str>,
    port: u16,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let any = match to {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(u8::MAX.into())?;
            // A wish, as the priority is: a kernel that refuses is no reason to have no BFD.
            let _ = socket.set_tos_v4(TOS_CS6);
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(u8::MAX.into())?;
            let _ = socket.set_tclass_v6(TOS_CS6);
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }
    };
    if let Some(interface) = interface {
        // Without the right to it, the TTL still keeps packets on the link.
        let _ = socket.bind_device(Some(interface.as_bytes()));
    }
    socket.bind(&SocketAddr::new(source.unwrap_or(any), port).into())?;
    socket.connect(&to.into())?;
    Ok(socket)
}
