//! Sessions and routes as they are followed by commands, and the RIB in a file that another
//! implementation reads.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use bgpkit_parser::models::{MrtMessage, RibAfiEntries, TableDumpV2Message, TableDumpV2Type};
use bgpkit_parser::parser::mrt::parse_mrt_record;
use integration_tests::agent::{Agent, Config, binary};
use integration_tests::octets::{mp_reach, nlri, update, usual};
use integration_tests::process::Process;
use integration_tests::rawpeer::RawPeer;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, load, skip, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A command that goes on, and what it prints.
struct Watcher {
    process: Process,
    _folder: TempDir,
}

impl Watcher {
    fn start(host: &Host, agent: &Agent, words: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        let name = format!("watcher-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let socket = agent.socket();
        let mut args = words.to_vec();
        args.extend(["-w", "--interval", "50ms", "--socket", socket.to_str().expect("ASCII")]);
        let process = Process::start(&host.netns, &name, folder.path(), binary(), &args)
            .expect("it can be started");
        Self { process, _folder: folder }
    }

    /// The documents among what it has printed; what it says to people is none.
    fn seen(&self) -> Vec<Value> {
        let output = self.process.output();
        let whole = &output[..output.rfind('\n').map_or(0, |end| end + 1)];
        let documents = whole.lines().filter(|line| line.starts_with('{'));
        documents.map(|line| serde_json::from_str(line).expect("a document a line")).collect()
    }

    /// Waits for a document.
    #[track_caller]
    fn sees(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, SOON, || {
            let found = self.seen().into_iter().find(|seen| wanted(seen));
            found.ok_or_else(|| self.process.tail())
        })
    }
}

fn is_change(seen: &Value, prefix: &str, change: &str) -> bool {
    seen["kind"] == "RouteChange" && seen["prefix"] == prefix && seen["change"] == change
}

fn tells(peer: &RawPeer, host: &Host, path: &[u32], prefixes: &[&str]) {
    let octets = update(&[], &usual(path, host.v4), &nlri(prefixes));
    peer.send(&octets).expect("an open session");
}

const ONE: &str = "203.0.113.0/24";
const OTHER: &str = "198.51.100.0/24";

#[test]
fn routes_and_peers_are_followed_over_whatever_happens() {
    let test = "routes_and_peers_are_followed_over_whatever_happens";
    if !skip::can_run(test, &[]) {
        return;
    }
    const COUNT: usize = 20_000;
    let lan = Lan::new();
    let (us, one, two) = (lan.host("n1", 1), lan.host("one", 2), lan.host("two", 3));
    let config = Config::new(65001)
        .networks(&["192.0.2.0/24"])
        .peer("one", &one, 65002, ", passive: true")
        .peer("two", &two, 65003, ", passive: true")
        .rest("routes: {install: false}");
    let mut agent = Agent::start(&us, &config);
    let first = RawPeer::establish(&one, us.v4.into(), 65002);
    tells(&first, &one, &[65002, 7], &[ONE]);
    agent.learns(ONE);

    let all = Watcher::start(&us, &agent, &["routes", "-o", "json"]);
    let lines = Watcher::start(&us, &agent, &["routes", "--family", "ipv4"]);
    let only = Watcher::start(&us, &agent, &["routes", OTHER, "-o", "jsonl"]);
    let peers = Watcher::start(&us, &agent, &["peers", "-o", "json"]);
    for watcher in [&all, &only] {
        watcher.sees("the end of the table", |seen| seen["state"] == "ends");
    }
    until("a table for people", SOON, || {
        met(lines.process.output().matches(ONE).count() == 1, || lines.process.tail())
    });
    let table: Vec<Value> = all.seen();
    let prefixes: Vec<_> = table.iter().filter_map(|seen| seen["prefix"].as_str()).collect();
    assert_eq!(prefixes, ["192.0.2.0/24", ONE]);
    peers.sees("who is up and who is not", |seen| {
        seen["name"] == "one" && seen["state"] == "Established"
    });

    let second = RawPeer::establish(&two, us.v4.into(), 65003);
    tells(&second, &two, &[65003], &[ONE, OTHER]);
    let change = all.sees("a better path", |seen| is_change(seen, ONE, "changed"));
    assert_eq!((&change["cause"], &change["peer"]), (&"announced".into(), &"two".into()));
    assert_eq!(change["paths"][0]["nextHop"], two.v4.to_string());
    assert_eq!(change["before"][0]["from"], "one");
    only.sees("the prefix that it asked for", |seen| is_change(seen, OTHER, "added"));
    peers.sees("the session", |seen| seen["name"] == "two" && seen["state"] == "Established");
    drop(second);
    let gone = only.sees("that it went", |seen| is_change(seen, OTHER, "removed"));
    assert_eq!((&gone["cause"], &gone["peer"]), (&"withdrawn".into(), &"two".into()));
    assert!(only.seen().iter().all(|seen| seen["prefix"] != ONE), "{:?}", only.seen());
    all.sees("the path that is left", |seen| {
        is_change(seen, ONE, "changed") && seen["paths"][0]["from"] == "one"
    });
    until("lines for people", SOON, || {
        let text = lines.process.output();
        let told = text.contains("announced by two; was 10.9.0.2 from one")
            && text.contains(" gone ")
            && text.contains("withdrawn by two, or its session ended; was 10.9.0.3 from two");
        met(told, || text)
    });
    until("the end of the session, once more than before", SOON, || {
        let of_two = peers.seen().into_iter().filter(|seen| seen["name"] == "two");
        let states: Vec<_> = of_two.map(|seen| seen["state"].clone()).collect();
        let up = states.iter().rposition(|state| state == "Established");
        met(up.is_some_and(|up| up + 1 < states.len()), || format!("{states:?}"))
    });

    // One that does not read misses changes; nobody waits for it, and it is told.
    all.process.signal(Signal::SIGSTOP);
    let to = us.v4.into();
    let mut stream = load::establish(&two.netns, two.v4, to, 65003).expect("a session");
    let count = |what: &str, wanted: u64| {
        until(what, SOON, || {
            let peer = agent.peer("two");
            let families = peer["families"].as_array().into_iter().flatten();
            let v4 = families.clone().find(|counts| counts["family"] == "ipv4");
            let received = v4.and_then(|counts| counts["received"].as_u64());
            met(received == Some(wanted), || peer["families"].to_string())
        });
    };
    stream.write_all(&load::table(COUNT, 65003, two.v4)).expect("an open session");
    count("the table", COUNT as u64);
    stream.write_all(&load::withdrawal(COUNT)).expect("an open session");
    count("that it goes", 0);
    all.process.signal(Signal::SIGCONT);
    all.sees("that it has missed something", |seen| {
        seen["state"] == "begins"
            && seen["reason"].as_str().is_some_and(|reason| reason.starts_with("missed "))
    });

    // An agent that went is waited for, and said to be another one.
    agent.kill();
    until("that it is gone", SOON, || {
        met(lines.process.output().contains("no agent at"), || lines.process.tail())
    });
    agent.start_again();
    all.sees("the table of the new one", |seen| {
        seen["state"] == "begins"
            && seen["reason"].as_str().is_some_and(|reason| reason.starts_with("BGP was started"))
    });
    let third = RawPeer::establish(&one, us.v4.into(), 65002);
    tells(&third, &one, &[65002], &["198.51.100.128/25"]);
    all.sees("what it learns", |seen| is_change(seen, "198.51.100.128/25", "added"));
    agent.stop();
}

/// A dump as another implementation reads it: AS, address and name of each peer, then what
/// there is of each prefix.
fn read(octets: &[u8]) -> (Vec<(u32, String)>, Vec<RibAfiEntries>) {
    let (mut rest, mut peers, mut tables) = (octets, Vec::new(), Vec::new());
    while !rest.is_empty() {
        match parse_mrt_record(&mut rest).expect("MRT").message {
            MrtMessage::TableDumpV2Message(TableDumpV2Message::PeerIndexTable(index)) => {
                assert_eq!((peers.len(), tables.len()), (0, 0), "it comes first, and once");
                let mut places: Vec<_> = index.id_peer_map.into_iter().collect();
                places.sort_by_key(|(place, _)| *place);
                let one = |peer: bgpkit_parser::models::Peer| {
                    (peer.peer_asn.to_u32(), peer.peer_ip.to_string())
                };
                peers = places.into_iter().map(|(_, peer)| one(peer)).collect();
            }
            MrtMessage::TableDumpV2Message(TableDumpV2Message::RibAfi(table)) => tables.push(table),
            other => panic!("{other:?}"),
        }
    }
    (peers, tables)
}

/// The peers and path identifiers of the paths of a prefix, in records of this kind.
fn paths(tables: &[RibAfiEntries], kind: TableDumpV2Type, prefix: &str) -> Vec<(u16, Option<u32>)> {
    let of_prefix = tables
        .iter()
        .filter(|table| table.rib_type == kind && table.prefix.prefix.to_string() == prefix);
    let entries = of_prefix.flat_map(|table| &table.rib_entries);
    let mut paths: Vec<_> = entries.map(|entry| (entry.peer_index, entry.path_id)).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn the_rib_in_a_file_is_read_by_others() {
    let test = "the_rib_in_a_file_is_read_by_others";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (edge, inside) = (lan.host("n1", 1), lan.host("n2", 2));
    let (a, b) = (lan.host("a", 3), lan.host("b", 4));
    let open = ", passive: true, importFilters: [], exportFilters: []";
    let config = Config::new(65001)
        .networks(&["192.0.2.0/24", "2001:db8:1::/48"])
        .line("n2", &inside.v4.to_string(), 65001, ", addPaths: {send: all}")
        .line("a", &a.v4.to_string(), 4_200_000_000, open)
        .line("b", &b.v4.to_string(), 65003, open);
    let mut telling = Agent::start(&edge, &config);
    let config = Config::new(65001)
        .line("n1", &edge.v4.to_string(), 65001, ", addPaths: {receive: true}")
        .rest("routes: {install: false}");
    let mut taking = Agent::start(&inside, &config);
    let raw = [(&a, 4_200_000_000), (&b, 65003)].map(|(host, asn)| {
        let raw = RawPeer::establish(host, edge.v4.into(), asn);
        tells(&raw, host, &[asn, 7], &[ONE]);
        let v6 = [usual(&[asn], host.v4), mp_reach(host.v6, &["2001:db8:7::/48"])].concat();
        raw.send(&update(&[], &v6, &[])).expect("an open session");
        // Refused, so it is in no dump.
        tells(&raw, host, &[asn, 65001], &[OTHER]);
        raw
    });
    let ids = |agent: &Agent| {
        let rows = agent.ask(&["routes", "in", "n1"]).unwrap_or_default();
        let rows = rows["items"].as_array().cloned().unwrap_or_default();
        let of_prefix = rows.iter().filter(|row| row["prefix"] == ONE);
        of_prefix.filter_map(|row| row["pathID"].as_u64()).collect::<Vec<_>>()
    };
    until("both paths of one prefix, and both families", SOON, || {
        let ids = ids(&taking);
        met(ids.len() == 2 && telling.route("2001:db8:7::/48").is_some(), || format!("{ids:?}"))
    });

    let folder = TempDir::new().expect("a folder for temporary files can be made");
    let file = folder.path().join("rib.mrt");
    let dump = |agent: &Agent, more: &[&str]| {
        let words = [&["routes", "dump", file.to_str().expect("ASCII")], more].concat();
        agent.run(&words).expect("it can be written");
        read(&std::fs::read(&file).expect("it was written"))
    };
    let (peers, tables) = dump(&telling, &[]);
    let [n2, a_v4, b_v4] = [&inside, &a, &b].map(|host| host.v4.to_string());
    let want = [(65001, "0.0.0.0".to_owned()), (4_200_000_000, a_v4), (65003, b_v4), (65001, n2)];
    assert_eq!(peers, want);
    let v4 = TableDumpV2Type::RibIpv4Unicast;
    let v6 = TableDumpV2Type::RibIpv6Unicast;
    assert_eq!(paths(&tables, v4, "192.0.2.0/24"), [(0, None)]);
    assert_eq!(paths(&tables, v4, ONE), [(1, None), (2, None)]);
    assert_eq!(paths(&tables, v6, "2001:db8:1::/48"), [(0, None)]);
    assert_eq!(paths(&tables, v6, "2001:db8:7::/48"), [(1, None), (2, None)]);
    assert_eq!(tables.len(), 4, "{tables:?}");
    let numbers: Vec<u32> = tables.iter().map(|table| table.sequence_number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let best = |prefix: &str| {
        let table = tables.iter().find(|table| table.prefix.prefix.to_string() == prefix);
        table.expect("it is there").rib_entries[0].attributes.clone()
    };
    let attributes = best(ONE);
    let asns = attributes.as_path().expect("every path has one").to_string();
    assert!(["4200000000 7", "65003 7"].contains(&&*asns), "{asns}");
    assert!([a.v4, b.v4].map(Into::into).contains(&attributes.next_hop().expect("one")));
    let reach = best("2001:db8:7::/48");
    let hop = reach.get_reachable_nlri().and_then(|nlri| nlri.next_hop).expect("one").addr();
    assert!([a.v6, b.v6].map(Into::into).contains(&hop), "{hop}");

    let (_, tables) = dump(&telling, &["--family", "ipv6"]);
    assert!(tables.iter().all(|table| table.rib_type == v6) && tables.len() == 2, "{tables:?}");
    let (peers, tables) = dump(&taking, &[]);
    assert_eq!(peers[1], (65001, edge.v4.to_string()));
    let mut want: Vec<_> = ids(&taking).into_iter().map(|id| (1, u32::try_from(id).ok())).collect();
    want.sort_unstable();
    assert_eq!(paths(&tables, TableDumpV2Type::RibIpv4UnicastAddPath, ONE), want);
    assert_eq!(paths(&tables, v4, ONE), []);

    // One that its user ends leaves nothing behind.
    telling.process().signal(Signal::SIGSTOP);
    let socket = telling.socket();
    let words = [file.to_str(), Some("--socket"), socket.to_str(), Some("--timeout"), Some("60s")];
    let words = ["routes", "dump"].into_iter().chain(words.map(|word| word.expect("ASCII")));
    let logs = TempDir::new().expect("a folder for temporary files can be made");
    let mut dumping = Process::start(&edge.netns, "dump", logs.path(), binary(), words)
        .expect("it can be started");
    let open = format!("/proc/{}/fd", dumping.pid());
    until("it begins to write", SOON, || {
        let open = std::fs::read_dir(&open).map_err(|error| error.to_string())?;
        let mut files = open.flatten().filter_map(|one| std::fs::read_link(one.path()).ok());
        met(files.any(|file| file.starts_with(folder.path())), || dumping.tail())
    });
    dumping.signal(Signal::SIGINT);
    let ended = dumping.wait(SOON).signal();
    let count = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!((ended, count), (Some(Signal::SIGINT as i32), 1), "{}", dumping.tail());
    telling.process().signal(Signal::SIGCONT);
    drop(raw);
    telling.stop();
    taking.stop();
}
