//! What we originate.

use std::collections::BTreeMap;

use brindle_bgp::msg::Attributes;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::OwnRoute;

use super::owner::Owner;

/// A prefix of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originated {
    /// The prefix.
    pub prefix: Prefix,
    /// What it is there for.
    pub what: OwnRoute,
    /// What goes with it.
    pub attributes: Attributes,
}

impl Owner {
    /// Originates these and no others; what is as it was is left alone.
    pub(super) fn set_originated(&mut self, wanted: Vec<Originated>) {
        // Of two of one prefix the first counts.
        let wanted: BTreeMap<Prefix, (OwnRoute, Attributes)> =
            wanted.into_iter().rev().map(|one| (one.prefix, (one.what, one.attributes))).collect();
        for gone in self.originated.keys().filter(|prefix| !wanted.contains_key(prefix)) {
            self.rib.withdraw(gone);
        }
        for (prefix, own) in &wanted {
            if self.originated.get(prefix) != Some(own) {
                self.rib.originate(*prefix, own.1.clone(), own.0);
            }
        }
        self.originated = wanted;
        self.dirty = true;
    }
}
