//! Changes a lab's objects while it runs: what `kubectl apply`, `delete` and `label` are for a
//! cluster. Pods come and go with their namespaces and cables.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::connected::Connected;
use super::objects::{self, Key};
use super::plan::{Node, Pod};
use super::runtime;
use super::state::Lab;

/// What came of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is new.
    Created,
    /// It is another now.
    Configured,
    /// It was so already.
    Unchanged,
    /// It is gone.
    Deleted,
}

impl Done {
    /// As kubectl says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Done::Created => "created",
            Done::Configured => "configured",
            Done::Unchanged => "unchanged",
            Done::Deleted => "deleted",
        }
    }
}

/// Makes `object` part of the cluster, or changes it. A new pod gets a node; [`connect_pods`]
/// does the rest. Its namespace is made if there is none.
///
/// # Errors
/// It is no object that a lab has, a pod has no place, or a file cannot be written.
pub fn apply(lab: &mut Lab, mut object: Value) -> anyhow::Result<(Key, Done)> {
    let key = Key::of(&object)?;
    let folder = lab.manifests();
    let before = objects::get(&folder, &key)?;
    match key.kind.as_str() {
        "Node" => bail!("{key}: the lab makes its nodes itself (lab up --nodes)"),
        "Namespace" => {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(key.name);
        }
        "Pod" => {
            let (node, pod) = match find(lab, &key) {
                Some(found) => found,
                None => place(lab, &key, &object)?,
            };
            object = objects::placed(object, &node, &pod);
        }
        _ => {}
    }
    if let Some(namespace) = &key.namespace {
        object["metadata"]["namespace"] = json!(namespace);
        let plain = objects::plain_namespace(namespace);
        let own = Key::of(&plain)?;
        if objects::get(&folder, &own)?.is_none() {
            objects::write(&folder, &own, &plain)?;
        }
    }
    let done = match before {
        None => Done::Created,
        Some(before) if before == object => return Ok((key, Done::Unchanged)),
        Some(_) => Done::Configured,
    };
    objects::write(&folder, &key, &object)?;
    Ok((key, done))
}

/// Connects all pods that are not connected yet, and tells their addresses: as kubelets do it,
/// the agents know of a pod before it is connected, and of its addresses after that. `limit` is
/// how long to try.
///
/// # Errors
/// Pods that cannot be connected, or a file cannot be written.
pub fn connect_pods(lab: &mut Lab, limit: Duration) -> anyhow::Result<()> {
    let is_waiting = |(_, pod): &(&Node, &Pod)| !pod.is_connected();
    let waiting: Vec<String> =
        lab.state.plan.pods().filter(is_waiting).map(|(_, pod)| pod.name.clone()).collect();
    let connected = runtime::connect_all(lab, limit);
    let folder = lab.manifests();
    let waited = |(_, pod): &(&Node, &Pod)| pod.is_connected() && waiting.contains(&pod.name);
    for (node, pod) in lab.state.plan.pods().filter(waited) {
        let key = Key {
            kind: "Pod".to_owned(),
            namespace: Some(pod.kube_namespace.clone()),
            name: pod.object().to_owned(),
        };
        let object =
            objects::get(&folder, &key)?.with_context(|| format!("no manifest of {key}"))?;
        objects::write(&folder, &key, &objects::placed(object, node, pod))?;
    }
    connected
}

/// Takes the object away; a namespace with everything in it.
///
/// # Errors
/// There is no such object, or something cannot be removed.
pub fn delete(lab: &mut Lab, key: &Key) -> anyhow::Result<Done> {
    let folder = lab.manifests();
    if objects::get(&folder, key)?.is_none() {
        bail!("there is no {key} in this lab");
    }
    if key.kind == "Namespace" {
        for inner in keys(lab)?.into_iter().filter(|k| k.namespace.as_ref() == Some(&key.name)) {
            delete(lab, &inner)?;
        }
    }
    let file = key.file(&folder);
    std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
    if key.kind == "Pod"
        && let Some((node, pod)) = find(lab, key)
    {
        stop(lab, &node, &pod)?;
    }
    Ok(Done::Deleted)
}

/// Sets labels (`Some`) and takes labels away (`None`).
///
/// # Errors
/// There is no such object, or it cannot be written.
pub fn label(
    lab: &Lab,
    key: &Key,
    labels: &BTreeMap<String, Option<String>>,
) -> anyhow::Result<Done> {
    let folder = lab.manifests();
    let Some(mut object) = objects::get(&folder, key)? else {
        bail!("there is no {key} in this lab");
    };
    let before = object.clone();
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    let map = object["metadata"]["labels"].as_object_mut().context("labels are no mapping")?;
    for (name, value) in labels {
        match value {
            Some(value) => drop(map.insert(name.clone(), json!(value))),
            None => drop(map.remove(name)),
        }
    }
    if object == before {
        return Ok(Done::Unchanged);
    }
    objects::write(&folder, key, &object)?;
    Ok(Done::Configured)
}

/// All objects of the lab but its nodes.
///
/// # Errors
/// The folder cannot be read.
pub fn keys(lab: &Lab) -> anyhow::Result<Vec<Key>> {
    let objects = objects::read(&lab.manifests())?;
    let keys = objects.iter().map(Key::of).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(keys.into_iter().filter(|key| key.kind != "Node").collect())
}

fn find(lab: &Lab, key: &Key) -> Option<(Node, Pod)> {
    let name = key.pod_name();
    let found = lab.state.plan.pods().find(|(_, pod)| pod.name == name);
    found.map(|(node, pod)| (node.clone(), pod.clone()))
}

/// Gives a new pod a node.
fn place(lab: &mut Lab, key: &Key, object: &Value) -> anyhow::Result<(Node, Pod)> {
    let namespace = key.namespace.as_deref().unwrap_or("default");
    let wanted = object.pointer("/spec/nodeName").and_then(Value::as_str);
    let options = lab.state.options.clone();
    let placed = lab.state.plan.add_pod(&options, namespace, &key.name, wanted);
    let (index, pod) = placed.with_context(|| key.to_string())?;
    // saved first: `lab down` finds namespaces by their prefix, `lab exec` by this
    lab.save()?;
    Ok((lab.state.plan.nodes[index].clone(), pod))
}

fn stop(lab: &mut Lab, node: &Node, pod: &Pod) -> anyhow::Result<()> {
    runtime::disconnect(lab, &Connected::planned(&node.name, pod))?;
    for node in &mut lab.state.plan.nodes {
        node.pods.retain(|other| other.name != pod.name);
    }
    lab.save()
}
