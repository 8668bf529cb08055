//! Reads what the kernel tells out of rtnetlink's messages.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use rtnetlink::packet_core::NLM_F_REPLACE;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::super::news::{Address, Link, News};
use super::super::route::{Hop, KernelRoute, MAIN_TABLE, PROTOCOL, RouteKey, Target};
use super::guard;

/// What a message with these flags says; `None` if it is nothing for us to care about.
pub(super) fn read_news(message: RouteNetlinkMessage, flags: u16) -> Option<News> {
    match message {
        RouteNetlinkMessage::NewLink(link) => read_link(link).map(News::Link),
        RouteNetlinkMessage::DelLink(link) => {
            read_link(link).map(|link| News::LinkGone(link.index))
        }
        RouteNetlinkMessage::NewAddress(address) => read_address(&address).map(News::Address),
        RouteNetlinkMessage::DelAddress(address) => read_address(&address).map(News::AddressGone),
        RouteNetlinkMessage::NewRoute(route) => {
            read_route(route).map(|route| News::Route(route, flags & NLM_F_REPLACE != 0))
        }
        RouteNetlinkMessage::DelRoute(route) if guard::has(&route) => Some(News::GuardGone),
        RouteNetlinkMessage::DelRoute(route) => read_route(route).map(News::RouteGone),
        RouteNetlinkMessage::DelRule(rule) => guard::is_ours(&rule).then_some(News::GuardGone),
        _ => None,
    }
}

fn read_link(message: LinkMessage) -> Option<Link> {
    let header = message.header;
    if header.interface_family == AddressFamily::Bridge {
        return None; // A port of a bridge came or went, not the link.
    }
    let name = message.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(Arc::from(name)),
        _ => None,
    })?;
    let is_enabled = header.flags.contains(LinkFlags::Up);
    let is_up = is_enabled && header.flags.contains(LinkFlags::Running);
    Some(Link { index: header.index, name, is_enabled, is_up })
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    let header = &message.header;
    // There may be more flags than the header has room for.
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let mut is_usable = !header.flags.intersects(unusable);
    let (mut local, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::Flags(flags) => {
                is_usable = !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
            }
            _ => {}
        }
    }
    let address = local.or(peer)?;
    let on_link = Prefix::new(peer.unwrap_or(address), header.prefix_len).ok()?;
    Some(Address { link: header.index, address, on_link, is_usable })
}

fn read_route(message: RouteMessage) -> Option<KernelRoute> {
    let header = message.header;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    if header.flags.contains(RouteFlags::Cloned) || header.source_prefix_length != 0 {
        return None; // A cached exception, or a route by source: neither leads our packets.
    }
    let mut table = u32::from(header.table);
    let (mut destination, mut metric) = (unspecified, 0);
    let onlink = header.flags.contains(RouteFlags::Onlink);
    let mut single = Hop { gateway: None, link: 0, onlink, weight: 0 };
    let (mut hops, mut group) = (Vec::new(), None);
    for attribute in message.attributes {
        match attribute {
            // Of others' routes only the hops count, which the kernel lists beside it.
            RouteAttribute::NhId(id) if u8::from(header.protocol) == PROTOCOL => group = Some(id),
            RouteAttribute::Table(number) => table = number,
            RouteAttribute::Destination(address) => destination = read_ip(&address)?,
            RouteAttribute::Priority(number) => metric = number,
            RouteAttribute::Oif(link) => single.link = link,
            RouteAttribute::MultiPath(next_hops) => {
                hops = next_hops.iter().map(read_hop).collect();
            }
            other => single.gateway = read_gateway(&other).or(single.gateway),
        }
    }
    if table != MAIN_TABLE {
        return None;
    }
    let target = match (header.kind, group) {
        (RouteType::Unreachable, _) => Target::Unreachable,
        (RouteType::Unicast, Some(id)) => Target::Group(id),
        (RouteType::Unicast, None) => {
            if hops.is_empty() {
                hops.push(single);
            }
            hops.sort_unstable();
            Target::Via(hops)
        }
        (other, _) => Target::Other(other.into()),
    };
    let prefix = Prefix::new(destination, header.destination_prefix_length).ok()?;
    let key = RouteKey { prefix, metric };
    Some(KernelRoute { key, protocol: header.protocol.into(), tos: header.tos, target })
}

fn read_hop(next_hop: &RouteNextHop) -> Hop {
    Hop {
        gateway: next_hop.attributes.iter().find_map(read_gateway),
        link: next_hop.interface_index,
        onlink: next_hop.flags.contains(RouteNextHopFlags::Onlink),
        weight: next_hop.hops,
    }
}

/// The router, if that is what the attribute names; one of the other family than the route has an
/// attribute of its own (RFC 8950).
pub(in crate::fib) fn read_gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => read_ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

fn read_ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtnetlink::packet_core::{NetlinkDeserializable as _, NetlinkHeader};

    use super::*;

    const NEW_LINK: u16 = 16;
    const NEW_ADDRESS: u16 = 20;
    const NEW_ROUTE: u16 = 24;

    /// `10.244.2.0/24 via 10.0.0.2 dev 3 proto 98 metric 512` as the kernel tells it.
    const ROUTE: &[u8] = &[
        2, 24, 0, 0, 254, 98, 0, 1, 0, 0, 0, 0, // rtmsg
        8, 0, 15, 0, 254, 0, 0, 0, // table
        8, 0, 1, 0, 10, 244, 2, 0, // destination
        8, 0, 6, 0, 0, 2, 0, 0, // metric
        8, 0, 5, 0, 10, 0, 0, 2, // gateway
        8, 0, 4, 0, 3, 0, 0, 0, // link
    ];

    /// What the octets of a message's body say.
    fn read(message: u16, flags: u16, body: &[u8]) -> Option<News> {
        let mut header = NetlinkHeader::default();
        (header.message_type, header.flags) = (message, flags);
        read_news(RouteNetlinkMessage::deserialize(&header, body).ok()?, flags)
    }

    fn read_as_route(body: &[u8]) -> Option<KernelRoute> {
        match read(NEW_ROUTE, 0, body)? {
            News::Route(route, false) => Some(route),
            other => panic!("{other:?}"),
        }
    }

    fn read_as_address(body: &[u8]) -> Address {
        match read(NEW_ADDRESS, 0, body) {
            Some(News::Address(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    fn changed(at: usize, octet: u8) -> Vec<u8> {
        let mut octets = ROUTE.to_vec();
        octets[at] = octet;
        octets
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_route_is_read_with_all_that_tells_it_apart() {
        let route = read_as_route(ROUTE).unwrap();
        assert_eq!(route.key.prefix.to_string(), "10.244.2.0/24");
        assert_eq!((route.key.metric, route.protocol, route.tos), (512, 98, 0));
        let gateway = Some([10, 0, 0, 2].into());
        let hop = Hop { gateway, link: 3, onlink: false, weight: 0 };
        assert_eq!(route.target, Target::Via(vec![hop]));
        for (what, octets, want) in [
            ("unreachable", changed(7, 7), Some(Target::Unreachable)),
            ("blackhole", changed(7, 6), Some(Target::Other(6))),
            ("on-link", changed(8, 4), Some(Target::Via(vec![Hop { onlink: true, ..hop }]))),
            ("another table", changed(16, 255), None),
            ("by source", changed(2, 8), None),
            ("a cached exception", changed(9, 2), None),
            ("another family", changed(0, 28), None),
            ("too long a prefix", changed(1, 33), None),
            ("an address that is cut off", changed(20, 7), None),
        ] {
            assert_eq!(read_as_route(&octets).map(|route| route.target), want, "{what}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_group_counts_for_our_routes_and_its_hops_for_those_of_others() {
        let by_group = |protocol| {
            let mut octets = changed(5, protocol);
            octets.extend([8, 0, 30, 0, 9, 0, 0, 0]);
            read_as_route(&octets).map(|route| route.target)
        };
        assert_eq!(by_group(PROTOCOL), Some(Target::Group(9)));
        assert_eq!(by_group(186), read_as_route(ROUTE).map(|route| route.target));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn links_are_up_with_a_carrier_and_ports_of_bridges_are_no_links() {
        for (family, flags, want) in [
            (0, 0x1_1043_u32, Some((true, true))),
            (0, 0x1003, Some((true, false))),
            (0, 0x1002, Some((false, false))),
            (7, 0x1_1043, None),
        ] {
            let mut octets = vec![family, 0, 1, 0, 4, 0, 0, 0];
            octets.extend(flags.to_ne_bytes());
            octets.extend([0; 4]);
            octets.extend([9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
            let want = want.map(|(is_enabled, is_up)| {
                News::Link(Link { index: 4, name: "eth0".into(), is_enabled, is_up })
            });
            assert_eq!(read(NEW_LINK, 0, &octets), want, "{flags:x}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_address_has_its_link_prefix_and_counts_once_it_is_no_duplicate() {
        let octets = [2, 32, 0, 0, 3, 0, 0, 0, 8, 0, 1, 0, 10, 9, 0, 2, 8, 0, 2, 0, 10, 9, 0, 1];
        let address = read_as_address(&octets);
        assert_eq!(address.address.to_string(), "10.9.0.1");
        assert_eq!(address.on_link.to_string(), "10.9.0.2/32", "the other end of the line");
        for (flags, usable) in [(0x80_u32, true), (0x40, false), (0x48, false)] {
            let mut octets = vec![10, 64, 0, 0, 3, 0, 0, 0, 20, 0, 1, 0];
            octets.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            octets.extend([8, 0, 8, 0]);
            octets.extend(flags.to_ne_bytes());
            assert_eq!(read_as_address(&octets).is_usable, usable, "{flags:x}");
        }
    }

    #[test]
    fn no_truncation_panics() {
        for length in 0..ROUTE.len() {
            for message in 16..26 {
                read(message, 0, &ROUTE[..length]);
            }
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..200), flags: u16) {
            for message in 16..26 {
                read(message, flags, &octets);
            }
        }

        #[test]
        fn no_changed_octet_panics(at in 0..ROUTE.len(), octet: u8, message in 16u16..26) {
            let mut octets = ROUTE.to_vec();
            octets[at] = octet;
            read(message, 0, &octets);
        }
    }
}
