//! A brindle agent in a namespace: the real binary with a real YAML file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::Process;
use crate::wait::{SOON, met, until};

/// What an agent is told. [`Config::yaml`] makes the file of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// `bgp.asNumber`
    pub asn: u32,
    /// `bgp.nodeToNodeMesh.enabled`
    pub mesh: bool,
    /// `bgp.nodeToNodeMesh.retain`
    pub retain: &'static str,
    /// Leaves out everything that its Node object says: addresses, and what follows from them.
    pub by_node: bool,
    /// `bgp.networks`
    pub networks: Vec<String>,
    /// `bgp.peers`, each as one line of YAML: `{name: a, peerIP: 10.9.0.2, asNumber: 65002}`.
    pub peers: Vec<String>,
    /// Further keys of `bgp`, as `drain: {onCordon: true}`.
    pub bgp: Vec<String>,
    /// Further lines of the file, as `routes: {install: false}`.
    pub rest: String,
}

impl Config {
    /// An agent in AS `asn` without peers.
    pub fn new(asn: u32) -> Self {
        Self {
            asn,
            mesh: false,
            retain: "node-object",
            by_node: false,
            networks: Vec::new(),
            peers: Vec::new(),
            bgp: Vec::new(),
            rest: String::new(),
        }
    }

    /// Adds prefixes to originate.
    #[must_use]
    pub fn networks(mut self, prefixes: &[&str]) -> Self {
        self.networks.extend(prefixes.iter().map(ToString::to_string));
        self
    }

    /// Adds a peer on both families of `host`, `NAME` and `NAME-v6`, that everything is
    /// taken from and told to. `more` is further YAML, as `, passive: true`.
    #[must_use]
    pub fn peer(self, name: &str, host: &Host, asn: u32, more: &str) -> Self {
        let open = format!(", importFilters: [], exportFilters: []{more}");
        self.line(name, &host.v4.to_string(), asn, &open).line(
            &format!("{name}-v6"),
            &host.v6.to_string(),
            asn,
            &open,
        )
    }

    /// Adds one peer; `more` is further YAML.
    #[must_use]
    pub fn line(mut self, name: &str, address: &str, asn: u32, more: &str) -> Self {
        self.peers.push(format!("{{name: {name}, peerIP: \"{address}\", asNumber: {asn}{more}}}"));
        self
    }

    /// Adds a key to `bgp`.
    #[must_use]
    pub fn bgp(mut self, key: &str) -> Self {
        self.bgp.push(key.to_owned());
        self
    }

    /// Adds lines to the file.
    #[must_use]
    pub fn rest(mut self, lines: &str) -> Self {
        self.rest.push_str(lines);
        self.rest.push('\n');
        self
    }

    /// The file for an agent on `host`.
    pub fn yaml(&self, host: &Host, socket: &Path) -> String {
        let (name, v4, v6) = (host.netns.name(), host.v4, host.v6);
        let mut text = if self.by_node {
            format!("node: {{name: {name}}}\nbgp:\n")
        } else {
            format!(
                "node: {{name: {name}, addresses: [{v4}, \"{v6}\"]}}\n\
                 bgp:\n  routerID: {v4}\n  \
                 listen: {{addresses: [{v4}, \"{v6}\"], port: 179}}\n"
            )
        };
        let (asn, mesh, retain) = (self.asn, self.mesh, self.retain);
        let _ = writeln!(
            text,
            "  asNumber: {asn}\n  nodeToNodeMesh: {{enabled: {mesh}, retain: {retain}}}"
        );
        for key in &self.bgp {
            let _ = writeln!(text, "  {key}");
        }
        let quoted: Vec<String> = self.networks.iter().map(|one| format!("\"{one}\"")).collect();
        let _ = writeln!(text, "  networks: [{}]\n  peers:", quoted.join(", "));
        for peer in &self.peers {
            let _ = writeln!(text, "    - {peer}");
        }
        if self.peers.is_empty() {
            text.push_str("    []\n");
        }
        let _ = writeln!(text, "control: {{socket: \"{}\"}}\n{}", socket.display(), self.rest);
        text
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    host: Host,
    process: Process,
    // Dropped last: the agent writes there until its end.
    folder: TempDir,
}

impl Agent {
    /// Starts one on `host` and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(host: &Host, config: &Config) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        write(host, &folder, config);
        let process = launch(host, &folder);
        let agent = Self { host: host.clone(), process, folder };
        agent.answers();
        agent
    }

    /// The process, for signals and measurements.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it with SIGTERM.
    ///
    /// # Panics
    /// If it does not end, or not well.
    pub fn stop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        let status = self.process.wait(SOON);
        assert!(status.success(), "SIGTERM ended the agent with {status}\n{}", self.process.tail());
    }

    /// Starts it again after [`Agent::kill`] or [`Agent::stop`].
    ///
    /// # Panics
    /// If it does not answer then.
    pub fn start_again(&mut self) {
        self.process = launch(&self.host, &self.folder);
        self.answers();
    }

    /// Starts a copy of the program after [`Agent::kill`] or [`Agent::stop`], as an upgrade does.
    ///
    /// # Panics
    /// If it cannot be copied, or does not answer then.
    pub fn start_upgraded(&mut self) {
        let copy = self.folder.path().join("brindle-new");
        // By a program of its own: were the copy open for writing here, a process that another
        // test starts meanwhile would have it open too, and no copy that is can be run.
        let copied = Command::new("cp").arg(binary()).arg(&copy).status().expect("cp is there");
        assert!(copied.success(), "there is room for it");
        self.process = launch_as(&copy, &self.host, &self.folder);
        self.answers();
    }

    /// Starts it again after [`Agent::kill`] or [`Agent::stop`], with another configuration.
    ///
    /// # Panics
    /// If it does not answer then.
    pub fn start_again_with(&mut self, config: &Config) {
        write(&self.host, &self.folder, config);
        self.start_again();
    }

    /// Writes another configuration and sends SIGHUP.
    ///
    /// # Panics
    /// If the agent is not running.
    pub fn reload(&self, config: &Config) {
        write(&self.host, &self.folder, config);
        self.process.signal(Signal::SIGHUP);
    }

    /// Writes any text as configuration and sends SIGHUP.
    ///
    /// # Panics
    /// If the agent is not running.
    pub fn reload_text(&self, text: &str) {
        std::fs::write(file(&self.folder), text).expect("the folder is ours");
        self.process.signal(Signal::SIGHUP);
    }

    /// Runs `brindle WORDS... -o json` against this agent; `None` if it does not answer or
    /// knows no such thing. What a list holds stands under `items`.
    pub fn ask(&self, words: &[&str]) -> Option<Value> {
        let socket = self.socket();
        let mut args = words.to_vec();
        args.extend(["-o", "json", "--socket", socket.to_str()?]);
        // An answer that is bad news comes with exit code 1.
        let output = self.host.netns.output(binary().to_str()?, &args).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Runs `brindle WORDS...` against this agent.
    ///
    /// # Errors
    /// If it fails, with what was printed.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let socket = self.socket();
        let mut args = words.to_vec();
        args.extend(["--socket", socket.to_str().unwrap_or_default()]);
        self.host.netns.run(binary().to_str().unwrap_or_default(), &args)
    }

    /// A peer by name, as `brindle peers NAME -o json` shows it; `Null` if there is none.
    pub fn peer(&self, name: &str) -> Value {
        self.ask(&["peers", name]).unwrap_or_default()
    }

    /// The best path of exactly this prefix, as `brindle routes PREFIX -o json` shows it.
    pub fn route(&self, prefix: &str) -> Option<Value> {
        let found = self.ask(&["routes", prefix])?;
        let route = found["items"].get(0).unwrap_or(&found);
        let path = route["paths"].get(0)?;
        (path["status"] == "best").then(|| path.clone())
    }

    /// Waits until the session with the peer of this name is up, and returns the peer.
    ///
    /// # Panics
    /// If it does not come up in good time.
    #[track_caller]
    pub fn up(&self, name: &str) -> Value {
        until(&format!("peer {name} is Established"), SOON, || {
            let peer = self.peer(name);
            met(peer["state"] == "Established", || peer.to_string())?;
            Ok(peer)
        })
    }

    /// Waits until the best path of `prefix` is there, and returns it.
    ///
    /// # Panics
    /// If it is not in good time.
    #[track_caller]
    pub fn learns(&self, prefix: &str) -> Value {
        until(&format!("a best path of {prefix}"), SOON, || {
            self.route(prefix).ok_or_else(|| {
                let rejected = self.ask(&["routes", "rejected"]).unwrap_or_default();
                format!("none; rejected: {rejected}; peers: {:?}", self.ask(&["peers"]))
            })
        })
    }

    /// Waits until there is no best path of `prefix` any more.
    ///
    /// # Panics
    /// If there still is after a good time.
    #[track_caller]
    pub fn forgets(&self, prefix: &str) {
        until(&format!("no path of {prefix}"), SOON, || match self.route(prefix) {
            None => Ok(()),
            Some(path) => Err(path.to_string()),
        });
    }

    fn answers(&self) {
        until("the agent answers", SOON, || {
            self.run(&["peers"]).map(drop).map_err(|error| format!("{error:#}"))
        });
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("brindle.yaml")
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("brindle.sock")
}

fn write(host: &Host, folder: &TempDir, config: &Config) {
    std::fs::write(file(folder), config.yaml(host, &socket(folder))).expect("the folder is ours");
}

fn launch(host: &Host, folder: &TempDir) -> Process {
    launch_as(binary(), host, folder)
}

fn launch_as(binary: &Path, host: &Host, folder: &TempDir) -> Process {
    let config = file(folder);
    let args = ["agent", "--config", config.to_str().expect("ASCII")];
    Process::start(&host.netns, "brindle", folder.path(), binary, args)
        .expect("the agent can be started")
}

/// The program under test: `BRINDLE_BIN`, or what was built beside this test.
///
/// # Panics
/// If it is not there, or older than its source: a test of something else than what stands
/// in the tree is worse than none.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("BRINDLE_BIN") {
            return path.into();
        }
        let test = std::env::current_exe().expect("a test has a path");
        // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM
        let folder = test.ancestors().find(|folder| folder.join("build").is_dir());
        let binary = folder.expect("cargo built it").join("brindle");
        let built = modified(&binary).unwrap_or_else(|| {
            panic!("{} is not built: run `cargo build`, or use `make test`", binary.display())
        });
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        for part in ["src", "bgp/src", "config/src", "policy/src"] {
            if let Some(newer) = newer(&root.join(part), built) {
                panic!(
                    "{} is older than {}: run `cargo build`, or use `make test`",
                    binary.display(),
                    newer.display()
                );
            }
        }
        binary
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn newer(path: &Path, than: SystemTime) -> Option<PathBuf> {
    if path.is_dir() {
        let mut entries = std::fs::read_dir(path).ok()?.flatten();
        return entries.find_map(|entry| newer(&entry.path(), than));
    }
    // What only tests are made of does not make the program anew.
    let is_test = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs");
    let is_source = !is_test && path.extension().is_some_and(|extension| extension == "rs");
    (is_source && modified(path)? > than).then(|| path.to_owned())
}
