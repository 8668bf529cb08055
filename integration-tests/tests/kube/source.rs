//! The `kubernetes` source against a real API server: what comes, changes and goes; a server
//! that is killed and comes back; a token with few rights; and an agent that shows it all.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use brindle::cluster::Change;
use brindle::cluster::files::Batch;
use brindle::cluster::kubernetes::client::ClientSettings;
use brindle::cluster::kubernetes::{CurrentTrouble, KubernetesStatus, Settings, watch};
use brindle::cluster::report::Reporter;
use brindle_policy::Change as PolicyChange;
use integration_tests::wait::{SOON, met, throughout, until};
use integration_tests::{ApiServer, Process, agent};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A source in a runtime of its own, so that tests may wait as usual.
struct Source {
    changes: mpsc::Receiver<Batch>,
    status: Arc<ArcSwap<KubernetesStatus>>,
    runtime: Runtime,
}

impl Source {
    fn start(kubeconfig: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let client = ClientSettings { kubeconfig: Some(kubeconfig.to_owned()), context: None };
        let settings = Settings {
            client,
            hold_deletions: Duration::from_secs(60),
            node: "n1".into(),
            secrets: false,
        };
        let (changes, status) = runtime.block_on(async { watch(settings, Reporter::none()) });
        Self { changes, status, runtime }
    }

    /// Waits until all of these were told, in any order, and nothing else.
    #[track_caller]
    fn tells(&mut self, want: &[&str]) {
        let mut told = Vec::new();
        while told.len() < want.len() {
            let batch = self.runtime.block_on(async { timeout(SOON, self.changes.recv()).await });
            let batch =
                batch.unwrap_or_else(|_| panic!("told {told:?}, {:#?}", self.status.load()));
            told.extend(shown(batch.expect("it runs")));
        }
        told.sort();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(told, want);
    }

    fn nothing_told(&mut self) -> Result<(), String> {
        self.changes.try_recv().map_or(Ok(()), |batch| Err(format!("{:?}", shown(batch))))
    }

    #[track_caller]
    fn is(&self, what: &str, holds: impl Fn(&KubernetesStatus) -> bool) {
        until(what, SOON, || {
            let status = self.status.load();
            met(holds(&status), || format!("{status:#?}"))
        });
    }
}

fn shown(batch: Batch) -> Vec<String> {
    let shown = |change: Change| match change {
        Change::NodeApplied(node) => {
            let cidrs: Vec<_> = node.pod_cidrs.iter().map(ToString::to_string).collect();
            Some(format!("+Node/{} {}", node.name, cidrs.join(",")))
        }
        Change::NodeDeleted(name) => Some(format!("-Node/{name}")),
        Change::BgpApplied(object) => Some(format!("+{}", object.key())),
        Change::BgpDeleted(key) => Some(format!("-{key}")),
        // Every server has one of itself.
        Change::ServiceApplied(one) if &*one.name.name != "kubernetes" => {
            let external: Vec<_> = one.external_ips.iter().map(ToString::to_string).collect();
            Some(format!("+Service {} {}", one.name, external.join(" ")))
        }
        Change::ServiceDeleted(name) => Some(format!("-Service {name}")),
        Change::ServiceApplied(_) | Change::EndpointsChanged(..) => None,
        Change::InSync => Some("in sync".to_owned()),
        Change::Policy(PolicyChange::PodApplied(pod)) => {
            Some(format!("+Pod/{} {:?}", pod.key, pod.addresses))
        }
        Change::Policy(PolicyChange::PodDeleted(key)) => Some(format!("-Pod/{key}")),
        Change::Policy(PolicyChange::PolicyApplied(policy)) => Some(format!("+{}", policy.id)),
        Change::Policy(PolicyChange::PolicyDeleted(id)) => Some(format!("-{id}")),
        Change::Policy(PolicyChange::NamespaceApplied(one)) if !is_given(&one.name) => {
            Some(format!("+Namespace/{}", one.name))
        }
        Change::Policy(PolicyChange::TierApplied(tier)) => Some(format!("+Tier {}", tier.name)),
        Change::Policy(_) => None,
    };
    batch.into_iter().filter_map(shown).collect()
}

/// Namespaces that every API server makes, sooner or later.
fn is_given(namespace: &str) -> bool {
    namespace == "default" || namespace.starts_with("kube-")
}

fn node(name: &str, number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDR: \
         10.244.{number}.0/24, podCIDRs: [10.244.{number}.0/24]}}\n---\n"
    )
}

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: \
         {{nodeName: n1, automountServiceAccountToken: false, containers: [{{name: main, image: \
         any}}]}}\n---\n"
    )
}

const SHOP: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: \
                    v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: shop}\n---\n";
const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \
                      closed, namespace: shop}\nspec: {podSelector: {}}\n---\n";

#[test]
fn objects_come_change_and_go_and_a_lost_server_changes_nothing() {
    let Some(mut api) =
        ApiServer::start("objects_come_change_and_go_and_a_lost_server_changes_nothing")
    else {
        return;
    };
    api.apply(&format!("{SHOP}{}{}", node("n1", 1), pod("web")));
    let mut source = Source::start(&api.kubeconfig());
    source.tells(&["+Node/n1 10.244.1.0/24", "+Namespace/shop", "+Pod/shop/web []", "in sync"]);
    source.is("watching", KubernetesStatus::is_connected);

    api.apply(&format!("{POLICY}{}", node("n2", 2)));
    source.tells(&["+NetworkPolicy shop/closed", "+Node/n2 10.244.2.0/24"]);
    let patch =
        r#"{"status":{"podIPs":[{"ip":"10.244.1.7"}],"podIP":"10.244.1.7","phase":"Running"}}"#;
    set_status(&api, "web", patch);
    source.tells(&["+Pod/shop/web [10.244.1.7]"]);
    api.kubectl(&["delete", "networkpolicy", "closed", "-n", "shop"]);
    source.tells(&["-NetworkPolicy shop/closed"]);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: \
                   {externalIPs: [192.0.2.1], ports: [{port: 80}]}\n";
    api.apply(service);
    source.tells(&["+Service shop/web 192.0.2.1"]);
    // What says nothing to us is not told.
    api.kubectl(&["annotate", "node", "n2", "other.example.org/x=1"]);

    api.stop();
    source.is("not watching", |status| {
        status.resources.iter().all(|one| one.absent || one.trouble.is_some())
    });
    throughout("nothing changes without the API server", Duration::from_secs(3), || {
        source.nothing_told()?;
        met(source.status.load().in_sync, || "not in sync".to_owned())
    });
    let trouble = source.status.load().resources[0].trouble.clone().expect("no server");
    assert!(trouble.next.contains("see whether the API server runs"), "{trouble:?}");
    api.start_again();
    source.is("watching again", KubernetesStatus::is_connected);
    api.apply(&node("n3", 3));
    source.tells(&["+Node/n3 10.244.3.0/24"]);
    api.kubectl(&["delete", "node", "n2"]);
    api.kubectl(&["delete", "pod", "web", "-n", "shop", "--force", "--grace-period=0"]);
    api.kubectl(&["delete", "service", "web", "-n", "shop"]);
    source.tells(&["-Node/n2", "-Pod/shop/web", "-Service shop/web"]);
    source.nothing_told().expect("nothing else");
}

/// Why a resource is not watched, if it is not.
fn trouble_of(status: &KubernetesStatus, resource: &str) -> Option<CurrentTrouble> {
    let found = status.resources.iter().find(|one| one.resource == resource);
    found.expect("it is known").trouble.clone()
}

/// A CustomResourceDefinition that takes anything.
fn definition(group: &str, version: &str, kind: &str, plural: &str, scope: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: \
         {plural}.{group}, annotations: {{api-approved.kubernetes.io: 'unapproved, for a test'}}}}\n\
         spec:\n  group: {group}\n  scope: {scope}\n  names: {{kind: {kind}, plural: {plural}, \
         singular: {singular}}}\n  versions:\n  - name: {version}\n    served: true\n    storage: \
         true\n    schema: {{openAPIV3Schema: {{type: object, \
         x-kubernetes-preserve-unknown-fields: true}}}}\n---\n"
    )
}

/// Applies them and waits until the server has them.
fn define(api: &ApiServer, definitions: &[(&str, &str, &str, &str, &str)]) {
    for (group, version, kind, plural, scope) in definitions {
        api.apply(&definition(group, version, kind, plural, scope));
        let name = format!("crd/{plural}.{group}");
        api.kubectl(&["wait", "--for=condition=Established", "--timeout=20s", &name]);
    }
}

const CALICO: &str = "projectcalico.org";

#[test]
fn kinds_come_and_go_while_the_source_runs() {
    let Some(api) = ApiServer::start("kinds_come_and_go_while_the_source_runs") else { return };
    let mut source = Source::start(&api.kubeconfig());
    source.tells(&["in sync"]);
    let absent = |status: &KubernetesStatus| {
        let absent = status.resources.iter().filter(|one| one.absent);
        absent.map(|one| one.plural).collect::<Vec<_>>()
    };
    source.is("watching", |status| status.is_connected() && absent(status).len() == 14);

    define(
        &api,
        &[
            (CALICO, "v3", "GlobalNetworkPolicy", "globalnetworkpolicies", "Cluster"),
            (CALICO, "v3", "NetworkPolicy", "networkpolicies", "Namespaced"),
            (CALICO, "v3", "Tier", "tiers", "Cluster"),
            (
                "policy.networking.k8s.io",
                "v1alpha2",
                "ClusterNetworkPolicy",
                "clusternetworkpolicies",
                "Cluster",
            ),
        ],
    );
    api.apply(
        "---\n{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: deny}, \
         spec: {tier: security}}\n---\n{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, \
         metadata: {name: deny, namespace: default}, spec: {}}\n---\n{apiVersion: \
         projectcalico.org/v3, kind: Tier, metadata: {name: security}, spec: {order: 10}}\n---\n\
         {apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: \
         {name: deny}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}\n",
    );
    source.tells(&[
        "+CalicoNetworkPolicy default/deny",
        "+ClusterNetworkPolicy deny",
        "+GlobalNetworkPolicy deny",
        "+Tier security",
    ]);
    source.is("four more", |status| status.is_connected() && absent(status).len() == 10);
    // Changed live, and wrong: closed, and said so.
    let patch = r#"{"spec":{"selectr":"app == 'x'"}}"#;
    let words = ["patch", "globalnetworkpolicies.projectcalico.org", "deny", "--type=merge", "-p"];
    api.kubectl(&[&words[..], &[patch]].concat());
    source.tells(&["+GlobalNetworkPolicy deny"]);
    source.is("in doubt", |status| {
        let problems: Vec<_> = status.problems.iter().map(|one| one.field.as_str()).collect();
        problems == ["spec.selectr"]
    });

    // A kind that is taken away takes its objects along, and no others.
    api.kubectl(&["delete", "crd", "globalnetworkpolicies.projectcalico.org"]);
    source.tells(&["-GlobalNetworkPolicy deny"]);
    source.is("not served", |status| {
        status.is_connected() && absent(status).contains(&"globalnetworkpolicies")
    });
    assert!(source.status.load().in_sync && source.status.load().held.is_empty());
    assert_eq!(source.status.load().objects.policies, 2);
}

/// Sets a pod's status, which is a kubelet's work.
fn set_status(api: &ApiServer, pod: &str, patch: &str) {
    let patch: Value = serde_json::from_str(patch).expect("JSON");
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(api.client().await, "shop");
        let how = kube::api::PatchParams::default();
        pods.patch_status(pod, &how, &kube::api::Patch::Merge(&patch)).await.expect("a patch");
    });
}

#[test]
fn thousands_of_objects_come_in_pages() {
    let Some(api) = ApiServer::start("thousands_of_objects_come_in_pages") else { return };
    let nodes: String = (0..1_200).map(|number| node(&format!("n{number}"), 1)).collect();
    api.apply(
        &nodes.replace("spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24]}", "spec: {}"),
    );
    let source = Source::start(&api.kubeconfig());
    source.is("in sync", |status| status.in_sync);
    assert_eq!(source.status.load().objects.nodes, 1_200);
}

#[test]
fn whoever_may_not_is_told_what_to_grant() {
    let Some(api) = ApiServer::start("whoever_may_not_is_told_what_to_grant") else { return };
    let role = |resources: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: \
             watcher}}\nrules: [{{apiGroups: [\"\", networking.k8s.io], resources: \
             [{resources}], verbs: [list, watch]}}]\n---\n"
        )
    };
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: watcher, namespace: \
                   kube-system}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: \
                   ClusterRoleBinding\nmetadata: {name: watcher}\nroleRef: {apiGroup: \
                   rbac.authorization.k8s.io, kind: ClusterRole, name: watcher}\nsubjects: \
                   [{kind: ServiceAccount, name: watcher, namespace: kube-system}]\n---\n";
    api.apply(&format!(
        "{account}{}{}",
        role("nodes, namespaces, serviceaccounts, networkpolicies"),
        node("n1", 1)
    ));
    let token = api.create_token("kube-system", "watcher");
    let mut source = Source::start(&api.kubeconfig_with_token("watcher", &token));
    let pods = |status: &KubernetesStatus| trouble_of(status, "pods");
    source.is("refused", |status| pods(status).is_some());
    source.is("watching the others", |status| {
        // Nor may it read Services and EndpointSlices, which it could do without.
        let others = status.resources.iter().filter(|one| !one.absent && one.trouble.is_none());
        others.into_iter().all(|one| one.watching) && status.troubles().count() == 3
    });
    let trouble = pods(&source.status.load()).expect("it may not");
    assert!(trouble.message.starts_with("list pods is forbidden (403 "), "{trouble:?}");
    assert_eq!(
        trouble.next,
        "grant the verbs \"list\" and \"watch\" on pods (apiGroups: [\"\"]) to \
         system:serviceaccount:kube-system:watcher, in a ClusterRole with a ClusterRoleBinding"
    );
    api.apply(&role("nodes, namespaces, serviceaccounts, pods, networkpolicies"));
    source.tells(&["+Node/n1 10.244.1.0/24", "in sync"]);
}

/// An agent with neither routes nor policies: it touches nothing of the machine.
struct Node {
    _process: Process,
    folder: TempDir,
}

impl Node {
    fn start(kubeconfig: &Path) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let text = format!(
            "node: {{name: n1}}\nbgp: {{enabled: false}}\ntelemetry: {{listen: [{}]}}\nsource: \
             {{kind: kubernetes, kubeconfig: {}}}\ncontrol: {{socket: {}}}\n",
            free.expect("a free port"),
            kubeconfig.display(),
            at("brindle.sock"),
        );
        fs::write(at("brindle.yaml"), text).expect("the folder is ours");
        let config = at("brindle.yaml");
        let args = ["agent", "--config", &config].map(std::ffi::OsString::from);
        let process = Process::start_here("brindle", folder.path(), agent::binary(), &args);
        Self { _process: process.expect("the agent starts"), folder }
    }

    fn run(&self, words: &[&str]) -> String {
        let output = std::process::Command::new(agent::binary())
            .args(words)
            .arg("--socket")
            .arg(self.folder.path().join("brindle.sock"))
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn shows(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, SOON, || {
            let text = self.run(&["status", "-o", "json"]);
            let status: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
            met(holds(&status), || status.to_string()).map(|()| status)
        })
    }
}

#[test]
fn an_agent_shows_how_its_api_server_is() {
    let Some(mut api) = ApiServer::start("an_agent_shows_how_its_api_server_is") else { return };
    api.apply(&format!("{SHOP}{POLICY}{}{}{}", node("n1", 1), node("n2", 2), pod("web")));
    let node = Node::start(&api.kubeconfig());
    // What follows from the objects is shown a moment after that they are all known.
    let status = node.shows("in sync", |status| {
        let source = &status["source"];
        let is_in_sync = source["inSync"] == true && source["kubernetes"]["connected"] == true;
        is_in_sync && status["podCIDRs"] == serde_json::json!(["10.244.1.0/24"])
    });
    let line = |text: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with("Kubernetes "));
        found.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let text = line(&node.run(&["status"]));
    assert!(text.contains("connected, in sync "), "{text}");
    assert!(text.contains(" (2 nodes, 1 pods, 1 policies)"), "{text}");
    let at = status["telemetry"]["listen"][0].as_str().expect("an address").to_owned();
    let metrics = get(&at, "/metrics");
    for want in [
        "brindle_in_sync{source=\"kubernetes\"} 1.0",
        "brindle_kube_watch_up{resource=\"networkpolicies\"} 1.0",
        "brindle_kube_objects{resource=\"nodes\"} 2.0",
        "brindle_kube_relists_total{resource=\"pods\",reason=\"gone\"} 0.0",
        "brindle_kube_watch_age_seconds{resource=\"pods\"} ",
    ] {
        assert!(metrics.contains(want), "{want}\n{metrics}");
    }
    api.stop();
    let status = node.shows("not connected", |status| {
        status["healthy"] == false && status["source"]["kubernetes"]["connected"] == false
    });
    assert_eq!(status["source"]["inSync"], true);
    assert_eq!(status["source"]["nodes"], 2);
    let text = line(&node.run(&["status"]));
    assert!(text.contains("NOT connected, in sync ") && text.contains("(2 nodes"), "{text}");
    assert!(get(&at, "/readyz").starts_with("HTTP/1.1 200"), "{}", get(&at, "/readyz"));
    assert!(get(&at, "/livez").starts_with("HTTP/1.1 200"));
    let metrics = get(&at, "/metrics");
    assert!(metrics.contains("brindle_kube_errors_total{resource="), "{metrics}");
    api.start_again();
    node.shows("connected again", |status| status["source"]["kubernetes"]["connected"] == true);
}

/// What is answered over HTTP, head and body.
fn get(at: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}
