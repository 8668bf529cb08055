//! What is taken from peers, refused or forgotten.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::filter::{Condition, Filter, FilterAction, FilterRule, MatchOperator};
use brindle_bgp::msg::{AsPath, AsSegment, Attributes, Community, NextHop, SegmentKind};
use brindle_bgp::net::{ClusterId, Family, RouterId};
use brindle_bgp::rib::{
    Forwarding, OwnRoute, Owned, PathStatus, PeerId, PeerKind, PeerPolicy, Reason, Refusal,
    RibPeer, RibSession, RibSettings, SessionLink,
};

use crate::support::{
    Heard, OUR_AS, OUR_CLUSTER, OUR_ID, Scene, address_hop, along, announce, asn, filter,
    from_peer, hop, link_local, one_update, path_of, peer, prefix, refusal, session, settings, v4,
};

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
    let exactly = |text| {
        let exactly = vec![Arc::new([prefix(text)].into())];
        PeerPolicy::Owned(Owned { exactly, ..Owned::default() })
    };
    // As BGPFilters of a node's session come down to: its own rules, and then who owns what.
    let with_owners = |text| {
        let stands_in = Some(("objects importV4".into(), 3));
        let nothing_long = vec![Condition::PrefixLengths(17..=32)];
        let refuses = FilterRule::new(FilterAction::Reject, nothing_long);
        let accepts = Condition::Cidr(MatchOperator::In, prefix("10.2.0.0/16"));
        let accepts = FilterRule::new(FilterAction::Accept, vec![accepts]);
        let rules = vec![FilterRule { stands_in, ..refuses }, accepts];
        let filter = Filter { ends_in_ownership: true, ..Filter::new("objects", rules) };
        (PeerPolicy::Filters(vec![filter.into()]), prefix(text))
    };
    for (text, want) in [
        ("10.1.0.0/16", Some(Refusal::NotOwned)),
        ("10.2.0.0/24", Some(Refusal::Filter("objects importV4".into(), Some(3)))),
        ("10.2.0.0/16", None),
    ] {
        let (import, told) = with_owners(text);
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::External);
        scene.rib.configure_peer(PeerId(0), RibPeer { import, ..peer(0, PeerKind::External) });
        scene.learn(0, announce(&[told], hop("198.51.100.1"), along(&[65000])));
        assert_eq!(refusal(&scene.rib, &told), want, "{text}");
        let is_foreign = want == Some(Refusal::NotOwned);
        let noted = if is_foreign { vec![(PeerId(0), told)] } else { vec![] };
        assert_eq!(scene.rib.take_refusals(), noted, "{text}");
    }
    for (policy, want) in [
        (PeerPolicy::AcceptAll, None),
        (PeerPolicy::RefuseUnfiltered, Some(Refusal::Unfiltered)),
        (filter("cluster", "10.2.0.0/16"), Some(Refusal::Filter("cluster".into(), None))),
        (filter("cluster", "10.0.0.0/8"), None),
        (owned, Some(Refusal::NotOwned)),
        (exactly("10.0.0.0/8"), Some(Refusal::NotOwned)),
        (exactly("10.1.0.0/16"), None),
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
    scene.rib.originate(prefix("10.9.0.0/16"), along(&[]), OwnRoute::Local);
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
    scene.rib.originate(v4(), along(&[]), OwnRoute::Local);
    assert_eq!(scene.rib.take_changes()[0].now, Forwarding::Local);
    scene.rib.originate(v4(), along(&[]), OwnRoute::Service);
    assert_eq!(scene.rib.take_changes()[0].now, Forwarding::None, "others take its packets");
    scene.rib.originate(v4(), along(&[]), OwnRoute::Local);
    assert_eq!(scene.rib.take_changes()[0].now, Forwarding::Local);
    let statuses: Vec<_> = scene.rib.paths(&v4()).into_iter().map(|path| path.status).collect();
    assert_eq!(statuses, [PathStatus::Best, PathStatus::Lost(Reason::Local)]);
    scene.rib.withdraw(&v4());
    assert_eq!(scene.rib.take_changes()[0].now, Forwarding::Via(vec![hop("198.51.100.1")]));
}

#[test]
fn a_link_local_next_hop_is_on_the_link_of_its_session() {
    let (global, ll) = ("2001:db8::7".parse().unwrap(), link_local(7));
    let v6 = |global, link_local| NextHop::V6 { global, link_local };
    let on = |is_unnumbered| Some(SessionLink { number: 3, is_unnumbered });
    let on_link = NextHop::Link { address: ll, link: 3 };
    for (told, link, want) in [
        (v6(global, Some(ll)), None, v6(global, Some(ll))),
        (v6(ll, None), None, v6(ll, None)),
        (v6(global, Some(ll)), on(false), v6(global, Some(ll))),
        (v6(ll, None), on(false), on_link),
        (v6(ll, Some(ll)), on(false), on_link),
        (v6(global, Some(ll)), on(true), on_link),
        (v6(ll, None), on(true), on_link),
        (v6(global, None), on(true), v6(global, None)),
        (hop("192.0.2.7"), on(true), hop("192.0.2.7")),
    ] {
        let settings = RibSettings { track_next_hops: true, ..settings() };
        let mut scene = Scene::new(settings);
        // What is ours on some link may be another's on another.
        scene.rib.set_own_addresses(vec![ll.into()]);
        let with = RibSession { link, ..session(0) };
        scene.up_as(0, peer(0, PeerKind::External), with);
        let prefix = prefix("10.7.0.0/16");
        scene.learn(0, announce(&[prefix], told, along(&[65000])));
        let is_refused = want.link().is_none() && want.address() == IpAddr::from(ll);
        let kept: Vec<NextHop> = scene.rib.take_next_hops().0;
        let kept = kept.first().copied();
        assert_eq!(kept, (!is_refused).then_some(want), "{told:?} on {link:?}");
    }
}
