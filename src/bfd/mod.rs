//! BFD sessions: sockets, a clock and a thread around the pure core.
//!
//! ```text
//!  speaker ──set──► ┌ thread "bfd" ─────────────────────┐ ◄──UDP 3784, 4784── peers
//!                   │ Table: Session, Session, ...      │ ───a port each────►
//!  peer task ◄─watch┤ Receivers: one a local address    │
//!                   └───────────────────────────────────┘
//! ```
//!
//! All sessions live on one thread of their own, which waits for nobody: neither a table
//! that is taken in nor a slow disk may make a peer think that we are gone. What it tells is
//! left in a [`Report`] of each peer, where others read it and wait for changes.

mod receiver;
mod report;
mod sender;
mod table;
mod thread;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use brindle_bgp::bfd::Settings;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;
use tracing::error;

pub use report::{Counters, DROP_REASONS, Drops, Report, Seen, Status};

/// How long stopping may take: peers that are not told then find out by themselves.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// A session as it shall be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where the peer is.
    pub peer: IpAddr,
    /// Our address; `None` lets the kernel choose.
    pub source: Option<IpAddr>,
    /// The interface of the peer's link, where it is known; only for one hop.
    pub interface: Option<Arc<str>>,
    /// Whether it is on no subnet of ours, as far as is known: then one hop may not be enough.
    pub is_far: bool,
    /// How often, and how far.
    pub settings: Settings,
    /// Where it tells of itself.
    pub report: Arc<Report>,
}

/// What the thread is told.
enum Order {
    /// These sessions and no others.
    Set(Vec<Wanted>),
    /// Tell the peers that we switch BFD off, answer, and end.
    Stop(oneshot::Sender<()>),
}

/// The way to the thread, which starts with the first session that is wanted.
#[derive(Default)]
pub struct Handle {
    thread: Option<Thread>,
    drops: Arc<Drops>,
    faults: Arc<AtomicU64>,
}

struct Thread {
    orders: Sender<Order>,
    wake: Arc<EventFd>,
}

impl Handle {
    /// Wants these sessions and no others. One to the same peer from the same address stays
    /// as it is, with other intervals if they are others; one that is not wanted any more is
    /// switched off, and the peer is told so (RFC 5880 §6.8.16).
    pub fn set(&mut self, wanted: Vec<Wanted>) {
        if self.thread.is_none() && wanted.is_empty() {
            return;
        }
        if self.thread.is_none() {
            match start(Arc::clone(&self.drops), Arc::clone(&self.faults)) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => return error!(%error, "no BFD: its thread cannot be started"),
            }
        }
        self.tell(Order::Set(wanted));
    }

    /// Packets that were dropped, by reason.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// How often a fault of ours has ended all sessions, which started anew.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Ends all sessions: the peers are told that we switch them off, so that they do not
    /// take the path for broken.
    pub async fn stop(&mut self) {
        let (answer, answered) = oneshot::channel();
        if self.tell(Order::Stop(answer)) {
            let _ = tokio::time::timeout(STOP_LIMIT, answered).await;
        }
        self.thread = None;
    }

    fn tell(&self, order: Order) -> bool {
        let Some(thread) = &self.thread else { return false };
        let is_told = thread.orders.send(order).is_ok();
        // It can only fail when the thread was woken 2^64 times and has not looked.
        let _ = thread.wake.write(1);
        is_told
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(Thread { orders, wake }) = self.thread.take() {
            drop(orders);
            let _ = wake.write(1);
        }
    }
}

fn start(drops: Arc<Drops>, faults: Arc<AtomicU64>) -> std::io::Result<Thread> {
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (orders, told) = std::sync::mpsc::channel();
    let waker = Arc::clone(&wake);
    std::thread::Builder::new()
        .name("bfd".to_owned())
        .spawn(move || thread::run(&told, &waker, &drops, &faults))?;
    Ok(Thread { orders, wake })
}

#[cfg(test)]
mod tests;
