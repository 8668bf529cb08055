//! Runs a command inside a node, pod or router of a lab.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use ipnetwork::IpNetwork;

use super::kube;
use super::netns;
use super::plan::{API_SERVER, Plan};
use super::process::MARK;
use super::state::Lab;

/// The environment variable that tells the command line which agent to ask.
pub const SOCKET: &str = "BRINDLE_SOCKET";

/// Something of a lab that has a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its network namespace.
    pub namespace: &'a str,
    /// The node or router whose speaker serves it.
    pub speaker: &'a str,
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
}

/// Finds the node, pod or router `name`; a pod may be written `default/n1-p1` too, and what is
/// no pod `node/n1`.
///
/// # Errors
/// There is none; the message lists what there is.
pub fn find<'a>(plan: &'a Plan, name: &str) -> anyhow::Result<Found<'a>> {
    let (pods, routers) = everything(plan);
    let in_default = name.strip_prefix("default/");
    let no_pod = name.strip_prefix("node/");
    let is_pod = |own: &str| own == name || Some(own) == in_default;
    let is_router = |own: &str| own == name || Some(own) == no_pod;
    pods.filter(|(own, _)| is_pod(own))
        .chain(routers.filter(|(own, _)| is_router(own)))
        .map(|(_, found)| found)
        .next()
        .with_context(|| {
            let nodes = plan.nodes.iter().map(|n| n.name.as_str());
            let tors = plan.tors.iter().map(|t| t.name.as_str());
            let all: Vec<_> =
                nodes.chain(tors).chain(plan.api.iter().map(|_| API_SERVER)).collect();
            let pod = plan.pods().next().map(|(_, p)| format!("; pods are called like {}", p.name));
            format!(
                "no \"{name}\" in this lab; there is: {}{}",
                all.join(", "),
                pod.unwrap_or_default()
            )
        })
}

/// The name of the pod, node or router that has `address`.
pub fn at(plan: &Plan, address: IpAddr) -> Option<String> {
    let (pods, routers) = everything(plan);
    let routers = routers.map(|(name, found)| (format!("node/{name}"), found));
    let mut all = pods.map(|(name, found)| (name.to_owned(), found)).chain(routers);
    all.find(|(_, found)| found.addresses.contains(&address)).map(|(name, _)| name)
}

/// All pods; all nodes and routers and the API server: each with its name.
fn everything(
    plan: &Plan,
) -> (impl Iterator<Item = (&str, Found<'_>)>, impl Iterator<Item = (&str, Found<'_>)>) {
    let pods = plan.pods().map(|(node, pod)| {
        let (namespace, speaker) = (&*pod.namespace, &*node.name);
        (&*pod.name, Found { namespace, speaker, addresses: pod.addresses.clone() })
    });
    let nodes = plan.nodes.iter().map(|node| {
        let (namespace, speaker) = (&*node.namespace, &*node.name);
        (&*node.name, Found { namespace, speaker, addresses: node.ips().collect() })
    });
    let tors = plan.tors.iter().map(|tor| {
        let (namespace, speaker) = (&*tor.namespace, &*tor.name);
        (&*tor.name, Found { namespace, speaker, addresses: tor.ips().collect() })
    });
    let api = plan.api.iter().map(|api| {
        let addresses = api.addresses.iter().map(IpNetwork::ip).collect();
        (API_SERVER, Found { namespace: &*api.namespace, speaker: API_SERVER, addresses })
    });
    (pods, nodes.chain(tors).chain(api))
}

/// Becomes `command` inside the node, pod or router `name`; needs a single thread. Returns
/// only if that fails.
pub fn exec(lab: &Lab, name: &str, command: &[OsString]) -> anyhow::Error {
    let attempt = || -> anyhow::Result<std::io::Error> {
        let found = find(&lab.state.plan, name)?;
        netns::enter(found.namespace)?;
        let (program, args) = command.split_first().context("no command")?;
        // so that `brindle` is the one that built the lab
        let folder = lab.state.program.parent().map(std::path::Path::to_owned);
        let usual = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let mut path: Vec<_> = folder.into_iter().chain(std::env::split_paths(&usual)).collect();
        path.extend(["/usr/sbin".into(), "/sbin".into()]);
        let failed = Command::new(program)
            .args(args)
            .env("PATH", std::env::join_paths(path).context("PATH")?)
            .env(MARK, &lab.state.id)
            .env(SOCKET, lab.socket(found.speaker))
            .envs(kube::environment(lab))
            .exec();
        Ok(failed)
    };
    match attempt() {
        Ok(failed) => {
            let program = command.first().map(|p| p.to_string_lossy().into_owned());
            anyhow::Error::new(failed)
                .context(format!("cannot run {}", program.unwrap_or_default()))
        }
        Err(error) => error,
    }
}
