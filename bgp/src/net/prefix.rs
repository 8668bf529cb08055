//! IP prefixes without host bits.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::Family;

/// An IPv4 or IPv6 prefix whose host bits are zero and whose length fits its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNetwork);

impl Prefix {
    /// The prefix of `length` bits that `address` lies in; fails if the family has fewer bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, BadPrefix> {
        match address {
            IpAddr::V4(address) => Self::v4(address, length),
            IpAddr::V6(address) => Self::v6(address, length),
        }
    }

    /// As [`Prefix::new`], for IPv4: at most 32 bits.
    pub fn v4(address: Ipv4Addr, length: u8) -> Result<Self, BadPrefix> {
        let mask = match length {
            0 => 0,
            1..=32 => u32::MAX << (32 - length),
            33.. => return Err(BadPrefix::Length { length, bits: 32 }),
        };
        let network = Ipv4Addr::from_bits(address.to_bits() & mask);
        Ipv4Network::new(network, length)
            .map(|network| Self(network.into()))
            .map_err(|_| BadPrefix::Length { length, bits: 32 })
    }

    /// As [`Prefix::new`], for IPv6: at most 128 bits.
    pub fn v6(address: Ipv6Addr, length: u8) -> Result<Self, BadPrefix> {
        let mask = match length {
            0 => 0,
            1..=128 => u128::MAX << (128 - length),
            129.. => return Err(BadPrefix::Length { length, bits: 128 }),
        };
        let network = Ipv6Addr::from_bits(address.to_bits() & mask);
        Ipv6Network::new(network, length)
            .map(|network| Self(network.into()))
            .map_err(|_| BadPrefix::Length { length, bits: 128 })
    }

    /// The prefix that holds `address` alone: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNetwork::from(address))
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.0.ip()
    }

    /// The number of leading bits that count.
    pub fn length(&self) -> u8 {
        self.0.prefix()
    }

    /// The family of its addresses.
    pub fn family(&self) -> Family {
        match self.0 {
            IpNetwork::V4(_) => Family::Ipv4Unicast,
            IpNetwork::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// Whether `address` lies in it; never for the other family.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Whether every address of `other` lies in it; a prefix covers itself.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.length() <= other.length() && self.contains(other.address())
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Prefix) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The two prefixes that make it up, of one bit more each; `None` of a single address.
    pub fn halves(&self) -> Option<[Prefix; 2]> {
        let length = self.length() + 1;
        let last = match self.address() {
            IpAddr::V4(first) => {
                let bit = 32_u8.checked_sub(length)?;
                IpAddr::from(Ipv4Addr::from_bits(first.to_bits() | 1 << bit))
            }
            IpAddr::V6(first) => {
                let bit = 128_u8.checked_sub(length)?;
                IpAddr::from(Ipv6Addr::from_bits(first.to_bits() | 1 << bit))
            }
        };
        let half = |address| Prefix::new(address, length).ok();
        Some([half(self.address())?, half(last)?])
    }

    /// The prefix of one bit less that it is half of; `None` of the one that holds everything.
    pub fn parent(&self) -> Option<Prefix> {
        let length = self.length().checked_sub(1)?;
        let address = match self.address() {
            IpAddr::V4(first) => {
                IpAddr::from(Ipv4Addr::from_bits(first.to_bits() & !(1 << (31 - length))))
            }
            IpAddr::V6(first) => {
                IpAddr::from(Ipv6Addr::from_bits(first.to_bits() & !(1 << (127 - length))))
            }
        };
        Prefix::new(address, length).ok()
    }

    /// Whether it holds one address only.
    pub fn is_host(&self) -> bool {
        self.length() == self.family().bits()
    }

    /// The same as the `ipnetwork` crate has it.
    pub fn network(&self) -> IpNetwork {
        self.0
    }
}

impl From<IpNetwork> for Prefix {
    /// Drops the host bits.
    fn from(network: IpNetwork) -> Self {
        match network {
            IpNetwork::V4(v4) => Self(IpNetwork::V4(
                Ipv4Network::new(v4.network(), v4.prefix()).expect("a network has a legal length"),
            )),
            IpNetwork::V6(v6) => Self(IpNetwork::V6(
                Ipv6Network::new(v6.network(), v6.prefix()).expect("a network has a legal length"),
            )),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    /// Reads `10.244.0.0/16`. The length must be there, host bits must not.
    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix::Text(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let length: u8 = length.parse().map_err(|_| bad())?;
        let prefix = Self::new(address, length)?;
        if prefix.address() != address {
            return Err(BadPrefix::HostBits { text: text.to_owned(), prefix });
        }
        Ok(prefix)
    }
}

/// The text or pair of address and length is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    /// Not `address/length` at all.
    #[error("\"{0}\" is not a prefix; accepted is address/length, for instance 10.244.0.0/16")]
    Text(String),
    /// More bits than the family has.
    #[error("prefix length {length} is over {bits}")]
    Length {
        /// What was given.
        length: u8,
        /// What the family has.
        bits: u8,
    },
    /// The address has bits behind the prefix length.
    #[error("\"{text}\" has host bits set; its network is {prefix}")]
    HostBits {
        /// What was given.
        text: String,
        /// The same without host bits.
        prefix: Prefix,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_strictly() {
        for (text, want) in [
            ("10.244.0.0/16", Ok("10.244.0.0/16")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("fd00:10:244::/48", Ok("fd00:10:244::/48")),
            ("::/0", Ok("::/0")),
            (
                "10.244.0.1/16",
                Err("\"10.244.0.1/16\" has host bits set; its network is 10.244.0.0/16"),
            ),
            ("10.0.0.0/33", Err("prefix length 33 is over 32")),
            ("::/129", Err("prefix length 129 is over 128")),
        ] {
            let got = text.parse::<Prefix>();
            assert_eq!(
                got.map(|p| p.to_string()).map_err(|e| e.to_string()),
                want.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
        for text in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "x/8", "10.0.0.0/8/8"]
        {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_has_two_halves_unless_it_is_one_address() {
        for (whole, want) in [
            ("10.0.0.0/24", Some(["10.0.0.0/25", "10.0.0.128/25"])),
            ("0.0.0.0/0", Some(["0.0.0.0/1", "128.0.0.0/1"])),
            ("10.0.0.2/31", Some(["10.0.0.2/32", "10.0.0.3/32"])),
            ("10.0.0.2/32", None),
            ("::/0", Some(["::/1", "8000::/1"])),
            ("fd00::2/127", Some(["fd00::2/128", "fd00::3/128"])),
            ("fd00::2/128", None),
        ] {
            let halves = whole.parse::<Prefix>().unwrap().halves();
            let want = want.map(|halves| halves.map(|half| half.parse().unwrap()));
            assert_eq!(halves, want, "{whole}");
            for half in halves.into_iter().flatten() {
                assert_eq!(half.parent(), whole.parse().ok(), "{half}");
            }
        }
    }

    #[test]
    fn covering_and_overlap_follow_the_bits() {
        for (a, b, covers, overlaps) in [
            ("10.0.0.0/8", "10.1.0.0/16", true, true),
            ("10.1.0.0/16", "10.0.0.0/8", false, true),
            ("10.0.0.0/8", "10.0.0.0/8", true, true),
            ("10.0.0.0/9", "10.128.0.0/9", false, false),
            ("0.0.0.0/0", "::/0", false, false),
            ("fd00::/8", "fd00:1::/32", true, true),
        ] {
            let (a, b): (Prefix, Prefix) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!((a.covers(&b), a.overlaps(&b)), (covers, overlaps), "{a} and {b}");
        }
    }
}
