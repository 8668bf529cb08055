//! Keys for whoever connects from a prefix, on listening sockets.
//!
//! The kernel asks everybody inside for the key and knows no exception, so that the prefix is
//! taken apart around those who have none, and around more specific prefixes.

use std::net::IpAddr;

use brindle_bgp::net::Prefix;

use super::Key;
use crate::speaker::DynamicPeers;

/// A configured peer, and whether it signs.
pub(in crate::speaker) type Known = (IpAddr, bool);

/// The prefixes whose connections are asked for a group's key, group by group: of each its own,
/// less what others have.
pub(in crate::speaker) fn asked(
    groups: &[DynamicPeers],
    known: &[Known],
) -> Vec<(usize, Prefix, Key)> {
    let all = || groups.iter().flat_map(|group| &group.prefixes);
    let unsigned = known.iter().filter(|(_, signs)| !signs).map(|(at, _)| Prefix::host(*at));
    let unsigned: Vec<Prefix> = unsigned.collect();
    let has_own = |piece: &Prefix| known.iter().any(|(at, _)| Prefix::host(*at) == *piece);
    let mut asked = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let key = &group.template.protection.key;
        if !matches!(key, Key::Md5(_) | Key::Ao(_)) {
            continue;
        }
        for prefix in &group.prefixes {
            let inner = all().filter(|other| prefix.covers(other) && *other != prefix);
            let holes: Vec<Prefix> = inner.chain(&unsigned).copied().collect();
            let pieces = without(*prefix, &holes).into_iter().filter(|piece| !has_own(piece));
            asked.extend(pieces.map(|piece| (index, piece, key.clone())));
        }
    }
    asked
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
}
