//! Puts the plug-in where container runtimes look for it: for an init container that has no
//! shell.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{PLUGIN, durable};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It is there now, where it was not or another version was.
    Put(PathBuf),
    /// The very same was there.
    Same(PathBuf),
}

/// Copies `program` to `folder/brindle-cni`, whole or not at all: a runtime that calls it
/// meanwhile finds the one before or the new one.
///
/// # Errors
/// If `program` cannot be read, `folder` is none, or cannot be written.
pub fn install(program: &Path, folder: &Path) -> anyhow::Result<Installed> {
    let target = folder.join(PLUGIN);
    if !folder.is_dir() {
        bail!(
            "--to {}: no such folder; accepted is where the container runtime looks for plug-ins, mostly /opt/cni/bin",
            folder.display()
        );
    }
    let mut new =
        File::open(program).with_context(|| format!("cannot read {}", program.display()))?;
    match fs::symlink_metadata(&target) {
        Ok(there) if !there.is_file() => {
            bail!("{}: there is something that is no file; move it away", target.display());
        }
        Ok(there) if there.permissions().mode() & 0o777 == 0o755 && is_same(program, &target)? => {
            return Ok(Installed::Same(target));
        }
        _ => {}
    }
    durable::put(folder, PLUGIN, 0o755, |file| {
        // Whatever the umask: every runtime may run it.
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        io::copy(&mut new, file).map(drop)
    })
    .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(Installed::Put(target))
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    // What is open stays as it is, whoever replaces it meanwhile.
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut read, mut compared) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let length = one.read(&mut read)?;
        other.read_exact(&mut compared[..length])?;
        if read[..length] != compared[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// How much of two files is compared at once, in octets.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_put_once_and_others_files_stay() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let program = from.path().join("brindle");
        let target = to.path().join(PLUGIN);
        fs::write(to.path().join("portmap"), "theirs").unwrap();
        for (content, want) in [
            ("one", Installed::Put(target.clone())),
            ("one", Installed::Same(target.clone())),
            ("two", Installed::Put(target.clone())),
        ] {
            fs::write(&program, content).unwrap();
            assert_eq!(install(&program, to.path()).unwrap(), want, "{content}");
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o755);
        }
        let mut names: Vec<_> =
            fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [PLUGIN, "portmap"]);
    }

    #[test]
    fn whoever_installs_at_the_same_time_finds_it_whole() {
        const LENGTH: usize = 1 << 20;
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let whole = || {
            let octets = fs::read(to.path().join(PLUGIN)).unwrap();
            assert_eq!(octets.len(), LENGTH);
            assert!(octets.iter().all(|octet| *octet == octets[0]));
        };
        std::thread::scope(|scope| {
            for version in 1..=4_u8 {
                let program = from.path().join(version.to_string());
                fs::write(&program, vec![version; LENGTH]).unwrap();
                let (to, whole) = (to.path(), &whole);
                scope.spawn(move || {
                    for _ in 0..10 {
                        install(&program, to).unwrap();
                        whole();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1, "nothing but the plug-in");
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("brindle");
        fs::write(&program, "one").unwrap();
        let said = |to: &Path| format!("{:#}", install(&program, to).unwrap_err());
        assert!(said(&folder.path().join("none")).contains("no such folder"));
        fs::create_dir(folder.path().join(PLUGIN)).unwrap();
        assert!(said(folder.path()).contains("something that is no file"));
    }
}
