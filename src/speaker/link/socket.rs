//! The socket on one link that router solicitations and advertisements come and go by.

use std::ffi::c_int;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::setsockopt_impl;
use nix::sys::socket::sockopt::SetStruct;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::packet::{self, Heard};

/// All nodes, and all routers, of a link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// More than a link carries in one packet of these.
const LONGEST: usize = 1500;

/// `ICMP6_FILTER` of linux/icmpv6.h, which no crate wraps: a bit for each type that is not
/// wanted.
const ICMP6_FILTER: c_int = 1;
type Unwanted = [u32; 8];

#[derive(Clone)]
struct Icmp6Filter;

setsockopt_impl!(
    Icmp6Filter,
    libc::IPPROTO_ICMPV6,
    ICMP6_FILTER,
    Unwanted,
    SetStruct<'_, Unwanted>
);

/// A socket on one link.
pub(super) struct LinkSocket {
    /// A raw one: to the runtime all that take datagrams are alike.
    socket: UdpSocket,
    index: u32,
}

impl LinkSocket {
    /// Opens it on the link of this name and number.
    ///
    /// # Errors
    /// If the link is gone, or we may not have raw sockets.
    pub(super) fn open(name: &str, index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        let mut unwanted: Unwanted = [u32::MAX; 8];
        for kind in [packet::SOLICITATION, packet::ADVERTISEMENT] {
            unwanted[usize::from(kind) / 32] &= !(1 << (kind % 32));
        }
        setsockopt(&socket, Icmp6Filter, &unwanted)?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_multicast_hops_v6(u8::MAX.into())?;
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, index })
    }

    /// Asks who routes on the link.
    ///
    /// # Errors
    /// If the link takes no packets now.
    pub(super) fn solicit(&self) -> io::Result<()> {
        self.send(&packet::solicitation(), ALL_ROUTERS)
    }

    /// Says that we do.
    ///
    /// # Errors
    /// If the link takes no packets now.
    pub(super) fn advertise(&self) -> io::Result<()> {
        self.send(&packet::advertisement(), ALL_NODES)
    }

    fn send(&self, octets: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let to = SocketAddrV6::new(to, 0, 0, self.index);
        SockRef::from(&self.socket).send_to(octets, &to.into()).map(drop)
    }

    /// The next message of a neighbour, and its link-local address. Can be cancelled without
    /// losing any.
    ///
    /// # Errors
    /// If the link is gone.
    pub(super) async fn hear(&self) -> io::Result<(Heard, Ipv6Addr)> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(Interest::READABLE, || receive(&self.socket)) {
                Ok(Some(heard)) => return Ok(heard),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A message that waits; `None` if it is nothing for us.
fn receive(socket: &UdpSocket) -> io::Result<Option<(Heard, Ipv6Addr)>> {
    let mut octets = [0; LONGEST];
    let mut parts = [IoSliceMut::new(&mut octets)];
    let mut control = nix::cmsg_space!(c_int);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
    let message = match message {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Err(ErrorKind::WouldBlock.into()),
        Err(Errno::EINTR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let from = message.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6);
    let hop_limit = message.cmsgs().ok().and_then(|mut notes| {
        notes.find_map(|note| match note {
            ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
            _ => None,
        })
    });
    let length = message.bytes;
    let Some(from) =
        from.map(nix::sys::socket::SockaddrIn6::ip).filter(Ipv6Addr::is_unicast_link_local)
    else {
        return Ok(None);
    };
    let octets = octets.get(..length).unwrap_or_default();
    Ok(packet::read(octets, hop_limit.unwrap_or(0)).map(|heard| (heard, from)))
}
