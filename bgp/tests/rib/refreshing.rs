//! Enhanced route refresh as its receiver (RFC 7313).

use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{PeerId, PeerKind, Stale};

use crate::support::{Scene, along, announce, hop, peer, prefix, session, settings, withdraw};

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

fn tell(scene: &mut Scene, from: u32, prefixes: &[Prefix]) {
    let next_hop = match prefixes[0].family() {
        V4 => hop("198.51.100.1"),
        V6 => hop("2001:db8::7"),
    };
    scene.learn(from, announce(prefixes, next_hop, along(&[65000 + from])));
}

fn known(scene: &Scene, prefixes: &[Prefix]) -> Vec<usize> {
    prefixes.iter().map(|prefix| scene.rib.paths(prefix).len()).collect()
}

#[test]
fn what_is_not_told_again_between_the_marks_goes_at_the_end() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    let [a, b, c, d] = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"].map(prefix);
    let six = prefix("fd00::/48");
    tell(&mut scene, 0, &[a, b, c]);
    tell(&mut scene, 1, &[c]);
    tell(&mut scene, 0, &[six]);
    scene.rib.take_changes();

    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 0, "an end without a beginning");
    scene.rib.refresh_begins(PeerId(0), V4);
    assert!(scene.rib.is_refreshing(PeerId(0), V4) && !scene.rib.is_refreshing(PeerId(0), V6));
    assert!(scene.rib.take_changes().is_empty(), "until then they are as good as ever");
    tell(&mut scene, 0, &[a, d]);
    scene.learn(0, withdraw(&[b]));
    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 1);
    assert_eq!(known(&scene, &[a, b, c, d, six]), [1, 0, 1, 1, 1], "c is left from the other");
    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 0, "it was the end");

    // One that begins anew begins with all.
    scene.rib.refresh_begins(PeerId(0), V4);
    tell(&mut scene, 0, &[a, d]);
    scene.rib.refresh_begins(PeerId(0), V4);
    tell(&mut scene, 0, &[d]);
    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 1);
    assert_eq!(known(&scene, &[a, d]), [0, 1]);
}

#[test]
fn a_session_that_ends_ends_a_refresh() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    let a = prefix("10.1.0.0/16");
    tell(&mut scene, 0, &[a]);
    scene.rib.refresh_begins(PeerId(0), V4);
    scene.rib.session_lost(PeerId(0), [Some(Stale::Owned); 2]);
    assert!(!scene.rib.is_refreshing(PeerId(0), V4));
    scene.rib.session_up(PeerId(0), session(0));
    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 0);
    assert_eq!(known(&scene, &[a]), [1], "what is kept waits for End-of-RIB");
    // Of a family that the session does not carry nothing begins.
    let mut only_v4 = session(0);
    only_v4.negotiated.families = vec![V4];
    scene.up_as(0, peer(0, PeerKind::External), only_v4);
    scene.rib.refresh_begins(PeerId(0), V6);
    assert!(!scene.rib.is_refreshing(PeerId(0), V6));
}
