//! The search for the endpoint of an address, as a tree of chains.
//!
//! A chain looks after the smallest block that holds its endpoints, and has a rule for each
//! eighth of that which has endpoints: straight to the endpoint where there is one, else to
//! the chain that looks after them. Chains of the lowest level have a rule for each endpoint.
//!
//! nf_tables refuses chains that lead to each other more than fifteen deep, gotos included,
//! and a packet between two endpoints of a node goes through the tree twice. That leaves two
//! levels below the chain where the search begins: a range of 256 addresses, all in use, has
//! at most eight, eight and four rules on a packet's way. Larger ranges have longer lists at
//! the end, never more levels.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::{Cidr, Family};
use crate::model::{Direction, PodKey, Side};
use crate::names::{ChainName, Fixed};
use crate::ruleset::{Chain, Match, Purpose, Rule, Target};

/// The bits that a chain looks at.
const STRIDE: u8 = 3;
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

/// Notes the chain that looks after `owners`, with `below` levels of chains below it.
fn grow(owners: &[(&IpAddr, &PodKey)], name: Option<Cidr>, below: usize, tree: &mut Tree) {
    let endpoint = |(address, key): &(&IpAddr, &PodKey)| Part::Endpoint(**address, (*key).clone());
    let mut parts = Vec::new();
    match holding(owners).filter(|_| below > 0) {
        None => parts.extend(owners.iter().map(endpoint)),
        Some(block) => {
            let length = block.length() + STRIDE;
            let same = |a: &(&IpAddr, &PodKey), b: &(&IpAddr, &PodKey)| {
                Cidr::new(*a.0, length).is_some_and(|part| part.contains(*b.0))
            };
            for inside in owners.chunk_by(same) {
                match (inside, holding(inside)) {
                    (_, Some(inner)) => {
                        parts.push(Part::Block(inner));
                        grow(inside, Some(inner), below - 1, tree);
                    }
                    (alone, None) => parts.extend(alone.iter().map(endpoint)),
                }
            }
        }
    }
    tree.insert(name, parts);
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

/// The smallest block that holds all of several addresses, its length a multiple of the
/// stride so that it stays while neighbours come and go; `None` if they are not several.
fn holding(owners: &[(&IpAddr, &PodKey)]) -> Option<Cidr> {
    let [(first, _), .., (last, _)] = owners else { return None };
    let common = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    };
    let common = u8::try_from(common).unwrap_or(Family::of(**first).bits());
    Cidr::new(**first, common - common % STRIDE)
}
