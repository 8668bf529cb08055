//! Pods and their interfaces.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Labels, Protocol};
use crate::address::Family;
use crate::names::Interface;

/// The name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl fmt::Display for PodKey {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod, as far as policy needs it. Whether it is an endpoint: [`Pod::is_endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.nodeName`; `None` before it is scheduled.
    pub node: Option<Arc<str>>,
    /// `spec.hostNetwork`: it has the node's addresses, is governed by no policy and stands
    /// for no peer (policy-semantics 2.4, 2.7).
    pub host_network: bool,
    /// `status.phase` is Succeeded or Failed: its network is gone.
    pub finished: bool,
    /// `status.podIPs`, or `status.podIP` where that is all there is; at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Named ports of all its containers, init containers included; none twice.
    pub ports: BTreeSet<NamedPort>,
    /// `metadata.creationTimestamp` as the API writes it (sorts by time); empty if unknown.
    pub created: Arc<str>,
    /// `spec.serviceAccountName`, `default` if it names none.
    pub service_account: Arc<str>,
}

impl Pod {
    /// Whether policies apply to it and selectors stand for it: it has a network of its own,
    /// with an address, and has not finished.
    pub fn is_endpoint(&self) -> bool {
        !self.host_network && !self.finished && !self.addresses.is_empty()
    }

    /// Its address of one family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

/// A container port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// `name`.
    pub name: Arc<str>,
    /// `protocol`, TCP if it says none.
    pub protocol: Protocol,
    /// `containerPort`.
    pub number: u16,
}

/// A pod's interface on a node, as our network plug-in made it. The kubelet tells the API
/// server of a pod's addresses only after the pod is connected; this tells before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The node that it is on.
    pub node: Arc<str>,
    /// The node's end of its cable.
    pub interface: Interface,
    /// The pod. `None` is a container that Kubernetes does not know: nobody can write a policy
    /// for it, so it stays closed where policies are enforced.
    pub pod: Option<PodKey>,
    /// Its addresses, none twice; no other may send from the interface.
    pub addresses: Vec<IpAddr>,
}
