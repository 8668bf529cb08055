//! The answering side: says whom it saw and gives back what it got.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

use anyhow::Context;
use socket2::{Domain, Socket, Type};

use super::super::netns;
use super::super::plan::Pod;
use super::{PATIENCE, socket};

/// Octets at the front of every message: nothing on the way there, on the way back the
/// address that the responder saw, as text, filled up with blanks.
pub const HEAD: usize = 64;
/// The longest message.
pub const LIMIT: usize = 65_536;
/// How soon a responder notices that it may stop.
const TICK: Duration = Duration::from_millis(100);

/// Where a responder listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// TCP.
    pub tcp: u16,
    /// UDP.
    pub udp: u16,
}

/// Answers on `address` of `pod` until `stop` is set.
///
/// # Errors
/// The namespace cannot be entered, or the address is not there.
pub fn serve<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    stop: &'scope AtomicBool,
    pod: &Pod,
    address: IpAddr,
) -> anyhow::Result<Ports> {
    let at = SocketAddr::new(address, 0);
    let (listener, datagrams) = netns::within(&pod.namespace, || {
        let listener = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        listener.bind(&at.into())?;
        listener.listen(128)?;
        listener.set_read_timeout(Some(TICK))?;
        let datagrams = UdpSocket::bind(at)?;
        datagrams.set_read_timeout(Some(TICK))?;
        socket::forbid_fragments(&datagrams, address)?;
        Ok((listener, datagrams))
    })
    .with_context(|| format!("cannot listen on {address} of {}", pod.name))?;
    let tcp = listener.local_addr()?.as_socket().context("an IP socket")?.port();
    let udp = datagrams.local_addr()?.port();
    scope.spawn(move || {
        while !stop.load(Ordering::Acquire) {
            if let Ok((stream, _)) = listener.accept() {
                // one that stalls must not hold up the others
                scope.spawn(move || answer_stream(stream.into()));
            }
        }
    });
    scope.spawn(move || {
        let mut buffer = vec![0; LIMIT];
        while !stop.load(Ordering::Acquire) {
            if let Ok((length, peer)) = datagrams.recv_from(&mut buffer) {
                stamp(&mut buffer[..length], peer.ip());
                // an answer that cannot be sent is one that does not arrive: the probe says so
                let _ = datagrams.send_to(&buffer[..length], peer);
            }
        }
    });
    Ok(Ports { tcp, udp })
}

fn answer_stream(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = stream.peer_addr()?.ip();
    let mut message = Vec::new();
    (&mut stream).take(LIMIT as u64).read_to_end(&mut message)?;
    stamp(&mut message, peer);
    stream.write_all(&message)?;
    Ok(())
}

/// Writes the peer's address into the head of a message.
fn stamp(message: &mut [u8], peer: IpAddr) {
    let text = format!("{peer:<HEAD$}");
    for (place, octet) in message.iter_mut().take(HEAD).zip(text.bytes()) {
        *place = octet;
    }
}
