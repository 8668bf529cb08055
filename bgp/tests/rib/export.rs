//! What peers are told of a path, and who is told at all.

use brindle_bgp::msg::{Attributes, Community, ExtendedCommunity, NextHop};
use brindle_bgp::net::{ClusterId, Family, RouterId};
use brindle_bgp::rib::{NextHopMode, OwnRoute, PeerId, PeerKind, RibPeer, RibSession};

use crate::support::{
    Heard, KINDS, OUR_AS, OUR_CLUSTER, Scene, address, along, announce, asn, filter, from_peer,
    hop, link_local, one_update, peer, prefix, session, settings, v4, with_community, withdraw,
};

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
                        scene.rib.originate(
                            prefix,
                            with_community(community, &[]),
                            OwnRoute::Local,
                        );
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
            None => scene.rib.originate(v4(), attributes, OwnRoute::Local),
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
        scene.rib.originate(prefix("10.9.0.0/16"), along(&[]), OwnRoute::Local);
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
