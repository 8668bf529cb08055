//! A node is drained: its traffic goes elsewhere first, and nothing of it is lost.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use integration_tests::agent::{Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::frr::Frr;
use integration_tests::kernel::Monitor;
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Host, Lan, kernel, skip, until};
use serde_json::Value;
use tempfile::TempDir;

/// What two nodes announce, and where in it both answer.
const ANYCAST: &str = "192.0.2.0/24";
pub(super) const SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 7777);

const OPEN: &str = ", importFilters: [], exportFilters: []";

/// Answers every packet to [`SERVICE`] until it is dropped.
pub(super) struct Echo(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Echo {
    pub(super) fn start(host: &Host) -> Self {
        host.netns.ip(&format!("address add {}/32 dev lo", SERVICE.0)).expect("a new address");
        let socket = host.netns.inside(|| UdpSocket::bind(SERVICE)).expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let answer = move || {
            let mut packet = [0; 64];
            while !is_over.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut packet) {
                    // That an answer is lost shows at the other end.
                    let _ = socket.send_to(&packet[..length], from);
                }
            }
        };
        Self(over, Some(std::thread::spawn(answer)))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().map(JoinHandle::join);
    }
}

/// A packet each millisecond from a host to [`SERVICE`], each to be answered.
pub(super) struct Stream(Arc<AtomicBool>, JoinHandle<Lost>);

/// What became of a stream.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lost {
    pub(super) sent: u64,
    pub(super) unanswered: u64,
    /// Times that the host itself had no route.
    pub(super) unsent: u64,
}

impl Stream {
    pub(super) fn start(host: &Host) -> Self {
        let local = SocketAddr::from((host.v4, 0));
        let socket = host.netns.inside(|| UdpSocket::bind(local)).expect("an address of its own");
        socket.set_nonblocking(true).expect("it can be");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let send = move || {
            let mut lost = Lost::default();
            let mut answered = 0;
            let mut packet = [0; 64];
            let mut last = None;
            loop {
                match last {
                    None if is_over.load(Ordering::Relaxed) => last = Some(Instant::now()),
                    None => match socket.send_to(b"there?", SERVICE) {
                        Ok(_) => lost.sent += 1,
                        Err(_) => lost.unsent += 1,
                    },
                    // Enough for any answer on one machine.
                    Some(since) if since.elapsed() > Duration::from_millis(500) => break,
                    Some(_) => {}
                }
                std::thread::sleep(Duration::from_millis(1));
                loop {
                    match socket.recv_from(&mut packet) {
                        Ok(_) => answered += 1,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        // An ICMP error for an earlier packet, which counts as lost below.
                        Err(_) => {}
                    }
                }
            }
            lost.unanswered = lost.sent - answered;
            lost
        };
        Self(over, std::thread::spawn(send))
    }

    pub(super) fn end(self) -> Lost {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().expect("the stream does not panic")
    }
}

/// One of those who hear of both nodes.
struct Receiver {
    host: Host,
    /// If it is a brindle.
    agent: Option<Agent>,
    /// If it is something else, which lives as long as this.
    _router: Option<Box<dyn Router>>,
}

impl Receiver {
    fn start(host: &Host, nodes: [&Host; 2]) -> Self {
        let router: Option<Box<dyn Router>> = match host.netns.name() {
            "bird" => Some(Box::new(bird(host, nodes))),
            "frr" => Some(Box::new(frr(host, nodes))),
            _ => None,
        };
        let agent =
            router.is_none().then(|| {
                let config = Config::new(65010)
                    .line("n1", &nodes[0].v4.to_string(), 65001, OPEN)
                    .line("n2", &nodes[1].v4.to_string(), 65002, OPEN);
                Agent::start(host, &config)
            });
        Self { host: host.clone(), agent, _router: router }
    }

    fn name(&self) -> &str {
        self.host.netns.name()
    }

    /// Waits until its kernel sends packets for the service by way of `node`.
    #[track_caller]
    fn goes_by(&self, node: &Host) {
        let what = format!("{} goes by {}", self.name(), node.netns.name());
        until(&what, SOON, || {
            let route = self.host.netns.ip(&format!("route get {}", SERVICE.0));
            let route = route.unwrap_or_else(|error| format!("{error:#}"));
            met(route.contains(&format!("via {} ", node.v4)), || route)
        });
    }
}

/// BIRD with routes in the kernel, and the lowest preference for those of who is about to go.
fn bird(host: &Host, nodes: [&Host; 2]) -> Bird {
    let mut more = "protocol kernel { ipv4 { export where source = RTS_BGP; }; }\n\
                    filter leaving { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }\n"
        .to_owned();
    for (node, asn) in nodes.into_iter().zip([65001, 65002]) {
        more.push_str(&format!(
            "protocol bgp {{ local {} as 65010; neighbor {} as {asn}; connect delay time 1; \
             ipv4 {{ import filter leaving; export none; }}; }}\n",
            host.v4, node.v4
        ));
    }
    Bird::start_with(host, Plan { asn: 65010, neighbors: vec![], originate: vec![] }, &more)
}

fn frr(host: &Host, nodes: [&Host; 2]) -> Frr {
    let neighbors = [Neighbor::new(nodes[0].v4, 65001), Neighbor::new(nodes[1].v4, 65002)];
    Frr::start(host, Plan { asn: 65010, neighbors: neighbors.into(), originate: vec![] })
}

fn draining(agent: &Agent) -> Value {
    agent.ask(&["status"]).unwrap_or_default()["drain"].clone()
}

#[test]
fn a_drained_node_loses_no_packet_and_stays_drained_until_it_is_undone() {
    let test = "a_drained_node_loses_no_packet_and_stays_drained_until_it_is_undone";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (n1, n2) = (lan.host("n1", 1), lan.host("n2", 2));
    let node = |asn, receivers: &[&Host]| {
        let config = Config::new(asn).networks(&[ANYCAST]);
        let peer = |config: Config, host: &&Host| {
            config.line(host.netns.name(), &host.v4.to_string(), 65010, OPEN)
        };
        receivers.iter().fold(config, peer)
    };
    let hosts = [lan.host("brindle", 3), lan.host("bird", 4), lan.host("frr", 5)];
    let can_run = [true, Kind::Bird.can_run(test), Kind::Frr.can_run(test)];
    let hosts: Vec<&Host> =
        hosts.iter().zip(can_run).filter_map(|(host, can)| can.then_some(host)).collect();
    let _echoes = [Echo::start(&n1), Echo::start(&n2)];
    let mut first = Agent::start(&n1, &node(65001, &hosts));
    let second = Agent::start(&n2, &node(65002, &hosts));
    let receivers: Vec<Receiver> =
        hosts.iter().map(|host| Receiver::start(host, [&n1, &n2])).collect();
    for host in &hosts {
        first.up(host.netns.name());
        second.up(host.netns.name());
    }
    // Who goes by the oldest path goes by the second if that came first.
    for receiver in &receivers {
        until("both paths are known", SOON, || {
            let name = receiver.name();
            let told = |agent: &Agent| agent.ask(&["routes", "out", name]).unwrap_or_default();
            let both = [told(&first), told(&second)];
            met(both.iter().all(|told| told.to_string().contains(ANYCAST)), || format!("{both:?}"))
        });
    }
    second.run(&["drain", "--wait", "1s"]).expect("nobody need go by the second one");
    for receiver in &receivers {
        receiver.goes_by(&n1);
    }
    assert_eq!(draining(&second)["state"], "drained");
    second.run(&["undrain"]).expect("it runs");
    for host in &hosts {
        second.up(host.netns.name());
    }
    until("the second one is told of again", SOON, || {
        let told = |host: &&Host| second.ask(&["routes", "out", host.netns.name()]);
        let all: Vec<_> = hosts.iter().map(|host| told(host).unwrap_or_default()).collect();
        met(all.iter().all(|told| told["items"][0]["prefix"] == ANYCAST), || format!("{all:?}"))
    });

    let streams: Vec<Stream> = receivers.iter().map(|one| Stream::start(&one.host)).collect();
    let said = first.run(&["drain", "--wait", "20s", "--message", "a disk is changed"]);
    let said = said.expect("nothing is left to come in");
    let told = format!("graceful-shutdown community sent to {} peers;", hosts.len());
    assert!(said.starts_with(&told), "{said}");
    assert!(said.ends_with("; 0 packets/s arriving; safe to stop\n"), "{said}");
    for receiver in &receivers {
        receiver.goes_by(&n2);
        if let Some(agent) = &receiver.agent {
            let reason = agent.peer("n1")["lastReason"].to_string();
            assert!(reason.contains("a disk is changed"), "{reason}");
        }
    }
    let drain = draining(&first);
    assert_eq!((&drain["state"], &drain["safeToStop"]), (&"drained".into(), &true.into()));
    let after = drain["withdrawnAfterSeconds"].as_f64().unwrap_or_default();
    assert!((1.0..20.0).contains(&after), "it went on once it was quiet: {drain}");

    // Neither a kill nor a signal to stop changes that, nor who dials.
    first.kill();
    first.start_again();
    assert_eq!(draining(&first)["state"], "drained");
    throughout("no session comes up", Duration::from_secs(2), || {
        let peers = first.ask(&["peers"]).unwrap_or_default();
        let is_down = |peer: &Value| peer["state"] == "Idle";
        let items = peers["items"].as_array().cloned().unwrap_or_default();
        met(items.len() == hosts.len() && items.iter().all(is_down), || peers.to_string())
    });
    let status = first.ask(&["status"]).unwrap_or_default();
    assert_eq!(status["healthy"], true, "it is as somebody wants it: {status}");

    // Back again: what it tells carries no mark any more.
    first.run(&["undrain"]).expect("it runs");
    assert_eq!(draining(&first), Value::Null);
    for receiver in &receivers {
        let name = receiver.name();
        first.up(name);
        until("it is told as before", SOON, || {
            let told = first.ask(&["routes", "out", name]).unwrap_or_default();
            let path = &told["items"][0];
            let is_plain = !path.to_string().contains("graceful-shutdown");
            met(path["prefix"] == ANYCAST && is_plain, || told.to_string())
        });
    }
    for (receiver, lost) in receivers.iter().zip(streams.into_iter().map(Stream::end)) {
        let name = receiver.name();
        assert!(lost.sent > 2000, "{name}: {lost:?}");
        assert_eq!(lost.unanswered, 0, "{name}: {lost:?}");
        // BIRD replaces a route by removing it first.
        assert!(lost.unsent <= if name == "bird" { 2 } else { 0 }, "{name}: {lost:?}");
    }
}

/// GoBGP reflects to a brindle what two nodes tell it: it looks at no community, and needs not.
#[test]
fn a_node_is_drained_behind_gobgp_and_no_packet_is_lost() {
    let test = "a_node_is_drained_behind_gobgp_and_no_packet_is_lost";
    if !Kind::Gobgp.can_run(test) {
        return;
    }
    let lan = Lan::new();
    let (n1, n2) = (lan.host("n1", 1), lan.host("n2", 2));
    let (gobgp, behind) = (lan.host("gobgp", 3), lan.host("behind", 4));
    let client = |host: &Host| Neighbor { is_client: true, ..Neighbor::new(host.v4, 65010) };
    let neighbors = [&n1, &n2, &behind].map(client).into();
    let _router = Kind::Gobgp.start(&gobgp, Plan { asn: 65010, neighbors, originate: vec![] });
    let start = |host: &Host, networks: &[&str]| {
        let config = Config::new(65010).networks(networks).bgp("connectRetryTime: 200ms");
        Agent::start(host, &config.line("gobgp", &gobgp.v4.to_string(), 65010, ""))
    };
    let _echoes = [Echo::start(&n1), Echo::start(&n2)];
    let nodes = [start(&n1, &[ANYCAST]), start(&n2, &[ANYCAST])];
    let receiver =
        Receiver { host: behind.clone(), agent: Some(start(&behind, &[])), _router: None };
    let used = |agent: &Agent| agent.learns(ANYCAST)["nextHop"].clone();
    let agent = receiver.agent.as_ref().expect("started above");
    for node in &nodes {
        node.up("gobgp");
    }
    // Whichever it goes by.
    let first = used(agent);
    let (leaves, stays) = if first == n1.v4.to_string() { (0, &n2) } else { (1, &n1) };
    let other = nodes[1 - leaves].ask(&["routes", "out", "gobgp"]).unwrap_or_default();
    assert!(other.to_string().contains(ANYCAST), "the other way is told of: {other}");
    receiver.goes_by(if leaves == 0 { &n1 } else { &n2 });

    let monitor = Monitor::start(&behind.netns);
    let stream = Stream::start(&behind);
    let said = nodes[leaves].run(&["drain", "--wait", "20s"]).expect("nothing is left to come in");
    assert!(said.ends_with("; 0 packets/s arriving; safe to stop\n"), "{said}");
    receiver.goes_by(stays);
    assert_eq!(used(agent), stays.v4.to_string());
    nodes[leaves].run(&["undrain"]).expect("it runs");
    nodes[leaves].up("gobgp");
    let lost = stream.end();
    assert!(lost.sent > 500, "{lost:?}");
    assert_eq!(lost.unanswered, 0, "{lost:?}");
    // It hears of one way at a time, there and back: each next hop is new to it.
    let changes = monitor.changes(kernel::PROTOCOL);
    assert!(lost.unsent == 0, "{lost:?}: {changes:?}");
    assert!(changes.iter().all(|line| !line.starts_with("Deleted")), "{changes:?}");
}

fn manifest(folder: &Path, host: &Host, spec: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{podCIDRs: [10.244.1.0/24]{spec}}}\n\
         status: {{addresses: [{{type: InternalIP, address: {}}}]}}\n",
        host.netns.name(),
        host.v4,
    );
    let temporary = folder.join(".n1.yaml.tmp");
    std::fs::write(&temporary, text).expect("the folder is ours");
    std::fs::rename(&temporary, folder.join("n1.yaml")).expect("the folder is ours");
}

#[test]
fn a_cordon_or_a_taint_drains_a_node_where_that_is_configured() {
    if !skip::can_run("a_cordon_or_a_taint_drains_a_node_where_that_is_configured", &[]) {
        return;
    }
    let lan = Lan::new();
    let (n1, other) = (lan.host("n1", 1), lan.host("other", 2));
    let folder = TempDir::new().expect("a folder for temporary files can be made");
    manifest(folder.path(), &n1, "");
    let config = Config::new(65001)
        .line("other", &other.v4.to_string(), 65002, OPEN)
        .bgp("drain: {onCordon: true, taints: [away], wait: 1s}")
        .rest(&format!("source: {{kind: files, path: \"{}\"}}", folder.path().display()));
    let mut agent = Agent::start(&n1, &config);
    let peer = Config::new(65002).line("n1", &n1.v4.to_string(), 65001, OPEN);
    let peer = Agent::start(&other, &peer);
    peer.learns("10.244.1.0/24");

    let drained = |agent: &Agent, reason: &str| {
        until("it is drained", SOON, || {
            let drain = draining(agent);
            met(drain["state"] == "drained" && drain["reason"] == reason, || drain.to_string())
        });
    };
    let serving = |agent: &Agent| {
        until("it serves", SOON, || {
            let drain = draining(agent);
            met(drain.is_null(), || drain.to_string())
        });
    };
    manifest(folder.path(), &n1, ", unschedulable: true");
    drained(&agent, "Node/n1 is cordoned");
    peer.forgets("10.244.1.0/24");
    // It stays so over a restart, and ends with what was the reason.
    agent.stop();
    agent.start_again();
    drained(&agent, "Node/n1 is cordoned");
    manifest(folder.path(), &n1, "");
    serving(&agent);
    peer.learns("10.244.1.0/24");

    manifest(folder.path(), &n1, ", taints: [{key: away, effect: NoExecute}]");
    drained(&agent, "Node/n1 has the taint away:NoExecute");
    // An operator has the last word, also over a restart, until the reason is a new one.
    agent.run(&["undrain"]).expect("it runs");
    peer.learns("10.244.1.0/24");
    agent.kill();
    agent.start_again();
    peer.learns("10.244.1.0/24");
    assert_eq!(draining(&agent), Value::Null);
    manifest(folder.path(), &n1, ", unschedulable: true");
    drained(&agent, "Node/n1 is cordoned");
    // What an operator takes over does not end with the Node's reason.
    agent.run(&["drain"]).expect("it is drained");
    manifest(folder.path(), &n1, "");
    throughout("it stays drained", Duration::from_secs(1), || {
        let drain = draining(&agent);
        met(drain["state"] == "drained", || drain.to_string())
    });
    agent.run(&["undrain"]).expect("it runs");
    peer.learns("10.244.1.0/24");
    let routes = kernel::routes(&other.netns, kernel::PROTOCOL);
    assert!(routes.iter().any(|route| route.prefix == "10.244.1.0/24"), "{routes:?}");
}
