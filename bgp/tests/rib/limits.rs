//! How many prefixes a peer may tell.

use std::time::Duration;

use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{
    LimitAction, LimitLevel, LimitNews, PeerId, PeerKind, PeerPolicy, PrefixLimits, RibPeer, Stale,
};

use crate::support::{
    Scene, address_hop, along, announce, named, numbered, peer, session, settings, withdraw,
};

const V4: Family = Family::Ipv4Unicast;

fn limited(most: u32, action: LimitAction) -> RibPeer {
    let limits = PrefixLimits { most: [Some(most), None], warn_percent: 75, action };
    RibPeer { limits, ..peer(0, PeerKind::External) }
}

const RESTART: LimitAction = LimitAction::Restart(Duration::from_secs(300));

fn many(from: u32, count: u32) -> Vec<Prefix> {
    (from..from + count).map(numbered).collect()
}

fn tell(scene: &mut Scene, prefixes: &[Prefix]) -> Vec<(LimitLevel, usize)> {
    scene.learn(0, announce(prefixes, address_hop(0), along(&[65000])));
    news(scene)
}

fn news(scene: &mut Scene) -> Vec<(LimitLevel, usize)> {
    let news = scene.rib.take_limit_news();
    news.iter().for_each(|news| assert_eq!((news.peer, news.family), (PeerId(0), V4)));
    news.into_iter().map(|LimitNews { level, count, .. }| (level, count)).collect()
}

fn received(scene: &Scene) -> usize {
    scene.rib.counts(PeerId(0), V4).unwrap().received
}

#[test]
fn the_limit_holds_within_one_update_and_nothing_is_taken_after_it() {
    let mut scene = Scene::new(settings());
    scene.up_as(0, limited(100, RESTART), session(0));
    assert_eq!(tell(&mut scene, &many(0, 74)), []);
    assert_eq!(tell(&mut scene, &many(0, 75)), [(LimitLevel::Near, 75)]);
    assert_eq!(tell(&mut scene, &many(0, 100)), [], "warned once; at the limit is not beyond it");
    assert_eq!(tell(&mut scene, &many(50, 50)), [], "told again is not one more");
    // All in one: what goes and comes with the same update leaves room.
    let mut update = announce(&many(100, 1), address_hop(0), along(&[65000]));
    update.withdrawn = named(&many(0, 1));
    scene.learn(0, update);
    assert_eq!((news(&mut scene), received(&scene)), (vec![], 100));
    assert_eq!(tell(&mut scene, &many(1, 50_000)), [(LimitLevel::Over, 101)]);
    assert_eq!((received(&scene), scene.rib.totals().paths[0]), (100, 100));
    assert_eq!(scene.rib.beyond_limit(PeerId(0), V4), 49_900);
    assert_eq!(tell(&mut scene, &many(1, 10)), [], "said once, and nothing is taken any more");
    scene.learn(0, withdraw(&many(1, 50)));
    assert_eq!(received(&scene), 100);
    // The next session begins from nothing.
    scene.rib.session_down(PeerId(0));
    assert_eq!((received(&scene), scene.rib.totals().paths[0]), (0, 0));
    scene.rib.session_up(PeerId(0), session(0));
    assert_eq!(tell(&mut scene, &many(0, 10)), []);
    assert_eq!(received(&scene), 10);
}

#[test]
fn what_is_refused_counts_since_it_is_kept_and_what_is_kept_of_an_earlier_session_does_not() {
    let mut scene = Scene::new(settings());
    let nobody = RibPeer { import: PeerPolicy::RefuseUnfiltered, ..limited(10, RESTART) };
    scene.up_as(0, nobody, session(0));
    assert_eq!(tell(&mut scene, &many(0, 20)), [(LimitLevel::Over, 11)]);
    scene.rib.configure_peer(PeerId(0), limited(10, RESTART));
    scene.rib.session_up(PeerId(0), session(0));
    assert_eq!(tell(&mut scene, &many(0, 7)), []);
    scene.rib.session_lost(PeerId(0), [Some(Stale::Owned); 2]);
    scene.rib.session_up(PeerId(0), session(0));
    assert_eq!(received(&scene), 7);
    assert_eq!(tell(&mut scene, &many(100, 7)), [], "the seven of before do not count");
    assert_eq!(tell(&mut scene, &many(0, 7)), [(LimitLevel::Over, 11)]);
}

#[test]
fn a_warning_takes_everything_and_comes_again_only_after_a_real_fall() {
    let mut scene = Scene::new(settings());
    scene.up_as(0, limited(100, LimitAction::Warn), session(0));
    assert_eq!(tell(&mut scene, &many(0, 200)), [(LimitLevel::Over, 200)]);
    assert_eq!((tell(&mut scene, &many(0, 300)), received(&scene)), (vec![], 300));
    scene.learn(0, withdraw(&many(0, 226)));
    assert_eq!(tell(&mut scene, &many(0, 1)), [], "75 again, after 74");
    scene.learn(0, withdraw(&many(0, 260)));
    assert_eq!(tell(&mut scene, &many(0, 1)), []);
    assert_eq!(tell(&mut scene, &many(0, 80)), [(LimitLevel::Over, 120)]);
}

#[test]
fn a_lower_limit_counts_at_once_and_a_higher_one_for_what_comes() {
    let mut scene = Scene::new(settings());
    scene.up_as(0, limited(100, RESTART), session(0));
    tell(&mut scene, &many(0, 70));
    scene.rib.configure_peer(PeerId(0), limited(200, RESTART));
    assert_eq!((news(&mut scene), tell(&mut scene, &many(0, 110))), (vec![], vec![]));
    scene.rib.configure_peer(PeerId(0), limited(109, RESTART));
    assert_eq!(news(&mut scene), [(LimitLevel::Over, 110)]);
    scene.rib.remove_peer(PeerId(0));
    assert_eq!(scene.rib.beyond_limit(PeerId(0), V4), 0);
}
