//! What readers are told of changes of paths in use, and what reading costs.

use std::time::{Duration, Instant, SystemTime};

use brindle_bgp::rib::{Cause, Changes, Gap, PeerId, PeerKind, Place, RouteChange};

use super::support::*;

/// The RIB never asks for the time; tests only need some instant to count from.
#[expect(clippy::disallowed_methods, reason = "there is no other instant to begin with")]
fn some_instant() -> Instant {
    Instant::now()
}

fn begin(limit: usize) -> (Scene, Instant) {
    let mut scene = Scene::new(settings());
    scene.up(1, PeerKind::External);
    scene.up(2, PeerKind::External);
    let now = some_instant();
    scene.rib.record(7, limit, now + Duration::from_secs(60));
    (scene, now)
}

fn at(count: u64) -> Option<Place> {
    Some(Place { history: 7, count })
}

fn read(scene: &Scene, from: u64) -> Changes {
    scene.rib.read_history(at(from), 100).unwrap()
}

/// Whence the paths before and after are, and the cause.
fn told(change: &RouteChange) -> (Vec<&str>, Vec<&str>, &Cause) {
    let names = |paths: &[brindle_bgp::rib::UsedPath]| -> Vec<&'static str> {
        let name = |path: &brindle_bgp::rib::UsedPath| match path.from.as_deref() {
            Some("peer1") => "peer1",
            Some("peer2") => "peer2",
            Some(other) => panic!("{other}"),
            None => "ours",
        };
        paths.iter().map(name).collect()
    };
    (names(&change.before), names(&change.after), &change.cause)
}

#[test]
fn each_change_of_the_paths_in_use_is_told_with_what_was_before_and_why() {
    let (mut scene, now) = begin(100);
    scene.learn(1, one_update(along(&[65001, 7, 7])));
    scene.learn(2, one_update(along(&[65002, 7])));
    // Not used before, not used after.
    scene.learn(1, one_update(along(&[65001, 7, 7, 7])));
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    scene.rib.note_time(time, now);
    scene.learn(2, withdraw(&[v4()]));
    scene.rib.session_down(PeerId(1));
    let later = time + Duration::from_secs(1);
    scene.rib.note_time(later, now);

    let name = |number: u32| Some(format!("peer{number}").into());
    let Changes { changes, gap, next } = read(&scene, 0);
    assert_eq!((gap, next), (None, at(4).unwrap()));
    let told: Vec<_> = changes.iter().map(told).collect();
    let (one, two) = (vec!["peer1"], vec!["peer2"]);
    assert_eq!(
        told,
        [
            (vec![], one.clone(), &Cause::Announced(name(1))),
            (one.clone(), two.clone(), &Cause::Announced(name(2))),
            (two, one.clone(), &Cause::Withdrawn(name(2))),
            (one, vec![], &Cause::Withdrawn(name(1))),
        ]
    );
    let times: Vec<_> = changes.iter().map(|change| change.at).collect();
    assert_eq!(times, [time, time, later, later]);
    assert_eq!(changes[1].after[0].attributes.as_path, path_of(&[65002, 7]));
    assert_eq!(changes[1].after[0].next_hop, Some(hop("198.51.100.1")));
}

#[test]
fn reading_goes_on_where_it_ended() {
    let (mut scene, _) = begin(100);
    let begins = scene.rib.read_history(None, 100).unwrap();
    assert_eq!(begins, Changes { changes: vec![], gap: None, next: at(0).unwrap() });
    for number in 0..5 {
        scene.learn(1, announce(&[numbered(number)], hop("198.51.100.1"), along(&[65001])));
    }
    let mut seen = Vec::new();
    let mut from = begins.next;
    loop {
        let Changes { changes, gap, next } = scene.rib.read_history(Some(from), 2).unwrap();
        assert_eq!((gap, next.count), (None, from.count + changes.len() as u64));
        assert!(changes.len() <= 2, "a path each");
        if changes.is_empty() {
            break;
        }
        seen.extend(changes.into_iter().map(|change| change.prefix));
        from = next;
    }
    assert_eq!(seen, [0, 1, 2, 3, 4].map(numbered));
    let one = scene.rib.read_history(Some(begins.next), 0).unwrap();
    assert_eq!(one.changes.len(), 1, "it goes on, however many paths a change has");
    assert_eq!(scene.rib.end_of_history(), Some(from));
}

#[test]
fn who_is_too_slow_is_told_so_and_what_is_kept_is_bounded() {
    let (mut scene, _) = begin(3);
    for number in 0..5 {
        scene.learn(1, announce(&[numbered(number)], hop("198.51.100.1"), along(&[65001])));
    }
    assert_eq!(read(&scene, 2).changes.len(), 3, "all that is kept");
    for (from, missed) in [(0, 5), (1, 4)] {
        let want =
            Changes { changes: vec![], gap: Some(Gap::Missed(missed)), next: at(5).unwrap() };
        assert_eq!(read(&scene, from), want);
    }
}

#[test]
fn nothing_is_written_for_nobody_and_another_history_is_not_taken_for_the_same() {
    let mut scene = Scene::new(settings());
    scene.up(1, PeerKind::External);
    let now = some_instant();
    scene.learn(1, one_update(along(&[65001])));
    assert_eq!(scene.rib.read_history(None, 10), None);
    assert_eq!(scene.rib.end_of_history(), None);

    let lease = Duration::from_secs(60);
    scene.rib.record(7, 10, now + lease);
    scene.learn(1, withdraw(&[v4()]));
    scene.rib.note_time(SystemTime::UNIX_EPOCH, now + lease / 2);
    // Read again, it goes on for longer under the name that it has.
    scene.rib.record(8, 10, now + 2 * lease);
    scene.rib.note_time(SystemTime::UNIX_EPOCH, now + lease * 3 / 2);
    assert_eq!(read(&scene, 0).changes.len(), 1);
    scene.rib.note_time(SystemTime::UNIX_EPOCH, now + lease * 5 / 2);
    assert_eq!(scene.rib.read_history(at(1), 10), None, "nobody reads any more");

    scene.learn(1, one_update(along(&[65001])));
    scene.rib.record(9, 10, now + 4 * lease);
    let other = Place { history: 9, count: 0 };
    let unknown = Changes { changes: vec![], gap: Some(Gap::OtherHistory), next: other };
    assert_eq!(read(&scene, 1), unknown);
    let never = Place { count: 1, ..other };
    assert_eq!(scene.rib.read_history(Some(never), 10), Some(unknown), "not reached yet");
}

#[test]
fn of_several_paths_of_a_peer_it_is_told_which() {
    use brindle_bgp::msg::{AddPaths, Announcement, Nlri, PathId, Update};
    let mut scene = Scene::new(settings());
    let mut with_ids = session(1);
    with_ids.negotiated.add_paths = AddPaths { receive: [true, false], ..AddPaths::default() };
    scene.up_as(1, peer(1, PeerKind::External), with_ids);
    scene.up(2, PeerKind::External);
    scene.rib.record(7, 10, some_instant());
    for id in [PathId(0), PathId(3)] {
        let nlri = Nlri { prefix: v4(), path_id: id };
        let next_hop = hop("198.51.100.1");
        let asns: &[u32] = if id.0 == 0 { &[65001, 9, 9] } else { &[65001, 9] };
        scene.learn(
            1,
            Update {
                withdrawn: Vec::new(),
                announced: vec![Announcement { next_hop, prefixes: vec![nlri] }],
                attributes: Some(along(asns)),
            },
        );
    }
    scene.learn(2, one_update(along(&[65002])));
    let changes = read(&scene, 0).changes;
    let ids: Vec<_> = changes.iter().map(|change| change.after[0].path_id).collect();
    assert_eq!(ids, [Some(PathId(0)), Some(PathId(3)), None]);
}
