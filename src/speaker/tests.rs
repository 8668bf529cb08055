//! Speakers on loopback, each on an address of its own.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use brindle_bgp::fsm::State;
use brindle_bgp::msg::{Attributes, HoldTime};
use brindle_bgp::net::{Asn, RouterId};
use brindle_bgp::rib::{OwnRoute, PathStatus, PeerKind, PeerPolicy};

use super::*;

mod incidents;
mod kernel;
mod raw;
mod restart;
mod retained;
mod torture;

struct Speaker {
    handle: SpeakerHandle,
    address: SocketAddr,
    asn: Asn,
    router_id: RouterId,
}

/// A speaker on `127.0.0.<host>` and a free port.
impl SpeakerHandle {
    /// Originates prefixes of pods, with one set of attributes.
    async fn set_originated(
        &self,
        prefixes: Vec<Prefix>,
        attributes: Attributes,
    ) -> Result<(), Gone> {
        let what = OwnRoute::Local;
        let own = |prefix| Originated { prefix, what, attributes: attributes.clone() };
        self.originate(prefixes.into_iter().map(own).collect()).await
    }
}

fn speaker(host: u8, asn: u32) -> Speaker {
    let address = IpAddr::from([127, 0, 0, host]);
    let (asn, router_id) =
        (Asn::new(asn).unwrap(), RouterId::new(0x0A63_0000 | u32::from(host)).unwrap());
    let settings = RibSettings::new(asn, router_id);
    let listeners = Listeners::bind(&[address], 0).unwrap();
    let address = listeners.addresses()[0];
    Speaker { handle: start(settings, listeners, None), address, asn, router_id }
}

/// How `us` sees `them`.
fn peer(us: &Speaker, them: &Speaker, name: &str) -> WantedPeer {
    let kind = if us.asn == them.asn { PeerKind::Internal } else { PeerKind::External };
    let session = PeerSettings {
        hold_time: HoldTime::from_secs(9).unwrap(),
        connect_retry: Duration::from_millis(50),
        connect_retry_max: Duration::from_millis(400),
        extended_next_hop: false,
        ..PeerSettings::new(us.asn, us.router_id, them.asn)
    };
    WantedPeer {
        port: them.address.port(),
        source: Some(us.address.ip()),
        own_addresses: vec![IpAddr::from(us.router_id.get().to_be_bytes())],
        ..WantedPeer::new(session, RibPeer::new(name, them.address.ip(), them.asn, kind))
    }
}

/// For good, and not only to be started again.
fn leave(text: Option<&str>) -> StopMode {
    StopMode::Leave(CeaseReason::AdministrativeShutdown, text.map(str::to_owned))
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Asks until the answer is yes; what it waited for is in the failure.
async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !ask().await {
        assert!(Instant::now() < limit, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn has_best(speaker: &SpeakerHandle, wanted: Prefix) -> bool {
    let look = move |view: &View<'_>| {
        view.rib.paths(&wanted).iter().any(|path| path.status == PathStatus::Best)
    };
    speaker.read(look).await.unwrap()
}

/// Waits until the speaker has the peer: earlier it closes connections of its address.
async fn knows(speaker: &SpeakerHandle, name: &'static str) {
    until(name, || async { speaker.read(move |view| view.find(name).is_some()).await.unwrap() })
        .await;
}

async fn is_established(speaker: &SpeakerHandle, name: &'static str) -> bool {
    let look = move |view: &View<'_>| {
        view.find(name).is_some_and(|(_, entry)| entry.status().state == State::Established)
    };
    speaker.read(look).await.unwrap()
}

async fn established_at(speaker: &SpeakerHandle, name: &'static str) -> Option<Instant> {
    let look = move |view: &View<'_>| {
        let status = view.find(name)?.1.status();
        (status.state == State::Established).then_some(status.since)
    };
    speaker.read(look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_speakers_tell_each_other_their_prefixes_and_withdraw_them() {
    let (a, b) = (speaker(11, 64512), speaker(12, 64512));
    a.handle.set_peers(vec![peer(&a, &b, "b")]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    let (of_a, of_b) = (prefix("10.1.0.0/24"), prefix("10.2.0.0/24"));
    a.handle.set_originated(vec![of_a], Attributes::default()).await.unwrap();
    b.handle.set_originated(vec![of_b], Attributes::default()).await.unwrap();
    until("a's prefix at b", || has_best(&b.handle, of_a)).await;
    until("b's prefix at a", || has_best(&a.handle, of_b)).await;
    a.handle.set_originated(vec![], Attributes::default()).await.unwrap();
    until("withdrawal at b", || async { !has_best(&b.handle, of_a).await }).await;
    a.handle.stop(leave(Some("bye"))).await;
    until("b notices", || async { !is_established(&b.handle, "a").await }).await;
    let why = b.handle.read(|view| view.find("a").unwrap().1.status().last_down.clone()).await;
    let why = why.unwrap().expect("the session ended for a reason").to_string();
    assert!(why.contains("bye"), "the text of the shutdown arrives: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_peer_leaves_the_session_of_the_other_alone() {
    let (a, b, c) = (speaker(21, 64512), speaker(22, 64512), speaker(23, 64512));
    let wanted = |hold: u16| {
        let mut to_c = peer(&a, &c, "c");
        to_c.session.hold_time = HoldTime::from_secs(hold).unwrap();
        vec![peer(&a, &b, "b"), to_c]
    };
    a.handle.set_peers(wanted(9)).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    c.handle.set_peers(vec![peer(&c, &a, "a")]).await.unwrap();
    for name in ["b", "c"] {
        until("both peers up", || is_established(&a.handle, name)).await;
    }
    let (b_before, c_before) =
        (established_at(&a.handle, "b").await, established_at(&a.handle, "c").await);
    a.handle.set_peers(wanted(12)).await.unwrap();
    until("c up anew", || async {
        let now = established_at(&a.handle, "c").await;
        now.is_some() && now != c_before
    })
    .await;
    assert_eq!(established_at(&a.handle, "b").await, b_before);
    a.handle.set_peers(wanted(12).into_iter().take(1).collect()).await.unwrap();
    until("c forgotten", || async {
        a.handle.read(|view| view.find("c").is_none()).await.unwrap()
    })
    .await;
    assert_eq!(established_at(&a.handle, "b").await, b_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_edit_keeps_the_session() {
    let (a, b) = (speaker(31, 64512), speaker(32, 64512));
    a.handle.set_peers(vec![peer(&a, &b, "b")]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    let of_b = prefix("10.2.0.0/24");
    b.handle.set_originated(vec![of_b], Attributes::default()).await.unwrap();
    until("b's prefix at a", || has_best(&a.handle, of_b)).await;
    let before = established_at(&a.handle, "b").await;
    let mut refusing = peer(&a, &b, "b");
    refusing.rib.import = PeerPolicy::Owned([prefix("10.9.0.0/16")].into());
    a.handle.set_peers(vec![refusing]).await.unwrap();
    until("refused now", || async { !has_best(&a.handle, of_b).await }).await;
    a.handle.set_peers(vec![peer(&a, &b, "b")]).await.unwrap();
    until("accepted again", || has_best(&a.handle, of_b)).await;
    assert_eq!(established_at(&a.handle, "b").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_closed_before_a_byte_is_read() {
    let a = speaker(41, 64512);
    let address = a.address;
    let closed = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.read(&mut [0; 1])
    });
    match closed.await.unwrap() {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("a stranger got {other:?}"),
    }
    let strangers = a.handle.read(|view| view.peers.len()).await.unwrap();
    assert_eq!(strangers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_disables_resets_and_enables() {
    let (a, b) = (speaker(51, 64512), speaker(52, 64513));
    a.handle.set_peers(vec![peer(&a, &b, "b")]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    until("up", || is_established(&a.handle, "b")).await;
    let act = |deed| a.handle.act("b".to_owned(), deed);
    assert_eq!(act(Deed::Disable(Some("maintenance".into()))).await.unwrap(), Ok(()));
    until("down there", || async { !is_established(&b.handle, "a").await }).await;
    until("down here", || async { !is_established(&a.handle, "b").await }).await;
    assert!(matches!(act(Deed::SoftIn).await.unwrap(), Err(DeedError::NotEstablished(_))));
    assert_eq!(act(Deed::Enable).await.unwrap(), Ok(()));
    until("up again", || is_established(&a.handle, "b")).await;
    let before = established_at(&a.handle, "b").await;
    assert_eq!(act(Deed::Reset).await.unwrap(), Ok(()));
    until("up anew", || async {
        let now = established_at(&a.handle, "b").await;
        now.is_some() && now != before
    })
    .await;
    let nobody = a.handle.act("nobody".to_owned(), Deed::Reset).await.unwrap();
    assert!(matches!(nobody, Err(DeedError::NoSuchPeer(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_prefixes_arrive_whole_and_packed() {
    let (a, b) = (speaker(61, 64512), speaker(62, 64513));
    a.handle.set_peers(vec![peer(&a, &b, "b")]).await.unwrap();
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    let count = 20_000_u32;
    let many: Vec<Prefix> =
        (0..count).map(|i| Prefix::v4((0x0A00_0000 | (i << 8)).into(), 24).unwrap()).collect();
    let last = *many.last().unwrap();
    a.handle.set_originated(many, Attributes::default()).await.unwrap();
    until("the last prefix", || has_best(&b.handle, last)).await;
    let look = |view: &View<'_>| {
        let (id, entry) = view.find("a").unwrap();
        let updates = entry.counters().received()[1];
        (view.rib.counts(id, Family::Ipv4Unicast).unwrap_or_default().accepted, updates)
    };
    until("all prefixes", || async { b.handle.read(look).await.unwrap().0 == count as usize })
        .await;
    let (_, updates) = b.handle.read(look).await.unwrap();
    assert!(updates < 200, "{count} prefixes of one kind came in {updates} updates");
}
