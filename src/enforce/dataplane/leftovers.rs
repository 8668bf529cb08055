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
    let texts = removal(&saved);
    for (text, _) in &texts {
        iptables.restore(text).await?;
    }
    Ok(texts.iter().map(|(_, count)| count).sum())
}

/// A transaction for each table that has something of ours, and how much that is.
fn removal(saved: &BTreeMap<String, String>) -> Vec<(String, usize)> {
    let mut texts = Vec::new();
    for (table, text) in saved {
        let chains: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
            .filter(|chain| chain.starts_with(CHAIN_MARK))
            .collect();
        let jumps: Vec<(&str, &str)> = text
            .lines()
            .filter_map(rule_of)
            .filter(|(chain, rule)| !chain.starts_with(CHAIN_MARK) && our_target(rule).is_some())
            .collect();
        if chains.is_empty() && jumps.is_empty() {
            continue;
        }
        let mut lines = vec![format!("*{table}")];
        // To say that a chain is there empties it.
        lines.extend(chains.iter().map(|chain| format!(":{chain} - [0:0]")));
        lines.extend(jumps.iter().map(|(chain, rule)| format!("-D {chain} {rule}")));
        lines.extend(chains.iter().map(|chain| format!("-X {chain}")));
        lines.push("COMMIT\n".to_owned());
        texts.push((lines.join("\n"), chains.len() + jumps.len()));
    }
    texts
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
        assert_eq!(removal(&saved), [(want.to_owned(), 2)]);
    }
}
