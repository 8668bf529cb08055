//! From a JSON Schema to what an API server takes: a structural schema of OpenAPI v3, in which
//! every value has one type and nothing is said twice.

use serde_json::{Map, Value};

/// What an API server does not know, or what says nothing.
const USELESS: [&str; 6] = ["$schema", "$id", "$defs", "title", "default", "examples"];

/// The schema as an API server takes it.
pub(super) fn rewritten(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else {
        // `true`: anything.
        return serde_json::json!({"x-kubernetes-preserve-unknown-fields": true});
    };
    if schema.contains_key("x-kubernetes-int-or-string") {
        // It has no type of its own, and these two alternatives.
        schema.remove("type");
        return Value::Object(schema);
    }
    let is_optional = unwrap_optional(&mut schema);
    for word in USELESS {
        schema.remove(word);
    }
    if let Some(Value::Array(types)) = schema.get("type") {
        let mut types = types.iter().filter(|one| *one != "null").cloned();
        if let Some(first) = types.next() {
            schema.insert("type".to_owned(), first);
        }
    }
    alternatives_to_enum(&mut schema);
    if let Some(Value::String(format)) = schema.get("format") {
        // Those for machines; int64 and the like mean nothing that the limits do not.
        let is_size = ["uint", "int"].iter().any(|start| format.starts_with(start));
        if is_size {
            schema.remove("format");
        }
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        // Lines of the source.
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        // The types let every field be left out, so that one that is missing refuses no more
        // than itself; a schema that does not allow null says that it must be there.
        let required = properties.iter().filter(|(_, value)| !may_be_null(value));
        let required: Vec<Value> = required.map(|(name, _)| name.clone().into()).collect();
        for value in properties.values_mut() {
            *value = rewritten(value.take());
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(value) = schema.get_mut(inner).filter(|value| value.is_object()) {
            *value = rewritten(value.take());
        }
    }
    if schema.get("additionalProperties").is_some_and(Value::is_boolean) {
        schema.remove("additionalProperties");
    }
    // `ingress:` with nothing behind it is the same as no such line. A text that is one of a
    // few may not be null without that being among them.
    let is_listed = schema.contains_key("enum");
    if is_optional && !is_listed && !schema.contains_key("x-kubernetes-int-or-string") {
        schema.insert("nullable".to_owned(), true.into());
    }
    Value::Object(schema)
}

/// Whether null is among what a schema allows.
fn may_be_null(schema: &Value) -> bool {
    let is_null = |one: &Value| one == "null" || one.is_null() || one["type"] == "null";
    ["type", "anyOf", "oneOf", "enum"].iter().any(|word| {
        schema[*word].as_array().is_some_and(|alternatives| alternatives.iter().any(is_null))
    })
}

/// Takes `null` out of the alternatives; whether it was among them. What is left alone is the
/// schema itself, with the description of where it is used.
fn unwrap_optional(schema: &mut Map<String, Value>) -> bool {
    let is_null = |value: &Value| value["type"] == "null" || value.is_null();
    let mut may_be_null = schema
        .get("type")
        .and_then(Value::as_array)
        .is_some_and(|types| types.iter().any(|one| one == "null"));
    for word in ["anyOf", "oneOf"] {
        let Some(Value::Array(mut all)) = schema.remove(word) else { continue };
        let before = all.len();
        all.retain(|one| !is_null(one));
        may_be_null |= all.len() < before;
        match (<[Value; 1]>::try_from(all), before) {
            (Ok([Value::Object(only)]), _) => {
                let here = std::mem::replace(schema, only);
                schema.extend(here);
                // It may be optional inside as well.
                may_be_null |= unwrap_optional(schema);
                break;
            }
            (Ok(all), _) => drop(schema.insert(word.to_owned(), Vec::from(all).into())),
            (Err(all), _) => drop(schema.insert(word.to_owned(), all.into())),
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        let before = values.len();
        values.retain(|value| !value.is_null());
        may_be_null |= values.len() < before;
    }
    may_be_null
}

/// Turns alternatives of which each is one text into a list of these texts.
fn alternatives_to_enum(schema: &mut Map<String, Value>) {
    if let Some(only) = schema.remove("const") {
        schema.insert("enum".to_owned(), vec![only].into());
    }
    let Some(Value::Array(all)) = schema.get("oneOf") else { return };
    let texts = all.iter().map(|one| one.get("const").cloned());
    if let Some(texts) = texts.collect::<Option<Vec<Value>>>() {
        schema.remove("oneOf");
        schema.insert("type".to_owned(), "string".into());
        schema.insert("enum".to_owned(), texts.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_has_one_type() {
        let either = json!({
            "anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true,
        });
        for (schema, want) in [
            (
                json!({"type": ["string", "null"], "default": null}),
                json!({"type": "string", "nullable": true}),
            ),
            (
                json!({"description": "a\nb", "anyOf": [{"type": "object", "title": "x"}, {"type": "null"}]}),
                json!({"description": "a b", "type": "object", "nullable": true}),
            ),
            (
                json!({"type": "integer", "format": "uint8", "minimum": 0}),
                json!({"type": "integer", "minimum": 0}),
            ),
            (
                json!({"type": "number", "format": "double"}),
                json!({"type": "number", "format": "double"}),
            ),
            (
                json!({"oneOf": [{"const": "A", "type": "string"}, {"const": "B", "type": "string"}]}),
                json!({"type": "string", "enum": ["A", "B"]}),
            ),
            (
                json!({"type": ["string", "null"], "enum": ["A", null]}),
                json!({"type": "string", "enum": ["A"]}),
            ),
            (either.clone(), either.clone()),
            (json!({"description": "p", "anyOf": [either, {"type": "null"}]}), {
                let mut want = json!({"description": "p", "x-kubernetes-int-or-string": true});
                want["anyOf"] = json!([{"type": "integer"}, {"type": "string"}]);
                want
            }),
            (
                json!({"type": "object", "properties": {
                    "a": {"type": ["array", "null"], "items": {"type": "string"}},
                    "b": {"type": "boolean"},
                }}),
                json!({"type": "object", "required": ["b"], "properties": {
                    "a": {"type": "array", "nullable": true, "items": {"type": "string"}},
                    "b": {"type": "boolean"},
                }}),
            ),
        ] {
            assert_eq!(rewritten(schema.clone()), want, "{schema}");
        }
    }
}
