//! brindle and a real API server.

mod apiserver;
mod client;
mod cluster;
mod container;
mod faults;
mod manifests;
mod source;
mod tell;
