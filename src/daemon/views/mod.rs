//! From the state of the parts to what is shown of them.

mod bfd;
mod bmp;
mod changes;
mod dump;
mod peers;
mod policy;
mod routes;
mod source;
mod status;

pub(super) use changes::route_changes;
pub(super) use dump::dump;
pub(super) use peers::{peer, peers};
pub(super) use policy::policy;
pub(super) use routes::{Own, best_routes, longest, rejected, route, routes_in, routes_out};
pub(super) use status::status;
