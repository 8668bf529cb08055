//! `bgp.drain:` when a node is drained that nobody has told to be, and how.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Document, Time};

/// When the node is drained without being told to, and how long it waits.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct DrainSection {
    /// Whether the node is drained while its Node object is cordoned
    /// (`spec.unschedulable`). Pods that still run there cannot be reached then.
    pub(crate) on_cordon: bool,
    /// Taints of the Node object that have the node drained: `key`, `key=value`,
    /// `key:Effect` or `key=value:Effect`.
    pub(crate) taints: Vec<String>,
    /// Longest wait for traffic to go elsewhere before what the node originates is withdrawn:
    /// 0s to 1h.
    pub(crate) wait: Time,
}

impl Default for DrainSection {
    fn default() -> Self {
        Document::default().bgp.drain
    }
}
