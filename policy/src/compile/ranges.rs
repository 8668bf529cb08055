//! The ranges of pods' addresses.

use std::collections::BTreeSet;

use super::Settings;
use super::blocks;
use crate::address::{Cidr, Family};
use crate::world::World;

/// The ranges of the node's own pods, apart from each other. A range that is everything is
/// left out: it says nothing about who has an address.
pub(super) fn of_node(world: &World, settings: &Settings, family: Family) -> BTreeSet<Cidr> {
    let of_object = || world.node(&settings.node).map(|node| &node.pod_cidrs);
    let ranges =
        if settings.pod_cidrs.is_empty() { of_object() } else { Some(&settings.pod_cidrs) };
    fewest(ranges.into_iter().flatten().copied(), family)
}

/// The ranges of all nodes' pods, apart from each other.
pub(super) fn of_all(world: &World, settings: &Settings, family: Family) -> BTreeSet<Cidr> {
    fewest(world.pod_ranges(family).into_iter().chain(settings.pod_cidrs.iter().copied()), family)
}

fn fewest(ranges: impl Iterator<Item = Cidr>, family: Family) -> BTreeSet<Cidr> {
    let says_something = |range: &Cidr| range.family() == family && range.length() > 0;
    let mut ranges = blocks::merge(ranges.filter(says_something));
    // Two halves may have become everything, which no set can hold.
    if let Some(halves) = ranges.first().filter(|r| r.length() == 0).and_then(|r| r.halves()) {
        ranges = halves.into_iter().collect();
    }
    ranges
}
