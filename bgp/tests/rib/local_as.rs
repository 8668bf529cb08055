//! Another AS of ours on some sessions, and how often ours may stand in a path.

use brindle_bgp::msg::Attributes;
use brindle_bgp::rib::{OwnRoute, PeerId, PeerKind, Refusal, RibPeer};

use crate::support::{
    OUR_AS, Scene, along, asn, one_update, peer, prefix, refusal, session, settings, v4,
};

#[test]
fn our_as_may_stand_in_a_path_as_often_as_is_allowed() {
    let other = Some(asn(64999));
    for (local_asn, allowed, path, want) in [
        (None, 0, &[65000][..], None),
        (None, 0, &[65000, OUR_AS], Some(Refusal::AsLoop)),
        (None, 1, &[65000, OUR_AS], None),
        (None, 1, &[65000, OUR_AS, OUR_AS], Some(Refusal::AsLoop)),
        (None, 2, &[65000, OUR_AS, 7, OUR_AS], None),
        // There we are in another AS, and in no other.
        (other, 0, &[65000, 64999], Some(Refusal::AsLoop)),
        (other, 0, &[65000, OUR_AS], None),
        (other, 1, &[65000, 64999], None),
    ] {
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::External);
        scene.learn(0, one_update(along(path)));
        // A change counts for what was told before.
        let how = RibPeer { local_asn, allowed_own_asn: allowed, ..peer(0, PeerKind::External) };
        scene.rib.configure_peer(PeerId(0), how);
        assert_eq!(refusal(&scene.rib, &v4()), want, "{local_asn:?} {allowed} {path:?}");
    }
}

#[test]
fn a_peer_sees_the_as_that_we_are_in_for_it() {
    let mut scene = Scene::new(settings());
    let local = RibPeer { local_asn: Some(asn(64999)), ..peer(1, PeerKind::External) };
    scene.up(0, PeerKind::External);
    scene.up_as(1, local, session(1));
    scene.up(2, PeerKind::External);
    scene.learn(0, one_update(along(&[65000])));
    let own = prefix("10.2.0.0/16");
    scene.rib.originate(own, Attributes::default(), OwnRoute::Local);
    scene.tell_all();
    for (number, asn) in [(1, 64999), (2, OUR_AS)] {
        let path = |prefix| scene.ear(number).told[&prefix].0.as_path.to_string();
        assert_eq!(path(own), asn.to_string(), "peer {number}");
        assert_eq!(path(v4()), format!("{asn} 65000"), "peer {number}");
    }
}
