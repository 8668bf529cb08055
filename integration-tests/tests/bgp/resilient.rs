//! Resilient groups of next hops from BGP to packets: which flows move when a peer goes and
//! comes back, and that none notices an agent that dies, starts, stops or is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use brindle::cleanup::{Scope, clean};
use brindle::enforce::dataplane::Tuning;
use integration_tests::agent::{Agent, Config};
use integration_tests::kernel::{self, Monitor};
use integration_tests::router::{Kind, Neighbor, Plan};
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, until};
use nix::sys::socket::{setsockopt, sockopt};
use tempfile::TempDir;

const PREFIXES: [&str; 3] = ["198.51.100.0/24", "203.0.113.0/24", "192.0.2.128/25"];
/// An address of the second prefix that all peers have, as of a service on several nodes.
const SERVICE: &str = "203.0.113.9";
const FLOWS: u16 = 48;
/// How long a flow waits between two datagrams.
const GAP: Duration = Duration::from_millis(20);

/// Datagrams of many flows, each from a port of its own, one after the other.
struct Flows {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    /// Where each datagram arrived, by flow and number.
    arrived: Arc<Mutex<BTreeMap<(u16, u64), usize>>>,
    sender: JoinHandle<Vec<String>>,
    receivers: Vec<JoinHandle<()>>,
}

impl Flows {
    fn start(from: &Host, to: &[&Host]) -> Self {
        let at: SocketAddr = format!("{SERVICE}:5300").parse().expect("an address");
        let (stop, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let arrived = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let receivers = to.iter().enumerate().map(|(number, host)| {
            let socket = host.netns.inside(|| UdpSocket::bind(at).expect("the address is there"));
            // So that a busy machine loses none here; without the right to it, the usual must do.
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
            socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it can wait");
            let (stop, arrived) = (stop.clone(), arrived.clone());
            thread::spawn(move || {
                let mut octets = [0; 10];
                loop {
                    match socket.recv(&mut octets) {
                        Ok(10) => {
                            let [a, b, number_of @ ..] = octets;
                            let key = (u16::from_be_bytes([a, b]), u64::from_be_bytes(number_of));
                            arrived.lock().expect("no panic").insert(key, number);
                        }
                        Err(_) if stop.load(Ordering::Relaxed) => return,
                        _ => {}
                    }
                }
            })
        });
        let receivers = receivers.collect();
        let sockets: Vec<UdpSocket> = (0..FLOWS)
            .map(|flow| {
                let own = SocketAddr::new(from.v4.into(), 10_000 + flow);
                from.netns.inside(|| UdpSocket::bind(own).expect("a free port"))
            })
            .collect();
        let sender = thread::spawn({
            let (stop, rounds) = (stop.clone(), rounds.clone());
            move || {
                let mut refused = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let round = rounds.load(Ordering::Relaxed);
                    for (flow, socket) in (0_u16..).zip(&sockets) {
                        let octets = [&flow.to_be_bytes()[..], &round.to_be_bytes()].concat();
                        if let Err(error) = socket.send_to(&octets, at) {
                            refused.push(format!("number {round} of flow {flow}: {error}"));
                        }
                    }
                    rounds.store(round + 1, Ordering::Relaxed);
                    thread::sleep(GAP);
                }
                refused
            }
        });
        Self { stop, rounds, arrived, sender, receivers }
    }

    /// Where each flow goes now.
    fn ways(&self) -> BTreeMap<u16, usize> {
        let round = self.rounds.load(Ordering::Relaxed) + 1;
        until("datagrams of all flows", SOON, || {
            let arrived = self.arrived.lock().expect("no panic");
            let way = |flow| Some((flow, *arrived.get(&(flow, round))?));
            let ways: BTreeMap<_, _> = (0..FLOWS).filter_map(way).collect();
            met(ways.len() == usize::from(FLOWS), || format!("{ways:?}"))?;
            Ok(ways)
        })
    }

    /// Where each flow has gone since the one numbered so.
    fn ways_since(&self, round: u64) -> BTreeMap<u16, BTreeSet<usize>> {
        let mut ways = BTreeMap::<u16, BTreeSet<usize>>::new();
        for ((flow, number), way) in &*self.arrived.lock().expect("no panic") {
            if *number >= round {
                ways.entry(*flow).or_default().insert(*way);
            }
        }
        ways
    }

    fn round(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Ends them and says what did not arrive.
    fn lost(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut lost = self.sender.join().expect("the sender lives");
        for receiver in self.receivers {
            receiver.join().expect("the receiver lives");
        }
        let (rounds, arrived) = (self.rounds.load(Ordering::Relaxed), self.arrived.lock());
        let arrived = arrived.expect("no panic");
        for flow in 0..FLOWS {
            let missing = (0..rounds).filter(|number| !arrived.contains_key(&(flow, *number)));
            lost.extend(missing.map(|number| format!("number {number} of flow {flow}")));
        }
        lost
    }
}

/// Our next-hop objects, a line each, without what changes by itself.
fn objects(host: &Host) -> Vec<String> {
    let text = host.netns.ip("nexthop show proto 98").expect("ip can list them");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let steady = |line: String| line.split(" unbalanced_time ").next().map(str::to_owned);
    lines.filter_map(steady).collect()
}

/// Waits until all routes lead by one group of so many hops, and returns the objects.
#[track_caller]
fn one_group(agent: &Agent, host: &Host, hops: usize) -> Vec<String> {
    until(&format!("one group of {hops} for all"), SOON, || {
        let (objects, routes) = (objects(host), kernel::routes(&host.netns, kernel::PROTOCOL));
        let status = agent.ask(&["status"]).unwrap_or_default();
        let groups: Vec<_> = objects.iter().filter(|line| line.contains(" group ")).collect();
        let is_right = groups.len() == 1
            && groups[0].matches('/').count() == hops - 1
            && routes.len() == PREFIXES.len()
            && routes.iter().all(|route| route.gateways.len() == hops)
            && status["resilient"]["groups"] == 1;
        met(is_right, || format!("{objects:?} {routes:?} {status}"))?;
        Ok(objects)
    })
}

#[test]
fn flows_keep_their_peers_while_one_goes_and_comes_and_the_agent_dies() {
    let test = "flows_keep_their_peers_while_one_goes_and_comes_and_the_agent_dies";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let us = lan.host("n1", 1);
    let hosts = [2, 3, 4].map(|number| lan.host(&format!("bird{number}"), number));
    let mut birds = hosts.each_ref().map(|host| {
        host.netns.ip(&format!("address add {SERVICE}/32 dev lo")).expect("lo is there");
        let neighbors = vec![Neighbor::new(us.v4, 65001)];
        let originate = PREFIXES.map(String::from).into();
        Kind::Bird.start(host, Plan { asn: 65002, neighbors, originate })
    });
    let open = ", importFilters: [], exportFilters: []";
    let config = (2..).zip(&hosts).fold(Config::new(65001), |config, (number, host)| {
        config.line(&format!("bird{number}"), &host.v4.to_string(), 65002, open)
    });
    let config = config.rest("routes: {multipath: resilient, hashPolicy: l4, startupHold: 20s}");
    let mut agent = Agent::start(&us, &config);
    one_group(&agent, &us, 3);
    until("all is well, and ports count", SOON, || {
        let said = agent.run(&["status"]).map_err(|error| format!("{error:#}"))?;
        let policy = "/proc/sys/net/ipv4/fib_multipath_hash_policy";
        let policy = us.netns.run("cat", &[policy]).expect("the kernel has it");
        met(said.contains("resilient, 1 group") && policy.trim() == "1", || said)
    });

    let monitor = Monitor::start(&us.netns);
    let flows = Flows::start(&us, &hosts.each_ref());
    let first = flows.ways();
    let counts = [0, 1, 2].map(|peer| first.values().filter(|way| **way == peer).count());
    assert!(counts.iter().all(|count| *count > 3), "{counts:?}");

    // A peer goes: its flows do, and no other; then it comes back, and none does.
    let before = flows.round();
    birds[2].kill();
    one_group(&agent, &us, 2);
    let without = flows.ways();
    for (flow, ways) in flows.ways_since(before) {
        let own = first[&flow];
        assert!(own == 2 || ways == BTreeSet::from([own]), "{flow} of {own}: {ways:?}");
    }
    assert!(without.values().all(|way| *way != 2), "{without:?}");
    let before = flows.round();
    birds[2].start();
    let group = one_group(&agent, &us, 3);
    assert_eq!(flows.ways(), without);

    // The agent dies and starts again, twice: it takes all over as it is.
    for _ in 0..2 {
        let changes = monitor.changes(kernel::PROTOCOL).len();
        agent.kill();
        assert_eq!(flows.ways(), without);
        agent.start_again();
        for number in 2..5 {
            agent.up(&format!("bird{number}"));
        }
        until("leftovers are dealt with", SOON, || {
            let status = agent.ask(&["status"]).unwrap_or_default();
            let kernel = &status["kernel"];
            met(kernel["ready"] == true && kernel["stale"] == 0, || status.to_string())
        });
        assert_eq!(one_group(&agent, &us, 3), group);
        assert_eq!(flows.ways(), without);
        let heard = monitor.changes(kernel::PROTOCOL).split_off(changes);
        assert_eq!(heard, Vec::<String>::new(), "after a restart");
    }

    // One that is told to stop leaves all as it is, too.
    agent.stop();
    let heard = monitor.changes(kernel::PROTOCOL);
    assert!(heard.iter().all(|line| !line.starts_with("Deleted")), "{heard:?}");
    assert_eq!(objects(&us), group);
    assert_eq!(flows.ways(), without);
    for (flow, ways) in flows.ways_since(before) {
        assert_eq!(ways, BTreeSet::from([without[&flow]]), "{flow}");
    }
    assert_eq!(flows.lost(), Vec::<String>::new());

    let folder = TempDir::new().expect("a folder for temporary files");
    let path = |name: &str| folder.path().join(name);
    let scope = Scope {
        config_dir: path("net.d"),
        data_dir: path("data"),
        socket: agent.socket(),
        pods: false,
        dry_run: false,
        tuning: Tuning::default(),
    };
    let account = us.netns.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("an event loop").block_on(clean(&scope))
    });
    // Three routes, three hops, their group.
    assert_eq!(account.gone.len(), 7, "{account:#?}");
    assert_eq!(objects(&us), Vec::<String>::new());
    assert_eq!(kernel::routes(&us.netns, kernel::PROTOCOL), []);
}
