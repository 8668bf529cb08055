//! One request after another to the kernel, each with its answer.
//!
//! This and `fib::netlink` are the only modules that name rtnetlink and its message types. Its
//! connections are not used here: they want a runtime, and a call of the plug-in does one thing
//! after another.

use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use socket2::SockRef;

use super::{Link, Mac, Route};

/// How long the kernel may take to answer.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// A socket to the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// Both ends of a cable that is to be laid.
pub(super) struct Cable<'a> {
    pub(super) host_interface: &'a str,
    pub(super) host_mac: Mac,
    pub(super) interface: &'a str,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    /// The namespace of the container's end, as a file that this process has open.
    pub(super) namespace: i32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        SockRef::from(&socket).set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The link of this name; `None` if there is none.
    pub(super) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.request(RouteNetlinkMessage::GetLink(message), NLM_F_ACK) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
            Ok(answers) => Ok(answers.into_iter().find_map(link)),
        }
    }

    /// All links.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Ok(self.request(all, NLM_F_DUMP)?.into_iter().filter_map(link).collect())
    }

    /// Lays a cable with both ends down, the far one in the other namespace from the start.
    /// The hardware addresses are ours: one that the kernel chose, udev may change later.
    pub(super) fn lay(&mut self, cable: &Cable<'_>) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(cable.interface.to_owned()),
            LinkAttribute::Address(cable.mac.0.to_vec()),
            LinkAttribute::Mtu(cable.mtu),
            LinkAttribute::NetNsFd(cable.namespace),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(cable.host_interface.to_owned()),
            LinkAttribute::Address(cable.host_mac.0.to_vec()),
            LinkAttribute::Mtu(cable.mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.make(RouteNetlinkMessage::NewLink(message))
    }

    pub(super) fn remove_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(message), NLM_F_ACK).map(drop)
    }

    pub(super) fn set_alias(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// Gives a link an address, usable at once.
    pub(super) fn add_address(&mut self, index: u32, address: IpNetwork) -> io::Result<()> {
        let ip = address.ip();
        let mut message = AddressMessage::default();
        message.header.family = ip.into();
        message.header.prefix_len = address.prefix();
        message.header.index = index;
        message.header.scope = match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => AddressScope::Link,
            _ => AddressScope::Universe,
        };
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        if ip.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.make(RouteNetlinkMessage::NewAddress(message))
    }

    /// The addresses of a link.
    pub(super) fn addresses(&mut self, index: u32) -> io::Result<Vec<IpAddr>> {
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let address = |message: RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewAddress(found) if found.header.index == index => {
                let mut address = None;
                for attribute in found.attributes {
                    match attribute {
                        // In IPv4 the other one may be the far end's.
                        AddressAttribute::Local(ip) => return Some(ip),
                        AddressAttribute::Address(ip) => address = Some(ip),
                        _ => {}
                    }
                }
                address
            }
            _ => None,
        };
        Ok(self.request(all, NLM_F_DUMP)?.into_iter().filter_map(address).collect())
    }

    pub(super) fn add_route(&mut self, route: &Route) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: route.to.ip().into(),
            destination_prefix_length: route.to.prefix(),
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            kind: RouteType::Unicast,
            scope: match route.gateway {
                None if route.to.is_ipv4() => RouteScope::Link,
                _ => RouteScope::Universe,
            },
            ..RouteHeader::default()
        };
        if route.to.prefix() > 0 {
            message.attributes.push(RouteAttribute::Destination(route.to.ip().into()));
        }
        let gateway = route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into()));
        message.attributes.extend(gateway);
        message.attributes.push(RouteAttribute::Oif(route.link));
        self.make(RouteNetlinkMessage::NewRoute(message))
    }

    /// The routes of the main table of the family that `like` has, those over one link each.
    pub(super) fn routes(&mut self, like: IpAddr) -> io::Result<Vec<Route>> {
        let mut message = RouteMessage::default();
        message.header.address_family = like.into();
        let answers = self.request(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(route).collect())
    }

    /// A neighbour that is never asked for.
    pub(super) fn add_neighbour(&mut self, link: u32, address: IpAddr, mac: Mac) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = address.into();
        message.header.ifindex = link;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(address.into()),
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RouteNetlinkMessage::NewNeighbour(message), flags).map(drop)
    }

    /// Makes something that is not there yet.
    fn make(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Sends a request and reads all of its answer. What cannot be read of it, as of links of
    /// kinds that rtnetlink does not know, is passed over.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(named)?;
            let mut rest = datagram.as_slice();
            while let Some(length) = rest.first_chunk::<4>() {
                let length = u32::from_ne_bytes(*length) as usize;
                let Some(octets) = rest.get(..length).filter(|_| length >= 16) else { break };
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                let Ok(answer) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(octets) else {
                    continue;
                };
                if answer.header.sequence_number != self.sequence {
                    continue; // Of a request that we did not wait for.
                }
                let code = match answer.payload {
                    NetlinkPayload::InnerMessage(inner) => {
                        answers.push(inner);
                        continue;
                    }
                    NetlinkPayload::Error(error) => error.raw_code(),
                    NetlinkPayload::Done(done) => done.code,
                    _ => continue,
                };
                return match code.checked_neg() {
                    Some(0) => Ok(answers),
                    errno => Err(io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO))),
                };
            }
        }
    }
}

fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let within = ANSWER_WITHIN.as_secs();
            let message = format!("the kernel did not answer within {within} s");
            io::Error::new(io::ErrorKind::TimedOut, message)
        }
        _ => error,
    }
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(found) = message else { return None };
    let mut link = Link {
        index: found.header.index,
        name: String::new(),
        mac: None,
        alias: None,
        is_up: found.header.flags.contains(LinkFlags::Up),
        is_cable: false,
    };
    for attribute in found.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Address(octets) => link.mac = octets.try_into().ok().map(Mac),
            LinkAttribute::LinkInfo(infos) => {
                link.is_cable = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    Some(link)
}

fn route(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(found) = message else { return None };
    let any: IpAddr = match found.header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        AddressFamily::Inet6 => [0; 16].into(),
        _ => return None,
    };
    let ip = |address: RouteAddress| match address {
        RouteAddress::Inet(v4) => Some(IpAddr::from(v4)),
        RouteAddress::Inet6(v6) => Some(v6.into()),
        _ => None,
    };
    let (mut to, mut gateway, mut link) = (any, None, None);
    let mut table = u32::from(found.header.table);
    for attribute in found.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address)?,
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => link = Some(index),
            RouteAttribute::Table(number) => table = number,
            _ => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let to = IpNetwork::new(to, found.header.destination_prefix_length).ok()?;
    Some(Route { to, gateway, link: link? })
}
