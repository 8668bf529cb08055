//! Runs a command inside a node, pod or router of a lab.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use super::netns;
use super::plan::Plan;
use super::process::MARK;
use super::state::Lab;

/// The environment variable that tells the command line which agent to ask.
pub const SOCKET: &str = "BRINDLE_SOCKET";

/// Something of a lab that has a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its network namespace.
    pub namespace: &'a str,
    /// The node or router whose speaker serves it.
    pub speaker: &'a str,
}

/// Finds the node, pod or router `name`; a pod may be written `default/n1-p1` too, and what is
/// no pod `node/n1`.
///
/// # Errors
/// There is none; the message lists what there is.
pub fn find<'a>(plan: &'a Plan, name: &str) -> anyhow::Result<Found<'a>> {
    let nodes = plan.nodes.iter().map(|n| (&n.name, &n.namespace, &n.name));
    let tors = plan.tors.iter().map(|t| (&t.name, &t.namespace, &t.name));
    let pods = plan.pods().map(|(n, p)| (&p.name, &p.namespace, &n.name));
    let in_default = name.strip_prefix("default/");
    let no_pod = name.strip_prefix("node/");
    let is_pod = |own: &str| own == name || Some(own) == in_default;
    let is_router = |own: &str| own == name || Some(own) == no_pod;
    pods.filter(|(own, ..)| is_pod(own))
        .chain(nodes.chain(tors).filter(|(own, ..)| is_router(own)))
        .next()
        .map(|(_, namespace, speaker)| Found { namespace, speaker })
        .with_context(|| {
            let nodes = plan.nodes.iter().map(|n| n.name.as_str());
            let all: Vec<_> = nodes.chain(plan.tors.iter().map(|t| t.name.as_str())).collect();
            let pod = plan.pods().next().map(|(_, p)| format!("; pods are called like {}", p.name));
            format!(
                "no \"{name}\" in this lab; there is: {}{}",
                all.join(", "),
                pod.unwrap_or_default()
            )
        })
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
