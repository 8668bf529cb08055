//! Takes everything of ours out of a backend, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use brindle_policy::names::CHAIN_MARK;

use super::iptables::{Iptables, Refused};
use super::words::{our_target, rule_of};

/// Removes our chains, and jumps to them, from all tables of one family; how many there were.
///
/// # Errors
/// If a table cannot be read or written.
pub(super) async fn remove(iptables: &Iptables) -> Result<usize, Refused> {
    let saved = iptables.save().await.map_err(|error| Refused { error, line: None })?;
    let removals = removals(&saved);
    for removal in &removals {
        iptables.restore(&removal.text()).await?;
    }
    Ok(removals.iter().map(Removal::count).sum())
}

/// What one table holds of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    /// The table's name.
    pub table: String,
    /// Our chains.
    pub chains: BTreeSet<String>,
    /// Rules of other chains that lead to ours: the chain, and the rest of the rule.
    pub jumps: Vec<(String, String)>,
}

impl Removal {
    /// How much it is.
    pub(super) fn count(&self) -> usize {
        self.chains.len() + self.jumps.len()
    }

    /// The transaction that takes it out.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("*{}", self.table)];
        // To say that a chain is there empties it.
        lines.extend(self.chains.iter().map(|chain| format!(":{chain} - [0:0]")));
        lines.extend(self.jumps.iter().map(|(chain, rule)| format!("-D {chain} {rule}")));
        lines.extend(self.chains.iter().map(|chain| format!("-X {chain}")));
        lines.push("COMMIT\n".to_owned());
        lines.join("\n")
    }
}

/// Each table that holds something of ours.
pub(super) fn removals(saved: &BTreeMap<String, String>) -> Vec<Removal> {
    let of_table = |(table, text): (&String, &String)| {
        let chains: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
            .filter(|chain| chain.starts_with(CHAIN_MARK))
            .map(str::to_owned)
            .collect();
        let jumps: Vec<(String, String)> = text
            .lines()
            .filter_map(rule_of)
            .filter(|(chain, rule)| !chain.starts_with(CHAIN_MARK) && our_target(rule).is_some())
            .map(|(chain, rule)| (chain.to_owned(), rule.to_owned()))
            .collect();
        Removal { table: table.clone(), chains, jumps }
    };
    saved.iter().map(of_table).filter(|removal| removal.count() > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_goes() {
        let filter = "*filter\n:FORWARD DROP [0:0]\n:BRN-A - [0:0]\n:OTHER - [0:0]\n\
            [0:0] -A FORWARD -m comment --comment \"brindle:hook\" -j BRN-A\n\
            [0:0] -A FORWARD -j OTHER\n[0:0] -A BRN-A -j DROP\nCOMMIT\n";
        let nat = "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";
        let saved = [("filter", filter), ("nat", nat)];
        let saved = saved.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let want = "*filter\n:BRN-A - [0:0]\n\
            -D FORWARD -m comment --comment \"brindle:hook\" -j BRN-A\n-X BRN-A\nCOMMIT\n";
        let removals = removals(&saved);
        assert_eq!(removals.iter().map(Removal::text).collect::<Vec<_>>(), [want]);
        assert_eq!(removals[0].count(), 2);
    }
}
