//! Agents that enforce policies: alone beside another plugin, and beside BGP.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use integration_tests::process::Process;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, agent, kernel, skip};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const PROGRAMS: [&str; 4] = ["ip", "iptables-nft-save", "iptables-legacy-save", "ipset"];

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1}
status: {phase: Running, podIPs: [{ip: 10.244.1.2}]}
";

const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
";

/// An agent on a node `n1`, its folder of manifests and its configuration.
struct Node {
    netns: Arc<Netns>,
    process: Option<Process>,
    // Dropped last: the agent writes there until its end.
    folder: TempDir,
}

impl Node {
    /// A namespace with a folder that holds the node and one pod.
    fn new() -> Self {
        let netns = Netns::new("n1").expect("a network namespace");
        let links =
            ["link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up"];
        for words in links {
            netns.ip(words).expect("a link");
        }
        netns.add_address("eth0", "10.0.0.1/24").expect("an address");
        let folder = TempDir::new().expect("a folder for temporary files");
        let node = Self { netns, process: None, folder };
        fs::create_dir(node.path("manifests")).expect("a new folder");
        node.manifest("node", NODE);
        node.manifest("pod", POD);
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a manifest as a whole.
    fn manifest(&self, name: &str, text: &str) {
        let path = self.path("manifests").join(name);
        fs::write(&path, text).expect("the folder is ours");
        fs::rename(&path, path.with_extension("yaml")).expect("one file system");
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "node: {{name: n1}}\nsource: {{kind: files, path: {}}}\ncontrol: {{socket: {}}}\n{more}\n",
            self.path("manifests").display(),
            self.path("brindle.sock").display(),
        );
        fs::write(self.path("brindle.yaml"), text).expect("the folder is ours");
    }

    fn start(&mut self, flags: &[&str]) {
        let config = self.path("brindle.yaml").display().to_string();
        let args = ["agent", "--config", &config].into_iter().chain(flags.iter().copied());
        let process =
            Process::start(&self.netns, "brindle", self.folder.path(), agent::binary(), args);
        self.process = Some(process.expect("the agent can be started"));
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// Status and body of an answer over HTTP.
    fn ask(&self, path: &str) -> Result<(u16, String), String> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let text = self.netns.inside(|| {
            let address = SocketAddr::from(([127, 0, 0, 1], 9798));
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        });
        let text = text.map_err(|error| format!("{path}: {error}"))?;
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        status.zip(body).ok_or_else(|| format!("{path}: {text:?}"))
    }

    /// Waits until an address over HTTP answers with this status.
    fn answers(&self, path: &str, wanted: u16) -> String {
        until(&format!("{path} answers {wanted}"), SOON, || {
            let (status, body) = self.ask(path)?;
            met(status == wanted, || format!("{status}: {body}"))?;
            Ok(body)
        })
    }

    fn status(&self) -> serde_json::Value {
        let socket = self.path("brindle.sock").display().to_string();
        let words = ["status", "-o", "json", "--socket", &socket];
        let program = agent::binary().display().to_string();
        let output = self.netns.output(&program, &words).expect("it can be run");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The rules of a backend that are ours.
    fn rules(&self, backend: &str) -> Vec<String> {
        let text = self.netns.run(&format!("iptables-{backend}-save"), &[]).expect("it runs");
        text.lines().filter(|line| line.contains("BRN-")).map(str::to_owned).collect()
    }
}

/// The nft and the legacy configuration of policies.
const BACKENDS: [&str; 2] = ["nft", "legacy"];

#[test]
fn an_agent_without_bgp_enforces_policies_and_touches_nothing_else() {
    if !skip::can_run("an_agent_without_bgp_enforces_policies_and_touches_nothing_else", &PROGRAMS)
    {
        return;
    }
    for backend in BACKENDS {
        let mut node = Node::new();
        node.netns.sysctl("net/ipv4/ip_forward", "0").expect("a sysctl");
        node.configure(&format!(
            "bgp: {{enabled: false}}\npolicy: {{enabled: true, backend: {backend}}}"
        ));
        node.start(&[]);
        node.answers("/readyz", 200);
        let verbose = node.answers("/healthz?verbose", 200);
        for check in ["daemon", "enforce", "source", "policy"] {
            assert!(verbose.contains(&format!("[+]{check} ok")), "{verbose}");
        }
        assert!(!verbose.contains("peers") && !verbose.contains("fib"), "{verbose}");

        let rules = node.rules(backend);
        assert!(rules.iter().any(|rule| rule.contains("10.244.1.2")), "{rules:#?}");
        let masquerades = |rule: &&String| rule.contains("MASQUERADE");
        assert_eq!(rules.iter().find(masquerades), None, "translation is the other plugin's");
        assert_eq!(kernel::routes(&node.netns, "98"), [], "routes are the other plugin's");
        let forwarding = node.netns.run("cat", &["/proc/sys/net/ipv4/ip_forward"]);
        assert_eq!(forwarding.expect("it is there").trim(), "0", "so is forwarding");
        let status = node.status();
        assert!(status.get("bgp").is_none() && status.get("kernel").is_none(), "{status}");
        assert_eq!(status["source"]["pods"], 1, "{status}");
        assert_eq!(status["healthy"], true, "{status}");

        let metrics = node.answers("/metrics", 200);
        for line in [
            "brindle_policy_endpoints{state=\"programmed\"} 1.0",
            "brindle_policy_objects{kind=\"Pod\",state=\"active\"} 1.0",
            "brindle_in_sync{source=\"files\"} 1.0",
        ] {
            assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");
        }
        assert!(metrics.contains(&format!("iptables_backend=\"{backend}\"")), "{metrics}");

        // A policy comes by a file, and goes by one.
        let governed = |rules: &[String]| rules.iter().any(|rule| rule.contains("INVALID"));
        assert!(!governed(&rules), "{rules:#?}");
        node.manifest("policy", POLICY);
        until("the policy is in the kernel", SOON, || {
            let rules = node.rules(backend);
            met(governed(&rules), || format!("{rules:#?}"))
        });
        fs::remove_file(node.path("manifests/policy.yaml")).expect("it is there");
        until("the policy has gone from the kernel", SOON, || {
            let rules = node.rules(backend);
            met(!governed(&rules), || format!("{rules:#?}"))
        });

        node.process().signal(Signal::SIGTERM);
        let ended = node.process().wait(SOON);
        assert!(ended.success(), "{ended}\n{}", node.process().tail());
        assert_eq!(node.rules(backend).len(), rules.len(), "what is enforced stays");
    }
}

#[test]
fn a_flag_does_what_the_configuration_would() {
    if !skip::can_run("a_flag_does_what_the_configuration_would", &PROGRAMS) {
        return;
    }
    let mut node = Node::new();
    node.configure("policy: {backend: nft}");
    node.start(&["--policy-only"]);
    node.answers("/readyz", 200);
    assert!(node.status().get("bgp").is_none());
    assert!(!node.rules("nft").is_empty());
    // Also after the configuration was read again.
    node.configure("policy: {backend: nft, auditInterval: 5s}");
    node.process().signal(Signal::SIGHUP);
    until("the configuration was read again", SOON, || {
        let (_, metrics) = node.ask("/metrics")?;
        let line = "brindle_config_reloads_total{result=\"ok\"} 1.0";
        met(metrics.lines().any(|found| found == line), || metrics.clone())
    });
    assert!(node.status().get("bgp").is_none());
    node.answers("/readyz", 200);
}

#[test]
fn both_halves_run_beside_each_other_and_a_taken_port_stops_neither() {
    if !skip::can_run("both_halves_run_beside_each_other_and_a_taken_port_stops_neither", &PROGRAMS)
    {
        return;
    }
    let mut node = Node::new();
    let taken = node.netns.inside(|| std::net::TcpListener::bind("127.0.0.1:9799"));
    let taken = taken.expect("a free port");
    node.configure(
        "policy: {enabled: true, backend: nft}\n\
         telemetry: {listen: ['127.0.0.1:9799', '127.0.0.1:9798']}",
    );
    node.start(&[]);
    let verbose = node.answers("/readyz?verbose", 200);
    for check in ["source", "routes", "peers", "policy"] {
        assert!(verbose.contains(&format!("[+]{check} ok")), "{verbose}");
    }
    let status = node.status();
    assert_eq!(status["bgp"]["asNumber"], 64512, "{status}");
    assert_eq!(status["healthy"], true, "a taken port makes nobody ill: {status}");
    let warning = status["telemetry"]["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("127.0.0.1:9799: another program listens there"), "{status}");
    let routes = kernel::routes(&node.netns, "98");
    assert_eq!(routes.len(), 1, "the node's own range: {routes:?}");
    let rules = node.rules("nft");
    assert!(rules.iter().any(|rule| rule.contains("MASQUERADE")), "{rules:#?}");
    drop(taken);
}
