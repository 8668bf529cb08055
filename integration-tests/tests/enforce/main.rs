//! The policy half of the agent in real kernels: its task, its dataplane, and what packets find.

mod dataplane;
mod faults;
mod hosts;
mod interfaces;
mod support;
mod task;
