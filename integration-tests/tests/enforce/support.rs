//! A node in a network namespace with the policy half on it, and pods behind it.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle::enforce::dataplane::Tuning;
use brindle::enforce::{
    self, BackendChoice, EnforceHandle, EnforceSettings, EnforceStatus, EstablishedFlows, FlowLog,
};
use brindle_policy::model::{HostSettings, Labels, Namespace, Node, Pod, PolicyKind};
use brindle_policy::{Attachment, Change, Interface, PodKey, PolicyId, ingest};
use integration_tests::wait::{SOON, met};
use integration_tests::{Netns, skip, until};
use tokio::runtime::Runtime;

/// Long enough for a packet to arrive if it does, short enough to wait for one that does not.
const NEVER: Duration = Duration::from_millis(800);
/// The port that pods listen on.
pub(crate) const PORT: u16 = 80;

/// Both backends, as a test runs on both.
pub(crate) const BACKENDS: [(&str, BackendChoice); 2] =
    [("nft", BackendChoice::Nft), ("legacy", BackendChoice::Legacy)];

/// Runs `test` on each backend that this machine has.
pub(crate) fn on_both(name: &str, test: impl Fn(BackendChoice, &str)) {
    for (word, backend) in BACKENDS {
        let programs = [format!("iptables-{word}"), format!("ip6tables-{word}")];
        let programs = [&programs[0], &programs[1], "ipset"];
        if skip::can_run(&format!("{name} ({word})"), &programs) {
            test(backend, word);
        }
    }
}

/// A node, `n1`.
pub(crate) struct TestNode {
    pub(crate) netns: Arc<Netns>,
    runtime: Runtime,
}

/// A pod behind it.
pub(crate) struct TestPod {
    pub(crate) netns: Arc<Netns>,
    pub(crate) name: String,
    _listeners: Vec<std::thread::JoinHandle<()>>,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    Refused,
    TimedOut,
}

pub(crate) fn v4(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 244, 1, number).into()
}

pub(crate) fn v6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, number.into()).into()
}

impl TestNode {
    pub(crate) fn new() -> Self {
        let netns = Netns::new("n1").expect("can_run was asked");
        for path in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            netns.sysctl(path, "1").expect("a namespace has its own");
        }
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        Self { netns, runtime: runtime.expect("threads can be started") }
    }

    /// Starts the policy half.
    pub(crate) fn start(&self, settings: EnforceSettings) -> Task<'_> {
        self.start_tuned(settings, Tuning::default())
    }

    pub(crate) fn start_tuned(&self, settings: EnforceSettings, tuning: Tuning) -> Task<'_> {
        let handle = self.netns.inside(|| enforce::start_tuned(settings, tuning));
        Task { handle, runtime: &self.runtime }
    }

    /// Makes a pod's namespace, with listeners on [`PORT`].
    pub(crate) fn pod(&self, name: &str, number: u8) -> TestPod {
        self.pod_behind(&format!("p{number}"), name, number)
    }

    /// The same, behind an interface of that name.
    pub(crate) fn pod_behind(&self, near: &str, name: &str, number: u8) -> TestPod {
        let netns = Netns::new(name).expect("can_run was asked");
        self.netns.cable(near, &netns, "eth0").expect("the number is free");
        let (v4, v6) = (v4(number), v6(number));
        for words in [
            format!("address add 169.254.1.1/32 dev {near}"),
            format!("address add fe80::1/64 dev {near} nodad"),
            format!("route add {v4}/32 dev {near}"),
            format!("route add {v6}/128 dev {near}"),
        ] {
            self.netns.ip(&words).expect("the interface is new");
        }
        for words in [
            format!("address add {v4}/32 dev eth0"),
            format!("address add {v6}/128 dev eth0 nodad"),
            "route add 169.254.1.1 dev eth0 scope link".to_owned(),
            "route add default via 169.254.1.1".to_owned(),
            "route add default via fe80::1 dev eth0".to_owned(),
        ] {
            netns.ip(&words).expect("the interface is new");
        }
        let listeners = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            .map(|any: IpAddr| listen(&netns, SocketAddr::new(any, PORT)));
        TestPod { netns, name: name.to_owned(), _listeners: listeners.into() }
    }

    /// The text of everything in the kernel, counters and all, but not the time of day.
    pub(crate) fn rules(&self, word: &str) -> String {
        ["iptables", "ip6tables"]
            .map(|program| {
                let program = format!("{program}-{word}-save");
                let text = self.netns.run(&program, &["-c"]).expect("it can be read");
                let lines = text.lines().filter(|line| !line.starts_with('#'));
                lines.map(|line| format!("{line}\n")).collect::<String>()
            })
            .concat()
    }

    pub(crate) fn sets(&self) -> String {
        self.netns.run("ipset", &["save"]).expect("it can be read")
    }
}

/// Answers every octet with itself.
pub(crate) fn listen(netns: &Netns, at: SocketAddr) -> std::thread::JoinHandle<()> {
    let listener = netns.inside(|| {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::STREAM, None)?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&at.into())?;
        socket.listen(16)?;
        std::io::Result::Ok(TcpListener::from(socket))
    });
    let listener = listener.expect("the port is free");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut octet = [0];
                while stream.read_exact(&mut octet).is_ok() && stream.write_all(&octet).is_ok() {}
            });
        }
    })
}

impl TestPod {
    pub(crate) fn key(&self) -> PodKey {
        PodKey { namespace: "default".into(), name: self.name.as_str().into() }
    }

    pub(crate) fn connect(&self, to: IpAddr) -> Result<TcpStream, Outcome> {
        let at = SocketAddr::new(to, PORT);
        let stream = self.netns.inside(|| TcpStream::connect_timeout(&at, NEVER));
        stream.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Outcome::Refused,
            ErrorKind::TimedOut => Outcome::TimedOut,
            other => panic!("{} -> {at}: {other}", self.name),
        })
    }

    pub(crate) fn reach(&self, to: IpAddr) -> Outcome {
        match self.connect(to) {
            Ok(_) => Outcome::Open,
            Err(outcome) => outcome,
        }
    }

    /// Waits until it reaches `to`, or does not.
    #[track_caller]
    pub(crate) fn until(&self, to: IpAddr, want: Outcome) {
        until(&format!("{} -> {to} is {want:?}", self.name), SOON, || {
            let seen = self.reach(to);
            met(seen == want, || format!("{seen:?}"))
        });
    }
}

/// Whether a connection still carries an octet there and back.
pub(crate) fn is_alive(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(NEVER)).expect("the time is not zero");
    let mut octet = [7];
    stream.write_all(&octet).is_ok() && stream.read_exact(&mut octet).is_ok()
}

/// A running policy half.
pub(crate) struct Task<'n> {
    pub(crate) handle: EnforceHandle,
    runtime: &'n Runtime,
}

impl Task<'_> {
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        self.runtime.block_on(self.handle.apply(changes)).expect("it runs");
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn status(&self) -> EnforceStatus {
        EnforceStatus::clone(&self.handle.status.load())
    }

    /// Waits until the status says so; looks often, as some tests wait a thousand times.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &str,
        condition: impl Fn(&EnforceStatus) -> bool,
    ) -> EnforceStatus {
        let begin = Instant::now();
        loop {
            let status = self.status();
            if condition(&status) {
                return status;
            }
            assert!(begin.elapsed() < SOON, "not within {SOON:?}: {what}; last seen: {status:#?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all that was handed over is in the kernel.
    #[track_caller]
    pub(crate) fn settle(&self) {
        // A pod that nobody knows: once its change is counted, so are those before it.
        let count = |status: &EnforceStatus| {
            status.latency.get(&enforce::Trigger::Pod).map_or(0, brindle::telemetry::Timings::count)
        };
        let before = count(&self.status());
        let marker = PodKey { namespace: "nowhere".into(), name: "marker".into() };
        self.apply(vec![Change::PodDeleted(marker)]);
        self.until("what was handed over is settled", |status| {
            count(status) > before && status.pending.is_empty() && status.failing.is_none()
        });
    }

    /// Ends it; everything stays in the kernel.
    pub(crate) fn stop(self) {
        self.runtime.block_on(self.handle.stop());
    }
}

pub(crate) fn settings(backend: BackendChoice) -> EnforceSettings {
    EnforceSettings {
        node: "n1".into(),
        pod_cidrs: BTreeSet::new(),
        backend,
        masquerade: false,
        established: EstablishedFlows::Keep,
        flow_log: Some(FlowLog { group: 98, per_second: 10 }),
        audit: Duration::from_secs(30),
        hosts: HostSettings::default(),
        automatic_hosts: false,
    }
}

pub(crate) fn node() -> Change {
    Change::NodeApplied(Arc::new(Node {
        name: "n1".into(),
        addresses: BTreeSet::from(["192.0.2.1".parse().unwrap()]),
        pod_cidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"].map(|c| c.parse().unwrap()).into(),
        labels: Default::default(),
    }))
}

pub(crate) fn namespace() -> Change {
    Change::NamespaceApplied(Arc::new(Namespace {
        name: "default".into(),
        labels: labels(&[("kubernetes.io/metadata.name", "default")]),
    }))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// A pod of node `n1` with both addresses of its number.
pub(crate) fn pod(name: &str, number: u8, app: &str) -> Pod {
    Pod {
        key: PodKey { namespace: "default".into(), name: name.into() },
        labels: labels(&[("app", app)]),
        node: Some("n1".into()),
        host_network: false,
        finished: false,
        addresses: vec![v4(number), v6(number)],
        ports: BTreeSet::new(),
        created: "2026-01-01T00:00:00Z".into(),
        service_account: "default".into(),
    }
}

pub(crate) fn applied(pod: Pod) -> Change {
    Change::PodApplied(Arc::new(pod))
}

/// The interface that our plug-in would make for the pod of this number.
pub(crate) fn interface(number: u8) -> Interface {
    format!("brn{number}").parse().expect("it is short")
}

/// It is there, with both addresses of its number.
pub(crate) fn attached(name: &str, number: u8) -> Change {
    Change::Attached(Arc::new(Attachment {
        node: "n1".into(),
        interface: interface(number),
        pod: Some(PodKey { namespace: "default".into(), name: name.into() }),
        addresses: vec![v4(number), v6(number)],
    }))
}

/// A policy of the namespace `default`, `spec` in JSON.
pub(crate) fn policy(name: &str, spec: &str) -> Change {
    let object = format!(
        r#"{{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
             "metadata": {{"name": "{name}", "namespace": "default"}}, "spec": {spec}}}"#
    );
    let object = serde_json::from_str(&object).expect("the test wrote JSON");
    Change::PolicyApplied(Arc::new(ingest::network_policy(&object).expect("it has a name")))
}

pub(crate) fn policy_id(name: &str) -> PolicyId {
    PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: Some("default".into()),
        name: name.into(),
    }
}

/// Only pods with `app: client` reach those with `app: server`.
pub(crate) fn clients_only() -> Change {
    policy(
        "clients-only",
        r#"{"podSelector": {"matchLabels": {"app": "server"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]}"#,
    )
}
