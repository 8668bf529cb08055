//! Generated messages in the one form that reading gives back.

use brindle_bgp::msg::{
    AddPathFamily, Aggregator, Announcement, AsPath, AsSegment, Attributes, Capability, Community,
    ExtendedCommunity, GracefulRestart, HoldTime, LargeCommunity, LongLivedFamily, Message,
    NextHop, Nlri, Notification, Open, Origin, PathId, Refresh, RestartFamily, RouteRefresh,
    SegmentKind, UnknownAttribute, Update, WireFormat,
};
use brindle_bgp::net::{AfiSafi, Asn, ClusterId, Family, Prefix, RouterId};
use bytes::Bytes;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::Union;

use crate::support::format;

/// Any format with both families.
pub(crate) fn any_format() -> impl Strategy<Value = WireFormat> {
    (0..32_u8).prop_map(format)
}

/// Any message that the format can carry.
pub(crate) fn any_message(format: &WireFormat) -> impl Strategy<Value = Message> + use<> {
    prop_oneof![
        1 => any_open().prop_map(Message::Open),
        8 => any_update(format).prop_map(Message::Update),
        1 => any_family().prop_map(Message::EndOfRib),
        1 => any_notification().prop_map(Message::Notification),
        1 => Just(Message::Keepalive),
        1 => any_refresh().prop_map(Message::RouteRefresh),
    ]
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)]
}

fn any_afi_safi() -> impl Strategy<Value = AfiSafi> {
    (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| AfiSafi { afi, safi })
}

fn any_refresh() -> impl Strategy<Value = RouteRefresh> {
    let kind = prop_oneof![
        Just(Refresh::Request),
        Just(Refresh::Begin),
        Just(Refresh::End),
        (3..=255_u8).prop_map(Refresh::Unknown),
    ];
    (any_afi_safi(), kind).prop_map(|(family, kind)| RouteRefresh { family, kind })
}

fn any_notification() -> impl Strategy<Value = Notification> {
    (any::<u8>(), any::<u8>(), octets(0..300)).prop_map(|(code, subcode, data)| Notification {
        code,
        subcode,
        data,
    })
}

fn octets(length: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn any_open() -> impl Strategy<Value = Open> {
    let hold = prop_oneof![Just(0), 3..=u16::MAX].prop_map(|s| HoldTime::from_secs(s).unwrap());
    let capabilities = vec(any_capability(), 0..12);
    (1..=u16::MAX, hold, any_router_id(), capabilities).prop_map(
        |(my_as, hold_time, router_id, capabilities)| Open {
            my_as,
            hold_time,
            router_id,
            capabilities,
        },
    )
}

fn any_router_id() -> impl Strategy<Value = RouterId> {
    (1..=u32::MAX).prop_map(|bits| RouterId::new(bits).unwrap())
}

fn any_capability() -> impl Strategy<Value = Capability> {
    let restart_family = (any_afi_safi(), any::<bool>())
        .prop_map(|(family, forwarding)| RestartFamily { family, forwarding });
    let restart = (any::<bool>(), any::<bool>(), 0..4096_u16, vec(restart_family, 0..4)).prop_map(
        |(restarting, notification, restart_secs, families)| {
            Capability::GracefulRestart(GracefulRestart {
                restarting,
                notification,
                restart_secs,
                families,
            })
        },
    );
    let long_lived = (any_afi_safi(), any::<bool>(), 0..1_u32 << 24).prop_map(
        |(family, forwarding, stale_secs)| LongLivedFamily { family, forwarding, stale_secs },
    );
    let add_paths =
        (any_afi_safi(), any::<u8>()).prop_map(|(family, able)| AddPathFamily { family, able });
    prop_oneof![
        any_afi_safi().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        vec((any_afi_safi(), any::<u16>()), 0..4).prop_map(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        any::<u8>().prop_map(Capability::Role),
        restart,
        vec(long_lived, 0..4).prop_map(Capability::LongLivedRestart),
        (1..=u32::MAX).prop_map(Capability::FourOctetAsn),
        Just(Capability::EnhancedRouteRefresh),
        vec(add_paths, 0..4).prop_map(Capability::AddPaths),
        (72..=255_u8, octets(0..256)).prop_map(|(code, value)| Capability::Unknown { code, value }),
        // A known code with a value that it cannot have.
        (Just(65), octets(5..9)).prop_map(|(code, value)| Capability::Unknown { code, value }),
    ]
}

/// A prefix of a family.
pub(crate) fn any_prefix(family: Family) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0..=family.bits()).prop_map(move |(bits, length)| match family {
        Family::Ipv4Unicast =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "random bits are as good cut off")]
            Prefix::v4((bits as u32).into(), length).unwrap()
        }
        Family::Ipv6Unicast => Prefix::v6(bits.into(), length).unwrap(),
    })
}

/// Paths to prefixes of a family, each once; sometimes more than one message holds.
fn prefixes(family: Family, has_ids: bool) -> impl Strategy<Value = Vec<Nlri>> {
    let id =
        move || prop_oneof![0..3_u32, any::<u32>()].prop_map(move |id| u32::from(has_ids) * id);
    let nlri = move || {
        (any_prefix(family), id()).prop_map(|(prefix, id)| Nlri { prefix, path_id: PathId(id) })
    };
    let some = |count| btree_set(nlri(), count).prop_map(Vec::from_iter);
    prop_oneof![30 => some(1..12), 1 => some(800..2000)]
}

fn host_v4() -> impl Strategy<Value = NextHop> {
    (0x0100_0000..0x7F00_0000_u32).prop_map(|bits| NextHop::V4(bits.into()))
}

fn host_v6() -> impl Strategy<Value = NextHop> {
    const GLOBAL: u128 = 0x2001_0db8 << 96;
    const LINK_LOCAL: u128 = 0xfe80 << 112;
    let low = || any::<u64>().prop_map(u128::from);
    let link_local = option::of(low().prop_map(|low| (LINK_LOCAL | low).into()));
    prop_oneof![
        (low(), link_local).prop_map(|(low, link_local)| NextHop::V6 {
            global: (GLOBAL | low).into(),
            link_local,
        }),
        low().prop_map(|low| NextHop::V6 { global: (LINK_LOCAL | low).into(), link_local: None }),
    ]
}

/// An UPDATE that says each thing once, withdrawn prefixes by family.
pub(crate) fn any_update(format: &WireFormat) -> impl Strategy<Value = Update> + use<> {
    let has_ids = format.add_paths.send[0];
    let announcement = |family, next_hop| {
        let some = (next_hop, prefixes(family, has_ids))
            .prop_map(|(next_hop, prefixes)| Announcement { next_hop, prefixes });
        option::of(some)
    };
    let v4 = announcement(Family::Ipv4Unicast, host_v4().boxed());
    let v4_over_v6 = announcement(Family::Ipv4Unicast, host_v6().boxed());
    let v6 = announcement(Family::Ipv6Unicast, host_v6().boxed());
    let withdrawn = Family::ALL.map(|family| option::of(prefixes(family, has_ids)));
    let extended_next_hop = format.extended_next_hop;
    (v4, v4_over_v6, v6, any_attributes(format), withdrawn).prop_map(
        move |(v4, v4_over_v6, v6, attributes, withdrawn)| {
            let v4_over_v6 = v4_over_v6.filter(|_| extended_next_hop);
            let announced: Vec<Announcement> = [v4, v4_over_v6, v6].into_iter().flatten().collect();
            let is_announced =
                |nlri: &Nlri| announced.iter().any(|a| a.prefixes.binary_search(nlri).is_ok());
            let mut withdrawn: Vec<Nlri> = withdrawn.into_iter().flatten().flatten().collect();
            withdrawn.retain(|nlri| !is_announced(nlri));
            let attributes = (!announced.is_empty()).then_some(attributes);
            Update { withdrawn, announced, attributes }
        },
    )
}

fn any_asn() -> impl Strategy<Value = Asn> {
    prop_oneof![1..=65535_u32, 1..=u32::MAX].prop_map(|number| Asn::new(number).unwrap())
}

/// A path that the format carries unchanged: a peer with two-octet numbers loses what stands
/// in confederation segments, and so does one outside of it.
fn any_path(format: &WireFormat) -> impl Strategy<Value = AsPath> + use<> {
    let segment = |kinds: Vec<SegmentKind>| {
        let kind = Union::new(kinds.into_iter().map(Just));
        let asns = prop_oneof![20 => vec(any_asn(), 1..6), 1 => vec(any_asn(), 200..=255)];
        (kind, asns).prop_map(|(kind, asns)| AsSegment { kind, asns })
    };
    let mut kinds = vec![SegmentKind::Sequence, SegmentKind::Set];
    if format.internal && format.four_octet_asns {
        kinds.extend([SegmentKind::ConfedSequence, SegmentKind::ConfedSet]);
    }
    vec(segment(kinds), 0..4).prop_map(AsPath)
}

fn any_attributes(format: &WireFormat) -> impl Strategy<Value = Attributes> + use<> {
    let internal = format.internal;
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    let aggregator = (any_asn(), any::<u32>())
        .prop_map(|(asn, address)| Aggregator { asn, address: address.into() });
    let large = any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity {
        global,
        local1,
        local2,
    });
    let number = || option::of(any::<u32>());
    let numbers = (number(), number(), number(), any::<bool>());
    let communities = (
        sorted(any::<u32>().prop_map(Community)),
        sorted(any::<[u8; 8]>().prop_map(ExtendedCommunity)),
        sorted(large),
    );
    let reflection = (option::of(any_router_id()), vec(any::<u32>().prop_map(ClusterId), 0..4));
    let unknown = sorted((unknown_code(), octets(0..400)));
    ((origin, any_path(format), option::of(aggregator)), numbers, communities, reflection, unknown)
        .prop_map(
            move |((origin, as_path, aggregator), numbers, lists, reflection, mut unknown)| {
                let (med, local_pref, only_to_customer, atomic_aggregate) = numbers;
                let (communities, extended_communities, large_communities) = lists;
                let (originator_id, cluster_list) = reflection;
                unknown.dedup_by_key(|(code, _)| *code);
                let unknown = unknown
                    .into_iter()
                    .map(|(code, value)| UnknownAttribute { code, partial: true, value })
                    .collect();
                Attributes {
                    origin,
                    as_path,
                    med,
                    local_pref: local_pref.filter(|_| internal),
                    atomic_aggregate,
                    aggregator,
                    communities,
                    originator_id: originator_id.filter(|_| internal),
                    cluster_list: if internal { cluster_list } else { Vec::new() },
                    extended_communities,
                    large_communities,
                    only_to_customer,
                    unknown,
                }
            },
        )
}

fn sorted<T: Ord + std::fmt::Debug>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    btree_set(item, 0..5).prop_map(Vec::from_iter)
}

/// The type code of an attribute that we do not know; 40 has a rule of its own.
fn unknown_code() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), 11..=13_u8, 19..=31_u8, 33..=34_u8, 36..=39_u8, 41..=255_u8]
}
