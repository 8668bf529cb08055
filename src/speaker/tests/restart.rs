//! Restarts of peers and of ourselves, and what is kept over them.

use brindle_bgp::fsm::{PeerRestart, RestartOffer, RestartTime};
use brindle_bgp::rib::{PeerId, Stale};

use super::*;

const V4: Family = Family::Ipv4Unicast;

/// How `us` sees `them`, with graceful restart of so many seconds.
fn restarting(us: &Speaker, them: &Speaker, name: &str, secs: u16) -> WantedPeer {
    let time = RestartTime::from_secs(secs).unwrap();
    let mut wanted = peer(us, them, name);
    let long_lived = Some(Duration::from_secs(60));
    wanted.session.graceful_restart = Some(RestartOffer { time, long_lived });
    wanted
}

/// Why the best path is kept; `None` if there is none or it is of a live session.
async fn kept(speaker: &SpeakerHandle, wanted: Prefix) -> Option<Stale> {
    let look = move |view: &View<'_>| {
        let paths = view.rib.paths(&wanted);
        paths.iter().find(|path| path.status == PathStatus::Best).and_then(|path| path.stale)
    };
    speaker.read(look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stops_to_restart_is_waited_for_and_one_that_leaves_is_not() {
    let told = prefix("10.2.1.0/24");
    for (host, mode, want) in
        [(81, StopMode::Restart, Some(Stale::Restarting)), (83, leave(Some("for good")), None)]
    {
        let (a, b) = (speaker(host, 64512), speaker(host + 1, 64512));
        a.handle.set_peers(vec![restarting(&a, &b, "b", 120)]).await.unwrap();
        b.handle.set_peers(vec![restarting(&b, &a, "a", 120)]).await.unwrap();
        b.handle.set_originated(vec![told], Attributes::default()).await.unwrap();
        until("b's prefix at a", || has_best(&a.handle, told)).await;
        b.handle.stop(mode.clone()).await;
        until("a sees the end", || async { !is_established(&a.handle, "b").await }).await;
        until("what becomes of it", || async {
            kept(&a.handle, told).await == want && has_best(&a.handle, told).await == want.is_some()
        })
        .await;
        let look = |view: &View<'_>| {
            let (id, entry) = view.find("b").unwrap();
            (entry.status().last_down.clone().unwrap().to_string(), view.kept_until(id, V4))
        };
        let (why, until) = a.handle.read(look).await.unwrap();
        match mode {
            StopMode::Restart => assert!(until.is_some_and(|at| at > Instant::now()), "{why}"),
            StopMode::Leave(..) => {
                assert!(why.contains("(6/9)") && why.contains("for good"), "{why}");
                assert_eq!(until, None);
            }
        }
        // Whom an operator disables is not waited for either.
        assert_eq!(a.handle.act("b".to_owned(), Deed::Disable(None)).await.unwrap(), Ok(()));
        until_gone(&a.handle, told).await;
    }
}

async fn until_gone(speaker: &SpeakerHandle, prefix: Prefix) {
    until("it is gone", || async { !has_best(speaker, prefix).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_back_in_time_is_given_up() {
    let (a, b) = (speaker(85, 64512), speaker(86, 64512));
    a.handle.set_peers(vec![restarting(&a, &b, "b", 120)]).await.unwrap();
    b.handle.set_peers(vec![restarting(&b, &a, "a", 1)]).await.unwrap();
    let told = prefix("10.2.1.0/24");
    b.handle.set_originated(vec![told], Attributes::default()).await.unwrap();
    until("b's prefix at a", || has_best(&a.handle, told)).await;
    b.handle.stop(StopMode::Restart).await;
    until_gone(&a.handle, told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_have_restarted_do_not_wait_for_each_other() {
    let (a, b) = (speaker(87, 64512), speaker(88, 64512));
    let own = OwnRestart { restarting: true, forwarding: [true; 2] };
    for one in [&a, &b] {
        // Should they wait, then for longer than any test.
        one.handle.restarted(own, Duration::from_secs(3600)).await.unwrap();
    }
    a.handle.set_peers(vec![restarting(&a, &b, "b", 120)]).await.unwrap();
    b.handle.set_peers(vec![restarting(&b, &a, "a", 120)]).await.unwrap();
    for (one, name) in [(&a, "b"), (&b, "a")] {
        assert!(
            one.handle.read(|view| view.rib.is_deferring()).await.unwrap(),
            "not all are known"
        );
        one.handle.complete().await.unwrap();
        until("it has told everything", || async {
            !one.handle.read(|view| view.rib.is_deferring()).await.unwrap()
        })
        .await;
        assert!(is_established(&one.handle, name).await);
    }
    for (one, name) in [(&a, "b"), (&b, "a")] {
        let is_synced = move |view: &View<'_>| view.rib.is_synced(view.find(name).unwrap().0);
        until("End-of-RIB", || async { one.handle.read(is_synced).await.unwrap() }).await;
    }
}

#[tokio::test]
async fn the_first_start_waits_for_nobody() {
    let a = speaker(89, 64512);
    let own = OwnRestart { restarting: false, forwarding: [false; 2] };
    a.handle.restarted(own, Duration::from_secs(3600)).await.unwrap();
    assert!(!a.handle.read(|view| view.rib.is_deferring()).await.unwrap());
}

#[tokio::test]
async fn after_the_restart_time_the_node_or_the_peers_own_wish_keeps_routes() {
    let (a, b) = (speaker(90, 64512), speaker(91, 64512));
    let settings = RibSettings::new(a.asn, a.router_id);
    let (kept, id) = (prefix("10.2.7.0/24"), PeerId(0));
    let hour = Duration::from_secs(3600);
    for (retain, long_lived, want) in [
        (true, Some((true, hour)), Some((Stale::Owned, false))),
        (false, Some((true, hour)), Some((Stale::LongLived, true))),
        (false, None, None),
    ] {
        let (_commands, orders) = mpsc::channel(1);
        let listeners = Listeners::bind(&[], 0).unwrap();
        let mut owner = owner::Owner::new(settings.clone(), orders, listeners, None);
        owner.set_peers(vec![WantedPeer { retain, ..restarting(&a, &b, "b", 120) }]);
        owner.peers.get_mut(&id).unwrap().restart = Some(PeerRestart {
            restarting: false,
            notification: true,
            time: hour,
            families: [Some(true); 2],
            long_lived: [long_lived; 2],
        });
        let next_hop = IpAddr::from([192, 0, 2, 2]).into();
        assert!(owner.rib.adopt(id, kept, next_hop, Stale::Restarting));
        owner.stale_until.insert((id, V4), Instant::now());
        owner.end_stale();
        let now = owner.rib.stale(id, V4).map(|why| (why, owner.stale_deadline().is_some()));
        assert_eq!(now, want, "retain {retain}, long-lived {long_lived:?}");
        if let Some((Stale::LongLived, _)) = now {
            let due = owner.stale_deadline();
            owner.limit_stale(id);
            assert_eq!(owner.stale_deadline(), due, "also once its session is back");
            owner.stale_until.insert((id, V4), Instant::now());
            owner.end_stale();
            assert!(owner.rib.paths(&kept).is_empty(), "it has been away for too long");
        }
    }
}
