//! Opening a TCP connection to a peer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::auth::{Protection, Ttl};

/// How long a peer may take to answer our SYN.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Internetwork control, as routing protocols mark their packets (RFC 4271 Appendix E).
const TOS_CS6: u32 = 0xC0;

/// Octets that may wait in the kernel to be sent. More, and a keepalive would stand behind
/// megabytes of updates that a slow peer does not take.
const NOT_SENT: u32 = 256 << 10;

/// Connects to `peer` from `source`, or from an address that the kernel chooses, as protected
/// as its connections shall be.
///
/// # Errors
/// A sentence for the operator: what was tried and what came of it.
pub(super) async fn dial(
    peer: SocketAddr,
    source: Option<IpAddr>,
    protection: &Protection,
) -> Result<TcpStream, String> {
    if let Some(why) = protection.refusal() {
        return Err(why.to_owned());
    }
    let from = source.map(|address| format!(" from {address}")).unwrap_or_default();
    let explain = |error: &io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{peer} refuses connections{from}; is BGP running there on that port?")
        }
        io::ErrorKind::ConnectionReset => {
            format!("{peer} resets connections{from}; does it have that address as a peer's?")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("cannot connect{from}: this host does not have that address")
        }
        io::ErrorKind::HostUnreachable if protection.ttl == Ttl::Hops(1) => format!(
            "cannot connect to {peer}{from}: {error}; an external peer that is not on the same \
             link needs ebgpMultihop"
        ),
        _ => format!("cannot connect to {peer}{from}: {error}"),
    };
    let socket = prepare(peer, source).map_err(|error| explain(&error))?;
    protection.arm_dial(&socket, peer.ip())?;
    match timeout(CONNECT_LIMIT, socket.connect(peer)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(format!(
            "no answer from {peer}{from} to a SYN; check the path and the peer{}",
            protection.hint()
        )),
    }
}

fn prepare(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    set_options(&socket, peer.is_ipv4());
    if let Some(source) = source {
        // The port is chosen at connect, so that many sessions from one address share ports.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// What every BGP connection has. Marking and early sending are wishes: a kernel that
/// refuses them is no reason to have no session.
pub(super) fn set_options(socket: &Socket, is_v4: bool) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT);
    let _ = if is_v4 { socket.set_tos_v4(TOS_CS6) } else { socket.set_tclass_v6(TOS_CS6) };
}
