//! Filters: ordered rules that accept or reject what is learned and advertised.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::net::Prefix;

/// A named list of rules; the first that matches decides, and none matching rejects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// The rules, in order.
    pub rules: Vec<FilterRule>,
}

/// One rule: all of its conditions must hold; one without conditions matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterRule {
    /// What to do with a match.
    pub action: FilterAction,
    /// The prefix must lie in this one.
    pub cidr: Option<Prefix>,
    /// The prefix length must lie in this range.
    pub prefix_lengths: Option<RangeInclusive<u8>>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterAction {
    /// Take it, ask no further rule of this filter.
    Accept,
    /// Refuse it.
    Reject,
}

impl FilterRule {
    /// Whether the rule speaks of `prefix`.
    pub fn matches(&self, prefix: &Prefix) -> bool {
        self.cidr.is_none_or(|cidr| cidr.covers(prefix))
            && self.prefix_lengths.as_ref().is_none_or(|lengths| lengths.contains(&prefix.length()))
    }
}

impl Filter {
    /// Whether `prefix` is accepted, and by which rule (from zero); `None` if no rule matched,
    /// which rejects.
    pub fn decide(&self, prefix: &Prefix) -> (FilterAction, Option<usize>) {
        match self.rules.iter().position(|rule| rule.matches(prefix)) {
            Some(index) => (self.rules[index].action, Some(index)),
            None => (FilterAction::Reject, None),
        }
    }
}
