//! An agent on a node in a network namespace, and what it is asked.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::netns::Netns;
use crate::process::Process;
use crate::wait::{SOON, met, until};
use crate::{agent, http};

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

/// An agent on a node `n1`, its folder of manifests and its configuration.
pub struct Node {
    /// Its namespace: `eth0` is 10.0.0.1.
    pub netns: Arc<Netns>,
    process: Option<Process>,
    // Dropped last: the agent writes there until its end.
    folder: TempDir,
}

impl Node {
    /// A namespace with a folder that holds the node and one pod.
    ///
    /// # Panics
    /// If the kernel refuses: tests ask [`crate::skip::can_run`] first.
    pub fn new() -> Self {
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

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a manifest as a whole.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn manifest(&self, name: &str, text: &str) {
        let path = self.path("manifests").join(name);
        fs::write(&path, text).expect("the folder is ours");
        fs::rename(&path, path.with_extension("yaml")).expect("one file system");
    }

    /// Writes the configuration; `more` is further YAML.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "node: {{name: n1}}\nsource: {{kind: files, path: {}}}\ncontrol: {{socket: {}}}\n{more}\n",
            self.path("manifests").display(),
            self.path("brindle.sock").display(),
        );
        fs::write(self.path("brindle.yaml"), text).expect("the folder is ours");
    }

    /// Starts the agent with further words for the command line.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(&mut self, flags: &[&str]) {
        let config = self.path("brindle.yaml").display().to_string();
        let args = ["agent", "--config", &config].into_iter().chain(flags.iter().copied());
        let process =
            Process::start(&self.netns, "brindle", self.folder.path(), agent::binary(), args);
        self.process = Some(process.expect("the agent can be started"));
    }

    /// The agent.
    ///
    /// # Panics
    /// If it was never started.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// Status and body of an answer over HTTP.
    ///
    /// # Errors
    /// If there is none.
    pub fn ask(&self, path: &str) -> Result<(u16, String), String> {
        http::get(&self.netns, path)
    }

    /// Waits until an address over HTTP answers with this status.
    pub fn answers(&self, path: &str, wanted: u16) -> String {
        until(&format!("{path} answers {wanted}"), SOON, || {
            let (status, body) = self.ask(path)?;
            met(status == wanted, || format!("{status}: {body}"))?;
            Ok(body)
        })
    }

    /// What `brindle status` says.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn status(&self) -> serde_json::Value {
        let socket = self.path("brindle.sock").display().to_string();
        let words = ["status", "-o", "json", "--socket", &socket];
        let program = agent::binary().display().to_string();
        let output = self.netns.output(&program, &words).expect("it can be run");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The rules of a backend that are ours.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn rules(&self, backend: &str) -> Vec<String> {
        let text = self.netns.run(&format!("iptables-{backend}-save"), &[]).expect("it runs");
        text.lines().filter(|line| line.contains("BRN-")).map(str::to_owned).collect()
    }

    /// Status and body of an answer over the control socket.
    ///
    /// # Panics
    /// If there is none.
    pub fn call(&self, path: &str, body: Option<serde_json::Value>) -> (u16, serde_json::Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut stream = UnixStream::connect(self.path("brindle.sock")).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("the time is not zero");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("it is read");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it is answered");
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
        (status.expect("it speaks HTTP"), body)
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}
