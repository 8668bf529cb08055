//! Keys for whoever connects from a prefix, on listening sockets.
//!
//! The kernel asks everybody inside for the key and knows no exception, so that the prefix is
//! taken apart around those who have none, and around more specific prefixes. Of MD5 keys it
//! takes the most specific one; keys of TCP-AO must not overlap with any others, and so the prefix
//! is taken apart around everybody who signs with or inside of these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use brindle_bgp::net::{Family, Prefix};

use super::Key;
use crate::speaker::DynamicPeers;

/// A configured peer, and how it signs.
pub(in crate::speaker) type Known = (IpAddr, Signs);

/// How a configured peer signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::speaker) enum Signs {
    /// Not at all.
    No,
    /// With an MD5 key, or with a key that is not there.
    Md5,
    /// With keys of TCP-AO.
    Ao,
}

impl From<&Key> for Signs {
    fn from(key: &Key) -> Self {
        match key {
            Key::None => Signs::No,
            Key::Md5(_) | Key::Missing(_) => Signs::Md5,
            Key::Ao(_) => Signs::Ao,
        }
    }
}

/// The prefixes whose connections are asked for a group's key, group by group: of each its own,
/// less what others have.
pub(in crate::speaker) fn asked(
    groups: &[DynamicPeers],
    known: &[Known],
) -> Vec<(usize, Prefix, Key)> {
    let all = || groups.iter().flat_map(|group| &group.prefixes);
    let has_own = |piece: &Prefix| known.iter().any(|(at, _)| Prefix::host(*at) == *piece);
    let mut asked = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let key = &group.template.protection.key;
        let signs = Signs::from(key);
        if !matches!(key, Key::Md5(_) | Key::Ao(_)) {
            continue;
        }
        let others = known.iter().filter(|(_, other)| (signs, *other) != (Signs::Md5, Signs::Md5));
        let others: Vec<Prefix> = others.map(|(at, _)| Prefix::host(*at)).collect();
        for prefix in &group.prefixes {
            let inner = all().filter(|other| prefix.covers(other) && *other != prefix);
            let mut holes: Vec<Prefix> = inner.copied().chain(others.iter().copied()).collect();
            let mut pieces = without(*prefix, &holes);
            if signs == Signs::Ao && pieces.len() > 1 {
                // The kernel refuses prefixes that begin with the unspecified address, other
                // than that of everybody.
                holes.push(nobodys(prefix.family()));
                pieces = without(*prefix, &holes);
            }
            pieces.retain(|piece| !has_own(piece));
            asked.extend(pieces.into_iter().map(|piece| (index, piece, key.clone())));
        }
    }
    asked
}

/// Where the unspecified address is, and no peer.
fn nobodys(family: Family) -> Prefix {
    let zero = match family {
        Family::Ipv4Unicast => Prefix::v4(Ipv4Addr::UNSPECIFIED, 8),
        Family::Ipv6Unicast => Prefix::v6(Ipv6Addr::UNSPECIFIED, 32),
    };
    zero.expect("zeros are a prefix of any length")
}

/// The largest prefixes that make up all of `range` but the holes.
fn without(range: Prefix, holes: &[Prefix]) -> Vec<Prefix> {
    let inside: Vec<Prefix> = holes.iter().filter(|hole| hole.overlaps(&range)).copied().collect();
    if inside.is_empty() {
        return vec![range];
    }
    if inside.iter().any(|hole| hole.covers(&range)) {
        return Vec::new();
    }
    let Some(halves) = range.halves() else { return Vec::new() };
    halves.into_iter().flat_map(|half| without(half, &inside)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speaker::AoKey;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_range_is_taken_apart_around_its_holes() {
        for (range, holes, want) in [
            ("10.0.0.0/24", &[][..], &["10.0.0.0/24"][..]),
            ("10.0.0.0/24", &["10.0.1.0/24", "fd00::1/128"], &["10.0.0.0/24"]),
            ("10.0.0.0/24", &["10.0.0.0/16"], &[]),
            ("10.0.0.0/30", &["10.0.0.1/32"], &["10.0.0.0/32", "10.0.0.2/31"]),
            ("10.0.0.0/24", &["10.0.0.128/25"], &["10.0.0.0/25"]),
            ("10.0.0.0/31", &["10.0.0.0/32", "10.0.0.1/32"], &[]),
            ("fd00::/126", &["fd00::3/128"], &["fd00::/127", "fd00::2/128"]),
        ] {
            let range = range.parse().unwrap();
            assert_eq!(without(range, &prefixes(holes)), prefixes(want), "{range} {holes:?}");
        }
        // At most one piece a bit.
        let range = "10.0.0.0/8".parse().unwrap();
        assert_eq!(without(range, &prefixes(&["10.1.2.3/32"])).len(), 24);
    }

    #[test]
    fn a_group_is_asked_where_its_key_is_alone() {
        let key = |kind| {
            let secret = brindle_config::Secret::new(b"k").unwrap();
            match kind {
                Signs::No => Key::None,
                Signs::Md5 => Key::Md5(secret),
                Signs::Ao => Key::Ao(vec![AoKey {
                    send_id: 1,
                    recv_id: 1,
                    algorithm: brindle_config::AoAlgorithm::HmacSha1,
                    secret,
                }]),
            }
        };
        let known: Vec<Known> = [("10.0.0.1", Signs::No), ("10.0.0.4", Signs::Md5)]
            .into_iter()
            .chain([("10.0.0.7", Signs::Ao)])
            .map(|(at, signs)| (at.parse().unwrap(), signs))
            .collect();
        for (signs, prefix, want) in [
            (Signs::No, "10.0.0.0/29", &[][..]),
            (
                Signs::Md5,
                "10.0.0.0/29",
                &["10.0.0.0/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"],
            ),
            (
                Signs::Ao,
                "10.0.0.0/29",
                &["10.0.0.0/32", "10.0.0.2/31", "10.0.0.5/32", "10.0.0.6/32"],
            ),
            (Signs::Md5, "10.0.0.4/32", &[]),
            (Signs::Ao, "10.0.0.4/32", &[]),
            (Signs::Ao, "::/0", &["::/0"]),
        ] {
            let mut group = DynamicPeers::for_tests("g", &[prefix]);
            group.template.protection.key = key(signs);
            let asked: Vec<Prefix> =
                asked(&[group], &known).into_iter().map(|(_, piece, _)| piece).collect();
            assert_eq!(asked, prefixes(want), "{signs:?} {prefix}");
        }
        let mut all = DynamicPeers::for_tests("g", &["0.0.0.0/0"]);
        all.template.protection.key = key(Signs::Ao);
        let asked = asked(&[all], &known);
        let begins = |piece: &Prefix| piece.address().is_unspecified();
        assert!(asked.iter().all(|(_, piece, _)| !begins(piece)), "{asked:?}");
        assert!(asked.iter().any(|(_, piece, _)| piece.to_string() == "1.0.0.0/8"), "{asked:?}");
    }
}
