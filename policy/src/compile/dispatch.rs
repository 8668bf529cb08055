//! The search for the endpoint of an address, as a tree of chains.
//!
//! A chain looks after a block of addresses and has at most eight rules, each for a part of
//! the block: straight to the endpoint where there is one, else to the chain that looks after
//! the part. Blocks are halved where their endpoints are, the one with the most first, so
//! that the parts of a chain are alike however the addresses lie: in one range, in several, at
//! random. Chains of the lowest level have a rule for each endpoint.
//!
//! nf_tables refuses chains that lead to each other more than fifteen deep, gotos included,
//! and a packet between two endpoints of a node goes through the tree twice. That leaves two
//! levels below the chain where the search begins: a range of 256 addresses, all in use, has
//! at most eight, eight and four rules on a packet's way. More have longer lists at the end,
//! never more levels.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::{Cidr, Family};
use crate::model::{Direction, PodKey, Side};
use crate::names::{ChainName, Fixed};
use crate::ruleset::{Chain, Match, Purpose, Rule, Target};

/// The most parts that a chain has, those of the lowest level apart.
const PARTS: usize = 8;
/// The levels of chains below the one where the search begins.
const LEVELS: usize = 2;

/// The local endpoints by address, of one family.
pub(super) type Owners = BTreeMap<IpAddr, PodKey>;

/// What each chain of the dispatch leads to, by its block; `None` is where the search begins.
/// Follows from the owners alone, not from what was before.
pub(super) type Tree = BTreeMap<Option<Cidr>, Vec<Part>>;

/// What a rule of the dispatch leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An endpoint, at its address.
    Endpoint(IpAddr, PodKey),
    /// The chain of the smallest block that holds several of them.
    Block(Cidr),
}

/// The chain where the search begins.
pub(super) fn root(direction: Direction) -> ChainName {
    ChainName::fixed(match direction {
        Direction::Ingress => Fixed::To,
        Direction::Egress => Fixed::From,
    })
}

/// The tree over `owners`.
pub(super) fn tree(owners: &Owners) -> Tree {
    let mut tree = Tree::new();
    let all: Vec<_> = owners.iter().collect();
    grow(&all, None, LEVELS, &mut tree);
    tree
}

/// An endpoint, and where it is.
type Owner<'a> = (&'a IpAddr, &'a PodKey);

/// Notes the chain that looks after `owners`, with `below` levels of chains below it.
fn grow(owners: &[Owner<'_>], name: Option<Cidr>, below: usize, tree: &mut Tree) {
    let endpoint = |(address, key): &Owner<'_>| Part::Endpoint(**address, (*key).clone());
    let parts = if below == 0 {
        owners.iter().map(endpoint).collect()
    } else {
        let part = |(within, inside): (Option<Cidr>, &[Owner<'_>])| match (within, inside) {
            (Some(within), [_, _, ..]) => {
                grow(inside, Some(within), below - 1, tree);
                vec![Part::Block(within)]
            }
            (_, few) => few.iter().map(endpoint).collect(),
        };
        divided(owners).into_iter().flat_map(part).collect()
    };
    tree.insert(name, parts);
}

/// `owners`, sorted, in parts with the blocks that they lie in; `None` if it is all one. The
/// parts lie apart.
fn divided<'a, 'b>(owners: &'b [Owner<'a>]) -> Vec<(Option<Cidr>, &'b [Owner<'a>])> {
    let mut parts = vec![(None, owners)];
    while parts.len() < PARTS {
        // Of those with the same number the first.
        let largest = (0..parts.len()).rev().max_by_key(|index| parts[*index].1.len());
        let Some(largest) = largest else { break };
        let inside = parts[largest].1;
        let Some([lower, upper]) = smallest(inside).and_then(Cidr::halves) else { break };
        let (below, above) =
            inside.split_at(inside.partition_point(|(address, _)| lower.contains(**address)));
        parts.splice(largest..=largest, [(Some(lower), below), (Some(upper), above)]);
    }
    parts
}

/// The chain that leads to `parts`.
pub(super) fn chain(block: Option<Cidr>, parts: &[Part], direction: Direction) -> Chain {
    let side = match direction {
        Direction::Ingress => Side::Destination,
        Direction::Egress => Side::Source,
    };
    let rule = |part: &Part| {
        let (within, target) = match part {
            Part::Endpoint(address, key) => {
                (Cidr::host(*address), Target::Goto(ChainName::endpoint(key, direction)))
            }
            Part::Block(inner) => (*inner, Target::Jump(ChainName::dispatch(direction, *inner))),
        };
        Rule { matches: vec![Match::In(side, within)], target, comment: None }
    };
    let purpose = if block.is_some() { Purpose::Dispatch } else { Purpose::Fixed };
    Chain { purpose, rules: parts.iter().map(rule).collect() }
}

/// The smallest block that holds all of several addresses; `None` if they are not several.
fn smallest(owners: &[Owner<'_>]) -> Option<Cidr> {
    let [(first, _), .., (last, _)] = owners else { return None };
    let common = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    };
    Cidr::new(**first, u8::try_from(common).unwrap_or(Family::of(**first).bits()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn owners(addresses: impl IntoIterator<Item = u32>) -> Owners {
        let owner = |bits| {
            let address: IpAddr = Ipv4Addr::from_bits(bits).into();
            let name = address.to_string().as_str().into();
            (address, PodKey { namespace: "a".into(), name })
        };
        addresses.into_iter().map(owner).collect()
    }

    /// Whom the tree finds at an address, and by how many rules.
    fn search(tree: &Tree, address: IpAddr) -> (Option<&PodKey>, usize) {
        let (mut met, mut at) = (0, None);
        'chain: loop {
            for part in &tree[&at] {
                met += 1;
                match part {
                    Part::Endpoint(there, key) if *there == address => return (Some(key), met),
                    Part::Block(inner) if inner.contains(address) => {
                        at = Some(*inner);
                        continue 'chain;
                    }
                    Part::Endpoint(..) | Part::Block(_) => {}
                }
            }
            return (None, met);
        }
    }

    #[test]
    fn no_lie_of_the_addresses_makes_long_ways() {
        const A: u32 = 0x0a01_0000;
        let far = |n: u32| n.wrapping_mul(2_654_435_761);
        for (what, addresses, most) in [
            ("none", Vec::new(), 0),
            ("one", vec![A], 1),
            ("eight", (A..A + 8).collect(), 8),
            ("a range", (A..A + 256).collect(), 20),
            ("a range and one far away", (A..A + 255).chain([!A]).collect(), 24),
            ("two ranges", (A..A + 128).chain(A + 0x80_0000..A + 0x80_0080).collect(), 20),
            ("a few at many places", (0..64).flat_map(|n| far(n)..far(n) + 4).collect(), 26),
            ("at random", (0..256).map(far).collect(), 26),
            ("each half as near as the one before", (0..32).map(|bit| 1 << bit).collect(), 32),
            ("a thousand", (A..A + 1_000).collect(), 32),
        ] {
            let owners = owners(addresses);
            let tree = tree(&owners);
            let met = owners.keys().map(|address| search(&tree, *address).1).max();
            let met = met.unwrap_or(0);
            assert!(met <= most, "{what}: {met} rules for {} endpoints", owners.len());
            assert!(tree.len() <= 1 + PARTS + PARTS * PARTS, "{what}: {} chains", tree.len());
        }
    }

    proptest! {
        #[test]
        fn every_endpoint_is_found_and_nobody_else(
            near in btree_set(0u32..600, 0..80),
            far in btree_set(any::<u32>(), 0..80),
            strangers in btree_set(0u32..600, 0..40),
        ) {
            let owners = owners(near.into_iter().chain(far));
            let tree = tree(&owners);
            for (address, key) in &owners {
                prop_assert_eq!(search(&tree, *address).0, Some(key));
            }
            for address in strangers.into_iter().map(|bits| Ipv4Addr::from_bits(bits).into()) {
                prop_assert_eq!(search(&tree, address).0, owners.get(&address));
            }
            for (block, parts) in &tree {
                let inside = |part: &Part| match (block, part) {
                    (None, _) => true,
                    (Some(block), Part::Endpoint(address, _)) => block.contains(*address),
                    (Some(block), Part::Block(inner)) => block.covers(*inner) && block != inner,
                };
                prop_assert!(parts.iter().all(inside), "{:?}: {:?}", block, parts);
            }
        }
    }
}
