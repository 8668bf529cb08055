//! The RIB through its public face: case by case, and against a model.

mod add_path;
mod bmp;
mod corpus;
mod departure;
mod events;
mod export;
mod history;
mod hostile;
mod import;
mod limits;
mod links;
mod local_as;
mod model;
mod pace;
mod passing_on;
mod reference;
mod reflectors;
mod refreshing;
mod restart;
mod roles;
mod show;
mod stale;
mod support;
