//! Addresses that have a name: network sets, and the endpoints of services.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, Protocol};
use crate::address::Cidr;

/// Which `NetworkSet` or `GlobalNetworkSet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkSetId {
    /// `metadata.namespace`; `None` for a GlobalNetworkSet.
    pub namespace: Option<Arc<str>>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for NetworkSetId {
    /// `NetworkSet shop/offices`, `GlobalNetworkSet offices`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "NetworkSet {namespace}/{}", self.name),
            None => write!(f, "GlobalNetworkSet {}", self.name),
        }
    }
}

/// Labelled blocks, which stand for a peer where a selector of Calico's language holds for
/// their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSet {
    /// Which it is.
    pub id: NetworkSetId,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.nets`.
    pub nets: BTreeSet<Cidr>,
}

/// The name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for ServiceName {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which `EndpointSlice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

/// Some endpoints of a Service (`discovery.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Which it is.
    pub key: SliceKey,
    /// The label `kubernetes.io/service-name`, in the same namespace; `None` if it has none.
    pub service: Option<ServiceName>,
    /// All addresses of its endpoints, ready or not: a policy does not know of probes.
    pub addresses: BTreeSet<IpAddr>,
    /// The ports on each of them.
    pub ports: BTreeSet<(Protocol, u16)>,
}
