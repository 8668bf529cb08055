//! Autonomous system numbers.

use std::fmt;
use std::str::FromStr;

/// A four-octet autonomous system number (RFC 6793). Never zero: AS 0 must not be
/// used by anyone (RFC 7607).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(u32);

impl Asn {
    /// The two-octet stand-in for a number that needs four octets (RFC 6793 §9).
    pub const TRANS: Asn = Asn(23456);

    /// Checks `number`; fails for zero.
    pub fn new(number: u32) -> Result<Self, BadAsn> {
        if number == 0 {
            return Err(BadAsn("0".to_owned()));
        }
        Ok(Self(number))
    }

    /// The number itself, 1 to 4294967295.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// What a two-octet field carries for this number: itself, or AS_TRANS (RFC 6793 §4.2.2).
    pub fn two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }

    /// Whether the number is for private use (RFC 6996).
    pub const fn is_private(self) -> bool {
        matches!(self.0, 64512..=65534 | 4_200_000_000..=4_294_967_294)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Asn {
    type Err = BadAsn;

    /// Reads `64512`, `AS64512`, or asdot notation `1.10` (RFC 5396).
    fn from_str(text: &str) -> Result<Self, BadAsn> {
        let bad = || BadAsn(text.to_owned());
        let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
        let number = match digits.split_once('.') {
            Some((high, low)) => {
                let high: u16 = high.parse().map_err(|_| bad())?;
                let low: u16 = low.parse().map_err(|_| bad())?;
                (u32::from(high) << 16) | u32::from(low)
            }
            None => digits.parse().map_err(|_| bad())?,
        };
        Self::new(number).map_err(|_| bad())
    }
}

/// The text or number is no autonomous system number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10")]
pub struct BadAsn(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_numbers_are_read_in_every_notation() {
        for (text, want) in [
            ("64512", Some(64512)),
            ("AS64512", Some(64512)),
            ("1.10", Some(65546)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("0", None),
            ("0.0", None),
            ("65536.1", None),
            ("-1", None),
            ("", None),
            ("AS", None),
        ] {
            assert_eq!(text.parse::<Asn>().ok().map(Asn::get), want, "{text:?}");
        }
    }

    #[test]
    fn a_number_over_two_octets_is_as_trans_in_a_two_octet_field() {
        for (number, want) in [(1, 1), (65535, 65535), (65536, 23456), (u32::MAX, 23456)] {
            assert_eq!(Asn::new(number).unwrap().two_octets(), want, "{number}");
        }
    }
}
