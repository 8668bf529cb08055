//! The policy half alone, on pod interfaces that somebody else made: behind a bridge, and
//! routed; and pods that send before anybody knows them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::process::Process;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, agent, skip};
use tempfile::TempDir;

const BACKENDS: [&str; 2] = ["nft", "legacy"];

/// A node whose agent does policies only.
struct Node {
    netns: Arc<Netns>,
    _process: Process,
    folder: TempDir,
}

impl Node {
    /// Starts the agent in `netns`, which is set up, and waits until it enforces.
    fn start(netns: Arc<Netns>, backend: &str) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files");
        fs::create_dir(folder.path().join("manifests")).expect("a new folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "node: {{name: n1}}\nbgp: {{enabled: false}}\nsource: {{kind: files, path: {}}}\n\
             control: {{socket: {}}}\npolicy: {{enabled: true, backend: {backend}}}\n",
            at("manifests"),
            at("brindle.sock"),
        );
        fs::write(at("brindle.yaml"), text).expect("the folder is ours");
        let manifest = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n\
                        spec: {podCIDRs: [10.244.1.0/24, \"fd00:244:1::/64\"]}\n\
                        status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n";
        fs::write(folder.path().join("manifests/node.yaml"), manifest).expect("ours");
        let config = at("brindle.yaml");
        let args = ["agent", "--config", &config];
        let process = Process::start(&netns, "brindle", folder.path(), agent::binary(), args);
        let node = Self { netns, _process: process.expect("the agent starts"), folder };
        node.programmed(0);
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a manifest there as a whole, or takes it away.
    fn manifest(&self, name: &str, text: Option<&str>) {
        let path = self.path("manifests").join(format!("{name}.yaml"));
        match text {
            Some(text) => {
                let fresh = path.with_extension("fresh");
                fs::write(&fresh, text).expect("the folder is ours");
                fs::rename(&fresh, &path).expect("one file system");
            }
            None => fs::remove_file(&path).expect("it was there"),
        }
    }

    /// Waits until so many pods, no more and no fewer, are programmed.
    fn programmed(&self, count: usize) {
        let socket = self.path("brindle.sock").display().to_string();
        let program = agent::binary().display().to_string();
        until(&format!("{count} pods are programmed"), SOON, || {
            let words = ["status", "-o", "json", "--socket", &socket];
            let output = self.netns.output(&program, &words).map_err(|e| e.to_string())?;
            let status: serde_json::Value =
                serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
            let policy = &status["policy"];
            let numbers = ["endpoints", "programmed"].map(|key| policy[key].as_u64());
            let good = policy["ready"] == true && numbers == [Some(count as u64); 2];
            met(good, || policy.to_string())
        });
    }
}

fn pod(name: &str, labels: &str, addresses: &[String]) -> String {
    let ips: Vec<String> = addresses.iter().map(|ip| format!("{{ip: \"{ip}\"}}")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n\
         spec: {{nodeName: n1, containers: [{{name: main, image: any}}]}}\n\
         status: {{phase: Running, podIPs: [{}]}}\n",
        ips.join(", ")
    )
}

/// Whether a connection from `from` to a listener at `to` in `there` is answered; what does
/// not come within a second is dropped.
fn reaches(from: &Netns, there: &Netns, to: IpAddr) -> Result<bool, String> {
    let listener = there.inside(|| TcpListener::bind(SocketAddr::new(to, 0)));
    let listener = listener.map_err(|error| error.to_string())?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    match from.inside(|| TcpStream::connect_timeout(&at, Duration::from_secs(1))) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(format!("{to}: {error}")),
    }
}

#[test]
fn pods_behind_a_foreign_bridge_are_closed_and_opened() {
    for backend in BACKENDS {
        let programs = ["ip", "ipset", &format!("iptables-{backend}")];
        if !skip::can_run(&format!("policies behind a bridge, {backend}"), &programs) {
            continue;
        }
        let netns = Netns::new("n1").expect("a network namespace");
        netns.ip("link add cni0 type bridge forward_delay 0 mcast_snooping 0").expect("a bridge");
        netns.ip("link set cni0 up").expect("a bridge");
        netns.add_address("cni0", "10.244.1.1/24").expect("an address");
        netns.add_address("cni0", "fd00:244:1::1/64").expect("an address");
        netns.sysctl("net/ipv4/ip_forward", "1").expect("ours");
        netns.sysctl("net/ipv6/conf/all/forwarding", "1").expect("ours");
        // what every plug-in with a bridge needs for policies and Services
        let calls = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
        if calls.iter().any(|key| netns.sysctl(key, "1").is_err()) {
            let _ = skip::unless(
                &format!("policies behind a bridge, {backend}"),
                Some("the kernel has no br_netfilter".to_owned()),
            );
            continue;
        }
        let mut pods = BTreeMap::new();
        for (number, name) in (2..).zip(["web", "client", "other", "ghost"]) {
            let pod = Netns::new(name).expect("a network namespace");
            pod.cable("eth0", &netns, name).expect("a cable");
            netns.ip(&format!("link set {name} master cni0")).expect("a port of the bridge");
            let addresses = [format!("10.244.1.{number}"), format!("fd00:244:1::{number}")];
            pod.add_address("eth0", &format!("{}/24", addresses[0])).expect("an address");
            pod.add_address("eth0", &format!("{}/64", addresses[1])).expect("an address");
            pods.insert(name, (pod, addresses));
        }
        let node = Node::start(netns, backend);
        // nobody tells of the ghost
        for name in ["web", "client", "other"] {
            let labels = format!("app: {name}");
            node.manifest(name, Some(&pod(name, &labels, &pods[name].1)));
        }
        node.programmed(3);
        let check = |why: &str, from: &str, to: &str, want: bool| {
            let (there, addresses) = &pods[to];
            for address in addresses {
                let address = address.parse().expect("an address");
                until(&format!("{backend}: {why}: {from} to {address}"), SOON, || {
                    let from = if from == "n1" { &node.netns } else { &pods[from].0 };
                    let got = reaches(from, there, address)?;
                    met(got == want, || format!("{got}"))
                });
            }
        };
        check("no policy", "other", "web", true);
        check("nobody knows the ghost", "ghost", "web", false);
        check("nobody knows the ghost", "web", "ghost", false);
        let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                      metadata: {name: web}\nspec:\n  podSelector: {matchLabels: {app: web}}\n  \
                      ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]\n";
        node.manifest("policy", Some(policy));
        check("closed", "other", "web", false);
        check("open to the client", "client", "web", true);
        check("open to the own node", "n1", "web", true);
        check("others are not concerned", "web", "other", true);
        for gateway in ["10.244.1.1", "fd00:244:1::1"] {
            let gateway = gateway.parse().expect("an address");
            let got = reaches(&pods["web"].0, &node.netns, gateway);
            assert_eq!(got, Ok(true), "{backend}: the bridge's own address {gateway}");
        }
        node.manifest("policy", None);
        check("the policy is gone", "other", "web", true);
    }
}

/// How many pods are started at a time, and how often.
const TOGETHER: usize = 25;
const ROUNDS: usize = 20;

#[test]
fn a_thousand_pods_that_send_from_their_first_moment_never_get_a_packet_through() {
    for backend in BACKENDS {
        let programs = ["ip", "ipset", &format!("iptables-{backend}")];
        if !skip::can_run(&format!("new pods that send at once, {backend}"), &programs) {
            continue;
        }
        let netns = Netns::new("n1").expect("a network namespace");
        let far = Netns::new("far").expect("a network namespace");
        far.cable("eth0", &netns, "uplink").expect("a cable");
        far.add_address("eth0", "10.0.0.2/24").expect("an address");
        far.ip("route add default via 10.0.0.1").expect("a route");
        netns.add_address("uplink", "10.0.0.1/24").expect("an address");
        netns.sysctl("net/ipv4/ip_forward", "1").expect("ours");
        netns.ip("route add local 169.254.1.1 dev lo").expect("a route");
        let node = Node::start(netns, backend);
        let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                      metadata: {name: no-egress}\n\
                      spec: {podSelector: {matchLabels: {app: racer}}, policyTypes: [Egress]}\n";
        node.manifest("policy", Some(policy));

        let heard: Mutex<BTreeMap<String, usize>> = Mutex::default();
        let stop = AtomicBool::new(false);
        let ear = far.inside(|| UdpSocket::bind("10.0.0.2:9")).expect("a socket");
        ear.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 64];
                while !stop.load(Ordering::Acquire) {
                    if let Ok(length) = ear.recv(&mut buffer) {
                        let name = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        *heard.lock().expect("no panic").entry(name).or_default() += 1;
                    }
                }
            });
            let work = || {
                for round in 0..ROUNDS {
                    start_together(&node, round, &heard);
                }
            };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            stop.store(true, Ordering::Release);
            if let Err(panic) = done {
                std::panic::resume_unwind(panic);
            }
        });
        let heard = heard.into_inner().expect("no panic");
        let racers: Vec<_> = heard.iter().filter(|(name, _)| name.starts_with("racer")).collect();
        assert!(racers.is_empty(), "{backend}: heard of {racers:?}");
        let free = heard.keys().filter(|name| name.starts_with("free")).count();
        assert_eq!(free, ROUNDS, "{backend}: one of each round is free, so the ear works");
    }
}

/// Starts pods at the same addresses as those of the round before; each sends from before it
/// has its address on, and one of them no policy governs. Then they go.
fn start_together(node: &Node, round: usize, heard: &Mutex<BTreeMap<String, usize>>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut names = Vec::new();
        for number in 0..TOGETHER {
            // a free pod's address is a racer's in the next round
            let kind = if number == round % TOGETHER { "free" } else { "racer" };
            let name = format!("{kind}-{round}-{number}");
            let (octet, port) = (number + 10, format!("p{number}"));
            let pod_netns = Netns::new(&name).expect("a network namespace");
            pod_netns.cable("eth0", &node.netns, &port).expect("a cable");
            let (inside, stop, word) = (Arc::clone(&pod_netns), &stop, name.clone());
            scope.spawn(move || {
                let socket = inside.inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket");
                while !stop.load(Ordering::Acquire) {
                    // no way there before the address is there
                    let _ = socket.send_to(word.as_bytes(), "10.0.0.2:9");
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            let address = format!("10.244.1.{octet}");
            pod_netns.add_address("eth0", &format!("{address}/32")).expect("an address");
            pod_netns.ip("route add 169.254.1.1 dev eth0 scope link").expect("a route");
            pod_netns.ip("route add default via 169.254.1.1").expect("a route");
            node.netns
                .ip(&format!("route replace {address}/32 dev {port} scope link"))
                .expect("one");
            let labels = format!("app: {kind}");
            node.manifest(&name, Some(&pod(&name, &labels, &[address])));
            // held until its end of the cable is removed
            names.push((name, port, pod_netns));
        }
        node.programmed(TOGETHER);
        let free = format!("free-{round}-{}", round % TOGETHER);
        until(&format!("{free} is heard"), SOON, || {
            let heard = heard.lock().expect("no panic");
            met(heard.contains_key(&free), || format!("{} others", heard.len()))
        });
        stop.store(true, Ordering::Release);
        for (name, port, _) in &names {
            node.manifest(name, None);
            node.netns.ip(&format!("link del {port}")).expect("it was there");
        }
        node.programmed(0);
    });
}
