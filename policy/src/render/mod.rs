//! From values to the text that `iptables-restore` and `ipset restore` read.
//!
//! Of each thing there is one form, which both backends of iptables take and print again as
//! [`crate::readback`] expects it. What a value cannot mean in iptables is written as something
//! that iptables refuses, so that it fails as a whole instead of matching more than was meant.

mod rule;
mod set;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use crate::address::Family;
use crate::names::{ChainName, Comment, SetName};
use crate::ruleset::{Chain, ChainOp, Hook, Plan, Purpose, Ruleset, SetOp, Table};

pub(crate) use rule::ANY_ICMP;
pub use rule::rule;
pub use set::MAX_MEMBERS;
pub(crate) use set::{family_word, kind_word, protocol_word};

/// Input of `iptables-restore --noflush` for the chains of `plan`: one text, which is one
/// transaction, for each table that has something to change. It may be carried out again.
pub fn tables(plan: &Plan) -> BTreeMap<Table, String> {
    let changed = plan.chains.iter().filter(|(_, chains)| !chains.is_empty());
    changed.map(|(table, chains)| (*table, transaction(*table, chains))).collect()
}

fn transaction(table: Table, chains: &BTreeMap<ChainName, ChainOp>) -> String {
    let mut text = format!("*{table}\n");
    // This makes a chain or empties it. Those that go too: they may use each other.
    for name in chains.keys() {
        line(&mut text, format_args!(":{name} - [0:0]"));
    }
    for (name, op) in chains {
        if let ChainOp::Write(chain) = op {
            rules(&mut text, name, chain);
        }
    }
    for (name, op) in chains {
        if matches!(op, ChainOp::Remove) {
            line(&mut text, format_args!("-X {name}"));
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn rules(text: &mut String, name: &ChainName, chain: &Chain) {
    for one in &chain.rules {
        line(text, format_args!("-A {name} {}", rule(one)));
    }
}

/// Input of `ipset restore` for the sets of a plan. `ipset` stops at the first line that
/// fails; the lines before it stand. A set that is to be made must not be there yet, as
/// `ipset` would keep one of the other family as it is: read the sets again after a failure.
pub fn sets_up(ops: &[SetOp], family: Family) -> String {
    let mut text = String::new();
    for op in ops {
        if let SetOp::Change { set, remove, .. } = op {
            remove.iter().for_each(|member| set::member(&mut text, "del", set, *member));
        }
    }
    for op in ops {
        match op {
            SetOp::Create(name, members) => set::create(&mut text, name, members, family),
            SetOp::Replace(name, members) => {
                let stand_in = name.stand_in();
                // One that was left behind by who was killed between these lines.
                set::destroy(&mut text, &stand_in);
                set::create(&mut text, &stand_in, members, family);
                line(&mut text, format_args!("swap {stand_in} {name}"));
                set::destroy(&mut text, &stand_in);
            }
            SetOp::Recreate(name, members) => {
                set::destroy(&mut text, name);
                set::create(&mut text, name, members, family);
            }
            SetOp::Change { set, add, .. } => {
                add.iter().for_each(|member| set::member(&mut text, "add", set, *member));
            }
        }
    }
    text
}

/// Input of `ipset restore` that destroys sets; those that are not there are passed over.
pub fn destroy(names: &[SetName]) -> String {
    let mut text = String::new();
    names.iter().for_each(|name| set::destroy(&mut text, name));
    text
}

/// What comes behind `-A FORWARD` for a hook, as the `iptables` crate takes it: words with
/// blanks between, none of which needs quotes.
pub fn hook_rule(hook: &Hook) -> String {
    format!("-m comment --comment {} -j {}", hook_comment(), hook.to)
}

/// The comment of every hook.
pub fn hook_comment() -> Comment {
    Comment::new(&["hook"])
}

/// All of a ruleset, for people and for comparing: the rules as `iptables-restore` takes
/// them, the sets as `ipset restore` does. Lines with `#` say what chains and sets are for.
pub fn ruleset(ruleset: &Ruleset) -> RulesetText {
    let mut text = RulesetText { rules: String::new(), sets: String::new() };
    for table in Table::ALL {
        let chains: Vec<_> = ruleset.chains.iter().filter(|((of, _), _)| *of == table).collect();
        let hooks: Vec<_> = ruleset.hooks.iter().filter(|hook| hook.table == table).collect();
        if chains.is_empty() && hooks.is_empty() {
            continue;
        }
        line(&mut text.rules, format_args!("*{table}"));
        for ((_, name), _) in &chains {
            line(&mut text.rules, format_args!(":{name} - [0:0]"));
        }
        for hook in hooks {
            let from = hook.from.as_str();
            line(&mut text.rules, format_args!("-I {from} 1 {}", hook_rule(hook)));
        }
        for ((_, name), chain) in chains {
            line(&mut text.rules, format_args!("# {name}: {}", on_one_line(&chain.purpose)));
            rules(&mut text.rules, name, chain);
        }
        text.rules.push_str("COMMIT\n");
    }
    for (name, set) in &ruleset.sets {
        line(&mut text.sets, format_args!("# {name}: {}", on_one_line(&set.about)));
        set::create(&mut text.sets, name, &set.members, ruleset.family);
    }
    text
}

/// What [`ruleset`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesetText {
    /// Input of `iptables-restore --noflush`, hooks included.
    pub rules: String,
    /// Input of `ipset restore`.
    pub sets: String,
}

impl Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Fixed => f.write_str("fixed"),
            Purpose::Dispatch => f.write_str("dispatch"),
            Purpose::Endpoint(pod, direction) => write!(f, "{direction} of pod {pod}"),
            Purpose::Policy(policy, direction) => write!(f, "{direction} of {policy}"),
            Purpose::Host(name, stage, direction) => {
                write!(f, "{direction} of HostEndpoint {name}, {stage}")
            }
        }
    }
}

/// Names of objects may hold anything, line ends too.
fn on_one_line(text: impl Display) -> String {
    text.to_string().escape_debug().to_string()
}

fn line(text: &mut String, words: impl Display) {
    writeln!(text, "{words}").expect("writing to a string does not fail");
}
