//! Address families: the two that we route, and any that a peer may name.

use std::fmt;
use std::net::IpAddr;

/// An address family that we carry routes of. Others do not exist for us: a family
/// that was not agreed is refused by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

    /// The family that `address` belongs to.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::Ipv4Unicast,
            IpAddr::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// Bits of an address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Family::Ipv4Unicast => 32,
            Family::Ipv6Unicast => 128,
        }
    }

    /// A number from zero for tables indexed by family.
    pub const fn index(self) -> usize {
        match self {
            Family::Ipv4Unicast => 0,
            Family::Ipv6Unicast => 1,
        }
    }
}

impl fmt::Display for Family {
    /// `ipv4` or `ipv6`, as commands and metrics name them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4Unicast => "ipv4",
            Family::Ipv6Unicast => "ipv6",
        })
    }
}

/// A pair of address family and subsequent family identifiers as they stand in a
/// message (RFC 4760 §3), known to us or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfiSafi {
    /// Address family identifier: 1 is IPv4, 2 is IPv6.
    pub afi: u16,
    /// Subsequent address family identifier: 1 is unicast.
    pub safi: u8,
}

impl AfiSafi {
    /// The family that we know by these numbers, if we do.
    pub const fn family(self) -> Option<Family> {
        match (self.afi, self.safi) {
            (1, 1) => Some(Family::Ipv4Unicast),
            (2, 1) => Some(Family::Ipv6Unicast),
            _ => None,
        }
    }
}

impl From<Family> for AfiSafi {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4Unicast => AfiSafi { afi: 1, safi: 1 },
            Family::Ipv6Unicast => AfiSafi { afi: 2, safi: 1 },
        }
    }
}

impl fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family() {
            Some(family) => family.fmt(f),
            None => write!(f, "afi {} safi {}", self.afi, self.safi),
        }
    }
}
