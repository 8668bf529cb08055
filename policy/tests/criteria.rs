//! The acceptance criteria (policy-semantics 8) of NetworkPolicies, of Calico's policies and of
//! ClusterNetworkPolicies, as far as they can be decided without a kernel: each through the
//! verdict and through the chains of both nodes.

#[path = "criteria/calico.rs"]
mod calico;
#[path = "criteria/cluster.rs"]
mod cluster;
#[path = "criteria/ground.rs"]
mod ground;
#[path = "criteria/hosts.rs"]
mod hosts;
#[path = "criteria/lives.rs"]
mod lives;
#[path = "support/objects.rs"]
mod objects;
#[path = "support/passage.rs"]
mod passage;
#[path = "criteria/peers.rs"]
mod peers;
#[path = "criteria/ports.rs"]
mod ports;
#[path = "criteria/types.rs"]
mod types;
#[path = "support/walk.rs"]
mod walk;
