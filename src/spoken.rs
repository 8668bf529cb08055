//! A note that an agent has spoken on this host since it booted, for one that writes no routes:
//! nothing in the kernel tells it that it is back.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file, beside the control socket, where nothing outlives a boot.
#[derive(Clone, Debug)]
pub struct Note(PathBuf);

impl Note {
    /// That of the agent with this control socket.
    pub fn beside(socket: &Path) -> Self {
        Self(socket.with_extension("spoken"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves it there. Whether it was there before.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn leave(&self) -> io::Result<bool> {
        match File::create_new(&self.0) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
            made => made.map(|_| false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_a_note_finds_it_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let note = Note::beside(&folder.path().join("brindle.sock"));
        assert_eq!(note.path(), folder.path().join("brindle.spoken"));
        assert!(!note.leave().unwrap());
        assert!(note.leave().unwrap());
        std::fs::remove_file(note.path()).unwrap();
        assert!(!note.leave().unwrap());
        let nowhere = Note::beside(&folder.path().join("none/brindle.sock"));
        assert!(nowhere.leave().is_err());
    }
}
