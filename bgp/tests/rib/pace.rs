//! When peers are told, how often, and what waiting costs.

use brindle_bgp::msg::{Attributes, Refresh};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{PeerId, PeerKind, RibSettings};

use crate::support::{
    Ear, Heard, Scene, along, announce, hop, numbered, one_update, peer, session, settings, v4,
    withdraw,
};

#[test]
fn a_change_is_encoded_once_for_all_peers_that_are_told_the_same() {
    let mut scene = Scene::new(settings());
    for number in 0..20 {
        scene.up(number, PeerKind::ReflectorClient);
    }
    scene.up(20, PeerKind::External);
    scene.tell_all();
    let prefixes: Vec<Prefix> = (0..100).map(numbered).collect();
    let before = scene.rib.totals();
    assert_eq!(before.groups, 2);
    scene.learn(20, announce(&prefixes, hop("198.51.100.1"), along(&[65020])));
    scene.tell_all();
    assert_eq!(scene.rib.totals().encoded - before.encoded, 100);
    for number in 0..20 {
        assert_eq!(scene.ear(number).told.len(), 100);
        assert_eq!(scene.ear(number).messages, 3, "two End-of-RIB and one UPDATE");
    }
    scene.learn(20, withdraw(&prefixes));
    scene.tell_all();
    assert_eq!(scene.rib.totals().encoded - before.encoded, 200);
    assert!((0..20).all(|number| scene.ear(number).told.is_empty()));
}

#[test]
fn withdrawals_go_before_announcements() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    let old: Vec<Prefix> = (0..10).map(numbered).collect();
    scene.learn(0, announce(&old, hop("198.51.100.1"), along(&[65000])));
    scene.tell_all();
    // Far more news than fits in a turn, and the withdrawals come last.
    for number in 1000..9000 {
        scene.learn(
            0,
            announce(
                &[numbered(number)],
                hop("198.51.100.1"),
                Attributes { med: Some(number), ..along(&[65000, number]) },
            ),
        );
    }
    scene.learn(0, withdraw(&old));
    let advertisement = scene.rib.advertise(PeerId(1), 100);
    assert!(advertisement.more);
    let heard = scene.ear(1).heard.len();
    scene.ears.get_mut(&1).unwrap().listen(&advertisement);
    let first = &scene.ear(1).heard[heard..heard + 10];
    assert!(first.iter().all(|heard| matches!(heard, Heard::Withdrawn(_))), "{first:?}");
}

#[test]
fn what_was_announced_and_withdrawn_before_it_was_told_is_not_told_at_all() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.tell_all();
    let heard = scene.ear(1).heard.len();
    scene.learn(0, one_update(along(&[65000])));
    scene.learn(0, withdraw(&[v4()]));
    scene.tell(1);
    assert_eq!(scene.ear(1).heard.len(), heard);
}

#[test]
fn a_change_that_does_not_show_on_the_wire_is_not_told() {
    let mut scene = Scene::new(RibSettings { track_next_hops: true, ..settings() });
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.learn(0, one_update(along(&[65000])));
    scene.rib.take_next_hops();
    scene.rib.resolve(hop("198.51.100.1"), Some(1));
    scene.tell_all();
    assert_eq!(scene.ear(1).heard_announcements(), 1);
    scene.rib.resolve(hop("198.51.100.1"), Some(2));
    scene.learn(0, one_update(along(&[65000])));
    assert!(scene.rib.take_woken().is_empty());
    scene.tell(1);
    assert_eq!(scene.ear(1).heard_announcements(), 1);
}

#[test]
fn a_stuck_peer_costs_prefixes_not_changes() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.up(2, PeerKind::External);
    scene.tell_all();
    let prefixes: Vec<Prefix> = (0..1000).map(numbered).collect();
    let mut most = (0, 0);
    for round in 0..1000 {
        let attributes = Attributes { med: Some(round), ..along(&[65000, 1 + round]) };
        scene.learn(0, announce(&prefixes, hop("198.51.100.1"), attributes));
        if round % 5 == 4 {
            scene.learn(0, withdraw(&prefixes[..500]));
        }
        // The first peer never reads; the second one keeps up and hears all.
        while scene.rib.advertise(PeerId(2), 65536).more {}
        scene.rib.take_changes();
        let totals = scene.rib.totals();
        most = (most.0.max(totals.noted), most.1.max(totals.held_octets));
        assert_eq!(totals.attributes, 1, "no old attributes are kept for it");
        assert!(totals.prefixes[0] <= 1000);
    }
    // A million changes and more; the bounds do not depend on that number.
    assert!(most.0 <= (1 << 16) + 2000, "{} entries", most.0);
    assert!(most.1 <= 9 << 20, "{} octets", most.1);
    scene.tell(0);
    scene.tell(1);
    assert_eq!(scene.ear(1).told.len(), 500);
    assert_eq!(scene.ear(1).heard_announcements(), 500, "and it is told the latest state only");
    assert_eq!(scene.rib.totals().noted, 0);
}

#[test]
fn prefixes_that_share_attributes_travel_together_however_they_came() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.tell_all();
    let before = scene.ear(1).messages;
    for number in 0..1000 {
        let attributes = along(&[65000, 1 + number % 4]);
        scene.learn(0, announce(&[numbered(number)], hop("198.51.100.1"), attributes));
    }
    scene.tell(1);
    assert_eq!(scene.ear(1).told.len(), 1000);
    assert_eq!(scene.ear(1).messages - before, 4, "1000 octets of prefixes fit in each");
}

#[test]
fn a_new_session_hears_everything_and_then_the_end_while_changes_go_on() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::Internal);
    let count = 10_000;
    for number in 0..count {
        let attributes = Attributes { med: Some(number), ..along(&[65010]) };
        scene.learn(0, announce(&[numbered(number)], hop("198.51.100.1"), attributes));
    }
    scene.up(1, PeerKind::ReflectorClient);
    let mut turns = 0;
    loop {
        let advertisement = scene.rib.advertise(PeerId(1), 1000);
        scene.ears.get_mut(&1).unwrap().listen(&advertisement);
        turns += 1;
        if turns < 4 {
            // One that was told, one that was not, and a new one.
            scene.learn(0, withdraw(&[numbered(turns), numbered(count - turns)]));
            let update = announce(&[numbered(count + turns)], hop("198.51.100.1"), along(&[65010]));
            scene.learn(0, update);
        }
        if !advertisement.more {
            break;
        }
    }
    assert!(turns >= 4, "the walk is done in steps, {turns}");
    let ear = scene.ear(1);
    assert_eq!(ear.told.len(), count as usize - 3);
    let ends: Vec<usize> =
        (0..ear.heard.len()).filter(|&at| matches!(ear.heard[at], Heard::EndOfRib(_))).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends[0] >= count as usize - 6, "the end comes last: {ends:?}");
}

#[test]
fn a_refresh_tells_a_family_again_between_marks_where_agreed() {
    for enhanced in [false, true] {
        let mut scene = Scene::new(settings());
        scene.up(0, PeerKind::External);
        let mut with = session(1);
        with.negotiated.enhanced_refresh = enhanced;
        scene.up_as(1, peer(1, PeerKind::External), with);
        scene.learn(0, one_update(along(&[65000])));
        scene.tell_all();
        let heard = scene.ear(1).heard.len();
        scene.rib.refresh(PeerId(1), Family::Ipv4Unicast);
        assert_eq!(scene.rib.take_woken().last(), Some(&PeerId(1)));
        scene.tell(1);
        let again = Heard::Announced(v4());
        let want = match enhanced {
            true => vec![Heard::Mark(Refresh::Begin), again, Heard::Mark(Refresh::End)],
            false => vec![again],
        };
        assert_eq!(scene.ear(1).heard[heard..], want, "enhanced: {enhanced}");
    }
}

#[test]
fn the_ear_of_these_tests_minds_a_needless_withdrawal() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::External);
    scene.learn(0, one_update(along(&[65000])));
    scene.tell(1);
    scene.learn(0, withdraw(&[v4()]));
    let advertisement = scene.rib.advertise(PeerId(1), 4096);
    let mut deaf = Ear::new(&peer(1, PeerKind::External), &session(1));
    let heard =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| deaf.listen(&advertisement)));
    assert!(heard.is_err());
}

#[test]
fn changes_are_taken_oldest_first_each_once_and_may_be_passed_over() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    let prefixes: Vec<Prefix> = (0..600).map(numbered).collect();
    let learn = |scene: &mut Scene, prefixes: &[Prefix]| {
        scene.learn(0, announce(prefixes, hop("198.51.100.1"), along(&[65000])));
    };
    let take = |scene: &mut Scene, limit| -> Vec<Prefix> {
        scene.rib.take_some_changes(limit).iter().map(|change| change.prefix).collect()
    };
    learn(&mut scene, &prefixes[..3]);
    assert_eq!(take(&mut scene, 2), prefixes[..2]);
    assert!(scene.rib.has_changes());
    learn(&mut scene, &prefixes[1..5]);
    assert_eq!(take(&mut scene, 2), prefixes[2..4]);
    assert_eq!(take(&mut scene, 2), prefixes[4..5]);
    assert!(!scene.rib.has_changes());

    learn(&mut scene, &prefixes);
    scene.rib.forget_changes();
    assert!(!scene.rib.has_changes());
    scene.learn(0, withdraw(&prefixes[1..]));
    scene.rib.forget_changes();
    assert_eq!(take(&mut scene, usize::MAX), []);
    assert_eq!(scene.rib.totals().prefixes[0], 1, "nothing waits for those without a path");
    scene.learn(0, withdraw(&prefixes[..1]));
    assert_eq!(take(&mut scene, usize::MAX), prefixes[..1], "later changes are told of again");
}
