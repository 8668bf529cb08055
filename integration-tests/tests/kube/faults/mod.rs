//! The `kubernetes` source when the API server, or the way to it, is not as it should be.

mod scripted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use brindle::cluster::Change;
use brindle::cluster::files::Batch;
use brindle::cluster::kubernetes::client::ClientSettings;
use brindle::cluster::kubernetes::{KubernetesStatus, ResourceStatus, Settings, watch};
use brindle::cluster::report::{Reason, Reporter, Subject};
use brindle_policy::Change as PolicyChange;
use integration_tests::wait::SOON;
use integration_tests::{Lan, skip};
use scripted::{Reply, Request, Server, event, gone, list};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A source that watches a scripted server, and what it has told.
struct Source {
    changes: mpsc::Receiver<Batch>,
    status: Arc<arc_swap::ArcSwap<KubernetesStatus>>,
    reports: mpsc::Receiver<brindle::cluster::report::Report>,
    _folder: TempDir,
}

impl Source {
    fn start(server: &Server) -> Self {
        Self::start_as(server, "{token: t}", Duration::from_secs(60))
    }

    /// `user` is the YAML of the kubeconfig's user.
    fn start_as(server: &Server, user: &str, hold_deletions: Duration) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, server.kubeconfig(user)).expect("a file");
        let client = ClientSettings { kubeconfig: Some(file), context: None };
        let (reporter, reports) = Reporter::new();
        let settings = Settings { client, hold_deletions, node: "n1".into(), secrets: false };
        let (changes, status) = watch(settings, reporter);
        Self { changes, status, reports, _folder: folder }
    }

    /// The next batch, each object once: `+Node/n1`, `-Pod/a/web`, `in sync`.
    async fn next(&mut self) -> Vec<String> {
        let batch = timeout(SOON, self.changes.recv()).await;
        shown(
            batch
                .unwrap_or_else(|_| panic!("nothing is told: {:?}", self.status.load()))
                .expect("it runs"),
        )
    }

    /// Waits until all of these were told, in this order and nothing else.
    async fn tells(&mut self, want: &[&str]) {
        let mut told = Vec::new();
        while told.len() < want.len() {
            told.extend(self.next().await);
        }
        assert_eq!(told, want);
    }

    /// Waits for a state.
    async fn is(&self, what: &str, holds: impl Fn(&KubernetesStatus) -> bool) {
        let begin = Instant::now();
        while !holds(&self.status.load()) {
            assert!(begin.elapsed() < SOON, "not {what}: {:#?}", self.status.load());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn nothing_told(&mut self) {
        let told = self.changes.try_recv().map(shown);
        assert!(told.is_err(), "{told:?}");
    }

    fn count(&self, resource: &str, of: impl Fn(&ResourceStatus) -> u64) -> u64 {
        let status = self.status.load();
        status.resources.iter().find(|one| one.resource == resource).map(of).expect("it is watched")
    }
}

fn pods_of(status: &KubernetesStatus) -> &ResourceStatus {
    status.resources.iter().find(|one| one.resource == "pods").expect("they are watched")
}

fn shown(batch: Batch) -> Vec<String> {
    let shown = |change: Change| match change {
        Change::NodeApplied(node) => Some(format!("+Node/{}", node.name)),
        Change::NodeDeleted(name) => Some(format!("-Node/{name}")),
        Change::BgpApplied(_)
        | Change::BgpDeleted(_)
        | Change::ServiceApplied(_)
        | Change::ServiceDeleted(_)
        | Change::EndpointsChanged(..) => None,
        Change::InSync => Some("in sync".to_owned()),
        Change::Policy(PolicyChange::PodApplied(pod)) => Some(format!("+Pod/{}", pod.key)),
        Change::Policy(PolicyChange::PodDeleted(key)) => Some(format!("-Pod/{key}")),
        Change::Policy(PolicyChange::PolicyApplied(policy)) => Some(format!("+{}", policy.id)),
        Change::Policy(PolicyChange::PolicyDeleted(id)) => Some(format!("-{id}")),
        Change::Policy(_) => None,
    };
    batch.into_iter().filter_map(shown).collect()
}

fn node(name: &str, number: u8) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"},
        "spec": {"podCIDR": format!("10.244.{number}.0/24")}})
}

fn pod(name: &str, number: u8) -> Value {
    json!({"metadata": {"namespace": "a", "name": name, "resourceVersion": "7"},
        "spec": {"containers": []}, "status": {"podIP": format!("10.244.1.{number}")}})
}

fn asked(server: &Server, which: impl Fn(&Request) -> bool) -> usize {
    server.requests().iter().filter(|request| which(request)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_410_only_the_difference_is_told() {
    let server = Server::start();
    server.set("nodes", &[node("n1", 1), node("n2", 2), node("n3", 3)]);
    let mut source = Source::start(&server);
    source.tells(&["+Node/n1", "+Node/n2", "+Node/n3", "in sync"]).await;
    source.is("watching", KubernetesStatus::is_connected).await;
    server.set("nodes", &[node("n1", 1), node("n3", 30), node("n4", 4)]);
    server.say("nodes", &gone());
    source.tells(&["-Node/n2", "+Node/n3", "+Node/n4"]).await;
    assert_eq!(source.count("nodes", |nodes| nodes.relists["gone"]), 1);
    source.is("watching", KubernetesStatus::is_connected).await;
    // And nothing at all if nothing changed, also where 410 is the answer to the request.
    let refuse = AtomicBool::new(true);
    server.script(move |request| {
        let now = request.resource == "nodes" && request.is_watch();
        (now && refuse.swap(false, Ordering::Relaxed)).then(|| Reply::status(410, "too old"))
    });
    server.cut("nodes");
    source.is("listed again", |status| status.resources[0].relists["gone"] == 2).await;
    source.is("watching", KubernetesStatus::is_connected).await;
    server.say("nodes", &event("ADDED", &node("n5", 5)));
    source.tells(&["+Node/n5"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_ends_goes_on_from_where_it_was() {
    let server = Server::start();
    let mut source = Source::start(&server);
    source.tells(&["in sync"]).await;
    source.is("watching", KubernetesStatus::is_connected).await;
    let mut later = node("n1", 1);
    later["metadata"]["resourceVersion"] = json!("123");
    server.say("nodes", &event("ADDED", &later));
    source.tells(&["+Node/n1"]).await;
    server.say(
        "nodes",
        &json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "456"}}}),
    );
    let is_list = |request: &Request| !request.is_watch() && request.discovered().is_none();
    let lists = asked(&server, is_list);
    server.cut("nodes");
    let resumed = |server: &Server| {
        asked(server, |r| r.resource == "nodes" && r.query.contains("resourceVersion=456")) > 0
    };
    let begin = Instant::now();
    while !resumed(&server) {
        assert!(begin.elapsed() < SOON, "{:?}", server.requests());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(asked(&server, is_list), lists, "nothing is listed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_list_deletes_nothing() {
    let server = Server::start();
    let pods: Vec<Value> = (1..5).map(|number| pod(&format!("p{number}"), number)).collect();
    server.set("pods", &pods);
    let mut source = Source::start(&server);
    assert_eq!(source.next().await.len(), 5);
    source.is("watching", KubernetesStatus::is_connected).await;
    let whole = Arc::new(AtomicBool::new(false));
    let allowed = Arc::clone(&whole);
    let first = pods[0].clone();
    server.script(move |request| {
        if request.resource != "pods" || request.is_watch() {
            return None;
        }
        Some(match request.query.contains("continue=next%3D%3D") {
            false => Reply::Json(200, list(std::slice::from_ref(&first), "next==")),
            true if allowed.load(Ordering::Relaxed) => Reply::Json(200, list(&[pod("p2", 22)], "")),
            true => Reply::status(500, "etcdserver: leader changed"),
        })
    });
    server.say("pods", &gone());
    source
        .is("failing", |status| pods_of(status).errors.get("server").is_some_and(|n| *n > 2))
        .await;
    source.nothing_told();
    let trouble = pods_of(&source.status.load()).trouble.clone().expect("it fails");
    assert_eq!(trouble.message, "list pods: the server failed (500 etcdserver: leader changed)");
    whole.store(true, Ordering::Relaxed);
    source.tells(&["-Pod/a/p3", "-Pod/a/p4", "+Pod/a/p2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_in_the_file_is_taken_after_401() {
    let server = Server::start();
    server.set("nodes", &[node("n1", 1)]);
    server.script(|request| (request.token != "fresh").then(|| Reply::status(401, "Unauthorized")));
    let folder = TempDir::new().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "stale").expect("a file");
    let user = format!("{{tokenFile: {}}}", token.display());
    let mut source = Source::start_as(&server, &user, Duration::ZERO);
    let refused = |status: &KubernetesStatus| {
        let needed = ["nodes", "namespaces", "serviceaccounts", "pods", "networkpolicies"];
        let of = |name| status.resources.iter().find(|one| one.resource == name);
        needed
            .iter()
            .all(|name| of(*name).is_some_and(|one| one.errors.contains_key("unauthorized")))
    };
    source.is("refused", refused).await;
    let trouble = source.status.load().resources[0].trouble.clone().expect("it fails");
    assert!(trouble.next.contains("renew the token"), "{trouble:?}");
    std::fs::write(&token, "fresh").expect("a file");
    let renewed = Instant::now();
    source.tells(&["+Node/n1", "in sync"]).await;
    assert!(renewed.elapsed() < Duration::from_secs(30), "{:?}", renewed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_verb_is_named_and_stops_nothing_else() {
    let server = Server::start();
    server.set("nodes", &[node("n1", 1)]);
    let granted = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&granted);
    server.script(move |request| {
        let denied = request.resource == "pods" && !asked.load(Ordering::Relaxed);
        denied.then(|| {
            let said = "pods is forbidden: User \"system:serviceaccount:kube-system:brindle\" \
                        cannot list resource \"pods\" in API group \"\" at the cluster scope";
            Reply::status(403, said)
        })
    });
    let mut source = Source::start(&server);
    source.is("refused", |status| pods_of(status).trouble.is_some()).await;
    source
        .is("watching the others", |status| {
            let served = status.resources.iter().filter(|one| !one.absent);
            served.into_iter().all(|one| one.watching == (one.resource != "pods"))
        })
        .await;
    let status = source.status.load_full();
    let troubles: Vec<_> = status.troubles().collect();
    let [(resource, trouble)] = troubles.as_slice() else { panic!("{troubles:?}") };
    assert_eq!(resource.resource, "pods");
    assert!(trouble.message.starts_with("list pods is forbidden (403 "), "{trouble:?}");
    assert_eq!(
        trouble.next,
        "grant the verbs \"list\" and \"watch\" on pods (apiGroups: [\"\"]) to \
         system:serviceaccount:kube-system:brindle, in a ClusterRole with a ClusterRoleBinding"
    );
    assert!(!status.in_sync);
    source.nothing_told();
    granted.store(true, Ordering::Relaxed);
    source.tells(&["+Node/n1", "in sync"]).await;
}

/// A GlobalNetworkPolicy.
fn global(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name, "resourceVersion": "7"}, "spec": spec})
}

const V3: &str = "projectcalico.org/v3";
const STORE: &str = "crd.projectcalico.org/v1";

#[tokio::test(flavor = "multi_thread")]
async fn calicos_kinds_are_read_in_one_place_and_from_its_store_where_it_shows_none() {
    let server = Server::start();
    server.serve_api(STORE, &["globalnetworkpolicies", "tiers"]);
    server.set("globalnetworkpolicies", &[global("default.a", &json!({}))]);
    let mut source = Source::start(&server);
    source.tells(&["+GlobalNetworkPolicy default.a", "in sync"]).await;
    let of = |status: &KubernetesStatus| -> (bool, Option<&'static str>) {
        let found = |one: &&ResourceStatus| one.plural == "globalnetworkpolicies";
        status.resources.iter().find(found).map(|one| (one.absent, one.group)).expect("known")
    };
    assert_eq!(of(&source.status.load()), (false, Some("crd.projectcalico.org")));
    // It shows them: there they are read, but not what only pictures others; and no more of the
    // store, which has them all the same.
    let all = ["default.a", "kcnp.kube-admin.x", "b"].map(|name| global(name, &json!({})));
    server.set("globalnetworkpolicies", &all);
    server.serve_api(V3, &["globalnetworkpolicies"]);
    source.tells(&["+GlobalNetworkPolicy b"]).await;
    assert_eq!(of(&source.status.load()), (false, Some("projectcalico.org")));
    // A server that only says so badly changes nothing.
    server.script(|request| {
        request.discovered().is_some().then(|| Reply::status(503, "service unavailable"))
    });
    let discovered = || asked(&server, |request| request.discovered().is_some());
    let before = discovered();
    let begin = Instant::now();
    while discovered() < before + 8 {
        assert!(begin.elapsed() < SOON, "it is not looked again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    source.nothing_told();
    assert_eq!(of(&source.status.load()), (false, Some("projectcalico.org")));
    // Gone without a word of each: held as what a listing lacks.
    server.script(|_| None);
    server.serve_api(V3, &[]);
    server.serve_api(STORE, &[]);
    source.is("not served", |status| of(status) == (true, None)).await;
    source.is("held", |status| status.held.len() == 1 && status.held[0].count == 2).await;
    assert_eq!(source.status.load().held[0].resource, "globalnetworkpolicies.projectcalico.org");
    source.nothing_told();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_kind_that_may_not_be_read_or_found_out_keeps_nobody_out_of_sync() {
    let server = Server::start();
    server.set("nodes", &[node("n1", 1)]);
    server.serve_api(V3, &["globalnetworkpolicies"]);
    server.script(|request| {
        let is_hidden = request.discovered().is_some_and(|api| api.starts_with("policy."));
        let is_denied = request.resource == "globalnetworkpolicies" || is_hidden;
        match request.resource.as_str() {
            _ if is_denied => Some(Reply::status(403, "forbidden")),
            "clusternetworkpolicies" => Some(Reply::status(404, "no such thing")),
            _ => None,
        }
    });
    let mut source = Source::start(&server);
    source.tells(&["+Node/n1", "in sync"]).await;
    let status = source.status.load_full();
    let troubles: Vec<_> = status.troubles().collect();
    let [(resource, trouble)] = troubles.as_slice() else { panic!("{troubles:?}") };
    assert_eq!(resource.resource, "globalnetworkpolicies.projectcalico.org");
    assert!(trouble.next.contains("apiGroups: [\"projectcalico.org\"]"), "{trouble:?}");
    assert!(!status.is_connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_which_nobody_says_whether_it_is_there_is_waited_for() {
    let server = Server::start();
    server.serve_api(V3, &["globalnetworkpolicies"]);
    server.set("globalnetworkpolicies", &[global("a", &json!({}))]);
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    server.script(move |request| {
        let is_it = request.discovered().is_some_and(|api| api == V3);
        (is_it && is_broken.load(Ordering::Relaxed)).then(|| Reply::status(503, "unavailable"))
    });
    let mut source = Source::start(&server);
    source.is("failing", |status| status.troubles().count() > 0).await;
    let message = source.status.load().troubles().next().map(|(_, one)| one.message.clone());
    let message = message.expect("it fails");
    assert!(message.starts_with("discover ") && message.contains("503"), "{message}");
    assert!(!source.status.load().in_sync);
    source.nothing_told();
    broken.store(false, Ordering::Relaxed);
    source.tells(&["+GlobalNetworkPolicy a", "in sync"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_listing_is_held_reported_and_then_believed() {
    const HOLD: Duration = Duration::from_secs(3);
    let server = Server::start();
    let all = [node("n1", 1), node("n2", 2), node("n3", 3)];
    server.set("nodes", &all);
    server.set("pods", &[pod("web", 1)]);
    let mut source = Source::start_as(&server, "{token: t}", HOLD);
    source.tells(&["+Node/n1", "+Node/n2", "+Node/n3", "+Pod/a/web", "in sync"]).await;
    source.is("watching", KubernetesStatus::is_connected).await;
    server.set("nodes", &[]);
    let begin = Instant::now();
    server.say("nodes", &gone());
    source.is("holding", |status| !status.held.is_empty()).await;
    let held = source.status.load().held.clone();
    assert_eq!((held[0].resource, held[0].count, held[0].of), ("nodes", 3, 3));
    let report = timeout(SOON, source.reports.recv()).await.expect("a report").expect("it runs");
    assert_eq!(
        (report.subject, report.reason),
        (Subject::Node("n1".into()), Reason::DeletionsHeld)
    );
    assert!(
        report.message.starts_with("3 of 3 nodes are missing from a new listing"),
        "{}",
        report.message
    );
    source.is("watching", KubernetesStatus::is_connected).await;
    server.say("nodes", &event("ADDED", &all[1]));
    source.tells(&["-Node/n1", "-Node/n3"]).await;
    assert!(begin.elapsed() >= HOLD, "{:?}", begin.elapsed());
    source.is("over", |status| status.held.is_empty() && status.objects.nodes == 1).await;
    // Pods come and go.
    server.set("pods", &[]);
    server.say("pods", &gone());
    source.tells(&["-Pod/a/web"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_streamed_where_the_server_does_that() {
    let server = Server::start();
    server.set_version("34");
    let initial = |request: &Request| request.query.contains("sendInitialEvents=true");
    server.script(move |request| {
        if !initial(request) {
            return None;
        }
        let end = json!({"metadata": {"resourceVersion": "300",
            "annotations": {"k8s.io/initial-events-end": "true"}}});
        let mut lines = Vec::new();
        if request.resource == "nodes" {
            lines.extend([event("ADDED", &node("n1", 1)), event("ADDED", &node("n2", 2))]);
        }
        lines.push(event("BOOKMARK", &end));
        Some(Reply::Watch(lines))
    });
    let mut source = Source::start(&server);
    source.tells(&["+Node/n1", "+Node/n2", "in sync"]).await;
    server.say("nodes", &event("DELETED", &node("n2", 2)));
    source.tells(&["-Node/n2"]).await;
    let is_list = |r: &Request| r.discovered().is_none() && r.resource != "version";
    assert_eq!(asked(&server, |r| !r.is_watch() && is_list(r)), 0);
    assert_eq!(asked(&server, initial), 6, "one watch a kind does it all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_claims_to_stream_is_listed() {
    let server = Server::start();
    server.set_version("35+");
    server.set("nodes", &[node("n1", 1)]);
    server.script(|request| {
        let streams = request.query.contains("sendInitialEvents=true");
        streams.then(|| Reply::status(422, "sendInitialEvents: Forbidden"))
    });
    let mut source = Source::start(&server);
    source.tells(&["+Node/n1", "in sync"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_harms_no_other() {
    let server = Server::start();
    let bad = json!({"metadata": {"name": "bad"}, "spec": {"podCIDR": 7}});
    server.set("nodes", &[node("n1", 1), bad.clone(), node("n2", 2)]);
    let mut source = Source::start(&server);
    source.tells(&["+Node/n1", "+Node/n2", "in sync"]).await;
    let problems = source.status.load().problems.clone();
    assert_eq!(problems.iter().map(|p| p.object.as_str()).collect::<Vec<_>>(), ["Node/bad"]);
    assert_eq!(problems[0].field, "spec.podCIDR");
    source.is("watching", KubernetesStatus::is_connected).await;
    let mut worse = node("n2", 2);
    worse["status"] = json!({"addresses": 7});
    server.say("nodes", &event("MODIFIED", &worse));
    server.say("nodes", &event("MODIFIED", &node("n1", 11)));
    source.tells(&["+Node/n1"]).await;
    let names = |status: &KubernetesStatus| -> BTreeSet<String> {
        status.problems.iter().map(|problem| problem.object.clone()).collect()
    };
    source.is("in doubt", |status| names(status).contains("Node/n2")).await;
    // What no API server says: the connection is begun anew, and everything listed.
    server.set("nodes", &[node("n1", 11), bad, worse]);
    server.say("nodes", &json!("no event"));
    source.is("listed again", |status| status.resources[0].relists["invalid"] == 1).await;
    source.nothing_told();
}

#[test]
fn a_connection_into_nothing_is_noticed_within_a_minute() {
    if !skip::can_run("a_connection_into_nothing_is_noticed_within_a_minute", &[]) {
        return;
    }
    let lan = Lan::new();
    let (there, here) = (lan.host("api", 1), lan.host("node", 2));
    let server = there.netns.inside(|| Server::start_on(there.v4.into()));
    server.set("nodes", &[node("n1", 1)]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    here.netns.inside(|| {
        runtime().expect("a runtime").block_on(async {
            let mut source = Source::start(&server);
            source.tells(&["+Node/n1", "in sync"]).await;
            source.is("watching", KubernetesStatus::is_connected).await;
            lan.plug(1, false);
            let begin = Instant::now();
            source
                .is("broken", |s| s.resources.iter().all(|one| one.absent || one.trouble.is_some()))
                .await;
            let noticed = begin.elapsed();
            assert!(noticed < Duration::from_secs(60), "{noticed:?}");
            source.nothing_told();
            assert!(source.status.load().in_sync, "what was known stays in force");
            server.set("nodes", &[node("n1", 1), node("n2", 2)]);
            lan.plug(1, true);
            source.is("watching again", KubernetesStatus::is_connected).await;
        });
    });
}
