//! What a lab has in place of scheduler, kubelets and the controller manager: one process that
//! gives pods a node, a network namespace and a cable, says that they run, and takes all that
//! back; and that empties namespaces which are to go.

mod deeds;
mod namespaces;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Error};
use serde_json::json;

use self::deeds::{Deed, Seen, decide};
use super::apiserver;
use super::connected::{self, Connected};
use super::kube::setup;
use super::plan::Pod as LabPod;
use super::runtime;
use super::state::Lab;

/// How soon what failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Plays kubelet for the lab in `dir` until it is killed. Must run where the API server is.
///
/// # Errors
/// It is no lab with an API server.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    let lab = Lab::open_in(dir)?;
    let kubeconfig = setup(&lab)?.kubeconfig();
    let connected = connected::read(dir)?;
    let (lab, said) = (Arc::new(lab), BTreeSet::new());
    apiserver::ask(&kubeconfig, None, |client| Kubelet { lab, client, connected, said }.work())
}

struct Kubelet {
    lab: Arc<Lab>,
    client: Client,
    connected: Vec<Connected>,
    /// What failed in the round before: said once, however often it is tried.
    said: BTreeSet<String>,
}

impl Kubelet {
    async fn work(mut self) -> anyhow::Result<()> {
        let (pods, pod_writer) = reflector::store::<Pod>();
        let (spaces, space_writer) = reflector::store::<Namespace>();
        let watch_pods = watcher(Api::all(self.client.clone()), watcher::Config::default());
        let watch_spaces = watcher(Api::all(self.client.clone()), watcher::Config::default());
        let mut pod_events = reflector(pod_writer, watch_pods).default_backoff().boxed();
        let mut space_events = reflector(space_writer, watch_spaces).default_backoff().boxed();
        let mut complete = (false, false);
        loop {
            tokio::select! {
                event = pod_events.next() => complete.0 |= is_complete(event)?,
                event = space_events.next() => complete.1 |= is_complete(event)?,
                () = tokio::time::sleep(AGAIN), if !self.said.is_empty() => {}
            }
            // what has come meanwhile is looked at together
            while let Some(event) = pod_events.next().now_or_never() {
                complete.0 |= is_complete(event)?;
            }
            while let Some(event) = space_events.next().now_or_never() {
                complete.1 |= is_complete(event)?;
            }
            // before everything is known, a pod would look as if it were gone
            if complete != (true, true) {
                continue;
            }
            let mut wrong = BTreeSet::new();
            let seen: Vec<Seen> = pods.state().iter().map(|pod| Seen::of(pod)).collect();
            let mut connecting = FuturesUnordered::new();
            for deed in decide(&seen, &self.connected, &self.lab.state.plan) {
                let what = deed.to_string();
                match deed {
                    // they wait for agents: all together, and not one for the other
                    Deed::Connect(pod, node) => connecting.push(self.connect(pod, node)),
                    deed => {
                        let done = self.carry_out(deed).await;
                        wrong.extend(done.err().map(|error| format!("{what}: {error:#}")));
                    }
                }
            }
            while let Some((pod, done)) = connecting.next().await {
                let told = match done {
                    Ok(own) => self.keep(&pod, own).await,
                    Err(error) => Err(error),
                };
                let name = format!("{}/{}", pod.namespace, pod.name);
                wrong.extend(told.err().map(|error| format!("cannot connect {name}: {error:#}")));
            }
            for space in spaces.state() {
                let done = namespaces::look_after(&self.client, &space).await;
                let name = space.metadata.name.clone().unwrap_or_default();
                wrong.extend(done.err().map(|error| format!("namespace {name}: {error:#}")));
            }
            wrong.difference(&self.said).for_each(|text| eprintln!("{text}"));
            self.said = wrong;
        }
    }

    /// Connects a pod on a thread of its own.
    fn connect(
        &self,
        pod: Seen,
        node: String,
    ) -> impl Future<Output = (Seen, anyhow::Result<Connected>)> + use<> {
        let lab = Arc::clone(&self.lab);
        async move {
            let (name, namespace) = lab.state.options.pod_names(&pod.namespace, &pod.name);
            let own = LabPod {
                name,
                namespace,
                kube_namespace: pod.namespace.clone(),
                interface: String::new(),
                addresses: Vec::new(),
            };
            let wanted = Connected { uid: pod.uid.clone(), node, pod: own };
            let work = move || runtime::connect(&lab, wanted);
            let done = tokio::task::spawn_blocking(work).await;
            (pod, done.unwrap_or_else(|panic| Err(panic.into())))
        }
    }

    /// Notes a pod down as connected, and says that it runs.
    async fn keep(&mut self, pod: &Seen, own: Connected) -> anyhow::Result<()> {
        let (node, addresses) = (own.node.clone(), own.pod.addresses.clone());
        self.connected.push(own);
        connected::write(&self.lab.dir, &self.connected)?;
        self.tell(pod, &node, &addresses).await
    }

    async fn carry_out(&mut self, deed: Deed) -> anyhow::Result<()> {
        match deed {
            Deed::Disconnect(uid) => {
                for gone in self.connected.iter().filter(|c| c.uid == uid) {
                    let (lab, gone) = (Arc::clone(&self.lab), gone.clone());
                    let work = move || runtime::disconnect(&lab, &gone);
                    tokio::task::spawn_blocking(work).await??;
                }
                self.connected.retain(|c| c.uid != uid);
                connected::write(&self.lab.dir, &self.connected)
            }
            Deed::Remove(pod) => {
                let now = DeleteParams {
                    grace_period_seconds: Some(0),
                    preconditions: Some(Preconditions {
                        uid: Some(pod.uid.clone()),
                        resource_version: None,
                    }),
                    ..DeleteParams::default()
                };
                let deleted = self.pods(&pod).delete(&pod.name, &now).await;
                unless_gone(deleted.map(drop)).context("cannot delete")
            }
            Deed::Bind(pod, node) => {
                let (namespace, name) = (&pod.namespace, &pod.name);
                let binding = json!({
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node},
                });
                let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
                let request = hyper::Request::post(path)
                    .header("content-type", "application/json")
                    .body(binding.to_string().into_bytes())
                    .context("request")?;
                let bound = self.client.request_text(request).await.map(drop);
                unless_gone(bound).context("cannot bind")
            }
            Deed::Connect(pod, node) => {
                let (pod, own) = self.connect(pod, node).await;
                self.keep(&pod, own?).await
            }
            Deed::Tell(pod, node, addresses) => self.tell(&pod, &node, &addresses).await,
        }
    }

    /// Says that the pod runs at these addresses.
    async fn tell(
        &self,
        pod: &Seen,
        node: &str,
        addresses: &[std::net::IpAddr],
    ) -> anyhow::Result<()> {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}));
        let containers = pod.containers.iter().map(|(name, image)| {
            json!({
                "name": name, "image": image, "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": {"running": {"startedAt": now}},
            })
        });
        let host = self.lab.state.plan.node(node).and_then(|node| node.ips().next());
        let status = json!({"metadata": {"uid": pod.uid}, "status": {
            "phase": "Running",
            "hostIP": host,
            "podIP": addresses.first(),
            "podIPs": addresses.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
            "startTime": now,
            "conditions": conditions,
            "containerStatuses": containers.collect::<Vec<_>>(),
        }});
        let patch = Patch::Merge(&status);
        let told = self.pods(pod).patch_status(&pod.name, &PatchParams::default(), &patch).await;
        unless_gone(told.map(drop)).context("cannot tell that it runs")
    }

    fn pods(&self, pod: &Seen) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }
}

/// Whether this event ends the first list. What fails is tried again by the watch itself.
fn is_complete<K>(
    event: Option<Result<watcher::Event<K>, watcher::Error>>,
) -> anyhow::Result<bool> {
    match event.context("a watch has ended")? {
        Ok(event) => Ok(matches!(event, watcher::Event::InitDone)),
        Err(error) => {
            eprintln!("watch: {error}");
            Ok(false)
        }
    }
}

/// Nothing is wrong if the object is gone, or another one, by now: we are about to hear of it.
fn unless_gone(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        done => done,
    }
}
