//! Who may reach whom.

use serde::{Deserialize, Serialize};

/// Verdicts between groups of pods. Pods are one group if no policy can tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matrix {
    /// The namespace whose pods it is about; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The port that was asked for: `5432/tcp`; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Where flows come from, one a row.
    pub from: Vec<Group>,
    /// Where they go, one a column.
    pub to: Vec<Group>,
    /// Row by row, in each a cell for each column.
    pub cells: Vec<Cell>,
}

/// Pods that no policy can tell apart, or what is outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// What it is called in the table; no two alike.
    pub name: String,
    /// The pods; none for what is outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
}

/// What becomes of flows from one group to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The row's group.
    pub from: String,
    /// The column's group.
    pub to: String,
    /// In a word.
    pub verdict: CellVerdict,
    /// The policy that decides, or the sentence that does: `NetworkPolicy shop/db-clients`.
    pub decided_by: String,
    /// The rule of it that decides, from zero; absent if none matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// The ports that are open, where some are: `53/udp`, `8000-8080/tcp`, `icmp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
}

/// What becomes of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CellVerdict {
    /// They pass.
    Allowed,
    /// To some ports they do.
    Some,
    /// They are dropped.
    Denied,
    /// They are dropped because a pod is not programmed yet.
    Pending,
}

impl CellVerdict {
    /// Its sign in the table.
    pub fn sign(self) -> char {
        match self {
            CellVerdict::Allowed => '.',
            CellVerdict::Some => '~',
            CellVerdict::Denied => 'X',
            CellVerdict::Pending => '?',
        }
    }
}
