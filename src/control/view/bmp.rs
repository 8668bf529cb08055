//! Stations that are told of sessions and routes over BMP.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Time;

/// How a station is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BmpStation {
    /// Its name.
    pub name: String,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// What becomes of it.
    pub state: BmpState,
    /// Since when it is connected, or is not.
    pub since: Time,
    /// Since then.
    pub since_seconds: u64,
    /// In how many seconds it is dialled again, if it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_seconds: Option<u64>,
    /// Why the last connection, or attempt at one, ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Messages that its connections took.
    pub messages: u64,
    /// Connections so far, each with everything from the beginning.
    pub dumps: u64,
    /// Changes that it was not told, since the next one came before it had read so far.
    pub superseded: u64,
}

/// What becomes of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BmpState {
    /// It is dialled.
    Dialling,
    /// It is connected, and is told what there is.
    Dumping,
    /// It is told what changes.
    Streaming,
    /// It is dialled again later.
    Waiting,
}

impl fmt::Display for BmpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BmpState::Dialling => "dialling",
            BmpState::Dumping => "dumping",
            BmpState::Streaming => "streaming",
            BmpState::Waiting => "waiting",
        })
    }
}
