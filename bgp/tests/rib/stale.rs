//! What is kept of a session that is over, and what ends it.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::msg::NextHop;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{
    Forwarding, Owned, PathStatus, PeerId, PeerKind, PeerPolicy, Reason, Refusal, RibPeer,
    RibSettings, Stale,
};

use crate::support::{
    Heard, Scene, address_hop, along, announce, numbered, peer, prefix, refusal, session, settings,
    withdraw,
};

const BOTH: [Option<Stale>; 2] = [Some(Stale::Owned); 2];
const V4: Family = Family::Ipv4Unicast;

/// A mesh peer that owns 10.1.`number`.0/24.
fn owner(number: u32) -> RibPeer {
    let owned = PeerPolicy::Owned([numbered(256 + number)].into());
    RibPeer { import: owned, ..peer(number, PeerKind::Internal) }
}

fn owned(number: u32) -> Prefix {
    numbered(256 + number)
}

/// Peer 0 and what it owns, on-link; peer 9 listens, as a client.
fn mesh() -> Scene {
    let mut scene = Scene::new(RibSettings { track_next_hops: true, multipath: 4, ..settings() });
    scene.up_as(0, owner(0), session(0));
    scene.up(9, PeerKind::ReflectorClient);
    scene.learn(0, announce(&[owned(0)], address_hop(0), along(&[])));
    scene.rib.take_next_hops();
    scene.rib.resolve(address_hop(0), Some(0));
    scene
}

fn via(hops: &[NextHop]) -> Option<Forwarding> {
    Some(Forwarding::Via(hops.to_vec()))
}

/// The last change of the forwarding of peer 0's prefix.
fn now(scene: &mut Scene) -> Option<Forwarding> {
    let of = owned(0);
    let changes = scene.rib.take_changes();
    changes.into_iter().rev().find(|change| change.prefix == of).map(|change| change.now)
}

fn stale(scene: &Scene, peer: u32) -> usize {
    scene.rib.counts(PeerId(peer), V4).unwrap().stale
}

#[test]
fn what_is_kept_goes_on_being_used_and_nobody_is_told_of_a_change() {
    let mut scene = mesh();
    assert_eq!(now(&mut scene), via(&[address_hop(0)]));
    scene.tell_all();
    let heard = scene.ear(9).heard.len();
    scene.rib.session_lost(PeerId(0), BOTH);
    assert_eq!((now(&mut scene), stale(&scene, 0)), (None, 1));
    assert_eq!(scene.rib.stale(PeerId(0), V4), Some(Stale::Owned));
    let path = scene.rib.paths(&owned(0)).remove(0);
    assert_eq!((path.status, path.stale), (PathStatus::Best, Some(Stale::Owned)));
    // It comes back and says the same.
    scene.rib.session_up(PeerId(0), session(0));
    assert_eq!(stale(&scene, 0), 1, "until it is told again");
    scene.learn(0, announce(&[owned(0)], address_hop(0), along(&[])));
    scene.rib.end_of_rib(PeerId(0), V4);
    assert_eq!((now(&mut scene), stale(&scene, 0)), (None, 0));
    assert_eq!(scene.rib.stale(PeerId(0), V4), None);
    scene.tell(9);
    assert_eq!(scene.ear(9).heard.len(), heard, "{:?}", scene.ear(9).heard);
}

#[test]
fn each_of_these_ends_it_at_once() {
    type End = fn(&mut Scene);
    let ends: [(&str, End); 8] = [
        ("given up", |scene| scene.rib.drop_stale(PeerId(0), V4)),
        ("removed", |scene| scene.rib.remove_peer(PeerId(0))),
        ("not told again", |scene| {
            scene.rib.session_up(PeerId(0), session(0));
            scene.rib.end_of_rib(PeerId(0), V4);
        }),
        ("withdrawn", |scene| {
            scene.rib.session_up(PeerId(0), session(0));
            scene.learn(0, withdraw(&[owned(0)]));
        }),
        ("lost again and not kept", |scene| {
            scene.rib.session_up(PeerId(0), session(0));
            scene.rib.session_down(PeerId(0));
        }),
        ("a session without the family", |scene| {
            let mut other = session(0);
            other.negotiated.families = vec![Family::Ipv6Unicast];
            scene.rib.session_up(PeerId(0), other);
        }),
        ("owned by another", |scene| scene.rib.configure_peer(PeerId(0), owner(1).named_as(0))),
        ("its next hop is ours", |scene| {
            scene.rib.set_own_addresses(vec![address_hop(0).address()]);
        }),
    ];
    for (name, end) in ends {
        let mut scene = mesh();
        scene.tell_all();
        scene.rib.session_lost(PeerId(0), BOTH);
        now(&mut scene);
        end(&mut scene);
        assert_eq!(now(&mut scene), Some(Forwarding::None), "{name}");
        assert!(scene.rib.paths(&owned(0)).is_empty(), "{name}");
        scene.tell(9);
        assert_eq!(scene.ear(9).heard.last(), Some(&Heard::Withdrawn(owned(0))), "{name}");
    }
}

trait NamedAs {
    fn named_as(self, number: u32) -> Self;
}

impl NamedAs for RibPeer {
    fn named_as(self, number: u32) -> Self {
        let RibPeer { name, address, .. } = owner(number);
        Self { name, address, ..self }
    }
}

#[test]
fn it_rests_while_the_next_hop_is_not_on_link() {
    let mut scene = mesh();
    scene.rib.session_lost(PeerId(0), BOTH);
    now(&mut scene);
    for (cost, want) in [
        (Some(5), Some(Forwarding::None)),
        (None, None),
        (Some(0), via(&[address_hop(0)])),
        (None, Some(Forwarding::None)),
    ] {
        scene.rib.resolve(address_hop(0), cost);
        assert_eq!(now(&mut scene), want, "{cost:?}");
        assert_eq!(stale(&scene, 0), 1);
    }
}

#[test]
fn a_live_path_comes_before_any_that_is_kept_and_is_not_mixed_with_it() {
    let mut scene = mesh();
    scene.up(1, PeerKind::Internal);
    scene.learn(1, announce(&[owned(0)], address_hop(1), along(&[65001, 65002])));
    scene.rib.take_next_hops();
    scene.rib.resolve(address_hop(1), Some(7));
    assert_eq!(now(&mut scene), via(&[address_hop(0)]), "shorter and nearer");
    scene.rib.session_lost(PeerId(0), BOTH);
    assert_eq!(now(&mut scene), via(&[address_hop(1)]));
    let lost = scene.rib.paths(&owned(0)).remove(1);
    assert_eq!((lost.status, lost.stale), (PathStatus::Lost(Reason::Stale), Some(Stale::Owned)));
    scene.rib.session_down(PeerId(1));
    assert_eq!(now(&mut scene), via(&[address_hop(0)]), "nothing else is left");
    // Two that are both kept are as equal as they were.
    scene.rib.session_up(PeerId(1), session(1));
    scene.learn(1, announce(&[owned(0)], address_hop(1), along(&[])));
    scene.rib.take_next_hops();
    scene.rib.resolve(address_hop(1), Some(0));
    scene.rib.session_lost(PeerId(1), BOTH);
    assert_eq!(now(&mut scene), via(&[address_hop(0), address_hop(1)]));
}

#[test]
fn what_an_earlier_run_learned_is_taken_over_if_it_may_be_told() {
    let mut scene = Scene::new(RibSettings { track_next_hops: true, ..settings() });
    scene.rib.configure_peer(PeerId(0), owner(0));
    let external = RibPeer { asn: peer(1, PeerKind::External).asn, ..owner(1) };
    scene.rib.configure_peer(PeerId(1), RibPeer { kind: PeerKind::External, ..external });
    scene.up_as(2, owner(2), session(2));
    for (peer, prefix, want, why) in [
        (0, owned(0), true, "its own"),
        (0, owned(0), false, "it has it already"),
        (0, owned(5), false, "another's"),
        (1, owned(1), true, "of another AS"),
        (2, owned(2), false, "it has a session, and will tell"),
        (7, owned(7), false, "unknown"),
    ] {
        let got = scene.rib.adopt(PeerId(peer), prefix, address_hop(peer), Stale::Owned);
        assert_eq!(got, want, "{why}");
    }
    assert_eq!(scene.rib.take_next_hops(), (vec![address_hop(0), address_hop(1)], vec![]));
    scene.rib.resolve(address_hop(0), Some(0));
    assert_eq!(now(&mut scene), via(&[address_hop(0)]));
    // Judged anew, it is still good; and its session ends it.
    scene.rib.set_own_addresses(vec!["192.0.2.1".parse().unwrap()]);
    assert_eq!((stale(&scene, 0), stale(&scene, 1)), (1, 1));
    scene.rib.session_up(PeerId(0), session(0));
    scene.rib.end_of_rib(PeerId(0), V4);
    assert_eq!(now(&mut scene), Some(Forwarding::None));
}

#[test]
fn a_reflector_may_tell_what_belongs_to_the_next_hop_and_nothing_else() {
    let owners = [(1, owned(1)), (2, owned(2))];
    let owners =
        owners.map(|(number, range)| (address_hop(number).address(), Owned::from([range])));
    let import = PeerPolicy::OwnedByNextHop(Arc::new(owners.into()));
    let mut scene = Scene::new(settings());
    scene.up_as(0, RibPeer { import, ..peer(0, PeerKind::Internal) }, session(0));
    for (range, next_hop, want) in [
        (owned(1), 1, None),
        (prefix("10.1.1.128/25"), 1, None),
        (owned(1), 2, Some(Refusal::NotOwned)),
        (owned(2), 7, Some(Refusal::NotOwned)),
        (prefix("0.0.0.0/0"), 1, Some(Refusal::NotOwned)),
    ] {
        scene.learn(0, announce(&[range], address_hop(next_hop), along(&[])));
        assert_eq!(refusal(&scene.rib, &range), want, "{range} via {next_hop}");
    }
}

#[test]
fn what_is_refused_for_its_owner_is_told_once_each_time_that_it_is() {
    let mut scene = mesh();
    let thief = |range: &str| vec![(PeerId(0), prefix(range))];
    assert_eq!(scene.rib.take_refusals(), vec![]);
    let stolen = announce(&[prefix("10.9.0.0/16")], address_hop(0), along(&[]));
    scene.learn(0, stolen.clone());
    assert_eq!(scene.rib.take_refusals(), thief("10.9.0.0/16"));
    scene.learn(0, stolen.clone());
    assert_eq!(scene.rib.take_refusals(), vec![], "it is known");
    scene.learn(0, withdraw(&[prefix("10.9.0.0/16")]));
    scene.learn(0, stolen);
    scene.learn(0, withdraw(&[prefix("10.9.0.0/16")]));
    assert_eq!(scene.rib.take_refusals(), vec![], "gone again before anybody asked");
    // A next hop that is ours is another matter.
    let own: IpAddr = "203.0.113.9".parse().unwrap();
    scene.rib.set_own_addresses(vec![own]);
    scene.learn(0, announce(&[prefix("10.9.0.0/16")], own.into(), along(&[])));
    assert_eq!(scene.rib.take_refusals(), vec![]);
    // What it had is not its own any more.
    scene.rib.configure_peer(PeerId(0), owner(1).named_as(0));
    assert_eq!(scene.rib.take_refusals(), vec![(PeerId(0), owned(0))]);
}

#[test]
fn what_goes_goes_before_anything_comes() {
    let mut scene = mesh();
    let new = prefix("10.0.5.0/24");
    scene.learn(0, announce(&[new], address_hop(0), along(&[])));
    now(&mut scene);
    let owned_now = RibPeer { import: PeerPolicy::Owned([new].into()), ..owner(0) };
    scene.rib.configure_peer(PeerId(0), owned_now);
    let changes = scene.rib.take_changes();
    let order: Vec<_> =
        changes.iter().map(|change| (change.prefix, change.now == Forwarding::None)).collect();
    assert_eq!(order, [(owned(0), true), (new, false)]);
    // The other way round, so that it is not the order of the table.
    scene.rib.configure_peer(PeerId(0), owner(0));
    let changes = scene.rib.take_changes();
    assert_eq!(changes[0].prefix, new, "{changes:?}");
    assert_eq!(changes[1].prefix, owned(0), "{changes:?}");
}
