//! A network policy engine without I/O: objects in, verdicts and rulesets out.
//!
//! ```text
//!  Kubernetes objects ─ingest─► model ─apply─► World ──verdict──► allowed or denied, and why
//!                                                │
//!                                             compile (what changed only)
//!                                                ▼
//!                      have ◄─readback─ kernel  Ruleset ──diff──► Plan ──render──► text
//! ```
//!
//! One evaluation serves all policy languages: tiers in order, in each tier the policies that
//! govern the endpoint in order, in each policy its rules in order; whoever no policy governs
//! is allowed. [`verdict`] does it on values; [`compile`] turns it into chains and sets whose
//! walk by a packet gives the same answer, which tests on random worlds hold together. [`lint`]
//! reads policies for what they can hardly mean.
//!
//! Nothing here reads a clock, a file or a socket, and nothing depends on the order in which
//! objects came.

pub mod address;
pub mod api;
pub mod compile;
pub mod diff;
pub mod ingest;
pub mod lint;
pub mod model;
pub mod names;
pub mod readback;
pub mod render;
pub mod ruleset;
pub mod selector;
pub mod verdict;
pub mod walk;
pub mod world;

pub use address::{Cidr, Family};
pub use model::{Attachment, Change, Direction, PodKey, PolicyId, Protocol};
pub use names::Interface;
pub use ruleset::{Plan, Ruleset};
pub use world::World;
