//! Reads messages from the kernel: foreign octets, so every length is checked.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use netlink_packet_core::{NLA_TYPE_MASK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_REPLACE};

use super::super::route::{Hop, KernelRoute, MAIN_TABLE, RouteKey, Target};
use super::{
    Address, Link, News, RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_OIF, RTA_PRIORITY, RTA_TABLE,
    RTA_VIA, RTN_UNICAST, RTN_UNREACHABLE, RTNH_F_ONLINK, kind,
};

const IFLA_IFNAME: u16 = 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

const RTM_F_CLONED: u32 = 0x200;

const AF_BRIDGE: u8 = 7;

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
    let is_enabled = flags & libc::IFF_UP as u32 != 0;
    let is_up = is_enabled && flags & libc::IFF_RUNNING as u32 != 0;
    Some(Link { index: u32::from_ne_bytes([i0, i1, i2, i3]), name: name?, is_enabled, is_up })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `10.244.2.0/24 via 10.0.0.2 dev 3 proto 98 metric 512` as the kernel tells it.
    const ROUTE: &[u8] = &[
        2, 24, 0, 0, 254, 98, 0, 1, 0, 0, 0, 0, // rtmsg
        8, 0, 15, 0, 254, 0, 0, 0, // table
        8, 0, 1, 0, 10, 244, 2, 0, // destination
        8, 0, 6, 0, 0, 2, 0, 0, // metric
        8, 0, 5, 0, 10, 0, 0, 2, // gateway
        8, 0, 4, 0, 3, 0, 0, 0, // link
    ];

    fn changed(at: usize, octet: u8) -> Vec<u8> {
        let mut octets = ROUTE.to_vec();
        octets[at] = octet;
        octets
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_route_is_read_with_all_that_tells_it_apart() {
        let route = read_route(ROUTE).unwrap();
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
            assert_eq!(read_route(&octets).map(|route| route.target), want, "{what}");
        }
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
            let link = read_link(&octets);
            assert_eq!(link.as_ref().map(|link| (link.is_enabled, link.is_up)), want, "{flags:x}");
            assert!(link.is_none_or(|link| &*link.name == "eth0" && link.index == 4));
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_address_has_its_link_prefix_and_counts_once_it_is_no_duplicate() {
        let octets = [2, 32, 0, 0, 3, 0, 0, 0, 8, 0, 1, 0, 10, 9, 0, 2, 8, 0, 2, 0, 10, 9, 0, 1];
        let address = read_address(&octets).unwrap();
        assert_eq!(address.address.to_string(), "10.9.0.1");
        assert_eq!(address.on_link.to_string(), "10.9.0.2/32", "the other end of the line");
        for (flags, usable) in [(0x80_u32, true), (0x40, false), (0x48, false)] {
            let mut octets = vec![10, 64, 0, 0, 3, 0, 0, 0, 20, 0, 1, 0];
            octets.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            octets.extend([8, 0, 8, 0]);
            octets.extend(flags.to_ne_bytes());
            assert_eq!(read_address(&octets).unwrap().is_usable, usable, "{flags:x}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn answers_carry_number_and_words() {
        let header = [36, 0, 0, 0, 24, 0, 1, 6, 9, 0, 0, 0, 0, 0, 0, 0];
        let refused = [&(-101_i32).to_ne_bytes()[..], &header].concat();
        let words = [&refused[..], &[8, 0, 1, 0, b'b', b'a', b'd', 0]].concat();
        for (what, flags, octets, want) in [
            ("done", 0, [&[0; 4][..], &header].concat(), Some((0, None))),
            ("refused", 0, refused.clone(), Some((101, None))),
            ("cut", NLM_F_CAPPED | NLM_F_ACK_TLVS, words.clone(), Some((101, Some("bad".into())))),
            ("short", 0, vec![0; 3], None),
        ] {
            assert_eq!(read_answer(flags, &octets), want, "{what}");
        }
        // Not cut off: the 20 octets behind the refused header come before the words.
        let mut whole = refused;
        whole.extend([0; 20]);
        whole.extend([8, 0, 1, 0, b'b', b'a', b'd', 0]);
        assert_eq!(read_answer(NLM_F_ACK_TLVS, &whole), Some((101, Some("bad".into()))));
    }

    #[test]
    fn no_truncation_panics() {
        for length in 0..ROUTE.len() {
            for message in 16..26 {
                read_news(message, 0, &ROUTE[..length]);
            }
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..200), flags: u16) {
            for message in 16..26 {
                read_news(message, flags, &octets);
            }
            read_answer(flags, &octets);
            prop_assert!(messages_of(&octets).count() <= octets.len() / 16);
        }

        #[test]
        fn no_changed_octet_panics(at in 0..ROUTE.len(), octet: u8, message in 16u16..26) {
            let mut octets = ROUTE.to_vec();
            octets[at] = octet;
            read_news(message, 0, &octets);
        }
    }
}
