//! A lab's cluster objects in a real API server, in place of the folder of manifests.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::apiserver::{self, Setup};
use super::objects::{self, Key};
use super::plan::{API_SERVER, ApiServer, Options, Plan};
use super::process::{Condition, ProcessId};
use super::speakers;
use super::state::Lab;
use super::{build, netns};

/// What an installation gives the agents: the account that they are known by, and what it may do.
const RBAC: &str = include_str!("../../deploy/kubernetes/base/rbac.yaml");
/// The account and its namespace.
const ACCOUNT: (&str, &str) = ("kube-system", "brindle");
/// Names of the lab's processes beside speakers and the API server.
const ETCD: &str = "etcd";
const KUBELET: &str = "kubelet";
/// How often to look whether pods run.
const PAUSE: Duration = Duration::from_millis(50);

/// The API server's programs, files and ports.
///
/// # Errors
/// The lab has none.
pub fn setup(lab: &Lab) -> anyhow::Result<Setup> {
    let (api, assets) = server_of(lab)?;
    let address = api.addresses.first().context("the API server has no address")?.ip();
    Ok(Setup::at(assets.clone(), lab.speaker_dir(API_SERVER), address))
}

fn server_of(lab: &Lab) -> anyhow::Result<(&ApiServer, &PathBuf)> {
    let found = lab.state.plan.api.as_ref().zip(lab.state.options.kube.as_ref());
    found.with_context(|| {
        format!(
            "lab \"{}\" has no API server; `brindle lab up --kube` builds one that has",
            lab.state.options.name
        )
    })
}

/// What commands inside the lab find the API server by.
pub fn environment(lab: &Lab) -> Vec<(&'static str, PathBuf)> {
    match setup(lab) {
        // servers of several labs have one address: kubectl must not take them for one
        Ok(setup) => vec![
            ("KUBECONFIG", setup.kubeconfig()),
            ("KUBECACHEDIR", lab.speaker_dir(API_SERVER).join("kubectl-cache")),
        ],
        Err(_) => Vec::new(),
    }
}

/// `kubectl ARGS` as administrator, for [`super::exec::exec`] in the API server's namespace.
pub fn kubectl(lab: &Lab, args: &[OsString]) -> anyhow::Result<Vec<OsString>> {
    server_of(lab)?;
    let mut command = vec![netns::program("kubectl")?.into_os_string()];
    command.push("--cache-dir".into());
    command.push(lab.speaker_dir(API_SERVER).join("kubectl-cache").into());
    command.extend_from_slice(args);
    Ok(command)
}

/// Starts the API server and what plays the kubelets, and hands it the cluster's objects: nodes,
/// what an installation of brindle brings, then what was `given`. Every node gets a token.
///
/// # Errors
/// A program is missing or fails, or an object is refused.
pub fn start(lab: &mut Lab, given: &[Value]) -> anyhow::Result<()> {
    let setup = setup(lab)?;
    setup.prepare()?;
    let namespace = server_of(lab)?.0.namespace.clone();
    std::fs::create_dir_all(lab.speaker_dir(ETCD)).context("folder of etcd")?;
    std::fs::create_dir_all(lab.speaker_dir(KUBELET)).context("folder of the kubelet")?;
    let etcd = build::start(lab, &namespace, ETCD, &setup.etcd_command()?).context(ETCD)?;
    let server = build::start_speaker(lab, API_SERVER)?;
    lab.state.processes.insert(ETCD.into(), etcd);
    lab.state.processes.insert(API_SERVER.into(), server);
    lab.save()?;
    let gone = |(name, process): &(&str, ProcessId)| {
        let log = lab.log(name);
        let ended = process.condition() == Condition::Ended;
        ended.then(|| format!("{name} has ended; its log is {}", log.display()))
    };
    let both = [(ETCD, etcd), (API_SERVER, server)];
    let ended = || both.iter().find_map(gone);
    apiserver::wait_ready(&setup.kubeconfig(), Some(&namespace), ended)?;
    apply(lab, &first_objects(&lab.state.plan, &lab.state.options, given)?)?;
    give_tokens(lab, &setup, &namespace)?;
    let program = lab.state.program.clone();
    let words: [&OsStr; 4] =
        [program.as_os_str(), "lab".as_ref(), "kubelet".as_ref(), lab.dir.as_os_str()];
    let kubelet = build::start(lab, &namespace, KUBELET, &words.map(OsStr::to_owned));
    lab.state.processes.insert(KUBELET.into(), kubelet.context(KUBELET)?);
    lab.save()
}

/// The objects that the lab begins with, those first that others need. Namespaces that somebody
/// names and nobody gives are made.
fn first_objects(plan: &Plan, options: &Options, given: &[Value]) -> anyhow::Result<Vec<Value>> {
    let mut all: Vec<Value> = plan.nodes.iter().map(node_object).collect();
    for document in serde_yaml::Deserializer::from_str(RBAC) {
        all.push(Value::deserialize(document).context("deploy/kubernetes/base/rbac.yaml")?);
    }
    let mut rest = given.to_vec();
    rest.extend(plain_pods(plan, options)?);
    let keys = rest.iter().map(Key::of).collect::<anyhow::Result<Vec<_>>>()?;
    let mut namespaces: Vec<&str> = keys.iter().filter_map(|k| k.namespace.as_deref()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let made_by_server = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let is_given = |name: &str| keys.iter().any(|k| k.kind == "Namespace" && k.name == name);
    for name in namespaces {
        if !made_by_server.contains(&name) && !is_given(name) {
            all.push(objects::plain_namespace(name));
        }
    }
    rest.sort_by_key(|object| object["kind"] != "Namespace");
    all.extend(rest);
    Ok(all)
}

/// The pods that a lab without `--policies` has, to be placed where the plan has them.
fn plain_pods(plan: &Plan, options: &Options) -> anyhow::Result<Vec<Value>> {
    let planned = Plan::new(options)?;
    let nodes = planned.nodes.iter().filter(|node| plan.node(&node.name).is_some());
    let pods = nodes.flat_map(|node| node.pods.iter().map(move |pod| (node, pod)));
    Ok(pods
        .map(|(node, pod)| {
            let mut object = objects::plain_pod(node, pod);
            object["spec"]["nodeName"] = json!(node.name);
            object
        })
        .collect())
}

/// A Node as its kubelet registers it.
fn node_object(node: &super::plan::Node) -> Value {
    let mut object = speakers::node_object(node);
    object["status"]["conditions"] = json!([
        {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is a lab"},
    ]);
    object
}

fn give_tokens(lab: &Lab, setup: &Setup, namespace: &str) -> anyhow::Result<()> {
    let nodes = &lab.state.plan.nodes;
    let tokens = apiserver::ask(&setup.kubeconfig(), Some(namespace), |client| async move {
        let mut tokens = Vec::new();
        for _ in nodes {
            tokens.push(apiserver::create_token(client.clone(), ACCOUNT.0, ACCOUNT.1).await?);
        }
        Ok(tokens)
    })?;
    for (node, token) in nodes.iter().zip(tokens) {
        let file = lab.speaker_dir(&node.name).join("kubeconfig");
        setup.write_token_kubeconfig(&file, ACCOUNT.0, &token)?;
    }
    Ok(())
}

/// Hands objects to `kubectl apply`.
fn apply(lab: &Lab, objects: &[Value]) -> anyhow::Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let words = ["apply", "-f", "-"].map(OsString::from);
    let [program, args @ ..] = &kubectl(lab, &words)?[..] else { bail!("no command") };
    netns::within(&server_of(lab)?.0.namespace, || {
        let mut child = Command::new(program)
            .args(args)
            .envs(environment(lab))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        let sent = child
            .stdin
            .take()
            .map_or(Ok(()), |mut pipe| pipe.write_all(list.to_string().as_bytes()));
        let output = child.wait_with_output().context("kubectl")?;
        if !output.status.success() {
            bail!("kubectl apply: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        sent.context("kubectl did not read its input")
    })
}

/// Waits until every pod of the API server that is meant to run is connected.
///
/// # Errors
/// `limit` has passed, or the API server does not answer.
pub fn wait_for_pods(lab: &mut Lab, limit: Duration) -> anyhow::Result<()> {
    let setup = setup(lab)?;
    let namespace = server_of(lab)?.0.namespace.clone();
    apiserver::ask(&setup.kubeconfig(), Some(&namespace), |client| async move {
        let start = Instant::now();
        let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::all(client);
        loop {
            let all = pods.list(&Default::default()).await?;
            let running = all.items.iter().filter(|pod| {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                phase == Some("Running")
            });
            let (running, count) = (running.count(), all.items.len());
            if running == count {
                return Ok(());
            }
            if start.elapsed() > limit {
                bail!("after {limit:?} {running} of {count} pods run");
            }
            tokio::time::sleep(PAUSE).await;
        }
    })?;
    lab.look_at_pods()
}
