//! Tests of brindle against real peers, real kernels and real packets.
//!
//! ```text
//!   Lan ── a bridge in a namespace of its own
//!    ├── Netns "brindle"  10.9.0.1 fd09::1   Agent  (the real binary, a real YAML file)
//!    ├── Netns "other"    10.9.0.2 fd09::2   Bird, Frr or Gobgp, all behind the trait Router
//!    └── Netns "raw"      10.9.0.3 fd09::3   RawPeer (octets that the test wrote)
//! ```
//!
//! Namespaces have no name outside the test process: they are held by a file descriptor,
//! so that the kernel takes them back whatever happens to the test. Programs started in
//! them die with the test. What cannot run here is skipped loudly: see [`skip`].

pub mod agent;
pub mod apiserver;
pub mod bird;
pub mod cni;
pub mod container;
pub mod frr;
pub mod gobgp;
pub mod http;
pub mod kernel;
pub mod lab;
pub mod load;
pub mod netns;
pub mod node;
pub mod octets;
pub mod process;
pub mod rawpeer;
pub mod router;
pub mod skip;
pub mod stream;
pub mod wait;

pub use agent::Agent;
pub use apiserver::ApiServer;
pub use lab::TestLab;
pub use netns::{Host, Lan, Netns};
pub use process::Process;
pub use wait::until;
