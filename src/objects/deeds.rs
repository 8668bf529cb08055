//! What the verbs do with a store, and how it is told: calicoctl's verbs, rules and messages.

use serde_json::Value;

use super::found::{Id, Object};
use super::store::{Store, Trouble, Why};
use crate::cluster::kind::Kind;

/// How often a change is tried again that somebody else's came before.
const ATTEMPTS: usize = 5;

/// What is done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Write it, whether it is there or not.
    Apply,
    /// Write it; it must not be there.
    Create,
    /// Write it; it must be there.
    Replace,
    /// Take it away; it must be there.
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Verb::Apply => "apply",
            Verb::Create => "create",
            Verb::Replace => "replace",
            Verb::Delete => "delete",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Verb::Apply => "applied",
            Verb::Create => "created",
            Verb::Replace => "replaced",
            Verb::Delete => "deleted",
        }
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    verb: Verb,
    kinds: Vec<Kind>,
    done: usize,
    /// What ended it.
    pub trouble: Option<Trouble>,
}

/// Does it with one object after the other, until one fails. Those that are there already count
/// as created if `skips`, those that are not there as deleted.
pub fn carry_out(store: &mut dyn Store, verb: Verb, objects: &[Object], skips: bool) -> Outcome {
    let kinds = objects.iter().map(|object| object.id.kind).collect();
    let mut outcome = Outcome { verb, kinds, done: 0, trouble: None };
    for object in objects {
        let result = match verb {
            Verb::Apply => apply(store, object, true),
            Verb::Replace => apply(store, object, false),
            Verb::Create => store.create(object),
            Verb::Delete => store.delete(&object.id),
        };
        match result {
            Ok(()) => outcome.done += 1,
            Err(trouble) if skips && matches!(trouble.why, Why::Exists | Why::Missing) => {
                outcome.done += 1;
            }
            Err(trouble) => {
                outcome.trouble = Some(trouble);
                break;
            }
        }
    }
    outcome
}

/// Writes the object over the one that is there, or anew if it `may_create`.
fn apply(store: &mut dyn Store, object: &Object, may_create: bool) -> Result<(), Trouble> {
    let version = object.value["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let result = match store.get(&object.id)? {
            Some(before) => store.replace(object, &before),
            None if may_create => store.create(object),
            None => return Err(Trouble::missing(&object.id)),
        };
        match result {
            // Somebody else was quicker. Who names a version means that one.
            Err(trouble)
                if version.is_empty()
                    && matches!(trouble.why, Why::Changed | Why::Exists | Why::Missing) =>
            {
                last = Some(trouble);
            }
            result => return result,
        }
    }
    Err(last.expect("it was tried"))
}

impl Outcome {
    /// What is said of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let total = self.kinds.len();
        let is_same = self.kinds.windows(2).all(|pair| pair[0] == pair[1]);
        let kind = match self.kinds.first() {
            Some(kind) if is_same => format!("'{}' ", kind.name()),
            _ => String::new(),
        };
        let (verb, done) = (self.verb.as_str(), self.verb.done());
        match (&self.trouble, self.done) {
            (None, _) => vec![format!("Successfully {done} {total} {kind}resource(s)")],
            (Some(trouble), 0) if total == 1 => {
                vec![format!("Failed to {verb} {kind}resource: {trouble}")]
            }
            (Some(trouble), 0) => vec![format!("Failed to {verb} any {kind}resources: {trouble}")],
            (Some(trouble), count) => vec![
                format!(
                    "Partial success: {done} the first {count} out of {total} {kind}resources:"
                ),
                format!("Hit error: {trouble}"),
            ],
        }
    }
}

/// A change of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// `key=value`.
    Set(String, String),
    /// `key-`, or `key` and `--remove`.
    Remove(String),
}

impl Label {
    /// Reads `key=value`, `key-`, and `key` where labels are to be removed.
    ///
    /// # Errors
    /// It is none of these; what is accepted.
    pub fn read(text: &str, removes: bool) -> Result<Self, String> {
        let wrong = |accepted: &str| Err(format!("{text:?} is no label; accepted is {accepted}"));
        match (text.split_once('='), removes) {
            (Some((key, value)), false) if !key.is_empty() => {
                Ok(Label::Set(key.to_owned(), value.to_owned()))
            }
            (Some(_), true) => wrong("KEY alone with --remove"),
            (None, true) if !text.is_empty() => {
                Ok(Label::Remove(text.trim_end_matches('-').to_owned()))
            }
            (None, false) if text.len() > 1 && text.ends_with('-') => {
                Ok(Label::Remove(text.trim_end_matches('-').to_owned()))
            }
            _ => wrong("KEY=VALUE, or KEY- to remove one"),
        }
    }
}

/// Changes labels of an object; answers what was done, a line each. `word` is how the kind was
/// named, `check` says whether the changed object is right.
///
/// # Errors
/// A label is there and may not be overwritten, or is not there and was to be removed; or the
/// object cannot be changed. Then nothing is.
pub fn label(
    store: &mut dyn Store,
    (id, word): (&Id, &str),
    labels: &[Label],
    overwrites: bool,
    check: impl Fn(&Object) -> Result<(), Trouble>,
) -> Result<Vec<String>, Trouble> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let before = store.get(id)?.ok_or_else(|| Trouble::missing(id))?;
        let mut object = Object { id: id.clone(), value: before.clone() };
        let said =
            change_labels(&mut object.value, labels, overwrites, &format!("{word} {}", id.name))
                .map_err(|message| Trouble::new(Why::Failed, message))?;
        check(&object)?;
        match store.replace(&object, &before) {
            Ok(()) => return Ok(said),
            Err(trouble) if trouble.why == Why::Changed => last = Some(trouble),
            Err(trouble) => return Err(trouble),
        }
    }
    Err(last.expect("it was tried"))
}

fn change_labels(
    object: &mut Value,
    changes: &[Label],
    overwrites: bool,
    what: &str,
) -> Result<Vec<String>, String> {
    let metadata = object["metadata"].as_object_mut().ok_or("it has no metadata")?;
    let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Default::default()));
    if labels.is_null() {
        *labels = Value::Object(Default::default());
    }
    let labels = labels.as_object_mut().ok_or("its metadata.labels is no map")?;
    let mut said = Vec::new();
    for change in changes {
        match change {
            Label::Set(key, value) => match labels.insert(key.clone(), value.clone().into()) {
                None => said.push(format!("Successfully set label {key} on {what}")),
                Some(_) if overwrites => {
                    said.push(format!("Successfully updated label {key} on {what}"));
                }
                Some(before) if before.as_str() == Some(value) => {
                    said.push(format!("label {key} on {what} was {value} already"));
                }
                Some(before) => {
                    return Err(format!(
                        "failed to update label {key} on {what}: key {key} is already present with \
                         value {}; --overwrite changes it",
                        before.as_str().unwrap_or_default()
                    ));
                }
            },
            Label::Remove(key) => match labels.remove(key) {
                Some(_) => said.push(format!("Successfully removed label {key} from {what}.")),
                None => return Err(format!("can not remove label from {what}: no key {key}")),
            },
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// A store that only remembers, in which the named object cannot be written.
    #[derive(Default)]
    struct Memory(BTreeMap<Id, Value>, &'static str);

    impl Store for Memory {
        fn get(&mut self, id: &Id) -> Result<Option<Value>, Trouble> {
            Ok(self.0.get(id).cloned())
        }

        fn list(&mut self, _: Kind, _: Option<&str>) -> Result<Vec<Value>, Trouble> {
            Ok(self.0.values().cloned().collect())
        }

        fn create(&mut self, object: &Object) -> Result<(), Trouble> {
            match self.0.contains_key(&object.id) {
                true => Err(Trouble::new(Why::Exists, format!("there: {}", object.id))),
                false => self.replace(object, &Value::Null),
            }
        }

        fn replace(&mut self, object: &Object, _: &Value) -> Result<(), Trouble> {
            if object.id.name == self.1 {
                return Err(Trouble::new(Why::Forbidden, "no"));
            }
            self.0.insert(object.id.clone(), object.value.clone());
            Ok(())
        }

        fn delete(&mut self, id: &Id) -> Result<(), Trouble> {
            self.0.remove(id).map(drop).ok_or_else(|| Trouble::missing(id))
        }
    }

    fn object(kind: Kind, name: &str) -> Object {
        let id = Id { kind, namespace: None, name: name.to_owned() };
        Object { id, value: json!({"metadata": {"name": name}}) }
    }

    #[test]
    fn messages_have_the_shape_that_calicoctl_gives_them() {
        let gnp = |name| object(Kind::GlobalNetworkPolicy, name);
        let tier = |name| object(Kind::Tier, name);
        for (verb, objects, skips, want) in [
            (
                Verb::Apply,
                vec![gnp("a")],
                false,
                &["Successfully applied 1 'GlobalNetworkPolicy' resource(s)"][..],
            ),
            (
                Verb::Apply,
                vec![gnp("old"), tier("t")],
                false,
                &["Successfully applied 2 resource(s)"],
            ),
            (
                Verb::Create,
                vec![tier("a"), tier("b")],
                false,
                &["Successfully created 2 'Tier' resource(s)"],
            ),
            (
                Verb::Create,
                vec![gnp("old")],
                false,
                &[
                    "Failed to create 'GlobalNetworkPolicy' resource: there: GlobalNetworkPolicy(old)",
                ],
            ),
            (
                Verb::Create,
                vec![gnp("old"), gnp("b")],
                true,
                &["Successfully created 2 'GlobalNetworkPolicy' resource(s)"],
            ),
            (
                Verb::Replace,
                vec![gnp("old")],
                false,
                &["Successfully replaced 1 'GlobalNetworkPolicy' resource(s)"],
            ),
            (
                Verb::Replace,
                vec![gnp("a"), gnp("b")],
                false,
                &[
                    "Failed to replace any 'GlobalNetworkPolicy' resources: resource does not exist: GlobalNetworkPolicy(a)",
                ],
            ),
            (
                Verb::Delete,
                vec![gnp("old")],
                false,
                &["Successfully deleted 1 'GlobalNetworkPolicy' resource(s)"],
            ),
            (
                Verb::Delete,
                vec![gnp("a")],
                true,
                &["Successfully deleted 1 'GlobalNetworkPolicy' resource(s)"],
            ),
            (
                Verb::Delete,
                vec![gnp("a")],
                false,
                &[
                    "Failed to delete 'GlobalNetworkPolicy' resource: resource does not exist: GlobalNetworkPolicy(a)",
                ],
            ),
            (
                Verb::Apply,
                vec![gnp("a"), gnp("old"), gnp("bad"), gnp("b")],
                false,
                &[
                    "Partial success: applied the first 2 out of 4 'GlobalNetworkPolicy' resources:",
                    "Hit error: no",
                ],
            ),
        ] {
            let mut store = Memory(BTreeMap::new(), "bad");
            store.create(&gnp("old")).expect("empty");
            let outcome = carry_out(&mut store, verb, &objects, skips);
            assert_eq!(outcome.lines(), want, "{verb:?} {objects:?} {skips}");
        }
    }

    #[test]
    fn labels_are_set_updated_and_removed() {
        let read = |text, removes| Label::read(text, removes);
        for (text, removes, want) in [
            ("a=b", false, Ok(Label::Set("a".to_owned(), "b".to_owned()))),
            ("a=", false, Ok(Label::Set("a".to_owned(), String::new()))),
            ("a-", false, Ok(Label::Remove("a".to_owned()))),
            ("a", true, Ok(Label::Remove("a".to_owned()))),
            (
                "a",
                false,
                Err("\"a\" is no label; accepted is KEY=VALUE, or KEY- to remove one".to_owned()),
            ),
            (
                "=b",
                false,
                Err("\"=b\" is no label; accepted is KEY=VALUE, or KEY- to remove one".to_owned()),
            ),
            (
                "a=b",
                true,
                Err("\"a=b\" is no label; accepted is KEY alone with --remove".to_owned()),
            ),
        ] {
            assert_eq!(read(text, removes), want, "{text} {removes}");
        }
        let mut store = Memory::default();
        let hep = object(Kind::HostEndpoint, "n1");
        store.create(&hep).expect("empty");
        let mut change = |text: &str, overwrites| {
            let labels = [Label::read(text, false).expect("a label")];
            label(&mut store, (&hep.id, "hep"), &labels, overwrites, |_| Ok(()))
                .map_or_else(|trouble| trouble.message, |lines| lines.join("\n"))
        };
        for (text, overwrites, want) in [
            ("role=a", false, "Successfully set label role on hep n1"),
            ("role=a", false, "label role on hep n1 was a already"),
            (
                "role=b",
                false,
                "failed to update label role on hep n1: key role is already present with value a; \
                 --overwrite changes it",
            ),
            ("role=b", true, "Successfully updated label role on hep n1"),
            ("role-", false, "Successfully removed label role from hep n1."),
            ("role-", false, "can not remove label from hep n1: no key role"),
        ] {
            assert_eq!(change(text, overwrites), want, "{text} {overwrites}");
        }
    }
}
