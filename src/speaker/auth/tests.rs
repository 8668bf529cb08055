use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::speaker::dial::dial;

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Long enough for a connection on one host, short for one that never comes.
const WHILE: Duration = Duration::from_millis(700);

fn md5(key: &str) -> Key {
    Key::Md5(Secret::new(key.as_bytes()).unwrap())
}

fn signed(key: &str) -> Protection {
    Protection { key: md5(key), ..Protection::default() }
}

fn near(ttl: Ttl) -> Protection {
    Protection { ttl, ..Protection::default() }
}

/// A listening socket that asks `peer` for that key.
async fn listener(at: IpAddr, key: &Key) -> TcpListener {
    let listener = TcpListener::bind(SocketAddr::new(at, 0)).await.unwrap();
    prepare_listener(&listener, at.is_ipv4());
    keys::install(&listener, Prefix::host(at), &Key::None, key).unwrap();
    listener
}

/// Both ends of a connection, if one comes to be.
async fn connect(
    at: IpAddr,
    listener: &TcpListener,
    protection: &Protection,
) -> Option<(TcpStream, TcpStream)> {
    let peer = listener.local_addr().unwrap();
    let dialled = timeout(WHILE, dial(peer, Some(at), protection)).await.ok()?.unwrap();
    Some((dialled, listener.accept().await.unwrap().0))
}

/// Whether an octet gets from one end to the other.
async fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").await.unwrap();
    matches!(timeout(WHILE, to.read_u8()).await, Ok(Ok(b'x')))
}

#[tokio::test]
async fn only_who_has_the_key_connects() {
    for at in LOOPBACKS {
        let before = AuthFailures::read();
        let asks = listener(at, &md5("swordfish")).await;
        for (protection, want) in [
            (signed("swordfish"), true),
            (signed("swordfist"), false),
            (Protection::default(), false),
        ] {
            assert_eq!(
                connect(at, &asks, &protection).await.is_some(),
                want,
                "{protection:?} {at}"
            );
        }
        let open = listener(at, &Key::None).await;
        assert!(connect(at, &open, &signed("swordfish")).await.is_none(), "{at}");
        let dropped = AuthFailures::read().since(&before);
        assert!(dropped.md5_wrong > 0 && dropped.md5_missing > 0, "{dropped:?}");
        assert!(dropped.md5_unexpected > 0, "{dropped:?}");
        let told = signed("x").suspicion(&dropped).unwrap();
        assert!(told.contains("MD5 failures: signed with another password"), "{told}");
        assert!(Protection::default().suspicion(&dropped).is_some());
        assert_eq!(near(Ttl::Security(1)).suspicion(&AuthFailures::default()), None);
    }
}

#[tokio::test]
async fn another_key_counts_on_a_connection_that_lives() {
    for at in LOOPBACKS {
        let asks = listener(at, &md5("one")).await;
        let (mut here, mut there) = connect(at, &asks, &signed("one")).await.unwrap();
        signed("one").arm_accepted(&there, at).unwrap();
        assert!(passes(&mut here, &mut there).await);

        // One side alone is not understood, but nothing is lost once both have changed.
        signed("one").change(&signed("two"), &here, at).unwrap();
        assert!(!passes(&mut here, &mut there).await, "{at}");
        signed("one").change(&signed("two"), &there, at).unwrap();
        let waiting = timeout(Duration::from_secs(20), there.read_u8()).await;
        assert_eq!(waiting.unwrap().unwrap(), b'x', "{at}");

        for end in [&here, &there] {
            signed("two").change(&Protection::default(), end, at).unwrap();
        }
        assert!(passes(&mut there, &mut here).await, "{at}: without a key");
        for end in [&here, &there] {
            Protection::default().change(&signed("three"), end, at).unwrap();
        }
        assert!(passes(&mut here, &mut there).await, "{at}: with one again");
        let gone = Protection { key: Key::Missing("none".into()), ..Protection::default() };
        assert_eq!(signed("three").change(&gone, &here, at), Err("none".into()));
    }
}

#[tokio::test]
async fn how_far_packets_go_and_come_is_held_to() {
    for at in LOOPBACKS {
        let open = listener(at, &Key::None).await;
        for (ttl, sent) in [(Ttl::Any, 64), (Ttl::Hops(1), 1), (Ttl::Security(3), 255)] {
            let (_here, there) = connect(at, &open, &near(ttl)).await.unwrap();
            assert_eq!(options::ttl_of_syn(&there), Some(sent), "{ttl:?} {at}");
        }
        for (ours, theirs, fits) in [
            (Ttl::Security(1), Ttl::Security(1), true),
            (Ttl::Security(1), Ttl::Hops(254), false),
            (Ttl::Security(2), Ttl::Hops(254), true),
            (Ttl::Security(2), Ttl::Hops(253), false),
            (Ttl::Hops(1), Ttl::Hops(1), true),
        ] {
            let (mut here, mut there) = connect(at, &open, &near(theirs)).await.unwrap();
            let armed = near(ours).arm_accepted(&there, at);
            assert_eq!(armed.is_ok(), fits, "{theirs:?} to {ours:?} {at}: {armed:?}");
            // The kernel, too, has been told.
            let passed = passes(&mut here, &mut there).await;
            assert_eq!(passed, fits, "{theirs:?} to {ours:?} {at}");
        }
        // Where we dial, nothing begins.
        let far = TcpListener::bind(SocketAddr::new(at, 0)).await.unwrap();
        options::ttl(&far, at.is_ipv4(), Ttl::Hops(254)).unwrap();
        let before = AuthFailures::read();
        assert!(connect(at, &far, &near(Ttl::Security(1))).await.is_none(), "{at}");
        assert!(AuthFailures::read().since(&before).ttl > 0, "{at}");
    }
}

#[tokio::test]
async fn without_its_key_a_peer_is_not_spoken_to() {
    let at = LOOPBACKS[0];
    let open = listener(at, &Key::None).await;
    let peer = open.local_addr().unwrap();
    let missing = Protection { key: Key::Missing("no key".into()), ..Protection::default() };
    assert_eq!(dial(peer, None, &missing).await.unwrap_err(), "no key");
    let (_here, there) = connect(at, &open, &Protection::default()).await.unwrap();
    assert_eq!(missing.arm_accepted(&there, at), Err("no key".into()));
}

/// Whether the kernel has TCP-AO; if not, whoever asks for it is told so.
async fn has_tcp_ao() -> bool {
    let at = LOOPBACKS[0];
    let listener = listener(at, &Key::None).await;
    let protection = ao(&[1]);
    let signed = keys::install(&listener, Prefix::host(at), &Key::None, &protection.key);
    let Err(why) = signed else { return true };
    assert!(why.contains("lacks CONFIG_TCP_AO"), "{why}");
    let peer = listener.local_addr().unwrap();
    assert_eq!(dial(peer, None, &protection).await.unwrap_err(), why);
    let (_here, there) = connect(at, &listener, &Protection::default()).await.unwrap();
    assert!(protection.arm_accepted(&there, at).unwrap_err().contains("CONFIG_TCP_AO"));
    false
}

/// A key whose send and receive identifiers differ, of which both sides know each other's.
fn ao_key(id: u8, is_listening: bool) -> AoKey {
    use brindle_config::AoAlgorithm::{AesCmac, HmacSha1};
    let (send_id, recv_id) = if is_listening { (id + 100, id) } else { (id, id + 100) };
    let algorithm = if id % 2 == 1 { HmacSha1 } else { AesCmac };
    AoKey { send_id, recv_id, algorithm, secret: Secret::new(&[b'k', id]).unwrap() }
}

fn ao(ids: &[u8]) -> Protection {
    let keys = ids.iter().map(|id| ao_key(*id, false)).collect();
    Protection { key: Key::Ao(keys), ..Protection::default() }
}

/// The same on the side that listens.
fn ao_back(ids: &[u8]) -> Protection {
    let keys = ids.iter().map(|id| ao_key(*id, true)).collect();
    Protection { key: Key::Ao(keys), ..Protection::default() }
}

/// Takes a connection through the steps of exchanging keys one for two, one side after the other.
async fn roll_over(at: IpAddr, here: &mut TcpStream, there: &mut TcpStream) {
    for (have, want) in [(&[1][..], &[1, 2][..]), (&[1, 2], &[2, 1]), (&[2, 1], &[2])] {
        ao(have).change(&ao(want), here, at).unwrap();
        assert!(passes(here, there).await && passes(there, here).await, "{have:?} {want:?} {at}");
        ao_back(have).change(&ao_back(want), there, at).unwrap();
        assert!(passes(here, there).await && passes(there, here).await, "{want:?} both {at}");
    }
}

#[tokio::test]
async fn tcp_ao_works_or_is_refused_by_name() {
    if !has_tcp_ao().await {
        return;
    }
    for at in LOOPBACKS {
        let asks = listener(at, &ao_back(&[1]).key).await;
        let (mut here, mut there) = connect(at, &asks, &ao(&[1])).await.unwrap();
        ao_back(&[1]).arm_accepted(&there, at).unwrap();
        assert!(passes(&mut here, &mut there).await);
        roll_over(at, &mut here, &mut there).await;

        let before = AuthFailures::read();
        let other = |key: AoKey| Protection { key: Key::Ao(vec![key]), ..Protection::default() };
        let wrong = AoKey { secret: Secret::new(b"wrong").unwrap(), ..ao_key(1, false) };
        for (protection, word) in [
            (other(wrong), "signed with another key"),
            (Protection::default(), "not signed"),
            (ao(&[3]), "the recvID of no key"),
        ] {
            assert!(connect(at, &asks, &protection).await.is_none(), "{word} {at}");
            let told = ao(&[1]).suspicion(&AuthFailures::read().since(&before)).unwrap_or_default();
            assert!(told.contains(word), "{told:?} lacks {word:?}");
        }
        let open = listener(at, &Key::None).await;
        let (_here, there) = connect(at, &open, &Protection::default()).await.unwrap();
        let why = ao_back(&[1]).arm_accepted(&there, at).unwrap_err();
        assert_eq!(why, "the connection is not signed with TCP-AO");
    }
}

#[tokio::test]
async fn keys_of_tcp_ao_for_a_prefix_are_exchanged_on_connections_that_live() {
    if !has_tcp_ao().await {
        return;
    }
    let at = LOOPBACKS[0];
    let everybody: Prefix = "127.0.0.0/8".parse().unwrap();
    let asks = listener(at, &Key::None).await;
    let sockets = [(at, None, &asks)];
    let mut keys = ListenerKeys::default();
    let group = |ids: &[u8]| vec![((everybody, None), ao_back(ids).key)];
    assert_eq!(keys.follow(&group(&[1]), &sockets), [None]);
    let (mut here, mut there) = connect(at, &asks, &ao(&[1])).await.unwrap();
    ao_back(&[1]).arm_accepted(&there, at).unwrap();
    assert_eq!(keys.follow(&group(&[2]), &sockets), [None]);
    roll_over(at, &mut here, &mut there).await;
    assert!(connect(at, &asks, &ao(&[1])).await.is_none(), "the listening socket has another");
    assert!(connect(at, &asks, &ao(&[2])).await.is_some());

    // Why the prefix is taken apart around everybody who is configured.
    let mut hosts = ListenerKeys::default();
    let host = |key: Key| vec![((Prefix::host(at), None), key)];
    for key in [ao_back(&[2]).key, md5("k")] {
        assert!(hosts.follow(&host(key.clone()), &sockets)[0].is_some(), "{key:?} overlaps");
    }
    keys.forget_others(&[], &sockets);
    assert_eq!(hosts.follow(&host(ao_back(&[2]).key), &sockets), [None]);
    assert!(connect(at, &asks, &ao(&[2])).await.is_some());
}
