//! Hears what changes: a connection that is in the multicast groups of links, addresses,
//! routes and rules.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt as _, StreamExt as _};
use rtnetlink::MulticastGroup::{
    self, Ipv4Ifaddr, Ipv4Route, Ipv4Rule, Ipv6Ifaddr, Ipv6Route, Ipv6Rule, Link,
};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::Connection;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};
use socket2::{SockFilter, SockRef};

use super::super::news::News;
use super::read::read_news;
use super::{Message, Writer, reserve};

/// How long is waited before a socket that failed is opened anew.
pub(super) const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Hears what changes.
///
/// The connection is no task of its own: it reads only when it is listened to, so that
/// [`Monitor::drain`] knows when nothing is left.
pub struct Monitor {
    connection: Connection<RouteNetlinkMessage>,
    /// What was read and not yet handed over: never more than fits in the socket's buffer
    /// and what comes while that is read.
    messages: UnboundedReceiver<(Message, SocketAddr)>,
    /// What [`Monitor::ready`] took from there.
    first: Option<Message>,
    is_broken: bool,
    groups: &'static [MulticastGroup],
    buffer: usize,
    /// The port of who writes what we need not hear of; nobody has zero.
    writer: u32,
}

/// What [`Monitor::open`] hears of.
const ALL: [MulticastGroup; 7] =
    [Link, Ipv4Ifaddr, Ipv6Ifaddr, Ipv4Route, Ipv6Route, Ipv4Rule, Ipv6Rule];
/// What [`Monitor::open_addresses`] hears of.
const ADDRESSES: [MulticastGroup; 3] = [Link, Ipv4Ifaddr, Ipv6Ifaddr];

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
        Self::connect(&ALL, buffer, writer.port())
    }

    /// Hears of links and addresses only.
    ///
    /// # Errors
    /// As [`Monitor::open`].
    pub fn open_addresses(buffer: usize) -> io::Result<Self> {
        Self::connect(&ADDRESSES, buffer, 0)
    }

    fn connect(groups: &'static [MulticastGroup], buffer: usize, writer: u32) -> io::Result<Self> {
        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(groups)?;
        let socket = connection.socket_mut().socket_ref();
        reserve(socket, buffer)?;
        if writer != 0 {
            // It saves time, no more: our own writes are also known when they are heard of.
            let _ = SockRef::from(socket).attach_filter(&not_from(writer));
        }
        Ok(Self { connection, messages, first: None, is_broken: false, groups, buffer, writer })
    }

    /// Waits until there is something to hear. Nothing is lost if it is not waited for to
    /// the end.
    pub async fn ready(&mut self) {
        if self.is_broken {
            tokio::time::sleep(REOPEN_AFTER).await;
        } else if self.first.is_none() {
            self.first = poll_fn(|context| self.poll_message(context)).await;
        }
    }

    /// The next message; `None` if the socket failed.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.is_broken = self.connection.poll_unpin(context).is_ready();
        match self.messages.poll_next_unpin(context) {
            Poll::Ready(Some((message, _))) => Poll::Ready(Some(message)),
            Poll::Pending if !self.is_broken => Poll::Pending,
            Poll::Ready(None) | Poll::Pending => Poll::Ready(None),
        }
    }

    /// Hands over everything that there is to hear, without waiting for more.
    ///
    /// # Errors
    /// If the socket fails; it is opened anew, and what came meanwhile is lost.
    pub async fn drain(&mut self, mut hear: impl FnMut(News)) -> io::Result<Drained> {
        // The runtime learns that the socket has something only when it has its turn.
        tokio::task::yield_now().await;
        // Nor may it cut us short, however much there is.
        tokio::task::unconstrained(poll_fn(|context| {
            self.is_broken |= self.connection.poll_unpin(context).is_ready();
            Poll::Ready(())
        }))
        .await;
        let mut drained = Drained::All;
        let mut next = self.first.take().or_else(|| self.read());
        while let Some(message) = next {
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    if let Some(news) = read_news(inner, message.header.flags) {
                        hear(news);
                    }
                }
                NetlinkPayload::Overrun(_) => drained = Drained::Overrun,
                _ => {}
            }
            next = self.read();
        }
        if self.is_broken {
            *self = Self::connect(self.groups, self.buffer, self.writer)?;
            return Err(io::Error::other("the socket for events failed and is opened anew"));
        }
        Ok(drained)
    }

    /// What was read before.
    fn read(&mut self) -> Option<Message> {
        self.messages.next().now_or_never().flatten().map(|(message, _)| message)
    }
}

/// A packet filter that drops events about what the socket with this number wrote.
pub(super) fn not_from(port: u32) -> [SockFilter; 4] {
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
