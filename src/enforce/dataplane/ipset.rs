//! ipset: all sets of both families are in one space of names; ours begin with our mark.

use std::path::PathBuf;

use brindle_policy::names::SET_MARK;

use super::command::{CommandError, Runner};
use super::figures::Op;

/// How to read and write sets.
#[derive(Clone, Debug)]
pub(super) struct Ipset {
    /// The program.
    pub program: PathBuf,
    /// What runs it.
    pub runner: Runner,
}

/// A pipe of commands that broke off: those before the failing line are done.
#[derive(Debug)]
pub(super) struct Broke {
    /// Why.
    pub error: CommandError,
    /// The line that failed, from 1; `None` if nothing is known of what was done.
    pub line: Option<usize>,
    /// What kind of failure it is.
    pub cause: Cause,
}

/// What the kernel has against a command for a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is a set of that name, with another type or other settings.
    Exists,
    /// There is no set of that name.
    Gone,
    /// A rule uses the set.
    InUse,
    /// The set has no room.
    Full,
    /// The two sets differ in type.
    Type,
    /// Anything else.
    Other,
}

impl Ipset {
    /// Carries out commands, one a line.
    pub(super) async fn restore(&self, text: &str) -> Result<(), Broke> {
        let written = self.runner.write(Op::Fill, &self.program, &["restore"], text).await;
        written.map_err(|error| {
            let complaint = error.complaint();
            Broke { line: failing_line(complaint), cause: cause(complaint), error }
        })
    }

    /// Our sets with their members, as `ipset save` prints them.
    pub(super) async fn save(&self) -> Result<String, CommandError> {
        let printed = self.runner.read(Op::List, &self.program, &["save"]).await?;
        Ok(printed.lines().filter(|line| is_ours(line)).map(|line| format!("{line}\n")).collect())
    }

    /// Name, type and number of members of each of our sets, a line each, in order of names.
    pub(super) async fn headers(&self) -> Result<String, CommandError> {
        let printed = self.runner.read(Op::List, &self.program, &["list", "-terse"]).await?;
        Ok(headers(&printed))
    }
}

fn headers(printed: &str) -> String {
    let mut lines: Vec<String> = printed
        .split("\n\n")
        .filter_map(|set| {
            let field = |name: &str| set.lines().find_map(|line| line.trim().strip_prefix(name));
            let name = field("Name: ").filter(|name| name.starts_with(SET_MARK))?;
            Some(format!("{name} {} {}\n", field("Type: ")?, field("Number of entries: ")?))
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// Whether a line of `ipset save` is about a set of ours.
fn is_ours(line: &str) -> bool {
    line.split(' ').nth(1).is_some_and(|name| name.starts_with(SET_MARK))
}

/// The line number in `ipset v7.17: Error in line 4: ...`.
fn failing_line(complaint: &str) -> Option<usize> {
    let (_, rest) = complaint.split_once("Error in line ")?;
    rest.split(':').next()?.parse().ok()
}

fn cause(complaint: &str) -> Cause {
    const CAUSES: [(&str, Cause); 5] = [
        ("same name already exists", Cause::Exists),
        ("given name does not exist", Cause::Gone),
        ("in use by a kernel component", Cause::InUse),
        ("is full", Cause::Full),
        ("type does not match", Cause::Type),
    ];
    let found = CAUSES.iter().find(|(words, _)| complaint.contains(words));
    found.map_or(Cause::Other, |(_, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ipset_says_is_understood() {
        for (complaint, line, want) in [
            (
                "ipset v7.17: Error in line 4: Hash is full, cannot add more elements",
                Some(4),
                Cause::Full,
            ),
            (
                "ipset v7.17: Error in line 2: Set cannot be created: set with the same name already exists",
                Some(2),
                Cause::Exists,
            ),
            (
                "ipset v7.17: Error in line 1: The set with the given name does not exist",
                Some(1),
                Cause::Gone,
            ),
            (
                "ipset v7.17: Error in line 1: The sets cannot be swapped: their type does not match",
                Some(1),
                Cause::Type,
            ),
            (
                "ipset v7.17: Error in line 12: Set cannot be destroyed: it is in use by a kernel component",
                Some(12),
                Cause::InUse,
            ),
            ("ipset v7.17: Cannot open session to kernel.", None, Cause::Other),
        ] {
            assert_eq!((failing_line(complaint), cause(complaint)), (line, want), "{complaint}");
        }
    }

    #[test]
    fn only_our_sets_are_looked_at() {
        let printed = "Name: brn-b\nType: hash:ip\nNumber of entries: 2\n\nName: other\nType: hash:ip\nNumber of entries: 1\n\nName: brn-a\nType: hash:net\nNumber of entries: 0\n";
        assert_eq!(headers(printed), "brn-a hash:net 0\nbrn-b hash:ip 2\n");
        assert!(is_ours("add brn-a 10.0.0.1") && !is_ours("add other brn-a") && !is_ours(""));
    }
}
