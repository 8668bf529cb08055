//! What is kept of peers without session, and what is told of it.

use super::*;

/// Our peer b, whose routes are kept, and those of 10.2.0.0/16 only.
fn kept(a: &Speaker, b: &Speaker) -> WantedPeer {
    let mut wanted = peer(a, b, "b");
    wanted.retain = true;
    wanted.mesh = true;
    wanted.rib.import = PeerPolicy::Owned([prefix("10.2.0.0/16")].into());
    wanted
}

/// Best and stale.
async fn is_kept(speaker: &SpeakerHandle, wanted: Prefix) -> bool {
    let look = move |view: &View<'_>| {
        let paths = view.rib.paths(&wanted);
        paths.iter().any(|path| path.status == PathStatus::Best && path.stale.is_some())
    };
    speaker.read(look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_peer_told_is_kept_until_it_is_not_wanted_any_more() {
    let (a, b) = (speaker(71, 64512), speaker(72, 64512));
    let (say, mut tidings) = mpsc::channel(16);
    a.handle.tell_of(say).await.unwrap();
    a.handle.set_peers(vec![kept(&a, &b)]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    let (owned, stolen) = (prefix("10.2.1.0/24"), prefix("10.3.0.0/24"));
    b.handle.set_originated(vec![owned, stolen], Attributes::default()).await.unwrap();
    until("b's prefix at a", || has_best(&a.handle, owned)).await;
    assert_eq!(tidings.recv().await, Some(Tiding::Up("b".into(), b.address.ip())));
    assert_eq!(tidings.recv().await, Some(Tiding::NotOwned("b".into(), stolen)));

    b.handle.stop(leave(Some("bye"))).await;
    until("it is kept", || is_kept(&a.handle, owned)).await;
    match tidings.recv().await {
        Some(Tiding::Down(name, _, why)) => assert!(&*name == "b" && why.contains("bye"), "{why}"),
        other => panic!("{other:?}"),
    }
    // Also what an earlier run of ours has left, as far as the peer may tell it.
    let earlier = prefix("10.2.7.0/24");
    let routes = [earlier, stolen].map(|prefix| (prefix, b.address.ip()));
    // A loopback address is no next hop: of a neighbour on a link it would be one.
    a.handle.adopt(routes.to_vec()).await.unwrap();
    assert!(!is_kept(&a.handle, earlier).await);
    let far = IpAddr::from([192, 0, 2, 2]);
    a.handle.adopt(vec![(earlier, far), (stolen, far)]).await.unwrap();
    assert!(is_kept(&a.handle, earlier).await);
    assert!(!is_kept(&a.handle, stolen).await);

    let mut less = kept(&a, &b);
    less.rib.import = PeerPolicy::Owned([earlier].into());
    a.handle.set_peers(vec![less.clone()]).await.unwrap();
    assert!(!is_kept(&a.handle, owned).await, "it is not its own any more");
    assert!(is_kept(&a.handle, earlier).await);
    less.retain = false;
    a.handle.set_peers(vec![less]).await.unwrap();
    assert!(!has_best(&a.handle, earlier).await, "nothing is kept any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_a_peer_that_an_operator_disables() {
    let (a, b) = (speaker(73, 64512), speaker(74, 64512));
    a.handle.set_peers(vec![kept(&a, &b)]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    let owned = prefix("10.2.1.0/24");
    b.handle.set_originated(vec![owned], Attributes::default()).await.unwrap();
    until("b's prefix at a", || has_best(&a.handle, owned)).await;
    assert_eq!(a.handle.act("b".to_owned(), Deed::Disable(None)).await.unwrap(), Ok(()));
    until("it is gone", || async { !has_best(&a.handle, owned).await }).await;
    // Nor if it is down when that happens.
    assert_eq!(a.handle.act("b".to_owned(), Deed::Enable).await.unwrap(), Ok(()));
    until("b's prefix at a", || has_best(&a.handle, owned)).await;
    b.handle.stop(leave(None)).await;
    until("it is kept", || is_kept(&a.handle, owned)).await;
    assert_eq!(a.handle.act("b".to_owned(), Deed::Disable(None)).await.unwrap(), Ok(()));
    until("it is gone", || async { !has_best(&a.handle, owned).await }).await;
}

#[tokio::test]
async fn a_peer_that_never_says_that_it_has_told_all_gets_a_while_for_it() {
    let (a, b) = (speaker(75, 64512), speaker(76, 64512));
    let settings = RibSettings::new(a.asn, a.router_id);
    let (_commands, orders) = mpsc::channel(1);
    let mut owner = owner::Owner::new(settings, orders, Listeners::bind(&[], 0).unwrap(), None);
    let (kept, id) = (kept(&a, &b), brindle_bgp::rib::PeerId(0));
    owner.set_peers(vec![kept]);
    owner.limit_stale(id);
    assert_eq!(owner.stale_deadline(), None, "nothing is kept");
    let earlier = prefix("10.2.7.0/24");
    owner.adopt(vec![(earlier, [192, 0, 2, 2].into())]);
    owner.limit_stale(id);
    let due = owner.stale_deadline().expect("something is kept");
    assert!(due > Instant::now());
    owner.end_stale();
    assert_eq!(owner.rib.paths(&earlier).len(), 1, "not yet");
    owner.stale_until.insert((id, Family::Ipv4Unicast), Instant::now());
    owner.end_stale();
    assert!(owner.rib.paths(&earlier).is_empty() && owner.stale_deadline().is_none());
}
