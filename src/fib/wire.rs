//! Route, link and address messages of rtnetlink as octets: how they are written and read.
//!
//! Routes come by the hundred thousand, so they are encoded straight into one buffer and
//! read without an allocation per attribute.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix};
use netlink_packet_core::{
    NLA_TYPE_MASK, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REPLACE, NLM_F_REQUEST,
};

use super::route::{Action, Hop, KernelRoute, MAIN_TABLE, PROTOCOL, RouteKey, RouteOp, Target};

/// `RTM_*` message types (`linux/rtnetlink.h`).
pub mod kind {
    /// A link came or changed.
    pub const NEW_LINK: u16 = 16;
    /// A link went.
    pub const DEL_LINK: u16 = 17;
    /// Asks for links.
    pub const GET_LINK: u16 = 18;
    /// An address came or changed.
    pub const NEW_ADDRESS: u16 = 20;
    /// An address went.
    pub const DEL_ADDRESS: u16 = 21;
    /// Asks for addresses.
    pub const GET_ADDRESS: u16 = 22;
    /// A route came or changed.
    pub const NEW_ROUTE: u16 = 24;
    /// A route went.
    pub const DEL_ROUTE: u16 = 25;
    /// Asks for routes.
    pub const GET_ROUTE: u16 = 26;
}

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

const IFLA_IFNAME: u16 = 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_NOWHERE: u8 = 255;
const RTNH_F_ONLINK: u8 = 4;
const RTM_F_CLONED: u32 = 0x200;

const AF_BRIDGE: u8 = 7;

/// A link of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is switched on and has a carrier.
    pub is_up: bool,
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// The prefix that is on-link through it.
    pub on_link: Prefix,
    /// Whether it can be used: duplicate detection is over and found none.
    pub is_usable: bool,
}

/// What a message from the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A link is there.
    Link(Link),
    /// A link is gone.
    LinkGone(u32),
    /// An address is there.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route of the main table is there; whether it took the place of the one that held
    /// its key.
    Route(KernelRoute, bool),
    /// A route of the main table is gone.
    RouteGone(KernelRoute),
}

/// The `AF_*` number of a family.
pub fn address_family(family: Family) -> u8 {
    match family {
        Family::Ipv4Unicast => 2,
        Family::Ipv6Unicast => 10,
    }
}

/// Appends the message that carries out `op`. The kernel answers if it refuses; also if it
/// does not where `acknowledge` asks for it.
pub fn write_op(buffer: &mut Vec<u8>, sequence: u32, op: &RouteOp, acknowledge: bool) {
    let (message, flags, target) = match &op.action {
        Action::Add(target) => (kind::NEW_ROUTE, NLM_F_CREATE | NLM_F_EXCL, Some(target.as_ref())),
        Action::Change(target) => (kind::NEW_ROUTE, NLM_F_REPLACE, Some(target.as_ref())),
        Action::Delete => (kind::DEL_ROUTE, 0, None),
    };
    let (route_type, scope) = match target {
        None => (0, SCOPE_NOWHERE),
        Some(Target::Unreachable) => (RTN_UNREACHABLE, SCOPE_UNIVERSE),
        Some(Target::Other(route_type)) => (*route_type, SCOPE_UNIVERSE),
        Some(Target::Via(hops)) => {
            let on_link = hops.iter().all(|hop| hop.gateway.is_none());
            (RTN_UNICAST, if on_link { SCOPE_LINK } else { SCOPE_UNIVERSE })
        }
    };
    let single = match target {
        Some(Target::Via(hops)) if hops.len() == 1 => hops.first(),
        _ => None,
    };
    let family = op.key.prefix.family();
    let acknowledge = if acknowledge { NLM_F_ACK } else { 0 };
    message_of(buffer, message, acknowledge | flags, sequence, |buffer| {
        let flags = single.map_or(0, hop_flags);
        buffer.extend([
            address_family(family),
            op.key.prefix.length(),
            0,
            0,
            MAIN_TABLE as u8,
            PROTOCOL,
            scope,
            route_type,
        ]);
        buffer.extend(u32::from(flags).to_ne_bytes());
        attribute(buffer, RTA_DST, |buffer| address(buffer, op.key.prefix.address()));
        attribute(buffer, RTA_PRIORITY, |buffer| buffer.extend(op.key.metric.to_ne_bytes()));
        match (single, target) {
            (Some(hop), _) => {
                gateway(buffer, family, hop);
                attribute(buffer, RTA_OIF, |buffer| buffer.extend(hop.link.to_ne_bytes()));
            }
            (None, Some(Target::Via(hops))) => attribute(buffer, RTA_MULTIPATH, |buffer| {
                for hop in hops {
                    next_hop(buffer, family, hop);
                }
            }),
            _ => {}
        }
    });
}

/// Appends a request for all links, addresses, or routes of the main table of a family.
pub fn write_dump(buffer: &mut Vec<u8>, sequence: u32, what: u16, family: Option<Family>) {
    message_of(buffer, what, NLM_F_DUMP, sequence, |buffer| {
        let family = family.map_or(0, address_family);
        match what {
            kind::GET_ROUTE => {
                buffer.extend([family, 0, 0, 0, MAIN_TABLE as u8, 0, 0, 0, 0, 0, 0, 0]);
            }
            kind::GET_ADDRESS => buffer.extend([family, 0, 0, 0, 0, 0, 0, 0]),
            _ => buffer.extend([family].into_iter().chain([0; 15])),
        }
    });
}

fn message_of(
    buffer: &mut Vec<u8>,
    message: u16,
    flags: u16,
    sequence: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = buffer.len();
    buffer.extend([0; 4]);
    buffer.extend(message.to_ne_bytes());
    buffer.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    buffer.extend([0; 4]);
    body(buffer);
    let length = u32::try_from(buffer.len() - start).expect("a message is far below 4 GiB");
    buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

fn attribute(buffer: &mut Vec<u8>, number: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend([0; 2]);
    buffer.extend(number.to_ne_bytes());
    body(buffer);
    // 128 hops of 40 octets are the most that is ever written.
    let length = u16::try_from(buffer.len() - start).expect("an attribute is below 64 KiB");
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

fn address(buffer: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => buffer.extend(address.octets()),
        IpAddr::V6(address) => buffer.extend(address.octets()),
    }
}

fn gateway(buffer: &mut Vec<u8>, family: Family, hop: &Hop) {
    let Some(via) = hop.gateway else { return };
    if Family::of(via) == family {
        attribute(buffer, RTA_GATEWAY, |buffer| address(buffer, via));
    } else {
        attribute(buffer, RTA_VIA, |buffer| {
            buffer.extend(u16::from(address_family(Family::of(via))).to_ne_bytes());
            address(buffer, via);
        });
    }
}

fn next_hop(buffer: &mut Vec<u8>, family: Family, hop: &Hop) {
    let start = buffer.len();
    buffer.extend([0, 0, hop_flags(hop), hop.weight]);
    buffer.extend(hop.link.to_ne_bytes());
    gateway(buffer, family, hop);
    let length = u16::try_from(buffer.len() - start).expect("a hop is below 64 KiB");
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

fn hop_flags(hop: &Hop) -> u8 {
    if hop.onlink { RTNH_F_ONLINK } else { 0 }
}

/// Reads the body of a message; `None` if it is none of ours to care about, or malformed.
pub fn read_news(message: u16, flags: u16, body: &[u8]) -> Option<News> {
    match message {
        kind::NEW_LINK => read_link(body).map(News::Link),
        kind::DEL_LINK => read_link(body).map(|link| News::LinkGone(link.index)),
        kind::NEW_ADDRESS => read_address(body).map(News::Address),
        kind::DEL_ADDRESS => read_address(body).map(News::AddressGone),
        kind::NEW_ROUTE => {
            read_route(body).map(|route| News::Route(route, flags & NLM_F_REPLACE != 0))
        }
        kind::DEL_ROUTE => read_route(body).map(News::RouteGone),
        _ => None,
    }
}

fn read_link(body: &[u8]) -> Option<Link> {
    let (header, attributes) = body.split_first_chunk::<16>()?;
    let [family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    if family == AF_BRIDGE {
        return None; // A port of a bridge came or went, not the link.
    }
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut name = None;
    for (number, value) in attributes_of(attributes) {
        if number == IFLA_IFNAME {
            let text = value.split(|octet| *octet == 0).next().unwrap_or_default();
            name = Some(Arc::from(String::from_utf8_lossy(text)));
        }
    }
    let is_up = flags & libc::IFF_UP as u32 != 0 && flags & libc::IFF_RUNNING as u32 != 0;
    Some(Link { index: u32::from_ne_bytes([i0, i1, i2, i3]), name: name?, is_up })
}

fn read_address(body: &[u8]) -> Option<Address> {
    let (header, attributes) = body.split_first_chunk::<8>()?;
    let [family, length, flags, _, i0, i1, i2, i3] = *header;
    let mut flags = u32::from(flags);
    let (mut local, mut peer) = (None, None);
    for (number, value) in attributes_of(attributes) {
        match number {
            IFA_LOCAL => local = read_ip(family, value),
            IFA_ADDRESS => peer = read_ip(family, value),
            IFA_FLAGS => flags = read_u32(value)?,
            _ => {}
        }
    }
    let address = local.or(peer)?;
    let on_link = Prefix::new(peer.unwrap_or(address), length).ok()?;
    let is_usable = flags & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) == 0;
    Some(Address { link: u32::from_ne_bytes([i0, i1, i2, i3]), address, on_link, is_usable })
}

fn read_route(body: &[u8]) -> Option<KernelRoute> {
    let (header, attributes) = body.split_first_chunk::<12>()?;
    let [family, length, source_length, tos, table, protocol, _, route_type, f0, f1, f2, f3] =
        *header;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let unspecified: IpAddr = match family {
        2 => IpAddr::from([0; 4]),
        10 => IpAddr::from([0; 16]),
        _ => return None,
    };
    if flags & RTM_F_CLONED != 0 || source_length != 0 {
        return None; // A cached exception, or a route by source: neither leads our packets.
    }
    let mut table = u32::from(table);
    let (mut destination, mut metric) = (unspecified, 0);
    let mut single =
        Hop { gateway: None, link: 0, onlink: flags & u32::from(RTNH_F_ONLINK) != 0, weight: 0 };
    let mut hops = Vec::new();
    for (number, value) in attributes_of(attributes) {
        match number {
            RTA_TABLE => table = read_u32(value)?,
            RTA_DST => destination = read_ip(family, value)?,
            RTA_PRIORITY => metric = read_u32(value)?,
            RTA_OIF => single.link = read_u32(value)?,
            RTA_GATEWAY => single.gateway = read_ip(family, value),
            RTA_VIA => single.gateway = read_via(value),
            RTA_MULTIPATH => hops = read_hops(family, value)?,
            _ => {}
        }
    }
    if table != MAIN_TABLE {
        return None;
    }
    let target = match route_type {
        RTN_UNREACHABLE => Target::Unreachable,
        RTN_UNICAST => {
            if hops.is_empty() {
                hops.push(single);
            }
            hops.sort_unstable();
            Target::Via(hops)
        }
        other => Target::Other(other),
    };
    let prefix = Prefix::new(destination, length).ok()?;
    Some(KernelRoute { key: RouteKey { prefix, metric }, protocol, tos, target })
}

fn read_hops(family: u8, mut octets: &[u8]) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    while let Some((header, _)) = octets.split_first_chunk::<8>() {
        let [l0, l1, flags, weight, i0, i1, i2, i3] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let mut hop = Hop {
            gateway: None,
            link: u32::from_ne_bytes([i0, i1, i2, i3]),
            onlink: flags & RTNH_F_ONLINK != 0,
            weight,
        };
        for (number, value) in attributes_of(octets.get(8..length)?) {
            match number {
                RTA_GATEWAY => hop.gateway = read_ip(family, value),
                RTA_VIA => hop.gateway = read_via(value),
                _ => {}
            }
        }
        hops.push(hop);
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(hops)
}

fn read_ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        2 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        10 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

fn read_via(value: &[u8]) -> Option<IpAddr> {
    let (family, address) = value.split_first_chunk::<2>()?;
    let family = u8::try_from(u16::from_ne_bytes(*family)).ok()?;
    read_ip(family, address)
}

fn read_u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// The attributes up to the first malformed one: number without flags, and value.
fn attributes_of(octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<4>()?;
        let [l0, l1, n0, n1] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([n0, n1]) & NLA_TYPE_MASK, value))
    })
}

/// The messages of a datagram up to the first malformed one: type, flags, sequence, body.
pub fn messages_of(octets: &[u8]) -> impl Iterator<Item = (u16, u16, u32, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<16>()?;
        let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = rest.get(16..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let message = u16::from_ne_bytes([t0, t1]);
        Some((message, u16::from_ne_bytes([f0, f1]), u32::from_ne_bytes([s0, s1, s2, s3]), body))
    })
}

/// Reads the body of an `NLMSG_ERROR`: the error number, positive, zero for success; and
/// what the kernel adds in words (`NLMSGERR_ATTR_MSG`).
pub fn read_answer(flags: u16, body: &[u8]) -> Option<(i32, Option<Box<str>>)> {
    const MESSAGE: u16 = 1;
    let (code, rest) = body.split_first_chunk::<4>()?;
    let errno = i32::from_ne_bytes(*code).checked_neg()?;
    let mut message = None;
    if flags & NLM_F_ACK_TLVS != 0 {
        let (header, after) = rest.split_first_chunk::<16>()?;
        let [l0, l1, l2, l3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        // The refused message follows its header unless the kernel was told to cut it off.
        let skip = if flags & NLM_F_CAPPED != 0 { 0 } else { length.saturating_sub(16) };
        for (number, value) in attributes_of(after.get(skip.next_multiple_of(4)..)?) {
            if number == MESSAGE {
                let text = value.split(|octet| *octet == 0).next().unwrap_or_default();
                message = Some(String::from_utf8_lossy(text).into());
            }
        }
    }
    Some((errno, message))
}
