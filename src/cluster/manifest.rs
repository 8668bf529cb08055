//! From the text of a manifest file to the objects in it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::kind::{Kind, Role};
use super::object::{Key, Object};
use super::stand_in::StandIn;
use super::typed;

/// Where in a file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which document, from one.
    pub(super) document: usize,
    /// Its first line, or the line of the mistake where that is known; from one.
    pub(super) line: usize,
}

/// A part of a file that can be read on its own: in all but odd cases one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'t> {
    /// The line on which it starts: where `---` stands, or content without it; from one.
    pub(crate) line: usize,
    pub(crate) text: &'t str,
}

/// What a document says, wherever it stands.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Document {
    /// The objects that are right, in their order.
    pub(super) objects: Vec<Object>,
    /// Objects that are wrong.
    pub(super) refused: Vec<Refused>,
    /// What counts of some of those while no good version is known.
    pub(super) stand_ins: Vec<StandIn>,
    /// What is wrong with objects that are taken nevertheless.
    pub(super) doubts: Vec<Doubt>,
    /// How many there are of each kind that is known and not used, by `apiVersion/kind`.
    pub(super) ignored: BTreeMap<String, usize>,
    /// How many there are of each kind that nobody here knows, likewise.
    pub(super) unknown: BTreeMap<String, usize>,
}

/// An object that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What it would be, where it can be told.
    pub(super) key: Option<Key>,
    /// The field, where one is to blame.
    pub(super) field: Option<String>,
    pub(super) message: String,
}

/// A field that does not say what its author may think: a typing error, newer than we are, or
/// not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) key: Key,
    pub(super) field: Option<String>,
    pub(super) message: String,
}

/// Text that is not YAML: nothing behind the mistake can be read, nothing before it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotYaml {
    /// How many documents of the chunk are right.
    pub(super) before: usize,
    /// The line of the mistake within the chunk, from one; `None` if it is not known.
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// Cuts a file at the lines where documents start. No value can hold such a line: YAML forbids
/// it (YAML 1.2 §9.1.2), so that a document means the same on its own.
pub(crate) fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut starts = Vec::new();
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let bare = line.trim_end_matches(['\n', '\r']);
        let rest = bare.strip_prefix("---");
        let marker = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        let directive = bare.starts_with('%');
        if marker || (starts.is_empty() && !directive && !is_blank(bare)) {
            starts.push((offset, number));
        } else if directive && let Some(first) = starts.first() {
            // A directive stands before the marker of the document that it is about.
            let (start, line) = *first;
            return vec![Chunk { line, text: text.get(start..).unwrap_or_default() }];
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
    let chunk = |((start, line), end): (&(usize, usize), usize)| Chunk {
        line: *line,
        text: text.get(*start..end).unwrap_or_default(),
    };
    starts.iter().zip(ends).map(chunk).collect()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// Reads the documents of a chunk, which is YAML or JSON. A document that is no object, or a
/// wrong one, leaves the others alone; one that is not YAML refuses them all.
pub(super) fn read(chunk: &str) -> Result<Vec<Document>, NotYaml> {
    let mut documents = Vec::new();
    for (before, document) in serde_yaml::Deserializer::from_str(chunk).enumerate() {
        match Value::deserialize(document) {
            Ok(value) => documents.push(value),
            Err(error) => {
                let line = error.location().map(|at| at.line());
                return Err(NotYaml { before, line, message: typed::without_place(&error) });
            }
        }
    }
    Ok(documents.into_iter().map(document).collect())
}

fn document(value: Value) -> Document {
    let mut document = Document::default();
    match value {
        // `---` with nothing behind it.
        Value::Null => {}
        Value::Mapping(object) => document.take(object, ""),
        _ => document.refuse(
            None,
            "is not an object; accepted are keys with values, apiVersion and kind among them",
        ),
    }
    document
}

impl Document {
    fn refuse(&mut self, field: Option<String>, message: &str) {
        self.refused.push(Refused { key: None, field, message: message.to_owned() });
    }

    /// Takes an object; `within` is the path that leads to it inside a list.
    fn take(&mut self, object: Mapping, within: &str) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let (api_version, kind) = match (text("apiVersion"), text("kind")) {
            (Some(api_version), Some(kind)) => (api_version, kind),
            (None, _) => {
                let message = "is missing; accepted are for instance v1, networking.k8s.io/v1 and \
                               projectcalico.org/v3";
                return self.refuse(Some(format!("{within}apiVersion")), message);
            }
            (_, None) => {
                let message = "is missing; accepted are Node, Namespace, Pod, NetworkPolicy, \
                               GlobalNetworkPolicy, lists of them, and other kinds of Kubernetes \
                               and Calico";
                return self.refuse(Some(format!("{within}kind")), message);
            }
        };
        let counts = match Role::of(&api_version, &kind) {
            Role::Object(kind) => return self.object(kind, object, within),
            Role::List(items) => return self.list(&api_version, items, object, within),
            Role::Ignored => &mut self.ignored,
            Role::Unknown => &mut self.unknown,
        };
        *counts.entry(format!("{api_version}/{kind}")).or_default() += 1;
    }

    fn list(&mut self, api: &str, of: Option<Kind>, mut object: Mapping, within: &str) {
        let items = match object.remove("items") {
            Some(Value::Sequence(items)) => items,
            None | Some(Value::Null) => return,
            Some(_) => return self.refuse(Some(format!("{within}items")), "is not a list"),
        };
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{within}items[{index}]");
            let Value::Mapping(mut item) = item else {
                self.refuse(Some(path), "is not an object");
                continue;
            };
            // A typed list says once what its items are.
            if let Some(kind) = of {
                for (key, value) in [("apiVersion", api), ("kind", kind.name())] {
                    item.entry(key.into()).or_insert_with(|| value.into());
                }
            }
            self.take(item, &format!("{path}."));
        }
    }

    fn object(&mut self, kind: Kind, object: Mapping, within: &str) {
        let typed::Reading { key, object, stand_in, doubts } = typed::read(kind, object);
        let path = |field: String| {
            let path = format!("{within}{field}");
            Some(path.trim_end_matches('.').to_owned()).filter(|path| !path.is_empty())
        };
        self.stand_ins.extend(stand_in);
        match object {
            Ok(object) => {
                let key = object.key();
                self.doubts.extend(doubts.into_iter().map(|bad| Doubt {
                    key: key.clone(),
                    field: path(bad.field),
                    message: bad.message,
                }));
                self.objects.push(object);
            }
            Err(bad) => self.refused.extend(doubts.into_iter().chain(bad).map(|bad| Refused {
                key: key.clone(),
                field: path(bad.field),
                message: bad.message,
            })),
        }
    }
}

#[cfg(test)]
mod tests;
