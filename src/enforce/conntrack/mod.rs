//! Tracked connections: reads them and cuts single ones, over netlink (`ctnetlink`).

use std::io;
use std::time::Duration;

use brindle_policy::Family;
use bytes::BytesMut;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use socket2::SockRef;

mod entry;

pub use entry::{Entry, Tuple};

/// Connection tracking's part of netfilter's netlink, in the upper octet of message types.
const SUBSYSTEM: u16 = 1 << 8;
/// Asks for entries.
const GET: u16 = SUBSYSTEM | 1;
/// Removes an entry.
const DELETE: u16 = SUBSYSTEM | 2;
/// What every message of netfilter starts with: family, version, resource.
const HEADER: usize = 4;
/// How long the kernel may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More than the kernel puts in one datagram.
const DATAGRAM: usize = 64 * 1024;

/// A socket to connection tracking. Its methods block for as long as the kernel works: about a
/// microsecond for each entry that it holds.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    sequence: u32,
    answer: BytesMut,
}

impl Conntrack {
    /// Opens it in the network namespace of this thread.
    ///
    /// # Errors
    /// If the kernel refuses the socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        SockRef::from(&socket).set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { socket, sequence: 0, answer: BytesMut::new() })
    }

    /// The entries of one family that `is_wanted` says so of. What comes while they are read
    /// may be missing; what is there all the time is not.
    ///
    /// # Errors
    /// If the kernel does not answer, or knows no connection tracking.
    pub fn entries(
        &mut self,
        family: Family,
        mut is_wanted: impl FnMut(&Entry) -> bool,
    ) -> io::Result<Vec<Entry>> {
        let request = Message { kind: GET, family: number(family), attributes: Vec::new() };
        self.send(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut found = Vec::new();
        self.receive(|message| {
            let entry = Entry::read(&message.attributes);
            found.extend(entry.filter(&mut is_wanted));
        })?;
        Ok(found)
    }

    /// Removes entries; how many there were still. The next packet of such a connection is
    /// judged as that of a new one.
    ///
    /// # Errors
    /// If the kernel does not answer or refuses. Some of them may be removed then.
    pub fn delete(&mut self, entries: &[Entry]) -> io::Result<u64> {
        let mut removed = 0;
        for entry in entries {
            let family = Family::of(entry.original.source);
            let attributes = entry.name.clone();
            let request = Message { kind: DELETE, family: number(family), attributes };
            self.send(request, NLM_F_REQUEST | NLM_F_ACK)?;
            match self.receive(|_| {}) {
                Ok(()) => removed += 1,
                // It ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    fn send(&mut self, message: Message, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0).map(drop)
    }

    /// Hands over what answers the last request, to its end.
    fn receive(&mut self, mut take: impl FnMut(Message)) -> io::Result<()> {
        loop {
            self.answer.clear();
            self.answer.reserve(DATAGRAM);
            match self.socket.recv(&mut self.answer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let within = ANSWER_WITHIN.as_secs();
                    let why = format!("connection tracking did not answer within {within} s");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Err(error) => return Err(error),
            }
            let mut rest = &self.answer[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<Message>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue; // An answer that came too late for the request it belongs to.
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => take(inner),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

fn number(family: Family) -> u8 {
    let number = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    u8::try_from(number).expect("address families are small numbers")
}

/// A message of netfilter with attributes as they are: an entry is named to the kernel by the
/// very octets that it told.
#[derive(Debug)]
struct Message {
    kind: u16,
    family: u8,
    attributes: Vec<u8>,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEADER + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(HEADER);
        header.copy_from_slice(&[self.family, 0, 0, 0]);
        attributes.copy_from_slice(&self.attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = io::Error;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> io::Result<Self> {
        let Some((start, attributes)) = payload.split_at_checked(HEADER) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without a header"));
        };
        Ok(Self { kind: header.message_type, family: start[0], attributes: attributes.to_vec() })
    }
}
