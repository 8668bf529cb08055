//! brindle's BGP with real peers: BIRD, FRR, GoBGP, itself, and octets that a test wrote.

mod add_path;
mod authentication;
mod bfd;
mod bmp;
mod collisions;
mod combinations;
mod drain;
mod filters;
mod graceful_restart;
mod harness;
mod interop;
mod limits;
mod malformed;
mod mesh;
mod next_hops;
mod node_objects;
mod objects;
mod reflection;
mod refusals;
mod resilient;
mod restart;
mod roles;
mod services;
mod slow_peer;
mod watching;
