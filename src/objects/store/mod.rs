//! Where objects are kept: an API server, or a folder of manifests.

mod folder;
mod server;

pub use folder::Folder;
pub(super) use server::of_its_own;
pub use server::{Server, why_unreachable};

use serde_json::Value;

use super::found::{Id, Object};
use crate::cluster::kind::Kind;

/// Why something could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is there already.
    Exists,
    /// It is not there.
    Missing,
    /// Somebody else changed it meanwhile.
    Changed,
    /// It is wrong, says who keeps it.
    Invalid,
    /// There is no way to who keeps it.
    Unreachable,
    /// We may not.
    Forbidden,
    /// Anything else that is wrong at the other end.
    Failed,
}

/// What could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// Why, in short.
    pub why: Why,
    /// Why, in a sentence that says what to do about it.
    pub message: String,
}

impl Trouble {
    pub(super) fn new(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }

    /// There is such an object already.
    fn exists(id: &Id) -> Self {
        Self::new(Why::Exists, format!("resource already exists: {id}"))
    }

    /// There is no such object.
    pub fn missing(id: &Id) -> Self {
        Self::new(Why::Missing, format!("resource does not exist: {id}"))
    }
}

/// Keeps objects. Objects are `projectcalico.org/v3` here, however they are kept.
pub trait Store {
    /// The object, if it is there.
    ///
    /// # Errors
    /// It cannot be asked for.
    fn get(&mut self, id: &Id) -> Result<Option<Value>, Trouble>;

    /// All objects of a kind, of one namespace if it is named, by namespace and name.
    ///
    /// # Errors
    /// They cannot be asked for.
    fn list(&mut self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, Trouble>;

    /// Writes an object that is not there yet.
    ///
    /// # Errors
    /// [`Why::Exists`] if it is; or it cannot be written.
    fn create(&mut self, object: &Object) -> Result<(), Trouble>;

    /// Writes an object over `before`, what [`Store::get`] said. Its `resourceVersion`, if it
    /// has one, has to be that of the object which is there.
    ///
    /// # Errors
    /// [`Why::Changed`] if it is not the one that is there any more; or it cannot be written.
    fn replace(&mut self, object: &Object, before: &Value) -> Result<(), Trouble>;

    /// Takes an object away.
    ///
    /// # Errors
    /// [`Why::Missing`] if it is not there; or it cannot be taken away.
    fn delete(&mut self, id: &Id) -> Result<(), Trouble>;
}
