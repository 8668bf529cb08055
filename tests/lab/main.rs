//! Labs are built, used, broken and removed for real; what cannot run here says so.

mod agents;
mod crash;
mod rootless;
mod sandbox;
#[path = "../skipped/mod.rs"]
mod skipped;
mod static_routes;
