//! The sockets to the kernel: one that writes, one that listens, one that asks whenever
//! everything is to be read, and what others need of links and of routes of ours.
//!
//! This, [`lookup`](super::lookup) and `cni::links::netlink` are the only modules that name
//! rtnetlink and its message types, which change every few months; outside, there are
//! [`News`](super::news::News) and [`RouteOp`](super::route::RouteOp). (Netfilter speaks netlink
//! too, with messages of its own: those are in `enforce`.)

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;

mod events;
mod guard;
mod links;
mod marked;
mod objects;
mod ops;
mod query;
mod read;
mod writer;

pub use events::{Drained, Monitor};
pub use guard::{GuardSocket, MarkedRule};
pub use links::Links;
pub use marked::{MarkedObject, MarkedRoute, NamedLink, Remover};
pub use objects::ObjectMonitor;
pub use query::{Dump, Queries};
pub(super) use read::read_gateway;
pub use writer::{BATCH, Writer};

/// Any message to or from the kernel.
type Message = NetlinkMessage<RouteNetlinkMessage>;

/// Room for answers and events, in octets. The kernel counts about a kilobyte an event.
pub const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// How long the kernel may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Gives a socket its receive buffer: beyond the administrator's limit if we may.
fn reserve(socket: &impl AsFd, octets: usize) -> io::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &octets)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &octets))
        .map_err(io::Error::from)
}

fn timed_out() -> io::Error {
    let within = ANSWER_WITHIN.as_secs();
    io::Error::new(io::ErrorKind::TimedOut, format!("the kernel did not answer within {within} s"))
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        error => io::Error::other(error),
    }
}

/// A kernel without the family has no routes of it.
fn empty_if_unknown<T: Default>(error: rtnetlink::Error) -> io::Result<T> {
    let error = io_error(error);
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => Ok(T::default()),
        _ => Err(error),
    }
}

fn fine_if_gone(outcome: Result<(), rtnetlink::Error>) -> io::Result<()> {
    match outcome.map_err(io_error) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => Ok(()),
        outcome => outcome,
    }
}
