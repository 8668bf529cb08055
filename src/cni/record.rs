//! What the plug-in keeps about each interface that it made: one file each, which the agent
//! reads when it starts.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the name of a node's end of a pod's cable begins with; no other program's does.
pub const HOST_INTERFACE_PREFIX: &str = "brn";

/// A pod, as the container runtime names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodName {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, where the runtime tells it.
    pub uid: Option<String>,
}

/// An interface that was made, or is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME`: its name in the container.
    pub interface: String,
    /// The node's end of its cable.
    pub host_interface: String,
    /// The pod; `None` for a container that Kubernetes does not know.
    pub pod: Option<PodName>,
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
}

/// The folder of records within the plug-in's data folder.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("attachments")
}

/// All records, in the order of their files' names, and what is wrong with files that are none:
/// hidden files are being written and do not count. A folder that is not there holds none.
///
/// # Errors
/// If the folder cannot be read.
pub fn read_all(data_dir: &Path) -> io::Result<(Vec<Record>, Vec<String>)> {
    read_as(data_dir)
}

/// The same for who knows more of what stands in the files.
pub(super) fn read_as<T: DeserializeOwned>(data_dir: &Path) -> io::Result<(Vec<T>, Vec<String>)> {
    let entries = match fs::read_dir(folder(data_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || !name.ends_with(".json") {
            continue;
        }
        let read = fs::read(&file).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_slice(&text).map_err(|bad| bad.to_string())) {
            Ok(record) => records.push(record),
            Err(why) => problems.push(format!("{}: {why}", file.display())),
        }
    }
    Ok((records, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_records_do_not_hide_the_others() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(read_all(data.path()).unwrap(), (vec![], vec![]));
        fs::create_dir(folder(data.path())).unwrap();
        let record = Record {
            container_id: "abc".into(),
            interface: "eth0".into(),
            host_interface: "brn0123456789a".into(),
            pod: None,
            addresses: vec!["10.244.1.2".parse().unwrap()],
        };
        let file = |name: &str| folder(data.path()).join(name);
        fs::write(file("abc@eth0.json"), serde_json::to_vec(&record).unwrap()).unwrap();
        fs::write(file(".fresh.json"), "{").unwrap();
        fs::write(file("bad@eth0.json"), "{").unwrap();
        let (records, problems) = read_all(data.path()).unwrap();
        assert_eq!(records, [record]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("bad@eth0.json: EOF"), "{problems:?}");
    }
}
