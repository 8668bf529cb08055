//! Files of ours: the CNI configuration and what the plug-in keeps.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cni::record;
use crate::control::server::refuse_if_taken;

/// The CNI configuration that the agent writes, in the folder of such.
pub const CONFLIST: &str = "10-brindle.conflist";

/// How it is called while the agent writes it; nobody else would call a file so.
const UNFINISHED: &str = ".10-brindle.conflist.brindle";

/// The plug-in's name in a CNI configuration.
const PLUGIN: &str = "brindle-cni";

/// What the plug-in keeps in its data folder beside the records.
const STORE: [&str; 2] = ["addresses.json", "lock"];

/// Whether a CNI configuration names our plug-in; `None` if there is no such file. One that
/// is no JSON is not ours: we write whole files.
pub(super) fn is_ours(conflist: &Path) -> io::Result<Option<bool>> {
    let text = match fs::read(conflist) {
        Err(error) if is_missing(&error) => return Ok(None),
        text => text?,
    };
    let json: Value = serde_json::from_slice(&text).unwrap_or_default();
    let plugins = json["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Some(plugins.iter().any(|plugin| plugin["type"] == PLUGIN)))
}

/// What an agent that was killed amid writing the CNI configuration left of it, if it did.
pub(super) fn unfinished(config_dir: &Path) -> Option<PathBuf> {
    let file = config_dir.join(UNFINISHED);
    let there = fs::symlink_metadata(&file);
    there.is_ok_and(|there| there.is_file()).then_some(file)
}

/// Whether an agent left a socket there at which nobody listens. What is no socket is not ours.
pub(super) fn is_dead_socket(path: &Path) -> bool {
    let there = fs::symlink_metadata(path);
    there.is_ok_and(|there| there.file_type().is_socket()) && refuse_if_taken(path).is_ok()
}

/// What the plug-in keeps in its data folder: the store of addresses, and the records.
pub(super) fn records(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = STORE.iter().map(|name| data_dir.join(name)).collect();
    files.retain(|file| file.is_file());
    match fs::read_dir(record::folder(data_dir)) {
        Err(error) if is_missing(&error) => {}
        entries => {
            for entry in entries? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    files.push(entry.path());
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Removes a file; that it is gone already is no failure.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if is_missing(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Removes the plug-in's folders if nothing is in them. The data folder can be set, so beside
/// what is ours there may be anything.
pub(super) fn remove_empty_folders(data_dir: &Path) {
    for folder in [&record::folder(data_dir), data_dir] {
        // Something of others is in it, or it is not there.
        let _ = fs::remove_dir(folder);
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cni_configuration_is_ours_if_it_names_our_plug_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONFLIST);
        assert_eq!(is_ours(&file).unwrap(), None);
        for (text, want) in [
            (
                r#"{"name": "brindle", "plugins": [{"type": "brindle-cni"}, {"type": "portmap"}]}"#,
                true,
            ),
            (r#"{"name": "brindle", "plugins": [{"type": "bridge"}]}"#, false),
            (r#"{"plugins": "brindle-cni"}"#, false),
            ("brindle-cni", false),
            ("", false),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(is_ours(&file).unwrap(), Some(want), "{text}");
        }
    }
}
