//! Filters: ordered rules that accept, reject and change what is learned and advertised.
//!
//! ```text
//! route ─> filter a ─ accepts ─> filter b ─ accepts ─> changed as the rules that matched say
//!            │ rule 0: conditions? changes, action        (in this order)
//!            │ rule 1: ...                             any rejects: refused
//! ```
//!
//! A rule sees what the rules before it have changed. Which rules changed something is noted as
//! a short list of their numbers: equal lists on equal attributes give equal results, so that
//! nothing has to be worked out again for each prefix.

mod as_path_regex;
mod change;
mod community;
mod condition;
mod evaluate;

use std::fmt;
use std::sync::Arc;

pub use as_path_regex::{AsPathRegex, BadAsPathRegex};
pub use change::{Change, NextHopChange};
pub use community::{AnyCommunity, BadCommunity, CommunityPattern};
pub use condition::{
    BadInterfacePattern, Condition, Has, InterfacePattern, MatchOperator, PeerType, RouteSource,
};
pub use evaluate::{
    Decision, Matched, Route, RuleTrace, Session, apply, evaluate, next_hop, trace,
};

/// A named list of rules, asked in order until one accepts or rejects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// The rules, in order.
    pub rules: Vec<FilterRule>,
    /// What is done with a route that no rule accepts or rejects.
    pub otherwise: Verdict,
    /// Whether its last rules accept what the node behind the peer owns: what no rule decides is
    /// refused for that.
    pub ends_in_ownership: bool,
}

/// One rule: all of its conditions must hold; one without conditions matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterRule {
    /// What a route must be like.
    pub conditions: Vec<Condition>,
    /// What is done to a route that matches, in order; nothing if the action is to reject.
    pub changes: Vec<Change>,
    /// What becomes of it then.
    pub action: FilterAction,
    /// The list that it stands in and its place there, from zero, as the operator knows them;
    /// `None` if that is where it stands here.
    pub stands_in: Option<(Arc<str>, usize)>,
}

/// What a rule does with a match, after its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterAction {
    /// Take it, ask no further rule of this filter.
    Accept,
    /// Refuse it.
    Reject,
    /// Go on with the next rule.
    Continue,
}

/// What a filter says of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It does not.
    Reject,
}

impl Filter {
    /// A filter that rejects what no rule accepts.
    pub fn new(name: impl Into<Arc<str>>, rules: Vec<FilterRule>) -> Self {
        let otherwise = Verdict::Reject;
        Self { name: name.into(), rules, otherwise, ends_in_ownership: false }
    }

    /// Where a rule stands for the operator: the name of the list, and its place there from zero.
    pub fn place(&self, rule: usize) -> (&Arc<str>, usize) {
        match self.rules.get(rule).and_then(|rule| rule.stands_in.as_ref()) {
            Some((list, place)) => (list, *place),
            None => (&self.name, rule),
        }
    }
}

impl FilterRule {
    /// A rule that changes nothing.
    pub fn new(action: FilterAction, conditions: Vec<Condition>) -> Self {
        Self { conditions, changes: Vec::new(), action, stands_in: None }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Accept => "accept",
            Verdict::Reject => "reject",
        })
    }
}

#[cfg(test)]
mod tests;
