//! Takes a lab away: all of it, whatever state it is in, and nothing else.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;

use super::netns;
use super::plan::LabName;
use super::process::{self, ProcessId};
use super::state::{self, Place};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Processes ended.
    pub processes: usize,
    /// Network namespaces removed by name; those of a user namespace go with it.
    pub namespaces: usize,
    /// Whether there was a folder.
    pub folder: bool,
}

/// Removes the lab `name`. What is not there is not missed, so this can be repeated.
///
/// # Errors
/// Another command is changing the lab, or something cannot be removed.
pub fn down(place: &Place, name: &LabName) -> anyhow::Result<Removed> {
    let dir = place.base.join(name.as_str());
    let folder = dir.exists();
    let _lock = if folder { Some(state::lock(&dir, name)?) } else { None };
    // killed before the first lab.json was in place, `lab up` has made nothing else yet
    let id = match fs::read_to_string(dir.join("lab.json")) {
        Ok(text) => {
            Some(lab_id(&text).with_context(|| dir.join("lab.json").display().to_string())?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    let names = if place.rootless { Vec::new() } else { namespaces(name)? };
    let inodes: Vec<_> = names.iter().filter_map(|n| netns::inode(n)).collect();
    let processes = end_all(id.as_deref(), &inodes)?;
    for name in &names {
        remove_namespace(name)?;
    }
    if folder {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    // other labs keep the folder; the last one to go takes it along
    let _ = fs::remove_dir(&place.base);
    Ok(Removed { processes, namespaces: names.len(), folder })
}

/// Only the id is needed, so a `lab.json` of another version does as well.
fn lab_id(text: &str) -> anyhow::Result<String> {
    let state: serde_json::Value = serde_json::from_str(text).context("not JSON")?;
    let id = state.get("id").and_then(serde_json::Value::as_str);
    // an empty mark would be everybody's
    id.filter(|id| id.len() >= 16).map(str::to_owned).context("no id in it")
}

/// Names of the lab's network namespaces.
fn namespaces(name: &LabName) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(netns::DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(netns::DIRECTORY),
    };
    let prefix = name.namespace_prefix();
    let ours = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    Ok(entries.filter_map(|e| ours(e.ok()?)).filter(|n| n.starts_with(&prefix)).collect())
}

/// Ends every process of the lab, also those that are being started meanwhile.
fn end_all(id: Option<&str>, inodes: &[u64]) -> anyhow::Result<usize> {
    let mut ended = 0;
    for _ in 0..20 {
        let left = process::members(id, inodes);
        if left.is_empty() {
            return Ok(ended);
        }
        for process in &left {
            if process
                .signal(Signal::SIGKILL)
                .with_context(|| format!("process {}", process.pid))?
            {
                ended += 1;
            }
        }
        if !left.iter().all(|process| process.wait_end(Duration::from_secs(5))) {
            break;
        }
    }
    let left = process::members(id, inodes);
    if left.is_empty() {
        return Ok(ended);
    }
    let pids: Vec<_> = left.iter().map(|ProcessId { pid, .. }| pid.to_string()).collect();
    bail!("processes {} of the lab do not end", pids.join(", "))
}

fn remove_namespace(name: &str) -> anyhow::Result<()> {
    let path = netns::path(name);
    match umount2(&path, MntFlags::MNT_DETACH) {
        // killed between the two steps, `ip netns add` leaves an empty file
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot unmount {name}")),
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_without_a_proper_id_is_refused() {
        for (text, want) in [
            (r#"{"id": "0d7bd0c8-93f5-4a1c"}"#, Some("0d7bd0c8-93f5-4a1c")),
            (r#"{"id": ""}"#, None),
            (r#"{"id": 7}"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(lab_id(text).ok().as_deref(), want, "{text}");
        }
    }
}
