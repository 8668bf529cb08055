//! The RIB through its public face: case by case, and against a model.

mod departure;
mod events;
mod export;
mod import;
mod limits;
mod model;
mod pace;
mod passing_on;
mod reference;
mod refreshing;
mod restart;
mod roles;
mod show;
mod stale;
mod support;
