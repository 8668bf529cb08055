//! Objects that a folder of manifests keeps: what the `files` source reads.
//!
//! An object is rewritten where it stands, and nothing else of its file; one that stands
//! nowhere gets a file of its own. A file is written beside the old one and renamed, so that
//! who reads the folder sees the one or the other, never half.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Deserialize as _;
use serde_json::Value;

use super::{Store, Trouble, Why, of_its_own};
use crate::cluster::kind::Kind;
use crate::cluster::manifest;
use crate::cluster::texts::read_folder;
use crate::objects::found::{Id, Object, Place};
use crate::objects::read::{self, Text};

/// A folder of manifests.
pub struct Folder {
    path: PathBuf,
}

/// Where an object stands: in which file, in which part of its text.
struct Spot {
    file: PathBuf,
    text: String,
    /// The part of the text that is a document.
    range: std::ops::Range<usize>,
}

impl Folder {
    /// The folder at `path`.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self { path: path.to_owned() }),
            Ok(_) => {
                let message = format!("{}: is no folder", path.display());
                Err(Trouble::new(Why::Invalid, message))
            }
            Err(error) => Err(cannot("open", path, &error)),
        }
    }

    /// Nobody else of us writes until it is dropped.
    fn lock(&self) -> Result<Flock<File>, Trouble> {
        let folder = File::open(&self.path).map_err(|error| cannot("open", &self.path, &error))?;
        Flock::lock(folder, FlockArg::LockExclusive)
            .map_err(|(_, error)| cannot("lock", &self.path, &error.into()))
    }

    /// All files, by name. One that cannot be read may hold what is looked for.
    fn texts(&self) -> Result<Vec<(PathBuf, String)>, Trouble> {
        let of_folder =
            |error| Trouble::new(Why::Unreachable, format!("{}: {error}", self.path.display()));
        let texts = read_folder(&self.path).map_err(of_folder)?.into_iter();
        let text = |(name, text): (String, Result<String, String>)| {
            let path = self.path.join(name);
            match text {
                Ok(text) => Ok((path, text)),
                Err(error) => {
                    let message = format!("{}: {error}", path.display());
                    Err(Trouble::new(Why::Failed, message))
                }
            }
        };
        texts.map(text).collect()
    }

    /// Where an object stands, and what it says. Of two the first counts, as for the agent.
    fn find(&self, id: &Id) -> Result<Option<(Spot, Value)>, Trouble> {
        for (file, text) in self.texts()? {
            let mut broken = false;
            for chunk in manifest::chunks(&text) {
                let Some(objects) = objects(chunk.text) else {
                    broken = true;
                    continue;
                };
                if let Some(object) = objects.into_iter().find(|object| object.id == *id) {
                    let start = chunk.text.as_ptr() as usize - text.as_ptr() as usize;
                    let range = start..start + chunk.text.len();
                    return Ok(Some((Spot { file, text, range }, object.value)));
                }
            }
            if broken && text.contains(&id.name) {
                let message = format!(
                    "{}: is not valid YAML and may have {id}; correct it first: brindle validate \
                     -f {0}",
                    file.display()
                );
                return Err(Trouble::new(Why::Invalid, message));
            }
        }
        Ok(None)
    }

    fn write(&self, file: &Path, text: &str) -> Result<(), Trouble> {
        // A link stays one: what it leads to is replaced.
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        replace_file(&file, text).map_err(|error| cannot("write", &file, &error))
    }

    fn write_spot(&self, spot: &Spot, document: &str) -> Result<(), Trouble> {
        let (before, after) = (&spot.text[..spot.range.start], &spot.text[spot.range.end..]);
        let rest = format!("{before}{after}");
        let is_nothing =
            |text: &str| manifest::chunks(text).iter().all(|chunk| chunk.text.trim() == "---");
        if document.is_empty() && is_nothing(&rest) {
            let file = &spot.file;
            return fs::remove_file(file).map_err(|error| cannot("remove", file, &error));
        }
        self.write(&spot.file, &format!("{before}{document}{after}"))
    }
}

impl Store for Folder {
    fn get(&mut self, id: &Id) -> Result<Option<Value>, Trouble> {
        Ok(self.find(id)?.map(|(_, value)| value))
    }

    fn list(&mut self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, Trouble> {
        let mut found = std::collections::BTreeMap::new();
        for (_, text) in self.texts()? {
            // What is broken is the agent's to tell, and `validate`'s.
            for object in manifest::chunks(&text).iter().filter_map(|c| objects(c.text)).flatten() {
                let is_here = namespace.is_none() || object.id.namespace.as_deref() == namespace;
                if object.id.kind == kind && is_here {
                    found.entry(object.id).or_insert(object.value);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn create(&mut self, object: &Object) -> Result<(), Trouble> {
        let _lock = self.lock()?;
        let id = &object.id;
        if self.find(id)?.is_some() {
            return Err(Trouble::exists(id));
        }
        let namespace = id.namespace.as_deref().map(|name| format!("{name}-")).unwrap_or_default();
        // Two kinds of different APIs share a name.
        let kind = match id.kind {
            Kind::NetworkPolicy => "kubernetesnetworkpolicy".to_owned(),
            kind => kind.name().to_ascii_lowercase(),
        };
        let stem = format!("{kind}-{namespace}{}", id.name);
        let free = |number: usize| {
            let more = if number == 1 { String::new() } else { format!("-{number}") };
            Some(self.path.join(format!("{stem}{more}.yaml"))).filter(|path| !path.exists())
        };
        // `a-b` in `c` and `b` in `c-a` would share a file.
        let file = (1..).find_map(free).expect("there are more numbers than files");
        self.write(&file, &document(object, "", "", false)?)
    }

    fn replace(&mut self, object: &Object, _before: &Value) -> Result<(), Trouble> {
        let _lock = self.lock()?;
        let Some((spot, _)) = self.find(&object.id)? else {
            return Err(Trouble::missing(&object.id));
        };
        let old = &spot.text[spot.range.clone()];
        let is_json = old.trim_start().starts_with('{') || old.trim_start().starts_with('[');
        let text = match rewritten(old, &object.id, Some(&clean(object)), is_json)? {
            Some(text) => text,
            None => {
                let (marker, comment) = head(old);
                document(object, marker, &comment, is_json)?
            }
        };
        self.write_spot(&spot, &text)
    }

    fn delete(&mut self, id: &Id) -> Result<(), Trouble> {
        let _lock = self.lock()?;
        let Some((spot, _)) = self.find(id)? else { return Err(Trouble::missing(id)) };
        let old = &spot.text[spot.range.clone()];
        let is_json = old.trim_start().starts_with(['{', '[']);
        let text = rewritten(old, id, None, is_json)?.unwrap_or_default();
        self.write_spot(&spot, &text)
    }
}

/// The objects of a chunk; `None` if it is not YAML. What is no object of ours is left out.
fn objects(chunk: &str) -> Option<Vec<Object>> {
    let text = Text { name: String::new(), text: chunk.to_owned() };
    let documents = read::documents(&text).ok()?;
    let object = |(place, value): (Place, Value)| read::object(&place, value, None).ok();
    Some(documents.into_iter().filter_map(object).collect())
}

/// The text of a chunk with one object of a list in it replaced, or taken out; `None` if the
/// chunk is that object and nothing else.
fn rewritten(
    chunk: &str,
    id: &Id,
    new: Option<&Value>,
    is_json: bool,
) -> Result<Option<String>, Trouble> {
    let failed = |error: String| Trouble::new(Why::Failed, error);
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(chunk) {
        let value = serde_yaml::Value::deserialize(document).map_err(|e| failed(e.to_string()))?;
        documents.push(serde_json::to_value(&value).map_err(|error| failed(error.to_string()))?);
    }
    let is_alone =
        |value: &Value| value.is_object() && (value.get("items").is_none() || !is_list(value));
    if let [single] = &documents[..]
        && is_alone(single)
    {
        return Ok(None);
    }
    let mut text = String::new();
    for mut value in documents {
        if is_alone(&value) && is(&value, id) {
            match new {
                Some(new) => value = new.clone(),
                None => continue,
            }
        } else {
            change_items(&mut value, id, new);
        }
        let start = if text.is_empty() { head(chunk).0 } else { "---\n" };
        text.push_str(start);
        text.push_str(&written(&value, is_json)?);
    }
    Ok(Some(text))
}

fn is_list(value: &Value) -> bool {
    value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
}

fn change_items(value: &mut Value, id: &Id, new: Option<&Value>) {
    let typed = (value["apiVersion"].clone(), value["kind"].clone());
    let items = match value {
        Value::Array(items) => items,
        value => match value.get_mut("items") {
            Some(Value::Array(items)) => items,
            _ => return,
        },
    };
    let is_it = |item: &Value| {
        let mut item = item.clone();
        if let (Value::Object(item), (api, Value::String(kind))) = (&mut item, &typed)
            && let Some(kind) = kind.strip_suffix("List").filter(|kind| !kind.is_empty())
        {
            item.entry("apiVersion").or_insert_with(|| api.clone());
            item.entry("kind").or_insert_with(|| kind.into());
        }
        is(&item, id)
    };
    if let Some(place) = items.iter().position(is_it) {
        match new {
            Some(new) => items[place] = new.clone(),
            None => drop(items.remove(place)),
        }
        return;
    }
    for item in items {
        change_items(item, id, new);
    }
}

fn is(value: &Value, id: &Id) -> bool {
    let place = Place { file: String::new(), document: 1, line: 1, within: String::new() };
    read::object(&place, value.clone(), None).is_ok_and(|object| object.id == *id)
}

/// The line that starts a document, if there is one, and the comments behind it.
fn head(chunk: &str) -> (&str, String) {
    let marker = chunk.strip_prefix("---").map_or(0, |_| chunk.find('\n').map_or(0, |end| end + 1));
    let (marker, rest) = chunk.split_at(marker);
    let comments = rest.split_inclusive('\n').take_while(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#')
    });
    // Something behind the marker is the document itself.
    let marker = if marker.trim_end() == "---" || marker.contains('#') { marker } else { "---\n" };
    match chunk.starts_with("---") {
        true => (marker, comments.collect()),
        false => ("", comments.collect()),
    }
}

/// The object as a manifest has it: a file has no versions, and no cluster.
fn clean(object: &Object) -> Value {
    let mut value = object.value.clone();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        of_its_own(metadata);
    }
    value
}

fn document(
    object: &Object,
    marker: &str,
    comment: &str,
    is_json: bool,
) -> Result<String, Trouble> {
    Ok(format!("{marker}{comment}{}", written(&clean(object), is_json)?))
}

fn written(value: &Value, is_json: bool) -> Result<String, Trouble> {
    let failed = |error: String| Trouble::new(Why::Failed, error);
    match is_json {
        true => serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|error| failed(error.to_string())),
        false => serde_yaml::to_string(value).map_err(|error| failed(error.to_string())),
    }
}

/// Puts `text` in the place of a file, whole or not at all.
fn replace_file(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // Nobody reads names that begin with a dot.
    let fresh = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let mode = fs::metadata(file).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    let write = || {
        let mut out = File::create(&fresh)?;
        out.set_permissions(Permissions::from_mode(mode))?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&fresh)))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Trouble {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Why::Forbidden,
        io::ErrorKind::NotFound => Why::Unreachable,
        _ => Why::Failed,
    };
    Trouble::new(why, format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gnp(name: &str, order: u64) -> Object {
        let id = Id { kind: Kind::GlobalNetworkPolicy, namespace: None, name: name.to_owned() };
        let value = json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": name, "resourceVersion": "7", "uid": "u"},
            "spec": {"order": order},
        });
        Object { id, value }
    }

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
        let at = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(at.path().join(name), text).expect("a file");
        }
        let folder = Folder::open(at.path()).expect("it is there");
        (at, folder)
    }

    fn files(at: &tempfile::TempDir) -> Vec<(String, String)> {
        let entries = fs::read_dir(at.path()).expect("a folder").map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        });
        let mut files: Vec<_> = entries.collect();
        files.sort();
        files
    }

    const A: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  \
                     name: a\nspec:\n  order: 1\n";
    const B: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  \
                     name: b\nspec:\n  order: 2\n";

    #[test]
    fn an_object_gets_a_file_of_its_own_and_leaves_with_it() {
        let (at, mut folder) = folder(&[]);
        folder.create(&gnp("a", 1)).expect("written");
        assert_eq!(files(&at), [("globalnetworkpolicy-a.yaml".to_owned(), A.to_owned())]);
        let again = folder.create(&gnp("a", 2)).expect_err("it is there");
        assert_eq!(again, Trouble::exists(&gnp("a", 1).id));
        folder.delete(&gnp("a", 1).id).expect("gone");
        assert_eq!(files(&at), []);
        let again = folder.delete(&gnp("a", 1).id).expect_err("it is gone");
        assert_eq!(again.why, Why::Missing);
    }

    #[test]
    fn names_that_would_share_a_file_do_not() {
        let policy = |namespace: &str, name: &str| {
            let kind = Kind::CalicoNetworkPolicy;
            let id = Id { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
            let metadata = json!({"name": name, "namespace": namespace});
            let value = json!({
                "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy", "metadata": metadata,
            });
            Object { id, value }
        };
        let (at, mut folder) = folder(&[]);
        folder.create(&policy("c", "a-b")).expect("written");
        folder.create(&policy("c-a", "b")).expect("written");
        let names: Vec<_> = files(&at).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["networkpolicy-c-a-b-2.yaml", "networkpolicy-c-a-b.yaml"]);
        assert_eq!(folder.list(Kind::CalicoNetworkPolicy, None).expect("read").len(), 2);
        assert_eq!(folder.list(Kind::CalicoNetworkPolicy, Some("c")).expect("read").len(), 1);
    }

    #[test]
    fn only_the_document_of_the_object_is_rewritten() {
        let before = format!("# ours\n\n# first\n{A}---\n# second, by hand\n{B}---\nkind: Pod\n");
        let a2 = A.replace("order: 1", "order: 7");
        let b7 = B.replace("order: 2", "order: 7");
        for (object, change, want) in [
            (
                "b",
                true,
                format!("# ours\n\n# first\n{A}---\n# second, by hand\n{b7}---\nkind: Pod\n"),
            ),
            ("b", false, format!("# ours\n\n# first\n{A}---\nkind: Pod\n")),
            (
                "a",
                true,
                format!("# ours\n\n# first\n{a2}---\n# second, by hand\n{B}---\nkind: Pod\n"),
            ),
            ("a", false, format!("# ours\n\n# first\n---\n# second, by hand\n{B}---\nkind: Pod\n")),
        ] {
            let (at, mut folder) = folder(&[("all.yaml", &before)]);
            let object = gnp(object, 7);
            match change {
                true => folder.replace(&object, &Value::Null).expect("written"),
                false => folder.delete(&object.id).expect("gone"),
            }
            assert_eq!(files(&at), [("all.yaml".to_owned(), want)], "{object:?} {change}");
        }
    }

    #[test]
    fn an_item_of_a_list_is_rewritten_among_its_like() {
        let list = r#"{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicyList",
            "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}"#;
        let (at, mut folder) = folder(&[("all.json", list)]);
        folder.replace(&gnp("b", 7), &Value::Null).expect("written");
        folder.delete(&gnp("a", 1).id).expect("gone");
        let (_, text) = files(&at).remove(0);
        let value: Value = serde_json::from_str(&text).expect("still JSON");
        assert_eq!(value["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(value["items"][0]["spec"]["order"], 7);
    }

    #[test]
    fn a_file_that_is_no_yaml_may_have_the_object_and_stops_us() {
        let (at, mut folder) = folder(&[("x.yaml", "metadata: {name: a\n")]);
        let error = folder.create(&gnp("a", 1)).expect_err("who knows").message;
        assert!(error.contains("x.yaml: is not valid YAML and may have"), "{error}");
        folder.create(&gnp("z", 1)).expect("that one cannot be meant");
        assert_eq!(files(&at).len(), 2);
    }
}
