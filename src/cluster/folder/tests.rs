//! What a folder says from one reading to the next.

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
    let changes = changes.into_iter().filter(|change| {
        use brindle_policy::Change::{NodeApplied, NodeDeleted};
        !matches!(change, Change::Policy(NodeApplied(_) | NodeDeleted(_)))
    });
    let show = |change: Change| match change {
        Change::NodeApplied(node) => format!("+{} {}", node.name, node.pod_cidrs[0]),
        Change::NodeDeleted(name) => format!("-{name}"),
        Change::Policy(change) => format!("{change:?}"),
        Change::InSync => "in sync".to_owned(),
    };
    changes.map(show).collect()
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
    assert_eq!((folder.files(), folder.counts()), (0, Counts::default()));
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
        ["a:1: document 1: Node/n1: spec.podCIDRs[0]: \"10.244.1.7/24\" has host bits set; its \
          network is 10.244.1.0/24; its last good version stays in force"]
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
        [("a\n.yaml", Ok("apiVersion: v1\nkind: Node\nmetadata: {name: \"\\e[2J\"}".to_owned()))],
    );
    let got = problems(folder);
    assert!(got.len() == 1 && !got[0].chars().any(char::is_control), "{got:?}");
}
