//! A kernel route as a value: its key, where it leads, and whose it is.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Prefix;

use super::object::ObjectId;

/// The protocol number that our routes carry, named `brindle` in `rt_protos.d`. It is the
/// mark by which we know them again after a restart, and the reason we touch no other.
pub const PROTOCOL: u8 = 98;

/// The main routing table: the only one that we read or write.
pub const MAIN_TABLE: u32 = 254;

/// The metric of the unreachable route for a prefix of our own: worse than anything that
/// leads somewhere, and one better than 4294967295, where the kernel keeps its own
/// unreachable IPv6 default.
pub const OWN_METRIC: u32 = u32::MAX - 1;

/// What tells two routes of the main table apart. The type of service is always zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// The prefix.
    pub prefix: Prefix,
    /// The metric (IPv6 has no zero: the kernel makes it 1024).
    pub metric: u32,
}

/// One way out of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// The router; `None` if the destination is on the link itself. Of the other family
    /// than the route where RFC 8950 has it so.
    pub gateway: Option<IpAddr>,
    /// The index of the link.
    pub link: u32,
    /// Whether the router is taken to be on the link without a route that says so.
    pub onlink: bool,
    /// What the kernel adds to this hop's share of one.
    pub weight: u8,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Nowhere, and the sender is told so.
    Unreachable,
    /// By these hops in equal shares, ascending, each once, at least one.
    Via(Vec<Hop>),
    /// By a group of hops that is an object of its own.
    Group(ObjectId),
    /// Something that we never write: a blackhole, a throw, a metric of another kind.
    Other(u8),
}

impl Target {
    /// The group that it leads by, if it does.
    pub fn group(&self) -> Option<ObjectId> {
        match self {
            Target::Group(id) => Some(*id),
            _ => None,
        }
    }

    /// Whether a hop leaves by this link.
    pub fn uses(&self, link: u32) -> bool {
        matches!(self, Target::Via(hops) if hops.iter().any(|hop| hop.link == link))
    }

    /// Whether every hop leaves by this link.
    pub fn is_all_over(&self, link: u32) -> bool {
        matches!(self, Target::Via(hops) if hops.iter().all(|hop| hop.link == link))
    }
}

/// A route as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// Prefix and metric.
    pub key: RouteKey,
    /// Who installed it (`rtm_protocol`).
    pub protocol: u8,
    /// The type of service; ours is zero.
    pub tos: u8,
    /// Where it leads.
    pub target: Target,
}

impl KernelRoute {
    /// Whether it carries our mark.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }
}

/// One write to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOp {
    /// Which route.
    pub key: RouteKey,
    /// What becomes of it.
    pub action: Action,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make it; the kernel refuses if anybody holds that key.
    Add(Arc<Target>),
    /// Change the one that is there, in place; the kernel refuses if there is none.
    Change(Arc<Target>),
    /// Remove it; the kernel refuses if it is not ours.
    Delete,
}

/// The name of a protocol number as `ip route` shows it, or the number.
pub fn protocol_name(protocol: u8) -> impl fmt::Display {
    struct Name(u8);
    impl fmt::Display for Name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self.0 {
                1 => "redirect",
                2 => "kernel",
                3 => "boot",
                4 => "static",
                9 => "ra",
                11 => "zebra",
                12 => "bird",
                16 => "dhcp",
                42 => "babel",
                PROTOCOL => "brindle",
                186 => "bgp",
                187 => "isis",
                188 => "ospf",
                189 => "rip",
                number => return number.fmt(f),
            })
        }
    }
    Name(protocol)
}
