//! The `files` source on real folders.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use brindle::cluster::Change;
use brindle::cluster::files::{Batch, Counts, FilesStatus, read_once, watch};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Far longer than anything here takes, also on a busy machine; shorter than a rescan, so that
/// only events can be what made it work.
const DEADLINE: Duration = Duration::from_secs(20);

/// A Node with an address and a pod range that end in `number`.
fn node(name: &str, number: u8) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDRs: \
         [10.244.{number}.0/24]}}\nstatus: {{addresses: [{{type: InternalIP, address: \
         10.0.0.{number}}}]}}\n"
    )
}

/// A watched folder and what it says.
struct Watched {
    batches: mpsc::Receiver<Batch>,
    /// What was delivered and not looked at yet.
    changes: VecDeque<String>,
    status: Arc<ArcSwap<FilesStatus>>,
}

impl Watched {
    fn new(path: &Path) -> Self {
        let (batches, status) = watch(path.to_owned());
        Self { batches, changes: VecDeque::new(), status }
    }

    /// The next `count` changes, as text; of a node what routing hears.
    async fn next(&mut self, count: usize) -> Vec<String> {
        while self.changes.len() < count {
            match timeout(DEADLINE, self.batches.recv()).await {
                Ok(Some(batch)) => self.changes.extend(batch.into_iter().filter_map(shown)),
                Ok(None) => panic!("the source stopped after {:?}", self.changes),
                Err(_) => panic!("nothing after {:?}: {:#?}", self.changes, self.status.load()),
            }
        }
        self.changes.drain(..count).collect()
    }

    /// The next batch, likewise.
    async fn next_batch(&mut self) -> Vec<String> {
        assert!(self.changes.is_empty(), "not looked at yet: {:?}", self.changes);
        match timeout(DEADLINE, self.batches.recv()).await {
            Ok(Some(batch)) => batch.into_iter().filter_map(shown).collect(),
            other => panic!("no batch but {other:?}: {:#?}", self.status.load()),
        }
    }

    /// Waits until the status is as `wanted`.
    async fn until(&self, what: &str, wanted: impl Fn(&FilesStatus) -> bool) {
        let waited = timeout(DEADLINE, async {
            while !wanted(&self.status.load()) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "not {what}: {:#?}", self.status.load());
    }
}

/// A change as text; `None` for what is told of a node a second time, for policy.
fn shown(change: Change) -> Option<String> {
    use brindle_policy::Change as Policy;
    Some(match change {
        Change::NodeApplied(node) => format!("+{} {}", node.name, node.pod_cidrs[0]),
        Change::NodeDeleted(name) => format!("-{name}"),
        Change::BgpApplied(object) => format!("+{}", object.key()),
        Change::BgpDeleted(key) => format!("-{key}"),
        Change::ServiceApplied(service) => format!("+Service {}", service.name),
        Change::ServiceDeleted(name) => format!("-Service {name}"),
        Change::EndpointsChanged(..) => return None,
        Change::InSync => "in sync".to_owned(),
        Change::Policy(Policy::NamespaceApplied(namespace)) => {
            format!("+Namespace {} {:?}", namespace.name, namespace.labels)
        }
        Change::Policy(Policy::NamespaceDeleted(name)) => format!("-Namespace {name}"),
        Change::Policy(Policy::PodApplied(pod)) => format!("+{} {:?}", pod.key, pod.addresses),
        Change::Policy(Policy::PodDeleted(key)) => format!("-{key}"),
        Change::Policy(Policy::PolicyApplied(policy)) => {
            format!("+{} {} problems", policy.id, policy.problems.len())
        }
        Change::Policy(Policy::PolicyDeleted(id)) => format!("-{id}"),
        Change::Policy(Policy::NodeApplied(_) | Policy::NodeDeleted(_)) => return None,
        Change::Policy(Policy::Attached(_) | Policy::Detached(_)) => panic!("no manifest says so"),
        Change::Policy(other) if other != Policy::InSync => format!("{other:?}"),
        Change::Policy(_) => panic!("only Change::InSync says so"),
    })
}

/// An empty folder and the path of a file in it.
fn folder() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    (folder, move |name: &str| path.join(name))
}

/// Writes a new file in place, and an old one anew by renaming: truncated for a moment too long
/// on a busy machine, it would rightly count as empty.
fn write(path: &Path, text: impl AsRef<str>) {
    let target = if path.exists() { path.with_extension("new") } else { path.to_owned() };
    let written = fs::write(&target, text.as_ref()).and_then(|()| fs::rename(&target, path));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[tokio::test]
async fn each_change_of_a_file_is_told_as_exactly_that() {
    let (folder, file) = folder();
    write(&file("a.yaml"), node("n1", 1) + &node("n2", 2));
    write(&file("b.yml"), node("n3", 3));
    let mut source = Watched::new(folder.path());
    let all = ["+n1 10.244.1.0/24", "+n2 10.244.2.0/24", "+n3 10.244.3.0/24", "in sync"];
    assert_eq!(source.next(4).await, all);
    source.until("in sync", |s| s.in_sync && s.files == 2 && s.objects.nodes == 3).await;

    write(
        &file("c.json"),
        r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n4"},"spec":{"podCIDR":"10.244.4.0/24"}}"#,
    );
    assert_eq!(source.next(1).await, ["+n4 10.244.4.0/24"]);
    write(&file("a.yaml"), node("n1", 1) + &node("n2", 22));
    assert_eq!(source.next(1).await, ["+n2 10.244.22.0/24"]);
    fs::remove_file(file("b.yml")).expect("it is there");
    assert_eq!(source.next(1).await, ["-n3"]);
    // An atomic save: written aside, then renamed over.
    write(&file("a.yaml.tmp"), node("n1", 11) + &node("n2", 22));
    fs::rename(file("a.yaml.tmp"), file("a.yaml")).expect("one file system");
    assert_eq!(source.next(1).await, ["+n1 10.244.11.0/24"]);
    // Renamed away and back.
    fs::rename(file("a.yaml"), file("a.off")).expect("one file system");
    assert_eq!(source.next(2).await, ["-n1", "-n2"]);
    fs::rename(file("a.off"), file("a.yaml")).expect("one file system");
    assert_eq!(source.next(2).await, ["+n1 10.244.11.0/24", "+n2 10.244.22.0/24"]);
}

#[tokio::test]
async fn what_editors_leave_beside_a_file_says_nothing() {
    let (folder, file) = folder();
    write(&file("a.yaml"), node("n1", 1));
    let mut source = Watched::new(folder.path());
    source.next(2).await;
    for name in [".a.yaml.swp", ".a.yaml", "4913", "a.yaml~", "#a.yaml#", ".#a.yaml", "a.yaml.tmp"]
    {
        write(&file(name), node("wrong", 9));
    }
    fs::create_dir(file("folder.yaml")).expect("a new folder");
    symlink("nowhere.yaml", file("dangling.yaml")).expect("a new link");
    write(&file("b.yaml"), node("last", 2));
    assert_eq!(source.next(1).await, ["+last 10.244.2.0/24"]);
    source.until("two files", |s| s.files == 2 && s.problems.is_empty()).await;
}

#[tokio::test]
async fn a_broken_file_is_reported_and_keeps_its_content_until_it_is_good_again() {
    let (folder, file) = folder();
    write(&file("a.yaml"), node("n1", 1) + &node("n2", 2));
    let mut source = Watched::new(folder.path());
    source.next(3).await;
    write(&file("a.yaml"), node("n1", 9) + "---\nkind: [\n");
    source.until("reported", |s| s.problems.len() == 1).await;
    let problem = source.status.load().problems[0].clone();
    assert_eq!((problem.file.as_str(), problem.document), ("a.yaml", Some(2)));
    assert_eq!(problem.line, Some(9));
    assert_eq!(source.status.load().objects.nodes, 2);
    write(&file("a.yaml"), node("n1", 9) + &node("n2", 2));
    assert_eq!(source.next(1).await, ["+n1 10.244.9.0/24"]);
    source.until("well", |s| s.problems.is_empty()).await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_yet_is_waited_for() {
    let (_folder, file) = folder();
    let late = file("etc/brindle/manifests");
    let mut source = Watched::new(&late);
    source.until("reported", |s| s.folder_problem.is_some() && !s.in_sync).await;
    assert!(source.batches.try_recv().is_err(), "nothing is known yet");
    fs::create_dir_all(&late).expect("new folders");
    assert_eq!(source.next(1).await, ["in sync"]);
    write(&late.join("a.yaml"), node("n1", 1));
    assert_eq!(source.next(1).await, ["+n1 10.244.1.0/24"]);
    source.until("well", |s| s.folder_problem.is_none()).await;
}

#[tokio::test]
async fn a_folder_that_goes_away_takes_nothing_with_it() {
    let (_folder, file) = folder();
    let manifests = file("manifests");
    fs::create_dir(&manifests).expect("a new folder");
    write(&manifests.join("a.yaml"), node("n1", 1));
    write(&manifests.join("b.yaml"), node("n2", 2));
    let mut source = Watched::new(&manifests);
    source.next(3).await;
    fs::rename(&manifests, file("elsewhere")).expect("one file system");
    source.until("reported", |s| s.folder_problem.is_some() && s.objects.nodes == 2).await;
    // Another folder of that name, not the one that was watched.
    let fresh = file("fresh");
    fs::create_dir(&fresh).expect("a new folder");
    write(&fresh.join("a.yaml"), node("n1", 1));
    fs::rename(&fresh, &manifests).expect("one file system");
    assert_eq!(source.next(1).await, ["-n2"]);
    write(&manifests.join("c.yaml"), node("n3", 3));
    assert_eq!(source.next(1).await, ["+n3 10.244.3.0/24"]);
}

#[tokio::test]
async fn a_mounted_config_map_changes_as_a_whole() {
    let (folder, file) = folder();
    let version = |name: &str, text: &str| {
        fs::create_dir(file(name)).expect("a new folder");
        write(&file(name).join("nodes.yaml"), text);
    };
    version("..2026_01", &node("n1", 1));
    symlink("..2026_01", file("..data")).expect("a new link");
    symlink("..data/nodes.yaml", file("nodes.yaml")).expect("a new link");
    let mut source = Watched::new(folder.path());
    assert_eq!(source.next(2).await, ["+n1 10.244.1.0/24", "in sync"]);
    version("..2026_02", &node("n2", 2));
    symlink("..2026_02", file("..data_tmp")).expect("a new link");
    fs::rename(file("..data_tmp"), file("..data")).expect("one file system");
    assert_eq!(source.next(2).await, ["-n1", "+n2 10.244.2.0/24"]);
}

#[tokio::test]
async fn a_link_to_a_folder_may_point_to_another_one() {
    let (_folder, file) = folder();
    for (name, number) in [("one", 1), ("two", 2)] {
        fs::create_dir(file(name)).expect("a new folder");
        write(&file(name).join("a.yaml"), node("n1", number));
    }
    symlink("one", file("manifests")).expect("a new link");
    let mut source = Watched::new(&file("manifests"));
    assert_eq!(source.next(2).await, ["+n1 10.244.1.0/24", "in sync"]);
    symlink("two", file("new")).expect("a new link");
    fs::rename(file("new"), file("manifests")).expect("one file system");
    assert_eq!(source.next(1).await, ["+n1 10.244.2.0/24"]);
    write(&file("two/b.yaml"), node("n2", 3));
    assert_eq!(source.next(1).await, ["+n2 10.244.3.0/24"]);
}

#[tokio::test]
async fn many_changes_reach_a_slow_listener_whole_and_in_order() {
    let (folder, file) = folder();
    let text: String = (0..1000u16).map(|n| node(&format!("n{n:04}"), (n % 250) as u8)).collect();
    write(&file("a.yaml"), &text);
    let mut source = Watched::new(folder.path());
    let first = source.next(1001).await;
    assert_eq!((first[0].as_str(), first[1000].as_str()), ("+n0000 10.244.0.0/24", "in sync"));
    fs::remove_file(file("a.yaml")).expect("it is there");
    let gone = source.next(1000).await;
    assert_eq!((gone[0].as_str(), gone[999].as_str()), ("-n0000", "-n0999"));
}

#[tokio::test]
async fn the_source_stops_when_nobody_listens() {
    let (folder, _) = folder();
    let mut source = Watched::new(folder.path());
    source.next(1).await;
    let Watched { batches, status, .. } = source;
    drop(batches);
    let stopped = timeout(DEADLINE, async {
        while Arc::strong_count(&status) > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(stopped.await.is_ok(), "the task still holds its status");
}

const SHOP: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

fn pod(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: \
         {{app: web}}}}\nspec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: http, \
         containerPort: 80}}]}}]}}\nstatus: {{phase: Running, podIP: {address}, podIPs: [{{ip: \
         {address}}}]}}\n"
    )
}

fn policy(name: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec: {{podSelector: {{}}}}\n"
    )
}

#[tokio::test]
async fn one_look_at_the_folder_is_one_batch() {
    let (folder, file) = folder();
    write(&file("a.yaml"), SHOP.to_owned() + &pod("web", "10.1.0.1") + &policy("deny"));
    let mut source = Watched::new(folder.path());
    let shop = "+Namespace shop {\"kubernetes.io/metadata.name\": \"shop\"}";
    let first = [shop, "+shop/web [10.1.0.1]", "+NetworkPolicy shop/deny 0 problems", "in sync"];
    assert_eq!(source.next_batch().await, first);
    write(&file("a.yaml"), SHOP.to_owned() + &pod("web", "10.1.0.2") + &policy("closed"));
    let renamed = [
        "-NetworkPolicy shop/deny",
        "+shop/web [10.1.0.2]",
        "+NetworkPolicy shop/closed 0 problems",
    ];
    assert_eq!(source.next_batch().await, renamed, "no moment without a policy");
    let counts = Counts { namespaces: 1, pods: 1, policies: 1, ..Counts::default() };
    source.until("counted", |s| s.objects == counts).await;
}

/// A tier, a host endpoint, a set, and policies of three languages about them.
const CALICO: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.hosts}
spec: {tier: security, selector: role == 'edge', types: [Ingress]}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 10}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1, labels: {role: edge}}
spec: {node: n1, interfaceName: '*'}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: deny}, spec: {}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: deny}
spec: {tier: Baseline, priority: 1, subject: {namespaces: {}}}
";

#[tokio::test]
async fn policies_of_every_language_come_after_what_they_are_about_and_go() {
    let (folder, file) = folder();
    write(&file("a.yaml"), CALICO);
    write(&file("b.yaml"), policy("deny"));
    let mut source = Watched::new(folder.path());
    let words: Vec<String> = source.next_batch().await;
    let firsts: Vec<String> = words
        .iter()
        .map(|word| word.chars().take_while(|c| *c != '(').collect::<String>())
        .collect();
    assert_eq!(
        firsts,
        [
            "TierApplied",
            "HostEndpointApplied",
            "+NetworkPolicy shop/deny 0 problems",
            "+CalicoNetworkPolicy default/deny 0 problems",
            "+GlobalNetworkPolicy security.hosts 0 problems",
            "+ClusterNetworkPolicy deny 0 problems",
            "in sync",
        ]
    );
    let counts = Counts { tiers: 1, host_endpoints: 1, policies: 4, ..Counts::default() };
    source.until("counted", |s| s.objects == counts && s.problems.is_empty()).await;
    // Mistyped, a policy closes, and says where.
    write(&file("a.yaml"), CALICO.replace("selector:", "selectr:"));
    assert_eq!(source.next(1).await, ["+GlobalNetworkPolicy security.hosts 1 problems"]);
    source
        .until("reported", |s| {
            let fields: Vec<_> = s.problems.iter().map(|p| p.field.as_deref()).collect();
            fields == [Some("spec.selectr")]
        })
        .await;
    fs::remove_file(file("a.yaml")).expect("it is there");
    assert_eq!(source.next_batch().await.len(), 5);
    source.until("gone", |s| s.objects.policies == 1 && s.objects.tiers == 0).await;
}

#[test]
fn a_folder_or_a_file_can_be_read_just_once() {
    let (folder, file) = folder();
    write(&file("a.yaml"), SHOP.to_owned() + &pod("web", "10.1.0.1"));
    write(&file("b.yaml"), policy("deny") + &policy("deny"));
    write(&file("c.txt"), policy("other"));
    let read = |path: &Path| {
        let (changes, problems) = read_once(path);
        let changes: Vec<String> = changes.into_iter().filter_map(shown).collect();
        (changes, problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (changes, problems) = read(folder.path());
    assert_eq!(changes.len(), 4, "{changes:?}");
    assert_eq!(changes[2..], ["+NetworkPolicy shop/deny 0 problems", "in sync"]);
    let twice =
        "b.yaml:6: document 2: NetworkPolicy/shop/deny: is in b.yaml:1 already, which counts";
    assert_eq!(problems, [twice]);
    let (changes, problems) = read(&file("c.txt"));
    assert_eq!(changes, ["+NetworkPolicy shop/other 0 problems", "in sync"]);
    assert!(problems.is_empty(), "{problems:?}");
    let (changes, problems) = read(&file("nowhere.yaml"));
    assert_eq!(
        (changes, problems),
        (vec!["in sync".to_owned()], vec!["nowhere.yaml: there is no such file".to_owned()])
    );
}
