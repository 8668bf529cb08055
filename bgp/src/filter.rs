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
        let mut rules = self.rules.iter().enumerate();
        match rules.find(|(_, rule)| rule.matches(prefix)) {
            Some((index, rule)) => (rule.action, Some(index)),
            None => (FilterAction::Reject, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FilterAction::{Accept, Reject};
    use super::*;

    fn rule(
        action: FilterAction,
        cidr: Option<&str>,
        prefix_lengths: Option<RangeInclusive<u8>>,
    ) -> FilterRule {
        FilterRule { action, cidr: cidr.map(|text| text.parse().unwrap()), prefix_lengths }
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_none_rejects() {
        let filter = Filter {
            name: "cluster-only".into(),
            rules: vec![
                rule(Reject, Some("10.244.9.0/24"), None),
                rule(Accept, Some("10.244.0.0/16"), Some(16..=32)),
                rule(Accept, Some("fd00::/8"), Some(48..=64)),
                rule(Reject, None, Some(0..=0)),
            ],
        };
        for (text, want) in [
            ("10.244.0.0/16", (Accept, Some(1))),
            ("10.244.1.0/24", (Accept, Some(1))),
            ("10.244.9.0/24", (Reject, Some(0))),
            ("10.244.9.128/25", (Reject, Some(0))),
            ("10.244.8.0/23", (Accept, Some(1))),
            ("10.0.0.0/8", (Reject, None)),
            ("10.245.0.0/16", (Reject, None)),
            ("fd00:1::/48", (Accept, Some(2))),
            ("fd00::/8", (Reject, None)),
            ("fd00::/128", (Reject, None)),
            ("0.0.0.0/0", (Reject, Some(3))),
            ("::/0", (Reject, Some(3))),
        ] {
            assert_eq!(filter.decide(&text.parse().unwrap()), want, "{text}");
        }
    }

    #[test]
    fn a_filter_without_rules_rejects_and_a_rule_without_conditions_matches() {
        let prefix = "192.0.2.0/24".parse().unwrap();
        let filter = |rules| Filter { name: "f".into(), rules };
        assert_eq!(filter(vec![]).decide(&prefix), (Reject, None));
        assert_eq!(filter(vec![rule(Accept, None, None)]).decide(&prefix), (Accept, Some(0)));
    }
}
