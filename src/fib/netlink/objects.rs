//! Next-hop objects as messages: what `linux/nexthop.h` lays down, which the crate for routes
//! does not know.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    NlasIterator,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use socket2::SockRef;
use tokio::time::Instant;

use super::super::object::{Kind, OUR_IDS, Object, ObjectAction, ObjectId, ObjectOp, Shape};
use super::super::route::{Hop, PROTOCOL};
use super::Writer;
use super::events::{REOPEN_AFTER, not_from};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
/// The multicast group in which changes of objects are told.
const RTNLGRP_NEXTHOP: u32 = 32;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NEXTHOP_GRP_TYPE_RES: u16 = 1;
const RTNH_F_ONLINK: u32 = 4;
const NLA_F_NESTED: u16 = 0x8000;
/// The octets of `struct nhmsg`.
const HEADER: usize = 8;
/// The octets of `struct nexthop_grp`.
const MEMBER: usize = 8;
/// The octets of an attribute's head.
const ATTRIBUTE: usize = 4;

/// The body of a message about an object, as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectMessage {
    number: u16,
    body: Vec<u8>,
}

impl NetlinkSerializable for ObjectMessage {
    fn message_type(&self) -> u16 {
        self.number
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for ObjectMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { number: header.message_type, body: payload.to_vec() })
    }
}

/// The message that carries out `op`. The kernel answers if it refuses; also if it does not
/// where `acknowledge` asks for it.
pub(super) fn message_of(
    op: &ObjectOp,
    sequence: u32,
    acknowledge: bool,
) -> NetlinkMessage<ObjectMessage> {
    let (number, flags, kind) = match &op.action {
        ObjectAction::Add(kind) => (RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL, Some(kind)),
        ObjectAction::Change(kind) => (RTM_NEWNEXTHOP, NLM_F_REPLACE, Some(kind)),
        ObjectAction::Delete => (RTM_DELNEXTHOP, 0, None),
    };
    let is_new = matches!(op.action, ObjectAction::Add(_));
    let flags = flags | if acknowledge { NLM_F_ACK } else { 0 };
    finish(ObjectMessage { number, body: body_of(op.id, kind, is_new) }, sequence, flags)
}

/// The message that asks for all objects.
pub(super) fn request(sequence: u32) -> NetlinkMessage<ObjectMessage> {
    let message = ObjectMessage { number: RTM_GETNEXTHOP, body: vec![0; HEADER] };
    finish(message, sequence, NLM_F_DUMP)
}

fn finish(message: ObjectMessage, sequence: u32, flags: u16) -> NetlinkMessage<ObjectMessage> {
    let mut header = NetlinkHeader::default();
    (header.sequence_number, header.flags) = (sequence, NLM_F_REQUEST | flags);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    message
}

fn body_of(id: ObjectId, kind: Option<&Kind>, is_new: bool) -> Vec<u8> {
    let family = match kind {
        Some(Kind::Hop(Hop { gateway: Some(IpAddr::V6(_)), .. })) => libc::AF_INET6,
        Some(Kind::Hop(_) | Kind::Blackhole) => libc::AF_INET,
        _ => libc::AF_UNSPEC,
    };
    let family = u8::try_from(family).expect("the numbers of families are small");
    // A removal names no protocol: the kernel takes only what it needs.
    let protocol = if kind.is_some() { PROTOCOL } else { 0 };
    let onlink = matches!(kind, Some(Kind::Hop(Hop { onlink: true, .. })));
    let mut body = vec![family, 0, protocol, 0];
    body.extend(if onlink { RTNH_F_ONLINK } else { 0 }.to_ne_bytes());
    put(&mut body, NHA_ID, &id.to_ne_bytes());
    match kind {
        Some(Kind::Hop(hop)) => {
            put(&mut body, NHA_OIF, &hop.link.to_ne_bytes());
            match hop.gateway {
                Some(IpAddr::V4(gateway)) => put(&mut body, NHA_GATEWAY, &gateway.octets()),
                Some(IpAddr::V6(gateway)) => put(&mut body, NHA_GATEWAY, &gateway.octets()),
                None => {}
            }
        }
        Some(Kind::Blackhole) => put(&mut body, NHA_BLACKHOLE, &[]),
        Some(Kind::Group(shape)) => {
            let mut members = Vec::with_capacity(shape.members.len() * MEMBER);
            for (hop, weight) in &shape.members {
                members.extend(hop.to_ne_bytes());
                members.extend([*weight, 0, 0, 0]);
            }
            put(&mut body, NHA_GROUP, &members);
            put(&mut body, NHA_GROUP_TYPE, &NEXTHOP_GRP_TYPE_RES.to_ne_bytes());
            let mut resilience = Vec::new();
            if is_new {
                put(&mut resilience, NHA_RES_GROUP_BUCKETS, &shape.buckets.to_ne_bytes());
            }
            put(&mut resilience, NHA_RES_GROUP_IDLE_TIMER, &shape.idle.to_ne_bytes());
            put(&mut body, NHA_RES_GROUP | NLA_F_NESTED, &resilience);
        }
        Some(Kind::Other) | None => {}
    }
    body
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE + value.len()).expect("at most 128 members");
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The object that a message tells of; `None` if it is about something else.
pub(super) fn read_object(message: &ObjectMessage) -> Option<Object> {
    if !matches!(message.number, RTM_NEWNEXTHOP | RTM_DELNEXTHOP) {
        return None;
    }
    let (header, attributes) = message.body.split_at_checked(HEADER)?;
    let &[_, _, protocol, _, a, b, c, d] = header else { return None };
    let onlink = u32::from_ne_bytes([a, b, c, d]) & RTNH_F_ONLINK != 0;
    let mut hop = Hop { gateway: None, link: 0, onlink, weight: 0 };
    let (mut id, mut members, mut is_resilient, mut is_other) = (None, None, false, false);
    let (mut is_blackhole, mut buckets, mut idle) = (false, 0, 0);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            NHA_ID => id = Some(u32::from_ne_bytes(value.try_into().ok()?)),
            NHA_OIF => hop.link = u32::from_ne_bytes(value.try_into().ok()?),
            NHA_GATEWAY => hop.gateway = Some(read_address(value)?),
            NHA_BLACKHOLE => is_blackhole = true,
            NHA_GROUP => members = Some(read_members(value)?),
            NHA_GROUP_TYPE => {
                is_resilient = u16::from_ne_bytes(value.try_into().ok()?) == NEXTHOP_GRP_TYPE_RES;
            }
            NHA_RES_GROUP => {
                for attribute in NlasIterator::new(value) {
                    let attribute = attribute.ok()?;
                    let value = attribute.value();
                    match attribute.kind() {
                        NHA_RES_GROUP_BUCKETS => {
                            buckets = u16::from_ne_bytes(value.try_into().ok()?);
                        }
                        NHA_RES_GROUP_IDLE_TIMER => {
                            idle = u32::from_ne_bytes(value.try_into().ok()?);
                        }
                        _ => {}
                    }
                }
            }
            // An encapsulation, an entry of a bridge: none of ours has such.
            7 | 8 | 11 => is_other = true,
            _ => {}
        }
    }
    let kind = match members {
        _ if is_other => Kind::Other,
        Some(members) if is_resilient => Kind::Group(Shape { members, buckets, idle }),
        Some(_) => Kind::Other,
        None if is_blackhole => Kind::Blackhole,
        None => Kind::Hop(hop),
    };
    Some(Object { id: id?, protocol, kind })
}

fn read_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

fn read_members(value: &[u8]) -> Option<Vec<(ObjectId, u8)>> {
    let members = value.chunks(MEMBER).map(|member| match member {
        &[a, b, c, d, weight, _, _, _] => Some((u32::from_ne_bytes([a, b, c, d]), weight)),
        _ => None,
    });
    members.collect()
}

/// Hears that others changed objects of ours, or made one with a number of ours.
pub struct ObjectMonitor {
    /// None before it is first listened to, and after it failed.
    socket: Option<TokioSocket>,
    open_at: Instant,
    /// The port of who writes what we need not hear of.
    writer: u32,
}

impl ObjectMonitor {
    /// Hears of objects in the network namespace of the thread that listens, but not of what
    /// `writer` wrote.
    pub fn new(writer: &Writer) -> Self {
        Self { socket: None, open_at: Instant::now(), writer: writer.port() }
    }

    /// Waits until objects of ours may be otherwise than we left them; that is so at once when
    /// nobody has listened before. Nothing is lost if it is not waited for to the end. To be
    /// called within a runtime.
    ///
    /// # Errors
    /// If the socket fails, or the kernel refuses it; a while later it is opened anew.
    pub async fn changed(&mut self) -> io::Result<()> {
        let heard = match &mut self.socket {
            Some(socket) => hear(socket).await,
            None => {
                tokio::time::sleep_until(self.open_at).await;
                open(self.writer).map(|socket| self.socket = Some(socket))
            }
        };
        if heard.is_err() {
            self.socket = None;
            self.open_at = Instant::now() + REOPEN_AFTER;
        }
        heard
    }
}

fn open(writer: u32) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    socket.socket_mut().add_membership(RTNLGRP_NEXTHOP)?;
    // It saves time, no more.
    let _ = SockRef::from(socket.socket_ref()).attach_filter(&not_from(writer));
    Ok(socket)
}

/// Waits until something is said of objects of ours.
async fn hear(socket: &mut TokioSocket) -> io::Result<()> {
    loop {
        match socket.recv_from_full().await {
            Ok((datagram, _)) if is_about_ours(&datagram) => return Ok(()),
            Ok(_) => {}
            // The kernel had more to say than there was room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Debug for ObjectMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectMonitor")
    }
}

fn is_about_ours(mut datagram: &[u8]) -> bool {
    while let Ok(message) = NetlinkMessage::<ObjectMessage>::deserialize(datagram) {
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        if let NetlinkPayload::InnerMessage(inner) = message.payload
            && read_object(&inner)
                .is_some_and(|object| object.is_ours() || OUR_IDS.contains(&object.id))
        {
            return true;
        }
        match datagram.get(length.next_multiple_of(4)..) {
            Some(rest) if !rest.is_empty() && length > 0 => datagram = rest,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
