//! What the kernel tells of links, addresses and routes, as values.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;

use super::route::KernelRoute;

/// A link of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is switched on.
    pub is_enabled: bool,
    /// Whether it is switched on and has a carrier.
    pub is_up: bool,
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// The prefix that is on-link through it.
    pub on_link: Prefix,
    /// Whether it can be used: duplicate detection is over and found none.
    pub is_usable: bool,
}

/// What a message from the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A link is there.
    Link(Link),
    /// A link is gone.
    LinkGone(u32),
    /// An address is there.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route of the main table is there; whether it took the place of the one that held
    /// its key.
    Route(KernelRoute, bool),
    /// A route of the main table is gone.
    RouteGone(KernelRoute),
    /// Something of the [guard](super::guard) is gone.
    GuardGone,
}
