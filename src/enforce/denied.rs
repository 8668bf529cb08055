//! Hears of packets that rules tell of, mostly as they drop them: an NFLOG group over netlink.
//! The kernel limits how many it tells, and a packet never waits for us.

use std::io;
use std::time::Duration;

use brindle_policy::names::{COMMENT_MARK, Comment, Device};
use brindle_policy::{Direction, Interface};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigMode, PacketNla, Timeout, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, TokioSocket};
use socket2::SockRef;

use super::packet::Packet;

/// Octets of each packet that are wanted: the headers.
const COPIED: u32 = 128;
/// How long the kernel may collect packets before it tells.
const COLLECT: Duration = Duration::from_millis(100);
/// More than the kernel puts in one datagram.
const DATAGRAM: usize = 64 * 1024;
/// Room for what the kernel tells, in octets.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Why a packet is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It was dropped.
    Deny,
    /// A rule of a policy wants it told (`action: Log`).
    Log,
    /// A staged policy might decide otherwise.
    Staged,
}

/// A packet that was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToldPacket {
    /// Why.
    pub word: Word,
    /// The prefix of the rule that told it; `None` if it is none of ours.
    pub prefix: Option<Comment>,
    /// What it was.
    pub packet: Packet,
    /// Whether it was on its way to an endpoint, or into the host, or from it; `None` if the
    /// rule does not say.
    pub direction: Option<Direction>,
    /// Whether it was dropped because no pod's interface may send with that source.
    pub is_spoofed: bool,
    /// The pod's interface that it came in through, if it is one of our network plug-in's.
    pub interface: Option<Interface>,
    /// The interface of the host that it came in through.
    pub arrives: Option<Device>,
    /// The interface of the host that it leaves through.
    pub leaves: Option<Device>,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// These.
    Packets(Vec<ToldPacket>),
    /// There was more to be heard than there was room for.
    Lost,
}

/// Hears of the packets of a group.
pub(super) struct Listener {
    socket: TokioSocket,
}

impl Listener {
    /// Listens to `group` in the network namespace of this thread. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// If the kernel refuses, for instance because another program listens to the group.
    pub(super) fn open(group: u16) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        let inner = socket.socket_mut();
        inner.bind_auto()?;
        SockRef::from(&*inner).set_recv_buffer_size(RECEIVE_BUFFER)?;
        let wanted = vec![
            ConfigCmd::Bind.into(),
            ConfigMode::new_packet(COPIED).into(),
            Timeout::from(COLLECT).into(),
        ];
        let request = config_request(NetfilterProtoFamily::Unspec, group, wanted);
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        inner.send(&octets, 0)?;
        // The answer is there when sending returns.
        let mut answer = Vec::with_capacity(DATAGRAM);
        inner.recv(&mut answer, 0)?;
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&answer);
        match answer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(Self { socket }),
        }
    }

    /// What comes next. Nothing is lost if it is not waited for to the end.
    ///
    /// # Errors
    /// If the socket fails.
    pub(super) async fn next(&mut self) -> io::Result<Heard> {
        loop {
            let mut datagram = Vec::with_capacity(DATAGRAM);
            match self.socket.recv(&mut datagram).await {
                Ok(()) => return Ok(Heard::Packets(read_all(&datagram))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Heard::Lost);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads a datagram; what makes no sense is passed over.
fn read_all(datagram: &[u8]) -> Vec<ToldPacket> {
    let mut packets = Vec::new();
    let mut rest = datagram;
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(rest) {
        let length = (message.header.length as usize).next_multiple_of(4);
        if let NetlinkPayload::InnerMessage(message) = message.payload
            && let NetfilterMessageInner::ULog(ULogMessage::Packet(attributes)) = message.inner
            && let Some(told) = read_packet(&attributes)
        {
            packets.push(told);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    packets
}

fn read_packet(attributes: &[PacketNla]) -> Option<ToldPacket> {
    let (mut packet, mut prefix) = (None, None);
    let (mut arrives, mut leaves) = (None, None);
    for attribute in attributes {
        match attribute {
            PacketNla::Payload(octets) => packet = Packet::read(octets),
            PacketNla::Prefix(text) => prefix = Some(text.to_bytes()),
            PacketNla::IfIndexInDev(index) => arrives = name_of(*index),
            PacketNla::IfIndexOutDev(index) => leaves = name_of(*index),
            _ => {}
        }
    }
    let text = prefix.unwrap_or_default();
    let parse = |name: &String| name.parse().ok();
    Some(ToldPacket {
        word: word_of(text),
        prefix: std::str::from_utf8(text).ok().and_then(Comment::read),
        packet: packet?,
        direction: direction_of(text),
        is_spoofed: place_of(text) == Some("SPOOFED"),
        interface: arrives.as_ref().and_then(|name| name.parse().ok()),
        arrives: arrives.as_ref().and_then(parse),
        leaves: leaves.as_ref().and_then(parse),
    })
}

/// The name of an interface, if it is there still.
fn name_of(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    name.to_str().ok().map(str::to_owned)
}

/// What a prefix such as `brindle:log/PI/4F1C9A2E` is there for. A rule that is none of ours
/// is taken for one that drops.
fn word_of(prefix: &[u8]) -> Word {
    let text = std::str::from_utf8(prefix).ok().and_then(|text| text.strip_prefix(COMMENT_MARK));
    match text.and_then(|text| text.split('/').next()) {
        Some("log") => Word::Log,
        Some("staged") => Word::Staged,
        _ => Word::Deny,
    }
}

/// The direction in a prefix such as `brindle:deny/I/4F1C9A2E`.
fn direction_of(prefix: &[u8]) -> Option<Direction> {
    match place_of(prefix)? {
        "I" | "PI" | "HI" => Some(Direction::Ingress),
        "E" | "PE" | "HE" => Some(Direction::Egress),
        _ => None,
    }
}

/// Which kind of chain told: `I` in `brindle:deny/I/4F1C9A2E`.
fn place_of(prefix: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(prefix).ok()?.strip_prefix(COMMENT_MARK)?;
    text.split('/').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_rule_tells_the_direction_and_why_it_tells() {
        for (prefix, direction, word) in [
            ("brindle:deny/I/4F1C9A2E", Some(Direction::Ingress), Word::Deny),
            ("brindle:deny/E/4F1C9A2E", Some(Direction::Egress), Word::Deny),
            ("brindle:deny/HI/4F1C9A2E", Some(Direction::Ingress), Word::Deny),
            ("brindle:log/PE/4F1C9A2E", Some(Direction::Egress), Word::Log),
            ("brindle:staged/I/4F1C9A2E", Some(Direction::Ingress), Word::Staged),
            ("brindle:deny/X/4F1C9A2E", None, Word::Deny),
            ("brindle:deny", None, Word::Deny),
            ("other:log/I", None, Word::Deny),
            ("", None, Word::Deny),
        ] {
            let octets = prefix.as_bytes();
            assert_eq!((direction_of(octets), word_of(octets)), (direction, word), "{prefix}");
        }
        assert_eq!(direction_of(&[0xff, b'/']), None);
    }

    #[test]
    fn a_datagram_of_nonsense_is_passed_over() {
        for length in 0..64 {
            assert_eq!(read_all(&vec![7; length]), []);
            assert_eq!(read_all(&vec![0; length]), []);
        }
    }
}
