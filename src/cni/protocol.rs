//! What the plug-in and the agent say to each other over the control socket.
//!
//! ```text
//!  GET  /v1/cni/node      -> NodeAnswer       where this node's pods get their addresses from
//!  POST /v1/cni/attach    Attach -> Attached  answered when the pod's isolation is in the kernel
//!  POST /v1/cni/detach    Detach -> Detached  the pod's interface is gone
//! ```

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::record::PodName;

/// What a pod's interface on this node is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAnswer {
    /// The node's name.
    pub node: String,
    /// The ranges that its pods get their addresses from, at most one a family; empty while the
    /// node has none.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// The MTU of pods' interfaces, in octets: `cni.mtu`, else that of the node's uplink.
    pub mtu: u32,
    /// Why pods cannot be connected now, if they cannot.
    pub problem: Option<String>,
}

/// A pod has got an interface, which is still closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attach {
    /// The pod; `None` for a container that Kubernetes does not know.
    pub pod: Option<PodName>,
    /// The node's end of its cable.
    pub host_interface: String,
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// How long to wait until its isolation is in the kernel, in seconds.
    pub wait_seconds: u32,
}

/// What came of an [`Attach`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// Its isolation is in the kernel, or the agent enforces no policies.
    pub programmed: bool,
    /// Why not, otherwise.
    pub problem: Option<String>,
}

/// A pod's interface is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detach {
    /// The node's end of its cable.
    pub host_interface: String,
}

/// What came of a [`Detach`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detached {
    /// The agent knew the interface.
    pub known: bool,
}
