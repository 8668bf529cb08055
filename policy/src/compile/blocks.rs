//! Blocks of addresses: what exceptions leave of them, and the fewest that mean the same.

use std::collections::BTreeSet;

use crate::address::Cidr;
use crate::model::IpBlock;

/// The addresses that some of `blocks` stands for, as the fewest blocks that hold exactly
/// those. Everything is the single block of length zero.
pub(crate) fn union<'a>(blocks: impl IntoIterator<Item = &'a IpBlock>) -> BTreeSet<Cidr> {
    let mut left = Vec::new();
    for block in blocks {
        cut(block.cidr, &block.except, &mut left);
    }
    merge(left)
}

/// The fewest blocks that together hold exactly the addresses of `blocks`.
pub(super) fn merge(blocks: impl IntoIterator<Item = Cidr>) -> BTreeSet<Cidr> {
    // In order of address, and of two with the same address the larger first: what covers a
    // block is on top of the stack when that comes.
    let blocks: BTreeSet<Cidr> = blocks.into_iter().collect();
    let mut merged: Vec<Cidr> = Vec::new();
    for block in blocks {
        if merged.last().is_some_and(|last| last.covers(block)) {
            continue;
        }
        merged.push(block);
        while let [.., lower, upper] = merged[..] {
            let Some(parent) = parent(lower).filter(|parent| {
                lower.length() == upper.length() && lower != upper && parent.covers(upper)
            }) else {
                break;
            };
            merged.truncate(merged.len() - 2);
            merged.push(parent);
        }
    }
    merged.into_iter().collect()
}

/// Collects what `except` leaves of `block`.
fn cut(block: Cidr, except: &[Cidr], left: &mut Vec<Cidr>) {
    if except.iter().any(|except| except.covers(block)) {
        return;
    }
    let inside: Vec<Cidr> = except.iter().copied().filter(|e| block.covers(*e)).collect();
    match block.halves() {
        Some(halves) if !inside.is_empty() => {
            for half in halves {
                cut(half, &inside, left);
            }
        }
        _ => left.push(block),
    }
}

/// The block that this one is a half of; `None` for everything.
fn parent(block: Cidr) -> Option<Cidr> {
    Cidr::new(block.address(), block.length().checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn block(text: &str) -> IpBlock {
        let mut parts = text.split_whitespace().map(|part| part.parse().unwrap());
        IpBlock { cidr: parts.next().unwrap(), except: parts.collect() }
    }

    fn shown(blocks: &[IpBlock]) -> String {
        let union = union(blocks);
        union.iter().map(Cidr::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn exceptions_leave_exactly_the_rest() {
        for (blocks, want) in [
            (&["10.0.0.0/8"][..], "10.0.0.0/8"),
            (&["0.0.0.0/0"], "0.0.0.0/0"),
            (&["0.0.0.0/0 128.0.0.0/1"], "0.0.0.0/1"),
            (&["0.0.0.0/0 0.0.0.0/2"], "64.0.0.0/2 128.0.0.0/1"),
            (&["::/0 8000::/1"], "::/1"),
            // Exceptions at both edges.
            (&["10.0.0.0/30 10.0.0.0/32 10.0.0.3/32"], "10.0.0.1/32 10.0.0.2/32"),
            (&["10.0.0.0/30 10.0.0.0/31"], "10.0.0.2/31"),
            // One inside another, one twice, one outside, one of the other family.
            (&["10.0.0.0/29 10.0.0.0/30 10.0.0.1/32 10.0.0.0/30"], "10.0.0.4/30"),
            (&["10.0.0.0/30 11.0.0.0/8 fd00::/8"], "10.0.0.0/30"),
            // A single address; with itself and with more than itself excepted.
            (&["10.0.0.1/32"], "10.0.0.1/32"),
            (&["10.0.0.1/32 10.0.0.1/32"], ""),
            (&["10.0.0.1/32 10.0.0.0/8"], ""),
            // What one excepts, another may give (policy-semantics K15).
            (&["10.0.0.0/30 10.0.0.2/31", "10.0.0.2/31"], "10.0.0.0/30"),
            (&["10.0.0.0/8", "10.1.0.0/16"], "10.0.0.0/8"),
            (&["0.0.0.0/1", "128.0.0.0/1"], "0.0.0.0/0"),
            (&["10.0.1.0/24", "10.0.2.0/24"], "10.0.1.0/24 10.0.2.0/24"),
        ] {
            let parsed: Vec<IpBlock> = blocks.iter().map(|text| block(text)).collect();
            assert_eq!(shown(&parsed), want, "{blocks:?}");
        }
    }

    /// A block among sixteen addresses, so that random ones meet.
    fn near() -> impl Strategy<Value = Cidr> {
        (0u32..16, 26u8..=32).prop_map(|(low, length)| {
            Cidr::new(Ipv4Addr::from_bits(0x0a00_0000 + low).into(), length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_union_holds_what_some_block_holds(
            blocks in prop::collection::vec((near(), prop::collection::vec(near(), 0..4)), 0..5),
        ) {
            let blocks: Vec<IpBlock> =
                blocks.into_iter().map(|(cidr, except)| IpBlock { cidr, except }).collect();
            let union = union(&blocks);
            for low in 0..80 {
                let address = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + low));
                let want = blocks.iter().any(|block| block.contains(address));
                let holders = union.iter().filter(|cidr| cidr.contains(address)).count();
                prop_assert_eq!(holders, usize::from(want), "{}", address);
            }
            prop_assert_eq!(merge(union.iter().copied()), union);
        }
    }
}
