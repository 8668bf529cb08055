//! `bgp.drain:` when a node is drained that nobody has told to be, and how.

use super::time;
use crate::meaning::DrainSettings;
use crate::schema::DrainSection;

/// The section that says it.
pub(super) fn section(drain: &DrainSettings) -> DrainSection {
    DrainSection {
        on_cordon: drain.on_cordon,
        taints: drain.taints.iter().map(ToString::to_string).collect(),
        wait: time(drain.wait),
    }
}
