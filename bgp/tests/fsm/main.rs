//! The session machine, alone, in pairs and in a mesh, on a clock that the tests move.

mod collisions;
mod damping;
mod mesh_200;
mod pairs;
mod random;
mod restart;
mod states;
mod support;
mod timers;
