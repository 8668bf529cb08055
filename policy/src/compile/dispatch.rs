//! The search for the endpoint of an address, as a tree of chains.
//!
//! Each chain looks after a block and has at most four rules, one for each quarter of the
//! block that has endpoints: straight to the endpoint where there is one, else to the chain
//! of the smallest block that holds all of them. What the chains are follows from the
//! addresses alone, so a change rewrites only the chains of blocks that the changed
//! addresses lie in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::address::{Cidr, Family};
use crate::model::{Direction, PodKey, Side};
use crate::names::{ChainName, Fixed};
use crate::ruleset::{Chain, Match, Purpose, Rule, Target};

/// The local endpoints by address, of one family.
pub(super) type Owners = BTreeMap<IpAddr, PodKey>;

/// The chain where the search begins.
pub(super) fn root(direction: Direction) -> ChainName {
    ChainName::fixed(match direction {
        Direction::Ingress => Fixed::To,
        Direction::Egress => Fixed::From,
    })
}

/// The blocks with a chain of their own that one of `changed` lies in.
pub(super) fn blocks<V>(
    owners: &Owners,
    family: Family,
    changed: &BTreeMap<IpAddr, V>,
) -> BTreeSet<Cidr> {
    let mut found = BTreeSet::new();
    let mut open = vec![everything(family)];
    while let Some(block) = open.pop() {
        for part in parts(owners, block) {
            if let Part::Block(inner) = part
                && changed.range(inner.address()..=inner.last()).next().is_some()
            {
                found.insert(inner);
                open.push(inner);
            }
        }
    }
    found
}

/// The chain of a block, or the one where the search begins.
pub(super) fn chain(
    owners: &Owners,
    family: Family,
    direction: Direction,
    block: Option<Cidr>,
) -> Chain {
    let side = match direction {
        Direction::Ingress => Side::Destination,
        Direction::Egress => Side::Source,
    };
    let rules =
        parts(owners, block.unwrap_or_else(|| everything(family))).into_iter().map(|part| {
            let (within, target) = match part {
                Part::Endpoint(address, key) => {
                    (Cidr::host(address), Target::Goto(ChainName::endpoint(key, direction)))
                }
                Part::Block(inner) => (inner, Target::Jump(ChainName::dispatch(direction, inner))),
            };
            Rule { matches: vec![Match::In(side, within)], target, comment: None }
        });
    let purpose = if block.is_some() { Purpose::Dispatch } else { Purpose::Fixed };
    Chain { purpose, rules: rules.collect() }
}

/// What a quarter of a block has.
enum Part<'a> {
    /// One endpoint.
    Endpoint(IpAddr, &'a PodKey),
    /// More, and this is the smallest block of even length that holds them.
    Block(Cidr),
}

fn everything(family: Family) -> Cidr {
    let zero: IpAddr = match family {
        Family::V4 => [0u8; 4].into(),
        Family::V6 => [0u8; 16].into(),
    };
    Cidr::new(zero, 0).expect("every family has more than zero bits")
}

fn parts(owners: &Owners, block: Cidr) -> Vec<Part<'_>> {
    let quarters = block.halves().into_iter().flatten().filter_map(Cidr::halves).flatten();
    let part = |quarter: Cidr| {
        let mut inside = owners.range(quarter.address()..=quarter.last());
        let (first, key) = inside.next()?;
        Some(match inside.next_back() {
            None => Part::Endpoint(*first, key),
            Some((last, _)) => Part::Block(smallest(*first, *last)),
        })
    };
    quarters.filter_map(part).collect()
}

/// The smallest block of even length that both addresses lie in.
fn smallest(first: IpAddr, last: IpAddr) -> Cidr {
    let common = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    };
    let length = u8::try_from(common).unwrap_or(u8::MAX).min(Family::of(first).bits()) & !1;
    Cidr::new(first, length).expect("no longer than the family's addresses")
}
