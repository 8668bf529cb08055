//! brindle's configuration: YAML text in, a [`Config`] or a list of errors with file,
//! line and column out.
//!
//! ```text
//!  brindle.yaml ──┐ yaml                 section, value            meaning
//!  conf.d/a.yaml ─┼──────► trees ─merge─► tree ──────► check ─────► Config ─render─► YAML, JSON
//!  conf.d/b.yaml ─┘       with places                   └─► Errors: file:line:column  path: ...
//! ```
//!
//! Each file becomes a tree whose nodes know where they stand; the trees are laid on each
//! other; the check asks the tree for one key after the other, notes all that is wrong and
//! goes on, so that one run names every mistake. A [`Config`] comes out only if nothing was.
//! Only [`Config::load`] and what reads keys touch the file system.

mod check;
mod error;
mod load;
mod meaning;
mod merge;
mod render;
mod schema;
mod secret;
mod section;
mod value;
mod yaml;

pub use check::extras::PeerExtras;
pub use check::services::no_service_block;
pub use error::{Errors, Place, Problem, printable};
pub use load::Loaded;
pub use meaning::{
    AddPaths, AoAlgorithm, AoKey, Auth, Backend, Bgp, BmpPolicy, BmpStation, ChainedPlugin, Cni,
    Config, Control, DrainSettings, DynamicPeers, EstablishedFlows, ExpectedAs, Failsafe,
    FailsafeProtocol, FlowLog, GracefulRestart, HashPolicy, HostEndpoints, KeyFile, LoopPrevention,
    Multipath, Node, Peer, PeerAs, Policy, PrefixAdvertisement, Retain, Routes, ServiceAddresses,
    ServiceSettings, Source, TaintMatch, Telemetry, ToHost,
};
pub use schema::json_schema;
pub use secret::{BadKey, Secret};
pub use value::is_dns_subdomain;
