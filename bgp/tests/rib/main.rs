//! The RIB through its public face: case by case, and against a model.

mod departure;
mod events;
mod export;
mod import;
mod model;
mod pace;
mod reference;
mod restart;
mod show;
mod stale;
mod support;
