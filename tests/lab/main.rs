//! Labs are built, used, broken and removed for real; what cannot run here says so.

mod agents;
mod crash;
mod rootless;
mod sandbox;
mod static_routes;
