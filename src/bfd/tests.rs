//! Sessions between two threads of ours on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use brindle_bgp::bfd::{Intervals, Packet, Path, State};

use super::*;

fn address(net: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(127, 84, net, host).into()
}

fn settings(millis: u64, path: Path) -> Settings {
    let interval = Duration::from_millis(millis);
    let multiplier = NonZeroU8::new(3).unwrap();
    let intervals = Intervals { transmit: interval, receive: interval, multiplier };
    Settings { intervals, path, graceful_restart: true }
}

/// One side of a session, and where it tells of itself.
fn side(source: IpAddr, peer: IpAddr, settings: Settings) -> (Wanted, Arc<Report>) {
    let report = Arc::new(Report::default());
    let told = Arc::clone(&report);
    (Wanted { peer, source: Some(source), interface: None, is_far: false, settings, report }, told)
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < limit, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is(report: &Report, state: State) -> bool {
    report.status().seen.is_some_and(|seen| seen.state == state)
}

/// Fifty peers and threads that never rest: nobody may be taken for lost. With the right to
/// real time at 50 ms, otherwise at what a busy scheduler leaves.
#[test]
fn a_busy_machine_loses_no_session() {
    let has_right = std::thread::spawn(thread::ask_for_precedence).join().unwrap();
    let settings = settings(if has_right { 50 } else { 1000 }, Path::SingleHop);
    let (mut hub, mut rim) = (Handle::default(), Handle::default());
    let (of_hub, at_hub): (Vec<_>, Vec<_>) =
        (1..=50).map(|host| side(address(1, 1), address(2, host), settings)).unzip();
    let (of_rim, at_rim): (Vec<_>, Vec<_>) =
        (1..=50).map(|host| side(address(2, host), address(1, 1), settings)).unzip();
    hub.set(of_hub);
    rim.set(of_rim);
    let all = || at_hub.iter().chain(&at_rim);
    until("all are up", || all().all(|report| is(report, State::Up)));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut waste = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    waste.extend((0..1000u64).map(|n| n.wrapping_mul(0x9E37_79B9)));
                    if waste.len() > 1_000_000 {
                        waste.clear();
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(3));
        is_over.store(true, Ordering::Relaxed);
    });
    for report in all() {
        let status = report.status();
        assert_eq!((status.failures, is(report, State::Up)), (0, true), "{status:?}");
    }
    assert_eq!(hub.drops().counts(), [0; DROP_REASONS.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_says_so_and_comes_back() {
    let settings = settings(20, Path::Multihop { min_ttl: 250 });
    let (mut a, mut b) = (Handle::default(), Handle::default());
    let (of_a, at_a) = side(address(3, 1), address(3, 2), settings);
    let (of_b, at_b) = side(address(3, 2), address(3, 1), settings);
    a.set(vec![of_a]);
    b.set(vec![of_b.clone()]);
    until("both are up", || is(&at_a, State::Up) && is(&at_b, State::Up));
    // Not wanted for a moment: the session is still there and goes on.
    b.set(vec![]);
    until("a hears that b is off", || is(&at_a, State::Down));
    assert_eq!(at_b.status().seen, None);
    b.set(vec![of_b.clone()]);
    until("both are up again", || is(&at_a, State::Up) && is(&at_b, State::Up));
    b.stop().await;
    until("a hears that b is off", || is(&at_a, State::Down));
    b.set(vec![of_b]);
    until("both are up again", || is(&at_a, State::Up) && is(&at_b, State::Up));
    let status = at_a.status();
    assert_eq!((status.failures, status.switched_off), (0, 2), "{status:?}");
}

#[test]
fn a_link_that_becomes_known_leaves_no_session_deaf() {
    let (mut wanted, report) =
        side(address(6, 1), address(6, 2), settings(60_000, Path::SingleHop));
    wanted.source = None;
    let mut handle = Handle::default();
    handle.set(vec![wanted.clone()]);
    let seen = || report.status().seen.expect("there is a session");
    until("it has sent", || report.status().seen.is_some_and(|seen| seen.local.is_some()));
    (wanted.interface, wanted.settings) = (Some("lo".into()), settings(59_000, Path::SingleHop));
    handle.set(vec![wanted.clone()]);
    until("it is told", || seen().settings == wanted.settings);
    assert!(seen().local.is_some(), "without sockets until the next packet, in a minute");
}

/// A peer whose packets the test writes.
struct RawPeer {
    socket: socket2::Socket,
    to: SocketAddr,
}

impl RawPeer {
    fn new(from: IpAddr, to: IpAddr) -> Self {
        let socket = std::net::UdpSocket::bind((from, Path::SingleHop.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { socket: socket.into(), to: (to, Path::SingleHop.port()).into() }
    }

    fn hear(&self) -> Packet {
        let socket: std::net::UdpSocket = self.socket.try_clone().unwrap().into();
        let mut octets = [0; 64];
        let (length, from) = socket.recv_from(&mut octets).expect("it sends");
        assert!(sender::PORTS.contains(&from.port()), "{from}");
        Packet::decode(&octets[..length]).unwrap()
    }

    fn say(&self, octets: &[u8], ttl: u32) {
        self.socket.set_ttl_v4(ttl).unwrap();
        self.socket.send_to(octets, &self.to.into()).unwrap();
    }
}

#[test]
fn silence_is_noticed_and_what_is_none_of_the_peers_packets_is_dropped_and_counted() {
    let (ours, theirs) = (address(5, 1), address(5, 2));
    let (peer, stranger) = (RawPeer::new(theirs, ours), RawPeer::new(address(5, 3), ours));
    let mut handle = Handle::default();
    let (wanted, report) = side(ours, theirs, settings(50, Path::SingleHop));
    handle.set(vec![wanted]);

    let heard = peer.hear();
    assert_eq!((heard.state, heard.your_discriminator), (State::Down, None));
    let mut said = Packet {
        my_discriminator: 77.try_into().unwrap(),
        multiplier: NonZeroU8::new(4).unwrap(),
        required_min_rx: Duration::from_millis(50),
        desired_min_tx: Duration::from_millis(100),
        ..heard
    };
    peer.say(&said.encode(), 255);
    until("it answers", || peer.hear().state == State::Init);
    said = Packet { state: State::Init, your_discriminator: Some(heard.my_discriminator), ..said };
    peer.say(&said.encode(), 255);
    until("it is up", || peer.hear().state == State::Up);

    let down = Packet { state: State::Down, ..said };
    let other = 0x7777_7777.try_into().ok();
    peer.say(&Packet { your_discriminator: other, ..down }.encode(), 255);
    peer.say(&down.encode(), 254);
    peer.say(&down.encode()[..23], 255);
    let mut authenticated = [&down.encode()[..], &[1, 3, 0]].concat();
    (authenticated[1], authenticated[3]) = (authenticated[1] | 4, 27);
    peer.say(&authenticated, 255);
    stranger.say(&down.encode(), 255);
    stranger.say(&Packet { your_discriminator: None, ..down }.encode(), 255);
    let counts = || handle.drops().counts();
    // In the order of DROP_REASONS.
    until("they are dropped", || counts() == [1, 1, 1, 1, 2, 0]);

    until("silence is noticed", || is(&report, State::Down));
    let status = report.status();
    let failure = status.last_failure.expect("the path failed");
    assert_eq!(failure.why, "no packets from 127.84.5.2 for 400 ms");
    assert_eq!((status.failures, failure.is_certain), (1, false));
    until("it says so", || peer.hear().state == State::Down);

    // While it was up, what anybody may send was no problem; now that may be the reason.
    let problem = || report.status().seen.and_then(|seen| seen.problem);
    assert_eq!(problem(), None);
    let anew = Packet { your_discriminator: None, ..down };
    peer.say(&anew.encode(), 254);
    let why = "packets of 127.84.5.2 come with TTL 254, and 255 is wanted as over one hop";
    until("it says why", || problem().as_deref() == Some(why));
    peer.say(&anew.encode(), 255);
    until("that is over", || problem().is_none());
}

#[test]
fn another_programs_port_is_named() {
    let taken = std::net::UdpSocket::bind((address(4, 1), Path::SingleHop.port())).unwrap();
    let mut handle = Handle::default();
    let (wanted, report) = side(address(4, 1), address(4, 2), settings(20, Path::SingleHop));
    handle.set(vec![wanted]);
    let problem = || report.status().seen.and_then(|seen| seen.problem);
    until("it complains", || problem().is_some_and(|why| why.contains("127.84.4.1:3784")));
    drop(taken);
    until("it takes the port", || problem().is_none_or(|why| !why.contains("another program")));
}
