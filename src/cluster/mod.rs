//! The cluster's state: what nodes, namespaces, pods and policies there are.

pub mod bgp;
pub mod claims;
mod distrust;
pub(crate) mod fields;
pub mod files;
mod folder;
pub mod kind;
pub mod kubernetes;
pub(crate) mod manifest;
pub mod node;
mod object;
pub mod peers;
mod policy;
pub mod report;
pub mod services;
mod stand_in;
pub(crate) mod texts;
pub(crate) mod typed;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::{Asn, ClusterId, Prefix};

use brindle_policy::model::{ServiceName, SliceKey};

use self::bgp::{BgpKey, BgpObject};
use self::services::{Endpoints, Service};

/// A node of the cluster, as far as routing needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `status.addresses` of type InternalIP, in their order.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`, or `spec.podCIDR` where that is all there is.
    pub pod_cidrs: Vec<Prefix>,
    /// Annotation `brindle.dev/networks`: further prefixes that it may advertise to the mesh.
    pub networks: Vec<Prefix>,
    /// Annotation `brindle.dev/as-number`; `None` takes the cluster's.
    pub asn: Option<Asn>,
    /// Annotation `brindle.dev/route-reflector-cluster-id`: it reflects routes between the
    /// nodes (RFC 4456), and this is its cluster.
    pub route_reflector: Option<ClusterId>,
    /// `metadata.creationTimestamp`, which decides between nodes that claim one range.
    pub created: Option<jiff::Timestamp>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// What keeps pods away from it.
    pub cordon: Cordon,
}

/// What keeps pods away from a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cordon {
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
}

/// A taint of a node; `Display` writes it as `kubectl taint` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// `key`.
    pub key: String,
    /// `value`; empty without one.
    pub value: String,
    /// `effect`.
    pub effect: String,
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taint { key, value, effect } = self;
        match value.as_str() {
            "" => write!(f, "{key}:{effect}"),
            value => write!(f, "{key}={value}:{effect}"),
        }
    }
}

/// A change of the cluster's state, in the order it happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A node is there, new or changed.
    NodeApplied(Arc<Node>),
    /// A node is gone.
    NodeDeleted(Arc<str>),
    /// An object about BGP is there, new or changed.
    BgpApplied(BgpObject),
    /// An object about BGP is gone.
    BgpDeleted(BgpKey),
    /// A Service is there, new or changed.
    ServiceApplied(Arc<Service>),
    /// A Service is gone.
    ServiceDeleted(ServiceName),
    /// What an EndpointSlice says of where endpoints are is another; nothing any more, if it is
    /// gone.
    EndpointsChanged(SliceKey, Option<Arc<Endpoints>>),
    /// Something that only policy is about. Never [`brindle_policy::Change::InSync`].
    Policy(brindle_policy::Change),
    /// Everything that there was at the start has been delivered; said once.
    InSync,
}
