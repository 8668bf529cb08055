//! Communities of any kind, and patterns of them, as text.

use std::fmt;
use std::str::FromStr;

use crate::msg::{Administrator, Attributes, Community, ExtendedCommunity, LargeCommunity, Named};

/// A community of any of the three kinds; which one, its text says: `65001:1`, `65001:1:2`,
/// `rt:65001:1`, `no-export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyCommunity {
    /// RFC 1997.
    Standard(Community),
    /// RFC 8092.
    Large(LargeCommunity),
    /// RFC 4360.
    Extended(ExtendedCommunity),
}

/// Communities of one kind, with `*` for what does not count: `65001:*`, `65001:*:1`, `rt:*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommunityPattern {
    /// The halves of a standard one.
    Standard(Option<u16>, Option<u16>),
    /// The three parts of a large one.
    Large(Option<u32>, Option<u32>, Option<u32>),
    /// An extended one, octet by octet.
    Extended(ExtendedCommunity),
    /// A route target or origin, with what administers it and its number (RFC 4360 §4, §5),
    /// whichever of the three encodings it has.
    Named(Named, Option<Administrator>, Option<u32>),
}

impl CommunityPattern {
    /// Whether it means this standard community.
    pub fn has_standard(&self, community: Community) -> bool {
        let (high, low) = ((community.0 >> 16) as u16, community.0 as u16);
        matches!(self, Self::Standard(a, b) if is(*a, high) && is(*b, low))
    }

    /// Whether it means this large community.
    pub fn has_large(&self, community: LargeCommunity) -> bool {
        matches!(self, Self::Large(a, b, c) if is(*a, community.global)
            && is(*b, community.local1)
            && is(*c, community.local2))
    }

    /// Whether it means this extended community.
    pub fn has_extended(&self, community: ExtendedCommunity) -> bool {
        match *self {
            Self::Extended(one) => one == community,
            Self::Named(named, whose, number) => community
                .parts()
                .is_some_and(|parts| parts.0 == named && is(whose, parts.1) && is(number, parts.2)),
            Self::Standard(..) | Self::Large(..) => false,
        }
    }

    /// Whether any community of a route is meant.
    pub fn is_in(&self, attributes: &Attributes) -> bool {
        match self {
            Self::Standard(..) => attributes.communities.iter().any(|&c| self.has_standard(c)),
            Self::Large(..) => attributes.large_communities.iter().any(|&c| self.has_large(c)),
            Self::Extended(_) | Self::Named(..) => {
                attributes.extended_communities.iter().any(|&c| self.has_extended(c))
            }
        }
    }
}

fn is<T: Copy + PartialEq>(wanted: Option<T>, there: T) -> bool {
    wanted.is_none_or(|wanted| wanted == there)
}

/// Which of the parts is the bad one does not matter to whoever reads what is accepted.
fn part<T: FromStr>(text: &str) -> Option<Option<T>> {
    match text {
        "*" => Some(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    }
}

fn administrator(text: &str) -> Option<Option<Administrator>> {
    if text.contains('.') {
        return text.parse().ok().map(|address| Some(Administrator::Address(address)));
    }
    Some(part::<u32>(text)?.map(Administrator::As))
}

const WELL_KNOWN: [Community; 7] = [
    Community::NO_EXPORT,
    Community::NO_ADVERTISE,
    Community::NO_EXPORT_SUBCONFED,
    Community::GRACEFUL_SHUTDOWN,
    Community::BLACKHOLE,
    Community::LLGR_STALE,
    Community::NO_LLGR,
];

fn pattern(text: &str) -> Option<CommunityPattern> {
    if let Some(known) = WELL_KNOWN.iter().find(|known| known.to_string() == text) {
        return Some(CommunityPattern::Standard(
            Some((known.0 >> 16) as u16),
            Some(known.0 as u16),
        ));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        let is_whole = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = u64::from_str_radix(digits, 16).ok().filter(|_| is_whole)?;
        return Some(CommunityPattern::Extended(ExtendedCommunity(bits.to_be_bytes())));
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["rt" | "ro", ref rest @ ..] => {
            let named = if parts[0] == "rt" { Named::RouteTarget } else { Named::RouteOrigin };
            match *rest {
                ["*"] => Some(CommunityPattern::Named(named, None, None)),
                [whose, number] => {
                    let (whose, number) = (administrator(whose)?, part(number)?);
                    if let (Some(whose), Some(number)) = (whose, number) {
                        ExtendedCommunity::named(named, whose, number)?;
                    }
                    Some(CommunityPattern::Named(named, whose, number))
                }
                _ => None,
            }
        }
        [high, low] => Some(CommunityPattern::Standard(part(high)?, part(low)?)),
        [global, local1, local2] => {
            Some(CommunityPattern::Large(part(global)?, part(local1)?, part(local2)?))
        }
        _ => None,
    }
}

impl FromStr for CommunityPattern {
    type Err = BadCommunity;

    fn from_str(text: &str) -> Result<Self, BadCommunity> {
        pattern(text).ok_or_else(|| BadCommunity::Pattern(text.to_owned()))
    }
}

impl FromStr for AnyCommunity {
    type Err = BadCommunity;

    fn from_str(text: &str) -> Result<Self, BadCommunity> {
        let bad = || BadCommunity::Community(text.to_owned());
        match pattern(text).ok_or_else(bad)? {
            CommunityPattern::Standard(Some(high), Some(low)) => {
                Ok(Self::Standard(Community((u32::from(high) << 16) | u32::from(low))))
            }
            CommunityPattern::Large(Some(global), Some(local1), Some(local2)) => {
                Ok(Self::Large(LargeCommunity { global, local1, local2 }))
            }
            CommunityPattern::Extended(community) => Ok(Self::Extended(community)),
            CommunityPattern::Named(named, Some(whose), Some(number)) => {
                ExtendedCommunity::named(named, whose, number).map(Self::Extended).ok_or_else(bad)
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for AnyCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(community) => community.fmt(f),
            Self::Large(community) => community.fmt(f),
            Self::Extended(community) => community.fmt(f),
        }
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn shown<T: fmt::Display>(part: Option<T>) -> String {
            part.map_or_else(|| "*".to_owned(), |part| part.to_string())
        }
        match *self {
            Self::Standard(Some(high), Some(low)) => {
                Community((u32::from(high) << 16) | u32::from(low)).fmt(f)
            }
            Self::Standard(high, low) => write!(f, "{}:{}", shown(high), shown(low)),
            Self::Large(a, b, c) => write!(f, "{}:{}:{}", shown(a), shown(b), shown(c)),
            // Exactly these octets: a name would mean other encodings as well.
            Self::Extended(one) => write!(f, "0x{:016x}", u64::from_be_bytes(one.0)),
            Self::Named(named, None, None) => write!(f, "{}:*", named.word()),
            Self::Named(named, whose, number) => {
                write!(f, "{}:{}:{}", named.word(), shown(whose), shown(number))
            }
        }
    }
}

/// The text is no community, or no pattern of communities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommunity {
    /// Where one community must stand.
    #[error(
        "{0:?} is not a community; accepted are 65001:1, large ones such as 65001:1:2, extended \
         ones such as rt:65001:1, ro:10.0.0.1:1 or 0x and 16 hexadecimal digits, and no-export, \
         no-advertise, no-export-subconfed, graceful-shutdown, blackhole, \
         llgr-stale, no-llgr"
    )]
    Community(String),
    /// Where a pattern may stand.
    #[error(
        "{0:?} is not a community or a pattern of them; accepted are 65001:1, 65001:*, large ones \
         such as 65001:1:*, extended ones such as rt:65001:*, rt:* or 0x and 16 hexadecimal \
         digits, and no-export, no-advertise, no-export-subconfed, graceful-shutdown, blackhole, \
         llgr-stale, no-llgr"
    )]
    Pattern(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_of_every_kind_read_back_as_they_are_shown() {
        for text in [
            "65001:1",
            "0:0",
            "65535:65535",
            "no-export",
            "no-advertise",
            "no-export-subconfed",
            "graceful-shutdown",
            "blackhole",
            "llgr-stale",
            "no-llgr",
            "65001:1:2",
            "4294967295:0:4294967295",
            "rt:65001:4294967295",
            "rt:4200000000:65535",
            "ro:10.0.0.1:7",
            "0x4004000100000002",
        ] {
            let read: AnyCommunity = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            let pattern: CommunityPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["65001:*", "*:1", "*:*", "1:*:3", "*:*:*", "rt:*", "ro:65001:*", "rt:*:5"] {
            let pattern: CommunityPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
            let said = text.parse::<AnyCommunity>().unwrap_err().to_string();
            assert!(said.contains("is not a community;"), "{said}");
        }
        // A small AS in the encoding for large ones has no text of its own.
        let wide = ExtendedCommunity([0x02, 0x02, 0, 0, 0, 1, 0, 2]);
        assert_eq!(wide.to_string(), "0x0202000000010002");
        assert_eq!("0x0202000000010002".parse(), Ok(AnyCommunity::Extended(wide)));
    }

    #[test]
    fn what_is_no_community_is_refused() {
        for text in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "65536:1",
            "1:65536",
            "1:2:3:4",
            "4294967296:1:1",
            "+1:1",
            "-1:1",
            "1 :1",
            "no_export",
            "rt",
            "rt:",
            "rt:1",
            "rt:4200000000:65536",
            "rt:a:1",
            "rt:10.0.0.1:65536",
            "rt:10.0.0:1",
            "soo:1:1",
            "0x",
            "0x00",
            "0x00000000000000000",
            "0x000000000000000g",
            "0x+00000000000000",
            "**:1",
            "1:*x",
        ] {
            assert!(text.parse::<CommunityPattern>().is_err(), "{text:?}");
            assert!(text.parse::<AnyCommunity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_means_what_its_parts_say_and_only_its_own_kind() {
        let attributes = Attributes {
            communities: vec![Community((65001 << 16) | 5)],
            large_communities: vec![LargeCommunity { global: 65001, local1: 5, local2: 6 }],
            extended_communities: vec![
                ExtendedCommunity([0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 5]),
                ExtendedCommunity([0x02, 0x03, 0, 0, 0, 1, 0, 9]),
            ],
            ..Attributes::default()
        };
        for (text, want) in [
            ("65001:5", true),
            ("65001:*", true),
            ("*:5", true),
            ("65001:6", false),
            ("65002:*", false),
            ("no-export", false),
            ("65001:5:6", true),
            ("65001:*:6", true),
            ("65001:*:7", false),
            ("rt:65001:5", true),
            ("rt:65001:*", true),
            ("rt:*", true),
            ("rt:65001:6", false),
            ("ro:65001:5", false),
            ("ro:1:9", true),
            ("rt:10.0.0.1:*", false),
            ("0x0002fde900000005", true),
            ("0x0002fde900000006", false),
        ] {
            let pattern: CommunityPattern = text.parse().unwrap();
            assert_eq!(pattern.is_in(&attributes), want, "{text}");
        }
    }
}
