//! Graceful restart: what is kept of a peer that restarts, and what is told after our own.

use std::time::Duration;

use brindle_bgp::fsm::PeerRestart;
use brindle_bgp::msg::{Attributes, Community};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{
    OwnRoute, PathStatus, PeerId, PeerKind, Reason, RibPeer, RibSession, Stale,
};

use crate::support::{
    Heard, Scene, address_hop, along, announce, from_peer, numbered, peer, session, settings,
    with_community, withdraw,
};

const V4: Family = Family::Ipv4Unicast;
const RESTARTING: [Option<Stale>; 2] = [Some(Stale::Restarting); 2];
const OWNED: [Option<Stale>; 2] = [Some(Stale::Owned); 2];

/// A session with graceful restart; the F bit of both families as said, if they are named.
pub(crate) fn restart(number: u32, forwarding: Option<bool>) -> RibSession {
    let mut session = session(number);
    session.negotiated.restart = Some(PeerRestart {
        restarting: true,
        notification: true,
        time: Duration::from_secs(120),
        families: [forwarding; 2],
        long_lived: [forwarding.map(|forwarding| (forwarding, Duration::from_secs(3600))); 2],
    });
    session
}

/// Peer 0 has told prefixes 1 and 2, peer 1 a worse way to prefix 1; peer 9 listens.
fn scene() -> Scene {
    let mut scene = Scene::new(settings());
    scene.up_as(0, peer(0, PeerKind::Internal), restart(0, Some(false)));
    scene.up(1, PeerKind::Internal);
    scene.up(9, PeerKind::ReflectorClient);
    scene.learn(0, announce(&[numbered(1), numbered(2)], address_hop(0), along(&[])));
    scene.learn(1, announce(&[numbered(1)], address_hop(1), along(&[65001])));
    scene.tell_all();
    scene.rib.take_changes();
    scene
}

/// Peer 0's paths: what each is to the decision process, and why it is kept.
fn paths(scene: &Scene) -> Vec<(Prefix, bool, Option<Stale>)> {
    let of = |prefix: Prefix| {
        let paths = scene.rib.paths(&prefix).into_iter();
        paths
            .filter(|path| path.from == Some(PeerId(0)))
            .map(move |path| (prefix, path.status == PathStatus::Best, path.stale))
    };
    [1, 2].map(numbered).into_iter().flat_map(of).collect()
}

#[test]
fn nothing_moves_while_a_peer_restarts_and_only_what_it_does_not_tell_again_goes() {
    let mut scene = scene();
    let heard = scene.ear(9).heard.len();
    scene.rib.session_lost(PeerId(0), RESTARTING);
    let kept = |number| (numbered(number), true, Some(Stale::Restarting));
    assert_eq!(paths(&scene), [kept(1), kept(2)], "the best as before, other ways or not");
    assert_eq!(scene.rib.stale(PeerId(0), V4), Some(Stale::Restarting));
    scene.rib.session_up(PeerId(0), restart(0, Some(true)));
    assert_eq!(paths(&scene), [kept(1), kept(2)], "until End-of-RIB");
    scene.learn(0, announce(&[numbered(1)], address_hop(0), along(&[])));
    assert_eq!(paths(&scene), [(numbered(1), true, None), kept(2)]);
    assert_eq!(scene.rib.take_changes(), [], "no packet takes another way");
    scene.tell(9);
    assert_eq!(scene.ear(9).heard.len(), heard, "nor is anybody told anything");
    scene.rib.end_of_rib(PeerId(0), V4);
    assert_eq!(paths(&scene), [(numbered(1), true, None)]);
    scene.tell(9);
    assert_eq!(scene.ear(9).heard[heard..], [Heard::Withdrawn(numbered(2))]);
}

#[test]
fn what_ends_a_restart_depends_on_what_the_peer_says_when_it_is_back() {
    let none = [Vec::new(), Vec::new()];
    let all = || vec![numbered(1), numbered(2)];
    let without_family = || {
        let mut session = restart(0, Some(true));
        session.negotiated.families = vec![Family::Ipv6Unicast];
        session
    };
    // What is left of it when it was kept for the restart, and when its node stands for it.
    for (row, session, want) in [
        ("it went on forwarding", restart(0, Some(true)), [all(), all()]),
        ("it did not", restart(0, Some(false)), [Vec::new(), all()]),
        ("the family is not named", restart(0, None), [Vec::new(), all()]),
        ("no graceful restart any more", session(0), [Vec::new(), all()]),
        ("the family is not agreed", without_family(), none),
    ] {
        for (keep, want) in [RESTARTING, OWNED].into_iter().zip(want) {
            let mut scene = scene();
            scene.rib.session_lost(PeerId(0), keep);
            scene.rib.session_up(PeerId(0), session.clone());
            let left: Vec<Prefix> = paths(&scene).into_iter().map(|(prefix, ..)| prefix).collect();
            assert_eq!(left, want, "{row}, kept as {keep:?}");
            let why = keep[0].filter(|_| !want.is_empty());
            assert_eq!(scene.rib.stale(PeerId(0), V4), why, "{row}");
        }
    }
}

#[test]
fn a_second_restart_before_end_of_rib_ends_what_was_not_told_again() {
    for (second, want) in [
        (RESTARTING, vec![(numbered(1), true, Some(Stale::Restarting))]),
        ([None; 2], vec![]),
        // Where its node stands, it stands for both.
        (
            OWNED,
            vec![(numbered(1), false, Some(Stale::Owned)), (numbered(2), true, Some(Stale::Owned))],
        ),
    ] {
        let mut scene = scene();
        scene.rib.session_lost(PeerId(0), RESTARTING);
        scene.rib.session_up(PeerId(0), restart(0, Some(true)));
        scene.learn(0, announce(&[numbered(1)], address_hop(0), along(&[])));
        scene.rib.session_lost(PeerId(0), second);
        assert_eq!(paths(&scene), want, "{second:?}");
    }
    // What its node stood for before goes on standing.
    let mut scene = scene();
    scene.rib.session_lost(PeerId(0), OWNED);
    scene.rib.session_up(PeerId(0), restart(0, Some(true)));
    scene.learn(0, announce(&[numbered(1)], address_hop(0), along(&[])));
    scene.rib.session_lost(PeerId(0), RESTARTING);
    let want =
        [(numbered(1), true, Some(Stale::Restarting)), (numbered(2), true, Some(Stale::Owned))];
    assert_eq!(paths(&scene), want);
}

#[test]
fn who_is_away_for_long_is_the_last_choice_and_others_are_told_so_if_they_can_read_it() {
    let mut scene = scene();
    let mut reader = session(8);
    reader.negotiated.long_lived_restart = true;
    scene.up_as(8, peer(8, PeerKind::ReflectorClient), reader);
    let no_llgr = with_community(Community::NO_LLGR, &[]);
    scene.learn(0, announce(&[numbered(3)], address_hop(0), no_llgr));
    scene.tell_all();
    scene.rib.session_lost(PeerId(0), RESTARTING);
    scene.rib.keep_stale(PeerId(0), V4, Stale::LongLived);
    let kept = |number, best| (numbered(number), best, Some(Stale::LongLived));
    assert_eq!(paths(&scene), [kept(1, false), kept(2, true)]);
    assert!(scene.rib.paths(&numbered(3)).is_empty(), "NO_LLGR");
    let lost = scene.rib.paths(&numbered(1)).remove(1);
    assert_eq!(lost.status, PathStatus::Lost(Reason::Stale));
    scene.tell_all();
    assert_eq!(scene.ear(9).prefixes(), ["10.0.1.0/24"], "cannot read it");
    assert_eq!(scene.ear(8).prefixes(), ["10.0.1.0/24", "10.0.2.0/24"]);
    let (told, _) = &scene.ear(8).told[&numbered(2)];
    assert_eq!(told.communities, [Community::LLGR_STALE]);
    // It is back and says the same: as if nothing had been.
    scene.rib.session_up(PeerId(0), restart(0, Some(true)));
    assert_eq!(paths(&scene), [kept(1, false), kept(2, true)]);
    scene.learn(0, announce(&[numbered(1), numbered(2)], address_hop(0), along(&[])));
    scene.rib.end_of_rib(PeerId(0), V4);
    assert_eq!(paths(&scene), [(numbered(1), true, None), (numbered(2), true, None)]);
    scene.tell_all();
    assert_eq!(scene.ear(9).prefixes(), ["10.0.1.0/24", "10.0.2.0/24"]);
}

#[test]
fn a_path_that_another_marked_as_long_stale_is_the_last_choice_too() {
    let mut scene = scene();
    scene.learn(
        0,
        announce(&[numbered(1)], address_hop(0), with_community(Community::LLGR_STALE, &[])),
    );
    assert_eq!(paths(&scene)[0], (numbered(1), false, None));
}

/// Peer 0 tells everything; 1 keeps our routes, 2 does not.
fn after_our_restart() -> Scene {
    let mut scene = Scene::new(settings());
    scene.rib.defer();
    scene.rib.originate(numbered(100), Attributes::default(), OwnRoute::Local);
    let kind = PeerKind::External;
    scene.up_as(0, peer(0, kind), restart(0, Some(true)));
    scene.up_as(1, peer(1, kind), restart(1, Some(true)));
    scene.up(2, kind);
    scene.learn(0, announce(&[numbered(1)], address_hop(0), from_peer(0, kind)));
    scene
}

#[test]
fn who_keeps_our_routes_is_told_our_own_at_once_and_the_rest_once_all_were_heard() {
    let mut scene = after_our_restart();
    scene.tell_all();
    let ends = |scene: &Scene, number| {
        let heard = &scene.ear(number).heard;
        heard.iter().filter(|one| matches!(one, Heard::EndOfRib(_))).count()
    };
    assert_eq!(scene.ear(1).heard, [Heard::Announced(numbered(100))]);
    assert_eq!(scene.ear(2).prefixes(), ["10.0.1.0/24", "10.0.100.0/24"], "keeps nothing");
    assert_eq!(ends(&scene, 2), 2);
    // What comes and goes meanwhile, and a refresh, are nothing to it.
    scene.learn(
        0,
        announce(&[numbered(2), numbered(3)], address_hop(0), from_peer(0, PeerKind::External)),
    );
    scene.learn(0, withdraw(&[numbered(3)]));
    scene.rib.refresh(PeerId(1), V4);
    let how = RibPeer { name: "renamed".into(), ..peer(1, PeerKind::External) };
    scene.rib.configure_peer(PeerId(1), how);
    scene.tell_all();
    assert_eq!(scene.ear(1).prefixes(), ["10.0.100.0/24"]);
    assert_eq!(ends(&scene, 1), 0);

    scene.rib.end_deferral();
    assert!(!scene.rib.is_deferring());
    assert!(scene.rib.take_woken().contains(&PeerId(1)));
    scene.tell_all();
    assert_eq!(scene.ear(1).prefixes(), ["10.0.1.0/24", "10.0.2.0/24", "10.0.100.0/24"]);
    let heard = &scene.ear(1).heard;
    assert_eq!(ends(&scene, 1), 2, "also of the family without a prefix: {heard:?}");
    let last = heard.iter().rposition(|one| matches!(one, Heard::Announced(_))).unwrap();
    let first = heard.iter().position(|one| *one == Heard::EndOfRib(V4)).unwrap();
    assert!(last < first, "End-of-RIB stands behind everything: {heard:?}");
    assert_eq!(scene.ear(0).prefixes(), ["10.0.100.0/24"], "not what it said itself");
    assert_eq!(ends(&scene, 2), 2, "once");
}

#[test]
fn a_deferral_that_ends_before_anybody_asked_loses_nothing() {
    let mut scene = after_our_restart();
    scene.rib.end_deferral();
    scene.tell_all();
    assert_eq!(scene.ear(1).prefixes(), ["10.0.1.0/24", "10.0.100.0/24"]);
    let ends = scene.ear(1).heard.iter().filter(|one| matches!(one, Heard::EndOfRib(_)));
    assert_eq!(ends.count(), 2);
    // A session that begins now is told everything at once.
    scene.up_as(3, peer(3, PeerKind::External), restart(3, Some(true)));
    scene.tell(3);
    assert_eq!(scene.ear(3).prefixes(), ["10.0.1.0/24", "10.0.100.0/24"]);
}
