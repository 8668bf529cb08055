//! What brindle tells a real API server: Events, the node's condition, and what it may not do.
//! With a token that has the shipped role and nothing else, or less.

use std::sync::Arc;

use brindle::cluster::kubernetes::access::{self, Missing, NEEDS, Need};
use brindle::cluster::kubernetes::client::ClientSettings;
use brindle::cluster::kubernetes::condition;
use brindle::cluster::kubernetes::events::{self, BURST};
use brindle::cluster::kubernetes::line::Line;
use brindle::cluster::report::{Reason, Reporter, Subject};
use brindle_policy::PolicyId;
use brindle_policy::model::PolicyKind;
use integration_tests::apiserver::ApiServer;
use integration_tests::wait::{SOON, met, until};
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

    /// Our Events in this namespace.
    fn events(&self, namespace: &str) -> Vec<Value> {
        let list = self.get(&["events.events.k8s.io", "-n", namespace]);
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
        let events = cluster.events("default");
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
        let events = cluster.events("default");
        met(events.iter().any(|event| event["note"] == "n1 is up"), || format!("{events:?}"))?;
        Ok(events)
    });
    assert_eq!(events.len(), 3, "{events:?}");

    // Said again, it is counted.
    (0..9).for_each(|_| reporter.report(node(), Reason::PeerUp, "n2 is up"));
    until("the Event is a series of ten", SOON, || {
        let events = cluster.events("default");
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
        let count = cluster.events("default").len();
        met(count >= burst, || count.to_string())
    });
    let count = cluster.events("default").len();
    let more = usize::try_from(started.elapsed().as_secs() / 5 + 1).expect("small");
    assert!(count <= burst + more, "{count} Events");

    // Nothing is kept for a server that is away: what is said then is lost.
    cluster.server.stop();
    reporter.report(node(), Reason::ConfigRefused, "lost");
    cluster.server.start_again();
    assert!(cluster.events("default").iter().all(|event| event["note"] != "lost"));
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
    cluster.runtime.spawn(access::watch(line.clone(), true, missing.clone()));
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
