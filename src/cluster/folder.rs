//! What a folder of manifests says, from one reading of it to the next: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use brindle_config::printable;

use super::manifest::{self, Manifest, Refused, Spot};
use super::node::unreachable_families;
use super::{Change, Node};

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
    told: BTreeMap<Arc<str>, Arc<Node>>,
    problems: Vec<FileProblem>,
}

/// A file of the folder.
#[derive(Default)]
struct File {
    /// Length and hash of the text that was read last; `None` if there was none.
    seen: Option<(usize, u64)>,
    /// The nodes in force: of the last good text, and last good versions of refused ones.
    nodes: Vec<(Spot, Arc<Node>)>,
    ignored: BTreeMap<String, usize>,
    unknown: BTreeMap<String, usize>,
    problems: Vec<FileProblem>,
}

impl Folder {
    /// Takes a reading of all files by name; answers what changed since the last one:
    /// deletions first, so that a range moves from one node to another in that order.
    pub(super) fn update(&mut self, reading: BTreeMap<String, FileText>) -> Vec<Change> {
        self.files.retain(|name, _| reading.contains_key(name));
        for (name, text) in reading {
            let file = self.files.entry(name.clone()).or_default();
            match text {
                Ok(text) => {
                    let seen = Some((text.len(), self.hasher.hash_one(&text)));
                    if file.seen != seen {
                        file.read(&name, &text);
                        file.seen = seen;
                    }
                }
                Err(message) => {
                    file.seen = None;
                    file.problems = vec![whole_file(&name, kept(&message, !file.nodes.is_empty()))];
                }
            }
        }
        let want = self.wanted();
        let changes = changes(&self.told, &want);
        self.told = want;
        changes
    }

    /// The nodes that there are.
    pub(super) fn nodes(&self) -> usize {
        self.told.len()
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

    /// The nodes of all files: of two of one name the first file's, within a file the first.
    fn wanted(&mut self) -> BTreeMap<Arc<str>, Arc<Node>> {
        let mut want: BTreeMap<Arc<str>, Arc<Node>> = BTreeMap::new();
        let mut from: BTreeMap<Arc<str>, (&str, usize)> = BTreeMap::new();
        self.problems.clear();
        for (name, file) in &self.files {
            for (at, node) in &file.nodes {
                if let Some((first, line)) = from.get(&node.name) {
                    let message = format!("is in {first}:{line} already, which counts");
                    self.problems.push(of_node(name, at, &node.name, message));
                    continue;
                }
                from.insert(node.name.clone(), (name, at.line));
                want.insert(node.name.clone(), node.clone());
            }
        }
        want
    }
}

impl File {
    /// Takes a new text. One that is not YAML changes nothing but the problems.
    fn read(&mut self, name: &str, text: &str) {
        match manifest::read(text) {
            Ok(manifest) => self.take(name, manifest),
            Err(error) => {
                let message =
                    kept(&format!("not valid YAML: {}", error.message), !self.nodes.is_empty());
                self.problems = vec![FileProblem {
                    document: Some(error.at.document),
                    line: Some(error.at.line),
                    ..whole_file(name, message)
                }];
            }
        }
    }

    fn take(&mut self, name: &str, manifest: Manifest) {
        let before = std::mem::replace(&mut self.nodes, manifest.nodes);
        self.ignored = manifest.ignored;
        self.unknown = manifest.unknown;
        self.problems = self
            .nodes
            .iter()
            .filter_map(|(at, node)| doubt(node).map(|doubt| of_node(name, at, &node.name, doubt)))
            .collect();
        self.problems.extend(manifest.doubts.into_iter().map(|doubt| {
            let message = "a Node has no such field; it says nothing".to_owned();
            let problem = of_node(name, &doubt.at, &doubt.node, message);
            FileProblem { field: Some(doubt.field), ..problem }
        }));
        let mut stays: BTreeSet<Arc<str>> = BTreeSet::new();
        for refused in manifest.refused {
            let good_here = |node: &Node| Some(&*node.name) == refused.node.as_deref();
            if !self.nodes.iter().any(|(_, node)| good_here(node))
                && let Some((_, node)) = before.iter().find(|(_, node)| good_here(node))
            {
                stays.insert(node.name.clone());
                self.nodes.push((refused.at.clone(), node.clone()));
            }
            let stays = refused.node.as_deref().is_some_and(|node| stays.contains(node));
            self.problems.push(refusal(name, refused, stays));
        }
    }
}

/// What is allowed and yet keeps traffic from reaching `node`.
fn doubt(node: &Node) -> Option<String> {
    if node.addresses.is_empty() {
        return Some("has no InternalIP in status.addresses: no peer for it".to_owned());
    }
    let family = unreachable_families(node).into_iter().next()?;
    Some(format!("has an {family} pod range and no {family} InternalIP to reach it by"))
}

fn refusal(file: &str, refused: Refused, stays: bool) -> FileProblem {
    let message = if stays {
        format!("{}; its last good version stays in force", refused.message)
    } else {
        refused.message
    };
    FileProblem {
        file: file.to_owned(),
        document: Some(refused.at.document),
        line: Some(refused.at.line),
        object: refused.node.map(|node| format!("Node/{node}")),
        field: refused.field,
        message,
    }
}

fn of_node(file: &str, at: &Spot, node: &str, message: String) -> FileProblem {
    FileProblem {
        file: file.to_owned(),
        document: Some(at.document),
        line: Some(at.line),
        object: Some(format!("Node/{node}")),
        field: None,
        message,
    }
}

fn whole_file(file: &str, message: String) -> FileProblem {
    FileProblem {
        file: file.to_owned(),
        document: None,
        line: None,
        object: None,
        field: None,
        message,
    }
}

fn kept(message: &str, has_content: bool) -> String {
    if has_content {
        format!("{message}; the file's last good content stays in force")
    } else {
        message.to_owned()
    }
}

/// What turns `old` into `new`.
fn changes(
    old: &BTreeMap<Arc<str>, Arc<Node>>,
    new: &BTreeMap<Arc<str>, Arc<Node>>,
) -> Vec<Change> {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let fresh = new.iter().filter(|(name, node)| old.get(*name) != Some(node));
    gone.map(|name| Change::NodeDeleted(name.clone()))
        .chain(fresh.map(|(_, node)| Change::NodeApplied(node.clone())))
        .collect()
}

fn sum<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, usize>>) -> BTreeMap<String, usize> {
    let mut total = BTreeMap::new();
    for (kind, count) in counts.flatten() {
        *total.entry(kind.clone()).or_default() += count;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Node with an address and a pod range that end in `number`.
    fn node(name: &str, number: u8) -> String {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDRs: \
             [10.244.{number}.0/24]}}\nstatus: {{addresses: [{{type: InternalIP, address: \
             10.0.0.{number}}}]}}\n"
        )
    }

    fn text(documents: &[String]) -> FileText {
        Ok(documents.join("---\n"))
    }

    /// `+n1/24` for a node applied with that many pod ranges, `-n1` for one deleted.
    fn update<const N: usize>(folder: &mut Folder, files: [(&str, FileText); N]) -> Vec<String> {
        let reading = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        let changes = folder.update(reading);
        let show = |change: Change| match change {
            Change::NodeApplied(node) => format!("+{} {}", node.name, node.pod_cidrs[0]),
            Change::NodeDeleted(name) => format!("-{name}"),
            Change::Policy(change) => format!("{change:?}"),
            Change::InSync => "in sync".to_owned(),
        };
        changes.into_iter().map(show).collect()
    }

    fn problems(folder: &Folder) -> Vec<String> {
        folder.problems().iter().map(ToString::to_string).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn only_what_changed_is_told() {
        let folder = &mut Folder::default();
        let a = || text(&[node("n1", 1), node("n2", 2)]);
        assert_eq!(update(folder, [("a", a())]), ["+n1 10.244.1.0/24", "+n2 10.244.2.0/24"]);
        assert_eq!(update(folder, [("a", a())]), NONE);
        // The same nodes, written differently and elsewhere.
        let b = Ok(format!("# moved\n{}", node("n2", 2)));
        assert_eq!(update(folder, [("a", text(&[node("n1", 1)])), ("b", b)]), NONE);
        assert_eq!(update(folder, [("a", text(&[node("n1", 7)]))]), ["-n2", "+n1 10.244.7.0/24"]);
        assert_eq!(update(folder, []), ["-n1"]);
        assert_eq!(problems(folder), NONE);
        assert_eq!((folder.files(), folder.nodes()), (0, 0));
    }

    #[test]
    fn a_range_leaves_one_node_before_it_comes_to_another() {
        let folder = &mut Folder::default();
        update(folder, [("a", text(&[node("z", 1)]))]);
        assert_eq!(update(folder, [("a", text(&[node("b", 1)]))]), ["-z", "+b 10.244.1.0/24"]);
    }

    #[test]
    fn a_file_that_is_not_yaml_keeps_its_last_good_content() {
        let folder = &mut Folder::default();
        let good = || text(&[node("n1", 1), node("n2", 2)]);
        let bad = || Ok(format!("{}---\nkind: [\n", node("n1", 9)));
        update(folder, [("a", good())]);
        assert_eq!(update(folder, [("a", bad())]), NONE);
        let want = [
            "a:8: document 2: not valid YAML: did not find expected node content; the file's last good content stays in force",
        ];
        assert_eq!(problems(folder), want);
        assert_eq!(update(folder, [("a", bad())]), NONE);
        assert_eq!(problems(folder), want, "still wrong when read again");
        assert_eq!(update(folder, [("a", good())]), NONE);
        assert_eq!(problems(folder), NONE);
        update(folder, [("a", bad())]);
        assert_eq!(update(folder, []), ["-n1", "-n2"], "a file that is gone says nothing any more");
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_its_last_good_content() {
        let folder = &mut Folder::default();
        update(folder, [("a", text(&[node("n1", 1)]))]);
        assert_eq!(update(folder, [("a", Err("cannot be read: why".to_owned()))]), NONE);
        assert_eq!(
            problems(folder),
            ["a: cannot be read: why; the file's last good content stays in force"]
        );
        assert_eq!(update(folder, [("a", text(&[node("n1", 1)]))]), NONE);
        assert_eq!(problems(folder), NONE, "readable again with the same text");
    }

    #[test]
    fn a_refused_node_keeps_its_last_good_version_and_touches_no_other() {
        let folder = &mut Folder::default();
        update(folder, [("a", text(&[node("n1", 1), node("n2", 2)]))]);
        let bad = node("n1", 1).replace("10.244.1.0/24", "10.244.1.7/24");
        let got = update(folder, [("a", text(&[bad.clone(), node("n2", 7)]))]);
        assert_eq!(got, ["+n2 10.244.7.0/24"]);
        assert_eq!(
            problems(folder),
            [
                "a:1: document 1: Node/n1: spec.podCIDRs[0]: \"10.244.1.7/24\" has host bits set; its \
              network is 10.244.1.0/24; its last good version stays in force"
            ]
        );
        // It stays for as long as its document is there, however often the file changes.
        assert_eq!(update(folder, [("a", text(std::slice::from_ref(&bad)))]), ["-n2"]);
        assert_eq!(update(folder, [("a", text(&[node("n3", 3)]))]), ["-n1", "+n3 10.244.3.0/24"]);
        // One that was never good is not there.
        assert_eq!(update(folder, [("a", text(&[bad]))]), ["-n3"]);
        assert!(
            problems(folder)[0].ends_with("its network is 10.244.1.0/24"),
            "{folder:?}",
            folder = problems(folder)
        );
    }

    #[test]
    fn of_two_nodes_of_one_name_the_first_file_counts() {
        let folder = &mut Folder::default();
        let (first, second) = (|| text(&[node("n1", 1)]), || text(&[node("n2", 2), node("n1", 9)]));
        let got = update(folder, [("a", first()), ("b", second())]);
        assert_eq!(got, ["+n1 10.244.1.0/24", "+n2 10.244.2.0/24"]);
        assert_eq!(problems(folder), ["b:6: document 2: Node/n1: is in a:1 already, which counts"]);
        assert_eq!(update(folder, [("b", second())]), ["+n1 10.244.9.0/24"]);
        assert_eq!(problems(folder), NONE);
        let twice = text(&[node("n1", 9), node("n1", 8)]);
        assert_eq!(update(folder, [("b", twice)]), ["-n2"]);
        assert_eq!(problems(folder), ["b:6: document 2: Node/n1: is in b:1 already, which counts"]);
    }

    #[test]
    fn a_node_that_no_peer_can_reach_is_told_and_doubted() {
        let folder = &mut Folder::default();
        let none = node("n1", 1).replace("InternalIP", "Hostname");
        let other = node("n2", 2).replace("10.244.2.0/24", "\"fd00:2::/64\"");
        let got = update(folder, [("a", text(&[none, other]))]);
        assert_eq!(got, ["+n1 10.244.1.0/24", "+n2 fd00:2::/64"]);
        assert_eq!(
            problems(folder),
            [
                "a:1: document 1: Node/n1: has no InternalIP in status.addresses: no peer for it",
                "a:6: document 2: Node/n2: has an ipv6 pod range and no ipv6 InternalIP to reach it by",
            ]
        );
    }

    #[test]
    fn what_a_file_holds_does_not_reach_the_terminal_as_it_is() {
        let folder = &mut Folder::default();
        update(
            folder,
            [(
                "a\n.yaml",
                Ok("apiVersion: v1\nkind: Node\nmetadata: {name: \"\\e[2J\"}".to_owned()),
            )],
        );
        let got = problems(folder);
        assert!(got.len() == 1 && !got[0].chars().any(char::is_control), "{got:?}");
    }
}
