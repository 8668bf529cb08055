//! The acceptance criteria of NetworkPolicies (policy-semantics 8), as far as they can be
//! decided without a kernel: each through the verdict and through the chains of both nodes.

#[path = "criteria/ground.rs"]
mod ground;
#[path = "criteria/hosts.rs"]
mod hosts;
#[path = "criteria/lives.rs"]
mod lives;
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
