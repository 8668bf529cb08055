//! Writes routes, many with one system call.
//!
//! A write is carried out within the system call that sends it, and its answers wait in the
//! socket when that call returns. So the writer blocks, which costs its thread only the time
//! that the kernel works, and the fib has a thread of its own for that. A connection of
//! rtnetlink is not used here: it keeps an entry and a channel for each request and wants an
//! answer to each, where one answer a batch is enough.

use std::fmt::Debug;
use std::io;

use bytes::BytesMut;
use rtnetlink::packet_core::{
    ErrorMessage, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::{NetlinkCodec, NetlinkMessageCodec as _};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use socket2::SockRef;

use super::super::object::{Object, ObjectOp};
use super::super::route::RouteOp;
use super::super::table::Refused;
use super::objects::{self, ObjectMessage};
use super::ops;
use super::{ANSWER_WITHIN, RECEIVE_BUFFER, reserve, timed_out};

/// Most writes that one system call carries. More gain nothing: the kernel's work dominates.
pub const BATCH: usize = 128;
/// Most octets that one system call carries: well below the send buffer.
const BATCH_OCTETS: usize = 32 * 1024;
/// How often objects are read anew that changed while they were read.
const DUMP_ATTEMPTS: usize = 8;
/// The most that the kernel puts in one datagram, twice over.
const DATAGRAM: usize = 64 * 1024;

/// Writes routes.
#[derive(Debug)]
pub struct Writer {
    socket: Socket,
    port: u32,
    sequence: u32,
    out: BytesMut,
    answer: BytesMut,
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
        reserve(&socket, RECEIVE_BUFFER)?;
        SockRef::from(&socket).set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { socket, port, sequence: 0, out: BytesMut::new(), answer: BytesMut::new() })
    }

    /// The number by which the kernel names this socket in events about what it wrote.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Carries out writes of routes in order, at most a batch of them; the answer to each that
    /// was carried out or refused.
    ///
    /// Only the last of a batch asks for an answer. Refusals are answered in any case, and
    /// what stands before an answer without one of its own succeeded.
    ///
    /// # Errors
    /// If the kernel does not answer, or its answers were lost: then nothing is known about
    /// any of them.
    pub fn write(&mut self, ops: &[RouteOp]) -> io::Result<Vec<Result<(), Refused>>> {
        self.carry_out(ops, ops::message_of)
    }

    /// Carries out writes of next-hop objects, as [`Writer::write`] does those of routes.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_objects(&mut self, ops: &[ObjectOp]) -> io::Result<Vec<Result<(), Refused>>> {
        self.carry_out(ops, objects::message_of)
    }

    fn carry_out<O, M: NetlinkSerializable + Debug>(
        &mut self,
        ops: &[O],
        message_of: impl Fn(&O, u32, bool) -> NetlinkMessage<M>,
    ) -> io::Result<Vec<Result<(), Refused>>> {
        self.out.clear();
        let first = self.sequence.wrapping_add(1);
        let mut answers: Vec<Result<(), Refused>> = Vec::with_capacity(ops.len().min(BATCH));
        for (op, left) in ops.iter().take(BATCH).zip((0..ops.len().min(BATCH)).rev()) {
            self.sequence = self.sequence.wrapping_add(1);
            let start = self.out.len();
            NetlinkCodec::encode(message_of(op, self.sequence, left == 0), &mut self.out)?;
            answers.push(Ok(()));
            if left > 0 && self.out.len() > BATCH_OCTETS {
                self.out.truncate(start);
                NetlinkCodec::encode(message_of(op, self.sequence, true), &mut self.out)?;
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
            while let Some(message) = NetlinkCodec::decode::<RouteNetlinkMessage>(&mut self.answer)?
            {
                let at = message.header.sequence_number.wrapping_sub(first);
                let NetlinkPayload::Error(error) = message.payload else { continue };
                if at > last {
                    continue; // An answer that came too late for the request it belongs to.
                }
                let errno = error.raw_code().saturating_neg();
                if errno != 0
                    && let Some(slot) = answers.get_mut(at as usize)
                {
                    let message = words_of(&error, message.header.flags);
                    *slot = Err(Refused { errno, message });
                }
                if at == last {
                    return Ok(answers);
                }
            }
        }
    }

    /// All next-hop objects of everybody; none where the kernel does not know such.
    ///
    /// # Errors
    /// If the kernel refuses, does not answer, or they change all the time.
    pub fn objects(&mut self) -> io::Result<Vec<Object>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(objects) = self.objects_once()? {
                return Ok(objects);
            }
        }
        Err(io::Error::other("next-hop objects changed during every attempt to read them"))
    }

    /// As [`Writer::objects`]; `None` if they changed on the way.
    fn objects_once(&mut self) -> io::Result<Option<Vec<Object>>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.out.clear();
        NetlinkCodec::encode(objects::request(self.sequence), &mut self.out)?;
        self.socket.send(&self.out, 0)?;
        let (mut all, mut is_whole) = (Vec::new(), true);
        loop {
            self.receive()?;
            while let Some(message) = NetlinkCodec::decode::<ObjectMessage>(&mut self.answer)? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                is_whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                let code = match message.payload {
                    NetlinkPayload::InnerMessage(inner) => {
                        all.extend(objects::read_object(&inner));
                        continue;
                    }
                    NetlinkPayload::Done(done) => done.code,
                    NetlinkPayload::Error(error) => error.raw_code(),
                    _ => continue,
                };
                return match code.saturating_neg() {
                    0 => Ok(is_whole.then_some(all)),
                    libc::EOPNOTSUPP | libc::ENOENT => Ok(Some(Vec::new())),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                };
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.answer.clear();
            self.answer.reserve(DATAGRAM);
            match self.socket.recv(&mut self.answer, libc::MSG_TRUNC) {
                Ok(length) if length > self.answer.len() => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("the kernel sent a datagram of {length} octets"),
                    ));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the kernel adds to a refusal in words (`NLMSGERR_ATTR_MSG`), if anything.
fn words_of(error: &ErrorMessage, flags: u16) -> Option<Box<str>> {
    const WORDS: u16 = 1;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let refused = NetlinkBuffer::new(error.header.first_chunk::<16>()?);
    // The refused message follows its header unless the kernel was told to cut it off.
    let length = if flags & NLM_F_CAPPED != 0 { 16 } else { refused.length().max(16) };
    let attributes = error.header.get(usize::try_from(length).ok()?.next_multiple_of(4)..)?;
    let words = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == WORDS)?;
    let text = words.value().split(|octet| *octet == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn refusals_carry_the_kernels_words() {
        let header = [36, 0, 0, 0, 24, 0, 1, 6, 9, 0, 0, 0, 0, 0, 0, 0];
        let words = [8, 0, 1, 0, b'b', b'a', b'd', 0];
        let whole = [&header[..], &[0; 20], &words].concat();
        for (what, flags, octets, want) in [
            ("none", 0, header.to_vec(), None),
            ("cut", NLM_F_CAPPED | NLM_F_ACK_TLVS, [&header[..], &words].concat(), Some("bad")),
            ("whole", NLM_F_ACK_TLVS, whole.clone(), Some("bad")),
            ("no words", NLM_F_ACK_TLVS, whole[..36].to_vec(), None),
            ("short", NLM_F_ACK_TLVS, vec![0; 3], None),
            ("a length of nothing", NLM_F_ACK_TLVS, vec![0; 24], None),
        ] {
            let mut error = ErrorMessage::default();
            error.header = octets;
            assert_eq!(words_of(&error, flags).as_deref(), want, "{what}");
        }
    }
}
