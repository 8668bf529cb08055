//! How soon a change of an object is enforced in a cluster with a real API server: from the
//! server's answer to who changed it, to what a node's kernel holds; and what the agent needs.

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use brindle::lab::state::{Lab, Place};
use brindle::lab::{apiserver, kube as lab_kube, netns};
use futures::stream::{self, StreamExt, TryStreamExt};
use integration_tests::TestLab;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::serde::Serialize;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::changes::Latencies;

const NAME: &str = "bench_kube";
/// Pods that the cluster has, on nodes where nobody is.
const PODS: usize = 5_000;
/// Pods of the node that is looked at, connected by the plug-in.
const LOCAL: usize = 50;
/// Policies of the cluster.
const POLICIES: usize = 500;
/// Namespaces that they are spread over.
const NAMESPACES: usize = 20;
/// Changes of each kind that are measured.
const CHANGES: usize = 200;
/// The number of the pod and of the policy that are changed: a pod of the node has both.
const CHANGED: usize = NAMESPACES;
/// Requests at once while the cluster is filled.
const AT_ONCE: usize = 16;
/// Longest wait for one thing.
const LIMIT: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug)]
pub(crate) struct Report {
    latencies: Latencies,
    filled: Duration,
    /// VmRSS of the agent before and after the cluster was filled, and VmHWM, in KiB.
    memory: [u64; 3],
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nFrom the API server's answer to the kernel, {PODS} pods, {POLICIES} policies, \
             {LOCAL} pods on the node, milliseconds.\n"
        )?;
        write!(f, "{}", self.latencies)?;
        let [before, after, peak] = self.memory.map(|kib| kib / 1024);
        writeln!(
            f,
            "\n  The agent holds {after} MiB, at most {peak}, and {before} in an empty cluster; \
             filling it took {} s.",
            self.filled.as_secs()
        )
    }
}

/// Measures everything.
///
/// # Errors
/// There is no API server to start, the lab does not come up, or a change does not arrive.
pub(crate) fn measure() -> Result<Report> {
    ensure!(
        apiserver::assets(None).is_ok(),
        "{} names no folder of etcd and kube-apiserver",
        apiserver::ASSETS
    );
    let args = ["--kube", "--nodes", "1", "--pods", "0"];
    let lab = TestLab::up(NAME, &args, "");
    let cluster = Cluster::open()?;
    let before = cluster.memory("VmRSS")?;
    let begin = Instant::now();
    cluster.fill()?;
    let filled = begin.elapsed();
    let mut latencies = Latencies::default();
    for change in [Change::Label, Change::Port] {
        latencies.0.push((change.what().to_owned(), cluster.time(change)?));
    }
    let memory = [before, cluster.memory("VmRSS")?, cluster.memory("VmHWM")?];
    drop(lab);
    Ok(Report { latencies, filled, memory })
}

/// What is changed, again and again.
#[derive(Clone, Copy)]
enum Change {
    /// The label of a pod elsewhere, which a policy of a pod here allows.
    Label,
    /// The port that a policy of a pod here allows.
    Port,
}

impl Change {
    fn what(self) -> &'static str {
        match self {
            Change::Label => "label of a peer, one member",
            Change::Port => "port of a policy, one chain",
        }
    }
}

struct Cluster {
    lab: Lab,
    api: String,
    node: String,
}

impl Cluster {
    fn open() -> Result<Self> {
        let lab = Lab::open(&Place::find(), &NAME.parse()?)?;
        let api = lab.state.plan.api.as_ref().context("the lab has an API server")?;
        let (api, node) = (api.namespace.clone(), lab.state.plan.nodes[0].namespace.clone());
        Ok(Self { lab, api, node })
    }

    /// Does `work` where the API server is.
    fn ask<T: Send, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce(kube::Client) -> F + Send,
    ) -> Result<T> {
        let kubeconfig = lab_kube::setup(&self.lab)?.kubeconfig();
        apiserver::ask(&kubeconfig, Some(&self.api), work)
    }

    /// Runs a program on the node.
    fn output(&self, program: &str, args: &[&str]) -> Result<std::process::Output> {
        netns::within(&self.node, || Ok(Command::new(program).args(args).output()?))
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let agent = self.lab.state.processes.get("n1").context("the agent was started")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        kib.with_context(|| format!("the kernel tells no {field}"))
    }

    /// Makes all namespaces, pods and policies, and waits until the node enforces them.
    fn fill(&self) -> Result<()> {
        self.ask(|client| async move {
            let namespaces: Api<Namespace> = Api::all(client.clone());
            for number in 0..NAMESPACES {
                create(&namespaces, json!({"metadata": {"name": namespace(number)}})).await?;
            }
            let pods = |number| Api::<Pod>::namespaced(client.clone(), &namespace(number));
            let local = (0..LOCAL).map(|number| {
                let api = pods(number);
                async move { create(&api, pod(&format!("here-{number}"), number, "n1")).await }
            });
            stream::iter(local).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
            let distant = (0..PODS).map(|number| {
                let api = pods(number);
                async move {
                    let (name, node) = (format!("far-{number}"), format!("x{}", number % 100));
                    create(&api, pod(&name, number, &node)).await?;
                    let ip = address(number);
                    let status = json!({"status": {
                        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                    }});
                    let merge = Patch::Merge(status);
                    api.patch_status(&name, &PatchParams::default(), &merge).await?;
                    Ok::<(), anyhow::Error>(())
                }
            });
            stream::iter(distant).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
            let policies = (0..POLICIES).map(|number| {
                let api = Api::<NetworkPolicy>::namespaced(client.clone(), &namespace(number));
                async move { create(&api, policy(number)).await }
            });
            stream::iter(policies).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
            Ok(())
        })?;
        // policies come after pods: the last of them is enforced when all are
        self.arrive(|| {
            let rules = self.output("iptables-save", &["-t", "filter"])?;
            let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
            // those that govern pods of this node
            Ok((0..LOCAL).map(port).all(|port| rules.contains(&format!("--dports {port} "))))
        })?;
        Ok(())
    }

    /// Waits until something is so.
    fn arrive(&self, arrived: impl Fn() -> Result<bool>) -> Result<Duration> {
        let begin = Instant::now();
        while !arrived()? {
            ensure!(begin.elapsed() < LIMIT, "a change did not arrive within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(begin.elapsed())
    }

    /// Times of so many changes, sorted.
    fn time(&self, change: Change) -> Result<Vec<Duration>> {
        let changed = format!("far-{CHANGED}");
        let address = address(CHANGED);
        let set = self.set_of(&address)?;
        let mut times = Vec::new();
        for round in 0..CHANGES {
            let changed = &changed;
            self.ask(|client| async move {
                let params = PatchParams::default();
                match change {
                    Change::Label => {
                        let own = format!("app-{}", app(CHANGED));
                        let app = if round % 2 == 0 { "nothing" } else { &own };
                        let labels = json!({"metadata": {"labels": {"app": app}}});
                        let api: Api<Pod> = Api::namespaced(client, &namespace(CHANGED));
                        api.patch(changed, &params, &Patch::Merge(labels)).await?;
                    }
                    Change::Port => {
                        let spec = json!({"spec": policy_spec(CHANGED, 20_000 + round)});
                        let api: Api<NetworkPolicy> = Api::namespaced(client, &namespace(CHANGED));
                        let name = format!("policy-{CHANGED}");
                        api.patch(&name, &params, &Patch::Merge(spec)).await?;
                    }
                }
                Ok(())
            })?;
            times.push(self.arrive(|| match change {
                Change::Label => {
                    let is_member = self.output("ipset", &["test", &set, &address])?;
                    Ok(is_member.status.success() == (round % 2 == 1))
                }
                Change::Port => {
                    let rules = self.output("iptables-save", &["-t", "filter"])?;
                    let mark = format!("--dports {} ", 20_000 + round);
                    Ok(String::from_utf8_lossy(&rules.stdout).contains(&mark))
                }
            })?);
        }
        times.sort_unstable();
        Ok(times)
    }

    /// A set of peers that this address is in.
    fn set_of(&self, address: &str) -> Result<String> {
        let names = self.output("ipset", &["list", "-n"])?;
        for name in String::from_utf8_lossy(&names.stdout).lines() {
            if name.starts_with("brn-s4-")
                && self.output("ipset", &["test", name, address])?.status.success()
            {
                return Ok(name.to_owned());
            }
        }
        anyhow::bail!("no policy allows {address}")
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: kube::Resource + Clone + fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

fn namespace(number: usize) -> String {
    format!("load-{}", number % NAMESPACES)
}

/// Which application of its namespace something belongs to.
fn app(number: usize) -> usize {
    number / NAMESPACES % (POLICIES / NAMESPACES)
}

fn pod(name: &str, number: usize, node: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {
            "app": format!("app-{}", app(number)), "tier": format!("tier-{}", number % 7),
            "pod-template-hash": format!("{:x}", number * 2_654_435_761 % 0xffff_ffff),
        }},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
    })
}

/// Of a pod on a node where nobody is.
fn address(number: usize) -> String {
    format!("10.245.{}.{}", number / 250, number % 250 + 1)
}

fn port(number: usize) -> usize {
    1_000 + number
}

fn policy(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("policy-{number}")},
        "spec": policy_spec(number, port(number)),
    })
}

fn policy_spec(number: usize, port: usize) -> Value {
    let app = app(number);
    json!({
        "podSelector": {"matchLabels": {"app": format!("app-{app}")}},
        "ingress": [{
            "from": [{"podSelector": {"matchLabels": {"app": format!("app-{app}")}}}],
            "ports": [{"port": port}],
        }],
    })
}
