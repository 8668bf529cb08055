//! Monitoring stations, read by another implementation: what they are told, one that is slow,
//! one that takes nothing, and the RIB in a file.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bgpkit_parser::models::BgpMessage;
use bgpkit_parser::parser::bmp::messages::{
    BmpMessageBody, BmpPeerType, PeerDownReason, PerPeerFlags,
};
use bgpkit_parser::parser::bmp::parse_bmp_msg;
use bytes::Bytes;
use integration_tests::agent::{Agent, Config};
use integration_tests::octets::{mp_reach, nlri, update, usual};
use integration_tests::rawpeer::RawPeer;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, load, skip, until};
use socket2::{Domain, Socket, Type};

/// What a station has heard in its present connection.
#[derive(Clone, Debug, Default)]
struct Heard {
    connections: usize,
    first: Vec<String>,
    /// By peer: the AS numbers of both OPENs.
    up: BTreeMap<String, [u32; 2]>,
    downs: Vec<(String, PeerDownReason)>,
    /// AS paths by view and peer, and by prefix.
    routes: BTreeMap<(&'static str, String), BTreeMap<String, String>>,
    ends: Vec<(&'static str, String)>,
    reports: usize,
    is_over: bool,
}

impl Heard {
    fn hear(&mut self, octets: &[u8]) {
        let mut octets = Bytes::copy_from_slice(octets);
        let message = parse_bmp_msg(&mut octets).expect("BMP");
        let header = message.per_peer_header;
        let peer = header.map(|header| header.peer_ip.to_string()).unwrap_or_default();
        let view = match header.map(|header| (header.peer_type, header.peer_flags)) {
            Some((BmpPeerType::LocalRib, _)) => "loc",
            Some((_, PerPeerFlags::PeerFlags(flags))) if flags.is_post_policy() => "post",
            _ => "pre",
        };
        let asn = |open: &BgpMessage| match open {
            BgpMessage::Open(open) => open.asn.to_u32(),
            other => panic!("no OPEN but {other:?}"),
        };
        match message.message_body {
            BmpMessageBody::InitiationMessage(it) => {
                self.first = it.tlvs.into_iter().map(|tlv| tlv.info).collect();
            }
            BmpMessageBody::TerminationMessage(_) => self.is_over = true,
            BmpMessageBody::PeerUpNotification(up) if view != "loc" => {
                let asns = [asn(&up.sent_open), asn(&up.received_open)];
                assert_eq!(self.up.insert(peer, asns), None, "up twice");
            }
            BmpMessageBody::PeerUpNotification(_) => {}
            BmpMessageBody::PeerDownNotification(down) => {
                assert!(self.up.remove(&peer).is_some(), "{peer} was not up");
                self.routes.retain(|(_, of), _| *of != peer);
                self.downs.push((peer, down.reason));
            }
            BmpMessageBody::StatsReport(_) => self.reports += 1,
            BmpMessageBody::RouteMonitoring(route) => {
                let BgpMessage::Update(update) = &route.bgp_message else { panic!("{route:?}") };
                if route.is_end_of_rib() {
                    return self.ends.push((view, peer));
                }
                let table = self.routes.entry((view, peer)).or_default();
                let gone = update.attributes.get_unreachable_nlri();
                let gone = gone.iter().flat_map(|nlri| &nlri.prefixes);
                for prefix in update.withdrawn_prefixes.iter().chain(gone) {
                    table.remove(&prefix.prefix.to_string());
                }
                let come = update.attributes.get_reachable_nlri();
                let come = come.iter().flat_map(|nlri| &nlri.prefixes);
                let path = update.attributes.as_path().map(ToString::to_string);
                for prefix in update.announced_prefixes.iter().chain(come) {
                    table.insert(prefix.prefix.to_string(), path.clone().unwrap_or_default());
                }
            }
            other @ BmpMessageBody::RouteMirroring(_) => panic!("{other:?}"),
        }
    }

    fn has(&self, view: &'static str, peer: &str, prefix: &str) -> bool {
        let table = self.routes.get(&(view, peer.to_owned()));
        table.is_some_and(|table| table.contains_key(prefix))
    }
}

/// A station that listens on a host and reads while it shall.
struct Station {
    heard: Arc<Mutex<Heard>>,
    reads: Arc<AtomicBool>,
}

impl Station {
    fn listen(host: &Host) -> Self {
        let address = SocketAddr::new(host.v4.into(), 11_019);
        let listener = host.netns.inside(|| listen(address)).expect("a free port");
        let (heard, reads) = (Arc::<Mutex<Heard>>::default(), Arc::new(AtomicBool::new(true)));
        let (book, may_read) = (Arc::clone(&heard), Arc::clone(&reads));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let mut book_now = book.lock().expect("nobody panics with it");
                let connections = book_now.connections + 1;
                *book_now = Heard { connections, ..Heard::default() };
                drop(book_now);
                read(stream, &book, &may_read);
            }
        });
        Self { heard, reads }
    }

    fn heard(&self) -> Heard {
        self.heard.lock().expect("the reading thread understood all").clone()
    }

    fn hears(&self, what: &str, condition: impl Fn(&Heard) -> bool) {
        until(what, SOON, || {
            let heard = self.heard();
            let shown = || {
                let counts: Vec<_> =
                    heard.routes.iter().map(|(of, table)| (of, table.len())).collect();
                format!("{:?} {:?} {:?} {counts:?}", heard.up, heard.downs, heard.ends)
            };
            met(condition(&heard), shown)
        });
    }
}

/// Little room, so that what is not read is soon not taken.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(16 << 10)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

fn read(mut stream: TcpStream, book: &Mutex<Heard>, may_read: &AtomicBool) {
    let mut header = [0; 6];
    loop {
        while !may_read.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let length = u32::from_be_bytes(header[1..5].try_into().expect("four octets"));
        let mut message = header.to_vec();
        message.resize(length as usize, 0);
        if stream.read_exact(&mut message[6..]).is_err() {
            return;
        }
        book.lock().expect("nobody panics with it").hear(&message);
    }
}

fn shown(agent: &Agent, station: usize) -> serde_json::Value {
    agent.ask(&["status"]).unwrap_or_default()["bgp"]["bmp"][station].clone()
}

fn metrics(host: &Host) -> String {
    host.netns.inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9798").expect("it answers there");
        let request = "GET /metrics HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("an open connection");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    })
}

fn bmp(host: &Host, more: &str) -> String {
    format!("bmp: [{{name: station, address: {}, minRetry: 50ms, maxRetry: 200ms{more}}}]", host.v4)
}

#[test]
fn a_station_is_told_of_sessions_and_routes_from_beginning_to_end() {
    let test = "a_station_is_told_of_sessions_and_routes_from_beginning_to_end";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (us, one, two) = (lan.host("n1", 1), lan.host("one", 2), lan.host("two", 3));
    let watcher = lan.host("station", 9);
    let config = |more: &str| {
        Config::new(65001)
            .networks(&["192.0.2.0/24"])
            .peer("one", &one, 65002, ", passive: true")
            .peer("two", &two, 65003, ", passive: true")
            .bgp(more)
    };
    let all = bmp(&watcher, ", policy: both, locRIB: true, statsInterval: 1s");
    let mut agent = Agent::start(&us, &config(&all));
    until("the failure to connect is shown", SOON, || {
        let station = shown(&agent, 0);
        let error = station["lastError"].as_str().unwrap_or_default();
        met(error.contains("cannot connect to 10.9.0.9:11019"), || station.to_string())
    });
    // One session is there before the station, one comes later.
    let first = RawPeer::establish(&one, us.v4.into(), 65002);
    let v4 = update(&[], &usual(&[65002, 7], one.v4), &nlri(&["203.0.113.0/24"]));
    first.send(&v4).expect("an open session");
    agent.learns("203.0.113.0/24");
    let station = Station::listen(&watcher);
    let [peer_one, peer_two] = [&one, &two].map(|host| host.v4.to_string());
    station.hears("the session that was there, and its routes", |heard| {
        let views = ["pre", "post"].map(|view| heard.has(view, &peer_one, "203.0.113.0/24"));
        let ends = ["pre", "post"].map(|view| heard.ends.contains(&(view, peer_one.clone())));
        views == [true; 2] && ends == [true; 2]
    });
    station.hears("what is best", |heard| {
        heard.has("loc", "0.0.0.0", "203.0.113.0/24") && heard.has("loc", "0.0.0.0", "192.0.2.0/24")
    });
    let heard = station.heard();
    assert_eq!(heard.up[&peer_one], [65001, 65002], "whose OPENs these are");
    assert!(heard.first.iter().any(|text| text == "n1"), "{:?}", heard.first);
    assert_eq!(heard.routes[&("pre", peer_one.clone())]["203.0.113.0/24"], "65002 7");

    let second = RawPeer::establish(&two, us.v4.into(), 65003);
    let reach = mp_reach(two.v6, &["2001:db8:7::/48"]);
    let v6 = [usual(&[65003], two.v4), reach].concat();
    second.send(&update(&[], &v6, &[])).expect("an open session");
    station.hears("another session and IPv6", |heard| {
        heard.up.contains_key(&peer_two) && heard.has("pre", &peer_two, "2001:db8:7::/48")
    });
    first.send(&update(&nlri(&["203.0.113.0/24"]), &[], &[])).expect("an open session");
    station.hears("the withdrawal", |heard| {
        ["pre", "post"].iter().all(|view| !heard.has(view, &peer_one, "203.0.113.0/24"))
            && !heard.has("loc", "0.0.0.0", "203.0.113.0/24")
    });
    station.hears("figures", |heard| heard.reports > 3);
    drop(second);
    let lost = (peer_two.clone(), PeerDownReason::RemoteSystemsClosedNoData);
    station.hears("how the session ended", |heard| heard.downs.contains(&lost));
    agent.run(&["peers", "disable", "one"]).expect("it is a peer");
    let said = (peer_one.clone(), PeerDownReason::LocalSystemClosedNotificationPduFollows);
    station.hears("that we ended the other", |heard| heard.downs.contains(&said));
    let metrics = metrics(&us);
    assert!(metrics.contains("brindle_bmp_connected{station=\"station\"} 1"), "{metrics}");
    assert!(metrics.contains("brindle_bmp_resyncs_total{station=\"station\"} 1"), "{metrics}");
    assert_eq!(shown(&agent, 0)["state"], "streaming");

    // With other settings it is told anew, and hears why the old connection ends.
    agent.reload(&config(&bmp(&watcher, "")));
    until("it is dialled again", SOON, || {
        let heard = station.heard();
        met(heard.connections == 2 && !heard.first.is_empty(), || format!("{heard:?}"))
    });
    agent.stop();
    station.hears("that we are gone", |heard| heard.is_over);
}

#[test]
fn a_station_that_is_slow_or_stuck_costs_nobody_anything() {
    let test = "a_station_that_is_slow_or_stuck_costs_nobody_anything";
    if !skip::can_run(test, &[]) {
        return;
    }
    const COUNT: usize = 20_000;
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let (sender, reader, watcher) =
        (lan.host("sender", 2), lan.host("reader", 3), lan.host("station", 9));
    let config = Config::new(65001)
        .peer("sender", &sender, 65002, ", passive: true")
        .peer("reader", &reader, 65003, ", passive: true")
        .bgp(&bmp(&watcher, ", stuckAfter: 2s, statsInterval: 0s"))
        .rest("routes: {install: false}");
    let mut agent = Agent::start(&us, &config);
    let station = Station::listen(&watcher);
    let to = us.v4.into();
    let mut stream = load::establish(&sender.netns, sender.v4, to, 65002).expect("a session");
    let heard = load::count(load::establish(&reader.netns, reader.v4, to, 65003).expect("another"));
    let peer = sender.v4.to_string();
    let told = |heard: &Heard| heard.routes.get(&("pre", peer.clone())).map_or(0, BTreeMap::len);
    station.hears("both sessions", |heard| heard.up.len() == 2);
    station.reads.store(false, Ordering::Relaxed);
    // While it takes nothing, others are served, again and again.
    for round in 1..=3 {
        stream.write_all(&load::table(COUNT, 65002, sender.v4)).expect("an open session");
        until("the table arrives at the peer that reads", SOON, || {
            let count = heard.announced();
            met(count >= round * COUNT, || format!("{count} of {}", round * COUNT))
        });
        stream.write_all(&load::withdrawal(COUNT)).expect("an open session");
        until("it goes again", SOON, || {
            let count = heard.withdrawn();
            met(count >= round * COUNT, || format!("{count} of {}", round * COUNT))
        });
    }
    stream.write_all(&load::table(COUNT, 65002, sender.v4)).expect("an open session");
    until("the station is given up", SOON, || {
        let station = shown(&agent, 0);
        let error = station["lastError"].as_str().unwrap_or_default();
        met(error.contains("took nothing for 2 s") || error.contains("timed out"), || {
            station.to_string()
        })
    });
    station.reads.store(true, Ordering::Relaxed);
    station.hears("everything, once it reads again", |heard| {
        heard.connections > 1 && told(heard) == COUNT
    });
    stream.write_all(&load::withdrawal(COUNT)).expect("an open session");
    station.hears("what changes then", |heard| told(heard) == 0);
    let shown = shown(&agent, 0);
    assert!(shown["dumps"].as_u64() >= Some(2), "{shown}");
    assert_eq!(agent.up("reader")["flaps"], 0);
    assert_eq!(agent.up("sender")["flaps"], 0);
    agent.stop();
}
