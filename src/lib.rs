//! The brindle agent: everything that touches a socket, the kernel or the clock.

pub mod bfd;
pub mod bmp;
pub mod cleanup;
pub mod cli;
pub mod cluster;
pub mod cmd;
pub mod cni;
pub mod control;
pub mod daemon;
pub mod drain;
pub mod enforce;
pub mod expect;
pub mod fib;
pub mod filters;
pub mod flow;
pub mod import;
pub mod lab;
pub mod objects;
pub mod policies;
pub mod speaker;
pub mod spoken;
pub mod telemetry;
pub mod visible;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
