//! The five messages as values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{Attributes, Capability, Nlri, Notification};
use crate::net::{AfiSafi, Asn, Family, RouterId};

/// A BGP message (RFC 4271 §4, RFC 2918).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Opens a session.
    Open(Open),
    /// Announces and withdraws prefixes.
    Update(Update),
    /// End-of-RIB of one family (RFC 4724 §2): on the wire an UPDATE without prefixes.
    EndOfRib(Family),
    /// Ends a session and says why.
    Notification(Notification),
    /// Keeps the hold timer from running out.
    Keepalive,
    /// Asks for all prefixes of a family again.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// The message type code (RFC 4271 §4.1, RFC 2918 §3).
    pub const fn type_code(&self) -> u8 {
        match self {
            Message::Open(_) => 1,
            Message::Update(_) | Message::EndOfRib(_) => 2,
            Message::Notification(_) => 3,
            Message::Keepalive => 4,
            Message::RouteRefresh(_) => 5,
        }
    }
}

/// An OPEN message (RFC 4271 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The two-octet My Autonomous System field; [`Open::asn`] is the number that counts.
    pub my_as: u16,
    /// The proposed hold time.
    pub hold_time: HoldTime,
    /// The sender's BGP Identifier.
    pub router_id: RouterId,
    /// Everything the sender offers (RFC 5492), in its order.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The sender's AS number: that of the four-octet capability where there is one
    /// (RFC 6793 §4.1), else My Autonomous System. `None` if that is zero (RFC 7607).
    pub fn asn(&self) -> Option<Asn> {
        let four = self.capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAsn(number) => Some(*number),
            _ => None,
        });
        Asn::new(four.unwrap_or_else(|| self.my_as.into())).ok()
    }
}

/// Hold Time as an OPEN carries it: zero (no liveness check) or at least three
/// seconds (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldTime(u16);

impl HoldTime {
    /// 90 s, which RFC 4271 §10 suggests.
    pub const DEFAULT: HoldTime = HoldTime(90);
    /// No liveness check.
    pub const OFF: HoldTime = HoldTime(0);

    /// Checks `secs`; fails for 1 and 2.
    pub fn from_secs(secs: u16) -> Result<Self, BadHoldTime> {
        match secs {
            1 | 2 => Err(BadHoldTime(secs)),
            0 | 3.. => Ok(Self(secs)),
        }
    }

    /// Seconds, as the OPEN carries them.
    pub const fn secs(self) -> u16 {
        self.0
    }

    /// Longest silence that is accepted from the peer; `None` if the timer is off.
    pub fn timeout(self) -> Option<Duration> {
        (self.0 > 0).then(|| Duration::from_secs(self.0.into()))
    }

    /// The smaller of the two proposals holds for the session (RFC 4271 §4.2).
    pub fn negotiate(self, theirs: Self) -> Self {
        self.min(theirs)
    }
}

/// One or two seconds were given as hold time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hold time {0} s is not allowed; accepted are 0 (off) and 3 to 65535 s")]
pub struct BadHoldTime(pub u16);

/// An UPDATE message (RFC 4271 §4.3, RFC 4760) by meaning: where a prefix stood on the
/// wire (IPv4 fields or multiprotocol attributes) follows from its family and next hop.
///
/// What a message both withdraws and announces counts as announced (RFC 4271 §4.3): the decoder
/// leaves it out of `withdrawn`. Path identifiers are all zero where ADD-PATH was not agreed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Prefixes that are no longer reachable, of both families.
    pub withdrawn: Vec<Nlri>,
    /// Prefixes that are reachable and how; usually one or none, at most one per
    /// combination of family and next hop. All share `attributes`.
    pub announced: Vec<Announcement>,
    /// The path attributes of everything in `announced`, without next hop. `None` exactly
    /// if `announced` is empty.
    pub attributes: Option<Attributes>,
}

/// Prefixes of one family that share a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where to send packets for them.
    pub next_hop: NextHop,
    /// At least one prefix, all of one family.
    pub prefixes: Vec<Nlri>,
}

/// A next hop (RFC 4271 §5.1.3, RFC 2545, RFC 8950).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// For IPv4 prefixes.
    V4(Ipv4Addr),
    /// For IPv6 prefixes, and for IPv4 prefixes where RFC 8950 was agreed.
    V6 {
        /// The global address; a link-local one on unnumbered links.
        global: Ipv6Addr,
        /// The link-local address on a shared link, if the sender gave one.
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// The address, for IPv6 the global one.
    pub fn address(&self) -> IpAddr {
        match *self {
            NextHop::V4(address) => address.into(),
            NextHop::V6 { global, .. } => global.into(),
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => NextHop::V4(address),
            IpAddr::V6(global) => NextHop::V6 { global, link_local: None },
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

/// A ROUTE-REFRESH message (RFC 2918 §3, RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Which family, known to us or not.
    pub family: AfiSafi,
    /// What is asked or marked.
    pub kind: Refresh,
}

/// The message subtype of a ROUTE-REFRESH (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// 0: send everything again.
    Request,
    /// 1: everything follows.
    Begin,
    /// 2: that was everything.
    End,
    /// Any other; to be ignored (RFC 7313 §5).
    Unknown(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_hold_time_wins() {
        for (ours, theirs, want) in [(90, 30, 30), (30, 90, 30), (90, 0, 0), (3, 3, 3)] {
            let hold = |secs| HoldTime::from_secs(secs).unwrap();
            assert_eq!(hold(ours).negotiate(hold(theirs)).secs(), want, "{ours} s, {theirs} s");
        }
        assert_eq!(HoldTime::from_secs(2), Err(BadHoldTime(2)));
    }
}
