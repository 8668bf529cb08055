//! Writing to one TCP connection: urgent messages first, then what the RIB has.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brindle_bgp::fsm::WireId;
use brindle_bgp::rib::{Advertisement, PeerId};
use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::owner::{FromPeer, Pull};
use super::peer::WireNews;
use super::status::Counters;
use super::wire::Wake;

/// Octets asked of the RIB at a time: enough to keep a fast peer busy, little enough that
/// a keepalive never waits for long behind them.
const PULL: usize = 128 << 10;

/// Messages that may wait ahead of updates; a peer that takes none for so long is dropped
/// by the send hold timer long before.
const URGENT: usize = 64;

/// How often the session machine is told that the peer takes what we write.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Messages in one system call: the most that Linux takes (IOV_MAX).
const MOST_SLICES: usize = 1024;

enum Urgent {
    Message(Bytes),
    StartUpdates,
}

/// The way to a wire's writing task.
pub(super) struct Writer {
    urgent: Option<mpsc::Sender<Urgent>>,
    task: Option<JoinHandle<()>>,
    /// Notified by the owner when there is something to pull.
    pub(super) wake: Wake,
}

impl Writer {
    pub(super) fn start(
        peer: PeerId,
        wire: WireId,
        write: OwnedWriteHalf,
        owner: mpsc::Sender<FromPeer>,
        news: mpsc::Sender<WireNews>,
        counters: Arc<Counters>,
    ) -> Self {
        let (urgent, orders) = mpsc::channel(URGENT);
        let wake = Wake::default();
        let task = Task {
            peer,
            wire,
            write,
            owner,
            news,
            counters,
            wake: Arc::clone(&wake),
            backlog: VecDeque::new(),
            partly: false,
            told: None,
        };
        let task = tokio::spawn(task.run(orders));
        Self { urgent: Some(urgent), task: Some(task), wake }
    }

    /// Sends a message ahead of updates.
    pub(super) fn send(&self, message: Bytes) {
        if let Some(urgent) = &self.urgent {
            // Full or closed: the send hold timer or the broken connection deals with it.
            let _ = urgent.try_send(Urgent::Message(message));
        }
    }

    /// From now on updates are pulled from the RIB.
    pub(super) fn start_updates(&self) {
        if let Some(urgent) = &self.urgent {
            let _ = urgent.try_send(Urgent::StartUpdates);
        }
    }

    /// No more messages; the future ends when all are written. Dropping it gives up.
    pub(super) fn finish(&mut self) -> impl Future<Output = ()> + use<> {
        self.urgent = None;
        let task = self.task.take().map(AbortOnDrop);
        async move {
            if let Some(mut task) = task {
                let _ = (&mut task.0).await;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.counters.backlog.store(0, Ordering::Relaxed);
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Task {
    peer: PeerId,
    wire: WireId,
    write: OwnedWriteHalf,
    owner: mpsc::Sender<FromPeer>,
    news: mpsc::Sender<WireNews>,
    counters: Arc<Counters>,
    wake: Wake,
    /// Updates still to be written; the first may be written in part.
    backlog: VecDeque<Bytes>,
    partly: bool,
    told: Option<Instant>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Urgent>) {
        if let Err(error) = self.serve(&mut orders).await {
            let _ = self.news.send(WireNews::Broken(self.wire, error.to_string())).await;
        }
        let _ = self.write.shutdown().await;
    }

    async fn serve(&mut self, orders: &mut mpsc::Receiver<Urgent>) -> io::Result<()> {
        let (owner, wake) = (self.owner.clone(), Arc::clone(&self.wake));
        let mut updates = false;
        let mut wanted = false;
        let mut answer: Option<oneshot::Receiver<Advertisement>> = None;
        loop {
            let idle = updates && answer.is_none() && self.backlog.is_empty();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Urgent::Message(message)) => self.write_urgent(message).await?,
                    Some(Urgent::StartUpdates) => updates = true,
                    None => return self.complete().await,
                },
                answered = async { answer.as_mut().expect("guarded").await }, if answer.is_some() => {
                    answer = None;
                    // No answer: the session is over, and this task soon is, too.
                    let advertisement = answered.unwrap_or_default();
                    wanted = advertisement.more;
                    // It is only asked for when all before is written.
                    self.backlog = advertisement.messages.into();
                    self.note_backlog();
                }
                written = write_some(&mut self.write, &self.backlog), if !self.backlog.is_empty() => {
                    self.advance(written?);
                    if self.backlog.is_empty() {
                        // What a burst needed is not kept by every peer for the next one.
                        self.backlog = VecDeque::new();
                    }
                    self.note_backlog();
                    self.tell_progress();
                }
                () = wake.notified(), if idle && !wanted => wanted = true,
                permit = owner.reserve(), if idle && wanted => {
                    let Ok(permit) = permit else { return Ok(()) };
                    let (reply, receive) = oneshot::channel();
                    let Self { peer, wire, .. } = *self;
                    permit.send(FromPeer::Pull(Pull { peer, wire, budget: PULL, reply }));
                    answer = Some(receive);
                    wanted = false;
                }
            }
        }
    }

    /// An urgent message goes before whole updates, never into one.
    async fn write_urgent(&mut self, message: Bytes) -> io::Result<()> {
        self.complete().await?;
        self.write.write_all(&message).await?;
        self.counters.note_sent(&message);
        self.tell_progress();
        Ok(())
    }

    /// Writes the rest of an update that is out in part.
    async fn complete(&mut self) -> io::Result<()> {
        if !self.partly {
            return Ok(());
        }
        if let Some(mut rest) = self.backlog.pop_front() {
            self.write.write_all_buf(&mut rest).await?;
        }
        self.partly = false;
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.backlog.front_mut() {
            if !self.partly {
                self.counters.note_sent(first);
            }
            if written < first.len() {
                first.advance(written);
                self.partly = written > 0 || self.partly;
                return;
            }
            written -= first.len();
            self.backlog.pop_front();
            self.partly = false;
            if written == 0 {
                return;
            }
        }
    }

    fn note_backlog(&self) {
        let waiting = self.backlog.iter().map(Bytes::len).sum();
        self.counters.backlog.store(waiting, Ordering::Relaxed);
    }

    fn tell_progress(&mut self) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= PROGRESS_EVERY) {
            // A full channel means that the peer task has news enough.
            if self.news.try_send(WireNews::Progress(self.wire)).is_ok() {
                self.told = Some(now);
            }
        }
    }
}

/// Writes what the socket takes at once of `messages`, and says how many octets that were.
pub(crate) async fn write_some(
    write: &mut OwnedWriteHalf,
    messages: &VecDeque<Bytes>,
) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> =
        messages.iter().take(MOST_SLICES).map(|message| IoSlice::new(message)).collect();
    match write.write_vectored(&slices).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}
