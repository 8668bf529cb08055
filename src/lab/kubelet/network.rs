//! How a pod of a lab gets its network namespace and its cable, and loses them: as a container
//! runtime does it, by the plug-in that the node's agent has announced.

use std::path::PathBuf;

use anyhow::{Context, bail};
use ipnetwork::IpNetwork;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::deeds::Seen;
use crate::cni::PLUGIN;
use crate::cni::caller::Call;
use crate::lab::connected::Connected;
use crate::lab::plan::{Node, Pod, UPLINK};
use crate::lab::state::Lab;
use crate::lab::{build, netns, process, speakers};

/// Makes the namespace of `pod` and connects it to the node `node`. If that fails nothing is
/// left, and it can be tried again.
pub(super) fn connect(lab: &Lab, pod: &Seen, node: &str) -> anyhow::Result<Connected> {
    let (name, namespace) = lab.state.options.pod_names(&pod.namespace, &pod.name);
    let mut own = Connected {
        uid: pod.uid.clone(),
        node: node.to_owned(),
        pod: Pod {
            name,
            namespace,
            kube_namespace: pod.namespace.clone(),
            interface: String::new(),
            addresses: Vec::new(),
        },
    };
    let plugin = Plugin::announced(lab, node)?;
    build::add_namespace(lab, &own.pod.namespace)?;
    let connected = plugin.call("ADD", &own, &pod.name);
    let read = connected.and_then(|result| read_result(&result.unwrap_or_default()));
    match read {
        Ok((interface, addresses)) => {
            own.pod.interface = interface;
            own.pod.addresses = addresses;
            Ok(own)
        }
        Err(error) => {
            // what a runtime does: nothing of a failed pod stays
            let removed = plugin.call("DEL", &own, &pod.name);
            build::remove_namespace(&own.pod.namespace)?;
            removed.context("after a failed ADD")?;
            Err(error)
        }
    }
}

/// Ends what runs in the pod's namespace, and takes its cable and that away.
pub(super) fn disconnect(lab: &Lab, gone: &Connected) -> anyhow::Result<()> {
    let namespace = &gone.pod.namespace;
    let inode = netns::inode(namespace);
    for process in process::members(None, inode.as_slice()) {
        process.signal(Signal::SIGKILL)?;
    }
    let object = gone.pod.name.rsplit('/').next().unwrap_or_default();
    Plugin::announced(lab, &gone.node)?.call("DEL", gone, object)?;
    // tried again after it was done half, it may be gone
    if inode.is_some() { build::remove_namespace(namespace) } else { Ok(()) }
}

/// The plug-in of a node, and its network configuration.
struct Plugin<'a> {
    node: &'a Node,
    folder: PathBuf,
    configuration: Value,
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
        Ok(Self { node, folder: build::plugins(lab)?, configuration })
    }

    fn call(&self, verb: &str, own: &Connected, object: &str) -> anyhow::Result<Option<Value>> {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={object};\
             K8S_POD_INFRA_CONTAINER_ID={uid};K8S_POD_UID={uid}",
            own.pod.kube_namespace,
            uid = own.uid
        );
        let netns = netns::path(&own.pod.namespace);
        let program = self.folder.join(PLUGIN);
        let call = Call {
            program: &program,
            verb,
            container_id: &own.uid,
            netns: netns.exists().then_some(netns.as_path()),
            interface: UPLINK,
            args: &args,
            path: &self.folder,
            configuration: &self.configuration,
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
    use serde_json::json;

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
