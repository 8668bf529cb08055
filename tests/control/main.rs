//! The control socket and the command line, end to end: the real server on a real socket, the
//! real binary, and a task in the agent's place that answers from fixed views.

mod agent;
mod cni;
mod commands;
mod follow;
mod golden;
mod policies;
#[path = "../skipped/mod.rs"]
mod skipped;
mod socket;
mod terminal;
mod views;
