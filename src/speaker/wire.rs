//! One TCP connection: reading, framing, decoding.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use brindle_bgp::bmp::Opens;
use brindle_bgp::fsm::WireId;
use brindle_bgp::msg::{self, Decoded, Message, MessageError, WireFormat};
use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::status::Counters;
use super::writer::Writer;

/// Room for a read; grows while the peer fills it, so that a silent peer costs little.
const SMALLEST_READ: usize = 1 << 10;
const LARGEST_READ: usize = 64 << 10;

/// How long a closed wire may still take to carry its last message.
const CLOSING_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Wire {
    pub(super) id: WireId,
    /// Ours, theirs.
    pub(super) ends: (SocketAddr, SocketAddr),
    pub(super) format: WireFormat,
    pub(super) writer: Writer,
    /// The OPENs as they were written and read.
    pub(super) opens: Opens,
    read: OwnedReadHalf,
    buffer: BytesMut,
    room: usize,
}

impl Wire {
    pub(super) fn new(
        id: WireId,
        stream: TcpStream,
        start_writer: impl FnOnce(tokio::net::tcp::OwnedWriteHalf) -> Writer,
    ) -> io::Result<Self> {
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let ends = (canonical(ends.0), canonical(ends.1));
        let (read, write) = stream.into_split();
        Ok(Self {
            id,
            ends,
            format: WireFormat::default(),
            writer: start_writer(write),
            opens: Opens::default(),
            read,
            buffer: BytesMut::new(),
            room: SMALLEST_READ,
        })
    }

    /// The connection, to change how it is protected.
    pub(super) fn socket(&self) -> &TcpStream {
        self.read.as_ref()
    }

    /// The next message of what was read; `None` if it is not whole yet.
    pub(super) fn next_message(
        &mut self,
        counters: &Counters,
    ) -> Result<Option<Decoded>, MessageError> {
        let Some(length) = msg::frame(&self.buffer, &self.format)? else { return Ok(None) };
        if self.buffer.len() < length {
            return Ok(None);
        }
        let octets = self.buffer.split_to(length).freeze();
        counters.note_received(&octets);
        let decoded = msg::decode(&octets, &self.format)?;
        if matches!(decoded.message, Message::Open(_)) {
            // A copy: the buffer that it shares is larger.
            self.opens.received = Bytes::copy_from_slice(&octets);
        }
        Ok(Some(decoded))
    }

    /// Closes: what was sent still goes out, within a second. What comes in meanwhile is
    /// read and dropped; unread octets would turn our close into a reset that overtakes
    /// the NOTIFICATION.
    pub(super) async fn close(mut self) {
        let writer = self.writer.finish();
        let mut is_written = false;
        let drain = async {
            writer.await;
            is_written = true;
            let mut rest = [0; 4096];
            while matches!(self.read.read(&mut rest).await, Ok(1..)) {}
        };
        let _ = timeout(CLOSING_LIMIT, drain).await;
        if !is_written {
            self.reset();
        }
    }

    /// Closes without a word. A peer that does not read would leave all that was written in
    /// the kernel's memory for minutes.
    pub(super) fn reset(self) {
        // It fails only where there is no connection any more.
        let _ = SockRef::from(self.read.as_ref()).set_linger(Some(Duration::ZERO));
    }
}

fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// Reads from whichever wire has something: which, and how many octets. Can be cancelled
/// without losing any.
pub(super) async fn read_any(wires: &mut [Wire]) -> (WireId, io::Result<usize>) {
    poll_fn(|context| {
        for wire in wires.iter_mut() {
            if wire.buffer.is_empty() && wire.buffer.capacity() < wire.room {
                wire.buffer = BytesMut::with_capacity(wire.room);
            } else {
                wire.buffer.reserve(wire.room);
            }
            let reading = pin!(wire.read.read_buf(&mut wire.buffer));
            if let Poll::Ready(result) = reading.poll(context) {
                if let Ok(count) = result {
                    wire.adapt(count);
                }
                return Poll::Ready((wire.id, result));
            }
        }
        Poll::Pending
    })
    .await
}

impl Wire {
    fn adapt(&mut self, count: usize) {
        if count >= self.room {
            self.room = (self.room * 4).min(LARGEST_READ);
        } else if count < self.room / 16 {
            self.room = (self.room / 2).max(SMALLEST_READ);
        }
    }

    /// Gives memory back when nothing is half read.
    pub(super) fn relax(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > self.room {
            self.buffer = BytesMut::new();
        }
    }
}

/// What a wire's writer is woken by when the RIB has something for its peer.
pub(super) type Wake = Arc<tokio::sync::Notify>;
