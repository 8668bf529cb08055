//! Random events for the model test.

use std::sync::Arc;

use brindle_bgp::filter::{
    Change, Condition, Filter, FilterAction, FilterRule, Has, NextHopChange, RouteSource, Verdict,
};
use brindle_bgp::msg::{Attributes, Community, Origin};
use brindle_bgp::net::{ClusterId, RouterId};
use brindle_bgp::rib::{Owned, PeerKind, PeerPolicy, RibPeer};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use crate::support::{OUR_AS, OUR_CLUSTER, OUR_ID, asn, path_of, peer, prefix};

pub(crate) const PEERS: u32 = 5;
pub(crate) const PREFIXES: [&str; 8] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "172.16.0.0/12",
    "0.0.0.0/0",
    "fd00::/8",
    "fd00:1::/32",
    "::/0",
];
pub(crate) const HOPS: [&str; 8] = [
    "192.0.2.10", // the first peer's own
    "192.0.2.11", // the second peer's own
    "192.0.2.77", // on the link
    "198.51.100.1",
    "203.0.113.9", // ours
    "2001:db8::5",
    "fd00:9::1",
    "fe80::1",
];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Configure {
        peer: u32,
        import: u8,
        export: u8,
        mode: u8,
        client: bool,
        send: u8,
    },
    Remove(u32),
    Up {
        peer: u32,
        v6: u8,
        own: u8,
        shared: bool,
        extended: bool,
        marks: bool,
        /// Several paths are told: bit 0 to us, bit 1 by us, IPv4 alone with bit 2.
        paths: u8,
    },
    Down(u32),
    /// A peer begins, or ends, to tell a family again.
    Again(u32, bool, bool),
    /// By family, whether paths are kept.
    Lost(u32, [bool; 2]),
    EndOfRib(u32, bool),
    DropStale(u32, bool),
    Adopt(u32, u8, u8),
    Learn {
        peer: u32,
        /// Places of prefixes and identifiers of paths.
        announced: Vec<(u8, u8)>,
        withdrawn: Vec<(u8, u8)>,
        hop: u8,
        set: Set,
    },
    Originate(u8, bool),
    Withdraw(u8),
    Resolve(u8, Option<u32>),
    Own(bool),
    Refresh(u32, bool),
    Advertise(u32, usize),
    Changes,
}

#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) path: u8,
    pub(crate) local_pref: u8,
    pub(crate) med: u8,
    pub(crate) origin: bool,
    pub(crate) community: u8,
    pub(crate) reflected: u8,
}

pub(crate) fn set() -> impl Strategy<Value = Set> {
    // Often the same, so that peers tell us the same.
    let plain = Set { path: 1, local_pref: 0, med: 0, origin: true, community: 9, reflected: 9 };
    let any = (0..7_u8, 0..3_u8, 0..3_u8, any::<bool>(), 0..10_u8, 0..6_u8).prop_map(
        |(path, local_pref, med, origin, community, reflected)| Set {
            path,
            local_pref,
            med,
            origin,
            community,
            reflected,
        },
    );
    prop_oneof![Just(plain), any]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let place = || prop_oneof![3 => 0..3_u8, 1 => 0..8_u8];
    let places = || prop::collection::vec((place(), 0..3_u8), 0..4);
    let via = || prop_oneof![Just(3_u8), 0..8_u8];
    let learn = (0..PEERS, places(), places(), via(), set()).prop_map(
        |(peer, announced, withdrawn, hop, set)| Op::Learn { peer, announced, withdrawn, hop, set },
    );
    let flags = || any::<[bool; 3]>();
    let up = (0..PEERS, 0..4_u8, 0..4_u8, flags(), 0..8_u8).prop_map(
        |(peer, v6, own, [shared, extended, marks], paths)| Op::Up {
            peer,
            v6,
            own,
            shared,
            extended,
            marks,
            paths,
        },
    );
    let configure = (0..PEERS, 0..8_u8, 0..8_u8, 0..6_u8, any::<bool>(), 0..5_u8).prop_map(
        |(peer, import, export, mode, client, send)| Op::Configure {
            peer,
            import,
            export,
            mode,
            client,
            send,
        },
    );
    prop_oneof![
        60 => learn,
        4 => up,
        4 => configure,
        1 => (0..PEERS).prop_map(Op::Remove),
        2 => (0..PEERS).prop_map(Op::Down),
        6 => (0..PEERS, any::<[bool; 2]>()).prop_map(|(peer, keep)| Op::Lost(peer, keep)),
        4 => (0..PEERS, any::<bool>()).prop_map(|(peer, v6)| Op::EndOfRib(peer, v6)),
        2 => (0..PEERS, any::<bool>()).prop_map(|(peer, v6)| Op::DropStale(peer, v6)),
        2 => (0..PEERS, place(), via()).prop_map(|(peer, at, hop)| Op::Adopt(peer, at, hop)),
        4 => (0..8_u8, any::<bool>()).prop_map(|(place, med)| Op::Originate(place, med)),
        3 => (0..8_u8).prop_map(Op::Withdraw),
        6 => (via(), prop_oneof![Just(None), (0..4_u32).prop_map(Some)])
            .prop_map(|(hop, cost)| Op::Resolve(hop, cost)),
        1 => any::<bool>().prop_map(Op::Own),
        2 => (0..PEERS, any::<bool>()).prop_map(|(peer, v6)| Op::Refresh(peer, v6)),
        40 => (0..PEERS, prop_oneof![Just(0_usize), Just(60), Just(100_000)])
            .prop_map(|(peer, budget)| Op::Advertise(peer, budget)),
        6 => Just(Op::Changes),
        4 => (0..PEERS, any::<bool>(), any::<bool>())
            .prop_map(|(peer, v6, begins)| Op::Again(peer, v6, begins)),
    ]
}

/// The first three peers are external; two of these in one AS.
pub(crate) fn base(number: u32) -> RibPeer {
    let kind = if number < 3 { PeerKind::External } else { PeerKind::Internal };
    let mut how = peer(number, kind);
    if number < 3 {
        how.asn = asn(if number == 0 { 65000 } else { 65001 });
    }
    how
}

/// Two filters, the second of which sees what the first has changed; `reference.rs` says in
/// its own words what they do.
fn colours() -> PeerPolicy {
    let rule =
        |action, conditions, changes| FilterRule { changes, ..FilterRule::new(action, conditions) };
    let tag = || vec!["65001:1".parse().unwrap()];
    let tagged = || Condition::Communities(Has::Any, vec!["65001:*".parse().unwrap()]);
    let first = vec![
        rule(
            FilterAction::Reject,
            vec![Condition::Source(vec![RouteSource::Local]), Condition::PrefixLengths(24..=32)],
            vec![],
        ),
        rule(FilterAction::Reject, vec![Condition::AsPathContains(vec![asn(65101)])], vec![]),
        rule(
            FilterAction::Continue,
            vec![Condition::PrefixLengths(0..=12)],
            vec![Change::LocalPref(50), Change::AddCommunities(tag())],
        ),
        rule(
            FilterAction::Accept,
            vec![Condition::AsPathRegex("_65100$".parse().unwrap())],
            vec![
                Change::Med(7),
                Change::Prepend(None, 2),
                Change::NextHop(NextHopChange::SelfAddress),
            ],
        ),
    ];
    let second = vec![
        rule(
            FilterAction::Accept,
            vec![tagged()],
            vec![
                Change::AddMed(3),
                Change::RemoveCommunities(vec!["65001:1".parse().unwrap()]),
                Change::LocalPref(150),
            ],
        ),
        rule(FilterAction::Accept, vec![], vec![]),
    ];
    let first = Filter { otherwise: Verdict::Accept, ..Filter::new("colours", first) };
    PeerPolicy::Filters(vec![first.into(), Filter::new("second", second).into()])
}

fn loud() -> PeerPolicy {
    let changes = vec![
        Change::LocalPref(300),
        Change::SetCommunities(vec!["no-export".parse().unwrap()]),
        Change::NextHop(NextHopChange::Keep),
    ];
    let rule = FilterRule { changes, ..FilterRule::new(FilterAction::Accept, vec![]) };
    PeerPolicy::Filters(vec![Filter::new("loud", vec![rule]).into()])
}

pub(crate) fn policy(kind: u8) -> PeerPolicy {
    match kind {
        0 => PeerPolicy::RefuseUnfiltered,
        1 => PeerPolicy::Owned(Owned {
            exactly: vec![Arc::new([prefix("0.0.0.0/0")].into())],
            ..[prefix("10.1.0.0/16"), prefix("fd00::/8")].into()
        }),
        // Also as import policy of peers whose next hops are others.
        3 => PeerPolicy::OwnedByNextHop(Arc::new(
            [
                (HOPS[0], [prefix("10.1.0.0/16")]),
                (HOPS[3], [prefix("10.0.0.0/8")]),
                (HOPS[5], [prefix("fd00::/8")]),
            ]
            .map(|(hop, owned)| (hop.parse().unwrap(), Owned::from(owned)))
            .into(),
        )),
        2 => PeerPolicy::Filters(vec![
            Filter::new(
                "no-default",
                vec![
                    FilterRule::new(FilterAction::Reject, vec![Condition::PrefixLengths(0..=0)]),
                    FilterRule::new(FilterAction::Accept, vec![]),
                ],
            )
            .into(),
        ]),
        5 => colours(),
        6 => loud(),
        4 => PeerPolicy::OriginatedOr([prefix("10.1.0.0/16")].into()),
        _ => PeerPolicy::AcceptAll,
    }
}

pub(crate) fn attributes(from: u32, set: &Set) -> Attributes {
    let internal = from >= 3;
    let own = base(from).asn.get();
    let tails: [&[u32]; 7] =
        [&[], &[65100], &[65100, 65101], &[65001], &[OUR_AS], &[65100, OUR_AS], &[65200, 65201]];
    let tail = tails[usize::from(set.path)];
    let path: Vec<u32> =
        if internal || set.path == 6 { tail.to_vec() } else { [&[own], tail].concat() };
    Attributes {
        origin: if set.origin { Origin::Igp } else { Origin::Incomplete },
        as_path: path_of(&path),
        med: [None, Some(5), Some(10)][usize::from(set.med)],
        local_pref: [None, Some(100), Some(200)][usize::from(set.local_pref)],
        communities: match set.community {
            0 => vec![Community::NO_EXPORT],
            1 => vec![Community::NO_ADVERTISE],
            2 => vec![Community::NO_EXPORT_SUBCONFED],
            3 => vec![Community::GRACEFUL_SHUTDOWN],
            _ => vec![],
        },
        originator_id: match set.reflected {
            0 if internal => RouterId::new(OUR_ID).ok(),
            1 | 2 if internal => RouterId::new(77).ok(),
            _ => None,
        },
        cluster_list: match set.reflected {
            1 if internal => vec![ClusterId(1), ClusterId(OUR_CLUSTER)],
            2 if internal => vec![ClusterId(1)],
            _ => vec![],
        },
        ..Attributes::default()
    }
}
