//! What has broken other speakers, where only a whole speaker shows it; the table of all such
//! stands in `bgp/tests/codec/incidents.rs`.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use brindle_bgp::msg::{self, Announcement, Message, NextHop, Notification, Update, WireFormat};
use bytes::BytesMut;

use super::raw::{RawPeer, raw_peer};
use super::*;

/// Four peers tell all the time and are deleted meanwhile, and come back under each other's
/// names: what is still on its way finds nobody, and the one that stays does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn peers_are_deleted_and_come_back_while_they_tell_us_much() {
    let (a, b) = (speaker(141, 64512), speaker(142, 64513));
    let stays = peer(&a, &b, "b");
    b.handle.set_peers(vec![peer(&b, &a, "a")]).await.unwrap();
    let of_b = prefix("10.2.0.0/24");
    b.handle.set_originated(vec![of_b], Attributes::default()).await.unwrap();
    a.handle.set_peers(vec![stays.clone()]).await.unwrap();
    until("b's prefix", || has_best(&a.handle, of_b)).await;
    let before = established_at(&a.handle, "b").await;

    let is_over = Arc::new(AtomicBool::new(false));
    let teller = |host: u8| {
        let (to, wanted) = (a.address, raw_peer(&a, host, "raw"));
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // Who is no peer just now is turned away.
                let raw = RawPeer::try_establish(to, host, &wanted, None);
                if raw.and_then(|raw| tell(raw, host)).is_err() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        })
    };
    let tellers: Vec<_> = (143..147).map(teller).collect();
    let count = |view: &View<'_>| (view.peers.len(), view.rib.totals().paths.iter().sum::<usize>());
    for round in 0..4 {
        let raw = |host: u8| raw_peer(&a, host, &format!("raw-{}", (host + round) % 4));
        let all = [stays.clone()].into_iter().chain((143..147).map(raw)).collect();
        a.handle.set_peers(all).await.unwrap();
        until("they tell much", || async { a.handle.read(count).await.unwrap().1 > 2000 }).await;
        a.handle.set_peers(vec![stays.clone()]).await.unwrap();
        assert_eq!(a.handle.read(count).await.unwrap(), (1, 1), "only b and its prefix");
    }
    is_over.store(true, Ordering::Relaxed);
    for teller in tellers {
        tokio::task::spawn_blocking(move || teller.join()).await.unwrap().unwrap();
    }
    assert_eq!(a.handle.read(count).await.unwrap(), (1, 1));
    assert_eq!(established_at(&a.handle, "b").await, before, "b did not notice");
    assert!(has_best(&a.handle, of_b).await);
}

/// Tells prefix after prefix until it is thrown out.
fn tell(mut raw: RawPeer, host: u8) -> io::Result<()> {
    for number in (0..4096_u32).cycle() {
        let bits = 0x1000_0000 | u32::from(host) << 20 | number << 8;
        let announced = Announcement {
            next_hop: NextHop::V4(Ipv4Addr::new(10, 99, 1, host)),
            prefixes: vec![Prefix::v4(bits.into(), 24).unwrap().into()],
        };
        let attributes = Some(Attributes { med: Some(number), ..Attributes::default() });
        raw.say(&Message::Update(Update {
            withdrawn: vec![],
            announced: vec![announced],
            attributes,
        }))?;
    }
    Ok(())
}

/// What is logged, to be looked at.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that the log is that of this test. How soon it is tried again when
/// nothing presses is the machine's business, and tested there.
#[tokio::test]
async fn a_peer_that_refuses_us_for_good_costs_few_attempts_and_fewer_lines() {
    const ATTEMPTS: usize = 12;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let a = speaker(151, 64512);
    let refuser = TcpListener::bind("127.0.0.152:0").unwrap();
    let mut wanted = peer(&a, &a, "refuser");
    (wanted.address, wanted.port) =
        (IpAddr::from([127, 0, 0, 152]), refuser.local_addr().unwrap().port());
    wanted.rib.address = wanted.address;
    wanted.session.connect_retry = Duration::from_millis(20);
    wanted.session.connect_retry_max = Duration::from_millis(80);

    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    std::thread::spawn(move || {
        for stream in refuser.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut refusal = BytesMut::new();
            let message = Message::Notification(Notification::bad_peer_as());
            msg::encode(&message, &WireFormat::default(), &mut refusal);
            // Its OPEN is read first, so that the close does not overtake what we say.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&refusal);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    a.handle.set_peers(vec![wanted]).await.unwrap();
    until("it was tried often", || async { attempts.load(Ordering::Relaxed) >= ATTEMPTS }).await;
    let why = a.handle.read(|view| view.find("refuser").unwrap().1.status().last_reason.clone());
    assert!(why.await.unwrap().unwrap().contains("Bad Peer AS"));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("refuser")).collect();
    let has = |what: &str| lines.iter().any(|line| line.contains(what));
    assert!(has("peer added") && has("Bad Peer AS"), "{log}");
    assert!(lines.len() < ATTEMPTS / 2, "{ATTEMPTS} attempts, {} lines: {log}", lines.len());
}

/// Whoever holds the speaker sees that it is gone; the daemon ends then, and is started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_task_that_owns_the_rib_is_seen_by_those_who_ask_it() {
    let a = speaker(161, 64512);
    assert!(!a.handle.has_ended());
    let answer = a.handle.read(|_| -> () { panic!("as ordered") }).await;
    assert_eq!(answer, Err(Gone));
    until("it has ended", || async { a.handle.has_ended() }).await;
}
