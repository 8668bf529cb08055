//! A node that pods are connected to: a stand-in for its agent, and a container runtime that
//! runs chains of plug-ins.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use brindle::cni::PLUGIN;
use brindle::cni::caller::{Call, CallError};
use brindle::cni::protocol::{Attach, Attached, Detached, NodeAnswer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::binary;
use crate::netns::Netns;

/// Where Debian has the plug-ins of others.
pub const OTHERS: &str = "/usr/lib/cni";

/// What the stand-in does when a pod is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnAttach {
    /// Says that its isolation is in the kernel.
    Program,
    /// Says that it is not, and why.
    Refuse(String),
    /// Says nothing and keeps the connection.
    Hang,
}

#[derive(Debug)]
struct Script {
    node: NodeAnswer,
    on_attach: OnAttach,
    attached: Vec<Attach>,
    detached: Vec<String>,
    hung: Vec<UnixStream>,
}

/// Answers the plug-in's questions as it is told to.
#[derive(Debug)]
pub struct StandIn {
    script: Arc<Mutex<Script>>,
}

impl StandIn {
    /// One that listens at `socket` and connects every pod.
    ///
    /// # Panics
    /// If it cannot listen there.
    pub fn listen(socket: &Path, pod_cidrs: &[&str]) -> Self {
        let node = NodeAnswer {
            node: "node-1".to_owned(),
            pod_cidrs: pod_cidrs.iter().map(|cidr| cidr.parse().expect("a range")).collect(),
            mtu: 1450,
            problem: None,
        };
        let script = Arc::new(Mutex::new(Script {
            node,
            on_attach: OnAttach::Program,
            attached: vec![],
            detached: vec![],
            hung: vec![],
        }));
        let listener = UnixListener::bind(socket).expect("the folder is ours");
        let shared = script.clone();
        // It ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let script = shared.clone();
                thread::spawn(move || answer(stream, &script));
            }
        });
        Self { script }
    }

    /// Changes what it says about the node.
    pub fn node(&self, change: impl FnOnce(&mut NodeAnswer)) {
        change(&mut self.script().node);
    }

    /// Changes what it does when a pod is attached. Connections that it kept are closed.
    pub fn on_attach(&self, what: OnAttach) {
        let mut script = self.script();
        script.on_attach = what;
        script.hung.clear();
    }

    /// What it was told about pods that came.
    pub fn attached(&self) -> Vec<Attach> {
        self.script().attached.clone()
    }

    /// The interfaces that it was told have gone.
    pub fn detached(&self) -> Vec<String> {
        self.script().detached.clone()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("no holder panics")
    }
}

fn answer(stream: UnixStream, script: &Mutex<Script>) {
    // A caller that was killed is nobody to answer.
    let _ = exchange(stream, script);
}

fn exchange(stream: UnixStream, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a number");
        }
    }
    if first.is_empty() {
        return Ok(()); // A caller that was killed before it asked.
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let target = first.rsplit_once(' ').map_or("", |(target, _)| target);
    let mut script = script.lock().expect("no holder panics");
    let answer = match target {
        "GET /v1/cni/node" => serde_json::to_value(&script.node),
        "POST /v1/cni/attach" => {
            script.attached.push(serde_json::from_slice(&body).expect("an Attach"));
            serde_json::to_value(match script.on_attach.clone() {
                OnAttach::Program => Attached { programmed: true, problem: None },
                OnAttach::Refuse(why) => Attached { programmed: false, problem: Some(why) },
                OnAttach::Hang => {
                    script.hung.push(stream);
                    return Ok(());
                }
            })
        }
        "POST /v1/cni/detach" => {
            let detach: Value = serde_json::from_slice(&body).expect("a Detach");
            script.detached.push(detach["hostInterface"].as_str().expect("a name").to_owned());
            serde_json::to_value(Detached { known: true })
        }
        other => panic!("the plug-in asked {other:?}"),
    };
    let answer = answer.expect("it is JSON").to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
        answer.len()
    )
}

/// A container, as its runtime knows it.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its namespace.
    pub netns: Arc<Netns>,
    /// `CNI_ARGS`
    pub args: String,
}

impl Container {
    /// A new one of this id, in a namespace of its own, of the pod `test/ID`.
    ///
    /// # Panics
    /// If no namespace can be made: tests ask [`crate::skip::can_run`] first.
    pub fn new(id: &str) -> Self {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME={id}");
        let netns = Netns::new(id).expect("can_run was asked");
        Self { id: id.to_owned(), netns, args }
    }
}

/// A node that runs containers: plays the part of a runtime's CNI library.
#[derive(Debug)]
pub struct Node {
    /// Its namespace, which forwards.
    pub netns: Arc<Netns>,
    folder: TempDir,
    /// The list of plug-ins, as in a file of /etc/cni/net.d.
    pub list: Value,
    results: Mutex<HashMap<String, Value>>,
}

impl Node {
    /// One in a namespace of its own, with the plug-in installed.
    ///
    /// # Panics
    /// If no namespace can be made: tests ask [`crate::skip::can_run`] first.
    pub fn new() -> Self {
        let netns = Netns::new("node").expect("can_run was asked");
        for family in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
            netns.sysctl(&format!("net/{family}"), "1").expect("it has both families");
        }
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("the folder is ours");
        std::os::unix::fs::symlink(binary(), bin.join(PLUGIN)).expect("the folder is ours");
        let mut node = Self { netns, folder, list: Value::Null, results: Mutex::default() };
        node.list = json!({
            "cniVersion": "1.0.0",
            "name": "k8s",
            "plugins": [{
                "type": PLUGIN,
                "socket": node.socket(),
                "dataDir": node.data_dir(),
                "capabilities": {"ips": true},
            }],
        });
        node
    }

    /// Where the agent is to listen.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("brindle.sock")
    }

    /// Where the plug-in keeps its records.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("cni")
    }

    /// The plug-in.
    pub fn plugin(&self) -> PathBuf {
        self.folder.path().join("bin").join(PLUGIN)
    }

    /// The configuration of one plug-in of the list, as it gets it: `more` on top.
    pub fn configuration(&self, number: usize, more: &Value) -> Value {
        let mut one = self.list["plugins"][number].clone();
        for key in ["cniVersion", "name"] {
            one[key] = self.list[key].clone();
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            one[key] = value.clone();
        }
        one
    }

    /// Calls one plug-in of the list.
    ///
    /// # Errors
    /// If it refuses or breaks.
    pub fn call(
        &self,
        verb: &str,
        container: &Container,
        number: usize,
        more: &Value,
    ) -> Result<Option<Value>, CallError> {
        let netns = container.netns.path();
        self.call_with(verb, container, Some(&netns), number, more)
    }

    /// The same with another namespace than the container's, or with none.
    ///
    /// # Errors
    /// If it refuses or breaks.
    pub fn call_with(
        &self,
        verb: &str,
        container: &Container,
        netns: Option<&Path>,
        number: usize,
        more: &Value,
    ) -> Result<Option<Value>, CallError> {
        let configuration = self.configuration(number, more);
        let kind = configuration["type"].as_str().expect("a plug-in has a type");
        let own = self.folder.path().join("bin");
        let folders = [own.as_path(), Path::new(OTHERS)];
        let program = folders.iter().map(|folder| folder.join(kind)).find(|file| file.exists());
        let call = Call {
            program: &program.unwrap_or_else(|| panic!("no plug-in {kind}")),
            verb,
            container_id: &container.id,
            netns,
            interface: "eth0",
            args: &container.args,
            path: Path::new(OTHERS),
            configuration: &configuration,
        };
        self.netns.inside(|| call.run())
    }

    /// Connects a container: every plug-in of the list in order, each with the result of the
    /// one before. What runs at the start is told only to plug-ins that can take it.
    ///
    /// # Errors
    /// What the first plug-in says that fails.
    pub fn add(&self, container: &Container, runtime: &Value) -> Result<Value, CallError> {
        let mut result = Value::Null;
        for number in 0..self.plugins() {
            let more = self.at_run_time(number, runtime, &result);
            result = self.call("ADD", container, number, &more)?.unwrap_or_default();
        }
        self.results.lock().expect("no holder panics").insert(container.id.clone(), result.clone());
        Ok(result)
    }

    /// Asks every plug-in in order whether the container is connected as it was.
    ///
    /// # Errors
    /// What the first plug-in says that fails.
    pub fn check(&self, container: &Container, runtime: &Value) -> Result<(), CallError> {
        for number in 0..self.plugins() {
            let more = self.at_run_time(number, runtime, &self.result(container));
            self.call("CHECK", container, number, &more)?;
        }
        Ok(())
    }

    /// Disconnects a container: every plug-in in the reverse order.
    ///
    /// # Errors
    /// What the first plug-in says that fails.
    pub fn del(&self, container: &Container, runtime: &Value) -> Result<(), CallError> {
        for number in (0..self.plugins()).rev() {
            let more = self.at_run_time(number, runtime, &self.result(container));
            self.call("DEL", container, number, &more)?;
        }
        self.results.lock().expect("no holder panics").remove(&container.id);
        Ok(())
    }

    /// The result of the ADD of a container that is connected.
    pub fn result(&self, container: &Container) -> Value {
        let results = self.results.lock().expect("no holder panics");
        results.get(&container.id).cloned().unwrap_or_default()
    }

    fn plugins(&self) -> usize {
        self.list["plugins"].as_array().map_or(0, Vec::len)
    }

    fn at_run_time(&self, number: usize, runtime: &Value, previous: &Value) -> Value {
        let mut more = json!({});
        if !previous.is_null() {
            more["prevResult"] = previous.clone();
        }
        let can = &self.list["plugins"][number]["capabilities"];
        for (key, value) in runtime.as_object().into_iter().flatten() {
            if can[key] == true {
                more["runtimeConfig"][key] = value.clone();
            }
        }
        more
    }

    /// The names of the node's ends of all cables.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn cables(&self) -> Vec<String> {
        let links = self.netns.ip("-o link show").expect("ip can list links");
        let names = links.lines().filter_map(|line| line.split(": ").nth(1));
        let names = names.filter_map(|name| name.split('@').next());
        names.filter(|name| name.starts_with("brn")).map(str::to_owned).collect()
    }

    /// The names of all records.
    pub fn records(&self) -> Vec<String> {
        let folder = brindle::cni::record::folder(&self.data_dir());
        let files = std::fs::read_dir(folder).into_iter().flatten().map_while(Result::ok);
        let mut names: Vec<String> =
            files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

/// The addresses of a result, without the lengths of their prefixes.
pub fn addresses(result: &Value) -> Vec<String> {
    let all = result["ips"].as_array().into_iter().flatten();
    let address = |one: &Value| Some(one["address"].as_str()?.split('/').next()?.to_owned());
    all.filter_map(address).collect()
}
