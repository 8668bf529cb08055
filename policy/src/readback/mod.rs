//! From what `iptables-save` and `ipset save` print to values.
//!
//! Rules and sets are read exactly: those of the forms that [`crate::render`] writes become
//! values that compare with what is wanted, whatever else stands in a chain or set of ours
//! becomes "not one that we write". The text may be anything; nothing here fails.

mod protocol;
mod rule;
mod set;
mod words;

use std::collections::BTreeMap;

use crate::address::Family;
use crate::names::{ChainName, SetName};
use crate::ruleset::{Hook, Members, Rule, SetKind, Table};

use rule::RuleLine;
pub use set::read_sets;

/// What the kernel holds of ours for one family.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// The family.
    pub family: Family,
    /// Our chains, with their rules in order.
    pub chains: BTreeMap<(Table, ChainName), Vec<InstalledRule>>,
    /// Our hooks, each as often as it is there.
    pub hooks: Vec<InstalledHook>,
    /// Rules in chains of others that use a chain of ours and are no hooks.
    pub strays: Vec<Stray>,
    /// Our sets, stand-ins that were left behind included.
    pub sets: BTreeMap<SetName, InstalledSet>,
}

/// A rule in a chain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledRule {
    /// What it says; `None` if it is not one that we write.
    pub rule: Option<Rule>,
    /// As it was printed, from `-A`.
    pub text: String,
    /// Packets that it matched.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// A hook that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledHook {
    /// Which.
    pub hook: Hook,
    /// Where it stands in the kernel's chain, from 1.
    pub position: usize,
    /// The rules that stand before it there and are none of our hooks, as they were printed.
    pub before: Vec<String>,
    /// Packets that took it.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// A rule of somebody else that uses a chain of ours: that chain cannot be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The table.
    pub table: Table,
    /// As it was printed, from `-A`.
    pub text: String,
}

/// A set that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledSet {
    /// Its type, if it is one that we make, of the right family: whatever else is wrong with
    /// the set, one that is right can take its place at once.
    pub kind: Option<SetKind>,
    /// What is in it; `None` if it is none that we make: of another type or family, with
    /// options that we do not use, or with members that we do not write.
    pub members: Option<Members>,
}

impl Installed {
    /// Nothing of ours.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            chains: BTreeMap::new(),
            hooks: Vec::new(),
            strays: Vec::new(),
            sets: BTreeMap::new(),
        }
    }
}

/// Takes what `iptables-save -c` or `ip6tables-save -c` printed about `table`, in place of
/// what was known about it. Parts about other tables are passed over.
pub fn read_tables(installed: &mut Installed, table: Table, save_output: &str) {
    installed.chains.retain(|(of, _), _| *of != table);
    installed.hooks.retain(|there| there.hook.table != table);
    installed.strays.retain(|stray| stray.table != table);
    let mut foreign: BTreeMap<&str, ForeignChain<'_>> = BTreeMap::new();
    let mut within = false;
    for line in save_output.lines() {
        if let Some(name) = line.strip_prefix('*') {
            within = name == table.as_str();
        } else if !within {
            continue;
        } else if let Some(rest) = line.strip_prefix(':') {
            if let Some(name) = rest.split(' ').next().and_then(ChainName::read) {
                installed.chains.entry((table, name)).or_default();
            }
        } else if let Some(line) = RuleLine::read(line) {
            match ChainName::read(line.chain) {
                Some(name) => {
                    let rule = line.installed(installed.family);
                    installed.chains.entry((table, name)).or_default().push(rule);
                }
                None => foreign.entry(line.chain).or_default().take(installed, table, &line),
            }
        }
    }
}

/// What was read of a chain of somebody else.
#[derive(Default)]
struct ForeignChain<'a> {
    rules: usize,
    /// Those of them that are no hooks of ours.
    others: Vec<&'a str>,
}

impl<'a> ForeignChain<'a> {
    fn take(&mut self, installed: &mut Installed, table: Table, line: &RuleLine<'a>) {
        self.rules += 1;
        if let Some(hook) = line.hook(table) {
            installed.hooks.push(InstalledHook {
                hook,
                position: self.rules,
                before: self.others.iter().map(|&text| text.to_owned()).collect(),
                packets: line.packets,
                bytes: line.bytes,
            });
            return;
        }
        self.others.push(line.text);
        if line.uses_ours() {
            installed.strays.push(Stray { table, text: line.text.to_owned() });
        }
    }
}
