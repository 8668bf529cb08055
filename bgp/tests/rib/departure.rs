//! Leaving: what peers are told of a speaker that is about to go.

use brindle_bgp::msg::{Attributes, Community};
use brindle_bgp::rib::{Departure, OwnRoute, PeerId, PeerKind};

use crate::support::{
    Heard, KINDS, OUR_AS, Scene, along, from_peer, one_update, prefix, session, settings, v4,
    with_community, withdraw,
};

#[test]
fn a_speaker_about_to_go_marks_all_that_it_tells_and_takes_the_mark_back() {
    for kind in KINDS {
        let is_external = kind == PeerKind::External;
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::External);
        scene.up(1, kind);
        let own = prefix("10.9.0.0/16");
        let both = [Community(0x0001_0001), Community::GRACEFUL_SHUTDOWN];
        scene.rib.originate(own, with_community(both[0], &[]), OwnRoute::Local);
        scene.learn(0, one_update(from_peer(0, PeerKind::External)));
        scene.tell_all();
        let before = scene.ear(1).told.clone();
        assert_eq!(before.len(), 2, "{kind:?}");

        scene.rib.set_departure(Departure::Announced);
        assert!(!scene.rib.has_told_all(PeerId(1)), "{kind:?}");
        scene.tell_all();
        assert!(scene.rib.has_told_all(PeerId(1)), "{kind:?}");
        for (at, want) in [(own, &both[..]), (v4(), &both[1..])] {
            let told = &scene.ear(1).told[&at].0;
            assert_eq!(told.communities, want, "{at} to {kind:?}");
            let local_pref = (!is_external).then_some(0);
            assert_eq!(told.local_pref, local_pref, "{at} to {kind:?}");
        }
        // Whoever comes now is told the same.
        scene.up(2, kind);
        scene.tell(2);
        assert_eq!(scene.ear(2).told[&own], scene.ear(1).told[&own], "{kind:?}");

        scene.rib.set_departure(Departure::Staying);
        scene.tell_all();
        assert_eq!(scene.ear(1).told, before, "{kind:?}");
        assert_eq!(scene.ear(2).told, before, "{kind:?}");
    }
}

#[test]
fn who_has_withdrawn_tells_no_more_of_its_own_and_keeps_it() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    let own = prefix("10.9.0.0/16");
    scene.rib.originate(own, along(&[]), OwnRoute::Local);
    scene.learn(0, one_update(along(&[65000])));
    scene.tell_all();
    scene.rib.set_departure(Departure::Announced);
    scene.tell_all();
    let heard = scene.ear(1).heard.len();

    scene.rib.set_departure(Departure::Withdrawn);
    scene.tell_all();
    assert_eq!(scene.ear(1).heard[heard..], [Heard::Withdrawn(own)], "the rest is told already");
    assert_eq!(scene.rib.paths(&own).len(), 1, "here it is still ours");
    // What comes up later is marked, and nothing of ours is told.
    scene.rib.originate(prefix("10.8.0.0/16"), along(&[]), OwnRoute::Local);
    scene.learn(0, withdraw(&[v4()]));
    scene.learn(0, one_update(along(&[65000, 7])));
    scene.tell_all();
    let marked = Attributes {
        communities: vec![Community::GRACEFUL_SHUTDOWN],
        ..along(&[OUR_AS, 65000, 7])
    };
    assert_eq!(scene.ear(1).prefixes(), [v4().to_string()]);
    assert_eq!(scene.ear(1).told[&v4()].0, marked);

    scene.rib.set_departure(Departure::Staying);
    scene.tell_all();
    assert_eq!(scene.ear(1).prefixes(), ["10.1.0.0/16", "10.8.0.0/16", "10.9.0.0/16"]);
    assert!(scene.ear(1).told.values().all(|told| told.0.communities.is_empty()));
}

#[test]
fn without_a_session_nothing_is_told_at_all() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.rib.session_down(PeerId(0));
    scene.rib.set_departure(Departure::Announced);
    assert!(!scene.rib.has_told_all(PeerId(0)));
    scene.rib.session_up(PeerId(0), session(0));
    scene.tell(0);
    assert!(scene.rib.has_told_all(PeerId(0)));
}
