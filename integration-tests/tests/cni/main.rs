//! The CNI plug-in, what puts it on a node and takes it away, and the container image.

mod agent;
mod calls;
mod chain;
mod cleanup;
mod image;
mod support;
mod whole;
