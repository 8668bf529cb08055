//! What peers are told, case by case.

mod rib_support;

use brindle_bgp::filter::{Filter, FilterAction, FilterRule};
use brindle_bgp::msg::{
    AsPath, AsSegment, Attributes, Community, ExtendedCommunity, NextHop, Refresh, SegmentKind,
};
use brindle_bgp::net::{ClusterId, Family, Prefix, RouterId};
use brindle_bgp::rib::{
    Forwarding, NextHopMode, Page, PathStatus, PathView, PeerId, PeerKind, PeerPolicy, Reason,
    Refusal, Rib, RibPeer, RibSession, RibSettings, Which,
};
use rib_support::{
    Ear, Heard, OUR_AS, OUR_CLUSTER, OUR_ID, Scene, address, address_hop, along, announce, asn,
    hop, link_local, numbered, path_of, peer, prefix, session, settings, with_community, withdraw,
};

const KINDS: [PeerKind; 3] = [PeerKind::External, PeerKind::Internal, PeerKind::ReflectorClient];

fn v4() -> Prefix {
    prefix("10.1.0.0/16")
}

/// Attributes that a peer of this kind would send.
fn from_peer(number: u32, kind: PeerKind) -> Attributes {
    match kind {
        PeerKind::External => along(&[65000 + number]),
        PeerKind::Internal | PeerKind::ReflectorClient => along(&[]),
    }
}

fn one_update(attributes: Attributes) -> brindle_bgp::msg::Update {
    announce(&[v4()], hop("198.51.100.1"), attributes)
}

fn filter(name: &str, cidr: &str) -> PeerPolicy {
    let accept =
        FilterRule { action: FilterAction::Accept, cidr: Some(prefix(cidr)), prefix_lengths: None };
    PeerPolicy::Filters(vec![Filter { name: name.into(), rules: vec![accept] }.into()])
}

fn refusal(rib: &Rib, prefix: &Prefix) -> Option<Refusal> {
    rib.paths(prefix).into_iter().find_map(|path| match path.status {
        PathStatus::Refused(refusal) => Some(refusal),
        _ => None,
    })
}

#[test]
fn a_path_that_cannot_be_taken_replaces_the_one_before_by_nothing() {
    let own_as = asn(OUR_AS);
    let set = AsSegment { kind: SegmentKind::Set, asns: vec![asn(7), own_as] };
    let in_set = AsPath(vec![path_of(&[65000]).0.remove(0), set]);
    let internal = |change: fn(&mut Attributes)| {
        let mut attributes = along(&[]);
        change(&mut attributes);
        (PeerKind::Internal, attributes, hop("198.51.100.1"))
    };
    let external = |attributes, to: &str| (PeerKind::External, attributes, hop(to));
    let bad = |to: &str| Refusal::BadNextHop(to.parse().unwrap());
    let clean = || along(&[65000]);
    for ((kind, attributes, next_hop), want) in [
        (external(along(&[65000, OUR_AS]), "198.51.100.1"), Refusal::AsLoop),
        (
            external(Attributes { as_path: in_set, ..Attributes::default() }, "198.51.100.1"),
            Refusal::AsLoop,
        ),
        (internal(|a| a.as_path = path_of(&[OUR_AS])), Refusal::AsLoop),
        (internal(|a| a.originator_id = RouterId::new(OUR_ID).ok()), Refusal::OriginatorLoop),
        (
            internal(|a| a.cluster_list = vec![ClusterId(5), ClusterId(OUR_CLUSTER)]),
            Refusal::ClusterLoop,
        ),
        (external(along(&[65001]), "198.51.100.1"), Refusal::WrongFirstAs),
        (external(along(&[]), "198.51.100.1"), Refusal::WrongFirstAs),
        (external(clean(), "203.0.113.9"), bad("203.0.113.9")), // ours
        (external(clean(), "0.0.0.0"), bad("0.0.0.0")),
        (external(clean(), "127.0.0.1"), bad("127.0.0.1")),
        (external(clean(), "224.0.0.5"), bad("224.0.0.5")),
        (external(clean(), "255.255.255.255"), bad("255.255.255.255")),
        (external(clean(), "169.254.1.1"), bad("169.254.1.1")),
        (external(clean(), "::"), bad("::")),
        (external(clean(), "::1"), bad("::1")),
        (external(clean(), "ff02::1"), bad("ff02::1")),
        (external(clean(), "::ffff:10.0.0.1"), bad("::ffff:10.0.0.1")),
    ] {
        let mut scene = Scene::new(settings());
        scene.rib.set_own_addresses(vec!["203.0.113.9".parse().unwrap()]);
        scene.up(0, kind);
        scene.up(1, PeerKind::External);
        scene.learn(0, one_update(from_peer(0, kind)));
        scene.tell_all();
        assert_eq!(scene.ear(1).prefixes(), ["10.1.0.0/16"]);
        scene.rib.take_changes();

        scene.learn(0, announce(&[v4()], next_hop, attributes.clone()));
        let what = format!("{want:?} by {attributes:?} via {next_hop}");
        let changes = scene.rib.take_changes();
        assert_eq!(changes.len(), 1, "{what}");
        assert_eq!(changes[0].now, Forwarding::None, "{what}");
        assert_eq!(refusal(&scene.rib, &v4()), Some(want), "{what}");
        scene.tell_all();
        assert!(scene.ear(1).told.is_empty(), "{what}");
        let counts = scene.rib.counts(PeerId(0), Family::Ipv4Unicast).unwrap();
        assert_eq!((counts.received, counts.accepted, counts.rejected), (1, 0, 1), "{what}");
    }
}

#[test]
fn policies_refuse_with_their_reason_and_are_applied_anew_when_they_change() {
    let owned = PeerPolicy::Owned([prefix("10.2.0.0/16")].into());
    for (policy, want) in [
        (PeerPolicy::AcceptAll, None),
        (PeerPolicy::RefuseUnfiltered, Some(Refusal::Unfiltered)),
        (filter("cluster", "10.2.0.0/16"), Some(Refusal::Filter("cluster".into(), None))),
        (filter("cluster", "10.0.0.0/8"), None),
        (owned, Some(Refusal::NotOwned)),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::External);
        scene.up(1, PeerKind::Internal);
        scene.rib.configure_peer(
            PeerId(0),
            RibPeer { import: policy.clone(), ..peer(0, PeerKind::External) },
        );
        scene.learn(0, one_update(along(&[65000])));
        assert_eq!(refusal(&scene.rib, &v4()), want, "{policy:?}");
        scene.tell_all();
        assert_eq!(scene.ear(1).told.is_empty(), want.is_some(), "{policy:?}");
        // What was refused is kept: no refresh is needed to take it after all.
        scene.rib.configure_peer(PeerId(0), peer(0, PeerKind::External));
        assert_eq!(refusal(&scene.rib, &v4()), None, "{policy:?}");
        scene.tell_all();
        assert_eq!(scene.ear(1).prefixes(), ["10.1.0.0/16"], "{policy:?}");
    }
}

#[test]
fn an_address_that_becomes_ours_or_ceases_to_be_is_judged_anew() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::Internal);
    scene.learn(0, one_update(along(&[])));
    let address = "198.51.100.1".parse().unwrap();
    scene.rib.set_own_addresses(vec![address]);
    assert_eq!(refusal(&scene.rib, &v4()), Some(Refusal::BadNextHop(address)));
    scene.rib.set_own_addresses(vec![]);
    assert_eq!(refusal(&scene.rib, &v4()), None);
}

#[test]
fn local_pref_counts_from_our_as_only_and_a_peer_about_to_go_is_the_last_choice() {
    let gone = Community::GRACEFUL_SHUTDOWN;
    for (kind, local_pref, community, want) in [
        (PeerKind::Internal, Some(300), None, 300),
        (PeerKind::ReflectorClient, Some(300), None, 300),
        (PeerKind::Internal, None, None, 100),
        (PeerKind::External, Some(300), None, 100),
        (PeerKind::External, None, None, 100),
        (PeerKind::External, Some(300), Some(gone), 0),
        (PeerKind::Internal, Some(300), Some(gone), 0),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, kind);
        let attributes = Attributes {
            local_pref,
            communities: community.into_iter().collect(),
            ..from_peer(0, kind)
        };
        scene.learn(0, one_update(attributes));
        let paths = scene.rib.paths(&v4());
        assert_eq!(
            paths[0].attributes.local_pref,
            Some(want),
            "{kind:?} {local_pref:?} {community:?}"
        );
    }
}

#[test]
fn well_known_communities_hold_for_both_families_and_every_kind_of_peer() {
    for family in Family::ALL {
        for (community, want) in [
            (Community(0x0001_0001), [true, true, true]),
            (Community::NO_EXPORT, [false, true, true]),
            (Community::NO_EXPORT_SUBCONFED, [false, true, true]),
            (Community::NO_ADVERTISE, [false, false, false]),
        ] {
            for (kind, want) in KINDS.into_iter().zip(want) {
                for is_ours in [false, true] {
                    let (prefix, next_hop) = match family {
                        Family::Ipv4Unicast => (v4(), hop("198.51.100.1")),
                        Family::Ipv6Unicast => (prefix("fd00::/48"), hop("2001:db8::7")),
                    };
                    let mut scene = Scene::new(settings());
                    scene.up(0, PeerKind::External);
                    scene.up(1, kind);
                    if is_ours {
                        scene.rib.originate(prefix, with_community(community, &[]));
                    } else {
                        let attributes = with_community(community, &[65000]);
                        scene.learn(0, announce(&[prefix], next_hop, attributes));
                    }
                    scene.tell(1);
                    let told = !scene.ear(1).told.is_empty();
                    assert_eq!(told, want, "{community} {family} {kind:?} ours: {is_ours}");
                }
            }
        }
    }
}

#[test]
fn paths_of_internal_peers_go_to_and_from_clients_only() {
    let (external, internal, client) =
        (PeerKind::External, PeerKind::Internal, PeerKind::ReflectorClient);
    for (from, to, want) in [
        (external, external, true),
        (external, internal, true),
        (external, client, true),
        (internal, external, true),
        (internal, internal, false),
        (internal, client, true),
        (client, external, true),
        (client, internal, true),
        (client, client, true),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, from);
        scene.up(1, to);
        scene.learn(0, one_update(from_peer(0, from)));
        scene.tell_all();
        assert_eq!(!scene.ear(1).told.is_empty(), want, "{from:?} to {to:?}");
        assert!(scene.ear(0).told.is_empty(), "nobody is told its own");
        let Some((attributes, next_hop)) = scene.ear(1).told.get(&v4()) else { continue };
        let reflected = from != external && to != external;
        let originator = reflected.then(|| session(0).negotiated.their_open.router_id);
        assert_eq!(attributes.originator_id, originator, "{from:?} to {to:?}");
        let clusters = if reflected { vec![ClusterId(OUR_CLUSTER)] } else { vec![] };
        assert_eq!(attributes.cluster_list, clusters, "{from:?} to {to:?}");
        let want = if to == external { "192.0.2.1" } else { "198.51.100.1" };
        assert_eq!(*next_hop, hop(want), "{from:?} to {to:?}");
    }
}

#[test]
fn a_second_reflector_keeps_the_originator_and_puts_its_cluster_in_front() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::ReflectorClient);
    scene.up(1, PeerKind::Internal);
    let attributes = Attributes {
        originator_id: RouterId::new(77).ok(),
        cluster_list: vec![ClusterId(9), ClusterId(8)],
        local_pref: Some(250),
        med: Some(4),
        ..along(&[65010])
    };
    scene.learn(0, one_update(attributes.clone()));
    scene.tell_all();
    let want = Attributes {
        cluster_list: vec![ClusterId(OUR_CLUSTER), ClusterId(9), ClusterId(8)],
        ..attributes
    };
    assert_eq!(scene.ear(1).told[&v4()], (want, hop("198.51.100.1")));
}

#[test]
fn what_leaves_the_as_gets_our_number_and_loses_what_is_internal() {
    let internal_only = ExtendedCommunity([0x40, 0, 0, 0, 0, 0, 0, 1]);
    let transitive = ExtendedCommunity([0, 2, 0, 0, 0, 0, 0, 1]);
    for (from, want_med) in [(Some(PeerKind::Internal), None), (None, Some(4))] {
        let mut scene = Scene::new(settings());
        scene.up(1, PeerKind::External);
        let attributes = Attributes {
            med: Some(4),
            local_pref: Some(250),
            extended_communities: vec![transitive, internal_only],
            ..along(&[65010])
        };
        match from {
            Some(kind) => {
                scene.up(0, kind);
                scene.learn(0, one_update(attributes));
            }
            None => scene.rib.originate(v4(), attributes),
        }
        scene.tell(1);
        let want = Attributes {
            med: want_med,
            extended_communities: vec![transitive],
            ..along(&[OUR_AS, 65010])
        };
        assert_eq!(scene.ear(1).told[&v4()], (want, hop("192.0.2.1")), "from {from:?}");
    }
}

#[test]
fn the_next_hop_is_ours_a_third_partys_or_unchanged() {
    use NextHopMode::{Auto, Keep, SelfAddress};
    let (external, internal) = (PeerKind::External, PeerKind::Internal);
    let ours = "192.0.2.1";
    let peers_own = address(1).to_string();
    for (to, mode, shared, via, want) in [
        (external, Auto, false, "198.51.100.1", ours),
        (external, Auto, false, "192.0.2.77", ours),
        (external, Auto, true, "192.0.2.77", "192.0.2.77"),
        (external, Auto, true, "198.51.100.1", ours),
        (external, Auto, true, &peers_own, ours),
        (external, SelfAddress, true, "192.0.2.77", ours),
        (external, Keep, false, "198.51.100.1", "198.51.100.1"),
        (internal, Auto, false, "198.51.100.1", "198.51.100.1"),
        (internal, Auto, true, "192.0.2.77", "192.0.2.77"),
        (internal, SelfAddress, false, "198.51.100.1", ours),
        (internal, Keep, false, "198.51.100.1", "198.51.100.1"),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, external);
        let shared_link = if shared { vec![prefix("192.0.2.0/24")] } else { vec![] };
        let how = RibPeer { next_hop_mode: mode, ..peer(1, to) };
        scene.up_as(1, how, RibSession { shared_link: shared_link.clone(), ..session(1) });
        // A peer in the same group sees to it that the encoding is shared.
        let how = RibPeer { next_hop_mode: mode, ..peer(2, to) };
        scene.up_as(2, how, RibSession { shared_link, ..session(2) });
        scene.tell_all();
        scene.learn(0, announce(&[v4()], hop(via), along(&[65000])));
        scene.tell(2);
        scene.tell(1);
        let what = format!("{to:?} {mode:?} shared: {shared} via {via}");
        assert_eq!(scene.ear(1).told[&v4()].1, hop(want), "{what}");
        scene.rib.originate(prefix("10.9.0.0/16"), along(&[]));
        scene.tell(1);
        assert_eq!(scene.ear(1).told[&prefix("10.9.0.0/16")].1, hop(ours), "{what}, our own");
    }
}

#[test]
fn ipv4_goes_over_ipv6_next_hops_only_where_that_was_agreed() {
    let ours6 = hop("2001:db8::1");
    for (extended, local_v4, via, want) in [
        (false, Some(hop("192.0.2.1")), "198.51.100.1", Some(hop("192.0.2.1"))),
        (false, None, "198.51.100.1", None),
        (true, None, "198.51.100.1", Some(ours6)),
        (true, Some(ours6), "198.51.100.1", Some(ours6)),
        (false, Some(ours6), "198.51.100.1", None),
        (false, Some(hop("192.0.2.1")), "2001:db8::7", Some(hop("192.0.2.1"))),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::Internal);
        let mut with = RibSession { local_v4, ..session(1) };
        with.negotiated.extended_next_hop = extended;
        scene.up_as(1, peer(1, PeerKind::External), with);
        scene.learn(0, announce(&[v4()], hop(via), along(&[])));
        scene.tell(1);
        let told = scene.ear(1).told.get(&v4()).map(|told| told.1);
        assert_eq!(told, want, "extended {extended}, ours {local_v4:?}, via {via}");
    }
}

#[test]
fn a_link_local_next_hop_is_told_on_its_link_only() {
    let both =
        NextHop::V6 { global: "2001:db8::7".parse().unwrap(), link_local: Some(link_local(7)) };
    let alone = NextHop::V6 { global: link_local(7), link_local: None };
    let global = hop("2001:db8::7");
    for (via, link, want) in [
        (both, None, global),
        (both, Some("2001:db8::/64"), both),
        (alone, None, hop("2001:db8::1")),
        (alone, Some("fe80::/64"), alone),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::ReflectorClient);
        let shared_link = link.map(prefix).into_iter().collect();
        let with = RibSession { shared_link, ..session(1) };
        scene.up_as(1, peer(1, PeerKind::Internal), with);
        scene.learn(0, announce(&[prefix("fd00::/48")], via, along(&[])));
        scene.tell(1);
        let told = scene.ear(1).told[&prefix("fd00::/48")].1;
        assert_eq!(told, want, "{via:?} on {link:?}");
    }
}

#[test]
fn the_best_path_moving_to_a_member_withdraws_what_that_member_was_told() {
    let mut scene = Scene::new(settings());
    for number in 0..3 {
        scene.up(number, PeerKind::External);
    }
    scene.learn(0, one_update(along(&[65000, 1])));
    scene.tell_all();
    assert_eq!(scene.ear(1).prefixes(), ["10.1.0.0/16"]);
    scene.learn(1, one_update(along(&[65001])));
    scene.tell_all();
    assert!(scene.ear(1).told.is_empty(), "the path is now its own");
    assert_eq!(scene.ear(0).told[&v4()].0, along(&[OUR_AS, 65001]));
    assert_eq!(scene.ear(2).told[&v4()].0, along(&[OUR_AS, 65001]));
    scene.learn(1, withdraw(&[v4()]));
    scene.tell_all();
    assert!(scene.ear(0).told.is_empty());
    assert_eq!(scene.ear(1).told[&v4()].0, along(&[OUR_AS, 65000, 1]));
}

#[test]
fn the_same_words_from_another_peer_concern_these_two_peers_only() {
    let mut scene = Scene::new(settings());
    for number in 0..3 {
        let how = RibPeer { asn: asn(65000), ..peer(number, PeerKind::External) };
        scene.up_as(number, how, session(number));
    }
    // The second peer's identifier is higher: it takes over when the first one goes.
    scene.learn(0, one_update(along(&[65000])));
    scene.learn(1, one_update(along(&[65000])));
    scene.tell_all();
    assert_eq!([0, 1, 2].map(|number| scene.ear(number).told.len()), [0, 1, 1]);
    scene.learn(0, withdraw(&[v4()]));
    scene.tell_all();
    assert_eq!([0, 1, 2].map(|number| scene.ear(number).told.len()), [1, 0, 1]);
    assert_eq!(scene.ear(2).heard_announcements(), 1, "nothing has changed for the third");
}

#[test]
fn a_change_is_encoded_once_for_all_peers_that_are_told_the_same() {
    let mut scene = Scene::new(settings());
    for number in 0..20 {
        scene.up(number, PeerKind::ReflectorClient);
    }
    scene.up(20, PeerKind::External);
    scene.tell_all();
    let prefixes: Vec<Prefix> = (0..100).map(numbered).collect();
    let before = scene.rib.totals();
    assert_eq!(before.groups, 2);
    scene.learn(20, announce(&prefixes, hop("198.51.100.1"), along(&[65020])));
    scene.tell_all();
    assert_eq!(scene.rib.totals().encoded - before.encoded, 100);
    for number in 0..20 {
        assert_eq!(scene.ear(number).told.len(), 100);
        assert_eq!(scene.ear(number).messages, 3, "two End-of-RIB and one UPDATE");
    }
    scene.learn(20, withdraw(&prefixes));
    scene.tell_all();
    assert_eq!(scene.rib.totals().encoded - before.encoded, 200);
    assert!((0..20).all(|number| scene.ear(number).told.is_empty()));
}

#[test]
fn withdrawals_go_before_announcements() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    let old: Vec<Prefix> = (0..10).map(numbered).collect();
    scene.learn(0, announce(&old, hop("198.51.100.1"), along(&[65000])));
    scene.tell_all();
    // Far more news than fits in a turn, and the withdrawals come last.
    for number in 1000..9000 {
        scene.learn(
            0,
            announce(
                &[numbered(number)],
                hop("198.51.100.1"),
                Attributes { med: Some(number), ..along(&[65000, number]) },
            ),
        );
    }
    scene.learn(0, withdraw(&old));
    let advertisement = scene.rib.advertise(PeerId(1), 100);
    assert!(advertisement.more);
    let heard = scene.ear(1).heard.len();
    scene.ears.get_mut(&1).unwrap().listen(&advertisement);
    let first = &scene.ear(1).heard[heard..heard + 10];
    assert!(first.iter().all(|heard| matches!(heard, Heard::Withdrawn(_))), "{first:?}");
}

#[test]
fn what_was_announced_and_withdrawn_before_it_was_told_is_not_told_at_all() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.tell_all();
    let heard = scene.ear(1).heard.len();
    scene.learn(0, one_update(along(&[65000])));
    scene.learn(0, withdraw(&[v4()]));
    scene.tell(1);
    assert_eq!(scene.ear(1).heard.len(), heard);
}

#[test]
fn a_change_that_does_not_show_on_the_wire_is_not_told() {
    let mut scene = Scene::new(RibSettings { track_next_hops: true, ..settings() });
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.learn(0, one_update(along(&[65000])));
    scene.rib.take_next_hops();
    scene.rib.resolve(hop("198.51.100.1"), Some(1));
    scene.tell_all();
    assert_eq!(scene.ear(1).heard_announcements(), 1);
    scene.rib.resolve(hop("198.51.100.1"), Some(2));
    scene.learn(0, one_update(along(&[65000])));
    assert!(scene.rib.take_woken().is_empty());
    scene.tell(1);
    assert_eq!(scene.ear(1).heard_announcements(), 1);
}

#[test]
fn a_stuck_peer_costs_prefixes_not_changes() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.up(2, PeerKind::External);
    scene.tell_all();
    let prefixes: Vec<Prefix> = (0..1000).map(numbered).collect();
    let mut most = (0, 0);
    for round in 0..1000 {
        let attributes = Attributes { med: Some(round), ..along(&[65000, 1 + round]) };
        scene.learn(0, announce(&prefixes, hop("198.51.100.1"), attributes));
        if round % 5 == 4 {
            scene.learn(0, withdraw(&prefixes[..500]));
        }
        // The first peer never reads; the second one keeps up and hears all.
        while scene.rib.advertise(PeerId(2), 65536).more {}
        scene.rib.take_changes();
        let totals = scene.rib.totals();
        most = (most.0.max(totals.noted), most.1.max(totals.held_octets));
        assert_eq!(totals.attributes, 1, "no old attributes are kept for it");
        assert!(totals.prefixes[0] <= 1000);
    }
    // A million changes and more; the bounds do not depend on that number.
    assert!(most.0 <= (1 << 16) + 2000, "{} entries", most.0);
    assert!(most.1 <= 9 << 20, "{} octets", most.1);
    scene.tell(0);
    scene.tell(1);
    assert_eq!(scene.ear(1).told.len(), 500);
    assert_eq!(scene.ear(1).heard_announcements(), 500, "and it is told the latest state only");
    assert_eq!(scene.rib.totals().noted, 0);
}

#[test]
fn prefixes_that_share_attributes_travel_together_however_they_came() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.tell_all();
    let before = scene.ear(1).messages;
    for number in 0..1000 {
        let attributes = along(&[65000, 1 + number % 4]);
        scene.learn(0, announce(&[numbered(number)], hop("198.51.100.1"), attributes));
    }
    scene.tell(1);
    assert_eq!(scene.ear(1).told.len(), 1000);
    assert_eq!(scene.ear(1).messages - before, 4, "1000 octets of prefixes fit in each");
}

#[test]
fn a_new_session_hears_everything_and_then_the_end_while_changes_go_on() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::Internal);
    let count = 10_000;
    for number in 0..count {
        let attributes = Attributes { med: Some(number), ..along(&[65010]) };
        scene.learn(0, announce(&[numbered(number)], hop("198.51.100.1"), attributes));
    }
    scene.up(1, PeerKind::ReflectorClient);
    let mut turns = 0;
    loop {
        let advertisement = scene.rib.advertise(PeerId(1), 1000);
        scene.ears.get_mut(&1).unwrap().listen(&advertisement);
        turns += 1;
        if turns < 4 {
            // One that was told, one that was not, and a new one.
            scene.learn(0, withdraw(&[numbered(turns), numbered(count - turns)]));
            let update = announce(&[numbered(count + turns)], hop("198.51.100.1"), along(&[65010]));
            scene.learn(0, update);
        }
        if !advertisement.more {
            break;
        }
    }
    assert!(turns >= 4, "the walk is done in steps, {turns}");
    let ear = scene.ear(1);
    assert_eq!(ear.told.len(), count as usize - 3);
    let ends: Vec<usize> =
        (0..ear.heard.len()).filter(|&at| matches!(ear.heard[at], Heard::EndOfRib(_))).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends[0] >= count as usize - 6, "the end comes last: {ends:?}");
}

#[test]
fn a_refresh_tells_a_family_again_between_marks_where_agreed() {
    for enhanced in [false, true] {
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::External);
        let mut with = session(1);
        with.negotiated.enhanced_refresh = enhanced;
        scene.up_as(1, peer(1, PeerKind::External), with);
        scene.learn(0, one_update(along(&[65000])));
        scene.tell_all();
        let heard = scene.ear(1).heard.len();
        scene.rib.refresh(PeerId(1), Family::Ipv4Unicast);
        assert_eq!(scene.rib.take_woken().last(), Some(&PeerId(1)));
        scene.tell(1);
        let again = Heard::Announced(v4());
        let want = match enhanced {
            true => vec![Heard::Mark(Refresh::Begin), again, Heard::Mark(Refresh::End)],
            false => vec![again],
        };
        assert_eq!(scene.ear(1).heard[heard..], want, "enhanced: {enhanced}");
    }
}

#[test]
fn a_changed_export_policy_sends_the_difference() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.up(2, PeerKind::External);
    let prefixes = [prefix("10.1.0.0/16"), prefix("10.2.0.0/16"), prefix("10.3.0.0/16")];
    scene.learn(0, announce(&prefixes, hop("198.51.100.1"), along(&[65000])));
    let export = |cidr| RibPeer { export: filter("some", cidr), ..peer(1, PeerKind::External) };
    scene.rib.configure_peer(PeerId(1), export("10.2.0.0/15"));
    scene.tell_all();
    assert_eq!(scene.ear(1).prefixes(), ["10.2.0.0/16", "10.3.0.0/16"]);
    let heard = scene.ear(1).heard.len();
    scene.rib.configure_peer(PeerId(1), export("10.0.0.0/14"));
    scene.tell_all();
    assert_eq!(scene.ear(1).heard[heard..], [Heard::Announced(prefixes[0])]);
    let heard = scene.ear(1).heard.len();
    scene.rib.configure_peer(PeerId(1), export("10.2.0.0/16"));
    scene.tell_all();
    let want = [Heard::Withdrawn(prefixes[0]), Heard::Withdrawn(prefixes[2])];
    assert_eq!(scene.ear(1).heard[heard..], want);
    assert_eq!(scene.ear(2).heard_announcements(), 3, "the others notice nothing");
}

#[test]
fn news_of_a_removed_peer_or_a_session_that_is_over_change_nothing() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.learn(0, one_update(along(&[65000])));
    scene.tell_all();
    for is_removed in [false, true] {
        if is_removed {
            scene.rib.remove_peer(PeerId(0));
        } else {
            scene.rib.session_down(PeerId(0));
        }
        scene.learn(0, one_update(along(&[65000])));
        scene.rib.end_of_rib(PeerId(0), Family::Ipv4Unicast);
        scene.rib.refresh(PeerId(0), Family::Ipv4Unicast);
        assert!(scene.rib.paths(&v4()).is_empty(), "removed: {is_removed}");
        assert!(!scene.rib.is_synced(PeerId(0)), "removed: {is_removed}");
        assert!(scene.rib.advertise(PeerId(0), 4096).messages.is_empty());
        scene.tell(1);
        assert!(scene.ear(1).told.is_empty(), "removed: {is_removed}");
    }
    scene.rib.session_up(PeerId(0), session(0));
    assert_eq!(scene.rib.counts(PeerId(0), Family::Ipv4Unicast), None);
    assert!(scene.rib.take_woken().is_empty());
}

#[test]
fn a_peer_is_in_sync_after_the_end_of_every_agreed_family() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    for (family, want) in [(Family::Ipv4Unicast, false), (Family::Ipv6Unicast, true)] {
        scene.rib.end_of_rib(PeerId(0), family);
        assert_eq!(scene.rib.is_synced(PeerId(0)), want, "after {family}");
    }
    scene.rib.session_up(PeerId(0), session(0));
    assert!(!scene.rib.is_synced(PeerId(0)), "a new session begins anew");
}

#[test]
fn a_family_that_was_not_agreed_is_neither_taken_nor_told() {
    let mut scene = Scene::new(settings());
    let mut with = session(0);
    with.negotiated.families = vec![Family::Ipv6Unicast];
    scene.up_as(0, peer(0, PeerKind::External), with);
    scene.learn(0, one_update(along(&[65000])));
    scene.rib.originate(prefix("10.9.0.0/16"), along(&[]));
    scene.tell_all();
    assert!(scene.rib.paths(&v4()).is_empty());
    assert_eq!(scene.ear(0).heard, [Heard::EndOfRib(Family::Ipv6Unicast)]);
}

#[test]
fn next_hops_decide_whether_paths_are_used() {
    let mut scene = Scene::new(RibSettings { track_next_hops: true, ..settings() });
    scene.up(0, PeerKind::Internal);
    scene.up(1, PeerKind::Internal);
    scene.learn(0, announce(&[v4()], address_hop(0), along(&[])));
    scene.learn(1, announce(&[v4()], address_hop(1), along(&[])));
    assert_eq!(scene.rib.take_next_hops(), (vec![address_hop(0), address_hop(1)], vec![]));
    let now = |scene: &mut Scene| scene.rib.take_changes().pop().map(|change| change.now);
    assert_eq!(now(&mut scene), None);
    assert_eq!(scene.rib.paths(&v4())[0].status, PathStatus::Unreachable);
    let via = |number| Some(Forwarding::Via(vec![address_hop(number)]));
    for (number, cost, want) in [
        (0, Some(5), via(0)),
        (1, Some(5), None), // the lower identifier stays best
        (1, Some(4), via(1)),
        (1, None, via(0)),
        (0, None, Some(Forwarding::None)),
    ] {
        scene.rib.resolve(address_hop(number), cost);
        assert_eq!(now(&mut scene), want, "{number} at {cost:?}");
    }
    scene.rib.session_down(PeerId(1));
    assert_eq!(scene.rib.take_next_hops(), (vec![], vec![address_hop(1)]));
}

#[test]
fn our_own_routes_come_first() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::Internal);
    scene.learn(0, one_update(Attributes { local_pref: Some(u32::MAX), ..along(&[]) }));
    scene.rib.take_changes();
    scene.rib.originate(v4(), along(&[]));
    assert_eq!(scene.rib.take_changes()[0].now, Forwarding::Local);
    let statuses: Vec<_> = scene.rib.paths(&v4()).into_iter().map(|path| path.status).collect();
    assert_eq!(statuses, [PathStatus::Best, PathStatus::Lost(Reason::Local)]);
    scene.rib.withdraw(&v4());
    assert_eq!(scene.rib.take_changes()[0].now, Forwarding::Via(vec![hop("198.51.100.1")]));
}

#[test]
fn an_address_is_looked_up_by_its_longest_usable_prefix() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"] {
        scene.learn(0, announce(&[prefix(text)], hop("198.51.100.1"), along(&[65000])));
    }
    // The longest one is not usable.
    let looped = along(&[65000, OUR_AS]);
    scene.learn(0, announce(&[prefix("10.1.1.0/24")], hop("198.51.100.1"), looped));
    for (address, want) in
        [("10.1.1.1", "10.1.0.0/16"), ("10.2.0.1", "10.0.0.0/8"), ("11.0.0.1", "0.0.0.0/0")]
    {
        let found = scene.rib.lookup(address.parse().unwrap());
        assert_eq!(found.map(|(prefix, _)| prefix.to_string()).as_deref(), Some(want), "{address}");
    }
    assert!(scene.rib.lookup("fd00::1".parse().unwrap()).is_none());
}

#[test]
fn pages_together_list_every_prefix_once_and_in_order() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::Internal);
    let mut prefixes: Vec<Prefix> = (0..100).map(|number| numbered(number * 37 % 100)).collect();
    scene.learn(0, announce(&prefixes, hop("198.51.100.1"), along(&[65000])));
    scene.learn(1, announce(&prefixes[..40], hop("198.51.100.2"), along(&[65010, 65011])));
    scene.tell_all();
    prefixes.sort_unstable();
    let read = |page: &dyn Fn(Option<&Prefix>) -> Page<Prefix>| {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = page(after.as_ref());
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    };
    let names = |page: Page<PathView>| Page {
        rows: page.rows.into_iter().map(|row| row.prefix).collect(),
        next: page.next,
    };
    let family = Family::Ipv4Unicast;
    for (which, want) in [
        (Which::Used, 100),
        (Which::All, 140),
        (Which::From(PeerId(1)), 40),
        (Which::Refused, 0),
        (Which::From(PeerId(99)), 0),
    ] {
        let rows = read(&|after| names(scene.rib.page(family, which, after, 7)));
        assert_eq!(rows.len(), want, "{which:?}");
        assert!(rows.is_sorted(), "{which:?}");
        if which == Which::Used {
            assert_eq!(rows, prefixes);
        }
    }
    let told = read(&|after| {
        let page = scene.rib.told(PeerId(1), family, after, 7);
        Page { rows: page.rows.into_iter().map(|row| row.prefix).collect(), next: page.next }
    });
    assert_eq!(told, prefixes, "what came from outside is best and told inside");
}

#[test]
fn the_ear_of_these_tests_minds_a_needless_withdrawal() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.learn(0, one_update(along(&[65000])));
    scene.tell(1);
    scene.learn(0, withdraw(&[v4()]));
    let advertisement = scene.rib.advertise(PeerId(1), 4096);
    let mut deaf = Ear::new(&peer(1, PeerKind::External), &session(1));
    let heard =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| deaf.listen(&advertisement)));
    assert!(heard.is_err());
}
