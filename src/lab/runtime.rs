//! How a pod of a lab gets its network namespace and its cable, and loses them: as a container
//! runtime does it, by the plug-in that the node's agent has announced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ipnetwork::IpNetwork;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::connected::Connected;
use super::plan::{Node, Pod, UPLINK};
use super::process::Condition;
use super::state::Lab;
use super::{build, netns, process, speakers};
use crate::cni::PLUGIN;
use crate::cni::caller::Call;

/// How soon what failed is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// Nodes whose pods are connected at one time: each takes a process that works and an agent that
/// is waited for.
const AT_ONCE: usize = 16;

/// Connects a pod to its node, in a namespace that is made for it. It gets the addresses that it
/// is to have, or some of its node's if it has none yet. If that fails nothing is left, and it
/// can be tried again.
///
/// # Errors
/// The agent has not announced the plug-in, or that fails.
pub fn connect(lab: &Lab, wanted: Connected) -> anyhow::Result<Connected> {
    let mut own = wanted;
    let plugin = Plugin::announced(lab, &own.node)?;
    // one that was killed at this may have left it
    if netns::inode(&own.pod.namespace).is_none() {
        build::add_namespace(lab, &own.pod.namespace)?;
    }
    let connected = plugin.call("ADD", &own);
    let read = connected.and_then(|result| read_result(&result.unwrap_or_default()));
    match read {
        Ok((interface, addresses)) => {
            own.pod.interface = interface;
            own.pod.addresses = addresses;
            Ok(own)
        }
        Err(error) => {
            // what a runtime does: nothing of a failed pod stays
            let removed = plugin.call("DEL", &own);
            build::remove_namespace(&own.pod.namespace)?;
            removed.context("after a failed ADD")?;
            Err(error)
        }
    }
}

/// Ends what runs in the pod's namespace, and takes its cable and that away.
///
/// # Errors
/// The plug-in fails, or no privilege.
pub fn disconnect(lab: &Lab, gone: &Connected) -> anyhow::Result<()> {
    let namespace = &gone.pod.namespace;
    let inode = netns::inode(namespace);
    for process in process::members(None, inode.as_slice()) {
        process.signal(Signal::SIGKILL)?;
    }
    match Plugin::announced(lab, &gone.node) {
        // nobody can have connected it
        Err(_) if !gone.pod.is_connected() => {}
        plugin => drop(plugin?.call("DEL", gone)?),
    }
    // tried again after it was done half, it may be gone
    if inode.is_some() { build::remove_namespace(namespace) } else { Ok(()) }
}

/// Connects all pods of the plan that are not connected yet, those of different nodes at the
/// same time, and notes it in the plan. What fails is tried again, as a kubelet does it, until
/// `limit` has passed or the node's agent has ended.
///
/// # Errors
/// Pods that are still not connected, and why; the others are.
pub fn connect_all(lab: &mut Lab, limit: Duration) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for one in connect_waiting(lab, limit) {
        match one {
            Ok(own) => lab.state.plan.put_pod(&own.node, own.pod),
            Err(error) => failed.push(error),
        }
    }
    lab.save()?;
    let count = failed.len();
    match failed.into_iter().next() {
        None => Ok(()),
        Some(only) if count == 1 => Err(only),
        Some(first) => Err(first.context(format!("{count} pods are not connected, the first"))),
    }
}

/// What comes of each pod that is not connected yet.
fn connect_waiting(lab: &Lab, limit: Duration) -> Vec<anyhow::Result<Connected>> {
    let start = Instant::now();
    let mut waiting: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for (node, pod) in lab.state.plan.pods().filter(|(_, pod)| !pod.is_connected()) {
        waiting.entry(&node.name).or_default().push(pod);
    }
    let workers = waiting.len().min(AT_ONCE);
    let nodes = Mutex::new(waiting.into_iter());
    let next = || nodes.lock().ok()?.next();
    let work = || {
        let mut done = Vec::new();
        while let Some((node, pods)) = next() {
            for pod in pods {
                let connected = connect_in_time(lab, node, pod, start, limit);
                done.push(connected.with_context(|| format!("cannot connect pod {}", pod.name)));
            }
        }
        done
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect()
    })
}

fn connect_in_time(
    lab: &Lab,
    node: &str,
    pod: &Pod,
    start: Instant,
    limit: Duration,
) -> anyhow::Result<Connected> {
    let mut last = anyhow::anyhow!("no time is left for it");
    while start.elapsed() < limit {
        last = match connect(lab, Connected::planned(node, pod)) {
            Ok(own) => return Ok(own),
            Err(error) => error,
        };
        let agent = lab.state.processes.get(node);
        if agent.is_none_or(|agent| agent.condition() == Condition::Ended) {
            return Err(last.context(format!("the agent of {node} does not run")));
        }
        std::thread::sleep(AGAIN);
    }
    Err(last)
}

/// The plug-in of a node, and its network configuration.
struct Plugin<'a> {
    node: &'a Node,
    folder: PathBuf,
    configuration: Value,
    /// Pods have a `metadata.uid`, as an API server gives it.
    has_uids: bool,
}

impl<'a> Plugin<'a> {
    /// As the node's agent has announced it.
    fn announced(lab: &'a Lab, node: &str) -> anyhow::Result<Self> {
        let node = lab.state.plan.node(node).context("there is no such node")?;
        let file = speakers::cni_config_dir(&lab.dir, &node.name).join(speakers::CONFLIST);
        let text = std::fs::read(&file).with_context(|| {
            format!("the agent of {} has not written {} yet", node.name, file.display())
        })?;
        let list: Value =
            serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        let configuration = only_plugin(&list).with_context(|| file.display().to_string())?;
        let has_uids = lab.state.plan.api.is_some();
        Ok(Self { node, folder: build::plugins(lab)?, configuration, has_uids })
    }

    fn call(&self, verb: &str, own: &Connected) -> anyhow::Result<Option<Value>> {
        let mut args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
            own.pod.kube_namespace,
            own.pod.object(),
            own.uid
        );
        if self.has_uids {
            args += &format!(";K8S_POD_UID={}", own.uid);
        }
        let netns = netns::path(&own.pod.namespace);
        let program = self.folder.join(PLUGIN);
        let mut configuration = self.configuration.clone();
        if !own.pod.addresses.is_empty() {
            configuration["runtimeConfig"] = json!({"ips": own.pod.addresses});
        }
        let call = Call {
            program: &program,
            verb,
            container_id: &own.uid,
            netns: netns.exists().then_some(netns.as_path()),
            interface: UPLINK,
            args: &args,
            path: &self.folder,
            configuration: &configuration,
        };
        netns::within(&self.node.namespace, || Ok(call.run()?))
    }
}

/// The configuration of the one plug-in that the agent of a lab names, as it gets it.
fn only_plugin(list: &Value) -> anyhow::Result<Value> {
    let plugins = list["plugins"].as_array().map(Vec::as_slice);
    let Some([plugin]) = plugins else { bail!("not one plug-in alone") };
    let mut plugin = plugin.clone();
    for key in ["cniVersion", "name"] {
        plugin[key] = list[key].clone();
    }
    Ok(plugin)
}

/// The node's end of the cable and the pod's addresses, in the result of an ADD.
fn read_result(result: &Value) -> anyhow::Result<(String, Vec<std::net::IpAddr>)> {
    let interfaces = result["interfaces"].as_array().context("a result without interfaces")?;
    let host = interfaces.iter().find(|interface| interface["sandbox"].is_null());
    let host = host.and_then(|host| host["name"].as_str()).context("no end on the node")?;
    let addresses = result["ips"].as_array().into_iter().flatten().map(|ip| {
        let text = ip["address"].as_str().unwrap_or_default();
        Ok(text.parse::<IpNetwork>().with_context(|| format!("address {text:?}"))?.ip())
    });
    Ok((host.to_owned(), addresses.collect::<anyhow::Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_what_its_plug_in_gets() {
        let list = json!({"cniVersion": "1.0.0", "name": "k8s", "plugins": [{"type": PLUGIN}]});
        let want = json!({"cniVersion": "1.0.0", "name": "k8s", "type": PLUGIN});
        assert_eq!(only_plugin(&list).unwrap(), want);
        for bad in [json!({}), json!({"plugins": []}), json!({"plugins": [{}, {}]})] {
            assert!(only_plugin(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn results_name_the_cable_and_the_addresses() {
        let result = json!({
            "interfaces": [{"name": "brn1"}, {"name": "eth0", "sandbox": "/run/netns/a"}],
            "ips": [{"address": "10.244.1.2/32"}, {"address": "fd00::2/128"}],
        });
        let (interface, addresses) = read_result(&result).unwrap();
        assert_eq!(interface, "brn1");
        assert_eq!(
            addresses,
            ["10.244.1.2", "fd00::2"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap())
        );
        assert!(read_result(&json!({"interfaces": []})).is_err());
        assert!(read_result(&Value::Null).is_err());
    }
}
