//! The texts of the manifest files in a folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::folder::FileText;

/// The largest file that is read: some ten thousand nodes as `kubectl get -o yaml` has them.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Whether a file of this name holds manifests: YAML or JSON, and no editor's temporary.
pub(crate) fn is_manifest(name: &str) -> bool {
    let temporary = name.starts_with(['.', '#']) || name.ends_with(['~', '#']);
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    !temporary && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The texts of all manifest files in the folder, by name; why there are none, if it cannot
/// be listed.
pub(crate) fn read_folder(folder: &Path) -> Result<BTreeMap<String, FileText>, String> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such folder yet".to_owned(),
        _ => format!("cannot be listed: {error}"),
    };
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name.filter(|name| is_manifest(name)) else { continue };
        match read_file(&path) {
            // Removed since it was listed, or no file at all.
            Ok(None) => {}
            Ok(Some(text)) => drop(texts.insert(name, Ok(text))),
            Err(problem) => drop(texts.insert(name, Err(problem))),
        }
    }
    Ok(texts)
}

/// The text of a file; `None` if there is no file of that name.
pub(crate) fn read_file(path: &Path) -> Result<Option<String>, String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
        Ok(_) => {}
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("has {} bytes; accepted are at most {MAX_FILE_BYTES}", metadata.len()));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_temporaries_are_no_manifests() {
        for (name, want) in [
            ("n1.yaml", true),
            ("n1.yml", true),
            ("n1.json", true),
            ("all nodes.yaml", true),
            ("a.b.yaml", true),
            ("n1.yaml~", false),
            ("n1.yaml.swp", false),
            (".n1.yaml.swp", false),
            (".n1.yaml", false),
            (".#n1.yaml", false),
            ("#n1.yaml#", false),
            ("4913", false),
            ("n1.yaml.tmp", false),
            ("n1.yaml.bak", false),
            ("n1.YAML", false),
            ("yaml", false),
            (".yaml", false),
            ("README.md", false),
            ("..data", false),
        ] {
            assert_eq!(is_manifest(name), want, "{name}");
        }
    }
}
