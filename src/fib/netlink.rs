//! The sockets to the kernel: one that writes and asks, one that listens.
//!
//! A write is carried out within the system call that sends it, and its answers wait in the
//! socket when that call returns. So the writer blocks, which costs its thread only the time
//! that the kernel works, and the fib has a thread of its own for that.

use std::io;

use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, Socket, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use socket2::{SockFilter, SockRef};

use brindle_bgp::net::Family;

use super::route::RouteOp;
use super::table::Refused;
use super::wire::{self, News};

/// Most writes that one system call carries. More gain nothing: the kernel's work dominates.
pub const BATCH: usize = 128;
/// Most octets that one system call carries: well below the send buffer.
const BATCH_OCTETS: usize = 32 * 1024;
/// Room for answers and events, in octets. The kernel counts about a kilobyte an event.
pub const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// How long the kernel may take to answer, in seconds.
const ANSWER_WITHIN: i64 = 10;
/// The most that the kernel puts in one datagram, twice over.
const DATAGRAM: usize = 64 * 1024;
/// How often a dump is repeated that changed while it was read.
const DUMP_ATTEMPTS: usize = 8;

/// Writes routes and reads everything.
#[derive(Debug)]
pub struct Writer {
    socket: Socket,
    port: u32,
    sequence: u32,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Writer {
    /// Opens the socket in the network namespace of this thread.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // Kernels before 4.20 have no strict checks: they send all tables, and we sift.
        let _ = socket.set_netlink_get_strict_chk(true);
        reserve(&socket, RECEIVE_BUFFER)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_WITHIN))?;
        let answer = Vec::with_capacity(DATAGRAM);
        Ok(Self { socket, port, sequence: 0, out: Vec::new(), answer })
    }

    /// The number by which the kernel names this socket in events about what it wrote.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Carries out writes in order, at most a batch of them; the answer to each that was
    /// carried out or refused.
    ///
    /// Only the last of a batch asks for an answer. Refusals are answered in any case, and
    /// what stands before an answer without one of its own succeeded.
    ///
    /// # Errors
    /// If the kernel does not answer, or its answers were lost: then nothing is known about
    /// any of them.
    pub fn write(&mut self, ops: &[RouteOp]) -> io::Result<Vec<Result<(), Refused>>> {
        self.out.clear();
        let first = self.sequence.wrapping_add(1);
        let mut answers: Vec<Result<(), Refused>> = Vec::with_capacity(ops.len().min(BATCH));
        for (op, left) in ops.iter().take(BATCH).zip((0..ops.len().min(BATCH)).rev()) {
            self.sequence = self.sequence.wrapping_add(1);
            let start = self.out.len();
            wire::write_op(&mut self.out, self.sequence, op, left == 0);
            answers.push(Ok(()));
            if left > 0 && self.out.len() > BATCH_OCTETS {
                self.out.truncate(start);
                wire::write_op(&mut self.out, self.sequence, op, true);
                break;
            }
        }
        if answers.is_empty() {
            return Ok(answers);
        }
        self.socket.send(&self.out, 0)?;
        let last = u32::try_from(answers.len() - 1).expect("a batch is small");
        loop {
            self.receive()?;
            for (message, flags, sequence, body) in wire::messages_of(&self.answer) {
                let at = sequence.wrapping_sub(first);
                if message != NLMSG_ERROR || at > last {
                    continue; // An answer that came too late for the request it belongs to.
                }
                let answer = wire::read_answer(flags, body).ok_or_else(garbled)?;
                if let ((errno, message), Some(slot)) = (answer, answers.get_mut(at as usize))
                    && errno != 0
                {
                    *slot = Err(Refused { errno, message });
                }
                if at == last {
                    return Ok(answers);
                }
            }
        }
    }

    /// Everything that the kernel holds of a kind, gathered into what `start` makes. Repeated
    /// from the start if it changed on the way.
    ///
    /// # Errors
    /// If the kernel refuses, does not answer, or changes all the time.
    pub fn dump<T>(
        &mut self,
        what: u16,
        family: Option<Family>,
        start: impl Fn() -> T,
        gather: impl Fn(&mut T, News),
    ) -> io::Result<T> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut all = start();
            if self.dump_once(what, family, |news| gather(&mut all, news))? {
                return Ok(all);
            }
        }
        Err(io::Error::other("the routing table changed during every attempt to read it"))
    }

    /// Whether the dump is whole: nothing changed on the way.
    fn dump_once(
        &mut self,
        what: u16,
        family: Option<Family>,
        mut gather: impl FnMut(News),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        self.out.clear();
        wire::write_dump(&mut self.out, self.sequence, what, family);
        self.socket.send(&self.out, 0)?;
        let mut is_whole = true;
        loop {
            self.receive()?;
            for (message, flags, sequence, body) in wire::messages_of(&self.answer) {
                if sequence != self.sequence {
                    continue;
                }
                is_whole &= flags & NLM_F_DUMP_INTR == 0;
                match message {
                    NLMSG_DONE => return finish(body).map(|()| is_whole),
                    NLMSG_ERROR => {
                        let (errno, _) = wire::read_answer(flags, body).ok_or_else(garbled)?;
                        return answered(errno).map(|()| is_whole);
                    }
                    _ => {
                        if let Some(news) = wire::read_news(message, flags, body)
                            && family.is_none_or(|family| is_of(&news, family))
                        {
                            gather(news);
                        }
                    }
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        receive(&self.socket, &mut self.answer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the kernel did not answer within {ANSWER_WITHIN} s"),
            ),
            _ => error,
        })
    }
}

/// A kernel without IPv6 answers for all families that it has.
fn is_of(news: &News, family: Family) -> bool {
    match news {
        News::Route(route, _) | News::RouteGone(route) => route.key.prefix.family() == family,
        _ => true,
    }
}

fn finish(body: &[u8]) -> io::Result<()> {
    match body.first_chunk() {
        Some(code) => answered(i32::from_ne_bytes(*code).saturating_neg()),
        None => Ok(()),
    }
}

/// A table that nobody has written to is not there yet, and so empty.
fn answered(errno: i32) -> io::Result<()> {
    match errno {
        0 | libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is malformed")
}

/// Hears what changes.
pub struct Monitor {
    socket: TokioSocket,
    datagram: Vec<u8>,
    /// What [`Monitor::ready`] received, until [`Monitor::drain`] hands it over.
    first: Option<io::Result<()>>,
}

/// How far [`Monitor::drain`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything was heard.
    All,
    /// The kernel had more to say than there was room for; some of it is lost.
    Overrun,
}

impl Monitor {
    /// Hears of links, addresses and routes in the network namespace of this thread, with
    /// room for `buffer` octets of events, but not of what `writer` wrote. To be called
    /// within a runtime.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn open(buffer: usize, writer: &Writer) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        reserve(socket.socket_ref(), buffer)?;
        // It saves time, no more: our own writes are also known when they are heard of.
        let _ = SockRef::from(socket.socket_ref()).attach_filter(&not_from(writer.port()));
        socket.socket_mut().bind_auto()?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
        ] {
            socket.socket_ref().add_membership(group)?;
        }
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM), first: None })
    }

    /// Waits until there is something to hear. Nothing is lost if it is not waited for to
    /// the end.
    pub async fn ready(&mut self) {
        if self.first.is_none() {
            let Self { socket, datagram, .. } = self;
            datagram.clear();
            let received = std::future::poll_fn(|context| socket.poll_recv(context, datagram));
            self.first = Some(received.await);
        }
    }

    /// Hands over everything that there is to hear, without waiting for more.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn drain(&mut self, mut hear: impl FnMut(News)) -> io::Result<Drained> {
        let mut drained = Drained::All;
        loop {
            let first = self.first.take();
            let socket = self.socket.socket_ref();
            match first.unwrap_or_else(|| receive(socket, &mut self.datagram)) {
                Ok(()) => {
                    for (message, flags, _, body) in wire::messages_of(&self.datagram) {
                        if let Some(news) = wire::read_news(message, flags, body) {
                            hear(news);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(drained),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    drained = Drained::Overrun;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A packet filter that drops events about what the socket with this number wrote.
fn not_from(port: u32) -> [SockFilter; 4] {
    const PORT_OFFSET: u32 = 12;
    const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let code = |code: u32| u16::try_from(code).expect("the codes are below 256");
    // The filter reads numbers in network order, and the kernel writes this one in its own.
    let port = u32::from_be_bytes(port.to_ne_bytes());
    [
        SockFilter::new(code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), 0, 0, PORT_OFFSET),
        SockFilter::new(code(JUMP_IF_EQUAL), 0, 1, port),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
    ]
}

/// Gives a socket its receive buffer: beyond the administrator's limit if we may.
fn reserve(socket: &Socket, octets: usize) -> io::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &octets)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &octets))
        .map_err(io::Error::from)
}

fn receive(socket: &Socket, datagram: &mut Vec<u8>) -> io::Result<()> {
    loop {
        datagram.clear();
        match socket.recv(datagram, libc::MSG_TRUNC) {
            Ok(length) if length > datagram.len() => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the kernel sent a datagram of {length} octets"),
                ));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
