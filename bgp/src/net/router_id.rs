//! BGP identifiers and cluster identifiers: four octets, written like an IPv4 address.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A BGP Identifier: any four octets but zero, unique within an AS (RFC 6286 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(u32);

impl RouterId {
    /// Checks `bits`; fails for zero.
    pub fn new(bits: u32) -> Result<Self, BadRouterId> {
        if bits == 0 {
            return Err(BadRouterId("0.0.0.0".to_owned()));
        }
        Ok(Self(bits))
    }

    /// The identifier as a number in host order: what is compared (RFC 4271 §9.1.2.2 f).
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<Ipv4Addr> for RouterId {
    type Error = BadRouterId;

    fn try_from(address: Ipv4Addr) -> Result<Self, BadRouterId> {
        Self::new(address.to_bits())
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from_bits(self.0).fmt(f)
    }
}

impl FromStr for RouterId {
    type Err = BadRouterId;

    fn from_str(text: &str) -> Result<Self, BadRouterId> {
        let bad = || BadRouterId(text.to_owned());
        let address: Ipv4Addr = text.parse().map_err(|_| bad())?;
        Self::try_from(address).map_err(|_| bad())
    }
}

/// The text or number is no BGP Identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a router id; accepted are four octets but 0.0.0.0, for instance 10.0.0.1")]
pub struct BadRouterId(String);

/// A CLUSTER_ID of route reflection (RFC 4456 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u32);

impl From<RouterId> for ClusterId {
    /// A reflector without a configured cluster id uses its BGP Identifier (RFC 4456 §7).
    fn from(id: RouterId) -> Self {
        Self(id.get())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from_bits(self.0).fmt(f)
    }
}
