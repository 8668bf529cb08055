//! What must hold of any text that is read as rules or sets: shared with the fuzz target.

use brindle_policy::readback::{Installed, read_sets, read_tables};
use brindle_policy::ruleset::Table;
use brindle_policy::{Family, render};

/// Reads a text as the kernel's rules and sets of each family.
pub(crate) fn check(text: &str) {
    for family in Family::ALL {
        let mut installed = Installed::new(family);
        read_sets(&mut installed, text);
        for table in Table::ALL {
            // As it comes, and as if the table had been named.
            read_tables(&mut installed, table, text);
            read_tables(&mut installed, table, &format!("*{table}\n{text}"));
        }
        for ((table, name), rules) in &installed.chains {
            for rule in rules.iter().filter_map(|there| there.rule.as_ref()) {
                let line = format!("*{table}\n-A {name} {}\n", render::rule(rule));
                let mut again = Installed::new(family);
                read_tables(&mut again, *table, &line);
                let there = &again.chains[&(*table, name.clone())];
                assert_eq!(there[0].rule.as_ref(), Some(rule), "{line}");
            }
        }
    }
}
