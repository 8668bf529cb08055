//! Writes messages to the kernel as octets.

use std::net::IpAddr;

use brindle_bgp::net::Family;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
};

use super::super::route::{Action, Hop, MAIN_TABLE, PROTOCOL, RouteOp, Target};
use super::{
    RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_OIF, RTA_PRIORITY, RTA_VIA, RTN_UNICAST,
    RTN_UNREACHABLE, RTNH_F_ONLINK, address_family, kind,
};

const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_NOWHERE: u8 = 255;

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use netlink_packet_core::NetlinkMessage;
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::route::{RouteAttribute, RouteProtocol, RouteType};
    use proptest::prelude::*;

    use super::super::read::{messages_of, read_news};
    use super::super::{News, kind};
    use super::*;
    use crate::fib::route::{KernelRoute, RouteKey};

    fn hop() -> impl Strategy<Value = Hop> {
        (any::<IpAddr>(), 1u32..9, any::<bool>()).prop_map(|(gateway, link, onlink)| Hop {
            gateway: Some(gateway),
            link,
            onlink,
            weight: 0,
        })
    }

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![
            Just(Target::Unreachable),
            prop::collection::btree_set(hop(), 1..128)
                .prop_map(|hops| Target::Via(hops.into_iter().collect())),
        ]
    }

    fn key() -> impl Strategy<Value = RouteKey> {
        (any::<IpAddr>(), any::<u8>(), any::<u32>()).prop_map(|(address, length, metric)| {
            let length = length % (Family::of(address).bits() + 1);
            let prefix = brindle_bgp::net::Prefix::new(address, length).unwrap();
            RouteKey { prefix, metric }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in key(), target in target(), change: bool) {
            let wanted = Arc::new(target.clone());
            let action = if change { Action::Change(wanted) } else { Action::Add(wanted) };
            let mut octets = Vec::new();
            write_op(&mut octets, 7, &RouteOp { key, action }, true);
            let (message, flags, sequence, body) = messages_of(&octets).next().unwrap();
            prop_assert_eq!(sequence, 7);
            let route = KernelRoute { key, protocol: PROTOCOL, tos: 0, target };
            prop_assert_eq!(read_news(message, flags, body), Some(News::Route(route, change)));
        }

        #[test]
        fn another_reader_understands_every_message(key in key(), target in target()) {
            let mut octets = Vec::new();
            let action = Action::Add(Arc::new(target));
            write_op(&mut octets, 7, &RouteOp { key, action }, false);
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&octets).unwrap();
            prop_assert_eq!(message.header.length as usize, octets.len());
            let (header, payload) = message.into_parts();
            prop_assert_eq!(header.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
            let netlink_packet_core::NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewRoute(route),
            ) = payload
            else {
                panic!("{payload:?}");
            };
            prop_assert_eq!(route.header.destination_prefix_length, key.prefix.length());
            prop_assert_eq!(route.header.protocol, RouteProtocol::Other(PROTOCOL));
            prop_assert!(route.attributes.contains(&RouteAttribute::Priority(key.metric)));
        }
    }

    #[test]
    fn a_delete_names_protocol_and_metric_and_nothing_else() {
        let key = RouteKey { prefix: "10.244.2.0/24".parse().unwrap(), metric: 512 };
        let mut octets = Vec::new();
        write_op(&mut octets, 7, &RouteOp { key, action: Action::Delete }, true);
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&octets).unwrap();
        assert_eq!(message.header.flags, NLM_F_REQUEST | NLM_F_ACK);
        assert_eq!(message.header.message_type, kind::DEL_ROUTE);
        let netlink_packet_core::NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) =
            message.payload
        else {
            panic!("{message:?}");
        };
        assert_eq!(route.header.protocol, RouteProtocol::Other(PROTOCOL));
        assert_eq!(route.header.kind, RouteType::Unspec);
        assert_eq!(route.attributes.len(), 2, "{:?}", route.attributes);
        assert!(route.attributes.contains(&RouteAttribute::Priority(512)));
    }
}
