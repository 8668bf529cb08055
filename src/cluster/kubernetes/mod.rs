//! The `kubernetes` source: the state that the API server has, watched.

pub mod client;
