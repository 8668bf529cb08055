//! Whether the node is drained.

use serde::{Deserialize, Serialize};

use super::Time;

/// Whether the node is drained, and how far it is with that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// The node.
    pub node: String,
    /// How far it is.
    pub state: DrainState,
    /// Who wanted it; absent while it serves, as all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What peers are told when their sessions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<u64>,
    /// The longest wait for traffic to go elsewhere before own prefixes are withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<f64>,
    /// Peers that were told of it.
    pub peers: usize,
    /// How long it took until own prefixes were withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_after_seconds: Option<f64>,
    /// Packets of the last second that came in for addresses that the node announces; absent
    /// if they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_per_second: Option<u64>,
    /// Why they could not be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_counted: Option<String>,
    /// Whether it is drained, and nothing was seen to come in at the end.
    pub safe_to_stop: bool,
}

/// How far a node is with draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainState {
    /// It is not drained, nor about to be.
    Serving,
    /// All that peers are told carries the graceful-shutdown community (RFC 8326).
    Announcing,
    /// What the node originates is withdrawn.
    Withdrawing,
    /// Sessions end.
    Closing,
    /// There are none, until it is undone.
    Drained,
}

impl Drain {
    /// Of a node that is not drained.
    pub fn serving(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            state: DrainState::Serving,
            reason: None,
            message: None,
            since: None,
            since_seconds: None,
            wait_seconds: None,
            peers: 0,
            withdrawn_after_seconds: None,
            packets_per_second: None,
            not_counted: None,
            safe_to_stop: false,
        }
    }
}
