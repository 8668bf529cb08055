//! How soon a change of a manifest is in the kernel: from the file's rename to what the kernel
//! answers, the whole agent between.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::process::Process;
use integration_tests::{Netns, agent};

/// Pods that there are beside those that change.
const PODS: usize = 1000;
/// Changes of each kind.
const CHANGES: usize = 100;
/// Longest wait for one.
const LIMIT: Duration = Duration::from_secs(60);

/// The table of this measurement.
#[derive(Debug, Default)]
pub(crate) struct Report(Latencies);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nFrom a manifest's change to the kernel, {PODS} pods, milliseconds.\n")?;
        write!(f, "{}", self.0)
    }
}

/// Sorted times by what they are of.
#[derive(Debug, Default)]
pub(crate) struct Latencies(pub(crate) Vec<(String, Vec<Duration>)>);

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<36} {:>7} {:>7} {:>7} {:>7}", "", "p50", "p90", "p99", "max")?;
        for (what, times) in &self.0 {
            let at = |percent: usize| {
                let index = (times.len() * percent / 100).min(times.len() - 1);
                times[index].as_millis()
            };
            let (p50, p90, p99, max) = (at(50), at(90), at(99), at(100));
            writeln!(f, "  {what:<36} {p50:>7} {p90:>7} {p99:>7} {max:>7}")?;
        }
        Ok(())
    }
}

/// Measures everything.
///
/// # Errors
/// The agent does not start, or a change does not arrive.
pub(crate) fn measure() -> Result<Report> {
    let mut report = Report::default();
    for backend in ["nft", "legacy"] {
        let node = Node::start(backend)?;
        let labels = node.measure(|node, round| {
            let app = if round % 2 == 0 { "client" } else { "other" };
            node.write("flips", &pod("flips", app, "10.244.2.7"))?;
            let set = node.peer_set()?;
            let want = round % 2 == 0;
            Ok(Box::new(move |node: &Node| {
                Ok(node.netns.output("ipset", &["test", &set, "10.244.2.7"])?.status.success()
                    == want)
            }))
        })?;
        report.0.0.push((format!("{backend}: label of a peer, one member"), labels));
        let ports = node.measure(|node, round| {
            let port = 1000 + round;
            node.write("policy", &policy(port))?;
            let mark = format!("--dports {port} ");
            let program = format!("iptables-{backend}-save");
            Ok(Box::new(move |node: &Node| {
                Ok(node.netns.run(&program, &["-t", "filter"])?.contains(&mark))
            }))
        })?;
        report.0.0.push((format!("{backend}: port of a policy, one chain"), ports));
        let pods = node.measure(|node, round| {
            let address = format!("10.244.1.{}", 100 + round % 150);
            node.write(&format!("new-{round}"), &pod(&format!("new-{round}"), "web", &address))?;
            let mark = format!("-d {address}/32 -g BRN-I-");
            let program = format!("iptables-{backend}-save");
            Ok(Box::new(move |node: &Node| {
                Ok(node.netns.run(&program, &["-t", "filter"])?.contains(&mark))
            }))
        })?;
        report.0.0.push((format!("{backend}: new pod of this node"), pods));
    }
    Ok(report)
}

/// Whether a change has arrived.
type Arrived = Box<dyn Fn(&Node) -> Result<bool>>;

struct Node {
    netns: Arc<Netns>,
    _process: Process,
    folder: tempfile::TempDir,
}

impl Node {
    fn start(backend: &str) -> Result<Self> {
        let netns = Netns::new("n1")?;
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("manifests"))?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "node: {{name: n1}}\nbgp: {{enabled: false}}\nsource: {{kind: files, path: {}}}\n\
             control: {{socket: {}}}\npolicy: {{enabled: true, backend: {backend}}}\n",
            at("manifests"),
            at("brindle.sock"),
        );
        std::fs::write(at("brindle.yaml"), text)?;
        let config = at("brindle.yaml");
        let args = ["agent", "--config", &config];
        let process = Process::start(&netns, "brindle", folder.path(), agent::binary(), args)?;
        let node = Self { netns, _process: process, folder };
        node.write(
            "node",
            "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDRs: [10.244.1.0/24]}\n\
             status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n",
        )?;
        node.write("policy", &policy(80))?;
        node.write("web", &pod("web", "web", "10.244.1.5"))?;
        let all: String = (0..PODS)
            .map(|n| {
                pod(&format!("p{n}"), "some", &format!("10.244.{}.{}", 3 + n / 250, n % 250 + 1))
            })
            .map(|text| text + "---\n")
            .collect();
        node.write("all", &all)?;
        node.wait(&|node| Ok(node.peer_set().is_ok()))?;
        Ok(node)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("manifests").join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let fresh = self.path(&format!("{name}.fresh"));
        std::fs::write(&fresh, text)?;
        Ok(std::fs::rename(&fresh, self.path(&format!("{name}.yaml")))?)
    }

    /// The name of the one set of peers.
    fn peer_set(&self) -> Result<String> {
        let sets = self.netns.run("ipset", &["list", "-n"])?;
        let found = sets.lines().find(|name| name.starts_with("brn-s4-"));
        found.map(str::to_owned).context("the agent has made no set yet")
    }

    fn wait(&self, arrived: &dyn Fn(&Node) -> Result<bool>) -> Result<Duration> {
        let begin = Instant::now();
        while !arrived(self)? {
            ensure!(begin.elapsed() < LIMIT, "a change did not arrive within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(begin.elapsed())
    }

    /// Times of so many changes, sorted; the clock starts behind the file's rename.
    fn measure(&self, change: impl Fn(&Node, usize) -> Result<Arrived>) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for round in 0..CHANGES {
            let arrived = change(self, round)?;
            times.push(self.wait(&*arrived)?);
        }
        times.sort_unstable();
        Ok(times)
    }
}

fn pod(name: &str, app: &str, address: &str) -> String {
    let node = if address.starts_with("10.244.1.") { "n1" } else { "n2" };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: main, image: any}}]}}\n\
         status: {{phase: Running, podIPs: [{{ip: {address}}}]}}\n"
    )
}

fn policy(port: usize) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: web}}}}\n  ingress:\n  \
         - {{from: [{{podSelector: {{matchLabels: {{app: client}}}}}}], ports: [{{port: {port}}}]}}\n"
    )
}
