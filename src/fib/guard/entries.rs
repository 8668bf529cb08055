//! What the guard's table holds: pure.

use std::collections::BTreeMap;

use brindle_bgp::net::Prefix;

/// What becomes of a packet that a prefix is the longest match of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is dropped.
    Drop,
    /// It is dropped, and its sender is told.
    Reject,
    /// The main table decides.
    Pass,
}

/// The guard's table.
pub type Entries = BTreeMap<Prefix, Entry>;

/// As few entries as do it: `stop` for what is guarded, but where the main table has `routes`
/// of the same or longer prefixes.
pub fn entries(
    guarded: impl IntoIterator<Item = Prefix>,
    stop: Entry,
    routes: impl IntoIterator<Item = Prefix>,
) -> Entries {
    let mut all: Entries = guarded.into_iter().map(|prefix| (prefix, stop)).collect();
    all.extend(routes.into_iter().map(|prefix| (prefix, Entry::Pass)));
    let mut entries = Entries::new();
    // Whatever lies in a prefix comes right behind it.
    let mut around: Vec<(Prefix, Entry)> = Vec::new();
    for (prefix, entry) in all {
        while around.pop_if(|(outer, _)| !outer.covers(&prefix)).is_some() {}
        if around.last().map_or(Entry::Pass, |(_, outer)| *outer) != entry {
            entries.insert(prefix, entry);
            around.push((prefix, entry));
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().expect("a prefix")).collect()
    }

    #[test]
    fn what_is_guarded_is_dropped_unless_the_main_table_knows_better() {
        for (guarded, routes, want) in [
            (&["10.96.0.0/16", "fd00:96::/112"][..], &[][..], "10.96.0.0/16, fd00:96::/112"),
            (&["10.96.0.0/16"], &["0.0.0.0/0", "10.0.0.0/8", "10.97.0.0/24"], "10.96.0.0/16"),
            (&["10.96.0.0/16"], &["10.96.0.0/16"], ""),
            (&["10.96.0.0/16"], &["10.96.7.0/24"], "10.96.0.0/16, -10.96.7.0/24"),
            // What lies inside of another is said already.
            (&["10.96.0.0/16", "10.96.0.7/32"], &[], "10.96.0.0/16"),
            (
                &["10.96.0.0/16", "10.96.7.9/32", "10.96.7.8/32"],
                &["10.96.7.0/24", "10.96.7.0/25", "10.96.7.8/32"],
                "10.96.0.0/16, -10.96.7.0/24, 10.96.7.9/32",
            ),
            (&[], &["10.96.7.0/24"], ""),
        ] {
            let have = entries(prefixes(guarded), Entry::Drop, prefixes(routes));
            let have = have.iter().map(|(prefix, entry)| match entry {
                Entry::Pass => format!("-{prefix}"),
                Entry::Drop | Entry::Reject => prefix.to_string(),
            });
            assert_eq!(have.collect::<Vec<_>>().join(", "), want, "{guarded:?} {routes:?}");
        }
    }

    /// Prefixes that often lie in one another.
    fn some() -> impl Strategy<Value = Vec<Prefix>> {
        let one = (0_u8..16, 24_u8..=32).prop_map(|(octet, length)| {
            Prefix::new([10, 0, 0, octet].into(), length).expect("a length")
        });
        prop::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn the_longest_of_all_prefixes_decides(guarded in some(), routes in some()) {
            let have = entries(guarded.clone(), Entry::Reject, routes.clone());
            for octet in 0..16 {
                let address = [10, 0, 0, octet].into();
                let longest = |all: &[Prefix]| {
                    all.iter().filter(|one| one.contains(address)).map(Prefix::length).max()
                };
                let is_stopped = longest(&guarded) > longest(&routes);
                let match_ = have.iter().filter(|(one, _)| one.contains(address));
                let entry = match_.max_by_key(|(one, _)| one.length()).map(|(_, entry)| *entry);
                prop_assert_eq!(entry == Some(Entry::Reject), is_stopped, "{}", address);
            }
        }
    }
}
