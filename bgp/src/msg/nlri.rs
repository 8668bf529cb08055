//! What an UPDATE names: a prefix, and where ADD-PATH was agreed one of the paths to it
//! (RFC 7911 §3).

use std::fmt;

use crate::net::{Family, Prefix};

/// A Path Identifier: tells the paths of one prefix that one speaker told another apart
/// (RFC 7911 §3). Every number is as good as any other, zero included, and none has a meaning
/// beyond the session; what is told without ADD-PATH counts as the path with the number zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A path to a prefix as an UPDATE announces or withdraws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri {
    /// The prefix.
    pub prefix: Prefix,
    /// Which of the paths to it.
    pub path_id: PathId,
}

impl Nlri {
    /// The family of the prefix.
    pub fn family(&self) -> Family {
        self.prefix.family()
    }
}

impl From<Prefix> for Nlri {
    /// The one path to a prefix that there is without ADD-PATH.
    fn from(prefix: Prefix) -> Self {
        Self { prefix, path_id: PathId::default() }
    }
}

/// Where prefixes have path identifiers before them: by direction as we see it, and by
/// [`Family::index`] (RFC 7911 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddPaths {
    /// In what the peer sends.
    pub receive: [bool; 2],
    /// In what we send.
    pub send: [bool; 2],
}
