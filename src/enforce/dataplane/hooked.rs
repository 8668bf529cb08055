//! Which of the kernel's chains hold jumps of ours, or held some: what others do there is of
//! interest. In raw and mangle it is not where no policy on a host is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use brindle_policy::Family;
use brindle_policy::ruleset::{BuiltIn, Hook, Table};

/// Chains of the kernel that each ruleset jumps to ours from.
const ALWAYS: [(Table, BuiltIn); 3] = [
    (Table::Filter, BuiltIn::Forward),
    (Table::Filter, BuiltIn::Input),
    (Table::Nat, BuiltIn::Postrouting),
];

/// The chains; clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Hooked(Arc<Mutex<BTreeSet<(Family, Table, BuiltIn)>>>);

impl Hooked {
    /// These are all that there are for a family.
    pub(super) fn found<'h>(&self, family: Family, hooks: impl Iterator<Item = &'h Hook>) {
        self.with(|all| {
            all.retain(|(of, _, _)| *of != family);
            all.extend(hooks.map(|hook| (family, hook.table, hook.from)));
        });
    }

    /// A jump comes.
    pub(super) fn add(&self, family: Family, hook: &Hook) {
        self.with(|all| all.insert((family, hook.table, hook.from)));
    }

    /// A jump is gone.
    pub(super) fn remove(&self, family: Family, hook: &Hook) {
        self.with(|all| all.remove(&(family, hook.table, hook.from)));
    }

    /// Whether a jump of ours may be in this chain.
    pub fn is_in(&self, family: Family, table: &str, chain: &str) -> bool {
        self.any(family, |(of, from)| of.as_str() == table && from.as_str() == chain)
    }

    /// Whether jumps of ours may be in this table.
    pub fn is_in_table(&self, family: Family, table: &str) -> bool {
        self.any(family, |(of, _)| of.as_str() == table)
    }

    fn any(&self, family: Family, is_it: impl Fn((Table, BuiltIn)) -> bool) -> bool {
        let mut always = ALWAYS.into_iter();
        always.any(&is_it)
            || self.with(|all| all.iter().any(|(of, t, c)| *of == family && is_it((*t, *c))))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<(Family, Table, BuiltIn)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use brindle_policy::names::{ChainName, Fixed};

    use super::*;

    #[test]
    fn chains_count_while_jumps_of_ours_are_there() {
        let hook = |table, from| Hook { table, from, to: ChainName::fixed(Fixed::Forward) };
        let raw = hook(Table::Raw, BuiltIn::Prerouting);
        let hooked = Hooked::default();
        let is_in = |table, chain| hooked.is_in(Family::V4, table, chain);
        assert!(is_in("filter", "INPUT") && is_in("nat", "POSTROUTING"), "always");
        assert!(!is_in("filter", "OUTPUT") && !hooked.is_in_table(Family::V4, "raw"));
        hooked.add(Family::V4, &raw);
        assert!(is_in("raw", "PREROUTING") && hooked.is_in_table(Family::V4, "raw"));
        assert!(!is_in("raw", "OUTPUT") && !hooked.is_in_table(Family::V6, "raw"));
        let clone = hooked.clone();
        clone.found(Family::V4, [hook(Table::Filter, BuiltIn::Output)].iter());
        assert!(is_in("filter", "OUTPUT") && !is_in("raw", "PREROUTING"));
        clone.remove(Family::V4, &hook(Table::Filter, BuiltIn::Output));
        assert!(!is_in("filter", "OUTPUT") && is_in("filter", "FORWARD"));
    }
}
