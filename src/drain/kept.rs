//! What a restart of the agent must not forget: that the node is drained, or about to be.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Order, Outcome};

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Kept {
    /// It was under way.
    Draining {
        /// What was to be done.
        order: Order,
    },
    /// It was done.
    Drained {
        /// What was done.
        order: Order,
        /// What came of it.
        outcome: Outcome,
    },
    /// An operator has undone what the Node object asks for; its reason, which no longer counts
    /// until it was gone once.
    Undone {
        /// The reason.
        reason: String,
    },
}

/// The file that it stands in, beside the control socket: after the host has started anew a
/// node is not drained.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

impl Store {
    /// That of the agent with this control socket.
    pub fn beside(socket: &Path) -> Self {
        Self(socket.with_extension("drain.json"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is remembered, if anything.
    ///
    /// # Errors
    /// If the file cannot be read, or says what we do not understand.
    pub fn load(&self) -> io::Result<Option<Kept>> {
        match fs::read(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        }
    }

    /// Remembers it, whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn keep(&self, what: &Kept) -> io::Result<()> {
        let temporary = self.0.with_extension("json.new");
        let put = (|| {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(what)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.0)
        })();
        if put.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        put
    }

    /// Remembers nothing any more.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::By;
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_no_such_thing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::beside(&folder.path().join("brindle.sock"));
        assert_eq!(store.path(), folder.path().join("brindle.drain.json"));
        assert_eq!(store.load().unwrap(), None);
        store.forget().unwrap();
        let order = Order {
            by: By::Node("Node/n1 is cordoned".to_owned()),
            wait: Duration::from_millis(1500),
            message: Some("a disk is \"changed\"\n".to_owned()),
            since: SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123),
        };
        let outcome = Outcome {
            peers: 14,
            withdrawn_after: Some(Duration::from_secs(30)),
            packets_per_second: None,
        };
        for kept in [
            Kept::Draining { order: Order { by: By::Operator, message: None, ..order.clone() } },
            Kept::Drained { order, outcome },
            Kept::Undone { reason: "Node/n1 is cordoned".to_owned() },
        ] {
            store.keep(&kept).unwrap();
            assert_eq!(store.load().unwrap(), Some(kept));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        fs::write(store.path(), "{\"state\": \"elsewhere\"}").unwrap();
        assert!(store.load().is_err());
        store.forget().unwrap();
        assert_eq!(store.load().unwrap(), None);
    }
}
