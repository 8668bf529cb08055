//! What filters did to a route, and what became of tests of filters.

use std::fmt;
use std::sync::Arc;

use brindle_bgp::filter::{Filter, FilterAction, NextHopChange, RuleTrace};
use brindle_bgp::msg;
use serde::{Deserialize, Serialize};

/// A rule of a filter that matched a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterStep {
    /// The filter; of a BGPFilter with the list in it: `fabric importV4`.
    pub filter: String,
    /// The rule, counted from one; absent if none decided, and the filter does this then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// What it does: `accept`, `reject` or `continue`.
    pub action: String,
    /// What it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<AttributeChange>,
}

/// An attribute that a filter changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeChange {
    /// Which, by its name among the attributes of a path, or `nextHop`.
    pub attribute: String,
    /// Its value before; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value behind; absent if there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl FilterStep {
    /// What each rule that matched did, from what the route was like `before`.
    pub fn list(
        filters: &[Arc<Filter>],
        before: &msg::Attributes,
        steps: &[RuleTrace],
    ) -> Vec<Self> {
        let mut before = before;
        let mut list = Vec::with_capacity(steps.len());
        for step in steps {
            let mut changes = Vec::new();
            if let Some(after) = &step.changed {
                changes = differences(before, after);
                before = after;
            }
            changes.extend(step.next_hop.map(|hop| AttributeChange {
                attribute: "nextHop".to_owned(),
                before: None,
                after: Some(match hop {
                    NextHopChange::SelfAddress => "self".to_owned(),
                    NextHopChange::Keep => "unchanged".to_owned(),
                }),
            }));
            let filter = filters.get(step.filter);
            let place = filter.zip(step.rule).map(|(filter, rule)| filter.place(rule));
            let name = place.map(|(list, _)| list).or(filter.map(|filter| &filter.name));
            list.push(Self {
                filter: name.map_or_else(String::new, ToString::to_string),
                rule: place.map(|(_, rule)| rule + 1),
                action: match step.action {
                    FilterAction::Accept => "accept",
                    FilterAction::Reject => "reject",
                    FilterAction::Continue => "continue",
                }
                .to_owned(),
                changes,
            });
        }
        list
    }
}

/// What differs between two sets, of what filters can change.
fn differences(before: &msg::Attributes, after: &msg::Attributes) -> Vec<AttributeChange> {
    fn list<T: ToString>(items: &[T]) -> Option<String> {
        let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }
    let values = |of: &msg::Attributes| {
        [
            ("localPref", of.local_pref.map(|value| value.to_string())),
            ("med", of.med.map(|value| value.to_string())),
            ("asPath", Some(of.as_path.to_string()).filter(|path| !path.is_empty())),
            ("communities", list(&of.communities)),
            ("largeCommunities", list(&of.large_communities)),
            ("extendedCommunities", list(&of.extended_communities)),
        ]
    };
    let pairs = values(before).into_iter().zip(values(after));
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((attribute, before), (_, after))| AttributeChange {
            attribute: attribute.to_owned(),
            before,
            after,
        })
        .collect()
}

/// `rule 2 of from-fabric: localPref 100 -> 50`.
impl fmt::Display for FilterStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(f, "rule {rule} of {}", self.filter)?,
            None => write!(f, "no rule of {}: {}", self.filter, self.action)?,
        }
        for (index, change) in self.changes.iter().enumerate() {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            f.write_str(if index == 0 { ": " } else { ", " })?;
            write!(
                f,
                "{} {} -> {}",
                change.attribute,
                shown(&change.before),
                shown(&change.after)
            )?;
        }
        Ok(())
    }
}

/// What became of the tests of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterTestReport {
    /// The file.
    pub file: String,
    /// Whether all were as expected.
    pub passed: bool,
    /// How many tests there are.
    pub checks: usize,
    /// Those that were not as expected.
    pub failures: Vec<FilterTestFailure>,
    /// Rules that matched in no test, of the filters that tests name: `from-fabric rule 3`.
    pub never_exercised: Vec<String>,
    /// How many rules these filters have.
    pub rules: usize,
}

/// A test that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterTestFailure {
    /// The name of the test.
    pub test: String,
    /// Its line in the file, from one.
    pub line: u64,
    /// What was otherwise, a line each: `accept was expected, rule 2 of from-fabric rejects`.
    pub problems: Vec<String>,
    /// What each rule that matched did.
    pub steps: Vec<FilterStep>,
}
