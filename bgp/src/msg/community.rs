//! Communities of three sizes.

use std::fmt;
use std::net::Ipv4Addr;

/// A community (RFC 1997): usually an AS number and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Not to be advertised outside the AS or confederation (RFC 1997).
    pub const NO_EXPORT: Community = Community(0xFFFF_FF01);
    /// Not to be advertised to any peer (RFC 1997).
    pub const NO_ADVERTISE: Community = Community(0xFFFF_FF02);
    /// Not to be advertised to any external peer (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Community = Community(0xFFFF_FF03);
    /// The sender is about to go (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Community = Community(0xFFFF_0000);
    /// Whoever told it has been away for long: the last choice (RFC 9494 §3.3).
    pub const LLGR_STALE: Community = Community(0xFFFF_0006);
    /// Not to be kept when whoever told it is away for long (RFC 9494 §3.4).
    pub const NO_LLGR: Community = Community(0xFFFF_0007);
    /// Traffic to the prefix is to be discarded (RFC 7999).
    pub const BLACKHOLE: Community = Community(0xFFFF_029A);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NO_EXPORT => f.write_str("no-export"),
            Self::NO_ADVERTISE => f.write_str("no-advertise"),
            Self::NO_EXPORT_SUBCONFED => f.write_str("no-export-subconfed"),
            Self::GRACEFUL_SHUTDOWN => f.write_str("graceful-shutdown"),
            Self::LLGR_STALE => f.write_str("llgr-stale"),
            Self::NO_LLGR => f.write_str("no-llgr"),
            Self::BLACKHOLE => f.write_str("blackhole"),
            Self(bits) => write!(f, "{}:{}", bits >> 16, bits & 0xFFFF),
        }
    }
}

/// An extended community (RFC 4360), as its eight octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// Whether it stays inside an AS: the T bit of its type (RFC 4360 §2).
    pub const fn is_transitive(&self) -> bool {
        self.0[0] & 0x40 == 0
    }

    /// The parts of a transitive extended community that has a name.
    pub(crate) fn parts(self) -> Option<(Named, Administrator, u32)> {
        let [kind, sub_type, a, b, c, d, e, f] = self.0;
        let named = match sub_type {
            0x02 => Named::RouteTarget,
            0x03 => Named::RouteOrigin,
            _ => return None,
        };
        let low = u32::from(u16::from_be_bytes([e, f]));
        match kind {
            0x00 => {
                let asn = u16::from_be_bytes([a, b]);
                Some((named, Administrator::As(asn.into()), u32::from_be_bytes([c, d, e, f])))
            }
            0x01 => Some((named, Administrator::Address(Ipv4Addr::new(a, b, c, d)), low)),
            0x02 => Some((named, Administrator::As(u32::from_be_bytes([a, b, c, d])), low)),
            _ => None,
        }
    }

    /// The community with these parts, if the number fits.
    pub(crate) fn named(named: Named, whose: Administrator, number: u32) -> Option<Self> {
        let (kind, high, low) = match whose {
            Administrator::As(asn) => match u16::try_from(asn) {
                Ok(asn) => {
                    let ([a, b], [c, d, e, f]) = (asn.to_be_bytes(), number.to_be_bytes());
                    return Some(Self([0x00, named.sub_type(), a, b, c, d, e, f]));
                }
                Err(_) => (0x02, asn.to_be_bytes(), u16::try_from(number).ok()?),
            },
            Administrator::Address(address) => {
                (0x01, address.octets(), u16::try_from(number).ok()?)
            }
        };
        let ([a, b, c, d], [e, f]) = (high, low.to_be_bytes());
        Some(Self([kind, named.sub_type(), a, b, c, d, e, f]))
    }
}

/// Extended communities that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// `rt`: route target.
    RouteTarget,
    /// `ro`: route origin.
    RouteOrigin,
}

/// Whose number space an extended community is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Administrator {
    /// An AS.
    As(u32),
    /// An address.
    Address(Ipv4Addr),
}

impl Named {
    const fn sub_type(self) -> u8 {
        match self {
            Named::RouteTarget => 0x02,
            Named::RouteOrigin => 0x03,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Named::RouteTarget => "rt",
            Named::RouteOrigin => "ro",
        }
    }
}

/// `rt:65001:1` as filters read it; octets in hexadecimal where there is no shorter text that
/// reads back the same.
impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Some((named, whose, number)) if Self::named(named, whose, number) == Some(*self) => {
                write!(f, "{}:{whose}:{number}", named.word())
            }
            _ => write!(f, "0x{:016x}", u64::from_be_bytes(self.0)),
        }
    }
}

impl fmt::Display for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Administrator::As(asn) => asn.fmt(f),
            Administrator::Address(address) => address.fmt(f),
        }
    }
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// The namespace: an AS number.
    pub global: u32,
    /// First local part.
    pub local1: u32,
    /// Second local part.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}
