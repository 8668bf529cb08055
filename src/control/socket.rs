//! The socket's file: never there with a wrong mode, never taken from a running agent.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Group, chown};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// The group that may read; the socket belongs to it if it exists.
pub(super) const GROUP: &str = "brindle";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// A socket that listens, and its file, which goes when this goes.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: UnixListener,
    file: SocketFile,
}

impl Bound {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// Removes the file of a socket when dropped, unless another stands there by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Ok(there) = fs::symlink_metadata(&self.path)
            && (there.dev(), there.ino()) == (self.device, self.inode)
        {
            // Nothing is lost if it stays: the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent has it.
    #[error(
        "control.socket {0}: an agent answers there already; stop it, or give this one another control.socket"
    )]
    InUse(PathBuf),
    /// There is something that we shall not replace.
    #[error("control.socket {0}: there is something that is no socket; move it away")]
    NotASocket(PathBuf),
    /// The system limits the paths of sockets.
    #[error(
        "control.socket {0}: the path is too long; the folder's may have about 95 octets, accepted is for instance /run/brindle/brindle.sock"
    )]
    TooLong(PathBuf),
    /// The path names no file.
    #[error("control.socket {0}: not the path of a file")]
    NoName(PathBuf),
    /// The system refused.
    #[error("control.socket {path}: cannot {deed}")]
    Io {
        /// The socket or its folder.
        path: PathBuf,
        /// What was tried.
        deed: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Listens at `path`: with mode 0660 and the group `brindle` where that exists, else 0600.
/// The folder is made (0755) if it is missing. A file that a dead agent left is replaced.
///
/// # Errors
/// See [`BindError`]. Must be called inside a tokio runtime.
pub fn bind(path: &Path) -> Result<Bound, BindError> {
    let failed = |deed| {
        let path = path.to_owned();
        move |source| BindError::Io { path, deed, source }
    };
    let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
        return Err(BindError::NoName(path.to_owned()));
    };
    if !folder.as_os_str().is_empty() && !folder.exists() {
        fs::create_dir_all(folder)
            .and_then(|()| {
                // Whatever the umask: the socket's own mode says who may.
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            })
            .map_err(failed("make its folder"))?;
    }
    refuse_if_taken(path)?;

    // Made under another name and renamed: under its own name it is right from the start.
    let temporary = folder.join(format!(".{}", std::process::id()));
    let address = SockAddr::unix(&temporary).map_err(|_| BindError::TooLong(path.to_owned()))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("open a socket"))?;
    socket.set_nonblocking(true).map_err(failed("open a socket"))?;
    // The file takes its mode from the socket, so that not even the temporary one is open to others.
    fchmod(socket.as_fd(), Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(io::Error::from)
        .map_err(failed("set its mode"))?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove a leftover beside it")(error));
        }
        _ => {}
    }
    socket.bind(&address).map_err(failed("make it"))?;
    let made = (|| {
        open_to_group(&temporary)?;
        socket.listen(BACKLOG)?;
        let there = fs::symlink_metadata(&temporary)?;
        fs::rename(&temporary, path)?;
        let file = SocketFile { path: path.to_owned(), device: there.dev(), inode: there.ino() };
        Ok(Bound { listener: UnixListener::from_std(socket.into())?, file })
    })();
    made.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed("set it up")(error)
    })
}

/// Changes nothing.
///
/// # Errors
/// If somebody answers at `path`, if there is something that is no socket, if it cannot be one,
/// or if the system does not let us look.
pub fn refuse_if_taken(path: &Path) -> Result<(), BindError> {
    let address = SockAddr::unix(path).map_err(|_| BindError::TooLong(path.to_owned()))?;
    let look = |source| BindError::Io { path: path.to_owned(), deed: "look at it", source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(look(error)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(look)?;
    // Without waiting: an agent that hangs with a full backlog is alive too.
    probe.set_nonblocking(true).map_err(look)?;
    match probe.connect(&address) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Ok(()) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::InUse(path.to_owned()))
        }
        Err(error) => Err(look(error)),
    }
}

/// Gives the file to the group, if it exists and may be given to; else only we may use it.
fn open_to_group(path: &Path) -> io::Result<()> {
    let group = match Group::from_name(GROUP) {
        // Where there is no list of groups at all, as in a container, there is none of that name.
        Ok(None) | Err(Errno::ENOENT) => return Ok(()),
        Ok(Some(group)) => group,
        Err(error) => return Err(error.into()),
    };
    match chown(path, None, Some(group.gid)) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o660)),
        // In a user namespace the group may not be there to be given to.
        Err(error) => {
            tracing::warn!(%error, group = GROUP, "control socket stays closed to the group");
            Ok(())
        }
    }
}
