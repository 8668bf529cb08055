//! A container's network namespace, and work inside.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// A network namespace that is held open.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

/// Why something is not to be taken for a container's network namespace.
#[derive(Debug, thiserror::Error)]
pub enum BadNamespace {
    /// There is nothing.
    #[error("CNI_NETNS {0}: there is no such namespace (any more)")]
    Missing(PathBuf),
    /// It is something else.
    #[error(
        "CNI_NETNS {0}: this is no network namespace; accepted is for instance /run/netns/NAME or /proc/PID/ns/net"
    )]
    NoNamespace(PathBuf),
    /// It is the node's.
    #[error(
        "CNI_NETNS {0}: this is the node's own network namespace; a container on the node's network has no plug-in"
    )]
    Own(PathBuf),
    /// The system refused.
    #[error("CNI_NETNS {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Namespace {
    /// Opens the namespace at `path`. Nothing but a namespace is opened: looking at a file must
    /// not do anything to it.
    ///
    /// # Errors
    /// See [`BadNamespace`].
    pub fn open(path: &Path) -> Result<Self, BadNamespace> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => BadNamespace::Missing(path.to_owned()),
            _ => BadNamespace::Io { path: path.to_owned(), source },
        };
        let look = File::options().read(true).custom_flags(libc::O_PATH).open(path).map_err(io)?;
        let system = fstatfs(&look).map_err(|errno| io(errno.into()))?;
        if system.filesystem_type() != NSFS_MAGIC {
            return Err(BadNamespace::NoNamespace(path.to_owned()));
        }
        let file = File::open(format!("/proc/self/fd/{}", look.as_raw_fd())).map_err(io)?;
        let there = file.metadata().map_err(io)?;
        let own = std::fs::metadata("/proc/thread-self/ns/net").map_err(io)?;
        if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
            return Err(BadNamespace::Own(path.to_owned()));
        }
        let namespace = Self { file, path: path.to_owned() };
        // Namespaces of other kinds are files of the same system; they cannot be entered as one
        // of this kind.
        match namespace.within(|| ()) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Err(BadNamespace::NoNamespace(path.to_owned()))
            }
            Err(error) => Err(io(error)),
            Ok(()) => Ok(namespace),
        }
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number among the files that this process has open.
    pub(super) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Does `work` on a thread inside: sockets that it opens belong to the namespace wherever
    /// they are used later.
    ///
    /// # Errors
    /// If the kernel does not let us in.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_of_a_container_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, want) in [
            (folder.path().join("none"), "no such namespace"),
            (file, "this is no network namespace"),
            // Opening it would wait for ever.
            (pipe, "this is no network namespace"),
            ("/dev/zero".into(), "this is no network namespace"),
            ("/proc".into(), "this is no network namespace"),
            ("/proc/self/ns/net".into(), "the node's own"),
        ] {
            let said = Namespace::open(&path).unwrap_err().to_string();
            assert!(said.contains(want), "{}: {said}", path.display());
        }
    }
}
