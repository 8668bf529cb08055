//! The socket that packets of all peers to one address of ours come in on.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use brindle_bgp::bfd::Packet;

/// Octets for packets that wait: enough for a second of two hundred fast peers.
const WAITING: usize = 4 << 20;

/// More than a packet with the longest authentication has.
const LONGEST: usize = 256;

/// Room for what the kernel says beside a packet: its TTL and where it came from.
const CONTROL: usize = 128;

/// A bound socket.
pub(super) struct Receiver {
    socket: Socket,
    control: Vec<u8>,
}

/// A packet as it came.
pub(super) struct Arrival {
    pub(super) octets: [u8; LONGEST],
    pub(super) length: usize,
    pub(super) from: IpAddr,
    /// TTL or hop limit; zero if the kernel does not say, which is no peer's.
    pub(super) ttl: u8,
    /// The index of the interface that it came by.
    pub(super) interface: u32,
}

impl Receiver {
    /// Listens at `local`, also while the host does not have that address yet.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn open(local: SocketAddr) -> Result<Self, String> {
        let socket = bind(local).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => format!(
                "another program has UDP {local}; is a second BFD daemon running on this host?"
            ),
            _ => format!("cannot receive at UDP {local}: {error}"),
        })?;
        Ok(Self { socket, control: vec![0; CONTROL] })
    }

    /// The next packet that waits; `None` if none does.
    pub(super) fn receive(&mut self) -> Option<Arrival> {
        let mut octets = [0; LONGEST];
        let mut parts = [IoSliceMut::new(&mut octets)];
        loop {
            let (fd, control) = (self.socket.as_raw_fd(), &mut self.control[..]);
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(control), flags) {
                Ok(message) => message,
                Err(Errno::EINTR) => continue,
                // Nothing waits, or an error that the next packet does not have.
                Err(_) => return None,
            };
            let from = message.address.as_ref().and_then(address);
            let (mut ttl, mut interface) = (0, 0);
            if let Ok(notes) = message.cmsgs() {
                for note in notes {
                    match note {
                        ControlMessageOwned::Ipv4Ttl(value)
                        | ControlMessageOwned::Ipv6HopLimit(value) => {
                            ttl = u8::try_from(value).unwrap_or(0);
                        }
                        ControlMessageOwned::Ipv4PacketInfo(info) => {
                            interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                        }
                        ControlMessageOwned::Ipv6PacketInfo(info) => interface = info.ipi6_ifindex,
                        _ => {}
                    }
                }
            }
            let length = message.bytes;
            let Some(from) = from else { continue };
            return Some(Arrival { octets, length, from, ttl, interface });
        }
    }
}

impl Arrival {
    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv4() {
        socket.set_freebind_v4(true)?;
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
        socket.set_recv_hoplimit_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    // Beyond the host's limit where we may; less is enough for most.
    if setsockopt(&socket, sockopt::RcvBufForce, &WAITING).is_err() {
        let _ = socket.set_recv_buffer_size(WAITING);
    }
    socket.bind(&local.into())?;
    Ok(socket)
}

fn address(from: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = from.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| from.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

const _: () = assert!(LONGEST > Packet::OCTETS);
