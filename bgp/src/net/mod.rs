//! The numbers and addresses that BGP speaks of, each a type that cannot hold a wrong value.

mod asn;
mod family;
mod prefix;
mod role;
mod router_id;

pub use asn::{Asn, BadAsn};
pub use family::{AfiSafi, Family};
pub use prefix::{BadPrefix, Prefix};
pub use role::Role;
pub use router_id::{BadRouterId, ClusterId, RouterId};
