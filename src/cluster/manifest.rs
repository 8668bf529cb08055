//! From the text of a manifest file to the objects in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node as Object;
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::fields::{culprit, unknown_fields};
use super::{Node, node};

/// Kinds that a folder may hold for other readers of it, or for a later version of ours.
const OTHERS: [(&str, &[&str]); 8] = [
    (
        "v1",
        &[
            "Namespace",
            "Pod",
            "Service",
            "Endpoints",
            "ServiceAccount",
            "ConfigMap",
            "Secret",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "LimitRange",
            "Event",
            "ReplicationController",
            "PodTemplate",
        ],
    ),
    ("apps/", &[]),
    ("batch/", &[]),
    ("discovery.k8s.io/", &[]),
    ("networking.k8s.io/", &[]),
    ("policy.networking.k8s.io/", &[]),
    ("rbac.authorization.k8s.io/", &[]),
    ("projectcalico.org/", &[]),
];

/// Where in a file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which document, from one.
    pub(super) document: usize,
    /// Its first line, or the line of the mistake where that is known; from one.
    pub(super) line: usize,
}

/// The objects of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The nodes that are right, in the order of the file.
    pub(super) nodes: Vec<(Spot, Arc<Node>)>,
    /// Objects that are wrong.
    pub(super) refused: Vec<Refused>,
    /// Fields that a Node does not have, and which say nothing therefore.
    pub(super) doubts: Vec<Doubt>,
    /// How many there are of each kind that is known and not used, by `apiVersion/kind`.
    pub(super) ignored: BTreeMap<String, usize>,
    /// How many there are of each kind that nobody here knows, likewise.
    pub(super) unknown: BTreeMap<String, usize>,
}

/// An object that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) at: Spot,
    /// The name of the node that it would be, where it can be told.
    pub(super) node: Option<String>,
    /// The field, where one is to blame.
    pub(super) field: Option<String>,
    pub(super) message: String,
}

/// A field that no Node has: a typing error, or newer than we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) at: Spot,
    pub(super) node: String,
    pub(super) field: String,
}

/// Text that is not YAML: nothing behind the mistake can be read, nothing before it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotYaml {
    pub(super) at: Spot,
    pub(super) message: String,
}

/// Reads all documents of `text`, which is YAML or JSON. A document that is no object, or
/// a wrong one, leaves the others alone; one that is not YAML refuses them all.
pub(super) fn read(text: &str) -> Result<Manifest, NotYaml> {
    let starts = document_starts(text);
    let start = |index: usize| starts.get(index).or(starts.last()).copied().unwrap_or(1);
    let mut documents = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        match Value::deserialize(document) {
            Ok(value) => documents.push(value),
            Err(error) => {
                let line = error.location().map_or_else(|| start(index), |at| at.line());
                let at = Spot { document: index + 1, line };
                return Err(NotYaml { at, message: without_place(&error) });
            }
        }
    }
    let mut manifest = Manifest::default();
    for (index, value) in documents.into_iter().enumerate() {
        let reader = Reader { document: index + 1, line: start(index) };
        reader.document(value, &mut manifest);
    }
    Ok(manifest)
}

/// The lines on which documents start: where `---` stands, and where content stands before
/// the first of them.
fn document_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        let content = !line.trim().is_empty() && !line.starts_with(['#', '%']);
        if marker || (starts.is_empty() && content) {
            starts.push(number);
        }
    }
    starts
}

/// The message alone: the place is said by those who know the file.
fn without_place(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match (error.location(), text.find(" at line ")) {
        (Some(_), Some(end)) => text.get(..end).unwrap_or(&text).to_owned(),
        _ => text,
    }
}

/// One document of a file.
struct Reader {
    document: usize,
    line: usize,
}

impl Reader {
    fn document(&self, value: Value, manifest: &mut Manifest) {
        match value {
            // `---` with nothing behind it.
            Value::Null => {}
            Value::Mapping(object) => self.object(object, "", manifest),
            _ => manifest.refused.push(self.refused(
                None,
                None,
                "is not an object; accepted are keys with values, apiVersion and kind among them",
            )),
        }
    }

    /// Reads an object; `within` is the path that leads to it inside a list.
    fn object(&self, object: Mapping, within: &str, manifest: &mut Manifest) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let (api_version, kind) = match (text("apiVersion"), text("kind")) {
            (Some(api_version), Some(kind)) => (api_version, kind),
            (None, _) => {
                let field = Some(format!("{within}apiVersion"));
                manifest.refused.push(self.refused(None, field, "is missing; a Node has v1"));
                return;
            }
            (_, None) => {
                let field = Some(format!("{within}kind"));
                let message = "is missing; accepted are Node and other kinds of Kubernetes";
                manifest.refused.push(self.refused(None, field, message));
                return;
            }
        };
        match (api_version.as_str(), kind.as_str()) {
            ("v1", "Node") => self.node(object, within, manifest),
            ("v1", "List" | "NodeList") => self.list(object, &kind, within, manifest),
            (version, kind) => {
                let counts = if is_known(version, kind) {
                    &mut manifest.ignored
                } else {
                    &mut manifest.unknown
                };
                *counts.entry(format!("{version}/{kind}")).or_default() += 1;
            }
        }
    }

    fn list(&self, mut object: Mapping, kind: &str, within: &str, manifest: &mut Manifest) {
        let items = match object.remove("items") {
            Some(Value::Sequence(items)) => items,
            None | Some(Value::Null) => return,
            Some(_) => {
                let field = Some(format!("{within}items"));
                manifest.refused.push(self.refused(None, field, "is not a list"));
                return;
            }
        };
        for (index, item) in items.into_iter().enumerate() {
            let within = format!("{within}items[{index}].");
            let Value::Mapping(mut item) = item else {
                let field = Some(within.trim_end_matches('.').to_owned());
                manifest.refused.push(self.refused(None, field, "is not an object"));
                continue;
            };
            // A typed list says once what its items are.
            if kind == "NodeList" {
                for (key, value) in [("apiVersion", "v1"), ("kind", "Node")] {
                    item.entry(key.into()).or_insert_with(|| value.into());
                }
            }
            self.object(item, &within, manifest);
        }
    }

    fn node(&self, object: Mapping, within: &str, manifest: &mut Manifest) {
        let name = object.get("metadata").and_then(|metadata| metadata.get("name"));
        let name = name.and_then(Value::as_str).map(str::to_owned);
        let value = Value::Mapping(object);
        let object = match Object::deserialize(&value) {
            Ok(object) => object,
            Err(error) => {
                let field = format!("{within}{}", culprit(&value));
                let field = Some(field.trim_end_matches('.').to_owned()).filter(|f| !f.is_empty());
                let message = without_place(&error);
                manifest.refused.push(self.refused(name, field, &message));
                return;
            }
        };
        let at = Spot { document: self.document, line: self.line };
        if let (Some(name), Ok(known)) = (&name, serde_yaml::to_value(&object)) {
            let fields = unknown_fields(&value, &known);
            let fields = fields.into_iter().map(|field| format!("{within}{field}"));
            let doubt = |field| Doubt { at: at.clone(), node: name.clone(), field };
            manifest.doubts.extend(fields.map(doubt));
        }
        match node::read(&object) {
            Ok(node) => {
                manifest.nodes.push((at, Arc::new(node)));
            }
            Err(fields) => manifest.refused.extend(fields.into_iter().map(|bad| {
                let field = Some(format!("{within}{}", bad.field));
                self.refused(name.clone(), field, &bad.message)
            })),
        }
    }

    fn refused(&self, node: Option<String>, field: Option<String>, message: &str) -> Refused {
        Refused {
            at: Spot { document: self.document, line: self.line },
            node,
            field,
            message: message.to_owned(),
        }
    }
}

fn is_known(api_version: &str, kind: &str) -> bool {
    OTHERS.iter().any(|(group, kinds)| {
        if group.ends_with('/') {
            api_version.starts_with(group)
        } else {
            api_version == *group && kinds.contains(&kind)
        }
    })
}

#[cfg(test)]
mod tests;
