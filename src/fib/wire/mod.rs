//! Route, link and address messages of rtnetlink as octets: how they are written and read.
//!
//! Routes come by the hundred thousand, so they are encoded straight into one buffer and
//! read without an allocation per attribute.

mod read;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix};

use super::route::KernelRoute;

pub use read::{messages_of, read_answer, read_news};
pub use write::{write_dump, write_op};

/// `RTM_*` message types (`linux/rtnetlink.h`).
pub mod kind {
    /// A link came or changed.
    pub const NEW_LINK: u16 = 16;
    /// A link went.
    pub const DEL_LINK: u16 = 17;
    /// Asks for links.
    pub const GET_LINK: u16 = 18;
    /// An address came or changed.
    pub const NEW_ADDRESS: u16 = 20;
    /// An address went.
    pub const DEL_ADDRESS: u16 = 21;
    /// Asks for addresses.
    pub const GET_ADDRESS: u16 = 22;
    /// A route came or changed.
    pub const NEW_ROUTE: u16 = 24;
    /// A route went.
    pub const DEL_ROUTE: u16 = 25;
    /// Asks for routes.
    pub const GET_ROUTE: u16 = 26;
}

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;
const RTNH_F_ONLINK: u8 = 4;

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
}

/// The `AF_*` number of a family.
pub fn address_family(family: Family) -> u8 {
    match family {
        Family::Ipv4Unicast => 2,
        Family::Ipv6Unicast => 10,
    }
}
