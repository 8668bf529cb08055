//! From files to objects: YAML or JSON, documents, lists, and folders of them.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::found::{Id, Mistake, Object, Place};
use super::words::KINDS;
use crate::cluster::kind::{CALICO, Kind};
use crate::cluster::manifest;
use crate::cluster::texts::{is_manifest, read_file};

/// The namespace of an object that names none, unless another is asked for.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Objects as Calico keeps them where it has no API server of its own.
pub const STORED: &str = "crd.projectcalico.org/v1";
/// The most that is read from standard input.
const MOST: u64 = 64 << 20;

/// A text and what it is called.
pub struct Text {
    /// The file as it was named.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Reads what `-f` names: files, folders (with those inside, if `recursive`), `-` for standard
/// input.
///
/// # Errors
/// One of them cannot be read; a sentence that names it.
pub fn texts(names: &[PathBuf], recursive: bool) -> Result<Vec<Text>, String> {
    let mut texts = Vec::new();
    for name in names {
        if name == Path::new("-") {
            let mut text = String::new();
            let read = io::stdin().lock().take(MOST + 1).read_to_string(&mut text);
            read.map_err(|error| format!("<stdin>: cannot be read: {error}"))?;
            if text.len() as u64 > MOST {
                return Err(format!("<stdin>: accepted are at most {MOST} bytes"));
            }
            texts.push(Text { name: "<stdin>".to_owned(), text });
            continue;
        }
        let kind = fs::metadata(name).map_err(|error| format!("{}: {error}", name.display()))?;
        match kind.is_dir() {
            true => folder(name, recursive, &mut texts)?,
            false => texts.extend(file(name)?),
        }
    }
    Ok(texts)
}

fn folder(folder: &Path, recursive: bool, texts: &mut Vec<Text>) -> Result<(), String> {
    let cannot = |error: io::Error| format!("{}: cannot be listed: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(cannot)?.collect::<Result<Vec<_>, _>>();
    let mut paths: Vec<PathBuf> = entries.map_err(cannot)?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A link to a folder could lead around in circles.
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_dir());
        match is_folder {
            true if recursive => self::folder(&path, recursive, texts)?,
            true => {}
            false if is_manifest(&name) => texts.extend(file(&path)?),
            false => {}
        }
    }
    Ok(())
}

fn file(path: &Path) -> Result<Option<Text>, String> {
    let name = path.display().to_string();
    let text = read_file(path).map_err(|error| format!("{name}: {error}"))?;
    Ok(text.map(|text| Text { name, text }))
}

/// The documents of a text, lists taken apart; in their order.
///
/// # Errors
/// It is not YAML.
pub fn documents(text: &Text) -> Result<Vec<(Place, Value)>, Box<Mistake>> {
    let mut found = Vec::new();
    let mut number = 0;
    for chunk in manifest::chunks(&text.text) {
        for document in serde_yaml::Deserializer::from_str(chunk.text) {
            number += 1;
            let mut place = Place {
                file: text.name.clone(),
                document: number,
                line: chunk.line,
                within: String::new(),
            };
            let value = serde_yaml::Value::deserialize(document).map_err(|error| {
                if let Some(at) = error.location() {
                    place.line += at.line().saturating_sub(1);
                }
                let why = crate::cluster::typed::without_place(&error);
                Box::new(Mistake::at(&place, "", format!("not valid YAML: {why}")))
            })?;
            let value = serde_json::to_value(&value).map_err(|error| {
                Box::new(Mistake::at(&place, "", format!("has no equivalent in JSON: {error}")))
            })?;
            apart(place, value, &mut found);
        }
    }
    Ok(found)
}

/// Takes lists apart: those of the API, and plain ones, which calicoctl writes too.
fn apart(place: Place, value: Value, found: &mut Vec<(Place, Value)>) {
    match value {
        // `---` with nothing behind it.
        Value::Null => {}
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                let within = format!("{}[{index}].", place.within.trim_end_matches('.'));
                apart(Place { within, ..place.clone() }, item, found);
            }
        }
        Value::Object(mut object) => {
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            let item_kind = kind.strip_suffix("List").filter(|_| object.contains_key("items"));
            let (Some(item_kind), Some(Value::Array(items))) =
                (item_kind, object.get_mut("items").map(Value::take))
            else {
                found.push((place, Value::Object(object)));
                return;
            };
            for (index, mut item) in items.into_iter().enumerate() {
                let within = format!("{}items[{index}].", place.within);
                // A typed list says once what its items are.
                if let (Value::Object(item), false) = (&mut item, item_kind.is_empty()) {
                    let api = object.get("apiVersion").cloned().unwrap_or_default();
                    item.entry("apiVersion").or_insert(api);
                    item.entry("kind").or_insert(item_kind.into());
                }
                apart(Place { within, ..place.clone() }, item, found);
            }
        }
        other => found.push((place, other)),
    }
}

/// What a document says it is: a kind that is handled here, and the name.
///
/// # Errors
/// It is none, or does not say it; what would be accepted.
pub fn object(
    place: &Place,
    value: Value,
    namespace: Option<&str>,
) -> Result<Object, Box<Mistake>> {
    let wrong = |field: &str, message: String| Box::new(Mistake::at(place, field, message));
    let Value::Object(mut object) = value else {
        let message = "is not an object; accepted are keys with values, apiVersion and kind among \
                       them";
        return Err(wrong("", message.to_owned()));
    };
    let kind = kind_of(&object).map_err(|(field, message)| wrong(field, message))?;
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return Err(wrong("metadata", "is missing; accepted is {name: ...}".to_owned()));
    };
    let text = |metadata: &Map<String, Value>, key| {
        metadata.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = text(metadata, "name")
        .ok_or_else(|| wrong("metadata.name", "is missing; every object has a name".to_owned()))?;
    if !brindle_config::is_dns_subdomain(&name) {
        let message = format!("{name:?} is no name; accepted are a-z, 0-9, '-' and '.'");
        return Err(wrong("metadata.name", message));
    }
    let own = text(metadata, "namespace");
    let namespace = match (kind.is_namespaced(), own, namespace) {
        (true, Some(own), Some(asked)) if own != asked => {
            let message = format!("{own:?} is not {asked:?}, which --namespace asks for");
            return Err(wrong("metadata.namespace", message));
        }
        (true, Some(own), _) => Some(own),
        (true, None, asked) => Some(asked.unwrap_or(DEFAULT_NAMESPACE).to_owned()),
        (false, Some(own), _) => {
            let message = format!("{own:?}: a {} is in no namespace; leave it out", kind.name());
            return Err(wrong("metadata.namespace", message));
        }
        (false, None, _) => None,
    };
    match &namespace {
        Some(namespace) => drop(metadata.insert("namespace".into(), namespace.clone().into())),
        None => drop(metadata.remove("namespace")),
    }
    Ok(Object { id: Id { kind, namespace, name }, value: Value::Object(object) })
}

fn kind_of(object: &Map<String, Value>) -> Result<Kind, (&'static str, String)> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let names = || {
        // Two kinds share one.
        let kinds = KINDS.into_iter().filter(|kind| *kind != Kind::NetworkPolicy);
        kinds.map(Kind::name).collect::<Vec<&str>>().join(", ")
    };
    let Some(kind) = text("kind") else {
        return Err(("kind", format!("is missing; accepted are {}", names())));
    };
    let Some(api) = text("apiVersion") else {
        return Err(("apiVersion", format!("is missing; for a {kind}, accepted is {CALICO}")));
    };
    if let Some(known) = KINDS.into_iter().find(|k| k.api_version() == api && k.name() == kind) {
        return Ok(known);
    }
    if api == STORED {
        let message = format!("{api}: brindle convert makes {CALICO} of it");
        return Err(("apiVersion", message));
    }
    if let Some(known) = KINDS.into_iter().find(|k| k.name() == kind) {
        let message = format!("{api:?} has no {kind}; accepted is {}", known.api_version());
        return Err(("apiVersion", message));
    }
    let follows = match api.starts_with("projectcalico.org/") {
        true => "it says nothing about policy (brindle import calico says what becomes of it)",
        false => "kubectl takes it",
    };
    let message = format!("{kind:?} of {api} is not handled here; accepted are {}; ", names());
    Err(("kind", message + follows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, namespace: Option<&str>) -> Vec<String> {
        let text = Text { name: "f".to_owned(), text: text.to_owned() };
        let documents = match documents(&text) {
            Ok(documents) => documents,
            Err(mistake) => return vec![mistake.to_string()],
        };
        let read = documents.into_iter().map(|(place, value)| {
            object(&place, value, namespace).map_or_else(|m| m.to_string(), |o| o.id.to_string())
        });
        read.collect()
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        const GNP: &str = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, \
                           metadata: {name: a}}";
        for (text, want) in [
            (GNP.to_owned(), &["GlobalNetworkPolicy(a)"][..]),
            (format!("# only a comment\n---\n---\n{GNP}\n---\n"), &["GlobalNetworkPolicy(a)"]),
            (format!("- {GNP}\n- {GNP}\n"), &["GlobalNetworkPolicy(a)"; 2]),
            (
                format!("apiVersion: v1\nkind: List\nitems:\n- {GNP}\n- {{kind: Tier}}\n"),
                &[
                    "GlobalNetworkPolicy(a)",
                    "f:1: items[1].apiVersion: is missing; for a Tier, accepted is \
                     projectcalico.org/v3",
                ],
            ),
            (
                "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"TierList\", \
                 \"items\": [{\"metadata\": {\"name\": \"t\"}}]}"
                    .to_owned(),
                &["Tier(t)"],
            ),
            ("kind: [".to_owned(), &["f:2: not valid YAML: did not find expected node content"]),
            (
                "7".to_owned(),
                &[
                    "f:1: is not an object; accepted are keys with values, apiVersion and kind among them",
                ],
            ),
        ] {
            assert_eq!(read(&text, None), want, "{text}");
        }
    }

    #[test]
    fn what_is_not_handled_is_refused_with_what_is() {
        let object = |api: &str, kind: &str, metadata: &str| {
            format!("{{apiVersion: {api}, kind: {kind}, metadata: {metadata}}}")
        };
        const V3: &str = "projectcalico.org/v3";
        for (text, namespace, want) in [
            (object(V3, "NetworkPolicy", "{name: a}"), None, "NetworkPolicy(default/a)"),
            (object(V3, "NetworkPolicy", "{name: a}"), Some("x"), "NetworkPolicy(x/a)"),
            (
                object("networking.k8s.io/v1", "NetworkPolicy", "{name: a, namespace: y}"),
                None,
                "NetworkPolicy(y/a)",
            ),
            (
                object(V3, "NetworkPolicy", "{name: a, namespace: y}"),
                Some("x"),
                "f:1: metadata.namespace: \"y\" is not \"x\", which --namespace asks for",
            ),
            (
                object(V3, "Tier", "{name: a, namespace: y}"),
                None,
                "f:1: metadata.namespace: \"y\": a Tier is in no namespace; leave it out",
            ),
            (object(V3, "Tier", "{name: a}"), Some("x"), "Tier(a)"),
            (
                object(V3, "Tier", "{}"),
                None,
                "f:1: metadata.name: is missing; every object has a name",
            ),
            (
                object(V3, "Tier", "{name: A_b}"),
                None,
                "f:1: metadata.name: \"A_b\" is no name; accepted are a-z, 0-9, '-' and '.'",
            ),
            (
                object(STORED, "Tier", "{name: a}"),
                None,
                "f:1: apiVersion: crd.projectcalico.org/v1: brindle convert makes \
                 projectcalico.org/v3 of it",
            ),
            (
                object("v1", "HostEndpoint", "{name: a}"),
                None,
                "f:1: apiVersion: \"v1\" has no HostEndpoint; accepted is projectcalico.org/v3",
            ),
        ] {
            assert_eq!(read(&text, namespace), [want], "{text}");
        }
        let pod = read(&object("v1", "Pod", "{name: a}"), None).remove(0);
        assert!(pod.starts_with("f:1: kind: \"Pod\" of v1 is not handled here; accept"), "{pod}");
        assert!(pod.ends_with("; kubectl takes it"), "{pod}");
    }
}
