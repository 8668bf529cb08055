//! The speaker with a fib that a test plays: what it is told, and in which order.

use arc_swap::ArcSwap;
use brindle_bgp::rib::Forwarding;

use super::*;

/// A speaker whose fib the test is.
struct Played {
    speaker: Speaker,
    commands: mpsc::Receiver<fib::Command>,
    events: mpsc::Sender<fib::Event>,
}

fn played(host: u8) -> Played {
    let address = IpAddr::from([127, 0, 0, host]);
    let asn = Asn::new(64512).unwrap();
    let router_id = RouterId::new(0x0A63_0000 | u32::from(host)).unwrap();
    let settings = RibSettings { track_next_hops: true, ..RibSettings::new(asn, router_id) };
    let (inbox, commands) = mpsc::channel(8);
    let (events, outbox) = mpsc::channel(8);
    let status = Arc::new(ArcSwap::from_pointee(fib::FibStatus::default()));
    let handle = fib::FibHandle { commands: inbox, status };
    let listeners = Listeners::bind(&[address], 0).unwrap();
    let address = listeners.addresses()[0];
    let handle = start(settings, listeners, Some((handle, outbox)));
    Played { speaker: Speaker { handle, address, asn, router_id }, commands, events }
}

impl Played {
    async fn command(&mut self) -> fib::Command {
        let next = tokio::time::timeout(Duration::from_secs(20), self.commands.recv());
        next.await.expect("waited in vain for a command").expect("the speaker lives")
    }

    async fn has_addresses(&self, addresses: &[IpAddr]) {
        self.has_link(true, addresses).await;
    }

    async fn has_link(&self, is_up: bool, addresses: &[IpAddr]) {
        let own = addresses.iter().map(|&address| fib::LocalAddress {
            interface: "lo".into(),
            index: 1,
            address,
            link: Prefix::new(address, 32).unwrap(),
            is_up,
        });
        self.events.send(fib::Event::OwnAddresses(own.collect())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_go_only_after_all_that_is_wanted_is_told() {
    let (mut a, b) = (played(141), speaker(142, 64512));
    let of_b = prefix("10.2.0.0/24");
    b.handle.set_originated(vec![of_b], Attributes::default()).await.unwrap();
    a.speaker.handle.set_peers(vec![peer(&a.speaker, &b, "b")]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a.speaker, "a")]).await.unwrap();
    let fib::Command::Watch(next_hops, _) = a.command().await else {
        panic!("the next hop comes first")
    };
    until("in sync", || async {
        let look = |view: &View<'_>| view.find("b").is_some_and(|(id, _)| view.rib.is_synced(id));
        a.speaker.handle.read(look).await.unwrap()
    })
    .await;
    // In sync, but the next hop is not found yet: the route is not wanted yet, either.
    a.speaker.handle.sweep().await.unwrap();
    until("the speaker has nothing to do", || async {
        a.speaker.handle.read(|_| true).await.unwrap()
    })
    .await;
    while let Ok(early) = a.commands.try_recv() {
        assert!(matches!(&early, fib::Command::Change(_)), "{early:?} came early");
    }
    let found = next_hops.iter().map(|next_hop| (*next_hop, Some(0))).collect();
    a.events.send(fib::Event::NextHops(found)).await.unwrap();
    let mut wanted = false;
    loop {
        match a.command().await {
            fib::Command::Change(changes) => {
                wanted |= changes
                    .iter()
                    .any(|change| change.prefix == of_b && !matches!(change.now, Forwarding::None));
            }
            fib::Command::Sweep => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(wanted, "leftovers went before the fib knew the route");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_address_and_comes_back_with_it_or_with_its_link() {
    let (a, b) = (played(151), speaker(152, 64512));
    let own = a.speaker.address.ip();
    a.has_addresses(&[own]).await;
    let mut wanted = peer(&a.speaker, &b, "b");
    // Alone, a lost address would be noticed after a minute and a half.
    wanted.session.hold_time = HoldTime::from_secs(90).unwrap();
    wanted.session.connect_retry = Duration::from_secs(600);
    wanted.session.connect_retry_max = Duration::from_secs(600);
    let mut passive = peer(&b, &a.speaker, "a");
    passive.session.passive = true;
    passive.session.hold_time = HoldTime::from_secs(90).unwrap();
    b.handle.set_peers(vec![passive.clone()]).await.unwrap();
    knows(&b.handle, "a").await;
    a.speaker.handle.set_peers(vec![wanted]).await.unwrap();
    until("up", || is_established(&a.speaker.handle, "b")).await;
    let before = established_at(&a.speaker.handle, "b").await;
    a.has_addresses(&[]).await;
    until("up anew", || async {
        let now = established_at(&a.speaker.handle, "b").await;
        now.is_some() && now != before
    })
    .await;
    a.has_addresses(&[own]).await;
    for is_pulled in [false, true] {
        // Lost by the other side: it would be ten minutes until the next attempt.
        b.handle.set_peers(vec![]).await.unwrap();
        until("down", || async { !is_established(&a.speaker.handle, "b").await }).await;
        b.handle.set_peers(vec![passive.clone()]).await.unwrap();
        knows(&b.handle, "a").await;
        if is_pulled {
            a.has_link(false, &[own]).await;
        } else {
            a.has_addresses(&[]).await;
        }
        a.has_addresses(&[own]).await;
        until("up at once", || is_established(&a.speaker.handle, "b")).await;
    }
}
