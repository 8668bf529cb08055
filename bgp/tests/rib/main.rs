//! The RIB through its public face: case by case, and against a model.

mod events;
mod export;
mod import;
mod limits;
mod model;
mod pace;
mod reference;
mod show;
mod stale;
mod support;
