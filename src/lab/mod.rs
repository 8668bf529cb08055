//! Clusters of network namespaces on one machine.
//!
//! ```text
//!    n1-p1   n1-p2        n2-p1   n2-p2            every box is a network namespace,
//!      │eth0   │eth0        │       │              every line a veth pair of MTU 1500
//!   brn…│   brn…│            │       │
//!    ┌─┴───────┴─┐        ┌─┴───────┴─┐
//!    │ n1  agent │        │ n2  agent │            a real `brindle agent` each
//!    └─────┬─────┘        └─────┬─────┘
//!      eth0│  10.0.0.0/24       │
//!        ┌─┴──── bridge ────────┴─┐    ┌──────┐
//!        │ tor1   agent or BIRD   ├────┤ tor2 ├─ …   eBGP between the routers
//!        └────────────────────────┘    └──────┘
//! ```
//!
//! The lab makes what an administrator would: interfaces, addresses, the nodes' default routes.
//! Pods are connected by brindle's own CNI plug-in, which [`runtime`] calls as a container runtime
//! does. Whatever else a packet from pod to pod needs is the speakers' work.
//!
//! [`plan`] works out names and addresses (pure), [`speakers`] the configuration files (pure);
//! [`objects`] and [`apply`] play the API server: pods, namespaces and policies that come and go.
//! With `lab up --kube` that is a real [`apiserver`] instead, in a namespace `api` on the first
//! rack's wire: [`kube`] hands it the objects, [`kubelet`] is all the controllers there are, and
//! [`connected`] the pods that it has connected.
//! [`state`] remembers them on disk before [`build`] makes anything, so that [`down`] finds
//! everything after a crash. [`converge`] waits, [`traffic`] proves, [`fault`] breaks things.
//! Without root all of it happens in a user namespace that [`rootless`] keeps open.

mod addresses;
pub mod apiserver;
pub mod apply;
pub mod build;
pub mod connected;
pub mod converge;
pub mod down;
pub mod exec;
pub mod fault;
pub mod kube;
pub mod kubelet;
pub mod list;
pub mod netns;
pub mod objects;
pub mod plan;
pub mod process;
pub mod rootless;
pub mod runtime;
pub mod speakers;
pub mod state;
pub mod traffic;
