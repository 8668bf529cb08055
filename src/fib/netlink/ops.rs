//! Writes to the kernel as messages.

use std::net::IpAddr;

use brindle_bgp::net::Family;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType,
};

use super::super::route::{Action, Hop, PROTOCOL, RouteOp, Target};
use super::Message;

/// The message that carries out `op`. The kernel answers if it refuses; also if it does not
/// where `acknowledge` asks for it.
pub(super) fn message_of(op: &RouteOp, sequence: u32, acknowledge: bool) -> Message {
    let prefix = op.key.prefix;
    let mut route = RouteMessage::default();
    route.header = RouteHeader {
        address_family: prefix.address().into(),
        destination_prefix_length: prefix.length(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(PROTOCOL),
        ..RouteHeader::default()
    };
    route.attributes = Vec::with_capacity(4);
    route.attributes.push(RouteAttribute::Destination(prefix.address().into()));
    route.attributes.push(RouteAttribute::Priority(op.key.metric));
    let (flags, inner) = match &op.action {
        Action::Add(target) => {
            lead(&mut route, target, prefix.family());
            (NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewRoute(route))
        }
        Action::Change(target) => {
            lead(&mut route, target, prefix.family());
            (NLM_F_REPLACE, RouteNetlinkMessage::NewRoute(route))
        }
        Action::Delete => {
            route.header.scope = RouteScope::NoWhere;
            (0, RouteNetlinkMessage::DelRoute(route))
        }
    };
    let mut message = NetlinkMessage::from(inner);
    message.header.sequence_number = sequence;
    message.header.flags = NLM_F_REQUEST | flags | if acknowledge { NLM_F_ACK } else { 0 };
    message.finalize();
    message
}

/// Says in the message where the route leads.
fn lead(route: &mut RouteMessage, target: &Target, family: Family) {
    let hops = match target {
        Target::Unreachable => {
            route.header.kind = RouteType::Unreachable;
            return;
        }
        Target::Other(number) => {
            route.header.kind = RouteType::from(*number);
            return;
        }
        Target::Group(id) => {
            route.header.kind = RouteType::Unicast;
            route.attributes.push(RouteAttribute::NhId(*id));
            return;
        }
        Target::Via(hops) => hops,
    };
    route.header.kind = RouteType::Unicast;
    if hops.iter().all(|hop| hop.gateway.is_none()) {
        route.header.scope = RouteScope::Link;
    }
    if let [hop] = hops.as_slice() {
        if hop.onlink {
            route.header.flags = RouteFlags::Onlink;
        }
        route.attributes.extend(gateway(hop, family));
        route.attributes.push(RouteAttribute::Oif(hop.link));
    } else {
        let hops = hops.iter().map(|hop| next_hop(hop, family)).collect();
        route.attributes.push(RouteAttribute::MultiPath(hops));
    }
}

fn next_hop(hop: &Hop, family: Family) -> RouteNextHop {
    let mut next_hop = RouteNextHop::default();
    if hop.onlink {
        next_hop.flags = RouteNextHopFlags::Onlink;
    }
    next_hop.hops = hop.weight;
    next_hop.interface_index = hop.link;
    next_hop.attributes.extend(gateway(hop, family));
    next_hop
}

/// A router of the other family has an attribute of its own (RFC 8950).
fn gateway(hop: &Hop, family: Family) -> Option<RouteAttribute> {
    let via: IpAddr = hop.gateway?;
    Some(if Family::of(via) == family {
        RouteAttribute::Gateway(via.into())
    } else {
        RouteAttribute::Via(via.into())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rtnetlink::packet_core::NetlinkPayload;

    use super::super::read::read_news;
    use super::*;
    use crate::fib::news::News;
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
            any::<u32>().prop_map(Target::Group),
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

    /// The message as octets and back.
    fn sent(op: &RouteOp, acknowledge: bool) -> Message {
        let message = message_of(op, 7, acknowledge);
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        let received = Message::deserialize(&octets).unwrap();
        assert_eq!(received.header.length as usize, octets.len());
        received
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in key(), target in target(), change: bool) {
            let wanted = Arc::new(target.clone());
            let action = if change { Action::Change(wanted) } else { Action::Add(wanted) };
            let (header, payload) = sent(&RouteOp { key, action }, true).into_parts();
            prop_assert_eq!(header.sequence_number, 7);
            let NetlinkPayload::InnerMessage(inner) = payload else { panic!("{payload:?}") };
            let route = KernelRoute { key, protocol: PROTOCOL, tos: 0, target };
            prop_assert_eq!(read_news(inner, header.flags), Some(News::Route(route, change)));
        }
    }

    #[test]
    fn an_add_never_replaces_and_a_change_never_creates() {
        let key = RouteKey { prefix: "fd00::/64".parse().unwrap(), metric: 512 };
        let target = Arc::new(Target::Unreachable);
        for (action, acknowledge, want) in [
            (Action::Add(target.clone()), false, NLM_F_CREATE | NLM_F_EXCL),
            (Action::Add(target.clone()), true, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK),
            (Action::Change(target), false, NLM_F_REPLACE),
            (Action::Delete, true, NLM_F_ACK),
        ] {
            let header = sent(&RouteOp { key, action: action.clone() }, acknowledge).header;
            assert_eq!(header.flags, NLM_F_REQUEST | want, "{action:?}");
        }
    }

    #[test]
    fn a_delete_names_protocol_and_metric_and_nothing_else() {
        let key = RouteKey { prefix: "10.244.2.0/24".parse().unwrap(), metric: 512 };
        let message = sent(&RouteOp { key, action: Action::Delete }, true);
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) = message.payload
        else {
            panic!("{message:?}");
        };
        assert_eq!(route.header.protocol, RouteProtocol::Other(PROTOCOL));
        assert_eq!(route.header.kind, RouteType::Unspec);
        assert_eq!(route.attributes.len(), 2, "{:?}", route.attributes);
        assert!(route.attributes.contains(&RouteAttribute::Priority(512)));
    }
}
