//! iptables of one backend and family: whole tables are read, changes are written in one
//! transaction a table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use brindle_policy::Family;
use brindle_policy::ruleset::Table;

use super::command::{CommandError, Runner};
use super::figures::Op;

/// The programs of one backend and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    /// Writes a table.
    pub restore: PathBuf,
    /// Reads tables.
    pub save: PathBuf,
    /// Does single things.
    pub command: PathBuf,
}

/// How to read and write the chains of one backend and family.
#[derive(Clone, Debug)]
pub(super) struct Iptables {
    /// The family.
    pub family: Family,
    /// Its programs.
    pub programs: Programs,
    /// What runs them.
    pub runner: Runner,
}

/// A transaction that the kernel or the program refused; none of it was done.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why.
    pub error: CommandError,
    /// The line of the text that it is about, from 1, if the program said so. It is a hint:
    /// what is only found at the end may be told of the last line.
    pub line: Option<usize>,
}

impl Iptables {
    /// Does what `text` says in one transaction; foreign rules stay as they are.
    pub(super) async fn restore(&self, text: &str) -> Result<(), Refused> {
        // The program is to give up before we do: then it can say that it waits for the lock.
        let wait = (self.runner.limit.as_secs() * 5 / 6).max(1).to_string();
        // iptables-nft takes the words too; the kernel serves one transaction after another.
        let args = ["--noflush", "--wait", &wait];
        let written = self.runner.write(Op::Restore, &self.programs.restore, &args, text).await;
        written.map_err(|error| Refused { line: failing_line(error.complaint()), error })
    }

    /// What all tables hold that are in use, with counters, each as `iptables-save` prints it.
    /// It does not bring tables into use, as asking for one by name can.
    pub(super) async fn save(&self) -> Result<BTreeMap<String, String>, CommandError> {
        let printed = self.runner.read(Op::Save, &self.programs.save, &["--counters"]).await?;
        Ok(by_table(&printed))
    }
}

/// The parts of what `iptables-save` printed, by the name of the table.
fn by_table(printed: &str) -> BTreeMap<String, String> {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix('*') {
            current = Some(name.to_owned());
        }
        if let Some(name) = &current {
            let text = tables.entry(name.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
        if line == "COMMIT" {
            current = None;
        }
    }
    tables
}

/// What one of our tables holds; nothing if it is not in use.
pub(super) fn table(saved: &BTreeMap<String, String>, table: Table) -> &str {
    saved.get(table.as_str()).map_or("", String::as_str)
}

/// The line number in `Error occurred at line: 4`, `line 6: RULE_APPEND failed (...)` or
/// `iptables-restore: line 7 failed`.
fn failing_line(complaint: &str) -> Option<usize> {
    let is_word = |at: usize| !complaint[..at].ends_with(char::is_alphanumeric);
    let words = complaint.match_indices("line").filter(|(at, _)| is_word(*at));
    let after = words.map(|(at, word)| &complaint[at + word.len()..]);
    after.filter_map(|rest| rest.strip_prefix(": ").or_else(|| rest.strip_prefix(' '))).find_map(
        |rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse().ok()
        },
    )
}

/// The chain that a line of such a text is about: `-A CHAIN ...` or `:CHAIN - [0:0]`.
pub(super) fn chain_of_line(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(':').or_else(|| line.strip_prefix("-A "))?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_line_is_found_in_what_each_program_says() {
        for (complaint, want) in [
            (
                "iptables-nft-restore v1.8.9 (nf_tables): Set x doesn't exist.\n\nError occurred at line: 4\nTry `iptables-nft-restore -h'",
                Some(4),
            ),
            ("iptables-restore: line 17 failed", Some(17)),
            (
                "iptables-nft-restore v1.8.9 (nf_tables): \nline 6: RULE_APPEND failed (Too many links): rule in chain FORWARD",
                Some(6),
            ),
            ("Another app is currently holding the xtables lock. Stopped waiting after 2s.", None),
            ("outline 12 and line x", None),
        ] {
            assert_eq!(failing_line(complaint), want, "{complaint}");
        }
    }

    #[test]
    fn what_was_saved_falls_into_tables() {
        let tables = by_table("# x\n*filter\n:A - [0:0]\nCOMMIT\n# y\n*nat\nCOMMIT\n");
        assert_eq!(table(&tables, Table::Filter), "*filter\n:A - [0:0]\nCOMMIT\n");
        assert_eq!(table(&tables, Table::Nat), "*nat\nCOMMIT\n");
        assert_eq!(table(&BTreeMap::new(), Table::Nat), "");
    }
}
