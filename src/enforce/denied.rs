//! Hears of denied packets: an NFLOG group over netlink. The kernel limits how many it tells,
//! and a packet never waits for us.

use std::io;
use std::time::Duration;

use brindle_policy::Direction;
use brindle_policy::names::COMMENT_MARK;
use bytes::BytesMut;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigMode, PacketNla, Timeout, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;

use super::packet::Packet;

/// Octets of each packet that are wanted: the headers.
const COPIED: u32 = 128;
/// How long the kernel may collect packets before it tells.
const COLLECT: Duration = Duration::from_millis(100);
/// More than the kernel puts in one datagram.
const DATAGRAM: usize = 64 * 1024;
/// Room for what the kernel tells, in octets.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// Datagrams that are read before others get their turn.
const DATAGRAMS_A_TURN: usize = 16;
/// How long the kernel may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A packet that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeniedPacket {
    /// What it was.
    pub packet: Packet,
    /// Whether it was on its way to an endpoint or from one; `None` if the rule does not say.
    pub direction: Option<Direction>,
}

/// Hears of the packets of a group.
#[derive(Debug)]
pub(super) struct Listener {
    socket: AsyncFd<Socket>,
    buffer: BytesMut,
}

impl Listener {
    /// Listens to `group` in the network namespace of this thread. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// If the kernel refuses, for instance because another program listens to the group.
    pub fn open(group: u16) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        let settings = SockRef::from(&socket);
        settings.set_recv_buffer_size(RECEIVE_BUFFER)?;
        settings.set_read_timeout(Some(ANSWER_WITHIN))?;
        let wanted = vec![
            ConfigCmd::Bind.into(),
            ConfigMode::new_packet(COPIED).into(),
            Timeout::from(COLLECT).into(),
        ];
        let request = config_request(NetfilterProtoFamily::Unspec, group, wanted);
        let mut octets = vec![0; request.buffer_len()];
        request.serialize(&mut octets);
        socket.send(&octets, 0)?;
        let mut buffer = BytesMut::with_capacity(DATAGRAM);
        socket.recv(&mut buffer, 0)?;
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&buffer);
        match answer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
        socket.set_non_blocking(true)?;
        Ok(Self { socket: AsyncFd::new(socket)?, buffer })
    }

    /// Waits until there is something to hear. Nothing is lost if it is not waited for to the
    /// end.
    pub async fn ready(&self) {
        // An error is met again, and told, when it is read.
        if let Ok(mut guard) = self.socket.readable().await {
            guard.retain_ready();
        }
    }

    /// Hands over what there is, or as much of it as fits in a turn; how many times the kernel
    /// had more to tell than there was room for.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn drain(&mut self, mut take: impl FnMut(DeniedPacket)) -> io::Result<u64> {
        let Self { socket, buffer } = self;
        let mut lost = 0;
        for _ in 0..DATAGRAMS_A_TURN {
            buffer.clear();
            buffer.reserve(DATAGRAM);
            let read = socket.try_io(tokio::io::Interest::READABLE, |socket| socket.recv(buffer, 0));
            match read {
                Ok(_) => read_all(buffer, &mut take),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => lost += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }
}

/// Reads a datagram; what makes no sense is passed over.
fn read_all(datagram: &[u8], take: &mut impl FnMut(DeniedPacket)) {
    let mut rest = datagram;
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(rest) {
        let length = (message.header.length as usize).next_multiple_of(4);
        if let NetlinkPayload::InnerMessage(message) = message.payload
            && let NetfilterMessageInner::ULog(ULogMessage::Packet(attributes)) = message.inner
            && let Some(denied) = read_packet(&attributes)
        {
            take(denied);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn read_packet(attributes: &[PacketNla]) -> Option<DeniedPacket> {
    let (mut packet, mut direction) = (None, None);
    for attribute in attributes {
        match attribute {
            PacketNla::Payload(octets) => packet = Packet::read(octets),
            PacketNla::Prefix(prefix) => direction = direction_of(prefix.to_bytes()),
            _ => {}
        }
    }
    Some(DeniedPacket { packet: packet?, direction })
}

/// The direction in a prefix such as `brindle:deny/I/4F1C9A2E`.
fn direction_of(prefix: &[u8]) -> Option<Direction> {
    let text = std::str::from_utf8(prefix).ok()?.strip_prefix(COMMENT_MARK)?;
    match text.split('/').nth(1)? {
        "I" => Some(Direction::Ingress),
        "E" => Some(Direction::Egress),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_rule_tells_the_direction() {
        for (prefix, want) in [
            ("brindle:deny/I/4F1C9A2E", Some(Direction::Ingress)),
            ("brindle:deny/E/4F1C9A2E", Some(Direction::Egress)),
            ("brindle:deny/X/4F1C9A2E", None),
            ("brindle:deny", None),
            ("other:deny/I", None),
            ("", None),
        ] {
            assert_eq!(direction_of(prefix.as_bytes()), want, "{prefix}");
        }
        assert_eq!(direction_of(&[0xff, b'/']), None);
    }

    #[test]
    fn a_datagram_of_nonsense_is_passed_over() {
        let mut told = 0;
        for length in 0..64 {
            read_all(&vec![7; length], &mut |_| told += 1);
            read_all(&vec![0; length], &mut |_| told += 1);
        }
        assert_eq!(told, 0);
    }
}
