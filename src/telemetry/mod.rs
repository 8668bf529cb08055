//! What the agent says of itself to those who watch it: the log, signs of life, health and
//! metrics over HTTP.

mod beats;
mod conntrack;
mod http;
mod log;
pub mod metrics;
mod process;
mod timings;

pub use beats::{Beat, Beats};
pub use http::{Check, Health, Teller, bind, serve};
pub use log::{LogArgs, LogFormat, init};
pub use timings::Timings;
