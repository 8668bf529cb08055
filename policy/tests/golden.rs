//! Folders of objects with the rules and sets that they become. `BLESS=1 cargo test` writes
//! what they become now; whoever reviews reads the difference.
//!
//! Objects are those of every API that takes part, `kind: Attachment` for pods' interfaces, and one
//! `kind: Settings` that says for which node and how they are compiled.

#[path = "golden/cluster.rs"]
mod cluster;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use brindle_policy::compile::compile;
use brindle_policy::{Ruleset, World, render};
use cluster::Cluster;

fn folders() -> BTreeSet<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(all).expect("the folder is part of the crate");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths.filter(|path| path.is_dir()).collect()
}

fn rulesets(cluster: &Cluster) -> Vec<Ruleset> {
    let mut world = World::default();
    cluster.changes.iter().for_each(|change| world.apply(change.clone()));
    let families = cluster.families.iter();
    families.map(|family| compile(&world, &cluster.settings, *family)).collect()
}

/// Compares, or writes if that is wanted. Gives what differs.
#[allow(clippy::disallowed_methods)] // the crate does no I/O, but this test does
fn compare(path: &Path, is: &str) -> Option<String> {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, is).expect("a folder that can be written to");
        return None;
    }
    let want = fs::read_to_string(path).unwrap_or_default();
    let line = want.lines().zip(is.lines()).position(|(want, is)| want != is);
    let line = line.unwrap_or(want.lines().count().min(is.lines().count())) + 1;
    (want != is).then(|| format!("{}:{line} differs; it is now\n{is}", path.display()))
}

#[test]
fn every_folder_becomes_what_it_says() {
    let folders = folders();
    assert!(folders.len() >= 39, "{folders:?}");
    let mut wrong = Vec::new();
    for folder in folders {
        let text = fs::read_to_string(folder.join("cluster.yaml")).expect("every folder has one");
        let (mut rules, mut sets) = (String::new(), String::new());
        for ruleset in rulesets(&Cluster::read(&text)) {
            let text = render::ruleset(&ruleset);
            rules += &format!("## {}\n{}", ruleset.family, text.rules);
            sets += &format!("## {}\n{}", ruleset.family, text.sets);
        }
        wrong.extend(compare(&folder.join("want.rules"), &rules));
        wrong.extend(compare(&folder.join("want.sets"), &sets));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
