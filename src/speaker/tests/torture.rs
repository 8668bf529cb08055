//! What a peer may do, or suffer, without others noticing.

use brindle_bgp::fsm::Down;
use brindle_bgp::msg::Message;

use super::raw::{RawPeer, connect, raw_peer};
use super::*;

fn many(count: u32) -> Vec<Prefix> {
    (0..count).map(|i| Prefix::v4((0x1000_0000 | (i << 8)).into(), 24).unwrap()).collect()
}

async fn status(speaker: &SpeakerHandle, name: &'static str) -> Arc<PeerStatus> {
    speaker.read(move |view| view.find(name).unwrap().1.status()).await.unwrap()
}

async fn backlog(speaker: &SpeakerHandle, name: &'static str) -> usize {
    let look = move |view: &View<'_>| {
        let (_, entry) = view.find(name).unwrap();
        entry.counters().backlog.load(std::sync::atomic::Ordering::Relaxed)
    };
    speaker.read(look).await.unwrap()
}

/// `a` with peers `b` and `c`, all up.
async fn three(host: u8) -> (Speaker, Speaker, Speaker) {
    let (a, b, c) = (speaker(host, 64512), speaker(host + 1, 64513), speaker(host + 2, 64514));
    a.handle.set_peers(vec![peer(&a, &b, "b"), peer(&a, &c, "c")]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    c.handle.set_peers(vec![peer(&c, &a, "a")]).await.unwrap();
    for name in ["b", "c"] {
        until(name, || is_established(&a.handle, name)).await;
    }
    (a, b, c)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_peers_task_takes_that_peer_down_and_nothing_else() {
    let (a, b, _c) = three(71).await;
    let of_b = prefix("10.2.0.0/24");
    b.handle.set_originated(vec![of_b], Attributes::default()).await.unwrap();
    until("b's prefix", || has_best(&a.handle, of_b)).await;
    let (of_c, before) =
        (established_at(&a.handle, "c").await, established_at(&a.handle, "b").await);
    assert_eq!(a.handle.act("b".to_owned(), Deed::Panic).await.unwrap(), Ok(()));
    until("b's prefix gone", || async { !has_best(&a.handle, of_b).await }).await;
    let after_fault = status(&a.handle, "b").await;
    assert_ne!(after_fault.state, State::Established);
    assert!(after_fault.last_reason.as_deref().unwrap().contains("a fault in brindle"));
    until("b up anew", || async {
        let now = established_at(&a.handle, "b").await;
        now.is_some() && now != before
    })
    .await;
    until("b's prefix back", || has_best(&a.handle, of_b)).await;
    assert_eq!(established_at(&a.handle, "c").await, of_c, "c did not notice");
    let panics = a.handle.read(|view| view.faults.peers).await.unwrap();
    assert_eq!(panics, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_may_change_places_at_once() {
    let (a, b, c) = three(81).await;
    let before = (established_at(&a.handle, "b").await, established_at(&a.handle, "c").await);
    a.handle.set_peers(vec![peer(&a, &b, "c"), peer(&a, &c, "b")]).await.unwrap();
    for (name, address) in [("b", c.address.ip()), ("c", b.address.ip())] {
        until(name, || is_established(&a.handle, name)).await;
        let at = a.handle.read(move |view| view.find(name).unwrap().1.wanted.address).await;
        assert_eq!(at.unwrap(), address);
    }
    let after = (established_at(&a.handle, "b").await, established_at(&a.handle, "c").await);
    assert!(before.0 != after.0 && before.1 != after.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_peer_stays_disabled_whatever_changes() {
    let (a, b, _c) = three(91).await;
    assert_eq!(a.handle.act("b".to_owned(), Deed::Disable(None)).await.unwrap(), Ok(()));
    until("down", || async { !is_established(&b.handle, "a").await }).await;
    let mut changed = peer(&a, &b, "b");
    changed.session.hold_time = HoldTime::from_secs(12).unwrap();
    a.handle.set_peers(vec![changed]).await.unwrap();
    until("c forgotten", || async {
        a.handle.read(|view| view.find("c").is_none()).await.unwrap()
    })
    .await;
    assert!(a.handle.read(|view| view.find("b").unwrap().1.disabled).await.unwrap());
    // b dials all the time and is told that it is not wanted.
    until("b refused", || async {
        let heard = status(&b.handle, "a").await.last_received.clone();
        heard
            .is_some_and(|(heard, _)| heard.cease_reason() == Some(CeaseReason::ConnectionRejected))
    })
    .await;
    let why = status(&b.handle, "a").await.last_reason.clone();
    assert!(why.is_some_and(|why| why.contains("Administrative Shutdown")), "that says more");
    assert!(!is_established(&a.handle, "b").await);
    assert_eq!(a.handle.act("b".to_owned(), Deed::Enable).await.unwrap(), Ok(()));
    until("up again", || is_established(&a.handle, "b")).await;
}

/// The peer reads nothing; everybody else hears every change, nothing piles up for it, and
/// the send hold timer ends its session.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_costs_others_nothing() {
    let (a, b) = (speaker(101, 64512), speaker(102, 64512));
    let mut deaf = raw_peer(&a, 103, "deaf");
    deaf.session.hold_time = HoldTime::from_secs(3).unwrap();
    deaf.session.send_hold = Some(Duration::from_secs(6));
    a.handle.set_peers(vec![peer(&a, &b, "b"), deaf.clone()]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    until("b up", || is_established(&a.handle, "b")).await;
    let address = a.address;
    let raw =
        tokio::task::spawn_blocking(move || RawPeer::establish(address, 103, &deaf, Some(4096)));
    let raw = raw.await.unwrap();
    let _alive = raw.keep_alive();
    until("deaf up", || is_established(&a.handle, "deaf")).await;
    let of_b = established_at(&a.handle, "b").await;
    let all = many(20_000);
    let last = *all.last().unwrap();
    let (mut most, mut rounds) = (0, 0);
    let limit = Instant::now() + Duration::from_secs(60);
    while is_established(&a.handle, "deaf").await {
        assert!(Instant::now() < limit, "the send hold timer does not end it");
        rounds += 1;
        let attributes = Attributes { med: Some(rounds), ..Attributes::default() };
        a.handle.set_originated(all.clone(), attributes).await.unwrap();
        until("b has heard it", || async {
            let look = move |view: &View<'_>| {
                view.rib.paths(&last).iter().any(|path| path.attributes.med == Some(rounds))
            };
            b.handle.read(look).await.unwrap()
        })
        .await;
        most = most.max(backlog(&a.handle, "deaf").await);
    }
    assert!(rounds > 2, "{rounds} rounds only: the peer was not blocked by what it did not read");
    assert!(most <= 256 << 10, "{most} octets waited for a peer that does not read");
    assert_eq!(status(&a.handle, "deaf").await.last_down, Some(Down::SendHoldTimerExpired));
    assert_eq!(established_at(&a.handle, "b").await, of_b, "b did not notice");
    until("what waited is given back", || async { backlog(&a.handle, "deaf").await == 0 }).await;
}

/// With a hold time of three seconds, and a reader that needs several times as long for what
/// it is sent, both sides hear of each other in time.
#[tokio::test(flavor = "multi_thread")]
async fn keepalives_come_in_time_while_a_slow_peer_takes_all_routes() {
    let a = speaker(111, 64512);
    let mut slow = raw_peer(&a, 112, "slow");
    slow.session.hold_time = HoldTime::from_secs(3).unwrap();
    let prefixes = many(120_000);
    let count = prefixes.len();
    a.handle.set_originated(prefixes, Attributes::default()).await.unwrap();
    a.handle.set_peers(vec![slow.clone()]).await.unwrap();
    knows(&a.handle, "slow").await;
    let address = a.address;
    let heard = tokio::task::spawn_blocking(move || {
        let mut raw = RawPeer::establish(address, 112, &slow, Some(64 << 10));
        let _alive = raw.keep_alive();
        let start = Instant::now();
        let (mut prefixes, mut keepalives, mut longest) = (0, 0, Duration::ZERO);
        let mut last = start;
        while prefixes < count || start.elapsed() < Duration::from_secs(7) {
            match raw.hear().unwrap().expect("the session lives") {
                Message::Update(update) => {
                    prefixes += update.announced.iter().map(|a| a.prefixes.len()).sum::<usize>();
                    // As a peer that has much else to do. What the kernel holds goes before keepalives.
                    std::thread::sleep(Duration::from_millis(60));
                }
                Message::Keepalive => keepalives += 1,
                Message::EndOfRib(_) => {}
                other => panic!("{other:?}"),
            }
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        (start.elapsed(), keepalives, longest, raw)
    });
    let (took, keepalives, longest, _raw) = heard.await.unwrap();
    assert!(longest < Duration::from_secs(3), "nothing for {longest:?}");
    assert!(took >= Duration::from_secs(7) && keepalives >= 2, "{keepalives} in {took:?}");
    assert_eq!(status(&a.handle, "slow").await.flaps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_talks_on_still_hears_why_we_close() {
    let a = speaker(121, 64512);
    let talker = raw_peer(&a, 122, "talker");
    a.handle.set_peers(vec![talker.clone()]).await.unwrap();
    knows(&a.handle, "talker").await;
    let address = a.address;
    let raw = tokio::task::spawn_blocking(move || RawPeer::establish(address, 122, &talker, None));
    let mut raw = raw.await.unwrap();
    until("up", || is_established(&a.handle, "talker")).await;
    let mut talking = raw.stream.try_clone().unwrap();
    let talk = std::thread::spawn(move || {
        let keepalives: Vec<u8> = [&[0xFF; 16][..], &[0, 19, 4]].concat().repeat(500);
        while std::io::Write::write_all(&mut talking, &keepalives).is_ok() {}
    });
    let text = Some("maintenance".to_owned());
    assert_eq!(a.handle.act("talker".to_owned(), Deed::Disable(text)).await.unwrap(), Ok(()));
    let heard = tokio::task::spawn_blocking(move || {
        loop {
            match raw.hear() {
                Ok(Some(Message::Notification(notification))) => break notification.to_string(),
                Ok(Some(_)) => {}
                other => panic!("closed without a word: {other:?}"),
            }
        }
    });
    let heard = heard.await.unwrap();
    assert!(heard.contains("maintenance"), "{heard}");
    talk.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_connects_all_the_time_does_not_disturb_its_session() {
    let a = speaker(131, 64512);
    let wanted = raw_peer(&a, 132, "b");
    a.handle.set_peers(vec![wanted.clone()]).await.unwrap();
    knows(&a.handle, "b").await;
    let address = a.address;
    let raw = tokio::task::spawn_blocking(move || RawPeer::establish(address, 132, &wanted, None));
    let raw = raw.await.unwrap();
    let _alive = raw.keep_alive();
    until("up", || is_established(&a.handle, "b")).await;
    let before = established_at(&a.handle, "b").await;
    let storm = move || (0..500).map(|_| connect(address, 132, None)).collect::<Vec<_>>();
    let strangers = tokio::task::spawn_blocking(storm).await.unwrap();
    let closed = tokio::task::spawn_blocking(move || {
        for mut stream in strangers {
            // Told why, or just closed; never kept.
            while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
        }
    });
    closed.await.unwrap();
    assert_eq!(established_at(&a.handle, "b").await, before);
}
