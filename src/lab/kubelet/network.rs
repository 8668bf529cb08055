//! How a pod of a lab gets its network namespace and its cable, and loses them.

use anyhow::Context;
use nix::sys::signal::Signal;

use super::deeds::Seen;
use crate::lab::connected::Connected;
use crate::lab::plan::Pod;
use crate::lab::state::Lab;
use crate::lab::{build, netns, process};

/// Makes the namespace of `pod` and connects it to `node`.
pub(super) fn connect(lab: &mut Lab, pod: &Seen, node: &str) -> anyhow::Result<Pod> {
    let options = lab.state.options.clone();
    let placed = lab.state.plan.add_pod(&options, &pod.namespace, &pod.name, Some(node));
    let (index, own) = placed?;
    let node = &mut lab.state.plan.nodes[index];
    // who has a cable stands in a file of its own
    node.pods.clear();
    let node = node.clone();
    build::connect(lab, &node, &own).with_context(|| format!("cannot connect {}", own.name))?;
    Ok(own)
}

/// Ends what runs in the pod's namespace, and removes that with its cable.
pub(super) fn disconnect(lab: &Lab, gone: &Connected) -> anyhow::Result<()> {
    let inode = netns::inode(&gone.pod.namespace);
    for process in process::members(None, inode.as_slice()) {
        process.signal(Signal::SIGKILL)?;
    }
    let node = lab.state.plan.node(&gone.node).context("its node is gone")?;
    build::disconnect(node, &gone.pod)
}
