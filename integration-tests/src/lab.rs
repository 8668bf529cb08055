//! A lab (`brindle lab`) for one test: nodes with real agents, pods, policies, real packets.

use brindle::lab::objects::{self, Key};
use brindle::lab::plan::Plan;
use brindle::lab::state::{Lab, Place};
use brindle::lab::traffic::checks::{self, Check, Probe, Seen};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

use crate::agent::binary;
use crate::process::Process;
use crate::wait::{SOON, met, until};

/// A lab that is taken down when the test ends, however it ends.
///
/// Its objects stand in a folder of manifests or, if it was built with `--kube`, in an API
/// server: then they are changed by kubectl.
pub struct TestLab {
    name: String,
    folder: TempDir,
    kube: bool,
}

impl TestLab {
    /// Builds a lab whose nodes enforce policies and waits until it routes and enforces.
    /// `name` must be the test's own; `manifests` is what it begins with; `args` are further
    /// words for `lab up`.
    #[track_caller]
    pub fn up(name: &str, args: &[&str], manifests: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for manifests");
        let lab = Self { name: name.to_owned(), folder, kube: args.contains(&"--kube") };
        // what an earlier run left behind when it was killed
        lab.run(&["down"]);
        let path = lab.file(manifests);
        let mut words = vec!["up", "--policies", &path];
        words.extend(args);
        lab.good(&words);
        lab
    }

    /// A file with this text; the next one takes its place.
    pub fn file(&self, text: &str) -> String {
        let path = self.folder.path().join("given.yaml");
        std::fs::write(&path, text).expect("the folder takes a file");
        path.display().to_string()
    }

    /// Runs `brindle lab WORDS`.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(["lab", "--name", &self.name]).args(words);
        command.output().expect("brindle runs")
    }

    /// The same; it must end well. Returns what it printed.
    #[track_caller]
    pub fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "brindle lab {words:?}:\n{text}\n{said}");
        text.into_owned()
    }

    /// Runs kubectl as administrator; it must end well. Returns what it printed.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        let mut all = vec!["kubectl"];
        all.extend(words);
        self.good(&all)
    }

    /// Runs a command in a pod, node or router; it must end well. Returns what it printed.
    #[track_caller]
    pub fn exec(&self, target: &str, command: &[&str]) -> String {
        let mut words = vec!["exec", target, "--"];
        words.extend(command);
        self.good(&words)
    }

    /// Starts a command in a pod, node or router; it goes with the value. Its log is in `folder`.
    #[track_caller]
    pub fn start(&self, target: &str, folder: &Path, command: &[&str]) -> Process {
        let mut words = vec!["lab", "--name", &self.name, "exec", target, "--"];
        words.extend(command);
        Process::start_here(command[0], folder, binary(), words).expect("brindle runs")
    }

    /// Creates or changes objects.
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        let path = self.file(manifests);
        if !self.kube {
            self.good(&["apply", "-f", &path]);
            return;
        }
        self.kubectl(&["apply", "-f", &path]);
        let given = objects::read(Path::new(&path)).expect("kubectl has read it");
        let keys = given.iter().map(|object| Key::of(object).expect("kubectl has taken it"));
        let pods: Vec<String> =
            keys.filter(|key| key.kind == "Pod").map(|key| key.pod_name()).collect();
        until("the pods are connected", SOON, || {
            let plan = self.plan();
            let missing = |name: &&String| plan.pods().all(|(_, pod)| pod.name != **name);
            let missing: Vec<&String> = pods.iter().filter(missing).collect();
            met(missing.is_empty(), || format!("not yet: {missing:?}"))
        });
    }

    /// Creates objects in a lab without an API server, which must fail. Returns what it said.
    #[track_caller]
    pub fn apply_in_vain(&self, manifests: &str) -> String {
        let output = self.run(&["apply", "-f", &self.file(manifests)]);
        assert!(!output.status.success(), "applied:\n{manifests}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Deletes an object: `networkpolicy`, `shop/db`.
    #[track_caller]
    pub fn delete(&self, kind: &str, name: &str) {
        if self.kube {
            let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
            self.kubectl(&["delete", kind, name, "-n", namespace]);
        } else {
            self.good(&["delete", kind, name]);
        }
    }

    /// Changes labels: `pod`, `shop/db`, `["app=x", "old-"]`.
    #[track_caller]
    pub fn label(&self, kind: &str, name: &str, labels: &[&str]) {
        if self.kube {
            let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
            let mut words = vec!["label", "--overwrite", kind, name, "-n", namespace];
            words.extend(labels);
            self.kubectl(&words);
        } else {
            let mut words = vec!["label", kind, name];
            words.extend(labels);
            self.good(&words);
        }
    }

    /// Takes away all pods, policies and namespaces of its own that it has got since it was
    /// built: the next scenario begins with nothing. For labs with an API server.
    #[track_caller]
    pub fn clear(&self) {
        self.kubectl(&["delete", "networkpolicies", "--all", "--all-namespaces"]);
        self.kubectl(&["delete", "pods", "--all", "--all-namespaces"]);
        let all = self.kubectl(&["get", "namespaces", "-o", "name"]);
        let own =
            |name: &&str| !name.starts_with("namespace/kube-") && *name != "namespace/default";
        let mut words = vec!["delete"];
        words.extend(all.lines().filter(own));
        if words.len() > 1 {
            self.kubectl(&words);
        }
    }

    /// What the lab consists of.
    pub fn plan(&self) -> Plan {
        self.open().state.plan
    }

    fn open(&self) -> Lab {
        let name = self.name.parse().expect("a lab of this name was built");
        Lab::open(&Place::find(), &name).expect("the lab is up")
    }

    /// Addresses of a pod, node or router.
    #[track_caller]
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let plan = self.plan();
        brindle::lab::exec::find(&plan, name).expect("it is part of the lab").addresses
    }

    /// Sends real packets for each line of `table`, over every family of the lab, and demands
    /// that it comes out as the line says, at once or, on a busy machine, before long. How soon
    /// changes are in force is measured, not tested.
    ///
    /// ```text
    /// client -> shop/db:5432        OK
    /// node/n1 -> shop/db:53/udp     TIMEOUT
    /// client -> 10.0.0.250 icmp     OK
    /// ```
    #[track_caller]
    pub fn expect(&self, why: &str, table: &str) {
        let lab = self.open();
        let mut all = Vec::new();
        let mut lines = Vec::new();
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            for check in self.read(line) {
                all.push(check);
                lines.push(line);
            }
        }
        assert!(!all.is_empty(), "{why}: nothing to check in {table:?}");
        let seen = checks::run(&lab, &all, SOON).expect("the checks can be made");
        let wrong: Vec<String> = all
            .iter()
            .zip(&seen)
            .zip(&lines)
            .filter(|((check, seen), _)| !checks::is_as_expected(check, seen))
            .map(|((check, seen), line)| self.complaint(check, seen, line))
            .collect();
        assert!(wrong.is_empty(), "{why}:\n{}", wrong.join("\n"));
    }

    fn complaint(&self, check: &Check, seen: &Seen, line: &str) -> String {
        let port = match check.probe {
            Probe::Tcp(port) => format!(":{port}"),
            Probe::Udp(port) => format!(":{port}/udp"),
            Probe::Icmp => String::new(),
        };
        let node =
            if check.from.starts_with("node/") { &check.from["node/".len()..] } else { "n1" };
        let to = if check.to.is_ipv6() {
            format!("[{}]{port}", check.to)
        } else {
            format!("{}{port}", check.to)
        };
        let words = ["exec", node, "--", "brindle", "explain", &check.from, &to];
        let explained = self.run(&words);
        format!(
            "  {line}    at {}: {seen:?}\n{}{}",
            check.to,
            String::from_utf8_lossy(&explained.stdout),
            String::from_utf8_lossy(&explained.stderr)
        )
    }

    fn read(&self, line: &str) -> Vec<Check> {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let (from, to, icmp, outcome) = match parts[..] {
            [from, "->", to, outcome] => (from, to, false, outcome),
            [from, "->", to, "icmp", outcome] => (from, to, true, outcome),
            _ => panic!("{line:?} is no check"),
        };
        let answered = match outcome {
            "OK" => true,
            "TIMEOUT" => false,
            _ => panic!("{line:?}: {outcome:?} is neither OK nor TIMEOUT"),
        };
        let (to, probe) = if icmp {
            (to, Probe::Icmp)
        } else {
            let (to, port) = to.rsplit_once(':').expect("a port, or icmp");
            let number = |text: &str| text.parse().expect("a port");
            match port.strip_suffix("/udp") {
                Some(port) => (to, Probe::Udp(number(port))),
                None => (to, Probe::Tcp(number(port))),
            }
        };
        let literal = to.trim_matches(['[', ']']).parse().map(|address| vec![address]);
        let addresses = literal.unwrap_or_else(|_| self.addresses(to));
        let check = |to| Check { from: from.to_owned(), to, probe, answered };
        addresses.into_iter().map(check).collect()
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let name = self.name.parse().expect("it was good when the lab was built");
        // there may be none: it may be what failed
        if let (true, Ok(lab)) = (std::thread::panicking(), Lab::open(&Place::find(), &name)) {
            let nodes = lab.state.plan.nodes.iter().map(|node| node.name.as_str());
            for name in nodes.chain(self.kube.then_some("kubelet")) {
                let log = lab.log(name);
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(15).collect();
                eprintln!("--- {}", log.display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        self.run(&["down"]);
    }
}
