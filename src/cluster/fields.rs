//! Which fields of an object are to blame, where the types themselves do not say it.

use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// The fields in `typed` that are not in `known`, which is the same object after it was read
/// and written again. An explicit null counts as left out.
pub(crate) fn unknown_fields(typed: &Value, known: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(typed, known, "", &mut found);
    found
}

fn compare(typed: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
    match (typed, known) {
        (Value::Mapping(typed), Value::Mapping(known)) => {
            for (key, value) in typed.iter().filter(|(_, value)| !value.is_null()) {
                let name = key.as_str().unwrap_or("?");
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                match known.get(key) {
                    Some(known) => compare(value, known, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Sequence(typed), Value::Sequence(known)) => {
            for (index, (typed, known)) in typed.iter().zip(known).enumerate() {
                compare(typed, known, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The path of the value for which `object` is no `T`: the deepest one without which it would
/// be. Empty if there is no single one. (Errors of values do not say it, and reading the text
/// itself would take numbers for text, which the API server does not.)
pub(crate) fn culprit<T: DeserializeOwned>(object: &Value) -> String {
    /// An honest list that is longer need not be searched.
    const MOST: usize = 1_000;
    let mut path = String::new();
    let mut steps: Vec<Value> = Vec::new();
    loop {
        let suspects: Vec<Value> = match at(object, &steps) {
            Some(Value::Mapping(map)) => map.keys().cloned().collect(),
            Some(Value::Sequence(list)) => (0..list.len()).map(Value::from).collect(),
            _ => return path,
        };
        let guilty = suspects.into_iter().take(MOST).find(|suspect| {
            let mut without = object.clone();
            remove(&mut without, &steps, suspect);
            T::deserialize(&without).is_ok()
        });
        let Some(guilty) = guilty else { return path };
        match &guilty {
            Value::String(key) if path.is_empty() => path.push_str(key),
            Value::String(key) => path.push_str(&format!(".{key}")),
            Value::Number(index) => path.push_str(&format!("[{index}]")),
            _ => return path,
        }
        steps.push(guilty);
    }
}

/// The value that `steps` lead to: keys of mappings and indices of sequences.
pub(super) fn at<'v>(value: &'v Value, steps: &[Value]) -> Option<&'v Value> {
    steps.iter().try_fold(value, |value, step| match value {
        Value::Sequence(list) => list.get(usize::try_from(step.as_u64()?).ok()?),
        _ => value.get(step),
    })
}

/// Takes `last` out of the value that `steps` lead to.
pub(super) fn remove(value: &mut Value, steps: &[Value], last: &Value) {
    let index = |step: &Value| step.as_u64().and_then(|index| usize::try_from(index).ok());
    let inner = steps.iter().try_fold(value, |value, step| match value {
        Value::Sequence(list) => list.get_mut(index(step)?),
        _ => value.get_mut(step),
    });
    match inner {
        Some(Value::Mapping(map)) => drop(map.remove(last)),
        Some(Value::Sequence(list)) => {
            if let Some(index) = index(last).filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}
