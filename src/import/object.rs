//! Objects of any kind, as far as an import looks at them.

use serde_json::Value;

/// The annotation under which Calico's own CRDs keep the labels that a user gave.
const STORED_METADATA: &str = "projectcalico.org/metadata";

/// What a server adds to an object, and nobody wrote.
const OF_SERVER: [&str; 6] =
    ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"];

/// The kind of an object.
pub(super) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// Its API group.
pub(super) fn group(object: &Value) -> &str {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Its name.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Kind and name, as refusals have them.
pub(super) fn title(object: &Value) -> String {
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", kind(object), name(object)),
        None => format!("{} {}", kind(object), name(object)),
    }
}

/// An annotation.
pub(super) fn annotation<'o>(object: &'o Value, key: &str) -> Option<&'o str> {
    object["metadata"]["annotations"][key].as_str().filter(|text| !text.is_empty())
}

/// Whether a value is what it would be if it were left out.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A list of objects, one by one; anything else as it is.
pub(super) fn flat(object: &Value) -> Vec<&Value> {
    match object["items"].as_array() {
        Some(items) if kind(object).ends_with("List") => items.iter().flat_map(flat).collect(),
        _ => vec![object],
    }
}

/// An object of Calico's as its author wrote it, for `projectcalico.org/v3`: without what the
/// server added, with the labels that Calico's own storage hides in an annotation.
pub(super) fn as_written(object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = "projectcalico.org/v3".into();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let Some(metadata) = object["metadata"].as_object_mut() else { return object };
    for field in OF_SERVER {
        metadata.remove(field);
    }
    let stored = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    let stored = stored.and_then(|annotations| {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        annotations.remove(STORED_METADATA)
    });
    let stored: Value =
        stored.and_then(|text| serde_json::from_str(text.as_str()?).ok()).unwrap_or(Value::Null);
    for field in ["labels", "annotations"] {
        if let Some(hidden) = stored[field].as_object() {
            let shown = metadata.entry(field).or_insert_with(|| Value::Object(Default::default()));
            if let Some(shown) = shown.as_object_mut() {
                shown.extend(hidden.clone());
            }
        }
        if metadata.get(field).is_some_and(says_nothing) {
            metadata.remove(field);
        }
    }
    object
}
