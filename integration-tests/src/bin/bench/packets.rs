//! What a packet pays for policy: throughput and connections a second through a node's
//! forwarding, without rules and with more and more of them.
//!
//! ```text
//!   client 10.77.0.2 ── node (the real engine's rules, loaded as the agent loads them) ── pod
//! ```

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use brindle_policy::compile::{self, Settings};
use brindle_policy::model::{
    Action, Change, Criterion, DEFAULT_TIER, HostSettings, HostStage, IpBlock, Node, PeerTerm, Pod,
    Policy, PolicyId, PolicyKind, PolicyOrder, PortMatch, PortTerm, Protocol, Rule, Side,
};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::{Family, PodKey, World, render};
use integration_tests::Netns;

const CLIENT: &str = "10.77.0.2";
const SERVER: &str = "10.244.1.1";
const PORT: u16 = 8080;
/// How long a figure is measured in one round.
const SPAN: Duration = Duration::from_millis(500);
/// Rounds through all sets of rules; the median counts, so that a busy moment hits all alike.
const ROUNDS: usize = 7;

/// Figures of one set of rules.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Octets a second of one connection.
    throughput: f64,
    /// Connections a second, one after the other: each pays for the whole walk.
    connections: f64,
}

/// The table of this measurement.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(String, Figures)>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, base)) = self.0.first() else { return Ok(()) };
        writeln!(f, "\nThrough a node's rules; in brackets: times the figure without rules.\n")?;
        writeln!(f, "  {:<44} {:>18} {:>22}", "", "Gbit/s", "connections/s")?;
        for (what, figures) in &self.0 {
            writeln!(
                f,
                "  {what:<44} {:>18} {:>22}",
                format!(
                    "{:.2} ({:.2})",
                    figures.throughput * 8e-9,
                    figures.throughput / base.throughput
                ),
                format!(
                    "{:.0} ({:.2})",
                    figures.connections,
                    figures.connections / base.connections
                ),
            )?;
        }
        Ok(())
    }
}

/// Measures everything.
///
/// # Errors
/// Namespaces cannot be made, or rules cannot be loaded.
pub(crate) fn measure() -> Result<Report> {
    let mut paths = vec![("no rules".to_owned(), Path::new()?)];
    for backend in ["nft", "legacy"] {
        for (pods, policies) in [(10, 10), (250, 1000)] {
            let path = Path::new()?;
            path.load(backend, pods, policies)?;
            paths.push((format!("{backend}: {pods} pods, {policies} policies"), path));
        }
    }
    let mut all = vec![(Vec::new(), Vec::new()); paths.len()];
    for round in 1..=ROUNDS {
        eprintln!("packets through rules: round {round} of {ROUNDS}");
        for ((_, path), (throughput, connections)) in paths.iter().zip(&mut all) {
            throughput.push(path.throughput()?);
            connections.push(path.connections()?);
        }
    }
    let figures = all.into_iter().map(|(throughput, connections)| Figures {
        throughput: median(throughput),
        connections: median(connections),
    });
    Ok(Report(paths.into_iter().map(|(what, _)| what).zip(figures).collect()))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A client, a node and a pod on it.
struct Path {
    client: Arc<Netns>,
    node: Arc<Netns>,
    pod: Arc<Netns>,
}

impl Path {
    fn new() -> Result<Self> {
        let (client, node, pod) = (Netns::new("client")?, Netns::new("node")?, Netns::new("pod")?);
        client.cable("eth0", &node, "uplink")?;
        pod.cable("eth0", &node, "pod0")?;
        client.add_address("eth0", &format!("{CLIENT}/24"))?;
        node.add_address("uplink", "10.77.0.1/24")?;
        pod.add_address("eth0", &format!("{SERVER}/32"))?;
        client.ip("route add default via 10.77.0.1")?;
        pod.ip("route add 169.254.1.1 dev eth0 scope link")?;
        pod.ip("route add default via 169.254.1.1")?;
        node.ip("route add local 169.254.1.1 dev lo")?;
        node.ip(&format!("route add {SERVER}/32 dev pod0 scope link"))?;
        node.sysctl("net/ipv4/ip_forward", "1")?;
        // connections one after the other would run out of ports that may be used again
        client.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
        client.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        Ok(Self { client, node, pod })
    }

    /// Loads what the engine makes of so many pods and policies.
    fn load(&self, backend: &str, pods: usize, policies: usize) -> Result<()> {
        let settings = Settings {
            node: "n1".into(),
            pod_cidrs: [].into(),
            masquerade: true,
            deny_log: None,
            hosts: HostSettings::default(),
        };
        let ruleset = compile::compile(&world(pods, policies), &settings, Family::V4);
        let text = render::ruleset(&ruleset);
        self.feed("ipset", &["restore"], &text.sets)?;
        self.feed(&format!("iptables-{backend}-restore"), &["--noflush"], &text.rules)
    }

    fn feed(&self, program: &str, args: &[&str], input: &str) -> Result<()> {
        let program = integration_tests::skip::find(program)
            .with_context(|| format!("{program} is not installed"))?;
        let output = self.node.inside(|| -> Result<_> {
            let mut child = std::process::Command::new(&program)
                .args(args)
                .stdin(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()?;
            child.stdin.take().context("it is piped")?.write_all(input.as_bytes())?;
            Ok(child.wait_with_output()?)
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", program.display());
        Ok(())
    }

    fn throughput(&self) -> Result<f64> {
        self.served(
            |stream| drop(std::io::copy(stream, &mut std::io::sink())),
            |at| {
                let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
                let block = vec![7; 128 << 10];
                let (begin, mut sent) = (Instant::now(), 0usize);
                while begin.elapsed() < SPAN {
                    stream.write_all(&block)?;
                    sent += block.len();
                }
                Ok(sent as f64 / begin.elapsed().as_secs_f64())
            },
        )
    }

    /// One thread plays both ends, so that it is not the scheduler that is measured.
    fn connections(&self) -> Result<f64> {
        let at = self.at()?;
        let listener = self.pod.inside(|| TcpListener::bind(at))?;
        self.client.inside(|| {
            let (begin, mut made) = (Instant::now(), 0usize);
            while begin.elapsed() < SPAN {
                let stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
                drop(listener.accept()?);
                // a reset leaves no socket that waits for late packets
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                made += 1;
            }
            Ok(made as f64 / begin.elapsed().as_secs_f64())
        })
    }

    fn at(&self) -> Result<SocketAddr> {
        format!("{SERVER}:{PORT}").parse().context("an address")
    }

    /// What `client` finds out while `serve` looks after each connection in the pod.
    fn served(
        &self,
        serve: fn(&mut TcpStream),
        client: impl FnOnce(SocketAddr) -> Result<f64> + Send,
    ) -> Result<f64> {
        let at = self.at()?;
        let listener = self.pod.inside(|| TcpListener::bind(at))?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Ok((mut stream, _)) = listener.accept() {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    serve(&mut stream);
                }
            });
            let found = self.client.inside(|| client(at));
            stop.store(true, Ordering::Release);
            // wakes the one who waits for connections
            let _ = self.pod.inside(|| TcpStream::connect(at));
            found
        })
    }
}

/// A node with so many pods, the measured one first, and policies of which every pod is
/// governed by a handful; the measured connection is allowed by the last rule of its last one.
fn world(pods: usize, policies: usize) -> World {
    let mut world = World::default();
    let node = Node {
        name: "n1".into(),
        addresses: ["10.77.0.1".parse().expect("an address")].into(),
        pod_cidrs: ["10.244.1.0/24".parse().expect("a block")].into(),
        labels: Default::default(),
    };
    world.apply(Change::NodeApplied(Arc::new(node)));
    let label = |number: usize| (Arc::from("app"), Arc::from(format!("app-{number}").as_str()));
    for number in 0..pods {
        let octet = u8::try_from(number + 1).expect("at most 254 pods");
        world.apply(Change::PodApplied(Arc::new(Pod {
            key: PodKey { namespace: "default".into(), name: format!("pod-{number}").into() },
            labels: [label(number)].into(),
            node: Some("n1".into()),
            host_network: false,
            finished: false,
            addresses: vec![[10, 244, 1, octet].into()],
            ports: [].into(),
            created: "".into(),
            service_account: "default".into(),
        })));
    }
    for number in 0..policies {
        let (key, value) = label(number % pods);
        let on = |value: Arc<str>| {
            let key = Key { scope: Scope::Own, name: key.clone() };
            Arc::new(Expr::is_in(key, [value].into()))
        };
        let is_last = number + pods >= policies;
        let ports = |port| Criterion::Ports {
            side: Side::Destination,
            any_of: vec![PortTerm { protocol: Protocol::Tcp, port: PortMatch::Range(port, port) }],
            negated: false,
        };
        let from =
            |term| Criterion::Peer { side: Side::Source, any_of: vec![term], negated: false };
        let peers = on(label((number + 1) % pods).1);
        let block = IpBlock { cidr: "10.77.0.0/24".parse().expect("a block"), except: vec![] };
        let allow = |criteria| Rule { action: Action::Allow, criteria };
        world.apply(Change::PolicyApplied(Arc::new(Policy {
            id: PolicyId {
                kind: PolicyKind::NetworkPolicy,
                namespace: Some("default".into()),
                name: format!("policy-{number:04}").into(),
            },
            tier: DEFAULT_TIER.into(),
            order: PolicyOrder::KUBERNETES,
            subject: on(value),
            stage: HostStage::Normal,
            staged: None,
            ingress: Some(vec![
                allow(vec![from(PeerTerm::Endpoints(peers)), ports(80)]),
                allow(vec![from(PeerTerm::Block(block)), ports(if is_last { PORT } else { 9090 })]),
            ]),
            egress: None,
            problems: vec![],
        })));
    }
    world.apply(Change::InSync);
    world
}
