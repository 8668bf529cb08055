//! A fib that runs in a network namespace of its own, and what a test asks of both.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use brindle::fib::{
    self, Command, Event, FibHandle, FibSettings, FibStatus, Gateway, ListRequest, LocalAddress,
    RouteView, Tuning,
};
use brindle_bgp::msg::NextHop;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{BestChange, Forwarding};
use nix::sched::{CloneFlags, setns};

/// How long anything may take before the test fails; the promised times are measured apart.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether namespaces can be made; says so loudly if not.
pub(crate) fn can_run() -> bool {
    let thread = std::thread::current();
    integration_tests::skip::can_run(thread.name().unwrap_or("a test of the fib"), &["ip"])
}

/// An address as a next hop.
pub(crate) fn gateway(address: &str) -> Gateway {
    address.parse::<IpAddr>().expect("an address").into()
}

/// A network namespace with a link `eth0` (10.0.0.1/24, fd00::1/64), and `eth1`
/// (10.0.1.1/24, fd00:1::1/64); removed in the end.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it and switches its links on.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fibtest-{}-{number}", std::process::id());
        run(Process::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        for (link, number) in [("eth0", 0), ("eth1", 1)] {
            namespace.ip(&format!("link add {link} type veth peer name peer{number}"));
            // No link-local addresses: their routes would come at any time.
            for end in [link.to_owned(), format!("peer{number}")] {
                namespace.ip(&format!("link set {end} addrgenmode none"));
                namespace.ip(&format!("link set {end} up"));
            }
            namespace.ip(&format!("addr add 10.0.{number}.1/24 dev {link}"));
            let v6 = if number == 0 { "fd00::1/64" } else { "fd00:1::1/64" };
            namespace.ip(&format!("addr add {v6} dev {link} nodad"));
        }
        namespace
    }

    /// Runs `ip` with these words in the namespace, and returns what it prints.
    pub(crate) fn ip(&self, words: &str) -> String {
        run(Process::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Runs these lines by `ip -batch` in the namespace.
    pub(crate) fn batch(&self, family: &str, lines: &str) {
        let mut child = Process::new("ip")
            .args(["-n", &self.name, family, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("ip runs");
        child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("ip reads");
        assert!(child.wait().expect("ip ends").success(), "ip -batch");
    }

    /// The routes of a family in the namespace that match these words, a line each, spaces
    /// trimmed.
    pub(crate) fn routes(&self, family: &str, words: &str) -> Vec<String> {
        let text = run(Process::new("ip")
            .args(["-n", &self.name, family, "route", "show"])
            .args(words.split_whitespace()));
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            // The hops of a multipath route stand indented below it.
            match lines.last_mut() {
                Some(last) if line.starts_with(char::is_whitespace) => {
                    last.push(' ');
                    last.push_str(&words);
                }
                _ => lines.push(words),
            }
        }
        lines
    }

    /// Our routes of a family.
    pub(crate) fn ours(&self, family: &str) -> Vec<String> {
        self.routes(family, "proto 98")
    }

    /// Reads a key below `/proc/sys/net` in the namespace.
    pub(crate) fn sysctl(&self, key: &str) -> String {
        let path = format!("/proc/sys/net/{key}");
        self.within(move || std::fs::read_to_string(&path).expect(&path)).trim().to_owned()
    }

    /// Does something on a thread inside the namespace.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
                    work()
                })
                .join()
                .expect("no panic within the namespace")
        })
    }

    /// Starts a fib here.
    pub(crate) fn start(&self) -> Fib {
        self.start_with(settings(), Tuning::default())
    }

    /// Starts a fib here with other settings.
    pub(crate) fn start_with(&self, settings: FibSettings, tuning: Tuning) -> Fib {
        self.start_within(settings, tuning, || {})
    }

    /// Starts a fib on a thread that was prepared in some way.
    pub(crate) fn start_within(
        &self,
        settings: FibSettings,
        tuning: Tuning,
        prepare: impl FnOnce() + Send,
    ) -> Fib {
        Fib::of(self.within(|| {
            prepare();
            fib::start_tuned(settings, tuning)
        }))
    }

    /// Listens to all route events until dropped.
    pub(crate) fn monitor(&self) -> RouteMonitor {
        let mut child = Process::new("ip")
            .args(["-n", &self.name, "monitor", "route"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let monitor = RouteMonitor { child, lines };
        // It listens once it reports a route that we make and remove until it does.
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.ip("route replace blackhole 203.0.113.1/32 proto static");
            self.ip("route del blackhole 203.0.113.1/32 proto static");
            if monitor.lines.recv_timeout(Duration::from_millis(50)).is_ok() {
                break;
            }
            assert!(Instant::now() < deadline, "ip monitor hears nothing");
        }
        monitor.marks(self, "203.0.113.2/32");
        monitor
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Process::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// `ip monitor route` in a namespace.
pub(crate) struct RouteMonitor {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl RouteMonitor {
    /// What was heard since the last time: everything up to a route that is made for it.
    pub(crate) fn heard(&self, namespace: &Namespace) -> Vec<String> {
        self.marks(namespace, "203.0.113.3/32")
    }

    fn marks(&self, namespace: &Namespace, mark: &str) -> Vec<String> {
        namespace.ip(&format!("route add blackhole {mark} proto static"));
        namespace.ip(&format!("route del blackhole {mark} proto static"));
        let mark = mark.trim_end_matches("/32");
        let mut heard = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("ip monitor hears the mark");
            if !line.contains(mark) {
                heard.push(line);
            } else if line.starts_with("Deleted") {
                return heard;
            }
        }
    }
}

impl Drop for RouteMonitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The settings that the agent has by default, without touching forwarding.
pub(crate) fn settings() -> FibSettings {
    FibSettings { install: true, metric: 512, forwarding: false, hash: None }
}

/// A running fib and what it told.
pub(crate) struct Fib {
    handle: FibHandle,
    events: mpsc::Receiver<Event>,
    /// The last told cost of each next hop.
    pub(crate) costs: BTreeMap<Gateway, Option<u32>>,
    /// The last told addresses of the host.
    pub(crate) addresses: Vec<LocalAddress>,
}

impl Fib {
    /// One that has just been started, once it is ready.
    pub(crate) fn of(
        started: anyhow::Result<(FibHandle, tokio::sync::mpsc::Receiver<Event>)>,
    ) -> Self {
        let (handle, mut inbox) = started.expect("the fib starts");
        let (outbox, events) = mpsc::channel();
        std::thread::spawn(move || {
            while let Some(event) = inbox.blocking_recv() {
                if outbox.send(event).is_err() {
                    break;
                }
            }
        });
        let fib = Fib { handle, events, costs: BTreeMap::new(), addresses: Vec::new() };
        fib.until("the fib is ready", |status| status.ready);
        fib
    }

    /// Sends a command.
    pub(crate) fn send(&self, command: Command) {
        self.handle.commands.blocking_send(command).expect("the fib runs");
    }

    /// Wants a route by these next hops; none is no route.
    pub(crate) fn want(&self, prefix: &str, next_hops: &[&str]) {
        self.send(Command::Change(vec![via(prefix, next_hops)]));
    }

    /// Wants an unreachable route for a prefix of our own.
    pub(crate) fn want_own(&self, prefix: &str) {
        let prefix = prefix.parse().expect("a prefix");
        self.send(Command::Change(vec![BestChange { prefix, now: Forwarding::Local }]));
    }

    /// The figures now.
    pub(crate) fn status(&self) -> FibStatus {
        (**self.handle.status.load()).clone()
    }

    /// Waits until the figures are so, and returns how long it took.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&FibStatus) -> bool) -> Duration {
        let started = Instant::now();
        wait_for(what, || is_so(&self.status()).then_some(()), || self.status());
        started.elapsed()
    }

    /// Waits until nothing is left to be written.
    pub(crate) fn settle(&self) {
        self.settle_after(None);
    }

    /// Waits until nothing is left to be written for prefixes after this one.
    pub(crate) fn settle_after(&self, after: Option<Prefix>) {
        let request = ListRequest { only_diff: true, after, limit: 8 };
        let unsettled = || {
            let mut views = self.list(request.clone());
            views.retain(|view| view.problem.as_ref().is_some_and(|p| p.contains("about to be")));
            views
        };
        wait_for("all is settled", || unsettled().is_empty().then_some(()), unsettled);
    }

    /// The routes that are not as wanted.
    pub(crate) fn diff(&self) -> Vec<RouteView> {
        self.list(ListRequest { only_diff: true, after: None, limit: usize::MAX })
    }

    /// Asks for routes.
    pub(crate) fn list(&self, request: ListRequest) -> Vec<RouteView> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.send(Command::List(request, sender));
        answer.blocking_recv().expect("the fib answers")
    }

    /// The problem of a prefix, once it has one that contains these words.
    pub(crate) fn problem(&self, prefix: &str, words: &str) -> String {
        let prefix = prefix.parse().expect("a prefix");
        let of_prefix = || {
            let view = self.diff().into_iter().find(|view| view.prefix == prefix);
            view.and_then(|view| view.problem)
        };
        wait_for(words, || of_prefix().filter(|problem| problem.contains(words)), of_prefix)
    }

    /// Waits until the next hop was told to have this cost.
    pub(crate) fn until_cost(&mut self, next_hop: &str, cost: Option<u32>) {
        let wanted = gateway(next_hop);
        while self.costs.get(&wanted) != Some(&cost) {
            self.hear(&format!("{next_hop} at cost {cost:?}"));
        }
    }

    /// Takes in the next event.
    pub(crate) fn hear(&mut self, what: &str) {
        match self.events.recv_timeout(PATIENCE) {
            Ok(Event::NextHops(costs)) => self.costs.extend(costs),
            Ok(Event::OwnAddresses(addresses)) => self.addresses = addresses,
            Err(_) => panic!("not told: {what}; known: {:?}", self.costs),
        }
    }

    /// Stops it and waits until it is gone.
    pub(crate) fn stop(self) {
        self.send(Command::Stop);
        while self.events.recv_timeout(PATIENCE).is_ok() {}
        wait_for("the fib stops", || self.handle.commands.is_closed().then_some(()), || ());
    }
}

/// A wanted route by these next hops.
pub(crate) fn via(prefix: &str, next_hops: &[&str]) -> BestChange {
    let mut next_hops: Vec<NextHop> = next_hops
        .iter()
        .map(|text| NextHop::from(text.parse::<IpAddr>().expect("an address")))
        .collect();
    next_hops.sort();
    let now = match next_hops.is_empty() {
        true => Forwarding::None,
        false => Forwarding::Via(next_hops),
    };
    BestChange { prefix: prefix.parse().expect("a prefix"), now }
}

/// Asks until there is an answer; fails with what is known instead after a while.
pub(crate) fn wait_for<T, S: std::fmt::Debug>(
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
    known: impl Fn() -> S,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}; known: {:#?}", known());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until our routes of a family are these, and returns how long it took.
pub(crate) fn until_ours(namespace: &Namespace, family: &str, want: &[&str]) -> Duration {
    let started = Instant::now();
    let ours = || namespace.ours(family);
    wait_for(&format!("{want:?}"), || (ours() == want).then_some(()), ours);
    started.elapsed()
}

fn run(command: &mut Process) -> String {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
