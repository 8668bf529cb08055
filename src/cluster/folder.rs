//! What a folder of manifests says, from one reading of it to the next: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use brindle_config::printable;

use super::Change;
use super::kind::Kind;
use super::manifest::{self, Chunk, Document, Spot};
use super::node::unreachable_families;
use super::object::{Key, Object};

/// Something in the folder that needs a look.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileProblem {
    /// The file's name within the folder.
    pub file: String,
    /// Which document of the file, from one; `None` for the file as a whole.
    pub document: Option<usize>,
    /// The line of the mistake, or on which the document starts; from one.
    pub line: Option<usize>,
    /// The object, `Node/n2`, where it can be told.
    pub object: Option<String>,
    /// The field, where one is to blame.
    pub field: Option<String>,
    /// What is wrong, and what follows from it.
    pub message: String,
}

impl fmt::Display for FileProblem {
    /// `file:line: document 2: Node/n2: field: message`, as far as each is known; on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(document) = self.document {
            write!(f, "document {document}: ")?;
        }
        for part in [&self.object, &self.field].into_iter().flatten() {
            write!(f, "{}: ", printable(part))?;
        }
        f.write_str(&printable(&self.message))
    }
}

/// A file as it was read: its text, or why there is none.
pub(super) type FileText = Result<String, String>;

/// The state of a folder. Feed it readings; out come changes.
#[derive(Default)]
pub(super) struct Folder {
    hasher: RandomState,
    files: BTreeMap<String, File>,
    /// What was said last, and still holds for those who listened.
    told: BTreeMap<Key, Object>,
    problems: Vec<FileProblem>,
}

/// How many objects of each kind are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes.
    pub nodes: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Service accounts.
    pub accounts: usize,
    /// Pods, endpoints or not.
    pub pods: usize,
    /// Services.
    pub services: usize,
    /// Slices of services' endpoints.
    pub slices: usize,
    /// Tiers that there are objects of.
    pub tiers: usize,
    /// Profiles.
    pub profiles: usize,
    /// Network sets, global or not.
    pub network_sets: usize,
    /// Host endpoints.
    pub host_endpoints: usize,
    /// Policies of all kinds, staged ones included.
    pub policies: usize,
    /// Objects about BGP: BGPConfigurations, BGPFilters and BGPPeers.
    pub bgp: usize,
    /// Secrets.
    pub secrets: usize,
}

impl Counts {
    /// Where those of a kind are counted.
    pub(super) fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Node => &mut self.nodes,
            Kind::Namespace => &mut self.namespaces,
            Kind::ServiceAccount => &mut self.accounts,
            Kind::Pod => &mut self.pods,
            Kind::Service => &mut self.services,
            Kind::EndpointSlice => &mut self.slices,
            Kind::Tier => &mut self.tiers,
            Kind::Profile => &mut self.profiles,
            Kind::GlobalNetworkSet | Kind::NetworkSet => &mut self.network_sets,
            Kind::HostEndpoint => &mut self.host_endpoints,
            Kind::NetworkPolicy
            | Kind::CalicoNetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy => &mut self.policies,
            Kind::BgpConfiguration | Kind::BgpFilter | Kind::BgpPeer => &mut self.bgp,
            Kind::Secret => &mut self.secrets,
        }
    }
}

/// Length and hash of a text: tells whether it is one that was read before.
type Seen = (usize, u64);

/// A file of the folder.
#[derive(Default)]
struct File {
    /// The text that was read last; `None` if there was none.
    seen: Option<Seen>,
    /// What the chunks of the last good text say: most of a large file stays as it is when it
    /// is written again.
    known: HashMap<Seen, Vec<Arc<Document>>>,
    /// The objects in force: of the last good text, and last good versions of refused ones.
    objects: Vec<(Spot, Key, Object)>,
    /// Those of them that only stand in for one of which no good version is known.
    stand_ins: BTreeSet<Key>,
    ignored: BTreeMap<String, usize>,
    unknown: BTreeMap<String, usize>,
    problems: Vec<FileProblem>,
}

impl Folder {
    /// Takes a reading of all files by name; answers what changed since the last one:
    /// deletions first, so that a range moves from one node to another in that order; then
    /// objects in the order of their keys.
    pub(super) fn update(&mut self, reading: BTreeMap<String, FileText>) -> Vec<Change> {
        let files = self.files.len();
        self.files.retain(|name, _| reading.contains_key(name));
        let mut is_same = self.files.len() == files;
        for (name, text) in reading {
            let file = self.files.entry(name.clone()).or_default();
            match text {
                Ok(text) => {
                    let seen = Some((text.len(), self.hasher.hash_one(&text)));
                    if file.seen != seen {
                        is_same = false;
                        file.read(&name, &text, &self.hasher);
                        file.seen = seen;
                    }
                }
                Err(message) => {
                    file.seen = None;
                    let message = kept(&message, !file.objects.is_empty());
                    file.problems = vec![FileProblem::of_file(&name, message)];
                }
            }
        }
        if is_same {
            return Vec::new();
        }
        let want = self.wanted();
        let changes = changes(&self.told, &want);
        self.told = want;
        changes
    }

    /// How many objects there are.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for key in self.told.keys() {
            *counts.of(key.kind()) += 1;
        }
        counts
    }

    /// The files that there are.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Everything that needs a look, by file.
    pub(super) fn problems(&self) -> Vec<FileProblem> {
        let mut problems: Vec<_> =
            self.files.values().flat_map(|file| &file.problems).cloned().collect();
        problems.extend_from_slice(&self.problems);
        problems.sort_by(|a, b| (&a.file, a.document, a.line).cmp(&(&b.file, b.document, b.line)));
        problems
    }

    /// How many objects there are of kinds that are known and not used.
    pub(super) fn ignored(&self) -> BTreeMap<String, usize> {
        sum(self.files.values().map(|file| &file.ignored))
    }

    /// How many objects there are of kinds that nobody here knows.
    pub(super) fn unknown(&self) -> BTreeMap<String, usize> {
        sum(self.files.values().map(|file| &file.unknown))
    }

    /// The objects of all files: of two of one key the first file's, within a file the first.
    fn wanted(&mut self) -> BTreeMap<Key, Object> {
        let mut want: BTreeMap<Key, Object> = BTreeMap::new();
        let mut from: HashMap<&Key, (&str, usize)> = HashMap::new();
        self.problems.clear();
        for (name, file) in &self.files {
            for (at, key, object) in &file.objects {
                if let Some((first, line)) = from.get(key) {
                    let message = format!("is in {first}:{line} already, which counts");
                    self.problems.push(FileProblem::of(name, at, Some(key), message));
                    continue;
                }
                from.insert(key, (name, at.line));
                want.insert(key.clone(), object.clone());
            }
        }
        want
    }
}

impl File {
    /// Takes a new text. One that is not YAML changes nothing but the problems.
    fn read(&mut self, name: &str, text: &str, hasher: &RandomState) {
        let mut known = HashMap::new();
        let mut documents: Vec<(Spot, Arc<Document>)> = Vec::new();
        for Chunk { line, text } in manifest::chunks(text) {
            let seen = (text.len(), hasher.hash_one(text));
            let number = documents.len() + 1;
            let read = match self.known.get(&seen) {
                Some(read) => read.clone(),
                None => match manifest::read(text) {
                    Ok(read) => read.into_iter().map(Arc::new).collect(),
                    Err(error) => {
                        let line = line + error.line.map_or(0, |line| line.saturating_sub(1));
                        let at = Spot { document: number + error.before, line };
                        let message = format!("not valid YAML: {}", error.message);
                        let message = kept(&message, !self.objects.is_empty());
                        self.problems = vec![FileProblem::of(name, &at, None, message)];
                        return;
                    }
                },
            };
            let spots = (number..).map(|document| Spot { document, line });
            documents.extend(spots.zip(read.iter().cloned()));
            known.insert(seen, read);
        }
        self.known = known;
        self.take(name, &documents);
    }

    fn take(&mut self, name: &str, documents: &[(Spot, Arc<Document>)]) {
        let objects = documents.iter().flat_map(|(at, document)| {
            let objects = document.objects.iter();
            objects.map(|object| (at.clone(), object.key(), object.clone()))
        });
        let before = std::mem::replace(&mut self.objects, objects.collect());
        // Of two of one key the first counts, which comes last here.
        let before: HashMap<Key, Object> =
            before.into_iter().rev().map(|(_, key, object)| (key, object)).collect();
        let stood_in = std::mem::take(&mut self.stand_ins);
        self.ignored = sum(documents.iter().map(|(_, document)| &document.ignored));
        self.unknown = sum(documents.iter().map(|(_, document)| &document.unknown));
        self.problems.clear();
        for (at, key, object) in &self.objects {
            if let Some(doubt) = doubt(object) {
                self.problems.push(FileProblem::of(name, at, Some(key), doubt));
            }
        }
        let good: BTreeSet<Key> = self.objects.iter().map(|(_, key, _)| key.clone()).collect();
        let mut stays: BTreeSet<Key> = BTreeSet::new();
        for (at, document) in documents {
            for doubt in &document.doubts {
                let problem = FileProblem::of(name, at, Some(&doubt.key), doubt.message.clone());
                self.problems.push(FileProblem { field: doubt.field.clone(), ..problem });
            }
            for refused in &document.refused {
                let is_here = |key: &Key| {
                    [&good, &stays, &self.stand_ins].iter().any(|all| all.contains(key))
                };
                let mut stand_ins = document.stand_ins.iter();
                let stand_in = stand_ins.find(|one| Some(one.object.key()) == refused.key);
                if let Some(key) = refused.key.as_ref().filter(|key| !is_here(key)) {
                    if let Some(object) = before.get(key).filter(|_| !stood_in.contains(key)) {
                        stays.insert(key.clone());
                        self.objects.push((at.clone(), key.clone(), object.clone()));
                    } else if let Some(stand_in) = stand_in {
                        self.stand_ins.insert(key.clone());
                        self.objects.push((at.clone(), key.clone(), stand_in.object.clone()));
                    }
                }
                let mut message = refused.message.clone();
                if refused.key.as_ref().is_some_and(|key| stays.contains(key)) {
                    message.push_str("; its last good version stays in force");
                } else if let Some(key) = &refused.key
                    && self.stand_ins.contains(key)
                    && let Some(stand_in) = stand_in
                {
                    message.push_str(&format!("; {}", stand_in.follows));
                }
                let problem = FileProblem::of(name, at, refused.key.as_ref(), message);
                self.problems.push(FileProblem { field: refused.field.clone(), ..problem });
            }
        }
    }
}

impl FileProblem {
    /// Something in a document.
    fn of(file: &str, at: &Spot, key: Option<&Key>, message: String) -> Self {
        Self {
            document: Some(at.document),
            line: Some(at.line),
            object: key.map(ToString::to_string),
            ..Self::of_file(file, message)
        }
    }

    /// Something about a file as a whole.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self {
            file: file.to_owned(),
            document: None,
            line: None,
            object: None,
            field: None,
            message,
        }
    }
}

/// What is allowed and yet keeps traffic from reaching a node.
fn doubt(object: &Object) -> Option<String> {
    let Object::Node { routing: node, .. } = object else { return None };
    if node.addresses.is_empty() {
        return Some("has no InternalIP in status.addresses: no peer for it".to_owned());
    }
    let family = unreachable_families(node).into_iter().next()?;
    Some(format!("has an {family} pod range and no {family} InternalIP to reach it by"))
}

fn kept(message: &str, has_content: bool) -> String {
    if has_content {
        format!("{message}; the file's last good content stays in force")
    } else {
        message.to_owned()
    }
}

/// What turns `old` into `new`.
fn changes(old: &BTreeMap<Key, Object>, new: &BTreeMap<Key, Object>) -> Vec<Change> {
    let gone = old.keys().filter(|key| !new.contains_key(*key)).flat_map(Key::deleted);
    let fresh = new.iter().flat_map(|(key, object)| object.applied(old.get(key)));
    gone.chain(fresh).collect()
}

fn sum<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, usize>>) -> BTreeMap<String, usize> {
    let mut total = BTreeMap::new();
    for (kind, count) in counts.flatten() {
        *total.entry(kind.clone()).or_default() += count;
    }
    total
}

#[cfg(test)]
mod tests;
