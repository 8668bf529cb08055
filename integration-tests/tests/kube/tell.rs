//! What brindle tells a real API server: Events, the node's condition, and what it may not do.
//! With a token that has the shipped role and nothing else, or less.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use brindle::cluster::kubernetes::access::{self, Missing, NEEDS, Need};
use brindle::cluster::kubernetes::client::ClientSettings;
use brindle::cluster::kubernetes::condition;
use brindle::cluster::kubernetes::events::{self, BURST};
use brindle::cluster::kubernetes::line::Line;
use brindle::cluster::report::{Reason, Reporter, Subject};
use brindle_policy::PolicyId;
use brindle_policy::model::PolicyKind;
use integration_tests::apiserver::ApiServer;
use integration_tests::process::Process;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, agent, skip};
use serde_json::Value;
use tokio::runtime::Runtime;

/// An API server with the shipped role, a node and a policy.
struct Cluster {
    server: ApiServer,
    runtime: Runtime,
}

impl Cluster {
    fn start(test: &str) -> Option<Self> {
        let server = ApiServer::start(test)?;
        let role = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/base/rbac.yaml");
        server.kubectl(&["apply", "-f", role]);
        server.apply(
            "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
             metadata: {name: db, namespace: default}\nspec: {podSelector: {}}\n",
        );
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("an event loop");
        Some(Self { server, runtime })
    }

    /// The way of the agent: a token that has the shipped role.
    fn line(&self) -> Line {
        let token = self.server.create_token("kube-system", "brindle");
        let kubeconfig = Some(self.server.kubeconfig_with_token("brindle", &token));
        Line::new(ClientSettings { kubeconfig, context: None })
    }

    /// A reporter whose reports are published.
    fn reporter(&self, line: &Line) -> Reporter {
        let (reporter, reports) = Reporter::new();
        self.runtime.spawn(events::publish(line.clone(), "n1".into(), reports));
        reporter
    }

    fn get(&self, words: &[&str]) -> Value {
        let words = [&["get", "-o", "json"], words].concat();
        serde_json::from_str(&self.server.kubectl(&words)).expect("JSON")
    }

    /// Our Events. Those of nodes are in the namespace `default`, or `kube-system` where servers
    /// are old.
    fn events(&self) -> Vec<Value> {
        let list = self.get(&["events.events.k8s.io", "-A"]);
        let all = list["items"].as_array().expect("a list").iter();
        all.filter(|event| event["reportingController"] == "brindle").cloned().collect()
    }
}

fn node() -> Subject {
    Subject::Node("n1".into())
}

#[test]
fn reports_become_events_of_their_objects_and_repeated_ones_are_counted() {
    let Some(cluster) = Cluster::start("reports become Events") else { return };
    let line = cluster.line();
    let reporter = cluster.reporter(&line);
    let policy = PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: Some("default".into()),
        name: "db".into(),
    };
    let invalid = "spec.ingress[0].ports[0].endPort: below port";
    reporter.report(Subject::Policy(policy.clone()), Reason::PolicyInvalid, invalid);
    reporter.report(node(), Reason::PeerUp, "n2 is up");
    let events = until("two Events are there", SOON, || {
        let events = cluster.events();
        met(events.len() == 2, || format!("{events:?}"))?;
        Ok(events)
    });
    for (kind, name, type_, reason, note) in [
        ("NetworkPolicy", "db", "Warning", "PolicyInvalid", invalid),
        ("Node", "n1", "Normal", "PeerUp", "n2 is up"),
    ] {
        let event = events.iter().find(|event| event["regarding"]["kind"] == kind);
        let event = event.unwrap_or_else(|| panic!("none about a {kind}: {events:?}"));
        let words = [&event["type"], &event["reason"], &event["note"], &event["regarding"]["name"]];
        assert_eq!(words, [type_, reason, note, name]);
        assert_eq!(event["reportingInstance"], "n1");
        let object = cluster.get(&[kind, name]);
        assert_eq!(event["regarding"]["uid"], object["metadata"]["uid"], "describe looks for it");
    }
    let shown = cluster.server.kubectl(&["describe", "networkpolicy", "db"]);
    assert!(shown.contains("db"), "{shown}");
    let described = cluster.server.kubectl(&["describe", "node", "n1"]);
    assert!(described.contains("n2 is up"), "{described}");

    // Another node says the same of the policy: that is no second Event.
    let (other, reports) = Reporter::new();
    cluster.runtime.spawn(events::publish(line.clone(), "n2".into(), reports));
    other.report(Subject::Policy(policy), Reason::PolicyInvalid, invalid);
    other.report(Subject::Node("n2".into()), Reason::PeerUp, "n1 is up");
    let events = until("a third Event is there", SOON, || {
        let events = cluster.events();
        met(events.iter().any(|event| event["note"] == "n1 is up"), || format!("{events:?}"))?;
        Ok(events)
    });
    assert_eq!(events.len(), 3, "{events:?}");

    // Said again, it is counted.
    (0..9).for_each(|_| reporter.report(node(), Reason::PeerUp, "n2 is up"));
    until("the Event is a series of ten", SOON, || {
        let events = cluster.events();
        let event = events.iter().find(|event| event["note"] == "n2 is up");
        let count = event.map(|event| event["series"]["count"].clone());
        met(count == Some(10.into()), || format!("{event:?}"))
    });
}

#[test]
fn a_flood_of_reports_is_a_bounded_number_of_events() {
    let Some(mut cluster) = Cluster::start("a flood of reports") else { return };
    let line = cluster.line();
    let reporter = cluster.reporter(&line);
    for number in 0..5_000 {
        reporter.report(node(), Reason::PeerDown, format!("peer {number} is down"));
    }
    let burst = usize::try_from(BURST).expect("small");
    let started = std::time::Instant::now();
    until("the burst is there", SOON, || {
        let count = cluster.events().len();
        met(count >= burst, || count.to_string())
    });
    let count = cluster.events().len();
    let more = usize::try_from(started.elapsed().as_secs() / 5 + 1).expect("small");
    assert!(count <= burst + more, "{count} Events");

    // Nothing is kept for a server that is away: what is said then is lost.
    cluster.server.stop();
    reporter.report(node(), Reason::ConfigRefused, "lost");
    cluster.server.start_again();
    assert!(cluster.events().iter().all(|event| event["note"] != "lost"));
}

#[test]
fn network_unavailable_is_cleared_and_other_conditions_stay() {
    let Some(cluster) = Cluster::start("NetworkUnavailable") else { return };
    let conditions = r#"{"status": {"conditions": [
        {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"},
        {"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}"#;
    // kubectl 1.20 knows no subresources.
    let set = |conditions: &str| {
        let patch = serde_json::from_str::<Value>(conditions).expect("JSON");
        cluster.runtime.block_on(async {
            let nodes: kube::Api<k8s_openapi::api::core::v1::Node> =
                kube::Api::all(cluster.server.client().await);
            let patch = kube::api::Patch::Strategic(patch);
            nodes.patch_status("n1", &Default::default(), &patch).await.expect("admin may");
        });
    };
    set(conditions);
    let line = cluster.line();
    let keeping = cluster.runtime.spawn(condition::keep_clear(line, Arc::from("n1")));
    let condition = |kind: &str| {
        let node = cluster.get(&["node", "n1"]);
        let all = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
    };
    let cleared = until("the condition is clear", SOON, || {
        let condition = condition(condition::CONDITION);
        met(condition["status"] == "False", || condition.to_string())?;
        Ok(condition)
    });
    assert_eq!(cleared["reason"], condition::REASON);
    assert_eq!(condition("Ready")["reason"], "KubeletReady");
    // Who stops does not set it back.
    keeping.abort();
    assert_eq!(condition(condition::CONDITION)["status"], "False");
}

#[test]
fn each_missing_verb_is_named_and_what_is_granted_again_is_not() {
    let Some(cluster) = Cluster::start("missing verbs") else { return };
    let line = cluster.line();
    let missing = Missing::default();
    cluster.runtime.spawn(access::watch(line.clone(), true, missing.clone(), |_| false));
    let names = |needs: &[Need]| needs.iter().map(ToString::to_string).collect::<Vec<_>>();
    // All at once first, then each alone.
    cluster.server.kubectl(&["delete", "clusterrolebinding", "brindle"]);
    line.refused();
    until("everything is missing", SOON, || {
        let now = missing.load();
        met(**now == NEEDS, || format!("{:?}", names(&now)))
    });
    let role = |without: &Need| {
        let rule = |need: &Need| {
            let slash = if need.subresource.is_empty() { "" } else { "/" };
            format!(
                "- {{apiGroups: [{:?}], resources: [{:?}], verbs: [{}]}}\n",
                need.group,
                format!("{}{slash}{}", need.resource, need.subresource),
                need.verb
            )
        };
        let rules: String = NEEDS.iter().filter(|need| *need != without).map(rule).collect();
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{name: brindle}}\nrules:\n{rules}"
        )
    };
    cluster.server.kubectl(&[
        "create",
        "clusterrolebinding",
        "brindle",
        "--clusterrole=brindle",
        "--serviceaccount=kube-system:brindle",
    ]);
    for need in &NEEDS {
        cluster.server.apply(&role(need));
        // The server's authorizer follows a moment later.
        until(&format!("only {} {} is missing", need.verb, need.resource), SOON, || {
            let now = cluster.runtime.block_on(access::look(&line, true));
            met(now == [*need], || format!("{:?}", names(&now)))
        });
        let said = need.to_string();
        let grant = format!("grant verb {} on {}", need.verb, need.resource);
        assert!(said.contains(&grant) && said.contains("rbac.yaml"), "{said}");
    }
}

/// Lets what runs in `netns` reach a port of this host's 127.0.0.1 as its own.
fn lead_in(netns: &Netns, to: SocketAddr) {
    let listener = netns.inside(|| TcpListener::bind(to)).expect("the namespace is new");
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(to) else { continue };
            let pairs = [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))];
            for (from, to) in pairs {
                let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn an_agent_tells_of_its_node_and_of_policies_and_names_what_it_may_not() {
    if !skip::can_run("an agent tells the API server", &["ip"]) {
        return;
    }
    let Some(cluster) = Cluster::start("an agent tells the API server") else { return };
    // Without one of the verbs.
    let role = cluster.get(&["clusterrole", "brindle"]);
    let mut role = role.clone();
    let rules = role["rules"].as_array_mut().expect("rules");
    for rule in rules.iter_mut().filter(|rule| rule["resources"][0] == "events") {
        rule["verbs"] = serde_json::json!(["create"]);
    }
    cluster.server.apply(&role.to_string());
    cluster.server.apply(
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDR: 10.244.1.0/24, \
         podCIDRs: [10.244.1.0/24]}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {name: odd, namespace: default}\nspec: {podSelector: {}, policyTypes: \
         [Ingress], egress: [{}]}\n",
    );
    let netns = Netns::new("n1").expect("can_run was asked");
    netns.ip("link add eth0 type veth peer name eth1").expect("new names");
    netns.ip("link set eth0 up").expect("it is there");
    netns.add_address("eth0", "10.9.0.1/24").expect("it is new");
    let url = cluster.server.url();
    lead_in(&netns, url.trim_start_matches("https://").parse().expect("an address"));

    let folder = tempfile::TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let token = cluster.server.create_token("kube-system", "brindle");
    let kubeconfig = cluster.server.kubeconfig_with_token("agent", &token);
    let text = format!(
        "node: {{name: n1, addresses: [10.9.0.1]}}\nbgp: {{asNumber: 64512, routerID: 10.9.0.1}}\n\
         source: {{kind: kubernetes, kubeconfig: {}}}\ncontrol: {{socket: {}}}\n\
         telemetry: {{listen: [\"127.0.0.1:9798\"]}}\npolicy: {{enabled: false}}\n",
        kubeconfig.display(),
        at("brindle.sock"),
    );
    fs::write(at("brindle.yaml"), &text).expect("the folder is ours");
    let config = at("brindle.yaml");
    let args = ["agent", "--config", &config];
    let process = Process::start(&netns, "brindle", folder.path(), agent::binary(), args);
    let process = process.expect("the agent starts");

    until("the network is said to be there", SOON, || {
        let node = cluster.get(&["node", "n1"]);
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_clear = conditions.iter().any(|condition| {
            condition["type"] == condition::CONDITION && condition["status"] == "False"
        });
        met(is_clear, || node["status"].to_string())
    });
    let event = until("there is an Event about the policy", SOON, || {
        let mut events = cluster.events();
        events.retain(|event| event["reason"] == "PolicyInvalid");
        events.pop().ok_or_else(|| "none".to_owned())
    });
    assert_eq!(event["regarding"]["name"], "odd");
    assert!(event["note"].as_str().is_some_and(|note| note.contains("spec.egress")), "{event}");

    // A bad configuration is told, and changes nothing.
    fs::write(at("brindle.yaml"), "bgp: {asNumber: none}").expect("the folder is ours");
    process.signal(nix::sys::signal::Signal::SIGHUP);
    until("there is an Event about the configuration", SOON, || {
        let events = cluster.events();
        let event = events.iter().find(|event| event["reason"] == "ConfigRefused");
        met(event.is_some_and(|event| event["regarding"]["name"] == "n1"), || format!("{events:?}"))
    });

    let missing = "the agent may not patch events: grant verb patch on events of events.k8s.io";
    let program = agent::binary().display().to_string();
    let socket = at("brindle.sock");
    until("status names the missing verb", SOON, || {
        let output = netns.output(&program, &["status", "--socket", &socket]);
        let text = String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned();
        met(text.contains(missing), || text)
    });
    let health = netns.inside(|| {
        use std::io::{Read as _, Write as _};
        let mut stream = TcpStream::connect("127.0.0.1:9798").expect("it listens");
        let request = b"GET /healthz?verbose HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).expect("it takes questions");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    });
    assert!(health.contains(&format!("[!]{missing}")), "{health}");
}
