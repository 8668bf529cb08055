//! The objects of policy APIs that Kubernetes itself does not have, as they are written:
//! `projectcalico.org/v3` and `policy.networking.k8s.io/v1alpha2`.
//!
//! They hold every field that the APIs have, also those that mean nothing here, so that a field
//! that is left is one that its author mistyped. Values that an object may get wrong are texts
//! and numbers of any kind: [`crate::ingest`] says what is wrong with one, and takes the rest
//! of the object. The schemas say what an API server shall refuse.

pub mod calico;
pub mod cluster;
mod schema;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An object with a `spec` of type `S`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<S> {
    /// `apiVersion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `kind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `metadata`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `spec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<S>,
    /// `status`: what controllers tell of it. Nothing of it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

#[cfg(test)]
mod tests;
