//! Asks for everything that the kernel holds of a kind.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use brindle_bgp::net::Family;
use futures::{FutureExt as _, Stream, StreamExt as _};
use rtnetlink::Handle;
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::proto::Connection;
use rtnetlink::sys::AsyncSocket as _;
use tokio::time::timeout;

use super::super::news::News;
use super::read::read_news;
use super::{ANSWER_WITHIN, Message, RECEIVE_BUFFER, reserve, timed_out};

/// How often a dump is repeated that changed while it was read.
const DUMP_ATTEMPTS: usize = 8;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// All links.
    Links,
    /// All addresses.
    Addresses,
    /// All routes of a family in the main table.
    Routes(Family),
}

impl Dump {
    fn request(self) -> RouteNetlinkMessage {
        match self {
            Self::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
            Self::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            Self::Routes(family) => {
                let mut message = RouteMessage::default();
                message.header.address_family = match family {
                    Family::Ipv4Unicast => AddressFamily::Inet,
                    Family::Ipv6Unicast => AddressFamily::Inet6,
                };
                message.header.table = RouteHeader::RT_TABLE_MAIN;
                RouteNetlinkMessage::GetRoute(message)
            }
        }
    }

    /// Whether it was asked for: a kernel without IPv6 answers for all families that it has.
    fn has(self, news: &News) -> bool {
        match (self, news) {
            (Self::Routes(family), News::Route(route, _)) => route.key.prefix.family() == family,
            (Self::Links, News::Link(_)) | (Self::Addresses, News::Address(_)) => true,
            _ => false,
        }
    }
}

/// A connection that asks. It is made for one reading of everything, so that no late answer
/// and no failure outlives it.
///
/// It is no task of its own but polled for the next answer. It keeps what it reads in one go,
/// and that the runtime limits to 128 datagrams of at most 32 KiB, however large the table.
pub struct Queries {
    connection: Connection<RouteNetlinkMessage>,
    handle: Handle,
}

impl Queries {
    /// Opens the socket in the network namespace of this thread. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection()?;
        // The end of a dump says whether it is whole.
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_ref();
        // Kernels before 4.20 have no strict checks: they send all tables, and we sift.
        let _ = socket.set_netlink_get_strict_chk(true);
        reserve(socket, RECEIVE_BUFFER)?;
        Ok(Self { connection, handle })
    }

    /// Everything that the kernel holds of a kind, gathered into what `start` makes. Repeated
    /// from the start if it changed on the way.
    ///
    /// # Errors
    /// If the kernel refuses, does not answer, or changes all the time.
    pub async fn dump<T>(
        &mut self,
        what: Dump,
        start: impl Fn() -> T,
        gather: impl Fn(&mut T, News),
    ) -> io::Result<T> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut all = start();
            if self.dump_once(what, |news| gather(&mut all, news)).await? {
                return Ok(all);
            }
        }
        Err(io::Error::other("the routing table changed during every attempt to read it"))
    }

    /// Whether the dump is whole: nothing changed on the way. The requests of [`Handle`] that
    /// are made for dumps do not tell.
    async fn dump_once(&mut self, what: Dump, mut gather: impl FnMut(News)) -> io::Result<bool> {
        let mut request = NetlinkMessage::from(what.request());
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(io::Error::other)?;
        let mut is_whole = true;
        loop {
            let answer = timeout(ANSWER_WITHIN, self.next(&mut answers)).await;
            let message = answer.map_err(|_| timed_out())?.ok_or_else(closed)?;
            is_whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    if let Some(news) = read_news(inner, message.header.flags)
                        && what.has(&news)
                    {
                        gather(news);
                    }
                }
                NetlinkPayload::Done(done) => return answered(done.code).map(|()| is_whole),
                NetlinkPayload::Error(error) => {
                    return answered(error.raw_code()).map(|()| is_whole);
                }
                _ => {}
            }
        }
    }

    /// The next answer; `None` if the socket failed.
    async fn next(
        &mut self,
        answers: &mut (impl Stream<Item = Message> + Unpin),
    ) -> Option<Message> {
        poll_fn(|context| {
            if let Poll::Ready(answer) = answers.poll_next_unpin(context) {
                return Poll::Ready(answer);
            }
            let has_failed = self.connection.poll_unpin(context).is_ready();
            match answers.poll_next_unpin(context) {
                Poll::Pending if has_failed => Poll::Ready(None),
                answer => answer,
            }
        })
        .await
    }
}

/// The code is a negative error number. A table that nobody has written to is not there yet,
/// and so empty.
fn answered(code: i32) -> io::Result<()> {
    match code.saturating_neg() {
        0 | libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn closed() -> io::Error {
    io::Error::other("the socket for questions failed")
}
