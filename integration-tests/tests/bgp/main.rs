//! brindle's BGP with real peers: BIRD, FRR, GoBGP, itself, and octets that a test wrote.

mod bfd;
mod collisions;
mod drain;
mod harness;
mod interop;
mod malformed;
mod mesh;
mod node_objects;
mod refusals;
mod restart;
mod slow_peer;
