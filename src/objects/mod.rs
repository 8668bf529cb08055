//! Policy objects as people handle them: written in manifests, kept by an API server or in a
//! folder of files.
//!
//! ```text
//!  files, stdin ─read─► Object ─check─► (nothing is sent if one is wrong) ─default─┐
//!                                                                                 ▼
//!           table, yaml, json ◄─show── Object ◄────────────── Store: API server or folder
//! ```
//!
//! Words, columns and messages are those that users of calicoctl know. What an object means is
//! told by `brindle_policy::ingest`, here as in the agent: what is refused here is what would
//! not be enforced as it is written there.

pub mod check;
pub mod convert;
pub mod crds;
pub mod deeds;
mod defaults;
mod found;
pub mod read;
pub mod show;
pub mod store;
pub mod words;

pub use defaults::default_as_stored;
pub use found::{Id, Mistake, Object, Place};
