//! Reflectors behind reflectors (RFC 4456 §7-8): who passed a path on is told in order and
//! whole, and what comes round again is refused.

use brindle_bgp::msg::{AsPath, Attributes, NextHop, Update};
use brindle_bgp::net::{ClusterId, RouterId};
use brindle_bgp::rib::{PathStatus, PeerKind, Refusal, RibSession, RibSettings};

use crate::support::{Scene, announce, asn, hop, peer, session, settings, v4};

const ABOVE: u32 = 1;
const BELOW: u32 = 2;

/// A reflector with this number as identifier and cluster, a reflector above it and a client
/// below it.
fn reflector(number: u32) -> Scene {
    let mut scene = Scene::new(RibSettings {
        router_id: RouterId::new(number).unwrap(),
        cluster_id: ClusterId(number),
        ..settings()
    });
    scene.up(ABOVE, PeerKind::Internal);
    scene.up_as(BELOW, peer(BELOW, PeerKind::ReflectorClient), by_router(BELOW, number - 1));
    scene
}

/// The session with a peer whose identifier is this.
fn by_router(number: u32, id: u32) -> RibSession {
    let mut with = session(number);
    with.negotiated.their_open.router_id = RouterId::new(id.max(1)).unwrap();
    with
}

/// What a reflector tells one of the two.
fn told(scene: &mut Scene, to: u32) -> (Attributes, NextHop) {
    scene.tell(to);
    scene.ear(to).told[&v4()].clone()
}

fn as_update((attributes, next_hop): (Attributes, NextHop)) -> Update {
    announce(&[v4()], next_hop, attributes)
}

#[test]
fn a_chain_of_three_reflectors_tells_who_passed_a_path_on_and_changes_nothing_else() {
    const ORIGIN: u32 = 100;
    let mut chain = [101, 102, 103].map(reflector);
    let sent = Attributes {
        as_path: AsPath::sequence([asn(65010)]),
        local_pref: Some(250),
        med: Some(7),
        ..Attributes::default()
    };
    let mut update = announce(&[v4()], hop("198.51.100.1"), sent.clone());
    let mut clusters = Vec::new();
    for (number, scene) in (101..).zip(&mut chain) {
        scene.learn(BELOW, update);
        clusters.insert(0, ClusterId(number));
        let (attributes, next_hop) = told(scene, ABOVE);
        let want = Attributes {
            originator_id: RouterId::new(ORIGIN).ok(),
            cluster_list: clusters.clone(),
            ..sent.clone()
        };
        assert_eq!((&attributes, next_hop), (&want, hop("198.51.100.1")));
        update = as_update((attributes, next_hop));
    }
    // It comes round: each reflector finds itself, and the origin does, too.
    for scene in &mut chain {
        scene.learn(ABOVE, update.clone());
        let paths = scene.rib.paths(&v4());
        let statuses: Vec<_> = paths.iter().map(|path| path.status.clone()).collect();
        let refused = PathStatus::Refused(Refusal::ClusterLoop);
        assert_eq!(statuses, [PathStatus::Best, refused]);
        scene.tell_all();
        assert!(!scene.ear(BELOW).told.contains_key(&v4()), "back to where it came from");
    }
    let mut origin = Scene::new(RibSettings {
        router_id: RouterId::new(ORIGIN).unwrap(),
        cluster_id: ClusterId(ORIGIN),
        ..settings()
    });
    origin.up(ABOVE, PeerKind::Internal);
    origin.learn(ABOVE, update);
    let paths = origin.rib.paths(&v4());
    assert_eq!(paths[0].status, PathStatus::Refused(Refusal::OriginatorLoop));
}

#[test]
fn a_list_of_64_clusters_passes_whole_and_in_order() {
    let before: Vec<ClusterId> = (1..=64).map(|n| ClusterId(0x0B00_0000 + n)).collect();
    let attributes = Attributes {
        as_path: AsPath::default(),
        originator_id: RouterId::new(77).ok(),
        cluster_list: before.clone(),
        ..Attributes::default()
    };
    for (from, to) in [(BELOW, ABOVE), (ABOVE, BELOW)] {
        let mut scene = reflector(101);
        scene.learn(from, announce(&[v4()], hop("198.51.100.1"), attributes.clone()));
        let (got, next_hop) = told(&mut scene, to);
        assert_eq!(got.cluster_list, [&[ClusterId(101)][..], &before].concat());
        assert_eq!((got.originator_id, next_hop), (RouterId::new(77).ok(), hop("198.51.100.1")));
    }
    // The last of them is ours.
    let mut scene = reflector(101);
    let mut round = attributes;
    round.cluster_list[63] = ClusterId(101);
    scene.learn(BELOW, announce(&[v4()], hop("198.51.100.1"), round));
    let paths = scene.rib.paths(&v4());
    assert_eq!(paths[0].status, PathStatus::Refused(Refusal::ClusterLoop));
}
