//! An API server that does what a test says: for faults that a real one cannot be made to show.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `pods`; `version` for that.
    pub(crate) resource: String,
    /// What it is in, `/api/v1`; of what an API has, `/apis`.
    pub(crate) within: String,
    /// The query, not decoded.
    pub(crate) query: String,
    /// The bearer token; empty without one.
    pub(crate) token: String,
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }

    /// For `/apis/projectcalico.org/v3` that: what an API has.
    pub(crate) fn discovered(&self) -> Option<String> {
        let group = self.within.strip_prefix("/apis/")?;
        (!group.contains('/')).then(|| format!("{group}/{}", self.resource))
    }
}

/// An answer.
pub(crate) enum Reply {
    /// A status with a body.
    Json(u16, Value),
    /// Lines of a watch, which goes on then.
    Watch(Vec<Value>),
}

impl Reply {
    /// A refusal.
    pub(crate) fn status(code: u16, message: &str) -> Self {
        Reply::Json(code, json!({"kind": "Status", "code": code, "message": message}))
    }
}

/// What a test answers in place of the server; `None` leaves it to that.
type Script = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

struct State {
    version: String,
    objects: BTreeMap<String, Vec<Value>>,
    /// What the APIs have that not every server has.
    apis: BTreeMap<String, Vec<String>>,
    script: Script,
    requests: Vec<Request>,
    watches: BTreeMap<String, Vec<Sender<Value>>>,
}

/// The server. Lists what it was given, and says in watches what it is told to say.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Starts one on the loopback interface.
    pub(crate) fn start() -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into())
    }

    /// Starts one on this address of the namespace that the thread is in.
    pub(crate) fn start_on(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            version: "20".to_owned(),
            objects: BTreeMap::new(),
            apis: BTreeMap::new(),
            script: Box::new(|_| None),
            requests: Vec::new(),
            watches: BTreeMap::new(),
        }));
        let server = Self { address, state };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                thread::spawn(move || {
                    // A client that goes away is none of the server's troubles.
                    let _ = server.serve(stream);
                });
            }
        });
        server
    }

    /// A kubeconfig that leads here; `user` is the YAML of its user.
    pub(crate) fn kubeconfig(&self, user: &str) -> String {
        format!(
            "{{current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             users: [{{name: u, user: {user}}}]}}",
            self.address
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test fails while it holds the server")
    }

    /// The minor version that it claims to be.
    pub(crate) fn set_version(&self, minor: &str) {
        self.state().version = minor.to_owned();
    }

    /// Lists these from now on, and says nothing of it.
    pub(crate) fn set(&self, resource: &str, objects: &[Value]) {
        self.state().objects.insert(resource.to_owned(), objects.to_vec());
    }

    /// Has these resources of an API from now on, or nothing of it.
    pub(crate) fn serve_api(&self, api: &str, resources: &[&str]) {
        let resources: Vec<String> = resources.iter().map(|name| (*name).to_owned()).collect();
        let mut state = self.state();
        match resources.is_empty() {
            true => drop(state.apis.remove(api)),
            false => drop(state.apis.insert(api.to_owned(), resources)),
        }
    }

    /// Asks `script` before it answers from now on.
    pub(crate) fn script(&self, script: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        self.state().script = Box::new(script);
    }

    /// Says something in the watches of a resource.
    pub(crate) fn say(&self, resource: &str, line: &Value) {
        let mut state = self.state();
        let watches = state.watches.entry(resource.to_owned()).or_default();
        watches.retain(|watch| watch.send(line.clone()).is_ok());
    }

    /// Ends the watches of a resource.
    pub(crate) fn cut(&self, resource: &str) {
        self.state().watches.remove(resource);
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            lines.push(line);
        }
        let Some(target) = lines.first().and_then(|line| line.split(' ').nth(1)) else {
            return Ok(());
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let bearer = |line: &String| {
            let (key, value) = line.split_once(": ")?;
            let is_it = key.eq_ignore_ascii_case("authorization");
            is_it.then(|| value.trim().trim_start_matches("Bearer ").to_owned())
        };
        let request = Request {
            resource: path.rsplit('/').next().unwrap_or_default().to_owned(),
            within: path.rsplit_once('/').map_or("", |(within, _)| within).to_owned(),
            query: query.to_owned(),
            token: lines.iter().find_map(bearer).unwrap_or_default(),
        };
        let (reply, rest) = self.answer(&request);
        self.write(stream, reply, rest)
    }

    fn answer(&self, request: &Request) -> (Reply, Option<Receiver<Value>>) {
        let mut state = self.state();
        state.requests.push(request.clone());
        let reply = match (state.script)(request) {
            Some(reply) => reply,
            None if request.resource == "version" => {
                let minor = &state.version;
                let version = json!({"major": "1", "minor": minor, "gitVersion": "v", "gitCommit": "",
                    "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
                Reply::Json(200, version)
            }
            None if request.discovered().is_some() => {
                let api = request.discovered().unwrap_or_default();
                state.apis.get(&api).map_or_else(
                    || Reply::status(404, "the server could not find the requested resource"),
                    |resources| Reply::Json(200, has(&api, resources)),
                )
            }
            None if request.is_watch() => Reply::Watch(Vec::new()),
            None => {
                let items = state.objects.get(&request.resource).cloned().unwrap_or_default();
                Reply::Json(200, list(&items, ""))
            }
        };
        let rest = matches!(reply, Reply::Watch(_)).then(|| {
            let (sender, receiver) = channel();
            state.watches.entry(request.resource.clone()).or_default().push(sender);
            receiver
        });
        (reply, rest)
    }

    fn write(
        &self,
        mut stream: TcpStream,
        reply: Reply,
        rest: Option<Receiver<Value>>,
    ) -> std::io::Result<()> {
        match reply {
            Reply::Json(code, body) => {
                let body = body.to_string();
                write!(
                    stream,
                    "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{body}",
                    body.len()
                )
            }
            Reply::Watch(first) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                )?;
                for line in first.into_iter().chain(rest.into_iter().flatten()) {
                    let line = format!("{line}\n");
                    write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
                }
                write!(stream, "0\r\n\r\n")
            }
        }
    }
}

/// What an API has.
fn has(api: &str, resources: &[String]) -> Value {
    let resource = |name| json!({"name": name, "verbs": ["get", "list", "watch"]});
    let resources: Vec<Value> = resources.iter().map(resource).collect();
    json!({"kind": "APIResourceList", "groupVersion": api, "resources": resources})
}

/// A page of a list; `rest` asks for the next one.
pub(crate) fn list(items: &[Value], rest: &str) -> Value {
    json!({"metadata": {"resourceVersion": "100", "continue": rest}, "items": items})
}

/// A line of a watch.
pub(crate) fn event(what: &str, object: &Value) -> Value {
    json!({"type": what, "object": object})
}

/// 410 in a watch.
pub(crate) fn gone() -> Value {
    event("ERROR", &json!({"kind": "Status", "code": 410, "message": "too old resource version"}))
}
