//! The BGP Monitoring Protocol (RFC 7854, RFC 9069): what monitoring stations are told.
//!
//! ```text
//!  sessions up, down ──► Monitoring ──► station: which peers it knows, a watch of the RIB
//!                                         │ pull(budget)
//!  Rib ──looks────────────────────────────┴──► messages
//! ```
//!
//! Nothing is queued towards a station. It is told of sessions and routes as they are when it
//! asks for more, so that a slow one costs one bit a route, and is told of a route or a session
//! that changed several times meanwhile only what it has come to.

mod message;
mod monitoring;
mod station;

pub use message::{
    DownReason, PeerHeader, PeerKind, Statistic, initiation, peer_down, peer_up, route_monitoring,
    statistics, termination,
};
pub use monitoring::{Ends, Monitoring, Opens, Speaker};
pub use station::{Pulled, StationId, Views};
