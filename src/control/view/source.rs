//! Where the cluster's state comes from.

use serde::{Deserialize, Serialize};

use super::Time;

/// Where nodes, namespaces, pods, policies and what these are about come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// `files` or `kubernetes`.
    pub kind: String,
    /// The folder; absent for `kubernetes`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Whether everything that was there has been read.
    pub in_sync: bool,
    /// How many nodes it names, this one included.
    pub nodes: usize,
    /// How many namespaces.
    #[serde(default)]
    pub namespaces: usize,
    /// How many pods.
    #[serde(default)]
    pub pods: usize,
    /// How many policies of all kinds, staged ones included.
    #[serde(default)]
    pub policies: usize,
    /// How many tiers, but for those that are always there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tiers: usize,
    /// How many network sets, global or not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub network_sets: usize,
    /// How many host endpoints.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub host_endpoints: usize,
    /// How many BGPConfigurations, BGPFilters and BGPPeers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bgp_objects: usize,
    /// When it last changed something; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Time>,
    /// Since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_seconds: Option<u64>,
    /// What it could not read; the last good content stays in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SourceError>,
    /// The way to the API server; absent for `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesSource>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Something that the source could not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceError {
    /// The file or folder; of `kubernetes` the object, `Node/n2`.
    pub file: String,
    /// The YAML document in it, from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The line in the file, from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong and what is done about it.
    pub message: String,
}

/// The way to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSource {
    /// Whether all resources that the server has are watched now.
    pub connected: bool,
    /// Until when all that happened is known, of the resource that has been silent for longest;
    /// absent if one was never listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Time>,
    /// Since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_seconds: Option<u64>,
    /// What is watched.
    pub resources: Vec<WatchedResource>,
    /// Deletions that are held back: a listing found more of them than is likely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldDeletions>,
    /// What the API server does not let the agent do, each with what to grant and what is so
    /// without it. That alone makes the node no less healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A resource that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchedResource {
    /// `pods`, `tiers.projectcalico.org`.
    pub resource: String,
    /// Whether the API server has it, as far as is known: nobody need have the kinds that
    /// Kubernetes does not bring along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
    /// The API group that it is read from, where that is not the one of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Objects in force.
    pub objects: usize,
    /// Whether it was listed to the end.
    pub listed: bool,
    /// Whether it is watched now.
    pub watching: bool,
    /// Until when all that happened is known; absent before it was listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_seconds: Option<u64>,
    /// How often everything had to be listed again.
    pub relists: u64,
    /// How often a request failed.
    pub errors: u64,
    /// Why it is not watched, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// For how long it is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_seconds: Option<u64>,
}

/// Deletions that are held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldDeletions {
    /// `nodes`.
    pub resource: String,
    /// How many objects are missing.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// When they are deleted after all.
    pub until: Time,
    /// Until then.
    pub until_seconds: u64,
}
