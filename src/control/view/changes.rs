//! Changes of the paths in use, as they happen.

use std::fmt;

use brindle_bgp::net::Prefix;
use serde::{Deserialize, Serialize};

use super::{Path, Time, as_text};

/// A change of the paths in use of a prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteChange {
    /// When.
    pub time: Time,
    /// The prefix.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// What became of its route.
    pub change: ChangeKind,
    /// What happened.
    pub cause: ChangeCause,
    /// Name of the peer that it happened to; absent if it is about our own paths, or next hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What is used now, the best first.
    pub paths: Vec<Path>,
    /// What was used before, the best first.
    pub before: Vec<Path>,
}

impl RouteChange {
    /// What happened, and what was used before, in words.
    pub fn reason(&self) -> String {
        let peer = self.peer.as_deref();
        let why = match (self.cause, peer) {
            (ChangeCause::Announced, Some(peer)) => format!("announced by {peer}"),
            (ChangeCause::Announced, None) => "originated here".to_owned(),
            (ChangeCause::Withdrawn, Some(peer)) => {
                format!("withdrawn by {peer}, or its session ended")
            }
            (ChangeCause::Withdrawn, None) => "not originated here any more".to_owned(),
            (ChangeCause::Kept, Some(peer)) => {
                format!("the session with {peer} ended, its path is kept")
            }
            (ChangeCause::Kept, None) => "kept".to_owned(),
            (ChangeCause::Judged, Some(peer)) => {
                format!("settings of {peer} judge its path otherwise")
            }
            (ChangeCause::Judged, None) => "settings judge our own path otherwise".to_owned(),
            (ChangeCause::NextHop, _) => "a next hop came, went or moved".to_owned(),
        };
        let before = self.before.iter().map(|path| match (path.next_hop, &path.from) {
            (Some(next_hop), Some(from)) => format!("{next_hop} from {from}"),
            (_, from) => from.clone().unwrap_or_else(|| "this node's".to_owned()),
        });
        match before.collect::<Vec<_>>().join(", ") {
            before if before.is_empty() => why,
            before => format!("{why}; was {before}"),
        }
    }
}

/// What became of the route to a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// There was none.
    Added,
    /// Other paths are used, or other attributes stand on them.
    Changed,
    /// No path is used any more.
    Removed,
}

/// What made the paths in use of a prefix change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeCause {
    /// A path was announced.
    Announced,
    /// A path was withdrawn, or its session ended.
    Withdrawn,
    /// A session ended, and its path is kept.
    Kept,
    /// Settings judge a path otherwise.
    Judged,
    /// A next hop came, went or moved.
    NextHop,
}

/// Changes since somebody asked last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteChanges {
    /// In their order.
    pub items: Vec<RouteChange>,
    /// Why it is not known what happened since; then there are no items, and the whole table is
    /// to be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<RouteGap>,
    /// Where to go on, as the agent likes to write it.
    pub next: String,
}

/// Why a reader of changes does not know all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum RouteGap {
    /// They came faster than they were read.
    Missed {
        /// So many.
        changes: u64,
    },
    /// BGP was started anew, or nobody has asked for so long that changes are not recorded.
    OtherHistory,
}

impl fmt::Display for RouteGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteGap::Missed { changes } => {
                write!(f, "missed {changes} changes that came faster than they were read")
            }
            RouteGap::OtherHistory => {
                f.write_str("BGP was started anew, or changes were not recorded for a while")
            }
        }
    }
}
