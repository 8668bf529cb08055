//! The speaker with a fib that a test plays: what it is told, and in which order.

use std::net::Ipv4Addr;

use arc_swap::ArcSwap;
use brindle_bgp::msg::{Announcement, Message, Update};
use brindle_bgp::rib::Forwarding;

use super::raw::{RawPeer, raw_peer};
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

/// The next UPDATE that tells of prefixes.
fn hear_update(raw: &mut RawPeer) -> Update {
    loop {
        match raw.hear().unwrap().expect("the session goes on") {
            Message::Update(update) if update != Update::default() => return update,
            _ => {}
        }
    }
}

/// Reflects from one raw peer to another.
async fn reflecting(host: u8) -> (Played, RawPeer, RawPeer) {
    let a = played(host);
    let client = |host: u8, name| {
        let mut wanted = raw_peer(&a.speaker, host, name);
        wanted.rib.kind = PeerKind::ReflectorClient;
        wanted
    };
    let (up, down) = (client(host + 1, "up"), client(host + 2, "down"));
    a.speaker.handle.set_peers(vec![up.clone(), down.clone()]).await.unwrap();
    knows(&a.speaker.handle, "down").await;
    let to = a.speaker.address;
    let up = RawPeer::establish(to, host + 1, &up, None);
    let down = RawPeer::establish(to, host + 2, &down, None);
    (a, up, down)
}

fn announce(raw: &mut RawPeer, prefix: Prefix, next_hop: Ipv4Addr) {
    let announcement =
        Announcement { next_hop: IpAddr::from(next_hop).into(), prefixes: vec![prefix.into()] };
    let update = Update {
        withdrawn: vec![],
        announced: vec![announcement],
        attributes: Some(Attributes { local_pref: Some(100), ..Attributes::default() }),
    };
    raw.say(&Message::Update(update)).unwrap();
}

/// The next question of the speaker.
async fn question(a: &mut Played) -> Vec<fib::Gateway> {
    loop {
        match a.command().await {
            fib::Command::Watch(new, _) if !new.is_empty() => return new,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_hear_no_withdrawal_while_the_next_hop_of_what_replaces_a_path_is_looked_up() {
    let (mut a, mut up, mut down) = reflecting(161).await;
    let _alive = (up.keep_alive(), down.keep_alive());
    let reflected = prefix("10.2.0.0/24");
    for way in 1..=5 {
        let next_hop = Ipv4Addr::new(10, 9, 0, way);
        announce(&mut up, reflected, next_hop);
        let found = question(&mut a).await.into_iter().map(|hop| (hop, Some(0))).collect();
        // Time for what must not be said; peers wait longer here than they do in earnest.
        tokio::time::sleep(Duration::from_millis(20)).await;
        a.events.send(fib::Event::NextHops(found)).await.unwrap();
        let update = hear_update(&mut down);
        assert_eq!(update.withdrawn, [], "before {next_hop}");
        let told: Vec<_> = update.announced.iter().map(|told| told.next_hop).collect();
        assert_eq!(told, [IpAddr::from(next_hop).into()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_is_never_answered_keeps_no_peer_waiting_for_ever() {
    let (mut a, mut up, mut down) = reflecting(171).await;
    let _alive = (up.keep_alive(), down.keep_alive());
    let (lost, other) = (prefix("10.2.0.0/24"), prefix("10.3.0.0/24"));
    let (first, second) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
    announce(&mut up, lost, first);
    announce(&mut up, other, first);
    let found = question(&mut a).await.into_iter().map(|hop| (hop, Some(0))).collect();
    a.events.send(fib::Event::NextHops(found)).await.unwrap();
    let mut told = 0;
    while told < 2 {
        let update = hear_update(&mut down);
        told += update.announced.iter().map(|told| told.prefixes.len()).sum::<usize>();
    }
    announce(&mut up, lost, second);
    question(&mut a).await;
    assert_eq!(hear_update(&mut down).withdrawn, [lost.into()]);
    // And what needs no answer is told as ever.
    let gone = Update { withdrawn: vec![other.into()], ..Update::default() };
    up.say(&Message::Update(gone)).unwrap();
    assert_eq!(hear_update(&mut down).withdrawn, [other.into()]);
}
