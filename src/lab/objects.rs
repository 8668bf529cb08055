//! The cluster's objects in a lab: a folder of manifests with one file for each, which every
//! agent watches. The lab plays the API server and the kubelets.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::{Node, Pod};

/// The group of Calico's kinds.
const CALICO: &str = "projectcalico.org";

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `kind`, as the API writes it; `NetworkPolicy.projectcalico.org` for Calico's, as
    /// Kubernetes has one of that name too.
    pub kind: String,
    /// `metadata.namespace`; `None` for kinds without.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl std::fmt::Display for Key {
    /// `networkpolicy shop/db`, as people type it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.to_lowercase();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}

impl Key {
    /// That of `object`; one without a namespace is in `default`, if its kind has one.
    ///
    /// # Errors
    /// It has no kind or name, or one that no object can have.
    pub fn of(object: &Value) -> anyhow::Result<Self> {
        let text =
            |path: &str| object.pointer(path).and_then(Value::as_str).filter(|text| is_name(text));
        let kind = text("/kind").context("an object has no kind")?;
        let name = text("/metadata/name")
            .with_context(|| format!("a {kind} has no metadata.name that an object can have"))?;
        let namespace = match object.pointer("/metadata/namespace") {
            _ if is_cluster_wide(kind) => None,
            None | Some(Value::Null) => Some("default"),
            Some(_) => Some(text("/metadata/namespace").with_context(|| {
                format!("{kind} {name}: metadata.namespace is no name that a namespace can have")
            })?),
        };
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let is_calicos = kind == "NetworkPolicy" && version.contains("projectcalico.org/");
        Ok(Self {
            kind: if is_calicos { format!("{kind}.{CALICO}") } else { kind.to_owned() },
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    /// The file that holds it. No name has a `_`, so no two objects share one.
    pub fn file(&self, folder: &Path) -> PathBuf {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        folder.join(format!("{}_{namespace}_{}.yaml", self.kind.to_lowercase(), self.name))
    }

    /// The pod of this name in the lab's own way of naming: without `default/`.
    pub fn pod_name(&self) -> String {
        match self.namespace.as_deref() {
            None | Some("default") => self.name.clone(),
            Some(namespace) => format!("{namespace}/{}", self.name),
        }
    }
}

/// Letters, digits, `-`, `.` and `:` (of RBAC objects): safe in the name of a file.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    !text.is_empty() && text.len() <= 253 && text.chars().all(fits) && !text.starts_with('.')
}

fn is_cluster_wide(kind: &str) -> bool {
    matches!(
        kind,
        "Namespace"
            | "Node"
            | "Tier"
            | "Profile"
            | "HostEndpoint"
            | "CustomResourceDefinition"
            | "StagedGlobalNetworkPolicy"
    ) || kind.starts_with("Global")
        || kind.starts_with("Cluster")
}

/// Reads all objects of a file, or of all `.yaml`, `.yml` and `.json` files of a folder, in
/// the order of their names; lists are taken apart.
///
/// # Errors
/// Something cannot be read, or is no object.
pub fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let files = if path.is_dir() {
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        let is_manifest = |p: &PathBuf| {
            let extension = p.extension().and_then(|e| e.to_str());
            matches!(extension, Some("yaml" | "yml" | "json")) && p.is_file()
        };
        files.retain(is_manifest);
        files.sort();
        files
    } else {
        vec![path.to_owned()]
    };
    let mut objects = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).with_context(|| file.display().to_string())?;
            flatten(value, &mut objects).with_context(|| file.display().to_string())?;
        }
    }
    Ok(objects)
}

fn flatten(mut value: Value, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    match &mut value {
        Value::Null => Ok(()),
        Value::Object(map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
            let Some(Value::Array(items)) = map.remove("items") else { return Ok(()) };
            items.into_iter().try_for_each(|item| flatten(item, objects))
        }
        Value::Object(_) => {
            Key::of(&value)?;
            objects.push(value);
            Ok(())
        }
        _ => bail!("a document is not an object"),
    }
}

/// Writes `object` so that a reader sees the old or the new one, never half of it.
///
/// # Errors
/// It cannot be written.
pub fn write(folder: &Path, key: &Key, object: &Value) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let text = serde_yaml::to_string(object).context("an object is no YAML")?;
    let file = key.file(folder);
    // hidden, and so not read by the agents
    let fresh = folder.join(".fresh");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The object that a key names; `None` if there is none.
///
/// # Errors
/// Its file cannot be read.
pub fn get(folder: &Path, key: &Key) -> anyhow::Result<Option<Value>> {
    let file = key.file(folder);
    match fs::read_to_string(&file) {
        Ok(text) => {
            let object = serde_yaml::from_str(&text).with_context(|| file.display().to_string())?;
            Ok(Some(object))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// What the scheduler and the kubelet of `node` say about a pod, put into what its author wrote:
/// its addresses are told when it is connected.
pub fn placed(mut object: Value, node: &Node, pod: &Pod) -> Value {
    object["metadata"]["namespace"] = json!(pod.kube_namespace);
    object["spec"]["nodeName"] = json!(node.name);
    object["status"] = if pod.is_connected() {
        let ips: Vec<_> = pod.addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        let first = pod.addresses.first().map(ToString::to_string);
        json!({"phase": "Running", "podIP": first, "podIPs": ips})
    } else {
        json!({"phase": "Pending"})
    };
    object
}

/// The Pod object of a pod that nobody wrote one for: labels say which it is.
pub fn plain_pod(node: &Node, pod: &Pod) -> Value {
    let number = pod.name.rsplit('-').next().unwrap_or(&pod.name);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "labels": {"app": pod.name, "node": node.name, "pod": number}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    })
}

/// A Namespace object without labels of its own.
pub fn plain_namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{Options, Plan, TorKind};

    #[test]
    fn keys_say_where_an_object_is() {
        for (object, want) in [
            (json!({"kind": "Pod", "metadata": {"name": "a"}}), Ok("pod default/a")),
            (
                json!({"kind": "NetworkPolicy", "metadata": {"name": "a", "namespace": "b"}}),
                Ok("networkpolicy b/a"),
            ),
            (
                json!({
                    "apiVersion": "projectcalico.org/v3",
                    "kind": "NetworkPolicy",
                    "metadata": {"name": "a", "namespace": "b"},
                }),
                Ok("networkpolicy.projectcalico.org b/a"),
            ),
            (json!({"kind": "HostEndpoint", "metadata": {"name": "a"}}), Ok("hostendpoint a")),
            (json!({"kind": "Namespace", "metadata": {"name": "a"}}), Ok("namespace a")),
            (json!({"metadata": {"name": "a"}}), Err("an object has no kind")),
            (
                json!({"kind": "Pod", "metadata": {"name": "../a"}}),
                Err("a Pod has no metadata.name that an object can have"),
            ),
            (
                json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "b_c"}}),
                Err("Pod a: metadata.namespace is no name that a namespace can have"),
            ),
        ] {
            let got = Key::of(&object).map(|k| k.to_string()).map_err(|e| e.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{object}");
        }
    }

    #[test]
    fn files_are_read_in_order_and_lists_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let pod = |name: &str| format!("kind: Pod\nmetadata: {{name: {name}}}\n");
        fs::write(folder.path().join("b.yaml"), format!("{}---\n{}", pod("x"), pod("y"))).unwrap();
        let list = r#"{"kind": "List", "items": [{"kind": "Pod", "metadata": {"name": "w"}}]}"#;
        fs::write(folder.path().join("a.json"), list).unwrap();
        fs::write(folder.path().join("note.txt"), "nothing").unwrap();
        let names: Vec<_> = read(folder.path())
            .unwrap()
            .iter()
            .map(|object| Key::of(object).unwrap().pod_name())
            .collect();
        assert_eq!(names, ["w", "x", "y"]);
        fs::write(folder.path().join("c.yaml"), "- 1\n").unwrap();
        let error = format!("{:#}", read(folder.path()).unwrap_err());
        assert!(error.ends_with("c.yaml: a document is not an object"), "{error}");
    }

    #[test]
    fn addresses_are_told_when_a_pod_is_connected() {
        let name = "demo".parse().unwrap();
        let options = Options {
            name,
            nodes: 1,
            tors: 1,
            pods: 1,
            dual_stack: true,
            tor: TorKind::Brindle,
            policy: None,
            kube: None,
        };
        let plan = Plan::new(&options).unwrap();
        let (node, pod) = plan.pods().next().unwrap();
        let pending = placed(plain_pod(node, pod), node, pod);
        assert_eq!(pending["spec"]["nodeName"], "n1");
        assert_eq!(pending["status"], json!({"phase": "Pending"}));
        let connected = Pod { interface: "brn0".to_owned(), ..pod.clone() };
        let ips = json!([{"ip": "10.244.1.11"}, {"ip": "fd00:10:244:1::11"}]);
        let want = json!({"phase": "Running", "podIP": "10.244.1.11", "podIPs": ips});
        assert_eq!(placed(pending, node, &connected)["status"], want);
    }

    #[test]
    fn what_is_written_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let object = plain_namespace("shop");
        let key = Key::of(&object).unwrap();
        assert_eq!(get(folder.path(), &key).unwrap(), None);
        write(folder.path(), &key, &object).unwrap();
        assert_eq!(get(folder.path(), &key).unwrap(), Some(object));
    }
}
