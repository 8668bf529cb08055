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
mod tests {
    use super::*;

    /// What is in `text`: nodes as `2:n1` with their document, what is refused in full.
    fn outline(text: &str) -> Vec<String> {
        match read(text) {
            Err(NotYaml { at, message }) => {
                vec![format!("not YAML {}:{} {message}", at.document, at.line)]
            }
            Ok(manifest) => {
                let nodes = manifest.nodes.iter();
                let nodes =
                    nodes.map(|(at, node)| format!("{}:{} {}", at.document, at.line, node.name));
                let refused = manifest.refused.iter().map(|refused| {
                    let Refused { at, node, field, message } = refused;
                    let name = node.as_deref().unwrap_or("?");
                    let field = field.as_deref().unwrap_or("?");
                    format!("refused {}:{} {name} {field}: {message}", at.document, at.line)
                });
                let doubts = manifest.doubts.iter().map(|doubt| {
                    let Doubt { at, node, field } = doubt;
                    format!("unknown field {}:{} {node} {field}", at.document, at.line)
                });
                let count = |(word, counts): (&str, BTreeMap<String, usize>)| {
                    let line = move |(kind, count)| format!("{word} {count} {kind}");
                    counts.into_iter().map(line).collect::<Vec<_>>()
                };
                let others = [("ignored", manifest.ignored), ("unknown", manifest.unknown)];
                nodes
                    .chain(refused)
                    .chain(doubts)
                    .chain(others.into_iter().flat_map(count))
                    .collect()
            }
        }
    }

    const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";

    #[test]
    fn documents_are_found_and_named_by_number_and_line() {
        let two = format!("{NODE}---\n{}", NODE.replace("n1", "n2"));
        let commented = format!("# nodes\n\n---\n{NODE}\n---\n# nothing\n---\n{NODE}");
        for (text, want) in [
            ("", vec![]),
            ("# nothing\n", vec![]),
            ("---\n---\n", vec![]),
            (NODE, vec!["1:1 n1"]),
            (two.as_str(), vec!["1:1 n1", "2:4 n2"]),
            (commented.as_str(), vec!["1:3 n1", "3:10 n1"]),
            (
                "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Node\", \"metadata\": {\"name\": \"j\"}\n}",
                vec!["1:1 j"],
            ),
            ("a: 1\n", vec!["refused 1:1 ? apiVersion: is missing; a Node has v1"]),
            (
                "apiVersion: v1\n",
                vec![
                    "refused 1:1 ? kind: is missing; accepted are Node and other kinds of Kubernetes",
                ],
            ),
            (
                "- 1\n",
                vec![
                    "refused 1:1 ? ?: is not an object; accepted are keys with values, apiVersion and kind among them",
                ],
            ),
            ("a: 1\na: 2\n", vec!["not YAML 1:1 duplicate entry with key \"a\""]),
            ("a: 1\n---\nb: [\n", vec!["not YAML 2:4 did not find expected node content"]),
        ] {
            assert_eq!(outline(text), want, "{text}");
        }
    }

    #[test]
    fn other_kinds_are_counted() {
        let of = |version: &str, kind: &str| format!("---\napiVersion: {version}\nkind: {kind}\n");
        let text = [
            of("v1", "Pod"),
            of("v1", "Pod"),
            of("networking.k8s.io/v1", "NetworkPolicy"),
            of("projectcalico.org/v3", "BGPPeer"),
            of("v1", "Nod"),
            of("example.org/v1", "Thing"),
        ];
        assert_eq!(
            outline(&text.concat()),
            [
                "ignored 1 networking.k8s.io/v1/NetworkPolicy",
                "ignored 1 projectcalico.org/v3/BGPPeer",
                "ignored 2 v1/Pod",
                "unknown 1 example.org/v1/Thing",
                "unknown 1 v1/Nod",
            ]
        );
    }

    #[test]
    fn lists_are_read_item_by_item() {
        let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: n1}}
- {apiVersion: v1, kind: Node, metadata: {name: N2}}
- {apiVersion: v1, kind: Node, metadata: {name: n3}, spec: {podCIDRs: 7}}
- 4
- {apiVersion: v1, kind: Pod}
- apiVersion: v1
  kind: NodeList
  items: [{metadata: {name: n5}}]
";
        assert_eq!(
            outline(text),
            [
                "1:2 n1",
                "1:2 n5",
                "refused 1:2 N2 items[1].metadata.name: \"N2\" is not a name; accepted are up to 253 lower-case letters, digits, \"-\" and \".\", each part between dots with a letter or digit first and last",
                "refused 1:2 n3 items[2].spec.podCIDRs: invalid type: integer `7`, expected a sequence",
                "refused 1:2 ? items[3]: is not an object",
                "ignored 1 v1/Pod",
            ]
        );
    }

    #[test]
    fn fields_that_a_node_does_not_have_are_noted() {
        let text = "
apiVersion: v1
kind: Node
metadata: {name: n1, label: {a: b}, labels: {any: thing}, annotations: {any: thing}}
spec: {podCIDRS: [10.0.0.0/8], podCIDR: 10.0.0.0/8, unschedulable: null, taints: [{key: k, effect: NoSchedule, valeu: v}]}
status:
  addresses: [{type: InternalIP, adress: 10.0.0.1, address: 10.0.0.1}]
  capacity: {cpu: 2, memory: 16Gi}
";
        assert_eq!(
            outline(text),
            [
                "1:2 n1",
                "unknown field 1:2 n1 metadata.label",
                "unknown field 1:2 n1 spec.podCIDRS",
                "unknown field 1:2 n1 spec.taints[0].valeu",
                "unknown field 1:2 n1 status.addresses[0].adress",
            ]
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_by_field_and_leaves_other_documents_alone() {
        let text = format!(
            "{NODE}---\n{}spec:\n  podCIDRs:\n  - 10.0.0.0/8\n  - 7\n---\n{NODE}",
            NODE.replace("n1", "n2")
        );
        assert_eq!(
            outline(&text),
            [
                "1:1 n1",
                "3:12 n1",
                "refused 2:4 n2 spec.podCIDRs[1]: invalid type: integer `7`, expected a string",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_gets_an_answer(text in proptest::prelude::any::<String>()) {
            let _ = outline(&text);
        }

        #[test]
        fn a_damaged_good_text_gets_an_answer(
            damages in proptest::collection::vec((0usize..200, proptest::prelude::any::<char>()), 1..6),
        ) {
            let mut text: Vec<char> = format!("{NODE}---\n{NODE}spec: {{podCIDRs: [10.0.0.0/8]}}\n").chars().collect();
            for (index, c) in damages {
                let index = index % text.len();
                text[index] = c;
            }
            let _ = outline(&text.into_iter().collect::<String>());
        }
    }
}
