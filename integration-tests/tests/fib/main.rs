//! Routes in real kernels.

mod groups;
mod guard;
mod kernel_routes;
mod netlink;
mod repair;
mod routes;
mod scale;
mod support;
