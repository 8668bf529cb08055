//! Address families and blocks of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;

/// An address family; each is judged and programmed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// How many bits its addresses have.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A block of addresses, its host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNetwork);

impl Cidr {
    /// The block of `length` bits that `address` lies in; `None` if its family has fewer bits.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let network = IpNetwork::new(address, length).ok()?;
        IpNetwork::new(network.network(), length).ok().map(Self)
    }

    /// The block that holds `address` alone.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNetwork::from(address))
    }

    /// The first address.
    pub fn address(self) -> IpAddr {
        self.0.ip()
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        match self.0 {
            IpNetwork::V4(network) => network.broadcast().into(),
            IpNetwork::V6(network) => network.broadcast().into(),
        }
    }

    /// How many leading bits count.
    pub fn length(self) -> u8 {
        self.0.prefix()
    }

    /// The family of its addresses.
    pub fn family(self) -> Family {
        Family::of(self.0.ip())
    }

    /// Whether `address` lies in it; never for the other family.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Whether every address of `other` lies in it; a block covers itself.
    pub fn covers(self, other: Cidr) -> bool {
        self.length() <= other.length() && self.contains(other.address())
    }

    /// Its two halves; `None` for a single address.
    pub fn halves(self) -> Option<[Cidr; 2]> {
        let length = self.length() + 1;
        let bit = self.family().bits().checked_sub(length)?;
        let upper = match self.address() {
            IpAddr::V4(low) => IpAddr::V4((low.to_bits() | (1 << bit)).into()),
            IpAddr::V6(low) => IpAddr::V6((low.to_bits() | (1 << bit)).into()),
        };
        Some([Cidr::new(self.address(), length)?, Cidr::new(upper, length)?])
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length())
    }
}

/// Text that is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a block of addresses; accepted are for instance 10.1.0.0/16 and fd00::/8")]
pub struct BadCidr(String);

impl FromStr for Cidr {
    type Err = BadCidr;

    /// Host bits are cleared, as Kubernetes does with `10.1.2.3/16`. An address without a
    /// length is refused.
    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(text.chars().take(64).collect());
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let digits = length.bytes().all(|b| b.is_ascii_digit()) && !length.is_empty();
        let length = if digits { length.parse().map_err(|_| bad())? } else { return Err(bad()) };
        Cidr::new(address, length).ok_or_else(bad)
    }
}
