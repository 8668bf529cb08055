//! Enhanced route refresh as its receiver (RFC 7313).

use brindle_bgp::msg::Refresh;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{PeerId, PeerKind, Stale};

use crate::restart::restart;
use crate::support::{
    Heard, Scene, along, announce, hop, peer, prefix, session, settings, withdraw,
};

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

#[test]
fn over_a_restart_nothing_begins_before_end_of_rib() {
    let [a, b] = ["10.1.0.0/16", "10.2.0.0/16"].map(prefix);
    let how = || peer(0, PeerKind::External);
    let mut scene = Scene::new(settings());
    scene.up_as(0, how(), restart(0, Some(true)));
    tell(&mut scene, 0, &[a, b]);
    scene.rib.session_lost(PeerId(0), [Some(Stale::Restarting); 2]);
    scene.rib.session_up(PeerId(0), restart(0, Some(true)));
    // It defers what it will tell, and tells what it may when it is asked for it.
    scene.rib.refresh_begins(PeerId(0), V4);
    tell(&mut scene, 0, &[a]);
    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 0);
    assert_eq!(known(&scene, &[a, b]), [1, 1], "b is kept");
    tell(&mut scene, 0, &[b]);
    scene.rib.end_of_rib(PeerId(0), V4);
    assert_eq!(known(&scene, &[a, b]), [1, 1]);
    scene.rib.refresh_begins(PeerId(0), V4);
    tell(&mut scene, 0, &[a]);
    assert_eq!(scene.rib.refresh_ends(PeerId(0), V4), 1, "from now on as ever");

    // Nor do we begin before ours, deferred or not.
    for is_deferred in [false, true] {
        let mut scene = Scene::new(settings());
        if is_deferred {
            scene.rib.defer();
        }
        scene.up(1, PeerKind::External);
        scene.learn(1, announce(&[a], hop("198.51.100.1"), along(&[65001])));
        let mut marked = restart(0, Some(true));
        marked.negotiated.enhanced_refresh = true;
        scene.up_as(0, how(), marked);
        if is_deferred {
            scene.tell(0);
        }
        scene.rib.refresh(PeerId(0), V4);
        scene.tell(0);
        scene.rib.end_deferral();
        scene.tell(0);
        let heard = scene.ear(0).heard.clone();
        assert!(heard.contains(&Heard::EndOfRib(V4)), "deferred {is_deferred}: {heard:?}");
        assert!(heard.contains(&Heard::Announced(a)), "deferred {is_deferred}: {heard:?}");
        let is_mark = |heard: &Heard| matches!(heard, Heard::Mark(_));
        assert!(!heard.iter().any(is_mark), "deferred {is_deferred}: {heard:?}");
        scene.rib.refresh(PeerId(0), V4);
        scene.tell(0);
        let again = &scene.ear(0).heard[heard.len()..];
        assert_eq!(again[0], Heard::Mark(Refresh::Begin), "deferred {is_deferred}");
    }
}
