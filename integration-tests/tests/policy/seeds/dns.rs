//! A DNS server in a pod, Services as kube-proxy makes them, and who sees whom.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use brindle::lab::{exec, netns};
use integration_tests::TestLab;

/// The address of the DNS Service.
const DNS: &str = "10.96.0.10";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a cluster has beside pods: DNS and Services.
pub(crate) struct Cluster<'l> {
    lab: &'l TestLab,
    backend: String,
    dns: String,
    names: RefCell<Vec<String>>,
    /// Nodes and what is said to iptables there.
    rules: RefCell<Vec<(&'static str, Vec<String>)>>,
}

impl<'l> Cluster<'l> {
    /// A cluster whose DNS server runs in the pod `dns`.
    pub(crate) fn new(lab: &'l TestLab, backend: &str, dns: &str) -> Self {
        let (names, rules) = Default::default();
        Self { lab, backend: backend.to_owned(), dns: dns.to_owned(), names, rules }
    }

    /// Gives `name` an address; before [`Cluster::start`].
    pub(crate) fn name(&self, name: &str, address: &str) {
        self.names.borrow_mut().push(format!("--host-record={name},{address}"));
    }

    /// Starts the DNS server, which goes with the lab, and its Service.
    #[track_caller]
    pub(crate) fn start(&self) {
        let address = self.lab.addresses(&self.dns)[0].to_string();
        let listen = format!("--listen-address={address}");
        let mut words = vec![
            "dnsmasq",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--user=root",
            "--pid-file=",
            &listen,
        ];
        let names = self.names.borrow();
        words.extend(names.iter().map(String::as_str));
        self.lab.exec(&self.dns, &words);
        self.service(DNS, 53, &self.dns, 53);
    }

    /// A Service with one pod behind it: translated on every node before routing.
    #[track_caller]
    pub(crate) fn service(&self, address: &str, port: u16, pod: &str, target: u16) {
        let to = format!("{}:{target}", self.lab.addresses(pod)[0]);
        let port = port.to_string();
        for node in ["n1", "n2"] {
            for chain in ["PREROUTING", "OUTPUT"] {
                for protocol in ["tcp", "udp"] {
                    let rule = [chain, "-d", address, "-p", protocol];
                    let target = ["--dport", &port, "-j", "DNAT", "--to-destination", &to];
                    let rule: Vec<String> =
                        rule.iter().chain(&target).map(ToString::to_string).collect();
                    self.translate(node, "-A", &rule);
                    self.rules.borrow_mut().push((node, rule));
                }
            }
        }
    }

    #[track_caller]
    fn translate(&self, node: &str, verb: &str, rule: &[String]) {
        let program = format!("iptables-{}", self.backend);
        let mut words = vec![program.as_str(), "-w", "-t", "nat", verb];
        words.extend(rule.iter().map(String::as_str));
        self.lab.exec(node, &words);
    }

    /// Takes the Services away: another scenario in the same lab has others.
    #[track_caller]
    pub(crate) fn end(self) {
        for (node, rule) in self.rules.take() {
            self.translate(node, "-D", &rule);
        }
    }
}

/// Whether `name` resolves in `pod`, through the Service.
#[track_caller]
pub(crate) fn resolves(lab: &TestLab, pod: &str, name: &str) -> bool {
    resolve(lab, pod, name).is_some()
}

/// The IPv4 address of `name`, asked for in `pod` through the DNS Service; `None` if there is
/// no such name or no answer, which is asked for a few times.
#[track_caller]
pub(crate) fn resolve(lab: &TestLab, pod: &str, name: &str) -> Option<IpAddr> {
    let plan = lab.plan();
    let place = exec::find(&plan, pod).expect("it is part of the lab").namespace;
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE / 4))?;
        socket.connect((DNS, 53))?;
        socket.send(&question(name))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        Ok::<_, std::io::Error>(answer[..length].to_vec())
    };
    let end = Instant::now() + PATIENCE;
    loop {
        match netns::within(place, || Ok(ask())).expect("the pod is there") {
            Ok(answer) => return address_in(&answer),
            Err(_) if Instant::now() < end => {}
            Err(_) => return None,
        }
    }
}

/// A query for the A records of `name` (RFC 1035 §4.1).
fn question(name: &str) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.extend([0, 0, 1, 0, 1]);
    octets
}

/// The address in an answer with one A record: its last four octets.
fn address_in(answer: &[u8]) -> Option<IpAddr> {
    let records = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let last: [u8; 4] = *answer.last_chunk()?;
    (records > 0).then(|| Ipv4Addr::from(last).into())
}

/// The source address that a listener at `address`, which is of the lab, sees when `from`
/// connects to it.
#[track_caller]
pub(crate) fn seen_by(lab: &TestLab, from: &str, address: IpAddr) -> IpAddr {
    const PORT: u16 = 7070;
    let plan = lab.plan();
    let there = brindle::lab::traffic::checks::owner(&plan, address).expect("one of the lab's");
    let here = exec::find(&plan, from).expect("it is part of the lab").namespace;
    let at = SocketAddr::new(address, PORT);
    let listener = netns::within(there, || Ok(TcpListener::bind(at)?)).expect("a free port");
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (mut stream, peer) = listener.accept().expect("a connection");
            stream.write_all(b"seen").expect("whoever connected reads");
            peer.ip()
        });
        let mut stream = netns::within(here, || Ok(TcpStream::connect_timeout(&at, PATIENCE * 5)?))
            .expect("it is open");
        stream.read_exact(&mut [0; 4]).expect("the listener answers");
        server.join().expect("the listener lives")
    })
}
