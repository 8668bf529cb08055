//! The `kubernetes` source: the state that the API server has, watched.

pub mod access;
pub mod client;
pub mod condition;
pub mod events;
pub mod line;
