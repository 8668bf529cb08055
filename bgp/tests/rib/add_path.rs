//! Several paths of one prefix (RFC 7911): as they come, and as they are told.

use brindle_bgp::msg::{
    AddPaths, Announcement, Attributes, Community, NextHop, Nlri, PathId, Refresh, Update,
};
use brindle_bgp::net::{Family, Role};
use brindle_bgp::rib::{
    Forwarding, LimitAction, LimitLevel, PATHS_OF_ONE_PEER, PathStatus, PeerId, PeerKind,
    PrefixLimits, Reason, RibPeer, RibSession, RibSettings, SendPaths, Stale, Watched,
};

use crate::restart::restart;
use crate::support::{
    Ear, Heard, Scene, along, hop, one_update, peer, session, settings, v4, with_community,
};

const V4: Family = Family::Ipv4Unicast;
const A: u32 = 0;
const B: u32 = 1;
const CLIENT: u32 = 5;

/// A session on which several paths are told by the peer, by us, or both.
fn with_paths(number: u32, receive: bool, send: bool) -> RibSession {
    let mut with = session(number);
    with.negotiated.add_paths = AddPaths { receive: [receive; 2], send: [send; 2] };
    with
}

fn told(number: u32, kind: PeerKind, send_paths: SendPaths) -> RibPeer {
    RibPeer { send_paths, ..peer(number, kind) }
}

/// Two external peers, one of which tells several paths, and a client that is told them.
fn scene(send_paths: SendPaths) -> Scene {
    let mut scene = Scene::new(RibSettings { multipath: 8, ..settings() });
    scene.up_as(A, peer(A, PeerKind::External), with_paths(A, true, false));
    scene.up(B, PeerKind::External);
    let client = told(CLIENT, PeerKind::ReflectorClient, send_paths);
    scene.up_as(CLIENT, client, with_paths(CLIENT, false, true));
    scene.tell(CLIENT);
    scene
}

fn nlri(id: u32) -> Nlri {
    Nlri { prefix: v4(), path_id: PathId(id) }
}

fn tell(scene: &mut Scene, from: u32, id: u32, next_hop: &str, attributes: Attributes) {
    let announced = vec![Announcement { next_hop: hop(next_hop), prefixes: vec![nlri(id)] }];
    let update = Update { withdrawn: vec![], announced, attributes: Some(attributes) };
    scene.learn(from, update);
}

fn withdraw(scene: &mut Scene, from: u32, id: u32) {
    scene.learn(from, Update { withdrawn: vec![nlri(id)], ..Update::default() });
}

/// Attributes from outside that are the better the higher the number.
fn preferred(from: u32, preference: usize) -> Attributes {
    along(&vec![65000 + from; 10 - preference])
}

/// The next hops that a peer has heard, with the identifiers of their paths.
fn heard(ear: &Ear) -> Vec<(NextHop, u32)> {
    let mut all: Vec<(NextHop, u32)> =
        ear.paths.iter().map(|(nlri, (_, hop))| (*hop, nlri.path_id.0)).collect();
    all.sort_unstable();
    all
}

fn hops(ear: &Ear) -> Vec<String> {
    heard(ear).iter().map(|(hop, _)| hop.to_string()).collect()
}

fn used(scene: &mut Scene) -> Option<Forwarding> {
    scene.rib.take_changes().pop().map(|change| change.now)
}

#[test]
fn zero_is_an_identifier_like_any_other_and_an_unknown_one_is_nothing() {
    let mut scene = scene(SendPaths::All);
    for (id, next_hop) in [(0, "198.51.100.1"), (7, "198.51.100.2"), (u32::MAX, "198.51.100.3")] {
        tell(&mut scene, A, id, next_hop, along(&[65000]));
    }
    let all = ["198.51.100.1", "198.51.100.2", "198.51.100.3"].map(hop);
    assert_eq!(used(&mut scene), Some(Forwarding::Via(all.to_vec())));
    let shown = scene.rib.paths(&v4());
    let ids: Vec<u32> = shown.iter().map(|path| path.path_id.unwrap().0).collect();
    assert_eq!(ids, [0, 7, u32::MAX]);

    withdraw(&mut scene, A, 1);
    withdraw(&mut scene, B, 7);
    assert_eq!(used(&mut scene), None, "nobody told that");
    withdraw(&mut scene, A, 0);
    assert_eq!(used(&mut scene), Some(Forwarding::Via(all[1..].to_vec())), "the others stay");
    // The same identifier again replaces the path, and no other.
    tell(&mut scene, A, 7, "198.51.100.9", along(&[65000]));
    let now = [all[2], hop("198.51.100.9")];
    assert_eq!(used(&mut scene), Some(Forwarding::Via(now.to_vec())));
    assert_eq!(scene.rib.counts(PeerId(A), V4).unwrap().received, 2);
    // Equal in all but that.
    let mut one = Scene::new(settings());
    one.up_as(A, peer(A, PeerKind::External), with_paths(A, true, false));
    for id in [4, 2, 3] {
        tell(&mut one, A, id, "198.51.100.1", along(&[65000]));
    }
    let best: Vec<_> = one.rib.paths(&v4()).iter().map(|p| (p.path_id, p.status.clone())).collect();
    assert_eq!(best[0], (Some(PathId(2)), PathStatus::Best));
    assert_eq!(best[1].1, PathStatus::Lost(Reason::PathId));
}

#[test]
fn an_identifier_stays_with_its_path_and_goes_to_no_other_that_could_be_taken_for_it() {
    let mut scene = scene(SendPaths::All);
    tell(&mut scene, A, 0, "198.51.100.1", along(&[65000]));
    tell(&mut scene, A, 9, "198.51.100.2", along(&[65000]));
    scene.learn(B, one_update(along(&[65001])));
    scene.tell(CLIENT);
    let first = heard(scene.ear(CLIENT));
    assert_eq!(first.len(), 3, "{first:?}");
    // Changed in all but what it is: told anew under the same number.
    tell(&mut scene, A, 9, "198.51.100.3", along(&[65000, 65005]));
    scene.tell(CLIENT);
    let id = |all: &[(NextHop, u32)], at: &str| {
        all.iter().find(|(known, _)| *known == hop(at)).map(|(_, id)| *id)
    };
    let second = heard(scene.ear(CLIENT));
    assert_eq!(id(&second, "198.51.100.3"), id(&first, "198.51.100.2"), "{second:?}");
    // One goes and another comes before the client was asked: never under the same number,
    // and not as long as it believes in the old one.
    withdraw(&mut scene, A, 9);
    tell(&mut scene, A, 10, "198.51.100.4", along(&[65000]));
    scene.tell(CLIENT);
    let third = heard(scene.ear(CLIENT));
    assert!(!first.iter().any(|(_, before)| Some(*before) == id(&third, "198.51.100.4")));
    assert_eq!(third.len(), 3, "{third:?}");
    // Many come and go: numbers are used again, but the client never mixes two.
    for round in 0..2000 {
        withdraw(&mut scene, A, 100 + round);
        tell(&mut scene, A, 101 + round, "198.51.100.5", along(&[65000]));
        if round % 3 == 0 {
            scene.tell(CLIENT);
            assert_eq!(heard(scene.ear(CLIENT)).len(), 4, "round {round}");
        }
    }
    let highest = heard(scene.ear(CLIENT)).iter().map(|(_, id)| *id).max();
    assert!(highest < Some(1000), "numbers are used again: {highest:?}");
}

#[test]
fn the_best_so_many_are_told_and_another_number_sends_the_difference() {
    let mut scene = scene(SendPaths::Best(2));
    for (id, preference) in [(1, 1), (2, 2), (3, 3)] {
        let next_hop = format!("198.51.100.{id}");
        tell(&mut scene, A, id, &next_hop, preferred(A, preference));
    }
    scene.tell(CLIENT);
    assert_eq!(hops(scene.ear(CLIENT)), ["198.51.100.2", "198.51.100.3"]);
    tell(&mut scene, A, 4, "198.51.100.4", preferred(A, 4));
    scene.tell(CLIENT);
    assert_eq!(hops(scene.ear(CLIENT)), ["198.51.100.3", "198.51.100.4"]);
    let mut change = |send, want: &[&str], news: usize| {
        scene.ears.get_mut(&CLIENT).unwrap().heard.clear();
        scene.rib.configure_peer(PeerId(CLIENT), told(CLIENT, PeerKind::ReflectorClient, send));
        scene.tell(CLIENT);
        assert_eq!(hops(scene.ear(CLIENT)), want, "{send:?}");
        // What was announced last may be told once more: nobody keeps whether it was.
        let heard = &scene.ear(CLIENT).heard;
        assert!((news..=news + usize::from(news > 0)).contains(&heard.len()), "{heard:?}");
    };
    change(SendPaths::Best(3), &["198.51.100.2", "198.51.100.3", "198.51.100.4"], 1);
    change(SendPaths::Best(3), &["198.51.100.2", "198.51.100.3", "198.51.100.4"], 0);
    change(SendPaths::All, &["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"], 1);
    change(SendPaths::Best(2), &["198.51.100.3", "198.51.100.4"], 2);
    // Until the session begins anew without it.
    change(SendPaths::One, &["198.51.100.4"], 1);
    // The second best takes the place of the best.
    withdraw(&mut scene, A, 4);
    scene.tell(CLIENT);
    assert_eq!(hops(scene.ear(CLIENT)), ["198.51.100.3"]);
}

#[test]
fn what_can_be_reached_is_told_all_the_time_even_if_all_paths_change_at_once() {
    for send in [SendPaths::All, SendPaths::Best(2)] {
        let mut scene = scene(send);
        tell(&mut scene, A, 1, "198.51.100.1", preferred(A, 1));
        tell(&mut scene, A, 2, "198.51.100.2", preferred(A, 2));
        scene.tell(CLIENT);
        withdraw(&mut scene, A, 1);
        withdraw(&mut scene, A, 2);
        for id in 3..6 {
            tell(&mut scene, A, id, &format!("198.51.100.{id}"), preferred(A, 3));
        }
        // However little is taken at a time.
        let mut more = true;
        while more {
            let told = scene.rib.advertise(PeerId(CLIENT), 1);
            scene.ears.get_mut(&CLIENT).unwrap().listen(&told);
            more = told.more;
        }
        assert_eq!(scene.ear(CLIENT).bereft, [], "{send:?}");
        scene.ears.get_mut(&CLIENT).unwrap().heard.clear();
        for id in 6..9 {
            tell(&mut scene, A, id, &format!("198.51.100.{id}"), preferred(A, 9));
        }
        for id in 3..6 {
            withdraw(&mut scene, A, id);
        }
        scene.tell(CLIENT);
        let ear = scene.ear(CLIENT);
        assert!(matches!(ear.heard[0], Heard::Announced(_)), "{send:?}: {:?}", ear.heard);
        assert_eq!(ear.bereft, [], "{send:?}");
        for id in 6..9 {
            withdraw(&mut scene, A, id);
        }
        scene.tell(CLIENT);
        assert_eq!(scene.ear(CLIENT).bereft, [v4()], "{send:?}: nothing is left");
    }
}

#[test]
fn what_is_told_before_the_begin_mark_of_a_refresh_is_told_again_behind_it() {
    for send in [SendPaths::One, SendPaths::All] {
        let mut scene = Scene::new(settings());
        scene.up_as(A, peer(A, PeerKind::External), with_paths(A, true, false));
        let mut client = with_paths(CLIENT, false, send != SendPaths::One);
        client.negotiated.enhanced_refresh = true;
        scene.up_as(CLIENT, told(CLIENT, PeerKind::Internal, send), client);
        scene.tell(CLIENT);
        tell(&mut scene, A, 1, "198.51.100.1", along(&[65000]));
        scene.rib.refresh(PeerId(CLIENT), V4);
        scene.tell(CLIENT);
        let ear = scene.ear(CLIENT);
        assert_eq!(ear.paths.len() + ear.told.len(), 1, "{send:?}: {:?}", ear.heard);
        assert_eq!(ear.heard.last(), Some(&Heard::Mark(Refresh::End)), "{send:?}");
    }
}

#[test]
fn what_may_be_told_to_whom_holds_for_each_path() {
    let mut scene = scene(SendPaths::All);
    let all = |number, kind| told(number, kind, SendPaths::All);
    // From two internal peers, one a client, and from outside; all are told all that they may be.
    for (number, kind) in [(10, PeerKind::Internal), (11, PeerKind::ReflectorClient)] {
        scene.up_as(number, all(number, kind), with_paths(number, true, true));
    }
    scene.up_as(12, all(12, PeerKind::Internal), with_paths(12, true, true));
    scene.up_as(13, all(13, PeerKind::External), with_paths(13, true, true));
    let provider = RibPeer { role: Some(Role::Customer), ..all(14, PeerKind::External) };
    scene.up_as(14, provider, with_paths(14, true, true));
    tell(&mut scene, A, 1, "198.51.100.1", along(&[65000]));
    tell(&mut scene, A, 2, "198.51.100.2", with_community(Community::NO_EXPORT, &[65000]));
    tell(&mut scene, 10, 1, "198.51.100.3", along(&[]));
    tell(&mut scene, 11, 1, "198.51.100.4", along(&[]));
    let leak = Attributes { only_to_customer: Some(65000), ..along(&[65000]) };
    tell(&mut scene, A, 3, "198.51.100.5", leak);
    scene.tell_all();
    for (to, want) in [
        (CLIENT, &[1, 2, 3, 4, 5][..]),
        (10, &[1, 2, 4, 5]),
        (11, &[1, 2, 3, 5]),
        (12, &[1, 2, 4, 5]),
    ] {
        let want: Vec<String> = want.iter().map(|n| format!("198.51.100.{n}")).collect();
        assert_eq!(hops(scene.ear(to)), want, "peer {to}");
    }
    assert_eq!(scene.ear(13).paths.len(), 4, "all but what must not leave our AS");
    assert_eq!(scene.ear(14).paths.len(), 3, "nor what is for customers only");
    assert_eq!(scene.ear(B).told.len(), 1, "who is told one is told the best");
}

#[test]
fn who_is_told_one_hears_the_same_octets_whoever_else_is_told_several() {
    let run = |others: bool| {
        let mut scene = Scene::new(settings());
        scene.up(A, PeerKind::External);
        scene.up(B, PeerKind::External);
        scene.up(2, PeerKind::Internal);
        if others {
            let all = told(CLIENT, PeerKind::Internal, SendPaths::All);
            scene.up_as(CLIENT, all, with_paths(CLIENT, true, true));
        }
        let mut octets = Vec::new();
        for step in 0..6 {
            match step {
                0 => scene.learn(A, one_update(along(&[65000, 65009]))),
                1 => scene.learn(B, one_update(along(&[65001]))),
                2 => scene.rib.refresh(PeerId(2), V4),
                3 => scene.learn(A, one_update(along(&[65000]))),
                4 => scene.rib.session_down(PeerId(B)),
                _ => scene.rib.session_down(PeerId(A)),
            }
            let told = scene.rib.advertise(PeerId(2), 100_000).messages;
            octets.extend(told.iter().map(|message| message.to_vec()));
            scene.rib.take_changes();
        }
        octets
    };
    let alone = run(false);
    assert!(alone.len() > 5, "{alone:?}");
    assert_eq!(run(true), alone);
}

#[test]
fn all_who_are_told_the_same_share_one_encoding_and_numbers_go_with_the_last_of_them() {
    let mut scene = scene(SendPaths::All);
    let all = |number| told(number, PeerKind::ReflectorClient, SendPaths::All);
    for number in 6..9 {
        scene.up_as(number, all(number), with_paths(number, false, true));
    }
    scene.tell_all();
    let before = scene.rib.totals();
    for id in 0..10 {
        tell(&mut scene, A, id, &format!("198.51.100.{id}"), along(&[65000]));
    }
    scene.tell_all();
    let after = scene.rib.totals();
    // Ten for the four clients together, and one for B.
    assert_eq!((before.groups, after.groups, after.encoded - before.encoded), (2, 2, 11));
    assert_eq!(heard(scene.ear(7)), heard(scene.ear(CLIENT)));
    for number in [CLIENT, 6, 7, 8] {
        scene.rib.session_down(PeerId(number));
    }
    // Who comes then begins with all there is.
    scene.up_as(6, all(6), with_paths(6, false, true));
    scene.tell(6);
    assert_eq!(scene.ear(6).paths.len(), 10);
}

#[test]
fn each_path_counts_against_the_limit_and_is_refused_for_itself() {
    let mut scene = scene(SendPaths::All);
    let action = LimitAction::Restart(std::time::Duration::from_secs(60));
    let limits = PrefixLimits { most: [Some(3), None], action, ..PrefixLimits::NONE };
    let limited = RibPeer { limits, ..peer(A, PeerKind::External) };
    scene.up_as(A, limited, with_paths(A, true, false));
    // One is refused for a loop and counts; told again is not one more.
    tell(&mut scene, A, 1, "198.51.100.1", along(&[65000]));
    tell(&mut scene, A, 2, "198.51.100.2", along(&[65000, crate::support::OUR_AS]));
    tell(&mut scene, A, 3, "198.51.100.3", along(&[65000]));
    tell(&mut scene, A, 3, "198.51.100.4", along(&[65000]));
    let counts = scene.rib.counts(PeerId(A), V4).unwrap();
    assert_eq!((counts.received, counts.accepted, counts.rejected), (3, 2, 1));
    let last = scene.rib.take_limit_news().pop().map(|news| news.level);
    assert_eq!(last, Some(LimitLevel::Near));
    tell(&mut scene, A, 4, "198.51.100.5", along(&[65000]));
    let last = scene.rib.take_limit_news().pop().map(|news| news.level);
    assert_eq!(last, Some(LimitLevel::Over));
    assert_eq!(scene.rib.counts(PeerId(A), V4).unwrap().received, 3);
}

#[test]
fn of_one_prefix_a_peer_is_believed_so_many_paths_and_others_are_counted() {
    let mut scene = Scene::new(settings());
    scene.up_as(A, peer(A, PeerKind::External), with_paths(A, true, false));
    scene.up_as(B, peer(B, PeerKind::External), with_paths(B, true, false));
    let most = u32::try_from(PATHS_OF_ONE_PEER).unwrap();
    for id in 0..most + 5 {
        tell(&mut scene, A, id, "198.51.100.1", along(&[65000]));
    }
    let figures = |scene: &Scene, of: u32| {
        let counts = scene.rib.counts(PeerId(of), V4).unwrap();
        (counts.received, scene.rib.beyond_paths(PeerId(of), V4))
    };
    assert_eq!(figures(&scene, A), (PATHS_OF_ONE_PEER, 5));
    assert_eq!(scene.rib.take_crowds(), [(PeerId(A), v4())], "said once");
    // What it told before may change, and there is room for others and of others.
    tell(&mut scene, A, 3, "198.51.100.2", along(&[65000]));
    tell(&mut scene, B, 3, "198.51.100.2", along(&[65001]));
    let other = Nlri { prefix: crate::support::prefix("10.99.0.0/16"), path_id: PathId(9) };
    let announced = vec![Announcement { next_hop: hop("198.51.100.1"), prefixes: vec![other] }];
    let attributes = Some(along(&[65000]));
    scene.learn(A, Update { withdrawn: vec![], announced, attributes });
    assert_eq!(figures(&scene, A), (PATHS_OF_ONE_PEER + 1, 5));
    assert_eq!(figures(&scene, B), (1, 0));
    withdraw(&mut scene, A, 4);
    withdraw(&mut scene, A, most + 1);
    tell(&mut scene, A, most + 1, "198.51.100.1", along(&[65000]));
    tell(&mut scene, A, most + 2, "198.51.100.1", along(&[65000]));
    assert_eq!(figures(&scene, A), (PATHS_OF_ONE_PEER + 1, 6));
    assert_eq!(scene.rib.take_crowds(), [], "it was said in this session");
    // After a restart under other identifiers all are told again.
    scene.rib.session_lost(PeerId(A), [Some(Stale::Restarting); 2]);
    let mut again = restart(A, Some(true));
    again.negotiated.add_paths.receive = [true; 2];
    scene.up_as(A, peer(A, PeerKind::External), again);
    for id in 0..most + 1 {
        tell(&mut scene, A, 9000 + id, "198.51.100.1", along(&[65000]));
    }
    assert_eq!(scene.rib.take_crowds(), [(PeerId(A), v4())]);
    scene.rib.end_of_rib(PeerId(A), V4);
    assert_eq!(figures(&scene, A), (PATHS_OF_ONE_PEER, 7));
}

#[test]
fn a_restart_with_other_identifiers_moves_nothing() {
    let mut scene = scene(SendPaths::All);
    let ways = [("198.51.100.1", 1, 8), ("198.51.100.2", 2, 9)];
    for (next_hop, id, _) in ways {
        tell(&mut scene, A, id, next_hop, along(&[65000]));
    }
    scene.tell_all();
    scene.rib.take_changes();
    scene.rib.session_lost(PeerId(A), [Some(Stale::Restarting); 2]);
    let mut again = restart(A, Some(true));
    again.negotiated.add_paths.receive = [true; 2];
    scene.up_as(A, peer(A, PeerKind::External), again);
    for (next_hop, _, id) in ways {
        tell(&mut scene, A, id, next_hop, along(&[65000]));
    }
    assert_eq!(scene.rib.counts(PeerId(A), V4).unwrap().stale, 2);
    scene.rib.end_of_rib(PeerId(A), V4);
    assert_eq!(used(&mut scene), None, "the same ways all the time");
    let counts = scene.rib.counts(PeerId(A), V4).unwrap();
    assert_eq!((counts.received, counts.stale), (2, 0));
    scene.tell(CLIENT);
    assert_eq!(hops(scene.ear(CLIENT)), ["198.51.100.1", "198.51.100.2"]);
}

#[test]
fn what_is_not_told_again_of_a_prefix_goes_path_by_path() {
    let mut scene = scene(SendPaths::All);
    for id in 0..3 {
        tell(&mut scene, A, id, &format!("198.51.100.{id}"), along(&[65000]));
    }
    scene.rib.refresh_begins(PeerId(A), V4);
    tell(&mut scene, A, 1, "198.51.100.1", along(&[65000]));
    tell(&mut scene, A, 5, "198.51.100.5", along(&[65000]));
    assert_eq!(scene.rib.refresh_ends(PeerId(A), V4), 2);
    let left = [hop("198.51.100.1"), hop("198.51.100.5")];
    assert_eq!(used(&mut scene), Some(Forwarding::Via(left.to_vec())));
    // A client's own refresh tells every path again.
    scene.tell(CLIENT);
    scene.ears.get_mut(&CLIENT).unwrap().heard.clear();
    scene.rib.refresh(PeerId(CLIENT), V4);
    scene.tell(CLIENT);
    assert_eq!(scene.ear(CLIENT).heard, [Heard::Announced(v4()), Heard::Announced(v4())]);
}

#[test]
fn a_path_whose_next_hop_is_lost_is_told_no_more() {
    let mut scene = Scene::new(RibSettings { track_next_hops: true, ..settings() });
    scene.up_as(A, peer(A, PeerKind::External), with_paths(A, true, false));
    let all = told(CLIENT, PeerKind::Internal, SendPaths::All);
    scene.up_as(CLIENT, all, with_paths(CLIENT, false, true));
    let ways = ["198.51.100.1", "198.51.100.2"];
    for (id, next_hop) in (0..).zip(ways) {
        tell(&mut scene, A, id, next_hop, along(&[65000]));
    }
    scene.tell(CLIENT);
    assert_eq!(heard(scene.ear(CLIENT)), [], "neither is resolved yet");
    for next_hop in ways {
        scene.rib.resolve(hop(next_hop), Some(0));
    }
    scene.tell(CLIENT);
    assert_eq!(hops(scene.ear(CLIENT)), ways);
    // The one that is not best fails: nothing changes for whoever is told the best alone.
    scene.rib.resolve(hop(ways[1]), None);
    scene.tell(CLIENT);
    assert_eq!(hops(scene.ear(CLIENT)), ways[..1]);
}

#[test]
fn who_follows_a_peer_sees_each_of_its_paths_and_which_are_gone() {
    let mut scene = scene(SendPaths::All);
    let watch = scene.rib.watch();
    for peer in [A, B] {
        scene.rib.follow(watch, Watched::Peer(PeerId(peer)));
    }
    let look = |scene: &mut Scene, peer: u32| -> Vec<(u32, bool)> {
        let looks = scene.rib.look(watch, Watched::Peer(PeerId(peer)), V4, 100);
        looks.iter().map(|look| (look.nlri.path_id.0, look.path.is_some())).collect()
    };
    for id in [0, 2] {
        tell(&mut scene, A, id, "198.51.100.1", along(&[65000]));
    }
    scene.learn(B, one_update(along(&[65001])));
    assert_eq!(look(&mut scene, A), [(0, true), (2, true)]);
    assert_eq!(look(&mut scene, B), [(0, true)]);
    withdraw(&mut scene, A, 0);
    tell(&mut scene, A, 7, "198.51.100.1", along(&[65000]));
    let mut seen = look(&mut scene, A);
    seen.sort_unstable();
    assert_eq!(seen, [(0, false), (2, true), (7, true)]);
    // What came back before anybody looked is not gone.
    withdraw(&mut scene, A, 2);
    tell(&mut scene, A, 2, "198.51.100.1", along(&[65000]));
    let mut seen = look(&mut scene, A);
    seen.sort_unstable();
    assert_eq!(seen, [(2, true), (7, true)]);
    for id in [2, 7] {
        withdraw(&mut scene, A, id);
    }
    assert_eq!(look(&mut scene, A), [(2, false), (7, false)]);
}
