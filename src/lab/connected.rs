//! The pods of a lab with an API server, as the lab's kubelet has connected them: a file of its
//! own, which it alone writes. Where pods come and go by `kubectl`, no command that changes the
//! lab has to wait for it, nor it for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::plan::{Plan, Pod};
use super::state::write_json;

/// A pod that is connected to its node, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// `metadata.uid` of the object: a pod of the same name that comes later is another one. In
    /// place of that, where there is no API server to give one, the name of its namespace.
    pub uid: String,
    /// The node's name.
    pub node: String,
    /// Its namespace, cable and addresses.
    pub pod: Pod,
}

impl Connected {
    /// A pod of the plan, whether it is connected yet or not.
    pub fn planned(node: &str, pod: &Pod) -> Self {
        Self { uid: pod.namespace.clone(), node: node.to_owned(), pod: pod.clone() }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("pods.json")
}

/// All of them; none where no kubelet has run.
///
/// # Errors
/// The file cannot be read.
pub fn read(dir: &Path) -> anyhow::Result<Vec<Connected>> {
    let file = file(dir);
    let text = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("cannot read {}", file.display()))?,
    };
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))
}

/// Writes them down.
///
/// # Errors
/// The file cannot be written.
pub fn write(dir: &Path, all: &[Connected]) -> anyhow::Result<()> {
    write_json(&file(dir), &all)
}

/// Puts the pods of a lab with an API server into its plan, in place of those that are there.
///
/// # Errors
/// The file cannot be read.
pub fn put_into(plan: &mut Plan, dir: &Path) -> anyhow::Result<()> {
    if plan.api.is_none() {
        return Ok(());
    }
    take_out(plan);
    for Connected { node, pod, .. } in read(dir)? {
        if let Some(node) = plan.nodes.iter_mut().find(|n| n.name == node) {
            node.pods.push(pod);
        }
    }
    Ok(())
}

/// Leaves a plan without the pods that stand in the other file.
pub fn take_out(plan: &mut Plan) {
    if plan.api.is_some() {
        plan.nodes.iter_mut().for_each(|node| node.pods.clear());
    }
}
