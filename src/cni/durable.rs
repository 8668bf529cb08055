//! Files that are whole or not there, whatever happens to the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Puts a file with what `write` writes and this mode at `folder/name`: under a temporary name
/// first, and under its own when it is on the disk. Who puts something into the same folder
/// meanwhile waits: there is one temporary name.
///
/// # Errors
/// If the folder cannot be written, or what `write` fails with; then nothing has changed.
pub(super) fn put(
    folder: &Path,
    name: &str,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary(folder, name);
    let _alone = lock(folder)?;
    // What a killed process left is not continued.
    let _ = fs::remove_file(&temporary);
    let put = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        write(&mut file)?;
        file.flush()?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(name))
    })();
    if put.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    put?;
    sync(folder)
}

/// Removes `folder/name`, and what a killed [`put`] may have left of it; whether it was there.
///
/// # Errors
/// If the folder cannot be written.
pub(super) fn remove(folder: &Path, name: &str) -> io::Result<bool> {
    let _ = fs::remove_file(temporary(folder, name));
    match fs::remove_file(folder.join(name)) {
        Ok(()) => sync(folder).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until nobody else puts something into the folder; others wait until it is dropped, or
/// its process is gone.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let mut folder = File::open(folder)?;
    loop {
        match Flock::lock(folder, FlockArg::LockExclusive) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EINTR)) => folder = back,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// Where a file is until it is whole.
fn temporary(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.new"))
}

/// Sees to it that the names in a folder outlast a power failure.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
